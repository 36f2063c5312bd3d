//! The state folder of one machine: what the server keeps there, and how clients find it.
//!
//! `orx.db` the store · `server.lock` held by the server while it lives · `server.json` where it
//! listens · `token` the first admin token · `server.log` of a server started in the background ·
//! `last.json` the newest job of this user.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use orx_model::{Incarnation, JobId, Timestamp};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Exit};

const ELSEWHERE: &str = "name another with `ORX_STATE`";
/// Files read whole are no larger.
const SMALL: u64 = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateDir(PathBuf);

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) v: u32,
    pub(crate) url: String,
    /// With `https`: the server's own certificate, DER in base64. Clients on this machine believe
    /// it, whatever name it is for: who may write this file is the server's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) node: Incarnation,
    pub(crate) started_at: Timestamp,
    /// Started by a command that needed one, not by a person or a service manager.
    pub(crate) background: bool,
    /// It was told to end, and lets what it runs end first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stopping: bool,
}

#[derive(Serialize, Deserialize)]
struct Last {
    job: JobId,
}

/// Held while the server lives; the system frees it however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl StateDir {
    /// A folder that need not be there yet; a relative path is one of the working directory.
    pub(crate) fn at(path: &Path) -> Result<Self, String> {
        std::path::absolute(path).map(Self).map_err(|error| error.to_string())
    }

    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    #[must_use]
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes the folder, for its owner only, if it is not there.
    pub(crate) fn create(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// That the folder can be looked at; also where there is none yet.
    ///
    /// # Errors
    /// Of one that may not be read nobody knows whether a server holds it.
    pub(crate) fn check_readable(&self) -> Result<(), CliError> {
        let shown = self.0.display();
        let unread = |error: io::Error| {
            let exit = match error.kind() {
                io::ErrorKind::PermissionDenied => Exit::NotAllowed,
                _ => Exit::NoServer,
            };
            CliError::new(exit, "state", format!("cannot read the state folder `{shown}`"))
                .cause(error.to_string())
                .hint(ELSEWHERE)
        };
        match fs::metadata(&self.0) {
            Ok(meta) if !meta.is_dir() => return Err(unread(io::ErrorKind::NotADirectory.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unread(error)),
        }
        match File::open(self.file("server.lock")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unread(error)),
            _ => Ok(()),
        }
    }

    /// That the folder is this user's alone to write, and can be read; also where there is none yet.
    ///
    /// # Errors
    /// Whoever else may write to it could put another server's address there.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        self.check_readable()?;
        let shown = self.0.display();
        let Ok(meta) = fs::metadata(&self.0) else { return Ok(()) };
        let (own, mode) = (rustix::process::geteuid().as_raw(), meta.mode() & 0o7777);
        if meta.uid() != own {
            let message = format!("the state folder `{shown}` belongs to another user");
            return Err(CliError::new(Exit::NotAllowed, "state", message)
                .cause(format!("its owner has the id {}, this process {own}", meta.uid()))
                .hint(format!("run as its owner, `chown` it, or {ELSEWHERE}")));
        }
        if mode & 0o022 != 0 {
            let message = format!("others may write to the state folder `{shown}`");
            return Err(CliError::new(Exit::NotAllowed, "state", message)
                .cause(format!(
                    "its mode is {mode:04o}: they could have their own server found there"
                ))
                .hint(format!("`chmod go-w {shown}`, or {ELSEWHERE}")));
        }
        Ok(())
    }

    /// `None` where another process holds it.
    pub(crate) fn try_lock(&self) -> io::Result<Option<Lock>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.file("server.lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A server holds the folder. The look takes the lock for a moment, which a server that starts
    /// at that moment waits out.
    #[must_use]
    pub(crate) fn is_held(&self) -> bool {
        let Ok(file) = File::open(self.file("server.lock")) else { return false };
        matches!(
            flock(&file, FlockOperation::NonBlockingLockShared),
            Err(rustix::io::Errno::WOULDBLOCK)
        )
    }

    /// Where the living server listens; a file left by a dead one is known by the free lock.
    #[must_use]
    pub(crate) fn address(&self) -> Option<Address> {
        let text = self.read_small("server.json").ok()?;
        let address = serde_json::from_str(&text).ok()?;
        self.is_held().then_some(address)
    }

    /// This process is the server that holds the folder: it has a file of it open. A number alone
    /// may be another's by now, or be of another container that sees the same folder.
    #[must_use]
    pub(crate) fn is_held_by(&self, pid: u32) -> bool {
        let identity = |path: PathBuf| fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
        let own: Vec<_> = ["server.lock", "orx.db"].map(|name| identity(self.file(name))).into();
        let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        open.flatten()
            .filter_map(|file| identity(file.path()))
            .any(|file| own.contains(&Some(file)))
    }

    pub(crate) fn write_address(&self, address: &Address) -> io::Result<()> {
        self.replace("server.json", &serde_json::to_string(address)?)
    }

    pub(crate) fn remove_address(&self) {
        // A file that stays is known as stale by the free lock.
        let _ = fs::remove_file(self.file("server.json"));
    }

    pub(crate) fn write_token(&self, token: &str) -> io::Result<()> {
        self.replace("token", &format!("{token}\n"))
    }

    /// `None` where there is no token file.
    pub(crate) fn token(&self) -> Result<Option<String>, String> {
        read_token(&self.file("token"))
    }

    pub(crate) fn remember_last(&self, job: JobId) {
        // A convenience: `@last` is the one before, if it cannot be kept.
        if let Ok(text) = serde_json::to_string(&Last { job }) {
            let _ = self.replace("last.json", &text);
        }
    }

    #[must_use]
    pub(crate) fn last(&self) -> Option<JobId> {
        let last: Last = serde_json::from_str(&self.read_small("last.json").ok()?).ok()?;
        Some(last.job)
    }

    fn read_small(&self, name: &str) -> io::Result<String> {
        let mut text = String::new();
        File::open(self.file(name))?.take(SMALL).read_to_string(&mut text)?;
        Ok(text)
    }

    /// Whole or not at all, and for the owner only.
    fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        let part = self.file(&format!(".{name}.{}", std::process::id()));
        let written = || {
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&part)?;
            file.write_all(text.as_bytes())?;
            file.sync_data()?;
            fs::rename(&part, self.file(name))
        };
        let result = written();
        if result.is_err() {
            let _ = fs::remove_file(&part);
        }
        result
    }
}

/// A token is for its owner's eyes: a file that others can read is refused.
pub(crate) fn read_token(path: &Path) -> Result<Option<String>, String> {
    let shown = path.display();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("could not read the token file `{shown}`: {error}")),
    };
    let mode = file.metadata().map(|meta| meta.mode()).unwrap_or(0);
    if mode & 0o077 != 0 {
        return Err(format!(
            "the token file `{shown}` can be read by others: `chmod 600` it, or make a new token"
        ));
    }
    let mut text = String::new();
    file.take(SMALL)
        .read_to_string(&mut text)
        .map_err(|error| format!("could not read the token file `{shown}`: {error}"))?;
    Ok(Some(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> (tempfile::TempDir, StateDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateDir::at(&folder.path().join("orx")).expect("a path");
        state.create().expect("a folder");
        (folder, state)
    }

    #[test]
    fn an_address_left_by_a_dead_server_is_none() {
        let (_folder, state) = state();
        let address = Address {
            v: 1,
            url: "http://127.0.0.1:1".into(),
            certificate: None,
            pid: 1,
            version: "0".into(),
            node: Incarnation(1),
            started_at: Timestamp::default(),
            background: true,
            stopping: false,
        };
        let lock = state.try_lock().expect("a lock file").expect("free");
        state.write_address(&address).expect("written");
        assert_eq!(state.address(), Some(address));
        assert!(state.try_lock().expect("a lock file").is_none());
        assert!(state.is_held_by(std::process::id()) && !state.is_held_by(1));
        drop(lock);
        assert_eq!(state.address(), None);
    }

    #[test]
    fn a_token_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, state) = state();
        assert_eq!(state.token(), Ok(None));
        state.write_token("orx_x").expect("written");
        assert_eq!(state.token(), Ok(Some("orx_x".to_owned())));
        let loose = fs::Permissions::from_mode(0o644);
        fs::set_permissions(state.file("token"), loose).expect("chmod");
        assert!(state.token().expect_err("refused").contains("chmod 600"));
    }

    #[test]
    fn a_folder_that_others_may_write_or_that_cannot_be_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, state) = state();
        assert!(state.check().is_ok());
        for (mode, refused) in [(0o777, true), (0o1777, true), (0o770, true), (0o755, false)] {
            fs::set_permissions(state.path(), fs::Permissions::from_mode(mode)).expect("chmod");
            let checked = state.check();
            assert_eq!(checked.is_err(), refused, "{mode:o}");
            if let Err(error) = checked {
                assert!(error.hint.unwrap_or_default().contains("chmod go-w"), "{mode:o}");
            }
        }
        let file = folder.path().join("file");
        fs::write(&file, "").expect("written");
        let under_a_file = StateDir::at(&file.join("orx")).expect("a path");
        let unread = under_a_file.check().expect_err("refused");
        assert!(unread.message.contains("cannot read the state folder"), "{unread:?}");
        let absent = StateDir::at(&folder.path().join("absent")).expect("a path");
        assert!(absent.check().is_ok());
    }

    #[test]
    fn the_last_job_is_remembered() {
        let (_folder, state) = state();
        assert_eq!(state.last(), None);
        state.remember_last(JobId(7));
        assert_eq!(state.last(), Some(JobId(7)));
    }
}

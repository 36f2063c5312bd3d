//! The state folder of a machine: files of the server, and how clients find the server.
//!
//! - `orx.db`: the SQLite store
//! - `server.lock`: locked by the server while its process runs
//! - `server.json`: the server's address
//! - `token`: the first admin token
//! - `server.log`: log of a server that was started in the background
//! - `last.json`: the job that `@last` stands for

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use orx_model::{Incarnation, JobId, Timestamp};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Exit};

const OTHER_FOLDER: &str = "name another folder with `ORX_STATE`";
/// Read limit for the folder's small files.
const SMALL_FILE_BYTES: u64 = 64 * 1024;

/// Path of a state folder; the folder need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StateDir(PathBuf);

/// Content of `server.json`: where a server listens, and which server it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) v: u32,
    pub(crate) url: String,
    /// With `https`: the server's own certificate, DER in base64. Clients on this machine trust it
    /// whatever name it is for, because only the server's own user can write this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) node: Incarnation,
    pub(crate) started_at: Timestamp,
    /// A command started it in the background, not a person or a service manager.
    pub(crate) background: bool,
    /// It is stopping: it takes no new work, and its running jobs have their grace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) stopping: bool,
}

/// Content of `last.json`.
#[derive(Serialize, Deserialize)]
struct LastJob {
    job: JobId,
}

/// The lock on `server.lock`. The kernel releases it however the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl StateDir {
    /// The folder at `path`, which need not exist. A relative path starts at the working directory.
    ///
    /// # Errors
    /// The working directory has no path.
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

    /// Creates the folder with mode 0700 if it does not exist.
    pub(crate) fn create(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// Checks that the folder can be read. A folder that does not exist is fine.
    ///
    /// # Errors
    /// It cannot be read, so it is unknown whether a server holds it.
    pub(crate) fn check_readable(&self) -> Result<(), CliError> {
        let shown = self.0.display();
        let unreadable = |error: io::Error| {
            let exit = match error.kind() {
                io::ErrorKind::PermissionDenied => Exit::NotAllowed,
                _ => Exit::NoServer,
            };
            CliError::new(exit, "state", format!("cannot read the state folder `{shown}`"))
                .cause(error.to_string())
                .hint(OTHER_FOLDER)
        };
        match fs::metadata(&self.0) {
            Ok(meta) if !meta.is_dir() => {
                return Err(unreadable(io::ErrorKind::NotADirectory.into()));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unreadable(error)),
        }
        match File::open(self.file("server.lock")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unreadable(error)),
            _ => Ok(()),
        }
    }

    /// Checks that the folder can be read, and that only this user can write to it. A folder that
    /// does not exist is fine.
    ///
    /// # Errors
    /// Another user owns it or may write to it, and could put another server's address there.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        self.check_readable()?;
        let shown = self.0.display();
        let Ok(meta) = fs::metadata(&self.0) else { return Ok(()) };
        let (own, mode) = (rustix::process::geteuid().as_raw(), meta.mode() & 0o7777);
        if meta.uid() != own {
            let message = format!("the state folder `{shown}` belongs to another user");
            return Err(CliError::new(Exit::NotAllowed, "state", message)
                .cause(format!("its owner has the uid {}, this process {own}", meta.uid()))
                .hint(format!("run as its owner, `chown` it, or {OTHER_FOLDER}")));
        }
        if mode & 0o022 != 0 {
            let message = format!("other users may write to the state folder `{shown}`");
            return Err(CliError::new(Exit::NotAllowed, "state", message)
                .cause(format!(
                    "its mode is {mode:04o}: they could direct clients to a server of their own"
                ))
                .hint(format!("`chmod go-w {shown}`, or {OTHER_FOLDER}")));
        }
        Ok(())
    }

    /// Locks `server.lock`. `None` if another process holds the lock.
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

    /// Whether a server holds the folder. The check takes a shared lock for a moment; a server that
    /// starts at that moment retries.
    #[must_use]
    pub(crate) fn is_held(&self) -> bool {
        let Ok(file) = File::open(self.file("server.lock")) else { return false };
        matches!(
            flock(&file, FlockOperation::NonBlockingLockShared),
            Err(rustix::io::Errno::WOULDBLOCK)
        )
    }

    /// Address of the live server. If the lock is free, the file is stale and the answer is `None`.
    #[must_use]
    pub(crate) fn address(&self) -> Option<Address> {
        let text = self.read_small("server.json").ok()?;
        let address = serde_json::from_str(&text).ok()?;
        self.is_held().then_some(address)
    }

    /// Whether process `pid` is the server that holds the folder: it has a file of the folder open.
    /// The pid alone proves nothing: the kernel may have reused it, or it may belong to another
    /// container that shares the folder.
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
        // If this fails, the free lock shows that the file is stale.
        let _ = fs::remove_file(self.file("server.json"));
    }

    pub(crate) fn write_token(&self, token: &str) -> io::Result<()> {
        self.replace("token", &format!("{token}\n"))
    }

    /// The local admin token; `None` if there is no token file.
    pub(crate) fn token(&self) -> Result<Option<String>, String> {
        read_token(&self.file("token"))
    }

    pub(crate) fn remember_last(&self, job: JobId) {
        // `@last` is a convenience: if the write fails, it stands for the job before.
        if let Ok(text) = serde_json::to_string(&LastJob { job }) {
            let _ = self.replace("last.json", &text);
        }
    }

    /// The job that `@last` stands for.
    #[must_use]
    pub(crate) fn last(&self) -> Option<JobId> {
        let last: LastJob = serde_json::from_str(&self.read_small("last.json").ok()?).ok()?;
        Some(last.job)
    }

    fn read_small(&self, name: &str) -> io::Result<String> {
        let mut text = String::new();
        File::open(self.file(name))?.take(SMALL_FILE_BYTES).read_to_string(&mut text)?;
        Ok(text)
    }

    /// Writes a file atomically, with mode 0600.
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

/// Reads a token file; `None` if it does not exist.
///
/// # Errors
/// The file cannot be read, or other users may read it.
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
            "other users can read the token file `{shown}`: `chmod 600` it, or create a new token"
        ));
    }
    let mut text = String::new();
    file.take(SMALL_FILE_BYTES)
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

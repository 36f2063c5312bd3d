//! What stays from one session to the next, in the user's state folder: the last screen, orders, wrap and
//! the lines that were typed; and a log of the link.
//!
//! A file that cannot be used is no reason to stop: the session starts as the first one, and says so once.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::columns::{QUEUES, SCHEDULES, WORKERS, sort_place, sort_title};
use crate::options::Screen;
use crate::state::prompt::{InputHistory, PromptKind};
use crate::state::{App, Listed};

const FILE: &str = "top.json";
const LOG: &str = "top.log";
/// The version of the file.
const VERSION: u32 = 1;
/// A longer file is none of ours.
const FILE_BYTES: u64 = 1024 * 1024;
/// A log of this size is put aside, in place of the one before.
const LOG_BYTES: u64 = 256 * 1024;

/// The order of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SavedOrder {
    /// The title of the column; `None`: as the server sends the rows.
    column: Option<String>,
    reverse: bool,
}

/// The state that stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedState {
    v: u32,
    screen: String,
    wrap: bool,
    /// The list of jobs is shown oldest first.
    oldest_first: bool,
    /// Dead letters are shown one by one.
    single_dead_letters: bool,
    /// By screen.
    orders: BTreeMap<String, SavedOrder>,
    /// The lines that were typed, by their purpose, oldest first.
    histories: BTreeMap<String, Vec<String>>,
}

fn order_of<R>(list: &Listed<R>, columns: &'static [crate::columns::Column<R>]) -> SavedOrder {
    let column = list.sort.and_then(|place| sort_title(columns, place)).map(str::to_owned);
    SavedOrder { column, reverse: list.reverse }
}

fn put_order<R>(
    list: &mut Listed<R>,
    columns: &'static [crate::columns::Column<R>],
    saved: &SavedOrder,
) {
    list.sort = saved.column.as_deref().and_then(|title| sort_place(columns, title));
    list.reverse = saved.reverse;
}

impl SavedState {
    pub(crate) fn of(app: &App) -> Self {
        let orders = [
            (Screen::Queues, order_of(&app.queues, QUEUES)),
            (Screen::Workers, order_of(&app.workers, WORKERS)),
            (Screen::Schedules, order_of(&app.schedules, SCHEDULES)),
        ];
        let histories = app
            .histories
            .iter()
            .map(|(kind, history)| (kind.name().to_owned(), history.lines().to_vec()));
        Self {
            v: VERSION,
            screen: app.screen.name().to_owned(),
            wrap: app.wrap,
            oldest_first: app.jobs.pages.oldest_first,
            single_dead_letters: app.dead.single,
            orders: orders.map(|(screen, order)| (screen.name().to_owned(), order)).into(),
            histories: histories.collect(),
        }
    }

    /// Puts the state back. `on_screen`: also the screen, which no argument names.
    pub(crate) fn put_back(&self, app: &mut App, on_screen: bool) {
        if let Some(screen) = Screen::named(&self.screen).filter(|_| on_screen) {
            app.screen = screen;
        }
        app.wrap = self.wrap;
        app.logs.log.scroll.wrap = self.wrap;
        app.jobs.pages.oldest_first = self.oldest_first;
        app.dead.single = self.single_dead_letters;
        for (screen, order) in &self.orders {
            match Screen::named(screen) {
                Some(Screen::Queues) => put_order(&mut app.queues, QUEUES, order),
                Some(Screen::Workers) => put_order(&mut app.workers, WORKERS, order),
                Some(Screen::Schedules) => put_order(&mut app.schedules, SCHEDULES, order),
                _ => {}
            }
        }
        for kind in PromptKind::ALL {
            let mut history = InputHistory::default();
            self.histories.get(kind.name()).into_iter().flatten().for_each(|line| {
                history.add(&orx_model::text::clean_line(line));
            });
            app.histories.insert(kind, history);
        }
    }
}

/// What was found in the state folder.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    State(Box<SavedState>),
    /// It is of no use, for this reason. `replace`: nothing is lost if it is written anew.
    Unusable {
        reason: String,
        replace: bool,
    },
}

/// Reads what the last session left.
pub(crate) fn load(folder: &Path) -> Found {
    let path = folder.join(FILE);
    let unusable = |reason: String, replace| {
        let reason = format!("`{}` {reason}: the dashboard starts as new", path.display());
        Found::Unusable { reason, replace }
    };
    let mut text = String::new();
    let read = std::fs::File::open(&path)
        .and_then(|file| file.take(FILE_BYTES + 1).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Found::Nothing,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return unusable("is no text".to_owned(), true);
        }
        Err(error) => return unusable(format!("cannot be read ({error})"), false),
        Ok(_) if text.len() as u64 > FILE_BYTES => {
            return unusable("is too long".to_owned(), true);
        }
        Ok(_) => {}
    }
    #[derive(Deserialize)]
    struct Versioned {
        v: u32,
    }
    match serde_json::from_str::<Versioned>(&text) {
        // The file is of use to the version that wrote it.
        Ok(Versioned { v }) if v != VERSION => {
            unusable(format!("has version {v}, this orx knows {VERSION}"), false)
        }
        _ => match serde_json::from_str(&text) {
            Ok(state) => Found::State(Box::new(state)),
            Err(error) => unusable(format!("cannot be parsed ({error})"), true),
        },
    }
}

fn private_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes the state whole or not at all: a reader sees the old file or the new one.
///
/// # Errors
/// The folder or the file cannot be written.
pub(crate) fn save(folder: &Path, state: &SavedState) -> std::io::Result<()> {
    private_folder(folder)?;
    let text = serde_json::to_vec(state)?;
    // Two dashboards that end at once write different files.
    let new = folder.join(format!("{FILE}.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    let written = file.write_all(&text).and_then(|()| file.sync_all());
    let put = written.and_then(|()| std::fs::rename(&new, folder.join(FILE)));
    if put.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    put
}

/// Appends a line to the log of the link.
///
/// # Errors
/// The folder or the file cannot be written.
pub(crate) fn append_to_log(folder: &Path, line: &str) -> std::io::Result<()> {
    private_folder(folder)?;
    let path = folder.join(LOG);
    if std::fs::metadata(&path).is_ok_and(|meta| meta.len() >= LOG_BYTES) {
        std::fs::rename(&path, folder.join(format!("{LOG}.old")))?;
    }
    let mut file = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::PathBuf;

    use super::*;
    use crate::fixtures;

    /// A folder that the test removes.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("orx-top-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn state() -> SavedState {
        let mut app = fixtures::app(120, 36);
        (app.screen, app.wrap, app.dead.single) = (Screen::Workers, true, true);
        app.jobs.pages.oldest_first = true;
        (app.queues.sort, app.queues.reverse) = (Some(1), true);
        app.histories.entry(PromptKind::Filter).or_default().add("status:failed");
        SavedState::of(&app)
    }

    #[test]
    fn a_session_goes_on_as_the_last_one_ended() {
        let folder = Folder::new("goes-on");
        assert_eq!(load(&folder.0), Found::Nothing);
        save(&folder.0.join("deep"), &state()).expect("saved");
        save(&folder.0.join("deep"), &state()).expect("saved again");
        let file = folder.0.join("deep").join(FILE);
        let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode(&file), mode(&folder.0.join("deep"))), (0o600, 0o700));
        let files = std::fs::read_dir(folder.0.join("deep")).expect("a folder");
        assert_eq!(files.count(), 1, "nothing else is left");
        let Found::State(found) = load(&folder.0.join("deep")) else { panic!("no state") };
        assert_eq!(*found, state());
        let mut app = fixtures::app(120, 36);
        found.put_back(&mut app, true);
        assert_eq!(
            SavedState::of(&app),
            SavedState { histories: SavedState::of(&app).histories, ..state() }
        );
        assert_eq!(app.histories[&PromptKind::Filter].lines(), ["status:failed"]);
        let mut app = fixtures::app(120, 36);
        found.put_back(&mut app, false);
        assert_eq!(app.screen, Screen::Overview, "an argument names the screen");
    }

    #[test]
    fn what_cannot_be_used_is_ignored_and_explained() {
        let folder = Folder::new("unusable");
        std::fs::create_dir_all(&folder.0).expect("a folder");
        let found = |bytes: &[u8]| {
            std::fs::write(folder.0.join(FILE), bytes).expect("written");
            match load(&folder.0) {
                Found::Unusable { reason, replace } => {
                    assert!(reason.ends_with("the dashboard starts as new"), "{reason}");
                    (reason, replace)
                }
                other => panic!("{other:?}"),
            }
        };
        for bytes in [&b""[..], b"{", b"\xff\xfe", b"{\"v\":1}", &vec![b' '; 2 << 20]] {
            assert!(found(bytes).1, "it may be replaced");
        }
        let (reason, replace) = found(br#"{"v":7,"screen":"jobs","planets":[]}"#);
        assert!(reason.contains("has version 7, this orx knows 1") && !replace, "{reason}");
        let state = SavedState { screen: "planets".to_owned(), ..state() };
        save(&folder.0, &state).expect("saved");
        let Found::State(found) = load(&folder.0) else { panic!("no state") };
        let mut app = fixtures::app(80, 24);
        found.put_back(&mut app, true);
        assert_eq!(app.screen, Screen::Overview);
    }

    #[test]
    fn the_log_of_the_link_is_bounded() {
        let folder = Folder::new("log");
        let line = "x".repeat(10_000);
        for _ in 0..60 {
            append_to_log(&folder.0, &line).expect("appended");
        }
        let sizes: Vec<u64> = [LOG, "top.log.old"]
            .iter()
            .map(|name| std::fs::metadata(folder.0.join(name)).expect("there").len())
            .collect();
        assert!(sizes.iter().all(|size| *size <= LOG_BYTES + 10_001 && *size > 0), "{sizes:?}");
    }
}

//! How the dashboard starts and looks. All of it is decided by the caller.

use std::collections::BTreeMap;
use std::path::PathBuf;

use orx_model::time::WallClock;

use crate::keys::Keymap;

/// A palette of the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// The 16 colours of the terminal.
    #[default]
    Ansi,
    /// Colours that people with any common colour vision tell apart; the terminal shows true colours.
    Safe,
    /// No colours: bold, dim and reverse video only.
    Mono,
}

impl Theme {
    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ansi => "ansi",
            Self::Safe => "safe",
            Self::Mono => "mono",
        }
    }

    /// The theme of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Ansi, Self::Safe, Self::Mono].into_iter().find(|theme| theme.as_str() == name)
    }
}

/// A screen, in the order of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Screen {
    /// Counters, rates, queues, recent jobs, and what needs attention.
    Overview,
    /// All jobs.
    Jobs,
    /// All queues.
    Queues,
    /// All workers.
    Workers,
    /// All schedules.
    Schedules,
    /// Dead letters, by cause.
    Dead,
    /// Nodes, leader and store.
    Cluster,
    /// Changes of workers, queues, schedules and nodes.
    Events,
    /// Settings and their origin.
    Settings,
}

impl Screen {
    /// Every screen, in the order of the tabs.
    pub const ALL: [Self; 9] = [
        Self::Overview,
        Self::Jobs,
        Self::Queues,
        Self::Workers,
        Self::Schedules,
        Self::Dead,
        Self::Cluster,
        Self::Events,
        Self::Settings,
    ];

    /// The name in `--screen` and in the palette.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Jobs => "jobs",
            Self::Queues => "queues",
            Self::Workers => "workers",
            Self::Schedules => "schedules",
            Self::Dead => "dead-letters",
            Self::Cluster => "cluster",
            Self::Events => "events",
            Self::Settings => "settings",
        }
    }

    /// The digit of its key.
    #[must_use]
    pub fn digit(self) -> u8 {
        match self {
            Self::Overview => 1,
            Self::Jobs => 2,
            Self::Queues => 3,
            Self::Workers => 4,
            Self::Schedules => 5,
            Self::Dead => 6,
            Self::Cluster => 7,
            Self::Events => 9,
            Self::Settings => 0,
        }
    }

    /// The screen of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|screen| screen.name() == name)
    }
}

/// A setting of the client: its name, its value, and where it comes from.
#[derive(Debug, Clone)]
pub struct SettingLine {
    /// `worker.slots`.
    pub name: String,
    /// As in the configuration file, secrets masked.
    pub value: String,
    /// `default`, a file with its line, a variable or a flag.
    pub origin: String,
}

/// How the dashboard starts and looks.
pub struct Options {
    /// The context in use, or the address of the server, for the header.
    pub context: String,
    /// No change can be asked for.
    pub read_only: bool,
    /// Each change of many things asks for their number.
    pub protected: bool,
    /// No characters beyond ASCII.
    pub ascii: bool,
    /// The palette.
    pub theme: Theme,
    /// The terminal reports the mouse.
    pub mouse: bool,
    /// The screen to start on.
    pub screen: Screen,
    /// The filter of the list of jobs.
    pub filter: String,
    /// What is played is a recording.
    pub replay: bool,
    /// Who asks for changes, for the server's records.
    pub by: Option<String>,
    /// The keys in force.
    pub keys: Keymap,
    /// The wall clock of the user.
    pub zone: Box<dyn WallClock + Send>,
    /// The pager for texts: a program and its arguments.
    pub pager: Vec<String>,
    /// A program that puts its input into the clipboard; empty: the terminal does it (OSC 52).
    pub clipboard: Vec<String>,
    /// Settings of the client, for the screen of settings.
    pub settings: Vec<SettingLine>,
    /// Where relative file names of exports start.
    pub folder: PathBuf,
    /// The subcommands of `orx` by their names, and what each does, for the palette.
    pub commands: BTreeMap<String, String>,
}

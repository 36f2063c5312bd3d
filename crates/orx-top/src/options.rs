//! How the dashboard starts and looks. All of it is decided by the caller.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use orx_model::time::WallClock;
use ratatui::style::Color;

use crate::api::Contexts;
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

/// A colour behind the name of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextColor(pub(crate) Color);

impl ContextColor {
    /// The names of the colours of the terminal; `#rrggbb` names any other.
    pub const NAMES: [&str; 6] = ["red", "green", "yellow", "blue", "magenta", "cyan"];

    /// The colour of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        const COLOURS: [Color; 6] =
            [Color::Red, Color::Green, Color::Yellow, Color::Blue, Color::Magenta, Color::Cyan];
        if let Some(place) = Self::NAMES.iter().position(|one| *one == name) {
            return Some(Self(COLOURS[place]));
        }
        let digits = name.strip_prefix('#').filter(|digits| digits.len() == 6)?;
        let hex = |digit: u8| digit.is_ascii_hexdigit();
        if !digits.bytes().all(hex) {
            return None;
        }
        let part = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        Some(Self(Color::Rgb(part(0)?, part(2)?, part(4)?)))
    }

    /// The colour of text on it, by its brightness.
    pub(crate) fn text(self) -> Color {
        let dark = match self.0 {
            Color::Red | Color::Blue | Color::Magenta => true,
            Color::Rgb(red, green, blue) => {
                u32::from(red) * 299 + u32::from(green) * 587 + u32::from(blue) * 114 < 128_000
            }
            _ => false,
        };
        if dark { Color::White } else { Color::Black }
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
    /// The output of all jobs.
    Logs,
    /// Changes of workers, queues, schedules and nodes.
    Events,
    /// Settings and their origin.
    Settings,
}

impl Screen {
    /// Every screen, in the order of the tabs.
    pub const ALL: [Self; 10] = [
        Self::Overview,
        Self::Jobs,
        Self::Queues,
        Self::Workers,
        Self::Schedules,
        Self::Dead,
        Self::Cluster,
        Self::Logs,
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
            Self::Logs => "logs",
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
            Self::Logs => 8,
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
pub struct TopOptions {
    /// The context in use, or the address of the server, for the header.
    pub context: String,
    /// The colour behind the name of the context.
    pub color: Option<ContextColor>,
    /// The other clusters that the user can go to; `None`: the session stays with its own.
    pub contexts: Option<Arc<dyn Contexts>>,
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
    /// The screen to start on; by default the one that the last session ended on.
    pub screen: Option<Screen>,
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
    /// The folder for what stays from one session to the next; `None`: nothing stays.
    pub state: Option<PathBuf>,
    /// Where relative file names of exports start.
    pub folder: PathBuf,
    /// The subcommands of `orx` by their names, and what each does, for the palette.
    pub commands: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_has_a_name_or_six_digits() {
        assert_eq!(ContextColor::named("red"), Some(ContextColor(Color::Red)));
        let orange = ContextColor::named("#E69F00").expect("a colour");
        assert_eq!((orange.0, orange.text()), (Color::Rgb(0xE6, 0x9F, 0), Color::Black));
        for wrong in ["", "Red", "#12345", "#1234567", "#12345g", "#+1+2+3", "#é1234"] {
            assert_eq!(ContextColor::named(wrong), None, "{wrong}");
        }
    }
}

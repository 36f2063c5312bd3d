//! `orx top`: the live dashboard.
//!
//! `state` is plain data, `update` a plain function from a message to effects, `view` draws the state.
//! [`run`] joins them: it reads keys and the clock, and carries the effects out. Requests go through
//! [`ServerCommands`], which [`ClientCommands`] implements over `orx-client`, [`SessionRecorder`] writes down, and
//! [`Replay`] plays. The crate knows no arguments or settings of the `orx` command line.

mod ansi;
mod api;
mod client;
mod columns;
mod events;
mod export;
#[cfg(test)]
mod fixtures;
mod keys;
mod layout;
mod look;
mod once;
mod options;
mod record;
mod run;
mod saved;
mod state;
mod terminal;
#[cfg(test)]
mod tests;
mod texts;
mod update;
mod view;

pub use api::{
    Answer, Context, Contexts, Failure, FailureKind, LiveNews, LogNews, LogRequest, Request,
    ServerCommands, Topic,
};
pub use client::ClientCommands;
pub use keys::{Action, KeyError, Keymap};
pub use once::{OverviewReport, overview, overview_text};
pub use options::{ContextColor, Screen, SettingLine, Theme, TopOptions};
pub use record::{Replay, SessionRecorder};
pub use run::{Ended, TopClock, has_terminal, run};

//! Stores themselves, without a server.

use crate::config::Config;
use crate::daemon::copy::{CopyOptions, copy};
use crate::daemon::store::Place;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Ui};

/// Stores themselves, without a server
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Move everything from one store to another, ids kept
    ///
    /// Jobs with their attempts and logs, dead letters, keys, schedules and tokens. Nothing may use either store
    /// meanwhile. The first one keeps all it has, and is marked as moved: no server takes it any more. A store is a state folder, for the SQLite file in it, or `postgres://user@host/db`;
    /// the password comes from PGPASSWORD or ~/.pgpass.
    #[command(after_long_help = super::help::STORE)]
    Copy {
        /// State folder, or `postgres://…`
        from: String,
        /// State folder, or `postgres://…`; empty
        to: String,
        /// Go on with a copy that was broken off
        #[arg(long)]
        resume: bool,
        /// Copy from a store that has moved already: it is taken for the home again
        #[arg(long)]
        force_source: bool,
    },
}

pub(crate) fn run(command: Command, config: Config, ui: &Ui) -> Result<Exit, CliError> {
    let Command::Copy { from, to, resume, force_source } = command;
    let (from, to) = (Place::parse(&from)?, Place::parse(&to)?);
    for place in [&from, &to] {
        if let Place::Folder(folder) = place
            && !folder.is_dir()
        {
            let message = format!("there is no folder `{}`", folder.display());
            return Err(CliError::new(Exit::NotFound, "not_found", message)
                .hint("a store is a state folder, or `postgres://user@host/database`"));
        }
    }
    let options = CopyOptions { from, to, resume, force_source, config };
    let copied = copy(options, |how_far| ui.note(&format!("copied {how_far}")))?;
    let lines = [
        ("from", Cell::new(copied.from.clone())),
        ("to", Cell::new(copied.to.clone())),
        ("jobs", Cell::new(copied.jobs.to_string())),
        ("log chunks", Cell::new(copied.log_chunks.to_string())),
        ("keys", Cell::new(copied.keys.to_string())),
        ("schedules", Cell::new(copied.schedules.to_string())),
        ("tokens", Cell::new(copied.tokens.to_string())),
        ("next job", Cell::new(copied.next_job.to_string())),
    ];
    ui.one(&copied, &copied.jobs.to_string(), &lines)?;
    Ok(Exit::Done)
}

//! Stores themselves, without a server.

use crate::config::Config;
use crate::daemon::copy::{CopyOptions, copy};
use crate::daemon::store::StoreLocation;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Ui};

/// Stores themselves, without a server
#[derive(Debug, clap::Subcommand)]
pub(crate) enum StoreSubcommand {
    /// Move everything from one store to another, ids kept
    ///
    /// Jobs with their attempts and logs, dead letters, keys, schedules and tokens. Nothing may use either store
    /// meanwhile. The first one keeps all it has, and is marked as moved: no server takes it any more. What cannot
    /// be read in it is named, and the rest is copied; but it has moved only with --skip-unreadable.
    ///
    /// A store is a state folder, for the SQLite file in it, or `postgres://user@host/db`; the password comes from
    /// PGPASSWORD or ~/.pgpass.
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
        /// Move without what cannot be read in the first one, which keeps it
        #[arg(long)]
        skip_unreadable: bool,
    },
}

pub(crate) fn run(command: StoreSubcommand, config: Config, ui: &Ui) -> Result<Exit, CliError> {
    let StoreSubcommand::Copy { from, to, resume, force_source, skip_unreadable } = command;
    let (from, to) = (StoreLocation::parse(&from)?, StoreLocation::parse(&to)?);
    for place in [&from, &to] {
        if let StoreLocation::Folder(folder) = place
            && !folder.is_dir()
        {
            let message = format!("there is no folder `{}`", folder.display());
            return Err(CliError::new(Exit::NotFound, "not_found", message)
                .hint("a store is a state folder, or `postgres://user@host/database`"));
        }
    }
    let options = CopyOptions { from, to, resume, force_source, skip_unreadable, config };
    let copied = copy(options, |how_far| ui.note(&format!("copied {how_far}")))?;
    for row in &copied.unreadable.jobs {
        ui.warn(&format!("job {} cannot be read, and is not copied: {}", row.id, row.why));
    }
    for row in &copied.unreadable.schedules {
        ui.warn(&format!("schedule {} cannot be read, and is not copied: {}", row.id, row.why));
    }
    let left: Vec<String> =
        copied.unreadable.counts().map(|(what, count)| format!("{count} {what}")).collect();
    let lines = [
        ("from", Cell::new(copied.from.clone())),
        ("to", Cell::new(copied.to.clone())),
        ("jobs", Cell::new(copied.jobs.to_string())),
        ("log chunks", Cell::new(copied.log_chunks.to_string())),
        ("keys", Cell::new(copied.keys.to_string())),
        ("schedules", Cell::new(copied.schedules.to_string())),
        ("tokens", Cell::new(copied.tokens.to_string())),
        ("next job", Cell::new(copied.next_job.to_string())),
        ("unreadable", Cell::new(if left.is_empty() { "none".into() } else { left.join(", ") })),
    ];
    ui.one(&copied, &copied.jobs.to_string(), &lines)?;
    if copied.moved {
        return Ok(Exit::Done);
    }
    let (from, to) = (copied.from, copied.to);
    let message = format!("`{from}` has not moved: some of it cannot be read");
    Err(CliError::new(Exit::Partial, "unreadable", message)
        .cause(format!("not in the copy: {}", left.join(", ")))
        .hint(format!(
            "a server on `{from}` shows them (`orx show`, `orx schedule show`); `orx store copy --resume \
             --skip-unreadable {from} {to}` moves without them"
        )))
}

//! `orx store`: work on stores directly, without a server.

use crate::config::Config;
use crate::daemon::copy::{CopyOptions, copy};
use crate::daemon::store::StoreLocation;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Ui};

/// Work on stores directly, without a server
#[derive(Debug, clap::Subcommand)]
pub(crate) enum StoreSubcommand {
    /// Move everything from one store to another; ids stay the same
    ///
    /// Copies jobs with their attempts and logs, dead letters, keys, schedules and tokens. No
    /// server may use either store meanwhile. The source keeps its content and is marked as moved:
    /// from then on servers refuse it. orx names each row that it cannot read and copies the rest;
    /// with such rows the source counts as moved only with --skip-unreadable.
    ///
    /// A store is a state folder, for the SQLite file in it, or `postgres://user@host/db`. The
    /// database password comes from PGPASSWORD or ~/.pgpass.
    #[command(after_long_help = super::help::STORE)]
    Copy {
        /// Source: a state folder, or `postgres://…`
        from: String,
        /// Target, which must be empty: a state folder, or `postgres://…`
        to: String,
        /// Continue a copy that was interrupted
        #[arg(long)]
        resume: bool,
        /// Copy from a store that is marked as moved
        #[arg(long)]
        force_source: bool,
        /// Move without the rows that cannot be read; the source keeps them
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
            let message = format!("the folder `{}` does not exist", folder.display());
            return Err(CliError::new(Exit::NotFound, "not_found", message)
                .hint("a store is a state folder, or `postgres://user@host/database`"));
        }
    }
    let options = CopyOptions { from, to, resume, force_source, skip_unreadable, config };
    let copied = copy(options, |progress| ui.note(&format!("copied {progress}")))?;
    for row in &copied.unreadable.jobs {
        ui.warn(&format!("did not copy job {}, which cannot be read: {}", row.id, row.why));
    }
    for row in &copied.unreadable.schedules {
        ui.warn(&format!("did not copy schedule {}, which cannot be read: {}", row.id, row.why));
    }
    let unreadable: Vec<String> =
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
        (
            "unreadable",
            Cell::new(if unreadable.is_empty() { "none".into() } else { unreadable.join(", ") }),
        ),
    ];
    ui.one(&copied, &copied.jobs.to_string(), &lines)?;
    if copied.moved {
        return Ok(Exit::Success);
    }
    let (from, to) = (copied.from, copied.to);
    let message = format!("`{from}` is not marked as moved, because some of it cannot be read");
    Err(CliError::new(Exit::Partial, "unreadable", message)
        .cause(format!("missing in the copy: {}", unreadable.join(", ")))
        .hint(format!(
            "`orx show` and `orx schedule show` print them, with a server on `{from}`; `orx store \
             copy --resume --skip-unreadable {from} {to}` moves without them"
        )))
}

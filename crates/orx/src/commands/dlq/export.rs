//! `orx dlq export`: dead letters as JSON lines.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use orx_model::limits::PAGE_ROWS;
use orx_model::wire::{DeadLetter, ListQuery, V};
use serde::Serialize;

use super::{FilterArgs, Session};
use crate::error::{CliError, Exit};

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Write to this new file, which only you can read, not to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A line of the export.
#[derive(Serialize)]
struct Line<'l> {
    v: u32,
    #[serde(flatten)]
    letter: &'l DeadLetter,
}

pub(crate) async fn run(args: ExportArgs, session: &Session) -> Result<Exit, CliError> {
    let filter = args.filter.expression(&session.ui)?;
    let Some(path) = &args.out else {
        write(session, filter, &mut std::io::stdout()).await?;
        return Ok(Exit::Success);
    };
    let mut file = BufWriter::new(create(path)?);
    let written = match write(session, filter, &mut file).await {
        Ok(count) => file.get_ref().sync_all().map(|()| count).map_err(CliError::from),
        Err(error) => Err(error),
    };
    match written {
        Ok(count) => {
            session.ui.note(&format!("wrote {count} dead letters to `{}`", path.display()));
            Ok(Exit::Success)
        }
        Err(error) => {
            // Half an export could pass for a whole one.
            let _ = std::fs::remove_file(path);
            Err(error)
        }
    }
}

/// Oldest first, page by page; returns how many.
async fn write(
    session: &Session,
    filter: Option<String>,
    out: &mut impl Write,
) -> Result<u64, CliError> {
    let limit = Some(PAGE_ROWS as u32);
    let mut query = ListQuery { filter, limit, oldest_first: Some(true), ..ListQuery::default() };
    let mut count = 0;
    loop {
        let page = session.client.dead_letters(&query).await?;
        for letter in &page.dead_letters {
            writeln!(out, "{}", session.ui.json_text(&Line { v: V, letter })?)?;
            count += 1;
        }
        out.flush()?;
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(count);
        }
    }
}

fn create(path: &Path) -> Result<File, CliError> {
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            let message = format!("the file `{}` exists already", path.display());
            CliError::new(Exit::Conflict, "file_exists", message)
                .hint("name another file, or remove this one: orx overwrites no file")
        }
        _ => CliError::usage(format!("could not create the file `{}`", path.display()))
            .cause(error.to_string()),
    })
}

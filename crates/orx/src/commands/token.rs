//! `orx token`: creates, lists and revokes tokens.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orx_model::token::{RevokeRequest, TokenMade, TokenRequest, TokenView};

use super::Session;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, Format, ListRow, Ui};

/// Create, list and revoke tokens
#[derive(Debug, clap::Subcommand)]
pub(crate) enum TokenSubcommand {
    /// Create a token; its text is printed once
    #[command(after_long_help = super::help::TOKEN_CREATE)]
    Create {
        /// Scopes: service, read, admin, exec, worker, node
        #[arg(long = "scope", value_name = "S,S", value_delimiter = ',', required = true)]
        scopes: Vec<String>,
        /// Expires after this time; without it, never
        #[arg(long, value_name = "D", value_parser = crate::duration)]
        expires: Option<Duration>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        /// Write it into a new file that only you can read, instead of printing it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List all tokens, without their text
    #[command(after_long_help = super::help::TOKEN)]
    List,
    /// Revoke tokens, with immediate effect
    #[command(after_long_help = super::help::TOKEN)]
    Revoke {
        /// Ids, as `orx token list` shows them
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
}

const COLUMNS: [Column; 8] = [
    ("ID", false),
    ("SCOPES", false),
    ("STATE", false),
    ("NOTE", false),
    ("EXPIRES", false),
    ("USED", false),
    ("CREATED", true),
    ("REVOKED", true),
];

pub(crate) async fn run(command: TokenSubcommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        TokenSubcommand::Create { scopes, expires, note, out } => {
            let expires_ms = expires.map(|span| span.as_millis() as u64);
            let request = TokenRequest { scopes, note, expires_ms };
            create(session, &request, out.as_deref()).await
        }
        TokenSubcommand::List => {
            let tokens = session.client.tokens().await?.tokens;
            print(&session.ui, &tokens)?;
            Ok(Exit::Success)
        }
        TokenSubcommand::Revoke { ids } => revoke(session, ids).await,
    }
}

async fn create(
    session: &Session,
    request: &TokenRequest,
    out: Option<&Path>,
) -> Result<Exit, CliError> {
    let ui = &session.ui;
    if ui.format == Format::Id && out.is_none() {
        return Err(CliError::usage("`-o id` prints only the id, so the token would be lost")
            .hint("add `--out FILE`, or omit `-o id`"));
    }
    let names: &[&str] = match ui.format {
        Format::Json | Format::Jsonl => {
            &["v", "id", "token", "scopes", "note", "created_at", "expires_at", "file"]
        }
        Format::Tsv => &["id", "scopes", "note", "expires", "token"],
        Format::Id | Format::Table | Format::Wide => &[],
    };
    if !names.is_empty() {
        ui.check_fields(names)?;
        let mut fields = ui.fields.iter().flatten();
        if out.is_none()
            && ui.fields.is_some()
            && !fields.any(|it| it.eq_ignore_ascii_case("token"))
        {
            return Err(CliError::usage(
                "`--fields` leaves out `token`, so the token would be lost",
            )
            .hint("add `token` to `--fields`, or add `--out FILE`"));
        }
    }
    // Create the file first: a token that cannot be written would be lost.
    let file = out.map(NewFile::create).transpose()?;
    let made = session.client.create_token(request).await?;
    if let Some(file) = file {
        file.keep(&made.token)?;
    }
    let shown = if out.is_none() { Some(made.token.as_str()) } else { None };
    match ui.format {
        Format::Json | Format::Jsonl => {
            let mut value = serde_json::to_value(&made)?;
            if let (Some(object), Some(path)) = (value.as_object_mut(), out) {
                object.remove("token");
                object.insert("file".to_owned(), path.display().to_string().into());
            }
            ui.one(&value, &made.id, &[])?;
        }
        Format::Id => ui.one(&made.id, &made.id, &[])?,
        Format::Tsv => {
            let mut lines = vec![
                ("id", Cell::new(made.id.clone())),
                ("scopes", Cell::new(made.scopes.join(","))),
                ("note", Cell::new(made.note.clone())),
                ("expires", Cell::option(made.expires_at.map(|at| ui.time(at)))),
            ];
            lines.extend(shown.map(|token| ("token", Cell::new(token))));
            ui.one(&(), &made.id, &lines)?;
        }
        Format::Table | Format::Wide => {
            if let Some(token) = shown {
                // The token alone goes to standard output, so that a script can use it.
                ui.raw(format!("{token}\n").as_bytes())?;
            }
            ui.note(&created_text(ui, &made, out));
        }
    }
    Ok(Exit::Success)
}

fn created_text(ui: &Ui, made: &TokenMade, out: Option<&Path>) -> String {
    let scopes = made.scopes.join(", ");
    let expires = made.expires_at.map(|at| format!(", expires {}", ui.time(at)));
    let expires = expires.unwrap_or_default();
    let action = match out {
        Some(path) => format!("is in the file `{}`", path.display()),
        None => "is printed only this once".to_owned(),
    };
    format!("the token `{}` ({scopes}{expires}) {action}", made.id)
}

/// A new file with mode 0600. It is removed on drop, unless `keep` has written the token.
struct NewFile<'a> {
    path: &'a Path,
    file: std::fs::File,
    is_complete: bool,
}

impl<'a> NewFile<'a> {
    fn create(path: &'a Path) -> Result<Self, CliError> {
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        match made {
            Ok(file) => Ok(Self { path, file, is_complete: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let message = format!("the file `{}` exists already", path.display());
                Err(CliError::new(Exit::Conflict, "file_exists", message)
                    .hint("name another file, or remove this one: orx overwrites no file"))
            }
            Err(error) => {
                let message = format!("could not create the file `{}`", path.display());
                Err(CliError::usage(message).cause(error.to_string()))
            }
        }
    }

    fn keep(mut self, token: &str) -> Result<(), CliError> {
        let written = writeln!(self.file, "{token}").and_then(|()| self.file.sync_all());
        written.map_err(|error| {
            let message = format!("could not write the token to `{}`", self.path.display());
            CliError::new(Exit::Failed, "io", message)
                .cause(error.to_string())
                .hint("`orx token list` shows its id: revoke it, and create another")
        })?;
        self.is_complete = true;
        Ok(())
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if !self.is_complete {
            // The file is empty; it does no harm if it stays.
            let _ = std::fs::remove_file(self.path);
        }
    }
}

async fn revoke(session: &Session, ids: Vec<String>) -> Result<Exit, CliError> {
    if ids.iter().any(|id| id.contains('_')) {
        // Most likely the token itself: it must not be printed, nor sent as an id.
        return Err(CliError::usage("expected the id of a token, found what may be the token")
            .hint(
                "the id is the third part of a token, 16 characters; `orx token list` shows it",
            ));
    }
    let ui = &session.ui;
    let answer = session.client.revoke_tokens(&RevokeRequest { ids }).await?;
    if ui.format.is_human() {
        if !ui.quiet {
            for one in &answer.tokens {
                ui.raw(format!("revoked {}\n", one.id).as_bytes())?;
            }
        }
    } else {
        print(ui, &answer.tokens)?;
    }
    Ok(Exit::Success)
}

fn print(ui: &Ui, tokens: &[TokenView]) -> Result<(), CliError> {
    let row = |one: &TokenView| -> Result<ListRow, CliError> {
        let time = |at: Option<orx_model::Timestamp>| Cell::option(at.map(|at| ui.time(at)));
        Ok(ListRow {
            json: serde_json::to_value(one)?,
            id: one.id.clone(),
            cells: vec![
                Cell::new(one.id.clone()),
                Cell::new(one.scopes.join(",")),
                Cell::new(one.state.as_str()),
                Cell::new(one.note.clone()),
                time(one.expires_at),
                time(one.last_used_at),
                time(Some(one.created_at)),
                time(one.revoked_at),
            ],
        })
    };
    let rows: Result<Vec<ListRow>, CliError> = tokens.iter().map(row).collect();
    ui.list(&COLUMNS, &rows?)
}

//! What a running command tells its worker.

use orx_model::log::Level;
use orx_model::time::parse_duration;
use orx_worker::ctx::{CtxError, CtxRequest, send};

use super::read_stdin;
use crate::error::{CliError, Exit};
use crate::ui::Ui;

/// Inside a job: tell progress, log lines, the result, or how it ends
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CtxSubcommand {
    /// Tell how far the job is, 0 to 100
    #[command(after_long_help = super::help::CTX)]
    Progress {
        percent: f64,
        /// What it is doing
        text: Option<String>,
    },
    /// Write a log line
    #[command(after_long_help = super::help::CTX)]
    Log {
        message: String,
        /// trace, debug, info, warn or error
        #[arg(long, default_value = "info")]
        level: Level,
    },
    /// Give the job's result, as JSON; `-` reads it from standard input
    #[command(after_long_help = super::help::CTX)]
    Result { json: String },
    /// However it exits: run it again after this time, at no cost of retries
    #[command(after_long_help = super::help::CTX)]
    Snooze { duration: String },
    /// However it exits: it failed
    #[command(after_long_help = super::help::CTX)]
    Fail {
        message: String,
        /// Another try is useless
        #[arg(long)]
        no_retry: bool,
    },
}

pub(crate) fn run(command: CtxSubcommand, ui: &Ui) -> Result<Exit, CliError> {
    let request = match command {
        CtxSubcommand::Progress { percent, text } => CtxRequest::Progress { percent, text },
        CtxSubcommand::Log { message, level } => CtxRequest::Log { level, message },
        CtxSubcommand::Result { json } => {
            let text = if json == "-" {
                let bytes = read_stdin(ui, orx_model::limits::RESULT_BYTES)?;
                String::from_utf8_lossy(&bytes).into_owned()
            } else {
                json
            };
            let value = serde_json::from_str(&text).map_err(|error| {
                CliError::usage("the result is no valid JSON").cause(error.to_string())
            })?;
            CtxRequest::Result { value }
        }
        CtxSubcommand::Snooze { duration } => {
            let span =
                parse_duration(&duration).map_err(|error| CliError::usage(error.to_string()))?;
            CtxRequest::Snooze { for_ms: span.as_millis() as u64 }
        }
        CtxSubcommand::Fail { message, no_retry } => CtxRequest::Fail { message, retry: !no_retry },
    };
    send(request).map_err(|error| {
        let exit = match &error {
            CtxError::Outside | CtxError::Refused(_) => Exit::Usage,
            CtxError::Unreachable(_) => Exit::NoServer,
        };
        let told = CliError::new(exit, "ctx", error.to_string());
        match std::error::Error::source(&error) {
            Some(source) => told.cause(source.to_string()),
            None => told.hint("`orx ctx` works in a command that orx runs"),
        }
    })?;
    Ok(Exit::Done)
}

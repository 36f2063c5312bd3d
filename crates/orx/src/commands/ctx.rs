//! `orx ctx`: a running job reports to its worker.

use orx_model::log::Level;
use orx_model::time::parse_duration;
use orx_worker::ctx::{CtxError, CtxRequest, send};

use super::read_stdin;
use crate::error::{CliError, Exit};
use crate::ui::Ui;

/// Report progress, log lines, the result or the outcome from inside a job
#[derive(Debug, clap::Subcommand)]
pub(crate) enum CtxSubcommand {
    /// Report the progress of the job
    #[command(after_long_help = super::help::CTX)]
    Progress {
        /// 0 to 100
        percent: f64,
        /// What the job is doing
        text: Option<String>,
    },
    /// Write a log line
    #[command(after_long_help = super::help::CTX)]
    Log {
        /// Text of the line
        message: String,
        /// trace, debug, info, warn or error
        #[arg(long, default_value = "info")]
        level: Level,
    },
    /// Set the job's result
    #[command(after_long_help = super::help::CTX)]
    Result {
        /// The result as JSON; `-` reads it from standard input
        json: String,
    },
    /// Run the job again after a while, whatever its exit code; uses up no retry
    #[command(after_long_help = super::help::CTX)]
    Snooze {
        /// Time until the next attempt
        duration: String,
    },
    /// Let the attempt fail, whatever its exit code
    #[command(after_long_help = super::help::CTX)]
    Fail {
        /// The error to record
        message: String,
        /// Do not retry: another attempt would fail too
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
                CliError::usage("the result is not valid JSON").cause(error.to_string())
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
        let cli_error = CliError::new(exit, "ctx", error.to_string());
        match std::error::Error::source(&error) {
            Some(source) => cli_error.cause(source.to_string()),
            None => cli_error.hint("`orx ctx` works only in a command that orx runs as a job"),
        }
    })?;
    Ok(Exit::Success)
}

//! What goes wrong, in words for people and codes for scripts.

use orx_client::ClientError;
use orx_model::{Code, Problem};

/// How a command ends. Part of the interface: never renumbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// The awaited job failed, timed out or is dead; or something was found.
    Failed,
    Usage,
    NotFound,
    Conflict,
    NotAllowed,
    /// The awaited job was cancelled.
    Cancelled,
    /// Done in part.
    Partial,
    NoServer,
    TryLater,
    /// The time to wait is over, or that of a command.
    TimedOut,
    /// Of a server that a command started in the background, for that command alone: its store has
    /// moved, is newer, or cannot be served for another reason that a second start does not change.
    StoreRefused,
    /// `run` itself failed.
    RunFailed,
    /// By the signal of this number.
    Interrupted(i32),
    /// The code of a job's command.
    Command(u8),
}

impl Exit {
    #[must_use]
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::NotAllowed => 5,
            Self::Cancelled => 6,
            Self::Partial => 7,
            Self::NoServer => 69,
            Self::TryLater => 75,
            Self::StoreRefused => 78,
            Self::TimedOut => 124,
            Self::RunFailed => 125,
            Self::Interrupted(signal) => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)),
            Self::Command(code) => code,
        }
    }
}

/// The table of `orx help exit-codes` and of every man page.
pub(crate) const EXIT_CODES: &str = "  0    done
  1    the awaited job failed, timed out or is dead
  2    usage: a flag, an argument or the configuration is wrong
  3    not found
  4    conflict: the state, or a key used before, does not allow it
  5    not allowed: no token, a wrong one, or one without the scope
  6    the awaited job was cancelled
  7    done in part
  69   no server was reached
  75   try later
  124  --timeout has passed, or a command ran past its --job-timeout
  125  `orx run` itself failed, or its job was lost and must not run twice
  126  the worker cannot execute the command
  127  the worker cannot find the command
  129  interrupted by SIGHUP, as of a terminal that closes
  130  interrupted by SIGINT, as of Ctrl-C
  143  interrupted by SIGTERM
`orx run`, and `--wait` for one command, end with the command's own code, or
128 and the number of the signal that ended it. `orx run` whose output nobody
reads any more (`| head`) cancels its job and ends with 0.
";

const CLOSED_PIPE: &str = "closed_pipe";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    pub(crate) code: String,
    /// What happened, with the value in backticks.
    pub(crate) message: String,
    /// What was found.
    pub(crate) cause: Option<String>,
    /// What to do next.
    pub(crate) hint: Option<String>,
    pub(crate) request_id: Option<String>,
    /// Names that were perhaps meant.
    pub(crate) next: Vec<String>,
}

impl CliError {
    pub(crate) fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            message: message.into(),
            cause: None,
            hint: None,
            request_id: None,
            next: Vec::new(),
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// Nobody reads the output any more.
    #[must_use]
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.code == CLOSED_PIPE
    }

    #[must_use]
    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> Self {
        let exit = match problem.code {
            Code::BadRequest
            | Code::TooLarge
            | Code::MethodNotAllowed
            | Code::UnsupportedMediaType
            | Code::TooMany
            | Code::TooBroad => Exit::Usage,
            Code::Unauthenticated
            | Code::NotAllowed
            | Code::NotThisWorker
            | Code::ForeignOrigin => Exit::NotAllowed,
            Code::NotFound => Exit::NotFound,
            Code::KeyConflict | Code::StateConflict => Exit::Conflict,
            Code::Unavailable
            | Code::StoreFull
            | Code::TimedOut
            | Code::RateLimited
            | Code::SlowRequest => Exit::TryLater,
            Code::Internal | Code::Unknown => Exit::Failed,
        };
        Self {
            exit,
            code: problem.code.as_str().to_owned(),
            message: problem.detail,
            cause: problem.cause,
            hint: problem.hint,
            request_id: problem.request_id,
            next: problem.candidates,
        }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Problem(problem) => (*problem).into(),
            ClientError::Unreachable { cause, .. } => {
                Self::new(Exit::NoServer, "unreachable", message)
                    .cause(cause)
                    .hint("`orx daemon server` starts one here; `--url` names another")
            }
            ClientError::Untrusted { cause, hint, .. } => {
                Self::new(Exit::NoServer, "untrusted", message).cause(cause).hint(hint)
            }
            ClientError::UnexpectedAnswer { cause, .. } => {
                Self::new(Exit::NoServer, "strange_answer", message)
                    .cause(cause)
                    .hint("is it an orx server, and of a like version?")
            }
            ClientError::NoServer { cause, hint, .. } => Self {
                cause,
                ..Self::new(Exit::NoServer, "no_server", message).hint(hint.unwrap_or_else(|| {
                    "`orx daemon server` starts one here; `--url` names another".to_owned()
                }))
            },
        }
    }
}

/// Output that nobody reads any more ends the command quietly; any other trouble is said.
impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, CLOSED_PIPE, "");
        }
        Self::new(Exit::Failed, "io", "could not read or write").cause(error.to_string())
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        if error.io_error_kind() == Some(std::io::ErrorKind::BrokenPipe) {
            return Self::new(Exit::Done, CLOSED_PIPE, "");
        }
        Self::new(Exit::Failed, "json", "could not write JSON").cause(error.to_string())
    }
}

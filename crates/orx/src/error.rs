//! Errors of commands: a message, cause and hint for people, an exit code for scripts.

use orx_client::ClientError;
use orx_model::{Code, Problem};

/// How a command ends. The codes are part of the interface: they are never renumbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Success,
    /// The awaited job failed, timed out or is a dead letter; or a check such as `diff` or `lint`
    /// found something.
    Failed,
    Usage,
    NotFound,
    Conflict,
    NotAllowed,
    /// The awaited job was cancelled.
    Cancelled,
    /// Some of the work was done, the rest was not.
    Partial,
    NoServer,
    TryLater,
    /// `--timeout` has passed, or the job's command ran past its own timeout.
    TimedOut,
    /// A background server cannot serve its store, and a second start would not change that: the
    /// store has moved, or a newer version wrote it. Only the command that started the server sees
    /// this code.
    StoreRefused,
    /// `orx run` itself failed, not its command.
    RunFailed,
    /// A signal of this number ended the command.
    Interrupted(i32),
    /// The job's command ended with this code.
    Command(u8),
}

impl Exit {
    #[must_use]
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
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
  1    the awaited job failed, timed out or is a dead letter; `diff` or `lint`
       found something; or another error
  2    usage: a flag, an argument or the configuration is wrong
  3    not found
  4    conflict: the state, or a key used before, does not allow it
  5    not allowed: the token is missing, wrong, or lacks the scope
  6    the awaited job was cancelled
  7    done in part: some of the jobs or lines were refused
  69   no server was reached
  75   try again later
  124  --timeout has passed, or the command ran past its --job-timeout
  125  `orx run` itself failed, or its job was lost and must not run twice
  126  the worker cannot execute the command
  127  the worker cannot find the command
  129  interrupted by SIGHUP, as when a terminal closes
  130  interrupted by SIGINT, as with Ctrl-C
  143  interrupted by SIGTERM
`orx run`, and `--wait` for a single command, end with the command's own code,
or with 128 plus the number of the signal that ended it. If the reader of its
output closes it (`| head`), `orx run` cancels its job and ends with 0.
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
    /// Names close to a misspelt one.
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

    /// Standard output is a pipe that its reader has closed.
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
                    .hint("check that this is the address of an orx server, and compare versions")
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

/// A closed output pipe ends the command without a message; any other I/O error is reported.
impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Success, CLOSED_PIPE, "");
        }
        Self::new(Exit::Failed, "io", "could not read or write a file or stream")
            .cause(error.to_string())
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        if error.io_error_kind() == Some(std::io::ErrorKind::BrokenPipe) {
            return Self::new(Exit::Success, CLOSED_PIPE, "");
        }
        Self::new(Exit::Failed, "json", "could not write JSON").cause(error.to_string())
    }
}

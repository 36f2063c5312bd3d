//! Why a call failed.

use orx_model::{Code, Problem};

/// Why a call failed. The texts are for people.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection failed, or no answer came in time.
    #[error("could not reach the server at {url}")]
    Unreachable {
        /// The address that was called.
        url: String,
        /// The innermost cause.
        cause: String,
    },
    /// The server's certificate is not trusted, or the server does not use TLS.
    #[error("could not connect securely to the server at {url}")]
    Untrusted {
        /// The address that was called.
        url: String,
        /// What is wrong.
        cause: String,
        /// What to do.
        hint: &'static str,
    },
    /// The server answered with a problem.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The answer is not one of orx.
    #[error("the server at {url} does not answer as orx does")]
    UnexpectedAnswer {
        /// The address that was called.
        url: String,
        /// What is wrong with the answer.
        cause: String,
    },
    /// No server was found, or none could be started.
    #[error("{message}")]
    NoServer {
        /// What failed.
        message: String,
        /// Why; set if a server could not be started.
        cause: Option<String>,
        /// What to do.
        hint: Option<String>,
    },
}

impl From<Problem> for ClientError {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl ClientError {
    /// [`Self::NoServer`] without cause and hint.
    #[must_use]
    pub fn no_server(message: impl Into<String>) -> Self {
        Self::NoServer { message: message.into(), cause: None, hint: None }
    }

    /// Whether the same call may succeed later or at another server.
    #[must_use]
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Problem(problem) => matches!(problem.code, Code::Unavailable | Code::TimedOut),
            Self::UnexpectedAnswer { .. } | Self::NoServer { .. } | Self::Untrusted { .. } => false,
        }
    }
}

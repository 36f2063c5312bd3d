//! Errors of a message to the server, by what the store does next.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::StoreError;

type ErrorSource = Box<dyn std::error::Error + Send + Sync>;

const UNPREPARED: &str = "a proxy does not support prepared statements";

#[derive(Debug)]
pub(super) enum DbError {
    /// There was no session, so nothing was sent.
    NotSent(ErrorSource),
    /// The session does not have the statement that was prepared in it, so nothing changed: a proxy moved
    /// the message to another session.
    Unprepared,
    /// The session ended during the message, which may have been committed.
    Lost(ErrorSource),
    /// The message timed out and its session was closed. It may have been committed.
    Late,
    /// Rolled back by the server because of a conflict with another transaction. The store sends it again.
    Again,
    /// Rolled back by the server: it waited too long for a lock, ran too long, or exceeded a limit.
    Busy,
    /// Rolled back by the server: its disk is full.
    Full,
    /// Rolled back by the server, which accepts no writes: it is a replica, or its disk fails.
    ReadOnly(ErrorSource),
    /// The caller does not hold the lease, so its statement changed nothing.
    Deposed,
    /// The store is closed.
    Closed,
    /// The command itself is invalid and was rolled back.
    Command(ErrorSource),
    /// The answer does not have the expected form. A write was committed before.
    Unreadable(ErrorSource),
}

pub(super) type DbResult<T> = std::result::Result<T, DbError>;

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(refused) = &error else {
            return match error {
                // The answer does not have the expected form.
                sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::ColumnIndexOutOfBounds { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::Encode(_) => Self::Unreadable(error.into()),
                error => Self::Lost(error.into()),
            };
        };
        let code = refused.code().unwrap_or_default().into_owned();
        let refused = refused.try_downcast_ref::<PgDatabaseError>();
        let severity = refused.map(PgDatabaseError::severity);
        match code.as_str() {
            // The error ended the session, and possibly the server.
            _ if matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic)) => {
                Self::Lost(error.into())
            }
            "40001" | "40P01" => Self::Again,
            "53100" => Self::Full,
            // Statement or lock timeout; out of memory or connections, or another limit.
            "57014" | "55P03" => Self::Busy,
            code if code.starts_with("53") => Self::Busy,
            "26000" | "42P05" => Self::Unprepared,
            "25006" => Self::ReadOnly(error.into()),
            code if code.starts_with("58") => Self::ReadOnly(error.into()),
            // Shutdown, crash or startup; any error of a proxy, with or without a code; and a commit whose
            // outcome the server itself does not know.
            "" | "40003" => Self::Lost(error.into()),
            code if code.starts_with("57P") || code.starts_with("08") => Self::Lost(error.into()),
            _ => Self::Command(error.into()),
        }
    }
}

impl From<serde_json::Error> for DbError {
    fn from(error: serde_json::Error) -> Self {
        Self::Command(error.into())
    }
}

impl From<orx_model::status::IllegalMove> for DbError {
    fn from(error: orx_model::status::IllegalMove) -> Self {
        Self::Command(error.into())
    }
}

impl DbError {
    /// The error of the whole call if an earlier part of it was committed, or may have been (`done`): an
    /// error that promises no change becomes [`Self::Late`].
    pub(super) fn after(self, done: bool) -> Self {
        match self {
            Self::NotSent(_)
            | Self::Unprepared
            | Self::Again
            | Self::Busy
            | Self::Full
            | Self::ReadOnly(_)
            | Self::Command(_)
                if done =>
            {
                Self::Late
            }
            failure => failure,
        }
    }

    /// Whether the session has to be closed.
    pub(super) fn ends_session(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Late | Self::ReadOnly(_) | Self::Unprepared)
    }

    /// The same error for another caller of the batch.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::NotSent(source) => Self::NotSent(source.to_string().into()),
            Self::Unprepared => Self::Unprepared,
            Self::Lost(_) | Self::Late => Self::Late,
            Self::Again | Self::Busy => Self::Busy,
            Self::Full => Self::Full,
            Self::ReadOnly(source) => Self::ReadOnly(source.to_string().into()),
            Self::Deposed => Self::Deposed,
            Self::Closed => Self::Closed,
            Self::Command(source) => Self::Command(source.to_string().into()),
            Self::Unreadable(source) => Self::Unreadable(source.to_string().into()),
        }
    }

    /// The error for a caller. With `reads`, the call changes nothing, so its outcome is never unknown.
    pub(super) fn for_caller(self, action: &'static str, store: &str, reads: bool) -> StoreError {
        let away = |source| StoreError::Unavailable { store: store.to_owned(), source };
        match self {
            Self::NotSent(source) | Self::ReadOnly(source) => away(source),
            Self::Unprepared => away(UNPREPARED.into()),
            Self::Lost(source) if reads => away(source),
            Self::Unreadable(source) if reads => StoreError::Backend { action, source },
            Self::Lost(_) | Self::Late | Self::Unreadable(_) => StoreError::Unknown,
            Self::Again | Self::Busy => StoreError::Busy,
            Self::Full => StoreError::Full,
            Self::Deposed => StoreError::Deposed,
            Self::Closed => StoreError::Closed,
            Self::Command(source) => StoreError::Backend { action, source },
        }
    }
}

//! What can go wrong with a message, told apart by what must follow.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::StoreError;

type Source = Box<dyn std::error::Error + Send + Sync>;

const UNPREPARED: &str = "a proxy does not keep prepared statements";

#[derive(Debug)]
pub(super) enum DbError {
    /// No session, so nothing was sent.
    NotSent(Source),
    /// The session does not know the statement that was prepared in it, so nothing was done: a proxy gives
    /// messages to other sessions and keeps no statements.
    Unprepared,
    /// The session ended under the message: what became of it is not known.
    Lost(Source),
    /// No answer in time. The session was closed, and what became of the message is not known.
    Late,
    /// Undone by the server, because of others at the same rows: to be sent again.
    Again,
    /// Undone by the server: it waited too long for others, or took too long.
    Busy,
    /// Undone by the server: no room on its disk.
    Full,
    /// Undone by the server, which takes no writes: it is, or has become, a replica, or its disk
    /// fails.
    ReadOnly(Source),
    /// The leader's statement changed nothing: the lease is another's.
    Deposed,
    Closed,
    /// This command alone cannot be done, and was undone.
    Command(Source),
    /// What was answered does not read as what was asked for. A write was done by then.
    Unreadable(Source),
}

pub(super) type DbResult<T> = std::result::Result<T, DbError>;

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(refused) = &error else {
            return match error {
                // What came does not read as what was asked for.
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
            // The session ended with it, and perhaps the whole server.
            _ if matches!(severity, Some(PgSeverity::Fatal | PgSeverity::Panic)) => {
                Self::Lost(error.into())
            }
            "40001" | "40P01" => Self::Again,
            "53100" => Self::Full,
            // Cancelled for its time, no lock in time; no memory, no slot, or another limit.
            "57014" | "55P03" => Self::Busy,
            code if code.starts_with("53") => Self::Busy,
            "26000" | "42P05" => Self::Unprepared,
            "25006" => Self::ReadOnly(error.into()),
            code if code.starts_with("58") => Self::ReadOnly(error.into()),
            // Ended by an operator or a crash, starting up; all that a proxy says of a session, with
            // or without a code; and what the server itself does not know.
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
    /// What it is where something of the same call was done before, or may have been: nobody can say
    /// that nothing was changed.
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
            trouble => trouble,
        }
    }

    /// The session may not be used any more.
    pub(super) fn ends_session(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Late | Self::ReadOnly(_) | Self::Unprepared)
    }

    /// The same, for another caller of the same batch.
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

    /// `reads`: what was asked for changes nothing, so there is nothing unknown about it.
    pub(super) fn for_caller(self, action: &'static str, store: &str, reads: bool) -> StoreError {
        let away = |source| StoreError::Away { store: store.to_owned(), source };
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

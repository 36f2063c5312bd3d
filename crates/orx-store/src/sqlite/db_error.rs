//! What can go wrong inside a transaction, told apart by what must follow.

use crate::StoreError;

/// Why a command, or its batch, was not done.
#[derive(Debug)]
pub(super) enum DbError {
    /// No room: the batch is rolled back, and the store goes on.
    Full,
    /// The disk failed or lies: nothing more is written until the file is opened again.
    Disk(rusqlite::Error),
    /// This command alone cannot be done.
    Command(Box<dyn std::error::Error + Send + Sync>),
}

pub(super) type DbResult<T> = std::result::Result<T, DbError>;

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as E;
        let rusqlite::Error::SqliteFailure(code, _) = &error else {
            return Self::Command(error.into());
        };
        match code.code {
            E::DiskFull => Self::Full,
            // The file shared by the connections could not grow: said as a failure, it is a full
            // disk as often.
            E::SystemIoFailure if code.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => {
                Self::Full
            }
            E::SystemIoFailure | E::DatabaseCorrupt | E::NotADatabase | E::ReadOnly => {
                Self::Disk(error)
            }
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
    pub(super) fn for_caller(self, action: &'static str) -> StoreError {
        match self {
            Self::Full => StoreError::Full,
            Self::Disk(_) => StoreError::Failed,
            Self::Command(source) => StoreError::Backend { action, source },
        }
    }
}

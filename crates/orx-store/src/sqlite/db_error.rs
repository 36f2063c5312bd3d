//! Errors inside a transaction: a variant for each way in which the writer continues.

use crate::StoreError;

/// Why a command, or its batch, failed.
#[derive(Debug)]
pub(super) enum DbError {
    /// The disk is full: the writer rolls the batch back and continues.
    Full,
    /// The disk failed, or the file is corrupt: the writer ends.
    Disk(rusqlite::Error),
    /// Only this command fails.
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
            // The shared memory file could not grow. SQLite reports an I/O error; the usual cause is a
            // full disk.
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

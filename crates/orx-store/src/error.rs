//! What can go wrong in a store: a variant for each thing a caller would do differently.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store `{path}` has schema {found}, this orx reads up to {known}")]
    NewerSchema { path: PathBuf, found: u32, known: u32 },
    #[error("the state folder `{path}` is held by another server")]
    Held { path: PathBuf },
    #[error("the store `{path}` is damaged: {detail}")]
    Damaged { path: PathBuf, detail: String },
    #[error("could not open the store `{path}`")]
    Open { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    /// Nothing was changed.
    #[error("no room on the disk of the store")]
    Full,
    /// Nothing was changed: too many calls wait already.
    #[error("the store has more to do than it can take")]
    Busy,
    #[error("the filter would have to read more than {limit} jobs")]
    TooBroad { limit: u64 },
    /// The change may have been made, or not.
    #[error("the store did not answer in time")]
    Unknown,
    /// The disk failed under the store: what is on it is unknown until it is opened again.
    #[error("the store's disk failed")]
    Failed,
    /// Nothing was changed: another node leads now.
    #[error("another node leads now")]
    Deposed,
    #[error("the store is closed")]
    Closed,
    /// Nothing was changed. The cause is in `source`.
    #[error("could not {action}")]
    Backend { action: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
}

impl StoreError {
    /// What the operator can do next, where we know it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NewerSchema { .. } => Some("a newer orx wrote it: upgrade this one"),
            Self::Held { .. } => {
                Some("stop that server, or name another folder with `--state` or `ORX_STATE`")
            }
            Self::Damaged { .. } => {
                Some("move the file away and restore a copy; `sqlite3 FILE .recover` may save rows")
            }
            Self::Open { .. } => Some("check that the folder exists and can be written"),
            Self::Full => Some("make room on the disk; the server goes on by itself"),
            Self::Busy | Self::Unknown => Some("try again"),
            Self::TooBroad { .. } => Some("narrow it with `since:`, `status:` or `queue:`"),
            Self::Failed => Some("check the disk, then start the server again"),
            Self::Deposed | Self::Closed | Self::Backend { .. } => None,
        }
    }
}

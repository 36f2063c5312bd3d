//! What can go wrong in a store: a variant for each thing a caller would do differently.

/// `store` is a path, or a URL without its password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store `{store}` has schema {found}, this orx reads up to {known}")]
    NewerSchema { store: String, found: u32, known: u32 },
    #[error("the state folder `{store}` is held by another server")]
    Held { store: String },
    #[error("the store `{store}` is damaged: {detail}")]
    Damaged { store: String, detail: String },
    #[error("could not open the store `{store}`")]
    Open { store: String, source: Box<dyn std::error::Error + Send + Sync> },
    /// What the store promises rests on a setting of the database that stands otherwise.
    #[error("the store `{store}` has `{setting}` = `{found}`, and needs {needed}")]
    Unsafe { store: String, setting: &'static str, found: String, needed: &'static str },
    /// The database was reached, and no trusted connection came about.
    #[error("no trusted TLS connection to the store `{store}`: {detail}")]
    Tls { store: String, detail: String },
    /// Everything was copied to another store, which is served in place of this one.
    #[error("the store `{store}` has moved to `{to}`")]
    Moved { store: String, to: String },
    /// Nothing was changed: the database was not reached, or takes no writes.
    #[error("the store `{store}` is away")]
    Away { store: String, source: Box<dyn std::error::Error + Send + Sync> },
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

/// The setting of a proxy that pools transactions, above 0 where it keeps prepared statements.
pub(crate) const KEPT_STATEMENTS: &str = "max_prepared_statements";

/// What was made ready for its rows, or why it could not be.
pub(crate) fn prepared<T>(
    action: &'static str,
    made: serde_json::Result<T>,
) -> Result<T, StoreError> {
    made.map_err(|error| StoreError::Backend { action, source: error.into() })
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
            Self::Open { .. } => Some("check that it exists and can be written"),
            Self::Unsafe { setting: KEPT_STATEMENTS, .. } => {
                Some("set it in the proxy, or connect to the server itself")
            }
            Self::Unsafe { .. } => {
                Some("set it with `ALTER DATABASE … SET` or in `postgresql.conf`, or accept losses")
            }
            Self::Tls { .. } => Some(
                "`sslrootcert=FILE` in its URL names the authority's certificate, PEM; \
                 `SSL_CERT_FILE` names another file in place of the system's authorities",
            ),
            Self::Moved { .. } => Some("serve that one"),
            Self::Away { .. } => {
                Some("check that the database runs and takes writes; then try again")
            }
            Self::Full => Some("make room on the disk; the server goes on by itself"),
            Self::Busy | Self::Unknown => Some("try again"),
            Self::TooBroad { .. } => Some("narrow it with `since:`, `status:` or `queue:`"),
            Self::Failed => Some("check the disk, then start the server again"),
            Self::Deposed | Self::Closed | Self::Backend { .. } => None,
        }
    }
}

//! The errors of a store: a variant for each thing that a caller handles differently.

/// Why a call of a store failed. `store` is a path, or a URL without its password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A newer orx migrated the store.
    #[error("the store `{store}` has schema {found}, this orx reads up to {known}")]
    NewerSchema {
        /// Path or URL.
        store: String,
        /// Version of the schema in the store.
        found: u32,
        /// Newest version that this orx reads.
        known: u32,
    },
    /// Another process has the file open.
    #[error("the state folder `{store}` is held by another server")]
    Held {
        /// The folder of the file.
        store: String,
    },
    /// The file or database holds something else, or its content is inconsistent.
    #[error("the store `{store}` is damaged: {detail}")]
    Damaged {
        /// Path or URL.
        store: String,
        /// What was found.
        detail: String,
    },
    /// The file or database cannot be opened.
    #[error("could not open the store `{store}`")]
    Open {
        /// Path or URL.
        store: String,
        /// The error of the system or database.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// With this setting the database does not keep the durability that the store promises.
    #[error("the store `{store}` has `{setting}` = `{found}`, and needs {needed}")]
    Unsafe {
        /// URL.
        store: String,
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The values that the store accepts.
        needed: &'static str,
    },
    /// The database answers, but no trusted TLS connection to it could be made.
    #[error("no trusted TLS connection to the store `{store}`: {detail}")]
    Tls {
        /// URL.
        store: String,
        /// What the handshake reported.
        detail: String,
    },
    /// A copy replaced this store ([`Home::moved_to`](crate::Home::moved_to)).
    #[error("the store `{store}` has moved to `{to}`")]
    Moved {
        /// URL.
        store: String,
        /// Path or URL of the copy.
        to: String,
    },
    /// The database cannot be reached, or takes no writes. Nothing was changed.
    #[error("the store `{store}` is unavailable")]
    Unavailable {
        /// URL.
        store: String,
        /// The error of the connection or database.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk of the store is full. Nothing was changed.
    #[error("the disk of the store is full")]
    Full,
    /// Too many calls wait for the store. Nothing was changed.
    #[error("the store is overloaded")]
    Busy,
    /// A list or count has to look at too many jobs.
    #[error("the filter would have to read more than {limit} jobs")]
    TooBroad {
        /// Jobs that one list or count may look at.
        limit: u64,
    },
    /// The call timed out. The change may or may not have been made.
    #[error("the store did not answer in time")]
    Unknown,
    /// The disk of the store failed. Its content is unknown until a new process opens the store.
    #[error("the store's disk failed")]
    Failed,
    /// The caller's term has ended: another node leads. Nothing was changed.
    #[error("another node leads now")]
    Deposed,
    /// The store was closed ([`Upkeep::close`](crate::Upkeep::close)).
    #[error("the store is closed")]
    Closed,
    /// The database rejected this call. Nothing was changed.
    #[error("could not {action}")]
    Backend {
        /// What the call does, as a verb phrase.
        action: &'static str,
        /// The error of the database.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The setting of a transaction-pooling proxy that is above 0 if the proxy keeps prepared statements.
pub(crate) const KEPT_STATEMENTS: &str = "max_prepared_statements";

/// Names the action of a value that could not be serialized for its row.
pub(crate) fn prepared<T>(
    action: &'static str,
    made: serde_json::Result<T>,
) -> Result<T, StoreError> {
    made.map_err(|error| StoreError::Backend { action, source: error.into() })
}

impl StoreError {
    /// What the operator can do next, if that is known.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NewerSchema { .. } => Some("a newer orx wrote it: upgrade this one"),
            Self::Held { .. } => {
                Some("stop that server, or name another folder with `--state` or `ORX_STATE`")
            }
            Self::Damaged { .. } => {
                Some("rename the file and restore a copy; `sqlite3 FILE .recover` may save rows")
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
            Self::Unavailable { .. } => {
                Some("check that the database runs and takes writes; then try again")
            }
            Self::Full => Some("free disk space; the server then continues by itself"),
            Self::Busy | Self::Unknown => Some("try again"),
            Self::TooBroad { .. } => Some("narrow it with `since:`, `status:` or `queue:`"),
            Self::Failed => Some("check the disk, then start the server again"),
            Self::Deposed | Self::Closed | Self::Backend { .. } => None,
        }
    }
}

//! Selects and opens the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use orx_store::{Postgres, PostgresOptions, Sqlite, SqliteOptions, Store, StoreError};

use crate::clock::wall;
use crate::config::{Config, StoreDurability, shown_url};
use crate::error::{CliError, Exit};
use crate::state::StateDir;

/// The database in a state folder.
const FILE: &str = "orx.db";

/// The location of a store.
#[derive(Clone)]
pub(crate) enum StoreLocation {
    /// The file in a state folder, which one process locks at a time.
    Folder(PathBuf),
    /// A PostgreSQL URL; only [`Self::shown`] may be printed, which leaves its password out.
    Url(String),
}

impl StoreLocation {
    /// Parses `postgres://…` or a folder.
    ///
    /// # Errors
    /// A URL of another kind.
    pub(crate) fn parse(text: &str) -> Result<Self, CliError> {
        match text.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Ok(Self::Url(text.to_owned())),
            Some((scheme, _)) => Err(CliError::usage(format!("there is no store `{scheme}://`"))
                .hint("`postgres://user@host/database`, or a state folder")),
            None => Ok(Self::Folder(PathBuf::from(text))),
        }
    }

    /// The location for people, without a password.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Url(url) => shown_url(url),
        }
    }

    /// The location as an argument for another command, from any folder, without a password.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Folder(folder) => {
                folder.canonicalize().unwrap_or_else(|_| folder.clone()).display().to_string()
            }
            Self::Url(_) => self.shown(),
        }
    }

    /// The database file; `None` for PostgreSQL.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder.join(FILE)),
            Self::Url(_) => None,
        }
    }

    /// The location in the configuration; by default the state folder.
    pub(crate) fn configured(config: &Config, state: &StateDir) -> Result<Self, CliError> {
        match &**config.store.url {
            "" => Ok(Self::Folder(state.path().to_owned())),
            url => Self::parse(url),
        }
    }
}

/// An open store.
pub(crate) enum Opened {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

impl Opened {
    /// # Errors
    /// The store cannot be opened, with the exit code and hint of [`store_error`].
    pub(crate) async fn open(place: &StoreLocation, config: &Config) -> Result<Self, CliError> {
        let durability = match *config.server.durability {
            StoreDurability::Full => orx_store::Durability::Full,
            StoreDurability::Relaxed => orx_store::Durability::Relaxed,
        };
        let opened = match place {
            StoreLocation::Folder(folder) => Self::sqlite(folder, durability).await?,
            StoreLocation::Url(url) => {
                let sessions = *config.store.sessions as usize;
                let options = PostgresOptions { durability, sessions, ..PostgresOptions::new(url) };
                Postgres::open(options, wall()).await.map(|store| Self::Postgres(Arc::new(store)))
            }
        };
        opened.map_err(store_error)
    }

    async fn sqlite(
        folder: &Path,
        durability: orx_store::Durability,
    ) -> Result<Result<Self, StoreError>, CliError> {
        let options = SqliteOptions { durability, ..SqliteOptions::new(folder.join(FILE)) };
        let opened = tokio::task::spawn_blocking(move || Sqlite::open(options, wall())).await;
        let opened =
            opened.map_err(|error| CliError::new(Exit::Failed, "store", error.to_string()))?;
        Ok(opened.map(|store| Self::Sqlite(Arc::new(store))))
    }

    pub(crate) fn shared(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(store) => Arc::<Sqlite>::clone(store),
            Self::Postgres(store) => Arc::<Postgres>::clone(store),
        }
    }

    /// The handle for requests of clients. The coordinator's requests never wait for them.
    pub(crate) fn callers(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(store) => Arc::new(store.callers()),
            Self::Postgres(store) => Arc::new(store.callers()),
        }
    }

    /// Whether no other process can use it.
    pub(crate) fn is_exclusive(&self) -> bool {
        match self {
            Self::Sqlite(_) => true,
            Self::Postgres(_) => false,
        }
    }

    /// Resolves once the store can no longer be used, and never otherwise.
    pub(crate) async fn failed(&self) {
        match self {
            Self::Sqlite(store) => store.failed().await,
            // A database server that does not answer may come back.
            Self::Postgres(_) => std::future::pending().await,
        }
    }
}

pub(crate) fn store_error(error: StoreError) -> CliError {
    let (exit, code) = match &error {
        StoreError::Held { .. } => (Exit::Conflict, "held"),
        StoreError::NewerSchema { .. } => (Exit::Conflict, "newer_schema"),
        StoreError::Damaged { .. } => (Exit::Failed, "damaged"),
        StoreError::Full => (Exit::TryLater, "store_full"),
        StoreError::Unavailable { .. } => (Exit::TryLater, "store_away"),
        StoreError::Unsafe { .. } => (Exit::Conflict, "store_unsafe"),
        StoreError::Moved { .. } => (Exit::Conflict, "moved"),
        StoreError::Tls { .. } => (Exit::Failed, "store_tls"),
        _ => (Exit::Failed, "store"),
    };
    let mut shown = CliError::new(exit, code, error.to_string());
    if let Some(source) = std::error::Error::source(&error) {
        shown = shown.cause(source.to_string());
    }
    match error.hint() {
        Some(hint) => shown.hint(hint),
        None => shown,
    }
}

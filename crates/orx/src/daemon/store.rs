//! Which store there is.

use std::sync::Arc;

use orx_store::{Sqlite, SqliteOptions, Store, StoreError};

use super::wall;
use crate::config::{Config, Durability};
use crate::error::{CliError, Exit};
use crate::state::StateDir;

/// An open store.
pub(super) enum Opened {
    Sqlite(Arc<Sqlite>),
}

impl Opened {
    /// As the configuration names it; without a name, the file in the state folder.
    pub(super) async fn open(config: &Config, state: &StateDir) -> Result<Self, CliError> {
        let path = state.file("orx.db");
        let durability = match config.server.durability {
            Durability::Full => orx_store::Durability::Full,
            Durability::Relaxed => orx_store::Durability::Relaxed,
        };
        let options = SqliteOptions { durability, ..SqliteOptions::new(path) };
        let opened = tokio::task::spawn_blocking(move || Sqlite::open(options, wall())).await;
        let opened = opened
            .map_err(|error| CliError::new(Exit::Failed, "store", error.to_string()))?
            .map_err(store_error)?;
        Ok(Self::Sqlite(Arc::new(opened)))
    }

    pub(super) fn shared(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(store) => Arc::<Sqlite>::clone(store),
        }
    }

    /// It is of this process alone.
    pub(super) fn is_exclusive(&self) -> bool {
        match self {
            Self::Sqlite(_) => true,
        }
    }

    /// Resolves once it can be used no more, and never otherwise.
    pub(super) async fn failed(&self) {
        match self {
            Self::Sqlite(store) => store.failed().await,
        }
    }
}

pub(super) fn store_error(error: StoreError) -> CliError {
    let (exit, code) = match &error {
        StoreError::Held { .. } => (Exit::Conflict, "held"),
        StoreError::NewerSchema { .. } => (Exit::Conflict, "newer_schema"),
        StoreError::Damaged { .. } => (Exit::Failed, "damaged"),
        StoreError::Full => (Exit::TryLater, "store_full"),
        _ => (Exit::Failed, "store"),
    };
    let mut told = CliError::new(exit, code, error.to_string());
    if let Some(source) = std::error::Error::source(&error) {
        told = told.cause(source.to_string());
    }
    match error.hint() {
        Some(hint) => told.hint(hint),
        None => told,
    }
}

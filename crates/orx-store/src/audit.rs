//! The record of changes that people and programs made.

use std::time::Duration;

use async_trait::async_trait;
use orx_model::Timestamp;

use crate::Result;

/// How long a record is stored.
pub const AUDIT_FOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Records that are stored, at most: beyond them the oldest are deleted.
pub const AUDIT_MOST: u64 = 100_000;
/// Old records that each new one deletes, at most, so that no write is large.
pub(crate) const AUDIT_FORGET: u32 = 100;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Grows with each record; the store assigns it.
    pub id: u64,
    /// When the change was made, by the clock of the node that made it.
    pub at: Timestamp,
    /// What was done, as a name such as `pause_queue`.
    pub action: String,
    /// What it was done to.
    pub object: String,
    /// How many objects changed.
    pub changed: u64,
    /// The token of the caller, by its note or id.
    pub token: String,
    /// The address of the caller.
    pub address: Option<String>,
    /// The person, as the request named them.
    pub person: Option<String>,
    /// The reason, as the request gave it.
    pub reason: Option<String>,
}

/// A page of records, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditRequest {
    /// Only records with a lower id.
    pub before: Option<u64>,
    /// Only this action.
    pub action: Option<String>,
    /// Rows, at most.
    pub limit: u32,
}

/// Stores and reads the record of changes.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Durable. Ignores [`AuditRecord::id`]. Deletes some records that are older than [`AUDIT_FOR`], or
    /// beyond [`AUDIT_MOST`].
    async fn record_change(&self, record: AuditRecord) -> Result<()>;

    /// Newest first.
    async fn audit(&self, request: AuditRequest) -> Result<Vec<AuditRecord>>;
}

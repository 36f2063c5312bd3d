//! Causes of dead letters over HTTP.

use serde::{Deserialize, Serialize};

use crate::cause::CauseId;
use crate::ids::{JobId, Name};
use crate::job::DeadReason;
use crate::time::Timestamp;

/// Which causes of dead letters to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CausesQuery {
    /// Counts only dead letters whose jobs match this filter expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Causes of the page at most, 1 to 500; 50 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Cursor: `next` of the previous page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Time zone for wall-clock times in the filter; UTC if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
}

/// The dead letters of one cause: of one job type, with errors that differ only in numbers, ids, addresses
/// and quoted data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CauseGroup {
    /// Names the cause in a filter: `cause:ID`.
    pub cause_id: CauseId,
    /// The error, with `#` for what varies.
    pub cause: String,
    /// The job type.
    pub name: Name,
    /// How many dead letters it has.
    pub count: u64,
    /// Why their jobs failed for good.
    pub reasons: Vec<DeadReason>,
    /// The queues of their jobs.
    pub queues: Vec<Name>,
    /// When the oldest of them died.
    pub first: Timestamp,
    /// When the newest of them died.
    pub last: Timestamp,
    /// The newest job of them.
    pub sample: JobId,
}

/// A page of causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CausePage {
    /// Version of the format: 1.
    pub v: u32,
    /// The causes, the most frequent first.
    pub causes: Vec<CauseGroup>,
    /// Cursor of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

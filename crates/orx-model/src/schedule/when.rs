//! What makes a schedule due, as plain data; the server parses the texts.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{Timestamp, format_exact};

/// What makes a schedule due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum When {
    /// A cron expression, on the wall clock of the time zone.
    Cron(CronExpr),
    /// A fixed interval in elapsed time, counted from 1970-01-01 UTC plus the offset, so that a schedule
    /// has the same due times after a restart or on another server.
    Interval {
        /// Milliseconds, 1000 to ten years.
        every_ms: u64,
        /// Milliseconds, less than `every_ms`.
        #[serde(default, skip_serializing_if = "is_zero")]
        offset_ms: u64,
    },
    /// At one instant.
    Once(Timestamp),
}

fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

/// In one line: `cron 0 2 * * *`, `every 15m offset 5m`, `once at 2026-01-01T00:00:00.000Z`.
impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |ms: &u64| format_exact(Duration::from_millis(*ms));
        match self {
            Self::Cron(expr) => write!(f, "cron {expr}"),
            Self::Interval { every_ms, offset_ms: 0 } => write!(f, "every {}", span(every_ms)),
            Self::Interval { every_ms, offset_ms } => {
                write!(f, "every {} offset {}", span(every_ms), span(offset_ms))
            }
            Self::Once(at) => write!(f, "once at {at}"),
        }
    }
}

impl When {
    /// Shortest interval, in milliseconds.
    pub const EVERY_MIN_MS: u64 = 1_000;
}

/// The text of a cron expression, of five fields or six with seconds first, or an alias as `@daily`.
/// It may hold any text; the server rejects one that is not an expression. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "30 2 * * mon-fri")]
pub struct CronExpr(Arc<str>);

impl CronExpr {
    /// Longest text that a server accepts, in bytes; a list of every minute has about 170.
    pub const MAX_BYTES: usize = 1_024;

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for CronExpr {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl FromStr for CronExpr {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl fmt::Display for CronExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of a time zone: one of the IANA database (`Europe/Berlin`, `UTC`), or rules as POSIX writes
/// them (`CET-1CEST,M3.5.0,M10.5.0/3`). It may hold any text; the server rejects one that its zone
/// database does not contain. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "Europe/Berlin")]
pub struct ZoneName(Arc<str>);

impl ZoneName {
    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// UTC.
impl Default for ZoneName {
    fn default() -> Self {
        Self(Arc::from("UTC"))
    }
}

impl From<&str> for ZoneName {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl FromStr for ZoneName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A slot, and when to fire it: later by the slot's share of the jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Due {
    /// The due time, unique in the ledger of a schedule.
    pub slot: Timestamp,
    /// When to fire: at or after the slot, and before the next one.
    pub fire_at: Timestamp,
}

//! The output of jobs over HTTP.

use serde::{Deserialize, Serialize};

use super::jobs::Condition;
use crate::job::Job;
use crate::log::{LogCursor, Stream};
use crate::status::JobStatus;
use crate::time::Timestamp;

/// Which output to send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// Start after this position: `attempt:seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Only this attempt; by default all, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Only these streams, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// About this many last lines: the server sends whole chunks, and a client cuts them exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u32>,
    /// Keep sending until the job has ended and all output has been sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub follow: Option<bool>,
}

/// One line of the NDJSON response to `GET …/logs`.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogEvent {
    /// Output.
    Chunk(LogPart),
    /// Sent about every 5 s without other lines, to show that the connection is open. While following,
    /// also sent as soon as the server's condition changes.
    Ping {
        /// The server's condition.
        #[serde(default, skip_serializing_if = "Condition::is_well")]
        condition: Condition,
    },
    /// While following: all earlier output has been sent. Sent once.
    Live {},
    /// While following: the status, once at the start and after each change.
    Status {
        /// The status from now on.
        status: JobStatus,
        /// Number of the live or latest attempt; 0 before the first.
        attempt: u32,
    },
    /// All output has been sent. While following: the job has ended.
    End {
        /// The position to continue at if the job is retried.
        cursor: String,
        /// The job at that moment.
        job: Box<Job>,
    },
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LogPart {
    /// `attempt:seq` of this chunk: start after it with `cursor=`.
    #[schema(example = "1:17")]
    pub cursor: String,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The output that it belongs to.
    pub stream: Stream,
    /// When the worker read it.
    pub at: Timestamp,
    /// Bytes that were dropped directly before this chunk.
    #[serde(default)]
    pub dropped_bytes: u64,
    /// Text, or `{"base64": "…"}` where the bytes are not UTF-8.
    #[serde(with = "crate::log::text_or_bytes")]
    #[schema(value_type = crate::log::TextOrBytes)]
    pub data: Vec<u8>,
}

impl LogPart {
    /// The parsed cursor.
    #[must_use]
    pub fn position(&self) -> Option<LogCursor> {
        self.cursor.parse().ok()
    }
}

//! What an attempt prints and logs: chunks of bytes, numbered per execution.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{ExecutionId, JobId};
use crate::names;
use crate::time::Timestamp;

names! {
    /// One output of an attempt.
    #[derive(PartialOrd, Ord, utoipa::ToSchema)]
    pub enum Stream {
        /// Standard output.
        Out = "out",
        /// Standard error.
        Err = "err",
        /// Structured lines from the side channel or a Rust handler, one JSON object a line:
        /// `{"level":"info","message":"…"}`.
        Log = "log",
    }
}

impl FromStr for Stream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::of_name(text).ok_or_else(|| format!("expected `out`, `err` or `log`, found `{text}`"))
    }
}

names! {
    /// Severity of a log line, from least to most severe.
    #[derive(PartialOrd, Ord, utoipa::ToSchema)]
    pub enum Level {
        /// Details for finding one defect.
        Trace = "trace",
        /// Details for developers.
        Debug = "debug",
        /// Normal operation.
        Info = "info",
        /// Unusual, and the handler continues.
        Warn = "warn",
        /// Something failed.
        Error = "error",
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::of_name(&text.to_ascii_lowercase()).ok_or_else(|| {
            format!("expected `trace`, `debug`, `info`, `warn` or `error`, found `{text}`")
        })
    }
}

/// One line of [`Stream::Log`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How severe it is.
    pub level: Level,
    /// The text of the line.
    pub message: String,
    /// When it was written; absent where the handler gave no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Bytes of one stream, in the order the worker read them. `seq` counts from 1 over all streams of
/// the execution, without gaps; storing one twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChunk {
    /// The job.
    pub job: JobId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The execution.
    pub execution: ExecutionId,
    /// Number of the chunk in its execution, from 1.
    pub seq: u64,
    /// Which output it is of.
    pub stream: Stream,
    /// When the worker read the first of it.
    pub at: Timestamp,
    /// Bytes dropped directly before this chunk: beyond the quota, or while no coordinator accepted them.
    #[serde(default)]
    pub dropped_bytes: u64,
    /// Any bytes, at most [`crate::limits::LOG_CHUNK_BYTES`].
    #[serde(with = "text_or_bytes")]
    pub bytes: Vec<u8>,
}

/// How the API describes bytes: as text where they are UTF-8, else as `{"base64": "…"}`.
pub struct TextOrBytes;

impl utoipa::PartialSchema for TextOrBytes {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let encoded = ObjectBuilder::new().property("base64", text()).required("base64");
        OneOfBuilder::new()
            .item(text())
            .item(encoded)
            .description(Some("Text, or `{\"base64\": \"…\"}` where the bytes are not UTF-8."))
            .into()
    }
}

impl utoipa::ToSchema for TextOrBytes {}

/// JSON carries bytes as text where they are UTF-8, else as `{"base64": "…"}`.
pub(crate) mod text_or_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Encoded {
        base64: String,
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => s.serialize_str(text),
            Err(_) => Encoded { base64: STANDARD.encode(bytes) }.serialize(s),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum TextOrBase64 {
            Text(String),
            Encoded(Encoded),
        }
        Ok(match TextOrBase64::deserialize(d)? {
            TextOrBase64::Text(text) => text.into_bytes(),
            TextOrBase64::Encoded(encoded) => {
                STANDARD.decode(encoded.base64).map_err(serde::de::Error::custom)?
            }
        })
    }
}

/// A position in the log of a job: everything up to `seq` of `attempt` has been read. Printed and typed
/// as `2:17`; the start is `0:0`. Valid on any node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogCursor {
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Number of the chunk in its execution, from 1.
    pub seq: u64,
}

impl fmt::Display for LogCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.attempt, self.seq)
    }
}

impl FromStr for LogCursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (attempt, seq) = text.split_once(':')?;
            Some(Self { attempt: attempt.parse().ok()?, seq: seq.parse().ok()? })
        };
        parse().ok_or_else(|| {
            let found: String = text.chars().take(80).collect();
            format!("expected a log cursor such as `2:17`, found `{found}`")
        })
    }
}

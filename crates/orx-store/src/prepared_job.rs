//! Jobs, serialized for a database.

use orx_model::{JobSpec, Lane, NewJob, Priority, Timestamp};

use crate::codec::earlier;
use crate::filter_pushdown;

/// Lists read only the head of a spec above this size.
const LARGE_BYTES: usize = 2 * 1024;

/// A job that the calling task has serialized, so that the writer only writes.
#[derive(Debug)]
pub(crate) struct PreparedJob {
    pub(crate) lane: Lane,
    pub(crate) priority: Priority,
    pub(crate) run_at: Option<Timestamp>,
    pub(crate) expire_at: Option<Timestamp>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) key: Option<String>,
    pub(crate) key_hash: Option<String>,
    pub(crate) text: SpecText,
}

/// A spec, serialized for its columns.
#[derive(Debug)]
pub(crate) struct SpecText {
    pub(crate) spec: String,
    /// A large spec without args and command; `None` for a small one.
    pub(crate) head: Option<String>,
    /// The index entries that filters find the job by.
    pub(crate) terms: Vec<String>,
}

impl SpecText {
    pub(crate) fn new(spec: &JobSpec) -> Result<Self, serde_json::Error> {
        let text = serde_json::to_string(spec)?;
        let head = match text.len() > LARGE_BYTES {
            true => Some(serde_json::to_string(&spec.clone().without_payload())?),
            false => None,
        };
        Ok(Self { spec: text, head, terms: filter_pushdown::terms(spec) })
    }
}

impl PreparedJob {
    pub(crate) fn new(job: impl Into<NewJob>) -> Result<Self, serde_json::Error> {
        let NewJob { spec, run_at, key_hash } = job.into();
        Ok(Self {
            text: SpecText::new(&spec)?,
            lane: Lane {
                handler: spec.command.is_none().then_some(spec.name),
                queue: spec.queue,
                require: spec.require,
            },
            priority: spec.priority,
            run_at,
            expire_at: earlier(spec.expires_at, spec.deadline),
            deadline: spec.deadline,
            timeout_ms: spec.timeout_ms,
            key: spec.key,
            key_hash,
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.spec.len()
    }
}

//! A job on its way into a database.

use orx_model::{JobSpec, Lane, Priority, Timestamp};

use crate::words::earlier;

/// A job made ready for its rows by the caller, so that the writer only writes.
#[derive(Debug)]
pub(crate) struct NewJob {
    pub(crate) lane: Lane,
    pub(crate) priority: Priority,
    pub(crate) run_at: Option<Timestamp>,
    pub(crate) expire_at: Option<Timestamp>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) key: Option<String>,
    pub(crate) key_hash: Option<String>,
    pub(crate) spec: String,
}

impl NewJob {
    pub(crate) fn new(spec: JobSpec) -> Result<Self, serde_json::Error> {
        Ok(Self {
            spec: serde_json::to_string(&spec)?,
            lane: Lane {
                handler: spec.command.is_none().then_some(spec.name),
                queue: spec.queue,
                require: spec.require,
            },
            priority: spec.priority,
            run_at: spec.run_at,
            expire_at: earlier(spec.expires_at, spec.deadline),
            deadline: spec.deadline,
            timeout_ms: spec.timeout_ms,
            key: spec.key,
            key_hash: spec.key_hash,
        })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.spec.len()
    }
}

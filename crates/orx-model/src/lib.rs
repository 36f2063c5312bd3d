//! The vocabulary of Orchestrix as types: ids, statuses and their one transition table, jobs and
//! attempts, retry policy, schedules as data, messages, events, HTTP wire types, filter grammar, times,
//! and the cleaning of text.
//!
//! Depends on no other crate of the workspace. Does no I/O and reads no clock: `now`, randomness and
//! wall clocks ([`time::WallClock`]) are arguments.

pub mod attempt;
pub mod backoff;
pub mod cause;
pub mod event;
pub mod filter;
pub mod ids;
pub mod job;
pub mod json;
pub mod lane;
pub mod limits;
pub mod log;
pub mod mask;
pub mod message;
mod names;
pub mod ndjson;
pub mod outcome;
pub mod policy;
pub mod problem;
pub mod schedule;
pub mod secret;
pub mod status;
pub mod text;
pub mod time;
pub mod token;
pub mod validation;
pub mod wire;

pub use attempt::{Attempt, AttemptStatus, LostWith, Outcome, OutcomeKind, ProcessExit};
pub use backoff::Backoff;
pub use cause::{Cause, CauseId};
pub use event::{Event, EventCursor, EventKind, KnownEvent};
pub use ids::{AttemptId, ExecutionId, Incarnation, JobId, MessageId, Name, OperationId};
pub use job::{
    Command, Job, JobSpec, JobState, JobSummary, LiveAttempt, NewJob, Origin, SpecSummary,
};
pub use lane::{Capabilities, Lane};
pub use policy::{OnLost, Priority, RetryPolicy};
pub use problem::{Code, Problem};
pub use secret::{SecretHash, WorkerSecret};
pub use status::{JobEvent, JobStatus, next};
pub use time::Timestamp;

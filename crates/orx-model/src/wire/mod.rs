//! Paths and bodies of HTTP between clients, workers and servers. Times are RFC 3339 UTC,
//! durations `…_ms`, names snake_case; fields are added, never renamed within a version.

mod audit;
mod causes;
mod changes;
mod cluster;
mod jobs;
pub mod live;
mod logs;
mod messages;
mod operations;
mod overview;
pub mod path;
mod queues;
mod settings;
mod workers;

pub use audit::{AuditAction, AuditEntry, AuditPage, AuditQuery};
pub use causes::{CauseGroup, CausePage, CausesQuery};
pub use changes::{Change, ChangeAnswer, ChangeRequest, Changed, Rest};
pub use cluster::{
    ClockView, ClusterStatus, LinkKind, LinkView, NodeDrain, NodeDrainAnswer, NodeDrainRequest,
    NodeView, StepDownAnswer, StepDownRequest, ZoneData,
};
pub use jobs::{
    BatchLine, Condition, Count, EnqueueAnswer, EnqueueRequest, JobDetail, JobPage, ListQuery,
    ResultAnswer, WaitAnswer, WaitQuery,
};
pub use logs::{LogEvent, LogPart, LogsQuery};
pub use messages::{
    InboxLine, InboxQuery, NodeChannel, NodePublishRequest, PublishAnswer, PublishRequest, Receipt,
    RefusedEnvelope,
};
pub use operations::{
    LeftAlone, OperationAction, OperationAnswer, OperationExample, OperationPage, OperationRequest,
    OperationStatus, OperationView, OperationsQuery,
};
pub use overview::{Attention, AttentionKind, Overview, Percentiles, QueueOverview, Rates};
pub use queues::{DeadLetter, DeadLetterPage, QueueList, QueueOrder, QueueView, StatusCounts};
pub use settings::{ServerSetting, ServerSettings, SettingOrigin};
pub use workers::{
    WorkerAttempt, WorkerCommand, WorkerDetail, WorkerList, WorkerOrdered, WorkerView,
    WorkersOrderAnswer, WorkersOrderRequest,
};

/// The version that every JSON response contains as `"v"`.
pub const V: u32 = 1;

/// Header with an idempotency key: a repeated enqueue returns the same job, as with
/// [`EnqueueRequest::key`].
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

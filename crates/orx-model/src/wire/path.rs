//! Paths. `{job}` is an id, an attempt such as `1423.2`, or `key:` and an idempotency key.

/// Enqueue one job, or list jobs.
pub const JOBS: &str = "/api/v1/jobs";
/// Enqueue a batch: NDJSON in, NDJSON out, line by line in order.
pub const JOBS_BATCH: &str = "/api/v1/jobs/batch";
/// Cancel jobs.
pub const JOBS_CANCEL: &str = "/api/v1/jobs/cancel";
/// One job.
pub const JOB: &str = "/api/v1/jobs/{job}";
/// Wait for a job.
pub const JOB_WAIT: &str = "/api/v1/jobs/{job}/wait";
/// Output of a job.
pub const JOB_LOGS: &str = "/api/v1/jobs/{job}/logs";
/// Result of a job.
pub const JOB_RESULT: &str = "/api/v1/jobs/{job}/result";
/// Retry jobs that have ended.
pub const JOBS_RETRY: &str = "/admin/v1/jobs/retry";
/// Delete jobs that have ended.
pub const JOBS_DELETE: &str = "/admin/v1/jobs/delete";
/// Start an operation over many jobs, or list operations.
pub const OPERATIONS: &str = "/admin/v1/operations";
/// One operation.
pub const OPERATION: &str = "/admin/v1/operations/{operation}";
/// Cancel an operation.
pub const OPERATION_CANCEL: &str = "/admin/v1/operations/{operation}/cancel";
/// All queues.
pub const QUEUES: &str = "/admin/v1/queues";
/// One queue.
pub const QUEUE: &str = "/admin/v1/queues/{queue}";
/// Pause a queue.
pub const QUEUE_PAUSE: &str = "/admin/v1/queues/{queue}/pause";
/// Resume a queue.
pub const QUEUE_RESUME: &str = "/admin/v1/queues/{queue}/resume";
/// Dead letters, page by page.
pub const DEAD_LETTERS: &str = "/admin/v1/dead-letters";
/// Dead letters by cause.
pub const DEAD_LETTERS_CAUSES: &str = "/admin/v1/dead-letters/causes";
/// Retry dead letters.
pub const DEAD_LETTERS_RETRY: &str = "/admin/v1/dead-letters/retry";
/// Delete dead letters.
pub const DEAD_LETTERS_DELETE: &str = "/admin/v1/dead-letters/delete";
/// All workers.
pub const WORKERS: &str = "/admin/v1/workers";
/// One worker.
pub const WORKER: &str = "/admin/v1/workers/{worker}";
/// Drain, resume or fence workers.
pub const WORKERS_ORDER: &str = "/admin/v1/workers/order";
/// The state of the cluster.
pub const CLUSTER: &str = "/admin/v1/cluster";
/// Ask the leader to step down.
pub const STEP_DOWN: &str = "/admin/v1/cluster/step-down";
/// The settings in force at the node that answers.
pub const SETTINGS: &str = "/admin/v1/settings";
/// Drain a node. `{node}` is its name, or the first digits of its incarnation.
pub const NODE_DRAIN: &str = "/admin/v1/nodes/{node}/drain";
/// Let a drained node lead and take workers again.
pub const NODE_RESUME: &str = "/admin/v1/nodes/{node}/resume";
/// Changes that people and programs made.
pub const AUDIT: &str = "/admin/v1/audit";
/// The overview of the cluster.
pub const OVERVIEW: &str = "/admin/v1/overview";
/// A worker registers.
pub const WORKER_REGISTER: &str = "/worker/v1/register";
/// A worker's heartbeat.
pub const WORKER_HEARTBEAT: &str = "/worker/v1/heartbeat";
/// A worker's inbox: NDJSON of [`super::InboxLine`], for as long as the worker reads.
pub const WORKER_INBOX: &str = "/worker/v1/inbox";
/// A worker sends messages.
pub const WORKER_PUBLISH: &str = "/worker/v1/publish";
/// A node sends messages to another.
pub const NODE_PUBLISH: &str = "/node/v1/publish";
/// The description of the API.
pub const OPENAPI: &str = "/openapi.json";
/// Liveness of the process.
pub const HEALTHZ: &str = "/healthz";
/// Readiness of the node to accept jobs.
pub const READYZ: &str = "/readyz";
/// Metrics for Prometheus.
pub const METRICS: &str = "/metrics";

//! Bounds on what comes from outside. Nothing grows without one.

use std::time::Duration;

/// Arguments of one job, as JSON text.
pub const ARGS_BYTES: usize = 256 * 1024;
/// Result of one job, as JSON text.
pub const RESULT_BYTES: usize = 256 * 1024;
/// One HTTP request body; a batch has [`BATCH_BODY_BYTES`].
pub const BODY_BYTES: usize = 1024 * 1024;
/// The body of a batch enqueue: read line by line, never held whole.
pub const BATCH_BODY_BYTES: usize = 64 * 1024 * 1024;
/// The body of what workers and nodes tell: batches of logs, results and dispatches.
pub const PUBLISH_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Envelopes of one such body.
pub const PUBLISH_ENVELOPES: usize = 1_024;
/// Jobs in one transaction of a batch enqueue.
pub const BATCH_JOBS: usize = 1_000;
/// Lines of such a transaction together, but for one that alone is longer: others write after it.
pub const BATCH_BYTES: usize = 1024 * 1024;
/// Rows of one page.
pub const PAGE_ROWS: usize = 500;
/// A page of a list ends before the row that would take it over this, but has one row at least.
pub const PAGE_BYTES: usize = 512 * 1024;
/// Text of an error or reason that is kept.
pub const ERROR_BYTES: usize = 4 * 1024;
/// Standard input kept with a command.
pub const STDIN_BYTES: usize = 256 * 1024;
/// Tags, or required labels, of one job.
pub const TAGS: usize = 32;
/// Key or value of a tag.
pub const TAG_BYTES: usize = 256;
/// Note of a token, in characters.
pub const NOTE_CHARS: usize = 128;
/// Tokens revoked by one request.
pub const REVOKE_TOKENS: usize = 100;
/// Idempotency key or correlation id.
pub const KEY_BYTES: usize = 256;
/// Arguments of one command, with its environment.
pub const COMMAND_WORDS: usize = 4_096;
/// One log chunk.
pub const LOG_CHUNK_BYTES: usize = 64 * 1024;
/// Log kept of one attempt from its start, both streams together.
pub const LOG_HEAD_BYTES: u64 = 16 * 1024 * 1024;
/// Log kept of one attempt from its end, once the head is full.
pub const LOG_TAIL_BYTES: u64 = 256 * 1024;
/// How long an idempotency key is kept after its job has finished, at least.
pub const KEY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// One job waits or is delayed no longer than this.
pub const DELAY_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Longest answer time of a long poll.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Attempts that a worker runs at once.
pub const WORKER_SLOTS: u32 = 100_000;

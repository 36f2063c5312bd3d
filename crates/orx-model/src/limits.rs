//! Limits on data from outside; sizes are bytes unless a line states otherwise.

use std::time::Duration;

/// Arguments of one job, as JSON text.
pub const ARGS_BYTES: usize = 256 * 1024;
/// Result of one job, as JSON text.
pub const RESULT_BYTES: usize = 256 * 1024;
/// One HTTP request body; a batch has [`BATCH_BODY_BYTES`].
pub const BODY_BYTES: usize = 1024 * 1024;
/// The body of a batch enqueue, which the server reads line by line.
pub const BATCH_BODY_BYTES: usize = 64 * 1024 * 1024;
/// One body of messages from a worker or node: batches of logs, results and dispatches.
pub const PUBLISH_BODY_BYTES: usize = 64 * 1024 * 1024;
/// Envelopes in one such body.
pub const PUBLISH_ENVELOPES: usize = 1_024;
/// Jobs in one transaction of a batch enqueue.
pub const BATCH_JOBS: usize = 1_000;
/// All lines of such a transaction together, except a single longer line, so that other writers get
/// their turn.
pub const BATCH_BYTES: usize = 1024 * 1024;
/// Rows of one page.
pub const PAGE_ROWS: usize = 500;
/// A page of a list ends before the row that would take it over this, but has one row at least.
pub const PAGE_BYTES: usize = 512 * 1024;
/// Stored text of an error or reason.
pub const ERROR_BYTES: usize = 4 * 1024;
/// Standard input stored with a command.
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
/// Stored log of one attempt from its start, all streams together.
pub const LOG_HEAD_BYTES: u64 = 16 * 1024 * 1024;
/// Stored log of one attempt from its end, once the head is full.
pub const LOG_TAIL_BYTES: u64 = 256 * 1024;
/// The shortest time for which an idempotency key is stored after its job has ended.
pub const KEY_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest delay or wait of one job.
pub const DELAY_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Longest response time of a long poll.
pub const WAIT_MAX: Duration = Duration::from_secs(60);
/// Jobs that an operation changes in one transaction.
pub const OPERATION_BATCH: usize = 500;
/// Ids that one operation names.
pub const OPERATION_IDS: usize = 100_000;
/// Jobs that an operation may change in a second.
pub const OPERATION_RATE: u32 = 100_000;
/// Operations that run at a time.
pub const OPERATIONS_RUNNING: usize = 32;
/// Operations that are stored; beyond them the oldest that ended are deleted.
pub const OPERATIONS_KEPT: u64 = 10_000;
/// Slots of one worker.
pub const WORKER_SLOTS: u32 = 100_000;

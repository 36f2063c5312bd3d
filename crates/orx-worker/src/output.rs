//! Publishes the output of an attempt: chunks of both streams in one order, soon after they were printed
//! and within a quota. It never blocks the program for long.
//!
//! Only [`Output::advance`] and [`Output::finish`] wait. A full transport delays the reading of the
//! program's pipes, never its timeout, cancellation or end.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::BoxFuture;
use orx_model::limits::{LOG_CHUNK_BYTES, LOG_HEAD_BYTES, LOG_TAIL_BYTES};
use orx_model::log::{LogChunk, Stream};
use orx_model::message::{Dispatch, Message};
use orx_model::{JobId, Timestamp};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::runtime::Publisher;

/// The shortest time between two chunks: bytes that arrive sooner after a chunk wait for it to pass.
const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// It is shorter, this long, while the worker's attempts send few chunks that early.
const PROMPT_AFTER: Duration = Duration::from_millis(15);
/// The attempts of a worker share one early chunk for each of these, and may exceed that by
/// [`PROMPT_ROW`]. So readers see lines at once where jobs print little, and lines cost few chunks where
/// jobs print much.
const PROMPT_EACH: Duration = Duration::from_millis(10);
const PROMPT_ROW: Duration = Duration::from_millis(500);
/// How long an attempt waits for a transport that accepts nothing, over all chunks since the last one
/// that was accepted. Then chunks are dropped and counted.
const SEND_WAIT: Duration = Duration::from_millis(500);
/// How long an attempt that has ended waits for its output to be accepted.
const END_WAIT: Duration = Duration::from_secs(2);
/// How long the last mark, which counts the bytes dropped at the end, is offered in the background. A
/// transport that accepts no mark accepts no outcome either, so few more than one a slot accumulate.
const MARK_WAIT: Duration = Duration::from_secs(30);

/// Limits the early chunks of a worker's attempts.
pub(crate) struct EarlyChunks {
    /// Each early chunk moves this on by [`PROMPT_EACH`].
    taken_until: Mutex<Instant>,
}

impl EarlyChunks {
    pub(crate) fn new() -> Self {
        Self { taken_until: Mutex::new(Instant::now()) }
    }

    fn are_few(&self) -> bool {
        *self.taken_until.lock() < Instant::now() + PROMPT_ROW
    }

    fn one_more(&self) {
        let mut until = self.taken_until.lock();
        *until = (*until).max(Instant::now()) + PROMPT_EACH;
    }
}

pub(crate) struct Output {
    publisher: Publisher,
    of: LogChunk,
    buffer: Vec<u8>,
    stream: Stream,
    /// Chunks behind the one that is being sent.
    waiting: VecDeque<LogPiece>,
    sending: Option<Sending>,
    /// Bytes dropped before the next chunk.
    dropped: u64,
    /// Bytes that the head may still take.
    head_left: u64,
    /// The newest bytes, once the head is full.
    tail: VecDeque<LogPiece>,
    tail_bytes: u64,
    /// Bytes dropped between the head and the tail.
    dropped_between: u64,
    sent_at: Option<Instant>,
    /// What is left of [`SEND_WAIT`].
    send_wait_left: Duration,
}

struct LogPiece {
    stream: Stream,
    at: Timestamp,
    bytes: Vec<u8>,
}

struct Sending {
    bytes: u64,
    began: Instant,
    /// Resolves to whether the transport accepted it.
    publish: BoxFuture<'static, bool>,
}

impl Output {
    pub(crate) fn new(publisher: Publisher, dispatch: &Dispatch) -> Self {
        let of = LogChunk {
            job: dispatch.job,
            attempt: dispatch.attempt,
            execution: dispatch.execution,
            seq: 0,
            stream: Stream::Out,
            at: Timestamp::default(),
            dropped_bytes: 0,
            bytes: Vec::new(),
        };
        Self {
            publisher,
            of,
            buffer: Vec::new(),
            stream: Stream::Out,
            waiting: VecDeque::new(),
            sending: None,
            dropped: 0,
            head_left: LOG_HEAD_BYTES,
            tail: VecDeque::new(),
            tail_bytes: 0,
            dropped_between: 0,
            sent_at: None,
            send_wait_left: SEND_WAIT,
        }
    }

    /// Whether more may be pushed. It bounds the chunks that wait.
    pub(crate) fn has_space(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds bytes in the order in which they were read.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        if stream != self.stream {
            self.cut();
            self.stream = stream;
        }
        let head = bytes.len().min(usize::try_from(self.head_left).unwrap_or(usize::MAX));
        self.head_left -= head as u64;
        let (head, tail) = bytes.split_at(head);
        let mut rest = head;
        while !rest.is_empty() {
            let space = LOG_CHUNK_BYTES - self.buffer.len();
            let (now, later) = rest.split_at(rest.len().min(space));
            self.buffer.extend_from_slice(now);
            rest = later;
            if self.buffer.len() == LOG_CHUNK_BYTES {
                self.cut();
            }
        }
        if !tail.is_empty() {
            // The head ends here; dropped bytes are counted after all of it.
            self.cut();
            self.keep_tail(stream, tail);
        }
    }

    fn keep_tail(&mut self, stream: Stream, bytes: &[u8]) {
        let at = self.publisher.now();
        for piece in bytes.chunks(LOG_CHUNK_BYTES / 4) {
            self.tail_bytes += piece.len() as u64;
            self.tail.push_back(LogPiece { stream, at, bytes: piece.to_vec() });
            while self.tail_bytes > LOG_TAIL_BYTES {
                let Some(oldest) = self.tail.pop_front() else { break };
                self.tail_bytes -= oldest.bytes.len() as u64;
                self.dropped_between += oldest.bytes.len() as u64;
            }
        }
    }

    /// Makes a chunk of the buffer.
    fn cut(&mut self) {
        if !self.buffer.is_empty() {
            let bytes = std::mem::take(&mut self.buffer);
            self.waiting.push_back(LogPiece {
                stream: self.stream,
                at: self.publisher.now(),
                bytes,
            });
        }
    }

    /// When to make a chunk of the buffer, unless it is empty: at once, but no sooner than
    /// [`FLUSH_AFTER`] (or [`PROMPT_AFTER`]) after the last chunk.
    fn due(&self) -> Option<Instant> {
        let after = if self.publisher.early.are_few() { PROMPT_AFTER } else { FLUSH_AFTER };
        let due = self.sent_at.map_or_else(Instant::now, |sent| sent + after);
        (!self.buffer.is_empty()).then_some(due)
    }

    /// Sends what is due. Returns when there may be space again. Cancelling loses nothing.
    pub(crate) async fn advance(&mut self) {
        if self.send_next().await {
            return;
        }
        match self.due() {
            Some(due) => tokio::time::sleep_until(due).await,
            None => return std::future::pending().await,
        }
        if self.sent_at.is_some_and(|sent| sent.elapsed() < FLUSH_AFTER) {
            self.publisher.early.one_more();
        }
        self.cut();
    }

    /// Sends everything that is left, as far as the transport accepts it in time.
    pub(crate) async fn finish(mut self) {
        let end = Instant::now() + END_WAIT;
        self.cut();
        self.send_all(end).await;
        self.dropped += std::mem::take(&mut self.dropped_between);
        self.waiting = std::mem::take(&mut self.tail);
        self.send_all(end).await;
        if self.dropped > 0 {
            // A chunk without bytes: nothing follows the dropped bytes.
            let mark =
                LogPiece { stream: self.stream, at: self.publisher.now(), bytes: Vec::new() };
            let (job, mark) = self.message(mark);
            tokio::spawn(async move {
                let sent = self.publisher.publish(job, mark);
                if !matches!(tokio::time::timeout(MARK_WAIT, sent).await, Ok(Ok(()))) {
                    let bytes = self.dropped;
                    tracing::warn!(%job, bytes, "output was dropped, and its log does not show it");
                }
            });
        }
    }

    async fn send_all(&mut self, end: Instant) {
        loop {
            self.send_wait_left =
                self.send_wait_left.min(end.saturating_duration_since(Instant::now()));
            if !self.send_next().await {
                return;
            }
        }
    }

    /// Sends the current or the next chunk until it is accepted or dropped. Returns `false` if there is
    /// none.
    async fn send_next(&mut self) -> bool {
        if self.sending.is_none() {
            let Some(piece) = self.waiting.pop_front() else { return false };
            let bytes = piece.bytes.len() as u64;
            let (job, message) = self.message(piece);
            let publisher = self.publisher.clone();
            let publish = Box::pin(async move { publisher.publish(job, message).await.is_ok() });
            self.sending = Some(Sending { bytes, began: Instant::now(), publish });
        }
        let Some(sending) = &mut self.sending else { return false };
        let until = sending.began + self.send_wait_left;
        let accepted = tokio::time::timeout_at(until, &mut sending.publish).await.unwrap_or(false);
        if accepted {
            self.dropped = 0;
            self.send_wait_left = SEND_WAIT;
        } else {
            self.dropped += sending.bytes;
            self.send_wait_left = self.send_wait_left.saturating_sub(sending.began.elapsed());
        }
        self.sending = None;
        self.sent_at = Some(Instant::now());
        true
    }

    /// Never reuses a sequence number: a chunk that was not confirmed in time may have been accepted,
    /// and a store keeps the first chunk of each number. Such a chunk counts as dropped although it
    /// arrived.
    fn message(&mut self, piece: LogPiece) -> (JobId, Message) {
        self.of.seq += 1;
        let chunk = LogChunk {
            stream: piece.stream,
            at: piece.at,
            dropped_bytes: self.dropped,
            bytes: piece.bytes,
            ..self.of.clone()
        };
        (chunk.job, Message::JobLog { chunks: vec![chunk] })
    }
}

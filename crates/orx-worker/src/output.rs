//! What an attempt prints, on its way to the store: chunks in one order over both streams, sent
//! soon, within a quota, and never holding the program up for long.
//!
//! Nothing here waits but [`Output::advance`] and [`Output::finish`]: a link that takes nothing holds
//! back the pipes of the program, never its timeout, its cancel or its end.

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

/// Bytes wait this long at most before they are sent.
const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// They wait no longer than this since the attempt last sent some, while few are sent that early.
const PROMPT_AFTER: Duration = Duration::from_millis(15);
/// Over all attempts of a worker an early chunk is sent each so often, and a few in a row. So lines are seen
/// at once where little is printed, and cost few chunks where much is.
const PROMPT_EACH: Duration = Duration::from_millis(10);
const PROMPT_ROW: Duration = Duration::from_millis(500);
/// The transport may make an attempt wait so long, all chunks together since it last took one; then
/// they are dropped, and counted.
const SEND_WAIT: Duration = Duration::from_millis(500);
/// An attempt that has ended waits so long, all in all, until its output is taken.
const END_WAIT: Duration = Duration::from_secs(2);
/// The last mark, of what was dropped at the end, is offered so long. Nobody waits for it, and what
/// takes no mark takes no outcome either, so there is one a slot at most, or little more.
const MARK_WAIT: Duration = Duration::from_secs(30);

/// How many early chunks the attempts of a worker have sent.
pub(crate) struct EarlyChunks {
    /// Each takes up [`PROMPT_EACH`] of the time; it is taken up until then.
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
    /// Chunks that wait for the one that is being sent.
    waiting: VecDeque<Piece>,
    sending: Option<Sending>,
    /// Left out before the next chunk that is sent.
    dropped: u64,
    head_left: u64,
    /// Once the head is full: the newest bytes.
    tail: VecDeque<Piece>,
    tail_bytes: u64,
    /// Left out between the head and the tail.
    dropped_between: u64,
    sent_at: Option<Instant>,
    /// Left of [`SEND_WAIT`].
    patience: Duration,
}

struct Piece {
    stream: Stream,
    at: Timestamp,
    bytes: Vec<u8>,
}

struct Sending {
    bytes: u64,
    began: Instant,
    /// Answers whether it was taken.
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
            patience: SEND_WAIT,
        }
    }

    /// More should be pushed only while this holds: else what waits would grow.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes bytes in the order in which they were read.
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
            let room = LOG_CHUNK_BYTES - self.buffer.len();
            let (now, later) = rest.split_at(rest.len().min(room));
            self.buffer.extend_from_slice(now);
            rest = later;
            if self.buffer.len() == LOG_CHUNK_BYTES {
                self.cut();
            }
        }
        if !tail.is_empty() {
            // The head ends here: what is left out comes after all of it.
            self.cut();
            self.keep_tail(stream, tail);
        }
    }

    fn keep_tail(&mut self, stream: Stream, bytes: &[u8]) {
        let at = self.publisher.now();
        for piece in bytes.chunks(LOG_CHUNK_BYTES / 4) {
            self.tail_bytes += piece.len() as u64;
            self.tail.push_back(Piece { stream, at, bytes: piece.to_vec() });
            while self.tail_bytes > LOG_TAIL_BYTES {
                let Some(oldest) = self.tail.pop_front() else { break };
                self.tail_bytes -= oldest.bytes.len() as u64;
                self.dropped_between += oldest.bytes.len() as u64;
            }
        }
    }

    /// What is in the buffer becomes a chunk.
    fn cut(&mut self) {
        if !self.buffer.is_empty() {
            let bytes = std::mem::take(&mut self.buffer);
            self.waiting.push_back(Piece { stream: self.stream, at: self.publisher.now(), bytes });
        }
    }

    /// When the buffer should become a chunk, if anything is in it: after a quiet time at once, else
    /// soon, with what comes until then.
    fn due(&self) -> Option<Instant> {
        let after = if self.publisher.early.are_few() { PROMPT_AFTER } else { FLUSH_AFTER };
        let due = self.sent_at.map_or_else(Instant::now, |sent| sent + after);
        (!self.buffer.is_empty()).then_some(due)
    }

    /// Sends what is due; returns whenever there may be room again. Cancelling loses nothing.
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

    /// The end: everything that is kept goes out, if it is taken in time.
    pub(crate) async fn finish(mut self) {
        let end = Instant::now() + END_WAIT;
        self.cut();
        self.send_all(end).await;
        self.dropped += std::mem::take(&mut self.dropped_between);
        self.waiting = std::mem::take(&mut self.tail);
        self.send_all(end).await;
        if self.dropped > 0 {
            // The mark alone: nothing came after what was dropped.
            let mark = Piece { stream: self.stream, at: self.publisher.now(), bytes: Vec::new() };
            let (job, mark) = self.message(mark);
            tokio::spawn(async move {
                let sent = self.publisher.publish(job, mark);
                if !matches!(tokio::time::timeout(MARK_WAIT, sent).await, Ok(Ok(()))) {
                    tracing::warn!(%job, bytes = self.dropped, "output was dropped uncounted");
                }
            });
        }
    }

    async fn send_all(&mut self, end: Instant) {
        loop {
            self.patience = self.patience.min(end.saturating_duration_since(Instant::now()));
            if !self.send_next().await {
                return;
            }
        }
    }

    /// Goes on with the chunk that is being sent, or the next one, until it is taken or dropped.
    /// Answers `false` when there is none.
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
        let until = sending.began + self.patience;
        let taken = tokio::time::timeout_at(until, &mut sending.publish).await.unwrap_or(false);
        if taken {
            self.dropped = 0;
            self.patience = SEND_WAIT;
        } else {
            self.dropped += sending.bytes;
            self.patience = self.patience.saturating_sub(sending.began.elapsed());
        }
        self.sending = None;
        self.sent_at = Some(Instant::now());
        true
    }

    /// No number is used again: what was not confirmed in time may have been taken all the same, and
    /// a store keeps the first chunk of each number. Its bytes then count as dropped though they came.
    fn message(&mut self, piece: Piece) -> (JobId, Message) {
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

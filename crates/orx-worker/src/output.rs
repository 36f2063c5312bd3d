//! What an attempt prints, on its way to the store: chunks in one order over both streams, sent
//! soon, within a quota, and never holding the program up for long.

use std::collections::VecDeque;
use std::time::Duration;

use orx_model::limits::{LOG_CHUNK_BYTES, LOG_HEAD_BYTES, LOG_TAIL_BYTES};
use orx_model::log::{LogChunk, Stream};
use orx_model::message::{Dispatch, Message};
use orx_model::{JobId, Timestamp};
use tokio::time::Instant;

use crate::runtime::Publisher;

/// Bytes wait this long at most before they are sent.
const FLUSH_AFTER: Duration = Duration::from_millis(100);
/// The transport may make an attempt wait so long, all chunks together since it last took one; then
/// they are dropped, and counted.
const SEND_WAIT: Duration = Duration::from_millis(500);
/// The last mark, of what was dropped at the end, is offered so long. Nobody waits for it, and what
/// takes no mark takes no outcome either, so there is one a slot at most, or little more.
const MARK_WAIT: Duration = Duration::from_secs(30);

pub(crate) struct Output {
    publisher: Publisher,
    of: LogChunk,
    buffer: Vec<u8>,
    stream: Stream,
    /// Left out before the next chunk that is sent.
    dropped: u64,
    head_left: u64,
    /// Once the head is full: the newest bytes.
    tail: VecDeque<(Stream, Timestamp, Vec<u8>)>,
    tail_bytes: u64,
    sent_at: Option<Instant>,
    /// Left of [`SEND_WAIT`].
    patience: Duration,
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
            dropped: 0,
            head_left: LOG_HEAD_BYTES,
            tail: VecDeque::new(),
            tail_bytes: 0,
            sent_at: None,
            patience: SEND_WAIT,
        }
    }

    /// Takes bytes in the order in which they were read.
    pub(crate) async fn push(&mut self, stream: Stream, bytes: &[u8]) {
        if stream != self.stream {
            self.flush().await;
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
                self.flush().await;
            }
        }
        if !tail.is_empty() {
            // The head ends here: what is left out comes after all of it.
            self.flush().await;
            self.keep_tail(stream, tail);
        }
        // After a quiet time at once; else soon, with what comes until then.
        if self.due().is_some_and(|due| due <= Instant::now()) {
            self.flush().await;
        }
    }

    fn keep_tail(&mut self, stream: Stream, bytes: &[u8]) {
        let now = self.publisher.now();
        for piece in bytes.chunks(LOG_CHUNK_BYTES / 4) {
            self.tail_bytes += piece.len() as u64;
            self.tail.push_back((stream, now, piece.to_vec()));
            while self.tail_bytes > LOG_TAIL_BYTES {
                let Some((_, _, oldest)) = self.tail.pop_front() else { break };
                self.tail_bytes -= oldest.len() as u64;
                self.dropped += oldest.len() as u64;
            }
        }
    }

    /// When [`Self::flush`] should be called, if anything waits.
    pub(crate) fn due(&self) -> Option<Instant> {
        let due = self.sent_at.map_or_else(Instant::now, |sent| sent + FLUSH_AFTER);
        (!self.buffer.is_empty()).then_some(due)
    }

    pub(crate) async fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut self.buffer);
        let now = self.publisher.now();
        self.send(self.stream, now, bytes).await;
    }

    /// The end: everything that is kept goes out.
    pub(crate) async fn finish(mut self) {
        self.flush().await;
        for (stream, at, bytes) in std::mem::take(&mut self.tail) {
            self.send(stream, at, bytes).await;
        }
        if self.dropped > 0 {
            // The mark alone: nothing came after what was dropped.
            let (job, mark) = self.message(self.stream, self.publisher.now(), Vec::new());
            tokio::spawn(async move {
                let sent = self.publisher.publish(job, mark);
                if !matches!(tokio::time::timeout(MARK_WAIT, sent).await, Ok(Ok(()))) {
                    tracing::warn!(%job, bytes = self.dropped, "output was dropped uncounted");
                }
            });
        }
    }

    fn message(&self, stream: Stream, at: Timestamp, bytes: Vec<u8>) -> (JobId, Message) {
        let chunk = LogChunk {
            seq: self.of.seq + 1,
            stream,
            at,
            dropped_bytes: self.dropped,
            bytes,
            ..self.of.clone()
        };
        (chunk.job, Message::JobLog { chunks: vec![chunk] })
    }

    async fn send(&mut self, stream: Stream, at: Timestamp, bytes: Vec<u8>) {
        let len = bytes.len() as u64;
        let (job, message) = self.message(stream, at, bytes);
        let sent = self.publisher.publish(job, message);
        let began = Instant::now();
        let taken = matches!(tokio::time::timeout(self.patience, sent).await, Ok(Ok(())));
        self.sent_at = Some(Instant::now());
        if taken {
            self.of.seq += 1;
            self.dropped = 0;
            self.patience = SEND_WAIT;
        } else {
            self.dropped += len;
            self.patience = self.patience.saturating_sub(began.elapsed());
        }
    }
}

//! The events of a worker on their way to a coordinator.
//!
//! Published envelopes wait in one bounded queue and are sent in order, all that wait in one request;
//! while one request is in flight, the next gathers. A failed request is repeated, at the same
//! coordinator or the next, until it is accepted. So events survive the restart of a coordinator, and
//! an envelope that does not fit into the queue meanwhile is refused by `publish`, not lost later.

use std::sync::Arc;

use orx_model::message::{Body, Envelope, Message};
use orx_model::wire::{PublishAnswer, PublishRequest, Receipt, path};
use orx_model::{Outcome, OutcomeKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use super::http_transport::HttpSession;
use super::{CallError, PUBLISH_WAIT, RETRY, is_final, post};
use crate::{Channel, TransportError};

/// Most envelopes that wait.
const WAITING: usize = 1_024;
/// Most bytes that wait, by estimate.
const WAITING_BYTES: usize = 8 * 1024 * 1024;
/// Most envelopes in one request.
const REQUEST_ENVELOPES: usize = 512;
/// Most bytes in one request, by estimate: well under [`orx_model::limits::PUBLISH_BODY_BYTES`].
const REQUEST_BYTES: usize = 2 * 1024 * 1024;

/// The queue. The task that sends ends with the last clone.
#[derive(Clone)]
pub(super) struct Outbox {
    queue: mpsc::Sender<QueuedEnvelope>,
    /// One permit a byte.
    free_bytes: Arc<Semaphore>,
}

struct QueuedEnvelope {
    envelope: Envelope,
    bytes: usize,
    /// Held until the envelope is accepted.
    _space: OwnedSemaphorePermit,
}

impl Outbox {
    /// Spawns the task that sends.
    pub(super) fn new(session: Arc<HttpSession>) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(send_all(session, waiting));
        Self { queue, free_bytes: Arc::new(Semaphore::new(WAITING_BYTES)) }
    }

    /// Queues all envelopes or none.
    pub(super) async fn push(
        &self,
        to: Channel,
        envelopes: Vec<Envelope>,
    ) -> Result<(), TransportError> {
        if envelopes.len() > WAITING {
            return Err(TransportError::Full { channel: to });
        }
        let queued = async {
            let mut slots = self
                .queue
                .reserve_many(envelopes.len())
                .await
                .map_err(|_| TransportError::Closed)?;
            let mut waiting = Vec::with_capacity(envelopes.len());
            for envelope in envelopes {
                let bytes = estimated_bytes(&envelope).clamp(1, WAITING_BYTES);
                let space = Arc::clone(&self.free_bytes).acquire_many_owned(bytes as u32).await;
                let space = space.map_err(|_| TransportError::Closed)?;
                waiting.push(QueuedEnvelope { envelope, bytes, _space: space });
            }
            // Nothing is sent before there is space for all of it.
            for one in waiting {
                if let Some(slot) = slots.next() {
                    slot.send(one);
                }
            }
            Ok(())
        };
        match tokio::time::timeout(PUBLISH_WAIT, queued).await {
            Ok(queued) => queued,
            Err(_) => Err(TransportError::Full { channel: to }),
        }
    }
}

/// Sends the queue in order until the last [`Outbox`] is dropped.
async fn send_all(session: Arc<HttpSession>, mut waiting: mpsc::Receiver<QueuedEnvelope>) {
    let mut batch: Vec<QueuedEnvelope> = Vec::new();
    let mut held: Option<QueuedEnvelope> = None;
    loop {
        let first = match held.take() {
            Some(first) => first,
            None => match waiting.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut bytes = first.bytes;
        batch.push(first);
        while batch.len() < REQUEST_ENVELOPES
            && let Ok(next) = waiting.try_recv()
        {
            // One request holds envelopes of one worker: its secret authenticates all of them.
            let another = next.envelope.from != batch[0].envelope.from;
            if another || bytes + next.bytes > REQUEST_BYTES {
                held = Some(next);
                break;
            }
            bytes += next.bytes;
            batch.push(next);
        }
        send_batch(&session, &mut batch, &mut waiting).await;
    }
}

/// Sends a batch until all of it is accepted or rejected, or the last [`Outbox`] is dropped.
async fn send_batch(
    session: &HttpSession,
    batch: &mut Vec<QueuedEnvelope>,
    waiting: &mut mpsc::Receiver<QueuedEnvelope>,
) {
    let mut backoff = RETRY;
    while !batch.is_empty() {
        let url = session.endpoints.current();
        let envelopes = batch.iter().map(|waiting| waiting.envelope.clone()).collect();
        // It does not wait for receipts: acknowledgements come through the inbox.
        let request = PublishRequest { envelopes, wait_ms: Some(0) };
        let secret = batch.first().and_then(|first| session.secret(first.envelope.from));
        let credentials = session.credentials(secret.as_ref());
        let timeout = session.call_timeout();
        let sent: Result<PublishAnswer, _> =
            post(&session.http, &url, path::WORKER_PUBLISH, credentials, &request, timeout).await;
        match sent {
            Ok(answer) if answer.receipts.len() == batch.len() => {
                let mut receipts = answer.receipts.into_iter();
                // Everything behind the first envelope that was not accepted is repeated, in order.
                let mut accepted = true;
                batch.retain(|_| {
                    accepted &= receipts.next() != Some(Receipt::TryAgain);
                    !accepted
                });
                if batch.is_empty() {
                    return;
                }
            }
            Ok(_) => {
                tracing::warn!(%url, "the answer has another number of receipts than the request");
                session.endpoints.move_on(&url, false, Instant::now());
            }
            Err(CallError::Problem(problem)) if is_final(problem.code) => {
                // The answers to heartbeats find what is missing and ask for it again.
                tracing::warn!(%url, %problem, "the coordinator rejected events");
                batch.clear();
                return;
            }
            Err(CallError::Problem(problem)) => {
                tracing::debug!(%url, %problem, "events were not accepted; trying again");
                session.endpoints.move_on(&url, false, Instant::now());
            }
            Err(error @ (CallError::NoAnswer(_) | CallError::TimedOut)) => {
                let why = error.why();
                tracing::debug!(%url, why, "events could not be sent; trying again");
                session.endpoints.move_on(&url, error.is_timeout(), Instant::now());
            }
        }
        if waiting.is_closed() {
            return;
        }
        tokio::time::sleep(backoff.failed()).await;
    }
}

/// About how many bytes the envelope takes as JSON.
fn estimated_bytes(envelope: &Envelope) -> usize {
    const HEAD: usize = 300;
    let body = match &envelope.body {
        Body::Known(Message::JobLog { chunks }) => {
            // JSON writes a control character in six bytes; most text has few.
            chunks.iter().map(|chunk| HEAD + chunk.bytes.len() * 2).sum()
        }
        Body::Known(Message::JobResult { outcomes }) => {
            let of = |outcome: &Outcome| {
                let result = match &outcome.kind {
                    OutcomeKind::Succeeded { result: Some(result) } => result.get().len(),
                    _ => 0,
                };
                HEAD + result + outcome.error.as_ref().map_or(0, String::len)
            };
            outcomes.iter().map(of).sum()
        }
        Body::Known(Message::JobStatus { started }) => started.len() * HEAD,
        Body::Known(Message::JobProgress { progress }) => progress.len() * HEAD * 2,
        Body::Known(_) | Body::Unknown(_) => HEAD,
    };
    HEAD + body
}

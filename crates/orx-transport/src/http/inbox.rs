//! The inbox of a worker, read as a stream of lines from whichever coordinator is in use.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use orx_model::Incarnation;
use orx_model::message::Envelope;
use orx_model::ndjson::LineBuffer;
use orx_model::wire::{InboxLine, Receipt, path};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::http_transport::HttpSession;
use super::{CallError, RETRY, innermost, rejection};
use crate::{
    Acknowledge, Channel, ConnectionState, Deliveries, Subscription, SubscriptionState,
    TransportError,
};

/// A stream without a line for this long is dead; servers ping every 5 s.
const SILENT: Duration = Duration::from_secs(15);
/// A worker that moves to another coordinator reads the old stream for this long: what is on its way there
/// would be lost otherwise.
const TAIL: Duration = Duration::from_secs(2);
/// Most envelopes that were read and not yet taken.
const READ_AHEAD: usize = 256;
/// How long the stream of a dropped reader waits for the next reader of the same inbox.
const PARKED: Duration = Duration::from_secs(5);
/// Most bytes in one line: a batch of jobs with their args.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The deliveries and streams that dropped readers pass to the next reader of the same inbox.
#[derive(Default)]
pub(super) struct Returned {
    /// Deliveries that were returned unanswered, by position.
    envelopes: Mutex<HashMap<Incarnation, BTreeMap<u64, Envelope>>>,
    /// Open streams of readers that were dropped. The next reader takes the stream over, because the
    /// coordinator has acknowledged what is on its way.
    parked: Mutex<HashMap<Incarnation, OpenInbox>>,
    /// How many positions were assigned so far, in the order in which envelopes are read.
    positions: AtomicU64,
}

impl Returned {
    fn next_position(&self) -> u64 {
        self.positions.fetch_add(1, Ordering::Relaxed)
    }

    fn put(&self, of: Incarnation, position: u64, envelope: Envelope) {
        self.envelopes().entry(of).or_default().insert(position, envelope);
    }

    fn envelopes(&self) -> MutexGuard<'_, HashMap<Incarnation, BTreeMap<u64, Envelope>>> {
        self.envelopes.lock()
    }

    /// Leaves what a stream has read to the next reader, and ends the stream.
    fn end(&self, of: Incarnation, mut stream: OpenInbox) {
        stream.reading.abort();
        while let Ok(envelope) = stream.read.try_recv() {
            self.put(of, self.next_position(), envelope);
        }
    }
}

/// The open stream of an inbox, with the task that reads it.
struct OpenInbox {
    read: mpsc::Receiver<Envelope>,
    state: watch::Receiver<SubscriptionState>,
    reading: tokio::task::AbortHandle,
}

impl OpenInbox {
    /// Spawns the task that reads.
    fn open(session: &Arc<HttpSession>, of: Incarnation) -> Self {
        let (to, read) = mpsc::channel(READ_AHEAD);
        let (state_to, state) = watch::channel(reconnecting("not connected yet".to_owned()));
        let reading = tokio::spawn(read_inbox(Arc::clone(session), of, to, state_to));
        Self { read, state, reading: reading.abort_handle() }
    }
}

/// The subscription of one worker to its inbox.
pub(super) struct InboxReader {
    session: Arc<HttpSession>,
    of: Incarnation,
    stream: OpenInbox,
}

impl InboxReader {
    /// Takes the stream of a dropped reader over, or opens one.
    pub(super) fn open(session: &Arc<HttpSession>, of: Incarnation) -> Self {
        let parked = session.returned.parked.lock().remove(&of);
        let stream = match parked {
            Some(stream) if !stream.reading.is_finished() => stream,
            Some(over) => {
                session.returned.end(of, over);
                OpenInbox::open(session, of)
            }
            None => OpenInbox::open(session, of),
        };
        Self { session: Arc::clone(session), of, stream }
    }
}

impl Drop for InboxReader {
    fn drop(&mut self) {
        let (_, closed) = mpsc::channel(1);
        let stream = OpenInbox {
            read: std::mem::replace(&mut self.stream.read, closed),
            state: self.stream.state.clone(),
            reading: self.stream.reading.clone(),
        };
        let (returned, of, task) = (&self.session.returned, self.of, stream.reading.id());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return returned.end(of, stream);
        };
        if let Some(before) = returned.parked.lock().insert(of, stream) {
            returned.end(of, before);
        }
        let session = Arc::clone(&self.session);
        runtime.spawn(async move {
            tokio::time::sleep(PARKED).await;
            let mut parked = session.returned.parked.lock();
            if parked.get(&of).is_some_and(|stream| stream.reading.id() == task)
                && let Some(stream) = parked.remove(&of)
            {
                session.returned.end(of, stream);
            }
        });
    }
}

#[async_trait]
impl Subscription for InboxReader {
    async fn next(&mut self, most: usize) -> Result<Deliveries, TransportError> {
        let most = most.max(1);
        let mut envelopes = Vec::new();
        let mut positions = Vec::new();
        let mut take = |position: u64, envelope: Envelope| {
            positions.push(position);
            envelopes.push(envelope);
            envelopes.len()
        };
        let mut taken = 0;
        {
            let mut returned = self.session.returned.envelopes();
            if let Some(waiting) = returned.get_mut(&self.of) {
                while taken < most
                    && let Some((position, envelope)) = waiting.pop_first()
                {
                    taken = take(position, envelope);
                }
                if waiting.is_empty() {
                    returned.remove(&self.of);
                }
            }
        }
        if taken == 0 {
            // The task ends by itself only when another reader takes over the inbox.
            let over = TransportError::TakenOver { channel: Channel::Inbox(self.of) };
            let first = self.stream.read.recv().await.ok_or(over)?;
            taken = take(self.session.returned.next_position(), first);
        }
        while taken < most
            && let Ok(envelope) = self.stream.read.try_recv()
        {
            taken = take(self.session.returned.next_position(), envelope);
        }
        let batch = InboxBatch { session: Arc::clone(&self.session), of: self.of, positions };
        Ok(Deliveries::new(envelopes, Arc::new(batch)))
    }

    fn state(&self) -> watch::Receiver<SubscriptionState> {
        self.stream.state.clone()
    }
}

/// One batch. The coordinator acknowledged it to its own transport when it sent it here.
struct InboxBatch {
    session: Arc<HttpSession>,
    of: Incarnation,
    positions: Vec<u64>,
}

#[async_trait]
impl Acknowledge for InboxBatch {
    async fn ack(&self, _: Vec<(usize, Receipt)>) -> Result<(), TransportError> {
        Ok(())
    }

    async fn nack(&self, returned: Vec<(usize, Envelope)>) -> Result<(), TransportError> {
        self.dropped(returned);
        Ok(())
    }

    fn dropped(&self, returned: Vec<(usize, Envelope)>) {
        for (index, envelope) in returned {
            if let Some(position) = self.positions.get(index) {
                self.session.returned.put(self.of, *position, envelope);
            }
        }
    }
}

/// Why the stream of an inbox ended.
enum StreamEnd {
    /// Another reader took over the inbox.
    TakenOver,
    /// The [`InboxReader`] was dropped.
    ReaderDropped,
    Failed(CallError),
}

impl StreamEnd {
    fn no_answer(why: String) -> Self {
        Self::Failed(CallError::NoAnswer(why))
    }
}

/// Reads the inbox at the coordinator in use, until another reader takes over or the [`InboxReader`] is
/// dropped.
async fn read_inbox(
    session: Arc<HttpSession>,
    of: Incarnation,
    to: mpsc::Sender<Envelope>,
    state: watch::Sender<SubscriptionState>,
) {
    let mut backoff = RETRY;
    loop {
        let mut current = session.endpoints.watch();
        let url = current.borrow_and_update().clone();
        // Where another coordinator is in use now, the state changes only if that one fails too.
        let connected = tokio::select! {
            connected = connect(&session, &url, of) => connected,
            _ = current.changed() => continue,
        };
        let end = match connected {
            Ok(response) => {
                backoff.succeeded();
                state.send_replace(SubscriptionState::connected(Instant::now()));
                let mut reading = Box::pin(read_stream(response, to.clone()));
                tokio::select! {
                    end = &mut reading => end,
                    _ = current.changed() => {
                        tokio::spawn(tokio::time::timeout(TAIL, reading));
                        continue;
                    }
                }
            }
            Err(end) => end,
        };
        match end {
            StreamEnd::TakenOver | StreamEnd::ReaderDropped => return,
            StreamEnd::Failed(error) => {
                set_reconnecting(&state, format!("{url}: {}", error.why()));
                session.endpoints.move_on(&url, error.is_timeout(), Instant::now());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.failed()) => {}
            () = to.closed() => return,
        }
    }
}

fn reconnecting(why: String) -> SubscriptionState {
    let connection = ConnectionState::Reconnecting { since: Instant::now(), why };
    SubscriptionState { connection, last_echo: None }
}

/// Sets the state to reconnecting. If it is that already, `since` stays.
fn set_reconnecting(state: &watch::Sender<SubscriptionState>, why: String) {
    let mut new = reconnecting(why);
    state.send_if_modified(|state| {
        if let (
            ConnectionState::Reconnecting { since, .. },
            ConnectionState::Reconnecting { since: before, .. },
        ) = (&mut new.connection, &state.connection)
        {
            *since = *before;
        }
        *state != new && {
            *state = new;
            true
        }
    });
}

async fn connect(
    session: &HttpSession,
    url: &str,
    of: Incarnation,
) -> Result<reqwest::Response, StreamEnd> {
    let secret = session.secret(of);
    let call = session.http.get(format!("{url}{}", path::WORKER_INBOX));
    let call = session.credentials(secret.as_ref()).authenticate(call);
    let call = call.query(&[("worker", of.to_string())]).send();
    let response = match tokio::time::timeout(session.call_timeout(), call).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Err(StreamEnd::no_answer(innermost(&error))),
        Err(_) => return Err(StreamEnd::Failed(CallError::TimedOut)),
    };
    if !response.status().is_success() {
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap_or_default();
        return Err(StreamEnd::Failed(rejection(status, &bytes)));
    }
    Ok(response)
}

async fn read_stream(response: reqwest::Response, to: mpsc::Sender<Envelope>) -> StreamEnd {
    let mut pieces = response.bytes_stream();
    let mut lines = LineBuffer::default();
    loop {
        while let Some(line) = lines.next_line() {
            match serde_json::from_slice::<InboxLine>(&line) {
                Ok(InboxLine::Ping {}) => {}
                Ok(InboxLine::TakenOver {}) => return StreamEnd::TakenOver,
                Ok(InboxLine::Envelope(envelope)) => {
                    if to.send(*envelope).await.is_err() {
                        return StreamEnd::ReaderDropped;
                    }
                }
                Err(error) => {
                    // A coordinator of a later version may have sent it: recovery heals its loss.
                    tracing::warn!(%error, "ignored a line of the inbox that cannot be read");
                }
            }
        }
        let piece = tokio::select! {
            piece = tokio::time::timeout(SILENT, pieces.next()) => piece,
            () = to.closed() => return StreamEnd::ReaderDropped,
        };
        match piece {
            Ok(Some(Ok(bytes))) => lines.push(&bytes),
            Ok(Some(Err(error))) => return StreamEnd::no_answer(innermost(&error)),
            Ok(None) => return StreamEnd::no_answer("the stream ended".to_owned()),
            Err(_) => return StreamEnd::Failed(CallError::TimedOut),
        }
        if lines.waiting_bytes() > LINE_BYTES_MAX {
            return StreamEnd::no_answer("a line is too long".to_owned());
        }
    }
}

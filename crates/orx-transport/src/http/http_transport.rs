//! A worker's side: one coordinator of a list at a time, and the next one when it goes.
//!
//! What is published waits in one bounded queue and goes out in its order, all that waits in one
//! request; while one request is out the next gathers. A request that fails is made again, there or
//! at the next coordinator, until it is taken: so what a worker tells survives the restart of a
//! coordinator, and what does not fit into the queue meanwhile is refused here, not lost on the way.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use orx_model::message::{Envelope, HeartbeatAnswer, WorkerHeartbeat, WorkerRegistration};
use orx_model::wire::{InboxLine, PublishAnswer, PublishRequest, Receipt, path};
use orx_model::{Code, Incarnation, WorkerSecret};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;

use super::{CallError, Token, Who, innermost, post, refused};
use crate::{
    Acknowledge, Channel, Connection, Deliveries, Gateway, GatewayError, Shard, Subscription,
    SubscriptionState, Transport, TransportError,
};

/// Envelopes that wait to go out.
const WAITING: usize = 1_024;
/// Bytes of those, by estimate.
const WAITING_BYTES: usize = 8 * 1024 * 1024;
/// What one request takes at most, well under [`orx_model::limits::PUBLISH_BODY_BYTES`].
const REQUEST_ENVELOPES: usize = 512;
const REQUEST_BYTES: usize = 2 * 1024 * 1024;
/// How long a publisher waits for room.
const PUBLISH_WAIT: Duration = Duration::from_secs(5);
/// A call with its answer, unless heartbeats are due so often that this would be late.
const CALL_WITHIN: Duration = Duration::from_secs(8);
/// A stream that says nothing for so long is dead; servers ping every 5 s.
const SILENT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// A leader that could not be reached from here is not gone to again for so long.
const UNREACHED: Duration = Duration::from_secs(60);
/// Nor is one that fell silent: as long as the lease of a leader usually is.
const FROZEN: Duration = Duration::from_secs(30);
/// Incarnations whose secrets are held: those of one worker, which starts anew after a fence.
const SECRETS: usize = 64;
/// Envelopes read and not yet taken.
const INBOX: usize = 256;
/// One line of an inbox: a batch of jobs with their args.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

pub struct HttpTransportOptions {
    /// `http://host:port`, at least one; the first is tried first.
    pub urls: Vec<String>,
    /// With the scope `worker`.
    pub token: Token,
    /// How coordinators are called.
    pub http: reqwest::Client,
}

/// Cheap to clone; all clones are one. Its tasks end with the last of them.
#[derive(Clone)]
pub struct HttpTransport {
    inner: Arc<Inner>,
    out: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

struct Inner {
    endpoints: EndpointSelector,
    token: Token,
    /// What proves that a worker of this process is the one that registered, once it did.
    secrets: Mutex<BTreeMap<Incarnation, WorkerSecret>>,
    http: reqwest::Client,
    /// A call with its answer, milliseconds: a coordinator that hangs is left before the worker's
    /// lease ends.
    within_ms: AtomicU64,
    /// Deliveries that were dropped unanswered, by their places.
    given_back: Mutex<HashMap<Incarnation, BTreeMap<u64, Envelope>>>,
    /// How many envelopes were given a place in the order in which they are read.
    placed: AtomicU64,
}

/// Which coordinator is in use, and which is next.
struct EndpointSelector {
    urls: Vec<String>,
    current: watch::Sender<String>,
    leaders: Mutex<Leaders>,
}

/// Where coordinators said that the leader is. They may know it by an address that leads nowhere
/// from here: whoever goes there each time that it is told never stays anywhere.
#[derive(Default)]
struct Leaders {
    /// Gone to, and not yet heard of.
    tried: Option<String>,
    unreached: HashMap<String, Instant>,
}

struct Waiting {
    envelope: Envelope,
    bytes: usize,
    /// Held until it has gone out.
    _room: OwnedSemaphorePermit,
}

impl HttpTransport {
    /// Spawns the task that sends; call it inside a runtime.
    ///
    /// # Errors
    /// In words, where no coordinator is named.
    pub fn new(options: HttpTransportOptions) -> Result<Self, String> {
        let urls: Vec<String> =
            options.urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        let first = urls.first().cloned().ok_or("no coordinator is named")?;
        let inner = Arc::new(Inner {
            endpoints: EndpointSelector::new(urls, first),
            token: options.token,
            secrets: Mutex::default(),
            http: options.http,
            within_ms: AtomicU64::new(CALL_WITHIN.as_millis() as u64),
            given_back: Mutex::default(),
            placed: AtomicU64::new(0),
        });
        let (out, waiting) = mpsc::channel(WAITING);
        tokio::spawn(send_all(Arc::clone(&inner), waiting));
        Ok(Self { inner, out, room: Arc::new(Semaphore::new(WAITING_BYTES)) })
    }

    async fn call(
        &self,
        of: Incarnation,
        route: &str,
        body: &impl Serialize,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        let inner = &self.inner;
        let url = inner.endpoints.current();
        let secret = inner.secret(of);
        let who = Who { token: &inner.token, secret: secret.as_ref() };
        let answer: Result<HeartbeatAnswer, _> =
            post(&inner.http, &url, route, who, body, inner.within()).await;
        match answer {
            Ok(mut answer) => {
                if let Some(secret) = answer.secret.take() {
                    inner.keep_secret(of, secret);
                }
                inner.answer_within(&answer);
                inner.endpoints.reached(&url);
                if let Some(leader) = &answer.leader {
                    inner.endpoints.follow(&url, leader, Instant::now());
                }
                Ok(answer)
            }
            Err(CallError::Problem(problem)) if problem.code == Code::NotThisWorker => {
                Err(GatewayError::NotThisWorker(format!("{url}: {problem}")))
            }
            Err(CallError::Problem(problem)) if is_final(problem.code) => {
                Err(GatewayError::Refused(format!("{url}: {problem}")))
            }
            Err(CallError::Problem(problem)) => {
                inner.endpoints.move_on(&url, false, Instant::now());
                Err(GatewayError::Unreachable(format!("{url}: {problem}")))
            }
            Err(error @ (CallError::Away(_) | CallError::Silent)) => {
                inner.endpoints.move_on(&url, error.is_silent(), Instant::now());
                Err(GatewayError::Unreachable(format!("{url}: {}", error.why())))
            }
        }
    }
}

/// Asking again will not help.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::Unauthenticated
            | Code::NotAllowed
            | Code::NotThisWorker
            | Code::ForeignOrigin
            | Code::BadRequest
            | Code::UnsupportedMediaType
    )
}

impl Inner {
    fn within(&self) -> Duration {
        Duration::from_millis(self.within_ms.load(Ordering::Relaxed))
    }

    /// Four fifths of the time between heartbeats: the next one goes elsewhere.
    fn answer_within(&self, answer: &HeartbeatAnswer) {
        let every = Duration::from_millis(answer.heartbeat_ms);
        if !every.is_zero() {
            let within = (every * 4 / 5).min(CALL_WITHIN);
            self.within_ms.store(within.as_millis() as u64, Ordering::Relaxed);
        }
    }

    fn secret(&self, of: Incarnation) -> Option<WorkerSecret> {
        self.secrets.lock().get(&of).cloned()
    }

    fn keep_secret(&self, of: Incarnation, secret: WorkerSecret) {
        let mut secrets = self.secrets.lock();
        if secrets.len() >= SECRETS {
            secrets.clear();
        }
        secrets.insert(of, secret);
    }

    fn next_place(&self) -> u64 {
        self.placed.fetch_add(1, Ordering::Relaxed)
    }

    fn give_back(&self, of: Incarnation, place: u64, envelope: Envelope) {
        self.given_back().entry(of).or_default().insert(place, envelope);
    }

    fn given_back(&self) -> MutexGuard<'_, HashMap<Incarnation, BTreeMap<u64, Envelope>>> {
        // No code that holds this lock can leave its data half-changed.
        self.given_back.lock()
    }
}

impl EndpointSelector {
    fn new(urls: Vec<String>, first: String) -> Self {
        Self { urls, current: watch::channel(first).0, leaders: Mutex::default() }
    }

    fn current(&self) -> String {
        self.current.borrow().clone()
    }

    /// That one is away: the next of the list, unless another caller has moved on already. One that
    /// keeps silent costs a whole call each time, and others may take it for the leader for as long
    /// as its lease holds; one that is gone says so at once.
    fn move_on(&self, from: &str, silent: bool, now: Instant) {
        let mut leaders = self.leaders();
        let tried = leaders.tried.take_if(|tried| tried == from).is_some();
        if tried || silent {
            let until = now + if tried { UNREACHED } else { FROZEN };
            leaders.unreached.insert(from.to_owned(), until);
        }
        drop(leaders);
        if tried {
            tracing::warn!(url = from, "the leader cannot be reached from here by its address");
        }
        self.current.send_if_modified(|current| {
            if current != from {
                return false;
            }
            let place = self.urls.iter().position(|url| url == from);
            let next = place.map_or(0, |place| (place + 1) % self.urls.len());
            let changed = self.urls[next] != *current;
            current.clone_from(&self.urls[next]);
            changed
        });
    }

    /// The one that was asked follows that one.
    fn follow(&self, asked: &str, leader: &str, now: Instant) {
        let leader = leader.trim_end_matches('/');
        let mut leaders = self.leaders();
        leaders.unreached.retain(|_, until| *until > now);
        if leaders.unreached.contains_key(leader) {
            return;
        }
        self.current.send_if_modified(|current| {
            let moves = current == asked && current != leader;
            if moves {
                leader.clone_into(current);
                leaders.tried = Some(leader.to_owned());
            }
            moves
        });
    }

    fn reached(&self, url: &str) {
        let mut leaders = self.leaders();
        if leaders.tried.as_deref() == Some(url) {
            leaders.tried = None;
        }
    }

    fn leaders(&self) -> MutexGuard<'_, Leaders> {
        // No code that holds this lock can leave its data half-changed.
        self.leaders.lock()
    }
}

/// Sends what waits, in its order, until the last [`HttpTransport`] is gone.
async fn send_all(inner: Arc<Inner>, mut waiting: mpsc::Receiver<Waiting>) {
    let mut batch: Vec<Waiting> = Vec::new();
    let mut held: Option<Waiting> = None;
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
            // One request is of one worker: its secret stands for all of it.
            let another = next.envelope.from != batch[0].envelope.from;
            if another || bytes + next.bytes > REQUEST_BYTES {
                held = Some(next);
                break;
            }
            bytes += next.bytes;
            batch.push(next);
        }
        send_batch(&inner, &mut batch, &mut waiting).await;
    }
}

/// Until all of it is taken, or is never to be, or nobody waits for more.
async fn send_batch(
    inner: &Inner,
    batch: &mut Vec<Waiting>,
    waiting: &mut mpsc::Receiver<Waiting>,
) {
    let mut pause = PAUSE;
    while !batch.is_empty() {
        let url = inner.endpoints.current();
        let envelopes = batch.iter().map(|waiting| waiting.envelope.clone()).collect();
        // Not waited for: what becomes of it comes with the inbox.
        let request = PublishRequest { envelopes, wait_ms: Some(0) };
        let secret = batch.first().and_then(|first| inner.secret(first.envelope.from));
        let who = Who { token: &inner.token, secret: secret.as_ref() };
        let sent: Result<PublishAnswer, _> =
            post(&inner.http, &url, path::WORKER_PUBLISH, who, &request, inner.within()).await;
        match sent {
            Ok(answer) if answer.receipts.len() == batch.len() => {
                let mut receipts = answer.receipts.into_iter();
                // The first that was not taken holds up those behind it: the order stays.
                let mut whole = true;
                batch.retain(|_| {
                    whole &= receipts.next() != Some(Receipt::TryAgain);
                    !whole
                });
                if batch.is_empty() {
                    return;
                }
            }
            Ok(_) => {
                tracing::warn!(%url, "an answer that does not fit its request");
                inner.endpoints.move_on(&url, false, Instant::now());
            }
            Err(CallError::Problem(problem)) if is_final(problem.code) => {
                // Heartbeats find out what is missing, and what is to be told again.
                tracing::warn!(%url, %problem, "what was told is refused");
                batch.clear();
                return;
            }
            Err(CallError::Problem(problem)) => {
                tracing::debug!(%url, %problem, "what was told was not taken: trying again");
                inner.endpoints.move_on(&url, false, Instant::now());
            }
            Err(error @ (CallError::Away(_) | CallError::Silent)) => {
                let why = error.why();
                tracing::debug!(%url, why, "what was told did not arrive: trying again");
                inner.endpoints.move_on(&url, error.is_silent(), Instant::now());
            }
        }
        if waiting.is_closed() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[async_trait]
impl Gateway for HttpTransport {
    async fn register(
        &self,
        registration: WorkerRegistration,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        self.call(registration.incarnation, path::WORKER_REGISTER, &registration).await
    }

    async fn heartbeat(&self, heartbeat: WorkerHeartbeat) -> Result<HeartbeatAnswer, GatewayError> {
        self.call(heartbeat.incarnation, path::WORKER_HEARTBEAT, &heartbeat).await
    }
}

#[async_trait]
impl Transport for HttpTransport {
    /// Events only: that is all that a worker tells.
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        let Channel::Events(_) = to else {
            return Err(TransportError::NoReader { channel: to });
        };
        if envelopes.len() > WAITING {
            return Err(TransportError::Full { channel: to });
        }
        let taken = async {
            let mut places =
                self.out.reserve_many(envelopes.len()).await.map_err(|_| TransportError::Closed)?;
            let mut waiting = Vec::with_capacity(envelopes.len());
            for envelope in envelopes {
                let bytes = estimate(&envelope).clamp(1, WAITING_BYTES);
                let room = Arc::clone(&self.room).acquire_many_owned(bytes as u32).await;
                let room = room.map_err(|_| TransportError::Closed)?;
                waiting.push(Waiting { envelope, bytes, _room: room });
            }
            // All or none: nothing is sent before there is room for all of it.
            for one in waiting {
                if let Some(place) = places.next() {
                    place.send(one);
                }
            }
            Ok(())
        };
        match tokio::time::timeout(PUBLISH_WAIT, taken).await {
            Ok(taken) => taken,
            Err(_) => Err(TransportError::Full { channel: to }),
        }
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        let Channel::Inbox(of) = channel else {
            return Err(TransportError::NoReader { channel });
        };
        let (read_to, read) = mpsc::channel(INBOX);
        let (state_is, state) = watch::channel(reconnecting("it was not opened yet".to_owned()));
        let reading = tokio::spawn(read_inbox(Arc::clone(&self.inner), of, read_to, state_is));
        let mut opened = state.clone();
        let reader = HttpReader { inner: Arc::clone(&self.inner), of, read, state, reading };
        // From here on what is sent to it is not refused for want of a reader. One that cannot be
        // opened now is opened later: the worker starts all the same.
        let opened = opened.wait_for(SubscriptionState::is_connected);
        let _ = tokio::time::timeout(PUBLISH_WAIT, opened).await;
        Ok(Box::new(reader))
    }

    async fn subscribe_events(
        &self,
        _shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        Err(TransportError::NoReader { channel: Channel::Enqueue })
    }
}

fn reconnecting(why: String) -> SubscriptionState {
    let connection = Connection::Reconnecting { since: Instant::now(), why };
    SubscriptionState { connection, last_echo: None }
}

/// About how long it is as JSON.
fn estimate(envelope: &Envelope) -> usize {
    use orx_model::message::{Body, Message};
    const HEAD: usize = 300;
    let body = match &envelope.body {
        Body::Known(Message::JobLog { chunks }) => {
            // Control characters are written in six.
            chunks.iter().map(|chunk| HEAD + chunk.bytes.len() * 2).sum()
        }
        Body::Known(Message::JobResult { outcomes }) => {
            let of = |outcome: &orx_model::Outcome| {
                let result = match &outcome.kind {
                    orx_model::OutcomeKind::Succeeded { result: Some(result) } => {
                        result.get().len()
                    }
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

struct HttpReader {
    inner: Arc<Inner>,
    of: Incarnation,
    read: mpsc::Receiver<Envelope>,
    state: watch::Receiver<SubscriptionState>,
    reading: tokio::task::JoinHandle<()>,
}

impl Drop for HttpReader {
    fn drop(&mut self) {
        self.reading.abort();
        // Read and not taken: the next reader has it.
        while let Ok(envelope) = self.read.try_recv() {
            self.inner.give_back(self.of, self.inner.next_place(), envelope);
        }
    }
}

#[async_trait]
impl Subscription for HttpReader {
    async fn next(&mut self, most: usize) -> Result<Deliveries, TransportError> {
        let most = most.max(1);
        let mut envelopes = Vec::new();
        let mut places = Vec::new();
        let mut take = |place: u64, envelope: Envelope| {
            places.push(place);
            envelopes.push(envelope);
            envelopes.len()
        };
        let mut taken = 0;
        {
            let mut given_back = self.inner.given_back();
            if let Some(waiting) = given_back.get_mut(&self.of) {
                while taken < most
                    && let Some((place, envelope)) = waiting.pop_first()
                {
                    taken = take(place, envelope);
                }
                if waiting.is_empty() {
                    given_back.remove(&self.of);
                }
            }
        }
        if taken == 0 {
            // It ends by itself only when another reader has the inbox.
            let over = TransportError::TakenOver { channel: Channel::Inbox(self.of) };
            let first = self.read.recv().await.ok_or(over)?;
            taken = take(self.inner.next_place(), first);
        }
        while taken < most
            && let Ok(envelope) = self.read.try_recv()
        {
            taken = take(self.inner.next_place(), envelope);
        }
        let received = Received { inner: Arc::clone(&self.inner), of: self.of, places };
        Ok(Deliveries::new(envelopes, Arc::new(received)))
    }

    fn state(&self) -> watch::Receiver<SubscriptionState> {
        self.state.clone()
    }
}

/// One batch. The coordinator has acknowledged it to whatever carries, when it sent it here.
struct Received {
    inner: Arc<Inner>,
    of: Incarnation,
    places: Vec<u64>,
}

#[async_trait]
impl Acknowledge for Received {
    async fn ack(&self, _: Vec<(usize, Receipt)>) -> Result<(), TransportError> {
        Ok(())
    }

    async fn nack(&self, returned: Vec<(usize, Envelope)>) -> Result<(), TransportError> {
        self.dropped(returned);
        Ok(())
    }

    fn dropped(&self, returned: Vec<(usize, Envelope)>) {
        for (index, envelope) in returned {
            if let Some(place) = self.places.get(index) {
                self.inner.give_back(self.of, *place, envelope);
            }
        }
    }
}

/// Why a stream of an inbox ended.
enum Ended {
    /// Another reader has it now.
    TakenOver,
    /// Nobody reads here any more.
    Unread,
    /// Another coordinator is in use now.
    Moved,
    Broken(CallError),
}

impl Ended {
    fn away(why: String) -> Self {
        Self::Broken(CallError::Away(why))
    }
}

/// Reads the inbox, at whatever coordinator is in use, until another reader takes it over or nobody
/// reads here any more.
async fn read_inbox(
    inner: Arc<Inner>,
    of: Incarnation,
    to: mpsc::Sender<Envelope>,
    state: watch::Sender<SubscriptionState>,
) {
    let mut pause = PAUSE;
    loop {
        let mut current = inner.endpoints.current.subscribe();
        let url = current.borrow_and_update().clone();
        let ended = tokio::select! {
            ended = read_stream(&inner, &url, of, &to, &state, &mut pause) => ended,
            _ = current.changed() => Ended::Moved,
        };
        match ended {
            Ended::TakenOver | Ended::Unread => return,
            // Whether it is cut off shows there.
            Ended::Moved => continue,
            Ended::Broken(error) => {
                is_cut_off(&state, format!("{url}: {}", error.why()));
                inner.endpoints.move_on(&url, error.is_silent(), Instant::now());
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = to.closed() => return,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Since when, is left as it was.
fn is_cut_off(state: &watch::Sender<SubscriptionState>, why: String) {
    let mut cut_off = reconnecting(why);
    state.send_if_modified(|state| {
        if let (
            Connection::Reconnecting { since, .. },
            Connection::Reconnecting { since: before, .. },
        ) = (&mut cut_off.connection, &state.connection)
        {
            *since = *before;
        }
        *state != cut_off && {
            *state = cut_off;
            true
        }
    });
}

async fn read_stream(
    inner: &Inner,
    url: &str,
    of: Incarnation,
    to: &mpsc::Sender<Envelope>,
    state: &watch::Sender<SubscriptionState>,
    pause: &mut Duration,
) -> Ended {
    let secret = inner.secret(of);
    let who = Who { token: &inner.token, secret: secret.as_ref() };
    let call = inner.http.get(format!("{url}{}", path::WORKER_INBOX));
    let call = who.shown(call).query(&[("worker", of.to_string())]).send();
    let response = match tokio::time::timeout(inner.within(), call).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return Ended::away(innermost(&error)),
        Err(_) => return Ended::Broken(CallError::Silent),
    };
    if !response.status().is_success() {
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap_or_default();
        return Ended::Broken(refused(status, &bytes));
    }
    *pause = PAUSE;
    state.send_replace(SubscriptionState::connected(Instant::now()));
    let mut pieces = response.bytes_stream();
    let mut buffer: Vec<u8> = Vec::new();
    // Bytes of it without a line's end: a long line comes in many pieces.
    let mut searched = 0;
    loop {
        while let Some(end) = buffer[searched..].iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=searched + end).collect();
            searched = 0;
            match serde_json::from_slice::<InboxLine>(&line) {
                Ok(InboxLine::Ping {}) => {}
                Ok(InboxLine::TakenOver {}) => return Ended::TakenOver,
                Ok(InboxLine::Envelope(envelope)) => {
                    if to.send(*envelope).await.is_err() {
                        return Ended::Unread;
                    }
                }
                Err(error) => {
                    // Of a later version, perhaps: recovery heals what it was.
                    tracing::warn!(%error, "set aside a line of the inbox");
                }
            }
        }
        searched = buffer.len();
        let piece = tokio::select! {
            piece = tokio::time::timeout(SILENT, pieces.next()) => piece,
            () = to.closed() => return Ended::Unread,
        };
        match piece {
            Ok(Some(Ok(bytes))) => buffer.extend_from_slice(&bytes),
            Ok(Some(Err(error))) => return Ended::away(innermost(&error)),
            Ok(None) => return Ended::away("it ended".to_owned()),
            Err(_) => return Ended::Broken(CallError::Silent),
        }
        if buffer.len() > LINE_BYTES_MAX {
            return Ended::away("a line is too long".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "http://listed:1";
    const LEADER: &str = "http://leader:1";

    fn endpoints() -> EndpointSelector {
        EndpointSelector::new(vec![LISTED.to_owned()], LISTED.to_owned())
    }

    #[test]
    fn a_leader_that_could_not_be_reached_is_not_gone_to_again_for_a_while() {
        let (endpoints, now) = (endpoints(), Instant::now());
        endpoints.follow(LISTED, LEADER, now);
        assert_eq!(endpoints.current(), LEADER);
        endpoints.move_on(LEADER, false, now);
        assert_eq!(endpoints.current(), LISTED);
        endpoints.follow(LISTED, "http://leader:1/", now);
        assert_eq!(endpoints.current(), LISTED);
        endpoints.follow(LISTED, "http://other:1", now);
        assert_eq!(endpoints.current(), "http://other:1", "another leader is another matter");
        endpoints.move_on("http://other:1", false, now);
        endpoints.follow(LISTED, LEADER, now + UNREACHED);
        assert_eq!(endpoints.current(), LEADER, "it may be reached by now");
    }

    #[test]
    fn a_leader_that_was_reached_and_ended_is_gone_to_again_when_it_leads_again() {
        let (endpoints, now) = (endpoints(), Instant::now());
        endpoints.follow(LISTED, LEADER, now);
        endpoints.reached(LEADER);
        endpoints.move_on(LEADER, false, now);
        endpoints.follow(LISTED, LEADER, now);
        assert_eq!(endpoints.current(), LEADER);
    }

    #[test]
    fn a_leader_that_was_reached_and_fell_silent_is_not_gone_to_while_others_may_still_name_it() {
        let (endpoints, now) = (endpoints(), Instant::now());
        endpoints.follow(LISTED, LEADER, now);
        endpoints.reached(LEADER);
        endpoints.move_on(LEADER, true, now);
        endpoints.follow(LISTED, LEADER, now);
        assert_eq!(endpoints.current(), LISTED);
        endpoints.follow(LISTED, LEADER, now + FROZEN);
        assert_eq!(endpoints.current(), LEADER);
    }
}

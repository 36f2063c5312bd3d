//! Sends messages to workers. Whoever sends does not wait: what cannot be handed over at once waits in
//! a lane of its worker, so one that cannot be reached holds up no other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use orx_model::message::{Body, Envelope, Message, VERSION};
use orx_model::{Incarnation, MessageId, Timestamp};
use orx_transport::{Channel, Transport, TransportError};
use parking_lot::{Mutex, MutexGuard};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio_util::task::TaskTracker;

/// A full inbox is its reader's trouble; recovery heals what it misses.
const SEND_WAIT: Duration = Duration::from_secs(2);
/// Batches that wait for one worker; what comes beyond is not sent.
const LANE: usize = 64;

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Post {
    inner: Arc<Inner>,
}

struct Inner {
    transport: Arc<dyn Transport>,
    node: Incarnation,
    state: Mutex<State>,
    lanes: TaskTracker,
}

struct State {
    rng: StdRng,
    /// Of workers to which something is on its way.
    waiting: BTreeMap<Incarnation, VecDeque<Vec<Envelope>>>,
}

impl Post {
    pub(crate) fn new(transport: Arc<dyn Transport>, node: Incarnation, seed: u64) -> Self {
        let state = State { rng: StdRng::seed_from_u64(seed), waiting: BTreeMap::new() };
        let lanes = TaskTracker::new();
        Self { inner: Arc::new(Inner { transport, node, state: Mutex::new(state), lanes }) }
    }

    /// To each worker in order, one batch each.
    pub(crate) fn send(
        &self,
        messages: impl IntoIterator<Item = (Incarnation, Message)>,
        now: Timestamp,
    ) {
        let mut by_worker: BTreeMap<Incarnation, Vec<Envelope>> = BTreeMap::new();
        for (to, message) in messages {
            let envelope = self.envelope(Some(to), message, now);
            by_worker.entry(to).or_default().push(envelope);
        }
        for (to, batch) in by_worker {
            self.hand_over(to, batch);
        }
    }

    pub(crate) fn envelope(
        &self,
        to: Option<Incarnation>,
        message: Message,
        now: Timestamp,
    ) -> Envelope {
        Envelope {
            id: MessageId::random(&mut self.state().rng),
            version: VERSION,
            at: now,
            from: self.inner.node,
            to,
            trace: None,
            body: Body::Known(message),
        }
    }

    fn hand_over(&self, to: Incarnation, batch: Vec<Envelope>) {
        if let Some(lane) = self.state().waiting.get_mut(&to) {
            if lane.len() < LANE {
                lane.push_back(batch);
            } else {
                tracing::debug!(worker = %to, "not sent, it takes nothing: recovery will heal it");
            }
            return;
        }
        let transport = Arc::clone(&self.inner.transport);
        let mut sending = async move { transport.publish(Channel::Inbox(to), batch).await }.boxed();
        // Usually the inbox takes it at once, and no task is needed.
        if let Some(sent) = (&mut sending).now_or_never() {
            return noted(to, sent);
        }
        let sending = async move { within(to, sending).await };
        {
            let mut state = self.state();
            if state.waiting.contains_key(&to) {
                // Another service of this node was first: the lane is its own.
                self.inner.lanes.spawn(sending);
                return;
            }
            state.waiting.insert(to, VecDeque::new());
        }
        let post = self.clone();
        self.inner.lanes.spawn(async move {
            sending.await;
            loop {
                let next = {
                    let mut state = post.state();
                    let next = state.waiting.get_mut(&to).and_then(VecDeque::pop_front);
                    if next.is_none() {
                        state.waiting.remove(&to);
                    }
                    next
                };
                let Some(batch) = next else { return };
                within(to, post.inner.transport.publish(Channel::Inbox(to), batch)).await;
            }
        });
    }

    /// Waits until what is on its way was sent, or given up.
    pub(crate) async fn sent(&self) {
        self.inner.lanes.close();
        self.inner.lanes.wait().await;
        self.inner.lanes.reopen();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave its data half-changed.
        self.inner.state.lock()
    }
}

async fn within(to: Incarnation, sending: impl Future<Output = Result<(), TransportError>>) {
    match tokio::time::timeout(SEND_WAIT, sending).await {
        Ok(sent) => noted(to, sent),
        Err(_) => tracing::debug!(worker = %to, "not sent in time: recovery will heal it"),
    }
}

fn noted(to: Incarnation, sent: Result<(), TransportError>) {
    if let Err(error) = sent {
        tracing::debug!(worker = %to, %error, "not sent: recovery will heal it");
    }
}

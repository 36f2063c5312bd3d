//! Sends messages to workers without waiting. A message that the transport does not take at once waits in the
//! queue of its worker, so an unreachable worker delays no other.

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

/// Longest time that one batch may take. The answer to the next heartbeat makes up for an unsent message.
const SEND_WAIT: Duration = Duration::from_secs(2);
/// Batches that wait for one worker at most; more are dropped.
const QUEUE_MOST: usize = 64;

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Post {
    inner: Arc<PostShared>,
}

struct PostShared {
    transport: Arc<dyn Transport>,
    node: Incarnation,
    state: Mutex<SendQueues>,
    tasks: TaskTracker,
}

struct SendQueues {
    rng: StdRng,
    /// The queue of each worker to which a batch is being sent.
    waiting: BTreeMap<Incarnation, VecDeque<Vec<Envelope>>>,
}

impl Post {
    pub(crate) fn new(transport: Arc<dyn Transport>, node: Incarnation, seed: u64) -> Self {
        let state = SendQueues { rng: StdRng::seed_from_u64(seed), waiting: BTreeMap::new() };
        let tasks = TaskTracker::new();
        Self { inner: Arc::new(PostShared { transport, node, state: Mutex::new(state), tasks }) }
    }

    /// Sends each worker its messages in order, as one batch.
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
        if let Some(queue) = self.state().waiting.get_mut(&to) {
            if queue.len() < QUEUE_MOST {
                queue.push_back(batch);
            } else {
                tracing::debug!(worker = %to, "not sent, its queue is full: its next heartbeat heals that");
            }
            return;
        }
        let transport = Arc::clone(&self.inner.transport);
        let mut sending = async move { transport.publish(Channel::Inbox(to), batch).await }.boxed();
        // Usually the inbox takes it at once, and no task is needed.
        if let Some(sent) = (&mut sending).now_or_never() {
            return log_failure(to, sent);
        }
        let sending = async move { within(to, sending).await };
        {
            let mut state = self.state();
            if state.waiting.contains_key(&to) {
                // Another service of this node was first: its task empties the queue.
                self.inner.tasks.spawn(sending);
                return;
            }
            state.waiting.insert(to, VecDeque::new());
        }
        let post = self.clone();
        self.inner.tasks.spawn(async move {
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

    /// Waits until everything was sent or dropped.
    pub(crate) async fn sent(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.tasks.reopen();
    }

    fn state(&self) -> MutexGuard<'_, SendQueues> {
        // No holder of the lock can panic between changes that belong together.
        self.inner.state.lock()
    }
}

async fn within(to: Incarnation, sending: impl Future<Output = Result<(), TransportError>>) {
    match tokio::time::timeout(SEND_WAIT, sending).await {
        Ok(sent) => log_failure(to, sent),
        Err(_) => tracing::debug!(worker = %to, "not sent in time: its next heartbeat heals that"),
    }
}

fn log_failure(to: Incarnation, sent: Result<(), TransportError>) {
    if let Err(error) = sent {
        tracing::debug!(worker = %to, %error, "not sent: its next heartbeat heals that");
    }
}

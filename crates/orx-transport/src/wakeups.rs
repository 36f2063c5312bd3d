//! Wake-ups between the services of a node: jobs are ready to claim, slots became free, a due time was
//! set, the condition of the store changed. A wake-up carries no data: the woken service reads the
//! store afresh, so a lost or doubled wake-up costs nothing but time.
//!
//! The [`Feed`] beside them carries the changes themselves, to callers that wait for a job, follow it or
//! watch.
//!
//! Where several nodes share a store ([`Wakeups::shared`]), the wake-ups of this node and its own events
//! are gathered into a [`Notification`] for the other nodes. [`Wakeups::apply`] applies a notification
//! of another node, which is not relayed further.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use orx_feed::{Feed, FeedFilter, FeedReader, News};
use orx_model::event::{Event, EventBody, EventCursor, KnownEvent, NodeEvents};
use orx_model::message::Notification;
use orx_model::wire::Condition;
use orx_model::{ExecutionId, Incarnation, JobId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::Links;

/// Most other nodes whose last sequence number is remembered.
const NODES_MAX: usize = 256;

/// The wake-ups, the feed and the links of one node. All clones share one state.
#[derive(Clone)]
pub struct Wakeups {
    inner: Arc<WakeupState>,
}

struct WakeupState {
    work: Notify,
    due_changed: Notify,
    workers_changed: Notify,
    operations: Notify,
    /// Earliest time passed to [`Wakeups::due`] and not yet taken, Unix milliseconds; `MAX` for none.
    due: AtomicI64,
    /// The condition of the store, and whether this node stops.
    condition: watch::Sender<(Condition, bool)>,
    /// The epoch whose leader was asked to step down last.
    step_down: watch::Sender<Option<u64>>,
    /// Whether this node drains.
    draining: watch::Sender<bool>,
    own_row: Notify,
    links: Links,
    feed: Feed,
    /// Sequence number of the last event received from each other node.
    others: Mutex<BTreeMap<Incarnation, u64>>,
    /// `None` if this node has its store to itself.
    outbox: Option<NotificationOutbox>,
}

/// The wake-ups and events that other nodes have not been sent yet.
struct NotificationOutbox {
    gathered: Mutex<Notification>,
    added: Notify,
    sent: Mutex<SentEvents>,
}

/// Up to which event of the feed the own events were sent.
#[derive(Clone, Copy)]
struct SentEvents {
    /// Sequence number of the last event covered by a notification with events.
    upto: u64,
    /// Position up to which the feed was read. Between `upto` and it there is no own event.
    read: EventCursor,
}

impl Default for Wakeups {
    fn default() -> Self {
        Self::new()
    }
}

impl Wakeups {
    /// For a node whose event cursors are never handed to callers.
    #[must_use]
    pub fn new() -> Self {
        Self::of_node(Incarnation(0))
    }

    /// For a node that has its store to itself.
    #[must_use]
    pub fn of_node(node: Incarnation) -> Self {
        Self::with_outbox(Feed::new(node), None)
    }

    /// For a node that shares its store with other nodes.
    #[must_use]
    pub fn shared(node: Incarnation) -> Self {
        let feed = Feed::new(node);
        let read = feed.cursor();
        let sent = Mutex::new(SentEvents { upto: read.seq, read });
        let outbox = NotificationOutbox { gathered: Mutex::default(), added: Notify::new(), sent };
        Self::with_outbox(feed, Some(outbox))
    }

    fn with_outbox(feed: Feed, outbox: Option<NotificationOutbox>) -> Self {
        let inner = WakeupState {
            work: Notify::new(),
            due_changed: Notify::new(),
            workers_changed: Notify::new(),
            operations: Notify::new(),
            due: AtomicI64::new(i64::MAX),
            condition: watch::Sender::new((Condition::Well, false)),
            step_down: watch::Sender::new(None),
            draining: watch::Sender::new(false),
            own_row: Notify::new(),
            links: Links::default(),
            feed,
            others: Mutex::default(),
            outbox,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The feed of this node: services publish events there; callers that wait or follow read them.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.inner.feed
    }

    /// The links of this node: what it reads, and the inboxes that workers read here.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.inner.links
    }

    fn notify_others(&self, add: impl FnOnce(&mut Notification)) {
        if let Some(outbox) = &self.inner.outbox {
            add(&mut outbox.gathered.lock());
            outbox.added.notify_one();
        }
    }

    /// Waits for the next notification to send to the other nodes: what was gathered since the last
    /// call. For one caller. Never resolves on a node that has its store to itself.
    pub async fn for_others(&self) -> Notification {
        let Some(outbox) = &self.inner.outbox else { return std::future::pending().await };
        let sent = *outbox.sent.lock();
        let mut reader = self.inner.feed.resume(sent.read, FeedFilter::all().own());
        loop {
            let own = read_own(&mut reader);
            let mut notification = {
                let mut gathered = outbox.gathered.lock();
                std::mem::take(&mut *gathered)
            };
            let read = reader.cursor();
            {
                let mut sent = outbox.sent.lock();
                sent.read = read;
                if let Some(own) = own {
                    (notification.changed, notification.more) = (own.changed, own.more);
                    let (node, events, gap) = (read.node, own.events, own.gap);
                    let after = std::mem::replace(&mut sent.upto, read.seq);
                    let events = NodeEvents { node, after, upto: read.seq, events, gap };
                    notification.events = Some(events);
                }
            }
            if !notification.is_empty() {
                return notification;
            }
            tokio::select! {
                biased;
                () = outbox.added.notified() => {}
                () = reader.ready() => {}
            }
        }
    }

    /// Applies a notification of another node: wakes the services of this node, and publishes the
    /// events in its feed. Nothing of it is relayed to a third node.
    pub fn apply(&self, notification: &Notification) {
        if notification.work {
            self.inner.work.notify_one();
        }
        if let Some(due) = notification.due {
            self.due_here(due);
        }
        if notification.workers {
            self.inner.workers_changed.notify_one();
        }
        if notification.operations {
            self.inner.operations.notify_one();
        }
        if let Some(epoch) = notification.step_down {
            self.inner.step_down.send_replace(Some(epoch));
        }
        self.apply_events(notification);
    }

    fn apply_events(&self, notification: &Notification) {
        let jobs = (!notification.more).then_some(notification.changed.as_slice());
        let feed = &self.inner.feed;
        let Some(batch) = &notification.events else {
            // From a node of the previous version, which sends neither its identity nor events.
            if jobs.is_none() {
                feed.gap_from(Incarnation(0), None);
            }
            feed.publish_from(Incarnation(0), changes(notification.changed.iter().copied()));
            return;
        };
        if batch.node == feed.node() {
            return;
        }
        let before = {
            let mut others = self.inner.others.lock();
            if others.len() >= NODES_MAX && !others.contains_key(&batch.node) {
                others.clear();
            }
            let received = others.entry(batch.node).or_insert(0);
            let before = *received;
            *received = before.max(batch.upto);
            before
        };
        if batch.upto <= before {
            return;
        }
        if batch.after > before {
            // A notification was lost, and with it which jobs its events were about.
            feed.gap_from(batch.node, None);
        } else if batch.gap {
            feed.gap_from(batch.node, jobs);
        }
        let (fit, unfit): (Vec<&Event>, Vec<&Event>) =
            batch.events.iter().take(NodeEvents::MOST).partition(|event| match &event.what {
                EventBody::Known(_) => true,
                EventBody::Unknown(json) => json.get().len() <= NodeEvents::UNKNOWN_BYTES,
            });
        if !unfit.is_empty() || batch.events.len() > NodeEvents::MOST {
            feed.gap_from(batch.node, None);
        }
        feed.publish_from(batch.node, fit.into_iter().cloned().collect());
    }

    /// Jobs became ready, or due times changed. Several calls before the dispatcher wakes count as one.
    pub fn work(&self) {
        self.inner.work.notify_one();
        self.notify_others(|notification| notification.work = true);
    }

    /// These attempts have ended, so their workers have free slots.
    pub fn attempts_ended(&self, ended: impl IntoIterator<Item = (Incarnation, ExecutionId)>) {
        self.notify_others(|notification| notification.add_ended(ended));
    }

    /// The rows of workers in the store, or the directives to them, changed.
    pub fn workers(&self) {
        self.inner.workers_changed.notify_one();
        self.notify_others(|notification| notification.workers = true);
    }

    /// Waits for a call of [`Self::workers`]; an earlier call is not missed. For one waiter, the monitor.
    pub async fn wait_for_workers(&self) {
        self.inner.workers_changed.notified().await;
    }

    /// An operation over many jobs started.
    pub fn operations(&self) {
        self.inner.operations.notify_one();
        self.notify_others(|notification| notification.operations = true);
    }

    /// Waits for a call of [`Self::operations`]; an earlier call is not missed. For one waiter, the leader's
    /// operations.
    pub async fn wait_for_operations(&self) {
        self.inner.operations.notified().await;
    }

    /// Records the condition of the store.
    pub fn set_store_condition(&self, store: Condition) {
        let changed =
            |current: &mut (Condition, bool)| std::mem::replace(&mut current.0, store) != store;
        self.inner.condition.send_if_modified(changed);
    }

    /// Resolves once the condition of the store is not [`Condition::Well`].
    pub async fn store_unwell(&self) {
        let mut condition = self.inner.condition.subscribe();
        // It fails only without a sender, and `self` holds the sender.
        let _ = condition.wait_for(|(store, _)| !store.is_well()).await;
    }

    /// The condition of the store, as recorded last.
    #[must_use]
    pub fn store_condition(&self) -> Condition {
        self.inner.condition.borrow().0
    }

    /// Records that this node stops.
    pub fn set_stopping(&self) {
        self.inner.condition.send_modify(|current| current.1 = true);
    }

    /// What keeps the jobs of this node from running: its stop, else the condition of the store.
    #[must_use]
    pub fn condition(&self) -> Condition {
        worst(*self.inner.condition.borrow())
    }

    /// Waits until [`Self::condition`] differs from `known`, and returns it.
    pub async fn condition_changed(&self, known: Condition) -> Condition {
        let mut condition = self.inner.condition.subscribe();
        match condition.wait_for(|current| worst(*current) != known).await {
            Ok(current) => worst(*current),
            // It fails only without a sender, and `self` holds the sender.
            Err(_) => known,
        }
    }

    /// Asks the leader of this epoch, at whatever node, to step down.
    pub fn step_down(&self, epoch: u64) {
        self.inner.step_down.send_replace(Some(epoch));
        self.notify_others(|notification| notification.step_down = Some(epoch));
    }

    /// Resolves once the leader of this epoch was asked to step down.
    pub async fn asked_to_step_down(&self, epoch: u64) {
        let mut asked = self.inner.step_down.subscribe();
        // It fails only without a sender, and `self` holds the sender.
        let _ = asked.wait_for(|asked| *asked == Some(epoch)).await;
    }

    /// The row of a node in the store changed, maybe this node's own.
    pub fn node_rows(&self) {
        self.inner.own_row.notify_one();
        self.nodes();
    }

    /// Waits for a call of [`Self::node_rows`]; an earlier call is not missed. For one waiter.
    pub async fn wait_for_own_row(&self) {
        self.inner.own_row.notified().await;
    }

    /// Records whether this node drains, as its row in the store says; returns whether that changed.
    pub fn set_draining(&self, draining: bool) -> bool {
        let set = |was: &mut bool| std::mem::replace(was, draining) != draining;
        self.inner.draining.send_if_modified(set)
    }

    /// Whether this node drains.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.inner.draining.borrow()
    }

    /// Resolves once this node drains.
    pub async fn until_draining(&self) {
        let mut draining = self.inner.draining.subscribe();
        // It fails only without a sender, and `self` holds the sender.
        let _ = draining.wait_for(|draining| *draining).await;
    }

    /// A node joined or left, or the leader stepped down.
    pub fn nodes(&self) {
        self.notify_others(|notification| notification.nodes = true);
    }

    /// A job that was accepted is due, or expires, at `at`: the scheduler must wake by then.
    pub fn due(&self, at: Timestamp) {
        self.due_here(at);
        self.notify_others(|notification| notification.add_due(at));
    }

    fn due_here(&self, at: Timestamp) {
        self.inner.due.fetch_min(at.as_millis(), Ordering::AcqRel);
        self.inner.due_changed.notify_one();
    }

    /// Waits for a call of [`Self::due`]; an earlier call is not missed. For one waiter, the scheduler.
    pub async fn wait_for_due(&self) {
        self.inner.due_changed.notified().await;
    }

    /// The earliest time passed to [`Self::due`] since the last call.
    #[must_use]
    pub fn take_due(&self) -> Option<Timestamp> {
        let due = self.inner.due.swap(i64::MAX, Ordering::AcqRel);
        (due != i64::MAX).then(|| Timestamp::from_millis(due))
    }

    /// Waits for a call of [`Self::work`]; an earlier call is not missed. For one waiter, the dispatcher.
    pub async fn wait_for_work(&self) {
        self.inner.work.notified().await;
    }
}

fn changes(jobs: impl IntoIterator<Item = JobId>) -> Vec<Event> {
    let change = |id: JobId| KnownEvent::JobChanged { job: id.into() };
    jobs.into_iter().map(|id| Event::new(Timestamp::default(), change(id))).collect()
}

/// Events of this node that the other nodes have not been sent.
#[derive(Default)]
struct OwnEvents {
    events: Vec<Event>,
    /// Some events are not in `events`.
    gap: bool,
    /// The jobs of the events, without those just accepted.
    changed: Vec<JobId>,
    /// There are more jobs than `changed` may name.
    more: bool,
}

/// Reads all events that are in the feed and keeps what fits into one notification.
fn read_own(reader: &mut FeedReader) -> Option<OwnEvents> {
    let mut own = OwnEvents::default();
    let mut jobs = BTreeSet::new();
    while let Some(news) = reader.try_next(NodeEvents::MOST) {
        let News::Events(events) = news else {
            (own.gap, own.more) = (true, true);
            continue;
        };
        for one in events {
            // No caller waits for a job before it was accepted.
            let known = one.event.known();
            let accepted = matches!(known, Some(KnownEvent::JobAccepted { .. }));
            if let Some(job) = one.event.job().filter(|_| !accepted && !own.more) {
                jobs.insert(job.id);
                own.more = jobs.len() > Notification::NAMED;
            }
            own.gap |= own.events.len() >= NodeEvents::MOST;
            if !own.gap {
                own.events.push(one.event);
            }
        }
    }
    if own.gap {
        own.events.clear();
    }
    if !own.more {
        own.changed = jobs.into_iter().collect();
    }
    let none = own.events.is_empty() && !own.gap;
    (!none).then_some(own)
}

fn worst((store, stopping): (Condition, bool)) -> Condition {
    if stopping { Condition::Stopping } else { store }
}

#[cfg(test)]
#[path = "wakeups_tests.rs"]
mod tests;

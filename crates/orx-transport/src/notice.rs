//! Wake-ups of a node's own services: that there is work to claim, room at workers, a due time, and how
//! the store is. A notice carries no data: whoever hears it reads the store afresh, so a lost or
//! doubled one costs nothing but time.
//!
//! What changed, for those who wait for a job, follow or watch, is in the [`Feed`] beside it.
//!
//! Where several nodes share a store ([`Wakeups::shared`]), what is told here is gathered as a
//! [`Notification`] for the others, with the own part of the feed; what comes from them is heard by
//! [`Wakeups::heard`], and goes no further.

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

/// Nodes of which it is remembered how far their events came.
const NODES: usize = 256;

/// Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Wakeups {
    inner: Arc<Inner>,
}

struct Inner {
    work: Notify,
    due_told: Notify,
    workers_told: Notify,
    /// Earliest time told by [`Wakeups::due`] and not yet taken, milliseconds; `MAX` for none.
    due: AtomicI64,
    /// What stands in the way: of the store, and whether this node was told to end.
    condition: watch::Sender<(Condition, bool)>,
    links: Links,
    feed: Feed,
    /// Up to where the events of each other node came.
    others: Mutex<BTreeMap<Incarnation, u64>>,
    /// For other nodes, if there may be any.
    outward: Option<Outward>,
}

struct Outward {
    gathered: Mutex<Notification>,
    some: Notify,
    events: Mutex<PassedOn>,
}

/// How far the own events were passed on.
#[derive(Clone, Copy)]
struct PassedOn {
    /// With the last hint that had any.
    told: u64,
    /// Looked at: those since then that are in the feed are of others.
    read: EventCursor,
}

impl Default for Wakeups {
    fn default() -> Self {
        Self::new()
    }
}

impl Wakeups {
    /// Of a node that nobody asks for its events by a cursor.
    #[must_use]
    pub fn new() -> Self {
        Self::of_node(Incarnation(0))
    }

    /// Of a node that has its store for itself.
    #[must_use]
    pub fn of_node(node: Incarnation) -> Self {
        Self::made(Feed::new(node), None)
    }

    /// Of a node that shares its store with others.
    #[must_use]
    pub fn shared(node: Incarnation) -> Self {
        let feed = Feed::new(node);
        let read = feed.cursor();
        let events = Mutex::new(PassedOn { told: read.seq, read });
        let outward = Outward { gathered: Mutex::default(), some: Notify::new(), events };
        Self::made(feed, Some(outward))
    }

    fn made(feed: Feed, outward: Option<Outward>) -> Self {
        let inner = Inner {
            work: Notify::new(),
            due_told: Notify::new(),
            workers_told: Notify::new(),
            due: AtomicI64::new(i64::MAX),
            condition: watch::Sender::new((Condition::Well, false)),
            links: Links::default(),
            feed,
            others: Mutex::default(),
            outward,
        };
        Self { inner: Arc::new(inner) }
    }

    /// What changed: services publish there, and who waits, follows or watches reads there.
    #[must_use]
    pub fn feed(&self) -> &Feed {
        &self.inner.feed
    }

    /// What this node reads, and what workers read here.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.inner.links
    }

    fn tell_others(&self, add: impl FnOnce(&mut Notification)) {
        if let Some(outward) = &self.inner.outward {
            add(&mut outward.gathered.lock());
            outward.some.notify_one();
        }
    }

    /// What is to be told to other nodes, gathered since this was last asked; for one caller. Never
    /// resolves where there are none.
    pub async fn for_others(&self) -> Notification {
        let Some(outward) = &self.inner.outward else { return std::future::pending().await };
        let of_feed = *outward.events.lock();
        let mut reader = self.inner.feed.resume(of_feed.read, FeedFilter::all().own());
        loop {
            let own = read_own(&mut reader);
            let mut hint = {
                let mut gathered = outward.gathered.lock();
                std::mem::take(&mut *gathered)
            };
            let read = reader.cursor();
            {
                let mut passed = outward.events.lock();
                passed.read = read;
                if let Some(own) = own {
                    (hint.changed, hint.more) = (own.changed, own.more);
                    let (node, events, gap) = (read.node, own.events, own.gap);
                    let after = std::mem::replace(&mut passed.told, read.seq);
                    hint.events = Some(NodeEvents { node, after, upto: read.seq, events, gap });
                }
            }
            if !hint.is_empty() {
                return hint;
            }
            tokio::select! {
                biased;
                () = outward.some.notified() => {}
                () = reader.ready() => {}
            }
        }
    }

    /// What another node told, for this node's services and for those who wait, follow or watch here.
    /// It goes no further.
    pub fn heard(&self, hint: &Notification) {
        if hint.work {
            self.inner.work.notify_one();
        }
        if let Some(due) = hint.due {
            self.due_here(due);
        }
        if hint.workers {
            self.inner.workers_told.notify_one();
        }
        self.heard_events(hint);
    }

    fn heard_events(&self, hint: &Notification) {
        let jobs = (!hint.more).then_some(hint.changed.as_slice());
        let feed = &self.inner.feed;
        let Some(told) = &hint.events else {
            // A node of the version before: it does not say who it is, nor what changed.
            if jobs.is_none() {
                feed.gap_from(Incarnation(0), None);
            }
            feed.publish_from(Incarnation(0), changes(hint.changed.iter().copied()));
            return;
        };
        if told.node == feed.node() {
            return;
        }
        let before = {
            let mut others = self.inner.others.lock();
            if others.len() >= NODES && !others.contains_key(&told.node) {
                others.clear();
            }
            let came = others.entry(told.node).or_insert(0);
            let before = *came;
            *came = before.max(told.upto);
            before
        };
        if told.upto <= before {
            return;
        }
        if told.after > before {
            // A hint was lost, and nobody knows what was in it.
            feed.gap_from(told.node, None);
        } else if told.gap {
            feed.gap_from(told.node, jobs);
        }
        let (fit, unfit): (Vec<&Event>, Vec<&Event>) =
            told.events.iter().take(NodeEvents::MOST).partition(|event| match &event.what {
                EventBody::Known(_) => true,
                EventBody::Unknown(json) => json.get().len() <= NodeEvents::UNKNOWN_BYTES,
            });
        if !unfit.is_empty() || told.events.len() > NodeEvents::MOST {
            feed.gap_from(told.node, None);
        }
        feed.publish_from(told.node, fit.into_iter().cloned().collect());
    }

    /// Jobs became ready, or due times changed. Many of these before the dispatcher looks are one.
    pub fn work(&self) {
        self.inner.work.notify_one();
        self.tell_others(|hint| hint.work = true);
    }

    /// These attempts have ended: their places at workers became free.
    pub fn room(&self, ended: impl IntoIterator<Item = (Incarnation, ExecutionId)>) {
        self.tell_others(|hint| hint.add_ended(ended));
    }

    /// What is known of workers, or ordered of them, changed: here too it is to be read.
    pub fn workers(&self) {
        self.inner.workers_told.notify_one();
        self.tell_others(|hint| hint.workers = true);
    }

    /// Waits for [`Self::workers`]; one that came before is not missed. For one waiter, the monitor.
    pub async fn wait_for_workers(&self) {
        self.inner.workers_told.notified().await;
    }

    /// How the store is.
    pub fn store_is(&self, store: Condition) {
        let changed = |told: &mut (Condition, bool)| std::mem::replace(&mut told.0, store) != store;
        self.inner.condition.send_if_modified(changed);
    }

    /// Resolves once the store is not well.
    pub async fn store_doubted(&self) {
        let mut condition = self.inner.condition.subscribe();
        // An error would say that `self` is gone.
        let _ = condition.wait_for(|(store, _)| !store.is_well()).await;
    }

    #[must_use]
    pub fn store_condition(&self) -> Condition {
        self.inner.condition.borrow().0
    }

    /// This node was told to end.
    pub fn stopping(&self) {
        self.inner.condition.send_modify(|told| told.1 = true);
    }

    /// What stands in the way of the jobs of this node.
    #[must_use]
    pub fn condition(&self) -> Condition {
        worst(*self.inner.condition.borrow())
    }

    /// Resolves once it is another than this.
    pub async fn condition_not(&self, known: Condition) -> Condition {
        let mut condition = self.inner.condition.subscribe();
        match condition.wait_for(|told| worst(*told) != known).await {
            Ok(told) => worst(*told),
            // Not while `self` is there.
            Err(_) => known,
        }
    }

    /// Nodes came or went, or the leader stepped down.
    pub fn nodes(&self) {
        self.tell_others(|hint| hint.nodes = true);
    }

    /// A job was accepted that is due, or expires, at `at`: the scheduler should not sleep longer.
    pub fn due(&self, at: Timestamp) {
        self.due_here(at);
        self.tell_others(|hint| hint.add_due(at));
    }

    fn due_here(&self, at: Timestamp) {
        self.inner.due.fetch_min(at.as_millis(), Ordering::AcqRel);
        self.inner.due_told.notify_one();
    }

    /// Waits for [`Self::due`]; one that came before is not missed. For one waiter, the scheduler.
    pub async fn wait_for_due(&self) {
        self.inner.due_told.notified().await;
    }

    /// The earliest time told since this was last asked.
    #[must_use]
    pub fn take_due(&self) -> Option<Timestamp> {
        let due = self.inner.due.swap(i64::MAX, Ordering::AcqRel);
        (due != i64::MAX).then(|| Timestamp::from_millis(due))
    }

    /// Waits for [`Self::work`]; one that came before is not missed. For one waiter, the dispatcher.
    pub async fn wait_for_work(&self) {
        self.inner.work.notified().await;
    }
}

fn changes(jobs: impl IntoIterator<Item = JobId>) -> Vec<Event> {
    let change = |id: JobId| KnownEvent::JobChanged { job: id.into() };
    jobs.into_iter().map(|id| Event::new(Timestamp::default(), change(id))).collect()
}

/// Own events that other nodes do not have yet.
#[derive(Default)]
struct OwnEvents {
    events: Vec<Event>,
    gap: bool,
    changed: Vec<JobId>,
    more: bool,
}

/// All that is there, as far as it fits into one hint.
fn read_own(reader: &mut FeedReader) -> Option<OwnEvents> {
    let mut own = OwnEvents::default();
    let mut jobs = BTreeSet::new();
    while let Some(news) = reader.try_next(NodeEvents::MOST) {
        let News::Events(events) = news else {
            (own.gap, own.more) = (true, true);
            continue;
        };
        for one in events {
            // Nobody waits for a job of which nobody knows.
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
mod tests {
    use std::time::Duration;

    use orx_model::JobStatus;

    use super::*;

    const HERE: Incarnation = Incarnation(1);
    const THERE: Incarnation = Incarnation(2);
    const NOW: Timestamp = Timestamp::from_millis(7);

    fn moved(id: i64) -> Event {
        let (from, to) = (Some(JobStatus::Running), JobStatus::Completed);
        Event::new(NOW, KnownEvent::JobMoved { job: JobId(id).into(), from, to, attempt: Some(1) })
    }

    fn accepted(id: i64) -> Event {
        let to = Some(JobStatus::Pending);
        Event::new(NOW, KnownEvent::JobAccepted { job: JobId(id).into(), to })
    }

    /// What a reader finds.
    fn read(reader: &mut FeedReader) -> Option<Vec<Event>> {
        match reader.try_next(10_000) {
            None => Some(Vec::new()),
            Some(News::Events(events)) => Some(events.into_iter().map(|one| one.event).collect()),
            Some(News::Reset) => None,
        }
    }

    async fn is_quiet(wakeups: &Wakeups) -> bool {
        tokio::time::timeout(Duration::from_millis(20), wakeups.for_others()).await.is_err()
    }

    #[tokio::test]
    async fn what_is_told_here_is_gathered_for_others_and_what_they_tell_goes_no_further() {
        let (here, there) = (Wakeups::shared(HERE), Wakeups::shared(THERE));
        let mut reader = there.feed().read(FeedFilter::job(JobId(1)));
        here.work();
        here.due(Timestamp::from_millis(9));
        here.due(Timestamp::from_millis(5));
        here.feed().publish(vec![accepted(2), moved(1)]);
        let hint = here.for_others().await;
        let due = Some(Timestamp::from_millis(5));
        let events = vec![accepted(2), moved(1)];
        let events = Some(NodeEvents { node: HERE, after: 0, upto: 2, events, gap: false });
        let changed = vec![JobId(1)];
        assert_eq!(
            hint,
            Notification { work: true, due, changed, events, ..Notification::default() }
        );
        there.heard(&hint);
        assert_eq!(read(&mut reader), Some(vec![moved(1)]));
        assert!(is_quiet(&there).await);
        // Nor does anything come of what one hears of itself.
        here.heard(&hint);
        assert!(is_quiet(&here).await);
        assert_eq!(here.feed().cursor().seq, 2);
    }

    #[tokio::test]
    async fn a_node_that_waits_for_news_hears_of_each_publication() {
        let here = Wakeups::shared(HERE);
        for id in 1..=3 {
            let (hint, ()) = tokio::join!(biased; here.for_others(), async {
                here.feed().publish_from(THERE, vec![moved(9)]);
                here.feed().publish(vec![moved(id)]);
            });
            let told = hint.events.expect("events");
            assert_eq!(told.events, [moved(id)]);
            assert_eq!((told.after, told.upto), (2 * (id as u64 - 1), 2 * id as u64));
        }
    }

    #[tokio::test]
    async fn a_hint_that_was_lost_shows_with_the_next_and_a_doubled_or_late_one_changes_nothing() {
        let (here, there) = (Wakeups::shared(HERE), Wakeups::shared(THERE));
        let mut reader = there.feed().read(FeedFilter::all());
        let mut hints = Vec::new();
        for id in 1..=3 {
            here.feed().publish(vec![moved(id)]);
            hints.push(here.for_others().await);
        }
        there.heard(&hints[0]);
        assert_eq!(read(&mut reader), Some(vec![moved(1)]));
        there.heard(&hints[2]);
        assert_eq!(read(&mut reader), None);
        for hint in [&hints[1], &hints[2], &hints[0]] {
            there.heard(hint);
            assert_eq!(read(&mut reader), Some(vec![]));
        }
        // Whoever comes later may have missed what came before.
        let late = Wakeups::shared(Incarnation(3));
        let mut reader = late.feed().read(FeedFilter::job(JobId(1)));
        late.heard(&hints[2]);
        assert_eq!(read(&mut reader), None);
    }

    #[tokio::test]
    async fn of_many_events_others_hear_only_whose_they_were() {
        let (here, there) = (Wakeups::shared(HERE), Wakeups::shared(THERE));
        let jobs = [1, 5_000].map(|id| FeedFilter::job(JobId(id)));
        let [mut one, mut other] = jobs.map(|filter| there.feed().read(filter));
        let mut all = there.feed().read(FeedFilter::all());
        // As many as are accepted at once change nothing for those who wait.
        here.feed().publish((1_000..2_000).map(accepted).collect());
        here.feed().publish(vec![moved(1)]);
        let hint = here.for_others().await;
        let told = hint.events.clone().expect("events");
        assert!(told.gap && told.events.is_empty());
        assert_eq!((hint.changed.as_slice(), hint.more), ([JobId(1)].as_slice(), false));
        there.heard(&hint);
        assert_eq!((read(&mut all), read(&mut one)), (None, None));
        assert_eq!(read(&mut other), Some(vec![]));

        here.feed().publish((1..=1_001).map(moved).collect());
        let hint = here.for_others().await;
        assert!(hint.more && hint.changed.is_empty());
        there.heard(&hint);
        assert_eq!((read(&mut all), read(&mut one), read(&mut other)), (None, None, None));

        // What does not fit into the feed itself.
        here.feed().publish((1..=100_000).map(moved).collect());
        let hint = here.for_others().await;
        assert!(hint.more && hint.events.expect("events").gap);
        assert!(is_quiet(&here).await);
    }

    #[tokio::test]
    async fn a_node_of_the_version_before_is_understood_and_hears_what_it_knows() {
        let there = Wakeups::shared(THERE);
        let mut reader = there.feed().read(FeedFilter::job(JobId(1)));
        there.heard(&Notification { changed: vec![JobId(1)], ..Notification::default() });
        let found = read(&mut reader).expect("no reset");
        assert_eq!(found[0].known(), Some(&KnownEvent::JobChanged { job: JobId(1).into() }));
        there.heard(&Notification { more: true, ..Notification::default() });
        assert_eq!(read(&mut reader), None);
        assert!(is_quiet(&there).await);
        there.feed().publish(vec![moved(3), moved(2), moved(3)]);
        assert_eq!(there.for_others().await.changed, [JobId(2), JobId(3)]);
    }

    #[tokio::test]
    async fn an_event_of_a_later_version_is_passed_on_unless_it_is_large() {
        let there = Wakeups::shared(THERE);
        let mut reader = there.feed().read(FeedFilter::all());
        let unknown = |text: &str| {
            let text = format!(r#"{{"job_teleported":"{text}"}}"#);
            Event { at: NOW, what: EventBody::Unknown(serde_json::from_str(&text).expect("json")) }
        };
        let hint = |after: u64, event: Event| {
            let events = vec![event];
            let events = NodeEvents { node: HERE, after, upto: after + 1, events, gap: false };
            Notification { events: Some(events), ..Notification::default() }
        };
        there.heard(&hint(0, unknown("mars")));
        assert_eq!(read(&mut reader), Some(vec![unknown("mars")]));
        there.heard(&hint(1, unknown(&"x".repeat(2_000))));
        assert_eq!(read(&mut reader), None);
    }
}

//! Wake-ups: that there is work to claim, and that a job or its log changed. A notice carries no
//! data: whoever hears it reads the store afresh, so a lost or doubled one costs nothing but time.
//!
//! Inside one node they are heard at once. Where several nodes share a store ([`Notices::shared`]),
//! what is told here is gathered as a [`Hint`] for the others as well; what comes from them is heard
//! by [`Notices::heard`], and goes no further.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use orx_model::message::Hint;
use orx_model::wire::Condition;
use orx_model::{ExecutionId, Incarnation, JobId, Timestamp};
use tokio::sync::{Notify, watch};

/// Entries from which on those that nobody watches any more are looked for.
const SWEEP: usize = 1_024;

/// Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Notices {
    inner: Arc<Inner>,
}

struct Inner {
    work: Notify,
    due_told: Notify,
    workers_told: Notify,
    /// Earliest time told by [`Notices::due`] and not yet taken, milliseconds; `MAX` for none.
    due: AtomicI64,
    /// What stands in the way: of the store, and whether this node was told to end.
    condition: watch::Sender<(Condition, bool)>,
    /// Only jobs that somebody watches now: bounded by open requests.
    watched: Mutex<HashMap<JobId, Weak<Notify>>>,
    /// For other nodes, if there may be any.
    outward: Option<Outward>,
}

#[derive(Default)]
struct Outward {
    gathered: Mutex<Hint>,
    some: Notify,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            work: Notify::new(),
            due_told: Notify::new(),
            workers_told: Notify::new(),
            due: AtomicI64::new(i64::MAX),
            condition: watch::Sender::new((Condition::Well, false)),
            watched: Mutex::default(),
            outward: None,
        }
    }
}

impl Notices {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Of a node that shares its store with others.
    #[must_use]
    pub fn shared() -> Self {
        let inner = Inner { outward: Some(Outward::default()), ..Inner::default() };
        Self { inner: Arc::new(inner) }
    }

    fn tell_others(&self, add: impl FnOnce(&mut Hint)) {
        if let Some(outward) = &self.inner.outward {
            add(&mut outward.gathered.lock().unwrap_or_else(PoisonError::into_inner));
            outward.some.notify_one();
        }
    }

    /// What is to be told to other nodes, gathered since this was last asked; for one caller. Never
    /// resolves where there are none.
    pub async fn for_others(&self) -> Hint {
        let Some(outward) = &self.inner.outward else { return std::future::pending().await };
        loop {
            outward.some.notified().await;
            let mut gathered = outward.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            if !gathered.is_empty() {
                return std::mem::take(&mut gathered);
            }
        }
    }

    /// What another node told. It goes no further.
    pub fn heard(&self, hint: &Hint) {
        if hint.work {
            self.inner.work.notify_one();
        }
        if let Some(due) = hint.due {
            self.due_here(due);
        }
        if hint.workers {
            self.inner.workers_told.notify_one();
        }
        if hint.more {
            self.wake_all();
        } else if !hint.changed.is_empty() {
            self.wake(hint.changed.iter().copied());
        }
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

    /// The jobs, or their logs, are not as they were.
    pub fn changed(&self, jobs: impl IntoIterator<Item = JobId>) {
        let jobs: Vec<JobId> = jobs.into_iter().collect();
        if jobs.is_empty() {
            return;
        }
        self.tell_others(|hint| hint.add_changed(jobs.iter().copied()));
        self.wake(jobs);
    }

    fn wake_all(&self) {
        let watched = self.inner.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for notify in watched.values().filter_map(Weak::upgrade) {
            notify.notify_waiters();
        }
    }

    fn wake(&self, jobs: impl IntoIterator<Item = JobId>) {
        let watched = self.inner.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if !watched.is_empty() {
            for job in jobs {
                if let Some(notify) = watched.get(&job).and_then(Weak::upgrade) {
                    notify.notify_waiters();
                }
            }
        }
    }

    /// Watch before reading the store: what changes after the reading is then not missed.
    #[must_use]
    pub fn watch(&self, job: JobId) -> Watch {
        let mut watched = self.inner.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if watched.len() >= SWEEP {
            watched.retain(|_, notify| notify.strong_count() > 0);
        }
        let notify = watched.get(&job).and_then(Weak::upgrade).unwrap_or_else(|| {
            let notify = Arc::new(Notify::new());
            watched.insert(job, Arc::downgrade(&notify));
            notify
        });
        Watch { job, notify, notices: self.clone() }
    }
}

fn worst((store, stopping): (Condition, bool)) -> Condition {
    if stopping { Condition::Stopping } else { store }
}

/// Hears the changes of one job while it lives.
pub struct Watch {
    job: JobId,
    notify: Arc<Notify>,
    notices: Notices,
}

impl Watch {
    /// Resolves at the next change after this call, also if it is awaited later.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + 'static {
        // `notified_owned` counts from its creation, which is what lets a reader arm it first and
        // read the store then.
        Arc::clone(&self.notify).notified_owned()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.notices.inner.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // The last watcher (this one and nobody else holds the notify) takes the entry with it.
        if Arc::strong_count(&self.notify) == 1 {
            watched.remove(&self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_between_arming_and_awaiting_is_heard() {
        let notices = Notices::new();
        let watch = notices.watch(JobId(1));
        let armed = watch.changed();
        notices.changed([JobId(1)]);
        armed.await;
    }

    #[tokio::test]
    async fn what_is_told_here_is_gathered_for_others_and_what_they_tell_goes_no_further() {
        let (here, there) = (Notices::shared(), Notices::shared());
        let watch = there.watch(JobId(1));
        here.work();
        here.due(Timestamp::from_millis(9));
        here.due(Timestamp::from_millis(5));
        here.changed([JobId(1)]);
        let hint = here.for_others().await;
        let changed = vec![JobId(1)];
        let due = Some(Timestamp::from_millis(5));
        assert_eq!(hint, Hint { work: true, due, changed, ..Hint::default() });
        let armed = watch.changed();
        there.heard(&hint);
        armed.await;
        let quiet = tokio::time::timeout(std::time::Duration::from_millis(20), there.for_others());
        assert!(quiet.await.is_err());
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_job_nobody_watches() {
        let notices = Notices::new();
        let (one, two) = (notices.watch(JobId(1)), notices.watch(JobId(1)));
        drop(one);
        let armed = two.changed();
        notices.changed([JobId(1)]);
        armed.await;
        drop(two);
        assert!(notices.inner.watched.lock().expect("not poisoned").is_empty());
    }
}

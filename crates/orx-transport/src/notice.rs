//! Wake-ups inside one node: that there is work to claim, and that a job or its log changed. A
//! notice carries no data: whoever hears it reads the store afresh, so a lost or doubled one costs
//! nothing but time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use orx_model::{JobId, Timestamp};
use tokio::sync::Notify;

/// Entries from which on those that nobody watches any more are looked for.
const SWEEP: usize = 1_024;

/// Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Notices {
    inner: Arc<Inner>,
}

struct Inner {
    work: Notify,
    /// Earliest time told by [`Notices::due`] and not yet taken, milliseconds; `MAX` for none.
    due: AtomicI64,
    /// Only jobs that somebody watches now: bounded by open requests.
    watched: Mutex<HashMap<JobId, Weak<Notify>>>,
    any: Notify,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            work: Notify::new(),
            due: AtomicI64::new(i64::MAX),
            watched: Mutex::default(),
            any: Notify::new(),
        }
    }
}

impl Notices {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Jobs became ready, due times changed, or a worker has room. Many of these before the
    /// dispatcher looks are one.
    pub fn work(&self) {
        self.inner.work.notify_one();
    }

    /// A job was accepted that is due, or expires, at `at`: the dispatcher should not sleep longer.
    pub fn due(&self, at: Timestamp) {
        self.inner.due.fetch_min(at.as_millis(), Ordering::AcqRel);
        self.inner.work.notify_one();
    }

    /// The earliest time told since this was last asked.
    #[must_use]
    pub fn take_due(&self) -> Option<Timestamp> {
        let due = self.inner.due.swap(i64::MAX, Ordering::AcqRel);
        (due != i64::MAX).then(|| Timestamp::from_millis(due))
    }

    /// Waits for [`Self::work`] or [`Self::due`]; one that came before is not missed. For one waiter, the dispatcher.
    pub async fn wait_for_work(&self) {
        self.inner.work.notified().await;
    }

    /// The job, or its log, is not as it was.
    pub fn changed(&self, jobs: impl IntoIterator<Item = JobId>) {
        let watched = self.inner.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if !watched.is_empty() {
            for job in jobs {
                if let Some(notify) = watched.get(&job).and_then(Weak::upgrade) {
                    notify.notify_waiters();
                }
            }
        }
        drop(watched);
        self.inner.any.notify_waiters();
    }

    /// Waits for a change of any job at all. One that came before the call is missed.
    pub async fn any_change(&self) {
        self.inner.any.notified().await;
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

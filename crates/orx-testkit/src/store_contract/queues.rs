//! Cases of paused queues.

use orx_model::{JobSpec, JobStatus};
use orx_store::Paused;

use super::{AStore, add, claimed_ids, status};
use crate::make::{at, job, name};

fn pause(second: i64, reason: &str) -> Paused {
    Paused { at: at(second), reason: Some(reason.to_owned()), by: Some("ops".to_owned()) }
}

/// A pause holds for every later claim, also for jobs that come later, and for no other queue.
pub async fn no_job_of_a_paused_queue_is_claimed_until_it_is_resumed(store: AStore) {
    let on = |queue: &str| JobSpec { queue: name(queue), ..job() };
    let first = add(&store, on("media")).await;
    assert!(store.pause_queue(name("media"), pause(1, "disk full")).await.expect("paused"));
    let other = add(&store, on("mail")).await;
    let second = add(&store, on("media")).await;
    assert_eq!(claimed_ids(&store, 9).await, [other.0]);
    assert_eq!(status(&store, first).await, JobStatus::Pending);
    assert!(store.resume_queue(name("media")).await.expect("resumed"));
    assert!(!store.resume_queue(name("media")).await.expect("resumed"));
    assert_eq!(claimed_ids(&store, 9).await, [first.0, second.0]);
}

/// A second pause changes who and why, and not since when. A queue is made by its first job.
pub async fn a_pause_stays_since_its_first_and_an_unknown_queue_cannot_be_paused(store: AStore) {
    assert!(!store.pause_queue(name("default"), pause(1, "early")).await.expect("an answer"));
    add(&store, job()).await;
    store.pause_queue(name("default"), pause(1, "first")).await.expect("paused");
    store.pause_queue(name("default"), pause(9, "second")).await.expect("paused");
    let paused = store.paused_queues().await.expect("read");
    assert_eq!(paused, [(name("default"), Paused { at: at(1), ..pause(9, "second") })]);
    store.resume_queue(name("default")).await.expect("resumed");
    assert_eq!(store.paused_queues().await.expect("read"), []);
}

//! Cases of runs that wait for the last run, or have an alert.

use orx_model::{JobId, JobSpec, JobStatus, LostWith, OnLost, RetryPolicy};
use orx_store::{
    CancelAnswer, CancelCommand, DeleteAnswer, Dependency, Firing, PruneRequest, Release, Released,
    RunAfter,
};

use super::{
    claimed, counted, depends_on, ended, fire_one, firing, make, read, release, released, run,
    run_one, to_cancel,
};
use crate::make::{at, failed, job, lost, name, outcome, request, succeeded};
use crate::store_contract::{AStore, cancel, cancel_of, get, send, status};

/// A run that waits for the last is `created`, and `pending` only after that run has ended.
pub async fn a_run_that_waits_is_ready_only_once_the_last_has_ended(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    assert_eq!(status(&store, waits).await, JobStatus::Created);
    assert_eq!(counted(&store).await, (1, 1, 2));
    assert!(store.has_dependencies().await.expect("read"));
    assert_eq!(depends_on(&store, waits).await, [first]);
    assert!(ended(&store).await.is_empty(), "the job that it waits for has not ended");
    assert_eq!(release(&store, &[first]).await, [], "nor is it released by force");
    assert_eq!(claimed(&store, 1).await, [first]);
    assert_eq!(claimed(&store, 10).await, [], "a waiting run is not dispatched");
    store.promote_due(store.term, at(65), 9).await.expect("promoted");
    assert_eq!(status(&store, waits).await, JobStatus::Created);
    let _ = send(&store, outcome(first, 1, succeeded())).await;
    let kept = store.delete_jobs(vec![first], None).await.expect("asked");
    let status_then = JobStatus::Completed;
    assert_eq!(kept, [DeleteAnswer::InUse { status: status_then }], "the next run waits for it");
    let found = store.follow_ups(9).await.expect("read");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].job, found[0].status), (first, JobStatus::Completed));
    assert!(found[0].alert.is_none());
    assert!(store.follow_ups(0).await.expect("read").is_empty());
    assert!(store.jobs_to_cancel(9).await.expect("read").is_empty());
    assert_eq!(release(&store, &[first]).await, [waits]);
    let job = get(&store, waits).await;
    assert_eq!(
        (job.state.status, job.state.run_at, job.state.created_at),
        (JobStatus::Pending, at(70), at(60))
    );
    assert_eq!(counted(&store).await, (0, 1, 2));
    assert!(!store.has_dependencies().await.expect("read"));
    assert!(ended(&store).await.is_empty());
    assert_eq!(release(&store, &[first]).await, [], "a run is released once");
    let asked = vec![request(1, 20, 9)];
    let ready = store.claim_ready(asked, store.term, at(71)).await.expect("claimed").claimed;
    assert_eq!(ready.iter().map(|it| it.dispatch.job).collect::<Vec<_>>(), [waits]);
}

/// However a job ends, its end is followed up: an outcome, a cancel, a cancel by force, an expiry at a
/// claim or a promotion, a deadline, a loss.
pub async fn every_way_to_end_a_job_releases_the_next(store: AStore) {
    let mut waiting = Vec::new();
    for (place, id) in (0..).zip(["claim", "promote", "cancel", "force", "fail", "lose"]) {
        let record = make(&store, id).await;
        let mut first = run(&record, 60, RunAfter::Nothing);
        let queue = name(&format!("q{place}"));
        first.job = JobSpec { queue, retry: RetryPolicy::none(), ..first.job };
        first.job.on_lost = OnLost::Fail;
        first.job.expires_at = (place < 2).then_some(at(62));
        let first = fire_one(&store, firing(&record, vec![first])).await[0];
        let next = run_one(&store, id, 120, RunAfter::Last { cancel: false }).await;
        waiting.push((first, next));
    }
    let of = |place: usize| waiting[place].0;
    // At a promotion that has room for one, the first expires; the second at a claim.
    let promoted = store.promote_due(store.term, at(63), 1).await.expect("promoted");
    assert_eq!(promoted.expired, [of(0)]);
    let asked = vec![request(1, 1, 9)];
    let claims = store.claim_ready(asked, store.term, at(63)).await.expect("claimed");
    assert_eq!(claims.expired, [of(1)]);
    let jobs: Vec<_> = claims.claimed.iter().map(|it| it.dispatch.job).collect();
    assert_eq!(jobs, [of(2), of(3), of(4), of(5)]);
    assert_eq!(ended(&store).await, [of(0), of(1)]);
    cancel(&store, cancel_of(of(2))).await;
    let _ = send(&store, outcome(of(2), 1, failed())).await;
    let force = CancelCommand { force: true, ..cancel_of(of(3)) };
    cancel(&store, force).await;
    let _ = send(&store, outcome(of(4), 3, failed())).await;
    let gone = vec![outcome(of(5), 4, lost(LostWith::Worker))];
    store.record_outcomes_as_leader(gone, vec![0.5], store.term, at(64)).await.expect("recorded");
    let statuses: Vec<_> =
        store.follow_ups(9).await.expect("read").iter().map(|it| it.status).collect();
    use JobStatus::{Cancelled, Failed};
    assert_eq!(statuses, [Cancelled, Cancelled, Cancelled, Cancelled, Failed, Failed]);
    let firsts: Vec<_> = waiting.iter().map(|(first, _)| *first).collect();
    let nexts: Vec<_> = waiting.iter().map(|(_, next)| *next).collect();
    assert_eq!(release(&store, &firsts).await, nexts);
    assert!(!store.has_dependencies().await.expect("read"));
}

/// A job that a person retries before its end was followed up has not ended: its children wait on.
pub async fn the_end_of_a_retried_job_is_followed_up_when_it_ends_again(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    cancel(&store, cancel_of(first)).await;
    assert_eq!(ended(&store).await, [first]);
    store.retry(vec![first], at(65)).await.expect("retried");
    assert!(ended(&store).await.is_empty());
    assert_eq!(release(&store, &[first]).await, []);
    assert_eq!(status(&store, waits).await, JobStatus::Created);
    cancel(&store, cancel_of(first)).await;
    assert_eq!(release(&store, &[first]).await, [waits]);
    // Its children were released, so its next end has no consequence.
    store.retry(vec![first], at(75)).await.expect("retried");
    cancel(&store, cancel_of(first)).await;
    assert!(ended(&store).await.is_empty());
}

/// Without a previous run there is nothing to wait for.
pub async fn a_run_that_waits_for_none_is_ready_at_once(store: AStore) {
    let record = make(&store, "a").await;
    let runs = vec![
        run(&record, 60, RunAfter::Last { cancel: true }),
        run(&record, 120, RunAfter::Nothing),
    ];
    let jobs = fire_one(&store, firing(&record, runs)).await;
    let record = make(&store, "b").await;
    let first = fire_one(&store, firing(&record, vec![run(&record, 60, RunAfter::Before)])).await;
    assert_eq!(claimed(&store, 1).await, [jobs[0], jobs[1], first[0]]);
    assert!(!store.has_dependencies().await.expect("read"));
}

/// A run that has ended, or was pruned, keeps no run waiting.
pub async fn a_run_that_waits_for_one_that_has_ended_is_released(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    cancel(&store, cancel_of(first)).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: true }).await;
    assert_eq!(ended(&store).await, [first]);
    assert!(to_cancel(&store).await.is_empty(), "it has ended");
    assert_eq!(release(&store, &[first]).await, [waits]);
    cancel(&store, cancel_of(waits)).await;
    assert_eq!(prune_all(&store).await, 2);
    let next = run_one(&store, "a", 180, RunAfter::Last { cancel: true }).await;
    assert_eq!(status(&store, next).await, JobStatus::Pending);
    assert_eq!(counted(&store).await, (0, 1, 1));
    assert!(!store.has_dependencies().await.expect("read"));
}

/// The job of a dependency that cancels is listed until a cancel was requested, and not after its end.
pub async fn a_last_run_is_asked_to_stop_once(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    assert_eq!(claimed(&store, 1).await, [first]);
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: true }).await;
    assert_eq!(to_cancel(&store).await, [first], "no cancel was requested");
    assert!(store.jobs_to_cancel(0).await.expect("read").is_empty());
    cancel(&store, cancel_of(first)).await;
    assert!(to_cancel(&store).await.is_empty(), "requested, and not ended");
    assert!(ended(&store).await.is_empty());
    assert_eq!(status(&store, waits).await, JobStatus::Created);
    let _ = send(&store, outcome(first, 1, failed())).await;
    assert_eq!(ended(&store).await, [first]);
    assert!(to_cancel(&store).await.is_empty());
    // A retry takes the request back.
    store.retry(vec![first], at(65)).await.expect("retried");
    assert_eq!(to_cancel(&store).await, [first]);
    cancel(&store, cancel_of(first)).await;
    assert!(to_cancel(&store).await.is_empty());
    assert_eq!(release(&store, &[first]).await, [waits]);
    assert_eq!(status(&store, waits).await, JobStatus::Pending);
}

/// A job whose cancel was requested before the next run is due is not listed.
pub async fn a_last_run_that_stops_already_is_not_asked_again(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    assert_eq!(claimed(&store, 1).await, [first]);
    cancel(&store, cancel_of(first)).await;
    run_one(&store, "a", 120, RunAfter::Last { cancel: true }).await;
    assert!(to_cancel(&store).await.is_empty());
}

/// Each run of a firing waits for the one before it.
pub async fn runs_of_one_firing_go_one_after_the_other(store: AStore) {
    let record = make(&store, "a").await;
    let runs = vec![
        run(&record, 60, RunAfter::Nothing),
        run(&record, 120, RunAfter::Before),
        run(&record, 180, RunAfter::Before),
    ];
    let jobs = fire_one(&store, Firing { alerts: vec![job()], ..firing(&record, runs) }).await;
    assert_eq!(jobs.len(), 3);
    assert_eq!(counted(&store).await, (2, 2, 4));
    assert!(ended(&store).await.is_empty());
    cancel(&store, cancel_of(jobs[0])).await;
    assert_eq!(ended(&store).await, [jobs[0]]);
    assert_eq!(release(&store, &[jobs[0]]).await, [jobs[1]], "the third waits for the second");
    assert!(ended(&store).await.is_empty());
    cancel(&store, cancel_of(jobs[1])).await;
    assert_eq!(ended(&store).await, [jobs[1]]);
    assert_eq!(read(&store, "a").await.last_run.map(|run| run.job), Some(jobs[2]));
    assert_eq!(release(&store, &[jobs[1]]).await, [jobs[2]]);
}

/// A waiting run that is cancelled stands for the run that it waited for: a later run waits for that one,
/// and the schedule's last run has not ended before.
pub async fn a_run_after_a_cancelled_one_waits_for_the_run_before_both(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    let answer = cancel(&store, cancel_of(waits)).await;
    assert_eq!(answer, CancelAnswer::Cancelled { stop: None });
    assert!(ended(&store).await.is_empty(), "nothing waits for it");
    assert_eq!(depends_on(&store, waits).await, [first]);
    let last = read(&store, "a").await.last_run.expect("a run");
    assert_eq!((last.job, last.status), (waits, Some(JobStatus::Cancelled)));
    assert!(!last.has_ended());
    assert_eq!(prune_all(&store).await, 0, "the job that it waited for has not ended");

    let next = run_one(&store, "a", 180, RunAfter::Last { cancel: true }).await;
    assert_eq!(ended(&store).await, [waits]);
    assert_eq!(release(&store, &[waits]).await, []);
    assert_eq!(depends_on(&store, next).await, [first]);
    assert_eq!(status(&store, next).await, JobStatus::Created);
    assert_eq!(to_cancel(&store).await, [first], "it is cancelled in place of the other");
    assert_eq!(claimed(&store, 1).await, [first]);
    cancel(&store, cancel_of(first)).await;
    assert!(to_cancel(&store).await.is_empty());
    let _ = send(&store, outcome(first, 1, succeeded())).await;
    assert_eq!(release(&store, &[first]).await, [next]);
    assert_eq!(status(&store, waits).await, JobStatus::Cancelled);
    assert_eq!(counted(&store).await, (0, 1, 3));
    assert!(!store.has_dependencies().await.expect("read"));
}

/// The ends of a run and of those that waited for it are followed up at once, in any order.
pub async fn a_chain_of_runs_that_end_together_is_released_at_once(store: AStore) {
    for (id, reverse) in [("a", false), ("b", true)] {
        let record = make(&store, id).await;
        let mut runs = vec![run(&record, 60, RunAfter::Nothing)];
        runs.extend([120, 180, 240].map(|slot| run(&record, slot, RunAfter::Before)));
        let jobs = fire_one(&store, firing(&record, runs)).await;
        for job in &jobs[..3] {
            cancel(&store, cancel_of(*job)).await;
        }
        let mut all = ended(&store).await;
        assert_eq!(all, jobs[..3]);
        if reverse {
            all.reverse();
        }
        assert_eq!(release(&store, &all).await, [jobs[3]]);
        assert!(!store.has_dependencies().await.expect("read"));
    }
    // The first goes on, and the two after it end: the last waits for the first.
    let record = make(&store, "c").await;
    let mut runs = vec![run(&record, 60, RunAfter::Nothing)];
    runs.extend([120, 180, 240].map(|slot| run(&record, slot, RunAfter::Before)));
    let jobs = fire_one(&store, firing(&record, runs)).await;
    cancel(&store, cancel_of(jobs[1])).await;
    cancel(&store, cancel_of(jobs[2])).await;
    assert_eq!(release(&store, &[jobs[1], jobs[2]]).await, []);
    assert_eq!(depends_on(&store, jobs[3]).await, [jobs[0]]);
    cancel(&store, cancel_of(jobs[0])).await;
    assert_eq!(release(&store, &[jobs[0]]).await, [jobs[3]]);
}

/// A job with several parents waits for all of them.
pub async fn a_job_with_several_parents_waits_for_all(store: AStore) {
    let record = make(&store, "a").await;
    let runs = vec![
        run(&record, 60, RunAfter::Nothing),
        run(&record, 120, RunAfter::Nothing),
        run(&record, 180, RunAfter::Nothing),
        run(&record, 240, RunAfter::Before),
        run(&record, 300, RunAfter::Before),
    ];
    let jobs = fire_one(&store, firing(&record, runs)).await;
    let also = |parent| Dependency { parent, child: jobs[3], cancel: false };
    let more = vec![also(jobs[0]), also(jobs[1])];
    store.import_dependencies(more, Vec::new()).await.expect("imported");
    assert_eq!(depends_on(&store, jobs[3]).await, jobs[..3]);
    cancel(&store, cancel_of(jobs[1])).await;
    assert_eq!(release(&store, &[jobs[1]]).await, []);
    assert_eq!(depends_on(&store, jobs[3]).await, [jobs[0], jobs[2]]);
    // It ends before both: its child waits for them.
    cancel(&store, cancel_of(jobs[3])).await;
    assert_eq!(release(&store, &[jobs[3]]).await, []);
    assert_eq!(depends_on(&store, jobs[4]).await, [jobs[0], jobs[2]]);
    cancel(&store, cancel_of(jobs[0])).await;
    cancel(&store, cancel_of(jobs[2])).await;
    assert_eq!(release(&store, &[jobs[0], jobs[2]]).await, [jobs[4]]);
    assert!(!store.has_dependencies().await.expect("read"));
}

/// Promotion cancels a waiting run past its expiry.
pub async fn a_waiting_run_expires(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let record = read(&store, "a").await;
    let mut waits = run(&record, 120, RunAfter::Last { cancel: false });
    waits.job.expires_at = Some(at(150));
    let job = fire_one(&store, firing(&record, vec![waits])).await[0];
    assert_eq!(store.next_due().await.expect("read"), Some(at(150)));
    let promoted = store.promote_due(store.term, at(149), 9).await.expect("promoted");
    assert_eq!(promoted.expired, []);
    let promoted = store.promote_due(store.term, at(150), 9).await.expect("promoted");
    assert_eq!(promoted.expired, [job]);
    assert_eq!(status(&store, job).await, JobStatus::Cancelled);
    cancel(&store, cancel_of(first)).await;
    assert_eq!(release(&store, &[first]).await, [], "it stays cancelled");
    assert_eq!(status(&store, job).await, JobStatus::Cancelled);
    assert!(!store.has_dependencies().await.expect("read"));
}

/// A run with an `on_failure` job has an alert until it ends; the alert is sent once.
pub async fn a_run_has_its_alert_until_it_ends(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let record = read(&store, "a").await;
    let page = JobSpec { name: name("warn"), queue: name("alerts"), ..job() };
    let mut waits = run(&record, 120, RunAfter::Last { cancel: false });
    waits.on_failure = Some(page.clone());
    let mut plain = run(&record, 180, RunAfter::Nothing);
    plain.on_failure = Some(page.clone());
    let jobs = fire_one(&store, firing(&record, vec![waits, plain])).await;
    let (waits, plain) = (jobs[0], jobs[1]);
    assert_eq!(claimed(&store, 1).await, [first, plain]);
    let _ = send(&store, outcome(first, 1, succeeded())).await;
    assert_eq!(release(&store, &[first]).await, [waits]);
    assert!(store.has_dependencies().await.expect("read"));
    assert!(ended(&store).await.is_empty(), "neither has ended");
    cancel(&store, cancel_of(waits)).await;
    let _ = send(&store, outcome(plain, 2, succeeded())).await;
    assert_eq!(prune_all(&store).await, 1, "only the first has been followed up");
    let found = store.follow_ups(9).await.expect("read");
    assert_eq!(found.iter().map(|it| it.job).collect::<Vec<_>>(), [waits, plain]);
    let alert = found[0].alert.as_ref().expect("an alert");
    assert_eq!((alert.job, alert.schedule.as_str(), alert.slot), (waits, "a", Some(at(120))));
    let json = |spec| serde_json::to_string(spec).expect("json");
    assert_eq!(json(&alert.on_failure), json(&page));
    let before = counted(&store).await.2;
    let both = || {
        let alert = Some(page.clone());
        vec![Release { job: waits, alert }, Release { job: plain, alert: None }]
    };
    let done = released(&store, both()).await;
    assert_eq!((done.admitted.len(), done.alerts.len()), (0, 1));
    assert_eq!(status(&store, done.alerts[0]).await, JobStatus::Pending);
    assert_eq!(released(&store, both()).await, Released::default(), "an alert is sent once");
    assert_eq!(counted(&store).await.2, before + 1);
    assert_eq!(store.oldest_due().await.expect("read"), [(name("alerts"), at(70))]);
    assert!(!store.has_dependencies().await.expect("read"));
    assert_eq!(read(&store, "a").await.last_run.map(|run| run.job), Some(plain));
}

/// Several releases of one job in a batch are one; a job without an alert gets none.
pub async fn one_job_released_twice_in_a_batch_is_released_once(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let record = read(&store, "a").await;
    let mut waits = run(&record, 120, RunAfter::Last { cancel: false });
    waits.on_failure = Some(job());
    let waits = fire_one(&store, firing(&record, vec![waits])).await[0];
    cancel(&store, cancel_of(first)).await;
    cancel(&store, cancel_of(waits)).await;
    let of = |id| Release { job: id, alert: Some(job()) };
    let releases = vec![of(first), of(waits), of(JobId(999)), of(waits), of(first)];
    let alert = JobId(waits.0 + 1);
    let expected = Released { admitted: Vec::new(), alerts: vec![alert] };
    assert_eq!(released(&store, releases).await, expected);
    assert_eq!(status(&store, alert).await, JobStatus::Pending);
    assert_eq!(counted(&store).await, (0, 1, 3));
}

/// A dependency stays after its schedule is removed; the job that a run waits for is pruned only after the
/// run was released.
pub async fn a_dependency_outlives_its_schedule(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    store.remove_schedule(&name("a"), None).await.expect("removed");
    cancel(&store, cancel_of(first)).await;
    assert_eq!(prune_all(&store).await, 0);
    assert_eq!(release(&store, &[first]).await, [waits]);
    assert_eq!(status(&store, waits).await, JobStatus::Pending);
    assert_eq!(prune_all(&store).await, 1);
}

async fn prune_all(store: &AStore) -> u64 {
    let request =
        PruneRequest { completed_before: at(999), others_before: at(999), limit: 9, chunks: 99 };
    store.prune(request, store.term).await.expect("pruned").jobs
}

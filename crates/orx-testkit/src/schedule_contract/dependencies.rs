//! Cases of runs that wait for the last run, or have an alert.

use orx_model::{JobId, JobSpec, JobStatus};
use orx_store::{CancelAnswer, DependencyResult, DependencyStep, Firing, PruneRequest, RunAfter};

use super::{
    apply_steps, claimed, counted, fire_one, firing, make, read, ripe, ripe_jobs, run, run_one,
    step_results,
};
use crate::make::{at, failed, job, name, outcome, request, succeeded};
use crate::store_contract::{AStore, cancel, cancel_of, get, send, status};

/// A run that waits for the last is `created`, and `pending` only after that run has ended.
pub async fn a_run_that_waits_is_ready_only_once_the_last_has_ended(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    assert_eq!(status(&store, waits).await, JobStatus::Created);
    assert_eq!(counted(&store).await, (1, 1, 2));
    assert!(store.is_watching().await.expect("read"));
    assert!(ripe(&store).await.is_empty(), "what it waits for has not ended");
    assert_eq!(claimed(&store, 1).await, [first]);
    assert_eq!(claimed(&store, 10).await, [], "a waiting run is not dispatched");
    store.promote_due(store.term, at(65), 9).await.expect("promoted");
    assert_eq!(status(&store, waits).await, JobStatus::Created);
    let _ = send(&store, outcome(first, 1, succeeded())).await;
    let found = ripe(&store).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].job, found[0].slot), (waits, Some(at(120))));
    assert_eq!((found[0].schedule.as_str(), found[0].cancel), ("a", false));
    assert_eq!(found[0].status, Some(JobStatus::Created));
    assert_eq!(found[0].after, Some((first, Some(JobStatus::Completed))));
    assert_eq!(apply_steps(&store, vec![DependencyStep::Release { job: waits }]).await, [true]);
    let job = get(&store, waits).await;
    assert_eq!(
        (job.state.status, job.state.run_at, job.state.created_at),
        (JobStatus::Pending, at(70), at(60))
    );
    assert_eq!(counted(&store).await, (0, 1, 2));
    assert!(!store.is_watching().await.expect("read"));
    assert_eq!(apply_steps(&store, vec![DependencyStep::Release { job: waits }]).await, [false]);
    let asked = vec![request(1, 20, 9)];
    let ready = store.claim_ready(asked, store.term, at(71)).await.expect("claimed").claimed;
    assert_eq!(ready.iter().map(|it| it.dispatch.job).collect::<Vec<_>>(), [waits]);
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
    assert!(!store.is_watching().await.expect("read"));
}

/// A dependency that cancels is ripe until the cancel was requested, and again after the end.
pub async fn a_last_run_is_asked_to_stop_once(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    assert_eq!(claimed(&store, 1).await, [first]);
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: true }).await;
    let found = ripe(&store).await;
    assert_eq!(found.len(), 1, "no cancel was requested");
    assert!(found[0].cancel);
    assert_eq!(found[0].after, Some((first, Some(JobStatus::Dispatched))));
    cancel(&store, cancel_of(first)).await;
    assert!(ripe(&store).await.is_empty(), "requested, and not ended");
    assert_eq!(status(&store, waits).await, JobStatus::Created);
    let _ = send(&store, outcome(first, 1, failed())).await;
    let found = ripe(&store).await;
    assert_eq!(found[0].after, Some((first, Some(JobStatus::Cancelled))));
    assert_eq!(apply_steps(&store, vec![DependencyStep::Release { job: waits }]).await, [true]);
    assert_eq!(status(&store, waits).await, JobStatus::Pending);
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
    assert!(ripe(&store).await.is_empty());
    cancel(&store, cancel_of(jobs[0])).await;
    let found = ripe(&store).await;
    assert_eq!(found.len(), 1, "the third waits for the second");
    assert_eq!(found[0].job, jobs[1]);
    assert_eq!(found[0].after, Some((jobs[0], Some(JobStatus::Cancelled))));
    assert_eq!(apply_steps(&store, vec![DependencyStep::Release { job: jobs[1] }]).await, [true]);
    assert!(ripe(&store).await.is_empty());
    cancel(&store, cancel_of(jobs[1])).await;
    assert_eq!(ripe_jobs(&store).await, [jobs[2]]);
    assert_eq!(read(&store, "a").await.last_run.map(|run| run.job), Some(jobs[2]));
}

/// A waiting run that is cancelled is released and stays `cancelled`.
pub async fn a_waiting_run_that_is_cancelled_is_released_unchanged(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    let answer = cancel(&store, cancel_of(waits)).await;
    assert_eq!(answer, CancelAnswer::Cancelled { stop: None });
    let found = ripe(&store).await;
    assert_eq!((found[0].job, found[0].status), (waits, Some(JobStatus::Cancelled)));
    assert_eq!(found[0].after, Some((first, Some(JobStatus::Pending))));
    let released = vec![DependencyStep::Release { job: waits }];
    assert_eq!(step_results(&store, released).await, [DependencyResult::Changed]);
    assert_eq!(status(&store, waits).await, JobStatus::Cancelled);
    assert_eq!(counted(&store).await, (0, 1, 2));
    assert!(!store.is_watching().await.expect("read"));
}

/// Promotion cancels a waiting run past its expiry.
pub async fn a_waiting_run_expires(store: AStore) {
    make(&store, "a").await;
    run_one(&store, "a", 60, RunAfter::Nothing).await;
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
    assert_eq!(ripe_jobs(&store).await, [job]);
    assert_eq!(apply_steps(&store, vec![DependencyStep::End { job, alert: None }]).await, [true]);
    assert!(!store.is_watching().await.expect("read"));
}

/// A run with an `on_failure` alert keeps its dependency until it ends; the alert is sent once.
pub async fn a_run_with_an_alert_has_a_dependency_until_it_ends(store: AStore) {
    make(&store, "a").await;
    run_one(&store, "a", 60, RunAfter::Nothing).await;
    let record = read(&store, "a").await;
    let page = JobSpec { name: name("warn"), queue: name("alerts"), ..job() };
    let mut watched = run(&record, 120, RunAfter::Last { cancel: false });
    watched.on_failure = Some(page.clone());
    let mut plain = run(&record, 180, RunAfter::Nothing);
    plain.on_failure = Some(page.clone());
    let jobs = fire_one(&store, firing(&record, vec![watched, plain])).await;
    let (waits, plain) = (jobs[0], jobs[1]);
    let first = claimed(&store, 1).await[0];
    assert_eq!(status(&store, plain).await, JobStatus::Dispatched);
    let _ = send(&store, outcome(first, 1, succeeded())).await;
    assert_eq!(apply_steps(&store, vec![DependencyStep::Release { job: waits }]).await, [true]);
    assert!(store.is_watching().await.expect("read"));
    assert!(ripe(&store).await.is_empty(), "neither has ended");
    assert_eq!(apply_steps(&store, vec![DependencyStep::Release { job: waits }]).await, [false]);
    cancel(&store, cancel_of(waits)).await;
    let _ = send(&store, outcome(plain, 2, succeeded())).await;
    let found = ripe(&store).await;
    assert_eq!(ripe_jobs(&store).await, [waits, plain]);
    assert_eq!(found[0].after, None);
    assert_eq!(
        found[0].on_failure.as_ref().map(|spec| serde_json::to_string(spec).expect("json")),
        Some(serde_json::to_string(&page).expect("json"))
    );
    let before = counted(&store).await.2;
    let both = || {
        vec![
            DependencyStep::End { job: waits, alert: Some(page.clone()) },
            DependencyStep::End { job: plain, alert: None },
        ]
    };
    assert_eq!(apply_steps(&store, both()).await, [true, true]);
    assert_eq!(apply_steps(&store, both()).await, [false, false], "an alert is sent once");
    assert_eq!(counted(&store).await.2, before + 1);
    assert_eq!(store.oldest_due().await.expect("read"), [(name("alerts"), at(70))]);
    assert!(!store.is_watching().await.expect("read"));
    assert_eq!(read(&store, "a").await.last_run.map(|run| run.job), Some(plain));
}

/// Several steps for one run in a batch apply in order.
pub async fn two_steps_of_one_run_in_a_batch_apply_in_turn(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let record = read(&store, "a").await;
    let mut waits = run(&record, 120, RunAfter::Last { cancel: false });
    waits.on_failure = Some(job());
    let waits = fire_one(&store, firing(&record, vec![waits])).await[0];
    cancel(&store, cancel_of(first)).await;
    let steps = vec![
        DependencyStep::Release { job: waits },
        DependencyStep::Release { job: waits },
        DependencyStep::End { job: JobId(999), alert: Some(job()) },
        DependencyStep::End { job: waits, alert: Some(job()) },
        DependencyStep::End { job: waits, alert: Some(job()) },
    ];
    let alert = JobId(waits.0 + 1);
    let expected = [
        DependencyResult::Admitted,
        DependencyResult::Unchanged,
        DependencyResult::Unchanged,
        DependencyResult::Alerted(alert),
        DependencyResult::Unchanged,
    ];
    assert_eq!(step_results(&store, steps).await, expected);
    assert_eq!(status(&store, alert).await, JobStatus::Pending);
    assert_eq!(counted(&store).await, (0, 2, 3));
}

/// A dependency stays after its schedule is removed and the run it waits for is pruned.
pub async fn a_dependency_outlives_its_schedule(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    store.remove_schedule(&name("a"), None).await.expect("removed");
    cancel(&store, cancel_of(first)).await;
    let request =
        PruneRequest { completed_before: at(99), others_before: at(99), limit: 9, chunks: 99 };
    assert_eq!(store.prune(request, store.term).await.expect("pruned").jobs, 1);
    let found = ripe(&store).await;
    assert_eq!(found[0].after, Some((first, None)), "a pruned run has ended");
    assert_eq!(apply_steps(&store, vec![DependencyStep::Release { job: waits }]).await, [true]);
    assert_eq!(status(&store, waits).await, JobStatus::Pending);
}

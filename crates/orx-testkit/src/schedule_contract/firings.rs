//! Cases of firings, and of the runs and alerts that they make.

use orx_model::schedule::{ScheduleSpec, SkipReason, SlotOutcome};
use orx_model::{JobId, JobSpec, JobStatus, Origin};
use orx_schedule::Schedule;
use orx_store::{
    Firing, Position, PruneRequest, Release, Run, RunAfter, ScheduleRecord, StoreError,
};

use super::{
    all_of, claimed, counted, depends_on, due, ended, fire, fire_one, firing, make, missed,
    other_leader, plan, ran_as, read, release, row, rows_only, run, run_one, shown, slots,
};
use crate::make::{NOW, at, job, name, outcome, succeeded};
use crate::store_contract::{AStore, cancel, cancel_of, get, send, status};

/// A firing creates its jobs and ledger rows and moves the position in one step.
pub async fn a_firing_makes_jobs_and_rows_and_moves_the_schedule(store: AStore) {
    let mut asked = plan("a", due(60));
    let mut spec = ScheduleSpec::from(asked.spec);
    spec.job.expires_ms = Some(5_000);
    asked.spec = Schedule::new(spec).expect("a schedule");
    asked.templates.job.tags = [("k".to_owned(), "$o$ \\ '".to_owned())].into();
    assert!(store.add_schedule(asked, NOW).await.expect("added"));
    let record = read(&store, "a").await;
    let caught_up = row(60, SlotOutcome::CaughtUp { job: JobId(0), late_ms: 60_000 });
    let one = Firing {
        rows: vec![missed(30), row(40, SlotOutcome::Skipped { reason: SkipReason::Overlap })],
        ..firing(
            &record,
            vec![
                Run { row: Some(caught_up), ..run(&record, 60, RunAfter::Nothing) },
                run(&record, 120, RunAfter::Nothing),
            ],
        )
    };
    let jobs = fire_one(&store, one).await;
    assert!(jobs.len() == 2 && jobs[0] < jobs[1], "{jobs:?}");
    for (id, slot) in [(jobs[0], 60), (jobs[1], 120)] {
        let job = get(&store, id).await;
        assert_eq!(
            (job.state.status, job.state.run_at, job.state.created_at),
            (JobStatus::Pending, at(60), at(60))
        );
        assert_eq!(job.spec.schedule, Some(Origin { id: name("a"), slot: Some(at(slot)) }));
        assert_eq!(job.spec.expires_at, Some(at(slot + 5)));
        assert_eq!(job.spec.tags, record.plan.templates.job.tags);
    }
    let caught_up = SlotOutcome::CaughtUp { job: jobs[0], late_ms: 60_000 };
    let expected = [
        ran_as(120, jobs[1]),
        row(60, caught_up),
        row(40, SlotOutcome::Skipped { reason: SkipReason::Overlap }),
        missed(30),
    ];
    assert_eq!(slots(&store, all_of("a")).await, expected);
    let after = read(&store, "a").await;
    assert_eq!(after.plan.position, Position { handled: at(120), next: due(180) });
    assert_eq!((after.version, after.runs, after.updated_at), (1, 2, NOW));
    assert_eq!(after.last_run.map(|run| run.job), Some(jobs[1]));
    assert_eq!(after.last_run.and_then(|run| run.status), Some(JobStatus::Pending));
    assert_eq!(counted(&store).await, (0, 2, 2));
    assert!(!store.has_dependencies().await.expect("read"), "there is no dependency");
    assert_eq!(claimed(&store, 1).await, jobs);
}

/// An alert becomes a job, and counts neither as a run nor as the last run.
pub async fn an_alert_is_a_job_and_no_run(store: AStore) {
    let record = make(&store, "a").await;
    let page = JobSpec { name: name("page"), queue: name("alerts"), ..job() };
    let one = Firing { alerts: vec![page], ..rows_only(&record, vec![missed(60)]) };
    let fired = store.fire(vec![one], Some(store.term), at(60)).await.expect("fired");
    let fired = fired[0].as_ref().expect("its expected version stands");
    assert_eq!((fired.runs.len(), fired.alerts.len()), (0, 1));
    assert_eq!(get(&store, fired.alerts[0]).await.spec.name, name("page"));
    let after = read(&store, "a").await;
    assert_eq!((after.runs, after.last_run), (0, None));
    assert_eq!(counted(&store).await, (0, 1, 1));
    let oldest = store.oldest_due().await.expect("read");
    assert_eq!(oldest, [(name("alerts"), at(60))]);
}

/// A manual run makes a job without a ledger row and leaves the position as it is.
pub async fn a_manual_run_leaves_the_slots_alone(store: AStore) {
    let record = make(&store, "a").await;
    let fires = vec![record.manual("person".to_owned(), at(9))];
    assert!(fires[0].to.is_none());
    let answers = store.fire(fires, None, at(9)).await.expect("fired");
    let jobs = answers[0].clone().expect("the expected version").runs;
    let made = get(&store, jobs[0]).await;
    assert_eq!(made.spec.schedule, Some(Origin { id: name("a"), slot: None }));
    let after = read(&store, "a").await;
    assert_eq!(after.plan.position, record.plan.position);
    assert_eq!((after.runs, after.last_run.map(|run| run.job)), (0, Some(jobs[0])));
    assert!(slots(&store, all_of("a")).await.is_empty());
    // The last run has changed, so a firing on the old record is stale.
    let again = firing(&record, vec![run(&record, 60, RunAfter::Nothing)]);
    assert_eq!(fire(&store, vec![again]).await, [None]);
    assert_eq!(counted(&store).await, (0, 1, 1));
}

/// A run alongside the last is ready at once; successors wait for both.
pub async fn a_run_beside_the_last_is_ready_at_once_and_stands_for_both(store: AStore) {
    make(&store, "a").await;
    let before = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let record = read(&store, "a").await;
    let answers = store.fire(vec![record.manual("person".to_owned(), at(61))], None, at(61)).await;
    let manual = answers.expect("fired")[0].clone().expect("the expected version").runs[0];
    assert_eq!(status(&store, manual).await, JobStatus::Pending);
    // The next slot waits for this run, and through it for the previous one.
    let after = read(&store, "a").await;
    assert_eq!((after.runs, after.last_run.map(|run| run.job)), (1, Some(manual)));
    assert!(ended(&store).await.is_empty(), "both go on");
    assert_eq!(claimed(&store, 1).await, [before, manual]);
    let _ = send(&store, outcome(manual, 2, succeeded())).await;
    let last = read(&store, "a").await.last_run.expect("a run");
    assert_eq!((last.job, last.status), (manual, Some(JobStatus::Completed)));
    assert!(!last.has_ended(), "the run before it goes on");
    assert_eq!(depends_on(&store, manual).await, [before]);
    let _ = send(&store, outcome(before, 1, succeeded())).await;
    assert_eq!(ended(&store).await, [before]);
    assert_eq!(release(&store, &[before]).await, []);
    assert!(read(&store, "a").await.last_run.expect("a run").has_ended());
    assert!(!store.has_dependencies().await.expect("read"));
}

/// The end of the previous run releases the dependency and does not change the run beside it.
pub async fn a_run_beside_the_last_goes_on_as_it_is_once_that_has_ended(store: AStore) {
    make(&store, "a").await;
    let before = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let beside = run_one(&store, "a", 120, RunAfter::AlongsideLast).await;
    assert_eq!(claimed(&store, 1).await, [before, beside]);
    let _ = send(&store, outcome(before, 1, succeeded())).await;
    assert_eq!(release(&store, &[before]).await, []);
    assert_eq!(status(&store, beside).await, JobStatus::Dispatched);
    assert!(!store.has_dependencies().await.expect("read"));
}

/// A firing with rows alone moves the position and leaves the last run.
pub async fn rows_alone_move_the_schedule_without_a_run(store: AStore) {
    make(&store, "a").await;
    let before = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let record = read(&store, "a").await;
    let to = Position { handled: at(300), next: due(360) };
    let one = Firing { to: Some(to), ..rows_only(&record, vec![missed(120)]) };
    assert_eq!(fire_one(&store, one).await, []);
    let after = read(&store, "a").await;
    assert_eq!((after.plan.position, after.runs), (to, 1));
    assert_eq!(after.last_run.map(|run| run.job), Some(before));
}

/// A firing on another version, position or last run does nothing; the others of its batch are
/// done.
pub async fn a_stale_firing_does_nothing_and_blocks_no_other(store: AStore) {
    for id in ["a", "b", "c", "d", "e"] {
        make(&store, id).await;
    }
    let mut fires = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        let record = read(&store, id).await;
        let mut one = firing(&record, vec![run(&record, 60, RunAfter::Nothing)]);
        one.rows = vec![missed(30)];
        one.alerts = vec![job()];
        match id {
            "a" => one.expected.version = 2,
            "b" => one.expected.handled = at(1),
            "c" => one.expected.last_run = Some((JobId(1), true)),
            "d" => one.expected.id = name("absent"),
            _ => {}
        }
        fires.push(one);
    }
    let before = shown(&store.schedules(None, 4).await.expect("a page"));
    let answers = fire(&store, fires).await;
    assert_eq!(answers[..4], [None, None, None, None]);
    assert_eq!(answers[4].as_ref().map(Vec::len), Some(1));
    assert_eq!(shown(&store.schedules(None, 4).await.expect("a page")), before);
    for id in ["a", "b", "c", "d", "absent"] {
        assert!(slots(&store, all_of(id)).await.is_empty(), "{id}");
    }
    assert_eq!(slots(&store, all_of("e")).await.len(), 2);
    assert_eq!(counted(&store).await, (0, 2, 2));
    assert_eq!(read(&store, "e").await.runs, 1);
}

/// A firing is stale when the last run has ended since the read; a pruned run counts as ended.
pub async fn the_end_of_the_last_run_is_part_of_the_expected_version(store: AStore) {
    make(&store, "a").await;
    let last = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let live = read(&store, "a").await;
    assert_eq!(live.expected().last_run, Some((last, false)));
    let mut wrong = firing(&live, vec![run(&live, 120, RunAfter::Nothing)]);
    wrong.expected.last_run = Some((last, true));
    assert_eq!(fire(&store, vec![wrong]).await, [None], "it has not ended");
    assert_eq!(claimed(&store, 1).await, [last]);
    let _ = send(&store, outcome(last, 1, succeeded())).await;
    let stale = firing(&live, vec![run(&live, 120, RunAfter::Nothing)]);
    assert_eq!(fire(&store, vec![stale]).await, [None], "it has ended meanwhile");
    let ended = read(&store, "a").await;
    assert_eq!(ended.expected().last_run, Some((last, true)));
    let request =
        PruneRequest { completed_before: at(99), others_before: at(99), limit: 9, chunks: 99 };
    assert_eq!(store.prune(request, store.term).await.expect("pruned").jobs, 1);
    let forgotten = read(&store, "a").await;
    assert_eq!(forgotten.last_run.map(|run| (run.job, run.status)), Some((last, None)));
    // A pruned run counts as ended.
    let one = firing(&ended, vec![run(&ended, 120, RunAfter::Nothing)]);
    assert_eq!(fire_one(&store, one).await.len(), 1);
}

/// Of several firings of one schedule in a batch only the first is considered.
pub async fn one_batch_fires_a_schedule_once(store: AStore) {
    let (a, b) = (make(&store, "a").await, make(&store, "b").await);
    let mut stale = firing(&b, vec![run(&b, 60, RunAfter::Nothing)]);
    stale.expected.version = 9;
    let answers = fire(
        &store,
        vec![
            firing(&a, vec![run(&a, 60, RunAfter::Nothing)]),
            firing(&a, vec![run(&a, 60, RunAfter::Nothing)]),
            stale,
            // Up to date, but not the first of its schedule.
            firing(&b, vec![run(&b, 60, RunAfter::Nothing)]),
        ],
    )
    .await;
    let done: Vec<bool> = answers.iter().map(Option::is_some).collect();
    assert_eq!(done, [true, false, false, false]);
    assert_eq!(counted(&store).await, (0, 1, 1));
    assert_eq!((read(&store, "a").await.runs, read(&store, "b").await.runs), (1, 0));
}

/// Job ids ascend in the order of a batch and of its runs.
pub async fn jobs_are_numbered_in_the_order_of_a_batch(store: AStore) {
    let (a, b) = (make(&store, "a").await, make(&store, "b").await);
    let of = |record: &ScheduleRecord| {
        let runs = [60, 120, 180].map(|slot| run(record, slot, RunAfter::Nothing));
        firing(record, runs.into())
    };
    let answers = fire(&store, vec![of(&b), of(&a)]).await;
    let jobs: Vec<JobId> = answers.into_iter().flatten().flatten().collect();
    assert!(jobs.len() == 6 && jobs.is_sorted(), "{jobs:?}");
    let names = ["b", "b", "b", "a", "a", "a"].map(name);
    for (job, id) in jobs.iter().zip(names) {
        assert_eq!(get(&store, *job).await.spec.schedule.map(|from| from.id), Some(id));
    }
}

/// Jobs, rows and last runs of a large batch belong to the schedule that fired.
pub async fn each_schedule_of_a_large_batch_gets_its_own_jobs(store: AStore) {
    // Not in the order of ids, with different numbers of runs.
    let count = 120;
    let mut fires = Vec::new();
    for number in 0..count {
        let record = make(&store, &format!("s{}", (number * 77) % count)).await;
        let slots = (0..number % 4).map(|more| 60 + more);
        let runs = slots.map(|slot| run(&record, slot, RunAfter::Nothing)).collect();
        let alerts = vec![job(); usize::from(number % 5 == 0)];
        fires.push(Firing { rows: vec![missed(number - 200)], alerts, ..firing(&record, runs) });
    }
    let answers = fire(&store, fires.clone()).await;
    let mut jobs = Vec::new();
    for (fired, answer) in fires.iter().zip(answers) {
        let id = fired.expected.id.as_str();
        let made = answer.expect("the expected version");
        assert_eq!(made.len(), fired.runs.len(), "{id}");
        for (job, run) in made.iter().zip(&fired.runs) {
            assert_eq!(get(&store, *job).await.spec.schedule, run.job.schedule);
        }
        let rows = slots(&store, all_of(id)).await;
        let of_runs: Vec<JobId> = rows.iter().rev().filter_map(|row| row.outcome.job()).collect();
        assert_eq!((&of_runs, rows.len()), (&made, made.len() + 1), "{id}");
        let found = read(&store, id).await;
        assert_eq!(found.last_run.map(|run| run.job), made.last().copied(), "{id}");
        assert_eq!(found.runs, made.len() as u64, "{id}");
        jobs.extend(made);
    }
    assert!(jobs.is_sorted(), "{jobs:?}");
    let all = jobs.len() + fires.iter().map(|fired| fired.alerts.len()).sum::<usize>();
    assert_eq!(counted(&store).await, (0, all as u64, all as u64));
}

/// Of concurrent firings of one slot exactly one is done, without a deadlock.
pub async fn of_firings_of_one_slot_at_once_one_is_done(store: AStore) {
    let (a, b) = (make(&store, "a").await, make(&store, "b").await);
    let one = |record: &ScheduleRecord| firing(record, vec![run(record, 60, RunAfter::Nothing)]);
    // In both orders, which must not deadlock.
    let there = vec![one(&a), one(&b)];
    let back = vec![one(&b), one(&a)];
    let (x, y, z) =
        tokio::join!(fire(&store, there.clone()), fire(&store, back), fire(&store, there));
    let of_a = [&x[0], &y[1], &z[0]].into_iter().flatten().count();
    let of_b = [&x[1], &y[0], &z[1]].into_iter().flatten().count();
    assert_eq!((of_a, of_b), (1, 1));
    for id in ["a", "b"] {
        assert_eq!(read(&store, id).await.runs, 1);
        assert_eq!(slots(&store, all_of(id)).await.len(), 1);
    }
    assert_eq!(counted(&store).await, (0, 2, 2));
}

/// Every job fired while others are claimed is claimed once.
pub async fn firings_of_two_schedules_and_claims_at_once_lose_nothing(store: AStore) {
    const ROUNDS: usize = 12;
    for id in ["a", "b"] {
        make(&store, id).await;
    }
    // The last run may end between the read and the firing, which is then stale and repeated.
    let firing = async |id: &str| {
        let mut jobs: Vec<JobId> = Vec::new();
        while jobs.len() < ROUNDS {
            let record = read(&store, id).await;
            let slot = 60 * (jobs.len() as i64 + 1);
            let fires = vec![firing(&record, vec![run(&record, slot, RunAfter::Nothing)])];
            jobs.extend(fire(&store, fires).await.remove(0).unwrap_or_default());
        }
        jobs
    };
    let claiming = async {
        let mut jobs = Vec::new();
        for round in 0..ROUNDS as u128 {
            for job in claimed(&store, 100 * (round + 1)).await {
                let live = store.job(job).await.expect("read").and_then(|job| job.state.live);
                let execution = live.expect("it was claimed").execution.0;
                let _ = send(&store, outcome(job, execution, succeeded())).await;
                jobs.push(job);
            }
        }
        jobs
    };
    let (a, b, mut got) = tokio::join!(firing("a"), firing("b"), claiming);
    for round in 0..ROUNDS as u128 {
        got.extend(claimed(&store, 10_000 + 100 * round).await);
    }
    got.sort_unstable();
    let mut made = [a, b].concat();
    made.sort_unstable();
    assert_eq!(got, made);
    for id in ["a", "b"] {
        assert_eq!(read(&store, id).await.runs, ROUNDS as u64);
        assert_eq!(slots(&store, all_of(id)).await.len(), ROUNDS);
    }
}

/// A firing of a slot that already made a job is rejected; the rest of the batch is done.
pub async fn a_slot_that_made_a_job_makes_no_other(store: AStore) {
    make(&store, "a").await;
    let job = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let other = make(&store, "b").await;
    // With the current version: only that slot is rejected.
    let record = read(&store, "a").await;
    let again = firing(&record, vec![run(&record, 60, RunAfter::Nothing)]);
    let beside = firing(&other, vec![run(&other, 60, RunAfter::Nothing)]);
    let answers = fire(&store, vec![again.clone(), beside]).await;
    assert_eq!((answers[0].clone(), answers[1].as_ref().map(Vec::len)), (None, Some(1)));
    assert_eq!(store.fire(vec![again], None, at(60)).await.expect("fired"), [None]);
    assert_eq!(
        shown(&[read(&store, "a").await]),
        shown(std::slice::from_ref(&record)),
        "nothing was done"
    );
    assert_eq!(slots(&store, all_of("a")).await, [ran_as(60, job)]);
    fire_one(&store, firing(&record, vec![run(&record, 61, RunAfter::Nothing)])).await;
}

/// Under an old term, firing, releasing and pruning return `Deposed` and change nothing.
pub async fn a_deposed_leader_fires_releases_and_prunes_nothing(store: AStore) {
    make(&store, "a").await;
    let first = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let waits = run_one(&store, "a", 120, RunAfter::Last { cancel: false }).await;
    cancel(&store, cancel_of(first)).await;
    let record = read(&store, "a").await;
    let before = (shown(std::slice::from_ref(&record)), slots(&store, all_of("a")).await);
    let old = store.term;
    let new = other_leader(&store).await;
    let fires = || vec![firing(&record, vec![run(&record, 180, RunAfter::Nothing)])];
    let fired = store.fire(fires(), Some(old), at(180)).await;
    assert!(matches!(fired, Err(StoreError::Deposed)), "{fired:?}");
    let releases = || vec![Release { job: first, alert: None }];
    let released = store.release(releases(), old, at(180)).await;
    assert!(matches!(released, Err(StoreError::Deposed)), "{released:?}");
    let pruned = store.prune_slots(at(999), 9, old).await;
    assert!(matches!(pruned, Err(StoreError::Deposed)), "{pruned:?}");
    let found = read(&store, "a").await;
    assert_eq!((shown(&[found]), slots(&store, all_of("a")).await), before);
    assert_eq!(status(&store, waits).await, JobStatus::Created);
    assert_eq!(ended(&store).await, [first]);
    // The new leader can still do the same.
    assert!(store.fire(fires(), Some(new), at(180)).await.expect("fired")[0].is_some());
    let released = store.release(releases(), new, at(180)).await.expect("released");
    assert_eq!(released.admitted, [waits]);
    assert_eq!(store.prune_slots(at(999), 9, new).await.expect("pruned"), 3);
}

//! Tests of the checker: each violation is found, and no other.

use std::collections::BTreeSet;

use orx_model::wire::JobDetail;
use orx_model::{ExecutionId, JobId, JobStatus};

use super::{Bounds, Fact, HistoryRecord, How, Ms, check};

fn bounds() -> Bounds {
    Bounds {
        lease: 3_000,
        heartbeat: 1_000,
        monitor: 500,
        kill_grace: 1_000,
        leader_lease: 3_000,
        follower_poll: 1_000,
        all_ended: 20_000,
        shutdown: 60_000,
        margin: 500,
        shared: vec!["c1".to_owned(), "c2".to_owned(), "db".to_owned()],
        database: "db".to_owned(),
        unsynced: 1_000,
    }
}

fn facts(records: &[(Ms, Fact)]) -> Vec<HistoryRecord> {
    records.iter().map(|(at, fact)| HistoryRecord { at: *at, fact: fact.clone() }).collect()
}

fn down(who: &str, how: How) -> Fact {
    Fact::Down { who: who.to_owned(), how }
}

fn back(who: &str) -> Fact {
    Fact::Back { who: who.to_owned() }
}

fn leads(who: &str, epoch: u64) -> Fact {
    Fact::Leads { who: who.to_owned(), epoch }
}

fn accepted(key: &str, job: i64) -> Fact {
    Fact::Accepted { key: key.to_owned(), job: JobId(job) }
}

fn started(job: i64, execution: u128) -> Fact {
    Fact::Started { job: JobId(job), execution: ExecutionId(execution) }
}

fn ended(job: i64, execution: u128) -> Fact {
    Fact::Ended { job: JobId(job), execution: ExecutionId(execution) }
}

fn sigterm(who: &str) -> Fact {
    Fact::StopSignal { who: who.to_owned() }
}

fn time(at: Ms) -> String {
    orx_model::Timestamp::from_millis(at as i64).to_string()
}

/// Execution, worker, status, epoch, from when, to when.
type Try<'a> = (u128, &'a str, &'a str, u64, Ms, Ms);

fn job(id: i64, status: &str, tries: &[Try<'_>]) -> JobDetail {
    let attempts: Vec<serde_json::Value> = tries
        .iter()
        .zip(1..)
        .map(|((execution, worker, status, epoch, from, to), number)| {
            serde_json::json!({
                "job": id, "number": number, "execution": ExecutionId(*execution),
                "worker": "00000000000000000000000000000001", "worker_name": worker,
                "epoch": epoch, "status": status, "claimed_at": time(*from),
                "ended_at": time(*to),
            })
        })
        .collect();
    let detail = serde_json::json!({
        "v": 1, "id": id, "name": "work", "queue": "default", "priority": "normal",
        "status": status, "args": null, "created_at": time(0), "run_at": time(0),
        "attempt": tries.len(), "key": format!("k{id}"),
        "retry": orx_model::RetryPolicy::default(), "attempts": attempts,
    });
    serde_json::from_str(&detail.to_string()).expect("a job")
}

fn refused(history: &[(Ms, Fact)], jobs: &[JobDetail]) -> String {
    check(&facts(history), jobs, &bounds()).expect_err("refused")
}

/// All promises that a refusal names.
fn named(history: &[(Ms, Fact)], jobs: &[JobDetail]) -> BTreeSet<String> {
    let text = refused(history, jobs);
    text.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
}

fn one(name: &str) -> BTreeSet<String> {
    [name.to_owned()].into()
}

#[test]
fn a_run_without_a_violation_passes() {
    let history = [
        (0, leads("c1", 4)),
        (0, accepted("k1", 1)),
        (10, Fact::Observed { job: JobId(1), status: JobStatus::Pending, attempt: 0 }),
        (100, started(1, 11)),
        (200, accepted("k1", 1)),
        (300, Fact::Unanswered { key: "k9".to_owned() }),
        (1_000, down("w1", How::Cut)),
        (5_000, started(1, 12)),
        (6_000, back("w1")),
        (6_900, ended(1, 11)),
        (7_000, ended(1, 12)),
        (7_100, accepted("k2", 2)),
        (7_200, started(2, 21)),
        (7_300, Fact::Cancelling { job: JobId(2) }),
        (7_900, ended(2, 21)),
        (8_000, down("c1", How::Killed)),
        (9_000, back("c1")),
        (9_100, leads("c1", 5)),
        (10_000, Fact::Quiet {}),
        (11_000, Fact::AllEnded {}),
        (12_000, sigterm("c1")),
        (13_000, Fact::Exited { who: "c1".to_owned() }),
    ];
    let jobs = [
        job(
            1,
            "completed",
            &[(11, "w1", "lost", 4, 90, 4_500), (12, "w2", "succeeded", 4, 4_900, 7_000)],
        ),
        job(2, "cancelled", &[(21, "w2", "cancelled", 4, 7_150, 7_900)]),
    ];
    assert_eq!(check(&facts(&history), &jobs, &bounds()), Ok(()));
}

#[test]
fn an_accepted_job_that_is_missing_or_has_not_ended_is_found() {
    assert_eq!(named(&[(0, accepted("k1", 1))], &[]), one("I1"));
    assert_eq!(named(&[(0, accepted("k1", 1))], &[job(1, "pending", &[])]), one("I1"));
}

#[test]
fn a_key_of_two_jobs_and_a_refused_job_are_found() {
    let jobs = [job(1, "cancelled", &[]), job(2, "cancelled", &[])];
    assert_eq!(named(&[(0, accepted("a", 1)), (9, accepted("a", 2))], &jobs), one("I2"));
    assert_eq!(named(&[(0, Fact::Refused { key: "k1".to_owned() })], &jobs[..1]), one("I2"));
    let mut twins = jobs;
    twins[1].job.spec.key = Some("k1".into());
    assert_eq!(named(&[], &twins), one("I2"));
}

#[test]
fn a_change_of_a_final_status_is_found() {
    let seen = Fact::Observed { job: JobId(1), status: JobStatus::Cancelled, attempt: 0 };
    let done = job(1, "completed", &[(11, "w1", "succeeded", 1, 10, 20)]);
    assert_eq!(named(&[(0, seen)], &[done]), one("I3"));
    let never_ran = job(1, "completed", &[(11, "w1", "failed", 1, 10, 20)]);
    assert_eq!(named(&[], &[never_ran]), one("I3"));
}

#[test]
fn an_impossible_transition_is_found() {
    let seen = |status, attempt| Fact::Observed { job: JobId(1), status, attempt };
    let done = [job(1, "completed", &[(11, "w1", "succeeded", 1, 10, 20)])];
    let (dispatched, running) = (JobStatus::Dispatched, JobStatus::Running);
    let fine = [(0, seen(JobStatus::Scheduled, 0)), (1, seen(running, 1))];
    assert_eq!(check(&facts(&fine), &done, &bounds()), Ok(()));
    // Running without a claim; and dispatched again without another claim.
    assert_eq!(named(&[(0, seen(running, 0))], &done), one("I3"));
    assert_eq!(named(&[(0, seen(running, 1)), (1, seen(dispatched, 1))], &done), one("I3"));
}

#[test]
fn two_completions_and_two_starts_of_one_execution_are_found() {
    let twice = [(11, "w1", "succeeded", 1, 10, 20), (12, "w1", "succeeded", 1, 30, 40)];
    assert_eq!(named(&[], &[job(1, "completed", &twice)]), one("I4"));
    let once = job(1, "completed", &[(11, "w1", "succeeded", 1, 10, 90)]);
    let history = [(20, started(1, 11)), (30, ended(1, 11)), (31, started(1, 11))];
    assert_eq!(named(&history, &[once]), one("I4"));
}

#[test]
fn an_execution_of_two_jobs_and_one_that_outlives_its_job_are_found() {
    let one_of = |id| job(id, "completed", &[(11, "w1", "succeeded", 1, 10, 90)]);
    assert_eq!(named(&[], &[one_of(1), one_of(2)]), one("I4"));
    let mut open = one_of(1);
    open.attempts[0].ended_at = None;
    assert_eq!(named(&[], &[open]), one("I4"));
}

#[test]
fn a_job_that_was_tried_beyond_its_limits_is_found() {
    let beyond: [fn(&mut JobDetail); 4] = [
        |detail| detail.job.state.ends.failed = detail.job.spec.retry.retries + 2,
        |detail| detail.job.state.ends.lost = 4,
        |detail| detail.job.state.ends.server_lost = 4,
        |detail| detail.job.state.ends.returned = 21,
    ];
    for put in beyond {
        let mut tried = job(1, "completed", &[(11, "w1", "succeeded", 1, 10, 90)]);
        put(&mut tried);
        assert_eq!(named(&[], &[tried]), one("I5"));
    }
}

#[test]
fn gaps_in_attempt_numbers_and_starts_without_an_attempt_are_found() {
    let mut lost = job(1, "completed", &[(11, "w1", "succeeded", 1, 10, 90)]);
    assert_eq!(named(&[(20, started(1, 12)), (30, ended(1, 12))], &[lost.clone()]), one("I5"));
    let seen = Fact::Observed { job: JobId(1), status: JobStatus::Running, attempt: 3 };
    assert_eq!(named(&[(0, seen)], &[lost.clone()]), one("I5"));
    lost.job.state.attempt = 2;
    assert_eq!(named(&[], &[lost]), one("I5"));
}

#[test]
fn a_claim_lost_with_the_database_is_excused_and_any_other_is_not() {
    let seen = Fact::Observed { job: JobId(1), status: JobStatus::Running, attempt: 1 };
    let jobs = [job(1, "completed", &[(12, "w1", "succeeded", 1, 5_000, 9_000)])];
    let run = |kill: Ms, ends: Ms| {
        [
            (1_000, started(1, 11)),
            (1_100, seen.clone()),
            (kill, down("db", How::Killed)),
            (4_000, back("db")),
            (4_500, Fact::Observed { job: JobId(1), status: JobStatus::Pending, attempt: 0 }),
            (5_000, started(1, 12)),
            (ends, ended(1, 11)),
            (90_000, ended(1, 12)),
        ]
    };
    assert_eq!(check(&facts(&run(1_900, 8_000)), &jobs, &bounds()), Ok(()));
    // A claim that was synced long before is not lost.
    assert_eq!(named(&run(3_900, 4_000), &jobs), one("I5"));
    // The process of a lost claim must be ended.
    assert_eq!(named(&run(1_900, 60_000), &jobs), one("I9"));
    // An end is never lost.
    let over = Fact::Observed { job: JobId(1), status: JobStatus::Failed, attempt: 1 };
    let history = [(1_000, over), (1_100, down("db", How::Killed)), (1_200, back("db"))];
    assert_eq!(named(&history, &jobs), one("I3"));
}

#[test]
fn a_claim_by_a_leader_that_was_replaced_is_found() {
    let jobs = [
        job(1, "completed", &[(11, "w1", "succeeded", 5, 10, 90)]),
        job(2, "completed", &[(21, "w1", "succeeded", 4, 20, 90)]),
    ];
    assert_eq!(named(&[], &jobs), one("I6"));
}

#[test]
fn two_live_attempts_of_one_job_are_found() {
    let both = [(11, "w1", "lost", 1, 10, 50), (12, "w2", "succeeded", 1, 40, 90)];
    assert_eq!(named(&[], &[job(1, "completed", &both)]), one("I8"));
}

#[test]
fn two_processes_of_one_job_are_found_where_no_worker_was_cut_off() {
    let tries = [(11, "w1", "lost", 1, 0, 4_000), (12, "w2", "succeeded", 1, 4_000, 9_000)];
    let jobs = [job(1, "completed", &tries)];
    let run = |worker: &str| {
        [
            (10, started(1, 11)),
            (1_000, down(worker, How::Cut)),
            (4_100, started(1, 12)),
            (5_000, back(worker)),
            (8_000, ended(1, 11)),
            (9_000, ended(1, 12)),
        ]
    };
    assert_eq!(check(&facts(&run("w1")), &jobs, &bounds()), Ok(()));
    assert_eq!(named(&run("w2"), &jobs), one("I9"));
    // Connected again, a worker must end the job that it lost.
    let mut late = run("w1");
    late[4].0 = 30_000;
    late[5].0 = 30_000;
    assert_eq!(named(&late, &jobs), one("I9"));
}

#[test]
fn a_start_after_a_cancel_is_found() {
    let history =
        [(10, Fact::Cancelled { job: JobId(1) }), (20, started(1, 11)), (30, ended(1, 11))];
    let done = job(1, "completed", &[(11, "w1", "succeeded", 1, 15, 30)]);
    assert_eq!(named(&history, &[done]), one("I12"));
    let cancelled = job(1, "cancelled", &[(11, "w1", "cancelled", 1, 15, 30)]);
    assert_eq!(named(&history, &[cancelled]), one("I12"));
    let done = job(1, "completed", &[(11, "w1", "succeeded", 1, 1, 9)]);
    assert_eq!(named(&history[..1], &[done]), one("I12"));
}

#[test]
fn a_cancel_that_does_not_reach_a_worker_in_contact_is_found() {
    let jobs = [job(1, "cancelled", &[(11, "w1", "cancelled", 1, 0, 9_000)])];
    let run = |from: Ms, to: Ms| {
        [
            (10, started(1, 11)),
            (100, Fact::Cancelling { job: JobId(1) }),
            (from, down("c1", How::Stopped)),
            (to, back("c1")),
            (9_000, ended(1, 11)),
        ]
    };
    assert_eq!(check(&facts(&run(500, 5_000)), &jobs, &bounds()), Ok(()));
    assert_eq!(named(&run(8_000, 8_500), &jobs), one("I13"));
    let asked = [(100, Fact::Cancelling { job: JobId(1) })];
    let failed = job(1, "failed", &[(11, "w1", "failed", 1, 0, 9_000)]);
    assert_eq!(named(&asked, &[failed]), one("I13"));
}

#[test]
fn a_dead_worker_and_a_dead_leader_that_are_replaced_late_are_found() {
    let history = [(10, started(1, 11)), (1_000, down("w1", How::Killed)), (1_500, back("w1"))];
    let lost_at = |at| [job(1, "failed", &[(11, "w1", "lost", 1, 0, at)])];
    assert_eq!(check(&facts(&history), &lost_at(4_900), &bounds()), Ok(()));
    assert_eq!(named(&history, &lost_at(9_000)), one("I14"));

    let replaced =
        |at| [(0, leads("c1", 1)), (1_000, down("c1", How::Killed)), (at, leads("c2", 2))];
    assert_eq!(check(&facts(&replaced(5_400)), &[], &bounds()), Ok(()));
    assert_eq!(named(&replaced(9_000), &[]), one("I14"));
}

#[test]
fn a_run_that_does_not_end_is_found() {
    assert_eq!(named(&[(0, Fact::Quiet {}), (30_000, Fact::AllEnded {})], &[]), one("I17"));
    assert_eq!(named(&[(0, Fact::Quiet {})], &[]), one("I17"));
}

#[test]
fn a_process_that_does_not_end_after_sigterm_is_found() {
    let exited = Fact::Exited { who: "c1".to_owned() };
    assert_eq!(named(&[(0, sigterm("c1")), (61_000, exited)], &[]), one("I23"));
    assert_eq!(named(&[(0, sigterm("w1"))], &[]), one("I23"));
}

//! Clocks that differ between machines, and that are set while attempts run: neither ends an attempt early,
//! nor delays its end.

use std::collections::BTreeMap;
use std::time::Duration;

use orx_coordinator::gateway::plan::WorkerTable;
use orx_coordinator::leader::monitor::plan::Watchlist;
use orx_coordinator::{Now, Settings};
use orx_model::message::{WorkerHeartbeat, WorkerRegistration, WorkerState};
use orx_model::{Capabilities, ExecutionId, Incarnation, JobId, JobStatus, Timestamp};
use orx_store::{Live, WorkerRecord, WorkerReport};
use orx_testkit::make::{self, NOW, name};

const WORKER: Incarnation = Incarnation(7);
const HOUR: i64 = 3_600;

/// `seconds` after the start, on a wall clock that is `offset` seconds fast.
fn at(seconds: u64, offset: i64) -> Now {
    let wall = make::at(i64::try_from(seconds).expect("small") + offset);
    Now { wall, mono: Duration::from_secs(seconds) }
}

fn attempt(claimed_at: Timestamp, started_at: Option<Timestamp>) -> Live {
    Live {
        job: JobId(1),
        attempt: 1,
        execution: ExecutionId(1),
        worker: WORKER,
        status: if started_at.is_some() { JobStatus::Running } else { JobStatus::Dispatched },
        claimed_at,
        started_at,
        timeout_ms: Some(60_000),
        deadline: None,
        cancel_requested: false,
        alone: false,
    }
}

fn registration() -> WorkerRegistration {
    WorkerRegistration {
        incarnation: WORKER,
        name: name("w"),
        host: "h".into(),
        pid: 1,
        version: "1".into(),
        offer: Capabilities::default(),
        slots: 1,
        started_at: NOW,
    }
}

fn heartbeat(seq: u64) -> WorkerHeartbeat {
    WorkerHeartbeat {
        incarnation: WORKER,
        seq,
        state: WorkerState::Running,
        capacity: 1,
        running: Vec::new(),
        unacknowledged: Vec::new(),
        load: None,
    }
}

/// The worker's row, with times of the store's own clock, in seconds.
fn row(heartbeat: u64, seen_at: i64, silent: u64) -> WorkerRecord {
    WorkerRecord {
        report: WorkerReport {
            registration: registration(),
            state: WorkerState::Running,
            capacity: 1,
            heartbeat,
            load: None,
            hosted_by: None,
            node: None,
        },
        seen_at: make::at(seen_at),
        silent: Duration::from_secs(silent),
        order: None,
    }
}

/// The overdue jobs, by a read of the store at `now`.
fn overdue(watchlist: &mut Watchlist, live: &[Live], now: Now) -> Vec<JobId> {
    watchlist.update_attempts(live, now);
    watchlist.overdue(live, now).iter().map(|attempt| attempt.job).collect()
}

#[test]
fn different_clocks_time_out_no_attempt_early() {
    // How fast, in seconds: the worker's clock, the old leader's, and the new leader's.
    for (worker, before, now) in
        [(-HOUR, 0, 0), (HOUR, 0, 0), (0, -HOUR, 0), (0, 0, HOUR), (0, 0, -HOUR)]
    {
        let mut watchlist = Watchlist::new(Settings::default(), at(0, now));
        let live = [attempt(make::at(before), Some(make::at(worker)))];
        for seconds in [0, 60, 100] {
            let over = overdue(&mut watchlist, &live, at(seconds, now));
            assert!(over.is_empty(), "{worker} {before} {now} after {seconds} s");
        }
        assert_eq!(
            overdue(&mut watchlist, &live, at(60 + 41, now)).len(),
            1,
            "{worker} {before} {now}"
        );
    }
}

#[test]
fn a_clock_jump_times_out_no_attempt_early() {
    let mut watchlist = Watchlist::new(Settings::default(), at(0, 0));
    let deadline = Some(make::at(HOUR));
    let live = [Live { deadline, ..attempt(NOW, Some(NOW)) }];
    for (seconds, offset) in [(0, 0), (5, 600), (10, -7_200), (15, 0), (20, 315_360_000), (30, 0)] {
        assert!(
            overdue(&mut watchlist, &live, at(seconds, offset)).is_empty(),
            "{seconds} {offset}"
        );
    }
    assert!(overdue(&mut watchlist, &live, at(60, -7_200)).is_empty());
    assert_eq!(overdue(&mut watchlist, &live, at(60 + 41, -7_200)).len(), 1);
}

#[test]
fn a_prefetched_job_is_timed_from_its_start() {
    let mut watchlist = Watchlist::new(Settings::default(), at(0, 0));
    assert!(overdue(&mut watchlist, &[attempt(NOW, None)], at(0, 0)).is_empty());
    let live = [attempt(NOW, Some(make::at(50)))];
    assert!(overdue(&mut watchlist, &live, at(50, 0)).is_empty());
    assert!(overdue(&mut watchlist, &live, at(60 + 41, 0)).is_empty());
    assert_eq!(overdue(&mut watchlist, &live, at(50 + 60 + 41, 0)).len(), 1);
}

#[test]
fn a_worker_that_registers_while_the_store_is_read_is_not_lost() {
    let mut watchlist = Watchlist::new(Settings::default(), at(0, 0));
    // It registers and gets a job between the read of the rows and the read of the attempts.
    watchlist.update_workers(&[], at(60, 0));
    watchlist.update_attempts(&[attempt(NOW, None)], at(61, 0));
    assert!(watchlist.lost(at(61, 0)).is_empty());
    // A worker without a row for a lease is lost; a worker whose row is back is not.
    assert_eq!(watchlist.lost(at(92, 0)), [WORKER]);
    watchlist.update_workers(&[row(1, 92, 0)], at(92, 0));
    assert!(watchlist.lost(at(92, 0)).is_empty());
}

#[test]
fn a_deadline_passes_by_the_wall_clock_as_well() {
    let mut watchlist = Watchlist::new(Settings::default(), at(0, 0));
    let deadline = Some(make::at(20));
    let live = [Live { timeout_ms: None, deadline, ..attempt(NOW, Some(NOW)) }];
    assert!(overdue(&mut watchlist, &live, at(0, 0)).is_empty());
    assert!(overdue(&mut watchlist, &live, at(60, 0)).is_empty(), "its worker ends it");
    assert!(
        overdue(&mut watchlist, &live, at(61, -HOUR)).is_empty(),
        "the deadline has not passed by the wall clock"
    );
    assert_eq!(overdue(&mut watchlist, &live, at(61, 0)).len(), 1);
}

#[test]
fn a_dispatch_is_asked_about_by_the_monotonic_clock_of_the_node() {
    for offset in [0, HOUR, -HOUR] {
        let mut table = WorkerTable::new(Settings::default());
        table.register(registration(), None, at(0, offset));
        let live = [attempt(NOW, None)];
        let mut asked = |seconds, beat| {
            let heartbeat = heartbeat(beat);
            let claimed = BTreeMap::new();
            let reconciled =
                table.heartbeat(&heartbeat, &live, None, &claimed, at(seconds, offset));
            reconciled.answer.asked.len()
        };
        assert_eq!((asked(0, 1), asked(10, 2), asked(20, 3)), (0, 0, 1), "{offset}");
    }
}

#[test]
fn a_silent_worker_is_lost_though_the_clock_of_the_store_was_set_back() {
    let mut watchlist = Watchlist::new(Settings::default(), at(0, 0));
    watchlist.update_workers(&[row(1, 0, 0)], at(0, 0));
    // `seen_at` is two hours in the future of that clock.
    for seconds in [5, 10, 30] {
        watchlist.update_workers(&[row(1, 0, 0)], at(seconds, 0));
        assert!(watchlist.lost(at(seconds, 0)).is_empty());
    }
    watchlist.update_workers(&[row(1, 0, 0)], at(31, 0));
    assert_eq!(watchlist.lost(at(31, 0)), [WORKER]);
}

#[test]
fn a_worker_that_sends_heartbeats_is_not_lost_though_the_clock_of_the_store_was_set_forward() {
    let mut watchlist = Watchlist::new(Settings::default(), at(0, 0));
    watchlist.update_workers(&[], at(60, 0));
    // It registered with another node, and then the store's clock was set forward by ten minutes.
    for (beat, seconds) in [(1, 65), (2, 75), (3, 85), (4, 95)] {
        watchlist.update_workers(&[row(beat, i64::from(beat as u32), 600)], at(seconds, 0));
        assert!(watchlist.lost(at(seconds, 0)).is_empty(), "after {seconds} s");
    }
    watchlist.update_workers(&[row(4, 4, 700)], at(130, 0));
    assert_eq!(watchlist.lost(at(130, 0)), [WORKER]);
}

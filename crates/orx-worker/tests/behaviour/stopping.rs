//! The heartbeat interval, the orderly stop, and the end of a worker.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use orx_model::OutcomeKind;
use orx_model::message::{HeartbeatAnswer, Message};
use orx_worker::process::signal_group;
use rustix::process::Signal;

use crate::coordinator::{Setup, job, outcomes_in, script, started_in};
use crate::processes::all_end;

#[tokio::test]
async fn a_worker_adopts_the_heartbeat_interval_of_its_coordinator() {
    let usual = HeartbeatAnswer { heartbeat_ms: 10, ..HeartbeatAnswer::default() };
    let heartbeat = Duration::from_secs(3_600);
    let coordinator = Setup { heartbeat, usual, ..Setup::default() }.start().await;
    let received = async {
        while coordinator.gateway.received.load(Ordering::Relaxed) < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), received).await.expect("heartbeats");
}

#[tokio::test]
async fn an_orderly_stop_returns_waiting_jobs_and_interrupts_running_ones() {
    let mut coordinator = Setup { slots: 1, ..Setup::default() }.start().await;
    let (runs, waits) = (script("echo $$; exec sleep 1000"), script("true"));
    coordinator.dispatch(&runs).await;
    coordinator.dispatch(&waits).await;
    let pids = coordinator.pids(&runs).await;
    coordinator.stop(Duration::ZERO).await;
    all_end(&pids);
    let seen = coordinator.seen();
    for job in [&runs, &waits] {
        let outcomes = outcomes_in(&seen, job.execution);
        assert!(matches!(outcomes[..], [_]), "{outcomes:?}");
        assert!(matches!(outcomes[0].kind, OutcomeKind::Interrupted), "{outcomes:?}");
    }
    assert!(!started_in(&seen, waits.execution));
}

#[tokio::test]
async fn an_attempt_that_ends_within_the_grace_is_not_interrupted() {
    let mut coordinator = Setup::default().start().await;
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("go");
    let text = format!("echo ready; until [ -e {} ]; do sleep 0.02; done", file.display());
    let job = script(&text);
    coordinator.dispatch(&job).await;
    coordinator.first_line(&job).await;
    let begin = Instant::now();
    let stop = coordinator.stop(Duration::from_secs(60));
    let go = async { std::fs::write(&file, "").expect("a file") };
    tokio::join!(stop, go);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    let outcomes = outcomes_in(&coordinator.seen(), job.execution);
    assert!(matches!(outcomes[0].kind, OutcomeKind::Succeeded { .. }), "{outcomes:?}");
}

/// A service manager may send SIGTERM to a worker and to all that it started at once.
#[tokio::test]
async fn a_program_that_dies_by_sigterm_while_its_worker_stops_is_interrupted_and_else_failed() {
    let mut coordinator = Setup::default().start().await;
    let texts = ["exec sleep 1000", "trap 'exit 143' TERM; while :; do sleep 0.02; done"];
    let mut jobs = Vec::new();
    for text in [texts, texts].concat() {
        let job = script(&format!("echo $$; {text}"));
        coordinator.dispatch(&job).await;
        let pid = coordinator.pids(&job).await[0];
        jobs.push((job, pid));
    }
    for (job, pid) in jobs.split_off(2) {
        signal_group(pid, Signal::TERM);
        let outcome = coordinator.outcome(&job).await;
        assert!(matches!(outcome.kind, OutcomeKind::Failed { .. }), "{outcome:?}");
    }
    let stop = coordinator.stop(Duration::from_secs(60));
    let everything = async {
        for (_, pid) in &jobs {
            signal_group(*pid, Signal::TERM);
        }
    };
    tokio::join!(stop, everything);
    for (job, _) in &jobs {
        let outcome = coordinator.outcome(job).await;
        assert!(matches!(outcome.kind, OutcomeKind::Interrupted), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_draining_worker_returns_what_is_dispatched() {
    let coordinator = Setup { slots: 1, ..Setup::default() }.start().await;
    let (first, late) = (script("exec sleep 1000"), script("true"));
    coordinator.dispatch(&first).await;
    let waits = script("true");
    coordinator.dispatch(&waits).await;
    coordinator.started(&first).await;
    coordinator.gateway.usually(HeartbeatAnswer { drain: true, ..HeartbeatAnswer::default() });
    coordinator.outcome(&waits).await;
    let outcome = coordinator.run(&late).await;
    assert!(matches!(outcome.kind, OutcomeKind::Interrupted), "{outcome:?}");
    assert_eq!(outcome.started_at, None);
    coordinator.cancel(&first).await;
    let outcome = coordinator.outcome(&first).await;
    assert!(matches!(outcome.kind, OutcomeKind::Cancelled), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_worker_kills_its_attempts() {
    let mut coordinator = Setup::default().start().await;
    let job = script("trap '' TERM; setsid sleep 1000 & sleep 1001 & echo $$ $!; wait");
    coordinator.dispatch(&job).await;
    let pids = coordinator.pids(&job).await;
    coordinator.worker = None;
    all_end(&pids);
}

#[tokio::test]
async fn a_worker_registers_again_at_a_coordinator_that_forgot_it() {
    let coordinator = Setup::default().start().await;
    coordinator.gateway.answer(HeartbeatAnswer { register: true, ..HeartbeatAnswer::default() });
    let job = script("true");
    coordinator.run(&job).await;
    let twice = || coordinator.gateway.registered.lock().len() == 2;
    let deadline = Instant::now() + Duration::from_secs(60);
    while !twice() {
        assert!(Instant::now() < deadline, "it did not register again");
        tokio::task::yield_now().await;
    }
}

/// Longer than a busy machine delays a heartbeat.
const LEASE: Duration = Duration::from_secs(3);
/// This many heartbeats take several leases.
const BEATS: u64 = 150;

/// A worker with two handlers that run until they are stopped.
async fn two_kinds() -> crate::coordinator::Coordinator {
    let cmd = ["sh", "-c", "echo ready; exec sleep 1000"];
    let usual =
        HeartbeatAnswer { lease_ms: LEASE.as_millis() as u64, ..HeartbeatAnswer::default() };
    Setup { usual, ..Setup::default() }
        .handler("alone", serde_json::json!({ "cmd": cmd, "when_unreachable": "stop" }))
        .handler("going.on", serde_json::json!({ "cmd": cmd }))
        .start()
        .await
}

#[tokio::test]
async fn out_of_contact_no_job_starts_and_only_attempts_that_must_not_overlap_stop() {
    let coordinator = two_kinds().await;
    let (alone, other) =
        (job("alone", serde_json::json!({})), job("going.on", serde_json::json!({})));
    for job in [&alone, &other] {
        coordinator.dispatch(job).await;
        coordinator.started(job).await;
    }
    // While connected it runs without limit, here for several leases.
    coordinator.gateway.beats(BEATS).await;
    assert!(outcomes_in(&coordinator.seen(), alone.execution).is_empty());

    coordinator.gateway.unreachable.store(true, std::sync::atomic::Ordering::Release);
    let cut = Instant::now();
    let outcome = coordinator.outcome(&alone).await;
    assert!(matches!(outcome.kind, OutcomeKind::Interrupted), "{outcome:?}");
    assert!(cut.elapsed() < Duration::from_secs(20), "{:?}", cut.elapsed());
    // A job dispatched now may run elsewhere or be cancelled: none starts.
    for late in [job("alone", serde_json::json!({})), job("going.on", serde_json::json!({}))] {
        let outcome = coordinator.run(&late).await;
        assert!(matches!(outcome.kind, OutcomeKind::Interrupted), "{outcome:?}");
        assert_eq!(outcome.started_at, None);
    }
    assert!(outcomes_in(&coordinator.seen(), other.execution).is_empty());
}

#[tokio::test]
async fn a_dispatch_delayed_for_a_lease_does_not_start_even_if_the_worker_is_in_contact() {
    let coordinator = two_kinds().await;
    let received = || coordinator.gateway.received.load(std::sync::atomic::Ordering::Relaxed);
    let first = received();
    // Several leases.
    coordinator.gateway.beats(BEATS).await;
    let (late, timely) =
        (job("going.on", serde_json::json!({})), job("going.on", serde_json::json!({})));
    for (job, seq) in [(&late, first), (&timely, received())] {
        let jobs = vec![job.clone()];
        coordinator.send(Message::JobDispatch { jobs, heartbeat_seq: Some(seq) }).await;
    }
    let outcome = coordinator.outcome(&late).await;
    assert!(matches!(outcome.kind, OutcomeKind::Interrupted), "{outcome:?}");
    assert_eq!(outcome.started_at, None);
    coordinator.started(&timely).await;
}

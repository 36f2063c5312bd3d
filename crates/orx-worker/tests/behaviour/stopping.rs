//! A worker that is heard as often as is asked for, that ends in good order, or is let go.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use orx_model::OutcomeKind;
use orx_model::message::{HeartbeatAnswer, Message};
use orx_worker::process::signal_group;
use rustix::process::Signal;

use crate::coordinator::{Setup, job, outcomes_in, script, started_in};
use crate::processes::all_end;

#[tokio::test]
async fn a_worker_is_heard_as_often_as_its_coordinator_asks() {
    let standing = HeartbeatAnswer { heartbeat_ms: 10, ..HeartbeatAnswer::default() };
    let heartbeat = Duration::from_secs(3_600);
    let coordinator = Setup { heartbeat, standing, ..Setup::default() }.start().await;
    let heard = async {
        while coordinator.gateway.heard.load(Ordering::Relaxed) < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), heard).await.expect("heard again and again");
}

#[tokio::test]
async fn an_orderly_stop_gives_back_what_waits_and_interrupts_what_runs() {
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
async fn what_ends_within_the_grace_is_not_interrupted() {
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
async fn what_dies_by_sigterm_while_its_worker_stops_is_interrupted_and_else_it_has_failed() {
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
async fn a_worker_that_drains_gives_back_what_comes() {
    let coordinator = Setup { slots: 1, ..Setup::default() }.start().await;
    let (first, late) = (script("exec sleep 1000"), script("true"));
    coordinator.dispatch(&first).await;
    let waits = script("true");
    coordinator.dispatch(&waits).await;
    coordinator.started(&first).await;
    coordinator.gateway.stand(HeartbeatAnswer { drain: true, ..HeartbeatAnswer::default() });
    coordinator.outcome(&waits).await;
    let outcome = coordinator.run(&late).await;
    assert!(matches!(outcome.kind, OutcomeKind::Interrupted), "{outcome:?}");
    assert_eq!(outcome.started_at, None);
    coordinator.cancel(&first).await;
    let outcome = coordinator.outcome(&first).await;
    assert!(matches!(outcome.kind, OutcomeKind::Cancelled), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_dropped_kills_what_it_runs() {
    let mut coordinator = Setup::default().start().await;
    let job = script("trap '' TERM; setsid sleep 1000 & sleep 1001 & echo $$ $!; wait");
    coordinator.dispatch(&job).await;
    let pids = coordinator.pids(&job).await;
    coordinator.worker = None;
    all_end(&pids);
}

#[tokio::test]
async fn a_coordinator_that_forgot_the_worker_hears_of_it_anew() {
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

/// Longer than a busy machine keeps a heartbeat waiting.
const LEASE: Duration = Duration::from_secs(3);
/// So many heartbeats take several leases.
const BEATS: u64 = 150;

/// A worker with two handlers that run until they are stopped.
async fn two_kinds() -> crate::coordinator::Coordinator {
    let cmd = ["sh", "-c", "echo ready; exec sleep 1000"];
    let standing =
        HeartbeatAnswer { lease_ms: LEASE.as_millis() as u64, ..HeartbeatAnswer::default() };
    Setup { standing, ..Setup::default() }
        .handler("alone", serde_json::json!({ "cmd": cmd, "when_unreachable": "stop" }))
        .handler("going.on", serde_json::json!({ "cmd": cmd }))
        .start()
        .await
}

#[tokio::test]
async fn out_of_contact_nothing_starts_what_must_not_run_twice_is_stopped_and_the_rest_goes_on() {
    let coordinator = two_kinds().await;
    let (alone, other) =
        (job("alone", serde_json::json!({})), job("going.on", serde_json::json!({})));
    for job in [&alone, &other] {
        coordinator.dispatch(job).await;
        coordinator.started(job).await;
    }
    // In contact it runs for as long as it likes, here for several leases.
    coordinator.gateway.beats(BEATS).await;
    assert!(outcomes_in(&coordinator.seen(), alone.execution).is_empty());

    coordinator.gateway.away.store(true, std::sync::atomic::Ordering::Release);
    let cut = Instant::now();
    let outcome = coordinator.outcome(&alone).await;
    assert!(matches!(outcome.kind, OutcomeKind::Interrupted), "{outcome:?}");
    assert!(cut.elapsed() < Duration::from_secs(20), "{:?}", cut.elapsed());
    // What comes now may be another's, or cancelled, since: none of it starts.
    for late in [job("alone", serde_json::json!({})), job("going.on", serde_json::json!({}))] {
        let outcome = coordinator.run(&late).await;
        assert!(matches!(outcome.kind, OutcomeKind::Interrupted), "{outcome:?}");
        assert_eq!(outcome.started_at, None);
    }
    assert!(outcomes_in(&coordinator.seen(), other.execution).is_empty());
}

#[tokio::test]
async fn what_was_under_way_for_longer_than_a_lease_does_not_start_though_the_worker_is_in_contact()
{
    let coordinator = two_kinds().await;
    let heard = || coordinator.gateway.heard.load(std::sync::atomic::Ordering::Relaxed);
    let first = heard();
    // Several leases.
    coordinator.gateway.beats(BEATS).await;
    let (late, timely) =
        (job("going.on", serde_json::json!({})), job("going.on", serde_json::json!({})));
    for (job, heard) in [(&late, first), (&timely, heard())] {
        let jobs = vec![job.clone()];
        coordinator.send(Message::JobDispatch { jobs, heartbeat_seq: Some(heard) }).await;
    }
    let outcome = coordinator.outcome(&late).await;
    assert!(matches!(outcome.kind, OutcomeKind::Interrupted), "{outcome:?}");
    assert_eq!(outcome.started_at, None);
    coordinator.started(&timely).await;
}

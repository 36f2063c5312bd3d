//! How attempts are ended before their own end, and that nothing of them is left.

use std::time::{Duration, Instant};

use orx_model::message::HeartbeatAnswer;
use orx_model::{Exit, OutcomeKind};
use serde_json::json;

use crate::coordinator::{
    Setup, asked, job, no_longer_current, now, outcomes_in, script, started_in,
};
use crate::processes::{EndsWithTest, all_end, is_gone};

const SOON: Duration = Duration::from_millis(300);
/// A script has long begun, and set its traps, when its time is over.
const BEGUN: Duration = Duration::from_secs(2);
/// Long for a machine, short beside the sleeps of the scripts.
const PROMPT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_timeout_asks_with_term_first() {
    let coordinator = Setup::default().start().await;
    let mut job =
        script("trap 'echo asked; exit 9' TERM; echo ready; while :; do sleep 0.02; done");
    job.timeout_ms = Some(BEGUN.as_millis() as u64);
    let outcome = coordinator.run(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::TimedOut), "{outcome:?}");
    assert_eq!(outcome.exit, Some(Exit::Code(9)));
    assert_eq!(coordinator.text(&job, orx_model::log::Stream::Out), "ready\nasked\n");
}

#[tokio::test]
async fn who_does_not_hear_term_is_killed_after_the_grace() {
    let coordinator = Setup { kill_grace: SOON, ..Setup::default() }.start().await;
    let mut job = script("trap '' TERM; while :; do sleep 0.02; done");
    job.timeout_ms = Some(BEGUN.as_millis() as u64);
    let begin = Instant::now();
    let outcome = coordinator.run(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::TimedOut), "{outcome:?}");
    assert_eq!(outcome.exit, Some(Exit::Signal(9)));
    assert!(begin.elapsed() >= BEGUN + SOON, "the grace was given");
    assert!(begin.elapsed() < PROMPT);
}

#[tokio::test]
async fn a_deadline_ends_an_attempt_as_a_timeout_does() {
    let coordinator = Setup::default().start().await;
    let mut job = script("exec sleep 1000");
    job.deadline = Some(now().saturating_add(SOON));
    let outcome = coordinator.run(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::TimedOut), "{outcome:?}");
}

#[tokio::test]
async fn a_stopped_process_hears_a_cancel_too() {
    let coordinator = Setup { kill_grace: Duration::from_secs(60), ..Setup::default() };
    let coordinator = coordinator.start().await;
    let job = script("echo $$; kill -STOP $$; sleep 1000");
    coordinator.dispatch(&job).await;
    coordinator.first_line(&job).await;
    coordinator.cancel(&job).await;
    let outcome = coordinator.outcome(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::Cancelled), "{outcome:?}");
}

#[tokio::test]
async fn a_cancel_also_ends_a_grandchild_in_a_session_of_its_own() {
    let coordinator = Setup { kill_grace: SOON, ..Setup::default() }.start().await;
    let job = script(
        "setsid sh -c 'trap \"\" TERM; sleep 1000' >/dev/null 2>&1 & sleep 1001 & \
         echo $$ $! ; wait",
    );
    coordinator.dispatch(&job).await;
    let pids = coordinator.pids(&job).await;
    coordinator.cancel(&job).await;
    let outcome = coordinator.outcome(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::Cancelled), "{outcome:?}");
    all_end(&pids);
}

#[tokio::test]
async fn a_session_of_its_own_ends_with_a_cancel_that_all_others_heard() {
    let coordinator = Setup::default().start().await;
    let job = script("setsid sleep 1000 >/dev/null 2>&1 & echo $$ $!; wait");
    coordinator.dispatch(&job).await;
    let pids = coordinator.pids(&job).await;
    coordinator.cancel(&job).await;
    coordinator.outcome(&job).await;
    all_end(&pids);
}

#[tokio::test]
async fn a_child_left_behind_with_standard_output_does_not_hang_the_attempt() {
    let coordinator = Setup::default().start().await;
    for text in ["sleep 1000 & echo $!", "setsid sleep 1000 & echo $!"] {
        let job = script(text);
        let begin = Instant::now();
        let outcome = coordinator.run(&job).await;
        assert!(matches!(outcome.kind, OutcomeKind::Succeeded { .. }), "{outcome:?}");
        assert!(begin.elapsed() < PROMPT, "{text}: {:?}", begin.elapsed());
        all_end(&coordinator.pids(&job).await);
    }
}

#[tokio::test]
async fn a_child_that_nobody_can_find_does_not_hang_the_attempt_either() {
    let coordinator = Setup::default().start().await;
    // It left group, session and environment, holds both streams and prints on and on.
    let job = script("env -i setsid sh -c 'while :; do echo more; done' & echo $!");
    let begin = Instant::now();
    let outcome = coordinator.run(&job).await;
    let text = coordinator.text(&job, orx_model::log::Stream::Out);
    let pid = text.lines().find_map(|line| line.parse().ok()).expect("a process id");
    let _ends = EndsWithTest(pid);
    assert!(matches!(outcome.kind, OutcomeKind::Succeeded { .. }), "{outcome:?}");
    assert!(begin.elapsed() < PROMPT, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_success_in_the_moment_of_a_cancel_is_a_success() {
    let coordinator = Setup::default().start().await;
    let job = script("trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done");
    coordinator.dispatch(&job).await;
    coordinator.first_line(&job).await;
    coordinator.cancel(&job).await;
    let outcome = coordinator.outcome(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::Succeeded { .. }), "{outcome:?}");
}

#[tokio::test]
async fn what_is_cancelled_before_it_came_never_starts() {
    let coordinator = Setup { slots: 1, ..Setup::default() }.start().await;
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("ran");
    let job = script(&format!("touch {}", file.display()));
    coordinator.cancel(&job).await;
    let outcome = coordinator.outcome(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::Cancelled), "{outcome:?}");
    assert_eq!(outcome.started_at, None);

    coordinator.dispatch(&job).await;
    // One slot and one order: had the first one started, this one would come after it.
    coordinator.run(&script("true")).await;
    assert!(!file.exists());
    assert!(!started_in(&coordinator.seen(), job.execution));
    assert_eq!(outcomes_in(&coordinator.seen(), job.execution).len(), 1);
}

#[tokio::test]
async fn what_waits_is_cancelled_without_a_start() {
    let coordinator = Setup { slots: 1, ..Setup::default() }.start().await;
    let (first, second) = (script("exec sleep 1000"), script("true"));
    coordinator.dispatch(&first).await;
    coordinator.started(&first).await;
    coordinator.dispatch(&second).await;
    coordinator.cancel(&second).await;
    let outcome = coordinator.outcome(&second).await;
    assert!(matches!(outcome.kind, OutcomeKind::Cancelled), "{outcome:?}");
    assert_eq!(outcome.started_at, None);
    assert!(outcomes_in(&coordinator.seen(), first.execution).is_empty());
    coordinator.cancel(&first).await;
    coordinator.outcome(&first).await;
}

#[tokio::test]
async fn what_was_refused_never_starts() {
    let coordinator = Setup { slots: 1, ..Setup::default() }.start().await;
    let job = script("true");
    coordinator.gateway.answer(asked(&job));
    let outcome = coordinator.outcome(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::Refused), "{outcome:?}");
    coordinator.dispatch(&job).await;
    coordinator.run(&script("true")).await;
    assert!(!started_in(&coordinator.seen(), job.execution));
    assert_eq!(outcomes_in(&coordinator.seen(), job.execution).len(), 1);
}

#[tokio::test]
async fn a_dispatch_that_comes_twice_runs_once() {
    let coordinator = Setup { slots: 1, ..Setup::default() }.start().await;
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("runs");
    let job = script(&format!("echo run >> {}", file.display()));
    coordinator.dispatch(&job).await;
    coordinator.dispatch(&job).await;
    coordinator.outcome(&job).await;
    coordinator.dispatch(&job).await;
    coordinator.run(&script("true")).await;
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "run\n");
}

#[tokio::test]
async fn what_is_no_longer_current_is_killed_at_once_and_told_to_nobody() {
    let coordinator = Setup { kill_grace: Duration::from_secs(60), slots: 1, ..Setup::default() };
    let coordinator = coordinator.start().await;
    let job = script("trap '' TERM; echo $$; while :; do sleep 0.02; done");
    coordinator.dispatch(&job).await;
    let pids = coordinator.pids(&job).await;
    assert!(!is_gone(pids[0]));
    coordinator.gateway.answer(no_longer_current(&job));
    // The only slot is free again when it is over.
    coordinator.run(&script("true")).await;
    all_end(&pids);
    assert!(outcomes_in(&coordinator.seen(), job.execution).is_empty());
}

#[tokio::test]
async fn a_deadline_is_one_of_the_servers_time_and_so_are_the_times_told() {
    let ahead = Duration::from_secs(3_600);
    let server = now().saturating_add(ahead);
    let standing = HeartbeatAnswer { now: server, ..HeartbeatAnswer::default() };
    let setup = Setup { standing, ..Setup::default() };
    let handler = json!({"cmd": ["sleep", "30"]});
    let coordinator = setup.handler("sleep", handler).start().await;
    let mut job = job("sleep", json!({}));
    job.deadline = Some(server.saturating_add(BEGUN));
    let outcome = coordinator.run(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::TimedOut), "{outcome:?}");
    let least = server.saturating_sub(Duration::from_secs(60));
    assert!(outcome.started_at.is_some_and(|at| at >= least), "{outcome:?}");
    assert!(outcome.ended_at >= least, "{outcome:?}");
}

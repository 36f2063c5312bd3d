//! How attempts are stopped before their own end, and that no process of them is left.

use std::time::{Duration, Instant};

use orx_model::message::{Dispatch, HeartbeatAnswer, Message};
use orx_model::{OutcomeKind, ProcessExit};
use orx_worker::ctx::CtxRequest;
use serde_json::json;

use crate::coordinator::{
    Logs, Setup, asked, job, no_longer_current, now, outcomes_in, script, started_in,
};
use crate::processes::{EndsWithTest, all_end, client, eventually, is_gone};

const SOON: Duration = Duration::from_millis(300);
/// When it expires, a script has long begun and set its traps.
const BEGUN: Duration = Duration::from_secs(2);
/// Long for a machine, short compared to the sleeps of the scripts.
const PROMPT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_timeout_asks_with_term_first() {
    let coordinator = Setup::default().start().await;
    let mut job =
        script("trap 'echo asked; exit 9' TERM; echo ready; while :; do sleep 0.02; done");
    job.timeout_ms = Some(BEGUN.as_millis() as u64);
    let outcome = coordinator.run(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::TimedOut), "{outcome:?}");
    assert_eq!(outcome.exit, Some(ProcessExit::Code(9)));
    assert_eq!(coordinator.text(&job, orx_model::log::Stream::Out), "ready\nasked\n");
}

#[tokio::test]
async fn a_program_that_ignores_term_is_killed_after_the_grace() {
    let coordinator = Setup { kill_grace: SOON, ..Setup::default() }.start().await;
    let mut job = script("trap '' TERM; while :; do sleep 0.02; done");
    job.timeout_ms = Some(BEGUN.as_millis() as u64);
    let begin = Instant::now();
    let outcome = coordinator.run(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::TimedOut), "{outcome:?}");
    assert_eq!(outcome.exit, Some(ProcessExit::Signal(9)));
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
async fn a_stopped_process_is_cancelled_too() {
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
async fn a_cancel_also_ends_a_session_of_its_own_after_all_others_obeyed() {
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
async fn a_child_that_cannot_be_found_does_not_hang_the_attempt_either() {
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

/// What programs do once they are asked to end. Without a stop, each would decide the outcome.
fn last_moves() -> Vec<(&'static str, Vec<CtxRequest>)> {
    let snooze = CtxRequest::Snooze { for_ms: 60_000 };
    let fail = CtxRequest::Fail { message: "on purpose".to_owned(), retry: false };
    vec![
        ("exit 0", vec![]),
        ("exit 3", vec![]),
        ("exit 75", vec![]),
        ("exit 0", vec![CtxRequest::Result { value: json!(1) }]),
        ("exit 0", vec![snooze]),
        ("exit 1", vec![fail]),
    ]
}

/// A program that prints a line, and makes that move when it gets SIGTERM.
fn ends_when_asked(exit: &str, requests: &[CtxRequest]) -> Dispatch {
    let mut job = client(requests, 0);
    if let Some(command) = &mut job.command {
        let tell = if requests.is_empty() { "" } else { "\"$@\"; " };
        let text = format!("trap '{tell}{exit}' TERM; echo ready; while :; do sleep 0.02; done");
        let own = std::mem::take(&mut command.argv);
        command.argv =
            ["sh", "-c", &text, "sh"].map(str::to_owned).into_iter().chain(own).collect();
    }
    job
}

#[tokio::test]
async fn a_cancel_decides_the_outcome_whatever_the_program_does_then() {
    let coordinator = Setup { kill_grace: PROMPT, ..Setup::default() }.start().await;
    for (exit, requests) in last_moves() {
        let job = ends_when_asked(exit, &requests);
        coordinator.dispatch(&job).await;
        coordinator.first_line(&job).await;
        coordinator.cancel(&job).await;
        let outcome = coordinator.outcome(&job).await;
        assert!(matches!(outcome.kind, OutcomeKind::Cancelled), "{exit} {requests:?}: {outcome:?}");
        assert_eq!(outcome.error.as_deref(), Some("cancelled"));
    }
}

#[tokio::test]
async fn a_timeout_decides_the_outcome_whatever_the_program_does_then() {
    let coordinator = Setup { slots: 8, kill_grace: PROMPT, ..Setup::default() }.start().await;
    let mut jobs = Vec::new();
    for (exit, requests) in last_moves() {
        let mut job = ends_when_asked(exit, &requests);
        job.timeout_ms = Some(BEGUN.as_millis() as u64);
        coordinator.dispatch(&job).await;
        jobs.push((exit, requests, job));
    }
    let mut job = ends_when_asked("exit 0", &[]);
    job.deadline = Some(now().saturating_add(BEGUN));
    coordinator.dispatch(&job).await;
    jobs.push(("exit 0", vec![], job));
    for (exit, requests, job) in &jobs {
        let outcome = coordinator.outcome(job).await;
        assert!(matches!(outcome.kind, OutcomeKind::TimedOut), "{exit} {requests:?}: {outcome:?}");
        assert_eq!(outcome.error.as_deref(), Some("ran out of time"));
    }
}

#[tokio::test]
async fn a_stop_of_the_worker_decides_the_outcome_whatever_the_program_does_then() {
    let mut coordinator = Setup { slots: 8, kill_grace: PROMPT, ..Setup::default() }.start().await;
    let mut jobs = Vec::new();
    for (exit, requests) in last_moves() {
        let job = ends_when_asked(exit, &requests);
        coordinator.dispatch(&job).await;
        coordinator.first_line(&job).await;
        jobs.push((exit, requests, job));
    }
    coordinator.stop(Duration::ZERO).await;
    for (exit, requests, job) in &jobs {
        let outcome = coordinator.outcome(job).await;
        let kind = &outcome.kind;
        assert!(matches!(kind, OutcomeKind::Interrupted), "{exit} {requests:?}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_had_ended_before_its_stop_keeps_its_own_outcome() {
    // Its output waits for the transport, and its outcome behind it.
    let setup = Setup { logs: Logs::NeverAccepted, ..Setup::default() };
    let mut coordinator = setup.start().await;
    let place = tempfile::tempdir().expect("a directory");
    for (exit, stop) in [(0, "cancel"), (5, "cancel"), (0, "stop")] {
        let file = place.path().join(format!("{exit}{stop}"));
        let (pid, file) = (file.clone(), file.display().to_string());
        let text = format!(
            "echo out; echo err >&2; echo $$ > {file}.new; mv {file}.new {file}; exit {exit}"
        );
        let job = script(&text);
        coordinator.dispatch(&job).await;
        eventually("its end", || {
            let pid = std::fs::read_to_string(&pid).unwrap_or_default();
            pid.trim().parse().is_ok_and(is_gone)
        });
        match stop {
            "cancel" => coordinator.cancel(&job).await,
            _ => coordinator.stop(Duration::ZERO).await,
        }
        let kind = coordinator.outcome(&job).await.kind;
        match exit {
            0 => assert!(matches!(kind, OutcomeKind::Succeeded { .. }), "{stop}: {kind:?}"),
            _ => assert!(matches!(kind, OutcomeKind::Failed { .. }), "{stop}: {kind:?}"),
        }
    }
}

#[tokio::test]
async fn a_job_cancelled_together_with_its_dispatch_does_not_start() {
    let coordinator = Setup::default().start().await;
    let job = script("true");
    // The worker reads both in one batch.
    let jobs = vec![job.clone()];
    let executions = vec![job.execution_ref()];
    let dispatch = Message::JobDispatch { jobs, heartbeat_seq: None };
    coordinator.send_all(vec![dispatch, Message::JobCancel { executions }]).await;
    let outcome = coordinator.outcome(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::Cancelled), "{outcome:?}");
    assert_eq!(outcome.started_at, None);
}

#[tokio::test]
async fn a_job_cancelled_before_its_dispatch_never_starts() {
    let coordinator = Setup { slots: 1, ..Setup::default() }.start().await;
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("ran");
    let job = script(&format!("touch {}", file.display()));
    coordinator.cancel(&job).await;
    let outcome = coordinator.outcome(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::Cancelled), "{outcome:?}");
    assert_eq!(outcome.started_at, None);

    coordinator.dispatch(&job).await;
    // One slot: if the first had started, this one would come after it.
    coordinator.run(&script("true")).await;
    assert!(!file.exists());
    assert!(!started_in(&coordinator.seen(), job.execution));
    assert_eq!(outcomes_in(&coordinator.seen(), job.execution).len(), 1);
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_without_a_start() {
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
async fn a_refused_execution_never_starts() {
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
async fn an_attempt_that_is_no_longer_current_is_killed_at_once_and_not_reported() {
    let coordinator = Setup { kill_grace: Duration::from_secs(60), slots: 1, ..Setup::default() };
    let coordinator = coordinator.start().await;
    let job = script("trap '' TERM; echo $$; while :; do sleep 0.02; done");
    coordinator.dispatch(&job).await;
    let pids = coordinator.pids(&job).await;
    assert!(!is_gone(pids[0]));
    coordinator.gateway.answer(no_longer_current(&job));
    // The only slot is free again once it has ended.
    coordinator.run(&script("true")).await;
    all_end(&pids);
    assert!(outcomes_in(&coordinator.seen(), job.execution).is_empty());
}

#[tokio::test]
async fn deadlines_and_reported_times_are_in_the_servers_time() {
    let offset = Duration::from_secs(3_600);
    let server = now().saturating_add(offset);
    let usual = HeartbeatAnswer { now: server, ..HeartbeatAnswer::default() };
    let setup = Setup { usual, ..Setup::default() };
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

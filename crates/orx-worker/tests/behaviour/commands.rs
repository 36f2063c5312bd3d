//! The environment of a command, and the outcome of one that cannot start.

use orx_model::log::Stream;
use orx_model::{OutcomeKind, ProcessExit};
use serde_json::json;

use crate::coordinator::{Setup, command, job, script};

fn retryable(kind: &OutcomeKind) -> Option<bool> {
    match kind {
        OutcomeKind::Failed { retryable, .. } => Some(*retryable),
        _ => None,
    }
}

#[tokio::test]
async fn a_handler_reads_its_args_on_standard_input() {
    let setup = Setup::default()
        .handler("echo", json!({"cmd": ["cat"]}))
        .handler("deaf", json!({"cmd": ["true"]}))
        .handler("without", json!({"cmd": ["wc", "-c"], "stdin": "none"}));
    let coordinator = setup.start().await;
    // More than a pipe holds, both ways at once.
    let args = json!({"a": ["ü", "\u{0}"], "long": "x".repeat(200_000)});

    let echo = job("echo", args.clone());
    coordinator.run(&echo).await;
    assert_eq!(coordinator.text(&echo, Stream::Out), echo.args.get());

    let deaf = job("deaf", args.clone());
    let outcome = coordinator.run(&deaf).await;
    assert!(matches!(outcome.kind, OutcomeKind::Succeeded { .. }), "{outcome:?}");

    let without = job("without", args);
    coordinator.run(&without).await;
    assert_eq!(coordinator.text(&without, Stream::Out).trim(), "0");
}

#[tokio::test]
async fn a_given_command_reads_its_own_standard_input_in_its_own_directory() {
    let coordinator = Setup::default().start().await;
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path().canonicalize().expect("a path");
    let mut job = script("pwd; cat");
    if let Some(command) = &mut job.command {
        command.cwd = Some(place.to_str().expect("a plain path").to_owned());
        command.stdin = Some("AP/+aGk=".to_owned());
    }
    coordinator.run(&job).await;
    let out = crate::coordinator::bytes(&coordinator.chunks(&job), Stream::Out);
    assert_eq!(out, [place.to_str().expect("plain").as_bytes(), b"\n\0\xff\xfehi"].concat());
}

#[tokio::test]
async fn an_attempt_finds_its_ids_and_nothing_of_the_workers_own_environment() {
    let setup = Setup::default().handler("env", json!({"cmd": ["env"], "env": {"MINE": "1"}}));
    let coordinator = setup.start().await;
    let mut job = job("env", json!({}));
    job.correlation_id = Some("c-1".to_owned());
    coordinator.run(&job).await;
    let text = coordinator.text(&job, Stream::Out);
    let lines: Vec<&str> = text.lines().collect();
    for line in [
        format!("ORX_JOB_ID={}", job.job),
        "ORX_JOB_NAME=env".to_owned(),
        "ORX_QUEUE=default".to_owned(),
        "ORX_ATTEMPT=2".to_owned(),
        "ORX_RETRY=1".to_owned(),
        format!("ORX_EXECUTION_ID={}", job.execution),
        format!("ORX_WORKER_ID={}", coordinator.incarnation),
        "ORX_CORRELATION_ID=c-1".to_owned(),
        "MINE=1".to_owned(),
    ] {
        assert!(lines.contains(&line.as_str()), "{line} is not in {text}");
    }
    assert!(!text.contains("CARGO"), "{text}");
}

#[tokio::test]
async fn args_never_reach_a_shell() {
    let setup = Setup::default().handler("say", json!({"cmd": ["echo", "{args.text}"]}));
    let coordinator = setup.start().await;
    let job = job("say", json!({"text": "$(id); `id` | cat > /tmp/x"}));
    coordinator.run(&job).await;
    assert_eq!(coordinator.text(&job, Stream::Out), "$(id); `id` | cat > /tmp/x\n");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_127_and_one_that_cannot_run_is_126() {
    let coordinator = Setup::default().start().await;
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("plain");
    std::fs::write(&file, "no program").expect("a file");
    let file = file.to_str().expect("a plain path");

    let outcome = coordinator.run(&command(&["orx-no-such-program"])).await;
    assert_eq!(outcome.exit, Some(ProcessExit::Code(127)), "{outcome:?}");
    assert_eq!(retryable(&outcome.kind), Some(false));
    assert_eq!(outcome.started_at, None);
    assert!(outcome.error.expect("an error").contains("orx-no-such-program"));

    let outcome = coordinator.run(&command(&[file])).await;
    assert_eq!(outcome.exit, Some(ProcessExit::Code(126)), "{outcome:?}");

    let mut job = script("true");
    if let Some(command) = &mut job.command {
        command.cwd = Some("/orx/no/such/place".to_owned());
    }
    let outcome = coordinator.run(&job).await;
    assert_eq!(outcome.exit, Some(ProcessExit::Code(126)), "{outcome:?}");
    assert!(outcome.error.expect("an error").contains("/orx/no/such/place"));
}

#[tokio::test]
async fn exit_codes_decide_whether_to_retry() {
    let setup = Setup::default().handler(
        "exit",
        json!({"cmd": ["sh", "-c", "exit $0", "{args.code}"], "no_retry_codes": [3, 75]}),
    );
    let coordinator = setup.start().await;
    // 75 asks for a retry, even if no other code does.
    for (code, again) in [(1, true), (3, false), (75, true)] {
        let outcome = coordinator.run(&job("exit", json!({"code": code}))).await;
        assert_eq!(outcome.exit, Some(ProcessExit::Code(code)));
        assert_eq!(retryable(&outcome.kind), Some(again), "exit {code}");
    }
}

#[tokio::test]
async fn the_error_of_a_failure_contains_the_last_line_of_standard_error() {
    let coordinator = Setup::default().start().await;
    let job = script("echo first >&2; echo 'no such table' >&2; echo >&2; exit 4");
    let outcome = coordinator.run(&job).await;
    assert_eq!(outcome.error.as_deref(), Some("exit 4: no such table"));
    let outcome = coordinator.run(&script("kill -SEGV $$")).await;
    assert_eq!(outcome.exit, Some(ProcessExit::Signal(11)));
    assert_eq!(outcome.error.as_deref(), Some("signal 11 (SIGSEGV)"));
}

#[tokio::test]
async fn a_worker_that_does_not_accept_commands_runs_none() {
    let coordinator = Setup { commands: false, ..Setup::default() }.start().await;
    let outcome = coordinator.run(&script("true")).await;
    assert_eq!(retryable(&outcome.kind), Some(false), "{outcome:?}");
    assert_eq!(outcome.started_at, None);
    let outcome = coordinator.run(&job("not.configured", json!({}))).await;
    assert!(retryable(&outcome.kind).is_some(), "{outcome:?}");
}

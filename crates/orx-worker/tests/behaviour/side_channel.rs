//! What a running command sends beside its output.

use orx_model::job::Progress;
use orx_model::log::{Level, LogLine, Stream};
use orx_model::message::{Dispatch, Message};
use orx_model::{OutcomeKind, ProcessExit};
use orx_worker::ctx::CtxRequest;
use serde_json::json;

use crate::coordinator::{Coordinator, Setup, script};
use crate::processes::client;

fn answers(coordinator: &Coordinator, job: &Dispatch) -> Vec<String> {
    let out = coordinator.text(job, Stream::Out);
    out.lines().filter_map(|line| line.split_once("answer: ")).map(|(_, a)| a.to_owned()).collect()
}

#[tokio::test]
async fn a_command_sends_progress_log_lines_and_its_result() {
    let coordinator = Setup::default().start().await;
    let result = json!({"rows": 3, "text": "ü\u{0}"});
    let requests = [
        CtxRequest::Progress { percent: 12.5, text: Some("reading".to_owned()) },
        CtxRequest::Log { level: Level::Warn, message: "two\nlines".to_owned() },
        CtxRequest::Result { value: json!("an earlier one") },
        CtxRequest::Result { value: result.clone() },
    ];
    let job = client(&requests, 0);
    let outcome = coordinator.run(&job).await;

    assert_eq!(answers(&coordinator, &job), ["taken"; 4]);
    let OutcomeKind::Succeeded { result: Some(sent) } = outcome.kind else {
        panic!("{outcome:?}");
    };
    assert_eq!(serde_json::from_str::<serde_json::Value>(sent.get()).expect("JSON"), result);

    let log = coordinator.text(&job, Stream::Log);
    let line: LogLine = serde_json::from_str(&log).expect("one line");
    assert_eq!((line.level, line.message.as_str()), (Level::Warn, "two\nlines"));

    let sent = coordinator.seen().into_iter().find_map(|message| match message {
        Message::JobProgress { progress } => progress.into_iter().next(),
        _ => None,
    });
    let sent = sent.expect("progress");
    assert_eq!(sent.execution, job.execution);
    assert_eq!(sent.progress, Progress { percent: 12.5, text: Some("reading".to_owned()) });
}

#[tokio::test]
async fn a_snooze_counts_however_the_command_exits() {
    let coordinator = Setup::default().start().await;
    for exit in [0, 1] {
        let job = client(&[CtxRequest::Snooze { for_ms: 90_000 }], exit);
        let outcome = coordinator.run(&job).await;
        assert!(matches!(outcome.kind, OutcomeKind::Snoozed { for_ms: 90_000 }), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_requested_failure_counts_however_the_command_exits() {
    let coordinator = Setup::default().start().await;
    for (exit, retry) in [(0, false), (0, true), (1, false)] {
        let fail = CtxRequest::Fail { message: "no such customer".to_owned(), retry };
        let outcome = coordinator.run(&client(&[fail], exit)).await;
        assert!(
            matches!(outcome.kind, OutcomeKind::Failed { retryable, .. } if retryable == retry),
            "{outcome:?}"
        );
        assert_eq!(outcome.exit, Some(ProcessExit::Code(exit)));
        let error = outcome.error.expect("an error");
        assert!(error.starts_with("no such customer"), "{error}");
    }
}

#[tokio::test]
async fn a_result_of_a_failed_attempt_is_not_kept() {
    let coordinator = Setup::default().start().await;
    let outcome = coordinator.run(&client(&[CtxRequest::Result { value: json!(1) }], 5)).await;
    assert!(matches!(outcome.kind, OutcomeKind::Failed { retryable: true, .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_request_out_of_bounds_is_refused_with_its_reason() {
    let coordinator = Setup::default().start().await;
    let requests = [
        CtxRequest::Progress { percent: 101.0, text: None },
        CtxRequest::Snooze { for_ms: u64::MAX },
    ];
    let job = client(&requests, 0);
    let outcome = coordinator.run(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::Succeeded { result: None }), "{outcome:?}");
    assert_eq!(
        answers(&coordinator, &job),
        [
            "the worker refused: percent must be 0 to 100, found 101",
            "the worker refused: a snooze is at most ten years",
        ]
    );
}

#[tokio::test]
async fn a_wrong_secret_reaches_no_attempt() {
    let coordinator = Setup::default().start().await;
    let mut job = client(&[CtxRequest::Result { value: json!("forged") }], 0);
    if let Some(command) = &mut job.command {
        let own = std::mem::take(&mut command.argv);
        let wrong = r#"ORX_CTX="${ORX_CTX%:*}:00000000000000000000000000000000" exec "$@""#;
        command.argv =
            ["sh", "-c", wrong, "sh"].map(str::to_owned).into_iter().chain(own).collect();
    }
    let outcome = coordinator.run(&job).await;
    assert!(matches!(outcome.kind, OutcomeKind::Succeeded { result: None }), "{outcome:?}");
    assert_eq!(
        answers(&coordinator, &job),
        ["the worker refused: no such attempt, or it has ended"]
    );
}

#[tokio::test]
async fn two_attempts_have_two_secrets() {
    let coordinator = Setup::default().start().await;
    let (one, two) = (
        client(&[CtxRequest::Result { value: json!("one") }], 0),
        client(&[CtxRequest::Result { value: json!("two") }], 0),
    );
    coordinator.dispatch(&one).await;
    coordinator.dispatch(&two).await;
    for (job, expected) in [(&one, "\"one\""), (&two, "\"two\"")] {
        let outcome = coordinator.outcome(job).await;
        let OutcomeKind::Succeeded { result: Some(result) } = outcome.kind else {
            panic!("{outcome:?}");
        };
        assert_eq!(result.get(), expected);
    }
}

/// Sends a request with a valid secret and prints the answer.
const STRANGER: &str = "
import os, socket, sys
name, secret = sys.argv[1].rsplit(':', 1)
os.setgroups([]), os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[2]))
channel = socket.socket(socket.AF_UNIX)
channel.connect('\\0' + name)
try:
    channel.sendall(('{\"secret\":\"%s\",\"op\":\"result\",\"value\":1}\\n' % secret).encode())
except OSError:
    pass
print(channel.recv(1000).decode())
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_of_the_machine_reaches_no_attempt_even_with_the_secret() {
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(own, 0, "nobody but root may be another user");
    let coordinator = Setup::default().start().await;
    let job = script("echo \"$ORX_CTX\"; read -r line < \"$0\"");
    let place = tempfile::tempdir().expect("a directory");
    let fifo = place.path().join("go");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let job = with_word(job, &fifo);
    coordinator.dispatch(&job).await;
    let ctx = coordinator.first_line(&job).await.remove(0);
    let answer = |user: u32| {
        let output = std::process::Command::new("python3")
            .args(["-c", STRANGER, &ctx, &user.to_string()])
            .output()
            .expect("python3 runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let refused = answer(65_534);
    assert!(refused.contains("only processes of user 0"), "{refused}");
    assert_eq!(answer(own).trim(), r#"{"ok":true}"#);
    std::fs::write(&fifo, "go\n").expect("written");
    coordinator.outcome(&job).await;
}

fn with_word(mut job: Dispatch, word: &std::path::Path) -> Dispatch {
    let command = job.command.as_mut().expect("a command");
    command.argv.push(word.display().to_string());
    job
}

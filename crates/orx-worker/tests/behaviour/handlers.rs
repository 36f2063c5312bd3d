//! Job types in Rust.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orx_model::OutcomeKind;
use orx_model::job::Json;
use orx_model::log::{Level, LogLine, Stream};
use orx_worker::{Handler, HandlerError, Handlers, JobContext};
use serde_json::json;

use crate::coordinator::{Coordinator, Logs, Setup, job, name};

/// Does what its args name.
struct Obedient;

#[async_trait]
impl Handler for Obedient {
    async fn run(&self, context: JobContext, args: &Json) -> Result<Option<Json>, HandlerError> {
        match args.get() {
            r#""panic""# => panic!("on purpose"),
            r#""give up""# => Err(HandlerError::no_retry("useless")),
            r#""wait""# => {
                context.log(Level::Info, "waiting").await;
                context.cancelled().await;
                Err(HandlerError::retry("was asked to end"))
            }
            r#""end well""# => {
                context.cancelled().await;
                Ok(Some(Arc::clone(args)))
            }
            r#""give up when asked""# => {
                context.cancelled().await;
                Err(HandlerError::no_retry("useless"))
            }
            r#""hang""# => std::future::pending().await,
            _ => Ok(Some(Arc::clone(args))),
        }
    }
}

async fn start() -> Coordinator {
    let handler: Arc<dyn Handler> = Arc::new(Obedient);
    let rust_handlers = Handlers::from([(name("obey"), handler)]);
    let kill_grace = Duration::from_millis(200);
    Setup { rust_handlers, kill_grace, ..Setup::default() }.start().await
}

#[tokio::test]
async fn a_value_is_the_result_and_an_error_decides_whether_to_retry() {
    let coordinator = start().await;
    let outcome = coordinator.run(&job("obey", json!({"a": 1}))).await;
    let OutcomeKind::Succeeded { result: Some(result) } = outcome.kind else {
        panic!("{outcome:?}");
    };
    assert_eq!(result.get(), r#"{"a":1}"#);
    let outcome = coordinator.run(&job("obey", json!("give up"))).await;
    assert!(matches!(outcome.kind, OutcomeKind::Failed { retryable: false, .. }), "{outcome:?}");
    assert_eq!(outcome.error.as_deref(), Some("useless"));
}

#[tokio::test]
async fn a_panic_fails_the_attempt_and_not_the_worker() {
    let coordinator = start().await;
    let outcome = coordinator.run(&job("obey", json!("panic"))).await;
    assert!(matches!(outcome.kind, OutcomeKind::Failed { retryable: true, .. }), "{outcome:?}");
    assert_eq!(outcome.error.as_deref(), Some("the handler panicked"));
    let outcome = coordinator.run(&job("obey", json!(1))).await;
    assert!(matches!(outcome.kind, OutcomeKind::Succeeded { .. }), "{outcome:?}");
}

/// Panics at once, or does nothing.
struct Hasty;

#[async_trait]
impl Handler for Hasty {
    async fn run(&self, _: JobContext, args: &Json) -> Result<Option<Json>, HandlerError> {
        assert_ne!(args.get(), r#""panic""#, "on purpose");
        Ok(None)
    }

    fn is_instant(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_panic_of_an_instant_handler_fails_its_attempt_and_not_the_worker() {
    let handler: Arc<dyn Handler> = Arc::new(Hasty);
    let rust_handlers = Handlers::from([(name("hasty"), handler)]);
    let coordinator = Setup { rust_handlers, ..Setup::default() }.start().await;
    let outcome = coordinator.run(&job("hasty", json!("panic"))).await;
    assert!(matches!(outcome.kind, OutcomeKind::Failed { retryable: true, .. }), "{outcome:?}");
    assert_eq!(outcome.error.as_deref(), Some("the handler panicked"));
    let outcome = coordinator.run(&job("hasty", json!(1))).await;
    assert!(matches!(outcome.kind, OutcomeKind::Succeeded { .. }), "{outcome:?}");
}

#[tokio::test]
async fn an_attempt_whose_task_panics_fails_and_frees_its_slot() {
    let setup = Setup { logs: Logs::Broken, slots: 1, ..Setup::default() };
    let hello = json!({"cmd": ["echo", "hello"]});
    let quiet = json!({"cmd": ["true"]});
    let coordinator = setup.handler("hello", hello).handler("quiet", quiet).start().await;
    let outcome = coordinator.run(&job("hello", json!({}))).await;
    assert!(matches!(outcome.kind, OutcomeKind::Failed { retryable: true, .. }), "{outcome:?}");
    assert_eq!(outcome.error.as_deref(), Some("the worker panicked while it ran this attempt"));
    let outcome = coordinator.run(&job("quiet", json!({}))).await;
    assert!(matches!(outcome.kind, OutcomeKind::Succeeded { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_handler_learns_of_a_cancel_and_is_dropped_if_it_ignores_it() {
    let coordinator = start().await;
    for what in WHEN_ASKED {
        let job = job("obey", json!(what));
        coordinator.dispatch(&job).await;
        coordinator.started(&job).await;
        coordinator.cancel(&job).await;
        let outcome = coordinator.outcome(&job).await;
        assert!(matches!(outcome.kind, OutcomeKind::Cancelled), "{what}: {outcome:?}");
        assert_eq!(outcome.error.as_deref(), Some("cancelled"));
        if what == "wait" {
            let line = coordinator.text(&job, Stream::Log);
            let line: LogLine = serde_json::from_str(&line).expect("one line");
            assert_eq!(line.message, "waiting");
        }
    }
}

const WHEN_ASKED: [&str; 4] = ["wait", "end well", "give up when asked", "hang"];

#[tokio::test]
async fn a_timeout_decides_the_outcome_whatever_a_handler_does_then() {
    let coordinator = start().await;
    for what in WHEN_ASKED {
        let mut job = job("obey", json!(what));
        job.timeout_ms = Some(50);
        let outcome = coordinator.run(&job).await;
        assert!(matches!(outcome.kind, OutcomeKind::TimedOut), "{what}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_stop_of_the_worker_decides_the_outcome_whatever_a_handler_does_then() {
    let mut coordinator = start().await;
    let jobs = WHEN_ASKED.map(|what| job("obey", json!(what)));
    for job in &jobs {
        coordinator.dispatch(job).await;
        coordinator.started(job).await;
    }
    coordinator.stop(Duration::ZERO).await;
    for job in &jobs {
        let outcome = coordinator.outcome(job).await;
        assert!(matches!(outcome.kind, OutcomeKind::Interrupted), "{outcome:?}");
    }
}

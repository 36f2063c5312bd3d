//! A full transport, or an inbox that cannot be read, delays no timeout, no cancel, no
//! heartbeat, no stop of the worker and no interruption of attempts that must not overlap.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use orx_model::JobId;
use orx_model::job::Json;
use orx_model::message::{Dispatch, HeartbeatAnswer, Message};
use orx_worker::ctx::CtxRequest;
use orx_worker::{Handler, HandlerError, Handlers, JobContext};
use serde_json::json;
use tokio::sync::Notify;

use crate::coordinator::{Logs, Setup, job, name, script};
use crate::processes::{all_end, client, eventually};

fn full() -> Setup {
    Setup { logs: Logs::NothingAccepted, ..Setup::default() }
}

/// A program that reports its progress and prints for ever, and the file that has its process id.
fn chatty(place: &Path) -> (Dispatch, PathBuf) {
    let file = place.join("pid");
    let mut job = client(&[CtxRequest::Progress { percent: 5.0, text: None }], 0);
    if let Some(command) = &mut job.command {
        let own = std::mem::take(&mut command.argv);
        let text = format!(
            "echo $$ > {0}.new; mv {0}.new {0}; \"$@\"; while :; do echo more; done",
            file.display()
        );
        command.argv =
            ["sh", "-c", &text, "sh"].map(str::to_owned).into_iter().chain(own).collect();
    }
    (job, file)
}

fn pid(file: &Path) -> u32 {
    let read = || std::fs::read_to_string(file).ok()?.trim().parse().ok();
    eventually("its start", || read().is_some());
    read().expect("found a moment ago")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_takes_effect() {
    let coordinator = full().start().await;
    let place = tempfile::tempdir().expect("a directory");
    let (mut job, file) = chatty(place.path());
    job.timeout_ms = Some(1_000);
    coordinator.dispatch(&job).await;
    all_end(&[pid(&file)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_takes_effect() {
    let coordinator = full().start().await;
    let place = tempfile::tempdir().expect("a directory");
    let (job, file) = chatty(place.path());
    coordinator.dispatch(&job).await;
    let pid = pid(&file);
    coordinator.progress_offered().await;
    coordinator.cancel(&job).await;
    all_end(&[pid]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_of_the_worker_takes_effect() {
    let mut coordinator = full().start().await;
    let place = tempfile::tempdir().expect("a directory");
    let (job, file) = chatty(place.path());
    coordinator.dispatch(&job).await;
    let pid = pid(&file);
    coordinator.progress_offered().await;
    let worker = coordinator.worker.take().expect("a worker");
    let stopping = tokio::spawn(worker.stop(Duration::ZERO));
    all_end(&[pid]);
    stopping.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_must_not_overlap_are_stopped_out_of_contact() {
    let usual = HeartbeatAnswer { lease_ms: 3_000, ..HeartbeatAnswer::default() };
    let place = tempfile::tempdir().expect("a directory");
    let (chatty, file) = chatty(place.path());
    let command = chatty.command.expect("a command");
    let alone = json!({ "cmd": command.argv, "env": command.env, "when_unreachable": "stop" });
    let setup = Setup { usual, ..full() }.handler("alone", alone);
    let coordinator = setup.start().await;
    coordinator.dispatch(&job("alone", json!({}))).await;
    let pid = pid(&file);
    coordinator.progress_offered().await;
    coordinator.gateway.unreachable.store(true, Ordering::Release);
    all_end(&[pid]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_go_on() {
    let coordinator = full().start().await;
    let place = tempfile::tempdir().expect("a directory");
    let (job, file) = chatty(place.path());
    coordinator.dispatch(&job).await;
    let pid = pid(&file);
    coordinator.progress_offered().await;
    coordinator.gateway.beats(10).await;
    coordinator.cancel(&job).await;
    all_end(&[pid]);
}

/// Reports its progress, and what is asked of it.
struct Reports(Arc<Notify>);

#[async_trait]
impl Handler for Reports {
    async fn run(&self, context: JobContext, _: &Json) -> Result<Option<Json>, HandlerError> {
        context.progress(5.0, None).await;
        context.cancelled().await;
        self.0.notify_one();
        Ok(None)
    }
}

#[tokio::test]
async fn a_timeout_of_a_rust_handler_takes_effect() {
    let asked = Arc::new(Notify::new());
    let handler: Arc<dyn Handler> = Arc::new(Reports(Arc::clone(&asked)));
    let rust_handlers = Handlers::from([(name("reports"), handler)]);
    let coordinator = Setup { rust_handlers, ..full() }.start().await;
    let mut job = job("reports", json!({}));
    job.timeout_ms = Some(100);
    coordinator.dispatch(&job).await;
    tokio::time::timeout(Duration::from_secs(30), asked.notified()).await.expect("asked to end");
}

/// Counts its runs.
struct Counts(AtomicU64);

#[async_trait]
impl Handler for Counts {
    async fn run(&self, _: JobContext, _: &Json) -> Result<Option<Json>, HandlerError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(None)
    }

    fn is_instant(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_waits_for_no_outcome_of_other_jobs() {
    let counts = Arc::new(Counts(AtomicU64::new(0)));
    let handler: Arc<dyn Handler> = Arc::clone(&counts) as Arc<dyn Handler>;
    let rust_handlers = Handlers::from([(name("counts"), handler)]);
    let coordinator = Setup { slots: 100, rust_handlers, ..full() }.start().await;
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("pid");
    let text = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", file.display());
    let long = script(&text);
    coordinator.dispatch(&long).await;
    let pid = pid(&file);
    // One job a shard.
    let jobs = (0..64).map(|shard| Dispatch { job: JobId(shard), ..job("counts", json!({})) });
    coordinator.send(Message::JobDispatch { jobs: jobs.collect(), heartbeat_seq: None }).await;
    eventually("their end", || counts.0.load(Ordering::Relaxed) == 64);
    let begin = Instant::now();
    coordinator.cancel(&long).await;
    all_end(&[pid]);
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_cannot_read_its_inbox_stops_when_asked() {
    let mut coordinator = Setup::default().start().await;
    let job = script("echo $$; exec sleep 1000");
    coordinator.dispatch(&job).await;
    let pids = coordinator.pids(&job).await;
    let _reader = coordinator.take_inbox().await;
    let worker = coordinator.worker.take().expect("a worker");
    let stopping = tokio::spawn(worker.stop(Duration::ZERO));
    all_end(&pids);
    stopping.abort();
}

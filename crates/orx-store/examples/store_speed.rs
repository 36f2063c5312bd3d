//! Measures a store on this machine and prints the figures.
//!
//! `cargo run --release --example store_speed [FOLDER | postgres://…]`: a folder selects the disk for SQLite,
//! a URL an empty database.
#![expect(clippy::print_stdout, reason = "an example that prints figures")]

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orx_model::job::Labels;
use orx_model::log::{LogChunk, Stream};
use orx_model::{
    Capabilities, ExecutionId, Incarnation, JobSpec, JobStatus, Name, Outcome, OutcomeKind,
    Timestamp,
};
use orx_store::{
    ClaimRequest, Claimed, Lead, LeadRequest, ListRequest, Postgres, PostgresOptions, Sqlite,
    SqliteOptions, Store, Term,
};

type Failed = Box<dyn Error + Send + Sync>;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const BATCH: usize = 100;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let folder = match wanted.as_str() {
        url if url.starts_with("postgres") => tempfile::tempdir()?,
        "" => tempfile::tempdir()?,
        folder => tempfile::tempdir_in(folder)?,
    };
    let store = open(&wanted, folder.path()).await?;

    for callers in [1, 8, 64] {
        let (rate, worst) = enqueue_singly(&store, callers, 20_000).await?;
        println!("enqueue, {callers} callers: {rate:.0}/s, slowest {worst:.1?}");
    }
    println!("enqueue, batches of 1000: {:.0}/s", enqueue_bulk(&store, 200_000).await?);
    let jobs = 260_000;
    println!("claim and finish, batches of 100: {:.0}/s", drain(&store, jobs, 1).await?);

    enqueue_bulk(&store, 100_000).await?;
    println!("claim and finish, 4 workers at once: {:.0}/s", drain(&store, 100_000, 4).await?);

    enqueue_bulk(&store, 1_000_000).await?;
    println!("with 1,000,000 waiting: {:.0}/s", drain(&store, 100_000, 1).await?);
    println!("logs, 64 chunks of 200 bytes: {:.0} chunks/s", logs(&store).await?);
    let (rate, worst) = enqueue_singly(&store, 8, 100_000).await?;
    println!("enqueue, 8 callers, grown store: {rate:.0}/s, slowest {worst:.1?}");

    let started = Instant::now();
    let request = ListRequest {
        filter: orx_model::filter::Filter::default(),
        oldest_first: false,
        after: None,
        limit: 100,
    };
    store.list(request, NOW).await?;
    println!("list of 100: {:.2?}", started.elapsed());
    let started = Instant::now();
    let counts = store.queue_counts().await?;
    let pending: u64 = counts.iter().map(|(_, counts)| counts.of(JobStatus::Pending)).sum();
    println!("counts ({pending} pending): {:.2?}", started.elapsed());
    let started = Instant::now();
    store.close().await?;
    println!("close: {:.2?}", started.elapsed());
    let started = Instant::now();
    let store = open(&wanted, folder.path()).await?;
    println!("open: {:.2?}", started.elapsed());
    store.close().await?;
    Ok(())
}

async fn open(wanted: &str, folder: &Path) -> Result<Arc<dyn Store>, Failed> {
    if wanted.starts_with("postgres") {
        return Ok(Arc::new(Postgres::open(PostgresOptions::new(wanted), NOW).await?));
    }
    Ok(Arc::new(Sqlite::open(SqliteOptions::new(folder.join("orx.db")), NOW)?))
}

fn spec(name: &Name, queue: &Name) -> Result<JobSpec, Failed> {
    Ok(JobSpec {
        args: serde_json::from_str(r#"{"path":"/media/in/0001.mp4","width":1280}"#)?,
        timeout_ms: Some(3_600_000),
        ..JobSpec::new(name.clone(), queue.clone())
    })
}

async fn enqueue_singly(
    store: &Arc<dyn Store>,
    callers: usize,
    jobs: usize,
) -> Result<(f64, Duration), Failed> {
    let spec = spec(&"video.process".parse()?, &"media".parse()?)?;
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (store, spec) = (Arc::clone(store), spec.clone());
            tokio::spawn(async move {
                let mut worst = Duration::ZERO;
                for _ in 0..jobs / callers {
                    let called = Instant::now();
                    store.enqueue(vec![spec.clone().into()], NOW).await?;
                    worst = worst.max(called.elapsed());
                }
                Ok::<_, Failed>(worst)
            })
        })
        .collect();
    let mut worst = Duration::ZERO;
    for task in tasks {
        worst = worst.max(task.await??);
    }
    Ok((jobs as f64 / started.elapsed().as_secs_f64(), worst))
}

async fn enqueue_bulk(store: &Arc<dyn Store>, jobs: usize) -> Result<f64, Failed> {
    let spec = spec(&"video.process".parse()?, &"media".parse()?)?;
    let started = Instant::now();
    for _ in 0..jobs / 1_000 {
        store.enqueue(vec![spec.clone().into(); 1_000], NOW).await?;
    }
    Ok(jobs as f64 / started.elapsed().as_secs_f64())
}

async fn drain(store: &Arc<dyn Store>, jobs: usize, workers: usize) -> Result<f64, Failed> {
    let term = lead(store).await?;
    let started = Instant::now();
    let tasks: Vec<_> = (0..workers)
        .map(|worker| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let mut left = jobs / workers;
                while left > 0 {
                    let claimed = claim(&store, term, worker as u128 + 1, BATCH.min(left)).await?;
                    if claimed.is_empty() {
                        break;
                    }
                    left -= claimed.len();
                    let outcomes: Vec<Outcome> = claimed.iter().map(success).collect();
                    let draws = vec![0.5; outcomes.len()];
                    store.record_outcomes(outcomes, draws, NOW).await?;
                }
                Ok::<_, Failed>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(jobs as f64 / started.elapsed().as_secs_f64())
}

async fn lead(store: &Arc<dyn Store>) -> Result<Term, Failed> {
    let request = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(1 << 20), above: 0 };
    match store.lead(request, NOW).await? {
        Lead::Leading(term) | Lead::Following { leader: term, .. } => Ok(term),
        Lead::Barred => Err("this node drains".into()),
    }
}

async fn claim(
    store: &Arc<dyn Store>,
    term: Term,
    worker: u128,
    free_slots: usize,
) -> Result<Vec<Claimed>, Failed> {
    let executions = (0..free_slots).map(|_| ExecutionId::random(&mut rand::rng())).collect();
    let request = ClaimRequest {
        worker: Incarnation(worker),
        worker_name: "w1".parse()?,
        offer: Capabilities {
            queues: BTreeSet::new(),
            handlers: BTreeSet::from(["video.process".parse()?]),
            commands: false,
            labels: Labels::new(),
        },
        executions,
        prefetch: 0,
        held: 0,
    };
    Ok(store.claim_ready(vec![request], term, NOW).await?.claimed)
}

fn success(claimed: &Claimed) -> Outcome {
    Outcome {
        job: claimed.dispatch.job,
        execution: claimed.dispatch.execution,
        kind: OutcomeKind::Succeeded { result: None },
        started_at: Some(NOW),
        ended_at: NOW,
        error: None,
        exit: None,
    }
}

async fn logs(store: &Arc<dyn Store>) -> Result<f64, Failed> {
    let claimed = claim(store, lead(store).await?, 1, 64).await?;
    let started = Instant::now();
    let rounds = 200;
    for seq in 1..=rounds {
        let chunks = claimed.iter().map(|claimed| LogChunk {
            job: claimed.dispatch.job,
            attempt: claimed.dispatch.attempt,
            execution: claimed.dispatch.execution,
            seq,
            stream: Stream::Out,
            at: NOW,
            dropped_bytes: 0,
            bytes: vec![b'x'; 200],
        });
        store.append_logs(chunks.collect()).await?;
    }
    Ok((rounds as usize * claimed.len()) as f64 / started.elapsed().as_secs_f64())
}

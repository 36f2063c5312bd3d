//! How fast a running server is, beside the limits of its machine, taken in the same run.

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use orx_model::wire::{EnqueueRequest, ListQuery};
use orx_model::{JobId, JobStatus, Name};
use serde::Serialize;

use super::Session;
use crate::error::{CliError, Exit};
use crate::ui::{Cell, Column, Row};

/// Measure a running server with jobs that do nothing
///
/// Leaves its finished jobs in the queue `orx.bench`. Figures of the machine are taken in the same
/// run: synced writes of 4 KiB, HTTP requests over loopback, processes spawned.
#[derive(Debug, clap::Args)]
#[command(after_long_help = super::help::BENCH)]
pub(crate) struct Args {
    /// Jobs of each measurement
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    jobs: u32,
}

#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<Exit, CliError> {
    let jobs = args.jobs.clamp(100, 1_000_000);
    let mut figures = Vec::new();
    let mut add = |name: &str, value: f64, unit| {
        session.ui.note(&format!("{name}: {value:.1} {unit}"));
        figures.push(Figure { name: name.to_owned(), value, unit });
    };
    add("machine: synced writes of 4 KiB", synced_writes(session)?, "1/s");
    add("machine: processes spawned", spawned().await?, "1/s");
    add("loopback HTTP requests, 1 connection", requests(session, 1, jobs).await?, "1/s");
    add("loopback HTTP requests, 8 connections", requests(session, 8, jobs).await?, "1/s");
    add("durable enqueue, 1 connection", enqueue(session, 1, jobs).await?, "1/s");
    add("durable enqueue, 8 connections", enqueue(session, 8, jobs).await?, "1/s");
    add("drain of no-op jobs", drain(session, jobs * 4).await?, "1/s");
    let (start, seen) = latency(session).await?;
    add("idle latency, enqueue to start, median", start, "ms");
    add("idle latency, enqueue to outcome seen, median", seen, "ms");
    let columns: [Column; 3] = [("FIGURE", false), ("VALUE", false), ("UNIT", false)];
    let row = |figure: &Figure| -> Result<Row, CliError> {
        Ok(Row {
            json: serde_json::to_value(figure)?,
            id: figure.name.clone(),
            cells: vec![
                Cell::new(figure.name.clone()),
                Cell::new(format!("{:.1}", figure.value)),
                Cell::new(figure.unit),
            ],
        })
    };
    let rows: Result<Vec<Row>, CliError> = figures.iter().map(row).collect();
    session.ui.list(&columns, &rows?)?;
    Ok(Exit::Done)
}

fn noop(delay: Option<Duration>) -> EnqueueRequest {
    EnqueueRequest {
        name: Some(Name::from_any(orx_worker::handler::NOOP)),
        queue: Some(Name::from_any("orx.bench")),
        delay_ms: delay.map(|delay| delay.as_millis() as u64),
        ..EnqueueRequest::default()
    }
}

/// Beside the store, so on its disk.
fn synced_writes(session: &Session) -> Result<f64, CliError> {
    let path = session.state.file(&format!(".bench.{}", std::process::id()));
    let mut file = std::fs::File::create(&path)?;
    file.write_all(&vec![0; 1 << 20])?;
    file.sync_all()?;
    let page = [1_u8; 4096];
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < Duration::from_secs(1) {
        file.write_all_at(&page, u64::from(count % 256) * 4096)?;
        file.sync_data()?;
        count += 1;
    }
    let rate = f64::from(count) / began.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}

async fn spawned() -> Result<f64, CliError> {
    let began = Instant::now();
    let mut count = 0_u32;
    while began.elapsed() < Duration::from_secs(1) {
        let one = || tokio::process::Command::new("/bin/true").status();
        let eight = futures_util::future::join_all((0..8).map(|_| one())).await;
        for status in eight {
            status?;
            count += 1;
        }
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// `each` over so many connections, `count` times in all; calls a second.
async fn spread<F>(connections: u32, count: u32, each: impl Fn() -> F) -> Result<f64, CliError>
where
    F: Future<Output = Result<(), CliError>>,
{
    let began = Instant::now();
    let one = || async {
        for _ in 0..count / connections {
            each().await?;
        }
        Ok::<(), CliError>(())
    };
    for ended in futures_util::future::join_all((0..connections).map(|_| one())).await {
        ended?;
    }
    Ok(f64::from(count / connections * connections) / began.elapsed().as_secs_f64())
}

async fn requests(session: &Session, connections: u32, count: u32) -> Result<f64, CliError> {
    // The smallest answer that passes the token.
    let none = ListQuery {
        filter: Some("status:created".to_owned()),
        limit: Some(1),
        ..ListQuery::default()
    };
    spread(connections, count.min(5_000), || async {
        session.client.list(&none).await?;
        Ok(())
    })
    .await
}

async fn enqueue(session: &Session, connections: u32, count: u32) -> Result<f64, CliError> {
    // Due tomorrow: measured is what accepting costs. They are cancelled afterwards.
    let later = Some(Duration::from_secs(86_400));
    let ids = parking_lot::Mutex::new(Vec::new());
    let rate = spread(connections, count, || async {
        let answer = session.client.enqueue(noop(later)).await?;
        ids.lock().push(answer.id);
        Ok(())
    })
    .await?;
    let ids = ids.into_inner();
    let request = orx_model::wire::ChangeRequest { ids, ..Default::default() };
    for ids in request.ids.chunks(10_000) {
        let some = orx_model::wire::ChangeRequest { ids: ids.to_vec(), ..Default::default() };
        session.client.cancel(&some).await?;
    }
    Ok(rate)
}

/// Jobs that all become due at one moment, from there to the last outcome.
async fn drain(session: &Session, count: u32) -> Result<f64, CliError> {
    let mut last = JobId(0);
    let due = crate::clock::wall().saturating_add(Duration::from_secs(3));
    let mut left = count;
    while left > 0 {
        let some = left.min(1_000);
        let requests: Vec<EnqueueRequest> = (0..some)
            .map(|_| EnqueueRequest {
                run_at: Some(due),
                key: Some(orx_model::MessageId::random(&mut rand::rng()).to_string()),
                ..noop(None)
            })
            .collect();
        for line in session.client.enqueue_batch(&requests).await? {
            last = line.id.unwrap_or(last);
        }
        left -= some;
    }
    let began = crate::clock::wall();
    let start = if began > due { began } else { due };
    let mut newest = start;
    loop {
        let queue = session.client.queue("orx.bench").await?;
        let waiting = queue.counts.scheduled
            + queue.counts.pending
            + queue.counts.dispatched
            + queue.counts.running;
        if waiting == 0 {
            break;
        }
        // The counts are read seldom, so that reading them is not what is measured.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let job = session.client.wait(&last.to_string(), None, |_| {}).await?;
    newest = job.finished_at.map_or(newest, |at| at.max(newest));
    let took = newest.saturating_since(start).max(Duration::from_millis(1));
    Ok(f64::from(count) / took.as_secs_f64())
}

async fn latency(session: &Session) -> Result<(f64, f64), CliError> {
    let (mut starts, mut seen) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let began = Instant::now();
        let wall = crate::clock::wall();
        let answer = session.client.enqueue(noop(None)).await?;
        let job = session.client.wait(&answer.id.to_string(), None, |_| {}).await?;
        seen.push(began.elapsed().as_secs_f64() * 1_000.0);
        if job.status != JobStatus::Completed {
            let error = format!("a no-op job ended {}", job.status.words());
            return Err(CliError::new(Exit::Failed, "bench", error));
        }
        if let Some(started) = job.started_at {
            starts.push(started.saturating_since(wall).as_secs_f64() * 1_000.0);
        }
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    Ok((median(starts), median(seen)))
}

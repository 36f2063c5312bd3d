//! Measurements of the server, taken by a client.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use orx_model::job::Command;
use orx_model::wire::{ChangeRequest, EnqueueRequest, ListQuery, LogEvent, LogsQuery};
use orx_model::{JobId, JobStatus, Name, Timestamp};

use crate::commands::Session;
use crate::error::{CliError, Exit};

const QUEUE: &str = "orx.bench";
/// Number of jobs in one request.
const BULK: u32 = 1_000;
/// Delay of jobs that must not run, so that enqueueing alone is measured. They are cancelled
/// afterwards.
const LATER: Duration = Duration::from_secs(86_400);

fn noop(delay: Option<Duration>) -> EnqueueRequest {
    EnqueueRequest {
        name: Some(Name::from_any(orx_worker::handler::NOOP)),
        queue: Some(Name::from_any(QUEUE)),
        delay_ms: delay.map(|delay| delay.as_millis() as u64),
        ..EnqueueRequest::default()
    }
}

/// Calls `each` `count` times in all, over `connections` connections. Returns calls per second.
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

/// Calls per second that need no work of the server.
pub(super) async fn empty_calls(
    session: &Session,
    connections: u32,
    count: u32,
) -> Result<f64, CliError> {
    spread(connections, count, || async { Ok(session.client.reach().await?) }).await
}

/// Lists per second that return no row: the smallest answer of the store.
pub(super) async fn empty_lists(
    session: &Session,
    connections: u32,
    count: u32,
) -> Result<f64, CliError> {
    let none = ListQuery {
        filter: Some("status:created".to_owned()),
        limit: Some(1),
        ..ListQuery::default()
    };
    spread(connections, count, || async {
        session.client.list(&none).await?;
        Ok(())
    })
    .await
}

/// Jobs accepted per second, one in each request. The client gives each a key.
pub(super) async fn enqueue(
    session: &Session,
    connections: u32,
    count: u32,
) -> Result<f64, CliError> {
    let ids = parking_lot::Mutex::new(Vec::new());
    let rate = spread(connections, count, || async {
        let answer = session.client.enqueue(noop(Some(LATER))).await?;
        ids.lock().push(answer.id);
        Ok(())
    })
    .await?;
    cancel(session, ids.into_inner()).await?;
    Ok(rate)
}

/// Jobs accepted per second, [`BULK`] in each request, each with a key, over `connections` connections.
/// The time includes the serialisation of the requests.
pub(super) async fn bulk(session: &Session, connections: u32, count: u32) -> Result<f64, CliError> {
    let ids = parking_lot::Mutex::new(Vec::new());
    let requests = (count / BULK).max(connections);
    let rate = spread(connections, requests, || async {
        let one = || EnqueueRequest { key: Some(orx_client::new_key()), ..noop(Some(LATER)) };
        let jobs: Vec<EnqueueRequest> = (0..BULK).map(|_| one()).collect();
        let accepted = session.client.enqueue_batch(&jobs).await?;
        let accepted: Option<Vec<JobId>> = accepted.into_iter().map(|line| line.id).collect();
        ids.lock().extend(accepted.ok_or_else(|| failed("a job of a batch was not accepted"))?);
        Ok(())
    })
    .await?;
    cancel(session, ids.into_inner()).await?;
    Ok(rate * f64::from(BULK))
}

async fn cancel(session: &Session, ids: Vec<JobId>) -> Result<(), CliError> {
    for ids in ids.chunks(10_000) {
        let some = ChangeRequest { ids: ids.to_vec(), ..ChangeRequest::default() };
        session.client.cancel(&some).await?;
    }
    Ok(())
}

/// Jobs per second, from the first call of eight producers to the last outcome.
pub(super) async fn producers(session: &Session, count: u32) -> Result<f64, CliError> {
    let last = parking_lot::Mutex::new(JobId(0));
    let began = crate::clock::wall();
    spread(8, count, || async {
        let answer = session.client.enqueue(noop(None)).await?;
        let mut last = last.lock();
        *last = answer.id.max(*last);
        Ok(())
    })
    .await?;
    let ended = drained(session).await?;
    let job = session.client.wait(&last.into_inner().to_string(), None, |_| {}).await?;
    let ended = job.state.finished_at.map_or(ended, |at| at.max(began));
    Ok(per_second(count / 8 * 8, ended.saturating_since(began)))
}

/// Jobs per second, from the moment at which all of them become due to the last outcome.
pub(super) async fn drain(session: &Session, count: u32) -> Result<f64, CliError> {
    let mut last = JobId(0);
    // All of them are accepted by then.
    let due = crate::clock::wall().saturating_add(Duration::from_secs(3));
    let mut left = count;
    while left > 0 {
        let some = left.min(BULK);
        let one =
            || EnqueueRequest { run_at: Some(due), key: Some(orx_client::new_key()), ..noop(None) };
        let requests: Vec<EnqueueRequest> = (0..some).map(|_| one()).collect();
        for line in session.client.enqueue_batch(&requests).await? {
            last = line.id.unwrap_or(last);
        }
        left -= some;
    }
    let start = crate::clock::wall().max(due);
    let ended = drained(session).await?;
    let job = session.client.wait(&last.to_string(), None, |_| {}).await?;
    let ended = job.state.finished_at.map_or(ended, |at| at.max(start));
    Ok(per_second(count, ended.saturating_since(start)))
}

/// Waits until the queue has no unfinished job; returns the time at which that was seen.
async fn drained(session: &Session) -> Result<Timestamp, CliError> {
    loop {
        let counts = session.client.queue(QUEUE).await?.counts;
        if counts.scheduled + counts.pending + counts.dispatched + counts.running == 0 {
            return Ok(crate::clock::wall());
        }
        // Polled rarely, so that the polling itself does not slow the server.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn per_second(count: u32, took: Duration) -> f64 {
    f64::from(count) / took.max(Duration::from_millis(1)).as_secs_f64()
}

fn failed(detail: impl Into<String>) -> CliError {
    CliError::new(Exit::Failed, "bench", detail.into())
}

/// Time from the call to the start, and to the outcome seen, in milliseconds: medians over jobs that
/// run one after the other.
pub(super) async fn latency(session: &Session) -> Result<(f64, f64), CliError> {
    let (mut starts, mut seen) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let began = Instant::now();
        let wall = crate::clock::wall();
        let answer = session.client.enqueue(noop(None)).await?;
        let job = session.client.wait(&answer.id.to_string(), None, |_| {}).await?;
        seen.push(began.elapsed().as_secs_f64() * 1_000.0);
        if job.state.status != JobStatus::Completed {
            return Err(failed(format!("a no-op job ended {}", job.state.status.words())));
        }
        if let Some(started) = job.state.started_at {
            starts.push(started.saturating_since(wall).as_secs_f64() * 1_000.0);
        }
    }
    Ok((quantile(starts, 0.5), quantile(seen, 0.5)))
}

/// Time from the moment at which a job prints a line to its arrival at a follower, in milliseconds:
/// the 95th percentile over lines 20 to 40 ms apart. Each line contains the time at which the job
/// prints it.
pub(super) async fn log_lines(session: &Session) -> Result<f64, CliError> {
    const PRINT: &str = "i=0; while [ $i -lt 40 ]; do i=$((i + 1)); for pause in 20 33 27 40; do \
                         date +%s%N; sleep 0.0$pause; done; done";
    let command =
        Command { argv: ["sh", "-c", PRINT].map(str::to_owned).to_vec(), ..Command::default() };
    let request = EnqueueRequest { name: None, command: Some(command), ..noop(None) };
    let job = session.client.enqueue(request).await?.id.to_string();
    let (mut late, mut line): (Vec<f64>, Vec<u8>) = (Vec::new(), Vec::new());
    let see = |event: LogEvent| {
        let LogEvent::Chunk(part) = event else { return ControlFlow::Continue(()) };
        let now = crate::clock::since_1970();
        for byte in part.data {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let printed = std::mem::take(&mut line);
            if let Ok(at) = String::from_utf8_lossy(&printed).parse() {
                late.push(now.saturating_sub(Duration::from_nanos(at)).as_secs_f64() * 1_000.0);
            }
        }
        ControlFlow::Continue(())
    };
    let query = LogsQuery { follow: Some(true), ..LogsQuery::default() };
    session.client.follow(&job, query, see, |_| {}).await?;
    if late.is_empty() {
        return Err(failed("the command of the log printed nothing"));
    }
    Ok(quantile(late, 0.95))
}

fn quantile(mut all: Vec<f64>, share: f64) -> f64 {
    all.sort_by(f64::total_cmp);
    let place = (all.len() as f64 * share) as usize;
    all.get(place.min(all.len().saturating_sub(1))).copied().unwrap_or_default()
}

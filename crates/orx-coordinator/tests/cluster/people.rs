//! Requests of people and programs, made like those of the API, at a node that may be slow or die meanwhile.

use std::sync::Arc;
use std::time::Duration;

use orx_model::event::{Event, KnownEvent};
use orx_model::message::{ExecutionRef, Message, WorkerDirective};
use orx_model::schedule::{Overlap, ScheduleSpec, When};
use orx_model::wire::EnqueueRequest;
use orx_model::{
    Incarnation, JobId, JobSpec, JobStatus, Name, NewJob, OnLost, Priority, RetryPolicy, Timestamp,
};
use orx_schedule::Schedule;
use orx_store::{
    CancelAnswer, CancelCommand, Enqueued, Jobs, Position, RetryAnswer, SchedulePlan, Schedules,
    StoreError, Templates, Workers,
};
use orx_transport::{Channel, Transport};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::{sleep, timeout};

use crate::name;
use crate::node::Node;
use crate::store::done;
use crate::worker::{ALONE, ENDLESS, POISON, WORK};
use crate::world::World;

/// A request times out after this, with an unknown result.
const PATIENCE: Duration = Duration::from_secs(20);

/// Some attempts outlive the short timeout, and the leader has to time them out. None outlives the long one,
/// though it is longer than a leader waits beyond a timeout.
const TIMEOUT_MS: u64 = 20_000;
pub(crate) const LONG_TIMEOUT_MS: u64 = 90_000;

fn a_job(rng: &mut StdRng, at: Timestamp, key: String) -> NewJob {
    let after = |seconds: u64| at.saturating_add(Duration::from_secs(seconds));
    let kind = match rng.random_range(0..100) {
        0..4 => ENDLESS,
        4..7 => POISON,
        7..30 => ALONE,
        _ => WORK,
    };
    let queue = name(if rng.random_bool(0.5) { "a" } else { "b" });
    let priority = Priority::from_rank(rng.random_range(0..4)).unwrap_or_default();
    let run_at = rng.random_bool(0.2).then(|| after(rng.random_range(0..30)));
    let spec = JobSpec {
        priority,
        retry: retries(rng.random_range(0..3)),
        timeout_ms: match rng.random_range(0..20) {
            0..5 => Some(TIMEOUT_MS),
            5..8 if [WORK, ALONE].contains(&kind) => Some(LONG_TIMEOUT_MS),
            _ => None,
        },
        deadline: rng.random_bool(0.1).then(|| after(rng.random_range(1..90))),
        expires_at: rng.random_bool(0.1).then(|| after(rng.random_range(1..40))),
        on_lost: if rng.random_bool(0.2) { OnLost::Fail } else { OnLost::Retry },
        key: Some(key),
        ..JobSpec::new(name(kind), queue)
    };
    NewJob { run_at, ..spec.into() }
}

fn retries(retries: u32) -> RetryPolicy {
    RetryPolicy { retries, backoff_ms: 2_000, backoff_max_ms: 20_000, ..RetryPolicy::default() }
}

/// Enqueues a job, and repeats the request until its result is known.
pub(crate) fn enqueue(world: &Arc<World>, number: u32) {
    let at = world.wall();
    let job = world.draw(|rng| a_job(rng, at, format!("k{number}")));
    let world = Arc::clone(world);
    tokio::spawn(async move {
        let _open = world.request();
        let key = job.spec.key.clone().unwrap_or_default();
        let mut unknown = false;
        loop {
            let answer = match world.some_node() {
                Some(node) => enqueue_at(&world, &node, job.clone()).await,
                None => Err(StoreError::Busy),
            };
            match answer {
                Ok(id) => {
                    world.log(|| format!("accepted {id} {}", job.spec.name));
                    world.check(|watch, checker| {
                        checker.accepted.insert(id);
                        watch.enqueued(&key, Some(id))
                    });
                    // Some clients repeat an answered request.
                    if world.draw(|rng| rng.random_bool(0.9)) {
                        return;
                    }
                }
                Err(StoreError::Unknown) => unknown = true,
                Err(_) if !unknown && world.draw(|rng| rng.random_bool(0.5)) => {
                    world.log(|| format!("rejected {key}"));
                    return world.check(|watch, _| watch.enqueued(&key, None));
                }
                Err(_) => {}
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
}

async fn enqueue_at(
    world: &Arc<World>,
    node: &Arc<Node>,
    job: NewJob,
) -> Result<JobId, StoreError> {
    let due = [job.run_at, job.spec.expires_at, job.spec.deadline].into_iter().flatten().min();
    let (store, now) = (node.store(world), node.clock(world).wall);
    let answer = timeout(PATIENCE, store.enqueue(vec![job], now)).await;
    let answer = answer.unwrap_or(Err(StoreError::Unknown))?;
    match answer.first() {
        Some(Enqueued::New { id, status }) => {
            if let Some(due) = due {
                node.wakeups.due(due);
            }
            if *status == JobStatus::Pending {
                node.wakeups.work();
            }
            Ok(*id)
        }
        Some(Enqueued::Existing { id, .. } | Enqueued::KeyConflict { id, .. }) => Ok(*id),
        None => Err(StoreError::Unknown),
    }
}

/// Sends a request to a random node, once.
fn ask<F>(world: &Arc<World>, what: impl FnOnce(Arc<World>, Arc<Node>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(node) = world.some_node() else { return };
    let asked = what(Arc::clone(world), node);
    let world = Arc::clone(world);
    tokio::spawn(async move {
        let _open = world.request();
        // The caller does not repeat it.
        let _ = timeout(PATIENCE, asked).await;
    });
}

pub(crate) fn cancel(world: &Arc<World>, id: JobId, force: bool) {
    ask(world, |world, node| async move {
        let cancel = CancelCommand { id, reason: None, by: None, force, expected: None };
        let now = node.clock(&world).wall;
        let answers = node.store(&world).cancel(vec![cancel], now).await;
        world.log(|| format!("cancel {id}: {answers:?}"));
        let Some(answer) = answers.ok().and_then(|answers| answers.first().copied()) else {
            return;
        };
        let stop = match answer {
            CancelAnswer::Cancelled { stop } => {
                node.wakeups.work();
                stop
            }
            CancelAnswer::Cancelling { worker, execution, .. } => Some((worker, execution)),
            _ => None,
        };
        node.wakeups.feed().publish(vec![changed(id)]);
        // The node may end before it sends this; the answer to the worker's next heartbeat repeats it.
        let is_sent = world.draw(|rng| rng.random_bool(0.7));
        if let Some((worker, execution)) = stop.filter(|_| is_sent) {
            let executions = vec![ExecutionRef { job: id, execution }];
            send(&world, &node, worker, Message::JobCancel { executions }).await;
        }
    });
}

fn changed(job: JobId) -> Event {
    Event::new(Timestamp::default(), KnownEvent::JobChanged { job: job.into() })
}

async fn send(world: &Arc<World>, node: &Arc<Node>, worker: Incarnation, message: Message) {
    let envelope = world.envelope(node.id, message);
    // The answer to the worker's next heartbeat repeats it.
    let _ = node.transport(world).publish(Channel::Inbox(worker), vec![envelope]).await;
}

pub(crate) fn retry(world: &Arc<World>, id: JobId) {
    ask(world, |world, node| async move {
        let now = node.clock(&world).wall;
        if let Ok(answers) = node.store(&world).retry(vec![id], now).await {
            if answers.contains(&RetryAnswer::Retried) {
                world.log(|| format!("retry {id}"));
            }
            node.wakeups.work();
            node.wakeups.feed().publish(vec![changed(id)]);
        }
    });
}

pub(crate) fn order(world: &Arc<World>, worker: Incarnation, order: Option<WorkerDirective>) {
    if order == Some(WorkerDirective::Fence) {
        world.check(|watch, _| watch.fenced(worker));
    }
    ask(world, |world, node| async move {
        if node.store(&world).order_workers(vec![worker], order).await.is_ok() {
            world.log(|| format!("ordered of {}: {order:?}", worker.0));
            node.wakeups.workers();
            send(&world, &node, worker, Message::Heartbeat {}).await;
        }
    });
}

/// Adds a schedule directly to the store.
pub(crate) fn schedule(world: &World, number: u32) -> (Name, Duration) {
    let (every_ms, overlap) = world.draw(|rng| {
        let overlap = match rng.random_range(0..4) {
            0 => Overlap::Skip,
            1 => Overlap::Allow,
            2 => Overlap::QueueOne,
            _ => Overlap::CancelOld,
        };
        (rng.random_range(10..60) * 1_000, overlap)
    });
    let id = name(&format!("s{number}"));
    let job = EnqueueRequest { name: Some(name(WORK)), ..EnqueueRequest::default() };
    let timing = When::Interval { every_ms, offset_ms: 0 };
    let spec = ScheduleSpec { overlap, ..ScheduleSpec::new(id.clone(), timing, job) };
    let spec = Schedule::new(spec).expect("a schedule");
    let now = world.wall();
    let template = JobSpec {
        key: None,
        name: name(WORK),
        deadline: None,
        expires_at: None,
        retry: retries(1),
        ..world.draw(|rng| a_job(rng, now, String::new())).spec
    };
    let position = Position { handled: now, next: spec.timing().next_due(now) };
    let templates = Templates { job: template, on_missed: None, on_failure: None };
    let plan = SchedulePlan { spec, templates, paused: None, position, by: None };
    assert!(done(world.memory.add_schedule(plan, now)).expect("added"));
    (id, Duration::from_millis(every_ms))
}

//! Workers, the attempts that they run, and nodes.

use orx_model::wire::{NodeView, WorkerAttempt, WorkerView};
use orx_model::{Attempt, JobStatus};
use ratatui::style::Style;

use super::{Column, column, foreign, plain, running_time, status, styled};
use crate::look::Look;

/// The state of a worker in a word, with a sign.
pub(crate) fn worker_state(worker: &WorkerView, look: Look) -> (String, Style) {
    match (worker.live, worker.order) {
        (false, _) => (format!("{} silent", look.sign("✗", "X")), look.bad()),
        (true, Some(order)) => (format!("! {}", order_word(order)), look.warning()),
        (true, None) => {
            let running = worker.state == orx_model::message::WorkerState::Running;
            let style = if running { look.good() } else { look.warning() };
            let sign = if running { look.sign("✓", "+") } else { "!" };
            (format!("{sign} {}", worker.state.as_str()), style)
        }
    }
}

pub(super) fn order_word(order: orx_model::message::WorkerDirective) -> &'static str {
    match order {
        orx_model::message::WorkerDirective::Drain => "drained",
        orx_model::message::WorkerDirective::Fence => "fenced",
    }
}

fn names<'a>(all: impl IntoIterator<Item = &'a orx_model::Name>) -> String {
    all.into_iter().map(orx_model::Name::as_str).collect::<Vec<_>>().join(",")
}

/// The queues of a worker.
pub(crate) fn worker_queues(worker: &WorkerView) -> String {
    if worker.offer.queues.is_empty() { "all".to_owned() } else { names(&worker.offer.queues) }
}

/// What a worker can run.
pub(crate) fn worker_handlers(worker: &WorkerView) -> String {
    let handlers = names(&worker.offer.handlers);
    match (worker.offer.commands, handlers.is_empty()) {
        (true, true) => "commands".to_owned(),
        (true, false) => format!("commands,{handlers}"),
        (false, _) => handlers,
    }
}

/// The workers.
pub(crate) static WORKERS: &[Column<WorkerView>] = &[
    column("WORKER", 14, 1, |worker: &WorkerView, _| foreign(worker.name.as_str()))
        .grows(1)
        .by(|a, b| a.name.cmp(&b.name)),
    column("STATE", 11, 2, |worker: &WorkerView, context| {
        let (text, style) = worker_state(worker, context.look);
        styled(text, style)
    }),
    column("ACTIVE", 8, 3, |worker: &WorkerView, _| {
        plain(format!("{}/{}", worker.active, worker.slots))
    })
    .right()
    .by(|a, b| b.active.cmp(&a.active)),
    column("QUEUES", 10, 4, |worker: &WorkerView, _| foreign(&worker_queues(worker))).grows(1),
    column("SEEN", 6, 5, |worker: &WorkerView, context| plain(context.age(worker.seen_at)))
        .right()
        .by(|a, b| a.seen_at.cmp(&b.seen_at)),
    column("CPU", 5, 6, |worker: &WorkerView, _| {
        let share = worker.load.as_ref().map(|load| format!("{:.0}%", load.cpu * 100.0));
        plain(share.unwrap_or_else(|| "-".to_owned()))
    })
    .right()
    .by(|a, b| {
        let cpu = |worker: &WorkerView| worker.load.as_ref().map_or(-1.0, |load| load.cpu);
        cpu(b).total_cmp(&cpu(a))
    }),
    column("MEM", 5, 7, |worker: &WorkerView, _| {
        let share = worker.load.as_ref().filter(|load| load.memory_bytes > 0);
        let share = share.map(|load| load.memory_used_bytes as f64 / load.memory_bytes as f64);
        plain(share.map_or("-".to_owned(), |share| format!("{:.0}%", share * 100.0)))
    })
    .right(),
    column("UP", 7, 8, |worker: &WorkerView, context| plain(context.age(worker.started_at)))
        .right(),
    column("HANDLERS", 12, 9, |worker: &WorkerView, _| foreign(&worker_handlers(worker))).grows(2),
    column("VERSION", 8, 10, |worker: &WorkerView, _| foreign(&worker.version)),
    column("HOST", 12, 11, |worker: &WorkerView, _| foreign(&worker.host)),
    column("PID", 8, 12, |worker: &WorkerView, _| plain(worker.pid.to_string())),
];

/// The attempts that a worker holds.
pub(crate) static WORKER_ATTEMPTS: &[Column<WorkerAttempt>] = &[
    column("JOB", 8, 1, |attempt: &WorkerAttempt, _| {
        plain(format!("{}.{}", attempt.job, attempt.attempt))
    }),
    column("STATUS", 12, 2, |attempt: &WorkerAttempt, context| status(attempt.status, context)),
    column("NAME", 14, 3, |attempt: &WorkerAttempt, _| foreign(attempt.name.as_str())).grows(1),
    column("CLAIMED", 8, 5, |attempt: &WorkerAttempt, context| {
        plain(context.age(attempt.claimed_at))
    })
    .right(),
    column("STARTED", 8, 4, |attempt: &WorkerAttempt, context| {
        plain(attempt.started_at.map_or("-".to_owned(), |at| context.age(at)))
    })
    .right(),
    column("CANCEL", 10, 6, |attempt: &WorkerAttempt, _| {
        plain(if attempt.cancel_requested { "requested" } else { "" })
    }),
];

/// The attempts of a job.
pub(crate) static ATTEMPTS: &[Column<Attempt>] = &[
    column("TRY", 4, 1, |attempt: &Attempt, _| plain(attempt.number.to_string())).right(),
    column("ENDED AS", 12, 2, |attempt: &Attempt, context| {
        let as_job = match attempt.status {
            orx_model::AttemptStatus::Succeeded => JobStatus::Completed,
            orx_model::AttemptStatus::Failed | orx_model::AttemptStatus::Lost => JobStatus::Failed,
            orx_model::AttemptStatus::TimedOut => JobStatus::TimedOut,
            orx_model::AttemptStatus::Running => JobStatus::Running,
            orx_model::AttemptStatus::Dispatched => JobStatus::Dispatched,
            orx_model::AttemptStatus::Cancelled
            | orx_model::AttemptStatus::Interrupted
            | orx_model::AttemptStatus::Refused => JobStatus::Cancelled,
        };
        let (sign, style) = context.look.status(as_job);
        styled(format!("{sign} {}", attempt.status.as_str().replace('_', " ")), style)
    }),
    column("WORKER", 12, 5, |attempt: &Attempt, _| foreign(attempt.worker_name.as_str())),
    column("STARTED", 10, 4, |attempt: &Attempt, context| {
        plain(attempt.started_at.map_or("-".to_owned(), |at| context.age(at)))
    })
    .right(),
    column("TOOK", 7, 3, |attempt: &Attempt, context| {
        let end = attempt.ended_at.unwrap_or(context.now);
        let live = attempt.ended_at.is_none();
        let span = attempt.started_at.map(|start| running_time(end.saturating_since(start), live));
        plain(span.unwrap_or_else(|| "-".to_owned()))
    })
    .right(),
    column("EXIT", 9, 7, |attempt: &Attempt, _| {
        plain(attempt.exit.map(|exit| exit.to_string()).unwrap_or_default())
    }),
    column("WHY", 14, 6, |attempt: &Attempt, _| {
        foreign(attempt.error.as_deref().and_then(|text| text.lines().next()).unwrap_or_default())
    })
    .grows(1),
];

/// The nodes.
pub(crate) static NODES: &[Column<NodeView>] = &[
    column("NODE", 12, 1, |node: &NodeView, _| foreign(node.name.as_str())).grows(1),
    column("ROLE", 8, 2, |node: &NodeView, context| {
        if node.leads { styled("leader", context.look.bold()) } else { plain("follower") }
    }),
    column("STATE", 10, 3, |node: &NodeView, context| {
        let look = context.look;
        if let (true, Some(drain)) = (node.live, node.drain) {
            styled(format!("! {}", drain.as_str()), look.warning())
        } else if node.live {
            styled(format!("{} live", look.sign("✓", "+")), look.good())
        } else {
            styled(format!("{} silent", look.sign("✗", "X")), look.bad())
        }
    }),
    column("SEEN", 6, 4, |node: &NodeView, context| plain(context.age(node.seen_at))).right(),
    column("UP", 7, 6, |node: &NodeView, context| plain(context.age(node.started_at))).right(),
    column("VERSION", 8, 7, |node: &NodeView, _| foreign(&node.version)),
    column("ZONES", 8, 8, |node: &NodeView, _| {
        foreign(node.zone_version.as_deref().unwrap_or("-"))
    }),
    column("ADDRESS", 22, 5, |node: &NodeView, _| foreign(node.url.as_deref().unwrap_or("-")))
        .grows(1),
];

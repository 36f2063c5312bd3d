//! Events of the feed, as nodes pass them on and as clients read them.

use orx_model::JobStatus;
use orx_model::event::{
    Event, JobRef, KnownEvent, NodeEvent, NodeEvents, QueueEvent, ScheduleEvent, WorkerRef,
};
use orx_model::message::{WorkerDirective, WorkerState};

use super::*;

fn job() -> JobRef {
    JobRef { id: JOB, name: Some(name("video.process")), queue: Some(name("media")) }
}

fn worker() -> WorkerRef {
    WorkerRef { incarnation: WORKER, name: Some(name("w1")) }
}

/// Events of every type, with every field set.
fn known() -> Vec<KnownEvent> {
    let mut known = vec![
        KnownEvent::JobAccepted { job: job(), to: Some(JobStatus::Pending) },
        KnownEvent::JobMoved {
            job: job(),
            from: Some(JobStatus::Running),
            to: JobStatus::TimedOut,
            attempt: Some(2),
        },
        KnownEvent::JobCancelling { job: job() },
        KnownEvent::JobProgressed { job: job() },
        KnownEvent::JobLogGrew { job: job() },
        KnownEvent::JobChanged { job: job() },
        KnownEvent::WorkerMoved {
            worker: worker(),
            from: Some(WorkerState::Running),
            to: Some(WorkerState::Draining),
        },
        KnownEvent::WorkerLost { worker: worker() },
        KnownEvent::WorkerOrdered { worker: worker(), order: Some(WorkerDirective::Drain) },
        KnownEvent::QueueChanged { queue: name("media"), change: QueueEvent::Paused },
        KnownEvent::ScheduleChanged { schedule: name("nightly"), change: ScheduleEvent::Fired },
        KnownEvent::NodeChanged {
            node: NODE,
            name: Some(name("n1")),
            change: NodeEvent::Leads { epoch: 7 },
        },
    ];
    let place = |event: &KnownEvent| match event {
        KnownEvent::JobAccepted { .. } => 0,
        KnownEvent::JobMoved { .. } => 1,
        KnownEvent::JobCancelling { .. } => 2,
        KnownEvent::JobProgressed { .. } => 3,
        KnownEvent::JobLogGrew { .. } => 4,
        KnownEvent::JobChanged { .. } => 5,
        KnownEvent::WorkerMoved { .. } => 6,
        KnownEvent::WorkerLost { .. } => 7,
        KnownEvent::WorkerOrdered { .. } => 8,
        KnownEvent::QueueChanged { .. } => 9,
        KnownEvent::ScheduleChanged { .. } => 10,
        KnownEvent::NodeChanged { .. } => 11,
    };
    assert!(known.iter().map(place).eq(0..12), "one sample of each type");
    use NodeEvent::{Drains, Follows, Joined, Left, Lost, Resumes};
    for change in [Joined, Left, Lost, Follows, Drains, Resumes] {
        known.push(KnownEvent::NodeChanged { node: NODE, name: Some(name("n1")), change });
    }
    known
}

fn least() -> Vec<KnownEvent> {
    let worker = || WorkerRef { incarnation: WORKER, name: None };
    vec![
        KnownEvent::JobAccepted { job: JOB.into(), to: None },
        KnownEvent::JobMoved {
            job: JOB.into(),
            from: None,
            to: JobStatus::Cancelled,
            attempt: None,
        },
        KnownEvent::WorkerMoved { worker: worker(), from: None, to: None },
        KnownEvent::WorkerOrdered { worker: worker(), order: None },
        KnownEvent::NodeChanged { node: NODE, name: None, change: NodeEvent::Joined },
    ]
}

pub(super) fn all() -> NodeEvents {
    let events: Vec<Event> = known().into_iter().map(|what| Event::new(AT, what)).collect();
    NodeEvents { node: NODE, after: 41, upto: 58, events, gap: true }
}

pub(super) fn samples() -> Vec<Sample> {
    let least: Vec<Event> = least().into_iter().map(|what| Event::new(AT, what)).collect();
    vec![full("events", &all()), sample("events.least", &least)]
}

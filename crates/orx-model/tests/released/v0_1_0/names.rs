//! The names of enum values.

use orx_model::event::{QueueEvent, ScheduleEvent};
use orx_model::job::DeadReason;
use orx_model::log::{Level, Stream};
use orx_model::message::{WorkerDirective, WorkerState};
use orx_model::schedule::{CatchUp, Overlap, SkipReason};
use orx_model::wire::Receipt;
use orx_model::{AttemptStatus, Code, EventKind, JobStatus, LostWith, OnLost, Priority};

use super::*;

pub(super) fn samples() -> Vec<Sample> {
    vec![
        sample("job_status.names", &JobStatus::ALL.to_vec()),
        sample("attempt_status.names", &AttemptStatus::ALL.to_vec()),
        sample("priority.names", &Priority::ALL.to_vec()),
        sample("stream.names", &Stream::ALL.to_vec()),
        sample("level.names", &Level::ALL.to_vec()),
        sample("event_kind.names", &EventKind::ALL.to_vec()),
        sample("worker_state.names", &WorkerState::ALL.to_vec()),
        sample("worker_directive.names", &WorkerDirective::ALL.to_vec()),
        sample("dead_reason.names", &DeadReason::ALL.to_vec()),
        sample("code.names", &Code::ALL.to_vec()),
        sample("overlap.names", &Overlap::ALL.to_vec()),
        sample("catch_up.names", &vec![CatchUp::None, CatchUp::One, CatchUp::All(5)]),
        sample("on_lost.names", &vec![OnLost::Retry, OnLost::Fail]),
        sample("lost_with.names", &vec![LostWith::Worker, LostWith::Server, LostWith::Fence]),
        sample(
            "skip_reason.names",
            &vec![SkipReason::Overlap, SkipReason::OneWaits, SkipReason::Paused],
        ),
        sample(
            "queue_event.names",
            &vec![QueueEvent::Paused, QueueEvent::Resumed, QueueEvent::Limited],
        ),
        sample(
            "schedule_event.names",
            &vec![
                ScheduleEvent::Added,
                ScheduleEvent::Changed,
                ScheduleEvent::Removed,
                ScheduleEvent::Paused,
                ScheduleEvent::Resumed,
                ScheduleEvent::Fired,
            ],
        ),
        sample(
            "receipt.names",
            &vec![
                Receipt::Recorded,
                Receipt::Stale,
                Receipt::Taken,
                Receipt::TryAgain,
                Receipt::NotForUs,
                Receipt::Refused,
            ],
        ),
    ]
}

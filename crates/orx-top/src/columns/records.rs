//! Schedules, dead letters and events.

use orx_model::event::EventBody;
use orx_model::schedule::wire::{ScheduleState, ScheduleView};
use orx_model::text::clean_line;
use orx_model::wire::live::EventLine;
use orx_model::wire::{CauseGroup, DeadLetter};
use orx_model::{Incarnation, JobStatus, KnownEvent};
use ratatui::style::Style;

use super::workers::order_word;
use super::{Column, column, count, foreign, plain, styled, why};
use crate::look::Look;

/// The state of a schedule in a word, with a sign.
pub(crate) fn schedule_state(schedule: &ScheduleView, look: Look) -> (String, Style) {
    match (schedule.state, schedule.overdue) {
        (ScheduleState::Active, true) => ("! overdue".to_owned(), look.bad()),
        (ScheduleState::Active, false) => (format!("{} active", look.sign("✓", "+")), look.good()),
        (ScheduleState::Paused, _) => ("! paused".to_owned(), look.warning()),
        (ScheduleState::Ended, _) => (format!("{} ended", look.sign("⊘", "-")), look.dim()),
    }
}

fn next_due(schedule: &ScheduleView) -> i64 {
    schedule.next.map_or(i64::MAX, |due| due.fire_at.as_millis())
}

/// The schedules.
pub(crate) static SCHEDULES: &[Column<ScheduleView>] = &[
    column("SCHEDULE", 12, 1, |schedule: &ScheduleView, _| foreign(schedule.id.as_str()))
        .grows(2)
        .by(|a, b| a.id.cmp(&b.id)),
    column("STATE", 10, 2, |schedule: &ScheduleView, context| {
        let (text, style) = schedule_state(schedule, context.look);
        styled(text, style)
    }),
    column("NEXT", 9, 3, |schedule: &ScheduleView, context| {
        plain(schedule.next.map_or("-".to_owned(), |due| context.age(due.fire_at)))
    })
    .by(|a, b| next_due(a).cmp(&next_due(b))),
    column("LAST RUN", 20, 4, |schedule: &ScheduleView, context| {
        let Some(run) = &schedule.last_run else { return plain("-") };
        let Some(last) = run.status else { return plain(run.job.to_string()) };
        let (sign, style) = context.look.status(last);
        styled(format!("{sign} {} {}", run.job, last.words()), style)
    }),
    column("MISSED", 6, 5, |schedule: &ScheduleView, context| {
        let style = if schedule.missed > 0 { context.look.bad() } else { Style::new() };
        styled(schedule.missed.to_string(), style)
    })
    .right()
    .by(|a, b| b.missed.cmp(&a.missed)),
    column("WHEN", 16, 6, |schedule: &ScheduleView, _| foreign(&schedule.spec.timing.to_string()))
        .grows(1),
    column("ZONE", 12, 8, |schedule: &ScheduleView, _| foreign(schedule.spec.zone.as_str())),
    column("JOB", 12, 7, |schedule: &ScheduleView, _| foreign(&job_of(schedule))).grows(2),
];

/// What a schedule runs.
pub(crate) fn job_of(schedule: &ScheduleView) -> String {
    let job = &schedule.spec.job;
    match (&job.name, &job.command) {
        (Some(name), _) => name.to_string(),
        (None, Some(command)) => command.argv.join(" "),
        (None, None) => String::new(),
    }
}

/// Dead letters by cause.
pub(crate) static CAUSES: &[Column<CauseGroup>] = &[
    column("COUNT", 6, 1, |cause: &CauseGroup, _| count(cause.count)).right(),
    column("CAUSE", 20, 2, |cause: &CauseGroup, context| {
        styled(clean_line(&cause.cause).into_owned(), context.look.bad())
    })
    .grows(4),
    column("NAME", 14, 3, |cause: &CauseGroup, _| foreign(cause.name.as_str())).grows(1),
    column("LAST", 7, 4, |cause: &CauseGroup, context| plain(context.age(cause.last))).right(),
    column("FIRST", 7, 5, |cause: &CauseGroup, context| plain(context.age(cause.first))).right(),
    column("QUEUES", 12, 6, |cause: &CauseGroup, _| {
        let queues: Vec<&str> = cause.queues.iter().map(|queue| queue.as_str()).collect();
        foreign(&queues.join(","))
    }),
    column("SAMPLE", 8, 7, |cause: &CauseGroup, _| plain(cause.sample.to_string())),
];

/// Dead letters one by one.
pub(crate) static LETTERS: &[Column<DeadLetter>] = &[
    column("ID", 8, 1, |letter: &DeadLetter, _| plain(letter.job.id.to_string())),
    column("REASON", 13, 4, |letter: &DeadLetter, _| {
        plain(letter.reason.as_str().replace('_', " "))
    }),
    column("NAME", 14, 2, |letter: &DeadLetter, _| foreign(letter.job.spec.name.as_str())).grows(1),
    column("QUEUE", 10, 7, |letter: &DeadLetter, _| foreign(letter.job.spec.queue.as_str())),
    column("DIED", 7, 3, |letter: &DeadLetter, context| plain(context.age(letter.at))).right(),
    column("TRIES", 5, 6, |letter: &DeadLetter, _| plain(letter.job.state.attempt.to_string()))
        .right(),
    column("WHY", 16, 5, |letter: &DeadLetter, context| plain(why(&letter.job, context))).grows(3),
];

/// The first digits of an incarnation, which commands take as well.
fn short_id(id: Incarnation) -> String {
    let text = id.to_string();
    text.get(..8).unwrap_or(&text).to_owned()
}

/// An event in words: what happened, to what, and the details.
pub(crate) fn event_words(event: &EventBody) -> (String, String, String) {
    use orx_model::event::{NodeEvent, QueueEvent, ScheduleEvent};
    let EventBody::Known(event) = event else {
        return ("something of a later version".to_owned(), String::new(), String::new());
    };
    let worker = |one: &orx_model::event::WorkerRef| {
        one.name.as_ref().map_or_else(|| short_id(one.incarnation), |name| name.to_string())
    };
    let status = |one: Option<JobStatus>| one.map_or("?", JobStatus::words);
    match event {
        KnownEvent::JobAccepted { job, to } => {
            ("job accepted".to_owned(), job.id.to_string(), status(*to).to_owned())
        }
        KnownEvent::JobMoved { job, from, to, .. } => {
            let moved = format!("{} to {}", status(*from), to.words());
            ("job moved".to_owned(), job.id.to_string(), moved)
        }
        KnownEvent::JobCancelling { job } => {
            ("cancel requested".to_owned(), job.id.to_string(), String::new())
        }
        KnownEvent::JobProgressed { job } => {
            ("job progressed".to_owned(), job.id.to_string(), String::new())
        }
        KnownEvent::JobLogGrew { job } => {
            ("job logged".to_owned(), job.id.to_string(), String::new())
        }
        KnownEvent::JobChanged { job } => {
            ("job changed".to_owned(), job.id.to_string(), String::new())
        }
        KnownEvent::WorkerMoved { worker: one, from, to } => {
            let word = |state: &Option<orx_model::message::WorkerState>| {
                state.map_or("gone", orx_model::message::WorkerState::as_str)
            };
            let what = match (from, to) {
                (None, _) => "worker registered",
                (_, None) => "worker gone",
                _ => "worker changed",
            };
            (what.to_owned(), worker(one), word(to).to_owned())
        }
        KnownEvent::WorkerLost { worker: one } => {
            ("worker lost".to_owned(), worker(one), "its lease expired".to_owned())
        }
        KnownEvent::WorkerOrdered { worker: one, order } => {
            let order = order.map_or("takes jobs again", order_word);
            ("worker directed".to_owned(), worker(one), order.to_owned())
        }
        KnownEvent::QueueChanged { queue, change } => {
            let word = match change {
                QueueEvent::Paused => "paused",
                QueueEvent::Resumed => "resumed",
                QueueEvent::Limited => "limited",
            };
            (format!("queue {word}"), queue.to_string(), String::new())
        }
        KnownEvent::ScheduleChanged { schedule, change } => {
            let word = match change {
                ScheduleEvent::Added => "added",
                ScheduleEvent::Changed => "changed",
                ScheduleEvent::Removed => "removed",
                ScheduleEvent::Paused => "paused",
                ScheduleEvent::Resumed => "resumed",
                ScheduleEvent::Fired => "fired",
            };
            (format!("schedule {word}"), schedule.to_string(), String::new())
        }
        KnownEvent::NodeChanged { node, name, change } => {
            let name = name.as_ref().map_or_else(|| short_id(*node), |name| name.to_string());
            let (word, more) = match change {
                NodeEvent::Joined => ("joined", String::new()),
                NodeEvent::Left => ("left", String::new()),
                NodeEvent::Lost => ("lost", "its heartbeat stopped".to_owned()),
                NodeEvent::Leads { epoch } => ("leads", format!("epoch {epoch}")),
                NodeEvent::Follows => ("follows", String::new()),
                NodeEvent::Drains => ("drains", String::new()),
                NodeEvent::Resumes => ("resumes", String::new()),
            };
            (format!("node {word}"), name, more)
        }
    }
}

/// The events.
pub(crate) static EVENTS: &[Column<EventLine>] = &[
    column("TIME", 14, 1, |line: &EventLine, context| {
        plain(context.look.clock(line.at, context.now, context.zone))
    }),
    column("AGE", 6, 5, |line: &EventLine, context| plain(context.age(line.at.min(context.now))))
        .right(),
    column("WHAT", 18, 2, |line: &EventLine, context| {
        let what = event_words(&line.what).0;
        let style = if what.ends_with("lost") { context.look.bad() } else { Style::new() };
        styled(what, style)
    }),
    column("OBJECT", 16, 3, |line: &EventLine, _| foreign(&event_words(&line.what).1)).grows(2),
    column("DETAILS", 12, 4, |line: &EventLine, _| foreign(&event_words(&line.what).2)).grows(2),
    column("NODE", 10, 6, |line: &EventLine, _| plain(short_id(line.node))),
];

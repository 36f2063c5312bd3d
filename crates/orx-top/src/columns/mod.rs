//! The one table of columns for each list: titles, widths, which go first when it gets narrow, and what
//! stands in a cell.

mod records;
mod workers;

use std::cmp::Ordering;
use std::time::Duration;

use orx_model::text::clean_line;
use orx_model::time::{WallClock, format_duration};
use orx_model::wire::QueueView;
use orx_model::{JobStatus, JobSummary, Timestamp};
use ratatui::style::Style;

use crate::look::Look;

pub(crate) use records::{CAUSES, EVENTS, LETTERS, SCHEDULES, job_of, schedule_state};
pub(crate) use workers::{
    ATTEMPTS, NODES, WORKER_ATTEMPTS, WORKERS, worker_handlers, worker_queues, worker_state,
};

/// What cells depend on beside their row.
pub(crate) struct Context<'a> {
    pub(crate) look: Look,
    pub(crate) now: Timestamp,
    pub(crate) zone: &'a dyn WallClock,
}

impl Context<'_> {
    fn age(&self, at: Timestamp) -> String {
        self.look.age(at, self.now, self.zone)
    }
}

/// A cell: text without control codes, and its style.
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) style: Style,
}

fn plain(text: impl Into<String>) -> Cell {
    Cell { text: text.into(), style: Style::new() }
}

fn styled(text: impl Into<String>, style: Style) -> Cell {
    Cell { text: text.into(), style }
}

/// Text of others, made safe.
fn foreign(text: &str) -> Cell {
    plain(clean_line(text))
}

/// A text in this many cells: cut, or with spaces behind it.
pub(crate) fn padded(text: &str, width: usize, ascii: bool) -> String {
    let text = orx_model::text::truncate_cells(text, width, ascii);
    let space = width.saturating_sub(orx_model::text::cells(&text));
    format!("{text}{}", " ".repeat(space))
}

/// A column of a list of `R`.
pub(crate) struct Column<R: 'static> {
    pub(crate) title: &'static str,
    /// Cells that it has at least.
    pub(crate) width: u16,
    /// Takes a part of the cells that are left, this much of it.
    pub(crate) grows: u16,
    /// The columns with the highest number go first when it gets narrow.
    pub(crate) rank: u8,
    pub(crate) right: bool,
    pub(crate) cell: fn(&R, &Context<'_>) -> Cell,
    /// By which the list can be sorted.
    pub(crate) order: Option<fn(&R, &R) -> Ordering>,
}

const fn column<R>(
    title: &'static str,
    width: u16,
    rank: u8,
    cell: fn(&R, &Context<'_>) -> Cell,
) -> Column<R> {
    Column { title, width, grows: 0, rank, right: false, cell, order: None }
}

impl<R> Column<R> {
    const fn grows(self, grows: u16) -> Self {
        Self { grows, ..self }
    }

    const fn right(self) -> Self {
        Self { right: true, ..self }
    }

    const fn by(self, order: fn(&R, &R) -> Ordering) -> Self {
        Self { order: Some(order), ..self }
    }
}

/// The columns that a list can be sorted by.
pub(crate) fn sorts<R>(columns: &'static [Column<R>]) -> impl Iterator<Item = &'static Column<R>> {
    columns.iter().filter(|column| column.order.is_some())
}

/// The title of a column, by its place among those that a list can be sorted by.
pub(crate) fn sort_title<R>(columns: &'static [Column<R>], place: usize) -> Option<&'static str> {
    sorts(columns).nth(place).map(|column| column.title)
}

/// The place of a column among those that a list can be sorted by.
pub(crate) fn sort_place<R>(columns: &'static [Column<R>], title: &str) -> Option<usize> {
    sorts(columns).position(|column| column.title == title)
}

/// Columns of this rank and above are extras.
const EXTRA: u8 = 9;
/// Cells that the other columns have beyond their least width before an extra is shown.
const ROOM: u32 = 30;
/// Cells between two columns.
pub(crate) const GAP: u16 = 2;

/// The columns that fit, and how wide each is.
pub(crate) fn fit<R>(columns: &'static [Column<R>], width: u16) -> Vec<(&'static Column<R>, u16)> {
    let mut by_rank: Vec<&Column<R>> = columns.iter().collect();
    by_rank.sort_by_key(|column| column.rank);
    let (mut used, mut most_rank) = (0_u32, None);
    for column in by_rank {
        let more = u32::from(column.width) + if used > 0 { u32::from(GAP) } else { 0 };
        // What is rarely needed comes when the rest has room to spare.
        let spare = if column.rank >= EXTRA { ROOM } else { 0 };
        if used + more + spare > u32::from(width) && most_rank.is_some() {
            break;
        }
        (used, most_rank) = (used + more, Some(column.rank));
    }
    let shown: Vec<&'static Column<R>> =
        columns.iter().filter(|column| Some(column.rank) <= most_rank).collect();
    let parts: u32 = shown.iter().map(|column| u32::from(column.grows)).sum();
    let left = u32::from(width).saturating_sub(used);
    let wide = |column: &&'static Column<R>| {
        let more = (left * u32::from(column.grows)).checked_div(parts).unwrap_or(0);
        (*column, column.width.saturating_add(u16::try_from(more).unwrap_or(0)))
    };
    shown.iter().map(wide).collect()
}

fn status(status: JobStatus, context: &Context<'_>) -> Cell {
    let (sign, style) = context.look.status(status);
    styled(format!("{sign} {}", status.words()), style)
}

/// How long the present attempt of a job has run, or the last one did.
pub(crate) fn took(job: &JobSummary, now: Timestamp) -> Option<Duration> {
    match &job.state.live {
        Some(live) => live.started_at.map(|at| now.saturating_since(at)),
        None => {
            let (start, end) = (job.state.started_at?, job.state.finished_at?);
            Some(end.saturating_since(start))
        }
    }
}

/// A duration that grows: whole seconds, so that it changes once a second.
fn running_time(span: Duration, live: bool) -> String {
    if live && span < Duration::from_secs(10) {
        return format!("{}s", span.as_secs());
    }
    format_duration(span)
}

/// The number of the attempt, of how many.
pub(crate) fn tries(job: &JobSummary) -> String {
    let most = u64::from(job.spec.retry.retries) + 1;
    if u64::from(job.state.attempt) > most {
        return job.state.attempt.to_string();
    }
    format!("{}/{most}", job.state.attempt)
}

/// Who works on it, or why it is as it is.
fn worker_or_why(job: &JobSummary, context: &Context<'_>) -> Cell {
    if let Some(live) = &job.state.live {
        if let Some(progress) = &live.progress {
            let bar = context.look.gauge(progress.percent / 100.0, 8);
            let text = format!("{:>3.0}% {}  {bar}", progress.percent, live.worker_name);
            return plain(text);
        }
        return plain(live.worker_name.to_string());
    }
    plain(why(job, context))
}

/// Why a job is as it is, in a few words.
pub(crate) fn why(job: &JobSummary, context: &Context<'_>) -> String {
    let reason = job.state.cancel.as_ref().and_then(|cancel| cancel.reason.as_deref());
    let error = job.state.error.as_deref().unwrap_or_default();
    let first_line = |text: &str| clean_line(text.lines().next().unwrap_or_default()).into_owned();
    match job.state.status {
        JobStatus::Completed => String::new(),
        JobStatus::Cancelled => first_line(reason.unwrap_or(error)),
        JobStatus::Scheduled => {
            let due = crate::look::short(context.now, job.state.run_at);
            let due = if context.now < job.state.run_at { due } else { "due".to_owned() };
            if error.is_empty() { due } else { format!("{due}: {}", first_line(error)) }
        }
        _ => first_line(error),
    }
}

/// The list of jobs.
pub(crate) static JOBS: &[Column<JobSummary>] = &[
    column("ID", 8, 1, |job: &JobSummary, _| plain(job.id.to_string())),
    column("STATUS", 12, 2, |job: &JobSummary, context| status(job.state.status, context)),
    column("NAME", 14, 3, |job: &JobSummary, _| foreign(job.spec.name.as_str())).grows(3),
    column("QUEUE", 10, 8, |job: &JobSummary, _| foreign(job.spec.queue.as_str())).grows(1),
    column("TRY", 4, 5, |job: &JobSummary, _| plain(tries(job))),
    column("AGE", 6, 4, |job: &JobSummary, context| plain(context.age(job.state.created_at))),
    column("TOOK", 6, 6, |job: &JobSummary, context| {
        let live = job.state.live.is_some();
        plain(took(job, context.now).map(|span| running_time(span, live)).unwrap_or_default())
    }),
    column("WORKER OR WHY", 13, 7, worker_or_why).grows(5),
    column("PRIORITY", 8, 9, |job: &JobSummary, _| plain(job.spec.priority.as_str())),
    column("KEY", 12, 11, |job: &JobSummary, _| {
        foreign(job.spec.key.as_deref().unwrap_or_default())
    })
    .grows(1),
    column("TAGS", 14, 10, |job: &JobSummary, _| {
        let tags = job.spec.tags.iter().map(|(name, value)| format!("{name}={value}"));
        foreign(&tags.collect::<Vec<_>>().join(" "))
    })
    .grows(1),
];

/// The newest jobs on the overview, and those of a narrow terminal.
pub(crate) static RECENT: &[Column<JobSummary>] = &[
    column("ID", 8, 1, |job: &JobSummary, _| plain(job.id.to_string())),
    column("STATUS", 12, 3, |job: &JobSummary, context| status(job.state.status, context)),
    column("NAME", 14, 2, |job: &JobSummary, _| foreign(job.spec.name.as_str())).grows(3),
    column("QUEUE", 8, 7, |job: &JobSummary, _| foreign(job.spec.queue.as_str())).grows(1),
    column("AGE", 6, 4, |job: &JobSummary, context| plain(context.age(job.state.created_at))),
    column("WORKER OR WHY", 12, 6, worker_or_why).grows(4),
];

/// The jobs of a narrow terminal.
pub(crate) static NARROW_JOBS: &[Column<JobSummary>] = &[
    column("", 1, 1, |job: &JobSummary, context| {
        let (sign, style) = context.look.status(job.state.status);
        styled(sign, style)
    }),
    column("ID", 7, 2, |job: &JobSummary, _| plain(job.id.to_string())),
    column("NAME", 8, 3, |job: &JobSummary, _| foreign(job.spec.name.as_str())).grows(3),
    column("STATUS", 9, 5, |job: &JobSummary, context| {
        styled(job.state.status.words(), context.look.status(job.state.status).1)
    }),
    column("AGE", 6, 4, |job: &JobSummary, context| plain(context.age(job.state.created_at))),
];

fn count(n: u64) -> Cell {
    plain(thousands(n))
}

/// `48,112`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn waits(queue: &QueueView) -> u64 {
    queue.counts.pending + queue.counts.created
}

fn runs(queue: &QueueView) -> u64 {
    queue.counts.running + queue.counts.dispatched
}

fn oldest(queue: &QueueView, context: &Context<'_>) -> Cell {
    let age = |at| crate::look::short(context.now.max(at), at);
    plain(queue.oldest_due.map_or("-".to_owned(), age))
}

fn failed(queue: &QueueView) -> u64 {
    queue.counts.failed + queue.counts.timed_out
}

fn queue_state(queue: &QueueView, context: &Context<'_>) -> Cell {
    match &queue.paused {
        Some(pause) => {
            let by = pause.by.as_deref().map(|by| format!(" ({})", clean_line(by)));
            let age = crate::look::short(context.now.max(pause.at), pause.at);
            styled(format!("! paused {age}{}", by.unwrap_or_default()), context.look.warning())
        }
        None => plain("ok"),
    }
}

/// The queues.
pub(crate) static QUEUES: &[Column<QueueView>] = &[
    column("QUEUE", 14, 1, |queue: &QueueView, _| foreign(queue.queue.as_str()))
        .grows(1)
        .by(|a, b| a.queue.cmp(&b.queue)),
    column("WAIT", 7, 2, |queue: &QueueView, _| count(waits(queue)))
        .right()
        .by(|a, b| waits(b).cmp(&waits(a))),
    column("RUN", 6, 3, |queue: &QueueView, _| count(runs(queue)))
        .right()
        .by(|a, b| runs(b).cmp(&runs(a))),
    column("OLDEST", 7, 4, oldest).right().by(|a, b| {
        // Those where nothing waits come last.
        let key = |queue: &QueueView| queue.oldest_due.map_or(i64::MAX, Timestamp::as_millis);
        key(a).cmp(&key(b))
    }),
    column("SCHEDULED", 9, 7, |queue: &QueueView, _| count(queue.counts.scheduled))
        .right()
        .by(|a, b| b.counts.scheduled.cmp(&a.counts.scheduled)),
    column("COMPLETED", 11, 8, |queue: &QueueView, _| count(queue.counts.completed))
        .right()
        .by(|a, b| b.counts.completed.cmp(&a.counts.completed)),
    column("FAILED", 7, 6, |queue: &QueueView, context| {
        let style = if failed(queue) > 0 { context.look.bad() } else { Style::new() };
        styled(thousands(failed(queue)), style)
    })
    .right()
    .by(|a, b| failed(b).cmp(&failed(a))),
    column("CANCELLED", 9, 9, |queue: &QueueView, _| count(queue.counts.cancelled))
        .right()
        .by(|a, b| b.counts.cancelled.cmp(&a.counts.cancelled)),
    column("STATE", 16, 5, queue_state).grows(1),
];

/// The queues on the overview.
pub(crate) static QUEUES_SHORT: &[Column<QueueView>] = &[
    column("QUEUE", 10, 1, |queue: &QueueView, _| foreign(queue.queue.as_str())).grows(1),
    column("WAIT", 6, 2, |queue: &QueueView, _| count(waits(queue))).right(),
    column("RUN", 4, 3, |queue: &QueueView, _| count(runs(queue))).right(),
    column("OLDEST", 6, 4, oldest).right(),
    column("FAILED", 6, 6, |queue: &QueueView, _| count(failed(queue))).right(),
    column("STATE", 12, 5, queue_state).grows(1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_that_are_needed_least_go_first_and_the_rest_fills_the_width() {
        for width in [10, 30, 60, 78, 118, 300] {
            let shown = fit(JOBS, width);
            let cells: u16 = shown.iter().map(|(_, wide)| wide + GAP).sum::<u16>() - GAP;
            assert!(cells <= width.max(8), "{width}: {cells}");
            assert_eq!(shown[0].0.title, "ID");
        }
        let titles = |width| fit(JOBS, width).iter().map(|(c, _)| c.title).collect::<Vec<_>>();
        assert_eq!(titles(76).join(" "), "ID STATUS NAME TRY AGE TOOK WORKER OR WHY");
        assert!(!titles(118).contains(&"KEY") && titles(118).contains(&"QUEUE"));
    }

    #[test]
    fn large_numbers_have_separators() {
        assert_eq!(
            [0, 999, 1_000, 48_112, 1_234_567].map(thousands).join(" "),
            "0 999 1,000 48,112 1,234,567"
        );
    }
}

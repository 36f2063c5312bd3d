//! An open worker, and an open schedule.

use orx_model::schedule::Slot;
use orx_model::text::{clean_line, format_bytes};
use orx_model::time::{TimeStyle, format_time};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::table::{List, draw};
use super::{boxed, placeholder};
use crate::columns::{
    Cell, Column, WORKER_ATTEMPTS, job_of, schedule_state, worker_handlers, worker_queues,
    worker_state,
};
use crate::layout::{Class, fields_and_list};
use crate::look::short;
use crate::state::details::{SchedulePane, WorkerPane};
use crate::state::{App, Purpose};

/// Draws an open worker.
pub(crate) fn worker(app: &App, pane: &WorkerPane, area: Rect, class: Class, buffer: &mut Buffer) {
    let [fields, below] = fields_and_list(area, class);
    let now = app.server_now();
    let name = clean_line(&pane.name).into_owned();
    let Some(detail) = &pane.worker else {
        let inside = boxed(app, Line::styled(name, app.look.bold()), true, fields, class, buffer);
        let purpose = Purpose::Worker(pane.incarnation.clone());
        let text = super::lists::empty_text(app, Some(&purpose), false, "");
        placeholder(app, inside, &text, buffer);
        return;
    };
    let it = &detail.worker;
    let (state, style) = worker_state(it, app.look);
    let title =
        vec![Span::styled(name, app.look.bold()), Span::raw("  "), Span::styled(state, style)];
    let inside = boxed(app, Line::from(title), false, fields, class, buffer);
    let load = it.load.as_ref().map_or("not reported".to_owned(), |load| {
        let (used, all) = (format_bytes(load.memory_used_bytes), format_bytes(load.memory_bytes));
        format!("cpu {:.0}%, memory {used} of {all}", load.cpu * 100.0)
    });
    let labels: Vec<String> =
        it.offer.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let lines = [
        format!(
            "slots {} of {} busy, {} prefetched    seen {} ago    up {}",
            it.active,
            it.slots,
            it.prefetched,
            short(now.max(it.seen_at), it.seen_at),
            short(now.max(it.started_at), it.started_at)
        ),
        format!("on {}, pid {}    orx {}    {load}", it.host, it.pid, it.version),
        format!(
            "queues {}    runs {}    labels {}",
            worker_queues(it),
            worker_handlers(it),
            if labels.is_empty() { "none".to_owned() } else { labels.join(" ") }
        ),
        format!("incarnation {}", it.incarnation),
    ];
    let lines: Vec<Line<'_>> =
        lines.iter().map(|line| Line::raw(format!(" {}", clean_line(line)))).collect();
    super::lines(app, lines, inside, buffer);
    let title = Line::styled(format!("Attempts {}", detail.attempts.len()), app.look.bold());
    let inside = boxed(app, title, true, below, class, buffer);
    if detail.attempts.is_empty() {
        placeholder(app, inside, "it holds no job", buffer);
        return;
    }
    let list = List {
        columns: WORKER_ATTEMPTS,
        rows: detail.attempts.iter().collect(),
        grid: &pane.grid,
        focused: true,
        sorted: None,
        key: |attempt| attempt.job.to_string(),
        gone: &|_| false,
    };
    draw(app, &list, inside, class, buffer);
}

static SLOTS: &[Column<Slot>] = &[
    Column {
        title: "DUE",
        width: 30,
        grows: 0,
        rank: 1,
        right: false,
        cell: |slot, context| {
            let style = match context.look.time {
                TimeStyle::Utc => TimeStyle::Utc,
                _ => TimeStyle::Local,
            };
            let text = format_time(slot.slot, style, context.now, context.zone);
            Cell { text, style: Style::new() }
        },
        order: None,
    },
    Column {
        title: "OUTCOME",
        width: 20,
        grows: 1,
        rank: 2,
        right: false,
        cell: |slot, context| {
            let bad = matches!(slot.outcome, orx_model::schedule::SlotOutcome::Missed);
            let style = if bad { context.look.bad() } else { Style::new() };
            Cell { text: slot.outcome.to_string(), style }
        },
        order: None,
    },
];

/// Draws an open schedule.
pub(crate) fn schedule(
    app: &App,
    pane: &SchedulePane,
    area: Rect,
    class: Class,
    buffer: &mut Buffer,
) {
    let [fields, below] = fields_and_list(area, class);
    let found = app.schedules.rows.iter().find(|one| one.id == pane.id);
    let Some(it) = found else {
        let title = Line::styled(pane.id.to_string(), app.look.bold());
        let inside = boxed(app, title, true, fields, class, buffer);
        placeholder(app, inside, "it is not there any more", buffer);
        return;
    };
    let (state, style) = schedule_state(it, app.look);
    let title = vec![
        Span::styled(clean_line(pane.id.as_str()).into_owned(), app.look.bold()),
        Span::raw("  "),
        Span::styled(state, style),
    ];
    let inside = boxed(app, Line::from(title), false, fields, class, buffer);
    let now = app.server_now();
    let exact = |at| {
        let style = if app.look.time == TimeStyle::Utc { TimeStyle::Utc } else { TimeStyle::Local };
        format_time(at, style, now, &*app.options.zone)
    };
    let next = it.next.map_or("none".to_owned(), |due| {
        format!("{} ({})", exact(due.fire_at), short(now, due.fire_at))
    });
    let paused = it.paused.as_ref().map(|pause| {
        let by = pause.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
        let why = pause.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("paused {}{by}{why}", exact(pause.at))
    });
    let lines = [
        format!("when {}    next {next}", it.spec.when_text()),
        format!("runs {}    {} runs, {} missed", job_of(it), it.runs, it.missed),
        format!(
            "overlap {}    catch-up {}    version {}",
            it.spec.overlap, it.spec.catch_up, it.version
        ),
        paused.or_else(|| it.unreadable.clone()).unwrap_or_default(),
    ];
    let lines: Vec<Line<'_>> =
        lines.iter().map(|line| Line::raw(format!(" {}", clean_line(line)))).collect();
    super::lines(app, lines, inside, buffer);
    let title = Line::styled("Ledger, newest first", app.look.bold());
    let inside = boxed(app, title, true, below, class, buffer);
    if pane.slots.is_empty() {
        let purpose = Purpose::Slots(pane.id.clone());
        let loaded = app.calls.answered.contains_key(&purpose);
        let text = super::lists::empty_text(app, Some(&purpose), loaded, "it has not been due yet");
        placeholder(app, inside, &text, buffer);
        return;
    }
    let list = List {
        columns: SLOTS,
        rows: pane.slots.iter().collect(),
        grid: &pane.grid,
        focused: true,
        sorted: None,
        key: |slot| slot.slot.as_millis().to_string(),
        gone: &|_| false,
    };
    draw(app, &list, inside, class, buffer);
}

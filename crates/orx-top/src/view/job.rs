//! An open job: its fields, and the tab that is chosen.

use std::time::Duration;

use orx_model::text::{clean_line, format_bytes};
use orx_model::time::{TimeStyle, format_duration, format_time};
use orx_model::{Job, JobStatus, Timestamp};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::table::{List, draw as draw_list};
use super::{boxed, line_at, placeholder, text};
use crate::columns::{ATTEMPTS, thousands};
use crate::layout::{self, Class};
use crate::look::short;
use crate::state::details::{JobPane, JobTab};
use crate::state::{App, Purpose};

/// Draws an open job.
pub(crate) fn draw(app: &App, pane: &JobPane, class: Class, buffer: &mut Buffer) {
    let [fields, tabs, body] = layout::job_areas(app);
    head(app, pane, fields, class, buffer);
    tab_line(app, pane, tabs, buffer);
    let inside = boxed(app, Line::default(), true, body, class, buffer);
    match (pane.tab, &pane.job) {
        (JobTab::Log, _) => text::log(app, pane, inside, buffer),
        (_, None) => {}
        (JobTab::Attempts, Some(job)) if job.attempts.is_empty() => {
            placeholder(app, inside, "no attempt yet", buffer);
        }
        (JobTab::Attempts, Some(job)) => {
            let list = List {
                columns: ATTEMPTS,
                rows: job.attempts.iter().rev().collect(),
                grid: &pane.attempts,
                focused: true,
                sorted: None,
                key: |attempt| attempt.number.to_string(),
                gone: &|_| false,
            };
            draw_list(app, &list, inside, class, buffer);
        }
        (JobTab::Args | JobTab::Result | JobTab::Events | JobTab::Why, Some(_)) => {
            text::plain(app, &crate::texts::lines(app, pane), &pane.scroll, inside, buffer);
        }
    }
}

fn head(app: &App, pane: &JobPane, area: Rect, class: Class, buffer: &mut Buffer) {
    let id = Span::styled(pane.id.to_string(), app.look.bold());
    let Some(detail) = &pane.job else {
        let inside = boxed(app, Line::from(vec![id]), false, area, class, buffer);
        let purpose = Purpose::Job(pane.id);
        placeholder(app, inside, &super::lists::empty_text(app, Some(&purpose), false, ""), buffer);
        return;
    };
    let job = &detail.job;
    let (sign, style) = app.look.status(job.state.status);
    let title = vec![
        id,
        Span::raw(format!("  {}  ", clean_line(job.spec.name.as_str()))),
        Span::styled(format!("{sign} {}", job.state.status.words()), style),
    ];
    if class == Class::Narrow {
        line_at(app, &Line::from(title), area.x, area.y, area.width, buffer);
        return;
    }
    let inside = boxed(app, Line::from(title), false, area, class, buffer);
    let lines = match class {
        Class::Full => fields(app, job),
        _ => pairs(app, job),
    };
    let mut lines: Vec<Line<'_>> =
        lines.iter().map(|line| Line::raw(format!(" {}", clean_line(line)))).collect();
    if let Some(line) = progress(app, job, usize::from(inside.width)) {
        lines.insert(lines.len().saturating_sub(1), line);
    }
    super::lines(app, lines, inside, buffer);
}

fn clock(app: &App, at: Timestamp) -> String {
    let now = app.server_now();
    let age = short(now, at);
    let style = if app.look.time == TimeStyle::Utc { TimeStyle::Utc } else { TimeStyle::Local };
    let exact = format_time(at, style, now, &*app.options.zone);
    let text = app.look.clock(at, now, &*app.options.zone);
    let zone = match style {
        TimeStyle::Utc => "UTC",
        _ => exact.rsplit(' ').next().unwrap_or_default(),
    };
    if at > now { format!("{text} {zone} ({age})") } else { format!("{text} {zone} ({age} ago)") }
}

/// Without the zone, which stands beside the first time of the box.
fn wall(app: &App, at: Timestamp) -> String {
    app.look.clock(at, app.server_now(), &*app.options.zone)
}

fn facts(app: &App, job: &Job) -> [String; 9] {
    let (state, now) = (&job.state, app.server_now());
    let live = state.live.as_ref();
    let most = u64::from(job.spec.retry.retries) + 1;
    let attempt = match state.attempt {
        0 => format!("none of {most}"),
        number => format!("{}.{number} of {most}", job.id),
    };
    let worker = live.map(|live| &live.worker_name).or(state.worker.as_ref());
    let worker = worker.map_or("none".to_owned(), |name| name.to_string());
    let start = live.map_or(state.started_at, |live| live.started_at);
    let started = match (start, state.status) {
        (Some(at), _) => {
            let waited = format_duration(at.saturating_since(state.run_at));
            format!("{} (waited {waited})", wall(app, at))
        }
        (None, JobStatus::Scheduled) => format!("due {}", clock(app, state.run_at)),
        (None, _) => "not yet".to_owned(),
    };
    let timeout = match (job.spec.timeout_ms.filter(|ms| *ms > 0), live.and_then(|l| l.started_at))
    {
        (None, _) => "none".to_owned(),
        (Some(ms), None) => format_duration(Duration::from_millis(ms)),
        (Some(ms), Some(since)) => {
            let all = Duration::from_millis(ms);
            let left = all.saturating_sub(now.saturating_since(since));
            let left = format_duration(Duration::from_secs(left.as_secs()));
            format!("{}, {left} left", format_duration(all))
        }
    };
    let ended = match state.finished_at {
        Some(at) => {
            let ran = start
                .map(|start| format!(" (ran {})", format_duration(at.saturating_since(start))));
            format!("{}{}", wall(app, at), ran.unwrap_or_default())
        }
        None => "not yet".to_owned(),
    };
    let exit = state.exit.map_or(String::new(), |exit| format!("  {exit}"));
    [
        format!("queue {}", job.spec.queue),
        format!("priority {}", job.spec.priority),
        format!("attempt {attempt}"),
        format!("worker {worker}"),
        format!("created {}", clock(app, state.created_at)),
        format!("started {started}"),
        format!("ended {ended}{exit}"),
        format!("timeout {timeout}"),
        origin(job),
    ]
}

fn origin(job: &Job) -> String {
    let mut parts = Vec::new();
    if let Some(key) = &job.spec.key {
        parts.push(format!("key {key}"));
    }
    if !job.spec.tags.is_empty() {
        let tags: Vec<String> =
            job.spec.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        parts.push(format!("tags {}", tags.join(" ")));
    }
    if let Some(id) = &job.spec.correlation_id {
        parts.push(format!("correlation {id}"));
    }
    if let Some(schedule) = &job.spec.schedule {
        parts.push(format!("from schedule {}", schedule.id));
    }
    if let Some(by) = &job.spec.by {
        parts.push(format!("by {by}"));
    }
    parts.join("   ")
}

fn fields(app: &App, job: &Job) -> Vec<String> {
    let [queue, priority, attempt, worker, created, started, ended, timeout, origin] =
        facts(app, job);
    let end = if job.state.status.is_final() { ended } else { timeout };
    vec![
        format!("{queue:<24} {priority:<20} {attempt:<24} {worker}"),
        format!("{created:<38} {started:<34} {end}"),
        origin,
    ]
}

fn pairs(app: &App, job: &Job) -> Vec<String> {
    let [queue, priority, attempt, worker, created, started, ended, timeout, origin] =
        facts(app, job);
    let end = if job.state.status.is_final() { ended } else { timeout };
    vec![
        format!("{queue:<24} {priority:<18} {attempt}"),
        format!("{worker:<38} {created}"),
        format!("{started:<38} {end}"),
        origin,
    ]
}

/// How far the attempt is, and when it may end if it goes on as before.
fn progress(app: &App, job: &Job, width: usize) -> Option<Line<'static>> {
    let live = job.state.live.as_ref()?;
    let progress = live.progress.as_ref()?;
    let share = progress.percent / 100.0;
    let bar = app.look.gauge(share, (width / 3).max(10));
    let mut text = format!("  {:.0}%", progress.percent);
    if let Some(note) = &progress.text {
        text.push_str(&format!("  \"{}\"", clean_line(note)));
    }
    if let (Some(since), true) = (live.started_at, share > 0.02 && share < 1.0) {
        let ran = app.server_now().saturating_since(since).as_secs_f64();
        let left = Duration::from_secs((ran / share - ran).clamp(0.0, 1e9) as u64);
        let left = match left.as_secs() {
            few @ 0..10 => format!("{few}s"),
            _ => format_duration(left),
        };
        text.push_str(&format!("  about {left} left"));
    }
    let style = app.look.status(JobStatus::Running).1;
    Some(Line::from(vec![Span::raw(" "), Span::styled(bar, style), Span::raw(text)]))
}

fn tab_line(app: &App, pane: &JobPane, area: Rect, buffer: &mut Buffer) {
    let mut spans = vec![Span::raw(" ")];
    for tab in JobTab::ALL {
        let count = match (tab, &pane.job) {
            (JobTab::Attempts, Some(job)) => format!(" {}", job.attempts.len()),
            (JobTab::Events, Some(job)) => format!(" {}", crate::events::of(job, pane).len()),
            _ => String::new(),
        };
        let title = format!("{}{count}", tab.title());
        let (text, style) = match tab == pane.tab {
            true => (format!("[{title}]"), app.look.bold()),
            false => (format!(" {title} "), Style::new()),
        };
        spans.push(Span::styled(text, style));
    }
    let on = |on: bool| if on { "on" } else { "off" };
    let mut facts = Vec::new();
    match pane.tab {
        JobTab::Log => {
            let log = &pane.log;
            facts.push(format!("follow {}", on(log.scroll.follow)));
            facts.push(format!("wrap {}", on(log.scroll.wrap)));
            facts.push(format!(
                "level {}",
                if log.level == orx_model::log::Level::Trace { "all" } else { log.level.as_str() }
            ));
            facts.push(
                log.attempt.map_or("all attempts".to_owned(), |one| format!("attempt {one}")),
            );
            let dropped = match log.dropped_bytes {
                0 => String::new(),
                bytes => format!(", {} not kept", format_bytes(bytes)),
            };
            let first = if log.cut { "last " } else { "" };
            let lines = if log.len() == 1 { "line" } else { "lines" };
            facts.push(format!("{first}{} {lines}{dropped}", thousands(log.len() as u64)));
            if log.unseen > 0 {
                facts.push(format!("{} new below", thousands(log.unseen as u64)));
            }
            if log.lost {
                facts.push("log link lost, reconnecting".to_owned());
            }
        }
        JobTab::Args | JobTab::Result | JobTab::Events | JobTab::Why => {
            facts.push(format!("wrap {}", on(pane.scroll.wrap)));
        }
        JobTab::Attempts => facts.push("Enter shows the log of one".to_owned()),
    }
    let scroll = if pane.tab == JobTab::Log { &pane.log.scroll } else { &pane.scroll };
    if let Some(search) = &scroll.search {
        facts.push(format!("search {}", clean_line(&search.text)));
    }
    spans.push(Span::styled(format!("   {}", facts.join(app.look.separator())), app.look.dim()));
    line_at(app, &Line::from(spans), area.x, area.y, area.width, buffer);
}

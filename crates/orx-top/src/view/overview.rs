//! The overview: counters, rates, queues, recent jobs, and what needs a person.

use std::time::Duration;

use orx_model::JobStatus;
use orx_model::text::{cells, clean_line};
use orx_model::time::format_duration;
use orx_model::wire::Percentiles;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, Widget};

use super::table::{List, draw as draw_list};
use super::{boxed, line_at, placeholder};
use crate::columns::{NARROW_JOBS, QUEUES_SHORT, RECENT, thousands, took};
use crate::layout::{self, Class};
use crate::state::rates::Series;
use crate::state::{App, OverviewBox, Purpose};
use crate::update::answers::clock_difference;

/// Draws the overview.
pub(crate) fn draw(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let alerts = app.facts.as_ref().map_or(0, |facts| facts.attention.len());
    let boxes = layout::overview(area, class, u16::try_from(alerts).unwrap_or(u16::MAX));
    match class {
        Class::Full => {
            counters(app, boxes.counters, class, buffer);
            rates(app, boxes.rates, class, buffer);
        }
        _ => counter_lines(app, boxes.counters, buffer),
    }
    if class >= Class::Compact {
        queues(app, boxes.queues, class, buffer);
        attention(app, boxes.attention, class, buffer);
    }
    recent(app, boxes.recent, class, buffer);
}

fn heading<'a>(app: &App, text: &'a str) -> Line<'a> {
    Line::styled(text, app.look.bold())
}

fn focused(app: &App, one: OverviewBox) -> bool {
    app.overview.focus == one
}

fn counters(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let focus = focused(app, OverviewBox::Counters);
    let inside = boxed(app, heading(app, "Jobs"), focus, area, class, buffer);
    let Some(facts) = &app.facts else {
        placeholder(app, inside, connecting(app), buffer);
        return;
    };
    for (place, status) in JobStatus::ALL.into_iter().enumerate() {
        let y = inside.y + u16::try_from(place).unwrap_or(0);
        if y >= inside.bottom() {
            break;
        }
        let (sign, style) = app.look.status(status);
        let count = thousands(facts.counts.of(status));
        let style = if facts.counts.of(status) == 0 { app.look.dim() } else { style };
        let name = Line::from(vec![Span::styled(format!(" {sign} {}", status.words()), style)]);
        line_at(app, &name, inside.x, y, inside.width, buffer);
        let wide = u16::try_from(cells(&count)).unwrap_or(0) + 1;
        let at = inside.right().saturating_sub(wide);
        buffer.set_stringn(at, y, &count, usize::from(wide), style);
        if focus && app.overview.counters.index() == place {
            buffer.set_style(Rect { y, height: 1, ..inside }, app.look.reverse());
        }
    }
}

fn connecting(app: &App) -> &'static str {
    if app.link.is_down() { "no server answers" } else { "loading …" }
}

/// The counters in one line or two, those of what goes on first.
fn counter_lines(app: &App, area: Rect, buffer: &mut Buffer) {
    let Some(facts) = &app.facts else {
        placeholder(app, area, connecting(app), buffer);
        return;
    };
    let span = |status: JobStatus| {
        let (sign, style) = app.look.status(status);
        let count = thousands(facts.counts.of(status));
        Span::styled(format!(" {sign} {count} {}  ", status.words()), style)
    };
    use JobStatus as S;
    if area.height == 1 {
        let short = |status: JobStatus, word: &str| {
            let (sign, style) = app.look.status(status);
            let count = thousands(facts.counts.of(status));
            Span::styled(format!(" {sign} {count} {word} "), style)
        };
        let line = Line::from(vec![
            short(S::Running, "run"),
            short(S::Pending, "wait"),
            short(S::Failed, "failed"),
            Span::raw(format!(" {} dead", thousands(facts.dead_letters))),
        ]);
        super::lines(app, [line], area, buffer);
        return;
    }
    let lines = [
        Line::from(vec![
            span(S::Running),
            span(S::Pending),
            span(S::Scheduled),
            span(S::Dispatched),
        ]),
        Line::from(vec![
            span(S::Completed),
            span(S::Failed),
            span(S::TimedOut),
            span(S::Cancelled),
        ]),
    ];
    super::lines(app, lines, area, buffer);
}

fn rates(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let seen = match &app.overview.server {
        Some(server) => server.now.saturating_since(server.rates.since),
        None => app.overview.rates.span(),
    };
    let seen = seen.min(crate::state::rates::SPAN);
    let title = match seen.as_secs() {
        0..290 => format!("Last {}", format_duration(Duration::from_secs(seen.as_secs()))),
        _ => "Last 5m".to_owned(),
    };
    let inside = boxed(app, Line::styled(title, app.look.bold()), false, area, class, buffer);
    let Some(facts) = app.facts.as_ref().filter(|_| inside.height >= 8) else { return };
    let wide = usize::from(inside.width).saturating_sub(17);
    let colours = [Style::new(), app.look.good(), app.look.bad()];
    let series = series(app, wide);
    for (place, ((name, one), style)) in
        ["new", "done", "failed"].iter().zip(series).zip(colours).enumerate()
    {
        let y = inside.y + u16::try_from(place).unwrap_or(0);
        buffer.set_string(inside.x + 1, y, name, Style::new());
        let bars = Rect { x: inside.x + 8, y, width: u16::try_from(wide).unwrap_or(0), height: 1 };
        Sparkline::default()
            .data(&one.values)
            .bar_set(app.look.bars())
            .style(style)
            .render(bars, buffer);
        let rate = match one.per_second {
            _ if seen.is_zero() => "-".to_owned(),
            rate if rate >= 10.0 => format!("{rate:.0}/s"),
            rate => format!("{rate:.1}/s"),
        };
        let at = inside.right().saturating_sub(u16::try_from(cells(&rate)).unwrap_or(0) + 1);
        buffer.set_string(at, y, rate, Style::new());
    }
    let mut lines = match &app.overview.server {
        Some(server) => {
            vec![percentiles("wait", &server.wait), percentiles("run ", &server.run), String::new()]
        }
        None => durations(app),
    };
    lines.extend(facts.health.iter().cloned());
    let below = Rect { y: inside.y + 4, height: inside.height.saturating_sub(4), ..inside };
    let lines: Vec<Line<'_>> =
        lines.into_iter().map(|line| Line::raw(format!(" {}", clean_line(&line)))).collect();
    super::lines(app, lines, below, buffer);
}

fn percentiles(name: &str, of: &Percentiles) -> String {
    if of.count == 0 {
        return format!("{name} -");
    }
    let span = |ms| format_duration(Duration::from_millis(ms));
    format!("{name} p50 {}  p95 {}", span(of.p50_ms), span(of.p95_ms))
}

/// New, completed and failed jobs, as the server counts them, else as this dashboard has seen them.
fn series(app: &App, steps: usize) -> [Series; 3] {
    let Some(server) = &app.overview.server else { return app.overview.rates.series(steps) };
    let rates = &server.rates;
    let one = |buckets: &[u32], per_second| {
        // The newest buckets that fit, at the right.
        let skip = buckets.len().saturating_sub(steps);
        let mut values = vec![0; steps.saturating_sub(buckets.len())];
        values.extend(buckets.iter().skip(skip).map(|count| u64::from(*count)));
        Series { values, per_second }
    };
    [
        one(&rates.accepted, rates.accepted_per_s),
        one(&rates.completed, rates.completed_per_s),
        one(&rates.failed, rates.failed_per_s),
    ]
}

/// How long the recent jobs waited and ran.
fn durations(app: &App) -> Vec<String> {
    let now = app.server_now();
    let rows = &app.overview.rows;
    let mut waited: Vec<Duration> = rows
        .iter()
        .filter(|job| job.state.attempt == 1)
        .filter_map(|job| {
            let live = job.state.live.as_ref().and_then(|live| live.started_at);
            Some(live.or(job.state.started_at)?.saturating_since(job.state.run_at))
        })
        .collect();
    let ended = rows.iter().filter(|job| job.state.finished_at.is_some());
    let mut ran: Vec<Duration> = ended.filter_map(|job| took(job, now)).collect();
    let line = |name: &str, all: &mut Vec<Duration>| {
        all.sort();
        let at = |part: usize| all.get((all.len().saturating_sub(1)) * part / 100);
        match (at(50), at(95)) {
            (Some(half), Some(most)) => {
                let (half, most) = (format_duration(*half), format_duration(*most));
                format!("{name} p50 {half}  p95 {most}")
            }
            _ => format!("{name} -"),
        }
    };
    let count = waited.len().max(ran.len());
    vec![
        line("wait", &mut waited),
        line("run ", &mut ran),
        format!("of the newest {count} that started"),
    ]
}

fn queues(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let focus = focused(app, OverviewBox::Queues);
    let inside = boxed(app, heading(app, "Queues"), focus, area, class, buffer);
    if app.queues.rows.is_empty() {
        let loaded = app.calls.answered.contains_key(&Purpose::Queues);
        let text =
            super::lists::empty_text(app, Some(&Purpose::Queues), loaded, "no queue has jobs");
        placeholder(app, inside, &text, buffer);
        return;
    }
    let list = List {
        columns: QUEUES_SHORT,
        rows: app.queues.rows.iter().collect(),
        grid: &app.overview.queues,
        focused: focus,
        sorted: None,
        key: |queue| queue.queue.to_string(),
        gone: &|_| false,
    };
    draw_list(app, &list, inside, class, buffer);
}

fn recent(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let focus = focused(app, OverviewBox::Recent) || class == Class::Narrow;
    let inside = boxed(app, heading(app, "Recent jobs"), focus, area, class, buffer);
    if app.overview.rows.is_empty() {
        let loaded = app.calls.answered.contains_key(&Purpose::Recent);
        let empty = "no jobs yet; `orx enqueue` and `orx run` add some";
        let text = super::lists::empty_text(app, Some(&Purpose::Recent), loaded, empty);
        placeholder(app, inside, &text, buffer);
        return;
    }
    let list = List {
        columns: if class == Class::Narrow { NARROW_JOBS } else { RECENT },
        rows: app.overview.rows.iter().collect(),
        grid: &app.overview.recent,
        focused: focus,
        sorted: None,
        key: |job| job.id.to_string(),
        gone: &|_| false,
    };
    draw_list(app, &list, inside, class, buffer);
}

fn attention(app: &App, area: Rect, class: Class, buffer: &mut Buffer) {
    let focus = focused(app, OverviewBox::Attention);
    let alerts = app.facts.as_ref().map(|facts| facts.attention.as_slice());
    let alerts: Vec<&String> = alerts.unwrap_or_default().iter().map(|(_, text)| text).collect();
    let title = match alerts.len() {
        0 => heading(app, "Attention"),
        count => Line::styled(format!("Attention {count}"), app.look.warning()),
    };
    let inside = boxed(app, title, focus, area, class, buffer);
    let difference = clock_difference(app).map(|ms| {
        let span = format_duration(Duration::from_millis(ms.unsigned_abs()));
        let side = if ms > 0 { "ahead of" } else { "behind" };
        format!("the server's clock is {span} {side} this machine's")
    });
    if alerts.is_empty() && difference.is_none() {
        let text = if app.facts.is_some() { "nothing needs attention" } else { connecting(app) };
        placeholder(app, inside, text, buffer);
        return;
    }
    let width = usize::from(inside.width).saturating_sub(3);
    let mut y = inside.y;
    for (place, alert) in alerts.iter().copied().chain(difference.iter()).enumerate() {
        let at_cursor = focus && app.overview.attention.index() == place;
        // A box of one column has room for the whole sentence.
        let parts = match class {
            Class::Full => wrap(&clean_line(alert), width),
            _ => vec![clean_line(alert).into_owned()],
        };
        for (number, part) in parts.iter().enumerate() {
            if y >= inside.bottom() {
                return;
            }
            let sign = if number == 0 { "!" } else { " " };
            let spans = vec![
                Span::styled(format!(" {sign} "), app.look.warning()),
                Span::raw(part.clone()),
            ];
            line_at(app, &Line::from(spans), inside.x, y, inside.width, buffer);
            if at_cursor {
                buffer.set_style(Rect { y, height: 1, ..inside }, app.look.reverse());
            }
            y += 1;
        }
    }
}

/// Lines of whole words.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if cells(line) + 1 + cells(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

//! The lines around the body: header, tabs, message and hints.

use std::time::Duration;

use orx_model::text::{cells, clean_line, truncate_cells};
use orx_model::time::{TimeStyle, format_duration, format_time};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::line_at;
use crate::api::FailureKind;
use crate::columns::thousands;
use crate::keys::Action;
use crate::layout::{Areas, Class, class};
use crate::options::Screen;
use crate::state::link::POLL;
use crate::state::prompt::{Prompt, PromptKind};
use crate::state::{App, Tone};
use crate::update::{keys::scopes, open::back_hint};

fn seconds(span: Duration) -> String {
    match span.as_secs() {
        few @ 0..10 => format!("{few}s"),
        many => format_duration(Duration::from_secs(many)),
    }
}

/// The state of the link in words, and how loud they are.
pub(crate) fn link(app: &App) -> (String, Style) {
    let (look, now) = (app.look, app.now.mono);
    if let Some(frozen) = &app.frozen {
        let age = seconds(now.saturating_sub(frozen.since.mono));
        return (format!("FROZEN {age}, {} waiting", frozen.count), look.trouble());
    }
    if let Some(outage) = &app.link.outage {
        let age = app.link.last_message.map(|last| seconds(now.saturating_sub(last)));
        let age = age.map_or_else(|| "offline".to_owned(), |age| format!("STALE {age}, offline"));
        if outage.failure.kind == FailureKind::Refused {
            return (format!("{age}, Ctrl-R tries again"), look.trouble());
        }
        let retry = seconds(outage.retry_at.saturating_sub(now) + Duration::from_millis(999));
        let tries = if outage.tries > 1 { format!(" ({})", outage.tries) } else { String::new() };
        return (format!("{age}, retry in {retry}{tries}"), look.trouble());
    }
    if let Some(age) = app.link.stale(now) {
        return (format!("STALE {}", seconds(age)), look.trouble());
    }
    if app.options.replay {
        return ("REPLAY".to_owned(), look.bold());
    }
    match app.link.last_message {
        None => ("connecting".to_owned(), look.dim()),
        Some(_) if app.link.streams => ("live".to_owned(), look.good()),
        Some(last) => {
            let age = now.saturating_sub(last);
            let old = match age.as_secs() {
                0..3 => String::new(),
                age => format!(", {age}s old"),
            };
            (format!("polling {}s{old}", POLL.as_secs()), look.good())
        }
    }
}

/// The path of what is open: `Jobs > 14233`.
fn path(app: &App) -> Option<String> {
    let last = app.details.last()?.title();
    let mut path = screen_title(app.screen).to_owned();
    if app.details.len() > 1
        && let Some(first) = app.details.first()
    {
        path.push_str(&format!(" > {}", first.title()));
    }
    Some(clean_line(&format!("{path} > {last}")).into_owned())
}

fn clock(app: &App) -> String {
    let now = app.server_now();
    if app.look.time == TimeStyle::Utc {
        return now.to_string().get(11..16).map(|time| format!("{time} UTC")).unwrap_or_default();
    }
    let text = format_time(now, TimeStyle::Local, now, &*app.options.zone);
    let mut parts = text.split(' ').skip(1);
    let (time, zone) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    format!("{} {zone}", time.get(..5).unwrap_or(time))
}

/// The first line.
pub(crate) fn header(app: &App, area: Rect, buffer: &mut Buffer) {
    let look = app.look;
    let full = class(app.size) == Class::Full;
    let narrow = class(app.size) == Class::Narrow;
    let mut facts: Vec<Span<'_>> = Vec::new();
    if app.is_read_only() && !app.options.replay {
        facts.push(Span::styled("READ-ONLY", look.bold()));
    }
    if app.mouse {
        facts.push(Span::raw("mouse"));
    }
    if let Some(path) = path(app) {
        facts.push(Span::raw(path));
    } else if let Some(known) = &app.facts {
        match &known.leader {
            None => facts.push(Span::styled("no leader", look.trouble())),
            Some(_) if narrow => {}
            Some(name) => {
                let name = truncate_cells(&clean_line(name), 24, look.ascii).into_owned();
                facts.push(Span::raw(match full {
                    true => format!("leader {name}, epoch {}", known.epoch),
                    false => format!("leader {name}"),
                }));
            }
        }
        let ((live, nodes), (active, slots)) = (known.nodes, known.slots);
        let workers = match known.workers {
            (live, Some(all)) => format!("{live}/{all}"),
            (live, None) => live.to_string(),
        };
        if full {
            facts.push(Span::raw(format!("nodes {live}/{nodes}")));
            facts.push(Span::raw(format!("workers {workers}")));
            facts.push(Span::raw(format!("slots {active}/{slots}")));
        } else if !narrow {
            facts.push(Span::raw(format!("{workers} workers")));
            facts.push(Span::raw(format!("{active}/{slots} slots")));
        }
    }
    let (link, style) = link(app);
    let mut right = vec![Span::styled(link, style)];
    if full {
        right.push(Span::raw(look.separator()));
        right.push(Span::raw(clock(app)));
    }
    right.push(Span::raw(" "));
    let width = usize::from(area.width);
    let right_cells: usize = right.iter().map(|span| cells(&span.content)).sum();
    let right_cells = right_cells.min(width);
    let name = truncate_cells(&clean_line(&app.options.context), 40, look.ascii).into_owned();
    let on_color = look.context(app.options.color);
    let mut left = match app.options.color {
        None => vec![Span::styled(" orx top", look.bold()), Span::raw("  "), Span::raw(name)],
        Some(_) => vec![
            Span::styled(" orx top", look.bold()),
            Span::raw(" "),
            Span::styled(format!(" {name} "), on_color),
        ],
    };
    if narrow {
        // There is no room for the name; its colour is shown all the same.
        left.truncate(1);
        left[0].style = look.bold().patch(on_color);
        if app.details.is_empty() {
            left.push(Span::raw(format!(" {}", screen_title(app.screen))));
        }
    }
    for fact in facts {
        left.push(Span::raw(look.separator()));
        left.push(fact);
    }
    let room = width.saturating_sub(right_cells + 1);
    line_at(app, &Line::from(left), area.x, area.y, u16::try_from(room).unwrap_or(0), buffer);
    let at = area.right().saturating_sub(u16::try_from(right_cells).unwrap_or(0));
    line_at(app, &Line::from(right), at, area.y, area.right() - at, buffer);
}

/// The title of a screen.
pub(crate) fn screen_title(screen: Screen) -> &'static str {
    match screen {
        Screen::Overview => "Overview",
        Screen::Jobs => "Jobs",
        Screen::Queues => "Queues",
        Screen::Workers => "Workers",
        Screen::Schedules => "Schedules",
        Screen::Dead => "Dead",
        Screen::Cluster => "Cluster",
        Screen::Logs => "Logs",
        Screen::Events => "Events",
        Screen::Settings => "Settings",
    }
}

fn tab_title(app: &App, screen: Screen, short: bool) -> String {
    let title = screen_title(screen);
    let title = match (short, screen) {
        (true, Screen::Overview) => "Over",
        (true, Screen::Schedules) => "Sched",
        (true, Screen::Workers) => "Work",
        (true, Screen::Queues) => "Queue",
        (true, Screen::Cluster) => "Clus",
        (true, Screen::Events) => "Ev",
        (true, Screen::Settings) => "Set",
        _ => title,
    };
    let dead = app.facts.as_ref().map_or(0, |facts| facts.dead_letters);
    let count = match screen {
        Screen::Dead if dead > 0 => format!(" {}", thousands(dead)),
        _ => String::new(),
    };
    format!("{} {title}{count}", screen.digit())
}

/// A tab as it is drawn: the chosen one in brackets, for which a wide line leaves room beside each.
fn tab_text(app: &App, screen: Screen) -> String {
    let short = class(app.size) < Class::Full;
    let title = tab_title(app, screen, short);
    match (screen == app.screen, short) {
        (true, true) => format!(" [{title}]"),
        (true, false) => format!("[{title}]"),
        (false, true) => format!(" {title}"),
        (false, false) => format!(" {title} "),
    }
}

/// Where each tab is.
pub(crate) fn tab_areas(app: &App, area: Rect) -> Vec<(Screen, Rect)> {
    let mut x = area.x;
    let mut all = Vec::new();
    for screen in Screen::ALL {
        let width = u16::try_from(cells(&tab_text(app, screen))).unwrap_or(u16::MAX);
        let width = width.min(area.right().saturating_sub(x));
        all.push((screen, Rect { x, y: area.y, width, height: 1 }));
        x += width;
    }
    all
}

/// The second line: the screens.
pub(crate) fn tabs(app: &App, area: Rect, buffer: &mut Buffer) {
    for (screen, place) in tab_areas(app, area) {
        let style = if screen == app.screen { app.look.bold() } else { Style::new() };
        let text = tab_text(app, screen);
        buffer.set_stringn(place.x, place.y, text, usize::from(place.width), style);
    }
}

/// The last lines: the message or what is being typed, and the keys. Returns the place of the cursor.
pub(crate) fn bottom(app: &App, areas: &Areas, buffer: &mut Buffer) -> Option<Position> {
    // A narrow terminal has one line for both.
    let alone = areas.message.height == 0;
    let message_area = if alone { areas.hints } else { areas.message };
    if let Some(prompt) = &app.prompt {
        if !alone {
            hints(app, areas.hints, buffer);
        }
        return Some(prompt_line(app, prompt, message_area, buffer));
    }
    let light = app.question.as_ref().is_some_and(crate::state::question::Question::is_light);
    if !(alone && (app.message.is_some() || light)) {
        hints(app, areas.hints, buffer);
    }
    match &app.message {
        Some(message) if !light => {
            let (sign, style) = match message.tone {
                Tone::Good => (app.look.sign("✓ ", "+ "), app.look.good()),
                Tone::Plain => ("", Style::new()),
                Tone::Bad => ("! ", app.look.warning()),
            };
            let text = clean_line(&message.text);
            let mut spans = vec![Span::raw(" "), Span::styled(sign, style), Span::raw(text)];
            if message.tone == Tone::Good && app.changes.last().is_some_and(|one| one.open == 0) {
                spans.push(Span::styled("    ! shows the command", app.look.dim()));
            }
            line_at(
                app,
                &Line::from(spans),
                message_area.x,
                message_area.y,
                message_area.width,
                buffer,
            );
        }
        _ if light || alone => {}
        _ => {
            if let Some(outage) = &app.link.outage {
                let hint = outage.failure.hint.as_deref().map(|hint| format!("; {hint}"));
                let cause = outage.failure.cause.as_deref().map(|cause| format!(": {cause}"));
                let text = format!(
                    " ! {}{}{}",
                    outage.failure.message,
                    cause.unwrap_or_default(),
                    hint.unwrap_or_default()
                );
                let line = Line::styled(clean_line(&text).into_owned(), app.look.warning());
                line_at(app, &line, message_area.x, message_area.y, message_area.width, buffer);
            } else {
                let status = super::lists::status_line(app);
                let line = Line::styled(format!(" {status}"), app.look.dim());
                line_at(app, &line, message_area.x, message_area.y, message_area.width, buffer);
            }
        }
    }
    None
}

fn prompt_line(app: &App, prompt: &Prompt, area: Rect, buffer: &mut Buffer) -> Position {
    let head = match prompt.kind {
        PromptKind::Filter => "filter: ",
        PromptKind::Search | PromptKind::Help => "search: ",
        PromptKind::Palette => ":",
        PromptKind::Export => "write to: ",
    };
    let head_cells = cells(head) + 1;
    let width = usize::from(area.width).saturating_sub(head_cells + 1);
    let scroll = prompt.input.visual_scroll(width);
    let value = clean_line(prompt.input.value());
    let mut skipped = 0;
    let shown: String = value
        .chars()
        .skip_while(|c| {
            let skip = skipped < scroll;
            skipped += if skip { cells(&c.to_string()) } else { 0 };
            skip
        })
        .collect();
    let mut spans = vec![
        Span::raw(" "),
        Span::styled(head, app.look.bold()),
        Span::raw(truncate_cells(&shown, width, app.look.ascii).into_owned()),
    ];
    if let Some(error) = &prompt.error {
        spans.push(Span::styled(format!("   ! {}", clean_line(error)), app.look.warning()));
    } else if prompt.kind == PromptKind::Filter && prompt.input.value().is_empty() {
        let example = "status:failed,timedout queue:media age>10m   Tab completes";
        spans.push(Span::styled(format!("   {example}"), app.look.dim()));
    }
    line_at(app, &Line::from(spans), area.x, area.y, area.width, buffer);
    let cursor = prompt.input.visual_cursor().saturating_sub(scroll);
    let x = area.x.saturating_add(u16::try_from(head_cells + cursor).unwrap_or(u16::MAX));
    Position { x: x.min(area.right().saturating_sub(1)), y: area.y }
}

/// The keys that work here, most useful first, and what Esc does.
fn hints(app: &App, area: Rect, buffer: &mut Buffer) {
    let more = ("?", "more");
    let mut pairs: Vec<(String, String)> = Vec::new();
    if app.question.is_some() {
        pairs.push(("y".into(), "yes".into()));
        pairs.push(("n Esc".into(), "no".into()));
    } else if let Some(prompt) = &app.prompt {
        pairs.push(("Enter".into(), "apply".into()));
        if matches!(prompt.kind, PromptKind::Filter | PromptKind::Palette) {
            pairs.push(("Tab".into(), "complete".into()));
        }
        pairs.push(("↑ ↓".into(), "history".into()));
        pairs.push(("Esc".into(), "cancel".into()));
    } else {
        let mut seen: Vec<Action> = Vec::new();
        let back = back_hint(app).map(|hint| ("Esc".to_owned(), hint.to_owned()));
        for binding in app.options.keys.active(&scopes(app), app.is_read_only()) {
            if binding.hint.is_empty() || seen.contains(&binding.action) {
                continue;
            }
            seen.push(binding.action);
            if let Some(key) = app.options.keys.keys(binding).first() {
                pairs.push(((*key).to_owned(), binding.hint.to_owned()));
            }
        }
        let at = pairs.len().min(4);
        pairs.splice(at..at, back);
    }
    let asks = app.question.is_some() || app.prompt.is_some();
    let end = if asks { 0 } else { cells(more.0) + cells(more.1) + 3 };
    let mut left = usize::from(area.width).saturating_sub(end + 1);
    let mut spans = vec![Span::raw(" ")];
    for (key, hint) in pairs {
        let key = if app.look.ascii { key.replace("↑ ↓", "Up Down") } else { key };
        let wide = cells(&key) + cells(&hint) + 3;
        if wide > left {
            break;
        }
        left -= wide;
        spans.push(Span::styled(key, app.look.bold()));
        spans.push(Span::raw(format!(" {hint}  ")));
    }
    if !asks {
        spans.push(Span::styled(more.0, app.look.bold()));
        spans.push(Span::raw(format!(" {}", more.1)));
    }
    line_at(app, &Line::from(spans), area.x, area.y, area.width, buffer);
}

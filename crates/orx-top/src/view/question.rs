//! The question before a change.

use orx_model::text::{cells, clean_line};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use super::{boxed, line_at, lines};
use crate::columns::thousands;
use crate::layout::{Areas, Class};
use crate::state::App;
use crate::state::question::{DryRun, Focus, Question, Verb};

/// Targets that the dialog names.
const EXAMPLES: usize = 5;

/// Draws the open question. Returns the place of the cursor, if something is typed.
pub(crate) fn draw(app: &App, areas: &Areas, buffer: &mut Buffer) -> Option<Position> {
    let question = app.question.as_ref()?;
    if question.is_light() {
        light(app, question, areas, buffer);
        return None;
    }
    dialog(app, question, areas, buffer)
}

fn light(app: &App, question: &Question, areas: &Areas, buffer: &mut Buffer) {
    let area = if areas.message.height > 0 { areas.message } else { areas.hints };
    let target = question.targets.first();
    let what =
        target.map_or(String::new(), |one| match one.name.is_empty() || one.name == one.id {
            true => one.id.clone(),
            false if matches!(question.verb, Verb::Undrain | Verb::UndrainNode) => one.name.clone(),
            false => format!("{} {}", one.id, one.name),
        });
    let text = format!(" {} {what} on {}? ", question.verb.word(), app.cluster_name());
    let spans =
        vec![Span::styled(clean_line(&text).into_owned(), app.look.bold()), Span::raw("y/N")];
    Clear.render(area, buffer);
    line_at(app, &Line::from(spans), area.x, area.y, area.width, buffer);
}

fn dialog(app: &App, question: &Question, areas: &Areas, buffer: &mut Buffer) -> Option<Position> {
    let (content, reason_at, typed_at) = content(app, question);
    let screen = Rect::new(0, 0, app.size.0, app.size.1);
    let wide = content.iter().map(|line| line.width()).max().unwrap_or(0) + 4;
    let width = u16::try_from(wide).unwrap_or(u16::MAX).clamp(50, 90).min(screen.width);
    let height = u16::try_from(content.len() + 2).unwrap_or(u16::MAX).min(screen.height);
    let body = areas.body;
    let area = Rect {
        x: (screen.width - width) / 2,
        y: (body.y + body.height.saturating_sub(height) / 2).min(screen.height - height),
        width,
        height,
    };
    Clear.render(area, buffer);
    let word = question.verb.word();
    let mut title = word.to_owned();
    title[..1].make_ascii_uppercase();
    let title = format!("{title} on {}", app.cluster_name());
    let title = Line::styled(clean_line(&title).into_owned(), app.look.bold());
    let mut inside = boxed(app, title, true, area, Class::Full, buffer);
    inside.x += 1;
    inside.width = inside.width.saturating_sub(1);
    // In a low terminal the end of the dialog matters most: the keys are there.
    let cut = content.len().saturating_sub(usize::from(inside.height));
    lines(app, content.iter().skip(cut).cloned(), inside, buffer);
    let (row, input) = match question.focus {
        Focus::Reason => (reason_at, &question.reason),
        _ if question.wants_number() => (typed_at, &question.typed),
        Focus::Answer | Focus::Force | Focus::Canary => return None,
    };
    let y = u16::try_from(row.checked_sub(cut)?).ok()?;
    let x = inside.x + 8 + u16::try_from(input.visual_cursor()).unwrap_or(0);
    Some(Position { x: x.min(inside.right().saturating_sub(1)), y: inside.y + y })
}

/// The lines of the dialog, and which of them the reason and the number are typed in.
fn content(app: &App, question: &Question) -> (Vec<Line<'static>>, usize, usize) {
    let look = app.look;
    let verb = question.verb;
    let mut all: Vec<Line<'static>> = Vec::new();
    let word = verb.word();
    let what = match question.count() {
        Some(count) => verb.object(count),
        None => "…".to_owned(),
    };
    let mut capital = word.to_owned();
    capital[..1].make_ascii_uppercase();
    let of = question.filter.as_deref().map(|filter| format!(" that match {filter}"));
    let head = format!("{capital} {what}{}?", of.unwrap_or_default());
    all.push(Line::styled(clean_line(&head).into_owned(), look.bold()));
    match &question.dry_run {
        DryRun::Asked => {
            all.push(Line::styled("  the server counts what would change …", look.dim()))
        }
        DryRun::Failed(failure) => {
            let text = format!("  could not be counted: {}", failure.message);
            all.push(Line::styled(clean_line(&text).into_owned(), look.bad()));
        }
        DryRun::Counted(answer) => {
            let alone = question.targets.len() as u64;
            if question.filter.is_none() && answer.affected < alone {
                let left = alone - answer.affected;
                all.push(Line::raw(format!(
                    "  {left} of the {alone} marked are left alone: not in a status to {word}"
                )));
            }
        }
        DryRun::None => {}
    }
    let examples = examples(question);
    let more = question.count().unwrap_or(0).saturating_sub(examples.len() as u64);
    for example in examples {
        all.push(Line::raw(format!("  {}", clean_line(&example))));
    }
    if more > 0 {
        all.push(Line::styled(format!("  and {} more", thousands(more)), look.dim()));
    }
    let running = question.filter.is_some()
        || question.targets.iter().any(|one| one.status.is_none_or(|status| status.is_live()));
    all.push(Line::raw(verb.consequence(running)));
    let input = |name: &str, value: &str, focused: bool| {
        let style = if focused { look.bold() } else { Style::new() };
        let line = "_".repeat(30_usize.saturating_sub(cells(value)).max(1));
        Line::from(vec![
            Span::styled(format!("{name:<8}"), style),
            Span::raw(clean_line(value).into_owned()),
            Span::styled(line, look.dim()),
            Span::styled(if focused { "" } else { " (Tab)" }, look.dim()),
        ])
    };
    let reason_at = all.len();
    all.push(input("Reason", question.reason.value(), question.focus == Focus::Reason));
    let tick = |set: bool, text: &str, focused: bool| {
        let cross = if set { "x" } else { " " };
        let style = if focused { look.reverse() } else { Style::new() };
        let hint = if focused { "  Space changes it" } else { "" };
        let text = format!("[{cross}] {text}");
        Line::from(vec![Span::styled(text, style), Span::styled(hint, look.dim())])
    };
    if verb == Verb::CancelJobs {
        let focused = question.focus == Focus::Force;
        all.push(tick(question.force, "force (do not wait for the workers)", focused));
    }
    if let Some(job) = question.canary.filter(|_| question.offers_canary()) {
        let focused = question.focus == Focus::Canary;
        let text = format!("canary: retry 1 first ({job}), the others only if it completes");
        all.push(tick(question.canary_first, &text, focused));
    }
    let typed_at = all.len();
    if question.wants_number() {
        let value = question.typed.value();
        let focused = question.focus != Focus::Reason;
        let count = question.count().unwrap_or(0);
        all.push(Line::raw(format!("Type {count} to go on:")));
        all.push(input("Number", value, focused));
    }
    let object = question.count().map_or_else(String::new, |count| verb.object(count));
    all.push(Line::raw(""));
    all.push(Line::from(vec![
        Span::raw("      "),
        Span::styled("y", look.bold()),
        Span::raw(format!("  {word} {object}      ")),
        Span::styled("n Esc Enter", look.reverse()),
        Span::raw("  change nothing"),
    ]));
    let typed_at = if question.wants_number() { typed_at + 1 } else { typed_at };
    (all, reason_at, typed_at)
}

fn examples(question: &Question) -> Vec<String> {
    if !question.targets.is_empty() {
        return question.targets.iter().take(EXAMPLES).map(|one| one.label.clone()).collect();
    }
    match &question.dry_run {
        DryRun::Counted(answer) => {
            let shown = answer.jobs.iter().take(EXAMPLES);
            shown
                .map(|job| match job.status {
                    Some(status) => format!("{:<8} {}", job.id, status.words()),
                    None => job.id.to_string(),
                })
                .collect()
        }
        DryRun::None | DryRun::Asked | DryRun::Failed(_) => Vec::new(),
    }
}

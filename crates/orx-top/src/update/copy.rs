//! What is copied to the clipboard.

use orx_model::JobSummary;

use crate::options::Screen;
use crate::state::details::Detail;
use crate::state::grid::Grid;
use crate::state::{App, Effect, OverviewBox, Popup, Tone};

/// Copies the id of what is open or under the cursor; of marked rows, all ids.
pub(crate) fn id(app: &mut App, effects: &mut Vec<Effect>) {
    let (what, text) = match app.detail() {
        Some(Detail::Job(pane)) => ("id", pane.id.to_string()),
        Some(Detail::Worker(pane)) => ("incarnation", pane.incarnation.clone()),
        Some(Detail::Schedule(pane)) => ("id", pane.id.to_string()),
        None if app.screen == Screen::Logs => {
            let Some(line) = app.logs.log.at_cursor() else { return };
            ("id", line.job.to_string())
        }
        None => {
            let attention =
                app.screen == Screen::Overview && app.overview.focus == OverviewBox::Attention;
            let Some(grid) = super::keys::grid(app) else { return };
            if grid.has_marks() && !grid.all_marked {
                let ids: Vec<&str> = grid.marks().iter().map(String::as_str).collect();
                ("ids", ids.join(" "))
            } else {
                let Some(key) = grid.cursor().map(str::to_owned) else { return };
                match attention {
                    true => {
                        let alerts = app.facts.as_ref().map(|facts| &facts.attention);
                        let place: Option<usize> = key.parse().ok();
                        let alert = alerts.zip(place).and_then(|(all, place)| all.get(place));
                        let alert = alert.map(|(_, text)| text.clone());
                        ("alert", alert.unwrap_or_default())
                    }
                    false => ("id", key),
                }
            }
        }
    };
    effects.push(Effect::Copy { what: format!("the {what}"), text });
}

/// The job that is open or under the cursor.
fn job(app: &App) -> Option<JobSummary> {
    if let Some(Detail::Job(pane)) = app.detail() {
        let job = pane.job.as_ref()?.job.clone();
        return Some(JobSummary { id: job.id, spec: job.spec.into(), state: job.state });
    }
    let cursor = app.jobs.grid.cursor()?;
    app.jobs.pages.rows().into_iter().find(|row| row.id.to_string() == cursor).cloned()
}

/// Opens the choice of what to copy.
pub(crate) fn menu(app: &mut App) {
    let Some(job) = job(app) else {
        app.notify(Tone::Plain, "there is no job under the cursor");
        return;
    };
    let mut choices = vec![("the id".to_owned(), job.id.to_string())];
    if let Some(error) = &job.state.error {
        choices.push(("the error".to_owned(), error.clone()));
    }
    if let Some(Detail::Job(pane)) = app.detail()
        && let Some(detail) = &pane.job
    {
        choices.push(("the args".to_owned(), detail.job.spec.args.get().to_owned()));
        if let Some(command) = &detail.job.spec.command {
            choices.push(("the command line".to_owned(), command.argv.join(" ")));
        }
    }
    if let Ok(json) = serde_json::to_string(&job) {
        choices.push(("the job as JSON".to_owned(), json));
    }
    choices.push(("`orx show`".to_owned(), format!("orx show {}", job.id)));
    choices.push(("`orx logs -f`".to_owned(), format!("orx logs -f {}", job.id)));
    let mut grid = Grid::default();
    grid.set_height(choices.len());
    grid.set_rows((0..choices.len()).map(|place| place.to_string()).collect());
    app.popup = Some(Popup::Copy { choices, grid });
}

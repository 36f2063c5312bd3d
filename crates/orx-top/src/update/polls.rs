//! Which data is asked for, and when: what is in view, every [`POLL`], one request of a kind at a time.

use std::time::Duration;

use orx_model::JobStatus;
use orx_model::schedule::wire::{SchedulesQuery, SlotsQuery};
use orx_model::wire::{AuditQuery, ListQuery};

use super::live::is_alive;
use crate::api::{Request, Topic};
use crate::options::Screen;
use crate::state::details::{Detail, JobTab};
use crate::state::link::POLL;
use crate::state::{App, Effect, Purpose};

/// A list whose changes are streamed is read again at most this often.
const REFETCH: Duration = Duration::from_secs(1);
/// The count of a list, and the changes by people, are read again this often.
const COUNT: Duration = Duration::from_secs(10);
/// Jobs that the overview asks for.
const RECENT: u32 = 100;
/// Changes by people that are read for the events of a job.
const AUDIT: u32 = 500;

/// Sends the requests that are due.
pub(crate) fn ask(app: &mut App, effects: &mut Vec<Effect>) {
    let now = app.now.mono;
    if app.link.waits(now) {
        return;
    }
    let mut wanted = vec![(Purpose::Cluster, Request::Cluster)];
    // While no server answers, one question at a time finds out when one does.
    if !app.link.is_down() {
        wanted.extend(in_view(app));
    }
    for (purpose, request) in wanted {
        if is_due(app, &purpose) {
            call(app, purpose, request, effects);
        }
    }
    if !app.link.is_down() {
        jobs(app, effects);
    }
}

/// Sends a request.
pub(crate) fn call(app: &mut App, purpose: Purpose, request: Request, effects: &mut Vec<Effect>) {
    app.calls.in_flight.insert(purpose.clone(), app.now.mono);
    effects.push(Effect::Call { purpose, request });
}

/// The stream that makes a request needless while it is alive.
fn topic(app: &App, purpose: &Purpose) -> Option<Topic> {
    match purpose {
        // When nodes were seen last changes with each heartbeat, which is no event.
        Purpose::Cluster if app.screen == Screen::Cluster => None,
        Purpose::Cluster => Some(Topic::Overview),
        Purpose::Queues => Some(Topic::Queues),
        Purpose::Workers => Some(Topic::Workers),
        Purpose::Recent => Some(Topic::Jobs(String::new())),
        Purpose::Job(id) => Some(Topic::Job(*id)),
        Purpose::Schedules => Some(Topic::Schedules),
        Purpose::Dead(_) => Some(Topic::DeadLetters),
        Purpose::Jobs(_)
        | Purpose::Audit(_)
        | Purpose::Worker(_)
        | Purpose::Slots(_)
        | Purpose::Settings
        | Purpose::DryRun(_)
        | Purpose::Change(_) => None,
    }
}

/// The time between two requests of a kind.
fn pause(purpose: &Purpose) -> Duration {
    match purpose {
        Purpose::Audit(_) => COUNT,
        _ => POLL,
    }
}

fn is_due(app: &App, purpose: &Purpose) -> bool {
    let calls = &app.calls;
    if app.link.is_down() {
        // The next try is due when the link says so, however new the last answer is.
        return !calls.in_flight.contains_key(purpose);
    }
    let answered = calls.answered.get(purpose);
    let streams = topic(app, purpose).is_some_and(|topic| is_alive(app, &topic));
    if streams && answered.is_some() {
        return false;
    }
    let old = answered.is_none_or(|at| app.now.mono.saturating_sub(*at) >= pause(purpose));
    old && !calls.in_flight.contains_key(purpose)
}

/// The time until the next request is due.
pub(crate) fn next(app: &App) -> Option<Duration> {
    if app.link.is_down() {
        return None;
    }
    let due = |purpose: &Purpose| {
        if topic(app, purpose).is_some_and(|topic| is_alive(app, &topic)) {
            return None;
        }
        let at = app.calls.answered.get(purpose)?;
        let waits = !app.calls.in_flight.contains_key(purpose);
        waits.then(|| (*at + pause(purpose)).saturating_sub(app.now.mono))
    };
    let all = in_view(app).into_iter().map(|(purpose, _)| purpose);
    all.chain([Purpose::Cluster]).filter_map(|purpose| due(&purpose)).min()
}

/// Everything is asked for anew.
pub(crate) fn reload(app: &mut App) {
    app.calls.answered.clear();
    app.link.retry_now(app.now.mono);
}

fn in_view(app: &App) -> Vec<(Purpose, Request)> {
    let queues = (Purpose::Queues, Request::Queues);
    let workers = (Purpose::Workers, Request::Workers);
    match app.detail() {
        Some(Detail::Job(pane)) => {
            let mut all = vec![(Purpose::Job(pane.id), Request::Job(pane.id))];
            let status = pane.job.as_ref().map(|job| job.job.state.status);
            if pane.tab == JobTab::Why && status == Some(JobStatus::Pending) {
                all.extend([queues, workers]);
            }
            if pane.tab == JobTab::Events {
                let query = AuditQuery { limit: Some(AUDIT), ..AuditQuery::default() };
                all.push((Purpose::Audit(pane.id), Request::Audit(query)));
            }
            return all;
        }
        Some(Detail::Worker(pane)) => {
            let request = Request::Worker(pane.incarnation.clone());
            return vec![(Purpose::Worker(pane.incarnation.clone()), request)];
        }
        Some(Detail::Schedule(pane)) => {
            let query = SlotsQuery { limit: Some(200), ..SlotsQuery::default() };
            let slots = Request::Slots(pane.id.clone(), query);
            return vec![(Purpose::Slots(pane.id.clone()), slots), schedules()];
        }
        None => {}
    }
    match app.screen {
        Screen::Overview => {
            let query = ListQuery { limit: Some(RECENT), ..ListQuery::default() };
            vec![(Purpose::Recent, Request::Jobs(query)), queues]
        }
        Screen::Queues => vec![queues],
        Screen::Workers => vec![workers],
        Screen::Schedules => vec![schedules()],
        Screen::Dead => vec![super::dead::request(app)],
        // They change only with a restart of the server.
        Screen::Settings
            if app.server_settings.is_none()
                && !app.calls.failed.contains_key(&Purpose::Settings) =>
        {
            vec![(Purpose::Settings, Request::Settings)]
        }
        Screen::Jobs | Screen::Cluster | Screen::Logs | Screen::Events | Screen::Settings => {
            Vec::new()
        }
    }
}

fn schedules() -> (Purpose, Request) {
    let query = SchedulesQuery { limit: Some(500), cursor: None };
    (Purpose::Schedules, Request::Schedules(query))
}

/// The pages of the list of jobs: those in view, and the next before the view reaches it.
fn jobs(app: &mut App, effects: &mut Vec<Effect>) {
    if app.screen != Screen::Jobs || app.detail().is_some() {
        return;
    }
    let under_way = app.calls.in_flight.keys().any(|one| matches!(one, Purpose::Jobs(_)));
    if under_way {
        return;
    }
    let (top, height) = (app.jobs.grid.top(), app.jobs.grid.height());
    let last = app.calls.answered.iter().filter(|(one, _)| matches!(one, Purpose::Jobs(_)));
    let last = last.map(|(_, at)| *at).max();
    let now = app.now.mono;
    let streams = is_alive(app, &Topic::Jobs(app.jobs.pages.filter.clone()));
    let pages = &mut app.jobs.pages;
    // With a stream, a list is read again when it reports changes, and now and then for its count.
    let every = match (streams, pages.stale) {
        (true, true) => REFETCH,
        (true, false) => COUNT,
        (false, _) => POLL,
    };
    let due = !pages.loaded || last.is_none_or(|at| now.saturating_sub(at) >= every);
    let mut requests = Vec::new();
    if due {
        requests = pages.refresh(top, height);
    } else if app.frozen.is_none() {
        requests.extend(pages.wanted(top, height));
    }
    for (page, query) in requests {
        call(app, Purpose::Jobs(page), Request::Jobs(query), effects);
    }
}

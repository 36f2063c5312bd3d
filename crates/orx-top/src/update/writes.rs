//! Changes: the question, the requests that follow a yes, and the messages about their answers.

use std::collections::BTreeMap;

use crossterm::event::KeyEvent;
use orx_model::schedule::wire::{ScheduleOrder, ScheduleState};
use orx_model::text::clean_line;
use orx_model::time::format_duration;
use orx_model::wire::{
    Change as JobChange, ChangeAnswer, ChangeRequest, NodeDrainRequest, OperationStatus,
    QueueOrder, WorkerCommand, WorkersOrderRequest,
};
use orx_model::{JobId, JobStatus, JobSummary, Name};

use super::{operations, polls};
use crate::api::{Answer, Failure, Request};
use crate::columns::took;
use crate::keys::Action;
use crate::options::Screen;
use crate::state::details::Detail;
use crate::state::question::{Question, Reply, Verb, WriteTarget};
use crate::state::{App, Change, ChangeResult, Effect, OverviewBox, Purpose, Tone};

/// Changes that the list of recent ones holds.
const RECENT: usize = 100;
/// A filter that every job matches.
const ALL: &str = "id>0";

/// Asks before a change, for what is marked, else for what is under the cursor.
pub(crate) fn ask(app: &mut App, action: Action, effects: &mut Vec<Effect>) {
    if app.is_read_only() {
        return;
    }
    if app.link.is_down() {
        app.notify(Tone::Bad, "no server answers: nothing can be changed now");
        return;
    }
    match action {
        Action::Cancel | Action::Retry if app.screen != Screen::Dead || app.detail().is_some() => {
            jobs(app, action, effects);
        }
        Action::Delete if deletes_jobs(app) => jobs(app, action, effects),
        Action::Retry => super::dead::ask(app, Verb::RetryDead, effects),
        Action::Delete if app.screen == Screen::Dead => {
            super::dead::ask(app, Verb::DeleteDead, effects)
        }
        Action::Pause if app.screen == Screen::Queues => queue(app, effects),
        Action::Delete | Action::Pause | Action::Trigger => schedule(app, action, effects),
        Action::Drain if app.screen == Screen::Cluster => node(app, effects),
        Action::Drain => worker(app, effects),
        _ => {}
    }
}

/// Whether a deletion is for jobs here.
fn deletes_jobs(app: &App) -> bool {
    match app.detail() {
        Some(detail) => matches!(detail, Detail::Job(_)),
        None => app.screen == Screen::Jobs,
    }
}

pub(super) fn job_target(app: &App, job: &JobSummary) -> WriteTarget {
    let now = app.server_now();
    let worker = job.state.live.as_ref().map(|live| live.worker_name.to_string());
    let span = took(job, now).map(format_duration).unwrap_or_default();
    let label = format!(
        "{:<8} {} {:<12} {:<20} {:>7}  {}",
        job.id,
        app.look.status(job.state.status).0,
        job.state.status.words(),
        job.spec.name,
        span,
        worker.unwrap_or_else(|| job.spec.queue.to_string()),
    );
    WriteTarget {
        id: job.id.to_string(),
        name: job.spec.name.to_string(),
        label,
        status: Some(job.state.status),
        version: 0,
    }
}

/// The jobs that the dashboard has seen, by id.
fn seen(app: &App, id: &str) -> Option<WriteTarget> {
    let is = |job: &&JobSummary| job.id.to_string() == id;
    let rows = app.jobs.pages.rows();
    let found = rows.into_iter().find(is).or_else(|| app.overview.rows.iter().find(is));
    found.map(|job| job_target(app, job))
}

fn jobs(app: &mut App, action: Action, effects: &mut Vec<Effect>) {
    if let Some(Detail::Job(pane)) = app.detail() {
        let Some(detail) = &pane.job else { return };
        let job = detail.job.clone();
        let job = JobSummary { id: job.id, spec: job.spec.into(), state: job.state };
        let target = job_target(app, &job);
        open(app, verb_of(action), vec![target], None, None, effects);
        return;
    }
    let grid = match app.screen {
        Screen::Jobs => &app.jobs.grid,
        Screen::Overview if app.overview.focus == OverviewBox::Recent => &app.overview.recent,
        _ => return,
    };
    if grid.all_marked {
        let filter = Some(app.jobs.pages.filter.clone()).filter(|filter| !filter.is_empty());
        open(
            app,
            verb_of(action),
            Vec::new(),
            Some(filter.unwrap_or_else(|| ALL.to_owned())),
            None,
            effects,
        );
        return;
    }
    let ids: Vec<String> = match grid.has_marks() {
        true => grid.marks().iter().cloned().collect(),
        false => grid.cursor().map(str::to_owned).into_iter().collect(),
    };
    if ids.is_empty() {
        app.notify(Tone::Plain, "the row under the cursor has gone; choose one");
        return;
    }
    let mut ids: Vec<JobId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
    ids.sort();
    ask_for_jobs(app, action, &ids, effects);
}

fn verb_of(action: Action) -> Verb {
    match action {
        Action::Cancel => Verb::CancelJobs,
        Action::Delete => Verb::DeleteJobs,
        _ => Verb::RetryJobs,
    }
}

/// Asks before a change of these jobs.
pub(crate) fn ask_for_jobs(
    app: &mut App,
    action: Action,
    ids: &[JobId],
    effects: &mut Vec<Effect>,
) {
    if app.link.is_down() {
        app.notify(Tone::Bad, "no server answers: nothing can be changed now");
        return;
    }
    let target = |id: &JobId| {
        seen(app, &id.to_string()).unwrap_or_else(|| WriteTarget {
            id: id.to_string(),
            name: String::new(),
            label: id.to_string(),
            status: None,
            version: 0,
        })
    };
    let targets: Vec<WriteTarget> = ids.iter().map(target).collect();
    let verb = verb_of(action);
    if let [only] = targets.as_slice()
        && let Some(status) = only.status
        && status.is_final() == (verb == Verb::CancelJobs)
    {
        let why = match verb {
            Verb::CancelJobs => format!("{} is {} already", only.id, status.words()),
            Verb::DeleteJobs => {
                format!("{} is {}: only what has ended is deleted", only.id, status.words())
            }
            _ => format!("{} is {}: only what has ended is retried", only.id, status.words()),
        };
        app.notify(Tone::Plain, why);
        return;
    }
    open(app, verb, targets, None, None, effects);
}

fn schedule(app: &mut App, action: Action, effects: &mut Vec<Effect>) {
    let id = match app.detail() {
        Some(Detail::Schedule(pane)) => Some(pane.id.to_string()),
        _ => app.schedules.grid.cursor().map(str::to_owned),
    };
    let found = app.schedules.rows.iter().find(|one| Some(one.id.to_string()) == id);
    let Some(schedule) = found else { return };
    let verb = match (action, schedule.state) {
        (Action::Pause, ScheduleState::Paused) => Verb::ResumeSchedule,
        (Action::Pause, _) => Verb::PauseSchedule,
        (Action::Trigger, _) => Verb::Trigger,
        _ => Verb::RemoveSchedule,
    };
    let target = WriteTarget {
        id: schedule.id.to_string(),
        name: String::new(),
        label: format!(
            "{}  {}  {}",
            schedule.id,
            schedule.state.as_str(),
            schedule.spec.when_text()
        ),
        status: None,
        version: schedule.version,
    };
    open(app, verb, vec![target], None, None, effects);
}

fn queue(app: &mut App, effects: &mut Vec<Effect>) {
    let name = app.queues.grid.cursor().map(str::to_owned);
    let found = app.queues.rows.iter().find(|one| Some(one.queue.to_string()) == name);
    let Some(queue) = found else { return };
    let verb = if queue.paused.is_some() { Verb::ResumeQueue } else { Verb::PauseQueue };
    let target = WriteTarget {
        id: queue.queue.to_string(),
        name: String::new(),
        label: queue.queue.to_string(),
        status: None,
        version: 0,
    };
    open(app, verb, vec![target], None, None, effects);
}

fn worker(app: &mut App, effects: &mut Vec<Effect>) {
    let incarnation = match app.detail() {
        Some(Detail::Worker(pane)) => Some(pane.incarnation.clone()),
        _ => app.workers.grid.cursor().map(str::to_owned),
    };
    let found =
        app.workers.rows.iter().find(|one| Some(one.incarnation.to_string()) == incarnation);
    let Some(worker) = found else { return };
    let verb = if worker.order.is_some() { Verb::Undrain } else { Verb::Drain };
    let active = worker.active;
    let target = WriteTarget {
        id: worker.incarnation.to_string(),
        name: worker.name.to_string(),
        label: format!(
            "{}  {} of {} slots busy  {}",
            worker.name, active, worker.slots, worker.host
        ),
        status: None,
        version: 0,
    };
    open(app, verb, vec![target], None, None, effects);
}

fn node(app: &mut App, effects: &mut Vec<Effect>) {
    let incarnation = app.nodes.cursor().map(str::to_owned);
    let nodes = app.cluster.as_ref().map_or(&[][..], |cluster| &cluster.nodes);
    let found = nodes.iter().find(|one| Some(one.node.to_string()) == incarnation);
    let Some(node) = found else { return };
    let verb = if node.drain.is_some() { Verb::UndrainNode } else { Verb::DrainNode };
    let url = node.url.as_deref().unwrap_or("no address");
    let target = WriteTarget {
        id: node.node.to_string(),
        name: node.name.to_string(),
        label: format!("{}  {}  {url}", node.name, node.role()),
        status: None,
        version: 0,
    };
    open(app, verb, vec![target], None, None, effects);
}

/// Shows the question, and asks the server what many targets come to.
pub(super) fn open(
    app: &mut App,
    verb: Verb,
    targets: Vec<WriteTarget>,
    filter: Option<String>,
    canary: Option<JobId>,
    effects: &mut Vec<Effect>,
) {
    let number = app.next_number();
    let protected = app.options.protected;
    let mut question = Question::new(number, verb, targets, filter, protected, app.now.mono);
    question.canary = canary;
    app.message = None;
    if matches!(question.dry_run, crate::state::question::DryRun::Asked) {
        let mut change = ChangeRequest { dry_run: true, ..ChangeRequest::default() };
        match &question.filter {
            Some(filter) => change.filter = Some(filter.clone()),
            None => change.ids = ids_of(&question.targets),
        }
        polls::call(app, Purpose::DryRun(number), job_request(verb, change), effects);
    }
    app.question = Some(question);
}

pub(super) fn ids_of(targets: &[WriteTarget]) -> Vec<JobId> {
    targets.iter().filter_map(|target| target.id.parse().ok()).collect()
}

fn job_request(verb: Verb, change: ChangeRequest) -> Request {
    match verb {
        Verb::CancelJobs => Request::Cancel(change),
        Verb::RetryJobs => Request::Retry(change),
        Verb::DeleteJobs => Request::DeleteJobs(change),
        Verb::RetryDead => Request::RetryDead(change),
        _ => Request::DeleteDead(change),
    }
}

/// Takes a key of the open question.
pub(crate) fn key(app: &mut App, key: &KeyEvent, effects: &mut Vec<Effect>) {
    let now = app.now.mono;
    let Some(question) = &mut app.question else { return };
    match question.key(key, now) {
        Reply::Open => {}
        Reply::Keep => {
            app.question = None;
            app.notify(Tone::Plain, "nothing was changed");
        }
        Reply::Confirm if app.link.is_down() => {
            app.question = None;
            app.notify(Tone::Bad, "no server answers: nothing was changed");
        }
        Reply::Confirm => {
            let Some(question) = app.question.take() else { return };
            carry_out(app, question, effects);
        }
    }
}

fn carry_out(app: &mut App, question: Question, effects: &mut Vec<Effect>) {
    let number = app.next_number();
    let requests = requests(&question, app.options.by.clone());
    let (requests, canary) = super::dead::canary(&question, requests);
    let command = command(&question);
    app.notify(Tone::Plain, format!("{} …", question.verb.word()));
    app.changes.push(Change {
        number,
        verb: question.verb,
        at: app.server_now(),
        started: app.now.mono,
        open: requests.len(),
        command,
        result: ChangeResult::default(),
        canary,
    });
    if app.changes.len() > RECENT {
        app.changes.remove(0);
    }
    for request in requests {
        polls::call(app, Purpose::Change(number), request, effects);
    }
    for grid in [&mut app.jobs.grid, &mut app.dead.grid] {
        grid.unmark();
    }
}

/// The requests of a change. Jobs that the user saw in different statuses go apart, so that each is changed
/// only if it is still as it was seen.
fn requests(question: &Question, by: Option<String>) -> Vec<Request> {
    let reason = question.reason_text();
    let order = || ScheduleOrder { reason: reason.clone(), by: by.clone() };
    let only = question.targets.first();
    let named = only.and_then(|target| target.id.parse::<Name>().ok());
    let of_queue = || QueueOrder { reason: reason.clone(), by: by.clone() };
    let version = only.map_or(0, |target| target.version);
    let worker = |command| {
        let workers = question.targets.iter().map(|target| target.id.clone()).collect();
        let (reason, by) = (reason.clone(), by.clone());
        vec![Request::OrderWorkers(WorkersOrderRequest {
            command,
            workers,
            reason,
            by,
            dry_run: false,
        })]
    };
    match (question.verb, named) {
        (Verb::Drain, _) => worker(WorkerCommand::Drain),
        (Verb::Undrain, _) => worker(WorkerCommand::Resume),
        (Verb::DrainNode | Verb::UndrainNode, _) => {
            let id = only.map(|target| target.id.clone()).unwrap_or_default();
            let request = NodeDrainRequest { reason: reason.clone(), by: by.clone() };
            let drains = question.verb == Verb::DrainNode;
            vec![Request::DrainNode { node: id, drains, request }]
        }
        (Verb::PauseQueue, Some(name)) => vec![Request::PauseQueue(name, of_queue())],
        (Verb::ResumeQueue, Some(name)) => vec![Request::ResumeQueue(name, of_queue())],
        (Verb::PauseSchedule, Some(id)) => vec![Request::PauseSchedule(id, order())],
        (Verb::ResumeSchedule, Some(id)) => vec![Request::ResumeSchedule(id, order())],
        (Verb::Trigger, Some(id)) => vec![Request::TriggerSchedule(id, order())],
        (Verb::RemoveSchedule, Some(id)) => vec![Request::RemoveSchedule(id, version)],
        (verb, _) if verb.is_of_jobs() => {
            if let Some(operation) = operations::operation(question, by.clone()) {
                return vec![Request::StartOperation(operation)];
            }
            let change = |ids, expected| ChangeRequest {
                ids,
                reason: reason.clone(),
                by: by.clone(),
                force: question.force,
                expected,
                ..ChangeRequest::default()
            };
            let mut by_status: BTreeMap<Option<JobStatus>, Vec<JobId>> = BTreeMap::new();
            for target in &question.targets {
                if let Ok(id) = target.id.parse() {
                    by_status.entry(target.status).or_default().push(id);
                }
            }
            let request = |(status, ids)| job_request(question.verb, change(ids, status));
            by_status.into_iter().map(request).collect()
        }
        _ => Vec::new(),
    }
}

/// The same change as a command.
fn command(question: &Question) -> String {
    let ids: Vec<&str> = question.targets.iter().map(|target| target.id.as_str()).collect();
    let names: Vec<&str> = question.targets.iter().map(|target| target.name.as_str()).collect();
    let what = match &question.filter {
        Some(filter) => format!("--filter '{}'", filter.replace('\'', "'\\''")),
        None => ids.join(" "),
    };
    let mut line = match question.verb {
        Verb::CancelJobs => format!("orx cancel {what}"),
        Verb::RetryJobs => format!("orx retry {what}"),
        Verb::DeleteJobs => format!("orx rm {what}"),
        Verb::RetryDead => format!("orx dlq retry {what}"),
        Verb::DeleteDead => format!("orx dlq rm {what}"),
        Verb::Drain => format!("orx worker drain {}", names.join(" ")),
        Verb::Undrain => format!("orx worker resume {}", names.join(" ")),
        Verb::DrainNode => format!("orx cluster drain {}", names.join(" ")),
        Verb::UndrainNode => format!("orx cluster drain {} --undo", names.join(" ")),
        Verb::PauseQueue => format!("orx queue pause {what}"),
        Verb::ResumeQueue => format!("orx queue resume {what}"),
        Verb::PauseSchedule => format!("orx schedule pause {what}"),
        Verb::ResumeSchedule => format!("orx schedule resume {what}"),
        Verb::Trigger => format!("orx schedule trigger {what}"),
        Verb::RemoveSchedule => format!("orx schedule rm {what}"),
    };
    if question.force {
        line.push_str(" --force");
    }
    if question.canary_first {
        line.push_str(" --canary 1");
    }
    if let Some(reason) = question.reason_text() {
        line.push_str(&format!(" --reason '{}'", reason.replace('\'', "'\\''")));
    }
    line
}

/// Takes the answer to one request of a change in, and says what became of all of it.
pub(crate) fn answered(
    app: &mut App,
    number: u64,
    request: &Request,
    result: Result<Answer, Failure>,
    effects: &mut Vec<Effect>,
) {
    let now = app.now.mono;
    if super::dead::canary_answered(app, number, &result, effects) {
        return;
    }
    let Some(change) = app.changes.iter_mut().find(|change| change.number == number) else {
        return;
    };
    if let Ok(Answer::Operation(operation)) = &result
        && operation.status == OperationStatus::Running
    {
        let progress = format!(
            "{} … {} of {}{}",
            change.verb.word(),
            operation.changed,
            operation.matched.count,
            if operation.matched.exact { "" } else { " or more" },
        );
        let next = Request::Operation(operation.id);
        app.notify(Tone::Plain, progress);
        polls::call(app, Purpose::Change(number), next, effects);
        return;
    }
    change.open = change.open.saturating_sub(1);
    let asked = match request {
        Request::Cancel(change)
        | Request::Retry(change)
        | Request::RetryDead(change)
        | Request::DeleteJobs(change) => change.ids.len(),
        _ => 1,
    };
    match result {
        Ok(Answer::Changed(answer)) => note_jobs(&mut change.result, &answer),
        Ok(Answer::Operation(operation)) => operations::note(&mut change.result, &operation),
        Ok(Answer::Ordered(answer)) => {
            let done = answer.workers.iter().filter(|one| one.done).count();
            change.result.affected += done as u64;
            let left = answer.workers.iter().filter(|one| !one.done);
            change.result.left.extend(left.map(|one| format!("{} is gone", one.name)));
        }
        Ok(Answer::Triggered(answer)) => {
            change.result.affected += 1;
            change.result.note = Some(format!("it runs as {}", answer.job));
        }
        // Of a canary: the retry is counted already.
        Ok(Answer::Ended(_)) => {}
        Ok(_) => change.result.affected += asked as u64,
        Err(mut failure) => {
            if let Request::Operation(id) = request {
                // It does not depend on this dashboard.
                failure.hint = Some(format!("`orx operation show {id}` shows how far it is"));
            }
            change.result.failure = Some(failure);
        }
    }
    if change.open > 0 {
        return;
    }
    let took = format_duration(now.saturating_sub(change.started));
    let (tone, text) = outcome(change, &took);
    app.notify(tone, text);
    polls::reload(app);
    polls::ask(app, effects);
}

fn note_jobs(result: &mut ChangeResult, answer: &ChangeAnswer) {
    result.affected += answer.affected;
    for one in &answer.jobs {
        let status = one.status.map(JobStatus::words);
        match one.change {
            JobChange::Cancelled
            | JobChange::Cancelling
            | JobChange::Retried
            | JobChange::Deleted
            | JobChange::Would => {}
            JobChange::NotFound => result.left.push(format!("{} is not there any more", one.id)),
            JobChange::AlreadyFinal | JobChange::NotInState | JobChange::InUse => {
                result.left.push(format!("{} is {} by now", one.id, status.unwrap_or("changed")));
            }
        }
    }
    if let Some(rest) = &answer.rest {
        let why = clean_line(&rest.problem.detail).into_owned();
        result.left.push(format!("{} were not reached: {why}", rest.count));
    }
}

/// The message about a change that has ended.
pub(crate) fn outcome(change: &Change, took: &str) -> (Tone, String) {
    let word = change.verb.word();
    let result = &change.result;
    if let Some(failure) = &result.failure {
        let hint = failure.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
        return (Tone::Bad, format!("could not {word}: {}{hint}", failure.message));
    }
    let past = match word {
        "cancel" => "cancelled".to_owned(),
        "retry" => "retried".to_owned(),
        _ if word.ends_with('e') => format!("{word}d"),
        "trigger" => "triggered".to_owned(),
        _ => format!("{word}ed"),
    };
    let mut text = format!("{past} {} ({took})", change.verb.object(result.affected));
    if let Some(note) = &result.note {
        text = format!("{text}; {note}");
    }
    if !result.left.is_empty() {
        let more = result.left.len().saturating_sub(3);
        let shown: Vec<&str> = result.left.iter().take(3).map(String::as_str).collect();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        text = format!("{text}; left alone: {}{more}", shown.join(", "));
    }
    let tone = if result.left.is_empty() { Tone::Good } else { Tone::Bad };
    (tone, text)
}

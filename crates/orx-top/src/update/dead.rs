//! The dead letters: by cause or one by one, and their changes. A retry may send one job ahead, the canary:
//! the others follow only if it completes.

use orx_model::text::clean_line;
use orx_model::wire::{CausesQuery, ChangeRequest, ListQuery};
use orx_model::{CauseId, Job, JobId, JobStatus};

use super::{polls, writes};
use crate::api::{Answer, Failure, FailureKind, Request};
use crate::state::question::{Question, Verb};
use crate::state::{App, Canary, Dead, Effect, Purpose, Tone};

/// Causes, or dead letters, that are read.
pub(crate) const ROWS: u32 = 500;
/// A filter that every job matches.
const ALL: &str = "id>0";

/// The filter of what is shown: the one that the user wrote, within the cause that is open.
fn shown_filter(dead: &Dead) -> Option<String> {
    let cause = dead.cause.map(|cause| format!("cause:{cause}"));
    let filter = Some(dead.filter.clone()).filter(|filter| !filter.is_empty());
    joined(cause, filter)
}

fn joined(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(format!("{one} {other}")),
        (one, other) => one.or(other),
    }
}

/// The request for what is shown.
pub(crate) fn request(app: &App) -> (Purpose, Request) {
    let dead = &app.dead;
    let (filter, limit) = (shown_filter(dead), Some(ROWS));
    let request = match dead.single {
        true => Request::DeadLetters(ListQuery { limit, filter, ..ListQuery::default() }),
        false => Request::Causes(CausesQuery { limit, filter, ..CausesQuery::default() }),
    };
    (Purpose::Dead(dead.generation), request)
}

/// Takes a page in.
pub(crate) fn take(app: &mut App, answer: Answer) {
    let dead = &mut app.dead;
    match answer {
        Answer::Causes(page) if !dead.single => {
            (dead.causes, dead.more) = (page.causes, page.next.is_some());
        }
        Answer::DeadLetters(page) if dead.single => {
            (dead.letters, dead.more) = (page.dead_letters, page.next.is_some());
        }
        _ => return,
    }
    arrange(app);
}

/// Gives the rows to the grid.
fn arrange(app: &mut App) {
    let dead = &mut app.dead;
    let keys = match dead.single {
        true => dead.letters.iter().map(|letter| letter.job.id.to_string()).collect(),
        false => dead.causes.iter().map(|cause| cause.cause_id.to_string()).collect(),
    };
    dead.grid.set_rows(keys);
}

/// Shows the dead letters of one cause.
pub(crate) fn open_cause(app: &mut App, key: &str) {
    if let Ok(cause) = key.parse() {
        show(app, true, Some(cause));
    }
}

/// Shows the causes.
pub(crate) fn by_cause(app: &mut App) {
    let before = app.dead.cause;
    show(app, false, None);
    if let Some(cause) = before {
        app.dead.grid.go_to_key(&cause.to_string());
    }
}

/// Shows causes instead of single dead letters, or the reverse.
pub(crate) fn toggle(app: &mut App) {
    match app.dead.single {
        true => by_cause(app),
        false => show(app, true, None),
    }
}

fn show(app: &mut App, single: bool, cause: Option<CauseId>) {
    let dead = &mut app.dead;
    (dead.single, dead.cause) = (single, cause);
    dead.letters.clear();
    dead.generation += 1;
    dead.grid.clear();
    arrange(app);
}

/// Asks before a change of what is marked, else of what is under the cursor.
pub(crate) fn ask(app: &mut App, verb: Verb, effects: &mut Vec<Effect>) {
    let dead = &app.dead;
    if dead.grid.all_marked {
        let filter = shown_filter(dead).unwrap_or_else(|| ALL.to_owned());
        let canary = match dead.single {
            true => dead.letters.first().map(|letter| letter.job.id),
            false => dead.causes.first().map(|cause| cause.sample),
        };
        writes::open(app, verb, Vec::new(), Some(filter), canary, effects);
        return;
    }
    let keys: Vec<String> = match dead.grid.has_marks() {
        true => dead.grid.marks().iter().cloned().collect(),
        false => dead.grid.cursor().map(str::to_owned).into_iter().collect(),
    };
    if dead.single {
        let chosen = dead.letters.iter().filter(|one| keys.contains(&one.job.id.to_string()));
        let targets: Vec<_> = chosen.map(|one| writes::job_target(app, &one.job)).collect();
        let canary = targets.iter().filter_map(|target| target.id.parse().ok()).min();
        if targets.is_empty() {
            return gone(app);
        }
        writes::open(app, verb, targets, None, canary, effects);
        return;
    }
    let chosen = dead.causes.iter().filter(|one| keys.contains(&one.cause_id.to_string()));
    let (ids, samples): (Vec<String>, Vec<JobId>) =
        chosen.map(|one| (one.cause_id.to_string(), one.sample)).unzip();
    if ids.is_empty() {
        return gone(app);
    }
    let filter = joined(Some(format!("cause:{}", ids.join(","))), shown_filter(dead));
    writes::open(app, verb, Vec::new(), filter, samples.first().copied(), effects);
}

fn gone(app: &mut App) {
    app.notify(Tone::Plain, "the row under the cursor has gone; choose one");
}

/// The request that goes first, if the user wants a canary; `requests` wait for it.
pub(crate) fn canary(
    question: &Question,
    requests: Vec<Request>,
) -> (Vec<Request>, Option<Canary>) {
    let Some(job) = question.canary.filter(|_| question.canary_first) else {
        return (requests, None);
    };
    let mut rest = requests;
    let mut first = ChangeRequest::default();
    // Takes the canary out of the named jobs, and keeps what still names some.
    rest.retain_mut(|request| {
        let (ids, filter, reason, by) = match request {
            Request::RetryDead(it) => (&mut it.ids, &it.filter, &it.reason, &it.by),
            Request::StartOperation(it) => (&mut it.ids, &it.filter, &it.reason, &it.by),
            _ => return true,
        };
        (first.reason, first.by) = (reason.clone(), by.clone());
        ids.retain(|id| *id != job);
        filter.is_some() || !ids.is_empty()
    });
    // A filter, which finds it only while it is a dead letter.
    first.filter = Some(format!("id:{job}"));
    (vec![Request::RetryDead(first)], Some(Canary { job, rest }))
}

/// Takes the answer to a request of a change with a canary in. Returns whether more of it is under way.
pub(crate) fn canary_answered(
    app: &mut App,
    number: u64,
    result: &Result<Answer, Failure>,
    effects: &mut Vec<Effect>,
) -> bool {
    let Some(change) = app.changes.iter_mut().find(|change| change.number == number) else {
        return false;
    };
    let Some(canary) = change.canary.take() else { return false };
    match result {
        Ok(Answer::Changed(answer)) if answer.affected == 1 => {
            change.result.affected += 1;
            let text = format!("{} runs first; the others wait for its end …", canary.job);
            let wait = Request::AwaitJob(canary.job);
            (change.canary, change.open) = (Some(canary), 1);
            app.notify(Tone::Plain, text);
            polls::call(app, Purpose::Change(number), wait, effects);
            true
        }
        Ok(Answer::Ended(job)) if job.state.status == JobStatus::Completed => {
            if canary.rest.is_empty() {
                return false;
            }
            change.open = canary.rest.len();
            app.notify(Tone::Plain, format!("{} completed; the others follow …", canary.job));
            for request in canary.rest {
                polls::call(app, Purpose::Change(number), request, effects);
            }
            true
        }
        Ok(Answer::Ended(job)) => {
            change.result.failure = Some(Failure::new(FailureKind::Answered, end_text(job)));
            false
        }
        // The answer says what kept the canary from running; the others stay.
        Ok(_) | Err(_) => false,
    }
}

fn end_text(job: &Job) -> String {
    let error = job.state.error.as_deref().and_then(|error| error.lines().next());
    let error = error.map(|error| format!(": {}", clean_line(error))).unwrap_or_default();
    format!("{} {}{error}; the others are as they were", job.id, job.state.status.words())
}

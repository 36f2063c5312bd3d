//! Takes the answers of the server in.

use super::live;
use crate::api::{Answer, Failure, FailureKind, LogNews, Request};
use crate::columns::{QUEUES, SCHEDULES, WORKERS};
use crate::state::details::Detail;
use crate::state::question::DryRun;
use crate::state::{App, Effect, Listed, Msg, Purpose, Tone};
use orx_model::wire::{JobDetail, LogEvent};

/// A difference of the clocks that is worth a word.
pub(crate) const CLOCK_DIFFERENCE_MS: i64 = 2_000;

/// Notes that the server answered, whether or not that is shown.
pub(crate) fn note(app: &mut App, msg: &Msg) {
    if let Msg::Live { topic, news } = msg {
        live::note(app, topic, news);
    }
    let Msg::Answer { purpose, result, .. } = msg else { return };
    app.calls.in_flight.remove(purpose);
    let now = app.now.mono;
    match result {
        Err(failure) if failure.kind != FailureKind::Answered => {
            // One outage is counted once, however many requests it ended.
            if !app.link.is_down() || *purpose == Purpose::Cluster {
                app.link.failed(failure.clone(), now, app.now.chance);
            }
        }
        _ => {
            if app.link.is_down() {
                app.calls.answered.clear();
                app.streams.anew = true;
                // Another server may answer from here on, or this one with other settings.
                app.server_settings = None;
                app.calls.failed.remove(&Purpose::Settings);
            }
            app.link.answered(now);
            if matches!(purpose, Purpose::Jobs(_)) {
                app.calls.answered.retain(|one, _| !matches!(one, Purpose::Jobs(_)));
            }
            app.calls.answered.insert(purpose.clone(), now);
        }
    }
}

/// Takes an answer or news of a log in.
pub(crate) fn take(app: &mut App, msg: Msg, effects: &mut Vec<Effect>) {
    note(app, &msg);
    match msg {
        Msg::Answer { purpose, request, result } => answer(app, purpose, &request, result, effects),
        Msg::Log { generation, news } => log(app, generation, news),
        Msg::Live { topic, news } => live::take(app, &topic, news),
        _ => {}
    }
}

fn answer(
    app: &mut App,
    purpose: Purpose,
    request: &Request,
    result: Result<Answer, Failure>,
    effects: &mut Vec<Effect>,
) {
    match (&purpose, &result) {
        (Purpose::Change(number), _) => {
            super::writes::answered(app, *number, request, result, effects);
            return;
        }
        (Purpose::DryRun(number), _) => {
            if let Some(question) = app.question.as_mut().filter(|one| one.number == *number) {
                question.dry_run = match result {
                    Ok(Answer::Changed(answer)) => DryRun::Counted(answer),
                    Ok(_) => DryRun::None,
                    Err(failure) => DryRun::Failed(failure),
                };
            }
            return;
        }
        (_, Err(failure)) => {
            if failure.kind == FailureKind::Answered {
                failed(app, &purpose, failure.clone());
            }
            return;
        }
        (Purpose::Jobs(_), Ok(_)) => {
            app.calls.failed.retain(|one, _| !matches!(one, Purpose::Jobs(_)));
        }
        (_, Ok(_)) => {
            app.calls.failed.remove(&purpose);
        }
    }
    let Ok(answer) = result else { return };
    match (answer, purpose) {
        (Answer::Cluster(status), _) => live::take_cluster(app, *status),
        (Answer::Settings(settings), _) => app.server_settings = Some(settings),
        (Answer::Queues(list), _) => {
            app.queues.rows = list.queues;
            arrange_queues(app);
        }
        (Answer::Workers(list), _) => {
            app.workers.rows = list.workers;
            arrange_workers(app);
        }
        (Answer::Schedules(page), _) => {
            app.schedules.rows = page.schedules;
            arrange_schedules(app);
        }
        (Answer::Jobs(page), Purpose::Recent) => {
            let keys = page.jobs.iter().map(|job| job.id.to_string()).collect();
            app.overview.recent.set_rows(keys);
            app.overview.rows = page.jobs;
        }
        (Answer::Jobs(page), Purpose::Jobs(request)) => {
            let anew = !app.jobs.pages.loaded && request.generation == app.jobs.pages.generation;
            let grid = &app.jobs.grid;
            let flows = grid.top() == 0 && grid.index() < grid.height() && !grid.has_marks();
            app.jobs.pages.answer(&request, page, flows);
            let keys = app.jobs.pages.rows().iter().map(|job| job.id.to_string()).collect();
            app.jobs.grid.set_rows(keys);
            if anew && app.jobs.pages.is_from_end() {
                app.jobs.grid.go_to(usize::MAX);
            } else if anew {
                app.jobs.grid.go_to(0);
            }
        }
        (answer, Purpose::Dead(generation)) if generation == app.dead.generation => {
            super::dead::take(app, answer);
        }
        (Answer::Audit(page), Purpose::Audit(id)) => {
            if let Some(Detail::Job(pane)) = app.details.last_mut()
                && pane.id == id
            {
                pane.audit = page.entries;
            }
        }
        (Answer::Job(job), _) => take_job(app, *job),
        (Answer::Worker(worker), _) => {
            if let Some(Detail::Worker(pane)) = app.details.last_mut()
                && pane.incarnation == worker.worker.incarnation.to_string()
            {
                let keys = worker.attempts.iter().map(|one| one.job.to_string());
                pane.grid.set_rows(keys.collect());
                pane.worker = Some(*worker);
            }
        }
        (Answer::Slots(page), _) => {
            if let Some(Detail::Schedule(pane)) = app.details.last_mut()
                && pane.id == page.id
            {
                let key = |slot: &orx_model::schedule::Slot| slot.slot.as_millis().to_string();
                pane.grid.set_rows(page.slots.iter().map(key).collect());
                pane.slots = page.slots;
            }
        }
        // An answer that does not fit its question changes nothing.
        _ => {}
    }
}

/// The server answered, and not with the data.
fn failed(app: &mut App, purpose: &Purpose, failure: Failure) {
    if let Purpose::Jobs(request) = purpose
        && request.generation == app.jobs.pages.generation
    {
        if let Some(prompt) = &mut app.prompt {
            prompt.error = Some(failure.message.clone());
        } else {
            app.notify(Tone::Bad, failure.message.clone());
        }
        app.jobs.pages.refuse();
    }
    app.calls.failed.insert(purpose.clone(), failure);
}

/// Takes the state of the open job in.
pub(crate) fn take_job(app: &mut App, job: JobDetail) {
    if let Some(Detail::Job(pane)) = app.details.last_mut()
        && pane.id == job.job.id
    {
        let keys = job.attempts.iter().rev().map(|one| one.number.to_string());
        pane.attempts.set_rows(keys.collect());
        app.calls.answered.insert(Purpose::Job(pane.id), app.now.mono);
        pane.job = Some(job);
    }
}

fn log(app: &mut App, generation: u64, news: Vec<LogNews>) {
    let Some(Detail::Job(pane)) = app.details.last_mut() else { return };
    if pane.follows != generation {
        return;
    }
    let mut ended_now = false;
    for one in news {
        match one {
            LogNews::Event(LogEvent::Chunk(part)) => pane.log.push(pane.id, &part),
            LogNews::Event(LogEvent::Live {}) => pane.log.live = true,
            LogNews::Event(LogEvent::Status { .. } | LogEvent::Ping { .. }) => {}
            LogNews::Event(LogEvent::End { .. }) => (pane.log.ended, ended_now) = (true, true),
            LogNews::Connected(connected) => pane.log.lost = !connected,
            LogNews::Ended(failure) => {
                (pane.log.ended, pane.log.live) = (true, true);
                ended_now = true;
                if let Some(failure) = failure {
                    let text = failure.message;
                    app.message = None;
                    app.calls
                        .failed
                        .insert(Purpose::Job(pane.id), Failure::new(failure.kind, text));
                }
            }
        }
    }
    go_to_line(app);
    let Some(Detail::Job(pane)) = app.details.last_mut() else { return };
    if ended_now {
        let id = pane.id;
        app.calls.answered.remove(&Purpose::Job(id));
    }
}

/// Goes to the line that the log was opened for, once it has come.
fn go_to_line(app: &mut App) {
    let height = crate::layout::text_size(app).1;
    let Some(Detail::Job(pane)) = app.details.last_mut() else { return };
    let Some(wanted) = &pane.goes_to else { return };
    if let Some(place) = pane.log.find(wanted) {
        pane.log.cursor = pane.log.shown().get(place).map(|line| line.number);
        let most = pane.log.shown().len().saturating_sub(height);
        (pane.log.scroll.top, pane.log.scroll.follow) =
            (place.saturating_sub(height / 3).min(most), false);
        pane.goes_to = None;
    } else if pane.log.live || pane.log.ended {
        pane.goes_to = None;
        let text = "that line is no longer among the last lines of the log";
        app.notify(Tone::Plain, text);
    }
}

/// Sorts the rows of a list by its column, and tells the grid.
fn arrange<R>(
    list: &mut Listed<R>,
    columns: &'static [crate::columns::Column<R>],
    key: fn(&R) -> String,
) {
    let sorted: Vec<_> = columns.iter().filter_map(|column| column.order).collect();
    if let Some(order) = list.sort.and_then(|place| sorted.get(place)) {
        let reverse = list.reverse;
        list.rows.sort_by(|a, b| if reverse { order(b, a) } else { order(a, b) });
    }
    list.grid.set_rows(list.rows.iter().map(key).collect());
}

pub(crate) fn arrange_queues(app: &mut App) {
    arrange(&mut app.queues, QUEUES, |queue| queue.queue.to_string());
    let keys = app.queues.rows.iter().map(|queue| queue.queue.to_string()).collect();
    app.overview.queues.set_rows(keys);
}

pub(crate) fn arrange_workers(app: &mut App) {
    arrange(&mut app.workers, WORKERS, |worker| worker.incarnation.to_string());
}

pub(crate) fn arrange_schedules(app: &mut App) {
    arrange(&mut app.schedules, SCHEDULES, |schedule| schedule.id.to_string());
}

/// The difference of the clocks, if it matters. A recording has the time of its making.
pub(crate) fn clock_difference(app: &App) -> Option<i64> {
    if app.options.replay {
        return None;
    }
    (app.facts.is_some() && app.offset_ms.abs() > CLOCK_DIFFERENCE_MS).then_some(app.offset_ms)
}

//! The streams of changes: which are open, and what they change.

use std::time::Duration;

use orx_model::wire::live::{EventLine, LiveEvent, LiveState};
use orx_model::wire::{AttentionKind, ClusterStatus, Overview};
use orx_model::{JobSummary, Timestamp};

use super::answers;
use crate::api::{FailureKind, LiveNews, Topic};
use crate::options::Screen;
use crate::state::details::{Detail, JobTab};
use crate::state::{App, ClusterFacts, Effect, Purpose};

/// A stream that was silent for longer is not relied on; servers ping every 5 s.
const ALIVE: Duration = Duration::from_secs(12);
/// Events that are held.
const EVENTS: usize = 1_000;

/// The topics of what is in view.
fn wanted(app: &App) -> Vec<Topic> {
    let mut topics = vec![Topic::Overview];
    match app.detail() {
        Some(Detail::Job(pane)) => {
            topics.push(Topic::Job(pane.id));
            if pane.tab == JobTab::Why {
                topics.extend([Topic::Queues, Topic::Workers]);
            }
            return topics;
        }
        Some(Detail::Worker(_)) => {
            topics.push(Topic::Workers);
            return topics;
        }
        Some(Detail::Schedule(_)) => {
            topics.push(Topic::Schedules);
            return topics;
        }
        None => {}
    }
    match app.screen {
        Screen::Overview => topics.extend([Topic::Jobs(String::new()), Topic::Queues]),
        Screen::Jobs => topics.push(Topic::Jobs(app.jobs.pages.filter.clone())),
        Screen::Queues => topics.push(Topic::Queues),
        Screen::Workers => topics.push(Topic::Workers),
        Screen::Schedules => topics.push(Topic::Schedules),
        Screen::Dead => topics.push(Topic::DeadLetters),
        Screen::Cluster | Screen::Settings => topics.push(Topic::Cluster),
        Screen::Logs => topics.push(Topic::Logs(app.logs.filter.clone())),
        Screen::Events => topics.push(Topic::Events),
    }
    topics
}

/// Opens the streams of what is in view, and closes the others.
pub(crate) fn watch(app: &mut App, effects: &mut Vec<Effect>) {
    let topics = wanted(app);
    if topics == app.streams.watched && !app.streams.anew {
        return;
    }
    app.streams.last_messages.retain(|topic, _| topics.contains(topic));
    app.streams.watched.clone_from(&topics);
    let anew = std::mem::take(&mut app.streams.anew);
    effects.push(Effect::Watch { topics, anew });
}

/// Whether the server sends the changes of a topic.
pub(crate) fn is_alive(app: &App, topic: &Topic) -> bool {
    let last = app.streams.last_messages.get(topic);
    last.is_some_and(|at| app.now.mono.saturating_sub(*at) < ALIVE)
}

/// Notes that the server sent something, whether or not that is shown.
pub(crate) fn note(app: &mut App, topic: &Topic, news: &LiveNews) {
    let now = app.now.mono;
    match news {
        LiveNews::Event(event) => {
            if app.streams.watched.contains(topic) && !matches!(**event, LiveEvent::Problem(_)) {
                app.streams.last_messages.insert(topic.clone(), now);
            }
            app.link.answered(now);
        }
        LiveNews::Lost(failure) => {
            app.streams.last_messages.remove(topic);
            if !app.link.is_down() {
                app.link.failed(failure.clone(), now, app.now.chance);
            }
        }
        LiveNews::Ended(failure) => {
            app.streams.last_messages.remove(topic);
            if failure.kind == FailureKind::Refused {
                app.link.failed(failure.clone(), now, app.now.chance);
            }
        }
    }
    app.link.streams = is_alive(app, &Topic::Overview);
}

/// Takes the news of a topic in.
pub(crate) fn take(app: &mut App, topic: &Topic, news: LiveNews) {
    note(app, topic, &news);
    let event = match news {
        LiveNews::Event(event) => event,
        LiveNews::Ended(failure) => {
            if matches!(topic, Topic::Logs(filter) if *filter == app.logs.filter) {
                app.logs.failure = Some(failure);
            }
            return;
        }
        LiveNews::Lost(_) => return,
    };
    match *event {
        LiveEvent::Snapshot(snapshot) => {
            server_time(app, snapshot.now);
            state(app, topic, snapshot.state);
        }
        LiveEvent::Ping(ping) => server_time(app, ping.now),
        LiveEvent::OverviewUpdated(overview) => take_overview(app, overview),
        LiveEvent::JobStatusUpdated(update) => {
            jobs(app, topic, &update.jobs);
            if let Some(Detail::Job(pane)) = app.details.last_mut()
                && *topic == Topic::Job(pane.id)
            {
                // The stream sends a part of the job; the rest is asked for.
                app.calls.answered.remove(&Purpose::Job(pane.id));
            }
            if let Topic::Jobs(_) = topic {
                let gone = update.unmatched.iter().chain(&update.gone);
                app.jobs.pages.dim(gone.copied());
            }
        }
        LiveEvent::JobProgress(update) => {
            for one in update.jobs {
                progress(app, &one);
            }
        }
        LiveEvent::WorkerStatusUpdated(update) => {
            let rows = &mut app.workers.rows;
            rows.retain(|row| !update.gone.contains(&row.incarnation));
            replace(rows, update.workers, |row| row.incarnation);
            answers::arrange_workers(app);
        }
        LiveEvent::QueueUpdated(update) => {
            let rows = &mut app.queues.rows;
            rows.retain(|row| !update.gone.contains(&row.queue));
            replace(rows, update.queues, |row| row.queue.clone());
            rows.sort_by(|a, b| a.queue.cmp(&b.queue));
            answers::arrange_queues(app);
        }
        LiveEvent::ScheduleUpdated(update) => {
            let rows = &mut app.schedules.rows;
            rows.retain(|row| !update.gone.contains(&row.id));
            replace(rows, update.schedules, |row| row.id.clone());
            rows.sort_by(|a, b| a.id.cmp(&b.id));
            answers::arrange_schedules(app);
        }
        LiveEvent::DeadLettersUpdated(_) => {
            app.calls.answered.remove(&Purpose::Dead(app.dead.generation));
        }
        LiveEvent::ClusterEvent(event) => take_cluster(app, *event.status),
        LiveEvent::EventsReceived(received) => events(app, received.events),
        LiveEvent::FilteredLogsReceived(received) => {
            if matches!(topic, Topic::Logs(filter) if *filter == app.logs.filter) {
                received.logs.iter().for_each(|one| app.logs.take(one));
            }
        }
        LiveEvent::LogLive(_) => app.logs.log.live = true,
        LiveEvent::Refetch(_) => refetch(app, topic),
        LiveEvent::Problem(problem) => app.notify(crate::state::Tone::Bad, problem.detail),
        LiveEvent::Reset(_)
        | LiveEvent::Slow(_)
        | LiveEvent::LogReceived(_)
        | LiveEvent::LogEnded(_) => {}
    }
}

fn server_time(app: &mut App, now: Timestamp) {
    app.offset_ms = now.as_millis() - app.now.wall.as_millis();
}

fn replace<R, K: PartialEq>(rows: &mut Vec<R>, new: Vec<R>, key: impl Fn(&R) -> K) {
    for one in new {
        match rows.iter_mut().find(|row| key(row) == key(&one)) {
            Some(row) => *row = one,
            None => rows.push(one),
        }
    }
}

fn state(app: &mut App, topic: &Topic, state: LiveState) {
    match state {
        LiveState::Overview(overview) => take_overview(app, overview),
        LiveState::Jobs(page) => match topic {
            // The list has pages of its own; what is new in it is asked for.
            Topic::Jobs(filter) if app.screen == Screen::Jobs => {
                if *filter == app.jobs.pages.filter {
                    app.jobs.pages.stale = true;
                }
            }
            _ => {
                let keys = page.jobs.iter().map(|job| job.id.to_string()).collect();
                app.overview.recent.set_rows(keys);
                app.overview.rows = page.jobs;
                app.calls.answered.insert(Purpose::Recent, app.now.mono);
            }
        },
        LiveState::Job(job) => answers::take_job(app, *job),
        LiveState::Workers(list) => {
            app.workers.rows = list.workers;
            app.calls.answered.insert(Purpose::Workers, app.now.mono);
            answers::arrange_workers(app);
        }
        LiveState::Queues(list) => {
            app.queues.rows = list.queues;
            app.calls.answered.insert(Purpose::Queues, app.now.mono);
            answers::arrange_queues(app);
        }
        LiveState::Schedules(page) => {
            if page.next.is_some() {
                // More than the stream begins with: asked for as before.
                app.streams.last_messages.remove(topic);
                return;
            }
            app.schedules.rows = page.schedules;
            app.calls.answered.insert(Purpose::Schedules, app.now.mono);
            answers::arrange_schedules(app);
        }
        LiveState::DeadLetters(_) => {
            app.calls.answered.remove(&Purpose::Dead(app.dead.generation));
        }
        LiveState::Cluster(status) => take_cluster(app, *status),
        LiveState::Events(received) => {
            // A node that started later knows less: what happened before stays.
            if let Some(oldest) = received.events.iter().map(|line| line.at).min() {
                app.events.retain(|line| line.at < oldest);
            }
            events(app, received.events);
        }
    }
}

/// Much has changed: what is in view is asked for again.
fn refetch(app: &mut App, topic: &Topic) {
    let purpose = match topic {
        Topic::Jobs(_) if app.screen == Screen::Jobs => {
            app.jobs.pages.stale = true;
            return;
        }
        Topic::Jobs(_) => Purpose::Recent,
        Topic::Job(id) => Purpose::Job(*id),
        Topic::Schedules => Purpose::Schedules,
        Topic::Workers => Purpose::Workers,
        Topic::Queues => Purpose::Queues,
        Topic::DeadLetters => Purpose::Dead(app.dead.generation),
        Topic::Overview | Topic::Cluster | Topic::Logs(_) | Topic::Events => return,
    };
    app.calls.answered.remove(&purpose);
}

/// Jobs that changed: those on the screen change in place, new ones are asked for.
fn jobs(app: &mut App, topic: &Topic, changed: &[JobSummary]) {
    match topic {
        Topic::Jobs(filter) if app.screen == Screen::Jobs && *filter == app.jobs.pages.filter => {
            for job in changed {
                if !app.jobs.pages.replace(job) {
                    app.jobs.pages.stale = true;
                }
            }
        }
        Topic::Jobs(filter) if filter.is_empty() => {
            let rows = &mut app.overview.rows;
            for job in changed {
                match rows.iter().position(|row| row.id == job.id) {
                    Some(place) => rows[place] = job.clone(),
                    None if rows.last().is_none_or(|last| job.id > last.id) => {
                        rows.push(job.clone())
                    }
                    None => {}
                }
            }
            rows.sort_by_key(|job| std::cmp::Reverse(job.id));
            rows.truncate(100);
            let keys = rows.iter().map(|job| job.id.to_string()).collect();
            app.overview.recent.set_rows(keys);
        }
        _ => {}
    }
}

fn progress(app: &mut App, one: &orx_model::wire::live::ProgressOf) {
    let set = |job: &mut orx_model::JobState| {
        if let Some(live) = job.live.as_mut().filter(|_| job.attempt == one.attempt) {
            live.progress = Some(one.progress.clone());
        }
    };
    if let Some(job) = app.jobs.pages.find_mut(one.id) {
        set(&mut job.state);
    }
    if let Some(job) = app.overview.rows.iter_mut().find(|row| row.id == one.id) {
        set(&mut job.state);
    }
    if let Some(Detail::Job(pane)) = app.details.last_mut()
        && let Some(detail) = pane.job.as_mut().filter(|detail| detail.job.id == one.id)
    {
        set(&mut detail.job.state);
    }
}

fn events(app: &mut App, lines: Vec<EventLine>) {
    for line in lines {
        app.events.push_front(line);
    }
    app.events.truncate(EVENTS);
    let keys = app.events.iter().map(|line| line.id.to_string()).collect();
    app.events_grid.set_rows(keys);
}

/// Takes the state of the cluster in.
pub(crate) fn take_cluster(app: &mut App, status: ClusterStatus) {
    server_time(app, status.now);
    app.nodes.set_rows(status.nodes.iter().map(|node| node.node.to_string()).collect());
    if !is_alive(app, &Topic::Overview) {
        let name = |id| status.nodes.iter().find(|node| node.node == id).map(|node| &node.name);
        let leader = status
            .leader
            .map(|id| name(id).map_or_else(|| id.to_string(), |name| name.to_string()));
        let attention = status.attention.iter();
        let attention = attention.map(|text| (super::open::screen_of(text), text.clone()));
        take_facts(
            app,
            ClusterFacts {
                leader,
                epoch: status.epoch,
                nodes: (status.nodes.iter().filter(|node| node.live).count(), status.nodes.len()),
                workers: (status.workers_live, None),
                slots: (status.active, status.slots),
                counts: status.counts,
                dead_letters: status.dead_letters,
                attention: attention.collect(),
                health: vec![
                    format!("store {}, {}", status.store, status.durability),
                    format!("transport {}", status.transport),
                ],
            },
        );
        app.overview.rates.add(app.now.mono, &status.counts);
        app.overview.server = None;
    }
    app.calls.answered.insert(Purpose::Cluster, app.now.mono);
    app.cluster = Some(status);
}

fn take_overview(app: &mut App, overview: Box<Overview>) {
    server_time(app, overview.now);
    let leader = overview.leader.map(|id| {
        overview.leader_name.as_ref().map_or_else(|| id.to_string(), ToString::to_string)
    });
    let word = |ok: bool| if ok { "ok" } else { "not well" };
    take_facts(
        app,
        ClusterFacts {
            leader,
            epoch: overview.epoch,
            nodes: (overview.nodes_live as usize, overview.nodes as usize),
            workers: (overview.workers_live, Some(overview.workers)),
            slots: (overview.active, overview.slots),
            counts: overview.counts,
            dead_letters: overview.dead_letters,
            attention: overview
                .attention
                .iter()
                .map(|one| (screen_for(one.kind), one.text.clone()))
                .collect(),
            health: vec![format!(
                "store {}   transport {}",
                word(overview.store_ok),
                word(overview.transport_ok)
            )],
        },
    );
    app.overview.server = Some(overview);
}

fn screen_for(kind: AttentionKind) -> Screen {
    match kind {
        AttentionKind::NoWorker | AttentionKind::WorkerLost => Screen::Workers,
        AttentionKind::QueueWaits => Screen::Queues,
        AttentionKind::ScheduleOverdue | AttentionKind::SlotsMissed => Screen::Schedules,
        AttentionKind::DeadLetters => Screen::Dead,
        AttentionKind::Store
        | AttentionKind::NoLeader
        | AttentionKind::NodeLost
        | AttentionKind::Link
        | AttentionKind::Clock
        | AttentionKind::Zones
        | AttentionKind::Other => Screen::Cluster,
    }
}

fn take_facts(app: &mut App, facts: ClusterFacts) {
    let alerts = (0..facts.attention.len()).map(|place| place.to_string());
    app.overview.attention.set_rows(alerts.collect());
    let counters = (0..orx_model::JobStatus::ALL.len()).map(|place| place.to_string());
    app.overview.counters.set_rows(counters.collect());
    app.facts = Some(facts);
}

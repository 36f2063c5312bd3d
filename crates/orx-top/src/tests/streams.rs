//! What the streams of changes change, and what happens without them.

use orx_model::wire::live::{
    JobStatusUpdated, LiveEvent, LivePing, LiveSnapshot, LiveState, Refetch, WorkerStatusUpdated,
};
use orx_model::{JobId, JobStatus};

use super::Session;
use crate::api::{Failure, FailureKind, LiveNews, Topic};
use crate::fixtures;
use crate::state::{Effect, Msg, Purpose};

impl Session {
    fn live(&mut self, topic: Topic, event: LiveEvent) {
        self.send(Msg::Live { topic, news: LiveNews::Event(Box::new(event)) });
    }

    fn snapshot(&mut self, topic: Topic, state: LiveState) {
        let now = fixtures::moment(self.now_ms).wall;
        self.live(topic, LiveEvent::Snapshot(LiveSnapshot { v: 1, now, state }));
    }

    fn ping(&mut self, topic: Topic) {
        let now = fixtures::moment(self.now_ms).wall;
        let condition = orx_model::wire::Condition::Well;
        self.live(topic, LiveEvent::Ping(LivePing { v: 1, now, condition }));
    }
}

fn changed(ids: &[i64], status: JobStatus) -> LiveEvent {
    let job = |id: &i64| {
        let mut job = fixtures::summary(*id);
        job.state.status = status;
        job
    };
    LiveEvent::JobStatusUpdated(JobStatusUpdated {
        v: 1,
        jobs: ids.iter().map(job).collect(),
        unmatched: Vec::new(),
        gone: Vec::new(),
        attempts: Vec::new(),
    })
}

#[test]
fn the_streams_of_what_is_in_view_are_open_and_no_others() {
    let mut session = Session::loaded(120, 36);
    let watched = |session: &mut Session| {
        let last = session.effects.iter().rev().find_map(|effect| match effect {
            Effect::Watch { topics, .. } => Some(topics.clone()),
            _ => None,
        });
        session.effects.clear();
        last
    };
    let overview = vec![Topic::Overview, Topic::Jobs(String::new()), Topic::Queues];
    assert_eq!(watched(&mut session), Some(overview));
    session.keys("4");
    assert_eq!(watched(&mut session), Some(vec![Topic::Overview, Topic::Workers]));
    session.wait(100);
    assert_eq!(watched(&mut session), None, "nothing changes");
}

#[test]
fn a_topic_that_is_streamed_is_not_asked_for_and_one_that_falls_silent_is_again() {
    let mut session = Session::loaded(120, 36);
    session.keys("4");
    session.answer_all();
    session.snapshot(Topic::Workers, LiveState::Workers(fixtures::workers()));
    session.wait(5_000);
    let asks_workers = |session: &mut Session| {
        session.calls().iter().any(|(purpose, _)| *purpose == Purpose::Workers)
    };
    assert!(!asks_workers(&mut session));
    session.ping(Topic::Workers);
    session.wait(10_000);
    assert!(!asks_workers(&mut session));
    session.wait(3_000);
    assert!(asks_workers(&mut session));
}

#[test]
fn workers_change_in_place_and_leave() {
    let mut session = Session::loaded(120, 36);
    session.keys("4");
    session.answer_all();
    let mut worker = fixtures::workers().workers.remove(1);
    worker.active = 3;
    let gone = vec![fixtures::incarnation(7)];
    let update = WorkerStatusUpdated { v: 1, workers: vec![worker], gone };
    session.live(Topic::Workers, LiveEvent::WorkerStatusUpdated(update));
    let shown = session.screen();
    assert!(shown.contains("3/10") && !shown.contains("wrk-7"), "{shown}");
}

#[test]
fn a_job_on_the_screen_changes_in_place_and_a_new_one_is_fetched_at_most_once_a_second() {
    let mut session = Session::loaded(120, 36);
    session.keys("2");
    session.answer_all();
    let topic = Topic::Jobs(String::new());
    session.snapshot(topic.clone(), LiveState::Jobs(fixtures::jobs()));
    session.wait(1_000);
    session.answer_all();
    session.live(topic.clone(), changed(&[14_228], JobStatus::Running));
    let row = session.app.jobs.pages.rows().into_iter().find(|row| row.id == JobId(14_228));
    assert_eq!(row.map(|row| row.state.status), Some(JobStatus::Running));
    session.calls();
    for _ in 0..20 {
        session.live(topic.clone(), changed(&[20_000], JobStatus::Pending));
        session.live(topic.clone(), LiveEvent::Refetch(Refetch { v: 1, changed: 500 }));
        session.wait(10);
    }
    let lists = session.calls().into_iter().filter(|(one, _)| matches!(one, Purpose::Jobs(_)));
    assert_eq!(lists.count(), 0, "the list was read less than a second ago");
    session.wait(900);
    let calls = session.calls();
    let lists = calls.iter().filter(|(purpose, _)| matches!(purpose, Purpose::Jobs(_)));
    assert_eq!(lists.count(), 1, "{calls:?}");
}

#[test]
fn a_job_that_does_not_match_any_more_stays_dimmed() {
    let mut session = Session::loaded(120, 36);
    session.keys("2");
    session.answer_all();
    let LiveEvent::JobStatusUpdated(mut update) = changed(&[], JobStatus::Running) else {
        return;
    };
    update.unmatched = vec![JobId(14_232)];
    session.live(Topic::Jobs(String::new()), LiveEvent::JobStatusUpdated(update));
    assert!(session.app.jobs.pages.is_gone(JobId(14_232)));
    assert!(session.screen().contains("14232"));
}

#[test]
fn a_lost_stream_is_an_outage_and_a_server_that_is_back_gets_all_streams_anew() {
    let mut session = Session::loaded(120, 36);
    session.ping(Topic::Overview);
    assert!(session.screen().contains(" live "), "{}", session.screen());
    let lost = Failure::new(FailureKind::Link, "lost the connection");
    session.send(Msg::Live { topic: Topic::Overview, news: LiveNews::Lost(lost) });
    assert!(session.screen().contains("offline"), "{}", session.screen());
    session.wait(1_000);
    session.effects.retain(|effect| matches!(effect, Effect::Call { .. }));
    session.answer_all();
    let anew = |effect: &Effect| matches!(effect, Effect::Watch { anew: true, .. });
    assert!(session.effects.iter().any(anew), "{:?}", session.effects);
}

#[test]
fn a_server_without_streams_is_polled() {
    let mut session = Session::loaded(120, 36);
    for topic in [Topic::Overview, Topic::Jobs(String::new()), Topic::Queues] {
        let failure = Failure::new(FailureKind::Answered, "there is no such route");
        session.send(Msg::Live { topic, news: LiveNews::Ended(failure) });
    }
    session.wait(2_000);
    assert_eq!(session.calls().len(), 3);
    assert!(session.screen().contains("polling 2s"));
}

//! The logs of all jobs that match a filter.

use crossterm::event::KeyCode;
use orx_model::JobId;
use orx_model::log::Stream;
use orx_model::wire::live::{FilteredLogsReceived, JobLogPart, LiveEvent, LogLive};
use orx_model::wire::{LogEvent, LogPart};

use super::Session;
use crate::api::{Failure, FailureKind, LiveNews, LogNews, Topic};
use crate::fixtures::{log_part, name};
use crate::state::details::Detail;
use crate::state::{Effect, Msg};

fn one(job: i64, part: LogPart) -> JobLogPart {
    JobLogPart { job: JobId(job), name: name("work"), part }
}

impl Session {
    fn logs(&mut self, filter: &str, logs: Vec<JobLogPart>) {
        let event = LiveEvent::FilteredLogsReceived(FilteredLogsReceived { v: 1, logs });
        let news = LiveNews::Event(Box::new(event));
        self.send(Msg::Live { topic: Topic::Logs(filter.to_owned()), news });
    }
}

/// The screen of logs with output of three jobs.
fn session(width: u16, height: u16) -> Session {
    let mut session = Session::loaded(width, height);
    session.keys("8");
    let structured = LogPart {
        stream: Stream::Log,
        ..log_part(2, 7, "{\"level\":\"warn\",\"message\":\"pass 2 at 74 %\"}\n")
    };
    let error = LogPart { stream: Stream::Err, ..log_part(1, 3, "moov atom not found\n") };
    let dropped = LogPart { dropped_bytes: 2_048, ..log_part(1, 12, "frame 7400/9999\n") };
    session.logs(
        "",
        vec![
            one(14_233, log_part(1, 11, "frame 7288/9999  24.1 fps\n")),
            one(14_231, error),
            one(14_240, structured),
            one(14_233, dropped),
        ],
    );
    session
}

#[test]
fn the_logs_of_all_jobs_are_one_list() {
    for (width, height) in [(120, 36), (80, 24), (40, 10)] {
        let session = session(width, height);
        insta::assert_snapshot!(format!("logs_{width}x{height}"), session.screen());
    }
}

#[test]
fn enter_opens_the_job_at_the_line_under_the_cursor() {
    let mut session = session(120, 36);
    session.keys("kk");
    session.key(KeyCode::Enter);
    let Some(Detail::Job(pane)) = session.app.detail() else { panic!("no job is open") };
    assert_eq!(pane.id, JobId(14_240));
    session.key(KeyCode::Esc);
    assert_eq!(session.app.screen, crate::options::Screen::Logs);
    session.keys("kk");
    session.key(KeyCode::Enter);
    let Some(Detail::Job(pane)) = session.app.detail() else { panic!("no job is open") };
    assert_eq!((pane.id, pane.goes_to.is_some()), (JobId(14_233), true));
    let generation = pane.follows;
    let chunk = |seq, text: &str| LogNews::Event(LogEvent::Chunk(log_part(1, seq, text)));
    let many: String = (0..90).map(|n| format!("before {n}\n")).collect();
    let news = vec![
        chunk(10, &many),
        chunk(11, "frame 7288/9999  24.1 fps\n"),
        chunk(12, &many.replace("before", "after")),
        LogNews::Event(LogEvent::Live {}),
    ];
    session.send(Msg::Log { generation, news });
    let shown = session.screen();
    let line = shown.lines().find(|line| line.contains("frame 7288")).expect("in view");
    assert!(line.contains('▌'), "{shown}");
    let Some(Detail::Job(pane)) = session.app.detail() else { panic!("no job is open") };
    assert!(!pane.log.scroll.follow && pane.goes_to.is_none());
}

#[test]
fn the_filter_is_of_jobs_the_search_of_lines_and_a_refused_filter_is_explained() {
    let mut session = session(120, 36);
    session.keys("/7400");
    session.key(KeyCode::Enter);
    let line = session.app.logs.log.at_cursor().expect("a line");
    assert_eq!(line.text, "frame 7400/9999");
    session.keys("Fqueue:media");
    session.effects.clear();
    session.key(KeyCode::Enter);
    let watched = session.effects.iter().find_map(|effect| match effect {
        Effect::Watch { topics, .. } => Some(topics.clone()),
        _ => None,
    });
    let topic = Topic::Logs("queue:media".to_owned());
    assert_eq!(watched, Some(vec![Topic::Overview, topic.clone()]));
    assert_eq!(session.app.logs.log.len(), 0);
    session.logs("", vec![one(1, log_part(1, 1, "of the filter before\n"))]);
    assert_eq!(session.app.logs.log.len(), 0);
    let mut failure = Failure::new(FailureKind::Answered, "the filter would scan too much");
    failure.hint = Some("add `since:`".to_owned());
    session.send(Msg::Live { topic, news: LiveNews::Ended(failure) });
    let shown = session.screen();
    assert!(shown.contains("would scan too much") && shown.contains("add `since:`"), "{shown}");
    session.keys("\\");
    let live = LiveEvent::LogLive(LogLive { v: 1 });
    let news = LiveNews::Event(Box::new(live));
    session.send(Msg::Live { topic: Topic::Logs(String::new()), news });
    assert!(session.screen().contains("have printed nothing"), "{}", session.screen());
}

#[test]
fn the_end_is_followed_until_the_user_moves_up_and_the_cursor_stays_on_its_line() {
    let mut session = session(80, 24);
    let more = |seq| one(14_233, log_part(1, seq, &format!("line {seq}\n")));
    session.logs("", (13..60).map(more).collect());
    assert!(session.screen().contains("line 59"));
    session.keys("k");
    session.logs("", (60..70).map(more).collect());
    let shown = session.screen();
    assert!(!shown.contains("line 69") && shown.contains("10 new below"), "{shown}");
    assert_eq!(session.app.logs.log.at_cursor().map(|line| line.seq), Some(58));
    session.keys("G");
    assert!(session.screen().contains("line 69") && session.app.logs.log.scroll.follow);
    session.keys("g");
    assert!(session.screen().contains("frame 7288"), "{}", session.screen());
}

#[test]
fn output_that_comes_while_the_screen_is_frozen_is_bounded_and_read_anew() {
    let mut session = session(80, 24);
    session.keys("z");
    let text = "x".repeat(60_000);
    for seq in 13..300 {
        session.logs("", vec![one(14_233, log_part(1, seq, &text))]);
        let held = session.app.frozen.as_ref().expect("frozen").bytes;
        assert!(held <= 8 * 1024 * 1024, "{held}");
    }
    session.keys("z");
    assert!(session.effects.iter().any(|one| matches!(one, Effect::Watch { anew: true, .. })));
}

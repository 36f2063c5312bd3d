//! Every screen at three sizes.

use super::Session;
use crate::api::{Failure, FailureKind, LogNews};
use crate::state::Msg;
use crate::state::details::Detail;
use crossterm::event::KeyCode;
use orx_model::log::Stream;
use orx_model::wire::{LogEvent, LogPart};

const SIZES: [(u16, u16); 3] = [(120, 36), (80, 24), (40, 10)];

fn snapshot(name: &str, session: &Session) {
    let (width, height) = session.app.size;
    insta::assert_snapshot!(format!("{name}_{width}x{height}"), session.screen());
}

#[test]
fn every_screen_with_data() {
    for (width, height) in SIZES {
        for (key, name) in [
            ("1", "overview"),
            ("2", "jobs"),
            ("3", "queues"),
            ("4", "workers"),
            ("5", "schedules"),
            ("6", "dead"),
            ("7", "cluster"),
            ("0", "settings"),
        ] {
            let mut session = Session::loaded(width, height);
            session.keys(key);
            session.answer_all();
            snapshot(name, &session);
        }
    }
}

#[test]
fn a_job_with_its_log() {
    for (width, height) in SIZES {
        let mut session = Session::loaded(width, height);
        session.keys("2");
        session.answer_all();
        session.key(KeyCode::Enter);
        session.answer_all();
        let Some(Detail::Job(pane)) = session.app.detail() else { panic!("no job is open") };
        let generation = pane.follows;
        let part = |stream, data: &str| {
            LogNews::Event(LogEvent::Chunk(LogPart {
                cursor: "1:1".to_owned(),
                attempt: 1,
                stream,
                at: crate::fixtures::now(),
                dropped_bytes: 0,
                data: data.as_bytes().to_vec(),
            }))
        };
        let news = vec![
            part(Stream::Out, "frame 7288/9999  24.1 fps\n"),
            part(Stream::Err, "[swscaler] deprecated pixel format used\n"),
            part(Stream::Log, "{\"level\":\"info\",\"message\":\"pass 2 at 74 %\"}\n"),
            part(Stream::Out, "frame 7400/9999"),
        ];
        session.send(Msg::Log { generation, news });
        snapshot("job_log", &session);
        session.keys("]]]]]");
        snapshot("job_why", &session);
    }
}

#[test]
fn a_question_for_one_and_for_what_is_lost() {
    for (width, height) in SIZES {
        let mut session = Session::loaded(width, height);
        session.keys("2");
        session.answer_all();
        session.keys("c");
        snapshot("question_heavy", &session);
        session.key(KeyCode::Esc);
        session.wait(400);
        session.key(KeyCode::Esc);
        session.keys("jjr");
        snapshot("question_light", &session);
    }
}

#[test]
fn loading_offline_refused_and_empty_in_words() {
    for (width, height) in SIZES {
        let mut session = Session::new(width, height);
        session.keys("2");
        snapshot("jobs_loading", &session);
        let mut failure =
            Failure::new(FailureKind::Link, "could not reach the server at http://n1");
        failure.cause = Some("connection refused".to_owned());
        session.fail_all(&failure);
        snapshot("jobs_offline", &session);

        let mut session = Session::new(width, height);
        session.keys("4");
        let mut failure = Failure::new(FailureKind::Answered, "the token has no scope `read`");
        failure.hint = Some("`orx token create --scope read` makes one that has".to_owned());
        session.fail_all(&failure);
        snapshot("workers_not_allowed", &session);
    }
}

#[test]
fn help_history_and_palette() {
    for (width, height) in SIZES {
        let mut session = Session::loaded(width, height);
        session.keys("2");
        session.answer_all();
        session.keys("?");
        snapshot("help", &session);
        session.key(KeyCode::Esc);
        session.keys(":");
        snapshot("palette", &session);
    }
}

#[test]
fn ascii_needs_no_other_character() {
    for (width, height) in SIZES {
        let mut options = crate::fixtures::options();
        (options.ascii, options.theme) = (true, crate::options::Theme::Mono);
        let app = crate::state::App::new(options, (width, height), crate::fixtures::moment(0));
        let mut session = Session::with(app);
        session.answer_all();
        for key in "1234567890".chars() {
            session.keys(&key.to_string());
            session.answer_all();
            let shown = session.screen();
            // What others send may hold any character.
            let shown = shown.replace(['␛', '\u{fffd}'], "");
            assert!(shown.is_ascii(), "{key}:\n{shown}");
        }
    }
}

#[test]
fn a_tiny_terminal_says_which_size_shows_more() {
    let session = Session::loaded(20, 3);
    insta::assert_snapshot!(session.screen(), @r"
    108 run 1204 wait 4…
    40x8 shows a list
    q quits
    ");
}

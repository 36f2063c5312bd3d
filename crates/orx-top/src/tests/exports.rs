//! What is written to files.

use crossterm::event::KeyCode;

use super::Session;
use crate::state::{Effect, Exported, Msg};

fn session() -> Session {
    let mut session = Session::loaded(120, 36);
    session.keys("2");
    session.answer_all();
    session.keys("/status:failed");
    session.key(KeyCode::Enter);
    session.effects.clear();
    session.keys("e");
    session.key(KeyCode::Enter);
    session
}

#[test]
fn an_export_shows_how_far_it_is_and_escape_stops_it() {
    let mut session = session();
    let [Effect::Export { number, path, what }] = &session.effects[..] else {
        panic!("{:?}", session.effects)
    };
    let number = *number;
    assert_eq!((path.as_str(), what), ("jobs.jsonl", &Exported::Jobs("status:failed".to_owned())));
    session.send(Msg::ExportedSoFar(number, 12_500));
    let shown = session.screen();
    assert!(shown.contains("writing jobs.jsonl: 12,500 jobs so far"), "{shown}");
    assert!(shown.contains("Esc stop writing"), "{shown}");
    session.effects.clear();
    session.keys("e");
    session.key(KeyCode::Enter);
    assert!(session.effects.is_empty(), "one at a time");
    session.key(KeyCode::Esc);
    assert_eq!(session.effects, [Effect::StopExport]);
    let shown = session.screen();
    assert!(shown.contains("stopped: the first 12,500 jobs are in jobs.jsonl"), "{shown}");
    session.send(Msg::ExportEnded(number, Ok("wrote 13,000 jobs".to_owned())));
    assert!(!session.screen().contains("13,000"), "it was stopped");
    assert_eq!(session.app.jobs.pages.filter, "status:failed", "only the export was stopped");
}

#[test]
fn lists_that_are_held_whole_are_written_at_once() {
    let mut session = Session::loaded(120, 36);
    session.keys("3");
    session.answer_all();
    session.keys("e");
    session.key(KeyCode::Enter);
    let written = session.effects.iter().find_map(|effect| match effect {
        Effect::Write { path, text } => Some((path.clone(), text.clone())),
        _ => None,
    });
    let (path, text) = written.expect("written");
    assert_eq!((path.as_str(), text.lines().count()), ("queues.jsonl", 4));
    assert!(text.starts_with("{\"queue\":\"default\""), "{text}");
}

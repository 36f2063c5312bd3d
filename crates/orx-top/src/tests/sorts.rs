//! The order of lists.

use crossterm::event::KeyCode;
use orx_model::wire::live::{LiveEvent, QueueUpdated};

use super::Session;
use crate::api::{LiveNews, Request, Topic};
use crate::fixtures;
use crate::state::Msg;

fn queues(session: &Session) -> String {
    let names: Vec<&str> = session.app.queues.rows.iter().map(|row| row.queue.as_str()).collect();
    names.join(" ")
}

#[test]
fn a_list_is_sorted_by_the_column_that_is_chosen_and_stays_so_as_rows_change() {
    let mut session = Session::loaded(120, 36);
    session.keys("3");
    session.answer_all();
    assert_eq!(queues(&session), "default mail media reports");
    session.keys("s");
    insta::assert_snapshot!("sort_queues_120x36", session.screen());
    session.keys("jj");
    session.key(KeyCode::Enter);
    assert_eq!(queues(&session), "media default mail reports");
    session.keys("S");
    assert_eq!(queues(&session), "reports mail default media");
    for _ in 0..3 {
        let changed = fixtures::queues().queues.remove(0);
        let update = QueueUpdated { v: 1, queues: vec![changed], gone: Vec::new() };
        let event = Box::new(LiveEvent::QueueUpdated(update));
        session.send(Msg::Live { topic: Topic::Queues, news: LiveNews::Event(event) });
        assert_eq!(queues(&session), "reports mail default media");
    }
    assert!(session.screen().contains("WAIT▼"), "{}", session.screen());
    session.keys("s");
    session.key(KeyCode::Esc);
    assert!(session.app.popup.is_none());
    session.keys("sg");
    session.key(KeyCode::Enter);
    assert_eq!((session.app.queues.sort, session.app.queues.reverse), (None, false));
}

#[test]
fn jobs_have_the_orders_of_their_pages_and_the_menu_says_why() {
    for (width, height) in [(120, 36), (80, 24), (40, 10)] {
        let mut session = Session::loaded(width, height);
        session.keys("2");
        session.answer_all();
        session.keys("s");
        insta::assert_snapshot!(format!("sort_jobs_{width}x{height}"), session.screen());
        session.keys("j");
        session.key(KeyCode::Enter);
        let calls = session.calls();
        let oldest = calls.iter().find_map(|(_, request)| match request {
            Request::Jobs(query) => query.oldest_first,
            _ => None,
        });
        assert_eq!(oldest, Some(true), "{calls:?}");
    }
}

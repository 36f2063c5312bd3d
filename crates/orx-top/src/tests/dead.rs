//! Dead letters by cause, as the server counts them.

use crossterm::event::KeyCode;
use orx_model::JobStatus;
use orx_model::wire::{Change, ChangeAnswer, Changed};

use super::Session;
use crate::api::{Answer, Request};
use crate::fixtures;
use crate::state::{Msg, Purpose};

const CAUSE: &str = "cause:0000000000009c1f";

fn on_dead() -> Session {
    let mut session = Session::loaded(120, 36);
    session.keys("6");
    session.answer_all();
    session.effects.clear();
    session
}

fn filter(request: &Request) -> Option<&str> {
    match request {
        Request::Causes(query) => query.filter.as_deref(),
        Request::DeadLetters(query) => query.filter.as_deref(),
        _ => None,
    }
}

/// Answers these requests.
fn give(session: &mut Session, calls: Vec<(Purpose, Request)>) {
    for (purpose, request) in calls {
        let result = Ok(super::answer(&request).expect("an answer"));
        session.send(Msg::Answer { purpose, request, result });
    }
}

fn retried(count: u64) -> Answer {
    let jobs =
        vec![Changed { id: orx_model::JobId(14_231), change: Change::Retried, status: None }];
    Answer::Changed(ChangeAnswer { v: 1, dry_run: false, affected: count, jobs, rest: None })
}

/// Opens the question of a retry, and counts what would change.
fn asked(session: &mut Session) {
    session.keys("r");
    let (purpose, request) = session.calls().remove(0);
    assert!(matches!(&request, Request::RetryDead(change) if change.dry_run), "{request:?}");
    session.send(Msg::Answer { purpose, request, result: Ok(retried(39)) });
    session.wait(400);
    session.effects.clear();
}

fn writes(session: &mut Session) -> Vec<(Purpose, Request)> {
    let calls = session.calls().into_iter();
    calls.filter(|(_, request)| request.is_write()).collect()
}

/// The filter of an operation over dead letters, and how many it may change.
fn operation(request: &Request) -> (Option<&str>, Option<u64>) {
    let Request::StartOperation(operation) = request else { panic!("{request:?}") };
    assert!(operation.dead, "{operation:?}");
    (operation.filter.as_deref(), operation.max_affected)
}

#[test]
fn the_server_groups_and_enter_asks_for_the_letters_of_a_cause() {
    let mut session = on_dead();
    let shown = session.screen();
    assert!(shown.contains("moov atom not found") && shown.contains("39"), "{shown}");
    session.key(KeyCode::Enter);
    let calls = session.calls();
    let [(_, request @ Request::DeadLetters(_))] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(filter(request), Some(CAUSE));
    give(&mut session, calls);
    assert!(session.screen().contains("14099"), "{}", session.screen());
    session.key(KeyCode::Esc);
    let calls = session.calls();
    assert!(matches!(calls.as_slice(), [(_, Request::Causes(_))]), "{calls:?}");
    assert_eq!(session.app.dead.grid.cursor(), Some("0000000000009c1f"));
    give(&mut session, calls);
    session.keys("w");
    let calls = session.calls();
    let [(_, request @ Request::DeadLetters(_))] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(filter(request), None);
}

#[test]
fn a_late_page_of_another_view_changes_nothing() {
    let mut session = on_dead();
    session.keys("w");
    let (purpose, request) = session.calls().remove(0);
    session.keys("w");
    let page = orx_model::wire::DeadLetterPage {
        v: 1,
        dead_letters: vec![fixtures::letter(1, "late")],
        next: None,
    };
    session.send(Msg::Answer { purpose, request, result: Ok(Answer::DeadLetters(page)) });
    assert!(session.app.dead.letters.is_empty());
}

#[test]
fn a_change_of_a_cause_goes_by_its_filter_and_no_further_than_what_was_counted() {
    let mut session = on_dead();
    asked(&mut session);
    let shown = session.screen();
    assert!(shown.contains("canary: retry 1 first (14231)"), "{shown}");
    session.keys("y");
    let sent = writes(&mut session);
    let [(_, request)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(operation(request), (Some(CAUSE), Some(39)));
}

#[test]
fn the_others_follow_a_canary_that_completes_and_stay_after_one_that_fails() {
    for (status, follows) in [(JobStatus::Completed, true), (JobStatus::Failed, false)] {
        let mut session = on_dead();
        asked(&mut session);
        session.key(KeyCode::Tab);
        session.key(KeyCode::Tab);
        session.keys(" ");
        session.key(KeyCode::Tab);
        session.keys("y");
        let mut sent = writes(&mut session);
        let (purpose, request) = sent.remove(0);
        let Request::RetryDead(change) = &request else { panic!("{request:?}") };
        assert_eq!(change.filter.as_deref(), Some("id:14231"));
        session.effects.clear();
        session.send(Msg::Answer { purpose: purpose.clone(), request, result: Ok(retried(1)) });
        let calls = session.calls();
        let waits = calls.iter().find(|(_, request)| matches!(request, Request::AwaitJob(_)));
        let (_, request) = waits.expect("it waits for the end").clone();
        assert_eq!(request, Request::AwaitJob(orx_model::JobId(14_231)));
        session.effects.clear();
        let mut job = fixtures::running();
        (job.id, job.state.status) = (orx_model::JobId(14_231), status);
        job.state.error = Some("still bad".to_owned());
        let ended = Ok(Answer::Ended(Box::new(job)));
        session.send(Msg::Answer { purpose, request, result: ended });
        let rest = writes(&mut session);
        assert_eq!(rest.len(), usize::from(follows), "{rest:?}");
        if follows {
            assert_eq!(operation(&rest[0].1).0, Some(CAUSE));
        } else {
            let shown = session.screen();
            assert!(shown.contains("still bad; the others are as they were"), "{shown}");
        }
    }
}

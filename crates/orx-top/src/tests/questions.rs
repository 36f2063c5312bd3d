//! Changes: the right targets, asked for first, with the status that the user saw.

use crossterm::event::KeyCode;
use orx_model::wire::{Change, ChangeAnswer, ChangeRequest, Changed, OperationAction};
use orx_model::{JobId, JobStatus};
use proptest::prelude::*;

use super::Session;
use crate::api::{Answer, Request};
use crate::state::{Msg, Purpose};

fn on_jobs() -> Session {
    let mut session = Session::loaded(120, 36);
    session.keys("2");
    session.answer_all();
    session.effects.clear();
    session
}

fn cancels(session: &mut Session) -> Vec<ChangeRequest> {
    let calls = session.calls().into_iter().filter_map(|(_, request)| match request {
        Request::Cancel(change) if !change.dry_run => Some(change),
        _ => None,
    });
    calls.collect()
}

#[test]
fn a_cancel_asks_first_names_the_cluster_and_carries_what_was_seen() {
    let mut session = on_jobs();
    session.keys("c");
    let shown = session.screen();
    assert!(shown.contains("Cancel on prod") && shown.contains("14233"), "{shown}");
    session.wait(400);
    session.keys("y");
    let sent = cancels(&mut session);
    assert_eq!(sent[0].ids, [JobId(14_233)]);
    assert_eq!(sent[0].expected, Some(JobStatus::Running));
}

#[test]
fn enter_escape_and_early_keys_change_nothing() {
    for code in [KeyCode::Enter, KeyCode::Esc, KeyCode::Char('n'), KeyCode::Char('q')] {
        let mut session = on_jobs();
        session.keys("c");
        session.wait(400);
        session.key(code);
        assert!(session.app.question.is_none() && cancels(&mut session).is_empty(), "{code:?}");
    }
    let mut session = on_jobs();
    session.keys("cy");
    assert!(session.app.question.is_some(), "within 300 ms a key is not meant for the question");
    assert_eq!(cancels(&mut session), []);
}

#[test]
fn the_reason_is_typed_and_sent_and_the_command_is_kept() {
    let mut session = on_jobs();
    session.keys("c");
    session.wait(400);
    session.key(KeyCode::Tab);
    session.keys("bad y");
    session.key(KeyCode::Enter);
    session.keys("y");
    assert_eq!(cancels(&mut session)[0].reason.as_deref(), Some("bad y"));
    assert_eq!(session.app.changes[0].command, "orx cancel 14233 --reason 'bad y'");
}

#[test]
fn many_are_counted_by_the_server_and_go_by_the_status_that_was_seen() {
    let mut session = on_jobs();
    session.key(KeyCode::Char(' '));
    session.keys("jj ");
    session.keys("c");
    let calls = session.calls();
    let [(purpose @ Purpose::DryRun(_), request @ Request::Cancel(change))] = calls.as_slice()
    else {
        panic!("{calls:?}");
    };
    assert!(change.dry_run && change.ids.len() == 2, "{change:?}");
    session.wait(400);
    session.keys("y");
    assert!(session.app.question.is_some(), "what is not counted is not confirmed");
    let jobs = change.ids.iter().map(|id| Changed { id: *id, change: Change::Would, status: None });
    let counted =
        ChangeAnswer { v: 1, dry_run: true, affected: 2, jobs: jobs.collect(), rest: None };
    let result = Ok(Answer::Changed(counted));
    session.send(Msg::Answer { purpose: purpose.clone(), request: request.clone(), result });
    session.keys("y");
    let sent = cancels(&mut session);
    let expected: Vec<_> = sent.iter().map(|change| (change.expected, change.ids.len())).collect();
    assert_eq!(expected, [(Some(JobStatus::Scheduled), 1), (Some(JobStatus::Running), 1)]);
}

#[test]
fn of_everything_that_matches_the_number_is_typed_when_it_is_large() {
    let mut session = on_jobs();
    session.keys("*c");
    let calls = session.calls();
    let [(purpose, request @ Request::Cancel(change))] = calls.as_slice() else {
        panic!("{calls:?}");
    };
    assert_eq!(change.filter.as_deref(), Some("id>0"));
    let counted =
        ChangeAnswer { v: 1, dry_run: true, affected: 1_204, jobs: Vec::new(), rest: None };
    let result = Ok(Answer::Changed(counted));
    session.send(Msg::Answer { purpose: purpose.clone(), request: request.clone(), result });
    session.wait(400);
    session.keys("y120y");
    assert!(cancels(&mut session).is_empty() && session.app.question.is_some());
    session.keys("4y");
    let calls = session.calls();
    let started = calls.into_iter().find_map(|(purpose, request)| match &request {
        Request::StartOperation(operation) => Some((purpose, request.clone(), operation.clone())),
        _ => None,
    });
    let (purpose, request, asked) = started.expect("an operation");
    assert_eq!(asked.action, OperationAction::Cancel);
    assert_eq!((asked.filter.as_deref(), asked.max_affected), (Some("id>0"), Some(1_204)));

    let answer = |status: &str, changed: u64| {
        let view = serde_json::json!({
            "v": 1, "id": 7, "action": "cancel", "status": status, "filter": "id>0",
            "matched": {"count": 1_204, "exact": true}, "changed": changed, "stopping": 0,
            "left_alone": {"already_ended": 4, "not_ended": 0, "not_found": 0, "in_use": 0},
            "upto": 9_000, "reached": 1, "created_at": "2026-01-01T00:00:00Z", "token": "ops",
        });
        Ok(Answer::Operation(serde_json::from_value(view).expect("an operation")))
    };
    let result = answer("running", 500);
    session.send(Msg::Answer { purpose: purpose.clone(), request, result });
    let shown = |session: &Session| session.app.message.as_ref().map(|it| it.text.clone());
    assert_eq!(shown(&session).as_deref(), Some("cancel … 500 of 1204"));
    let next = session.calls().into_iter().find(|(_, call)| matches!(call, Request::Operation(_)));
    let (_, request) = next.expect("it is read again");
    session.send(Msg::Answer { purpose, request, result: answer("done", 1_200) });
    let end = shown(&session).expect("a message");
    assert!(end.starts_with("cancelled 1200 jobs (") && end.ends_with("4 ended before"), "{end}");
}

#[test]
fn what_was_left_alone_is_named() {
    let mut session = on_jobs();
    session.keys("c");
    session.wait(400);
    session.keys("y");
    let calls = session.calls();
    let found = calls.into_iter().find(|(_, request)| matches!(request, Request::Cancel(_)));
    let (purpose, request) = found.expect("a cancel");
    let one = Changed {
        id: JobId(14_233),
        change: Change::NotInState,
        status: Some(JobStatus::Completed),
    };
    let answer = ChangeAnswer { v: 1, dry_run: false, affected: 0, jobs: vec![one], rest: None };
    session.send(Msg::Answer { purpose, request, result: Ok(Answer::Changed(answer)) });
    assert!(
        session.screen().contains("left alone: 14233 is completed by now"),
        "{}",
        session.screen()
    );
}

#[test]
fn a_read_only_dashboard_has_no_key_that_changes_anything() {
    let mut options = crate::fixtures::options();
    options.read_only = true;
    let app = crate::state::App::new(options, (120, 36), crate::fixtures::moment(0));
    let mut session = Session::with(app);
    session.answer_all();
    session.keys("2");
    session.answer_all();
    session.keys("c");
    let shown = session.screen();
    assert!(session.app.question.is_none() && !shown.contains("cancel "), "{shown}");
    assert!(shown.contains("READ-ONLY"));
}

#[test]
fn while_no_server_answers_a_change_is_refused_at_once() {
    let mut session = on_jobs();
    session.wait(2_000);
    let down = crate::api::Failure::new(crate::api::FailureKind::Link, "connection refused");
    session.fail_all(&down);
    session.keys("c");
    assert!(session.app.question.is_none());
    assert!(session.screen().contains("nothing can be changed now"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever comes between the key and the `y`, the targets are those of the key.
    #[test]
    fn nothing_between_the_key_and_yes_changes_the_targets(
        removed in proptest::collection::vec(0_usize..9, 0..6),
        extra in 0_i64..20,
        down in 0_usize..8,
    ) {
        let mut session = on_jobs();
        for _ in 0..down {
            session.keys("j");
        }
        session.keys("c");
        let Some(question) = &session.app.question else { return Ok(()) };
        let meant: Vec<JobId> =
            question.targets.iter().map(|one| one.id.parse().expect("an id")).collect();
        let before: Vec<_> = question.targets.iter().map(|one| one.status).collect();
        session.wait(2_500);
        for (purpose, request) in session.calls() {
            let Some(mut answer) = super::answer(&request) else { continue };
            if let Answer::Jobs(page) = &mut answer {
                for place in &removed {
                    if *place < page.jobs.len() {
                        page.jobs.remove(*place);
                    }
                }
                for number in 0..extra {
                    page.jobs.insert(0, crate::fixtures::summary(20_000 + number));
                }
            }
            session.send(Msg::Answer { purpose, request, result: Ok(answer) });
        }
        session.keys("y");
        let sent = cancels(&mut session);
        prop_assert_eq!(sent.len(), 1);
        prop_assert_eq!(&sent[0].ids, &meant);
        prop_assert_eq!(vec![sent[0].expected], before);
    }
}

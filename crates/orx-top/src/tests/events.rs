//! The events of a job.

use std::time::Duration;

use crossterm::event::KeyCode;
use orx_model::job::{CancelRequest, DeadReason};
use orx_model::wire::{AuditEntry, AuditPage, JobDetail};
use orx_model::{Attempt, AttemptStatus, ExecutionId, JobStatus, Timestamp};

use super::Session;
use crate::api::{Answer, Failure, FailureKind, Request};
use crate::fixtures;
use crate::state::{Msg, Purpose};

fn before(seconds: u64) -> Timestamp {
    fixtures::now().saturating_sub(Duration::from_secs(seconds))
}

fn attempt(number: u32, status: AttemptStatus, claimed: u64, error: &str) -> Attempt {
    Attempt {
        job: fixtures::detail().job.id,
        number,
        execution: ExecutionId::from_bytes([1; 16]),
        worker: fixtures::incarnation(3),
        worker_name: fixtures::name("wrk-3"),
        epoch: 14,
        status,
        claimed_at: before(claimed),
        started_at: Some(before(claimed - 2)),
        ended_at: Some(before(claimed - 30)),
        error: Some(error.to_owned()).filter(|text| !text.is_empty()),
        exit: None,
        dropped_bytes: 0,
    }
}

/// A job that was lost, failed, was retried by a person, and cancelled.
fn detail() -> JobDetail {
    let mut detail = fixtures::detail();
    detail.attempts = vec![
        attempt(1, AttemptStatus::Lost, 300, "lost its worker"),
        attempt(2, AttemptStatus::Failed, 200, "exit 1: moov \u{1b}[2Jatom not found\nsecond line"),
        attempt(3, AttemptStatus::Cancelled, 100, ""),
    ];
    let state = &mut detail.job.state;
    (state.status, state.live, state.attempt) = (JobStatus::Cancelled, None, 3);
    state.created_at = before(310);
    (state.finished_at, state.dead) = (Some(before(69)), None::<DeadReason>);
    let (by, reason) = (Some("ops@host-a".to_owned()), Some("bad upload".to_owned()));
    state.cancel = Some(CancelRequest { at: before(75), reason, by });
    detail
}

fn change(id: u64, action: &str, object: &str, age: u64, reason: &str) -> AuditEntry {
    AuditEntry {
        id,
        at: before(age),
        action: action.to_owned(),
        object: object.to_owned(),
        changed: 1,
        token: "local".to_owned(),
        address: None,
        by: Some("ops@host-a".to_owned()),
        reason: Some(reason.to_owned()),
    }
}

/// The tab of events, whose requests the server answers.
fn session(width: u16, height: u16, audit: Result<AuditPage, Failure>) -> Session {
    let mut session = Session::loaded(width, height);
    session.keys("2");
    session.answer_all();
    session.key(KeyCode::Enter);
    session.keys("]]]]");
    for (purpose, request) in session.calls() {
        let result = match request {
            Request::Job(_) => Ok(Answer::Job(Box::new(detail()))),
            Request::Audit(_) => {
                assert!(matches!(purpose, Purpose::Audit(_)));
                audit.clone().map(Answer::Audit)
            }
            _ => continue,
        };
        session.send(Msg::Answer { purpose, request, result });
    }
    session
}

#[test]
fn a_job_tells_what_happened_to_it_and_who_did_it() {
    let entries = vec![
        change(3, "cancel_jobs", "14233", 74, "bad upload"),
        change(2, "retry_jobs", "14232, 14233 and 3 others", 130, "codec fixed"),
        change(1, "retry_jobs", "142330", 140, "another job"),
        change(0, "pause_queue", "14233", 150, "a queue with this name"),
    ];
    for (width, height) in [(120, 36), (80, 24), (40, 10)] {
        let page = AuditPage { v: 1, entries: entries.clone(), next: None };
        let session = session(width, height, Ok(page));
        insta::assert_snapshot!(format!("events_{width}x{height}"), session.screen());
    }
}

#[test]
fn without_the_scope_for_changes_by_people_the_rest_is_there_and_the_reason_too() {
    let failure = Failure::new(FailureKind::Answered, "the token has no scope `admin`");
    let mut session = session(120, 36, Err(failure));
    let shown = session.screen();
    assert!(shown.contains("attempt 1 lost") && shown.contains("no scope `admin`"), "{shown}");
    session.calls();
    session.wait(3_000);
    let asks = |session: &mut Session| {
        session.calls().iter().any(|(purpose, _)| matches!(purpose, Purpose::Audit(_)))
    };
    assert!(!asks(&mut session), "changes by people are read every ten seconds");
    session.wait(8_000);
    assert!(asks(&mut session));
}

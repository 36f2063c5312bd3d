//! Validation of what workers report: accepted reports can be stored, read and shown safely.
//!
//! An invalid outcome never leaves its attempt without an end: it becomes a failure without a retry, and
//! its error contains the reason.

use serde_json::value::RawValue;

use crate::attempt::{Outcome, OutcomeKind, ProcessExit};
use crate::ids::{ExecutionId, JobId};
use crate::job::Progress;
use crate::message::{Body, Envelope, Message, VERSION, WorkerRegistration};
use crate::text::truncate_bytes;
use crate::time::{Timestamp, format_duration};
use crate::{json, limits};

/// The result of checking a worker's envelope.
#[derive(Debug)]
pub enum Admitted {
    /// Accepted, with values brought within their limits.
    Taken(Envelope),
    /// Set aside: of an unknown type or version.
    Unknown,
    /// Rejected with this reason: an invalid payload, or a message that a worker may not send.
    Refused(String),
}

/// Checks an envelope from a worker in another process.
#[must_use]
pub fn admit(mut envelope: Envelope, now: Timestamp) -> Admitted {
    envelope.body = match envelope.body {
        Body::Known(message) => Body::Known(message),
        Body::Unknown(_) if envelope.version > VERSION => return Admitted::Unknown,
        Body::Unknown(text) => match unread(text.get(), now) {
            Unread::Salvaged(message) => Body::Known(message),
            Unread::Unknown => return Admitted::Unknown,
            Unread::Wrong(why) => return Admitted::Refused(why),
        },
    };
    if let Body::Known(message) = &mut envelope.body {
        if let Some(why) = not_a_workers(message) {
            return Admitted::Refused(why);
        }
        make_fit(message);
    }
    Admitted::Taken(envelope)
}

/// Why a worker may not send this message; `None` where it may.
fn not_a_workers(message: &Message) -> Option<String> {
    match message {
        Message::JobResult { outcomes } => outcomes
            .iter()
            .find(|outcome| matches!(outcome.kind, OutcomeKind::Lost { .. }))
            .map(|outcome| format!("job `{}`: only coordinators report `lost`", outcome.job)),
        Message::JobLog { chunks } => {
            let most = limits::LOG_CHUNK_BYTES;
            let large = chunks.iter().find(|chunk| chunk.bytes.len() > most)?;
            Some(format!("a chunk is at most {most} bytes, found {}", large.bytes.len()))
        }
        Message::JobStatus { .. }
        | Message::JobProgress { .. }
        | Message::JobDispatch { .. }
        | Message::JobCancel { .. }
        | Message::JobResultAck { .. }
        | Message::Heartbeat {}
        | Message::Notification(_) => None,
    }
}

enum Unread {
    /// Outcomes, some of them reduced to their job and execution.
    Salvaged(Message),
    Unknown,
    Wrong(String),
}

/// Classifies a body that does not parse as a message.
fn unread(text: &str, now: Timestamp) -> Unread {
    #[derive(serde::Deserialize)]
    struct Outcomes<'t> {
        #[serde(borrow)]
        outcomes: Vec<&'t RawValue>,
    }
    let error = match serde_json::from_str::<Message>(text) {
        Ok(message) => return Unread::Salvaged(message),
        Err(error) => error,
    };
    let wrong =
        |error: serde_json::Error| Unread::Wrong(format!("the body cannot be read: {error}"));
    let tagged = serde_json::from_str::<std::collections::BTreeMap<String, &RawValue>>(text);
    let (kind, inner) = match tagged.map(|tagged| tagged.into_iter().next()) {
        Ok(Some(tagged)) => tagged,
        Ok(None) | Err(_) => return wrong(error),
    };
    if kind != "job_result" {
        return if Message::KINDS.contains(&kind.as_str()) {
            wrong(error)
        } else {
            Unread::Unknown
        };
    }
    let Ok(Outcomes { outcomes }) = serde_json::from_str(inner.get()) else { return wrong(error) };
    let outcomes: Option<Vec<Outcome>> =
        outcomes.into_iter().map(|outcome| salvaged(outcome.get(), now)).collect();
    outcomes
        .map_or_else(|| wrong(error), |outcomes| Unread::Salvaged(Message::JobResult { outcomes }))
}

/// An outcome; where it does not parse, a failure of the same execution.
fn salvaged(text: &str, now: Timestamp) -> Option<Outcome> {
    #[derive(serde::Deserialize)]
    struct Known {
        job: JobId,
        execution: ExecutionId,
    }
    let error = match serde_json::from_str(text) {
        Ok(outcome) => return Some(outcome),
        Err(error) => error,
    };
    let Known { job, execution } = serde_json::from_str(text).ok()?;
    let why = format!("its worker reported an invalid outcome: {error}");
    let kind = OutcomeKind::Failed { retryable: false, retry_after_ms: None };
    let error = Some(why);
    Some(Outcome { job, execution, kind, started_at: None, ended_at: now, error, exit: None })
}

/// Brings the values of a worker's message within their limits. A second call changes nothing.
pub fn make_fit(message: &mut Message) {
    match message {
        Message::JobResult { outcomes } => outcomes.iter_mut().for_each(fit_outcome),
        Message::JobProgress { progress } => {
            progress.iter_mut().for_each(|each| fit_progress(&mut each.progress));
        }
        Message::JobLog { chunks } => {
            chunks.retain(|chunk| chunk.bytes.len() <= limits::LOG_CHUNK_BYTES);
        }
        Message::JobStatus { .. }
        | Message::JobDispatch { .. }
        | Message::JobCancel { .. }
        | Message::JobResultAck { .. }
        | Message::Heartbeat {}
        | Message::Notification(_) => {}
    }
}

fn fit_outcome(outcome: &mut Outcome) {
    let longest = limits::DELAY_MAX.as_millis() as u64;
    let (why, retryable) = match &mut outcome.kind {
        OutcomeKind::Succeeded { result: Some(result) } => {
            let unfit = json::check(result.get(), limits::RESULT_BYTES).err();
            (unfit.map(|unfit| format!("its result was refused: {unfit}")), false)
        }
        OutcomeKind::Snoozed { for_ms } if *for_ms > longest => {
            let most = format_duration(limits::DELAY_MAX);
            (Some(format!("it asked for a delay of {for_ms} ms; the longest is {most}")), false)
        }
        OutcomeKind::Failed { retry_after_ms: Some(wait), .. } => {
            *wait = (*wait).min(longest);
            (None, false)
        }
        OutcomeKind::Lost { .. } => {
            (Some("its worker reported `lost`, which only a coordinator may".to_owned()), true)
        }
        OutcomeKind::Succeeded { result: None }
        | OutcomeKind::Failed { retry_after_ms: None, .. }
        | OutcomeKind::TimedOut
        | OutcomeKind::Cancelled
        | OutcomeKind::Interrupted
        | OutcomeKind::Refused
        | OutcomeKind::HandedBack
        | OutcomeKind::Snoozed { .. } => (None, false),
    };
    if let Some(why) = why {
        outcome.kind = OutcomeKind::Failed { retryable, retry_after_ms: None };
        outcome.error = Some(why);
    }
    if let Some(error) = &mut outcome.error {
        fit_text(error, limits::ERROR_BYTES);
    }
    // Other numbers are not signals and have no shell code.
    if matches!(outcome.exit, Some(ProcessExit::Signal(signal)) if !(1..128).contains(&signal)) {
        outcome.exit = None;
    }
}

fn fit_progress(progress: &mut Progress) {
    progress.percent =
        if progress.percent.is_finite() { progress.percent.clamp(0.0, 100.0) } else { 0.0 };
    if let Some(text) = &mut progress.text {
        fit_text(text, limits::ERROR_BYTES);
    }
}

/// Cuts a text to `most` bytes at a character, and replaces NUL, which not every database accepts.
fn fit_text(text: &mut String, most: usize) {
    text.truncate(truncate_bytes(text, most).len());
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
        text.truncate(truncate_bytes(text, most).len());
    }
}

/// Brings the values of a registration within their limits.
///
/// # Errors
/// A value out of range that cannot be cut.
pub fn fit_registration(registration: &mut WorkerRegistration) -> Result<(), String> {
    /// The most queues or job types of one worker.
    const NAMES: usize = 10_000;
    let slots = registration.slots;
    if !(1..=limits::WORKER_SLOTS).contains(&slots) {
        return Err(format!("`slots` must be 1 to {}, found {slots}", limits::WORKER_SLOTS));
    }
    // These are for people to read, and may be cut.
    fit_text(&mut registration.host, limits::TAG_BYTES);
    fit_text(&mut registration.version, limits::TAG_BYTES);
    let offer = &registration.offer;
    for (what, found) in [("queues", offer.queues.len()), ("handlers", offer.handlers.len())] {
        if found > NAMES {
            return Err(format!("a worker has at most {NAMES} {what}, found {found}"));
        }
    }
    check_labels("labels", "a worker", &offer.labels)
}

/// Checks tags or labels; `what` and `whom` are for the error text.
///
/// # Errors
/// The first limit that is exceeded.
pub fn check_labels(what: &str, whom: &str, labels: &crate::job::Labels) -> Result<(), String> {
    use limits::{TAG_BYTES, TAGS};
    if labels.len() > TAGS {
        return Err(format!("{whom} has at most {TAGS} {what}, found {}", labels.len()));
    }
    for (key, value) in labels {
        let shown = || key.chars().take(40).collect::<String>();
        if key.is_empty() || key.len() > TAG_BYTES || value.len() > TAG_BYTES {
            return Err(format!(
                "`{}` of {what}: keys and values are 1 to {TAG_BYTES} bytes",
                shown()
            ));
        }
        if key.contains(char::is_control) || value.contains(char::is_control) {
            let shown = shown();
            return Err(format!(
                "`{shown}` of {what}: neither key nor value has control characters"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn admitted(body: &str) -> Admitted {
        let envelope = format!(
            r#"{{"id":"{:032x}","version":1,"at":"2026-01-01T00:00:00Z","from":"{:032x}","body":{body}}}"#,
            1, 2
        );
        admit(serde_json::from_str(&envelope).expect("an envelope"), NOW)
    }

    fn outcome(kind: &str) -> Outcome {
        let id = format!("{:032x}", 3);
        let body = format!(
            r#"{{"job_result":{{"outcomes":[{{"job":7,"execution":"{id}","kind":{kind},"ended_at":"2026-01-01T00:00:00Z"}}]}}}}"#
        );
        let Admitted::Taken(envelope) = admitted(&body) else { panic!("not taken: {body:.200}") };
        let Body::Known(Message::JobResult { mut outcomes }) = envelope.body else {
            panic!("{body:.200}")
        };
        outcomes.pop().expect("an outcome")
    }

    #[test]
    fn an_invalid_outcome_ends_its_attempt_as_a_failure() {
        let large = format!("{{\"succeeded\":{{\"result\":\"{}\"}}}}", "x".repeat(300 * 1024));
        let deep =
            format!("{{\"succeeded\":{{\"result\":{}{}}}}}", "[".repeat(100), "]".repeat(100));
        for kind in [
            r#"{"succeeded":{"result":"\ud800"}}"#,
            r#"{"succeeded":{"result":1e999}}"#,
            r#"{"snoozed":{"for_ms":9223372036854775807}}"#,
            r#""banana""#,
            r#"{"failed":{"retryable":"perhaps"}}"#,
            &large,
            &deep,
        ] {
            let sent = outcome(kind);
            let shown: String = kind.chars().take(60).collect();
            let failed = matches!(sent.kind, OutcomeKind::Failed { retryable: false, .. });
            assert!(failed, "{shown}: {:?}", sent.kind);
            assert_eq!((sent.job, sent.execution), (JobId(7), ExecutionId(3)), "{shown}");
            assert!(sent.error.is_some_and(|error| !error.is_empty()), "{shown}");
        }
        let wait =
            outcome(r#"{"failed":{"retryable":true,"retry_after_ms":18446744073709551615}}"#);
        let OutcomeKind::Failed { retryable: true, retry_after_ms: Some(ms) } = wait.kind else {
            panic!("{wait:?}")
        };
        assert_eq!(u128::from(ms), limits::DELAY_MAX.as_millis());
        let fine = outcome(r#"{"succeeded":{"result":{"a":[1]}}}"#);
        assert!(matches!(fine.kind, OutcomeKind::Succeeded { result: Some(_) }));
    }

    #[test]
    fn invalid_messages_are_rejected_and_newer_ones_set_aside() {
        let id = format!("{:032x}", 3);
        let lost = format!(
            r#"{{"job_result":{{"outcomes":[{{"job":7,"execution":"{id}","kind":{{"lost":{{"with":"worker"}}}},"ended_at":"2026-01-01T00:00:00Z"}}]}}}}"#
        );
        let bytes = "x".repeat(limits::LOG_CHUNK_BYTES + 1);
        let chunk = format!(
            r#"{{"job_log":{{"chunks":[{{"job":7,"attempt":1,"execution":"{id}","seq":1,"stream":"out","at":"2026-01-01T00:00:00Z","bytes":"{bytes}"}}]}}}}"#
        );
        for body in [
            "5",
            "[]",
            "{}",
            r#""job_result""#,
            r#"{"job_result":5}"#,
            r#"{"job_result":{"outcomes":[{"kind":"banana"}]}}"#,
            r#"{"job_status":{"started":[1]}}"#,
            r#"{"job_progress":{}}"#,
            &lost,
            &chunk,
        ] {
            let found = admitted(body);
            let shown: String = body.chars().take(60).collect();
            assert!(matches!(found, Admitted::Refused(_)), "{shown}: {found:?}");
        }
        assert!(matches!(admitted(r#"{"job_teleport":{"to":"mars"}}"#), Admitted::Unknown));
    }

    #[test]
    fn an_invalid_signal_is_dropped() {
        let exit = ProcessExit::Signal(i32::MAX);
        let kind = OutcomeKind::TimedOut;
        let (job, execution, error) = (JobId(1), ExecutionId(1), Some("a\0b".to_owned()));
        let mut sent = Outcome {
            job,
            execution,
            kind,
            started_at: None,
            ended_at: NOW,
            error,
            exit: Some(exit),
        };
        fit_outcome(&mut sent);
        assert_eq!((sent.exit, sent.error.as_deref()), (None, Some("a\u{fffd}b")));
    }
}

//! How reports of workers become batches for the store, and the answers to their senders.

use std::collections::BTreeSet;
use std::sync::Arc;

use orx_model::job::Progress;
use orx_model::log::{LogChunk, Stream};
use orx_model::message::{Body, Envelope, ExecutionProgress, ExecutionRef, Message, Started};
use orx_model::wire::Receipt;
use orx_model::{ExecutionId, Incarnation, JobId, MessageId, Outcome, OutcomeKind, Timestamp};
use orx_store::Holder;

use super::holders::Holders;
use super::plan::{Events, batch, gather, has_outcome_of, receipt, without_workers};

const MIB: usize = 1 << 20;
/// What a row weighs without its payload.
const ROW: usize = 100;
const ONE: Incarnation = Incarnation(1);
const TWO: Incarnation = Incarnation(2);

fn reference(number: u128) -> ExecutionRef {
    ExecutionRef { job: JobId(number as i64), execution: ExecutionId(number) }
}

fn outcome(number: u128, kind: OutcomeKind, error: Option<String>) -> Outcome {
    let ExecutionRef { job, execution } = reference(number);
    let ended_at = Timestamp::default();
    Outcome { job, execution, kind, started_at: None, ended_at, error, exit: None }
}

fn succeeded(number: u128) -> Outcome {
    outcome(number, OutcomeKind::Succeeded { result: None }, None)
}

fn started(number: u128) -> Started {
    let ExecutionRef { job, execution } = reference(number);
    Started { job, execution, at: Timestamp::default() }
}

fn progress(number: u128) -> ExecutionProgress {
    let ExecutionRef { job, execution } = reference(number);
    ExecutionProgress { job, execution, progress: Progress { percent: 1.0, text: None } }
}

fn chunk(number: u128, attempt: u32, bytes: usize) -> LogChunk {
    let ExecutionRef { job, execution } = reference(number);
    let (seq, stream, at) = (1, Stream::Out, Timestamp::default());
    LogChunk {
        job,
        attempt,
        execution,
        seq,
        stream,
        at,
        dropped_bytes: 0,
        bytes: vec![b'x'; bytes],
    }
}

fn envelope(body: Body) -> Envelope {
    let (id, at) = (MessageId(1), Timestamp::default());
    Envelope { id, version: 1, at, from: ONE, to: None, trace: None, body }
}

fn known(message: Message) -> Envelope {
    envelope(Body::Known(message))
}

fn unknown() -> Envelope {
    envelope(Body::Unknown(serde_json::from_str("{}").expect("json")))
}

fn results(outcomes: Vec<Outcome>) -> Message {
    Message::JobResult { outcomes }
}

/// Of envelopes with so many rows each, how many make a batch of at most five rows.
fn of_rows(rows: &[usize]) -> usize {
    let envelopes: Vec<Envelope> =
        rows.iter().map(|rows| known(results(vec![succeeded(1); *rows]))).collect();
    batch(envelopes.iter(), 5)
}

/// How many of these envelopes make a batch that only its bytes bound.
fn of_bytes(messages: Vec<Message>) -> usize {
    let envelopes: Vec<Envelope> = messages.into_iter().map(known).collect();
    batch(envelopes.iter(), usize::MAX)
}

#[test]
fn a_batch_takes_envelopes_up_to_its_rows_and_at_least_one() {
    assert_eq!(of_rows(&[3, 2, 1]), 2);
    assert_eq!(of_rows(&[3, 3]), 1);
    assert_eq!(of_rows(&[1, 1, 1]), 3);
    assert_eq!(of_rows(&[9, 1]), 1);
    assert_eq!(of_rows(&[]), 0);
}

#[test]
fn every_kind_of_report_counts_its_rows() {
    let kinds = [
        Message::JobStatus { started: vec![started(1); 3] },
        Message::JobProgress { progress: vec![progress(1); 3] },
        Message::JobLog { chunks: vec![chunk(1, 1, 1); 3] },
        results(vec![succeeded(1); 3]),
    ];
    for message in kinds {
        let kind = message.kind();
        let envelopes = [known(message.clone()), known(message)];
        assert_eq!(batch(envelopes.iter(), 5), 1, "{kind}");
        assert_eq!(batch(envelopes.iter(), 6), 2, "{kind}");
    }
    // What is not for a coordinator adds nothing to a batch.
    let others = [known(Message::Heartbeat {}), unknown(), known(results(vec![succeeded(1); 5]))];
    assert_eq!(batch(others.iter(), 5), 3);
}

#[test]
fn a_batch_takes_four_mebibytes_of_output_results_and_errors() {
    let output = |bytes| Message::JobLog { chunks: vec![chunk(1, 1, bytes)] };
    assert_eq!(of_bytes(vec![output(2 * MIB - ROW), output(2 * MIB - ROW)]), 2);
    assert_eq!(of_bytes(vec![output(2 * MIB - ROW), output(2 * MIB - ROW + 1)]), 1);
    assert_eq!(of_bytes(vec![output(5 * MIB), output(1)]), 1);

    let text = "x".repeat(3 * MIB);
    let result = serde_json::value::to_raw_value(&text).map(Arc::from).expect("json");
    let result = outcome(1, OutcomeKind::Succeeded { result: Some(result) }, None);
    assert_eq!(of_bytes(vec![results(vec![result]); 2]), 1);
    let failed = OutcomeKind::Failed { retryable: true, retry_after_ms: None };
    let error = outcome(1, failed, Some(text));
    assert_eq!(of_bytes(vec![results(vec![error]); 2]), 1);
}

#[test]
fn small_rows_add_up() {
    let of = |rows: usize| Message::JobStatus { started: vec![started(1); rows] };
    let most = 4 * MIB / ROW;
    assert_eq!(of_bytes(vec![of(most / 2), of(most / 2), of(most % 2), of(1)]), 3);
}

#[test]
fn an_envelope_has_the_outcome_of_an_execution_that_it_reports_as_ended() {
    let of = |numbers: &[u128]| numbers.iter().copied().map(ExecutionId).collect::<BTreeSet<_>>();
    let body = Body::Known(results(vec![succeeded(1), succeeded(2)]));
    assert!(has_outcome_of(&body, &of(&[2, 3])));
    assert!(!has_outcome_of(&body, &of(&[3])));
    assert!(!has_outcome_of(&body, &of(&[])));
    let body = Body::Known(Message::JobStatus { started: vec![started(1)] });
    assert!(!has_outcome_of(&body, &of(&[1])));
}

#[test]
fn a_receipt_is_stale_only_if_every_outcome_is() {
    let stale = BTreeSet::from([ExecutionId(1), ExecutionId(2)]);
    let of = |message| receipt(&Body::Known(message), &stale);
    assert_eq!(of(results(vec![succeeded(1), succeeded(2)])), Receipt::Stale);
    assert_eq!(of(results(vec![succeeded(1), succeeded(3)])), Receipt::Recorded);
    assert_eq!(of(results(Vec::new())), Receipt::Recorded);
    assert_eq!(of(Message::JobStatus { started: vec![started(1)] }), Receipt::Recorded);
    assert_eq!(of(Message::JobProgress { progress: vec![progress(1)] }), Receipt::Recorded);
    assert_eq!(of(Message::JobLog { chunks: vec![chunk(1, 1, 1)] }), Receipt::Recorded);
    assert_eq!(of(Message::Heartbeat {}), Receipt::NotForUs);
    assert_eq!(receipt(&unknown().body, &stale), Receipt::NotForUs);
}

/// One report of each kind about execution `number`.
fn reports(from: Incarnation, number: u128) -> Events {
    let mut events = Events::default();
    assert!(events.add(from, Message::JobStatus { started: vec![started(number)] }));
    assert!(events.add(from, Message::JobProgress { progress: vec![progress(number)] }));
    assert!(events.add(from, Message::JobLog { chunks: vec![chunk(number, 1, 1)] }));
    assert!(events.add(from, results(vec![succeeded(number)])));
    events
}

/// The numbers of starts, progress, chunks and outcomes.
fn counts(events: &Events) -> [usize; 4] {
    let Events { started, progress, chunks, outcomes } = events;
    [started.len(), progress.len(), chunks.len(), outcomes.len()]
}

#[test]
fn reports_of_all_envelopes_are_gathered_with_their_senders() {
    let envelopes = [
        known(results(vec![succeeded(1)])),
        unknown(),
        known(Message::Heartbeat {}),
        known(Message::JobStatus { started: vec![started(2)] }),
    ];
    let events = gather(envelopes.iter());
    assert_eq!(counts(&events), [1, 0, 0, 1]);
    assert_eq!(events.outcomes[0].0, ONE);
    let executions: Vec<u128> = events.executions().map(|it| it.execution.0).collect();
    assert_eq!(executions, [2, 1]);
    assert_eq!(without_workers(events.started), [started(2)]);
}

#[test]
fn a_message_for_workers_is_no_report() {
    let mut events = Events::default();
    assert!(!events.add(ONE, Message::Heartbeat {}));
    assert!(!events.add(ONE, Message::JobResultAck { executions: vec![ExecutionId(1)] }));
    assert_eq!(counts(&events), [0, 0, 0, 0]);
    let executions: Vec<ExecutionRef> = reports(ONE, 5).executions().collect();
    assert_eq!(executions, [reference(5); 4]);
}

#[test]
fn only_the_worker_that_an_execution_was_dispatched_to_reports_it() {
    let mut holders = Holders::default();
    holders.note(reference(5), Holder { worker: ONE, attempt: 1 });
    let mut own = reports(ONE, 5);
    assert_eq!(own.drop_of_others(&holders), []);
    assert_eq!(counts(&own), [1, 1, 1, 1]);
    let mut other = reports(TWO, 5);
    assert_eq!(other.drop_of_others(&holders), [(TWO, ExecutionId(5))]);
    assert_eq!(counts(&other), [0, 0, 0, 0]);
    let mut unknown = reports(ONE, 6);
    assert_eq!(unknown.drop_of_others(&holders), [(ONE, ExecutionId(6))]);
    assert_eq!(counts(&unknown), [0, 0, 0, 0]);
    // The output names its attempt too.
    let mut output = Events::default();
    output.add(ONE, Message::JobLog { chunks: vec![chunk(5, 2, 1), chunk(5, 1, 1)] });
    assert_eq!(output.drop_of_others(&holders), []);
    let attempts: Vec<u32> = output.chunks.iter().map(|(_, chunk)| chunk.attempt).collect();
    assert_eq!(attempts, [1]);
}

#[test]
fn starts_and_progress_are_dropped_where_the_outcome_is_in_the_same_batch() {
    let mut events = reports(ONE, 5);
    events.add(ONE, Message::JobStatus { started: vec![started(6)] });
    events.add(ONE, Message::JobProgress { progress: vec![progress(6)] });
    events.collapse();
    assert_eq!(counts(&events), [1, 1, 1, 1]);
    assert_eq!((events.started[0].1.execution, events.progress[0].1.execution).0, ExecutionId(6));
    assert_eq!(events.progress[0].1.execution, ExecutionId(6));

    let mut no_outcome = Events::default();
    no_outcome.add(ONE, Message::JobStatus { started: vec![started(6)] });
    no_outcome.collapse();
    assert_eq!(counts(&no_outcome), [1, 0, 0, 0]);
}

#[test]
fn holders_are_remembered_for_two_generations() {
    let mut holders = Holders::default();
    let holder = Holder { worker: ONE, attempt: 1 };
    assert!(!holders.knows(ExecutionId(1)));
    for number in 1..=16_384 {
        holders.note(reference(number), holder);
    }
    for number in [1, 16_384] {
        assert!(holders.knows(ExecutionId(number)));
    }
    // The next one begins a generation, and the one before it is still known.
    holders.note(reference(16_385), holder);
    assert!(holders.knows(ExecutionId(1)) && holders.knows(ExecutionId(16_385)));
    assert_eq!(holders.of(reference(1)).map(|holder| holder.worker), Some(ONE));
    let of_another_job = ExecutionRef { job: JobId(9), execution: ExecutionId(1) };
    assert!(holders.of(of_another_job).is_none());
    for number in 16_386..=32_769 {
        holders.note(reference(number), holder);
    }
    assert!(!holders.knows(ExecutionId(1)) && holders.knows(ExecutionId(16_385)));
}

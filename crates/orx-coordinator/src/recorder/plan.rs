//! Sorts the reports of workers into batches for the store, without I/O.

use std::collections::BTreeSet;

use orx_model::log::LogChunk;
use orx_model::message::{Body, Envelope, ExecutionProgress, ExecutionRef, Message, Started};
use orx_model::validation;
use orx_model::wire::Receipt;
use orx_model::{ExecutionId, Incarnation, JobId, Outcome, OutcomeKind};

use super::holders::Holders;

/// Rows written together at most, unless one envelope alone has more.
pub(crate) const ROWS: usize = 4_000;
/// Bytes written together at most, unless one envelope alone has more.
const BYTES: usize = 4 << 20;

/// The reports of many envelopes, each with the worker that sent it.
#[derive(Debug, Default)]
pub struct Events {
    /// Attempts that started.
    pub started: Vec<(Incarnation, Started)>,
    /// Progress of attempts.
    pub progress: Vec<(Incarnation, ExecutionProgress)>,
    /// Output of attempts.
    pub chunks: Vec<(Incarnation, LogChunk)>,
    /// Outcomes of attempts. Each is acknowledged to its worker.
    pub outcomes: Vec<(Incarnation, Outcome)>,
}

impl Events {
    /// Adds a message of a worker. Returns `false` if it is none that workers send to coordinators.
    pub fn add(&mut self, from: Incarnation, mut message: Message) -> bool {
        // Whichever transport carried it: everything that is recorded is validated.
        validation::make_fit(&mut message);
        match message {
            Message::JobStatus { started } => self.started.extend(by(from, started)),
            Message::JobProgress { progress } => self.progress.extend(by(from, progress)),
            Message::JobLog { chunks } => self.chunks.extend(by(from, chunks)),
            Message::JobResult { outcomes } => self.outcomes.extend(by(from, outcomes)),
            Message::JobDispatch { .. }
            | Message::JobCancel { .. }
            | Message::JobResultAck { .. }
            | Message::Heartbeat {}
            | Message::Notification(_) => return false,
        }
        true
    }

    /// Every execution that a report is about.
    pub(crate) fn executions(&self) -> impl Iterator<Item = ExecutionRef> {
        let started = self.started.iter().map(|(_, it)| (it.job, it.execution));
        let progress = self.progress.iter().map(|(_, it)| (it.job, it.execution));
        let chunks = self.chunks.iter().map(|(_, it)| (it.job, it.execution));
        let outcomes = self.outcomes.iter().map(|(_, it)| (it.job, it.execution));
        let all = started.chain(progress).chain(chunks).chain(outcomes);
        all.map(|(job, execution)| ExecutionRef { job, execution })
    }

    /// Drops reports from workers that the execution was not dispatched to. Returns the outcomes among
    /// them.
    pub(crate) fn drop_of_others(&mut self, holders: &Holders) -> Vec<(Incarnation, ExecutionId)> {
        let holds = |from: Incarnation, job: JobId, execution: ExecutionId| {
            let holder = holders.of(ExecutionRef { job, execution });
            if holder.is_some_and(|holder| holder.worker != from) {
                tracing::warn!(worker = %from, %job, "report rejected: another worker has that attempt");
            }
            holder.filter(|holder| holder.worker == from)
        };
        self.started.retain(|(from, it)| holds(*from, it.job, it.execution).is_some());
        self.progress.retain(|(from, it)| holds(*from, it.job, it.execution).is_some());
        self.chunks.retain(|(from, it)| {
            holds(*from, it.job, it.execution).is_some_and(|holder| holder.attempt == it.attempt)
        });
        let mut others = Vec::new();
        self.outcomes.retain(|(from, it)| {
            let held = holds(*from, it.job, it.execution).is_some();
            if !held {
                others.push((*from, it.execution));
            }
            held
        });
        others
    }

    /// Drops starts and progress of attempts whose outcome is in the same batch.
    pub(crate) fn collapse(&mut self) {
        if self.outcomes.is_empty() {
            return;
        }
        let ended: BTreeSet<ExecutionId> =
            self.outcomes.iter().map(|(_, outcome)| outcome.execution).collect();
        self.started.retain(|(_, started)| !ended.contains(&started.execution));
        self.progress.retain(|(_, progress)| !ended.contains(&progress.execution));
    }
}

fn by<T>(from: Incarnation, reports: Vec<T>) -> impl Iterator<Item = (Incarnation, T)> {
    reports.into_iter().map(move |one| (from, one))
}

/// The reports without their workers.
pub(crate) fn without_workers<T>(reports: Vec<(Incarnation, T)>) -> Vec<T> {
    reports.into_iter().map(|(_, report)| report).collect()
}

/// How many of the first envelopes make a batch: bounded by rows and bytes, but at least one.
#[must_use]
pub(crate) fn batch<'a>(envelopes: impl Iterator<Item = &'a Envelope>, rows_most: usize) -> usize {
    let (mut rows, mut bytes, mut count) = (0, 0, 0);
    for envelope in envelopes {
        let (more_rows, more_bytes) = weight(envelope);
        (rows, bytes) = (rows + more_rows, bytes + more_bytes);
        if count > 0 && (rows > rows_most || bytes > BYTES) {
            break;
        }
        count += 1;
    }
    count
}

/// Rows, and about how many bytes.
fn weight(envelope: &Envelope) -> (usize, usize) {
    /// Bytes of a row without the data that its worker sends.
    const ROW: usize = 100;
    let Body::Known(message) = &envelope.body else { return (0, 0) };
    let (rows, bytes) = match message {
        Message::JobStatus { started } => (started.len(), 0),
        Message::JobProgress { progress } => (progress.len(), 0),
        Message::JobLog { chunks } => {
            (chunks.len(), chunks.iter().map(|chunk| chunk.bytes.len()).sum())
        }
        Message::JobResult { outcomes } => {
            let result = |outcome: &Outcome| match &outcome.kind {
                OutcomeKind::Succeeded { result: Some(result) } => result.get().len(),
                _ => outcome.error.as_ref().map_or(0, String::len),
            };
            (outcomes.len(), outcomes.iter().map(result).sum())
        }
        _ => (0, 0),
    };
    (rows, bytes + rows * ROW)
}

/// Whether an envelope holds the outcome of one of these executions.
#[must_use]
pub(crate) fn has_outcome_of(body: &Body, ends: &BTreeSet<ExecutionId>) -> bool {
    let Body::Known(Message::JobResult { outcomes }) = body else { return false };
    !ends.is_empty() && outcomes.iter().any(|outcome| ends.contains(&outcome.execution))
}

/// The receipt for an envelope whose reports are all recorded or rejected for good.
#[must_use]
pub(crate) fn receipt(body: &Body, stale: &BTreeSet<ExecutionId>) -> Receipt {
    match body {
        Body::Known(Message::JobResult { outcomes }) => {
            let all = outcomes.iter().all(|outcome| stale.contains(&outcome.execution));
            if all && !outcomes.is_empty() { Receipt::Stale } else { Receipt::Recorded }
        }
        Body::Known(
            Message::JobStatus { .. } | Message::JobProgress { .. } | Message::JobLog { .. },
        ) => Receipt::Recorded,
        Body::Known(_) | Body::Unknown(_) => Receipt::NotForUs,
    }
}

/// The reports of all envelopes.
#[must_use]
pub fn gather<'a>(envelopes: impl Iterator<Item = &'a Envelope>) -> Events {
    let mut events = Events::default();
    for envelope in envelopes {
        match &envelope.body {
            Body::Known(message) => {
                if !events.add(envelope.from, message.clone()) {
                    tracing::warn!(kind = message.kind(), "message ignored: not for a coordinator");
                }
            }
            Body::Unknown(_) => {
                tracing::warn!(version = envelope.version, "message ignored: unknown type");
            }
        }
    }
    events
}

//! What workers told, put in order for the store. No I/O.

use std::collections::BTreeSet;

use orx_model::gate;
use orx_model::log::LogChunk;
use orx_model::message::{Body, Envelope, ExecutionProgress, ExecutionRef, Message, Started};
use orx_model::wire::Receipt;
use orx_model::{ExecutionId, Incarnation, JobId, Outcome, OutcomeKind};

use super::holders::Holders;

/// Rows written together at most, unless one envelope alone has more.
pub(crate) const ROWS: usize = 4_000;
/// Bytes written together at most, unless one envelope alone has more.
const BYTES: usize = 4 << 20;

/// What workers told, gathered over many envelopes.
#[derive(Debug, Default)]
pub struct Events {
    /// Each with who told it.
    pub started: Vec<(Incarnation, Started)>,
    pub progress: Vec<(Incarnation, ExecutionProgress)>,
    pub chunks: Vec<(Incarnation, LogChunk)>,
    /// The answer goes to whoever told it.
    pub outcomes: Vec<(Incarnation, Outcome)>,
}

impl Events {
    /// Takes what a worker tells; answers `false` for a message that is not for coordinators.
    pub fn add(&mut self, from: Incarnation, mut message: Message) -> bool {
        // Whatever carried it: what is recorded can be read by everybody.
        gate::make_fit(&mut message);
        match message {
            Message::JobStatus { started } => self.started.extend(by(from, started)),
            Message::JobProgress { progress } => self.progress.extend(by(from, progress)),
            Message::JobLog { chunks } => self.chunks.extend(by(from, chunks)),
            Message::JobResult { outcomes } => self.outcomes.extend(by(from, outcomes)),
            Message::JobDispatch { .. }
            | Message::JobCancel { .. }
            | Message::JobResultAck { .. }
            | Message::Heartbeat {}
            | Message::Hint(_) => return false,
        }
        true
    }

    /// Every execution of which something is told.
    pub(crate) fn executions(&self) -> impl Iterator<Item = ExecutionRef> {
        let started = self.started.iter().map(|(_, it)| (it.job, it.execution));
        let progress = self.progress.iter().map(|(_, it)| (it.job, it.execution));
        let chunks = self.chunks.iter().map(|(_, it)| (it.job, it.execution));
        let outcomes = self.outcomes.iter().map(|(_, it)| (it.job, it.execution));
        let all = started.chain(progress).chain(chunks).chain(outcomes);
        all.map(|(job, execution)| ExecutionRef { job, execution })
    }

    /// Keeps what is told by the worker that was given the execution. Answers the outcomes that
    /// others told.
    pub(crate) fn keep_of_holders(&mut self, holders: &Holders) -> Vec<(Incarnation, ExecutionId)> {
        let holds = |from: Incarnation, job: JobId, execution: ExecutionId| {
            let holder = holders.of(ExecutionRef { job, execution });
            if holder.is_some_and(|holder| holder.worker != from) {
                tracing::warn!(worker = %from, %job, "set aside: another worker has that attempt");
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

    /// A start, and progress, whose end has come as well need no writes of their own.
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

fn by<T>(from: Incarnation, told: Vec<T>) -> impl Iterator<Item = (Incarnation, T)> {
    told.into_iter().map(move |one| (from, one))
}

pub(crate) fn told<T>(by: Vec<(Incarnation, T)>) -> Vec<T> {
    by.into_iter().map(|(_, told)| told).collect()
}

/// How many of the first envelopes are written together: a batch is bounded by its rows and bytes, and
/// one that is too large alone goes alone.
#[must_use]
pub fn batch<'a>(envelopes: impl Iterator<Item = &'a Envelope>, rows_most: usize) -> usize {
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

/// Rows, and bytes about.
fn weight(envelope: &Envelope) -> (usize, usize) {
    /// Of a row without what its worker sends along.
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

/// An envelope tells of one of these executions' ends.
#[must_use]
pub fn has_any(body: &Body, ends: &BTreeSet<ExecutionId>) -> bool {
    let Body::Known(Message::JobResult { outcomes }) = body else { return false };
    !ends.is_empty() && outcomes.iter().any(|outcome| ends.contains(&outcome.execution))
}

/// What becomes of an envelope of which the store has all that it takes.
#[must_use]
pub fn receipt(body: &Body, stale: &BTreeSet<ExecutionId>) -> Receipt {
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

/// What envelopes tell, together.
#[must_use]
pub fn gather<'a>(envelopes: impl Iterator<Item = &'a Envelope>) -> Events {
    let mut events = Events::default();
    for envelope in envelopes {
        match &envelope.body {
            Body::Known(message) => {
                if !events.add(envelope.from, message.clone()) {
                    tracing::warn!(kind = message.kind(), "set aside: not for a coordinator");
                }
            }
            Body::Unknown(_) => {
                tracing::warn!(version = envelope.version, "set aside: of an unknown type");
            }
        }
    }
    events
}

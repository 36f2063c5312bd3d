//! What a simulated world is made of, and what must hold in it.

#[path = "../cluster/checker.rs"]
mod checker;
pub(crate) mod node;
pub(crate) mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt;
use orx_coordinator::Now;
use orx_model::job::{Labels, json_null};
use orx_model::message::{Message, WorkerHeartbeat, WorkerRegistration};
use orx_model::{
    ExecutionId, Incarnation, JobId, JobSpec, Name, Offer, OnLost, Outcome, OutcomeKind, Priority,
    RetryPolicy, Timestamp,
};
use orx_worker::protocol::{Core, CoreOptions, Effect, Input, Moment, WAITS_MOST};
use rand::RngExt;
use rand::rngs::StdRng;

pub(crate) use self::checker::Checker;

/// The memory store never waits, so neither does what runs on it.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the reference store answers at once")
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(crate) fn a_job(rng: &mut StdRng, at: Timestamp) -> JobSpec {
    let after = |seconds: u64| at.saturating_add(Duration::from_secs(seconds));
    JobSpec {
        name: name("work"),
        queue: name(if rng.random_bool(0.5) { "a" } else { "b" }),
        priority: Priority::from_rank(rng.random_range(0..4)).unwrap_or_default(),
        args: json_null(),
        command: None,
        run_at: rng.random_bool(0.2).then(|| after(rng.random_range(0..30))),
        retry: RetryPolicy { retries: rng.random_range(0..3), ..RetryPolicy::default() },
        timeout_ms: rng.random_bool(0.3).then_some(20_000),
        deadline: rng.random_bool(0.1).then(|| after(rng.random_range(1..90))),
        expires_at: rng.random_bool(0.1).then(|| after(rng.random_range(1..40))),
        on_lost: if rng.random_bool(0.2) { OnLost::Fail } else { OnLost::Retry },
        require: Labels::new(),
        tags: Labels::new(),
        corr: None,
        key: None,
        key_hash: None,
        by: None,
        schedule: None,
    }
}

/// What a worker does next.
pub(crate) enum Told {
    Coordinator(Message),
    Heartbeat(WorkerHeartbeat),
    Register,
}

/// The real decisions of a worker, and jobs that end when the simulation wants it.
pub(crate) struct Worker {
    pub(crate) core: Core,
    pub(crate) registration: WorkerRegistration,
    pub(crate) running: BTreeMap<ExecutionId, (JobId, Option<OutcomeKind>)>,
}

impl Worker {
    pub(crate) fn new(incarnation: Incarnation, slots: u32, at: Now) -> Self {
        let registration = WorkerRegistration {
            incarnation,
            name: name("w"),
            host: "h".into(),
            pid: 1,
            version: "1".into(),
            offer: Offer { handlers: [name("work")].into(), ..Offer::default() },
            slots,
            started_at: at.wall,
        };
        let core = CoreOptions {
            incarnation,
            slots,
            waits_most: WAITS_MOST,
            must_not_overlap: BTreeSet::new(),
            registered_at: at.mono,
        };
        Self { core: Core::new(core), registration, running: BTreeMap::new() }
    }

    pub(crate) fn step(
        &mut self,
        input: Input,
        at: Now,
        checker: &mut Checker,
        trace: &mut Vec<String>,
    ) -> Result<Vec<Told>, String> {
        let of = self.registration.incarnation;
        let (mut told, mut inputs) = (Vec::new(), vec![input]);
        while let Some(input) = inputs.pop() {
            let moment = Moment { wall: at.wall, mono: at.mono };
            for effect in self.core.step(input, moment) {
                match effect {
                    Effect::Start(dispatch) => {
                        let execution = dispatch.execution;
                        self.running.insert(execution, (dispatch.job, None));
                        trace.push(format!("{} starts {} {execution}", of.0, dispatch.job));
                        checker.start(of, &dispatch)?;
                        inputs.push(Input::Started { execution, at: at.wall });
                    }
                    Effect::Cancel(execution) | Effect::Abandon(execution) => {
                        self.will_end(execution, OutcomeKind::Cancelled);
                    }
                    Effect::Interrupt(execution) => {
                        self.will_end(execution, OutcomeKind::Interrupted);
                    }
                    Effect::Publish(message) => {
                        if let Message::JobResult { outcomes } = &message {
                            outcomes.iter().for_each(|it| checker.tells(of, it.execution));
                        }
                        told.push(Told::Coordinator(message));
                    }
                    Effect::HeartbeatNow => {
                        let heartbeat = self.core.heartbeat(at.mono);
                        told.push(Told::Heartbeat(heartbeat));
                    }
                    Effect::Register => told.push(Told::Register),
                    Effect::Fenced => {}
                }
            }
        }
        Ok(told)
    }

    fn will_end(&mut self, execution: ExecutionId, kind: OutcomeKind) {
        if let Some((_, end)) = self.running.get_mut(&execution) {
            *end = Some(kind);
        }
    }

    /// One of its attempts ends, somehow.
    pub(crate) fn end_one(&mut self, rng: &mut StdRng, at: Now) -> Option<Input> {
        let count = self.running.len();
        if count == 0 {
            return None;
        }
        let place = rng.random_range(0..count);
        let execution = *self.running.keys().nth(place)?;
        let (job, told) = self.running.remove(&execution)?;
        let kind = told.unwrap_or_else(|| match rng.random_range(0..8) {
            0..4 => OutcomeKind::Succeeded { result: None },
            4 => OutcomeKind::TimedOut,
            5 => OutcomeKind::Failed { retryable: false, retry_after_ms: None },
            _ => OutcomeKind::Failed { retryable: true, retry_after_ms: None },
        });
        let (started_at, ended_at) = (Some(at.wall), at.wall);
        let end = Outcome { job, execution, kind, started_at, ended_at, error: None, exit: None };
        Some(Input::Ended(end))
    }
}

//! A store, nodes, a worker, and a clock that moves only when a test sets it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use orx_coordinator::recorder::plan::Events;
use orx_coordinator::{Now, Settings};
use orx_model::message::{Message, WorkerHeartbeat, WorkerRegistration, WorkerState};
use orx_model::schedule::{Due, ScheduleSpec, Slot, When};
use orx_model::wire::EnqueueRequest;
use orx_model::{
    Capabilities, Incarnation, Job, JobId, JobSpec, JobStatus, Name, Outcome, OutcomeKind,
    RetryPolicy, SecretHash, Timestamp,
};
use orx_schedule::Schedule;
use orx_store::{
    Dispatching, Jobs, Lead, LeadRequest, Leases, Position, SchedulePlan, ScheduleRecord,
    Schedules, SlotRequest, Store, StoreError, Templates, Term,
};

use crate::shim::Shim;
use crate::stepped::{Outbox, Stepped};

/// Secret of the worker, at every node.
const SECRET: SecretHash = SecretHash([7; 32]);

/// The output of a future that is ready at once, as all futures on the reference store are.
pub(crate) fn done<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the reference store answers at once")
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(crate) fn ms(at: i64) -> Timestamp {
    Timestamp::from_millis(at)
}

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
/// 2027-01-15, 08:00 UTC.
pub(crate) const START: i64 = 1_800_000_000 * SECOND;

/// A job of this type, retried once.
pub(crate) fn job(kind: &str) -> JobSpec {
    JobSpec {
        retry: RetryPolicy { retries: 1, ..RetryPolicy::default() },
        ..JobSpec::new(name(kind), name("default"))
    }
}

pub(crate) fn spec(id: &str, timing: When) -> ScheduleSpec {
    let job = EnqueueRequest { name: Some(name("work")), ..EnqueueRequest::default() };
    ScheduleSpec::new(name(id), timing, job)
}

/// Due at each full hour.
pub(crate) fn hourly(id: &str) -> ScheduleSpec {
    spec(id, When::Interval { every_ms: HOUR as u64, offset_ms: 0 })
}

pub(crate) fn parsed(spec: &ScheduleSpec) -> Schedule {
    Schedule::new(spec.clone()).expect("a schedule")
}

pub(crate) fn plan(spec: ScheduleSpec, made: i64, next: Option<Due>) -> SchedulePlan {
    let alert = |kind: &Option<Name>| kind.as_ref().map(|kind| job(kind.as_str()));
    let templates = Templates {
        job: job("work"),
        on_missed: alert(&spec.on_missed),
        on_failure: alert(&spec.on_failure),
    };
    let position = Position { handled: ms(made), next };
    let spec = parsed(&spec);
    SchedulePlan { spec, templates, paused: None, position, by: None }
}

pub(crate) fn engine(store: &Arc<Shim>, node: u128, at: Now) -> Stepped {
    let shared: Arc<dyn Store> = Arc::<Shim>::clone(store);
    Stepped::new(shared, Settings::default(), Incarnation(node), node as u64, at)
}

/// Expires the lease of the leader, if there is one, and gives it to this node.
pub(crate) fn take_lead(store: &Shim, node: u128, at: Timestamp) -> Term {
    if let Some((term, _)) = done(store.leader(at)).expect("read") {
        done(store.step_down(term)).expect("stepped down");
    }
    let ttl = Duration::from_secs(1 << 30);
    let request = LeadRequest { node: Incarnation(node), ttl, above: 0 };
    match done(store.lead(request, at)).expect("an answer") {
        Lead::Leading(term) => term,
        other => panic!("{other:?}"),
    }
}

/// One node that leads, and one worker with eight slots.
pub(crate) struct World {
    pub(crate) store: Arc<Shim>,
    pub(crate) engine: Stepped,
    pub(crate) clock: i64,
    /// The sum of all clock jumps, in milliseconds.
    pub(crate) set: i64,
    worker: Incarnation,
    /// The messages that the worker received.
    pub(crate) received: Vec<Message>,
}

impl World {
    pub(crate) fn new() -> Self {
        let store = Shim::new();
        let at = Now { wall: ms(START), mono: Duration::ZERO };
        let mut engine = engine(&store, 1, at);
        let term = take_lead(&store, 1, at.wall);
        engine.lead(term, at).expect("leads");
        let worker = Incarnation(77);
        let mut world = Self { store, engine, clock: START, set: 0, worker, received: Vec::new() };
        world.register();
        world
    }

    fn register(&mut self) {
        let handlers = ["work", "page", "wake"].map(name).into();
        let registration = WorkerRegistration {
            incarnation: self.worker,
            name: name("w"),
            host: "h".into(),
            pid: 1,
            version: "1".into(),
            offer: Capabilities { handlers, ..Capabilities::default() },
            slots: 8,
            started_at: ms(START),
        };
        let at = self.now();
        let (_, outbox) = self.engine.register(registration, Some(SECRET), at);
        self.take(outbox);
        // Jobs are dispatched only after the first heartbeat.
        let heartbeat = WorkerHeartbeat {
            incarnation: self.worker,
            seq: 1,
            state: WorkerState::Running,
            capacity: 8,
            running: Vec::new(),
            unacknowledged: Vec::new(),
            load: None,
        };
        let (_, outbox) = self.engine.heartbeat(&heartbeat, Some(SECRET), at);
        self.take(outbox);
    }

    pub(crate) fn now(&self) -> Now {
        let mono = Duration::from_millis((self.clock - self.set - START) as u64);
        Now { wall: ms(self.clock), mono }
    }

    pub(crate) fn add(&mut self, spec: ScheduleSpec) {
        let next = parsed(&spec).timing().next_due(ms(self.clock));
        let plan = plan(spec, self.clock, next);
        assert!(done(self.store.add_schedule(plan, ms(self.clock))).expect("added"));
        if let Some(next) = next {
            self.engine.due_at(next.fire_at);
        }
    }

    /// A person triggers a manual run now.
    pub(crate) fn trigger(&mut self, id: &str) -> JobId {
        let fire = self.record(id).manual("person".to_owned(), ms(self.clock));
        let fired = done(self.store.fire(vec![fire], None, ms(self.clock))).expect("fired");
        let job = fired[0].as_ref().expect("an unchanged schedule").runs[0];
        self.engine.due_at(ms(self.clock));
        self.wake();
        job
    }

    fn take(&mut self, outbox: Outbox) {
        assert!(outbox.failed.is_none() && outbox.again.is_none(), "{outbox:?}");
        self.received.extend(outbox.send.into_iter().map(|(_, message)| message));
    }

    /// The leader wakes: its duties do one pass.
    pub(crate) fn wake(&mut self) {
        self.wake_with(Events::default());
    }

    fn wake_with(&mut self, events: Events) {
        // Else the worker would be lost, without heartbeats.
        self.register();
        let at = self.now();
        self.engine.fire(at).expect("fired");
        self.engine.promote(at).expect("promoted");
        let checked = self.engine.follow_up(at).expect("checked");
        self.take(checked);
        let round = self.engine.round(events, at);
        self.take(round);
    }

    /// Moves the clock to this time, and wakes the leader at each of its due times until then.
    pub(crate) fn until(&mut self, clock: i64) {
        while let Some(due) = self.engine.next_due().filter(|due| due.as_millis() <= clock) {
            self.clock = self.clock.max(due.as_millis());
            self.wake();
            assert!(
                self.engine.next_due().is_none_or(|next| next > ms(self.clock)),
                "the leader would wake without end"
            );
        }
        self.clock = clock;
        self.wake();
    }

    /// Sets the wall clock by so many milliseconds, and wakes the leader.
    pub(crate) fn set_clock(&mut self, by: i64) {
        self.clock += by;
        self.set += by;
        self.wake();
    }

    /// Moves the clock on by so many milliseconds.
    pub(crate) fn pass(&mut self, for_ms: i64) {
        self.until(self.clock + for_ms);
    }

    /// The server is down until this time, then a new one leads.
    pub(crate) fn down_until(&mut self, clock: i64) {
        self.clock = clock;
        let at = self.now();
        self.engine = engine(&self.store, 2, at);
        let term = take_lead(&self.store, 2, at.wall);
        self.engine.lead(term, at).expect("leads");
        self.register();
        self.until(clock);
    }

    pub(crate) fn job(&self, id: JobId) -> Job {
        done(self.store.job(id)).expect("read").expect("the job")
    }

    pub(crate) fn status(&self, id: JobId) -> JobStatus {
        self.job(id).state.status
    }

    /// The jobs of this type, oldest first.
    pub(crate) fn jobs_of(&self, kind: &str) -> Vec<Job> {
        let jobs = self.store.memory.all_jobs().into_iter();
        jobs.filter(|job| job.spec.name == name(kind)).collect()
    }

    /// The runs of schedules and their status, oldest first.
    pub(crate) fn runs(&self) -> Vec<(JobId, JobStatus)> {
        self.jobs_of("work").iter().map(|job| (job.id, job.state.status)).collect()
    }

    pub(crate) fn run_status(&self) -> Vec<JobStatus> {
        self.runs().into_iter().map(|(_, status)| status).collect()
    }

    /// The worker reports the outcome of a run, and the leader wakes.
    pub(crate) fn end(&mut self, job: JobId, kind: OutcomeKind) {
        let live = done(self.store.live_attempts()).expect("read");
        let live = live.iter().find(|live| live.job == job).expect("a live attempt");
        let outcome = Outcome {
            job,
            execution: live.execution,
            kind,
            started_at: Some(ms(self.clock)),
            ended_at: ms(self.clock),
            error: None,
            exit: None,
        };
        let mut events = Events::default();
        assert!(events.add(self.worker, Message::JobResult { outcomes: vec![outcome] }));
        self.wake_with(events);
        // The scheduler rechecks waiting runs 100 ms later.
        self.pass(200);
    }

    pub(crate) fn succeed(&mut self, job: JobId) {
        self.end(job, OutcomeKind::Succeeded { result: None });
    }

    /// How many cancel messages for this run the worker received.
    pub(crate) fn cancels_of(&self, job: JobId) -> usize {
        let cancels = self.received.iter().filter_map(|message| match message {
            Message::JobCancel { executions } => Some(executions),
            _ => None,
        });
        cancels.flatten().filter(|it| it.job == job).count()
    }

    pub(crate) fn record(&self, id: &str) -> ScheduleRecord {
        done(self.store.schedule(&name(id))).expect("read").expect("the schedule")
    }

    /// The ledger, oldest first.
    pub(crate) fn ledger(&self, id: &str) -> Vec<Slot> {
        ledger(&self.store, id)
    }

    /// The ledger as text: hours since the start, and the outcome of each slot.
    pub(crate) fn words(&self, id: &str) -> String {
        let word = |slot: &Slot| {
            let hour = (slot.slot.as_millis() - START) / HOUR;
            format!("{hour} {}", slot.outcome.as_str())
        };
        self.ledger(id).iter().map(word).collect::<Vec<_>>().join(", ")
    }
}

pub(crate) fn ledger(store: &Shim, id: &str) -> Vec<Slot> {
    let request = SlotRequest { id: name(id), before: None, missed: false, limit: u32::MAX };
    let mut rows = done(store.slots(request)).expect("read");
    rows.reverse();
    rows
}

pub(crate) fn is_deposed<T>(answer: Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Deposed))
}

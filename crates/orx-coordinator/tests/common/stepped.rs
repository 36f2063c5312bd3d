//! The services of one coordinator without their tasks: each call of a test is one step of a service, on a
//! store that answers at once, and returns the messages that the step sent.

#![allow(dead_code, reason = "each of the tests that share this uses only a part of it")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use orx_coordinator::gateway::run::{Answering, GatewayCall, WorkerCall};
use orx_coordinator::leader::dispatcher::plan::SlotTable;
use orx_coordinator::leader::dispatcher::run::Dispatcher;
use orx_coordinator::leader::janitor::Janitor;
use orx_coordinator::leader::monitor::run::Monitor;
use orx_coordinator::leader::scheduler::run::Scheduler;
use orx_coordinator::recorder::plan::Events;
use orx_coordinator::recorder::run::Recorder;
use orx_coordinator::{Clock, Context, Now, Settings, nodes};
use orx_feed::Feed;
use orx_model::message::{
    Body, Envelope, HeartbeatAnswer, Message, Notification, WorkerHeartbeat, WorkerRegistration,
};
use orx_model::{ExecutionId, Incarnation, SecretHash, Timestamp};
use orx_store::{Store, StoreError, Term};
use orx_transport::{
    Channel, GatewayError, PeerNodes, Shard, Subscription, Transport, TransportError, Wakeups,
};
use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

/// How long a term is trusted: longer than any test.
const TRUSTED: Duration = Duration::from_secs(1 << 40);

/// The output of a future that is ready at once, as all futures on the reference store are.
fn done<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the reference store answers at once")
}

/// The clock and the transport of the coordinator.
#[derive(Default)]
struct Hands(Mutex<Held>);

#[derive(Default)]
struct Held {
    now: Option<Now>,
    sent: Vec<(Incarnation, Message)>,
}

impl Hands {
    fn with<T>(&self, look: impl FnOnce(&mut Held) -> T) -> T {
        look(&mut self.0.lock())
    }
}

impl Clock for Hands {
    fn now(&self) -> Now {
        self.with(|hands| hands.now).expect("the test sets the time")
    }
}

#[async_trait]
impl Transport for Hands {
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        let Channel::Inbox(to) = to else { return Ok(()) };
        let known = |envelope: Envelope| match envelope.body {
            Body::Known(message) => Some((to, message)),
            Body::Unknown(_) => None,
        };
        self.with(|hands| hands.sent.extend(envelopes.into_iter().filter_map(known)));
        Ok(())
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        Err(TransportError::NoReader { channel })
    }

    async fn subscribe_events(
        &self,
        _shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        Err(TransportError::Closed)
    }
}

/// What a step sent, and what failed in it.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Messages to workers.
    pub(crate) send: Vec<(Incarnation, Message)>,
    /// The notification for other nodes.
    pub(crate) hint: Option<Notification>,
    /// Attempts whose outcome came too late.
    pub(crate) stale: Vec<ExecutionId>,
    /// The reports are not recorded: their senders repeat them.
    pub(crate) again: Option<StoreError>,
    /// The claim failed.
    pub(crate) failed: Option<StoreError>,
}

/// The duties of a leader.
struct Duties {
    term: Term,
    dispatcher: Dispatcher,
    scheduler: Scheduler,
    monitor: Monitor,
    janitor: Janitor,
}

/// A coordinator that a test steps through.
pub(crate) struct Stepped {
    pub(crate) context: Arc<Context>,
    hands: Arc<Hands>,
    wakeups: Wakeups,
    answering: Answering,
    recorder: Recorder,
    rng: StdRng,
    duties: Option<Duties>,
}

impl Stepped {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        settings: Settings,
        node: Incarnation,
        seed: u64,
        now: Now,
    ) -> Self {
        let hands = Arc::new(Hands::default());
        hands.with(|hands| hands.now = Some(now));
        let wakeups = Wakeups::shared(node);
        let transport: Arc<dyn Transport> = Arc::<Hands>::clone(&hands);
        let clock: Arc<dyn Clock> = Arc::<Hands>::clone(&hands);
        let context =
            Context::new((store, transport, wakeups.clone()), clock, settings, node, seed);
        let mut rng = StdRng::seed_from_u64(seed);
        let answering =
            Answering::new(Arc::clone(&context), PeerNodes::default(), StdRng::from_rng(&mut rng));
        let recorder = Recorder::new(Arc::clone(&context), StdRng::from_rng(&mut rng));
        Self { context, hands, wakeups, answering, recorder, rng, duties: None }
    }

    fn at(&self, now: Now) {
        self.hands.with(|hands| hands.now = Some(now));
    }

    fn outbox(&self) -> Outbox {
        let send = self.hands.with(|hands| std::mem::take(&mut hands.sent));
        Outbox { send, hint: self.wakeups.for_others().now_or_never(), ..Outbox::default() }
    }

    pub(crate) fn slots(&self) -> parking_lot::MutexGuard<'_, SlotTable> {
        self.context.slots()
    }

    pub(crate) fn feed(&self) -> &Feed {
        self.wakeups.feed()
    }

    pub(crate) fn term(&self) -> Option<Term> {
        self.duties.as_ref().map(|duties| duties.term)
    }

    pub(crate) fn lead(&mut self, term: Term, now: Now) -> Result<(), StoreError> {
        self.at(now);
        let rng = || StdRng::seed_from_u64(term.epoch);
        let monitor = done(Monitor::begin(Arc::clone(&self.context), term, rng()))?;
        self.context.set_term(Some((term, TRUSTED)));
        let scheduler = done(Scheduler::begin(Arc::clone(&self.context), term))?;
        let dispatcher =
            Dispatcher::new(Arc::clone(&self.context), term, StdRng::from_rng(&mut self.rng));
        let janitor = Janitor::new(Arc::clone(&self.context), term);
        self.duties = Some(Duties { term, dispatcher, scheduler, monitor, janitor });
        Ok(())
    }

    pub(crate) fn follow(&mut self) {
        self.context.set_term(None);
        self.context.slots().end_term();
        self.duties = None;
    }

    pub(crate) fn register(
        &mut self,
        registration: WorkerRegistration,
        secret: Option<SecretHash>,
        now: Now,
    ) -> (HeartbeatAnswer, Outbox) {
        let answer = self.call(WorkerCall::Registration(registration), secret, now);
        answer.expect("registered")
    }

    pub(crate) fn heartbeat(
        &mut self,
        heartbeat: &WorkerHeartbeat,
        secret: Option<SecretHash>,
        now: Now,
    ) -> (HeartbeatAnswer, Outbox) {
        self.call(WorkerCall::Heartbeat(heartbeat.clone()), secret, now).expect("answered")
    }

    fn call(
        &mut self,
        request: WorkerCall,
        secret: Option<SecretHash>,
        now: Now,
    ) -> Result<(HeartbeatAnswer, Outbox), GatewayError> {
        self.at(now);
        let (call, answered) = GatewayCall::new(request, secret);
        done(self.answering.answer_all(vec![call])).expect("the store answers");
        let answer = done(answered).expect("an answer")?;
        Ok((answer, self.outbox()))
    }

    /// Records what workers reported, and claims for free slots.
    pub(crate) fn round(&mut self, events: Events, now: Now) -> Outbox {
        self.at(now);
        let recorded = done(self.recorder.record(events));
        let claimed = match &mut self.duties {
            Some(duties) => {
                // In a real coordinator each enqueue wakes the dispatcher.
                self.context.slots().jobs_ready();
                done(duties.dispatcher.pass())
            }
            None => Ok(()),
        };
        let mut outbox = self.outbox();
        match recorded {
            Ok(recorded) => outbox.stale.extend(recorded.stale),
            Err(error) => outbox.again = Some(error),
        }
        outbox.failed = claimed.err();
        outbox
    }

    pub(crate) fn has_more(&self) -> bool {
        self.context.slots().may_have_more()
    }

    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.duties.as_ref().and_then(|duties| duties.scheduler.next_due())
    }

    pub(crate) fn due_at(&mut self, at: Timestamp) {
        self.wakeups.due(at);
        let _ = self.wakeups.for_others().now_or_never();
        self.take_wakeups();
    }

    /// The scheduler takes the pending wake-ups.
    fn take_wakeups(&mut self) {
        if let Some(duties) = &mut self.duties {
            duties.scheduler.take_wakeups();
        }
    }

    pub(crate) fn fire(&mut self, now: Now) -> Result<(), StoreError> {
        self.at(now);
        self.take_wakeups();
        self.duties.as_mut().map_or(Ok(()), |duties| done(duties.scheduler.fire(now)))
    }

    pub(crate) fn promote(&mut self, now: Now) -> Result<(), StoreError> {
        self.at(now);
        self.take_wakeups();
        self.duties.as_mut().map_or(Ok(()), |duties| done(duties.scheduler.promote(now)))
    }

    pub(crate) fn follow_up(&mut self, now: Now) -> Result<Outbox, StoreError> {
        self.at(now);
        self.take_wakeups();
        self.duties.as_mut().map_or(Ok(()), |duties| done(duties.scheduler.follow_up(now)))?;
        Ok(self.outbox())
    }

    /// The monitor reads the rows of workers.
    pub(crate) fn refresh(&mut self, now: Now) -> Result<Outbox, StoreError> {
        self.at(now);
        self.duties.as_mut().map_or(Ok(()), |duties| done(duties.monitor.read_workers()))?;
        Ok(self.outbox())
    }

    /// The periodic round of the monitor and the scheduler.
    pub(crate) fn monitor(&mut self, now: Now) -> Result<Outbox, StoreError> {
        self.at(now);
        if let Some(duties) = &mut self.duties {
            done(duties.monitor.round(now.mono))?;
            done(duties.scheduler.read_afresh(now))?;
        }
        self.take_wakeups();
        Ok(self.outbox())
    }

    pub(crate) fn rescue_hosted(&mut self, now: Now) -> Result<Outbox, StoreError> {
        self.at(now);
        self.duties.as_mut().map_or(Ok(()), |duties| done(duties.monitor.rescue_hosted()))?;
        Ok(self.outbox())
    }

    /// A notification of another node arrives.
    pub(crate) fn notified(&mut self, hint: &Notification, now: Now) {
        self.at(now);
        nodes::apply_notification(&self.context, hint);
        self.take_wakeups();
    }

    pub(crate) fn prune(&mut self, now: Now) -> Result<bool, StoreError> {
        self.at(now);
        self.duties.as_mut().map_or(Ok(false), |duties| done(duties.janitor.prune()))
    }

    pub(crate) fn forget_old(&mut self, now: Now) -> Result<(), StoreError> {
        self.at(now);
        self.duties.as_mut().map_or(Ok(()), |duties| done(duties.janitor.forget_nodes_and_tokens()))
    }
}

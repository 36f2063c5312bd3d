//! A coordinator that runs: one task owns the engine, woken by events, by accepted work, by due
//! times, by what other nodes tell, and by a slow round in case a wake-up was lost.
//!
//! A second task passes on what other nodes should know.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use orx_model::log::LogChunk;
use orx_model::message::{
    Body, Envelope, HeartbeatAnswer, Hint, Message, VERSION, WorkerHeartbeat, WorkerRegistration,
};
use orx_model::wire::{Condition, Receipt};
use orx_model::{ExecutionId, Incarnation, JobId, MessageId, SecretHash};
use orx_store::{Lead, NodeReport, Store, StoreError};
use orx_transport::{
    Channel, Delivery, Gateway, GatewayError, GatewayServer, Notices, Peer, PeerList, Peers, Shard,
    Subscription, Transport, TransportError,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::election::{Election, Turn};
use crate::engine::{Engine, Events, Outbox};
use crate::{Clock, Now, Settings};

/// Envelopes taken in one round; each carries a batch itself.
const EVENT_ENVELOPES: usize = 512;
/// Calls of workers that wait for the task.
const CALLS: usize = 256;
/// A full inbox is its reader's trouble; recovery heals what it misses.
const SEND_WAIT: Duration = Duration::from_millis(200);
/// Between tries while the store takes nothing.
const STORE_PAUSE: Duration = Duration::from_millis(50);
const STORE_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Who has what is counted this often at most, however many ends other nodes tell of.
const COUNT_EVERY: Duration = Duration::from_millis(20);
/// A store that takes nothing for so long is said to be away.
const AWAY_AFTER: Duration = Duration::from_secs(2);
/// While something is wrong with the store, it is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Marks of output that was left out, kept until the store takes them.
const MARKS: usize = 4_096;
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Hints of other nodes taken at once.
const HINTS: usize = 256;
/// A node that ends waits so long for the store, and for others to hear of it.
const LAST_WORDS: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    #[error("the coordinator cannot go on: its store failed")]
    Store(#[from] StoreError),
    #[error("the coordinator cannot go on: its transport failed")]
    Transport(#[from] TransportError),
}

/// Who is needed to run a coordinator.
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub transport: Arc<dyn Transport>,
    pub notices: Notices,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
    pub node: NodeReport,
    /// The store is of this process alone, which its lock proves: it leads at once, and what others
    /// hosted on it is dead.
    pub exclusive: bool,
    /// Where this task writes which other nodes there are.
    pub peers: Peers,
    /// Start of all randomness of this coordinator.
    pub seed: u64,
}

struct Call {
    said: Said,
    /// The hash of the secret that was shown. `None`: by a worker that lives and dies with this
    /// process.
    secret: Option<SecretHash>,
    reply: oneshot::Sender<Result<HeartbeatAnswer, GatewayError>>,
}

enum Said {
    Registration(WorkerRegistration),
    Heartbeat(WorkerHeartbeat),
}

/// What others hold of a running coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Coordinator {
    calls: mpsc::Sender<Call>,
    idle: watch::Receiver<bool>,
}

impl Coordinator {
    /// Rescues what died with the server before, then runs until `stop`. The task's end with an
    /// error means that the daemon should end.
    ///
    /// # Errors
    /// The store or the transport cannot be used.
    pub async fn start(
        parts: Parts,
        stop: CancellationToken,
    ) -> Result<(Self, JoinHandle<Result<(), CoordinatorError>>), CoordinatorError> {
        let now = parts.clock.now();
        let node = parts.node.node;
        let settings = parts.settings.clone();
        let engine = Engine::new(Arc::clone(&parts.store), settings.clone(), node, parts.seed, now);
        let events = parts.transport.subscribe_events(Shard::all().collect()).await?;
        let hints = parts.transport.subscribe(Channel::Broadcast).await?;
        let (calls, called) = mpsc::channel(CALLS);
        let (idle_is, idle) = watch::channel(false);
        let rng = StdRng::seed_from_u64(parts.seed.wrapping_add(1));
        let election = Election::new(node, settings);
        let gossip = Gossip {
            transport: Arc::clone(&parts.transport),
            notices: parts.notices.clone(),
            clock: Arc::clone(&parts.clock),
            node,
            rng: StdRng::seed_from_u64(parts.seed.wrapping_add(2)),
        };
        let mut task = Task {
            engine,
            election,
            away: None,
            marks: VecDeque::new(),
            to_count: false,
            counted: now.mono,
            passed: now.mono,
            monitored: now.mono,
            pruned: now.mono,
            node_told: None,
            parts,
            events,
            hints,
            called,
            idle_is,
            rng,
            stop,
        };
        if task.parts.exclusive {
            task.elect(now).await?;
            let rescued = task.engine.rescue_hosted(now).await?;
            task.parts.notices.changed(rescued.changed);
        }
        let stop = task.stop.clone();
        tokio::spawn(async move {
            tokio::select! { () = stop.cancelled() => {}, () = gossip.run() => {} }
        });
        Ok((Self { calls, idle }, tokio::spawn(task.run())))
    }

    /// `true` while no attempt is live, nothing waits for a time, and what is ready (if anything)
    /// is for workers that are not here.
    #[must_use]
    pub fn idle(&self) -> watch::Receiver<bool> {
        self.idle.clone()
    }

    /// The gateway for workers that live and die with this process.
    #[must_use]
    pub fn hosting(&self) -> Arc<dyn Gateway> {
        Arc::new(Hosting(self.clone()))
    }

    async fn call(
        &self,
        said: Said,
        secret: Option<SecretHash>,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        let ended = || GatewayError::Unreachable("the coordinator has ended".to_owned());
        let (reply, answered) = oneshot::channel();
        self.calls.send(Call { said, secret, reply }).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

#[async_trait]
impl GatewayServer for Coordinator {
    async fn register(
        &self,
        registration: WorkerRegistration,
        secret: SecretHash,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        self.call(Said::Registration(registration), Some(secret)).await
    }

    async fn heartbeat(
        &self,
        heartbeat: WorkerHeartbeat,
        secret: SecretHash,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        self.call(Said::Heartbeat(heartbeat), Some(secret)).await
    }
}

struct Hosting(Coordinator);

#[async_trait]
impl Gateway for Hosting {
    async fn register(
        &self,
        registration: WorkerRegistration,
    ) -> Result<HeartbeatAnswer, GatewayError> {
        self.0.call(Said::Registration(registration), None).await
    }

    async fn heartbeat(&self, heartbeat: WorkerHeartbeat) -> Result<HeartbeatAnswer, GatewayError> {
        self.0.call(Said::Heartbeat(heartbeat), None).await
    }
}

struct Task {
    engine: Engine,
    election: Election,
    parts: Parts,
    events: Box<dyn Subscription>,
    /// What other nodes tell.
    hints: Box<dyn Subscription>,
    called: mpsc::Receiver<Call>,
    idle_is: watch::Sender<bool>,
    rng: StdRng,
    stop: CancellationToken,
    /// Since when the store takes nothing, and the next pause before it is tried again.
    away: Option<(Duration, Duration)>,
    /// Where output is missing that the store did not take.
    marks: VecDeque<LogChunk>,
    /// Other nodes recorded ends, and who has what is to be counted.
    to_count: bool,
    /// When these were last done, on the monotonic clock.
    counted: Duration,
    passed: Duration,
    monitored: Duration,
    pruned: Duration,
    /// `None`: it is to be done now.
    node_told: Option<Duration>,
}

/// What became of a pass in which all that was told was recorded.
struct Passed {
    /// Outcomes that came too late.
    stale: BTreeSet<ExecutionId>,
    /// Something else could not be done, and is to be tried again.
    undone: Option<StoreError>,
}

impl Task {
    async fn run(mut self) -> Result<(), CoordinatorError> {
        loop {
            let sleep = self.sleep();
            let mut deliveries = Vec::new();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(call) = self.called.recv() => self.answer(call).await,
                heard = self.hints.next(HINTS) => self.heard(heard?).await,
                told = self.events.next(EVENT_ENVELOPES) => deliveries = told?,
                () = self.parts.notices.wait_for_work() => {}
                () = tokio::time::sleep(sleep) => {}
            }
            self.answer_waiting().await;
            // Calls that come without a pause keep nothing waiting that was told.
            if deliveries.is_empty()
                && let Some(told) = self.events.next(EVENT_ENVELOPES).now_or_never()
            {
                deliveries = told?;
            }
            if let Some(due) = self.parts.notices.take_due() {
                self.engine.due_at(due);
            }
            let now = self.now();
            // A pass comes at least once a monitor's period. Who was stopped for longer has not
            // heard those who spoke meanwhile.
            let settings = &self.parts.settings;
            if now.mono > self.passed + settings.monitor + settings.heartbeat {
                let ms = (now.mono - self.passed).as_millis();
                tracing::warn!(ms, "this process stood still: leases begin anew");
                self.engine.was_away(now);
            }
            self.passed = now.mono;
            let elected =
                if self.election.ask_at() <= now.mono { self.elect(now).await } else { Ok(()) };
            self.trust(self.now());
            let result = match elected {
                Ok(()) => self.round(&deliveries, self.now()).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(passed) => {
                    acknowledge(deliveries, &passed.stale);
                    if let Some(error) = passed.undone {
                        self.tidy(now).await;
                        self.pause(&error).await;
                        continue;
                    }
                    // This pass may have had nothing to write.
                    let doubted =
                        self.away.is_some() || !self.parts.notices.store_condition().is_well();
                    if doubted && let Err(error) = self.parts.store.check_writable().await {
                        self.pause(&error).await;
                        continue;
                    }
                    self.store_is_back();
                    self.mark_missing_output().await;
                    let idle = self.engine.fleet().is_idle()
                        && self.engine.next_due().is_none()
                        && !self.engine.has_more();
                    self.idle_is.send_if_modified(|was| std::mem::replace(was, idle) != idle);
                    self.tidy(now).await;
                }
                Err(
                    error @ (StoreError::Failed | StoreError::Closed | StoreError::Moved { .. }),
                ) => return Err(error.into()),
                Err(StoreError::Deposed) => {
                    tracing::warn!("another node leads now: following");
                    self.election.over(now.mono);
                    self.trust(now);
                    // Unanswered, they come again, and are recorded by a node that follows.
                    drop(deliveries);
                }
                Err(error) => {
                    drop(deliveries);
                    self.pause(&error).await;
                }
            }
        }
        self.goodbye().await;
        Ok(())
    }

    /// After an error of the store, a little longer each time.
    async fn pause(&mut self, error: &StoreError) {
        let now = self.now().mono;
        let (since, pause) = self.away.get_or_insert_with(|| {
            tracing::warn!(%error, "the store does not take writes: trying on");
            (now, STORE_PAUSE)
        });
        let (wait, away) = (*pause, now.saturating_sub(*since));
        *pause = (wait * 2).min(STORE_PAUSE_MAX);
        match error {
            StoreError::Full => self.parts.notices.store_is(Condition::StoreFull),
            _ if away >= AWAY_AFTER => self.parts.notices.store_is(Condition::StoreAway),
            _ => {}
        }
        // Told to stop, the next pass does.
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    fn store_is_back(&mut self) {
        self.parts.notices.store_is(Condition::Well);
        let Some((since, _)) = self.away.take() else { return };
        tracing::info!("the store takes writes again");
        let now = self.now();
        // Nobody falls silent in less: one heartbeat may fail in it.
        if now.mono.saturating_sub(since) >= self.parts.settings.heartbeat {
            self.engine.was_away(now);
        }
    }

    /// Output that the store takes neither with that of others nor alone is left out, so that nothing
    /// waits behind it, and marked once the store takes that.
    async fn keep_output(&mut self, deliveries: &[Box<dyn Delivery>], error: &StoreError) {
        if let StoreError::Full = error {
            self.parts.notices.store_is(Condition::StoreFull);
        }
        for delivery in deliveries {
            let Body::Known(Message::JobLog { chunks }) = &delivery.envelope().body else {
                continue;
            };
            let from = delivery.envelope().from;
            let held = |chunk: &&LogChunk| self.engine.is_of_holder(from, chunk);
            let chunks: Vec<LogChunk> = chunks.iter().filter(held).cloned().collect();
            let Some(job) = chunks.first().map(|chunk| chunk.job) else { continue };
            let Err(error) = self.parts.store.append_logs(chunks.clone()).await else { continue };
            tracing::warn!(%job, %error, "output is left out");
            for chunk in chunks {
                let dropped_bytes = chunk.dropped_bytes + chunk.bytes.len() as u64;
                self.marks.push_back(LogChunk { dropped_bytes, bytes: Vec::new(), ..chunk });
            }
            while self.marks.len() > MARKS {
                self.marks.pop_front();
            }
        }
    }

    async fn mark_missing_output(&mut self) {
        if self.marks.is_empty() {
            return;
        }
        let marks: Vec<LogChunk> = self.marks.iter().cloned().collect();
        let jobs: Vec<JobId> = marks.iter().map(|mark| mark.job).collect();
        match self.parts.store.append_logs(marks).await {
            Ok(()) => {
                self.marks.clear();
                self.parts.notices.changed(jobs);
            }
            Err(error) => tracing::debug!(%error, "output that was left out is not marked yet"),
        }
    }

    /// Until the next thing that no wake-up tells of.
    fn sleep(&self) -> Duration {
        let now = self.now();
        if self.engine.has_more() || self.node_told.is_none() {
            return Duration::ZERO;
        }
        let settings = &self.parts.settings;
        let told = self.node_told.unwrap_or_default() + settings.node_heartbeat;
        let next = (self.monitored + settings.monitor).min(self.election.ask_at()).min(told);
        let mut sleep = next.saturating_sub(now.mono);
        if !self.parts.notices.store_condition().is_well() || !self.marks.is_empty() {
            sleep = sleep.min(LOOK_AGAIN);
        }
        if self.to_count {
            sleep = sleep.min((self.counted + COUNT_EVERY).saturating_sub(now.mono));
        }
        if let (Some(due), Some(_)) = (self.engine.next_due(), self.engine.term()) {
            sleep = sleep.min(due.saturating_since(now.wall));
        }
        sleep
    }

    /// Asks the store who leads.
    async fn elect(&mut self, now: Now) -> Result<(), StoreError> {
        let asked_at = now.mono;
        let answer: Lead = match self.parts.store.lead(self.election.request(), now.wall).await {
            Ok(answer) => answer,
            Err(error) => {
                self.election.unanswered(self.now().mono);
                return Err(error);
            }
        };
        let now = self.now();
        let leader = self.election.leader(now.mono);
        match self.election.answered(asked_at, now.mono, answer) {
            Turn::Won(term) => {
                // What fails here is tried again with the next answer, as one who has not won.
                if let Err(error) = self.engine.lead(term, now).await {
                    self.election.over(now.mono);
                    return Err(error);
                }
                tracing::info!(epoch = term.epoch, "leading");
                self.node_told = None;
            }
            Turn::Lost => tracing::warn!("no longer leading"),
            Turn::Same => {}
        }
        if self.election.leader(now.mono) != leader {
            self.node_told = None;
        }
        Ok(())
    }

    /// Stops to lead where the lease may be over.
    fn trust(&mut self, now: Now) {
        if self.engine.term().is_some() && self.election.leads(now.mono) != self.engine.term() {
            tracing::warn!("the lease of the leader was not renewed in time: following");
            self.engine.follow();
            self.election.ask_now(now.mono);
        }
    }

    /// One pass over all there is to do.
    async fn round(
        &mut self,
        deliveries: &[Box<dyn Delivery>],
        now: Now,
    ) -> Result<Passed, StoreError> {
        // What cannot be done of these keeps nothing of the rest from being done.
        let mut undone = None;
        leave(self.engine.fire(now).await, &mut undone)?;
        leave(self.engine.promote(now).await, &mut undone)?;
        if let Some(settled) = leave(self.engine.settle(now).await, &mut undone)? {
            self.deliver(settled, now).await;
        }
        leave(self.recount(now).await, &mut undone)?;
        if self.parts.notices.take_workers()
            && let Some(healed) = leave(self.engine.refresh(now).await, &mut undone)?
        {
            self.deliver(healed, now).await;
        }
        if now.mono >= self.monitored + self.parts.settings.monitor
            && let Some(healed) = leave(self.engine.monitor(now).await, &mut undone)?
        {
            self.deliver(healed, now).await;
            self.monitored = now.mono;
        }
        let stale = self.work(deliveries, now).await?;
        Ok(Passed { stale, undone })
    }

    /// Records what was told, and gives out what there is room for. Answers which outcomes came too
    /// late; an error says that what was told is to be told again.
    async fn work(
        &mut self,
        deliveries: &[Box<dyn Delivery>],
        now: Now,
    ) -> Result<BTreeSet<ExecutionId>, StoreError> {
        let mut outbox = self.engine.round(gather(deliveries), now).await?;
        let stale = std::mem::take(&mut outbox.stale);
        let again = outbox.again.take();
        if let Some(error) = outbox.unkept.take() {
            self.keep_output(deliveries, &error).await;
        }
        if let Some(error) = outbox.failed.take() {
            match error {
                // What was told is recorded all the same.
                StoreError::Deposed => self.election.over(now.mono),
                error => tracing::warn!(%error, "nothing could be claimed: trying again"),
            }
        }
        self.deliver(outbox, now).await;
        again.map_or(Ok(stale), Err)
    }

    /// What may fail without harm, and is tried again next time.
    async fn tidy(&mut self, now: Now) {
        let beat = self.parts.settings.node_heartbeat;
        if self.node_told.is_none_or(|told| now.mono >= told + beat) {
            let first = self.node_told.is_none();
            if let Err(error) = self.tell_of_node(now).await {
                tracing::debug!(%error, "could not say that this node lives");
            }
            self.node_told = Some(now.mono);
            if first {
                self.parts.notices.nodes();
            }
        }
        if now.mono >= self.pruned + PRUNE_EVERY && self.engine.term().is_some() {
            let pruned = self.engine.prune(now).await;
            let more = matches!(pruned, Ok(true));
            if let Err(error) = pruned {
                tracing::warn!(%error, "could not forget old jobs");
            }
            if !more {
                self.pruned = now.mono;
                if let Err(error) = self.engine.forget_old(now).await {
                    tracing::debug!(%error, "could not forget old nodes and tokens");
                }
            }
        }
    }

    async fn tell_of_node(&mut self, now: Now) -> Result<(), StoreError> {
        let store = &self.parts.store;
        let zones = orx_model::zone::source().data();
        let zone_version = Some(zones.version.unwrap_or_else(|| "unknown".to_owned()));
        let node = NodeReport { zone_version, ..self.parts.node.clone() };
        store.put_node(node, now.wall).await?;
        look_for_peers(&self.parts, &self.election, now).await
    }

    /// What other nodes told.
    async fn heard(&mut self, deliveries: Vec<Box<dyn Delivery>>) {
        let now = self.now();
        let own = self.parts.node.node;
        let mut room = false;
        for delivery in deliveries {
            let envelope = delivery.ack();
            let hint = match envelope.body {
                Body::Known(Message::Hint(hint)) if envelope.from != own => hint,
                Body::Known(_) => continue,
                Body::Unknown(_) => {
                    tracing::warn!(version = envelope.version, "set aside: of an unknown type");
                    continue;
                }
            };
            self.parts.notices.heard(&hint);
            room |= hint.room;
            if let Some(due) = hint.due {
                self.engine.due_at(due);
            }
            if hint.workers {
                self.parts.notices.heard_of_workers();
            }
            if hint.nodes {
                self.election.ask_now(now.mono);
                if let Err(error) = look_for_peers(&self.parts, &self.election, now).await {
                    tracing::debug!(%error, "could not look for other nodes");
                }
            }
        }
        self.to_count |= room;
    }

    /// Looks at who has what, where other nodes recorded ends: not for each of them alone.
    async fn recount(&mut self, now: Now) -> Result<(), StoreError> {
        if self.to_count && now.mono >= self.counted + COUNT_EVERY {
            (self.to_count, self.counted) = (false, now.mono);
            if self.engine.term().is_some() {
                self.engine.room_elsewhere(now).await?;
            }
        }
        Ok(())
    }

    /// What was taken from workers is recorded: they do not tell it again. Then others lead at
    /// once, and need not wait for the end of a lease.
    async fn goodbye(&mut self) {
        let now = self.now();
        let term = self.engine.term();
        // Nothing is given out any more.
        self.engine.follow();
        match tokio::time::timeout(LAST_WORDS, self.record_the_rest()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last that workers told is not recorded"),
            Err(_) => tracing::warn!("the last that workers told is not recorded in time"),
        }
        let last = async {
            if let Some(term) = term {
                self.parts.store.step_down(term).await?;
            }
            self.parts.store.remove_nodes(vec![self.parts.node.node]).await
        };
        match tokio::time::timeout(LAST_WORDS, last).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "ended without a word to the store"),
            Err(_) => tracing::debug!("ended without a word to the store: it did not answer"),
        }
        let hint = Hint { nodes: true, ..Hint::default() };
        let message = Message::Hint(hint);
        let envelope = envelope(self.parts.node.node, None, message, &mut self.rng, now);
        let told = self.parts.transport.publish(Channel::Broadcast, vec![envelope]);
        // Whoever does not hear it finds out by the lease.
        let _ = tokio::time::timeout(LAST_WORDS, told).await;
    }

    async fn record_the_rest(&mut self) -> Result<(), CoordinatorError> {
        while let Some(told) = self.events.next(EVENT_ENVELOPES).now_or_never() {
            let told = told?;
            let stale = self.work(&told, self.now()).await?;
            acknowledge(told, &stale);
        }
        Ok(())
    }

    fn now(&self) -> Now {
        self.parts.clock.now()
    }

    async fn answer_waiting(&mut self) {
        for _ in 0..CALLS {
            let Ok(call) = self.called.try_recv() else { return };
            self.answer(call).await;
        }
    }

    async fn answer(&mut self, call: Call) {
        let now = self.now();
        let Call { said, secret, reply } = call;
        let answered = match said {
            Said::Registration(registration) => {
                self.engine.register(registration, secret, now).await
            }
            Said::Heartbeat(heartbeat) => self.engine.heartbeat(&heartbeat, secret, now).await,
        };
        let answer = match answered {
            Ok(None) => Err(GatewayError::NotThisWorker(
                "this incarnation was registered with another secret".to_owned(),
            )),
            Ok(Some((mut answer, outbox))) => {
                self.deliver(outbox, now).await;
                if self.engine.term().is_none() {
                    answer.leader = self.parts.peers.leader_url();
                }
                Ok(answer)
            }
            Err(error) => Err(GatewayError::Unreachable(error.to_string())),
        };
        // Whoever asked may be gone: then nobody hears the answer, and that is all.
        let _ = reply.send(answer);
    }

    async fn deliver(&mut self, outbox: Outbox, now: Now) {
        if outbox.room {
            // The claims of this very round came after it: it is news to others only.
            if self.engine.term().is_none() {
                self.parts.notices.room();
            }
        }
        if outbox.workers && self.engine.term().is_none() {
            self.parts.notices.workers();
        }
        deliver(&self.parts, &mut self.rng, outbox, now).await;
    }
}

/// Reads which other nodes there are, for those who send to them.
async fn look_for_peers(parts: &Parts, election: &Election, now: Now) -> Result<(), StoreError> {
    let nodes = parts.store.nodes(now.wall).await?;
    let lives = parts.settings.node_heartbeat * 3;
    let others = nodes
        .into_iter()
        .filter(|node| node.silent < lives && node.report.node != parts.node.node)
        .filter_map(|node| Some(Peer { node: node.report.node, url: node.report.url? }));
    let leader = election.leader(now.mono).map(|term| term.node);
    parts.peers.set(PeerList { peers: others.collect(), leader });
    Ok(())
}

/// Tells other nodes what they should look at. While one hint is on its way the next gathers.
struct Gossip {
    transport: Arc<dyn Transport>,
    notices: Notices,
    clock: Arc<dyn Clock>,
    node: Incarnation,
    rng: StdRng,
}

impl Gossip {
    async fn run(mut self) {
        loop {
            let hint = self.notices.for_others().await;
            let now = self.clock.now();
            let envelope = envelope(self.node, None, Message::Hint(hint), &mut self.rng, now);
            if let Err(error) = self.transport.publish(Channel::Broadcast, vec![envelope]).await {
                tracing::debug!(%error, "other nodes were not told: they look by themselves");
            }
        }
    }
}

/// Says of all what became of them.
fn acknowledge(deliveries: Vec<Box<dyn Delivery>>, stale: &BTreeSet<ExecutionId>) {
    for delivery in deliveries {
        let receipt = receipt(&delivery.envelope().body, stale);
        delivery.answer(receipt);
    }
}

fn receipt(body: &Body, stale: &BTreeSet<ExecutionId>) -> Receipt {
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

fn gather(deliveries: &[Box<dyn Delivery>]) -> Events {
    let mut events = Events::default();
    for delivery in deliveries {
        let envelope = delivery.envelope();
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

/// To each worker in order, and to all at once: one that cannot be reached holds up no other.
async fn deliver(parts: &Parts, rng: &mut StdRng, outbox: Outbox, now: Now) {
    let mut by_worker: BTreeMap<Incarnation, Vec<Envelope>> = BTreeMap::new();
    for (to, message) in outbox.send {
        let envelope = envelope(parts.node.node, Some(to), message, rng, now);
        by_worker.entry(to).or_default().push(envelope);
    }
    let sends = by_worker.into_iter().map(|(to, envelopes)| async move {
        for envelope in envelopes {
            let kind = match &envelope.body {
                Body::Known(message) => message.kind(),
                Body::Unknown(_) => "unknown",
            };
            let publish = parts.transport.publish(Channel::Inbox(to), vec![envelope]);
            match tokio::time::timeout(SEND_WAIT, publish).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::debug!(kind, %error, "not sent: recovery will heal it");
                }
                Err(_) => tracing::debug!(kind, "not sent in time: recovery will heal it"),
            }
        }
    });
    futures_util::future::join_all(sends).await;
    parts.notices.changed(outbox.changed);
}

/// The answer, or its error kept for later. Those after which this node cannot go on, or leads no
/// more, are not.
fn leave<T>(
    answer: Result<T, StoreError>,
    undone: &mut Option<StoreError>,
) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error @ (StoreError::Failed | StoreError::Closed | StoreError::Deposed)) => Err(error),
        Err(error) => {
            undone.get_or_insert(error);
            Ok(None)
        }
    }
}

fn envelope(
    from: Incarnation,
    to: Option<Incarnation>,
    message: Message,
    rng: &mut StdRng,
    now: Now,
) -> Envelope {
    Envelope {
        id: MessageId::random(rng),
        version: VERSION,
        at: now.wall,
        from,
        to,
        trace: None,
        body: Body::Known(message),
    }
}

//! Asks for the lease and renews it, on a timer of its own, and runs the duties of the leader while it holds.

use std::sync::Arc;
use std::time::Duration;

use orx_model::event::{KnownEvent, NodeEvent};
use orx_store::{Lead, Result, StoreError, Term};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::dispatcher::run::Dispatcher;
use super::election::{Election, Turn};
use super::janitor::Janitor;
use super::monitor::run::Monitor;
use super::operations::OperationRunner;
use super::scheduler::run::Scheduler;
use crate::health::{Health, is_the_end};
use crate::{Context, Now};

/// At the end of a term, time for the duties to finish what is under way.
const LAST_PASS: Duration = Duration::from_secs(2);

/// The election of this node, and its duties while it leads.
pub(crate) struct Leader {
    context: Arc<Context>,
    election: Election,
    rng: StdRng,
    /// The term of the duties that run.
    term: Option<Term>,
    /// Tasks that run for the term, and end with it.
    duties: JoinSet<Result<()>>,
    /// Asks the duties to end after what is under way.
    over: CancellationToken,
}

/// The events that the leader waits for.
enum LeaderEvent {
    Ask,
    Woken,
    TrustOver,
    StepDown,
    Duty(Result<()>),
}

impl Leader {
    pub(crate) fn new(context: Arc<Context>, rng: StdRng) -> Self {
        let election = Election::new(context.node, context.settings.clone());
        let (duties, over) = (JoinSet::new(), CancellationToken::new());
        Self { context, election, rng, term: None, duties, over }
    }

    /// For a store that no other process can open: leads before any service starts, and ends the attempts of
    /// workers that ran in the server before.
    ///
    /// # Errors
    /// The store cannot be used.
    pub(crate) async fn take_over(&mut self) -> Result<()> {
        if let Some(term) = self.ask().await? {
            let mut monitor = self.begin(term).await?;
            monitor.rescue_hosted().await?;
            self.start(term, monitor).await?;
        }
        Ok(())
    }

    /// Runs until an error that ends the coordinator. When dropped, its duties end.
    ///
    /// # Errors
    /// The store can be used no longer.
    pub(crate) async fn run(&mut self) -> Result<()> {
        loop {
            match self.next().await {
                LeaderEvent::Woken => self.election.ask_now(self.context.now().mono),
                LeaderEvent::TrustOver => {
                    tracing::warn!("the lease of the leader was not renewed in time: following");
                    self.follow().await;
                    self.election.ask_now(self.context.now().mono);
                }
                LeaderEvent::StepDown => self.step_down().await,
                LeaderEvent::Duty(Err(error)) if is_the_end(&error) => return Err(error),
                LeaderEvent::Duty(ended) => {
                    let now = self.context.now().mono;
                    // A lease that expired while this process was suspended is requested again at once.
                    if self.election.leads(now).is_some() {
                        match ended {
                            Err(StoreError::Deposed) => {
                                tracing::warn!("another node leads now: following");
                            }
                            ended => tracing::error!(?ended, "a duty of the leader ended"),
                        }
                        self.election.over(now);
                    }
                    self.follow().await;
                }
                LeaderEvent::Ask => self.ask_and_begin().await?,
            }
        }
    }

    async fn next(&mut self) -> LeaderEvent {
        let now = self.context.now().mono;
        let ask = self.election.ask_at().saturating_sub(now);
        let trust = self.term.and(self.election.trusted_until());
        let trust = trust.map(|until| until.saturating_sub(now));
        let over = async {
            match trust {
                Some(trust) => tokio::time::sleep(trust).await,
                None => std::future::pending().await,
            }
        };
        let (wakeups, term) = (&self.context.wakeups, self.term);
        let step_down = async {
            match term {
                Some(term) => wakeups.asked_to_step_down(term.epoch).await,
                None => std::future::pending().await,
            }
        };
        let drains = async {
            match term {
                Some(_) => wakeups.until_draining().await,
                None => std::future::pending().await,
            }
        };
        let duties = &mut self.duties;
        tokio::select! {
            biased;
            Some(ended) = duties.join_next() => LeaderEvent::Duty(joined(ended)),
            () = over => LeaderEvent::TrustOver,
            () = step_down => LeaderEvent::StepDown,
            () = drains => LeaderEvent::StepDown,
            () = self.context.wakes.leader.notified() => LeaderEvent::Woken,
            () = tokio::time::sleep(ask) => LeaderEvent::Ask,
        }
    }

    async fn ask_and_begin(&mut self) -> Result<()> {
        let begun = match self.ask().await {
            Ok(None) => return Ok(()),
            Ok(Some(term)) => match self.begin(term).await {
                Ok(monitor) => self.start(term, monitor).await,
                Err(error) => Err(error),
            },
            Err(error) if is_the_end(&error) => return Err(error),
            Err(error) => {
                self.context.health.failed(&error, self.context.now());
                return Ok(());
            }
        };
        match begun {
            Ok(()) => Ok(()),
            Err(error) if is_the_end(&error) => Err(error),
            Err(error) => {
                // The next answer tries again.
                tracing::warn!(%error, "could not begin to lead");
                self.context.health.failed(&error, self.context.now());
                self.election.over(self.context.now().mono);
                self.follow().await;
                Ok(())
            }
        }
    }

    /// Asks the store for the lease. Returns a term that begins.
    async fn ask(&mut self) -> Result<Option<Term>> {
        let asked: Now = self.context.now();
        let context = Arc::clone(&self.context);
        // A store that is slow here is slow for the heartbeats that other nodes write.
        let _write = Health::watch_write(&context);
        let store = Arc::clone(&context.store);
        let request = self.election.request();
        let mut asking = std::pin::pin!(store.lead(request, asked.wall));
        let trust = self.term.and(self.election.trusted_until());
        let answer: Result<Lead> = match trust {
            Some(until) => {
                let left = until.saturating_sub(asked.mono);
                match tokio::time::timeout(left, asking.as_mut()).await {
                    Ok(answer) => answer,
                    // The answer is late: this node stops to lead when its trust ends.
                    Err(_) => {
                        tracing::warn!("the lease was not renewed in time: following");
                        self.follow().await;
                        asking.await
                    }
                }
            }
            None => asking.await,
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.election.unanswered(self.context.now().mono);
                return Err(error);
            }
        };
        let now = self.context.now();
        let leader = self.context.lead.leader();
        let turn = self.election.answered(asked.mono, now.mono, answer);
        let own = self.election.leads(now.mono).zip(self.election.trusted_until());
        let begins = match turn {
            Turn::Won(term) => Some(term),
            Turn::Lost => {
                tracing::warn!("no longer leading");
                self.follow().await;
                None
            }
            Turn::Same => None,
        };
        let known = self.election.leader(now.mono);
        // A term counts only once workers and attempts were read.
        self.context.lead.set(known, own.filter(|_| self.term.is_some() && begins.is_none()));
        if known != leader {
            self.context.wakes.nodes.notify_one();
        }
        Ok(begins)
    }

    /// Reads workers and attempts. From then on this node leads, while it may trust its lease.
    async fn begin(&mut self, term: Term) -> Result<Monitor> {
        self.follow().await;
        let rng = StdRng::from_rng(&mut self.rng);
        let monitor = Monitor::begin(Arc::clone(&self.context), term, rng).await?;
        let own = self.election.trusted_until().map(|until| (term, until));
        self.context.lead.set(Some(term), own);
        self.term = Some(term);
        Ok(monitor)
    }

    async fn start(&mut self, term: Term, monitor: Monitor) -> Result<()> {
        let context = &self.context;
        let scheduler = Scheduler::begin(Arc::clone(context), term).await?;
        tracing::info!(epoch = term.epoch, "leading");
        let rng = StdRng::from_rng(&mut self.rng);
        let dispatcher = Dispatcher::new(Arc::clone(context), term, rng);
        let janitor = Janitor::new(Arc::clone(context), term);
        let operations = OperationRunner::new(Arc::clone(context), term);
        self.over = CancellationToken::new();
        self.duties.spawn(monitor.run(self.over.clone()));
        self.duties.spawn(scheduler.run(self.over.clone()));
        self.duties.spawn(dispatcher.run(self.over.clone()));
        self.duties.spawn(janitor.run(self.over.clone()));
        self.duties.spawn(operations.run(self.over.clone()));
        self.context.wakes.nodes.notify_one();
        self.publish(NodeEvent::Leads { epoch: term.epoch });
        Ok(())
    }

    fn publish(&self, change: NodeEvent) {
        let what = KnownEvent::NodeChanged { node: self.context.node, name: None, change };
        self.context.publish([what], self.context.now());
    }

    /// Finishes the term. The duties finish what is under way, so that no claimed job stays unsent; the
    /// store refuses writes that come too late.
    async fn follow(&mut self) {
        let known = self.election.leader(self.context.now().mono);
        self.context.lead.set(known, None);
        if self.term.take().is_none() {
            return;
        }
        self.over.cancel();
        let last = async { while self.duties.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_PASS, last).await;
        self.duties.shutdown().await;
        self.context.slots().end_term();
        self.context.wakes.nodes.notify_one();
        self.publish(NodeEvent::Follows);
    }

    /// Releases the lease at a person's request, and lets another node lead.
    async fn step_down(&mut self) {
        let Some(term) = self.term else { return };
        tracing::info!(epoch = term.epoch, "asked to step down: following");
        self.follow().await;
        let now = self.context.now().mono;
        if self.context.wakeups.is_draining() {
            // The store gives it no lease. It asks soon, because it has to tell its workers who leads.
            self.election.over(now);
        } else {
            self.election.stand_back(now);
        }
        self.context.lead.set(None, None);
        if let Err(error) = self.context.store.step_down(term).await {
            tracing::warn!(%error, "the lease was not released: it ends by itself");
        }
        self.context.wakeups.nodes();
    }

    /// Stops leading. Returns the term that this node had.
    pub(crate) async fn stop(&mut self) -> Option<Term> {
        let term = self.context.term();
        self.follow().await;
        self.context.lead.set(None, None);
        term
    }
}

fn joined(ended: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    match ended {
        Ok(ended) => ended,
        Err(error) if error.is_cancelled() => Ok(()),
        Err(error) => {
            let action = "continue a duty of the leader";
            Err(StoreError::Backend { action, source: error.into() })
        }
    }
}

//! The store as one node sees it: each call takes effect at some moment between its start and its answer, and
//! the answers arrive in any order. Some arrive after seconds, some are lost, some calls fail.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use orx_model::filter::Filter;
use orx_model::log::{LogChunk, LogCursor};
use orx_model::message::{ExecutionProgress, ExecutionRef, Started, WorkerDirective};
use orx_model::schedule::Slot;
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, Incarnation, Job, JobId, JobStatus, JobSummary, Name, NewJob, OperationId, Outcome,
    SecretHash, Timestamp,
};
use orx_store::*;
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::bug;
use crate::faults::{Fate, Trip};
use crate::node::Node;
use crate::world::World;

/// The output of a future that is ready at once, as all futures on the reference store are.
pub(crate) fn done<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the reference store answers at once")
}

#[derive(Clone)]
pub(crate) struct SlowStore {
    pub(crate) world: Arc<World>,
    pub(crate) node: Arc<Node>,
}

impl SlowStore {
    /// The change is made even if the caller has stopped waiting, or its node has died meanwhile. A call that
    /// a node makes while it is suspended leaves the node first when the suspension ends, before the node can
    /// read a clock.
    async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        apply: impl FnOnce(&World) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let trip = self.node.is_running().then(|| self.world.trip(&self.node, what));
        if trip.is_some_and(|trip| trip.is_immediate()) {
            return self.world.apply(self.node.id, what, apply);
        }
        let (to, answer) = oneshot::channel();
        let (world, node) = (Arc::clone(&self.world), Arc::clone(&self.node));
        tokio::spawn(async move {
            let trip = match trip {
                Some(trip) => trip,
                None => {
                    node.resumed().await;
                    world.trip(&node, what)
                }
            };
            if matches!(trip.fate, Fate::Late | Fate::Stranded(_)) {
                sleep_until(trip.answers_at).await;
                let _ = to.send(Err(StoreError::Unknown));
                sleep_until(trip.applies_at).await;
                let is_lost = match trip.fate {
                    Fate::Stranded(until) => *node.no_store_until.lock() != Some(until),
                    _ => false,
                };
                if !is_lost {
                    // The answer is lost.
                    let _ = world.apply(node.id, what, apply);
                }
                return;
            }
            // The caller may have stopped waiting.
            let _ = to.send(carry_out(&world, node.id, what, trip, apply).await);
        });
        let answer = answer.await.unwrap_or(Err(StoreError::Unknown));
        self.node.resumed().await;
        answer
    }
}

impl SlowStore {
    async fn call_owned<T: Send + 'static>(
        self,
        what: &'static str,
        apply: impl FnOnce(&World) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.call(what, apply).await
    }
}

async fn carry_out<T>(
    world: &World,
    node: Incarnation,
    what: &'static str,
    trip: Trip,
    apply: impl FnOnce(&World) -> Result<T>,
) -> Result<T> {
    sleep_until(trip.applies_at).await;
    let answer = match trip.fate {
        Fate::Applied | Fate::AnswerLost => world.apply(node, what, apply),
        Fate::Lost | Fate::Late | Fate::Stranded(_) => Err(StoreError::Unknown),
        Fate::Busy => Err(StoreError::Busy),
        Fate::Failed => Err(StoreError::Backend { action: what, source: "disk error".into() }),
        Fate::Unreachable => {
            Err(StoreError::Unavailable { store: "it".to_owned(), source: "no route to it".into() })
        }
    };
    sleep_until(trip.answers_at).await;
    match (trip.fate, answer) {
        (Fate::AnswerLost, Ok(_)) => Err(StoreError::Unknown),
        (_, answer) => answer,
    }
}

impl World {
    /// The one moment in which a call takes effect. The invariants are checked right after it.
    fn apply<T>(
        &self,
        node: Incarnation,
        what: &'static str,
        apply: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<T> {
        let answer = apply(self);
        if let Err(StoreError::Deposed) = answer {
            self.count(|counts| counts.deposed += 1);
            self.log(|| format!("{} is deposed: {what}", node.0));
        }
        self.check_changes();
        answer
    }

    /// A write of a leader. If the store applies it, its term must be the newest.
    fn as_leader<T>(
        &self,
        term: Term,
        apply: impl FnOnce(&Memory, Term) -> Result<T>,
    ) -> Result<T> {
        let given = bug::term(self, term);
        let answer = apply(&self.memory, given);
        if answer.is_ok() {
            self.check(|watch, _| watch.led(term));
        }
        answer
    }
}

/// Passes each call to the reference store, with its delays and faults.
macro_rules! slow {
    ($trait:ident {
        $(fn $name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)*
        $(led fn $led:ident($($led_arg:ident: $led_kind:ty),*; $($rest:ident: $rest_kind:ty),*) -> $led_answer:ty;)*
        $(now fn $own:ident($($own_arg:ident: $own_kind:ty),*) -> $own_answer:ty;)*
    } $($more:tt)*) => {
        #[async_trait]
        impl $trait for SlowStore {
            $(async fn $name(&self, $($arg: $kind),*) -> Result<$answer> {
                self.call(stringify!($name), move |world| done(world.memory.$name($($arg),*))).await
            })*
            $(async fn $led(
                &self,
                $($led_arg: $led_kind,)*
                term: Term,
                $($rest: $rest_kind),*
            ) -> Result<$led_answer> {
                self.call(stringify!($led), move |world| {
                    world.as_leader(term, |memory, term| {
                        done(memory.$led($($led_arg,)* term, $($rest),*))
                    })
                })
                .await
            })*
            // By the clock of the store, not of the node.
            $(async fn $own(&self, $($own_arg: $own_kind,)* _now: Timestamp) -> Result<$own_answer> {
                self.call(stringify!($own), move |world| {
                    done(world.memory.$own($($own_arg,)* world.wall()))
                })
                .await
            })*
            $($more)*
        }
    };
}

slow!(Jobs {
    fn job(id: JobId) -> Option<Job>;
    fn jobs(ids: Vec<JobId>) -> Vec<Job>;
    fn attempts(id: JobId) -> Vec<Attempt>;
    fn list(request: ListRequest, now: Timestamp) -> Page<JobSummary>;
    fn count(filter: Filter, most: u64, now: Timestamp) -> Count;
    fn queue_counts() -> Vec<(Name, StatusCounts)>;
    fn oldest_due() -> Vec<(Name, Timestamp)>;
    fn retry(ids: Vec<JobId>, now: Timestamp) -> Vec<RetryAnswer>;
    fn delete_jobs(ids: Vec<JobId>, expected: Option<JobStatus>) -> Vec<DeleteAnswer>;
}
    async fn enqueue(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Enqueued>> {
        self.call("enqueue", move |world| bug::enqueue(world, jobs, now)).await
    }
    async fn job_by_key(&self, key: &str) -> Result<Option<Job>> {
        let key = key.to_owned();
        self.call("job_by_key", move |world| done(world.memory.job_by_key(&key))).await
    }
    async fn cancel(
        &self,
        cancels: Vec<CancelCommand>,
        now: Timestamp,
    ) -> Result<Vec<CancelAnswer>> {
        self.call("cancel", move |world| {
            let answers = bug::cancel(world, cancels.clone(), now)?;
            world.check(|watch, checker| {
                let clock = world.elapsed();
                cancels.iter().zip(&answers).for_each(|(cancel, answer)| {
                    watch.cancelled(checker, cancel.id, *answer, clock);
                });
                Ok(())
            });
            Ok(answers)
        })
        .await
    }
);

slow!(Dispatching {
    fn next_due() -> Option<Timestamp>;
    fn record_progress(progress: Vec<ExecutionProgress>) -> ();
    fn mark_started(started: Vec<Started>, now: Timestamp) -> ();
    fn live_attempts_of(workers: Vec<Incarnation>) -> Vec<Live>;
    fn holders(executions: Vec<ExecutionRef>) -> Vec<Option<Holder>>;
    led fn clock_was_set(jump: ClockJump; now: Timestamp) -> u64;
}
    async fn promote_due(&self, term: Term, now: Timestamp, limit: u32) -> Result<Promoted> {
        self.call("promote_due", move |world| {
            world.as_leader(term, |memory, term| match bug::promotes(world) {
                true => done(memory.promote_due(term, now, limit)),
                false => Ok(Promoted::default()),
            })
        })
        .await
    }
    async fn claim_ready(
        &self,
        requests: Vec<ClaimRequest>,
        term: Term,
        now: Timestamp,
    ) -> Result<Claims> {
        let asked = requests.iter().flat_map(|request| request.executions.clone()).collect();
        let claimed = self.call("claim_ready", move |world| {
            let before = world.memory.all_jobs();
            let asked = bug::claims(world, &requests);
            let claims = world.as_leader(term, |memory, term| {
                done(memory.claim_ready(asked, term, now))
            })?;
            let claimed = &claims.claimed;
            for Claimed { worker, dispatch, .. } in claimed {
                world.log(|| format!("claimed: {} for {}", dispatch.job, worker.0));
            }
            let (clock, calm) = (world.elapsed(), world.calm());
            world.check(|watch, _| {
                watch.claimed(&before, &requests, claimed, now)?;
                watch.takes(claimed, clock, calm)
            });
            Ok(claims)
        });
        let claimed = claimed.await;
        if matches!(claimed, Err(StoreError::Unknown)) {
            bug::claim_unanswered(&self.world, asked);
        }
        claimed
    }
    async fn record_outcomes(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        if let Some(early) = bug::answered_early(&self.world, &outcomes) {
            return Ok(early);
        }
        let meanwhile = bug::answered_meanwhile(&self.world, &outcomes);
        let node = self.node.id;
        let recorded = self.clone().call_owned("record_outcomes", move |world| {
            if !world.takes(&outcomes) {
                bug::refused(world, &outcomes);
                let source = "it does not fit".into();
                return Err(StoreError::Backend { action: "record outcomes", source });
            }
            let live = world.live_workers();
            let answers = bug::record(world, node, &outcomes, draws, now)?;
            world.check(|watch, _| watch.recorded(&outcomes, &answers, &live));
            Ok(answers)
        });
        match meanwhile {
            Some(meanwhile) => {
                tokio::spawn(recorded);
                Ok(meanwhile)
            }
            None => recorded.await,
        }
    }
    async fn record_outcomes_as_leader(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        self.call("record_outcomes_as_leader", move |world| {
            let changed = bug::outcomes(world, &outcomes);
            let holders = world.live_workers();
            let answers = world.as_leader(term, |memory, term| {
                done(memory.record_outcomes_as_leader(changed, draws, term, now))
            })?;
            world.leader_recorded(&outcomes, &answers, &holders);
            Ok(answers)
        })
        .await
    }
    async fn live_attempts(&self) -> Result<Vec<Live>> {
        self.call("live_attempts", move |world| {
            Ok(bug::live(world, done(world.memory.live_attempts())?))
        })
        .await
    }
);

slow!(Schedules {
    fn add_schedule(plan: SchedulePlan, now: Timestamp) -> bool;
    fn schedules(after: Option<Name>, limit: u32) -> Vec<ScheduleRecord>;
    fn change_schedule(
        version: u64,
        handled: Timestamp,
        plan: SchedulePlan,
        row: Option<Slot>,
        now: Timestamp
    ) -> ScheduleUpdate;
    fn due_schedules(now: Timestamp, limit: u32) -> Vec<ScheduleRecord>;
    fn schedules_ahead(of: Timestamp, limit: u32) -> Vec<ScheduleRecord>;
    fn next_fire(after: Timestamp) -> Option<Timestamp>;
    fn slots(request: SlotRequest) -> Vec<Slot>;
    fn missed_since(since: Timestamp) -> Vec<(Name, u64)>;
    fn has_dependencies() -> bool;
    fn follow_ups(limit: u32) -> Vec<FollowUp>;
    fn jobs_to_cancel(limit: u32) -> Vec<JobId>;
    fn import_schedules(all: Vec<(ScheduleRecord, Vec<Slot>)>) -> ();
    fn dependencies() -> (Vec<Dependency>, Vec<RunAlert>);
    fn import_dependencies(dependencies: Vec<Dependency>, alerts: Vec<RunAlert>) -> ();
    led fn rewind(rewinds: Vec<Rewind>; now: Timestamp) -> Vec<bool>;
    led fn release(releases: Vec<Release>; now: Timestamp) -> Released;
    led fn prune_slots(before: Timestamp, limit: u32; ) -> u64;
}
    async fn schedule(&self, id: &Name) -> Result<Option<ScheduleRecord>> {
        let id = id.clone();
        self.call("schedule", move |world| done(world.memory.schedule(&id))).await
    }
    async fn remove_schedule(&self, id: &Name, version: Option<u64>) -> Result<ScheduleUpdate> {
        let id = id.clone();
        self.call("remove_schedule", move |world| {
            done(world.memory.remove_schedule(&id, version))
        })
        .await
    }
    async fn fire(
        &self,
        fires: Vec<Firing>,
        term: Option<Term>,
        now: Timestamp,
    ) -> Result<Vec<Option<Fired>>> {
        self.call("fire", move |world| match term {
            None => done(world.memory.fire(fires, None, now)),
            Some(term) => {
                let fired = world.as_leader(term, |memory, term| {
                    done(memory.fire(fires.clone(), Some(term), now))
                })?;
                bug::fire_again(world, &fires, term, now);
                Ok(fired)
            }
        })
        .await
    }
);

slow!(Logs {
    fn append_logs(chunks: Vec<LogChunk>) -> ();
    fn read_logs(request: LogRequest) -> Vec<LogChunk>;
    fn read_logs_of(request: LogsRequest) -> Vec<LogChunk>;
    fn log_tail(request: LogRequest, lines: u32) -> LogCursor;
});

slow!(Workers {
    fn worker_secret(worker: Incarnation) -> Option<SecretHash>;
}
    // By the clock of the store, not of the node.
    async fn put_workers(
        &self,
        workers: Vec<(SecretHash, WorkerReport)>,
        _now: Timestamp,
    ) -> Result<Vec<WorkerPut>> {
        self.call("put_workers", move |world| bug::put_workers(world, workers)).await
    }
    async fn workers(&self, now: Timestamp) -> Result<Vec<WorkerRecord>> {
        self.call("workers", move |world| {
            Ok(bug::rows(world, done(world.memory.workers(world.wall()))?, now))
        })
        .await
    }
    async fn remove_workers(
        &self,
        workers: Vec<Incarnation>,
        removal: WorkerRemoval,
    ) -> Result<()> {
        self.call("remove_workers", move |world| {
            done(world.memory.remove_workers(workers.clone(), removal))?;
            world.check(|watch, _| watch.removed(&workers, removal));
            Ok(())
        })
        .await
    }
    async fn order_workers(
        &self,
        workers: Vec<Incarnation>,
        order: Option<WorkerDirective>,
    ) -> Result<Vec<bool>> {
        self.call("order_workers", move |world| {
            let exists = done(world.memory.order_workers(workers.clone(), order))?;
            for (worker, _) in workers.iter().zip(&exists).filter(|(_, exists)| **exists) {
                let clock = world.elapsed();
                world.check(|watch, _| watch.ordered(*worker, order, clock));
            }
            Ok(exists)
        })
        .await
    }
);

slow!(Leases {
    fn step_down(term: Term) -> bool;
    fn remove_nodes(nodes: Vec<Incarnation>) -> ();
    now fn leader() -> Option<(Term, Duration)>;
    now fn put_node(node: NodeReport) -> ();
    now fn drain_node(node: Incarnation, drain: bool) -> bool;
    now fn nodes() -> Vec<NodeRecord>;
}
    async fn lead(&self, request: LeadRequest, _now: Timestamp) -> Result<Lead> {
        self.call("lead", move |world| {
            let request = bug::lead(world, request);
            let (node, before) = (request.node, world.newest_term());
            let answer = done(world.memory.lead(request, world.wall()))?;
            if let Lead::Leading(term) = answer {
                world.elected(term);
            }
            Ok(bug::led(world, node, before, answer))
        })
        .await
    }
);

slow!(Queues {
    fn pause_queue(queue: Name, pause: Paused) -> bool;
    fn resume_queue(queue: Name) -> bool;
    fn paused_queues() -> Vec<(Name, Paused)>;
});

slow!(Audit {
    fn record_change(record: AuditRecord) -> ();
    fn audit(request: AuditRequest) -> Vec<AuditRecord>;
});

slow!(Operations {
    fn operation(id: OperationId) -> Option<OperationRecord>;
    fn operations(before: Option<OperationId>, limit: u32) -> Vec<OperationRecord>;
    fn running_operations(limit: u32) -> Vec<OperationRecord>;
    fn operation_targets(id: OperationId, after: JobId) -> Vec<JobId>;
    led fn run_batch(batch: OperationBatch, now: Timestamp; ) -> BatchAnswer;
    led fn forget_operations(ended_before: Timestamp, limit: u32; ) -> u64;
    now fn add_operation(new: NewOperation) -> AddedOperation;
    now fn end_operation(id: OperationId, end: OperationEnd) -> Option<(OperationRecord, bool)>;
});

slow!(DeadLetters {
    fn dead_letters(request: ListRequest, now: Timestamp) -> Page<DeadLetterRow>;
    fn dead_letter_count(most: u64) -> u64;
    fn causes(request: CausesRequest, now: Timestamp) -> CausesPage;
    fn delete_dead_letters(ids: Vec<JobId>) -> Vec<bool>;
    led fn assign_causes(limit: u32; ) -> u64;
});

slow!(Tokens {
    fn put_token(token: TokenRecord) -> ();
    fn tokens() -> Vec<TokenRecord>;
    fn forget_tokens(ended_before: Timestamp) -> u64;
}
    async fn token(&self, id: &str) -> Result<Option<TokenRecord>> {
        let id = id.to_owned();
        self.call("token", move |world| done(world.memory.token(&id))).await
    }
);

slow!(StoreCopy {
    fn row_counts() -> RowCounts;
    fn export(after: Option<JobId>, limit: u32) -> Vec<JobExport>;
    fn import(parcels: Vec<JobExport>) -> u64;
    fn export_keys(after: Option<String>, limit: u32) -> Vec<RetainedKey>;
    fn import_keys(keys: Vec<RetainedKey>) -> ();
    fn next_job() -> JobId;
    fn skip_jobs(next: JobId) -> ();
    fn home() -> Home;
    fn put_home(home: Home) -> ();
});

slow!(Upkeep {
    fn check_writable() -> ();
    fn clock() -> Option<ClockNote>;
    fn close() -> ();
    led fn prune(request: PruneRequest; ) -> Pruned;
    led fn note_clock(note: ClockNote; ) -> ();
    led fn forget_keys(now: Timestamp, limit: u32; ) -> u64;
}
    fn info(&self) -> StoreInfo {
        self.world.memory.info()
    }
);

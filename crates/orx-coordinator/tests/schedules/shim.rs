//! The reference store with two faults: an action between two steps of a leader, and rejected firings.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
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
use parking_lot::Mutex;

type Meanwhile = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct Shim {
    pub(crate) memory: Memory,
    /// Runs once, after the store has read the due schedules and before the leader gets them.
    pub(crate) meanwhile: Mutex<Option<Meanwhile>>,
    /// Schedules of which the store rejects every firing.
    pub(crate) refused: Mutex<BTreeSet<Name>>,
}

impl Shim {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(crate) fn meanwhile(&self, what: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock() = Some(Box::new(what));
    }
}

#[async_trait]
impl Schedules for Shim {
    async fn due_schedules(&self, now: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>> {
        let due = self.memory.due_schedules(now, limit).await;
        let meanwhile = self.meanwhile.lock().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        due
    }

    async fn fire(
        &self,
        fires: Vec<Firing>,
        term: Option<Term>,
        now: Timestamp,
    ) -> Result<Vec<Option<Fired>>> {
        let is_refused = {
            let refused = self.refused.lock();
            fires.iter().any(|fire| refused.contains(&fire.expected.id))
        };
        if is_refused {
            return Err(StoreError::Backend { action: "fire", source: "it does not fit".into() });
        }
        self.memory.fire(fires, term, now).await
    }

    async fn add_schedule(&self, plan: SchedulePlan, now: Timestamp) -> Result<bool> {
        self.memory.add_schedule(plan, now).await
    }
    async fn schedule(&self, id: &Name) -> Result<Option<ScheduleRecord>> {
        self.memory.schedule(id).await
    }
    async fn schedules(&self, after: Option<Name>, limit: u32) -> Result<Vec<ScheduleRecord>> {
        self.memory.schedules(after, limit).await
    }
    async fn change_schedule(
        &self,
        version: u64,
        handled: Timestamp,
        plan: SchedulePlan,
        row: Option<Slot>,
        now: Timestamp,
    ) -> Result<ScheduleUpdate> {
        self.memory.change_schedule(version, handled, plan, row, now).await
    }
    async fn remove_schedule(&self, id: &Name, version: Option<u64>) -> Result<ScheduleUpdate> {
        self.memory.remove_schedule(id, version).await
    }
    async fn schedules_ahead(&self, of: Timestamp, limit: u32) -> Result<Vec<ScheduleRecord>> {
        self.memory.schedules_ahead(of, limit).await
    }
    async fn rewind(&self, rewinds: Vec<Rewind>, term: Term, now: Timestamp) -> Result<Vec<bool>> {
        self.memory.rewind(rewinds, term, now).await
    }
    async fn next_fire(&self, after: Timestamp) -> Result<Option<Timestamp>> {
        self.memory.next_fire(after).await
    }
    async fn slots(&self, request: SlotRequest) -> Result<Vec<Slot>> {
        self.memory.slots(request).await
    }
    async fn missed_since(&self, since: Timestamp) -> Result<Vec<(Name, u64)>> {
        self.memory.missed_since(since).await
    }
    async fn has_dependencies(&self) -> Result<bool> {
        self.memory.has_dependencies().await
    }
    async fn follow_ups(&self, limit: u32) -> Result<Vec<FollowUp>> {
        self.memory.follow_ups(limit).await
    }
    async fn jobs_to_cancel(&self, limit: u32) -> Result<Vec<JobId>> {
        self.memory.jobs_to_cancel(limit).await
    }
    async fn release(
        &self,
        releases: Vec<Release>,
        term: Term,
        now: Timestamp,
    ) -> Result<Released> {
        self.memory.release(releases, term, now).await
    }
    async fn prune_slots(&self, before: Timestamp, limit: u32, term: Term) -> Result<u64> {
        self.memory.prune_slots(before, limit, term).await
    }
    async fn import_schedules(&self, all: Vec<(ScheduleRecord, Vec<Slot>)>) -> Result<()> {
        self.memory.import_schedules(all).await
    }
    async fn dependencies(&self) -> Result<(Vec<Dependency>, Vec<RunAlert>)> {
        self.memory.dependencies().await
    }
    async fn import_dependencies(
        &self,
        dependencies: Vec<Dependency>,
        alerts: Vec<RunAlert>,
    ) -> Result<()> {
        self.memory.import_dependencies(dependencies, alerts).await
    }
}

/// Passes each call to the reference store.
macro_rules! pass {
    ($trait:ident { $(fn $name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl $trait for Shim {
            $(async fn $name(&self, $($arg: $kind),*) -> Result<$answer> {
                self.memory.$name($($arg),*).await
            })*
        }
    };
}

pass!(Jobs {
    fn enqueue(jobs: Vec<NewJob>, now: Timestamp) -> Vec<Enqueued>;
    fn job(id: JobId) -> Option<Job>;
    fn jobs(ids: Vec<JobId>) -> Vec<Job>;
    fn job_by_key(key: &str) -> Option<Job>;
    fn attempts(id: JobId) -> Vec<Attempt>;
    fn list(request: ListRequest, now: Timestamp) -> Page<JobSummary>;
    fn count(filter: Filter, most: u64, now: Timestamp) -> Count;
    fn queue_counts() -> Vec<(Name, StatusCounts)>;
    fn oldest_due() -> Vec<(Name, Timestamp)>;
    fn cancel(cancels: Vec<CancelCommand>, now: Timestamp) -> Vec<CancelAnswer>;
    fn retry(ids: Vec<JobId>, now: Timestamp) -> Vec<RetryAnswer>;
    fn delete_jobs(ids: Vec<JobId>, expected: Option<JobStatus>) -> Vec<DeleteAnswer>;
});

pass!(Dispatching {
    fn claim_ready(asked: Vec<ClaimRequest>, term: Term, now: Timestamp) -> Claims;
    fn promote_due(term: Term, now: Timestamp, limit: u32) -> Promoted;
    fn clock_was_set(jump: ClockJump, term: Term, now: Timestamp) -> u64;
    fn next_due() -> Option<Timestamp>;
    fn mark_started(started: Vec<Started>, now: Timestamp) -> ();
    fn record_progress(progress: Vec<ExecutionProgress>) -> ();
    fn record_outcomes(ends: Vec<Outcome>, draws: Vec<f64>, now: Timestamp) -> Vec<Recorded>;
    fn record_outcomes_as_leader(ends: Vec<Outcome>, draws: Vec<f64>, term: Term, now: Timestamp) -> Vec<Recorded>;
    fn live_attempts() -> Vec<Live>;
    fn live_attempts_of(workers: Vec<Incarnation>) -> Vec<Live>;
    fn holders(executions: Vec<ExecutionRef>) -> Vec<Option<Holder>>;
});

pass!(Operations {
    fn operation(id: OperationId) -> Option<OperationRecord>;
    fn operations(before: Option<OperationId>, limit: u32) -> Vec<OperationRecord>;
    fn running_operations(limit: u32) -> Vec<OperationRecord>;
    fn operation_targets(id: OperationId, after: JobId) -> Vec<JobId>;
    fn run_batch(batch: OperationBatch, now: Timestamp, term: Term) -> BatchAnswer;
    fn forget_operations(ended_before: Timestamp, limit: u32, term: Term) -> u64;
    fn add_operation(new: NewOperation, now: Timestamp) -> AddedOperation;
    fn end_operation(id: OperationId, end: OperationEnd, now: Timestamp) -> Option<(OperationRecord, bool)>;
});

pass!(Logs {
    fn append_logs(chunks: Vec<LogChunk>) -> ();
    fn read_logs(request: LogRequest) -> Vec<LogChunk>;
    fn read_logs_of(request: LogsRequest) -> Vec<LogChunk>;
    fn log_tail(request: LogRequest, lines: u32) -> LogCursor;
});

pass!(Workers {
    fn put_workers(reports: Vec<(SecretHash, WorkerReport)>, now: Timestamp) -> Vec<WorkerPut>;
    fn worker_secret(worker: Incarnation) -> Option<SecretHash>;
    fn workers(now: Timestamp) -> Vec<WorkerRecord>;
    fn order_workers(workers: Vec<Incarnation>, order: Option<WorkerDirective>) -> Vec<bool>;
    fn remove_workers(workers: Vec<Incarnation>, removal: WorkerRemoval) -> ();
});

pass!(Leases {
    fn lead(request: LeadRequest, now: Timestamp) -> Lead;
    fn step_down(term: Term) -> bool;
    fn leader(now: Timestamp) -> Option<(Term, std::time::Duration)>;
    fn put_node(node: NodeReport, now: Timestamp) -> ();
    fn drain_node(node: Incarnation, drain: bool, now: Timestamp) -> bool;
    fn nodes(now: Timestamp) -> Vec<NodeRecord>;
    fn remove_nodes(nodes: Vec<Incarnation>) -> ();
});

pass!(DeadLetters {
    fn dead_letters(request: ListRequest, now: Timestamp) -> Page<DeadLetterRow>;
    fn dead_letter_count(most: u64) -> u64;
    fn causes(request: CausesRequest, now: Timestamp) -> CausesPage;
    fn assign_causes(limit: u32, term: Term) -> u64;
    fn delete_dead_letters(ids: Vec<JobId>) -> Vec<bool>;
});

pass!(Queues {
    fn pause_queue(queue: Name, pause: Paused) -> bool;
    fn resume_queue(queue: Name) -> bool;
    fn paused_queues() -> Vec<(Name, Paused)>;
});

pass!(Audit {
    fn record_change(record: AuditRecord) -> ();
    fn audit(request: AuditRequest) -> Vec<AuditRecord>;
});

pass!(Tokens {
    fn put_token(token: TokenRecord) -> ();
    fn token(id: &str) -> Option<TokenRecord>;
    fn tokens() -> Vec<TokenRecord>;
    fn forget_tokens(ended_before: Timestamp) -> u64;
});

pass!(StoreCopy {
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

#[async_trait]
impl Upkeep for Shim {
    fn info(&self) -> StoreInfo {
        self.memory.info()
    }
    async fn check_writable(&self) -> Result<()> {
        self.memory.check_writable().await
    }
    async fn prune(&self, request: PruneRequest, term: Term) -> Result<Pruned> {
        self.memory.prune(request, term).await
    }
    async fn forget_keys(&self, now: Timestamp, limit: u32, term: Term) -> Result<u64> {
        self.memory.forget_keys(now, limit, term).await
    }
    async fn clock(&self) -> Result<Option<ClockNote>> {
        self.memory.clock().await
    }
    async fn note_clock(&self, note: ClockNote, term: Term) -> Result<()> {
        self.memory.note_clock(note, term).await
    }
    async fn close(&self) -> Result<()> {
        self.memory.close().await
    }
}

//! The traits of the store. Each method delegates to a method of `Inner`.

use std::time::Duration;

use async_trait::async_trait;
use orx_model::filter::Filter;
use orx_model::log::{LogChunk, LogCursor};
use orx_model::message::{ExecutionProgress, ExecutionRef, Started, WorkerDirective};
use orx_model::wire::{Count, StatusCounts};
use orx_model::{
    Attempt, Incarnation, Job, JobId, JobSummary, Name, NewJob, Outcome, SecretHash, Timestamp,
};

use super::enqueue::Enqueue;
use super::outcome::Record;
use super::{Postgres, open};
use crate::error::prepared;
use crate::filter_pushdown::SCAN_MAX;
use crate::prepared_job::PreparedJob;
use crate::{
    CancelAnswer, CancelCommand, ClaimRequest, Claims, ClockJump, ClockNote, DeadLetterRow,
    DeadLetters, Dispatching, Durability, Enqueued, Holder, Home, JobExport, Jobs, Lead,
    LeadRequest, Leases, ListRequest, Live, LogRequest, Logs, NodeRecord, NodeReport, Page,
    Promoted, PruneRequest, Pruned, Recorded, Result, RetainedKey, RetryAnswer, RowCounts,
    StoreError, StoreInfo, Term, TokenRecord, Tokens, Transfer, Upkeep, WorkerPut, WorkerRecord,
    WorkerRemoval, WorkerReport, Workers,
};

const TOO_BROAD: StoreError = StoreError::TooBroad { limit: SCAN_MAX };

#[async_trait]
impl Jobs for Postgres {
    async fn enqueue(&self, jobs: Vec<NewJob>, now: Timestamp) -> Result<Vec<Enqueued>> {
        let action = "accept the jobs";
        let jobs =
            jobs.into_iter().map(PreparedJob::new).collect::<std::result::Result<Vec<_>, _>>();
        let jobs = prepared(action, jobs)?;
        if jobs.is_empty() {
            return self.inner.usable().map(|()| Vec::new());
        }
        self.inner.gather(Enqueue { jobs, now }).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.inner.read("read the job", self.inner.job(id)).await
    }

    async fn jobs(&self, ids: Vec<JobId>) -> Result<Vec<Job>> {
        self.inner.read("read the jobs", self.inner.jobs(&ids)).await
    }

    async fn job_by_key(&self, key: &str) -> Result<Option<Job>> {
        self.inner.read("read the job", self.inner.job_by_key(key)).await
    }

    async fn attempts(&self, id: JobId) -> Result<Vec<Attempt>> {
        self.inner.read("read the attempts", self.inner.attempts(id)).await
    }

    async fn list(&self, request: ListRequest, now: Timestamp) -> Result<Page<JobSummary>> {
        let found = self.inner.read("list the jobs", self.inner.list(request, now)).await?;
        found.ok_or(TOO_BROAD)
    }

    async fn count(&self, filter: Filter, most: u64, now: Timestamp) -> Result<Count> {
        let count = self.inner.count_jobs(filter, most, now);
        self.inner.read("count the jobs", count).await?.ok_or(TOO_BROAD)
    }

    async fn queue_counts(&self) -> Result<Vec<(Name, StatusCounts)>> {
        self.inner.read("count the jobs", self.inner.queue_counts()).await
    }

    async fn oldest_due(&self) -> Result<Vec<(Name, Timestamp)>> {
        self.inner.read("read the due times", self.inner.oldest_due()).await
    }

    async fn cancel(
        &self,
        cancels: Vec<CancelCommand>,
        now: Timestamp,
    ) -> Result<Vec<CancelAnswer>> {
        self.inner.write("cancel the jobs", self.inner.cancel(&cancels, now)).await
    }

    async fn retry(&self, ids: Vec<JobId>, now: Timestamp) -> Result<Vec<RetryAnswer>> {
        self.inner.write("retry the jobs", self.inner.retry(&ids, now)).await
    }
}

#[async_trait]
impl Dispatching for Postgres {
    async fn claim_ready(
        &self,
        requests: Vec<ClaimRequest>,
        term: Term,
        now: Timestamp,
    ) -> Result<Claims> {
        self.inner.write("claim jobs", self.inner.claim(&requests, term, now)).await
    }

    async fn promote_due(&self, term: Term, now: Timestamp, limit: u32) -> Result<Promoted> {
        self.inner.write("promote due jobs", self.inner.promote(term, now, limit)).await
    }

    async fn clock_was_set(&self, jump: ClockJump, term: Term, now: Timestamp) -> Result<u64> {
        let set = self.inner.clock_was_set(jump, term, now);
        self.inner.write("adjust the waits of jobs", set).await
    }

    async fn next_due(&self) -> Result<Option<Timestamp>> {
        self.inner.read("read the due times", self.inner.next_due()).await
    }

    async fn mark_started(&self, mut started: Vec<Started>, now: Timestamp) -> Result<()> {
        for one in &mut started {
            one.at = one.at.min(now);
        }
        self.inner.gather(started).await
    }

    async fn record_progress(&self, progress: Vec<ExecutionProgress>) -> Result<()> {
        self.inner.gather(progress).await
    }

    async fn record_outcomes(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        self.inner.gather(Record { outcomes, draws, now }).await
    }

    async fn give_up(
        &self,
        outcomes: Vec<Outcome>,
        draws: Vec<f64>,
        term: Term,
        now: Timestamp,
    ) -> Result<Vec<Recorded>> {
        let record = Record { outcomes, draws, now };
        self.inner.write("record lost attempts", self.inner.give_up(&record, term)).await
    }

    async fn live_attempts(&self) -> Result<Vec<Live>> {
        self.inner.read("read the live attempts", self.inner.live_attempts()).await
    }

    async fn live_attempts_of(&self, workers: Vec<Incarnation>) -> Result<Vec<Live>> {
        self.inner.read("read the live attempts", self.inner.live_attempts_of(&workers)).await
    }

    async fn holders(&self, executions: Vec<ExecutionRef>) -> Result<Vec<Option<Holder>>> {
        let read = self.inner.holders(&executions);
        self.inner.read("read the holders of executions", read).await
    }
}

#[async_trait]
impl Logs for Postgres {
    async fn append_logs(&self, chunks: Vec<LogChunk>) -> Result<()> {
        self.inner.gather(chunks).await
    }

    async fn read_logs(&self, request: LogRequest) -> Result<Vec<LogChunk>> {
        self.inner.read("read the log", self.inner.read_logs(&request)).await
    }

    async fn log_tail(&self, request: LogRequest, lines: u32) -> Result<LogCursor> {
        self.inner.read("read the log", self.inner.log_tail(&request, lines)).await
    }
}

#[async_trait]
impl Workers for Postgres {
    /// Uses the clock of the server, not `now`.
    async fn put_workers(
        &self,
        workers: Vec<(SecretHash, WorkerReport)>,
        _now: Timestamp,
    ) -> Result<Vec<WorkerPut>> {
        self.inner.write("record the workers", self.inner.put_workers(&workers)).await
    }

    async fn worker_secret(&self, worker: Incarnation) -> Result<Option<SecretHash>> {
        let read = self.inner.worker_secret(worker);
        self.inner.read("read the secret of a worker", read).await
    }

    async fn workers(&self, _now: Timestamp) -> Result<Vec<WorkerRecord>> {
        self.inner.read("read the workers", self.inner.workers()).await
    }

    async fn order_workers(
        &self,
        workers: Vec<Incarnation>,
        order: Option<WorkerDirective>,
    ) -> Result<Vec<bool>> {
        self.inner.write("order the workers", self.inner.order_workers(&workers, order)).await
    }

    async fn remove_workers(
        &self,
        workers: Vec<Incarnation>,
        removal: WorkerRemoval,
    ) -> Result<()> {
        self.inner.write("delete the workers", self.inner.remove_workers(&workers, removal)).await
    }
}

#[async_trait]
impl Leases for Postgres {
    /// Uses the clock of the server, not `now`.
    async fn lead(&self, request: LeadRequest, _now: Timestamp) -> Result<Lead> {
        let answer = self.inner.write("take the lead", self.all.electing.lead(&request)).await;
        if let Err(StoreError::Busy) = &answer
            && let Some(to) = self.home().await?.moved_to
        {
            return Err(StoreError::Moved { store: self.inner.name.clone(), to });
        }
        answer
    }

    async fn step_down(&self, term: Term) -> Result<bool> {
        self.inner.write("step down", self.all.electing.step_down(term)).await
    }

    async fn leader(&self, _now: Timestamp) -> Result<Option<(Term, Duration)>> {
        self.inner.read("read the leader", self.inner.leader()).await
    }

    async fn put_node(&self, node: NodeReport, _now: Timestamp) -> Result<()> {
        self.inner.write("record the node", self.inner.put_node(&node)).await
    }

    async fn nodes(&self, _now: Timestamp) -> Result<Vec<NodeRecord>> {
        self.inner.read("read the nodes", self.inner.nodes()).await
    }

    async fn remove_nodes(&self, nodes: Vec<Incarnation>) -> Result<()> {
        self.inner.write("delete the nodes", self.inner.remove_nodes(&nodes)).await
    }
}

#[async_trait]
impl Transfer for Postgres {
    async fn row_counts(&self) -> Result<RowCounts> {
        self.inner.read("count the rows", self.inner.row_counts()).await
    }

    async fn export(&self, after: Option<JobId>, limit: u32) -> Result<Vec<JobExport>> {
        let after = after.map_or(0, |after| after.0);
        self.inner.read("read the jobs", self.inner.export(after, limit)).await
    }

    async fn import(&self, exports: Vec<JobExport>) -> Result<u64> {
        self.inner.write("import the jobs", self.inner.import(&exports)).await
    }

    async fn export_keys(&self, after: Option<String>, limit: u32) -> Result<Vec<RetainedKey>> {
        let after = after.unwrap_or_default();
        self.inner.read("read the keys", self.inner.kept_keys(&after, limit)).await
    }

    async fn home(&self) -> Result<Home> {
        self.inner.read("read where the store is served", self.inner.home()).await
    }

    async fn put_home(&self, home: Home) -> Result<()> {
        self.inner.write("record where the store is served", self.inner.put_home(&home)).await
    }

    async fn import_keys(&self, keys: Vec<RetainedKey>) -> Result<()> {
        self.inner.write("import the keys", self.inner.import_keys(&keys)).await
    }

    async fn next_job(&self) -> Result<JobId> {
        self.inner.read("read the next id", self.inner.next_job()).await.map(JobId)
    }

    async fn skip_jobs(&self, next: JobId) -> Result<()> {
        self.inner.write("skip ids", self.inner.skip_jobs(next.0)).await
    }
}

#[async_trait]
impl DeadLetters for Postgres {
    async fn dead_letters(
        &self,
        request: ListRequest,
        now: Timestamp,
    ) -> Result<Page<DeadLetterRow>> {
        let found = self.inner.dead_letters(request, now);
        self.inner.read("read the dead letters", found).await?.ok_or(TOO_BROAD)
    }

    async fn dead_letter_count(&self, most: u64) -> Result<u64> {
        self.inner.read("count the dead letters", self.inner.dead_letter_count(most)).await
    }

    async fn delete_dead_letters(&self, ids: Vec<JobId>) -> Result<Vec<bool>> {
        self.inner.write("delete the dead letters", self.inner.delete_dead_letters(&ids)).await
    }
}

#[async_trait]
impl Tokens for Postgres {
    async fn put_token(&self, token: TokenRecord) -> Result<()> {
        self.inner.write("store the token", self.inner.put_token(&token)).await
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>> {
        self.inner.read("read the token", self.inner.token(id)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        self.inner.read("read the tokens", self.inner.tokens()).await
    }

    async fn forget_tokens(&self, ended_before: Timestamp) -> Result<u64> {
        let run = self.inner.forget_tokens(ended_before);
        self.inner.write("delete old tokens", run).await
    }
}

#[async_trait]
impl Upkeep for Postgres {
    fn info(&self) -> StoreInfo {
        let durability = match self.inner.options.durability {
            Durability::Full => "full",
            Durability::Relaxed => "may lose the last moments when the database server crashes",
        };
        StoreInfo { kind: "postgres", durability, schema: open::SCHEMA }
    }

    async fn look(&self) -> Result<()> {
        self.inner.read("check the store", self.inner.look()).await
    }

    async fn check_writable(&self) -> Result<()> {
        self.inner.write("write to the store", self.inner.check_writable()).await
    }

    async fn prune(&self, request: PruneRequest, term: Term) -> Result<Pruned> {
        self.inner.write("delete old jobs", self.inner.prune(&request, term)).await
    }

    async fn forget_keys(&self, now: Timestamp, limit: u32, term: Term) -> Result<u64> {
        self.inner.write("delete old keys", self.inner.forget_keys(now, limit, term)).await
    }

    async fn clock(&self) -> Result<Option<ClockNote>> {
        self.inner.read("read the clock note", self.inner.clock()).await
    }

    async fn note_clock(&self, note: ClockNote, term: Term) -> Result<()> {
        self.inner.write("record the clock", self.inner.note_clock(&note, term)).await
    }

    async fn close(&self) -> Result<()> {
        self.end().await
    }
}

//! Starts, shows and cancels operations over many jobs. The leader carries them out
//! (`orx-coordinator`, `leader::operations`).

use orx_model::filter::{Filter, FilterTerm, Test};
use orx_model::wire::{
    AuditAction, Count, OperationAction, OperationAnswer, OperationExample, OperationPage,
    OperationRequest, OperationStatus, OperationView, OperationsQuery, StatusCounts, V,
};
use orx_model::{Code, JobSummary, OperationId, Problem, limits};
use orx_store::{AddedOperation, ListRequest, NewOperation, OperationEnd, OperationRecord};
use sha2::{Digest as _, Sha256};

use crate::audit::{MadeChange, named};
use crate::change::{by_ids_or_filter, every_job, parse_filter};
use crate::view::rows;
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

/// Matching jobs that are counted, at least; beyond them the count is a lower bound.
const COUNT_MOST: u64 = 100_000;
/// Jobs that a dry run names.
const EXAMPLES: usize = 5;

/// The jobs that an operation would change now.
struct Matching {
    count: Count,
    by_status: StatusCounts,
    examples: Vec<OperationExample>,
}

impl ControlPanel {
    /// Starts an operation over many jobs, or reports what it would change. Returns once the operation is
    /// stored; the leader carries it out.
    ///
    /// # Errors
    /// [`Code::TooMany`] over `max_affected`, or while too many operations run; [`Code::KeyConflict`],
    /// [`Code::TooBroad`], [`Code::BadRequest`], [`Code::NotAllowed`], and errors of the store. Nothing was
    /// stored or changed.
    pub async fn start_operation(
        &self,
        caller: &Caller,
        request: OperationRequest,
    ) -> Result<OperationAnswer> {
        caller.need(Scope::Admin)?;
        let request = checked(request)?;
        let matching = self.matching_now(&request).await?;
        if let Some(most) = request.max_affected.filter(|most| matching.count.count > *most) {
            let found = match matching.count {
                Count { count, exact: true } => count.to_string(),
                Count { count, exact: false } => format!("more than {}", count.saturating_sub(1)),
            };
            let detail = format!("this would change {found} jobs, at most {most} are allowed");
            return Err(Problem::new(Code::TooMany, detail)
                .hint("nothing was changed; narrow the filter, or raise `--max-affected`"));
        }
        let matched = matching.count;
        if request.dry_run {
            return Ok(OperationAnswer {
                v: V,
                dry_run: true,
                matched,
                by_status: Some(matching.by_status),
                examples: matching.examples,
                operation: None,
            });
        }
        let most = limits::OPERATIONS_RUNNING;
        let running = self.store().running_operations(most as u32).await.map_err(store_problem)?;
        if running.len() >= most {
            let detail = format!("{most} operations run, and no more may");
            return Err(Problem::new(Code::TooMany, detail)
                .hint("`orx operation list` shows them; wait for one, or cancel it"));
        }
        let key = request.key.clone().map(|key| (key, hash(&request)));
        let mut ids = request.ids;
        ids.sort_unstable();
        let object = match &request.filter {
            Some(filter) if filter.is_empty() => "all dead letters".to_owned(),
            Some(filter) => filter.clone(),
            None => named(ids.iter()),
        };
        let new = NewOperation {
            action: request.action,
            filter: request.filter,
            zone: request.tz,
            ids,
            dead: request.dead,
            force: request.force,
            rate: request.rate,
            matched,
            reason: request.reason.clone(),
            person: request.by.clone(),
            token: caller.name.clone(),
            address: caller.address.clone(),
            key,
        };
        let added = self.store().add_operation(new, self.now()).await.map_err(store_problem)?;
        let record = match added {
            AddedOperation::New(record) => record,
            AddedOperation::Existing(record) => return Ok(started(record)),
            AddedOperation::KeyConflict(id) => {
                let detail = format!("the key was used for another request: operation {id}");
                return Err(Problem::new(Code::KeyConflict, detail));
            }
        };
        self.inner.wakeups.operations();
        let change = MadeChange {
            action: AuditAction::StartOperation,
            object: format!("{} {}: {object}", record.id, record.action),
            // An operation that finds nothing was started nevertheless.
            changed: matched.count.max(1),
            by: request.by.as_deref(),
            reason: request.reason.as_deref(),
        };
        self.record_change(caller, change).await;
        Ok(started(record))
    }

    /// One operation.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] without `admin`, [`Code::NotFound`], and errors of the store.
    pub async fn operation(&self, caller: &Caller, id: &str) -> Result<OperationView> {
        caller.need(Scope::Admin)?;
        let id = parse_id(id)?;
        let found = self.store().operation(id).await.map_err(store_problem)?;
        found.map(view).ok_or_else(|| not_found(id))
    }

    /// A page of operations, newest first.
    ///
    /// # Errors
    /// [`Code::NotAllowed`], [`Code::BadRequest`], and errors of the store.
    pub async fn operations(
        &self,
        caller: &Caller,
        query: &OperationsQuery,
    ) -> Result<OperationPage> {
        caller.need(Scope::Admin)?;
        let limit = rows(query.limit)?;
        let found = self.store().operations(query.cursor, limit + 1).await;
        let mut found = found.map_err(store_problem)?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let next = found.last().filter(|_| more).map(|record| record.id);
        Ok(OperationPage { v: V, operations: found.into_iter().map(view).collect(), next })
    }

    /// Cancels an operation. Once this returns, it changes no more jobs; what it has changed stays.
    ///
    /// # Errors
    /// [`Code::NotAllowed`], [`Code::NotFound`], [`Code::StateConflict`] for one that has ended otherwise,
    /// and errors of the store.
    pub async fn cancel_operation(&self, caller: &Caller, id: &str) -> Result<OperationView> {
        caller.need(Scope::Admin)?;
        let id = parse_id(id)?;
        let end = OperationEnd::Cancelled { by: caller.name.clone() };
        let ended = self.store().end_operation(id, end, self.now()).await.map_err(store_problem)?;
        let (record, by_this) = ended.ok_or_else(|| not_found(id))?;
        if !by_this && record.status != OperationStatus::Cancelled {
            let detail = format!("operation {id} has ended: {}", record.status);
            return Err(Problem::new(Code::StateConflict, detail)
                .hint(format!("`orx operation show {id}` shows what it changed")));
        }
        if by_this {
            let change = MadeChange {
                action: AuditAction::EndOperation,
                object: record.summary(),
                changed: record.changed.max(1),
                by: None,
                reason: None,
            };
            self.record_change(caller, change).await;
        }
        Ok(view(record))
    }

    async fn matching_now(&self, request: &OperationRequest) -> Result<Matching> {
        let statuses = request.action.statuses();
        let by_letter = request.action == OperationAction::RemoveDeadLetters;
        let Some(text) = &request.filter else {
            let mut found = Found::default();
            for ids in request.ids.chunks(limits::PAGE_ROWS) {
                let jobs = self.store().jobs(ids.to_vec()).await.map_err(store_problem)?;
                let jobs = jobs.into_iter().map(JobSummary::from).filter(|job| {
                    statuses.contains(&job.state.status) && (!by_letter || job.state.dead.is_some())
                });
                jobs.for_each(|job| found.add(&job));
            }
            return Ok(found.matching(true));
        };
        let now = self.now();
        let filter = parse_filter(Some(text), request.tz.as_deref(), now)?;
        let most = request.max_affected.map_or(COUNT_MOST, |most| most.max(COUNT_MOST));
        if request.dead {
            return self.dead_matching(filter, most).await;
        }
        let narrowed = |statuses: Vec<_>| {
            let mut filter = filter.clone();
            let test = Test::Status(statuses.into_iter().collect());
            filter.terms.push(FilterTerm { negated: false, test });
            filter
        };
        let filter_now = narrowed(statuses.clone());
        let count = self.store().count(filter_now.clone(), most, now);
        let count = count.await.map_err(store_problem)?;
        let (mut by_status, mut examples) = (StatusCounts::default(), Vec::new());
        if request.dry_run && count.count > 0 {
            let possible = filter_now.statuses().unwrap_or_default();
            for status in statuses.iter().filter(|status| possible.contains(status)) {
                let of = self.store().count(narrowed(vec![*status]), most, now).await;
                *by_status.slot(*status) = of.map_err(store_problem)?.count;
            }
            let limit = EXAMPLES as u32;
            let page = ListRequest { filter: filter_now, oldest_first: true, after: None, limit };
            let page = self.store().list(page, now).await.map_err(store_problem)?;
            examples = page.rows.iter().map(example).collect();
        }
        Ok(Matching { count, by_status, examples })
    }

    /// The dead letters that match a filter: those are read, since the store counts only all of them.
    async fn dead_matching(&self, filter: Filter, most: u64) -> Result<Matching> {
        let (mut found, mut after) = (Found::default(), None);
        loop {
            let limit = limits::PAGE_ROWS as u32;
            let page = ListRequest { filter: filter.clone(), oldest_first: true, after, limit };
            let page = self.store().dead_letters(page, self.now()).await.map_err(store_problem)?;
            page.rows.iter().for_each(|letter| found.add(&letter.job));
            after = page.next;
            if after.is_none() || found.count > most {
                return Ok(found.matching(after.is_none()));
            }
        }
    }
}

/// Checks what needs no store, and removes ids that occur twice.
fn checked(mut request: OperationRequest) -> Result<OperationRequest> {
    let bad = |detail: &str| Problem::new(Code::BadRequest, detail);
    by_ids_or_filter(&request.ids, request.filter.as_deref())?;
    let empty = request.filter.as_ref().is_some_and(|filter| filter.trim().is_empty());
    if empty && !request.dead {
        return Err(every_job());
    }
    let by_letter = request.action == OperationAction::RemoveDeadLetters;
    if request.filter.is_some() && by_letter {
        request.dead = true;
    }
    if request.dead && request.action == OperationAction::Cancel {
        return Err(bad("a job with a dead letter has ended, and cannot be cancelled"));
    }
    if request.force && request.action != OperationAction::Cancel {
        return Err(bad("`force` is for a cancel"));
    }
    if request.rate.is_some_and(|rate| rate == 0 || rate > limits::OPERATION_RATE) {
        return Err(bad(&format!("`rate` is 1 to {}", limits::OPERATION_RATE)));
    }
    if request.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > limits::KEY_BYTES) {
        return Err(bad(&format!("`key` has 1 to {} bytes", limits::KEY_BYTES)));
    }
    let cut = |text: String| orx_model::text::truncate_bytes(&text, limits::ERROR_BYTES).to_owned();
    request.reason = request.reason.map(cut);
    request.by = request.by.map(cut);
    let mut known = std::collections::HashSet::new();
    request.ids.retain(|id| known.insert(*id));
    if request.ids.len() > limits::OPERATION_IDS {
        let detail = format!("an operation names at most {} ids", limits::OPERATION_IDS);
        return Err(Problem::new(Code::TooMany, detail)
            .hint("nothing was changed; use a filter, or several operations"));
    }
    Ok(request)
}

/// Jobs that were read and match.
#[derive(Default)]
struct Found {
    count: u64,
    by_status: StatusCounts,
    examples: Vec<OperationExample>,
}

impl Found {
    fn add(&mut self, job: &JobSummary) {
        self.count += 1;
        *self.by_status.slot(job.state.status) += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(example(job));
        }
    }

    fn matching(self, exact: bool) -> Matching {
        let Self { count, by_status, examples } = self;
        Matching { count: Count { count, exact }, by_status, examples }
    }
}

fn example(job: &JobSummary) -> OperationExample {
    OperationExample {
        id: job.id,
        name: job.spec.name.clone(),
        queue: job.spec.queue.clone(),
        status: job.state.status,
    }
}

/// Tells whether two requests with one key ask for the same.
fn hash(request: &OperationRequest) -> String {
    let request = OperationRequest { key: None, by: None, ..request.clone() };
    let digest = Sha256::digest(serde_json::to_vec(&request).unwrap_or_default());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_id(text: &str) -> Result<OperationId> {
    text.parse().map_err(|error: orx_model::ids::ParseIdError| {
        Problem::new(Code::BadRequest, error.to_string())
    })
}

fn not_found(id: OperationId) -> Problem {
    Problem::new(Code::NotFound, format!("there is no operation `{id}`"))
        .hint("`orx operation list` lists them; they are deleted 30 days after their end")
}

fn started(record: OperationRecord) -> OperationAnswer {
    let matched = record.matched;
    let operation = Some(view(record));
    OperationAnswer {
        v: V,
        dry_run: false,
        matched,
        by_status: None,
        examples: Vec::new(),
        operation,
    }
}

fn view(record: OperationRecord) -> OperationView {
    OperationView {
        v: V,
        id: record.id,
        action: record.action,
        status: record.status,
        filter: record.filter,
        dead: record.dead,
        force: record.force,
        rate: record.rate,
        matched: record.matched,
        changed: record.changed,
        stopping: record.stopping,
        left_alone: record.left,
        upto: record.upto,
        reached: record.cursor,
        created_at: record.created_at,
        ended_at: record.ended_at,
        ended_by: record.ended_by,
        problem: record.error,
        token: record.token,
        address: record.address,
        by: record.person,
        reason: record.reason,
    }
}

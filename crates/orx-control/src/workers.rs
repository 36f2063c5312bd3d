//! Workers: views, and the directives of people to them.

use std::collections::{BTreeMap, HashMap};

use orx_model::event::{Event, KnownEvent, WorkerRef};
use orx_model::message::{Message, WorkerDirective};
use orx_model::text::nearest;
use orx_model::wire::{
    AuditAction, V, WorkerAttempt, WorkerCommand, WorkerDetail, WorkerList, WorkerOrdered,
    WorkerView, WorkersOrderAnswer, WorkersOrderRequest,
};
use orx_model::{Code, Incarnation, Problem, limits};
use orx_store::WorkerRecord;

use crate::audit::{MadeChange, named};
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

/// Most workers of one request.
const ORDER_MAX: usize = 1_000;
/// Fewest digits of an incarnation that name a worker.
pub(crate) const PREFIX_MIN: usize = 4;

impl ControlPanel {
    /// All registered workers.
    ///
    /// # Errors
    /// [`Code::NotAllowed`], and errors of the store.
    pub async fn workers(&self, caller: &Caller) -> Result<WorkerList> {
        caller.need(Scope::Read)?;
        Ok(WorkerList { v: V, workers: self.worker_views().await? })
    }

    pub(crate) async fn worker_views(&self) -> Result<Vec<WorkerView>> {
        let live = self.store().live_attempts().await.map_err(store_problem)?;
        let mut held: BTreeMap<Incarnation, u32> = BTreeMap::new();
        for attempt in live {
            *held.entry(attempt.worker).or_default() += 1;
        }
        let workers = self.store().workers(self.now()).await.map_err(store_problem)?;
        let view = |worker: WorkerRecord| {
            let live = self.is_live(&worker);
            let report = worker.report;
            let registration = report.registration;
            let held = held.get(&registration.incarnation).copied().unwrap_or_default();
            // A worker lets no job wait while it has a free slot.
            let active = held.min(registration.slots);
            WorkerView {
                live,
                active,
                prefetched: held - active,
                incarnation: registration.incarnation,
                name: registration.name,
                host: registration.host,
                pid: registration.pid,
                version: registration.version,
                state: report.state,
                order: worker.order,
                offer: registration.offer,
                slots: registration.slots,
                capacity: report.capacity,
                load: report.load,
                node: report.node,
                started_at: registration.started_at,
                seen_at: worker.seen_at,
            }
        };
        Ok(workers.into_iter().map(view).collect())
    }

    /// How long a worker counts as live after its last heartbeat, in milliseconds.
    #[must_use]
    pub fn lease_ms(&self) -> u64 {
        self.inner.settings.lease_ms
    }

    pub(crate) fn is_live(&self, worker: &WorkerRecord) -> bool {
        worker.silent.as_millis() < u128::from(self.inner.settings.lease_ms)
            && worker.order != Some(WorkerDirective::Fence)
    }

    pub(crate) async fn live_workers(&self) -> Result<Vec<WorkerRecord>> {
        let mut workers = self.store().workers(self.now()).await.map_err(store_problem)?;
        workers.retain(|worker| self.is_live(worker));
        Ok(workers)
    }

    /// One worker, by its name or the first digits of its incarnation, with its attempts.
    ///
    /// # Errors
    /// [`Code::NotFound`]; [`Code::StateConflict`] if the reference matches several;
    /// [`Code::NotAllowed`], and errors of the store.
    pub async fn worker(&self, caller: &Caller, reference: &str) -> Result<WorkerDetail> {
        caller.need(Scope::Read)?;
        let all = self.worker_views().await?;
        let mut found = matching(&all, reference)?;
        if found.len() > 1 {
            let shown: Vec<String> =
                found.iter().map(|worker| worker.incarnation.to_string()[..8].to_owned()).collect();
            return Err(Problem::new(
                Code::StateConflict,
                format!("`{}` means {} workers", shown_part(reference), found.len()),
            )
            .hint(format!("name one by its incarnation: {}", shown.join(", "))));
        }
        let worker = found.pop().ok_or_else(|| no_worker(&all, reference))?.clone();
        let live = self.store().live_attempts_of(vec![worker.incarnation]).await;
        let live = live.map_err(store_problem)?;
        let mut attempts = Vec::new();
        for live in live.chunks(limits::PAGE_ROWS) {
            let ids = live.iter().map(|attempt| attempt.job).collect();
            let jobs = self.store().jobs(ids).await.map_err(store_problem)?;
            let mut names: HashMap<_, _> =
                jobs.into_iter().map(|job| (job.id, job.spec.name)).collect();
            // A job that was not found may have been deleted since.
            let named = live.iter().filter_map(|it| names.remove(&it.job).map(|name| (it, name)));
            attempts.extend(named.map(|(attempt, name)| WorkerAttempt {
                job: attempt.job,
                attempt: attempt.attempt,
                name,
                status: attempt.status,
                claimed_at: attempt.claimed_at,
                started_at: attempt.started_at,
                cancel_requested: attempt.cancel_requested,
            }));
        }
        Ok(WorkerDetail { v: V, worker, attempts })
    }

    /// Gives a directive to workers, or takes it back.
    ///
    /// # Errors
    /// [`Code::NotFound`] if any of the workers does not exist: then none gets the directive.
    /// [`Code::BadRequest`], [`Code::TooMany`], [`Code::NotAllowed`], and errors of the store.
    pub async fn order_workers(
        &self,
        caller: &Caller,
        request: WorkersOrderRequest,
    ) -> Result<WorkersOrderAnswer> {
        caller.need(Scope::Admin)?;
        if request.workers.is_empty() {
            return Err(Problem::new(Code::BadRequest, "no worker is named"));
        }
        let all = self.worker_views().await?;
        let mut targets: Vec<&WorkerView> = Vec::new();
        for reference in &request.workers {
            for worker in matching(&all, reference)? {
                if !targets.iter().any(|known| known.incarnation == worker.incarnation) {
                    targets.push(worker);
                }
            }
        }
        if targets.len() > ORDER_MAX {
            let detail = format!("a request may name at most {ORDER_MAX} workers");
            return Err(Problem::new(Code::TooMany, detail));
        }
        let order = match request.command {
            WorkerCommand::Drain => Some(WorkerDirective::Drain),
            WorkerCommand::Resume => None,
            WorkerCommand::Fence => Some(WorkerDirective::Fence),
        };
        let done = if request.dry_run {
            targets.iter().map(|worker| worker.order != Some(WorkerDirective::Fence)).collect()
        } else {
            let ids = targets.iter().map(|worker| worker.incarnation).collect();
            let done = self.store().order_workers(ids, order).await.map_err(store_problem)?;
            let now = self.now();
            let ordered = |(worker, done): (&&WorkerView, &bool)| {
                let name = Some(worker.name.clone());
                let worker = WorkerRef { incarnation: worker.incarnation, name };
                done.then(|| Event::new(now, KnownEvent::WorkerOrdered { worker, order }))
            };
            self.feed().publish(targets.iter().zip(&done).filter_map(ordered).collect());
            let by = request.by.as_deref().unwrap_or(&caller.name);
            let reason = request.reason.as_deref().unwrap_or("none given");
            tracing::info!(
                order = ?request.command,
                workers = targets.len(),
                by = &*orx_model::text::clean_line(by),
                reason = &*orx_model::text::clean_line(reason),
                "workers got a directive"
            );
            // The leader acts now; the workers learn of it by the answers to their heartbeats.
            self.inner.wakeups.workers();
            for worker in &targets {
                self.send_to_worker(worker.incarnation, Message::Heartbeat {}).await;
            }
            let changed = done.iter().filter(|done| **done).count() as u64;
            let action = match request.command {
                WorkerCommand::Drain => AuditAction::DrainWorkers,
                WorkerCommand::Resume => AuditAction::ResumeWorkers,
                WorkerCommand::Fence => AuditAction::FenceWorkers,
            };
            let object = named(targets.iter().map(|worker| &worker.name));
            let (by, reason) = (request.by.as_deref(), request.reason.as_deref());
            let change = MadeChange { action, object, changed, by, reason };
            self.record_change(caller, change).await;
            done
        };
        let ordered = |(worker, done): (&WorkerView, bool)| WorkerOrdered {
            incarnation: worker.incarnation,
            name: worker.name.clone(),
            done,
            active: worker.active,
        };
        let workers = targets.into_iter().zip(done).map(ordered).collect();
        Ok(WorkersOrderAnswer { v: V, dry_run: request.dry_run, workers })
    }
}

/// The workers that a name or the digits of an incarnation match. Of several with one name, only the
/// live ones, if any is live.
fn matching<'a>(all: &'a [WorkerView], reference: &str) -> Result<Vec<&'a WorkerView>> {
    let named: Vec<&WorkerView> =
        all.iter().filter(|worker| worker.name.as_str() == reference).collect();
    if !named.is_empty() {
        let live: Vec<_> = named.iter().copied().filter(|worker| worker.live).collect();
        return Ok(if live.is_empty() { named } else { live });
    }
    let digits = reference.len() >= PREFIX_MIN && reference.bytes().all(|b| b.is_ascii_hexdigit());
    let starts = |worker: &&WorkerView| worker.incarnation.to_string().starts_with(reference);
    let found: Vec<&WorkerView> = all.iter().filter(|one| digits && starts(one)).collect();
    if found.is_empty() { Err(no_worker(all, reference)) } else { Ok(found) }
}

fn no_worker(all: &[WorkerView], reference: &str) -> Problem {
    let detail = format!("there is no worker `{}`", shown_part(reference));
    let problem = Problem::new(Code::NotFound, detail);
    match nearest(reference, all.iter().map(|worker| worker.name.as_str())) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")).candidates([near.to_owned()]),
        None => problem.hint("`orx worker list` lists them"),
    }
}

pub(crate) fn shown_part(text: &str) -> String {
    text.chars().take(80).collect()
}

//! Makes each operation on both stores, and compares them.

use std::collections::BTreeMap;
use std::sync::Arc;

use orx_model::log::{LogChunk, LogCursor, Stream};
use orx_model::message::{ExecutionProgress, Started};
use orx_model::{ExecutionId, Incarnation, JobId, JobSpec, NewJob, Outcome, Timestamp, next};
use orx_store::{
    CancelCommand, ClaimRequest, Dispatching, Firing, Jobs, Lead, LeadRequest, Leases, ListRequest,
    LogRequest, Logs, Memory, Postgres, PostgresOptions, PruneRequest, Release, Run, Schedules,
    SlotRequest, Sqlite, SqliteOptions, Store, Term, Upkeep,
};
use orx_testkit::make::{NOW, job, name, request};
use orx_testkit::servers::TestDatabase;

use crate::ops::{
    NewRun, Op, PreparedFiring, SCHEDULES, accepted, kind, ledger_row, make_stale, plan, position,
};

const NO_TERM: Term = Term { node: Incarnation(0), epoch: 0 };

async fn lead(store: &dyn Store, now: Timestamp) -> Term {
    let ttl = std::time::Duration::from_secs(1 << 30);
    let request = LeadRequest { node: Incarnation(77), ttl, above: 0 };
    match store.lead(request, now).await.expect("an answer") {
        Lead::Leading(term) => term,
        other => panic!("{other:?}"),
    }
}

/// Where the compared store stores its data.
pub(crate) enum Home {
    Folder(tempfile::TempDir),
    Database(TestDatabase),
}

impl Home {
    async fn open(&self, now: Timestamp) -> Arc<dyn Store> {
        match self {
            Self::Folder(folder) => {
                let options = SqliteOptions::new(folder.path().join("orx.db"));
                Arc::new(Sqlite::open(options, now).expect("a store"))
            }
            Self::Database(database) => {
                let options = PostgresOptions::new(database.url());
                Arc::new(Postgres::open(options, now).await.expect("a store"))
            }
        }
    }
}

/// Both stores, and the ids that the operations refer to.
pub(crate) struct Both {
    home: Home,
    memory: Memory,
    store: Option<Arc<dyn Store>>,
    now: Timestamp,
    executions: u128,
    /// The leaders' terms: in memory, and in the store.
    terms: (Term, Term),
    /// Every execution that was ever claimed, newest last.
    claimed: Vec<(JobId, u32, ExecutionId)>,
    outcomes: BTreeMap<ExecutionId, u32>,
}

impl Both {
    pub(crate) async fn new(home: Home) -> Self {
        let mut both = Self {
            home,
            memory: Memory::new(),
            store: None,
            now: NOW,
            executions: 1,
            terms: (NO_TERM, NO_TERM),
            claimed: Vec::new(),
            outcomes: BTreeMap::new(),
        };
        both.open().await;
        both
    }

    /// Begins a new term on both. The lease of a file ended with its process; the lease in a database is
    /// still held, so it is released first.
    async fn open(&mut self) {
        let store = self.home.open(self.now).await;
        let _ = self.memory.step_down(self.terms.0).await.expect("memory");
        let _ = store.step_down(self.terms.1).await.expect("stepped down");
        let (memory, found) = (lead(&self.memory, self.now).await, lead(&*store, self.now).await);
        match self.home {
            Home::Folder(_) => assert_eq!(found, memory),
            // The epoch comes from the server's clock.
            Home::Database(_) => assert!(found.epoch > self.terms.1.epoch),
        }
        self.terms = (memory, found);
        self.store = Some(store);
    }

    fn store(&self) -> &dyn Store {
        self.store.as_deref().expect("an open store")
    }

    /// Removes epochs if they come from the store's own clock.
    fn masked(&self, state: &[String]) -> Vec<String> {
        let mask = |text: &String| match self.home {
            Home::Folder(_) => text.clone(),
            Home::Database(_) => without_epochs(text),
        };
        state.iter().map(mask).collect()
    }

    /// A claimed attempt, counted from the newest; beyond them, an unknown one.
    fn pick(&self, place: u8) -> (JobId, u32, ExecutionId) {
        let newest = self.claimed.iter().rev().nth(usize::from(place)).copied();
        newest.unwrap_or((JobId(i64::from(place) + 1), 1, ExecutionId(u128::MAX)))
    }

    /// The version of a schedule; of a missing one, a plausible version.
    async fn expected(&self, schedule: u8) -> orx_store::ExpectedVersion {
        let id = name(SCHEDULES[usize::from(schedule)]);
        match self.memory.schedule(&id).await.expect("memory") {
            Some(record) => record.expected(),
            None => orx_store::ExpectedVersion { id, version: 1, handled: NOW, last_run: None },
        }
    }

    async fn fire(&self, new: &PreparedFiring) -> Firing {
        let mut expected = self.expected(new.schedule).await;
        make_stale(&mut expected, new.stale);
        let run = |run: &NewRun| Run {
            job: JobSpec {
                expires_at: run
                    .expires_in
                    .map(|wait| Timestamp::from_millis(self.now.as_millis() + wait * 1_000)),
                ..job()
            },
            after: run.after,
            row: run.slot.map(|slot| ledger_row((slot, 2 + slot % 2), self.now)),
            on_failure: run.alerts.then(job),
        };
        Firing {
            expected,
            runs: new.runs.iter().map(run).collect(),
            rows: new.rows.iter().map(|row| ledger_row(*row, self.now)).collect(),
            alerts: (0..new.alerts).map(|_| job()).collect(),
            to: new.to.map(|next_in| position(self.now, next_in)),
        }
    }

    pub(crate) async fn apply(&mut self, op: Op) {
        let now = self.now;
        match op {
            Op::Enqueue(jobs) => {
                let jobs: Vec<NewJob> = jobs.iter().map(|new| accepted(new, now)).collect();
                let expected = self.memory.enqueue(jobs.clone(), now).await.expect("memory");
                let found = self.store().enqueue(jobs, now).await.expect("the store");
                assert_eq!(found, expected);
            }
            Op::Claim { free_slots } => {
                let requests: Vec<ClaimRequest> = (1..)
                    .zip(&free_slots)
                    .map(|(worker, slots)| {
                        let first = self.executions;
                        self.executions += u128::from(*slots);
                        let held = usize::from(slots % 2);
                        ClaimRequest { held, ..request(worker, first, usize::from(*slots)) }
                    })
                    .collect();
                let seen = |claimed: Vec<orx_store::Claimed>| -> Vec<_> {
                    claimed
                        .into_iter()
                        .map(|it| (it.worker, it.alone, serde_json::to_string(&it.dispatch)))
                        .map(|(worker, alone, json)| (worker, alone, json.expect("json")))
                        .collect()
                };
                let mut expected = self
                    .memory
                    .claim_ready(requests.clone(), self.terms.0, now)
                    .await
                    .expect("memory");
                let claims = expected.claimed.iter().map(|claim| &claim.dispatch);
                self.claimed.extend(claims.map(|it| (it.job, it.attempt, it.execution)));
                let mut found =
                    self.store().claim_ready(requests, self.terms.1, now).await.expect("the store");
                found.expired.sort_unstable();
                expected.expired.sort_unstable();
                assert_eq!(found.expired, expected.expired);
                assert_eq!(seen(found.claimed), seen(expected.claimed));
            }
            Op::Start(places) => {
                let started: Vec<Started> = places
                    .iter()
                    .map(|place| self.pick(*place))
                    .map(|(job, _, execution)| Started { job, execution, at: now })
                    .collect();
                self.memory.mark_started(started.clone(), now).await.expect("memory");
                self.store().mark_started(started, now).await.expect("the store");
            }
            Op::End(ends) => {
                let outcome = |(place, choice): &(u8, u8)| {
                    let (job, _, execution) = self.pick(*place);
                    let failed = *choice > 1;
                    Outcome {
                        job,
                        execution,
                        kind: kind(*choice),
                        started_at: (choice.is_multiple_of(2)).then_some(now),
                        // Clocks of workers that are right, slow or fast.
                        ended_at: Timestamp::from_millis(
                            now.as_millis() + (i64::from(*choice % 3) - 1) * 5_000,
                        ),
                        error: failed.then(|| "why".to_owned()),
                        exit: failed.then_some(orx_model::ProcessExit::Code(i32::from(*choice))),
                    }
                };
                let outcomes: Vec<Outcome> = ends.iter().map(outcome).collect();
                let draws: Vec<f64> = ends.iter().map(|(_, n)| f64::from(*n) / 10.0).collect();
                let memory = self.memory.record_outcomes(outcomes.clone(), draws.clone(), now);
                let expected = memory.await.expect("memory");
                let found = self.store().record_outcomes(outcomes.clone(), draws, now).await;
                assert_eq!(found.expect("the store"), expected);
                for (outcome, recorded) in outcomes.iter().zip(expected) {
                    if matches!(recorded, orx_store::Recorded::Applied { .. }) {
                        let count = self.outcomes.entry(outcome.execution).or_default();
                        *count += 1;
                        assert_eq!(*count, 1, "two outcomes of one execution");
                    }
                }
            }
            Op::Progress(place) => {
                let (job, _, execution) = self.pick(place);
                let progress = orx_model::job::Progress { percent: f64::from(place), text: None };
                let reports = vec![ExecutionProgress { job, execution, progress }];
                self.memory.record_progress(reports.clone()).await.expect("memory");
                self.store().record_progress(reports).await.expect("the store");
            }
            Op::Log { place, seq, bytes } => {
                let (job, attempt, execution) = self.pick(place);
                let chunk = LogChunk {
                    job,
                    attempt,
                    execution,
                    seq: u64::from(seq),
                    stream: if seq.is_multiple_of(2) { Stream::Out } else { Stream::Err },
                    at: now,
                    dropped_bytes: 0,
                    bytes,
                };
                self.memory.append_logs(vec![chunk.clone()]).await.expect("memory");
                self.store().append_logs(vec![chunk]).await.expect("the store");
                let request = LogRequest {
                    job,
                    after: LogCursor::default(),
                    attempt: None,
                    streams: Vec::new(),
                    limit_bytes: 1 << 20,
                };
                let expected = self.memory.read_logs(request.clone()).await.expect("memory");
                assert_eq!(self.store().read_logs(request).await.expect("the store"), expected);
            }
            Op::Cancel { job, force, expected } => {
                let cancel = CancelCommand {
                    id: JobId(i64::from(job) + 1),
                    reason: Some("why".into()),
                    by: None,
                    force,
                    expected,
                };
                let memory = self.memory.cancel(vec![cancel.clone()], now).await;
                let found = self.store().cancel(vec![cancel], now).await;
                assert_eq!(found.expect("the store"), memory.expect("memory"));
            }
            Op::Retry(jobs) => {
                let ids: Vec<JobId> = jobs.iter().map(|job| JobId(i64::from(*job) + 1)).collect();
                let expected = self.memory.retry(ids.clone(), now).await.expect("memory");
                assert_eq!(self.store().retry(ids, now).await.expect("the store"), expected);
            }
            Op::Later(seconds) => {
                self.now = Timestamp::from_millis(now.as_millis() + seconds * 1_000);
            }
            Op::Promote => {
                let expected = self.memory.promote_due(self.terms.0, now, 3).await.expect("memory");
                assert_eq!(
                    self.store().promote_due(self.terms.1, now, 3).await.expect("the store"),
                    expected
                );
            }
            Op::DeleteDead(job) => {
                use orx_store::DeadLetters;
                let ids = vec![JobId(i64::from(job) + 1)];
                let expected = self.memory.delete_dead_letters(ids.clone()).await.expect("memory");
                let found = self.store().delete_dead_letters(ids).await.expect("the store");
                assert_eq!(found, expected);
            }
            Op::Prune(chunks) => {
                let before = Timestamp::from_millis(now.as_millis() - 10_000);
                let request = PruneRequest {
                    completed_before: before,
                    others_before: before,
                    limit: 5,
                    chunks,
                };
                let expected = self.memory.prune(request, self.terms.0).await.expect("memory");
                assert_eq!(
                    self.store().prune(request, self.terms.1).await.expect("the store"),
                    expected
                );
            }
            Op::AddSchedule { schedule, next_in } => {
                let plan = plan(schedule, now, next_in);
                let expected = self.memory.add_schedule(plan.clone(), now).await.expect("memory");
                let found = self.store().add_schedule(plan, now).await.expect("the store");
                assert_eq!(found, expected);
            }
            Op::ChangeSchedule { schedule, stale, next_in, row } => {
                let mut expected = self.expected(schedule).await;
                make_stale(&mut expected, stale);
                let (version, handled) = (expected.version, expected.handled);
                let (plan, row) = (plan(schedule, now, next_in), row.map(|it| ledger_row(it, now)));
                let memory =
                    self.memory.change_schedule(version, handled, plan.clone(), row, now).await;
                let found = self.store().change_schedule(version, handled, plan, row, now).await;
                assert_eq!(found.expect("the store"), memory.expect("memory"));
            }
            Op::RemoveSchedule { schedule, version } => {
                let id = name(SCHEDULES[usize::from(schedule)]);
                let expected = self.memory.remove_schedule(&id, version).await.expect("memory");
                let found = self.store().remove_schedule(&id, version).await.expect("the store");
                assert_eq!(found, expected);
            }
            Op::Firing { fires, by_person } => {
                let mut all = Vec::new();
                for new in &fires {
                    all.push(self.fire(new).await);
                }
                let (memory, term) = self.terms;
                let (memory, term) =
                    if by_person { (None, None) } else { (Some(memory), Some(term)) };
                let expected = self.memory.fire(all.clone(), memory, now).await.expect("memory");
                let found = self.store().fire(all, term, now).await.expect("the store");
                assert_eq!(found, expected);
            }
            Op::Release(places) => {
                let ended = self.memory.follow_ups(100).await.expect("memory");
                let release = |(place, alert): &(u8, bool)| {
                    let ended = ended.get(usize::from(*place)).map(|it| it.job);
                    let id = ended.unwrap_or(JobId(i64::from(*place) + 1));
                    Release { job: id, alert: alert.then(job) }
                };
                let releases: Vec<Release> = places.iter().map(release).collect();
                let memory = self.memory.release(releases.clone(), self.terms.0, now).await;
                let found = self.store().release(releases, self.terms.1, now).await;
                assert_eq!(found.expect("the store"), memory.expect("memory"));
            }
            Op::PruneSlots(age) => {
                let before = Timestamp::from_millis(now.as_millis() - age * 1_000);
                let memory = self.memory.prune_slots(before, 1_000, self.terms.0).await;
                let found = self.store().prune_slots(before, 1_000, self.terms.1).await;
                assert_eq!(found.expect("the store"), memory.expect("memory"));
            }
            Op::Reopen => {
                self.store().close().await.expect("closed");
                self.store = None;
                self.open().await;
            }
            Op::Crash => {
                // Dropping the store without closing it leaves what a killed process leaves.
                self.store = None;
                self.open().await;
            }
        }
        self.compare().await;
        self.check_history();
    }

    async fn compare(&self) {
        let all =
            ListRequest { filter: Default::default(), oldest_first: true, after: None, limit: 500 };
        async fn state(store: &dyn Store, all: ListRequest, now: Timestamp) -> Vec<String> {
            let mut state = Vec::new();
            let page = store.list(all, now).await.expect("list");
            for row in &page.rows {
                state.push(serde_json::to_string(row).expect("json"));
                let job = store.job(row.id).await.expect("read").expect("a job");
                state.push(serde_json::to_string(&job).expect("json"));
                let attempts = store.attempts(row.id).await.expect("attempts");
                state.push(serde_json::to_string(&attempts).expect("json"));
            }
            let counts = store.queue_counts().await.expect("counts");
            let counts = counts
                .iter()
                .filter(|(_, counts)| *counts != orx_model::wire::StatusCounts::default());
            state.push(format!("{:?}", counts.collect::<Vec<_>>()));
            state.push(format!("{:?}", store.oldest_due().await.expect("oldest")));
            state.push(format!("{:?}", store.next_due().await.expect("next due")));
            state.push(format!("{:?}", store.live_attempts().await.expect("live")));
            state.push(format!("{:?}", store.dead_letter_count(9).await.expect("dead")));
            for schedule in store.schedules(None, 9).await.expect("schedules") {
                let (id, before) = (schedule.id().clone(), None);
                let ledger = SlotRequest { id, before, missed: false, limit: 100 };
                state.push(format!("{schedule:?}"));
                state.push(format!("{:?}", store.slots(ledger).await.expect("slots")));
            }
            state.push(format!("{:?}", store.due_schedules(now, 9).await.expect("due")));
            state.push(format!("{:?}", store.next_fire(now).await.expect("next fire")));
            state.push(format!("{:?}", store.missed_since(NOW).await.expect("missed")));
            state.push(format!("{:?}", store.has_dependencies().await.expect("dependencies")));
            state.push(format!("{:?}", store.dependencies().await.expect("dependencies")));
            state.push(format!("{:?}", store.follow_ups(100).await.expect("follow-ups")));
            state.push(format!("{:?}", store.jobs_to_cancel(100).await.expect("to cancel")));
            state
        }
        let expected = state(&self.memory, all.clone(), self.now).await;
        let found = state(self.store(), all, self.now).await;
        assert_eq!(self.masked(&found), self.masked(&expected));
    }

    /// Checks that each change is in the table of transitions, that live jobs have an attempt, and that
    /// attempt numbers do not decrease.
    fn check_history(&self) {
        let mut numbers: BTreeMap<JobId, u32> = BTreeMap::new();
        for transition in self.memory.take_history() {
            if let (Some(from), Some(event)) = (transition.from, transition.event) {
                assert_eq!(next(from, event), Ok(transition.to));
            }
            let before = numbers.insert(transition.job, transition.attempt).unwrap_or_default();
            assert!(transition.attempt >= before, "an attempt number decreased");
        }
        for job in self.memory.all_jobs() {
            assert_eq!(job.state.live.is_some(), job.state.status.is_live(), "{}", job.id);
        }
    }
}

/// JSON text without its epochs.
fn without_epochs(text: &str) -> String {
    let mut parts = text.split("\"epoch\":");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    masked
}

//! The SQLite store does what the reference model does: the same random operations on both, every
//! answer and the whole state compared after each, while the SQLite store is closed, or dropped as
//! by a crash, and opened again in between.

use std::collections::BTreeMap;

use orx_model::job::Json;
use orx_model::log::{LogChunk, LogCursor, Stream};
use orx_model::message::{ExecutionProgress, Started};
use orx_model::{
    ExecutionId, Incarnation, JobId, JobSpec, JobStatus, OnLost, Outcome, OutcomeKind, Priority,
    RetryPolicy, Timestamp, next,
};
use orx_store::{
    CancelCommand, ClaimRequest, Dispatching, Jobs, Lead, LeadRequest, Leases, ListRequest,
    LogRequest, Logs, Memory, PruneRequest, Sqlite, SqliteOptions, Store, Term, Upkeep,
};
use orx_testkit::make::{NOW, job, json, name, request};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct NewJob {
    lane: u8,
    priority: u8,
    run_in: Option<i64>,
    expires_in: Option<i64>,
    deadline_in: Option<i64>,
    retries: u32,
    must_not_repeat: bool,
    key: Option<(u8, bool)>,
}

#[derive(Debug, Clone)]
enum Op {
    Enqueue(Vec<NewJob>),
    Claim {
        rooms: Vec<u8>,
    },
    /// Of live attempts by place; a place beyond them is a stale or unknown execution.
    Start(Vec<u8>),
    End(Vec<(u8, u8)>),
    Progress(u8),
    Log {
        place: u8,
        seq: u8,
        bytes: Vec<u8>,
    },
    Cancel {
        job: u8,
        force: bool,
        expected: Option<JobStatus>,
    },
    Retry(Vec<u8>),
    Later(i64),
    Promote,
    DeleteDead(u8),
    Prune,
    Reopen,
    Crash,
}

fn seconds() -> impl Strategy<Value = i64> {
    -5..40_i64
}

fn new_job() -> impl Strategy<Value = NewJob> {
    let times = (
        proptest::option::weighted(0.3, seconds()),
        proptest::option::weighted(0.2, 1..40_i64),
        proptest::option::weighted(0.2, 1..60_i64),
    );
    let key = proptest::option::weighted(0.3, (0..4_u8, any::<bool>()));
    (0..4_u8, 0..4_u8, times, 0..3_u32, any::<bool>(), key).prop_map(
        |(lane, priority, (run_in, expires_in, deadline_in), retries, must_not_repeat, key)| {
            NewJob {
                lane,
                priority,
                run_in,
                expires_in,
                deadline_in,
                retries,
                must_not_repeat,
                key,
            }
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let status = proptest::sample::select(JobStatus::ALL.to_vec());
    prop_oneof![
        6 => proptest::collection::vec(new_job(), 1..5).prop_map(Op::Enqueue),
        8 => proptest::collection::vec(0..4_u8, 1..4).prop_map(|rooms| Op::Claim { rooms }),
        3 => proptest::collection::vec(0..8_u8, 1..4).prop_map(Op::Start),
        8 => proptest::collection::vec((0..8_u8, 0..10_u8), 1..5).prop_map(Op::End),
        1 => (0..8_u8).prop_map(Op::Progress),
        2 => (0..8_u8, 1..5_u8, proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(place, seq, bytes)| Op::Log { place, seq, bytes }),
        4 => (0..20_u8, any::<bool>(), proptest::option::weighted(0.3, status))
            .prop_map(|(job, force, expected)| Op::Cancel { job, force, expected }),
        2 => proptest::collection::vec(0..20_u8, 1..3).prop_map(Op::Retry),
        4 => (1..30_i64).prop_map(Op::Later),
        3 => Just(Op::Promote),
        1 => (0..20_u8).prop_map(Op::DeleteDead),
        1 => Just(Op::Prune),
        1 => Just(Op::Reopen),
        2 => Just(Op::Crash),
    ]
}

fn spec(new: &NewJob, now: Timestamp) -> JobSpec {
    let after = |seconds: i64| Timestamp::from_millis(now.as_millis() + seconds * 1_000);
    JobSpec {
        queue: name(if new.lane.is_multiple_of(2) { "a" } else { "b" }),
        name: name(if new.lane < 3 { "work" } else { "other" }),
        priority: Priority::from_rank(new.priority).unwrap_or_default(),
        run_at: new.run_in.map(after),
        expires_at: new.expires_in.map(after),
        deadline: new.deadline_in.map(after),
        retry: RetryPolicy { retries: new.retries, ..RetryPolicy::default() },
        on_lost: if new.must_not_repeat { OnLost::Fail } else { OnLost::Retry },
        key: new.key.map(|(key, _)| format!("k{key}")),
        key_hash: new.key.map(|(_, same)| if same { "same" } else { "other" }.to_owned()),
        ..job()
    }
}

fn kind(choice: u8) -> OutcomeKind {
    let result: Json = json(r#"{"n":1.0}"#);
    match choice {
        0 | 1 => OutcomeKind::Succeeded { result: Some(result) },
        2 => OutcomeKind::Failed { retryable: true, retry_after_ms: None },
        3 => OutcomeKind::Failed { retryable: true, retry_after_ms: Some(3_000) },
        4 => OutcomeKind::Failed { retryable: false, retry_after_ms: None },
        5 => OutcomeKind::TimedOut,
        6 => OutcomeKind::Interrupted,
        7 => OutcomeKind::Refused,
        8 => OutcomeKind::Lost { counted: true },
        _ => OutcomeKind::Lost { counted: false },
    }
}

const NOBODY: Term = Term { node: Incarnation(0), epoch: 0 };

async fn lead(store: &dyn Store, now: Timestamp) -> Term {
    let ttl = std::time::Duration::from_secs(1 << 30);
    let request = LeadRequest { node: Incarnation(77), ttl, above: 0 };
    match store.lead(request, now).await.expect("an answer") {
        Lead::Leading(term) => term,
        Lead::Following { leader, .. } => panic!("{leader:?} leads"),
    }
}

/// Both stores, and what the test remembers to address them.
struct Both {
    folder: tempfile::TempDir,
    memory: Memory,
    sqlite: Option<Sqlite>,
    now: Timestamp,
    executions: u128,
    /// Whose claims count: on the one, and on the other.
    terms: (Term, Term),
    /// Every execution that was ever claimed, newest last.
    claimed: Vec<(JobId, u32, ExecutionId)>,
    outcomes: BTreeMap<ExecutionId, u32>,
}

impl Both {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut both = Self {
            folder,
            memory: Memory::new(),
            sqlite: None,
            now: NOW,
            executions: 1,
            terms: (NOBODY, NOBODY),
            claimed: Vec::new(),
            outcomes: BTreeMap::new(),
        };
        both.open().await;
        both
    }

    /// Opened anew, a store has no leader: a new term begins on both.
    async fn open(&mut self) {
        let options = SqliteOptions::new(self.folder.path().join("orx.db"));
        let sqlite = Sqlite::open(options, self.now).expect("a store");
        let _ = self.memory.step_down(self.terms.0).await.expect("memory");
        let (memory, found) = (lead(&self.memory, self.now).await, lead(&sqlite, self.now).await);
        assert_eq!(found, memory);
        self.terms = (memory, found);
        self.sqlite = Some(sqlite);
    }

    fn sqlite(&self) -> &Sqlite {
        self.sqlite.as_ref().expect("an open store")
    }

    /// From the newest back; beyond them, one that never was.
    fn pick(&self, place: u8) -> (JobId, u32, ExecutionId) {
        let newest = self.claimed.iter().rev().nth(usize::from(place)).copied();
        newest.unwrap_or((JobId(i64::from(place) + 1), 1, ExecutionId(u128::MAX)))
    }

    async fn apply(&mut self, op: Op) {
        let now = self.now;
        match op {
            Op::Enqueue(jobs) => {
                let specs: Vec<JobSpec> = jobs.iter().map(|new| spec(new, now)).collect();
                let expected = self.memory.enqueue(specs.clone(), now).await.expect("memory");
                let found = self.sqlite().enqueue(specs, now).await.expect("sqlite");
                assert_eq!(found, expected);
            }
            Op::Claim { rooms } => {
                let requests: Vec<ClaimRequest> = (1..)
                    .zip(&rooms)
                    .map(|(worker, room)| {
                        let first = self.executions;
                        self.executions += u128::from(*room);
                        request(worker, first, usize::from(*room))
                    })
                    .collect();
                let seen = |claimed: Vec<orx_store::Claimed>| -> Vec<_> {
                    claimed
                        .into_iter()
                        .map(|claim| (claim.worker, serde_json::to_string(&claim.dispatch)))
                        .map(|(worker, dispatch)| (worker, dispatch.expect("json")))
                        .collect()
                };
                let expected = self
                    .memory
                    .claim_ready(requests.clone(), self.terms.0, now)
                    .await
                    .expect("memory");
                let claims = expected.iter().map(|claim| &claim.dispatch);
                self.claimed.extend(claims.map(|it| (it.job, it.attempt, it.execution)));
                let found =
                    self.sqlite().claim_ready(requests, self.terms.1, now).await.expect("sqlite");
                assert_eq!(seen(found), seen(expected));
            }
            Op::Start(places) => {
                let started: Vec<Started> = places
                    .iter()
                    .map(|place| self.pick(*place))
                    .map(|(job, _, execution)| Started { job, execution, at: now })
                    .collect();
                self.memory.mark_started(started.clone()).await.expect("memory");
                self.sqlite().mark_started(started).await.expect("sqlite");
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
                        ended_at: now,
                        error: failed.then(|| "why".to_owned()),
                        exit: failed.then_some(orx_model::Exit::Code(i32::from(*choice))),
                    }
                };
                let outcomes: Vec<Outcome> = ends.iter().map(outcome).collect();
                let draws: Vec<f64> = ends.iter().map(|(_, n)| f64::from(*n) / 10.0).collect();
                let memory = self.memory.record_outcomes(outcomes.clone(), draws.clone(), now);
                let expected = memory.await.expect("memory");
                let found = self.sqlite().record_outcomes(outcomes.clone(), draws, now).await;
                assert_eq!(found.expect("sqlite"), expected);
                for (outcome, told) in outcomes.iter().zip(expected) {
                    if matches!(told, orx_store::Recorded::Applied { .. }) {
                        let count = self.outcomes.entry(outcome.execution).or_default();
                        *count += 1;
                        assert_eq!(*count, 1, "two outcomes of one execution");
                    }
                }
            }
            Op::Progress(place) => {
                let (job, _, execution) = self.pick(place);
                let progress = orx_model::job::Progress { percent: f64::from(place), text: None };
                let told = vec![ExecutionProgress { job, execution, progress }];
                self.memory.record_progress(told.clone()).await.expect("memory");
                self.sqlite().record_progress(told).await.expect("sqlite");
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
                self.sqlite().append_logs(vec![chunk]).await.expect("sqlite");
                let request = LogRequest {
                    job,
                    after: LogCursor::default(),
                    attempt: None,
                    streams: Vec::new(),
                    limit_bytes: 1 << 20,
                };
                let expected = self.memory.read_logs(request.clone()).await.expect("memory");
                assert_eq!(self.sqlite().read_logs(request).await.expect("sqlite"), expected);
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
                let sqlite = self.sqlite().cancel(vec![cancel], now).await;
                assert_eq!(sqlite.expect("sqlite"), memory.expect("memory"));
            }
            Op::Retry(jobs) => {
                let ids: Vec<JobId> = jobs.iter().map(|job| JobId(i64::from(*job) + 1)).collect();
                let expected = self.memory.retry(ids.clone(), now).await.expect("memory");
                assert_eq!(self.sqlite().retry(ids, now).await.expect("sqlite"), expected);
            }
            Op::Later(seconds) => {
                self.now = Timestamp::from_millis(now.as_millis() + seconds * 1_000);
            }
            Op::Promote => {
                let expected = self.memory.promote_due(self.terms.0, now, 3).await.expect("memory");
                assert_eq!(
                    self.sqlite().promote_due(self.terms.1, now, 3).await.expect("sqlite"),
                    expected
                );
            }
            Op::DeleteDead(job) => {
                use orx_store::DeadLetters;
                let ids = vec![JobId(i64::from(job) + 1)];
                let expected = self.memory.delete_dead_letters(ids.clone()).await.expect("memory");
                let found = self.sqlite().delete_dead_letters(ids).await.expect("sqlite");
                assert_eq!(found, expected);
            }
            Op::Prune => {
                // Keys outlive their jobs in one store and not in the other: only old time does.
                let before = Timestamp::from_millis(now.as_millis() - 86_400_000);
                let request =
                    PruneRequest { completed_before: before, others_before: before, limit: 5 };
                let expected = self.memory.prune(request, self.terms.0).await.expect("memory");
                assert_eq!(
                    self.sqlite().prune(request, self.terms.1).await.expect("sqlite"),
                    expected
                );
            }
            Op::Reopen => {
                self.sqlite().close().await.expect("closed");
                self.sqlite = None;
                self.open().await;
            }
            Op::Crash => {
                // What is on the disk now is what a killed process leaves; the lock goes with it.
                self.sqlite = None;
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
            for job in &page.rows {
                state.push(serde_json::to_string(job).expect("json"));
                let attempts = store.attempts(job.id).await.expect("attempts");
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
            state.push(format!("{:?}", store.dead_letter_count().await.expect("dead")));
            state
        }
        let expected = state(&self.memory, all.clone(), self.now).await;
        assert_eq!(state(self.sqlite(), all, self.now).await, expected);
    }

    /// Each move is one of the table; a job has at most one live attempt; numbers ascend.
    fn check_history(&self) {
        let mut numbers: BTreeMap<JobId, u32> = BTreeMap::new();
        for transition in self.memory.take_history() {
            if let (Some(from), Some(event)) = (transition.from, transition.event) {
                assert_eq!(next(from, event), Ok(transition.to));
            }
            let before = numbers.insert(transition.job, transition.attempt).unwrap_or_default();
            assert!(transition.attempt >= before, "an attempt's number fell");
        }
        for job in self.memory.all_jobs() {
            assert_eq!(job.live.is_some(), job.status.is_live(), "{}", job.id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_does_what_the_model_does(ops in proptest::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut both = Both::new().await;
            for op in ops {
                both.apply(op).await;
            }
        });
    }
}

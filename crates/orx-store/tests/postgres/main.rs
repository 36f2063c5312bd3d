//! Tests of PostgreSQL alone: several nodes that share one store, and failures of the server.
//!
//! `contract.rs` tests the contract of every store.

mod failures;
mod nodes;
mod opening;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orx_model::filter::Filter;
use orx_model::log::{LogChunk, LogCursor, Stream};
use orx_model::time::UtcClock;
use orx_model::{
    ExecutionId, Incarnation, JobId, JobSpec, JobStatus, NewJob, Outcome, OutcomeKind,
};
use orx_store::{
    CancelAnswer, CancelCommand, Claimed, DeadLetters, Dispatching, Durability, Enqueued, Home,
    Jobs, Lead, LeadRequest, Leases, ListRequest, LogRequest, Logs, Postgres, PostgresOptions,
    PruneRequest, Recorded, RetryAnswer, StoreCopy, StoreError, Term, Tokens, Upkeep,
};
use orx_testkit::make::{NOW, at, failed, job, json, name, outcome, request, succeeded};
use orx_testkit::servers::{OwnPostgres, Proxy, TestDatabase, bouncer, forgetful_bouncer};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

const HOUR: Duration = Duration::from_secs(3_600);
/// Deadline of an expected state, long enough for a busy machine.
const SOON: Duration = Duration::from_secs(60);

async fn open(database: &TestDatabase) -> Postgres {
    Postgres::open(PostgresOptions::new(database.url()), NOW).await.expect("a store")
}

/// A store that waits longer for a lock than any test holds one.
async fn patient(database: &TestDatabase) -> Arc<Postgres> {
    let lock_deadline = Duration::from_secs(20);
    let write_deadline = Duration::from_secs(30);
    let options =
        PostgresOptions { lock_deadline, write_deadline, ..PostgresOptions::new(database.url()) };
    Arc::new(Postgres::open(options, NOW).await.expect("a store"))
}

async fn lead(store: &Postgres, node: u128, ttl: Duration) -> Option<Term> {
    let request = LeadRequest { node: Incarnation(node), ttl, above: 0 };
    match store.lead(request, NOW).await.expect("an answer") {
        Lead::Leading(term) => Some(term),
        Lead::Following { .. } | Lead::Barred => None,
    }
}

async fn add(store: &Postgres, jobs: Vec<impl Into<NewJob>>) -> Vec<JobId> {
    let jobs = jobs.into_iter().map(Into::into).collect();
    let answers = store.enqueue(jobs, NOW).await.expect("enqueued");
    answers.iter().map(id).collect()
}

fn id(answer: &Enqueued) -> JobId {
    match *answer {
        Enqueued::New { id, .. }
        | Enqueued::Existing { id, .. }
        | Enqueued::KeyConflict { id, .. } => id,
    }
}

fn keyed(key: &str) -> NewJob {
    let spec = JobSpec { key: Some(key.to_owned()), ..job() };
    NewJob { key_hash: Some("h".to_owned()), ..spec.into() }
}

fn jobs(claimed: &[Claimed]) -> Vec<JobId> {
    claimed.iter().map(|claim| claim.dispatch.job).collect()
}

/// A transaction that stays open until [`Open::end`].
struct Open(PgConnection);

impl Open {
    async fn begin(database: &TestDatabase) -> Self {
        let mut session = PgConnection::connect(&database.url()).await.expect("a session");
        sqlx::raw_sql("begin").execute(&mut session).await.expect("begun");
        Self(session)
    }

    async fn run(&mut self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&mut self.0).await.expect("done");
    }

    async fn end(mut self, how: &str) {
        self.run(how).await;
    }
}

async fn eventually(what: &str, there: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !there().await {
        assert!(began.elapsed() < SOON, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn listed(store: &Postgres, text: &str) -> Vec<i64> {
    let filter = Filter::parse(text, NOW, &UtcClock).expect("a filter");
    let request = ListRequest { filter, oldest_first: false, after: None, limit: 100 };
    let page = store.list(request, NOW).await.expect("a list");
    page.rows.iter().map(|job| job.id.0).collect()
}

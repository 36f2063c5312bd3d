//! Tests of what only this store does. `tests/contract.rs` tests what every store does.

mod files;
mod queries;
mod rows;
mod writes;

use std::collections::BTreeSet;
use std::path::Path;

use orx_model::filter::Filter;
use orx_model::job::{Labels, json_null};
use orx_model::message::Started;
use orx_model::{
    Capabilities, ExecutionId, Incarnation, JobId, JobSpec, JobStatus, Name, NewJob, Outcome,
    OutcomeKind, RetryPolicy,
};
use rusqlite::{Connection, StatementStatus};

use super::*;
use crate::{
    ADVISORY_SYNC, ClaimRequest, Claimed, DeadLetters, Dispatching, Enqueued, Jobs, Lead,
    LeadRequest, Leases, ListRequest, PruneRequest, Recorded, Term, Upkeep,
};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const LATER: Timestamp = Timestamp::from_millis(2_000_000);

fn open(folder: &Path) -> Sqlite {
    Sqlite::open(SqliteOptions::new(folder.join("orx.db")), NOW).expect("open")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn spec() -> JobSpec {
    JobSpec {
        retry: RetryPolicy { retries: 1, jitter: 0.0, ..RetryPolicy::default() },
        ..JobSpec::new(name("video"), name("media"))
    }
}

async fn enqueue(store: &Sqlite, specs: Vec<JobSpec>) -> Vec<JobId> {
    let jobs = specs.into_iter().map(NewJob::from).collect();
    let answers = store.enqueue(jobs, NOW).await.expect("enqueue");
    answers
        .into_iter()
        .map(|answer| match answer {
            Enqueued::New { id, .. }
            | Enqueued::Existing { id, .. }
            | Enqueued::KeyConflict { id, .. } => id,
        })
        .collect()
}

async fn claim(store: &Sqlite, handler: &str, first: u128, free_slots: u128) -> Vec<Claimed> {
    let request = ClaimRequest {
        worker: Incarnation(7),
        worker_name: name("w1"),
        offer: Capabilities {
            handlers: BTreeSet::from([name(handler)]),
            ..Capabilities::default()
        },
        executions: (first..first + free_slots).map(ExecutionId).collect(),
        prefetch: 0,
        held: 0,
    };
    store.claim_ready(vec![request], term(store).await, NOW).await.expect("claim").claimed
}

async fn term(store: &Sqlite) -> Term {
    let request = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(9), above: 0 };
    match store.lead(request, NOW).await.expect("an answer") {
        Lead::Leading(term) => term,
        other => panic!("{other:?}"),
    }
}

fn outcome_of(job: JobId, execution: ExecutionId, kind: OutcomeKind) -> Outcome {
    let (started_at, ended_at) = (Some(NOW), NOW);
    Outcome { job, execution, kind, started_at, ended_at, error: None, exit: None }
}

async fn end(store: &Sqlite, claimed: &Claimed, kind: OutcomeKind) -> Recorded {
    let outcome = outcome_of(claimed.dispatch.job, claimed.dispatch.execution, kind);
    store.record_outcomes(vec![outcome], vec![0.5], NOW).await.expect("record")[0]
}

async fn counts_are_right(store: &Sqlite) {
    let counted = |conn: &Connection| {
        let mut read = conn.prepare(
            "SELECT c.jobs, (SELECT count(*) FROM jobs j JOIN lanes l ON l.id = j.lane \
             WHERE l.queue = c.queue AND j.status = c.status) FROM counts c",
        )?;
        let pairs = read.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        Ok(pairs.collect::<std::result::Result<Vec<_>, _>>()?)
    };
    for (stored, found) in store.read("count", counted).await.expect("counts") {
        assert_eq!(stored, found);
    }
}

fn tagged(tenant: &str) -> Labels {
    Labels::from([("tenant".to_owned(), tenant.to_owned())])
}

fn filter(text: &str) -> Filter {
    Filter::parse(text, NOW, &orx_model::time::UtcClock).expect("a filter")
}

async fn listed(store: &Sqlite, text: &str) -> Vec<i64> {
    let request =
        ListRequest { filter: filter(text), oldest_first: false, after: None, limit: 100 };
    let page = store.list(request, NOW).await.expect("a list");
    page.rows.iter().map(|job| job.id.0).collect()
}

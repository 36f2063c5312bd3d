//! Tests of what only this store does. `tests/contract.rs` tests what every store does.

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
        Lead::Following { leader, .. } => panic!("{leader:?} leads"),
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

/// The query plan of a statement, one step per line.
fn plan(conn: &Connection, sql: &str) -> String {
    let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("prepare");
    let mut rows = statement.raw_query();
    let mut plan = String::new();
    while let Some(row) = rows.next().expect("a step") {
        plan.push_str(&row.get::<_, String>(3).expect("its text"));
        plan.push('\n');
    }
    plan
}

#[tokio::test]
async fn frequent_statements_read_an_index_in_its_order() {
    let folder = folder();
    let store = open(folder.path());
    let due = "SELECT id FROM jobs WHERE status = 2 AND run_at <= ?1 ORDER BY run_at, id LIMIT 9";
    let live = "SELECT id FROM jobs WHERE status IN (3, 4) AND status <> 5";
    let of_worker = "SELECT id FROM jobs WHERE worker = ?1 ORDER BY id";
    let cases = [
        (claim::READY, "COVERING INDEX jobs_ready"),
        (include_str!("next_due.sql"), "jobs_due"),
        (include_str!("oldest_due.sql"), "jobs_ready"),
        (due, "jobs_due"),
        (live, "jobs_status"),
        (of_worker, "jobs_live"),
        (retention::DELETE_LOGS, "SEARCH logs USING PRIMARY KEY (job=? AND attempt=? AND seq=?)"),
    ];
    let conn = open::reader(&folder.path().join("orx.db")).expect("a reader");
    for (sql, index) in cases {
        let plan = plan(&conn, sql);
        assert!(plan.contains(index), "{sql}\n{plan}");
        let sorts = plan.contains("USE TEMP B-TREE FOR ORDER BY") && sql != cases[2].0;
        assert!(!sorts, "{sql}\n{plan}");
    }
    store.close().await.expect("close");
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

#[tokio::test]
async fn a_list_reads_the_index_of_its_filter_in_order() {
    let folder = folder();
    let store = open(folder.path());
    let command = orx_model::Command { argv: vec!["make".to_owned()], ..Default::default() };
    let other = JobSpec { name: name("mail"), queue: name("other"), ..spec() };
    let make = JobSpec { name: name("make"), command: Some(command), ..spec() };
    enqueue(&store, vec![spec(), JobSpec { tags: tagged("acme"), ..other }, make]).await;
    let by_id = "jobs USING INTEGER PRIMARY KEY";
    let term = "terms USING PRIMARY KEY (term=? AND job<?)";
    let lane = "COVERING INDEX jobs_lane (lane=? AND rowid<?)";
    let status = "COVERING INDEX jobs_status";
    let cases: [(&str, bool, &[&str]); 14] = [
        ("", false, &[by_id]),
        ("status:completed", false, &[by_id]),
        ("status:failed", false, &[status]),
        ("status:failed,pending", false, &[status]),
        ("queue:other", false, &[lane]),
        ("name:mail queue:other", false, &[lane]),
        ("name:make", false, &[term]),
        ("name:video", false, &[lane, term]),
        ("tag.tenant:acme", false, &[term]),
        ("tag.tenant:acme,other status:pending", false, &[term]),
        ("schedule:nightly", false, &[term]),
        // The counts show that no job has failed, so the index by status has fewer jobs.
        ("status:failed name:video", false, &[status]),
        ("", true, &["INDEX jobs_dead"]),
        ("name:video", true, &["INDEX jobs_dead"]),
    ];
    let conn = open::reader(&folder.path().join("orx.db")).expect("a reader");
    for (text, dead, indexes) in cases {
        let found = lists::plan(&conn, &filter(text), dead).expect("a plan").expect("may match");
        for oldest_first in [false, true] {
            let sql = crate::filter_pushdown::ids::<lists::InSqlite>(
                &found.sources,
                oldest_first,
                "?1",
                "?2",
            );
            let plan = plan(&conn, &sql);
            for index in indexes {
                let index =
                    if oldest_first { index.replace('<', ">") } else { (*index).to_owned() };
                assert!(plan.contains(&index), "{text}: {sql}\n{plan}");
            }
            let reads_all = plan.contains("SCAN jobs\n") || plan.contains("SCAN terms");
            assert!(!plan.contains("TEMP B-TREE") && !reads_all, "{text}: {sql}\n{plan}");
        }
    }
    for sql in [row::SUMMARY, row::WITH_ARGS] {
        let plan = plan(&conn, &format!("{sql} WHERE j.id = ?1"));
        assert!(!plan.contains("SCAN") && !plan.contains("results"), "{plan}");
    }
    store.close().await.expect("close");
}

#[tokio::test]
async fn a_list_does_not_read_args_and_pruning_deletes_head_and_terms() {
    let folder = folder();
    let store = open(folder.path());
    let args = serde_json::from_str(&format!("\"{}\"", "x".repeat(200_000))).expect("json");
    let large = JobSpec { args, tags: tagged("acme"), ..spec() };
    let ids = enqueue(&store, vec![large, spec()]).await;
    // A list succeeds although the spec is damaged, because it reads the head.
    let damage = |tx: &mut Tx<'_>| {
        tx.conn.execute("UPDATE specs SET spec = '{' WHERE job = 1", [])?;
        Ok(())
    };
    let kept = store.job(ids[0]).await.expect("read").expect("a job");
    assert_eq!(kept.spec.args.get().len(), 200_002);
    store.write("damage", Kind::Durable, 1, damage).await.expect("damaged");
    assert!(
        store.job(ids[0]).await.expect("read").is_some_and(|job| job.state.unreadable.is_some())
    );
    assert_eq!(listed(&store, "tag.tenant:ACME name:video").await, [1]);

    let cancel = |id: &JobId| crate::CancelCommand {
        id: *id,
        reason: None,
        by: None,
        force: false,
        expected: None,
    };
    store.cancel(ids.iter().map(cancel).collect(), NOW).await.expect("cancelled");
    let all = PruneRequest { completed_before: LATER, others_before: LATER, limit: 9, chunks: 9 };
    assert_eq!(store.prune(all, term(&store).await).await.expect("prune").jobs, 2);
    let conn = open::reader(&folder.path().join("orx.db")).expect("a reader");
    let rows = "SELECT (SELECT count(*) FROM heads) + (SELECT count(*) FROM terms)";
    assert_eq!(conn.query_row(rows, [], |row| row.get::<_, i64>(0)).expect("a number"), 0);
    store.close().await.expect("close");
}

#[tokio::test]
async fn a_file_cannot_be_opened_twice_until_the_first_store_closes() {
    let folder = folder();
    let options = SqliteOptions::new(folder.path().join("orx.db"));
    let store = open(folder.path());
    let second = Sqlite::open(options.clone(), NOW).expect_err("held");
    assert!(matches!(second, StoreError::Held { .. }), "{second:?}");
    store.close().await.expect("close");
    assert!(matches!(store.job(JobId(1)).await, Err(StoreError::Closed)));
    assert!(matches!(store.check_writable().await, Err(StoreError::Closed)));
    drop(Sqlite::open(options, NOW).expect("free"));
    drop(open(folder.path()));
}

#[tokio::test]
async fn a_file_cannot_be_opened_twice_under_another_name() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let store = open(folder.path());
    std::fs::create_dir(path("hard")).expect("a folder");
    std::fs::hard_link(path("orx.db"), path("hard/orx.db")).expect("a link");
    std::os::unix::fs::symlink(folder.path(), path("soft")).expect("a link");
    std::fs::create_dir(path("file")).expect("a folder");
    std::os::unix::fs::symlink(path("orx.db"), path("file/orx.db")).expect("a link");
    std::fs::remove_file(path("orx.db.lock")).expect("removed");
    for name in ["orx.db", "hard/orx.db", "soft/orx.db", "file/orx.db"] {
        let second = Sqlite::open(SqliteOptions::new(path(name)), NOW).expect_err("held");
        assert!(matches!(second, StoreError::Held { .. }), "{name}: {second:?}");
    }
    // The first store still works and still holds its locks.
    enqueue(&store, vec![spec()]).await;
    store.close().await.expect("close");
    let again = Sqlite::open(SqliteOptions::new(path("soft/orx.db")), NOW).expect("free");
    assert!(again.job(JobId(1)).await.expect("read").is_some());
}

#[tokio::test]
async fn a_copy_of_the_file_has_the_id_of_the_store() {
    let folder = folder();
    let store = open(folder.path());
    let home = crate::Transfer::home(&store).await.expect("read");
    store.close().await.expect("close");
    let copy = folder.path().join("copy.db");
    std::fs::copy(folder.path().join("orx.db"), &copy).expect("copied");
    assert_eq!(crate::sqlite_store_id(&copy), Some(home.id));
    assert_eq!(crate::sqlite_store_id(&folder.path().join("none.db")), None);
    let other = Sqlite::open(SqliteOptions::new(folder.path().join("other.db")), NOW);
    drop(other.expect("open"));
    let other = crate::sqlite_store_id(&folder.path().join("other.db"));
    assert!(other.is_some() && other != crate::sqlite_store_id(&copy), "{other:?}");
}

#[test]
fn sqlite_is_built_with_the_configured_flags() {
    let conn = Connection::open_in_memory().expect("open");
    let mut options = conn.prepare("PRAGMA compile_options").expect("prepared");
    let options = options.query_map([], |row| row.get(0)).expect("read");
    let options: BTreeSet<String> = options.collect::<rusqlite::Result<_>>().expect("read");
    for without in ["ENABLE_MEMORY_MANAGEMENT", "ENABLE_API_ARMOR"] {
        assert!(!options.contains(without), "{options:?}");
    }
    assert!(options.contains("DEFAULT_MEMSTATUS=0"), "{options:?}");
}

#[tokio::test]
async fn a_newer_or_damaged_or_foreign_file_is_rejected() {
    let folder = folder();
    let path = folder.path().join("orx.db");
    drop(open(folder.path()));
    let conn = Connection::open(&path).expect("open");
    conn.pragma_update(None, "user_version", 99).expect("set");
    drop(conn);
    let newer = Sqlite::open(SqliteOptions::new(&path), NOW).expect_err("newer");
    assert!(matches!(newer, StoreError::NewerSchema { found: 99, .. }), "{newer:?}");

    let path = folder.path().join("text.db");
    std::fs::write(&path, "this is no database, whatever its name says. ".repeat(99))
        .expect("write");
    let damaged = Sqlite::open(SqliteOptions::new(&path), NOW).expect_err("damaged");
    assert!(matches!(damaged, StoreError::Damaged { .. }), "{damaged:?}");

    let path = folder.path().join("other.db");
    Connection::open(&path).expect("open").execute_batch("CREATE TABLE t (a)").expect("make");
    let foreign = Sqlite::open(SqliteOptions::new(&path), NOW).expect_err("foreign");
    assert!(matches!(foreign, StoreError::Damaged { .. }), "{foreign:?}");
}

/// Copies the files of an open store, as a crash would leave them.
fn crash_image(from: &Path, to: &Path) {
    for file in ["orx.db", "orx.db-wal"] {
        std::fs::copy(from.join(file), to.join(file)).expect("copy");
    }
}

#[tokio::test]
async fn a_killed_store_has_every_change_that_returned() {
    let (folder, copy) = (folder(), folder());
    let store = open(folder.path());
    let ids = enqueue(&store, vec![spec(), spec()]).await;
    let claimed = claim(&store, "video", 1, 1).await;
    crash_image(folder.path(), copy.path());

    let again = open(copy.path());
    let first = again.job(ids[0]).await.expect("read").expect("a job");
    assert_eq!(first.state.status, JobStatus::Dispatched);
    assert_eq!(first.state.live.expect("live").execution, claimed[0].dispatch.execution);
    assert!(matches!(
        end(&again, &claimed[0], OutcomeKind::Succeeded { result: None }).await,
        Recorded::Applied { status: JobStatus::Completed, .. }
    ));
    assert_eq!(claim(&again, "video", 9, 5).await.len(), 1);
    assert_eq!(enqueue(&again, vec![spec()]).await, [JobId(3)]);
    counts_are_right(&again).await;
}

#[tokio::test]
async fn advisory_writes_are_synced_in_time() {
    let folder = folder();
    let store = open(folder.path());
    enqueue(&store, vec![spec()]).await;
    let synced = |conn: &Connection| {
        Ok(conn.query_row("SELECT value FROM meta WHERE key = 'synced'", [], |row| {
            row.get::<_, i64>(0)
        })?)
    };
    // Longer than the promise, for a slow machine. A sync that needs another write never comes.
    let within = 5 * ADVISORY_SYNC;
    let syncs = async |wanted: i64| {
        while store.read("read", synced).await.expect("read") < wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let before = store.read("read", synced).await.expect("read");
    let claimed = claim(&store, "video", 1, 1).await;
    tokio::time::timeout(within, syncs(before + 1)).await.expect("the claim is synced");
    let ready = Started { job: claimed[0].dispatch.job, execution: ExecutionId(1), at: NOW };
    store.mark_started(vec![ready], LATER).await.expect("mark");
    tokio::time::timeout(within, syncs(before + 2)).await.expect("the start is synced");
    // Without further writes there is no further sync.
    tokio::time::sleep(ADVISORY_SYNC).await;
    assert_eq!(store.read("read", synced).await.expect("read"), before + 2);
}

#[tokio::test]
async fn a_command_without_changes_does_not_sync_and_does_not_cancel_a_pending_sync() {
    let folder = folder();
    let store = open(folder.path());
    enqueue(&store, vec![spec()]).await;
    let synced = |conn: &Connection| {
        Ok(conn.query_row("SELECT value FROM meta WHERE key = 'synced'", [], |row| {
            row.get::<_, i64>(0)
        })?)
    };
    let before = store.read("read", synced).await.expect("read");
    claim(&store, "video", 1, 1).await;
    let unknown = crate::CancelCommand {
        id: JobId(99),
        reason: None,
        by: None,
        force: false,
        expected: None,
    };
    let answers = store.cancel(vec![unknown], NOW).await.expect("cancel");
    assert_eq!(answers, [crate::CancelAnswer::Missing]);
    let is_synced = async {
        while store.read("read", synced).await.expect("read") == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(5 * ADVISORY_SYNC, is_synced).await.expect("the claim is synced");
    for _ in 0..3 {
        store.leader(NOW).await.expect("read");
        store.look().await.expect("it takes writes");
    }
    // Closing syncs nothing more, because every write is synced.
    store.close().await.expect("close");
    let conn = open::reader(&folder.path().join("orx.db")).expect("a reader");
    assert_eq!(synced(&conn).expect("read"), before + 1);
}

/// Blocks reads and commands until it is dropped.
struct Gate {
    _open: mpsc::Sender<()>,
    shut: Arc<Mutex<mpsc::Receiver<()>>>,
    blocked: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        let (open, shut) = mpsc::channel();
        let blocked = Arc::new(Semaphore::new(0));
        Self { _open: open, shut: Arc::new(Mutex::new(shut)), blocked }
    }

    fn block(&self) -> impl Fn() + Send + 'static {
        let (shut, blocked) = (Arc::clone(&self.shut), Arc::clone(&self.blocked));
        move || {
            blocked.add_permits(1);
            let _ended = shut.lock().recv();
        }
    }

    /// Waits until this many are blocked.
    async fn wait_for(&self, count: usize) {
        self.blocked.acquire_many(count as u32).await.expect("open").forget();
    }
}

#[tokio::test]
async fn endless_scans_and_large_reads_of_api_requests_delay_no_other_read() {
    let folder = folder();
    let read_deadline = Duration::from_secs(60);
    let path = folder.path().join("orx.db");
    let options = SqliteOptions { scans: 2, read_deadline, ..SqliteOptions::new(path) };
    let store = Sqlite::open(options, NOW).expect("open");
    let job = enqueue(&store, vec![spec()]).await[0];
    let callers = Arc::new(store.callers());
    let gate = Gate::new();
    let mut reads = Vec::new();
    for kind in [Reads::Scan, Reads::Piece] {
        for _ in 0..20 {
            let (callers, block) = (Arc::clone(&callers), gate.block());
            reads.push(tokio::spawn(async move {
                let read = move |_: &Connection| {
                    block();
                    Ok(())
                };
                callers.read_of(kind, "scan", read).await
            }));
        }
    }
    gate.wait_for(4).await;
    let others = async {
        assert!(callers.job(job).await.expect("read").is_some());
        assert!(crate::Tokens::token(&*callers, "none").await.expect("read").is_none());
        // A page that an index yields in order is not a scan.
        assert_eq!(callers.list(all(), NOW).await.expect("read").rows.len(), 1);
        assert_eq!(enqueue(&callers, vec![spec()]).await, [JobId(2)]);
        assert_eq!(claim(&store, "video", 1, 2).await.len(), 2);
        assert_eq!(store.live_attempts().await.expect("read").len(), 2);
        assert_eq!(store.list(all(), NOW).await.expect("read").rows.len(), 2);
    };
    let answered = tokio::time::timeout(Duration::from_secs(20), others).await;
    drop(gate);
    answered.expect("they wait for no scan");
    for read in reads {
        read.await.expect("it ended").expect("read");
    }
}

fn all() -> crate::ListRequest {
    let filter = Filter::default();
    crate::ListRequest { filter, oldest_first: false, after: None, limit: 9 }
}

#[tokio::test]
async fn the_control_plane_writes_first_and_a_batch_takes_few_api_requests() {
    let folder = folder();
    let store = open(folder.path());
    let callers = store.callers();
    let written = Arc::new(Mutex::new(Vec::new()));
    let write = |by: &Sqlite, what: &'static str, gate: Option<&Gate>| {
        let (written, block) = (Arc::clone(&written), gate.map(Gate::block));
        let run = move |_: &mut Tx<'_>| {
            written.lock().push(what);
            block.iter().for_each(|block| block());
            Ok(())
        };
        let by = Sqlite { shared: Arc::clone(&by.shared), by: by.by };
        let weight = if by.by == By::Callers { 1_500 } else { 1 };
        tokio::spawn(async move { by.write("write", Kind::Durable, weight, run).await })
    };
    let most = store.shared.options.waiting_max as usize;
    // A command with a permit is sent, or is about to be: its task runs on this thread.
    let sent = async |by: &Sqlite, weight: usize| {
        while most - by.budget().room.available_permits() < weight {
            tokio::task::yield_now().await;
        }
    };
    let (first, second) = (Gate::new(), Gate::new());
    let mut writes = vec![write(&callers, "first", Some(&first))];
    first.wait_for(1).await;
    writes.push(write(&callers, "a caller's", Some(&second)));
    writes.push(write(&callers, "a caller's", None));
    writes.push(write(&callers, "a caller's", None));
    sent(&callers, 4 * 1_500).await;
    drop(first);
    // The weight of these API requests allows one in each batch.
    second.wait_for(1).await;
    writes.push(write(&store, "the control plane's", None));
    sent(&store, 1).await;
    drop(second);
    for write in writes {
        write.await.expect("it ended").expect("written");
    }
    let written = written.lock().clone();
    let expected = ["first", "a caller's", "the control plane's", "a caller's", "a caller's"];
    assert_eq!(written, expected);
}

async fn limit_pages(store: &Sqlite, pages: i64) {
    let limit = move |tx: &mut Tx<'_>| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        Ok(tx.conn.query_row(&sql, [], |_| Ok(()))?)
    };
    store.write("limit the file", Kind::Advisory, 1, limit).await.expect("limit");
}

#[tokio::test]
async fn a_full_disk_fails_writes_until_it_has_space_again() {
    let folder = folder();
    let store = open(folder.path());
    let big = JobSpec {
        args: serde_json::from_str(&format!("\"{}\"", "x".repeat(100_000))).expect("json"),
        ..spec()
    };
    let first = enqueue(&store, vec![big.clone()]).await;
    limit_pages(&store, 100).await;
    let failed = loop {
        match store.enqueue(vec![JobSpec { queue: name("new"), ..big.clone() }.into()], NOW).await {
            Ok(_) => {}
            Err(failed) => break failed,
        }
    };
    assert!(matches!(failed, StoreError::Full), "{failed:?}");
    // Existing jobs can still be claimed.
    assert_eq!(claim(&store, "video", 1, 1).await[0].dispatch.job, first[0]);
    limit_pages(&store, 1_000_000).await;
    let next = enqueue(&store, vec![big]).await;
    assert!(next[0] > first[0]);
    counts_are_right(&store).await;
    assert!(!*store.shared.failed.borrow());
}

#[tokio::test]
async fn a_failing_command_changes_neither_the_others_nor_the_cache() {
    let folder = folder();
    let store = open(folder.path());
    let new_lane = JobSpec { queue: name("other"), name: name("mail"), ..spec() };
    let fail = |tx: &mut Tx<'_>| -> DbResult<()> {
        tx.conn.execute("INSERT INTO queues (id, name) VALUES (1, 'twice')", [])?;
        tx.conn.execute("INSERT INTO queues (id, name) VALUES (1, 'twice')", [])?;
        Ok(())
    };
    let (before, failed, after) = tokio::join!(
        store.enqueue(vec![spec().into(), new_lane.clone().into()], NOW),
        store.write("fail", Kind::Durable, 1, fail),
        store.enqueue(vec![new_lane.into(), spec().into()], NOW),
    );
    assert_eq!(before.expect("before").len(), 2);
    assert!(matches!(failed, Err(StoreError::Backend { action: "fail", .. })), "{failed:?}");
    let last = after.expect("after");
    assert_eq!(last[1], Enqueued::New { id: JobId(4), status: JobStatus::Pending });
    counts_are_right(&store).await;
    assert_eq!(claim(&store, "mail", 1, 9).await.len(), 2);
    assert_eq!(claim(&store, "video", 11, 9).await.len(), 2);
    drop(store);
    counts_are_right(&open(folder.path())).await;
}

#[tokio::test]
async fn ids_and_unexpired_keys_outlive_their_jobs() {
    let folder = folder();
    let store = open(folder.path());
    let keyed = JobSpec { key: Some("k".to_owned()), ..spec() };
    let ids = enqueue(&store, vec![spec(), keyed.clone()]).await;
    for claimed in claim(&store, "video", 1, 2).await {
        let _ = end(&store, &claimed, OutcomeKind::Succeeded { result: Some(json_null()) }).await;
    }
    let all = PruneRequest { completed_before: LATER, others_before: LATER, limit: 9, chunks: 99 };
    assert_eq!(store.prune(all, term(&store).await).await.expect("prune").jobs, 2);
    drop(store);

    let store = open(folder.path());
    assert!(store.job(ids[1]).await.expect("read").is_none());
    let again =
        store.enqueue(vec![keyed.clone().into(), spec().into()], NOW).await.expect("enqueue");
    assert_eq!(again[0], Enqueued::Existing { id: ids[1], status: JobStatus::Completed });
    assert_eq!(again[1], Enqueued::New { id: JobId(3), status: JobStatus::Pending });
    let day_later = NOW.saturating_add(orx_model::limits::KEY_KEPT);
    let fresh = store.enqueue(vec![keyed.into()], day_later).await.expect("enqueue");
    assert_eq!(fresh, [Enqueued::New { id: JobId(4), status: JobStatus::Pending }]);
}

#[tokio::test]
async fn an_unreadable_job_fails_no_other() {
    let folder = folder();
    let store = open(folder.path());
    let keyed = |key: &str| JobSpec { key: Some(key.to_owned()), ..spec() };
    let ids =
        enqueue(&store, vec![keyed("a"), keyed("b"), keyed("c"), keyed("d"), keyed("e")]).await;
    let (cut, gone, odd) = (ids[1].0, ids[2].0, ids[3].0);
    let damage = move |tx: &mut Tx<'_>| {
        tx.conn.execute("UPDATE specs SET spec = '{' WHERE job = ?1", [cut])?;
        tx.conn.execute("DELETE FROM specs WHERE job = ?1", [gone])?;
        tx.conn.execute("UPDATE specs SET spec = CAST(x'ff' AS TEXT) WHERE job = ?1", [odd])?;
        Ok(())
    };
    store.write("damage", Kind::Durable, 1, damage).await.expect("damaged");

    let claimed = claim(&store, "video", 1, 5).await;
    let found: Vec<JobId> = claimed.iter().map(|claim| claim.dispatch.job).collect();
    assert_eq!(found, [ids[0], ids[4]]);
    let live = store.live_attempts().await.expect("read");
    let report = |index: usize, kind| {
        let live = live.iter().find(|live| live.job == ids[index]);
        let live = live.expect("the leader handles it as a lost dispatch");
        outcome_of(live.job, live.execution, kind)
    };
    let failed = || OutcomeKind::Failed { retryable: true, retry_after_ms: None };
    let never_started = |outcome| Outcome { started_at: None, ..outcome };
    let outcomes = vec![
        report(0, failed()),
        never_started(report(1, OutcomeKind::Interrupted)),
        report(2, failed()),
        report(3, failed()),
        report(4, OutcomeKind::Succeeded { result: None }),
    ];
    let recorded = store.record_outcomes(outcomes, vec![0.5; 5], NOW).await.expect("recorded");
    let statuses: Vec<JobStatus> = recorded.iter().map(applied).collect();
    use JobStatus::{Completed, Failed, Pending, Scheduled};
    assert_eq!(statuses, [Scheduled, Pending, Failed, Failed, Completed]);
    // No worker gets the unreadable job, and it fails in the end.
    let mut status = Pending;
    for execution in 10..40 {
        assert_eq!(claim(&store, "video", execution, 1).await.len(), 0);
        if status == Pending {
            let outcome = outcome_of(ids[1], ExecutionId(execution), OutcomeKind::Interrupted);
            let outcomes = vec![never_started(outcome)];
            let recorded = store.record_outcomes(outcomes, vec![0.5], NOW).await.expect("recorded");
            status = applied(&recorded[0]);
        }
    }
    assert_eq!(status, Failed);
    store.delete_dead_letters(ids).await.expect("deleted");
    let all = PruneRequest { completed_before: LATER, others_before: LATER, limit: 9, chunks: 9 };
    assert_eq!(store.prune(all, term(&store).await).await.expect("prune").jobs, 4);
    // Their keys are kept as long as those of other jobs.
    let over = NOW.saturating_add(orx_model::limits::KEY_KEPT);
    assert_eq!(store.forget_keys(over, 9, term(&store).await).await.expect("forgotten"), 4);
}

fn applied(recorded: &Recorded) -> JobStatus {
    match *recorded {
        Recorded::Applied { status, .. } => status,
        Recorded::Stale { .. } | Recorded::Missing => panic!("{recorded:?}"),
    }
}

#[tokio::test]
async fn a_panic_of_the_writer_fails_every_call() {
    let folder = folder();
    let store = open(folder.path());
    let panic = |_: &mut Tx<'_>| -> DbResult<()> { panic!("on purpose") };
    let (panicked, beside) = tokio::join!(
        store.write("panic", Kind::Durable, 1, panic),
        store.enqueue(vec![spec().into()], NOW),
    );
    assert!(matches!(panicked, Err(StoreError::Failed)), "{panicked:?}");
    assert!(matches!(beside, Err(StoreError::Failed)), "{beside:?}");
    store.failed().await;
    assert!(matches!(store.job(JobId(1)).await, Err(StoreError::Failed)));
}

#[tokio::test]
async fn the_pages_of_a_list_return_every_job_once() {
    let folder = folder();
    let store = open(folder.path());
    enqueue(&store, (0..20).map(|_| spec()).collect()).await;
    let claimed = claim(&store, "video", 1, 10).await;
    for claimed in claimed.iter().step_by(2) {
        let kind = OutcomeKind::Failed { retryable: false, retry_after_ms: None };
        let _ = end(&store, claimed, kind).await;
    }
    let filter = Filter {
        terms: vec![orx_model::filter::Term {
            negated: true,
            test: orx_model::filter::Test::Status([JobStatus::Completed].into()),
        }],
    };
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let request =
            crate::ListRequest { filter: filter.clone(), oldest_first: false, after, limit: 3 };
        let page = store.list(request, NOW).await.expect("list");
        found.extend(page.rows.iter().map(|job| job.id.0));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, (1..=20).rev().collect::<Vec<_>>());
    counts_are_right(&store).await;
}

/// Schema 1.
const FIRST: &str = include_str!("migrations/0001_first.sql");

#[tokio::test]
async fn opening_a_file_of_schema_1_migrates_every_row() {
    let folder = folder();
    let path = folder.path().join("orx.db");
    let old = Connection::open(&path).expect("open");
    old.execute_batch(FIRST).expect("schema 1");
    let tagged_spec = JobSpec { tags: tagged("acme"), ..spec() };
    let spec = serde_json::to_string(&tagged_spec).expect("json");
    let registration = r#"{"incarnation":"00000000000000000000000000000007","name":"w1","host":"h",
        "pid":1,"version":"0.1.0","offer":{},"slots":1,"started_at":"2026-01-01T00:00:00.000Z"}"#;
    old.execute_batch(
        "INSERT INTO queues VALUES (1, 'media');
         INSERT INTO lanes VALUES (1, 1, 'video', '{}');
         INSERT INTO counts VALUES (1, 1, 1), (1, 3, 1), (1, 5, 1);
         INSERT INTO jobs (id, status, urgency, lane, run_at, created_at) VALUES (1, 1, 2, 1, 5, 5);
         INSERT INTO jobs (id, status, urgency, lane, run_at, created_at, attempt, execution,
             worker, worker_name, claimed_at)
             VALUES (2, 3, 2, 1, 5, 5, 1, x'00000000000000000000000000000009',
                 x'00000000000000000000000000000007', 'w1', 6);
         INSERT INTO jobs (id, status, urgency, lane, run_at, created_at, attempt, finished_at)
             VALUES (3, 5, 2, 1, 5, 5, 1, 8);
         INSERT INTO attempts (job, number, execution, worker, worker_name, status, claimed_at,
             ended_at) VALUES (3, 1, x'00000000000000000000000000000008',
                 x'00000000000000000000000000000007', 'w1', 'succeeded', 6, 8);
         PRAGMA application_id = 0x4f525800;
         PRAGMA user_version = 1;",
    )
    .expect("its rows");
    for job in 1..=3 {
        old.execute("INSERT INTO specs VALUES (?1, ?2)", (job, &spec)).expect("its spec");
    }
    old.execute(
        "INSERT INTO workers (incarnation, name, registration, state, seen_at, hosted_by) \
         VALUES (?1, 'w1', ?2, 'running', 6, ?1)",
        (Incarnation(7).to_bytes(), registration),
    )
    .expect("its worker");
    drop(old);

    let store = open(folder.path());
    let live = store.live_attempts_of(vec![Incarnation(7)]).await.expect("read");
    assert_eq!(live.iter().map(|attempt| attempt.job.0).collect::<Vec<_>>(), [2]);
    let workers = crate::Workers::workers(&store, NOW).await.expect("read");
    assert_eq!(workers[0].report.hosted_by, Some(Incarnation(7)));
    // The worker registered without a secret, so the first secret that arrives becomes its own.
    let secret = |byte| orx_model::SecretHash([byte; 32]);
    let known = crate::Workers::worker_secret(&store, Incarnation(7)).await.expect("read");
    assert_eq!(known, None);
    let put = [1, 2].map(|byte| (secret(byte), workers[0].report.clone()));
    let put = crate::Workers::put_workers(&store, put.to_vec(), NOW).await.expect("put");
    assert_eq!(put, [crate::WorkerPut::Kept(None), crate::WorkerPut::OtherSecret]);
    let job = store.job(JobId(2)).await.expect("read").expect("the job");
    assert_eq!(job.state.ends, orx_model::job::AttemptCounts::default());
    let ended = store.attempts(JobId(3)).await.expect("read");
    assert_eq!((ended[0].epoch, ended[0].status), (0, orx_model::AttemptStatus::Succeeded));
    assert_eq!(claim(&store, "video", 20, 5).await.len(), 1);
    assert_eq!(enqueue(&store, vec![tagged_spec]).await, [JobId(4)]);
    // A list finds jobs from before the migration too.
    assert_eq!(listed(&store, "tag.tenant:acme").await, [4, 3, 2, 1]);
    assert_eq!(listed(&store, "name:video status:completed").await, [3]);
    counts_are_right(&store).await;
}

#[test]
fn new_values_do_not_prepare_a_statement_again() {
    let folder = folder();
    let store = open(folder.path());
    let conn = super::open::reader(&store.shared.options.path).expect("a reader");
    let sql = "SELECT id FROM jobs WHERE status = 0 AND status <> 5 AND id < ?1 ORDER BY id DESC LIMIT ?2";
    let mut statement = conn.prepare(sql).expect("a statement");
    for after in [1, i64::MAX, 1] {
        let mut rows = statement.query([after, 2]).expect("a query");
        assert!(rows.next().expect("an answer").is_none());
    }
    assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
}

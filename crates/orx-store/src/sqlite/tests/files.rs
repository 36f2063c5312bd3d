//! Files of a store: opened, copied, damaged, killed, migrated.

use super::*;

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
    let home = crate::StoreCopy::home(&store).await.expect("read");
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

/// Schema 1.
const FIRST: &str = include_str!("../migrations/0001_first.sql");

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
    assert_eq!(put, [crate::WorkerPut::Stored(None), crate::WorkerPut::OtherSecret]);
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

//! Commands and syncs of the writer, and reads beside them.

use super::*;

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
        tokio::spawn(async move { by.write("write", WriteKind::Durable, weight, run).await })
    };
    let most = store.shared.options.waiting_max as usize;
    // A command with a permit is sent, or is about to be: its task runs on this thread.
    let sent = async |by: &Sqlite, weight: usize| {
        while most - by.budget().permits.available_permits() < weight {
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
    store.write("limit the file", WriteKind::Advisory, 1, limit).await.expect("limit");
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
        store.write("fail", WriteKind::Durable, 1, fail),
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
async fn a_panic_of_the_writer_fails_every_call() {
    let folder = folder();
    let store = open(folder.path());
    let panic = |_: &mut Tx<'_>| -> DbResult<()> { panic!("on purpose") };
    let (panicked, beside) = tokio::join!(
        store.write("panic", WriteKind::Durable, 1, panic),
        store.enqueue(vec![spec().into()], NOW),
    );
    assert!(matches!(panicked, Err(StoreError::Failed)), "{panicked:?}");
    assert!(matches!(beside, Err(StoreError::Failed)), "{beside:?}");
    store.failed().await;
    assert!(matches!(store.job(JobId(1)).await, Err(StoreError::Failed)));
}

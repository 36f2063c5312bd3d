//! Opens a store: locks the file, opens connections, migrates the schema.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use rustix::fs::{FlockOperation, flock, statfs};

use crate::{Result, StoreError};

/// `ORX\0`: marks a file as a store.
const APPLICATION_ID: i32 = 0x4f52_5800;
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_cluster.sql"),
    include_str!("migrations/0003_schedules.sql"),
    include_str!("migrations/0004_zones.sql"),
    include_str!("migrations/0005_worker_secrets.sql"),
    include_str!("migrations/0006_server_lost.sql"),
    include_str!("migrations/0007_home.sql"),
    include_str!("migrations/0008_lists.sql"),
    include_str!("migrations/0009_dependencies.sql"),
    include_str!("migrations/0010_queue_pauses.sql"),
    include_str!("migrations/0011_audit.sql"),
    include_str!("migrations/0012_priority_rank.sql"),
    include_str!("migrations/0013_node_drain.sql"),
    include_str!("migrations/0014_operations.sql"),
    include_str!("migrations/0015_causes.sql"),
];
pub(super) const SCHEMA: u32 = MIGRATIONS.len() as u32;

/// `statfs` type of NFS, where neither file locks nor the shared memory of the log are reliable.
const NFS_MAGIC: i64 = 0x6969;
const STATEMENTS: usize = 128;
const WRITER_CACHE_KIB: i64 = 16 * 1024;
const READER_CACHE_KIB: i64 = 8 * 1024;
const LOG_LIMIT_BYTES: i64 = 64 * 1024 * 1024;
/// Time to wait for a lock. Only checkpoints and the first steps of readers hold one.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// The lock of a store; dropping it, or any end of the process, releases it. Drop it only after the last
/// connection: closing a file releases all `fcntl` locks that the process holds on it, including those
/// of SQLite.
#[derive(Debug)]
pub(super) struct StoreLock {
    _beside: File,
    /// The database itself: it may have other names, and the lock file may be deleted.
    _database: File,
}

pub(super) fn lock(path: &Path) -> Result<StoreLock> {
    let folder = folder_of(path);
    let failed =
        |source: std::io::Error| StoreError::Open { store: shown(path), source: source.into() };
    if statfs(&folder).map_err(|error| failed(error.into()))?.f_type as i64 == NFS_MAGIC {
        let text = "it is on NFS, where file locks are unreliable: use a local disk";
        return Err(failed(std::io::Error::other(text)));
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = private(&PathBuf::from(beside)).map_err(failed)?;
    let held = || StoreError::Held { store: shown(&folder) };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(held()),
        Err(error) => return Err(failed(error.into())),
    }
    // Job arguments may be secret. SQLite gives the log and its index the permissions of this file.
    let database = private(path).map_err(failed)?;
    match flock(&database, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(StoreLock { _beside: file, _database: database }),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            // This process may have it open under another name; closing would release SQLite's locks.
            std::mem::forget(database);
            Err(held())
        }
        Err(error) => Err(failed(error.into())),
    }
}

/// Opens the file, which [`lock`] created, for the writer, and migrates its schema.
pub(super) fn writer(path: &Path) -> Result<Connection> {
    let failed = |error| open_error(path, error);
    let mut conn = connect(path).map_err(failed)?;
    reject_other_files(path, &conn)?;
    prepare(&conn, WRITER_CACHE_KIB).map_err(failed)?;
    conn.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    // The writer checkpoints the log itself, after it has replied.
    conn.pragma_update(None, "wal_autocheckpoint", 0).map_err(failed)?;
    conn.pragma_update(None, "journal_size_limit", LOG_LIMIT_BYTES).map_err(failed)?;
    migrate(path, &mut conn)?;
    // Syncs the file's entry in its folder.
    if let Ok(folder) = File::open(folder_of(path)) {
        folder
            .sync_all()
            .map_err(|error| StoreError::Open { store: shown(path), source: error.into() })?;
    }
    Ok(conn)
}

pub(super) fn reader(path: &Path) -> Result<Connection> {
    let open = || {
        let conn = connect(path)?;
        prepare(&conn, READER_CACHE_KIB)?;
        conn.pragma_update(None, "query_only", true)?;
        Ok(conn)
    };
    open().map_err(|error| open_error(path, error))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Rust guarantees that one thread at a time uses a connection.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(LOCK_WAIT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // Without this, SQLite prepares a statement anew for each new bound of a range (`id < ?1`), which
    // takes longer than running it (https://www.sqlite.org/queryplanner-ng.html#qpstab).
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(conn)
}

fn prepare(conn: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        tracing::warn!(mode, "SQLite keeps no write-ahead log for the store");
    }
    conn.pragma_update(None, "cache_size", -cache_kib)?;
    conn.pragma_update(None, "temp_store", "MEMORY")
}

/// Checks, before any change, that the file is a store with a known schema.
fn reject_other_files(path: &Path, conn: &Connection) -> Result<()> {
    let number = |sql: &str| {
        conn.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| open_error(path, error))
    };
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let owner = number("PRAGMA application_id")?;
    let found = number("PRAGMA user_version")?;
    if tables > 0 && owner != i64::from(APPLICATION_ID) {
        let detail = "it is the database of another program".to_owned();
        return Err(StoreError::Damaged { store: shown(path), detail });
    }
    if found > i64::from(SCHEMA) {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(StoreError::NewerSchema { store: shown(path), found, known: SCHEMA });
    }
    Ok(())
}

/// See [`crate::sqlite_store_id`].
pub(super) fn store_id(path: &Path) -> Option<String> {
    let conn = connect(path).ok()?;
    conn.query_row("SELECT value FROM home WHERE key = 'id'", [], |row| row.get(0)).ok()
}

fn migrate(path: &Path, conn: &mut Connection) -> Result<()> {
    let mut run = || {
        let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let found = usize::try_from(found).unwrap_or(0);
        if found >= MIGRATIONS.len() {
            return Ok(());
        }
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for migration in &MIGRATIONS[found..] {
            tx.execute_batch(migration)?;
        }
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", SCHEMA)?;
        tx.commit()
    };
    run().map_err(|error| open_error(path, error))
}

pub(super) fn open_error(path: &Path, error: rusqlite::Error) -> StoreError {
    let store = shown(path);
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { store, detail: error.to_string() }
        }
        Some(ErrorCode::DiskFull) => StoreError::Full,
        // On a full disk SQLite cannot create the shared memory file, and reports that as an I/O error.
        Some(ErrorCode::SystemIoFailure) if disk_is_full(&folder_of(path)) => StoreError::Full,
        _ => StoreError::Open { store, source: error.into() },
    }
}

fn disk_is_full(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|found| found.f_bavail == 0)
}

/// The path as errors show it.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

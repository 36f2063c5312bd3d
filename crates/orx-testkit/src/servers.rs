//! Real database servers for tests: databases on the server that `tests/run` starts, and servers that
//! one test owns and may kill and restart.
//!
//! A test that needs a server and has none fails and states how to start one. It is never skipped.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

/// Time limit for a server to start.
const START_MAX: Duration = Duration::from_secs(30);
/// Time limit for sessions to reach a lock wait, on a busy machine.
const LOCK_WAITS_MAX: Duration = Duration::from_secs(60);

/// URL of the server of this test run, without a database.
///
/// # Panics
/// Where `ORX_TEST_PG` is not set.
#[must_use]
pub fn shared() -> String {
    std::env::var("ORX_TEST_PG").unwrap_or_else(|_| {
        panic!("no PostgreSQL to test with: `ORX_TEST_PG` is not set. `tests/run` starts one.")
    })
}

/// URL of a pgbouncer in front of [`shared`], in transaction mode: each transaction may run on another
/// session.
///
/// # Panics
/// Where `ORX_TEST_PGBOUNCER` is not set.
#[must_use]
pub fn bouncer() -> String {
    std::env::var("ORX_TEST_PGBOUNCER").unwrap_or_else(|_| {
        panic!(
            "no pgbouncer to test with: `ORX_TEST_PGBOUNCER` is not set. `tests/run` starts one."
        )
    })
}

/// As [`bouncer`], without support for prepared statements.
///
/// # Panics
/// Where `ORX_TEST_PGBOUNCER_FORGETFUL` is not set.
#[must_use]
pub fn forgetful_bouncer() -> String {
    std::env::var("ORX_TEST_PGBOUNCER_FORGETFUL").unwrap_or_else(|_| {
        panic!(
            "no pgbouncer to test with: `ORX_TEST_PGBOUNCER_FORGETFUL` is not set. `tests/run` starts one."
        )
    })
}

/// Path of a PostgreSQL program, of the newest installed version.
///
/// # Panics
/// Where none is installed.
#[must_use]
pub fn pg_program(name: &str) -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = installed.map(|it| it.path().join("bin").join(name)).collect();
    found.extend(std::env::var_os("ORX_TEST_PG_BIN").map(|it| Path::new(&it).join(name)));
    found.retain(|path| path.exists());
    found.sort();
    found.pop().unwrap_or_else(|| {
        panic!("`{name}` was not found: install postgresql (`tests/run` does it as root)")
    })
}

/// Runs SQL on a new connection and returns the first column of the rows as text.
///
/// # Panics
/// Where the server does not answer or rejects it.
pub async fn run(url: &str, sql: &str) -> Vec<String> {
    let mut conn = PgConnection::connect(url).await.expect("a connection");
    let rows = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut conn).await;
    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
    drop(conn.close().await);
    let text = |row: &sqlx::postgres::PgRow| match row.try_get_raw(0) {
        Ok(value) => value.as_str().unwrap_or_default().to_owned(),
        Err(_) => String::new(),
    };
    rows.iter().map(text).collect()
}

/// A new, empty database; dropping this drops the database.
pub struct TestDatabase {
    server: String,
    name: String,
}

/// A tablespace on a small disk that a test can fill. The write-ahead log is on another disk, so a full
/// tablespace stops writes to tables and nothing else.
pub struct SmallTablespace {
    name: String,
    disk: tempfile::TempDir,
}

impl SmallTablespace {
    /// Mounts a disk of `megabytes` and creates the tablespace on the server at this URL.
    ///
    /// # Panics
    /// Where the process may not mount.
    pub async fn on(server: &str, megabytes: u32) -> Self {
        let disk = folder();
        let size = format!("size={megabytes}m,mode=0777");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(disk.path());
        assert!(mount.status().expect("mount").success(), "to mount a disk takes root");
        let place = disk.path().join("space");
        let made = unprivileged(Path::new("mkdir")).args(["-m", "0700"]).arg(&place).status();
        assert!(made.expect("mkdir").success(), "no folder on the disk");
        let name = format!("small_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let create = format!("create tablespace {name} location '{}'", place.display());
        run(&format!("{server}/postgres"), &create).await;
        Self { name, disk }
    }

    /// Moves the tables of this database to the tablespace.
    pub async fn take(&self, database: &TestDatabase) {
        let alter = format!("alter database {} set tablespace {}", database.name, self.name);
        run(&format!("{}/postgres", database.server), &alter).await;
    }

    /// Fills the disk with one file and returns its path.
    ///
    /// # Panics
    /// Where the file cannot be created.
    #[must_use]
    pub fn fill(&self) -> std::path::PathBuf {
        use std::io::Write as _;
        let path = self.disk.path().join("filler");
        let mut file = File::create(&path).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for SmallTablespace {
    fn drop(&mut self) {
        // The server may have ended already, or not yet.
        let _ = Command::new("umount").arg("-l").arg(self.disk.path()).output();
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(1);

impl TestDatabase {
    /// Creates a database on the server of this test run.
    ///
    /// # Panics
    /// Where there is no server.
    pub async fn new() -> Self {
        Self::on(&shared()).await
    }

    /// Creates a database on the server at this URL.
    ///
    /// # Panics
    /// Where the server rejects it.
    pub async fn on(server: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("orx_{}_{number}", std::process::id());
        let create = format!("create database {name} template template0 encoding 'UTF8'");
        run(&format!("{server}/postgres"), &create).await;
        Self { server: server.to_owned(), name }
    }

    /// The URL of the database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    /// The name of the database: unique in this test run.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of the database through another server in front of this one, such as a proxy.
    #[must_use]
    pub fn url_by(&self, server: &str) -> String {
        format!("{server}/{}", self.name)
    }

    /// Runs SQL in the database, as [`run`].
    pub async fn run(&self, sql: &str) -> Vec<String> {
        run(&self.url(), sql).await
    }

    /// Locks a table against writes until the returned connection is dropped.
    ///
    /// # Panics
    /// Where there is no such table.
    pub async fn hold_writes(&self, table: &str) -> PgConnection {
        let mut conn = PgConnection::connect(&self.url()).await.expect("a connection");
        let hold = format!("begin; lock table {table} in exclusive mode");
        sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut conn).await.expect("a lock");
        conn
    }

    /// Returns once at least `sessions` sessions wait for a lock.
    ///
    /// # Panics
    /// Where that takes more than a minute.
    pub async fn lock_waits(&self, sessions: usize) {
        const WAITING: &str = "select 1 from pg_stat_activity where \
                               datname = current_database() and wait_event_type = 'Lock'";
        let began = Instant::now();
        while self.run(WAITING).await.len() < sessions {
            assert!(began.elapsed() < LOCK_WAITS_MAX, "fewer than {sessions} wait for locks");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for TestDatabase {
    /// Uses another thread, because this one may be inside a runtime.
    fn drop(&mut self) {
        let url = format!("{}/postgres", self.server);
        let sql = format!("drop database if exists {} with (force)", self.name);
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                // The server may have ended before its databases.
                if let Ok(mut conn) = PgConnection::connect(&url).await {
                    drop(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await);
                }
            });
        });
        drop(dropping.join());
    }
}

/// A TCP port of 127.0.0.1 that was free a moment ago.
///
/// # Panics
/// Where no port is free.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Runs the program as `nobody` where this process is root: PostgreSQL and pgbouncer do not run as root.
fn unprivileged(program: &Path) -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
        return command;
    }
    Command::new(program)
}

/// A temporary folder that the servers' user may write to.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::Builder::new().prefix("orx-pg-").tempdir().expect("a folder");
    let path = folder.path();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).expect("its rights");
    folder
}

/// A child process; dropping this kills it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A PostgreSQL server that one test owns; dropping this kills it.
pub struct OwnPostgres {
    folder: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
    process: Option<Process>,
}

impl OwnPostgres {
    /// Starts a primary with the default settings.
    ///
    /// # Panics
    /// Where the server does not start in time.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[], false)
    }

    /// Starts a server with settings such as `fsync=off`, optionally as a read-only replica without a
    /// primary.
    ///
    /// # Panics
    /// Where the server does not start in time.
    #[must_use]
    pub fn start_with(settings: &[&str], replica: bool) -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        let made = unprivileged(&pg_program("initdb"))
            .args(["-U", "orx", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(made.expect("initdb").success(), "initdb failed");
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut server = Self { folder, port: free_port(), settings, process: None };
        server.restart();
        if replica {
            // A replica accepts reads only after it has replayed something, as after a kill.
            server.kill();
            let signal = server.folder.path().join("data/standby.signal");
            let touched = unprivileged(Path::new("touch")).arg(signal).status();
            assert!(touched.expect("touch").success(), "no standby.signal");
            server.restart();
        }
        server
    }

    /// The URL of the server, without a database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://orx@127.0.0.1:{}", self.port)
    }

    /// The TCP port, which stays the same over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the whole server, as `kill -9`.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Kills the process of one session, as `kill -9`: the server ends all other sessions and goes
    /// through recovery. `false` where there is no session.
    #[must_use]
    pub fn kill_session(&self) -> bool {
        let is_session = |pid: &u32| {
            let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            title.starts_with(b"postgres: orx ")
        };
        let session = self.children().into_iter().find(is_session);
        session.is_some_and(|pid| send("KILL", &[pid]))
    }

    /// Kills the server where it runs, and starts it on the same data and port.
    ///
    /// # Panics
    /// Where the server does not start in time.
    pub fn restart(&mut self) {
        self.process = None;
        let log = self.folder.path().join("log");
        let log = File::options().create(true).append(true).open(log).expect("its log");
        let until = Instant::now() + START_MAX;
        loop {
            let child = unprivileged(&pg_program("postgres"))
                .arg("-D")
                .arg(self.folder.path().join("data"))
                .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"])
                .args(["-c", "unix_socket_directories=", "-c", "max_connections=60"])
                .args(self.settings.iter().flat_map(|setting| ["-c", setting]))
                .stdout(log.try_clone().expect("its log"))
                .stderr(log.try_clone().expect("its log"))
                .spawn();
            let mut process = Process(child.expect("postgres"));
            while Instant::now() < until && matches!(process.0.try_wait(), Ok(None)) {
                if self.is_ready() {
                    self.process = Some(process);
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            // After a kill the other processes of the server end a moment later; until then a new one
            // does not start.
            assert!(Instant::now() < until, "the server did not come up: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Suspends the server and all its processes: connections stay open, and nothing answers.
    ///
    /// # Panics
    /// Where the server does not run.
    pub fn freeze(&self) {
        // The server first, so that it starts no other process meanwhile.
        let stopped = send("STOP", &[self.pid()]) && send("STOP", &self.children());
        assert!(stopped, "the server was not stopped: {}", self.log());
    }

    /// Resumes the server after [`Self::freeze`].
    ///
    /// # Panics
    /// Where the server does not run.
    pub fn thaw(&self) {
        let goes_on = send("CONT", &self.children()) && send("CONT", &[self.pid()]);
        assert!(goes_on, "the server does not go on: {}", self.log());
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").0.id()
    }

    /// The processes of sessions and of background work.
    fn children(&self) -> Vec<u32> {
        let server = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
        children.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    fn is_ready(&self) -> bool {
        let asked = Command::new(pg_program("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
            .status();
        asked.is_ok_and(|status| status.success())
    }

    /// The server's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// A TCP proxy in front of a server that loses data on request; dropping this closes it to new
/// connections.
pub struct Proxy {
    port: u16,
    state: Arc<ProxyState>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct ProxyState {
    drop_answers: AtomicBool,
    swallow: AtomicBool,
}

impl Proxy {
    /// Starts a proxy in front of a server such as [`shared`].
    ///
    /// # Panics
    /// Where no port is free.
    pub async fn start(server: &str) -> Self {
        let to = server.rsplit('@').next().unwrap_or_default().to_owned();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let state = Arc::new(ProxyState::default());
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (state, to) = (Arc::clone(&shared), to.clone());
                tokio::spawn(async move {
                    let Ok(server) = tokio::net::TcpStream::connect(to).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let asks = carry(from_client, to_server, Arc::clone(&state), false);
                    tokio::join!(asks, carry(from_server, to_client, state, true));
                });
            }
        });
        Self { port, state, accepting }
    }

    /// The URL of the server, without a database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://orx@127.0.0.1:{}", self.port)
    }

    /// While set, answers of the server are lost and requests get through.
    pub fn drop_answers(&self, drops: bool) {
        self.state.drop_answers.store(drops, Ordering::SeqCst);
    }

    /// While set, data is lost both ways and connections stay open.
    pub fn swallow(&self, swallows: bool) {
        self.state.swallow.store(swallows, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    state: Arc<ProxyState>,
    answers: bool,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (mut buffer, mut lost) = (vec![0; 64 * 1024], false);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        lost |= state.swallow.load(Ordering::SeqCst);
        lost |= answers && state.drop_answers.load(Ordering::SeqCst);
        // A stream with a gap is useless, so the rest of it is lost too.
        if !lost && to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        // Suspended processes would not notice that the server has ended.
        if self.process.is_some() {
            send("CONT", &self.children());
        }
    }
}

fn send(signal: &str, to: &[u32]) -> bool {
    let to: Vec<String> = to.iter().map(u32::to_string).collect();
    let kill = format!("kill -{signal} {}", to.join(" "));
    let sent = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
    sent.is_ok_and(|status| status.success())
}

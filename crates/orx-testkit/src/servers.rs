//! Real database servers for tests: databases of the one that `tests/run` starts, and servers of a
//! test's own, to be killed and started again.
//!
//! A test that needs a server and has none fails, and says how to get it. It is never skipped.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

/// How long a server may take to answer.
const START_MAX: Duration = Duration::from_secs(30);
/// How long those who are to wait for a lock may take to come to it, on a busy machine.
const LOCK_WAITS_MAX: Duration = Duration::from_secs(60);

/// The server of this test run, without a database.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn shared() -> String {
    std::env::var("ORX_TEST_PG").unwrap_or_else(|_| {
        panic!("no PostgreSQL to test with: `ORX_TEST_PG` is not set. `tests/run` starts one.")
    })
}

/// A proxy in front of [`shared`] that gives each transaction any of a few sessions.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn bouncer() -> String {
    std::env::var("ORX_TEST_PGBOUNCER").unwrap_or_else(|_| {
        panic!(
            "no pgbouncer to test with: `ORX_TEST_PGBOUNCER` is not set. `tests/run` starts one."
        )
    })
}

/// As [`bouncer`], but it keeps no prepared statements.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn forgetful_bouncer() -> String {
    std::env::var("ORX_TEST_PGBOUNCER_FORGETFUL").unwrap_or_else(|_| {
        panic!(
            "no pgbouncer to test with: `ORX_TEST_PGBOUNCER_FORGETFUL` is not set. `tests/run` starts one."
        )
    })
}

/// A program of PostgreSQL, of the newest version there is.
///
/// # Panics
/// Where there is none.
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

/// Runs a statement by itself, on a connection of its own, and gives the first column as text.
///
/// # Panics
/// Where the server refuses it.
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

/// A new, empty database, dropped with this.
pub struct Database {
    server: String,
    name: String,
}

/// Where databases may be made whose disk a test can fill: a tablespace. What the server logs of its
/// writes stands elsewhere, as it should wherever a full disk is to stop nothing but writes.
pub struct SmallTablespace {
    name: String,
    disk: tempfile::TempDir,
}

impl SmallTablespace {
    /// # Panics
    /// Where nothing may be mounted.
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

    /// What of the tables of that database is written from now on is written there.
    pub async fn take(&self, database: &Database) {
        let alter = format!("alter database {} set tablespace {}", database.name, self.name);
        run(&format!("{}/postgres", database.server), &alter).await;
    }

    /// The file that takes what room there is.
    ///
    /// # Panics
    /// Where it cannot be made.
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
        // The server may be gone before it, or after it.
        let _ = Command::new("umount").arg("-l").arg(self.disk.path()).output();
    }
}

static NUMBER: AtomicU32 = AtomicU32::new(1);

impl Database {
    /// On the server of this test run.
    ///
    /// # Panics
    /// Where there is no server.
    pub async fn new() -> Self {
        Self::on(&shared()).await
    }

    /// # Panics
    /// Where the server refuses it.
    pub async fn on(server: &str) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("orx_{}_{number}", std::process::id());
        let create = format!("create database {name} template template0 encoding 'UTF8'");
        run(&format!("{server}/postgres"), &create).await;
        Self { server: server.to_owned(), name }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Through another server in front of this one, such as a proxy.
    #[must_use]
    pub fn url_by(&self, server: &str) -> String {
        format!("{server}/{}", self.name)
    }

    /// Runs statements in it.
    pub async fn run(&self, sql: &str) -> Vec<String> {
        run(&self.url(), sql).await
    }

    /// Nothing is written to that table until what is given back is dropped.
    ///
    /// # Panics
    /// Where there is no such table.
    pub async fn hold_writes(&self, table: &str) -> PgConnection {
        let mut conn = PgConnection::connect(&self.url()).await.expect("a connection");
        let hold = format!("begin; lock table {table} in exclusive mode");
        sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut conn).await.expect("a lock");
        conn
    }

    /// Until so many sessions wait for what others hold.
    ///
    /// # Panics
    /// Where they do not within a minute.
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

impl Drop for Database {
    /// In a thread of its own: this one may be in the middle of a runtime.
    fn drop(&mut self) {
        let url = format!("{}/postgres", self.server);
        let sql = format!("drop database if exists {} with (force)", self.name);
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                // The server may be gone before its databases.
                if let Ok(mut conn) = PgConnection::connect(&url).await {
                    drop(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await);
                }
            });
        });
        drop(dropping.join());
    }
}

/// A port that was free a moment ago.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// As root, PostgreSQL and its proxy refuse to run: they run as nobody then.
fn unprivileged(program: &Path) -> Command {
    if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program);
        return command;
    }
    Command::new(program)
}

/// A folder that the one who runs the servers owns, gone with this.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::Builder::new().prefix("orx-pg-").tempdir().expect("a folder");
    let path = folder.path();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).expect("its rights");
    folder
}

/// A process, killed with this.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A server of a test's own.
pub struct OwnPostgres {
    folder: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
    process: Option<Process>,
}

impl OwnPostgres {
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[], false)
    }

    /// With settings such as `fsync=off`; or as a replica, whose primary is away.
    ///
    /// # Panics
    /// Where it does not come up.
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
            // Only what was killed has something to replay, and so becomes one that can be read.
            server.kill();
            let signal = server.folder.path().join("data/standby.signal");
            let touched = unprivileged(Path::new("touch")).arg(signal).status();
            assert!(touched.expect("touch").success(), "no standby.signal");
            server.restart();
        }
        server
    }

    /// Without a database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://orx@127.0.0.1:{}", self.port)
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As by `kill -9`, which takes the whole server with it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// As by `kill -9` of the process of one session: the server ends all the others, and goes through
    /// recovery. `false` where there is no session.
    #[must_use]
    pub fn kill_session(&self) -> bool {
        let is_session = |pid: &u32| {
            let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            title.starts_with(b"postgres: orx ")
        };
        let session = self.children().into_iter().find(is_session);
        session.is_some_and(|pid| send("KILL", &[pid]))
    }

    /// # Panics
    /// Where it does not come up.
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
            // After a kill, its other processes notice within a moment; until then a new one refuses
            // to start.
            assert!(Instant::now() < until, "the server did not come up: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops the server and all its processes: it takes what comes, and answers nothing.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn freeze(&self) {
        // First the server, so that none of the others comes or goes any more.
        let stopped = send("STOP", &[self.pid()]) && send("STOP", &self.children());
        assert!(stopped, "the server was not stopped: {}", self.log());
    }

    /// Lets it go on after [`Self::freeze`].
    ///
    /// # Panics
    /// Where it does not run.
    pub fn thaw(&self) {
        let goes_on = send("CONT", &self.children()) && send("CONT", &[self.pid()]);
        assert!(goes_on, "the server does not go on: {}", self.log());
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").0.id()
    }

    /// The processes of its sessions, and those that work for all.
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

    /// What it wrote into its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// A network that can fail: what it is told to, between a client and a server.
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
    /// In front of a server such as [`shared`].
    ///
    /// # Panics
    /// Where there is no port.
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

    /// Without a database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://orx@127.0.0.1:{}", self.port)
    }

    /// What the server says is lost; what it is asked comes through.
    pub fn drop_answers(&self, drops: bool) {
        self.state.drop_answers.store(drops, Ordering::SeqCst);
    }

    /// All is lost, both ways, and nobody is told.
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
        // Once something of it is lost, nothing of a stream makes sense any more.
        if !lost && to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        // Those that stand still would not notice that the server is gone.
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

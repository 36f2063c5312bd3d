//! A server of the measurement, with a client that speaks just enough HTTP.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Failed;

/// Most jobs of one request.
const BATCH: usize = 50_000;
/// A job that does nothing is accepted, dispatched, started and completed.
const EVENTS_OF_A_JOB: f64 = 4.0;

/// A running `orx daemon server`, ended when dropped, with a folder of its own.
pub(crate) struct Server {
    pub(crate) orx: PathBuf,
    folder: PathBuf,
    child: Child,
    address: String,
    token: String,
}

impl Server {
    pub(crate) fn start(orx: &Path) -> Result<Self, Failed> {
        let folder = std::env::temp_dir().join(format!("orx-top-speed.{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let log = std::fs::File::create(folder.join("log"))?;
        let mut command = Command::new(orx);
        command.args(["daemon", "server", "--listen", "127.0.0.1:0"]);
        command.stdout(Stdio::null()).stderr(log);
        command.envs(environment(&folder));
        command.env_remove("ORX_URL").env_remove("ORX_TOKEN");
        let child = command.spawn()?;
        let address = folder.join("state/server.json");
        let until = Instant::now() + Duration::from_secs(60);
        while !address.exists() {
            if Instant::now() > until {
                return Err(format!("no server: see `{}`", folder.join("log").display()).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let found: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&address)?)?;
        let url = found["url"].as_str().unwrap_or_default();
        let address = url.trim_start_matches("http://").to_owned();
        let token = std::fs::read_to_string(folder.join("state/token"))?.trim().to_owned();
        Ok(Self { orx: orx.to_owned(), folder, child, address, token })
    }

    /// The variables with which commands find the server.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        environment(&self.folder)
    }

    /// A file in the folder in which the jobs of the server run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.orx);
        command.args(args).current_dir(&self.folder).env_remove("ORX_URL").env_remove("ORX_TOKEN");
        command.envs(self.environment());
        command
    }

    pub(crate) fn connect(&self) -> Result<Connection, Failed> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        let head = format!("host: {}\r\nauthorization: Bearer {}\r\n", self.address, self.token);
        Ok(Connection { read: BufReader::new(stream.try_clone()?), write: stream, head })
    }

    /// Enqueues jobs that nobody can run. Four of them have the name `needle`.
    pub(crate) fn fill(&self, jobs: usize) -> Result<(), Failed> {
        let line = "{\"name\":\"nobody\",\"queue\":\"backlog\",\"priority\":\"low\"}\n";
        let needle = line.replace("nobody", "needle");
        let mut connection = self.connect()?;
        let (every, mut made) = ((jobs / 4).max(1), 0);
        while made < jobs {
            let count = BATCH.min(jobs - made);
            let mut body = String::with_capacity(line.len() * count);
            for index in made..made + count {
                body.push_str(if index % every == every / 2 { &needle } else { line });
            }
            connection.post("/api/v1/jobs/batch", &body, "application/x-ndjson")?;
            made += count;
        }
        Ok(())
    }
}

fn environment(folder: &Path) -> Vec<(&'static str, String)> {
    let folder = folder.display();
    vec![("ORX_STATE", format!("{folder}/state")), ("HOME", folder.to_string())]
}

impl Drop for Server {
    fn drop(&mut self) {
        // What fails here has ended by itself, or is left to the system's temporary files.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// One connection that is kept open.
pub(crate) struct Connection {
    read: BufReader<TcpStream>,
    write: TcpStream,
    head: String,
}

impl Connection {
    pub(crate) fn post(&mut self, path: &str, body: &str, kind: &str) -> Result<Vec<u8>, Failed> {
        let head = format!(
            "POST {path} HTTP/1.1\r\n{}content-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            self.head,
            body.len()
        );
        self.write.write_all(head.as_bytes())?;
        self.write.write_all(body.as_bytes())?;
        let mut line = String::new();
        self.read.read_line(&mut line)?;
        let status = line.clone();
        let (mut length, mut chunked) = (0, false);
        loop {
            line.clear();
            self.read.read_line(&mut line)?;
            let header = line.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            chunked |= header == "transfer-encoding: chunked";
        }
        let mut answer = Vec::new();
        if chunked {
            loop {
                line.clear();
                self.read.read_line(&mut line)?;
                let count = usize::from_str_radix(line.trim(), 16)?;
                let mut piece = vec![0; count + 2];
                self.read.read_exact(&mut piece)?;
                if count == 0 {
                    break;
                }
                answer.extend_from_slice(&piece[..count]);
            }
        } else {
            answer.resize(length, 0);
            self.read.read_exact(&mut answer)?;
        }
        if !status.contains(" 20") {
            let shown = String::from_utf8_lossy(&answer).into_owned();
            return Err(format!("{path}: {}{shown}", status.trim()).into());
        }
        Ok(answer)
    }
}

/// Jobs that do nothing, enqueued a few at a time at a steady rate, until dropped.
pub(crate) struct Flow {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    began: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Flow {
    pub(crate) fn start(server: &Server, events_per_second: u32) -> Result<Self, Failed> {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&made));
        let mut connection = server.connect()?;
        let rate = f64::from(events_per_second) / EVENTS_OF_A_JOB;
        let began = Instant::now();
        let thread = std::thread::spawn(move || {
            let line = "{\"name\":\"orx.noop\",\"queue\":\"flow\"}\n";
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                let due = (began.elapsed().as_secs_f64() * rate) as u64;
                let missing = due.saturating_sub(counted.load(Ordering::Relaxed));
                if missing == 0 {
                    continue;
                }
                let body = line.repeat(missing as usize);
                if connection.post("/api/v1/jobs/batch", &body, "application/x-ndjson").is_err() {
                    return;
                }
                counted.fetch_add(missing, Ordering::Relaxed);
            }
        });
        Ok(Self { stop, made, began, thread: Some(thread) })
    }

    /// Events per second since the start, by the jobs that were accepted.
    pub(crate) fn rate(&self) -> f64 {
        self.made.load(Ordering::Relaxed) as f64 * EVENTS_OF_A_JOB
            / self.began.elapsed().as_secs_f64()
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It reports nothing, and a panic in it has been printed.
            let _ = thread.join();
        }
    }
}

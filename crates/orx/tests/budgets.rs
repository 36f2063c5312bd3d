//! Clients that list, count and read metrics without pause delay neither the jobs of others nor the
//! server's own duties.

#[path = "common/http.rs"]
mod http;

mod common;

use std::io::{BufReader, Write};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Machine, read, until};
use http::{connect, head, read_answer};
use serde_json::Value;

/// Enough jobs that reading all takes long; a variable sets the number for measurements.
const JOBS: usize = 20_000;
const RUNS: usize = 20;
/// Limit on two busy cores; queued behind the listing clients, a run would take far longer.
const RUN_WITHIN: Duration = Duration::from_secs(2);

/// Renewals and heartbeats every second, so that a late one is noticed.
const OFTEN: &str = "
[cluster]
lease = \"6s\"
heartbeat = \"1s\"
leader_lease = \"6s\"
leader_renew = \"1s\"
leader_margin = \"500ms\"
";

/// No periodic work within a test.
const SELDOM: &str = "
[cluster]
lease = \"1h\"
heartbeat = \"10m\"
monitor = \"10m\"
leader_lease = \"1h\"
leader_renew = \"10m\"
node_heartbeat = \"10m\"
";

fn number(name: &str, or: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(or)
}

fn add_jobs(machine: &Machine, count: usize) {
    let mut lines = String::new();
    for n in 0..count {
        lines.push_str(&format!("{{\"name\":\"nobody\",\"args\":{{\"n\":{n}}}}}\n"));
    }
    let added = machine.orx_in(["enqueue", "--batch", "-"], lines.as_bytes());
    assert_eq!(added.code, 0, "{}", added.err);
}

/// Repeats calls on one connection until `over`.
fn call_on(url: &str, token: &str, path: &str, over: &AtomicBool, begun: &Barrier) -> usize {
    let mut stream = connect(url);
    stream.set_read_timeout(None).expect("a timeout");
    let request = head(url, &format!("GET {path} HTTP/1.1"), token, &[]) + "\r\n";
    let mut answers = BufReader::new(stream.try_clone().expect("the same"));
    let mut count = 0;
    while !over.load(Ordering::Relaxed) {
        stream.write_all(request.as_bytes()).expect("sent");
        if count == 0 {
            begun.wait();
        }
        let answer = read_answer(&mut answers);
        // Too much to read, or too many readers.
        assert!([200, 422, 503, 504].contains(&answer.status), "{answer:?}");
        count += 1;
    }
    count
}

fn leader(machine: &Machine) -> (Value, Value) {
    let status = machine.json(["cluster", "status"]);
    (status["leader"].clone(), status["epoch"].clone())
}

#[expect(clippy::print_stderr, reason = "figures for measurements")]
fn no_run_waits_for_lists(machine: &Machine, listers: usize) {
    let listers = number("ORX_TEST_LISTERS", listers);
    add_jobs(machine, number("ORX_TEST_JOBS", JOBS));
    let led = leader(machine);
    let (url, token) = (machine.url(), read(machine.state().join("token")));
    let (over, begun) = (AtomicBool::new(false), Barrier::new(listers + 1));
    let listed = AtomicUsize::new(0);
    let (mut took, mut shown) = (Vec::new(), Duration::ZERO);
    std::thread::scope(|scope| {
        for n in 0..listers {
            let (url, token, over, begun) = (&url, token.trim(), &over, &begun);
            let listed = &listed;
            // No index covers arguments.
            let path = format!("/api/v1/jobs?filter=arg.n%3Anone{n}&count=true");
            scope.spawn(move || {
                let count = call_on(url, token, &path, over, begun);
                listed.fetch_add(count, Ordering::Relaxed);
            });
        }
        begun.wait();
        for _ in 0..number("ORX_TEST_RUNS", RUNS) {
            let began = Instant::now();
            let ran = machine.orx(["run", "--", "true"]);
            took.push(began.elapsed());
            if ran.code != 0 {
                over.store(true, Ordering::Relaxed);
            }
            assert_eq!(ran.code, 0, "{ran:?}");
        }
        let began = Instant::now();
        let now = leader(machine);
        shown = began.elapsed();
        over.store(true, Ordering::Relaxed);
        assert_eq!(now, led, "{}", machine.log());
    });
    took.sort_unstable();
    let (median, most) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    let lists = listed.load(Ordering::Relaxed);
    eprintln!("run: {median:?}, 99 of 100 {most:?}; status: {shown:?}; lists: {lists}");
    // A single slow run may be due to a busy machine.
    assert!(took[took.len() - 2] < RUN_WITHIN, "{took:?}");
    assert!(lists >= listers, "{lists}");
    // A late renewal, heartbeat or answer is a warning.
    let log = machine.log();
    assert!(!log.lines().any(|line| line.contains(" WARN ") || line.contains("ERROR")), "{log}");
}

#[test]
fn runs_leases_and_heartbeats_do_not_wait_for_lists() {
    no_run_waits_for_lists(&Machine::with_config(OFTEN), 8);
}

#[test]
fn runs_leases_and_heartbeats_in_postgresql_do_not_wait_for_lists() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let database = runtime.block_on(orx_testkit::servers::TestDatabase::new());
    let store = format!("[store]\nurl = \"{}\"\n{OFTEN}", database.url());
    // A list there is many short reads, so the test needs more clients.
    no_run_waits_for_lists(&Machine::with_config(&store), 32);
}

#[test]
fn metrics_health_and_status_write_nothing() {
    let machine = Machine::with_config(SELDOM);
    let (url, token) = (machine.url(), read(machine.state().join("token")));
    let written = || std::fs::read(machine.state().join("orx.db-wal")).expect("the store's log");
    let mut before = written();
    until("what the start has written is synced", || {
        std::thread::park_timeout(Duration::from_secs(1));
        let last = std::mem::replace(&mut before, written());
        last == before
    });
    let mut stream = connect(&url);
    let mut answers = BufReader::new(stream.try_clone().expect("the same"));
    let began = Instant::now();
    // Writes without an immediate sync are synced within a second.
    while began.elapsed() < Duration::from_millis(1_500) {
        for path in ["/metrics", "/readyz", "/admin/v1/cluster", "/admin/v1/queues"] {
            let request = head(&url, &format!("GET {path} HTTP/1.1"), token.trim(), &[]) + "\r\n";
            stream.write_all(request.as_bytes()).expect("sent");
            let answer = read_answer(&mut answers);
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
        }
    }
    assert!(written() == before, "something was written");
}

//! Lists cost a server little, however large the jobs are and however slowly they are read.

mod common;
#[path = "common/http.rs"]
mod http;

use std::io::{BufReader, Read, Write};

use common::{Machine, read};
use http::{connect, head, read_head};

const JOBS: usize = 300;
const ARGS_BYTES: usize = 255 * 1024;
const READERS: usize = 8;
/// The bytes that a slow reader takes at once.
const PIECE_BYTES: u64 = 8 * 1024;
const MOST_KIB: u64 = 100 * 1000 * 1000 / 1024;

/// Peak memory of a process.
fn peak_kib(pid: u32) -> u64 {
    let status = read(format!("/proc/{pid}/status"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn large_jobs_listed_by_slow_readers_cost_a_server_little_memory() {
    let mut machine = Machine::with_server();
    let args = "x".repeat(ARGS_BYTES);
    for some in 0..3 {
        let lines: String = (0..JOBS / 3)
            .map(|n| format!("{{\"name\":\"large\",\"args\":{{\"n\":{n},\"x\":\"{args}\"}}}}\n"))
            .collect();
        let ran = machine.orx_in(["enqueue", "--batch", "-"], lines.as_bytes());
        assert_eq!(ran.code, 0, "{some}: {}", ran.err);
    }
    // A server that has not read the jobs yet.
    machine.stop();
    machine.start(&[]);
    let (url, token) = (machine.url(), read(machine.state().join("token")));
    let list = |query: &str| {
        let line = format!("GET /api/v1/jobs?limit=500&{query} HTTP/1.1");
        let mut request = head(&url, &line, token.trim(), &[("connection", "close")]);
        request.push_str("\r\n");
        let mut stream = connect(&url);
        stream.write_all(request.as_bytes()).expect("sent");
        BufReader::with_capacity(1024, stream)
    };
    for query in
        ["oldest_first=true", "filter=arg.n:1%20id%3C=2", "filter=name:large", "count=true"]
    {
        let mut readers: Vec<_> = (0..READERS).map(|_| list(query)).collect();
        for reader in &mut readers {
            assert_eq!(read_head(reader).status, 200, "{query}");
        }
        let mut bodies = vec![Vec::new(); READERS];
        loop {
            let before: usize = bodies.iter().map(Vec::len).sum();
            for (reader, body) in readers.iter_mut().zip(&mut bodies) {
                reader.take(PIECE_BYTES).read_to_end(body).expect("a piece");
            }
            if bodies.iter().map(Vec::len).sum::<usize>() == before {
                break;
            }
        }
        let peak = peak_kib(machine.address_pid().expect("a server"));
        assert!(peak < MOST_KIB, "{query}: {peak} KiB");
        for body in bodies {
            let page: serde_json::Value = serde_json::from_slice(&body).expect("a page");
            let jobs = page["jobs"].as_array().expect("a list");
            let expected = if query.contains("arg.n") { 1 } else { JOBS };
            assert_eq!(jobs.len(), expected, "{query}");
            assert!(jobs.iter().all(|job| job["name"] == "large" && job["args"].is_null()));
        }
    }
    // A single job contains them.
    let shown = machine.json(["show", "1"]);
    assert_eq!(shown["args"]["x"].as_str().map(str::len), Some(ARGS_BYTES));
}

//! What callers can use of a server, over real sockets, with limits small enough for a test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::routing::get;
use futures_util::StreamExt;
use orx_api::{Limits, Serving, Tls, router_with, serve};
use orx_control::{Caller, Scope};
use orx_store::Memory;
use orx_testkit::make::control_panel;
use orx_transport::Wakeups;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

#[path = "common/api.rs"]
mod api;

const SHORT: Duration = Duration::from_millis(200);
/// Longer than anything here takes, even on a busy machine.
const SOON: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    token: String,
    _stop: DropGuard,
}

async fn listen(router: axum::Router, serving: Serving) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, router, serving, stop.clone()));
    (address, stop.drop_guard())
}

async fn server(limits: Limits, tls: Option<Arc<Tls>>) -> Server {
    let panel = control_panel(Arc::new(Memory::new()), Wakeups::new());
    let token = panel.make_token(vec![Scope::Admin], "test").await.expect("a token");
    let request = serde_json::from_value(json!({"name": "work"})).expect("a request");
    panel.enqueue(&Caller::local(), request).await.expect("a job");
    let router = router_with(panel, api::settings(), limits.clone());
    let (address, stop) = listen(router, Serving { limits, tls }).await;
    Server { address, token, _stop: stop }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// A connection with a request in flight.
    async fn follower(&self) -> TcpStream {
        let mut follower = self.connect().await;
        let follow = self.get("/api/v1/jobs/1/logs?follow=true", &self.token);
        follower.write_all(follow.as_bytes()).await.expect("sent");
        follower.read_exact(&mut [0]).await.expect("it follows");
        follower
    }

    fn get(&self, path: &str, token: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n")
    }

    /// One request on a connection of its own, which closes after it.
    async fn ask(&self, head: &str) -> Answer {
        let mut stream = self.connect().await;
        let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
        stream.write_all(head.as_bytes()).await.expect("sent");
        Answer::read(&mut stream).await
    }
}

#[derive(Debug)]
struct Answer {
    code: u16,
    head: String,
    body: String,
}

impl Answer {
    /// Reads to the end of the connection.
    async fn read(stream: &mut TcpStream) -> Self {
        let bytes = rest(stream).await;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        Self { code, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn problem(&self) -> String {
        let value: Value = serde_json::from_str(&self.body).unwrap_or_default();
        value["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Reads until the other end closes or the connection breaks.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let reading = async {
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            bytes.extend_from_slice(&piece[..read]);
        }
    };
    tokio::time::timeout(SOON, reading).await.expect("the server closes the connection");
    bytes
}

#[tokio::test]
async fn a_client_that_sends_headers_slowly_or_nothing_is_disconnected() {
    let limits = Limits { headers_within: SHORT, ..Limits::default() };
    let server = server(limits, None).await;
    let mut silent = server.connect().await;
    let mut trickling = server.connect().await;
    let began = Instant::now();
    trickling.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
    let slow = tokio::spawn(async move {
        // A header line every 20 ms without end: each line alone is quick.
        while trickling.write_all(b"x-a: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(rest(&mut silent).await.is_empty());
    tokio::time::timeout(SOON, slow).await.expect("cut off").expect("no panic");
    assert!(began.elapsed() >= SHORT);
    // Between two requests as well.
    let mut idle = server.connect().await;
    idle.write_all(server.get("/healthz", "").as_bytes()).await.expect("sent");
    assert_eq!(Answer::read(&mut idle).await.code, 200);
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_refused() {
    let server = server(Limits::default(), None).await;
    let many: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = format!("x: {}\r\n", "y".repeat(64 * 1024));
    for more in [many, large] {
        let head = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
        assert_eq!(server.ask(&head).await.code, 431);
    }
}

#[tokio::test]
async fn a_slow_body_is_rejected_and_a_steady_one_is_accepted() {
    let limits = Limits { body_grace: SHORT, body_bytes_per_second: 1_000, ..Limits::default() };
    let server = server(limits, None).await;
    let post = |length: usize| {
        let token = &server.token;
        format!(
            "POST /api/v1/jobs HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             connection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let mut slow = server.connect().await;
    slow.write_all(format!("{}{{", post(1_000)).as_bytes()).await.expect("sent");
    let answer = Answer::read(&mut slow).await;
    assert_eq!((answer.code, answer.problem().as_str()), (408, "slow_request"), "{answer:?}");

    let body = format!("{{\"name\":\"work\",\"args\":\"{}\"}}", "x".repeat(10_000));
    let mut steady = server.connect().await;
    steady.write_all(post(body.len()).as_bytes()).await.expect("sent");
    let began = Instant::now();
    // The first bytes earn some seconds, longer than a busy machine delays the rest.
    let (first, rest) = body.as_bytes().split_at(8_000);
    steady.write_all(first).await.expect("sent");
    for piece in rest.chunks(250) {
        steady.write_all(piece).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() > SHORT);
    assert_eq!(Answer::read(&mut steady).await.code, 201);
}

#[tokio::test]
async fn connections_are_bounded_in_total_and_by_address() {
    let few = Limits { connections: 2, ..Limits::default() };
    let all = server(few, None).await;
    let (first, _second) = (all.follower().await, all.follower().await);
    let mut third = all.connect().await;
    third.write_all(all.get("/healthz", "").as_bytes()).await.expect("sent");
    let mut byte = [0];
    let early = tokio::time::timeout(SHORT, third.read(&mut byte)).await;
    assert!(early.is_err(), "a third connection is served");
    drop(first);
    let late = tokio::time::timeout(SOON, third.read(&mut byte)).await;
    assert_eq!(late.expect("served").expect("read"), 1);

    let few = Limits { connections_per_peer: 2, ..Limits::default() };
    let each = server(few, None).await;
    let held = (each.follower().await, each.follower().await);
    let mut third = each.connect().await;
    let answer = Answer::read(&mut third).await;
    assert_eq!((answer.code, answer.problem().as_str()), (503, "unavailable"), "{answer:?}");
    drop(held);
    let began = Instant::now();
    while each.ask(&each.get("/healthz", "")).await.code != 200 {
        assert!(began.elapsed() < SOON, "places are given back");
    }
}

#[tokio::test]
async fn idle_connections_keep_no_caller_out() {
    // One address may use all of them, or only those that others do not use.
    for (connections, connections_per_peer) in [(8, 99), (99, 8)] {
        // Waiting for the timeout of an idle connection takes longer than this test may.
        let headers_within = 10 * SOON;
        let limits =
            Limits { connections, connections_per_peer, headers_within, ..Limits::default() };
        let server = server(limits, None).await;
        let mut follower = server.follower().await;
        let mut idle = Vec::new();
        for number in 0..40 {
            let mut stream = server.connect().await;
            match number % 3 {
                0 => {}
                // Between two requests.
                1 => {
                    let request = server.get("/healthz", "");
                    stream.write_all(request.as_bytes()).await.expect("sent");
                    let mut byte = [0];
                    stream.read_exact(&mut byte).await.expect("answered");
                }
                // Before the end of its headers.
                _ => stream.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent"),
            }
            idle.push(stream);
        }
        let began = Instant::now();
        for _ in 0..20 {
            assert_eq!(server.ask(&server.get("/healthz", "")).await.code, 200);
        }
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        // A request in flight is not interrupted.
        let mut byte = [0];
        let silent = tokio::time::timeout(SHORT, follower.read(&mut byte)).await;
        assert!(!matches!(silent, Ok(Ok(0) | Err(_))), "a request under way was cut off");
    }
}

#[tokio::test]
async fn a_connection_whose_answer_is_not_read_ends() {
    struct DropFlag(Arc<AtomicBool>);
    impl Drop for DropFlag {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::new(DropFlag(Arc::clone(&dropped)));
    let endless = move || {
        let flag = Arc::clone(&flag);
        let pieces = futures_util::stream::repeat_with(move || {
            let _ = &flag;
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 64 * 1024]))
        });
        async { Body::from_stream(pieces.take(1_000_000)) }
    };
    let limits = Limits { reader_within: SHORT, ..Limits::default() };
    let router = axum::Router::new().route("/", get(endless));
    let (address, stop) = listen(router, Serving { limits, tls: None }).await;
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    let broken = async {
        // Without reading, until the server has closed, which a write then reveals.
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, broken).await.expect("closed");
    drop(stop);
    let began = Instant::now();
    while !dropped.load(Ordering::Acquire) {
        assert!(began.elapsed() < SOON, "the stream is dropped");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn after_some_wrong_tokens_an_address_is_limited_but_a_valid_token_is_accepted() {
    let limits = Limits { failures: 3, ..Limits::default() };
    let server = server(limits, None).await;
    let wrong = format!("orx_admin_{}_{}", "0".repeat(16), "0".repeat(64));
    for turn in 0..3 {
        let answer = server.ask(&server.get("/api/v1/jobs", &wrong)).await;
        assert_eq!(answer.code, 401, "{turn}");
    }
    // An address in a header is not trusted.
    for header in ["", "x-forwarded-for: 10.9.8.7\r\n", "forwarded: for=10.9.8.7\r\n"] {
        let head = server.get("/api/v1/jobs", &wrong).replacen("\r\n", "\r\nx: y\r\n", 1);
        let head = head.replacen("x: y\r\n", header, 1);
        let answer = server.ask(&head).await;
        assert_eq!((answer.code, answer.problem().as_str()), (429, "rate_limited"), "{answer:?}");
        assert!(answer.head.contains("\r\nretry-after: 61"), "{}", answer.head);
    }
    // A valid token is accepted, even if it was never used before and wrong ones keep coming.
    let wrong_ones = (0..50).map(|_| server.get("/api/v1/jobs", &wrong));
    let wrong_ones: Vec<String> = wrong_ones.collect();
    let flood = futures_util::future::join_all(wrong_ones.iter().map(|head| server.ask(head)));
    let right = server.get("/api/v1/jobs", &server.token);
    let (flood, answer) = tokio::join!(flood, server.ask(&right));
    assert!(flood.iter().all(|answer| answer.code == 429), "{flood:?}");
    assert_eq!(answer.code, 200, "{answer:?}");
    assert_eq!(server.ask(&right).await.code, 200);
    assert_eq!(server.ask(&server.get("/healthz", "")).await.code, 200);
}

#[tokio::test]
async fn long_polls_and_streams_are_bounded_and_end_in_time() {
    let limits = Limits { watchers: 1, answer_within: SHORT, ..Limits::default() };
    let server = server(limits, None).await;
    let follower = server.follower().await;
    let wait = server.get("/api/v1/jobs/1/wait", &server.token);
    let answer = server.ask(&wait).await;
    assert_eq!((answer.code, answer.problem().as_str()), (503, "unavailable"), "{answer:?}");
    assert!(answer.head.contains("retry-after"));
    drop(follower);
    let began = Instant::now();
    loop {
        let answer = server.ask(&wait).await;
        if answer.code == 504 {
            assert_eq!(answer.problem(), "timed_out");
            break;
        }
        assert!(began.elapsed() < SOON, "the place is given back: {answer:?}");
    }
}

#[tokio::test]
async fn a_handshake_ends_in_time_and_http_on_a_tls_port_gets_a_reason() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a pair");
    let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = Arc::new(Tls::new(cert.as_bytes(), key.as_bytes()).expect("a pair"));
    let limits = Limits { handshake_within: SHORT, connections: 1, ..Limits::default() };
    let server = server(limits, Some(tls)).await;
    let began = Instant::now();
    for start in [b"".as_slice(), b"\x16\x03\x01"] {
        let mut silent = server.connect().await;
        silent.write_all(start).await.expect("sent");
        assert!(rest(&mut silent).await.is_empty());
    }
    assert!(began.elapsed() >= 2 * SHORT);
    // The only permit was released each time.
    let answer = server.ask(&server.get("/healthz", "")).await;
    assert_eq!(answer.code, 400, "{answer:?}");
    assert!(answer.body.contains("speaks HTTPS") && answer.body.contains("https://"));
}

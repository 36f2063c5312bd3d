//! HTTP as callers in other languages use it: the form of a request, and what a refusal does to its
//! connection.

use std::sync::Arc;
use std::time::Duration;

use orx_api::{Serving, router, serve};
use orx_control::Scope;
use orx_store::Memory;
use orx_testkit::make::control_panel;
use orx_transport::Wakeups;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

#[path = "common/api.rs"]
mod api;
#[path = "common/document.rs"]
mod document;

use document::{document, operations};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(60);

struct Server {
    address: String,
    admin: String,
    no_scope: String,
}

async fn server() -> Server {
    let panel = control_panel(Arc::new(Memory::new()), Wakeups::new());
    let admin = panel.make_token(vec![Scope::Admin], "a").await.expect("a token");
    let no_scope = panel.make_token(Vec::new(), "n").await.expect("a token");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, router(panel, api::settings()), Serving::default(), stop));
    Server { address, admin, no_scope }
}

struct Answer {
    status: u16,
    closes: bool,
    body: Vec<u8>,
}

/// One connection to the server.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn begin(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.address).await.expect("a connection");
        Self(BufReader::new(stream))
    }

    async fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.expect("sent");
    }

    async fn answer(&mut self) -> Answer {
        let received = async {
            let mut line = String::new();
            self.0.read_line(&mut line).await.expect("a status line");
            let status =
                line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
            let status = status.unwrap_or_else(|| panic!("`{line}` is no answer"));
            let (mut closes, mut length) = (false, 0);
            loop {
                line.clear();
                self.0.read_line(&mut line).await.expect("a header");
                let header = line.trim_end().to_ascii_lowercase();
                if header.is_empty() {
                    break;
                }
                closes |= header == "connection: close";
                if let Some(text) = header.strip_prefix("content-length: ") {
                    length = text.parse().expect("a length");
                }
            }
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.expect("a body");
            Answer { status, closes, body }
        };
        tokio::time::timeout(SOON, received).await.expect("an answer in time")
    }
}

fn head(line: &str, server: &Server, token: &str, more: &str) -> String {
    let host = &server.address;
    format!("{line} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n{more}\r\n")
}

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn a_refusal_leaves_its_connection_usable() {
    let server = server().await;
    let body = r#"{"name": "GET / HTTP/1.1 smuggled"}"#;
    let length = format!("content-length: {}\r\n", body.len());
    let json = format!("{JSON}{length}");
    let text = format!("content-type: text/plain\r\n{length}");
    let (admin, none) = (&server.admin, &server.no_scope);
    for (line, token, more, status) in [
        ("POST /api/v1/jobs", "nonsense", &json, 401),
        ("POST /api/v1/jobs", none, &json, 403),
        ("POST /api/v1/jobs", admin, &text, 415),
        ("POST /nowhere", admin, &json, 404),
        ("DELETE /api/v1/jobs", admin, &json, 405),
        ("POST /api/v1/jobs", admin, &format!("origin: http://x\r\n{json}"), 403),
        ("GET /healthz", admin, &json, 200),
    ] {
        let mut connection = Connection::begin(&server).await;
        // The next request follows the first without a pause.
        let first = head(line, &server, token, more);
        connection
            .send(&format!("{first}{body}{}", head("GET /healthz", &server, admin, "")))
            .await;
        let answer = connection.answer().await;
        assert_eq!((answer.status, answer.closes), (status, false), "{line}");
        let next = connection.answer().await;
        assert_eq!((next.status, &*next.body), (200, b"ok\n".as_slice()), "after {line}");
    }
}

#[tokio::test]
async fn a_refusal_that_leaves_a_large_body_unread_announces_that_the_connection_closes() {
    let server = server().await;
    for more in ["content-length: 2000000\r\n", "content-length: 9\r\nexpect: 100-continue\r\n"] {
        let mut connection = Connection::begin(&server).await;
        let more = format!("{JSON}{more}");
        connection.send(&head("POST /api/v1/jobs", &server, "nonsense", &more)).await;
        let answer = connection.answer().await;
        assert_eq!((answer.status, answer.closes), (401, true), "{more}");
        let mut rest = Vec::new();
        let end = tokio::time::timeout(SOON, connection.0.read_to_end(&mut rest)).await;
        assert_eq!(end.expect("in time").expect("its end"), 0, "{rest:?}");
    }
}

#[tokio::test]
async fn a_body_announced_as_too_large_or_encoded_is_refused_before_it_arrives() {
    let server = server().await;
    for (more, status) in [
        ("content-length: 99999999999\r\n", 413),
        ("content-length: 9\r\ncontent-encoding: gzip\r\n", 415),
        ("content-length: 9\r\ncontent-encoding: identity\r\ncontent-encoding: br\r\n", 415),
    ] {
        let mut connection = Connection::begin(&server).await;
        let more = format!("{JSON}{more}");
        connection.send(&head("POST /api/v1/jobs", &server, &server.admin, &more)).await;
        let answer = connection.answer().await;
        assert_eq!((answer.status, answer.closes), (status, true), "{more}");
    }
    let mut connection = Connection::begin(&server).await;
    let more = format!("{JSON}content-length: 14\r\ncontent-encoding: identity\r\n");
    let first = head("POST /api/v1/jobs", &server, &server.admin, &more);
    connection.send(&format!("{first}{{\"name\": \"a\"}}\n")).await;
    assert_eq!(connection.answer().await.status, 201);
}

/// Many clients read nothing until they have sent everything.
#[tokio::test]
async fn a_client_that_sends_a_large_body_to_its_end_still_reads_why_it_was_refused() {
    let server = server().await;
    let body = vec![b'x'; 6_000_000];
    let more = format!("{JSON}content-length: {}\r\n", body.len());
    let mut connection = Connection::begin(&server).await;
    connection.send(&head("POST /api/v1/jobs", &server, "nonsense", &more)).await;
    let sent = tokio::time::timeout(SOON, connection.0.get_mut().write_all(&body)).await;
    sent.expect("in time").expect("sent");
    let answer = connection.answer().await;
    assert_eq!((answer.status, answer.closes), (401, true));
}

#[tokio::test]
async fn a_request_that_could_be_read_in_two_ways_is_refused() {
    let server = server().await;
    let (host, token) = (&server.address, &server.admin);
    let jobs = "GET /api/v1/jobs HTTP/1.1\r\n";
    let bearer = format!("authorization: Bearer {token}\r\n");
    for request in [
        format!("{jobs}host: {host}\r\nhost: {host}\r\n{bearer}\r\n"),
        format!("{jobs}host: {host}\r\nHost: elsewhere\r\n{bearer}\r\n"),
        format!("{jobs}{bearer}\r\n"),
        format!("{jobs}host: {host}\r\n{bearer}{bearer}\r\n"),
        format!("GET http://elsewhere/api/v1/jobs HTTP/1.1\r\nhost: {host}\r\n{bearer}\r\n"),
    ] {
        let mut connection = Connection::begin(&server).await;
        connection.send(&request).await;
        assert_eq!(connection.answer().await.status, 400, "{request}");
    }
    let mut connection = Connection::begin(&server).await;
    connection
        .send(&format!("GET http://{host}/api/v1/jobs HTTP/1.1\r\nhost: {host}\r\n{bearer}\r\n"))
        .await;
    assert_eq!(connection.answer().await.status, 200);
}

#[tokio::test]
async fn a_caller_without_the_scope_is_refused_before_any_of_the_body_is_read() {
    let server = server().await;
    let mut seen = 0;
    for (line, operation) in operations(&document()) {
        let Some(kinds) = operation["requestBody"]["content"].as_object() else { continue };
        let kind = kinds.keys().next().expect("a type");
        let line = line.replace("{schedule}", "1").replace("{queue}", "1");
        let mut connection = Connection::begin(&server).await;
        // The body never arrives.
        let more = format!("content-type: {kind}\r\ncontent-length: 1000\r\n");
        connection.send(&head(&line, &server, &server.no_scope, &more)).await;
        assert_eq!(connection.answer().await.status, 403, "{line}");
        seen += 1;
    }
    assert!(seen > 15, "{seen}");
}

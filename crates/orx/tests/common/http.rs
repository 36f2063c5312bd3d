//! Plain HTTP, as a client in another language sends and receives it.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::common::SOON;

/// A connection to a server of `http://host:port`.
pub(crate) fn connect(url: &str) -> TcpStream {
    let address = url.trim_start_matches("http://");
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
}

/// The header lines of a request, without the empty line and the body.
pub(crate) fn head(url: &str, request_line: &str, token: &str, headers: &[(&str, &str)]) -> String {
    let host = url.trim_start_matches("http://");
    let mut head = format!("{request_line}\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(known, _)| known == name);
        all.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// The status and headers of a response, before its body.
pub(crate) fn read_head(from: &mut impl BufRead) -> Answer {
    let mut line = String::new();
    from.read_line(&mut line).expect("a status line");
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.unwrap_or_else(|| panic!("`{line}` is no answer"));
    let mut headers = Vec::new();
    loop {
        line.clear();
        from.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Answer { status, headers, body: Vec::new() }
}

/// One response of known length, without what follows it.
pub(crate) fn read_answer(from: &mut impl BufRead) -> Answer {
    let mut answer = read_head(from);
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    answer.body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut answer.body).expect("a body");
    answer
}

/// One call on a new connection.
pub(crate) fn post(
    url: &str,
    path: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let body = body.to_string();
    let mut request = head(url, &format!("POST {path} HTTP/1.1"), token, headers);
    request.push_str(&format!(
        "content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ));
    let mut stream = connect(url);
    stream.write_all(request.as_bytes()).expect("sent");
    read_answer(&mut BufReader::new(stream))
}

/// A stream of JSON lines in a response of unknown length.
pub(crate) struct Lines(BufReader<TcpStream>);

impl Lines {
    /// The next line that is not `ping`.
    pub(crate) fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a line");
            // Chunk sizes are between the lines.
            let value = serde_json::from_str(line.trim()).unwrap_or(Value::Null);
            if value.is_object() && value.get("ping").is_none() {
                return value;
            }
            assert!(!line.is_empty(), "the stream ended");
        }
    }
}

/// A stream, or the error response.
pub(crate) fn stream(
    url: &str,
    path: &str,
    token: &str,
    headers: &[(&str, &str)],
) -> Result<Lines, Answer> {
    let request = head(url, &format!("GET {path} HTTP/1.1"), token, headers) + "\r\n";
    let mut stream = connect(url);
    stream.write_all(request.as_bytes()).expect("sent");
    let mut reader = BufReader::new(stream);
    let mut answer = read_head(&mut reader);
    if answer.status == 200 {
        return Ok(Lines(reader));
    }
    let length = answer.header("content-length").and_then(|length| length.parse().ok());
    answer.body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut answer.body).expect("a body");
    Err(answer)
}

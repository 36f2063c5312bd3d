//! Waits for a job and follows its log, across restarts of the server.

use std::ops::ControlFlow;
use std::time::Duration;

use orx_model::wire::{LogEvent, LogsQuery, WaitAnswer, WaitQuery, path};
use orx_model::{Job, JobStatus};
use reqwest::Method;

use crate::lines::Lines;
use crate::reconnect::Outage;
use crate::{Client, ConnectionEvent, POLL, Result, fill, unexpected, unreachable_at};

/// A stream without a line for this long is dead; servers ping every 5 s.
const SILENT: Duration = Duration::from_secs(20);

impl Client {
    /// Waits until the job is final or in `status`, and returns it. Continues during an outage of a server
    /// that has answered before.
    ///
    /// # Errors
    /// Any [`ClientError`](crate::ClientError) that another try cannot resolve.
    pub async fn wait(
        &self,
        reference: &str,
        status: Option<JobStatus>,
        mut report: impl FnMut(ConnectionEvent),
    ) -> Result<Job> {
        let mut query =
            WaitQuery { timeout_ms: Some(POLL.as_millis() as u64), status, known: None };
        let route = fill(path::JOB_WAIT, "{job}", reference);
        let mut outage = Outage::default();
        loop {
            query.known = Some(outage.server);
            let asked = self.once(Method::GET, &route, |call| call.query(&query));
            match asked.await {
                Ok(WaitAnswer { reached: true, job, .. }) => {
                    outage.end(&mut report);
                    return Ok(job);
                }
                Ok(WaitAnswer { condition, .. }) => {
                    outage.end(&mut report);
                    outage.server_is(self, condition, &mut report);
                }
                Err(error) => outage.wait(self, error, &mut report).await?,
            }
        }
    }

    /// Follows the log of a job until the job is final, and returns it; `None` if `on` broke off. After
    /// an outage it continues from the last chunk.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub async fn follow(
        &self,
        reference: &str,
        mut query: LogsQuery,
        mut on: impl FnMut(LogEvent) -> ControlFlow<()>,
        mut report: impl FnMut(ConnectionEvent),
    ) -> Result<Option<Job>> {
        let route = fill(path::JOB_LOGS, "{job}", reference);
        let mut outage = Outage::default();
        // A tail of nothing still needs the cursor of the last line, which is read and not passed on.
        let mut skips = query.tail == Some(0);
        if skips {
            query.tail = Some(1);
        }
        loop {
            let opened = self.send(Method::GET, &route, |call| call.query(&query)).await;
            let response = match opened {
                Ok(response) => response,
                Err(error) => {
                    outage.wait(self, error, &mut report).await?;
                    continue;
                }
            };
            outage.end(&mut report);
            let url = response.url().to_string();
            let mut lines = Lines::new(response);
            let error = loop {
                let line = match tokio::time::timeout(SILENT, lines.next()).await {
                    Ok(Ok(Some(line))) => line,
                    Ok(Ok(None)) => break "the stream ended early".to_owned(),
                    Ok(Err(error)) => break error,
                    Err(_) => break "the server sends nothing".to_owned(),
                };
                let event: LogEvent =
                    serde_json::from_slice(&line).map_err(|error| unexpected(&url, error))?;
                match event {
                    LogEvent::End { job, .. } => return Ok(Some(*job)),
                    LogEvent::Chunk(part) => {
                        // Where to continue after an outage.
                        query.cursor = Some(part.cursor.clone());
                        query.tail = None;
                        if !skips && on(LogEvent::Chunk(part)).is_break() {
                            return Ok(None);
                        }
                    }
                    other => {
                        if let LogEvent::Ping { condition } = other {
                            outage.server_is(self, condition, &mut report);
                        }
                        if matches!(other, LogEvent::Live {}) {
                            // From here on the log is complete, even if the connection is lost
                            // before the next line.
                            (query.tail, skips) = (None, false);
                        }
                        if on(other).is_break() {
                            return Ok(None);
                        }
                    }
                }
            };
            outage.wait(self, unreachable_at(&url, &error), &mut report).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::*;
    use crate::Endpoint;

    /// Answers each call with a log that ends too early. Returns the request lines.
    fn serve(bodies: &'static [&'static str]) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let serving = std::thread::spawn(move || {
            let answer = |body: &&str| {
                let (mut stream, _) = listener.accept().expect("a call");
                let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
                let first = lines.next().expect("a line").expect("text");
                for line in lines.map(|line| line.expect("text")) {
                    if line.is_empty() {
                        break;
                    }
                }
                let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                stream.write_all(format!("{head}{body}").as_bytes()).expect("answered");
                first
            };
            bodies.iter().map(answer).collect()
        });
        (url, serving)
    }

    const LIVE: &str = "{\"live\":{}}\n";
    const ONE: &str = "{\"chunk\":{\"cursor\":\"1:1\",\"attempt\":1,\"stream\":\"out\",\
        \"at\":\"2026-01-01T00:00:00Z\",\"data\":\"one\\n\"}}\n{\"live\":{}}\n";
    const TWO: &str = "{\"chunk\":{\"cursor\":\"1:2\",\"attempt\":1,\"stream\":\"out\",\
        \"at\":\"2026-01-01T00:00:00Z\",\"data\":\"two\\n\"}}\n{\"live\":{}}\n";

    /// Follows until a line is shown. Returns that line and the request lines.
    async fn follow(tail: u32, bodies: &'static [&'static str]) -> (String, Vec<String>) {
        let (url, serving) = serve(bodies);
        let locate = Arc::new(Endpoint { url, token: None });
        // A server that has answered once is awaited even without patience.
        let client = Client::new(locate, Duration::ZERO).expect("a client");
        let query = LogsQuery { follow: Some(true), tail: Some(tail), ..LogsQuery::default() };
        let mut shown = String::new();
        let on = |event| match event {
            LogEvent::Chunk(part) => {
                shown = String::from_utf8(part.data).expect("text");
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        };
        client.follow("1", query, on, |_| {}).await.expect("followed");
        (shown, serving.join().expect("served"))
    }

    #[tokio::test]
    async fn output_during_an_outage_is_not_cut_to_the_tail() {
        let (shown, asked) = follow(5, &[LIVE, ONE]).await;
        assert_eq!(shown, "one\n");
        assert!(asked[0].contains("tail=5") && !asked[1].contains("tail"), "{asked:?}");
    }

    #[tokio::test]
    async fn a_tail_of_nothing_is_followed_from_its_cursor_after_an_outage() {
        let (shown, asked) = follow(0, &[ONE, TWO]).await;
        assert_eq!(shown, "two\n");
        assert!(asked[1].contains("cursor=1") && !asked[1].contains("tail"), "{asked:?}");
    }
}

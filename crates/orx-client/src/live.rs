//! Reads live streams, and reconnects for ever: at the next address, after the last event.

use std::time::Duration;

use orx_model::Code;
use orx_model::wire::live::{LAST_EVENT_ID, LiveEvent, LiveTopic, path};
use reqwest::{Method, RequestBuilder};
use tokio::time::Instant;

use crate::lines::Lines;
use crate::{Client, ClientError, Result, fill, unexpected, unreachable_at};

/// A stream without a line for this long is dead; servers ping at least every 5 s.
const SILENT: Duration = Duration::from_secs(15);
/// Between tries: first this, doubled up to [`RETRY_MOST`] within the first minute, and up to
/// [`RETRY_LATER`] after it.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MOST: Duration = Duration::from_secs(5);
const RETRY_LATER: Duration = Duration::from_secs(10);

/// What a live stream reports.
#[derive(Debug, Clone)]
pub enum LiveUpdate {
    /// The server answers: events follow.
    Connected,
    /// The connection was lost, or could not be made. The stream tries again.
    Lost {
        /// Why.
        cause: String,
        /// Tries without success since the last event, this one included.
        tries: u32,
        /// The pause before the next try.
        next_try: Duration,
    },
    /// An event.
    Event {
        /// The event.
        event: Box<LiveEvent>,
        /// Its id, if it has one.
        id: Option<String>,
    },
}

/// A live stream. Dropping a call of [`Self::next`] loses nothing.
pub struct LiveStream {
    client: Client,
    topic: LiveTopic,
    last_id: Option<String>,
    lines: Option<Reading>,
    lost_since: Option<Instant>,
    tries: u32,
    retry_at: Instant,
    ended: bool,
}

/// A stream that is being read, and the event of which some lines have come.
struct Reading {
    url: String,
    lines: Lines,
    name: String,
    data: String,
    id: Option<String>,
    heard_at: Instant,
}

impl Client {
    /// The events of a topic, from a snapshot on. Nothing is sent before the first call of
    /// [`LiveStream::next`].
    #[must_use]
    pub fn live(&self, topic: LiveTopic) -> LiveStream {
        LiveStream {
            client: self.clone(),
            topic,
            last_id: None,
            lines: None,
            lost_since: None,
            tries: 0,
            retry_at: Instant::now(),
            ended: false,
        }
    }
}

impl LiveStream {
    /// The next update. `None`: the job has ended, and all its output was received.
    ///
    /// # Errors
    /// An error that another try cannot resolve: the token is refused, the certificate is not trusted, or
    /// the request is not valid.
    pub async fn next(&mut self) -> Result<Option<LiveUpdate>> {
        loop {
            if self.ended {
                return Ok(None);
            }
            let Some(reading) = &mut self.lines else {
                tokio::time::sleep_until(self.retry_at).await;
                match open(&self.client, &self.topic, self.last_id.as_deref()).await {
                    Ok(reading) => {
                        self.lines = Some(reading);
                        return Ok(Some(LiveUpdate::Connected));
                    }
                    Err(error) => return self.lost(error).map(Some),
                }
            };
            let silent_at = reading.heard_at + SILENT;
            let line = match tokio::time::timeout_at(silent_at, reading.lines.next()).await {
                Ok(Ok(Some(line))) => line,
                Ok(Ok(None)) => return self.broke("the server ended the stream").map(Some),
                Ok(Err(error)) => return self.broke(&error).map(Some),
                Err(_) => return self.broke("the server sends nothing").map(Some),
            };
            let Some((event, id)) = reading.take(&line)? else { continue };
            if id.is_some() {
                self.last_id.clone_from(&id);
            }
            (self.lost_since, self.tries) = (None, 0);
            self.ended = matches!(event, LiveEvent::LogEnded(_));
            return Ok(Some(LiveUpdate::Event { event: Box::new(event), id }));
        }
    }

    /// Skips the rest of the pause before the next try.
    pub fn retry_now(&mut self) {
        self.retry_at = Instant::now();
    }

    fn broke(&mut self, cause: &str) -> Result<LiveUpdate> {
        let url = self.lines.take().map(|reading| reading.url).unwrap_or_default();
        self.lost(unreachable_at(&url, cause))
    }

    /// Sets the next try.
    fn lost(&mut self, error: ClientError) -> Result<LiveUpdate> {
        let cause = match &error {
            ClientError::Unreachable { cause, .. } => cause.clone(),
            ClientError::NoServer { message, .. } => message.clone(),
            ClientError::Problem(problem)
                if matches!(problem.code, Code::Unavailable | Code::TimedOut | Code::StoreFull) =>
            {
                problem.detail.clone()
            }
            ClientError::Problem(_)
            | ClientError::Untrusted { .. }
            | ClientError::UnexpectedAnswer { .. } => return Err(error),
        };
        let since = *self.lost_since.get_or_insert_with(Instant::now);
        let most = if since.elapsed() < Duration::from_secs(60) { RETRY_MOST } else { RETRY_LATER };
        let doubled = RETRY_FIRST.saturating_mul(1 << self.tries.min(8)).min(most);
        // Clients of a server that ended do not come back all at once.
        let next_try = doubled.mul_f64(rand::random_range(0.75..=1.0));
        self.tries += 1;
        self.retry_at = Instant::now() + next_try;
        self.client.forget_endpoint();
        Ok(LiveUpdate::Lost { cause, tries: self.tries, next_try })
    }
}

// Free of `LiveStream`, which cannot be shared between threads while a request is under way.
async fn open(client: &Client, topic: &LiveTopic, last_id: Option<&str>) -> Result<Reading> {
    let route = route(topic);
    let build = |call: RequestBuilder| {
        let call = match topic {
            LiveTopic::Jobs(query) => call.query(query),
            LiveTopic::Logs(_, query) => call.query(query),
            LiveTopic::FilteredLogs(query) => call.query(query),
            LiveTopic::Events(query) => call.query(query),
            LiveTopic::Overview
            | LiveTopic::Job(_)
            | LiveTopic::Workers
            | LiveTopic::Queues
            | LiveTopic::Schedules
            | LiveTopic::DeadLetters
            | LiveTopic::Cluster => call,
        };
        let call = call.header("accept", "text/event-stream");
        match last_id {
            Some(id) => call.header(LAST_EVENT_ID, id),
            None => call,
        }
    };
    let response = client.send(Method::GET, &route, build).await?;
    Ok(Reading {
        url: response.url().to_string(),
        lines: Lines::new(response),
        name: String::new(),
        data: String::new(),
        id: None,
        heard_at: Instant::now(),
    })
}

fn route(topic: &LiveTopic) -> String {
    let route = match topic {
        LiveTopic::Overview => path::OVERVIEW,
        LiveTopic::Jobs(_) => path::JOBS,
        LiveTopic::Job(job) => return fill(path::JOB, "{job}", job),
        LiveTopic::Logs(job, _) => return fill(path::JOB_LOGS, "{job}", job),
        LiveTopic::FilteredLogs(_) => path::LOGS,
        LiveTopic::Workers => path::WORKERS,
        LiveTopic::Queues => path::QUEUES,
        LiveTopic::Schedules => path::SCHEDULES,
        LiveTopic::DeadLetters => path::DEAD_LETTERS,
        LiveTopic::Cluster => path::CLUSTER,
        LiveTopic::Events(_) => path::EVENTS,
    };
    route.to_owned()
}

impl Reading {
    /// Takes one line. An empty one completes an event.
    fn take(&mut self, line: &[u8]) -> Result<Option<(LiveEvent, Option<String>)>> {
        self.heard_at = Instant::now();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Ok(line) = std::str::from_utf8(line) else {
            return Err(unexpected(&self.url, "a line of the stream is not text"));
        };
        if line.is_empty() {
            let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
            let id = self.id.take();
            if name.is_empty() {
                return Ok(None);
            }
            let event =
                LiveEvent::parse(&name, &data).map_err(|error| unexpected(&self.url, error))?;
            return Ok(event.map(|event| (event, id)));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "id" => self.id = Some(value.to_owned()),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // Comments, and fields of no use here.
            _ => {}
        }
        Ok(None)
    }
}

//! [`ServerCommands`] over the HTTP client.

use std::ops::ControlFlow;
use std::time::Duration;

use async_trait::async_trait;
use orx_client::{Client, ClientError, ConnectionEvent, LiveUpdate};
use orx_model::schedule::wire::RemoveScheduleQuery;
use orx_model::wire::live::{LiveEventsQuery, LiveFilteredLogsQuery, LiveJobsQuery, LiveTopic};
use orx_model::wire::{LogEvent, LogsQuery};
use orx_model::{Code, Problem};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::api::{
    Answer, Failure, FailureKind, LiveNews, LogNews, LogRequest, Request, ServerCommands, Topic,
};

/// A server that answers no read within this counts as not reached.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Jobs of a snapshot: those that the overview shows.
const SNAPSHOT_ROWS: u32 = 100;
/// A change may wait for the disk of the server.
const WRITE_WITHIN: Duration = Duration::from_secs(60);

/// How often the progress of an operation is read.
const PROGRESS: Duration = Duration::from_millis(300);

/// Carries requests to a server over HTTP.
#[derive(Clone)]
pub struct ClientCommands {
    client: Client,
}

impl ClientCommands {
    /// Over this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    async fn carry_out(&self, request: &Request) -> Result<Answer, ClientError> {
        let client = &self.client;
        Ok(match request {
            Request::Cluster => Answer::Cluster(Box::new(client.cluster().await?)),
            Request::Queues => Answer::Queues(client.queues().await?),
            Request::Workers => Answer::Workers(client.workers().await?),
            Request::Worker(name) => Answer::Worker(Box::new(client.worker(name).await?)),
            Request::Jobs(query) => Answer::Jobs(client.list(query).await?),
            Request::Job(id) => Answer::Job(Box::new(client.job(&id.to_string()).await?)),
            Request::Audit(query) => Answer::Audit(client.audit(query).await?),
            Request::Schedules(query) => Answer::Schedules(client.schedules(query).await?),
            Request::Slots(id, query) => {
                Answer::Slots(client.schedule_slots(id.as_str(), query).await?)
            }
            Request::Causes(query) => Answer::Causes(client.causes(query).await?),
            Request::AwaitJob(id) => {
                Answer::Ended(Box::new(client.wait(&id.to_string(), None, |_| {}).await?))
            }
            Request::DeadLetters(query) => Answer::DeadLetters(client.dead_letters(query).await?),
            Request::Cancel(change) => Answer::Changed(client.cancel(change).await?),
            Request::Retry(change) => Answer::Changed(client.retry(change).await?),
            Request::RetryDead(change) => Answer::Changed(client.retry_dead(change).await?),
            Request::DeleteDead(change) => Answer::Changed(client.delete_dead(change).await?),
            Request::DeleteJobs(change) => Answer::Changed(client.delete_jobs(change).await?),
            Request::StartOperation(operation) => {
                let started = client.start_operation(operation.clone()).await?;
                match started.operation {
                    Some(operation) => Answer::Operation(Box::new(operation)),
                    None => {
                        let problem =
                            Problem::new(Code::Unknown, "the server started no operation");
                        return Err(problem.into());
                    }
                }
            }
            Request::Operation(id) => {
                tokio::time::sleep(PROGRESS).await;
                Answer::Operation(Box::new(client.operation(*id).await?))
            }
            Request::OrderWorkers(order) => Answer::Ordered(client.order_workers(order).await?),
            Request::Settings => Answer::Settings(client.settings().await?),
            Request::DrainNode { node, drains: true, request } => {
                Answer::Node(Box::new(client.drain_node(node, request).await?))
            }
            Request::DrainNode { node, drains: false, request } => {
                Answer::Node(Box::new(client.resume_node(node, request).await?))
            }
            Request::PauseQueue(name, order) => {
                Answer::Queue(Box::new(client.pause_queue(name.as_str(), order).await?))
            }
            Request::ResumeQueue(name, order) => {
                Answer::Queue(Box::new(client.resume_queue(name.as_str(), order).await?))
            }
            Request::PauseSchedule(id, order) => {
                Answer::Schedule(Box::new(client.pause_schedule(id.as_str(), order).await?))
            }
            Request::ResumeSchedule(id, order) => {
                Answer::Schedule(Box::new(client.resume_schedule(id.as_str(), order).await?))
            }
            Request::TriggerSchedule(id, order) => {
                Answer::Triggered(client.trigger_schedule(id.as_str(), order).await?)
            }
            Request::RemoveSchedule(id, version) => {
                let query = RemoveScheduleQuery { version: Some(*version) };
                Answer::Removed(Box::new(client.remove_schedule(id.as_str(), &query).await?))
            }
        })
    }
}

#[async_trait]
impl ServerCommands for ClientCommands {
    async fn call(&self, request: &Request) -> Result<Answer, Failure> {
        let within = if request.is_write() { WRITE_WITHIN } else { READ_WITHIN };
        match tokio::time::timeout(within, self.carry_out(request)).await {
            Ok(answered) => answered.map_err(failure),
            Err(_) => {
                let message = format!("no answer within {} s", within.as_secs());
                Err(Failure::new(FailureKind::Link, message))
            }
        }
    }

    async fn follow(&self, request: LogRequest, news: Sender<LogNews>) {
        let mut query = LogsQuery {
            attempt: request.attempt,
            tail: Some(request.tail),
            follow: Some(true),
            ..LogsQuery::default()
        };
        loop {
            let (mut full, mut read) = (false, None);
            let on = |event: LogEvent| {
                let position = match &event {
                    LogEvent::Chunk(part) => Some(part.cursor.clone()),
                    _ => None,
                };
                match news.try_send(LogNews::Event(event)) {
                    Ok(()) => {
                        read = position.or(read.take());
                        ControlFlow::Continue(())
                    }
                    Err(error) => {
                        full = matches!(error, TrySendError::Full(_));
                        ControlFlow::Break(())
                    }
                }
            };
            let report = |event| {
                let connected = match event {
                    ConnectionEvent::Lost | ConnectionEvent::Refused(_) => false,
                    ConnectionEvent::Back => true,
                    ConnectionEvent::Server(_) => return,
                };
                // Without a reader nobody needs to know.
                let _ = news.try_send(LogNews::Connected(connected));
            };
            let job = request.job.to_string();
            let ended = self.client.follow(&job, query.clone(), on, report).await;
            if !full {
                let _ = news.send(LogNews::Ended(ended.err().map(failure))).await;
                return;
            }
            // The reader is behind, as while the terminal is lent: what it could not take is read again.
            if let Some(position) = read {
                (query.cursor, query.tail) = (Some(position), None);
            }
            if news.reserve_many(news.max_capacity() / 2).await.is_err() {
                return;
            }
        }
    }

    async fn watch(&self, topic: Topic, news: Sender<LiveNews>) {
        let mut stream = self.client.live(live_topic(topic));
        loop {
            let one = match stream.next().await {
                Ok(Some(LiveUpdate::Event { event, .. })) => LiveNews::Event(event),
                Ok(Some(LiveUpdate::Lost { cause, .. })) => {
                    let mut failure = Failure::new(FailureKind::Link, "lost the connection");
                    failure.cause = Some(cause);
                    LiveNews::Lost(failure)
                }
                // Connected: what counts is the first event.
                Ok(Some(LiveUpdate::Connected)) => continue,
                Ok(None) => return,
                Err(error) => LiveNews::Ended(failure(error)),
            };
            let ends = matches!(one, LiveNews::Ended(_));
            if news.send(one).await.is_err() || ends {
                return;
            }
        }
    }
}

fn live_topic(topic: Topic) -> LiveTopic {
    match topic {
        Topic::Overview => LiveTopic::Overview,
        Topic::Jobs(filter) => LiveTopic::Jobs(LiveJobsQuery {
            filter: Some(filter).filter(|filter| !filter.is_empty()),
            limit: Some(SNAPSHOT_ROWS),
            ..LiveJobsQuery::default()
        }),
        Topic::Job(id) => LiveTopic::Job(id.to_string()),
        Topic::Workers => LiveTopic::Workers,
        Topic::Queues => LiveTopic::Queues,
        Topic::Schedules => LiveTopic::Schedules,
        Topic::DeadLetters => LiveTopic::DeadLetters,
        Topic::Cluster => LiveTopic::Cluster,
        Topic::Logs(filter) => LiveTopic::FilteredLogs(LiveFilteredLogsQuery {
            filter: Some(filter).filter(|filter| !filter.is_empty()),
            tz: None,
        }),
        Topic::Events => LiveTopic::Events(LiveEventsQuery::default()),
    }
}

fn failure(error: ClientError) -> Failure {
    let message = error.to_string();
    let failed = |kind, cause, hint| Failure { kind, message: message.clone(), cause, hint };
    match error {
        ClientError::Unreachable { cause, .. } => failed(FailureKind::Link, Some(cause), None),
        ClientError::Untrusted { cause, hint, .. } => {
            failed(FailureKind::Refused, Some(cause), Some(hint.to_owned()))
        }
        ClientError::UnexpectedAnswer { cause, .. } => failed(
            FailureKind::Link,
            Some(cause),
            Some(
                "check that this is the address of an orx server, and compare versions".to_owned(),
            ),
        ),
        ClientError::NoServer { cause, hint, .. } => {
            let start = || "`orx daemon server` starts one here; `--url` names another".to_owned();
            failed(FailureKind::Link, cause, Some(hint.unwrap_or_else(start)))
        }
        ClientError::Problem(problem) => {
            let kind = match problem.code {
                Code::Unauthenticated => FailureKind::Refused,
                Code::Unavailable => FailureKind::Link,
                _ => FailureKind::Answered,
            };
            failed(kind, problem.cause, problem.hint)
        }
    }
}

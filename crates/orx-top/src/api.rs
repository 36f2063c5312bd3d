//! What the dashboard asks of a server: one enum of requests, one of answers, and the trait that carries
//! both. A recording is a file of these.

use std::sync::Arc;

use async_trait::async_trait;
use orx_model::log::LogCursor;
use orx_model::schedule::wire::{
    ScheduleAnswer, ScheduleChangeAnswer, ScheduleOrder, SchedulePage, SchedulesQuery, SlotPage,
    SlotsQuery, TriggerAnswer,
};
use orx_model::wire::live::LiveEvent;
use orx_model::wire::{
    AuditPage, AuditQuery, CausePage, CausesQuery, ChangeAnswer, ChangeRequest, ClusterStatus,
    DeadLetterPage, JobDetail, JobPage, ListQuery, LogEvent, NodeDrainAnswer, NodeDrainRequest,
    OperationRequest, OperationView, QueueList, QueueOrder, QueueView, ServerSettings,
    WorkerDetail, WorkerList, WorkersOrderAnswer, WorkersOrderRequest,
};
use orx_model::{JobId, Name, OperationId};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;

use crate::options::ContextColor;

/// A question or an order to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// The state of the cluster.
    Cluster,
    /// All queues.
    Queues,
    /// All workers.
    Workers,
    /// One worker, by its incarnation, with the attempts that it holds.
    Worker(String),
    /// A page of jobs.
    Jobs(ListQuery),
    /// One job with its attempts.
    Job(JobId),
    /// A page of the changes that people and programs made.
    Audit(AuditQuery),
    /// A page of schedules.
    Schedules(SchedulesQuery),
    /// Slots of a schedule's ledger.
    Slots(Name, SlotsQuery),
    /// A page of dead letters.
    DeadLetters(ListQuery),
    /// A page of the causes of dead letters.
    Causes(CausesQuery),
    /// One job, once it has ended.
    AwaitJob(JobId),
    /// Cancels jobs.
    Cancel(ChangeRequest),
    /// Retries jobs that have ended.
    Retry(ChangeRequest),
    /// Retries dead letters.
    RetryDead(ChangeRequest),
    /// Deletes dead letters; their jobs stay.
    DeleteDead(ChangeRequest),
    /// Deletes jobs that have ended.
    DeleteJobs(ChangeRequest),
    /// Starts an operation over many jobs.
    StartOperation(OperationRequest),
    /// An operation, a moment later.
    Operation(OperationId),
    /// Drains, resumes or fences workers.
    OrderWorkers(WorkersOrderRequest),
    /// The settings in force at the server.
    Settings,
    /// Drains a node, or takes its drain back.
    DrainNode {
        /// Its incarnation.
        node: String,
        /// Whether it drains from now on.
        drains: bool,
        /// Reason and sender.
        request: NodeDrainRequest,
    },
    /// Pauses a queue.
    PauseQueue(Name, QueueOrder),
    /// Resumes a queue.
    ResumeQueue(Name, QueueOrder),
    /// Pauses a schedule.
    PauseSchedule(Name, ScheduleOrder),
    /// Resumes a schedule.
    ResumeSchedule(Name, ScheduleOrder),
    /// Runs a schedule's job now.
    TriggerSchedule(Name, ScheduleOrder),
    /// Removes a schedule, if it still has this version.
    RemoveSchedule(Name, u64),
}

impl Request {
    /// Whether it can change something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self {
            Self::Cluster
            | Self::Settings
            | Self::Queues
            | Self::Workers
            | Self::Worker(_)
            | Self::Jobs(_)
            | Self::Job(_)
            | Self::Audit(_)
            | Self::Schedules(_)
            | Self::Slots(..)
            | Self::Operation(_)
            | Self::DeadLetters(_)
            | Self::Causes(_)
            | Self::AwaitJob(_) => false,
            Self::Cancel(change)
            | Self::Retry(change)
            | Self::RetryDead(change)
            | Self::DeleteDead(change)
            | Self::DeleteJobs(change) => !change.dry_run,
            Self::StartOperation(operation) => !operation.dry_run,
            Self::OrderWorkers(order) => !order.dry_run,
            Self::DrainNode { .. }
            | Self::PauseQueue(..)
            | Self::ResumeQueue(..)
            | Self::PauseSchedule(..)
            | Self::ResumeSchedule(..)
            | Self::TriggerSchedule(..)
            | Self::RemoveSchedule(..) => true,
        }
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Cluster`].
    Cluster(Box<ClusterStatus>),
    /// To [`Request::Queues`].
    Queues(QueueList),
    /// To [`Request::Workers`].
    Workers(WorkerList),
    /// To [`Request::Worker`].
    Worker(Box<WorkerDetail>),
    /// To [`Request::Jobs`].
    Jobs(JobPage),
    /// To [`Request::Job`].
    Job(Box<JobDetail>),
    /// To [`Request::Audit`].
    Audit(AuditPage),
    /// To [`Request::Schedules`].
    Schedules(SchedulePage),
    /// To [`Request::Slots`].
    Slots(SlotPage),
    /// To [`Request::DeadLetters`].
    DeadLetters(DeadLetterPage),
    /// To [`Request::Causes`].
    Causes(CausePage),
    /// To [`Request::AwaitJob`].
    Ended(Box<orx_model::Job>),
    /// To a change of jobs or dead letters.
    Changed(ChangeAnswer),
    /// To [`Request::StartOperation`] and [`Request::Operation`].
    Operation(Box<OperationView>),
    /// To [`Request::OrderWorkers`].
    Ordered(WorkersOrderAnswer),
    /// To [`Request::Settings`].
    Settings(ServerSettings),
    /// To [`Request::DrainNode`].
    Node(Box<NodeDrainAnswer>),
    /// To [`Request::PauseQueue`] and [`Request::ResumeQueue`].
    Queue(Box<QueueView>),
    /// To [`Request::PauseSchedule`] and [`Request::ResumeSchedule`].
    Schedule(Box<ScheduleAnswer>),
    /// To [`Request::TriggerSchedule`].
    Triggered(TriggerAnswer),
    /// To [`Request::RemoveSchedule`].
    Removed(Box<ScheduleChangeAnswer>),
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What another try could change.
    pub kind: FailureKind,
    /// What happened, one line.
    pub message: String,
    /// What was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What another try could change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No server answered: the link is down, and another try may succeed.
    Link,
    /// The token or the certificate is refused: another try is useless.
    Refused,
    /// The server answered, and not with what was asked.
    Answered,
}

impl Failure {
    /// A failure that is shown as this text.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: None, hint: None }
    }
}

/// Which log to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    /// The job.
    pub job: JobId,
    /// Only this attempt; by default all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// About this many last lines of what is there already.
    pub tail: u32,
}

/// News of a followed log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogNews {
    /// A line of the server's answer.
    Event(LogEvent),
    /// The connection was lost, or is back.
    Connected(bool),
    /// Nothing follows: the job has ended, or the log cannot be read.
    Ended(Option<Failure>),
}

impl LogNews {
    /// The position of an output, for those that have one.
    #[must_use]
    pub fn position(&self) -> Option<LogCursor> {
        match self {
            Self::Event(LogEvent::Chunk(part)) => part.position(),
            Self::Event(_) | Self::Connected(_) | Self::Ended(_) => None,
        }
    }
}

/// What of the cluster is watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Counts, rates, and what needs attention.
    Overview,
    /// Jobs that match a filter; an empty one matches all.
    Jobs(String),
    /// One job.
    Job(JobId),
    /// All workers.
    Workers,
    /// All queues.
    Queues,
    /// All schedules.
    Schedules,
    /// The number of dead letters.
    DeadLetters,
    /// Nodes and settings.
    Cluster,
    /// The output of all jobs that match a filter; an empty one matches all.
    Logs(String),
    /// Every change of workers, queues, schedules and nodes.
    Events,
}

/// News of a topic.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveNews {
    /// An event.
    Event(Box<LiveEvent>),
    /// The connection was lost; the stream tries again by itself.
    Lost(Failure),
    /// The server does not offer this topic, or refuses it.
    Ended(Failure),
}

/// Most news that wait for the dashboard: beyond it the sender waits.
pub(crate) const NEWS_MOST: usize = 1_024;

/// A cluster that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Its name, for the header and for questions.
    pub name: String,
    /// Behind its name.
    pub color: Option<ContextColor>,
    /// No change can be asked for.
    pub read_only: bool,
    /// Each change of many things asks for their number.
    pub protected: bool,
}

/// The clusters that the configuration names.
pub trait Contexts: Send + Sync + 'static {
    /// Their names.
    fn names(&self) -> Vec<String>;

    /// One of them, and what carries requests to it.
    ///
    /// # Errors
    /// There is none of this name, or it cannot be used.
    fn open(&self, name: &str) -> Result<(Context, Arc<dyn ServerCommands>), Failure>;
}

/// Carries requests to a server. Dropping a call cancels it.
#[async_trait]
pub trait ServerCommands: Send + Sync + 'static {
    /// Carries out one request.
    ///
    /// # Errors
    /// What kept the server from answering, or what it refused.
    async fn call(&self, request: &Request) -> Result<Answer, Failure>;

    /// Sends a log from its tail on, until the job has ended or the future is dropped.
    async fn follow(&self, request: LogRequest, news: Sender<LogNews>);

    /// Sends the news of a topic, until the future is dropped or nothing more can come.
    async fn watch(&self, topic: Topic, news: Sender<LiveNews>);
}

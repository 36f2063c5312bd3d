//! Publishes the events of jobs to the shards of their jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use orx_model::message::{Body, Envelope, Message, Started, VERSION};
use orx_model::{ExecutionId, Incarnation, JobId, MessageId, Outcome, Timestamp};
use orx_transport::{Channel, Shard, Transport, TransportError};

use super::Now;
use crate::output::EarlyChunks;

/// How long one batch waits for the transport. What it did not publish by then is held, and the answer
/// to a heartbeat asks for it.
const PUBLISH_WAIT: Duration = Duration::from_secs(1);

/// Publishes on behalf of one worker.
#[derive(Clone)]
pub(crate) struct Publisher {
    transport: Arc<dyn Transport>,
    from: Incarnation,
    now: Now,
    pub(crate) early: Arc<EarlyChunks>,
}

impl Publisher {
    pub(super) fn new(transport: Arc<dyn Transport>, from: Incarnation, now: Now) -> Self {
        Self { transport, from, now, early: Arc::new(EarlyChunks::new()) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub(crate) async fn publish(&self, job: JobId, message: Message) -> Result<(), TransportError> {
        self.to_shard(Shard::of(job), message).await
    }

    async fn to_shard(&self, shard: Shard, message: Message) -> Result<(), TransportError> {
        let envelope = Envelope {
            id: MessageId::random(&mut rand::rng()),
            version: VERSION,
            at: self.now(),
            from: self.from,
            to: None,
            trace: None,
            body: Body::Known(message),
        };
        self.transport.publish(Channel::Events(shard), vec![envelope]).await
    }
}

/// Starts and outcomes to publish together: for each shard one message of each kind.
#[derive(Default)]
pub(super) struct EventBatch {
    started: Vec<Started>,
    outcomes: Vec<Outcome>,
}

impl EventBatch {
    pub(super) fn add(&mut self, message: Message) {
        match message {
            Message::JobStatus { started } => self.started.extend(started),
            Message::JobResult { outcomes } => self.outcomes.extend(outcomes),
            _ => debug_assert!(false, "the protocol publishes starts and outcomes only"),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.started.is_empty() && self.outcomes.is_empty()
    }

    /// Publishes to all shards concurrently, so that a full one delays no other.
    pub(super) async fn publish(self, publisher: Publisher) {
        let shards = self.by_shard().into_iter().map(|(shard, messages)| {
            let publisher = &publisher;
            async move {
                for message in messages {
                    publisher.to_shard(shard, message).await?;
                }
                Ok::<(), TransportError>(())
            }
        });
        let shards = shards.map(|published| tokio::time::timeout(PUBLISH_WAIT, published));
        // The protocol holds each outcome until it is acknowledged: the heartbeat lists those that were
        // not, and the answer asks for them.
        for published in futures_util::future::join_all(shards).await {
            match published {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "could not report to the coordinator; recovery will ask");
                }
                Err(_) => {
                    tracing::warn!("the transport is full; recovery will ask for what is missing");
                }
            }
        }
    }

    /// For each shard, starts come before outcomes.
    fn by_shard(mut self) -> BTreeMap<Shard, Vec<Message>> {
        // A start adds nothing to an outcome of the same execution.
        if !self.outcomes.is_empty() && !self.started.is_empty() {
            let ended: BTreeSet<ExecutionId> =
                self.outcomes.iter().map(|outcome| outcome.execution).collect();
            self.started.retain(|started| !ended.contains(&started.execution));
        }
        let mut started: BTreeMap<Shard, Vec<_>> = BTreeMap::new();
        for one in self.started {
            started.entry(Shard::of(one.job)).or_default().push(one);
        }
        let mut outcomes: BTreeMap<Shard, Vec<_>> = BTreeMap::new();
        for one in self.outcomes {
            outcomes.entry(Shard::of(one.job)).or_default().push(one);
        }
        let mut all: BTreeMap<Shard, Vec<Message>> = BTreeMap::new();
        for (shard, started) in started {
            all.entry(shard).or_default().push(Message::JobStatus { started });
        }
        for (shard, outcomes) in outcomes {
            all.entry(shard).or_default().push(Message::JobResult { outcomes });
        }
        all
    }
}

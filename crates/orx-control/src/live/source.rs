//! Reads a shared topic, and compares it with what was read before.

use std::collections::BTreeMap;

use orx_model::event::EventCursor;
use orx_model::wire::live::{
    ClusterEvent, DeadLettersUpdated, LiveEvent, LiveState, QueueUpdated, Refetch, ScheduleUpdated,
    WorkerStatusUpdated,
};
use orx_model::wire::{ClusterStatus, Count, Overview, QueueView, V, WorkerView};
use orx_model::{Incarnation, Name, Timestamp};

use super::Frame;
use super::changes::Changes;
use super::jobs::ChangedJobs;
use super::overview::OverviewReader;
use super::shared::{LiveBatch, Topic};
use crate::view::DEAD_LETTERS_MAX;
use crate::{Caller, ControlPanel, Result, store_problem};

/// The new state, where readers that join need it, and what readers receive.
type Loaded = (Option<LiveState>, Vec<LiveBatch>);

/// What was read last.
pub(crate) enum TopicSource {
    Overview(Box<(OverviewReader, Option<Overview>)>),
    Jobs,
    Workers(Option<BTreeMap<Incarnation, WorkerView>>),
    Queues(Option<BTreeMap<Name, QueueView>>),
    Schedules,
    DeadLetters(Option<u64>),
    Cluster(Option<Box<ClusterStatus>>),
}

impl TopicSource {
    pub(crate) fn new(topic: Topic) -> Self {
        match topic {
            Topic::Overview => Self::Overview(Box::default()),
            Topic::Jobs => Self::Jobs,
            Topic::Workers => Self::Workers(None),
            Topic::Queues => Self::Queues(None),
            Topic::Schedules => Self::Schedules,
            Topic::DeadLetters => Self::DeadLetters(None),
            Topic::Cluster => Self::Cluster(None),
        }
    }

    /// Reads the topic after these changes.
    ///
    /// # Errors
    /// Errors of the store.
    pub(crate) async fn load(
        &mut self,
        panel: &ControlPanel,
        changes: &Changes,
        cursor: EventCursor,
    ) -> Result<Loaded> {
        let local = Caller::local();
        let frame =
            |event: LiveEvent| LiveBatch::Frame(Frame::new(Some(cursor.to_string()), &event));
        match self {
            Self::Overview(known) => {
                let overview = known.0.read(panel, changes.members).await?;
                let same = known
                    .1
                    .as_ref()
                    .is_some_and(|known| Overview { now: known.now, ..overview.clone() } == *known);
                known.1 = Some(overview.clone());
                let state = LiveState::Overview(Box::new(overview.clone()));
                let event = LiveEvent::OverviewUpdated(Box::new(overview));
                Ok((Some(state), if same { Vec::new() } else { vec![frame(event)] }))
            }
            Self::Jobs if changes.is_empty() => Ok((None, Vec::new())),
            Self::Jobs => {
                let changed = ChangedJobs::read(panel, changes, cursor).await?;
                Ok((None, vec![LiveBatch::Jobs(changed)]))
            }
            Self::Workers(known) => {
                let list = panel.workers(&local).await?;
                let now = list.workers.iter().map(|it| (it.incarnation, it.clone())).collect();
                let changed = known.as_ref().and_then(|known| difference(known, &now));
                *known = Some(now);
                let event = |(workers, gone)| {
                    LiveEvent::WorkerStatusUpdated(WorkerStatusUpdated { v: V, workers, gone })
                };
                let batches = changed.map(|changed| frame(event(changed))).into_iter().collect();
                Ok((Some(LiveState::Workers(list)), batches))
            }
            Self::Queues(known) => {
                let list = panel.queues(&local).await?;
                let now = list.queues.iter().map(|it| (it.queue.clone(), it.clone())).collect();
                let changed = known.as_ref().and_then(|known| difference(known, &now));
                *known = Some(now);
                let event =
                    |(queues, gone)| LiveEvent::QueueUpdated(QueueUpdated { v: V, queues, gone });
                let batches = changed.map(|changed| frame(event(changed))).into_iter().collect();
                Ok((Some(LiveState::Queues(list)), batches))
            }
            Self::Schedules if changes.is_empty() => Ok((None, Vec::new())),
            Self::Schedules => {
                let Some(ids) = changes.schedules() else {
                    let changed = if changes.gap { 0 } else { changes.count };
                    let refetch = LiveEvent::Refetch(Refetch { v: V, changed });
                    return Ok((None, vec![frame(refetch)]));
                };
                let (mut schedules, mut gone) = (Vec::new(), Vec::new());
                for id in ids {
                    match panel.schedule_view(id).await? {
                        Some(view) => schedules.push(view),
                        None => gone.push(id.clone()),
                    }
                }
                let updated = ScheduleUpdated { v: V, schedules, gone };
                Ok((None, vec![frame(LiveEvent::ScheduleUpdated(updated))]))
            }
            Self::DeadLetters(known) => {
                if known.is_some() && !changes.is_empty() && !changes.dead {
                    return Ok((None, Vec::new()));
                }
                let count = panel.store().dead_letter_count(DEAD_LETTERS_MAX).await;
                let count = count.map_err(store_problem)?;
                let before = known.replace(count);
                // At the limit, or after as many retries as failures, the number says nothing about a change.
                let same = before == Some(count) && count < DEAD_LETTERS_MAX && !changes.dead;
                if before.is_none() || same {
                    return Ok((None, Vec::new()));
                }
                let count = Count { count, exact: count < DEAD_LETTERS_MAX };
                let updated = DeadLettersUpdated { v: V, count };
                Ok((None, vec![frame(LiveEvent::DeadLettersUpdated(updated))]))
            }
            Self::Cluster(known) => {
                let status = Box::new(panel.cluster(&local).await?);
                let same = known.as_ref().is_some_and(|known| still(known) == still(&status));
                *known = Some(status.clone());
                let state = LiveState::Cluster(status.clone());
                if same && changes.nodes.is_empty() {
                    return Ok((Some(state), Vec::new()));
                }
                let changes = changes.nodes.iter().cloned().collect();
                let event = LiveEvent::ClusterEvent(ClusterEvent { v: V, status, changes });
                Ok((Some(state), vec![frame(event)]))
            }
        }
    }
}

/// The status without what changes all the time.
fn still(status: &ClusterStatus) -> ClusterStatus {
    let mut status = status.clone();
    status.now = Timestamp::default();
    status.links.iter_mut().for_each(|link| link.last_echo = None);
    status.nodes.iter_mut().for_each(|node| node.seen_at = Timestamp::default());
    status
}

/// The objects that are new or changed, and the keys of those that are gone. `None`: nothing changed.
fn difference<K: Ord + Clone, T: PartialEq + Clone>(
    before: &BTreeMap<K, T>,
    now: &BTreeMap<K, T>,
) -> Option<(Vec<T>, Vec<K>)> {
    let changed = now.iter().filter(|(key, object)| before.get(key) != Some(object));
    let gone = before.keys().filter(|key| !now.contains_key(key));
    let changed: Vec<T> = changed.map(|(_, object)| object.clone()).collect();
    let gone: Vec<K> = gone.cloned().collect();
    (!changed.is_empty() || !gone.is_empty()).then_some((changed, gone))
}

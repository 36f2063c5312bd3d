//! The overview of a cluster. What is expensive to read and changes slowly is read less often.

use std::time::Duration;

use orx_model::schedule::wire::ScheduleCounts;
use orx_model::wire::{
    Attention, NodeView, Overview, QueueOverview, QueueView, StatusCounts, V, WorkerView,
};
use orx_store::Term;
use tokio::time::Instant;

use super::attention::{Findings, attention};
use crate::view::DEAD_LETTERS_MAX;
use crate::{ControlPanel, Result, store_problem};

/// Queues of an overview, at most.
const QUEUES: usize = 50;
/// How long the slowly changing parts count as current.
const SLOW_FOR: Duration = Duration::from_secs(2);

/// Reads overviews, one after the other.
#[derive(Default)]
pub(crate) struct OverviewReader {
    slow: Option<(Instant, SlowParts)>,
}

/// What changes slowly, or is expensive to read.
struct SlowParts {
    workers: Vec<WorkerView>,
    nodes: Vec<NodeView>,
    leader: Option<Term>,
    dead_letters: u64,
    schedules: ScheduleCounts,
    schedules_late: Vec<Attention>,
    clock: Option<Attention>,
}

impl OverviewReader {
    /// `members_changed`: a worker or node changed since the last call.
    ///
    /// # Errors
    /// Errors of the store.
    pub(crate) async fn read(
        &mut self,
        panel: &ControlPanel,
        members_changed: bool,
    ) -> Result<Overview> {
        let fresh = |(at, _): &(Instant, SlowParts)| at.elapsed() < SLOW_FOR && !members_changed;
        let slow = match self.slow.take().filter(fresh) {
            Some(slow) => slow,
            None => (Instant::now(), SlowParts::read(panel).await?),
        };
        let (_, parts) = self.slow.insert(slow);
        panel.overview_of(parts).await
    }
}

impl SlowParts {
    async fn read(panel: &ControlPanel) -> Result<Self> {
        let dead_letters = panel.store().dead_letter_count(DEAD_LETTERS_MAX).await;
        let leader = panel.store().leader(panel.now()).await.map_err(store_problem)?;
        let (schedules, schedules_late) = panel.schedule_attention().await?;
        Ok(Self {
            workers: panel.worker_views().await?,
            nodes: panel.node_views().await?,
            leader: leader.map(|(term, _)| term),
            dead_letters: dead_letters.map_err(store_problem)?,
            schedules,
            schedules_late,
            clock: panel.clock_attention().await?,
        })
    }
}

impl ControlPanel {
    async fn overview_of(&self, slow: &SlowParts) -> Result<Overview> {
        let queues = self.queue_views().await?;
        let now = self.now();
        let mut counts = StatusCounts::default();
        queues.iter().for_each(|queue| counts.add(&queue.counts));
        let (rates, last_hour, wait, run) = self.inner.live.counters.read(self);
        let live: Vec<&WorkerView> = slow.workers.iter().filter(|worker| worker.live).collect();
        let store_problem = self.condition_text().await;
        let broken_links = self.broken_links(&self.link_views(&live));
        let leader = slow.leader;
        let leader_row =
            slow.nodes.iter().find(|node| Some(node.node) == leader.map(|term| term.node));
        let (store_ok, transport_ok) = (store_problem.is_none(), broken_links.is_empty());
        let mut attention = attention(&Findings {
            now,
            store_problem,
            has_leader: leader.is_some(),
            nodes: &slow.nodes,
            workers: &slow.workers,
            ready: counts.pending,
            queues: &queues,
            broken_links,
            dead_letters: slow.dead_letters,
            failed_last_hour: last_hour.failed + last_hour.timed_out,
        });
        attention.extend(slow.schedules_late.iter().cloned());
        attention.extend(slow.clock.clone());
        attention.sort_by_key(|item| item.kind);
        let sum = |of: fn(&WorkerView) -> u32| {
            live.iter().fold(0_u32, |sum, it| sum.saturating_add(of(it)))
        };
        let (queues, queues_more) = listed(queues, now);
        Ok(Overview {
            v: V,
            node: self.inner.settings.node,
            now,
            leader: leader.map(|term| term.node),
            leader_name: leader_row.map(|node| node.name.clone()),
            epoch: leader.map_or(0, |term| term.epoch),
            nodes_live: slow.nodes.iter().filter(|node| node.live).count() as u32,
            nodes: slow.nodes.len() as u32,
            workers_live: live.len() as u32,
            workers: slow.workers.len() as u32,
            slots: sum(|it| it.slots),
            active: sum(|it| it.active),
            prefetched: sum(|it| it.prefetched),
            counts,
            last_hour,
            queues,
            queues_more,
            rates,
            wait,
            run,
            dead_letters: slow.dead_letters,
            schedules: slow.schedules,
            store_ok,
            transport_ok,
            attention,
        })
    }
}

/// Paused queues and those with open jobs, longest wait first, and the number of the others.
fn listed(queues: Vec<QueueView>, now: orx_model::Timestamp) -> (Vec<QueueOverview>, u32) {
    let all = queues.len();
    let open = |counts: &StatusCounts| {
        counts.created + counts.pending + counts.scheduled + counts.dispatched + counts.running
    };
    let mut listed: Vec<QueueOverview> = queues
        .into_iter()
        .map(|view| QueueOverview {
            oldest_ms: view.oldest_due.map(|due| now.saturating_since(due).as_millis() as u64),
            queue: view.queue,
            counts: view.counts,
            paused: view.paused,
        })
        .collect();
    let rank = |it: &QueueOverview| {
        let open = open(&it.counts);
        (it.paused.is_none() && open == 0, std::cmp::Reverse((it.oldest_ms, open)))
    };
    listed.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.queue.cmp(&b.queue)));
    listed.truncate(QUEUES);
    let more = all - listed.len();
    (listed, more as u32)
}

#[cfg(test)]
mod tests {
    use orx_model::{Name, Timestamp};

    use super::*;

    #[test]
    fn queues_that_wait_come_first_and_idle_ones_last() {
        let now = Timestamp::from_millis(100_000);
        let view = |name: &str, pending, running, waited: Option<i64>| QueueView {
            queue: Name::from_any(name),
            counts: StatusCounts { pending, running, ..StatusCounts::default() },
            oldest_due: waited.map(|ms| Timestamp::from_millis(100_000 - ms)),
            paused: None,
        };
        let mut queues = vec![
            view("idle", 0, 0, None),
            view("short", 9, 0, Some(5)),
            view("runs", 0, 3, None),
            view("long", 1, 0, Some(700)),
        ];
        let names = |queues: &[QueueOverview]| -> Vec<String> {
            queues.iter().map(|it| it.queue.to_string()).collect()
        };
        let (found, more) = listed(queues.clone(), now);
        assert_eq!(
            (names(&found), more),
            (["long", "short", "runs", "idle"].map(String::from).to_vec(), 0)
        );
        assert_eq!(found[0].oldest_ms, Some(700));
        queues.extend((0..60).map(|at| view(&format!("q{at}"), 0, 0, None)));
        assert_eq!(listed(queues, now).1, 14);
    }
}

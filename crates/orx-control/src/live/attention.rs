//! What needs a person, worst first.

use orx_model::message::WorkerDirective;
use orx_model::time::format_duration;
use orx_model::wire::{Attention, AttentionKind, NodeView, QueueView, WorkerView};
use orx_model::{Name, Timestamp};

use crate::view::{DEAD_LETTERS_MAX, zones_differ};

/// A queue whose oldest ready job waits longer than this needs attention.
const LONG_WAIT_MS: u128 = 5 * 60 * 1_000;

/// What was read of the cluster.
pub(crate) struct Findings<'a> {
    pub(crate) now: Timestamp,
    /// Why the store accepts no writes, or the server takes no jobs.
    pub(crate) store_problem: Option<String>,
    pub(crate) has_leader: bool,
    pub(crate) nodes: &'a [NodeView],
    pub(crate) workers: &'a [WorkerView],
    /// Number of ready jobs.
    pub(crate) ready: u64,
    pub(crate) queues: &'a [QueueView],
    /// A text for each link that is down.
    pub(crate) broken_links: Vec<String>,
    /// Counted up to [`DEAD_LETTERS_MAX`].
    pub(crate) dead_letters: u64,
    /// Jobs that failed or timed out for good within the last hour; 0 where that is not counted.
    pub(crate) failed_last_hour: u64,
}

pub(crate) fn item(kind: AttentionKind, object: Option<String>, text: String) -> Attention {
    Attention { kind, object, text }
}

/// Everything that needs a person, in the order of its kinds.
pub(crate) fn attention(found: &Findings<'_>) -> Vec<Attention> {
    let mut all = Vec::new();
    if let Some(text) = &found.store_problem {
        all.push(item(AttentionKind::Store, None, text.clone()));
    }
    if !found.has_leader {
        let text = "there is no leader: no job is dispatched until a node leads".to_owned();
        all.push(item(AttentionKind::NoLeader, None, text));
    }
    if found.ready > 0 && !found.workers.iter().any(|worker| worker.live) {
        let text = format!("{} jobs wait and there is no live worker", found.ready);
        all.push(item(AttentionKind::NoWorker, None, text));
    }
    // One that runs again under its name needs nobody.
    let runs_again = |name: &Name| found.nodes.iter().any(|node| node.live && node.name == *name);
    for node in found.nodes.iter().filter(|node| !node.live && !runs_again(&node.name)) {
        let text = format!("node {} is silent", node.name);
        all.push(item(AttentionKind::NodeLost, Some(node.name.to_string()), text));
    }
    for worker in found.workers {
        if !worker.live && worker.order != Some(WorkerDirective::Fence) {
            let silent = format_duration(found.now.saturating_since(worker.seen_at));
            let text = format!("worker {} is silent for {silent}", worker.name);
            all.push(item(AttentionKind::WorkerLost, Some(worker.name.to_string()), text));
        }
    }
    for text in &found.broken_links {
        all.push(item(AttentionKind::Link, None, text.clone()));
    }
    for queue in found.queues.iter().filter(|queue| queue.paused.is_none()) {
        let waits = queue.oldest_due.map(|due| found.now.saturating_since(due));
        if let Some(waits) = waits.filter(|waits| waits.as_millis() > LONG_WAIT_MS) {
            let text = format!("queue {} waits {}", queue.queue, format_duration(waits));
            all.push(item(AttentionKind::QueueWaits, Some(queue.queue.to_string()), text));
        }
    }
    if found.dead_letters > 0 {
        let at_least = if found.dead_letters < DEAD_LETTERS_MAX { "" } else { "at least " };
        let grows = match found.failed_last_hour {
            0 => String::new(),
            failed => format!(", {failed} jobs failed in the last hour"),
        };
        let text = format!("{at_least}{} dead letters{grows}: `orx dlq list`", found.dead_letters);
        all.push(item(AttentionKind::DeadLetters, None, text));
    }
    if let Some(text) = zones_differ(found.nodes) {
        all.push(item(AttentionKind::Zones, None, text));
    }
    all
}

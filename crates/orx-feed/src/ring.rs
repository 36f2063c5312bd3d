//! The newest events, in batches as they were published. Events are numbered from 1 without holes; a gap
//! has a number too.

use std::collections::VecDeque;
use std::sync::Arc;

use orx_model::Incarnation;
use orx_model::event::Event;

pub(crate) struct Batch {
    pub(crate) origin: Incarnation,
    /// A change of this node, not one that another node sent.
    pub(crate) own: bool,
    /// Empty for a gap.
    pub(crate) events: Box<[Event]>,
}

impl Batch {
    pub(crate) fn is_gap(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn numbers(&self) -> usize {
        self.events.len().max(1)
    }
}

pub(crate) struct Ring {
    capacity: usize,
    next: u64,
    /// Numbers in the ring: events, and one for each gap.
    held: usize,
    /// Each with the number of its first event.
    batches: VecDeque<(u64, Arc<Batch>)>,
}

impl Ring {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, next: 1, held: 0, batches: VecDeque::new() }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest event, or of the next if there is none.
    pub(crate) fn oldest(&self) -> u64 {
        self.batches.front().map_or(self.next, |(first, _)| *first)
    }

    /// Adds a batch of at most the capacity. Returns the number of its first event, and the batches that it
    /// pushed out.
    pub(crate) fn push(&mut self, batch: Arc<Batch>) -> (u64, Vec<Arc<Batch>>) {
        let first = self.next;
        self.next += batch.numbers() as u64;
        self.held += batch.numbers();
        self.batches.push_back((first, batch));
        let mut gone = Vec::new();
        while self.held > self.capacity
            && let Some((_, old)) = self.batches.pop_front()
        {
            self.held -= old.numbers();
            gone.push(old);
        }
        (first, gone)
    }

    /// Up to `most` batches, from the one that holds event `seq` on; none if `seq` is the next event. `None`:
    /// the event has left the ring, or is yet to come.
    pub(crate) fn from(&self, seq: u64, most: usize) -> Option<Vec<(u64, Arc<Batch>)>> {
        if !(self.oldest()..=self.next).contains(&seq) {
            return None;
        }
        let after = self.batches.partition_point(|(first, _)| *first <= seq);
        // The one before holds it, unless it is the next.
        let start = if seq == self.next { after } else { after.saturating_sub(1) };
        Some(self.batches.iter().skip(start).take(most).cloned().collect())
    }
}

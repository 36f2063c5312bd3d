//! The newest events, in batches as they were published. Numbers begin with 1 and have no holes; a
//! gap has a number as well.

use std::collections::VecDeque;
use std::sync::Arc;

use orx_model::Incarnation;
use orx_model::event::Event;

pub(crate) struct Batch {
    pub(crate) origin: Incarnation,
    /// Not passed on by another node.
    pub(crate) own: bool,
    /// None is a gap.
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
    kept: usize,
    /// Each with the number of its first event.
    batches: VecDeque<(u64, Arc<Batch>)>,
}

impl Ring {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, next: 1, kept: 0, batches: VecDeque::new() }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    fn oldest(&self) -> u64 {
        self.batches.front().map_or(self.next, |(first, _)| *first)
    }

    /// Takes a batch of at most its capacity. Answers the number of its first event, and what lost
    /// its place to it.
    pub(crate) fn push(&mut self, batch: Arc<Batch>) -> (u64, Vec<Arc<Batch>>) {
        let first = self.next;
        self.next += batch.numbers() as u64;
        self.kept += batch.numbers();
        self.batches.push_back((first, batch));
        let mut gone = Vec::new();
        while self.kept > self.capacity
            && let Some((_, old)) = self.batches.pop_front()
        {
            self.kept -= old.numbers();
            gone.push(old);
        }
        (first, gone)
    }

    /// Batches from the one with that number on, some of them; none if it is the next. `None`: it is
    /// not there any more, or not yet.
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

//! Who gets the next ready job: lanes, each in the order of dispatch, are merged into one order over
//! all of them. Knows no database: whoever reads the lanes asks it what to read and what to give.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use orx_model::Lane;

use crate::{CLAIM_MOST, ClaimRequest};

/// A job's place in the order of dispatch: urgency, due time, id.
pub(crate) type ReadyOrder = (i64, i64, i64);

/// Before every place.
pub(crate) const START: ReadyOrder = (i64::MIN, i64::MIN, i64::MIN);

#[derive(Debug)]
pub(crate) struct Merge {
    lanes: Vec<LaneReader>,
    /// The first place of each lane that has one at hand.
    heads: BinaryHeap<Reverse<(ReadyOrder, usize)>>,
    /// Lanes to be read before anything can be given.
    wanted: Vec<usize>,
    takers: Takers,
    /// Lanes of which everything was given to the caller.
    emptied: Vec<i64>,
}

/// A lane while it is read.
#[derive(Debug)]
struct LaneReader {
    id: i64,
    /// The requests whose offer takes the lane, in their order.
    fits: Vec<usize>,
    rows: VecDeque<ReadyOrder>,
    last: ReadyOrder,
    ended: bool,
    /// A job of it stays where it is.
    keeps: bool,
}

/// A lane that has to be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    /// As [`Merge::feed`] is told it.
    pub(crate) number: usize,
    pub(crate) lane: i64,
    /// From after this place.
    pub(crate) after: ReadyOrder,
}

/// The next job that a worker can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) job: i64,
    pub(crate) run_at: i64,
    pub(crate) lane: i64,
    /// Of its lane among those that are merged.
    number: usize,
}

/// A request, and which of its executions a job became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) request: usize,
    pub(crate) execution: usize,
}

/// Who still takes how much.
#[derive(Debug)]
pub(crate) struct Takers {
    /// Jobs that may still be given, over all requests.
    most: usize,
    of: Vec<Taker>,
}

#[derive(Debug)]
struct Taker {
    /// Jobs that it still takes.
    left: usize,
    /// How many of those would wait at the worker for a slot.
    prefetch: usize,
    /// Attempts of the worker, those given here among them.
    held: usize,
    given: usize,
}

impl Takers {
    pub(crate) fn new(requests: &[ClaimRequest]) -> Self {
        let of = requests.iter().map(|request| Taker {
            left: request.executions.len(),
            prefetch: request.prefetch,
            held: request.held,
            given: 0,
        });
        Self { most: CLAIM_MOST, of: of.collect() }
    }

    pub(crate) fn takes_more(&self, request: usize) -> bool {
        self.of[request].left > 0
    }

    pub(crate) fn left(&self) -> usize {
        self.of.iter().map(|taker| taker.left).sum::<usize>().min(self.most)
    }

    /// Gives a job to one of the requests that it fits. One that runs alone goes to a worker that has
    /// nothing, and that gets nothing more; where there is none, the worker that has least gets
    /// nothing more, so that it comes to have nothing, and the job waits.
    pub(crate) fn give(&mut self, fits: impl Iterator<Item = usize>, alone: bool) -> Option<Given> {
        let fits: Vec<usize> = fits.filter(|request| self.takes_more(*request)).collect();
        let empty = |request: &usize| self.of[*request].held == 0;
        let to = fits
            .iter()
            .copied()
            .filter(|request| !alone || empty(request))
            .max_by_key(|request| self.preference(*request));
        let Some(request) = to else {
            if let Some(least) = fits.iter().min_by_key(|request| self.of[**request].held) {
                self.of[*least].left = 0;
            }
            return None;
        };
        let taker = &mut self.of[request];
        let execution = taker.given;
        taker.given += 1;
        taker.held += 1;
        taker.left = if alone { 0 } else { taker.left - 1 };
        self.most -= 1;
        Some(Given { request, execution })
    }

    /// Prefers the worker with the most free slots, then the one that takes most in all; ties go to the
    /// lower index.
    fn preference(&self, request: usize) -> (usize, usize, Reverse<usize>) {
        let Taker { left, prefetch, .. } = self.of[request];
        (left.saturating_sub(prefetch), left, Reverse(request))
    }
}

impl Merge {
    /// Of `lanes`, those that a worker with free slots takes.
    pub(crate) fn new<'l>(
        requests: &[ClaimRequest],
        lanes: impl Iterator<Item = (&'l Lane, i64)>,
    ) -> Self {
        let takers = Takers::new(requests);
        let lanes: Vec<LaneReader> = lanes
            .filter_map(|(lane, id)| {
                let takes =
                    |place: &usize| takers.takes_more(*place) && requests[*place].offer.takes(lane);
                let fits: Vec<usize> = (0..requests.len()).filter(takes).collect();
                let (rows, last) = (VecDeque::new(), START);
                let reader = LaneReader { id, fits, rows, last, ended: false, keeps: false };
                (!reader.fits.is_empty()).then_some(reader)
            })
            .collect();
        let wanted = (0..lanes.len()).collect();
        Self { lanes, heads: BinaryHeap::new(), wanted, takers, emptied: Vec::new() }
    }

    pub(crate) fn left(&self) -> usize {
        self.takers.left()
    }

    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// What has to be read before [`Self::next`] can go on.
    pub(crate) fn wants(&self) -> Vec<Want> {
        self.wanted.iter().map(|number| self.want_of(*number)).collect()
    }

    /// One of those.
    pub(crate) fn want(&self) -> Option<Want> {
        self.wanted.last().map(|number| self.want_of(*number))
    }

    fn want_of(&self, number: usize) -> Want {
        let reader = &self.lanes[number];
        Want { number, lane: reader.id, after: reader.last }
    }

    /// Lanes that hold nothing beyond what [`Self::next`] gave out.
    pub(crate) fn emptied(&self) -> &[i64] {
        &self.emptied
    }

    /// The next rows of a lane, in its order. `ended`: there are none after them.
    pub(crate) fn feed(&mut self, number: usize, rows: Vec<ReadyOrder>, ended: bool) {
        self.wanted.retain(|wanted| *wanted != number);
        let Some(reader) = self.lanes.get_mut(number) else { return };
        reader.last = rows.last().copied().unwrap_or(reader.last);
        reader.ended = ended;
        reader.rows.extend(rows);
        self.advance(number);
    }

    fn advance(&mut self, number: usize) {
        let reader = &mut self.lanes[number];
        match reader.rows.pop_front() {
            Some(place) => self.heads.push(Reverse((place, number))),
            None if reader.ended && reader.keeps => {}
            None if reader.ended => self.emptied.push(reader.id),
            None => self.wanted.push(number),
        }
    }

    /// Lanes of which no worker takes more are read no further.
    fn forget_unwanted(&mut self) {
        let (lanes, takers) = (&self.lanes, &self.takers);
        let takes = |request: &usize| takers.takes_more(*request);
        self.wanted.retain(|number| lanes[*number].fits.iter().any(takes));
    }

    /// The next job for somebody, or `None` where a lane has to be read first or nothing is left.
    pub(crate) fn next(&mut self) -> Option<Next> {
        while self.wanted.is_empty() && self.left() > 0 {
            let Reverse((place, number)) = self.heads.pop()?;
            let reader = &self.lanes[number];
            // No worker takes more of this lane: it is read no further.
            if !reader.fits.iter().any(|request| self.takers.takes_more(*request)) {
                continue;
            }
            let next = Next { job: place.2, run_at: place.1, lane: reader.id, number };
            self.advance(number);
            return Some(next);
        }
        None
    }

    /// Gives it to somebody, or leaves it where it is, for now.
    pub(crate) fn give(&mut self, next: Next, alone: bool) -> Option<Given> {
        let reader = &mut self.lanes[next.number];
        let given = self.takers.give(reader.fits.iter().copied(), alone);
        if given.is_none() {
            reader.keeps = true;
            self.emptied.retain(|lane| *lane != next.lane);
        }
        self.forget_unwanted();
        given
    }
}

#[cfg(test)]
mod tests {
    use orx_model::{Capabilities, ExecutionId, Incarnation};

    use super::*;

    fn lane(handler: &str) -> Lane {
        let handler = Some(handler.parse().expect("a name"));
        Lane { queue: "q".parse().expect("a name"), handler, require: Default::default() }
    }

    fn request(handlers: &[&str], free_slots: u128) -> ClaimRequest {
        let handlers = handlers.iter().map(|it| it.parse().expect("a name")).collect();
        ClaimRequest {
            worker: Incarnation(1),
            worker_name: "w".parse().expect("a name"),
            offer: Capabilities { handlers, ..Capabilities::default() },
            executions: (0..free_slots).map(ExecutionId).collect(),
            prefetch: 0,
            held: 0,
        }
    }

    #[test]
    fn lanes_are_merged_and_read_on_only_where_they_end_first() {
        let requests = [request(&["a", "b"], 3)];
        let (a, b, c) = (lane("a"), lane("b"), lane("c"));
        let mut merge = Merge::new(&requests, [(&a, 1), (&b, 2), (&c, 3)].into_iter());
        assert_eq!(merge.lanes(), 2);
        assert_eq!(merge.next(), None);
        merge.feed(0, vec![(2, 1, 1), (2, 3, 2)], false);
        merge.feed(1, vec![(2, 2, 3)], true);
        let mut jobs = Vec::new();
        while let Some(next) = merge.next() {
            assert!(merge.give(next, false).is_some());
            jobs.push(next.job);
        }
        // What lane `a` goes on with may come before anything else.
        assert_eq!(jobs, [1, 3, 2]);
        assert_eq!(merge.left(), 0);
    }

    #[test]
    fn nothing_is_given_beyond_what_is_known_of_a_lane() {
        let requests = [request(&["a", "b"], 9)];
        let (a, b) = (lane("a"), lane("b"));
        let mut merge = Merge::new(&requests, [(&a, 1), (&b, 2)].into_iter());
        merge.feed(0, vec![(2, 1, 1)], false);
        merge.feed(1, vec![(2, 5, 2)], true);
        assert_eq!(merge.next().map(|next| next.job), Some(1));
        assert_eq!(merge.next(), None);
        assert_eq!(merge.wants(), [Want { number: 0, lane: 1, after: (2, 1, 1) }]);
        merge.feed(0, vec![(2, 4, 3)], true);
        assert_eq!(merge.next().map(|next| next.job), Some(3));
        assert_eq!(merge.next().map(|next| next.job), Some(2));
    }
}

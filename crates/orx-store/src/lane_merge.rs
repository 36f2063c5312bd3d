//! Assigns ready jobs to workers: merges lanes, each in the order of dispatch, into one order over all
//! of them. Knows no database: a store asks it which lane to read next and which worker gets a job.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use orx_model::Lane;

use crate::{CLAIM_MOST, ClaimRequest};

/// The sort key of a ready job: priority rank, due time in milliseconds, id. The lowest goes first.
pub(crate) type ReadyOrder = (i64, i64, i64);

/// Sorts before every job.
pub(crate) const START: ReadyOrder = (i64::MIN, i64::MIN, i64::MIN);

/// Merges the lanes of one claim.
#[derive(Debug)]
pub(crate) struct Merge {
    lanes: Vec<LaneReader>,
    /// The first job of each lane that has one in memory.
    heads: BinaryHeap<Reverse<(ReadyOrder, usize)>>,
    /// Lanes to read before the next job is known.
    wanted: Vec<usize>,
    takers: Takers,
    /// Lanes without a job beyond those that [`Self::next`] returned.
    emptied: Vec<i64>,
}

/// A lane while it is read.
#[derive(Debug)]
struct LaneReader {
    id: i64,
    /// Indexes of the requests whose offer takes the lane, ascending.
    fits: Vec<usize>,
    rows: VecDeque<ReadyOrder>,
    last: ReadyOrder,
    ended: bool,
    /// A job that no worker got stays in the lane.
    keeps: bool,
}

/// The next rows to read of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneWindow {
    /// Names the lane to [`Merge::feed`].
    pub(crate) number: usize,
    /// Id of the lane in the store.
    pub(crate) lane: i64,
    /// The last row that was read.
    pub(crate) after: ReadyOrder,
}

/// The next job that a worker can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) job: i64,
    pub(crate) run_at: i64,
    pub(crate) lane: i64,
    /// Index of its lane in the merge.
    number: usize,
}

/// The request that gets a job, and the execution id of it that the job gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Given {
    /// Index of the request.
    pub(crate) request: usize,
    /// Index in [`ClaimRequest::executions`].
    pub(crate) execution: usize,
}

/// How many jobs each request still takes.
#[derive(Debug)]
pub(crate) struct Takers {
    /// Jobs that may still be claimed, over all requests.
    most: usize,
    of: Vec<Taker>,
}

#[derive(Debug)]
struct Taker {
    /// Jobs that the worker still takes.
    left: usize,
    /// How many of those would wait at the worker for a free slot.
    prefetch: usize,
    /// Attempts of the worker, including those of this claim.
    held: usize,
    /// Jobs that it got in this claim.
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

    /// Assigns a job to one of the requests that it fits; see
    /// [`claim_ready`](crate::Dispatching::claim_ready) for the choice. `None`: the job waits.
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

    /// Prefers the worker with the most free slots, then the one with the most prefetch; ties go to the
    /// lower index.
    fn preference(&self, request: usize) -> (usize, usize, Reverse<usize>) {
        let Taker { left, prefetch, .. } = self.of[request];
        (left.saturating_sub(prefetch), left, Reverse(request))
    }
}

impl Merge {
    /// Reads only those of `lanes` that a worker with free slots or prefetch takes.
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

    /// Every lane to read before [`Self::next`] can return a job.
    pub(crate) fn wants(&self) -> Vec<LaneWindow> {
        self.wanted.iter().map(|number| self.want_of(*number)).collect()
    }

    /// One of [`Self::wants`].
    pub(crate) fn want(&self) -> Option<LaneWindow> {
        self.wanted.last().map(|number| self.want_of(*number))
    }

    fn want_of(&self, number: usize) -> LaneWindow {
        let reader = &self.lanes[number];
        LaneWindow { number, lane: reader.id, after: reader.last }
    }

    /// Lanes without a job beyond those that [`Self::next`] returned.
    pub(crate) fn emptied(&self) -> &[i64] {
        &self.emptied
    }

    /// Adds the next rows of a lane, in its order. `ended`: no rows follow them.
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

    /// Stops reading lanes that no worker takes more of.
    fn forget_unwanted(&mut self) {
        let (lanes, takers) = (&self.lanes, &self.takers);
        let takes = |request: &usize| takers.takes_more(*request);
        self.wanted.retain(|number| lanes[*number].fits.iter().any(takes));
    }

    /// The next job in the merged order; `None` if a lane has to be read first, or no job is left.
    pub(crate) fn next(&mut self) -> Option<Next> {
        while self.wanted.is_empty() && self.left() > 0 {
            let Reverse((place, number)) = self.heads.pop()?;
            let reader = &self.lanes[number];
            // No worker takes more of this lane.
            if !reader.fits.iter().any(|request| self.takers.takes_more(*request)) {
                continue;
            }
            let next = Next { job: place.2, run_at: place.1, lane: reader.id, number };
            self.advance(number);
            return Some(next);
        }
        None
    }

    /// Assigns the job to a request; `None` leaves it pending.
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
    fn lanes_are_merged_and_a_lane_is_read_again_only_after_its_last_row() {
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
        // The next row of lane `a` may sort before every other.
        assert_eq!(jobs, [1, 3, 2]);
        assert_eq!(merge.left(), 0);
    }

    #[test]
    fn no_job_is_returned_while_a_lane_has_to_be_read_first() {
        let requests = [request(&["a", "b"], 9)];
        let (a, b) = (lane("a"), lane("b"));
        let mut merge = Merge::new(&requests, [(&a, 1), (&b, 2)].into_iter());
        merge.feed(0, vec![(2, 1, 1)], false);
        merge.feed(1, vec![(2, 5, 2)], true);
        assert_eq!(merge.next().map(|next| next.job), Some(1));
        assert_eq!(merge.next(), None);
        assert_eq!(merge.wants(), [LaneWindow { number: 0, lane: 1, after: (2, 1, 1) }]);
        merge.feed(0, vec![(2, 4, 3)], true);
        assert_eq!(merge.next().map(|next| next.job), Some(3));
        assert_eq!(merge.next().map(|next| next.job), Some(2));
    }
}

//! Who gets the next ready job: lanes, each in the order of dispatch, are merged into one order over
//! all of them. Knows no database: whoever reads the lanes asks it what to read and what to give.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use orx_model::Lane;

use crate::{CLAIM_MOST, ClaimRequest};

/// A job's place in the order of dispatch: urgency, due time, id.
pub(crate) type Place = (i64, i64, i64);

/// Before every place.
pub(crate) const START: Place = (i64::MIN, i64::MIN, i64::MIN);

#[derive(Debug)]
pub(crate) struct Merge {
    lanes: Vec<Reader>,
    /// The first place of each lane that has one at hand.
    heads: BinaryHeap<Reverse<(Place, usize)>>,
    /// Lanes to be read before anything can be given.
    wanted: Vec<usize>,
    /// Jobs that may still be given, over all requests.
    most: usize,
    /// What each request still takes.
    room: Vec<usize>,
    /// Of that, what would wait there.
    ahead: Vec<usize>,
    /// Lanes of which everything was given to the caller.
    emptied: Vec<i64>,
}

/// A lane while it is read.
#[derive(Debug)]
struct Reader {
    id: i64,
    /// The requests whose offer takes the lane, in their order.
    fits: Vec<usize>,
    rows: VecDeque<Place>,
    last: Place,
    ended: bool,
}

/// A lane that has to be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Want {
    /// As [`Merge::feed`] is told it.
    pub(crate) number: usize,
    pub(crate) lane: i64,
    /// From after this place.
    pub(crate) after: Place,
}

/// A job, and the request that would get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) job: i64,
    pub(crate) run_at: i64,
    pub(crate) lane: i64,
    pub(crate) request: usize,
}

impl Merge {
    /// Of `lanes`, those that somebody with room takes.
    pub(crate) fn new<'l>(
        requests: &[ClaimRequest],
        lanes: impl Iterator<Item = (&'l Lane, i64)>,
    ) -> Self {
        let room: Vec<usize> = requests.iter().map(|request| request.executions.len()).collect();
        let lanes: Vec<Reader> = lanes
            .filter_map(|(lane, id)| {
                let takes = |place: &usize| room[*place] > 0 && requests[*place].offer.takes(lane);
                let fits: Vec<usize> = (0..requests.len()).filter(takes).collect();
                let rows = VecDeque::new();
                (!fits.is_empty()).then_some(Reader { id, fits, rows, last: START, ended: false })
            })
            .collect();
        let wanted = (0..lanes.len()).collect();
        let ahead = requests.iter().map(|request| request.ahead).collect();
        let (heads, emptied) = (BinaryHeap::new(), Vec::new());
        Self { lanes, heads, wanted, most: CLAIM_MOST, room, ahead, emptied }
    }

    pub(crate) fn left(&self) -> usize {
        self.room.iter().sum::<usize>().min(self.most)
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
    pub(crate) fn feed(&mut self, number: usize, rows: Vec<Place>, ended: bool) {
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
            None if reader.ended => self.emptied.push(reader.id),
            None => self.wanted.push(number),
        }
    }

    /// Lanes that nobody with room takes any more are not read on.
    fn forget_unwanted(&mut self) {
        let (lanes, room) = (&self.lanes, &self.room);
        self.wanted.retain(|number| lanes[*number].fits.iter().any(|request| room[*request] > 0));
    }

    /// The next job for somebody, or `None` where a lane has to be read first or nothing is left.
    pub(crate) fn next(&mut self) -> Option<Next> {
        while self.wanted.is_empty() && self.left() > 0 {
            let Reverse((place, number)) = self.heads.pop()?;
            let reader = &self.lanes[number];
            // A lane that nobody has room for is read no further.
            let fits = reader.fits.iter().copied().filter(|request| self.room[*request] > 0);
            let most = fits.max_by_key(|request| {
                preference(*request, self.room[*request], self.ahead[*request])
            });
            let Some(request) = most else { continue };
            let next = Next { job: place.2, run_at: place.1, lane: reader.id, request };
            self.advance(number);
            return Some(next);
        }
        None
    }

    /// The job went to its request: it takes one less. Answers which of its executions that is.
    pub(crate) fn given(&mut self, request: usize, executions: usize) -> usize {
        let number = executions - self.room[request];
        self.most -= 1;
        self.room[request] -= 1;
        if self.room[request] == 0 {
            self.forget_unwanted();
        }
        number
    }
}

/// Who gets the next job: who starts it at once, most places first; else who has the most room; of
/// equals, the first.
pub(crate) fn preference(
    request: usize,
    room: usize,
    ahead: usize,
) -> (usize, usize, Reverse<usize>) {
    (room.saturating_sub(ahead), room, Reverse(request))
}

#[cfg(test)]
mod tests {
    use orx_model::{ExecutionId, Incarnation, Offer};

    use super::*;

    fn lane(handler: &str) -> Lane {
        let handler = Some(handler.parse().expect("a name"));
        Lane { queue: "q".parse().expect("a name"), handler, require: Default::default() }
    }

    fn request(handlers: &[&str], room: u128) -> ClaimRequest {
        let handlers = handlers.iter().map(|it| it.parse().expect("a name")).collect();
        ClaimRequest {
            worker: Incarnation(1),
            worker_name: "w".parse().expect("a name"),
            offer: Offer { handlers, ..Offer::default() },
            executions: (0..room).map(ExecutionId).collect(),
            ahead: 0,
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
            merge.given(next.request, 3);
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

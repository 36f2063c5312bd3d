//! Which worker gets which job of a claim, and which lanes the claim reads.

use orx_model::{Capabilities, ExecutionId, Incarnation, Lane};

use crate::lane_merge::{Given, LaneWindow, Merge, ReadyOrder, START, Takers};
use crate::{CLAIM_MOST, ClaimRequest};

fn lane(handler: &str) -> Lane {
    let handler = Some(handler.parse().expect("a name"));
    Lane { queue: "q".parse().expect("a name"), handler, require: Default::default() }
}

/// A worker with these handlers that takes `places` jobs, of which the last `prefetch` wait for a slot.
fn worker(handlers: &[&str], places: u128, prefetch: usize, held: usize) -> ClaimRequest {
    let handlers = handlers.iter().map(|it| it.parse().expect("a name")).collect();
    ClaimRequest {
        worker: Incarnation(1),
        worker_name: "w".parse().expect("a name"),
        offer: Capabilities { handlers, ..Capabilities::default() },
        executions: (0..places).map(ExecutionId).collect(),
        prefetch,
        held,
    }
}

fn takers(workers: &[(u128, usize, usize)]) -> Takers {
    let request =
        |(places, prefetch, held): &(u128, usize, usize)| worker(&["a"], *places, *prefetch, *held);
    Takers::new(&workers.iter().map(request).collect::<Vec<_>>())
}

/// The requests that get the next jobs, each with the number of its execution id.
fn given(takers: &mut Takers, workers: usize, jobs: usize) -> Vec<Option<(usize, usize)>> {
    let shown = |given: Given| (given.request, given.execution);
    (0..jobs).map(|_| takers.give(0..workers, false).map(shown)).collect()
}

#[test]
fn free_slots_come_first_then_prefetch_then_the_order_of_the_requests() {
    // Two with one free slot each, the second with more prefetch; and one with prefetch only.
    let mut takers = takers(&[(2, 1, 0), (3, 2, 0), (1, 1, 4)]);
    assert_eq!(takers.left(), 6);
    let order = given(&mut takers, 3, 7);
    let expected = [(1, 0), (0, 0), (1, 1), (0, 1), (1, 2), (2, 0)].map(Some);
    assert_eq!(order[..6], expected);
    assert_eq!((order[6], takers.left()), (None, 0));
}

#[test]
fn a_worker_without_places_gets_nothing() {
    let mut takers = takers(&[(0, 0, 0), (1, 0, 9)]);
    assert!(!takers.takes_more(0) && takers.takes_more(1));
    assert_eq!(given(&mut takers, 2, 2), [Some((1, 0)), None]);
}

#[test]
fn one_claim_is_bounded_over_all_workers() {
    let most = CLAIM_MOST as u128;
    let mut takers = takers(&[(most, 0, 0), (most, 0, 0)]);
    assert_eq!(takers.left(), CLAIM_MOST);
    given(&mut takers, 2, 3);
    assert_eq!(takers.left(), CLAIM_MOST - 3);
}

#[test]
fn a_job_that_runs_alone_goes_to_an_idle_worker_which_then_takes_no_other() {
    let mut takers = takers(&[(9, 0, 1), (2, 0, 0)]);
    assert_eq!(takers.give(0..2, true), Some(Given { request: 1, execution: 0 }));
    assert!(!takers.takes_more(1));
    assert_eq!(takers.left(), 9);
}

#[test]
fn a_worker_that_just_got_a_job_is_not_idle() {
    let mut takers = takers(&[(4, 0, 0)]);
    given(&mut takers, 1, 1);
    assert_eq!(takers.give(0..1, true), None);
}

#[test]
fn while_no_worker_is_idle_the_one_with_the_fewest_attempts_takes_nothing_more() {
    let mut takers = takers(&[(4, 0, 3), (4, 0, 2), (4, 0, 5)]);
    assert_eq!(takers.give(0..3, true), None);
    let more: Vec<bool> = (0..3).map(|request| takers.takes_more(request)).collect();
    assert_eq!(more, [true, false, true]);
}

/// All jobs in their order, given to workers that have room for them.
fn run(merge: &mut Merge) -> Vec<i64> {
    let mut jobs = Vec::new();
    while let Some(next) = merge.next() {
        if merge.give(next, false).is_some() {
            jobs.push(next.job);
        }
    }
    jobs
}

#[test]
fn the_job_that_is_returned_names_its_lane_and_due_time() {
    let requests = [worker(&["a"], 1, 0, 0)];
    let mut merge = Merge::new(&requests, [(&lane("a"), 7)].into_iter());
    assert_eq!(merge.want(), Some(LaneWindow { number: 0, lane: 7, after: START }));
    merge.feed(0, vec![(1, 50, 3)], true);
    let next = merge.next().expect("a job");
    assert_eq!((next.job, next.run_at, next.lane), (3, 50, 7));
    assert_eq!(merge.want(), None);
}

#[test]
fn lanes_that_only_full_workers_take_are_not_read() {
    let requests = [worker(&["a"], 0, 0, 0), worker(&["b"], 1, 0, 0)];
    let (a, b) = (lane("a"), lane("b"));
    let merge = Merge::new(&requests, [(&a, 1), (&b, 2)].into_iter());
    assert_eq!(merge.wants(), [LaneWindow { number: 0, lane: 2, after: START }]);
}

#[test]
fn a_lane_is_dropped_once_its_workers_are_full_and_the_others_go_on() {
    let requests = [worker(&["a"], 1, 0, 0), worker(&["b"], 2, 0, 0)];
    let (a, b) = (lane("a"), lane("b"));
    let mut merge = Merge::new(&requests, [(&a, 1), (&b, 2)].into_iter());
    let rows = |ids: [i64; 2]| -> Vec<ReadyOrder> { ids.map(|id| (0, id, id)).to_vec() };
    merge.feed(0, rows([1, 2]), false);
    merge.feed(1, rows([3, 4]), true);
    // Job 2 finds no worker, and does not keep 3 and 4 back.
    assert_eq!(run(&mut merge), [1, 3, 4]);
    assert_eq!(merge.wants(), []);
}

#[test]
fn a_lane_whose_workers_are_full_is_not_read_again() {
    let requests = [worker(&["a"], 1, 0, 0), worker(&["b"], 1, 0, 0)];
    let (a, b) = (lane("a"), lane("b"));
    let mut merge = Merge::new(&requests, [(&a, 1), (&b, 2)].into_iter());
    merge.feed(0, vec![(0, 1, 1)], false);
    merge.feed(1, vec![(0, 2, 2)], true);
    // Its last row that was read is given: the next one would have to be read, if a worker took it.
    assert_eq!(run(&mut merge), [1, 2]);
    assert_eq!(merge.wants(), []);
}

#[test]
fn a_lane_is_empty_once_its_last_job_is_returned_unless_a_job_stayed() {
    let requests = [worker(&["a", "b"], 9, 0, 1)];
    let (a, b, c) = (lane("a"), lane("b"), lane("c"));
    let mut merge = Merge::new(&requests, [(&a, 1), (&b, 2), (&c, 3)].into_iter());
    merge.feed(0, vec![(0, 1, 1)], true);
    merge.feed(1, vec![(0, 2, 2)], true);
    assert!(merge.emptied().is_empty());
    let first = merge.next().expect("a job");
    assert!(merge.give(first, false).is_some());
    let second = merge.next().expect("a job");
    // No worker is idle, so the job that runs alone stays in its lane.
    assert_eq!(merge.give(second, true), None);
    assert_eq!(merge.emptied(), [1]);
}

#[test]
fn a_lane_that_kept_a_job_is_not_empty_when_its_other_jobs_are_gone() {
    let requests = [worker(&["a"], 1, 0, 1), worker(&["a"], 9, 0, 5)];
    let mut merge = Merge::new(&requests, [(&lane("a"), 1)].into_iter());
    merge.feed(0, vec![(0, 1, 1), (0, 2, 2)], true);
    let alone = merge.next().expect("a job");
    assert_eq!(merge.give(alone, true), None);
    assert_eq!(run(&mut merge), [2]);
    assert!(merge.emptied().is_empty());
}

#[test]
fn a_lane_without_rows_is_empty_at_once() {
    let requests = [worker(&["a"], 1, 0, 0)];
    let mut merge = Merge::new(&requests, [(&lane("a"), 5)].into_iter());
    merge.feed(0, Vec::new(), true);
    assert_eq!((merge.next(), merge.emptied()), (None, &[5][..]));
}

#[test]
fn a_lane_goes_on_after_the_last_row_that_was_read() {
    let requests = [worker(&["a"], 9, 0, 0)];
    let mut merge = Merge::new(&requests, [(&lane("a"), 5)].into_iter());
    merge.feed(0, vec![(0, 1, 1), (0, 2, 2)], false);
    assert_eq!(run(&mut merge), [1, 2]);
    assert_eq!(merge.want().map(|want| want.after), Some((0, 2, 2)));
    // Rows that others took meanwhile are gone: the read that finds none does not start over.
    merge.feed(0, Vec::new(), false);
    assert_eq!(merge.want().map(|want| want.after), Some((0, 2, 2)));
}

//! Cases of the ledger: its rows, pages, counts and pruning.

use orx_model::schedule::{SkipReason, Slot, SlotOutcome};
use orx_store::{Firing, RunAfter, SLOTS_KEPT, ScheduleRecord, SlotRequest};

use super::{
    all_of, fire, fire_one, firing, make, missed, plan, ran_as, read, row, rows_only, run, slots,
};
use crate::make::{NOW, at, name};
use crate::store_contract::AStore;

/// A ledger row replaces one of its slot that made no job, and never one that did.
pub async fn a_row_takes_the_place_of_one_that_made_no_job(store: AStore) {
    let record = make(&store, "a").await;
    let range = Slot { last: Some(at(50)), count: 11, exact: false, ..missed(30) };
    fire_one(&store, rows_only(&record, vec![range, missed(60)])).await;
    let record = read(&store, "a").await;
    let job = fire_one(&store, firing(&record, vec![run(&record, 60, RunAfter::Nothing)])).await[0];
    assert_eq!(slots(&store, all_of("a")).await, [ran_as(60, job), range]);
    let record = read(&store, "a").await;
    let skipped = row(60, SlotOutcome::Skipped { reason: SkipReason::OneWaits });
    fire_one(&store, rows_only(&record, vec![skipped, missed(30)])).await;
    assert_eq!(slots(&store, all_of("a")).await, [ran_as(60, job), missed(30)]);
}

/// Of two rows for one slot in a firing the last is stored.
pub async fn of_two_rows_of_one_slot_the_last_counts(store: AStore) {
    let record = make(&store, "a").await;
    let skipped = row(60, SlotOutcome::Skipped { reason: SkipReason::OneWaits });
    let one = Firing {
        rows: vec![missed(30), missed(60), skipped, row(30, skipped.outcome)],
        ..rows_only(&record, Vec::new())
    };
    assert_eq!(fire_one(&store, one).await.len(), 0);
    assert_eq!(slots(&store, all_of("a")).await, [skipped, row(30, skipped.outcome)]);
}

/// The ledger is read newest first, page by page, optionally missed slots alone.
pub async fn a_ledger_is_read_newest_first_page_by_page(store: AStore) {
    let (record, other) = (make(&store, "a").await, make(&store, "b").await);
    let range = Slot { last: Some(at(28)), count: 9, exact: false, ..missed(20) };
    let skipped = |slot| row(slot, SlotOutcome::Skipped { reason: SkipReason::Overlap });
    let all = [skipped(50), missed(40), skipped(30), range, missed(10)];
    fire(
        &store,
        vec![
            rows_only(&record, all.iter().rev().copied().collect()),
            rows_only(&other, vec![missed(35)]),
        ],
    )
    .await;
    assert_eq!(slots(&store, all_of("a")).await, all);
    let page = |before: Option<i64>, missed, limit| SlotRequest {
        before: before.map(at),
        missed,
        limit,
        ..all_of("a")
    };
    assert_eq!(slots(&store, page(None, false, 2)).await, all[..2]);
    assert_eq!(slots(&store, page(Some(40), false, 2)).await, all[2..4]);
    assert_eq!(slots(&store, page(Some(20), false, 2)).await, all[4..]);
    assert_eq!(slots(&store, page(Some(10), false, 2)).await, []);
    assert_eq!(slots(&store, page(None, true, 2)).await, [missed(40), range]);
    assert_eq!(slots(&store, page(Some(20), true, 2)).await, [missed(10)]);
    assert_eq!(slots(&store, all_of("absent")).await, []);
}

/// Missed slots are summed up by schedule, from the given time of recording on.
pub async fn only_missed_slots_are_counted_and_only_those_recorded_since(store: AStore) {
    assert!(store.missed_since(NOW).await.expect("read").is_empty());
    let (a, b, c) = (make(&store, "a").await, make(&store, "b").await, make(&store, "c").await);
    let miss = |slot, count, recorded| Slot { count, recorded_at: at(recorded), ..missed(slot) };
    fire(
        &store,
        vec![
            rows_only(&b, vec![miss(5, 10, 100), miss(20, 3, 101), miss(99, 1, 99)]),
            rows_only(
                &a,
                vec![
                    miss(5, 1, 200),
                    row(300, SlotOutcome::Skipped { reason: SkipReason::Overlap }),
                ],
            ),
            rows_only(&c, vec![miss(5, 7, 99)]),
        ],
    )
    .await;
    let since = store.missed_since(at(100)).await.expect("read");
    assert_eq!(since, [(name("a"), 1), (name("b"), 13)]);
    assert!(store.missed_since(at(201)).await.expect("read").is_empty());
}

/// Pruning deletes rows recorded before the given time, up to its limit.
pub async fn old_rows_are_pruned_a_limited_number_at_once(store: AStore) {
    let (a, b) = (make(&store, "a").await, make(&store, "b").await);
    fire(
        &store,
        vec![
            rows_only(&a, [10, 20, 30, 40].map(missed).into()),
            // The time of recording counts, not the slot.
            rows_only(&b, vec![Slot { recorded_at: at(60), ..missed(5) }, missed(25)]),
        ],
    )
    .await;
    let prune = async |before, limit| store.prune_slots(at(before), limit, store.term).await;
    assert_eq!(prune(10, 100).await.expect("pruned"), 0);
    assert_eq!(prune(40, 2).await.expect("pruned"), 2);
    assert_eq!(prune(40, 100).await.expect("pruned"), 2);
    assert_eq!(slots(&store, all_of("a")).await, [missed(40)]);
    assert_eq!(slots(&store, all_of("b")).await.len(), 1);
    assert_eq!(prune(40, 100).await.expect("pruned"), 0);
}

/// This many rows from a slot on, a second apart.
fn many(first: i64, rows: i64) -> Vec<Slot> {
    (first..first + rows).map(|slot| Slot { recorded_at: at(90_000), ..missed(slot) }).collect()
}

/// Pruning cuts a ledger of more than a tenth above [`SLOTS_KEPT`] rows back to the newest.
pub async fn a_long_ledger_is_cut_back_to_its_newest_rows(store: AStore) {
    let most = i64::from(SLOTS_KEPT);
    let record = make(&store, "a").await;
    fire_one(&store, rows_only(&record, many(1, most + most / 10))).await;
    let prune = async || store.prune_slots(at(0), 100_000, store.term).await.expect("pruned");
    assert_eq!(prune().await, 0, "a few more are left");
    let last = most + most / 10 + 1;
    fire_one(&store, rows_only(&record, many(last, 1))).await;
    assert_eq!(prune().await, (last - most).unsigned_abs());
    let left = slots(&store, SlotRequest { limit: SLOTS_KEPT * 2, ..all_of("a") }).await;
    assert_eq!(left.len() as i64, most);
    assert_eq!((left[0].slot, left[left.len() - 1].slot), (at(last), at(last - most + 1)));
    assert_eq!(prune().await, 0);
    // The same for an imported ledger.
    let long = ScheduleRecord { plan: plan("b", None), ..read(&store, "a").await };
    store.import_schedules(vec![(long, many(1, last))]).await.expect("imported");
    assert_eq!(prune().await, (last - most).unsigned_abs());
    assert_eq!(slots(&store, all_of("b")).await[0].slot, at(last));
}

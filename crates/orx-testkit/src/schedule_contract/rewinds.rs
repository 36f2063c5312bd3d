//! Cases of schedules that are set back with the clock.

use orx_model::schedule::{SkipReason, Slot, SlotOutcome};
use orx_store::{ExpectedVersion, Position, Rewind, RunAfter, ScheduleRecord, StoreError};

use super::{
    all_of, due, fire_one, firing, ids, make, missed, other_leader, ran_as, read, row, run,
    run_one, slots,
};
use crate::make::{at, name};
use crate::store_contract::AStore;

/// A rewind by a minute, with the next slot in half a minute.
fn set_back(record: &ScheduleRecord) -> Rewind {
    Rewind {
        expected: record.expected(),
        row: row(0, SlotOutcome::ClockSet { by_ms: -60_000 }),
        to: Position { handled: at(0), next: due(30) },
    }
}

/// A rewind sets the position back and adds a row, at the expected version and under the leading
/// term only.
pub async fn a_schedule_ahead_of_the_clock_is_set_back_as_it_was_read(store: AStore) {
    make(&store, "a").await;
    let job = run_one(&store, "a", 60, RunAfter::Nothing).await;
    make(&store, "b").await;
    let found = store.schedules_ahead(at(59), 10).await.expect("read");
    assert_eq!(ids(&found), ["a"]);
    assert!(store.schedules_ahead(at(60), 10).await.expect("read").is_empty());
    let record = read(&store, "a").await;
    let stale = Rewind {
        expected: ExpectedVersion { version: 9, ..record.expected() },
        ..set_back(&record)
    };
    let none = Rewind {
        expected: ExpectedVersion { id: name("none"), ..record.expected() },
        ..set_back(&record)
    };
    let all = vec![stale, none];
    assert_eq!(store.rewind(all, store.term, at(0)).await.expect("answered"), [false, false]);
    assert_eq!(read(&store, "a").await.plan.position, record.plan.position);

    let done = store.rewind(vec![set_back(&record)], store.term, at(0)).await.expect("set back");
    assert_eq!(done, [true]);
    let found = read(&store, "a").await;
    assert_eq!(found.plan.position, Position { handled: at(0), next: due(30) });
    assert_eq!((found.version, found.runs), (record.version, record.runs));
    let ran = Slot { recorded_at: at(0), ..ran_as(60, job) };
    let mark = row(0, SlotOutcome::ClockSet { by_ms: -60_000 });
    assert_eq!(slots(&store, all_of("a")).await, [ran, mark]);
    // A second rewind on the same record is stale.
    let again = store.rewind(vec![set_back(&record)], store.term, at(0)).await;
    assert_eq!(again.expect("answered"), [false]);

    let old = store.term;
    other_leader(&store).await;
    let refused = store.rewind(vec![set_back(&found)], old, at(0)).await;
    assert!(matches!(refused, Err(StoreError::Deposed)), "{refused:?}");
}

/// A rewind deletes the rows without jobs after the new position, and cuts ranges that cross it.
pub async fn a_rewind_deletes_rows_of_slots_to_come(store: AStore) {
    let record = make(&store, "a").await;
    let range = Slot { last: Some(at(50)), count: 61, ..missed(-10) };
    let skipped = row(40, SlotOutcome::Skipped { reason: SkipReason::Overlap });
    let before = row(-20, SlotOutcome::Skipped { reason: SkipReason::Overlap });
    let mut one = firing(&record, vec![run(&record, 60, RunAfter::Nothing)]);
    one.rows = vec![before, range, skipped, missed(55)];
    let job = fire_one(&store, one).await[0];
    let record = read(&store, "a").await;
    let done = store.rewind(vec![set_back(&record)], store.term, at(0)).await.expect("set back");
    assert_eq!(done, [true]);
    let cut = Slot { last: Some(at(0)), count: 1, exact: false, ..range };
    let mark = row(0, SlotOutcome::ClockSet { by_ms: -60_000 });
    let ran = Slot { recorded_at: at(0), ..ran_as(60, job) };
    assert_eq!(slots(&store, all_of("a")).await, [ran, mark, cut, before]);
    assert_eq!(store.missed_since(at(1)).await.expect("read"), []);
}

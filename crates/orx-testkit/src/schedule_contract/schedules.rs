//! Cases of schedules: added, listed, changed, removed and due.

use orx_model::schedule::{Due, ScheduleSpec, SkipReason, Slot, SlotOutcome};
use orx_model::{JobSpec, JobStatus};
use orx_schedule::Schedule;
use orx_store::{Firing, Paused, Position, RunAfter, SchedulePlan, ScheduleRecord, ScheduleUpdate};

use super::{
    all_of, due, find, fire_one, firing, ids, make, missed, plan, ran_as, read, row, run, run_one,
    shown, slots,
};
use crate::make::{NOW, at, job, name};
use crate::store_contract::{AStore, status};

/// A schedule reads as it was added; pages are in the byte order of ids.
pub async fn schedules_are_stored_and_listed_by_id(store: AStore) {
    let mut whole = plan("b", Some(Due { slot: at(60), fire_at: at(63) }));
    whole.templates.on_missed = Some(JobSpec { name: name("page"), ..job() });
    whole.templates.on_failure = Some(JobSpec { name: name("warn"), ..job() });
    whole.by = Some("a \0 $o$ \\ 'person'".replace('\0', ""));
    whole.paused = Some(Paused { at: at(-5), reason: Some("why".into()), by: Some("who".into()) });
    assert!(store.add_schedule(whole.clone(), at(1)).await.expect("added"));
    for id in ["c", "a", "B"] {
        make(&store, id).await;
    }
    let expected = ScheduleRecord {
        unreadable: None,
        plan: whole,
        version: 1,
        created_at: at(1),
        updated_at: at(1),
        runs: 0,
        last_run: None,
    };
    assert_eq!(shown(&[read(&store, "b").await]), shown(&[expected]));
    assert!(find(&store, "d").await.is_none());
    let all = store.schedules(None, 9).await.expect("a page");
    assert_eq!(ids(&all), ["B", "a", "b", "c"]);
    let first = store.schedules(None, 2).await.expect("a page");
    assert_eq!(shown(&first), shown(&all[..2]));
    let rest = store.schedules(Some(name("a")), 2).await.expect("a page");
    assert_eq!(shown(&rest), shown(&all[2..]));
    assert!(store.schedules(Some(name("c")), 2).await.expect("a page").is_empty());
}

/// A schedule with an id in use is not added; after a removal it is.
pub async fn an_id_in_use_is_not_taken_again(store: AStore) {
    let before = make(&store, "a").await;
    let mut other = plan("a", due(90));
    other.by = Some("another".into());
    assert!(!store.add_schedule(other.clone(), at(9)).await.expect("an answer"));
    assert_eq!(shown(&[read(&store, "a").await]), shown(&[before]));
    store.remove_schedule(&name("a"), None).await.expect("removed");
    assert!(store.add_schedule(other, at(9)).await.expect("added"));
    assert_eq!(read(&store, "a").await.plan.by.as_deref(), Some("another"));
}

/// A change at another version or position is stale, and of an unknown schedule missing.
pub async fn a_change_needs_the_version_and_the_position_that_were_read(store: AStore) {
    let before = make(&store, "a").await;
    let mut to = plan("a", due(90));
    to.position.handled = at(30);
    to.paused = Some(Paused { at: at(9), reason: None, by: None });
    to.by = Some("a person".into());
    for (version, handled) in [(2, NOW), (0, NOW), (1, at(1))] {
        let changed = store.change_schedule(version, handled, to.clone(), None, at(9)).await;
        assert_eq!(changed.expect("an answer"), ScheduleUpdate::Stale, "{version} {handled}");
    }
    assert_eq!(shown(&[read(&store, "a").await]), shown(std::slice::from_ref(&before)));
    let changed = store.change_schedule(1, NOW, to.clone(), None, at(9)).await;
    assert_eq!(changed.expect("an answer"), ScheduleUpdate::Applied { version: 2 });
    let after = ScheduleRecord { plan: to.clone(), version: 2, updated_at: at(9), ..before };
    assert_eq!(shown(&[read(&store, "a").await]), shown(&[after]));
    let again = store.change_schedule(1, NOW, to.clone(), None, at(9)).await;
    assert_eq!(again.expect("an answer"), ScheduleUpdate::Stale);
    let other = ScheduleSpec { id: name("b"), ..to.spec.into() };
    to.spec = Schedule::new(other).expect("a schedule");
    let missing = store.change_schedule(2, at(30), to, None, at(9)).await;
    assert_eq!(missing.expect("an answer"), ScheduleUpdate::Missing);
}

/// A change adds its ledger row when it is made; a stale one does not.
pub async fn a_change_writes_its_row_and_only_if_it_was_made(store: AStore) {
    make(&store, "a").await;
    let skipped = row(60, SlotOutcome::Skipped { reason: SkipReason::Paused });
    for (version, expected) in [(7, Vec::new()), (1, vec![skipped])] {
        let plan = plan("a", due(90));
        store.change_schedule(version, NOW, plan, Some(skipped), at(9)).await.expect("an answer");
        assert_eq!(slots(&store, all_of("a")).await, expected);
    }
    let range = Slot { last: Some(at(75)), count: 16, exact: false, ..missed(60) };
    let plan = plan("a", due(90));
    store.change_schedule(2, NOW, plan, Some(range), at(9)).await.expect("an answer");
    assert_eq!(slots(&store, all_of("a")).await, [range], "it takes the other's place");
}

/// Removing a schedule deletes its ledger; its jobs stay.
pub async fn a_removed_schedule_takes_its_ledger_along_and_leaves_its_jobs(store: AStore) {
    for id in ["a", "b"] {
        make(&store, id).await;
    }
    let gone = run_one(&store, "a", 60, RunAfter::Nothing).await;
    let other = run_one(&store, "b", 60, RunAfter::Nothing).await;
    let removed = store.remove_schedule(&name("a"), None).await.expect("an answer");
    assert_eq!(removed, ScheduleUpdate::Applied { version: 1 });
    assert!(find(&store, "a").await.is_none());
    assert!(slots(&store, all_of("a")).await.is_empty());
    assert_eq!(status(&store, gone).await, JobStatus::Pending);
    assert_eq!(slots(&store, all_of("b")).await, [ran_as(60, other)]);
    assert_eq!(store.next_fire(NOW).await.expect("read"), Some(at(120)));
    let again = store.remove_schedule(&name("a"), None).await.expect("an answer");
    assert_eq!(again, ScheduleUpdate::Missing);
}

/// A removal at another version is stale.
pub async fn a_schedule_is_removed_only_at_the_version_that_was_read(store: AStore) {
    make(&store, "a").await;
    run_one(&store, "a", 60, RunAfter::Nothing).await;
    let removed = store.remove_schedule(&name("a"), Some(2)).await.expect("an answer");
    assert_eq!(removed, ScheduleUpdate::Stale);
    assert_eq!(slots(&store, all_of("a")).await.len(), 1);
    let removed = store.remove_schedule(&name("a"), Some(1)).await.expect("an answer");
    assert_eq!(removed, ScheduleUpdate::Applied { version: 1 });
    assert!(find(&store, "a").await.is_none());
}

/// Due schedules are ordered by firing time, then slot; the next firing time is after the given
/// one.
pub async fn due_schedules_come_longest_due_first(store: AStore) {
    for (id, slot, fire_at) in [("a", 10, 30), ("b", 20, 20), ("c", 5, 10), ("d", 5, 30)] {
        let next = Some(Due { slot: at(slot), fire_at: at(fire_at) });
        assert!(store.add_schedule(plan(id, next), NOW).await.expect("added"));
    }
    for (now, limit, expected) in [
        (9, 9, &[][..]),
        (10, 9, &["c"][..]),
        (29, 9, &["c", "b"]),
        (30, 9, &["c", "b", "a", "d"]),
        (30, 3, &["c", "b", "a"]),
    ] {
        let due = store.due_schedules(at(now), limit).await.expect("due");
        assert_eq!(ids(&due), expected, "at {now}");
    }
    for (after, expected) in
        [(0, Some(10)), (9, Some(10)), (10, Some(20)), (29, Some(30)), (30, None)]
    {
        let next = store.next_fire(at(after)).await.expect("read");
        assert_eq!(next, expected.map(at), "after {after}");
    }
}

/// A schedule without a next slot is never due.
pub async fn paused_and_ended_schedules_are_never_due(store: AStore) {
    let mut paused = plan("a", None);
    paused.paused = Some(Paused { at: NOW, reason: None, by: None });
    assert!(store.add_schedule(paused, NOW).await.expect("added"));
    make(&store, "b").await;
    assert_eq!(ids(&store.due_schedules(at(60), 9).await.expect("due")), ["b"]);
    let record = read(&store, "b").await;
    let last = Firing {
        to: Some(Position { handled: at(60), next: None }),
        ..firing(&record, vec![run(&record, 60, RunAfter::Nothing)])
    };
    fire_one(&store, last).await;
    assert!(store.due_schedules(at(9_999), 9).await.expect("due").is_empty());
    assert_eq!(store.next_fire(NOW).await.expect("read"), None);
    let position = Position { handled: at(60), next: None };
    assert_eq!(read(&store, "b").await.plan.position, position);
}

/// Of concurrent changes at one version exactly one is made.
pub async fn of_changes_at_once_one_is_made(store: AStore) {
    let was = make(&store, "a").await;
    let change = async |by: &str| {
        let plan = SchedulePlan { by: Some(by.to_owned()), ..was.plan.clone() };
        store.change_schedule(1, NOW, plan, None, at(1)).await.expect("an answer")
    };
    let (bob, cat, dan) = tokio::join!(change("bob"), change("cat"), change("dan"));
    let found = read(&store, "a").await;
    assert_eq!(found.version, 2);
    for (by, changed) in [("bob", bob), ("cat", cat), ("dan", dan)] {
        let won = found.plan.by.as_deref() == Some(by);
        let expected =
            if won { ScheduleUpdate::Applied { version: 2 } } else { ScheduleUpdate::Stale };
        assert_eq!(changed, expected, "{by}");
    }
}

//! Only the current leader fires, each slot fires once, and no schedule holds up another.

use std::sync::Arc;

use orx_model::schedule::{CatchUp, Overlap, ScheduleSpec, When};
use orx_model::{JobStatus, Timestamp};
use orx_store::{Jobs, Paused, Position, SchedulePlan, ScheduleRecord, ScheduleUpdate, Schedules};

use crate::shim::Shim;
use crate::world::{
    HOUR, MINUTE, SECOND, START, World, done, engine, hourly, is_deposed, ms, name, take_lead,
};

#[test]
fn a_leader_that_was_replaced_fires_nothing() {
    let mut world = World::new();
    world.add(hourly("s"));
    take_lead(&world.store, 2, ms(world.clock));
    world.clock = START + HOUR;
    assert!(is_deposed(world.engine.fire(world.now())));
    assert_eq!((world.runs().len(), world.ledger("s").len()), (0, 0));
}

#[test]
fn a_slot_that_two_leaders_read_as_due_fires_once() {
    let mut world = World::new();
    world.add(hourly("s"));
    world.clock = START + HOUR;
    let (store, at) = (Arc::clone(&world.store), world.now());
    world.store.meanwhile(move || {
        let mut other = engine(&store, 2, at);
        let term = take_lead(&store, 2, at.wall);
        other.lead(term, at).expect("leads");
        other.fire(at).expect("fired");
    });
    assert!(is_deposed(world.engine.fire(at)));
    assert_eq!(world.words("s"), "1 ran");
    assert_eq!(world.runs().len(), 1);
}

/// A person acts after the leader has read what is due.
fn while_it_fires(act: impl FnOnce(&Shim, ScheduleRecord) + Send + 'static) -> World {
    let mut world = World::new();
    world.add(hourly("s"));
    world.add(hourly("other"));
    world.clock = START + HOUR;
    let store = Arc::clone(&world.store);
    let record = world.record("s");
    world.store.meanwhile(move || act(&store, record));
    world.engine.fire(world.now()).expect("fired");
    assert_eq!(world.words("other"), "1 ran", "other schedules fire");
    world
}

fn change(store: &Shim, record: &ScheduleRecord, plan: SchedulePlan) {
    let handled = record.plan.position.handled;
    let now = ms(START + HOUR);
    let changed = done(store.change_schedule(record.version, handled, plan, None, now));
    assert_eq!(changed.expect("changed"), ScheduleUpdate::Applied { version: 2 });
}

#[test]
fn a_schedule_that_is_removed_while_it_fires_does_nothing() {
    let mut world = while_it_fires(|store, record| {
        let removed = done(store.remove_schedule(record.id(), None)).expect("removed");
        assert_eq!(removed, ScheduleUpdate::Applied { version: 1 });
    });
    world.pass(MINUTE);
    assert_eq!(world.runs().len(), 1, "the run of the other schedule");
    assert!(world.ledger("s").is_empty());
}

#[test]
fn a_schedule_that_is_changed_while_it_fires_fires_as_changed() {
    let mut world = while_it_fires(|store, record| {
        let mut plan = record.plan.clone();
        plan.templates.job.name = name("wake");
        change(store, &record, plan);
    });
    assert!(world.ledger("s").is_empty(), "the old version does not fire");
    world.pass(SECOND);
    assert_eq!(world.words("s"), "1 ran");
    assert_eq!((world.jobs_of("work").len(), world.jobs_of("wake").len()), (1, 1));
}

#[test]
fn a_paused_schedule_fires_nothing_even_if_it_was_read_before() {
    let mut world = while_it_fires(|store, record| {
        let paused = Some(Paused { at: ms(START + HOUR), reason: None, by: None });
        let position = Position { next: None, ..record.plan.position };
        change(store, &record, SchedulePlan { paused, position, ..record.plan.clone() });
    });
    world.until(START + 3 * HOUR);
    world.down_until(START + 5 * HOUR);
    assert!(world.ledger("s").is_empty());
    assert_eq!(world.record("s").runs, 0);
    assert_ne!(world.words("other"), "1 ran");
}

#[test]
fn a_schedule_ends_after_its_last_run() {
    let mut world = World::new();
    world.add(ScheduleSpec { max_runs: Some(2), ..hourly("s") });
    for hour in 1..5 {
        world.until(START + hour * HOUR);
        if let Some((id, JobStatus::Dispatched)) = world.runs().last().copied() {
            world.succeed(id);
        }
    }
    assert_eq!(world.words("s"), "1 ran, 2 ran");
    assert_eq!(world.record("s").plan.position.next, None);
}

#[test]
fn a_manual_run_does_not_count_against_max_runs() {
    let mut world = World::new();
    world.add(ScheduleSpec { max_runs: Some(1), ..hourly("s") });
    world.trigger("s");
    assert_eq!((world.runs().len(), world.record("s").runs), (1, 0));
    world.succeed(world.runs()[0].0);
    world.until(START + HOUR);
    assert_eq!(world.words("s"), "1 ran");
    assert_eq!((world.record("s").runs, world.record("s").plan.position.next), (1, None));
}

#[test]
fn a_firing_that_cannot_be_stored_delays_no_other_and_is_retried() {
    let mut world = World::new();
    for id in ["a", "s", "z"] {
        world.add(hourly(id));
    }
    world.store.refused.lock().insert(name("s"));
    world.until(START + HOUR);
    assert_eq!((world.words("a").as_str(), world.words("z").as_str()), ("1 ran", "1 ran"));
    assert!(world.ledger("s").is_empty());
    let next = world.engine.next_due().expect("others fire again");
    assert_eq!(next, ms(START + 2 * HOUR), "no retry before the next round");

    world.store.refused.lock().clear();
    world.pass(5 * SECOND);
    world.engine.monitor(world.now()).expect("a round");
    world.wake();
    assert_eq!(world.words("s"), "1 ran");
}

#[test]
fn a_batch_of_firings_that_cannot_be_stored_delays_no_other_and_ends() {
    let mut world = World::new();
    for number in 0..1_203 {
        let id = format!("bad{number}");
        world.store.refused.lock().insert(name(&id));
        world.add(hourly(&id));
    }
    world.add(hourly("good"));
    world.clock = START + HOUR;
    let mut calls = 0;
    while world.engine.next_due().is_some_and(|due| due <= ms(world.clock)) {
        world.engine.promote(world.now()).expect("promoted");
        world.engine.fire(world.now()).expect("fired");
        calls += 1;
        assert!(calls <= 1_203 / 500 + 2, "it would be woken for ever");
    }
    assert_eq!(world.words("good"), "1 ran");
    assert_eq!(world.engine.next_due(), Some(ms(START + 2 * HOUR)));
}

#[test]
fn the_catch_up_of_many_schedules_is_split_into_transactions() {
    let mut world = World::new();
    for number in 0..15 {
        let minutely = When::Interval { every_ms: MINUTE as u64, offset_ms: 0 };
        world.add(ScheduleSpec {
            timing: minutely,
            catch_up: CatchUp::All(600),
            window_ms: 24 * HOUR as u64,
            overlap: Overlap::Allow,
            ..hourly(&format!("s{number}"))
        });
    }
    world.clock = START + 10 * HOUR;
    let mut made = 0;
    while world.engine.next_due().is_some_and(|due| due <= ms(world.clock)) {
        world.engine.promote(world.now()).expect("promoted");
        world.engine.fire(world.now()).expect("fired");
        let now = world.runs().len();
        assert!(now - made <= 5_000, "{} at once", now - made);
        made = now;
    }
    assert_eq!(made, 15 * 600);
}

#[test]
fn more_schedules_than_one_batch_fire_once_each_at_the_same_time() {
    let mut world = World::new();
    let at = START + HOUR;
    for number in 0..1_203 {
        let once = When::Once(ms(at));
        world.add(ScheduleSpec { timing: once, ..hourly(&format!("s{number}")) });
    }
    world.clock = at;
    world.engine.promote(world.now()).expect("promoted");
    for next in [Some(ms(at)), Some(ms(at)), None] {
        world.engine.fire(world.now()).expect("fired");
        assert_eq!(world.engine.next_due(), next, "at once, while there are more");
    }
    assert_eq!(world.runs().len(), 1_203);
    let slots: Vec<Timestamp> =
        world.jobs_of("work").iter().filter_map(|job| job.spec.schedule.as_ref()?.slot).collect();
    assert!(slots.len() == 1_203 && slots.iter().all(|slot| *slot == ms(at)));
    assert_eq!(done(world.store.oldest_due()).expect("read").len(), 1);
}

//! Cases of a clock that is set.

use orx_model::{JobStatus, Timestamp};
use orx_store::{ClockJump, ClockNote, StoreError};

use super::{AStore, add, claim, get, send, status};
use crate::make::{NOW, at, failed, job, not_before, outcome};

/// When the clock is set, backoffs and claim times move with it; calendar times stay.
pub async fn waits_are_as_long_as_before_when_the_clock_is_set(store: AStore) {
    let tried = add(&store, job()).await;
    claim(&store, 1).await;
    let _ = send(&store, outcome(tried, 1, failed())).await;
    let live = add(&store, job()).await;
    claim(&store, 2).await;
    let calendar = add(&store, not_before(at(100), job())).await;
    let ready = add(&store, job()).await;
    let before = get(&store, tried).await.state.run_at;
    assert_eq!((status(&store, tried).await, before), (JobStatus::Scheduled, at(12)));
    let claimed_at = get(&store, live).await.state.live.expect("an attempt").claimed_at;
    let moved = |by: i64| Timestamp::from_millis(claimed_at.as_millis() + by * 1_000);

    let set = |before, by: i64| ClockJump { before: at(before), by_ms: by * 1_000 };
    let waits = store.clock_was_set(set(3, 600), store.term, at(603)).await.expect("set");
    assert_eq!((waits, get(&store, tried).await.state.run_at), (1, at(612)));
    assert_eq!(get(&store, calendar).await.state.run_at, at(100), "of the calendar");
    let attempt = get(&store, live).await.state.live.expect("an attempt");
    assert_eq!(attempt.claimed_at, moved(600));
    assert_eq!(get(&store, ready).await.state.run_at, NOW);

    let waits = store.clock_was_set(set(605, -7_200), store.term, at(605 - 7_200)).await;
    assert_eq!((waits.expect("set"), get(&store, tried).await.state.run_at), (1, at(612 - 7_200)));
    assert_eq!(get(&store, calendar).await.state.run_at, at(100));
    assert_eq!(
        get(&store, ready).await.state.run_at,
        at(605 - 7_200),
        "it does not wait for hours"
    );
    let attempt = get(&store, live).await.state.live.expect("an attempt");
    assert_eq!(attempt.claimed_at, moved(600 - 7_200));
    // A job that is due by now stays due.
    let waits = store.clock_was_set(set(612, 60), store.term, at(612)).await.expect("set");
    assert_eq!((waits, get(&store, tried).await.state.run_at), (0, at(612 - 7_200)));

    let old = store.term;
    assert!(store.step_down(old).await.expect("stepped down"));
    let refused = store.clock_was_set(set(3, 600), old, at(603)).await;
    assert!(matches!(refused, Err(StoreError::Deposed)), "{refused:?}");
}

/// The leader stores what its clock shows; a deposed one cannot.
pub async fn the_leader_notes_the_clock(store: AStore) {
    assert_eq!(store.clock().await.expect("read"), None);
    let first = ClockNote { seen: at(1), ..ClockNote::default() };
    let second = ClockNote { seen: at(-7_000), jumps: 1, last: Some((at(-7_001), -7_200_000)) };
    for note in [first, second] {
        store.note_clock(note, store.term).await.expect("noted");
        assert_eq!(store.clock().await.expect("read"), Some(note));
    }
    let old = store.term;
    assert!(store.step_down(old).await.expect("stepped down"));
    let refused = store.note_clock(first, old).await;
    assert!(matches!(refused, Err(StoreError::Deposed)), "{refused:?}");
    assert_eq!(store.clock().await.expect("read"), Some(second));
}

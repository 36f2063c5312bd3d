//! Which wake-ups reach whom, in this node and others.

use std::time::Duration;

use orx_model::JobStatus;

use super::*;

const HERE: Incarnation = Incarnation(1);
const THERE: Incarnation = Incarnation(2);
const NOW: Timestamp = Timestamp::from_millis(7);

fn moved(id: i64) -> Event {
    let (from, to) = (Some(JobStatus::Running), JobStatus::Completed);
    Event::new(NOW, KnownEvent::JobMoved { job: JobId(id).into(), from, to, attempt: Some(1) })
}

fn accepted(id: i64) -> Event {
    let to = Some(JobStatus::Pending);
    Event::new(NOW, KnownEvent::JobAccepted { job: JobId(id).into(), to })
}

/// `None` if the reader was reset.
fn read(reader: &mut FeedReader) -> Option<Vec<Event>> {
    match reader.try_next(10_000) {
        None => Some(Vec::new()),
        Some(News::Events(events)) => Some(events.into_iter().map(|one| one.event).collect()),
        Some(News::Reset) => None,
    }
}

async fn is_quiet(wakeups: &Wakeups) -> bool {
    tokio::time::timeout(Duration::from_millis(20), wakeups.for_others()).await.is_err()
}

#[tokio::test]
async fn wakeups_are_gathered_for_other_nodes_and_theirs_are_not_relayed() {
    let (here, there) = (Wakeups::shared(HERE), Wakeups::shared(THERE));
    let mut reader = there.feed().read(FeedFilter::job(JobId(1)));
    here.work();
    here.due(Timestamp::from_millis(9));
    here.due(Timestamp::from_millis(5));
    here.feed().publish(vec![accepted(2), moved(1)]);
    let notification = here.for_others().await;
    let due = Some(Timestamp::from_millis(5));
    let events = vec![accepted(2), moved(1)];
    let events = Some(NodeEvents { node: HERE, after: 0, upto: 2, events, gap: false });
    let changed = vec![JobId(1)];
    assert_eq!(
        notification,
        Notification { work: true, due, changed, events, ..Notification::default() }
    );
    there.apply(&notification);
    assert_eq!(read(&mut reader), Some(vec![moved(1)]));
    assert!(is_quiet(&there).await);
    // A node ignores its own notification.
    here.apply(&notification);
    assert!(is_quiet(&here).await);
    assert_eq!(here.feed().cursor().seq, 2);
}

#[tokio::test]
async fn a_waiting_node_is_woken_by_each_publication() {
    let here = Wakeups::shared(HERE);
    for id in 1..=3 {
        let (notification, ()) = tokio::join!(biased; here.for_others(), async {
            here.feed().publish_from(THERE, vec![moved(9)]);
            here.feed().publish(vec![moved(id)]);
        });
        let batch = notification.events.expect("events");
        assert_eq!(batch.events, [moved(id)]);
        assert_eq!((batch.after, batch.upto), (2 * (id as u64 - 1), 2 * id as u64));
    }
}

#[tokio::test]
async fn the_next_notification_reveals_a_lost_one_and_a_doubled_or_late_one_changes_nothing() {
    let (here, there) = (Wakeups::shared(HERE), Wakeups::shared(THERE));
    let mut reader = there.feed().read(FeedFilter::all());
    let mut notifications = Vec::new();
    for id in 1..=3 {
        here.feed().publish(vec![moved(id)]);
        notifications.push(here.for_others().await);
    }
    there.apply(&notifications[0]);
    assert_eq!(read(&mut reader), Some(vec![moved(1)]));
    there.apply(&notifications[2]);
    assert_eq!(read(&mut reader), None);
    for notification in [&notifications[1], &notifications[2], &notifications[0]] {
        there.apply(notification);
        assert_eq!(read(&mut reader), Some(vec![]));
    }
    // A node that joined late may have missed earlier events.
    let late = Wakeups::shared(Incarnation(3));
    let mut reader = late.feed().read(FeedFilter::job(JobId(1)));
    late.apply(&notifications[2]);
    assert_eq!(read(&mut reader), None);
}

#[tokio::test]
async fn of_many_events_other_nodes_receive_only_the_jobs() {
    let (here, there) = (Wakeups::shared(HERE), Wakeups::shared(THERE));
    let jobs = [1, 5_000].map(|id| FeedFilter::job(JobId(id)));
    let [mut one, mut other] = jobs.map(|filter| there.feed().read(filter));
    let mut all = there.feed().read(FeedFilter::all());
    // Newly accepted jobs, however many, have no waiting callers.
    here.feed().publish((1_000..2_000).map(accepted).collect());
    here.feed().publish(vec![moved(1)]);
    let notification = here.for_others().await;
    let batch = notification.events.clone().expect("events");
    assert!(batch.gap && batch.events.is_empty());
    assert_eq!(
        (notification.changed.as_slice(), notification.more),
        ([JobId(1)].as_slice(), false)
    );
    there.apply(&notification);
    assert_eq!((read(&mut all), read(&mut one)), (None, None));
    assert_eq!(read(&mut other), Some(vec![]));

    here.feed().publish((1..=1_001).map(moved).collect());
    let notification = here.for_others().await;
    assert!(notification.more && notification.changed.is_empty());
    there.apply(&notification);
    assert_eq!((read(&mut all), read(&mut one), read(&mut other)), (None, None, None));

    // More than the feed itself holds.
    here.feed().publish((1..=100_000).map(moved).collect());
    let notification = here.for_others().await;
    assert!(notification.more && notification.events.expect("events").gap);
    assert!(is_quiet(&here).await);
}

#[tokio::test]
async fn notifications_of_and_for_the_previous_version_name_the_changed_jobs() {
    let there = Wakeups::shared(THERE);
    let mut reader = there.feed().read(FeedFilter::job(JobId(1)));
    there.apply(&Notification { changed: vec![JobId(1)], ..Notification::default() });
    let found = read(&mut reader).expect("no reset");
    assert_eq!(found[0].known(), Some(&KnownEvent::JobChanged { job: JobId(1).into() }));
    there.apply(&Notification { more: true, ..Notification::default() });
    assert_eq!(read(&mut reader), None);
    assert!(is_quiet(&there).await);
    there.feed().publish(vec![moved(3), moved(2), moved(3)]);
    assert_eq!(there.for_others().await.changed, [JobId(2), JobId(3)]);
}

#[tokio::test]
async fn an_event_of_a_later_version_is_published_unless_it_is_large() {
    let there = Wakeups::shared(THERE);
    let mut reader = there.feed().read(FeedFilter::all());
    let unknown = |text: &str| {
        let text = format!(r#"{{"job_teleported":"{text}"}}"#);
        Event { at: NOW, what: EventBody::Unknown(serde_json::from_str(&text).expect("json")) }
    };
    let notification = |after: u64, event: Event| {
        let events = vec![event];
        let events = NodeEvents { node: HERE, after, upto: after + 1, events, gap: false };
        Notification { events: Some(events), ..Notification::default() }
    };
    there.apply(&notification(0, unknown("mars")));
    assert_eq!(read(&mut reader), Some(vec![unknown("mars")]));
    there.apply(&notification(1, unknown(&"x".repeat(2_000))));
    assert_eq!(read(&mut reader), None);
}

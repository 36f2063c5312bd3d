//! Promises of a reader, under any publications and however slow the reader is.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use orx_feed::{Feed, FeedFilter, FeedReader, News};
use orx_model::event::{
    Event, EventBody, EventCursor, EventKind, JobRef, KnownEvent, ScheduleEvent,
};
use orx_model::{Incarnation, JobId, JobStatus, Name, Timestamp};

const HERE: Incarnation = Incarnation(1);
const THERE: Incarnation = Incarnation(2);

fn accepted(job: i64) -> Event {
    event(KnownEvent::JobAccepted { job: JobId(job).into(), to: None })
}

fn event(what: KnownEvent) -> Event {
    Event::new(Timestamp::default(), what)
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// The jobs of the events that a read returns; `None` for a reset.
fn jobs(reader: &mut FeedReader, most: usize) -> Option<Vec<i64>> {
    match reader.try_next(most) {
        None => Some(Vec::new()),
        Some(News::Reset) => None,
        Some(News::Events(events)) => {
            Some(events.iter().map(|one| one.event.job().expect("a job").id.0).collect())
        }
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_event_between_the_creation_of_a_reader_and_its_first_read_is_not_missed() {
    let feed = Feed::new(HERE);
    for filter in [FeedFilter::all(), FeedFilter::job(JobId(1))] {
        let mut reader = feed.read(filter);
        feed.publish(vec![accepted(1)]);
        let mut next = pin!(reader.next(10));
        let ready = next.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(ready.is_ready());
    }
}

#[test]
fn a_reader_of_one_job_is_woken_by_that_job_alone_and_once_a_batch() {
    let feed = Feed::new(HERE);
    let mut reader = feed.read(FeedFilter::job(JobId(1)));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    {
        let mut next = pin!(reader.next(10));
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        feed.publish((2..1_000).map(accepted).collect());
        feed.publish_from(THERE, vec![accepted(3)]);
        feed.gap_from(THERE, Some(&[JobId(4)]));
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        feed.publish(vec![accepted(1), accepted(2), accepted(1)]);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }
    assert_eq!(jobs(&mut reader, 10), Some(vec![]));
}

#[test]
fn a_cancelled_wait_loses_no_event() {
    let feed = Feed::new(HERE);
    for filter in [FeedFilter::all(), FeedFilter::job(JobId(1))] {
        let mut reader = feed.read(filter);
        {
            let mut next = pin!(reader.next(10));
            assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            feed.publish(vec![accepted(1)]);
        }
        assert_eq!(jobs(&mut reader, 10), Some(vec![1]));
    }
}

#[test]
fn a_cursor_resumes_at_its_own_node_and_is_reset_at_any_other() {
    let (here, there) = (Feed::new(HERE), Feed::new(THERE));
    let mut reader = here.read(FeedFilter::all());
    for feed in [&here, &there] {
        feed.publish((1..=5).map(accepted).collect());
    }
    assert_eq!(jobs(&mut reader, 2), Some(vec![1, 2]));
    let after: EventCursor = reader.cursor().to_string().parse().expect("a cursor");
    assert_eq!(after, EventCursor { node: HERE, seq: 2 });
    assert_eq!(jobs(&mut here.resume(after, FeedFilter::all()), 9), Some(vec![3, 4, 5]));
    assert_eq!(jobs(&mut here.resume(after, FeedFilter::job(JobId(4))), 9), Some(vec![4]));

    for filter in [FeedFilter::all(), FeedFilter::job(JobId(9))] {
        // Its cursor stays the foreign one until it has returned the reset.
        let mut moved = there.resume(after, filter.clone());
        let mut moved = there.resume(moved.cursor(), filter);
        assert_eq!(moved.try_next(9), Some(News::Reset));
        assert_eq!(moved.cursor(), EventCursor { node: THERE, seq: there.cursor().seq });
        there.publish(vec![accepted(9)]);
        assert_eq!(jobs(&mut moved, 9), Some(vec![9]));
    }
}

#[test]
fn a_cursor_after_the_newest_event_is_reset_and_misses_nothing_then() {
    for seq in [1, 100, u64::MAX] {
        for filter in [FeedFilter::all(), FeedFilter::job(JobId(9))] {
            let feed = Feed::new(HERE);
            let mut reader = feed.resume(EventCursor { node: HERE, seq }, filter);
            assert_eq!(jobs(&mut reader, 9), None);
            assert_eq!(jobs(&mut reader, 9), Some(vec![]));
            feed.publish(vec![accepted(9)]);
            assert_eq!(jobs(&mut reader, 9), Some(vec![9]));
        }
    }
    let start = EventCursor { node: HERE, seq: 0 };
    let mut from_the_start = Feed::new(HERE).resume(start, FeedFilter::all());
    assert_eq!(jobs(&mut from_the_start, 9), Some(vec![]));
}

#[test]
fn events_of_other_jobs_never_reset_a_reader_of_one_job() {
    let feed = Feed::keeping(HERE, 16);
    let mut reader = feed.read(FeedFilter::job(JobId(1)));
    (0..100).for_each(|_| feed.publish(vec![accepted(2)]));
    feed.publish(vec![accepted(1)]);
    assert_eq!(jobs(&mut reader, 9), Some(vec![1]));
    // The same holds for a reader that resumes.
    (0..100).for_each(|_| feed.publish(vec![accepted(2)]));
    let mut again = feed.resume(reader.cursor(), FeedFilter::job(JobId(1)));
    feed.publish(vec![accepted(1)]);
    assert_eq!(jobs(&mut again, 9), Some(vec![1]));
}

#[test]
fn a_filter_takes_what_it_names_and_events_that_may_match() {
    let queue = |queue: Option<&str>| JobRef { queue: queue.map(name), ..JobRef::from(JobId(1)) };
    let of = |job: JobRef| event(KnownEvent::JobLogGrew { job });
    let schedule =
        KnownEvent::ScheduleChanged { schedule: name("s"), change: ScheduleEvent::Added };
    let unknown = serde_json::from_str(r#"{"job_teleported":{}}"#).expect("json");
    let published = [
        of(queue(Some("mail"))),
        of(queue(Some("other"))),
        of(queue(None)),
        event(schedule),
        Event { at: Timestamp::default(), what: EventBody::Unknown(unknown) },
    ];
    let taken = |filter: FeedFilter| -> Vec<u64> {
        let feed = Feed::new(HERE);
        let mut reader = feed.read(filter);
        feed.publish(published.to_vec());
        match reader.try_next(99) {
            Some(News::Events(events)) => events.iter().map(|event| event.cursor.seq).collect(),
            None => Vec::new(),
            Some(News::Reset) => panic!("reset"),
        }
    };
    assert_eq!(taken(FeedFilter::all()), [1, 2, 3, 4, 5]);
    assert_eq!(taken(FeedFilter::all().queue(name("mail"))), [1, 3]);
    assert_eq!(taken(FeedFilter::all().kinds([EventKind::Schedule])), [4]);
    assert_eq!(taken(FeedFilter::all().kinds([EventKind::Log, EventKind::Node])), [1, 2, 3]);
    assert_eq!(taken(FeedFilter::all().jobs([JobId(2), JobId(1)])), [1, 2, 3]);
    assert_eq!(taken(FeedFilter::job(JobId(1)).queue(name("mail"))), [1, 3]);
    assert!(taken(FeedFilter::job(JobId(1)).kinds([EventKind::Job])).is_empty());
    assert!(taken(FeedFilter::job(JobId(2))).is_empty());
}

#[test]
fn events_of_another_node_show_their_origin_and_are_not_own() {
    let feed = Feed::new(HERE);
    let (mut all, mut own) = (feed.read(FeedFilter::all()), feed.read(FeedFilter::all().own()));
    feed.publish_from(THERE, vec![accepted(1)]);
    feed.gap_from(THERE, Some(&[]));
    feed.publish(vec![accepted(2)]);
    assert_eq!(jobs(&mut own, 9), Some(vec![2]));
    let Some(News::Reset) = all.try_next(9) else { panic!("another node's events were lost") };
    feed.publish_from(THERE, vec![accepted(3)]);
    let Some(News::Events(events)) = all.try_next(9) else { panic!("an event") };
    assert_eq!((events[0].origin, events[0].cursor), (THERE, EventCursor { node: HERE, seq: 4 }));
    feed.gap();
    assert_eq!((jobs(&mut all, 9), jobs(&mut own, 9)), (None, None));
}

/// Two publishers, fast readers and slow readers at the same time.
#[test]
fn no_event_is_lost_twice_or_out_of_order_under_threads() {
    const EACH: i64 = 20_000;
    let feed = Feed::keeping(HERE, 4_096);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    let runtime = runtime.expect("a runtime");
    // One publisher publishes job 1, the other job 2; an event of job 3 ends the readers.
    let filters = [
        FeedFilter::all(),
        FeedFilter::all().jobs([JobId(1), JobId(3)]),
        FeedFilter::all().jobs([JobId(2), JobId(3)]),
    ];
    let readers: Vec<_> = filters
        .into_iter()
        .flat_map(|filter| [(filter.clone(), 1), (filter, 500)])
        .map(|(filter, most)| {
            let mut reader = feed.read(filter);
            runtime.spawn(async move {
                let mut last: [u32; 3] = [0; 3];
                // A reset allows one hole for each job, directly after it.
                let (mut may_skip, mut at) = ([false; 3], 0);
                loop {
                    let events = match reader.next(most).await {
                        News::Reset => {
                            may_skip = [true; 3];
                            // The event of job 3, which ends the reader, may be among the lost ones.
                            if reader.cursor().seq > 2 * EACH as u64 {
                                return;
                            }
                            continue;
                        }
                        News::Events(events) => events,
                    };
                    for one in events {
                        assert!(one.cursor.seq > at, "out of order");
                        at = one.cursor.seq;
                        let Some(KnownEvent::JobMoved { job, attempt, .. }) = one.event.known()
                        else {
                            return;
                        };
                        let (index, count) = (job.id.0 as usize, attempt.expect("a count"));
                        let skips = std::mem::take(&mut may_skip[index]) && count > last[index];
                        assert!(count == last[index] + 1 || skips, "{count} {last:?}");
                        last[index] = count;
                    }
                }
            })
        })
        .collect();
    let publish = |job: i64| {
        let feed = feed.clone();
        move || {
            let moved = |count: i64| {
                event(KnownEvent::JobMoved {
                    job: JobId(job).into(),
                    from: None,
                    to: JobStatus::Running,
                    attempt: u32::try_from(count).ok(),
                })
            };
            let counts: Vec<i64> = (1..=EACH).collect();
            for (batch, counts) in counts.chunks(7).enumerate() {
                feed.publish(counts.iter().copied().map(moved).collect());
                if batch % 16 == 0 {
                    std::thread::yield_now();
                }
            }
        }
    };
    let publishers = [1, 2].map(|job| std::thread::spawn(publish(job)));
    publishers.into_iter().for_each(|publisher| publisher.join().expect("published"));
    feed.publish(vec![accepted(3)]);
    runtime.block_on(async {
        for reader in readers {
            reader.await.expect("read in order");
        }
    });
}

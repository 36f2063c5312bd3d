//! Measures what publishing costs the publisher, per event, with readers of all kinds.
//!
//!     cargo run --release -p orx-feed --example feed_speed [EVENTS]
//!
//! Publishes `EVENTS` (20,000 unless given) for each line, at 10,000 a second as a busy node would, so a
//! line takes 2 s, and all of them some 40 s. A line shows the readers, the events in one publication,
//! the publisher's time for each event, and the share of one core at that rate. `paced` readers of all
//! events pause 50 ms between two reads, as those do that show events to people; `eager` readers do not;
//! each reader of `one job` waits for one job among those that end.

#![expect(clippy::print_stdout, reason = "an example that prints")]

use std::time::{Duration, Instant};

use orx_feed::{Feed, FeedFilter, News};
use orx_model::event::{Event, JobRef, KnownEvent};
use orx_model::{Incarnation, JobId, JobStatus, Name, Timestamp};
use tokio::task::JoinSet;

const RATE: f64 = 10_000.0;

#[derive(Clone, Copy)]
enum Readers {
    Paced,
    Eager,
    OfOneJob,
}

fn events(from: i64, count: usize, name: &Name, queue: &Name) -> Vec<Event> {
    (from..)
        .take(count)
        .map(|id| {
            let (name, queue) = (Some(name.clone()), Some(queue.clone()));
            let job = JobRef { id: JobId(id), name, queue };
            let (from, to) = (Some(JobStatus::Running), JobStatus::Completed);
            let moved = KnownEvent::JobMoved { job, from, to, attempt: Some(1) };
            Event::new(Timestamp::from_millis(id), moved)
        })
        .collect()
}

fn read(feed: &Feed, readers: Readers, job: i64, tasks: &mut JoinSet<u64>) {
    let filter = match readers {
        Readers::OfOneJob => FeedFilter::job(JobId(job)),
        Readers::Paced | Readers::Eager => FeedFilter::all(),
    };
    let mut reader = feed.read(filter);
    tasks.spawn(async move {
        let mut read = 0;
        loop {
            match reader.next(1_000).await {
                News::Events(events) => read += events.len() as u64,
                News::Reset => {}
            }
            match readers {
                Readers::OfOneJob if read > 0 => return read,
                Readers::Paced => tokio::time::sleep(Duration::from_millis(50)).await,
                Readers::OfOneJob | Readers::Eager => {}
            }
        }
    });
}

/// Publishes at `RATE`, and returns the time spent in that.
async fn spent(feed: &Feed, count: usize, batch: usize) -> Duration {
    let name: Name = "mail.send".parse().expect("a name");
    let queue: Name = "default".parse().expect("a name");
    let mut spent = Duration::ZERO;
    let begun = Instant::now();
    for first in (0..count).step_by(batch) {
        let due = Duration::from_secs_f64(first as f64 / RATE);
        tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
        let at = Instant::now();
        feed.publish(events(first as i64, batch, &name, &queue));
        spent += at.elapsed();
    }
    spent
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(20_000);
    println!("readers          batch   ns/event   of a core at 10,000/s");
    let kinds = [
        ("none", Readers::Paced, 0),
        ("100 paced", Readers::Paced, 100),
        ("1 eager", Readers::Eager, 1),
        ("100 eager", Readers::Eager, 100),
        ("100 of one job", Readers::OfOneJob, 100),
        ("1000 of one job", Readers::OfOneJob, 1_000),
    ];
    for (words, readers, number) in kinds {
        for batch in [1, 20, 200] {
            let feed = Feed::new(Incarnation(1));
            let mut tasks = JoinSet::new();
            for index in 0..number {
                // Spread over all that is published.
                let job = (index * count / number.max(1)) as i64;
                read(&feed, readers, job, &mut tasks);
            }
            tokio::task::yield_now().await;
            let spent = spent(&feed, count, batch).await;
            let each = spent.as_secs_f64() / count as f64;
            println!("{words:<15} {batch:>6} {:>10.0} {:>9.2} %", each * 1e9, each * RATE * 100.0);
            if let Readers::OfOneJob = readers {
                let all = tasks.join_all().await;
                assert_eq!(all.len(), number, "each read the event of its job");
            } else {
                tasks.shutdown().await;
            }
        }
    }
}

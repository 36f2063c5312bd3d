//! Compares the feed with a plain list of everything that was published, under random publishers and readers.

use orx_feed::{Feed, FeedFilter, FeedReader, News};
use orx_model::event::{Event, EventCursor, KnownEvent};
use orx_model::{Incarnation, JobId, Timestamp};
use proptest::prelude::*;

const HERE: Incarnation = Incarnation(1);
const THERE: Incarnation = Incarnation(2);
/// Capacity of the feed's ring, and most events in one publication.
const CAPACITY: usize = 16;
const BATCH: usize = 4;
const JOBS: i64 = 4;

#[derive(Debug, Clone)]
enum Step {
    Publish {
        jobs: Vec<i64>,
        own: bool,
    },
    Gap,
    GapFrom(Option<Vec<i64>>),
    Read {
        reader: usize,
        most: usize,
    },
    /// Replaces a reader by one that resumes from its cursor; `elsewhere`: the cursor is of another node.
    Resume {
        reader: usize,
        elsewhere: bool,
    },
}

/// One publication. Its index in the list is its number less 1.
enum Published {
    Event {
        job: i64,
        own: bool,
    },
    /// `jobs`: the jobs that the lost events may be about; `None` for any.
    Gap {
        own: bool,
        jobs: Option<Vec<i64>>,
    },
}

struct Modelled {
    reader: FeedReader,
    filter: FeedFilter,
    job: Option<i64>,
    own: bool,
    /// Number of the first unread event.
    next: u64,
    /// The next read has to return a reset.
    lost: bool,
}

impl Modelled {
    fn takes(&self, event: &Published) -> bool {
        match event {
            Published::Event { job, own } => {
                (*own || !self.own) && self.job.is_none_or(|only| only == *job)
            }
            Published::Gap { own, jobs } => {
                let about = |jobs: &Vec<i64>| self.job.is_none_or(|only| jobs.contains(&only));
                (*own || !self.own) && jobs.as_ref().is_none_or(about)
            }
        }
    }

    /// Reads once, and checks the answer against the list.
    fn read(&mut self, all: &[Published], most: usize) -> Result<(), TestCaseError> {
        let head = all.len() as u64 + 1;
        let news = self.reader.try_next(most);
        let pending = |seq: &u64| self.takes(&all[(*seq - 1) as usize]);
        let pending: Vec<u64> =
            if self.lost { Vec::new() } else { (self.next..head).filter(pending).collect() };
        let is_gap = |seq: u64| matches!(all[(seq - 1) as usize], Published::Gap { .. });
        // A reader of a job starts at the first event about its job, own or not.
        let about = |seq: &u64| match &all[(*seq - 1) as usize] {
            Published::Event { job, .. } => self.job == Some(*job),
            Published::Gap { jobs, .. } => {
                jobs.as_ref().is_none_or(|jobs| self.job.is_some_and(|only| jobs.contains(&only)))
            }
        };
        let behind = match self.job {
            None => head.saturating_sub(self.next),
            Some(_) => (self.next..head).find(about).map_or(0, |first| head - first),
        };
        match news {
            None => {
                prop_assert!(!self.lost);
                prop_assert_eq!(pending, Vec::<u64>::new());
                prop_assert!(behind <= CAPACITY as u64);
                self.next = head;
            }
            Some(News::Events(events)) => {
                prop_assert!(!self.lost && events.len() <= most);
                let read: Vec<u64> = events.iter().map(|one| one.cursor.seq).collect();
                prop_assert_eq!(&read, &pending[..read.len()]);
                for one in &events {
                    let Published::Event { job, own } = &all[(one.cursor.seq - 1) as usize] else {
                        panic!("a gap was read as an event")
                    };
                    prop_assert_eq!(one.event.job().map(|job| job.id), Some(JobId(*job)));
                    prop_assert_eq!(one.origin == HERE, *own);
                    prop_assert_eq!(one.cursor.node, HERE);
                }
                // Only `most` limits what a read returns.
                prop_assert!(read.len() == most || read.len() == pending.len());
                self.next = match pending.get(read.len()) {
                    Some(next) => *next,
                    None => head,
                };
            }
            Some(News::Reset) => {
                let missed = behind > (CAPACITY - BATCH) as u64;
                let gap = (self.next.min(head)..head).any(is_gap);
                prop_assert!(self.lost || missed || gap, "reset without need");
                (self.next, self.lost) = (head, false);
            }
        }
        Ok(())
    }
}

fn step() -> impl Strategy<Value = Step> {
    let jobs = || prop::collection::vec(0..JOBS, 1..=BATCH);
    prop_oneof![
        6 => (jobs(), prop::bool::weighted(0.7)).prop_map(|(jobs, own)| Step::Publish { jobs, own }),
        6 => (0..6_usize, 1..10_usize).prop_map(|(reader, most)| Step::Read { reader, most }),
        2 => (0..6_usize, prop::bool::weighted(0.2))
            .prop_map(|(reader, elsewhere)| Step::Resume { reader, elsewhere }),
        1 => Just(Step::Gap),
        1 => prop::option::of(jobs()).prop_map(Step::GapFrom),
    ]
}

fn ids(jobs: &[i64]) -> Vec<JobId> {
    jobs.iter().map(|job| JobId(*job)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_gets_all_in_order_or_is_reset(steps in prop::collection::vec(step(), 1..120)) {
        let feed = Feed::keeping(HERE, CAPACITY);
        let mut all: Vec<Published> = Vec::new();
        let kinds = [(None, false), (None, true), (Some(0), false), (Some(1), false),
            (Some(1), true), (Some(2), false)];
        let mut readers: Vec<Modelled> = kinds
            .into_iter()
            .map(|(job, own)| {
                let filter = job.map_or(FeedFilter::all(), |job| FeedFilter::job(JobId(job)));
                let filter = if own { filter.own() } else { filter };
                let reader = feed.read(filter.clone());
                Modelled { reader, filter, job, own, next: 1, lost: false }
            })
            .collect();
        for step in steps {
            match step {
                Step::Publish { jobs, own } => {
                    let event = |job: &i64| {
                        let job = JobId(*job).into();
                        Event::new(Timestamp::default(), KnownEvent::JobAccepted { job, to: None })
                    };
                    let events = jobs.iter().map(event).collect();
                    if own { feed.publish(events) } else { feed.publish_from(THERE, events) }
                    all.extend(jobs.into_iter().map(|job| Published::Event { job, own }));
                }
                Step::Gap => {
                    feed.gap();
                    all.push(Published::Gap { own: true, jobs: None });
                }
                Step::GapFrom(jobs) => {
                    feed.gap_from(THERE, jobs.as_deref().map(ids).as_deref());
                    all.push(Published::Gap { own: false, jobs });
                }
                Step::Read { reader, most } => readers[reader].read(&all, most)?,
                Step::Resume { reader, elsewhere } => {
                    let old = &mut readers[reader];
                    let mut after = old.reader.cursor();
                    if elsewhere && !old.lost {
                        after.node = THERE;
                        old.lost = true;
                    }
                    let text = after.to_string();
                    let after: EventCursor = text.parse().expect("a cursor");
                    old.reader = feed.resume(after, old.filter.clone());
                    // A cursor that is no longer in the ring leads to a reset at the next read.
                    if !old.lost {
                        prop_assert!(after.seq + 1 >= old.next);
                    }
                }
            }
        }
        // In the end every reader reads to the end.
        for reader in &mut readers {
            for _ in 0..all.len() + 2 {
                reader.read(&all, 1)?;
            }
            prop_assert_eq!(reader.reader.try_next(1), None);
            prop_assert_eq!(reader.reader.cursor().seq, all.len() as u64);
        }
    }
}

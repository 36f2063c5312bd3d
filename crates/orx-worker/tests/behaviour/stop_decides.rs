//! Whatever happens to an attempt, in whatever order: the first of its own end and a stop that the worker
//! sent decides its outcome.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use orx_model::job::Json;
use orx_model::log::Stream;
use orx_model::message::Dispatch;
use orx_model::{Outcome, OutcomeKind};
use orx_worker::{Handler, HandlerError, Handlers, JobContext};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::time::Instant;

use crate::coordinator::{Coordinator, Setup, job, name, no_longer_current, outcomes_in};

/// Events are this far apart, so that no two of a story coincide.
const STEP: Duration = Duration::from_millis(20);
/// Not a multiple of a step, unlike what follows a stop.
const GRACE: Duration = Duration::from_millis(73);

/// What may happen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Cancel,
    /// The worker stops, without a grace.
    Stop,
    /// The attempt is no longer current.
    Abandon,
    /// No heartbeat is answered from now on.
    LinkLost,
    TimesOut,
}

/// How a handler returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Return {
    Value,
    Retry,
    NoRetry,
    Panic,
}

impl Return {
    const ALL: [Self; 4] = [Self::Value, Self::Retry, Self::NoRetry, Self::Panic];

    fn make(self) -> Result<Option<Json>, HandlerError> {
        match self {
            Self::Value => Ok(None),
            Self::Retry => Err(HandlerError::retry("again")),
            Self::NoRetry => Err(HandlerError::no_retry("never")),
            Self::Panic => panic!("on purpose"),
        }
    }

    fn is(self, kind: &OutcomeKind) -> bool {
        match self {
            Self::Value => matches!(kind, OutcomeKind::Succeeded { .. }),
            Self::Retry | Self::Panic => {
                matches!(kind, OutcomeKind::Failed { retryable: true, .. })
            }
            Self::NoRetry => matches!(kind, OutcomeKind::Failed { retryable: false, .. }),
        }
    }
}

#[derive(Debug, Clone)]
struct Story {
    /// When it ends by itself, and how.
    end: Option<(Duration, Return)>,
    /// What it does this long after it was asked to end; `None`: it ignores that.
    when_asked: Option<(Duration, Return)>,
    /// In their order.
    blows: Vec<(Duration, Blow)>,
}

impl Story {
    fn of(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let any = |rng: &mut StdRng| Return::ALL[rng.random_range(0..Return::ALL.len())];
        let mut moments: Vec<u32> = (1..=8).collect();
        moments.shuffle(&mut rng);
        let mut moment = move || STEP * moments.pop().expect("enough");
        let all = [Blow::Cancel, Blow::Stop, Blow::Abandon, Blow::LinkLost, Blow::TimesOut];
        let mut blows: Vec<(Duration, Blow)> =
            all.into_iter().map(|blow| (moment(), blow)).filter(|_| rng.random_bool(0.4)).collect();
        blows.sort_by_key(|(at, _)| *at);
        // A stopped worker accepts nothing more.
        if let Some(last) = blows.iter().position(|(_, blow)| *blow == Blow::Stop) {
            blows.truncate(last + 1);
        }
        let ends = blows.iter().all(|(_, blow)| *blow == Blow::LinkLost) || rng.random_bool(0.6);
        let end = ends.then(|| (moment(), any(&mut rng)));
        let delay = Duration::from_millis([0, 5, 25, 45, 65][rng.random_range(0..5)]);
        let when_asked = rng.random_bool(0.8).then(|| (delay, any(&mut rng)));
        Self { end, when_asked, blows }
    }

    /// The outcome that is reported, if any: computed from the times alone.
    fn expected(&self) -> Option<Expected> {
        let stop = |blow| match blow {
            Blow::Cancel => Some(Expected::Cancelled),
            Blow::Stop => Some(Expected::Interrupted),
            Blow::TimesOut => Some(Expected::TimedOut),
            Blow::Abandon | Blow::LinkLost => None,
        };
        let stopped = self.blows.iter().find_map(|(at, blow)| Some((*at, stop(*blow)?)));
        let abandoned = self.blows.iter().find(|(_, blow)| *blow == Blow::Abandon);
        let own = self.end.filter(|(end, _)| stopped.is_none_or(|(at, _)| *end < at));
        let (over, expected) = match (own, stopped) {
            (Some((end, how)), _) => (end, Expected::Own(how)),
            (None, Some((at, how))) => {
                let delay = self.when_asked.map_or(GRACE, |(delay, _)| delay.min(GRACE));
                (at + delay, how)
            }
            (None, None) => return None,
        };
        abandoned.is_none_or(|(at, _)| over < *at).then_some(expected)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Own(Return),
    Cancelled,
    Interrupted,
    TimedOut,
}

impl Expected {
    fn is(self, outcome: &Outcome) -> bool {
        match self {
            Self::Own(how) => how.is(&outcome.kind),
            Self::Cancelled => matches!(outcome.kind, OutcomeKind::Cancelled),
            Self::Interrupted => matches!(outcome.kind, OutcomeKind::Interrupted),
            Self::TimedOut => matches!(outcome.kind, OutcomeKind::TimedOut),
        }
    }
}

/// A handler that follows its story.
struct Actor(Story);

#[async_trait]
impl Handler for Actor {
    async fn run(&self, context: JobContext, _: &Json) -> Result<Option<Json>, HandlerError> {
        let end = async {
            match self.0.end {
                Some((at, how)) => {
                    tokio::time::sleep(at).await;
                    how
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            how = end => how.make(),
            () = context.cancelled() => match self.0.when_asked {
                Some((delay, how)) => {
                    tokio::time::sleep(delay).await;
                    how.make()
                }
                None => std::future::pending().await,
            }
        }
    }
}

async fn strike(coordinator: &mut Coordinator, job: &Dispatch, blow: Blow) {
    match blow {
        Blow::Cancel => coordinator.cancel(job).await,
        Blow::Stop => coordinator.stop(Duration::ZERO).await,
        Blow::Abandon => {
            coordinator.gateway.unreachable.store(false, Ordering::Release);
            coordinator.gateway.usually(no_longer_current(job));
        }
        Blow::LinkLost => coordinator.gateway.unreachable.store(true, Ordering::Release),
        // The worker finds it by itself.
        Blow::TimesOut => {}
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_of_an_end_and_a_stop_decides() {
    let (mut own, mut stopped, mut unreported) = (0, 0, 0);
    for seed in 0..160 {
        let story = Story::of(seed);
        let handler: Arc<dyn Handler> = Arc::new(Actor(story.clone()));
        let setup = Setup {
            rust_handlers: Handlers::from([(name("act"), handler)]),
            kill_grace: GRACE,
            heartbeat: Duration::from_millis(1),
            ..Setup::default()
        };
        let mut coordinator = setup.start().await;
        let mut job = job("act", json!({}));
        let timeout = story.blows.iter().find(|(_, blow)| *blow == Blow::TimesOut);
        job.timeout_ms = timeout.map(|(at, _)| at.as_millis() as u64);
        coordinator.dispatch(&job).await;
        coordinator.started(&job).await;
        let began = Instant::now();
        for (at, blow) in &story.blows {
            tokio::time::sleep_until(began + *at).await;
            strike(&mut coordinator, &job, *blow).await;
        }
        let expected = story.expected();
        let story = format!("seed {seed}: {story:?}, expected {expected:?}");
        let Some(expected) = expected else {
            // The slot is free again, and no outcome was reported.
            if coordinator.worker.is_some() {
                coordinator.stop(Duration::from_secs(5)).await;
            }
            let reported = outcomes_in(&coordinator.seen(), job.execution);
            assert!(reported.is_empty(), "{story}: {reported:?}");
            unreported += 1;
            continue;
        };
        let outcome = coordinator.outcome(&job).await;
        assert!(expected.is(&outcome), "{story}: {outcome:?}");
        match expected {
            Expected::Own(_) => own += 1,
            _ => stopped += 1,
        }
        if coordinator.worker.is_some() {
            coordinator.stop(Duration::ZERO).await;
        }
        assert_eq!(outcomes_in(&coordinator.seen(), job.execution).len(), 1, "{story}");
    }
    // The seeds reach each of them.
    assert!(own > 15 && stopped > 15 && unreported > 15, "{own} {stopped} {unreported}");
}

/// A program, with what it does when it is asked to end.
fn program(rng: &mut StdRng) -> String {
    let codes = ["exit 0", "exit 3", "exit 75", "kill -9 $$", ":"];
    let any = |rng: &mut StdRng| codes[rng.random_range(0..codes.len())];
    let (asked, own) = (any(rng), any(rng));
    let lives = f64::from(rng.random_range(0..15_u32)) / 100.0;
    format!("trap 'echo asked; {asked}' TERM; echo ready; sleep {lives}; {own}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_program_that_was_asked_to_end_keeps_its_own_outcome() {
    let setup = Setup { slots: 8, kill_grace: Duration::from_millis(200), ..Setup::default() };
    let mut coordinator = setup.start().await;
    let (mut own, mut asked) = (0, 0);
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let text = program(&mut rng);
        let mut job = crate::coordinator::script(&text);
        let timeout = rng.random_range(1..150);
        let cancel = Duration::from_millis(rng.random_range(0..150));
        let (times_out, cancels) = (rng.random_bool(0.5), rng.random_bool(0.5));
        job.timeout_ms = times_out.then_some(timeout);
        coordinator.dispatch(&job).await;
        if cancels {
            coordinator.started(&job).await;
            // An arbitrary moment of the program: the test waits for no condition.
            tokio::time::sleep(cancel).await;
            coordinator.cancel(&job).await;
        }
        let outcome = coordinator.outcome(&job).await;
        let was_asked = coordinator.text(&job, Stream::Out).contains("asked");
        let story = format!("seed {seed}: `{text}`: {outcome:?}");
        match outcome.kind {
            OutcomeKind::TimedOut => assert!(times_out, "{story}"),
            OutcomeKind::Cancelled => assert!(cancels, "{story}"),
            OutcomeKind::Succeeded { .. } | OutcomeKind::Failed { .. } => {
                assert!(!was_asked, "{story}");
                own += 1;
            }
            _ => panic!("{story}"),
        }
        asked += u32::from(was_asked);
    }
    assert!(own > 5 && asked > 5, "{own} {asked}");
    coordinator.stop(Duration::ZERO).await;
}

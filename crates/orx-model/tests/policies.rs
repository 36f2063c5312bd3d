//! Limits and texts of statuses, priorities and retry policies, and which jobs a worker can run.

use std::collections::BTreeSet;
use std::time::Duration;

use orx_model::job::Labels;
use orx_model::limits::DELAY_MAX;
use orx_model::{Backoff, Capabilities, JobStatus, Lane, Name, Priority, RetryPolicy, policy};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

fn is_valid(policy: RetryPolicy) -> bool {
    policy.check().is_ok()
}

#[test]
fn a_retry_policy_is_valid_up_to_its_documented_limits_and_not_beyond() {
    let policy = RetryPolicy::default();
    assert!(is_valid(policy));
    for (retries, valid) in [(0, true), (1_000, true), (1_001, false)] {
        assert_eq!(is_valid(RetryPolicy { retries, ..policy }), valid, "retries {retries}");
    }
    for (factor, valid) in [(0.9, false), (1.0, true), (100.0, true), (100.1, false)] {
        assert_eq!(is_valid(RetryPolicy { factor, ..policy }), valid, "factor {factor}");
    }
    for (jitter, valid) in [(-0.1, false), (0.0, true), (1.0, true), (1.1, false)] {
        assert_eq!(is_valid(RetryPolicy { jitter, ..policy }), valid, "jitter {jitter}");
    }
    assert!(!is_valid(RetryPolicy { factor: f64::NAN, ..policy }));
    let most = u64::try_from(DELAY_MAX.as_millis()).expect("ten years");
    for (ms, valid) in [(most, true), (most + 1, false)] {
        assert_eq!(is_valid(RetryPolicy { backoff_ms: ms, ..policy }), valid, "{ms}");
        assert_eq!(is_valid(RetryPolicy { backoff_max_ms: ms, ..policy }), valid, "{ms}");
    }
}

#[test]
fn the_policy_without_retries_has_none() {
    assert_eq!(RetryPolicy::none().retries, 0);
    assert!(is_valid(RetryPolicy::none()));
}

#[test]
fn a_drawn_wait_spreads_over_its_jitter() {
    let mut rng = StdRng::seed_from_u64(1);
    let draws: Vec<f64> = (0..1_000).map(|_| policy::draw(&mut rng)).collect();
    assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
    for tenth in 0..10 {
        let low = f64::from(tenth) / 10.0;
        assert!(draws.iter().any(|draw| (low..low + 0.1).contains(draw)), "none from {low}");
    }
}

#[test]
fn priorities_have_ranks_0_to_3_and_are_read_in_any_case() {
    assert_eq!(Priority::ALL.map(Priority::rank), [0, 1, 2, 3]);
    assert_eq!(Priority::from_rank(4), None);
    assert_eq!("HIGH".parse(), Ok(Priority::High));
    assert!("urgent".parse::<Priority>().is_err());
}

#[test]
fn texts_of_statuses_and_priorities_keep_the_width_that_a_table_asks_for() {
    assert_eq!(format!("{:<9}|{:>8}", JobStatus::Pending, Priority::Low), "pending  |     low");
}

#[test]
fn a_status_has_a_name_for_people_and_other_spellings() {
    assert_eq!(JobStatus::TimedOut.words(), "timed out");
    assert_eq!(JobStatus::Running.words(), "running");
    for text in ["timed_out", "timed-out", "timedout", "TIMED_OUT"] {
        assert_eq!(text.parse(), Ok(JobStatus::TimedOut), "{text}");
    }
}

#[test]
fn four_statuses_are_final() {
    let is_final: Vec<JobStatus> =
        JobStatus::ALL.into_iter().filter(|status| status.is_final()).collect();
    let expected =
        [JobStatus::Completed, JobStatus::Failed, JobStatus::TimedOut, JobStatus::Cancelled];
    assert_eq!(is_final, expected);
}

#[test]
fn a_worker_has_an_attempt_of_a_dispatched_and_of_a_running_job_only() {
    let live: Vec<JobStatus> =
        JobStatus::ALL.into_iter().filter(|status| status.is_live()).collect();
    assert_eq!(live, [JobStatus::Dispatched, JobStatus::Running]);
    assert!(!JobStatus::ALL.into_iter().any(|status| status.is_live() && status.is_final()));
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

#[test]
fn commands_run_only_on_workers_that_accept_commands() {
    let lane = Lane { queue: name("default"), handler: None, require: Labels::new() };
    let handlers = BTreeSet::from([name("video")]);
    let no_commands = Capabilities { handlers, ..Capabilities::default() };
    assert!(!no_commands.takes(&lane));
    assert!(Capabilities { commands: true, ..Capabilities::default() }.takes(&lane));
}

#[test]
fn a_worker_needs_every_required_label_with_its_value() {
    let labels = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect()
    };
    let require = labels(&[("gpu", "a100"), ("zone", "b")]);
    let lane = Lane { queue: name("default"), handler: None, require };
    let takes = |has: &[(&str, &str)]| {
        let worker = Capabilities { commands: true, labels: labels(has), ..Default::default() };
        worker.takes(&lane)
    };
    assert!(takes(&[("gpu", "a100"), ("os", "linux"), ("zone", "b")]));
    assert!(!takes(&[("gpu", "a100")]));
    assert!(!takes(&[("gpu", "a100"), ("zone", "c")]));
}

#[test]
fn the_wait_that_is_shown_is_the_wait_that_the_next_failure_gets() {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
    for expected in [1, 2, 4, 5] {
        assert_eq!(backoff.peek(), Duration::from_secs(expected));
        assert_eq!(backoff.failed(), Duration::from_secs(expected));
    }
    // A first wait beyond the longest is cut to it.
    let long = Backoff::new(Duration::from_secs(9), Duration::from_secs(5));
    assert_eq!(long.peek(), Duration::from_secs(5));
}

//! What a store has as JSON: the specs of jobs and schedules. The registration of a worker is stored as it
//! is sent.

use orx_model::schedule::{CatchUp, Imported, Overlap, ScheduleSpec, When};
use orx_model::wire::EnqueueRequest;
use orx_model::{JobSpec, OnLost, Priority};

use super::*;

fn spec() -> JobSpec {
    JobSpec {
        name: name("video.process"),
        queue: name("media"),
        priority: Priority::High,
        retry: retry(),
        tags: labels("tenant", "acme"),
        correlation_id: Some("c1".into()),
        key: Some("k1".into()),
        by: Some("ann@host-1".into()),
        schedule: Some(origin()),
        args: json(r#"{"n":123456789012345678901234567890,"x":1.0}"#),
        command: Some(command()),
        timeout_ms: Some(60_000),
        deadline: Some(LATER),
        expires_at: Some(LATER),
        on_lost: OnLost::Fail,
        require: labels("gpu", "a"),
    }
}

fn request() -> EnqueueRequest {
    EnqueueRequest {
        name: Some(name("video.process")),
        args: Some(json(r#"{"path":"/in/1.mp4"}"#)),
        command: Some(command()),
        queue: Some(name("media")),
        priority: Some(Priority::Critical),
        run_at: Some(AT),
        delay_ms: Some(1_000),
        retries: Some(2),
        backoff_ms: Some(500),
        timeout_ms: Some(60_000),
        deadline: Some(LATER),
        expires_ms: Some(3_600_000),
        on_lost: Some(OnLost::Retry),
        require: labels("gpu", "a"),
        tags: labels("tenant", "acme"),
        correlation_id: Some("c1".into()),
        key: Some("k1".into()),
        by: Some("ann@host-1".into()),
    }
}

fn schedule(timing: When) -> ScheduleSpec {
    ScheduleSpec {
        id: name("nightly"),
        timing,
        zone: "Europe/Berlin".parse().expect("a zone"),
        jitter_ms: 30_000,
        start: Some(AT),
        end: Some(LATER),
        max_runs: Some(10),
        catch_up: CatchUp::All(5),
        window_ms: 86_400_000,
        overlap: Overlap::QueueOne,
        tolerance_ms: 60_000,
        on_missed: Some(name("page.me")),
        on_failure: Some(name("page.me")),
        imported: Some(Imported {
            source: "host-1:/etc/crontab".into(),
            line: 7,
            key: "backup".into(),
            fingerprint: "1:0a1b".into(),
        }),
        job: request(),
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let least = JobSpec::new(name("orx.noop"), name("default"));
    let interval = When::Interval { every_ms: 900_000, offset_ms: 300_000 };
    let least_interval = When::Interval { every_ms: 900_000, offset_ms: 0 };
    let least_schedule =
        ScheduleSpec::new(name("often"), least_interval, EnqueueRequest::default());
    vec![
        full("job_spec", &spec()),
        sample("job_spec.least", &least),
        full(
            "schedule_spec_cron",
            &schedule(When::Cron("30 2 * * mon-fri".parse().expect("cron"))),
        ),
        full("schedule_spec_interval", &schedule(interval)),
        full("schedule_spec_once", &schedule(When::Once(LATER))),
        sample("schedule_spec.least", &least_schedule),
        full("enqueue_request", &request()),
    ]
}

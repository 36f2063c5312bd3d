//! Data for tests: a cluster at a fixed time.

use std::collections::BTreeMap;
use std::time::Duration;

use orx_model::job::{DeadReason, Progress};
use orx_model::time::UtcClock;
use orx_model::wire::{
    CauseGroup, CausePage, ClusterStatus, DeadLetter, JobDetail, JobPage, NodeView, QueueList,
    QueueView, StatusCounts, WorkerList, WorkerView,
};
use orx_model::{
    Capabilities, CauseId, Incarnation, Job, JobId, JobSpec, JobState, JobStatus, JobSummary,
    LiveAttempt, Name, Timestamp,
};

use crate::keys::Keymap;
use crate::options::{Theme, TopOptions};
use crate::state::{App, UpdateTime};

/// The time of every test.
pub(crate) fn now() -> Timestamp {
    "2026-01-31T18:42:05Z".parse().expect("a time")
}

pub(crate) fn moment(mono_ms: u64) -> UpdateTime {
    let wall = now().saturating_add(Duration::from_millis(mono_ms));
    UpdateTime { wall, mono: Duration::from_millis(mono_ms), chance: 0.5 }
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(crate) fn incarnation(n: u8) -> Incarnation {
    Incarnation::from_bytes([n; 16])
}

fn job_at(id: i64, kind: &str, queue: &str, status: JobStatus, age_s: u64) -> Job {
    let at = now().saturating_sub(Duration::from_secs(age_s));
    let mut state = JobState::new(status, at, at);
    let spec = JobSpec::new(name(kind), name(queue));
    if status.is_live() {
        state.attempt = 1;
        state.live = Some(LiveAttempt {
            execution: orx_model::ExecutionId::from_bytes([1; 16]),
            worker: incarnation(3),
            worker_name: name("wrk-3"),
            epoch: 14,
            claimed_at: at,
            started_at: Some(at.saturating_add(Duration::from_millis(3_100))),
            progress: None,
        });
    }
    if status.is_final() {
        state.attempt = 1;
        state.started_at = Some(at.saturating_add(Duration::from_millis(120)));
        state.finished_at = Some(at.saturating_add(Duration::from_millis(430)));
        state.worker = Some(name("wrk-1"));
    }
    Job { id: JobId(id), spec, state }
}

fn summary_of(job: Job) -> JobSummary {
    JobSummary { id: job.id, spec: job.spec.into(), state: job.state }
}

pub(crate) fn summary(id: i64) -> JobSummary {
    summary_of(job_at(id, "mail.send", "mail", JobStatus::Completed, 60))
}

/// A running job with progress.
pub(crate) fn running() -> Job {
    let mut job = job_at(14_233, "video.process", "media", JobStatus::Running, 12);
    job.spec.retry.retries = 3;
    job.spec.timeout_ms = Some(600_000);
    job.spec.key = Some("order-42".to_owned());
    job.spec.tags.insert("tenant".to_owned(), "acme".to_owned());
    job.spec.by = Some("user@host-a".to_owned());
    if let Some(live) = &mut job.state.live {
        let text = Some("pass 2: frame 7400 of 9999".to_owned());
        live.progress = Some(Progress { percent: 74.0, text });
    }
    job
}

fn failed(id: i64, error: &str, age_s: u64) -> Job {
    let mut job = job_at(id, "video.process", "media", JobStatus::Failed, age_s);
    job.spec.retry.retries = 3;
    job.state.attempt = 4;
    job.state.error = Some(error.to_owned());
    job.state.dead = Some(DeadReason::Exhausted);
    job
}

pub(crate) fn letter(id: i64, error: &str) -> DeadLetter {
    let job = summary_of(failed(id, error, 120));
    DeadLetter { job, reason: DeadReason::Exhausted, at: now(), cause_id: None, cause: None }
}

pub(crate) fn causes() -> CausePage {
    let cause = |id, cause: &str, count, queue: &str, sample| CauseGroup {
        cause_id: CauseId(id),
        cause: cause.to_owned(),
        name: name("video.process"),
        count,
        reasons: vec![DeadReason::Exhausted],
        queues: vec![name(queue)],
        first: now().saturating_sub(Duration::from_secs(86_400)),
        last: now().saturating_sub(Duration::from_secs(120)),
        sample: JobId(sample),
    };
    let causes = vec![
        cause(0x9c1f, "exit 1: moov atom not found", 39, "media", 14_231),
        cause(0x7a02, "signal 9", 2, "default", 14_102),
    ];
    CausePage { v: 1, causes, next: None }
}

pub(crate) fn jobs() -> JobPage {
    let mut late = job_at(14_230, "report.nightly", "reports", JobStatus::Scheduled, 180);
    late.state.run_at = now().saturating_add(Duration::from_secs(5 * 3_600));
    let mut hostile = job_at(14_229, "mail.send", "mail", JobStatus::Failed, 200);
    hostile.state.error = Some("\u{1b}[2Jcleared \u{202e}reversed\nsecond line".to_owned());
    let jobs = vec![
        running(),
        job_at(14_232, "mail.send", "mail", JobStatus::Completed, 14),
        failed(14_231, "exit 1: moov atom not found", 120),
        late,
        hostile,
        job_at(14_228, "mail.send", "mail", JobStatus::Pending, 252),
        job_at(14_227, "mail.send", "mail", JobStatus::Dispatched, 260),
        job_at(14_226, "mail.send", "mail", JobStatus::Cancelled, 270),
        job_at(14_225, "video.transcode", "media", JobStatus::TimedOut, 840),
    ];
    JobPage {
        v: 1,
        jobs: jobs.into_iter().map(summary_of).collect(),
        next: None,
        count: Some(orx_model::wire::Count { count: 9, exact: true }),
    }
}

pub(crate) fn detail() -> JobDetail {
    JobDetail { v: 1, job: running(), attempts: Vec::new() }
}

pub(crate) fn queues() -> QueueList {
    let queue = |text: &str, pending, running, oldest: Option<u64>| QueueView {
        queue: name(text),
        counts: StatusCounts { pending, running, completed: 4_000, ..StatusCounts::default() },
        paused: None,
        oldest_due: oldest.map(|age| now().saturating_sub(Duration::from_secs(age))),
    };
    let queues = vec![
        queue("default", 301, 44, Some(1)),
        queue("mail", 91, 12, Some(2)),
        queue("media", 812, 40, Some(252)),
        queue("reports", 0, 0, None),
    ];
    QueueList { v: 1, queues }
}

pub(crate) fn workers() -> WorkerList {
    let worker = |number: u8, live| WorkerView {
        incarnation: incarnation(number),
        name: name(&format!("wrk-{number}")),
        host: "host-b".to_owned(),
        pid: 8_812,
        version: "0.1.0".to_owned(),
        state: orx_model::message::WorkerState::Running,
        order: None,
        live,
        offer: Capabilities { commands: true, ..Capabilities::default() },
        slots: 10,
        active: 8,
        prefetched: 0,
        capacity: 12,
        load: None,
        node: None,
        started_at: now().saturating_sub(Duration::from_secs(7_500)),
        seen_at: now().saturating_sub(Duration::from_secs(2)),
    };
    WorkerList { v: 1, workers: vec![worker(1, true), worker(3, true), worker(7, false)] }
}

pub(crate) fn cluster() -> ClusterStatus {
    let node = |number: u8, leads| NodeView {
        node: incarnation(number),
        name: name(&format!("n{number}")),
        url: Some(format!("http://10.0.0.{number}:7070")),
        version: "0.1.0".to_owned(),
        zone_version: Some("2025b".to_owned()),
        leads,
        live: true,
        drain: None,
        draining_since: None,
        started_at: now().saturating_sub(Duration::from_secs(86_400)),
        seen_at: now().saturating_sub(Duration::from_secs(1)),
    };
    ClusterStatus {
        v: 1,
        version: "0.1.0".to_owned(),
        node: incarnation(2),
        started_at: now().saturating_sub(Duration::from_secs(86_400)),
        now: now(),
        store: "postgres".to_owned(),
        durability: "full".to_owned(),
        transport: "direct".to_owned(),
        zone_data: None,
        leader: Some(incarnation(2)),
        epoch: 14,
        nodes: vec![node(1, false), node(2, true), node(3, false)],
        counts: StatusCounts {
            created: 0,
            pending: 1_204,
            scheduled: 310,
            dispatched: 12,
            running: 96,
            completed: 48_112,
            failed: 41,
            timed_out: 2,
            cancelled: 7,
        },
        dead_letters: 41,
        schedules: orx_model::schedule::wire::ScheduleCounts::default(),
        workers_live: 12,
        slots: 120,
        active: 96,
        prefetched: 12,
        clock: None,
        links: Vec::new(),
        attention: vec![
            "worker wrk-7 is silent since 31s".to_owned(),
            "41 dead letters need a decision".to_owned(),
        ],
        settings_ms: BTreeMap::from([("lease".to_owned(), 30_000)]),
    }
}

/// A piece of standard output.
pub(crate) fn log_part(attempt: u32, seq: u64, text: &str) -> orx_model::wire::LogPart {
    orx_model::wire::LogPart {
        cursor: format!("{attempt}:{seq}"),
        attempt,
        stream: orx_model::log::Stream::Out,
        at: now(),
        dropped_bytes: 0,
        data: text.as_bytes().to_vec(),
    }
}

pub(crate) fn options() -> TopOptions {
    TopOptions {
        context: "prod".to_owned(),
        color: None,
        contexts: None,
        read_only: false,
        protected: false,
        ascii: false,
        theme: Theme::Ansi,
        mouse: false,
        screen: None,
        filter: String::new(),
        replay: false,
        by: None,
        keys: Keymap::default(),
        zone: Box::new(UtcClock),
        pager: Vec::new(),
        clipboard: Vec::new(),
        settings: Vec::new(),
        state: None,
        folder: std::path::PathBuf::new(),
        commands: BTreeMap::new(),
    }
}

/// A dashboard of this size that nothing has been asked of yet.
pub(crate) fn app(width: u16, height: u16) -> App {
    App::new(options(), (width, height), moment(0))
}

/// Settings in force at a server.
pub(crate) fn settings() -> orx_model::wire::ServerSettings {
    use orx_model::wire::{ServerSetting, SettingOrigin};
    let setting = |name: &str, value: &str, origin| ServerSetting {
        name: name.to_owned(),
        value: value.into(),
        origin,
    };
    let file = SettingOrigin::File { file: "/etc/orx/config.toml".to_owned(), line: 12 };
    orx_model::wire::ServerSettings {
        v: 1,
        node: incarnation(2),
        settings: vec![
            setting("server.name", "n2", SettingOrigin::Flag { name: "--name".to_owned() }),
            setting("cluster.lease", "30s", file),
            setting("retention.completed", "7d", SettingOrigin::Default {}),
        ],
    }
}

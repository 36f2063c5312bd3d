//! Plain values for tests: what a test does not care about has one place.

use std::collections::BTreeMap;
use std::sync::Arc;

use orx_control::{ControlPanel, ControlSettings, Defaults};
use orx_model::job::Json;
use orx_model::{
    Capabilities, ExecutionId, Incarnation, JobId, JobSpec, LostWith, Name, NewJob, Outcome,
    OutcomeKind, RetryPolicy, Timestamp,
};
use orx_store::{ClaimRequest, Store};
use orx_transport::{Direct, Wakeups};

/// The moment at which tests begin.
pub const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// So many seconds after [`NOW`].
#[must_use]
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + seconds * 1_000)
}

/// # Panics
/// On what is no name.
#[must_use]
pub fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// # Panics
/// On what is no JSON.
#[must_use]
pub fn json(text: &str) -> Json {
    serde_json::from_str(text).expect("json")
}

/// A job of the type `work` on the queue `default`: no jitter, first retry after 10 s.
#[must_use]
pub fn job() -> JobSpec {
    JobSpec {
        args: json("{}"),
        retry: RetryPolicy { jitter: 0.0, ..RetryPolicy::default() },
        ..JobSpec::new(name("work"), name("default"))
    }
}

/// The same job, not before then.
#[must_use]
pub fn not_before(run_at: Timestamp, spec: JobSpec) -> NewJob {
    NewJob { run_at: Some(run_at), ..spec.into() }
}

/// A worker that takes `work` and commands from every queue, with `free_slots`.
#[must_use]
pub fn request(worker: u128, first_execution: u128, free_slots: usize) -> ClaimRequest {
    ClaimRequest {
        worker: Incarnation(worker),
        worker_name: name("w"),
        offer: Capabilities {
            handlers: [name("work")].into(),
            commands: true,
            ..Capabilities::default()
        },
        executions: (0..free_slots as u128).map(|n| ExecutionId(first_execution + n)).collect(),
        prefetch: 0,
        held: 0,
    }
}

#[must_use]
pub fn outcome(job: JobId, execution: u128, kind: OutcomeKind) -> Outcome {
    Outcome {
        job,
        execution: ExecutionId(execution),
        kind,
        started_at: Some(at(1)),
        ended_at: at(2),
        error: None,
        exit: None,
    }
}

#[must_use]
pub fn failed() -> OutcomeKind {
    OutcomeKind::Failed { retryable: true, retry_after_ms: None }
}

#[must_use]
pub fn lost(with: LostWith) -> OutcomeKind {
    OutcomeKind::Lost { with }
}

#[must_use]
pub fn succeeded() -> OutcomeKind {
    OutcomeKind::Succeeded { result: None }
}

/// Of a node alone, which lets anyone who may enqueue give commands with jobs.
#[must_use]
pub fn control_settings() -> ControlSettings {
    ControlSettings {
        node: Incarnation(1),
        started_at: NOW,
        version: "1".into(),
        transport: "direct",
        defaults: Defaults::default(),
        by_name: BTreeMap::new(),
        allow_commands: true,
        lease_ms: 30_000,
        node_lives_ms: 30_000,
        settings_ms: BTreeMap::new(),
    }
}

/// The operations of such a node on a clock that stands at [`NOW`]; what it sends stays in it.
#[must_use]
pub fn control_panel(store: Arc<dyn Store>, wakeups: Wakeups) -> ControlPanel {
    let (transport, now) = (Arc::new(Direct::new()), Arc::new(|| NOW));
    ControlPanel::new(store, transport, wakeups, now, control_settings())
}

//! Default values for tests, so that a test names only the fields it is about.

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

/// The time at which tests begin.
pub const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// The time `seconds` after [`NOW`]; negative is before it.
#[must_use]
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(NOW.as_millis() + seconds * 1_000)
}

/// Parses a name.
///
/// # Panics
/// Where `text` is not a valid name.
#[must_use]
pub fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// Parses a JSON value.
///
/// # Panics
/// Where `text` is not JSON.
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

/// This job, with the time before which it does not start.
#[must_use]
pub fn not_before(run_at: Timestamp, spec: JobSpec) -> NewJob {
    NewJob { run_at: Some(run_at), ..spec.into() }
}

/// The claim of a worker that accepts `work` and commands from every queue, with one execution id for
/// each free slot, counted up from `first_execution`.
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

/// An outcome that started 1 s and ended 2 s after [`NOW`].
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

/// A failure that may be retried after the policy's own backoff.
#[must_use]
pub fn failed() -> OutcomeKind {
    OutcomeKind::Failed { retryable: true, retry_after_ms: None }
}

/// A loss, with what was lost.
#[must_use]
pub fn lost(with: LostWith) -> OutcomeKind {
    OutcomeKind::Lost { with }
}

/// A success without a result.
#[must_use]
pub fn succeeded() -> OutcomeKind {
    OutcomeKind::Succeeded { result: None }
}

/// Settings of a single node that accepts jobs with commands.
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
        in_force: Vec::new(),
    }
}

/// The operations of such a node, with the clock fixed at [`NOW`] and a transport inside the process.
#[must_use]
pub fn control_panel(store: Arc<dyn Store>, wakeups: Wakeups) -> ControlPanel {
    let (transport, now) = (Arc::new(Direct::new()), Arc::new(|| NOW));
    ControlPanel::new(store, transport, wakeups, now, control_settings())
}

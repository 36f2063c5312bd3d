//! A job's JSON is flat, and is read as it was written.

use orx_model::job::Json;
use orx_model::{Job, JobId, JobSpec, JobStatus, JobSummary, Name};
use serde_json::Value;

/// As a server of the release 1.0 wrote it.
const JOB: &str = r#"{
    "id": 1423, "name": "video.process", "queue": "media", "priority": "high", "status": "failed",
    "args": {"n": 123456789012345678901234567890, "x": 1.0}, "created_at": "2026-01-02T03:04:05.000Z",
    "run_at": "2026-01-02T03:05:05.000Z", "attempt": 2,
    "ends": {"failed": 2, "lost": 0, "server_lost": 0, "returned": 0},
    "retry": {"retries": 1, "backoff_ms": 10000, "factor": 2.0, "backoff_max_ms": 600000,
              "jitter": 0.2},
    "timeout_ms": 60000, "on_lost": "fail", "require": {"gpu": "a"}, "tags": {"tenant": "acme"},
    "corr": "c", "key": "k", "by": "ann@host", "schedule": {"id": "nightly"},
    "finished_at": "2026-01-02T03:06:05.000Z", "started_at": "2026-01-02T03:05:06.000Z", "worker": "w1",
    "error": "exit code 1", "exit": {"code": 1}, "result": 0.10, "dead": "exhausted",
    "of_a_later_version": [1]
}"#;

fn fields(text: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(text).expect("json");
    value.as_object().expect("an object").keys().cloned().collect()
}

#[test]
fn a_job_is_read_and_written_with_all_its_fields_beside_each_other() {
    let job: Job = serde_json::from_str(JOB).expect("a job");
    assert_eq!((job.id, job.state.status), (JobId(1423), JobStatus::Failed));
    // Numbers stay as they were written.
    assert_eq!(job.spec.args.get(), r#"{"n": 123456789012345678901234567890, "x": 1.0}"#);
    assert_eq!(job.state.result.as_ref().map(|result| result.get()), Some("0.10"));
    let text = serde_json::to_string(&job).expect("json");
    let read = |text: &str| serde_json::from_str::<Value>(text).expect("json");
    let mut expected = read(JOB);
    expected.as_object_mut().expect("an object").remove("of_a_later_version");
    assert_eq!(read(&text), expected);
    // Also where it is a part of something else that was read already.
    let again: Job = serde_json::from_value(read(&text)).expect("a job");
    assert_eq!(again.spec.key.as_deref(), Some("k"));
}

#[test]
fn a_summary_has_neither_payload_nor_settings() {
    let job: Job = serde_json::from_str(JOB).expect("a job");
    let text = serde_json::to_string(&JobSummary::from(job)).expect("json");
    let gone = ["args", "of_a_later_version", "on_lost", "require", "result", "timeout_ms"]
        .map(String::from);
    let expected: Vec<String> = fields(JOB).into_iter().filter(|it| !gone.contains(it)).collect();
    assert_eq!(fields(&text), expected);
    let read: JobSummary = serde_json::from_str(&text).expect("a summary");
    assert_eq!(read.spec.tags.get("tenant").map(String::as_str), Some("acme"));
    // A whole job is one too.
    assert_eq!(serde_json::from_str::<JobSummary>(JOB).expect("a summary").id, JobId(1423));
}

#[test]
fn a_stored_spec_of_an_older_version_is_read() {
    let old = r#"{"name": "a", "queue": "b", "priority": "low", "args": null, "key_hash": "h",
        "run_at": "2026-01-02T03:04:05.000Z", "retry": {"retries": 1, "backoff_ms": 10000,
        "factor": 2.0, "backoff_max_ms": 600000, "jitter": 0.2}}"#;
    let spec: JobSpec = serde_json::from_str(old).expect("a spec");
    assert_eq!(spec.name, "a".parse::<Name>().expect("a name"));
    let null: &Json = &spec.args;
    assert_eq!(null.get(), "null");
}

//! What orx 0.1.0 wrote. The literals name every field: one with a new field does not compile before the
//! field has a value here.

mod events;
mod messages;
mod names;
mod stored;

use orx_model::job::{Json, Labels, Progress};
use orx_model::{
    Command, ExecutionId, Incarnation, JobId, Name, Origin, ProcessExit, RetryPolicy, Timestamp,
};

use crate::{Sample, full, sample};

pub(crate) fn samples() -> Vec<Sample> {
    [messages::samples(), events::samples(), names::samples(), stored::samples()]
        .into_iter()
        .flatten()
        .collect()
}

const AT: Timestamp = Timestamp::from_millis(1_767_323_045_006);
const LATER: Timestamp = Timestamp::from_millis(1_767_326_645_000);
const JOB: JobId = JobId(1423);
const EXECUTION: ExecutionId = ExecutionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
const WORKER: Incarnation = Incarnation(0xa0a1_a2a3_a4a5_a6a7_a8a9_aaab_acad_aeaf);
const NODE: Incarnation = Incarnation(0xb0b1_b2b3_b4b5_b6b7_b8b9_babb_bcbd_bebf);

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).expect("JSON")
}

fn labels(key: &str, value: &str) -> Labels {
    Labels::from([(key.to_owned(), value.to_owned())])
}

fn command() -> Command {
    Command {
        argv: vec!["/bin/sh".into(), "-c".into(), "echo \u{e9}".into()],
        cwd: Some("/srv".into()),
        env: labels("MODE", "fast"),
        stdin: Some("line\n".into()),
        caller_env: labels("TZ", "Europe/Berlin"),
        umask: Some("0022".into()),
    }
}

fn origin() -> Origin {
    Origin { id: name("nightly"), slot: Some(AT) }
}

fn retry() -> RetryPolicy {
    RetryPolicy { retries: 5, backoff_ms: 1_000, factor: 1.5, backoff_max_ms: 9_000, jitter: 0.25 }
}

fn progress() -> Progress {
    Progress { percent: 42.5, text: Some("half".into()) }
}

fn exits() -> [ProcessExit; 2] {
    [ProcessExit::Code(3), ProcessExit::Signal(9)]
}

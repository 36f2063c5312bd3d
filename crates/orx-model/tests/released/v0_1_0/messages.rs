//! Messages between coordinators and workers, and the requests that carry them.

use std::collections::BTreeSet;

use orx_model::log::{LogChunk, Stream};
use orx_model::message::{
    Body, Dispatch, EndedAt, Envelope, ExecutionProgress, ExecutionRef, HeartbeatAnswer, Load,
    Message, Notification, Started, VERSION, WorkerHeartbeat, WorkerRegistration, WorkerState,
};
use orx_model::wire::{
    InboxLine, NodeChannel, NodePublishRequest, PublishAnswer, PublishRequest, Receipt,
    RefusedEnvelope,
};
use orx_model::{
    Capabilities, Code, LostWith, MessageId, Outcome, OutcomeKind, Priority, Problem, WorkerSecret,
};

use super::*;

fn wrapped(body: Message, to: bool) -> Envelope {
    Envelope {
        id: MessageId(0xc0c1_c2c3_c4c5_c6c7_c8c9_cacb_cccd_cecf),
        version: VERSION,
        at: AT,
        from: NODE,
        to: to.then_some(WORKER),
        trace: to.then(|| "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        body: Body::Known(body),
    }
}

fn of_execution() -> ExecutionRef {
    ExecutionRef { job: JOB, execution: EXECUTION }
}

fn dispatch() -> Dispatch {
    Dispatch {
        job: JOB,
        attempt: 2,
        execution: EXECUTION,
        name: name("video.process"),
        queue: name("media"),
        priority: Priority::High,
        args: json(r#"{"n":123456789012345678901234567890,"x":1.0}"#),
        command: Some(command()),
        timeout_ms: Some(60_000),
        deadline: Some(LATER),
        run_at: AT,
        retry: 1,
        correlation_id: Some("c1".into()),
        tags: labels("tenant", "acme"),
        schedule: Some(origin()),
    }
}

fn least_dispatch() -> Dispatch {
    Dispatch {
        job: JOB,
        attempt: 1,
        execution: EXECUTION,
        name: name("orx.noop"),
        queue: name("default"),
        priority: Priority::Normal,
        args: json("null"),
        command: None,
        timeout_ms: None,
        deadline: None,
        run_at: AT,
        retry: 0,
        correlation_id: None,
        tags: Labels::new(),
        schedule: None,
    }
}

fn chunk(seq: u64, stream: Stream, bytes: &[u8]) -> LogChunk {
    LogChunk {
        job: JOB,
        attempt: 2,
        execution: EXECUTION,
        seq,
        stream,
        at: AT,
        dropped_bytes: 7,
        bytes: bytes.to_vec(),
    }
}

fn outcome(kind: OutcomeKind) -> Outcome {
    Outcome {
        job: JOB,
        execution: EXECUTION,
        kind,
        started_at: None,
        ended_at: LATER,
        error: None,
        exit: None,
    }
}

/// One of each kind, with its fields set.
fn kinds() -> Vec<OutcomeKind> {
    let kinds = vec![
        OutcomeKind::Succeeded { result: Some(json(r#"{"b":1.0,"a":[null]}"#)) },
        OutcomeKind::Failed { retryable: true, retry_after_ms: Some(5_000) },
        OutcomeKind::TimedOut,
        OutcomeKind::Cancelled,
        OutcomeKind::Interrupted,
        OutcomeKind::Refused,
        OutcomeKind::HandedBack,
        OutcomeKind::Lost { with: LostWith::Worker },
        OutcomeKind::Snoozed { for_ms: 30_000 },
    ];
    let place = |kind: &OutcomeKind| match kind {
        OutcomeKind::Succeeded { .. } => 0,
        OutcomeKind::Failed { .. } => 1,
        OutcomeKind::TimedOut => 2,
        OutcomeKind::Cancelled => 3,
        OutcomeKind::Interrupted => 4,
        OutcomeKind::Refused => 5,
        OutcomeKind::HandedBack => 6,
        OutcomeKind::Lost { .. } => 7,
        OutcomeKind::Snoozed { .. } => 8,
    };
    assert!(kinds.iter().map(place).eq(0..9), "one sample of each kind");
    kinds
}

fn full_outcomes() -> Vec<Outcome> {
    let exits = exits().into_iter().cycle();
    let filled = |(kind, exit)| Outcome {
        job: JOB,
        execution: EXECUTION,
        kind,
        started_at: Some(AT),
        ended_at: LATER,
        error: Some("exit 3: no such file".into()),
        exit: Some(exit),
    };
    kinds().into_iter().zip(exits).map(filled).collect()
}

fn notification() -> Notification {
    Notification {
        work: true,
        slots_freed: true,
        ended: vec![EndedAt { worker: WORKER, execution: EXECUTION }],
        all_ended: true,
        due: Some(LATER),
        workers: true,
        operations: true,
        nodes: true,
        step_down: Some(14),
        changed: vec![JOB],
        more: true,
        events: Some(events::all()),
    }
}

/// One of each type, each with what it has at most.
fn messages() -> Vec<Message> {
    let chunks = vec![
        chunk(1, Stream::Out, b"out\n"),
        chunk(2, Stream::Err, b"\xff\x00"),
        chunk(3, Stream::Log, b"{\"level\":\"info\",\"message\":\"m\"}\n"),
    ];
    let messages = vec![
        Message::JobDispatch { jobs: vec![dispatch()], heartbeat_seq: Some(17) },
        Message::JobCancel { executions: vec![of_execution()] },
        Message::JobResultAck { executions: vec![EXECUTION] },
        Message::Heartbeat {},
        Message::JobStatus { started: vec![Started { job: JOB, execution: EXECUTION, at: AT }] },
        Message::JobProgress {
            progress: vec![ExecutionProgress {
                job: JOB,
                execution: EXECUTION,
                progress: progress(),
            }],
        },
        Message::JobLog { chunks },
        Message::JobResult { outcomes: full_outcomes() },
        Message::Notification(notification()),
    ];
    let place = |message: &Message| match message {
        Message::JobDispatch { .. } => 0,
        Message::JobCancel { .. } => 1,
        Message::JobResultAck { .. } => 2,
        Message::Heartbeat {} => 3,
        Message::JobStatus { .. } => 4,
        Message::JobProgress { .. } => 5,
        Message::JobLog { .. } => 6,
        Message::JobResult { .. } => 7,
        Message::Notification(_) => 8,
    };
    assert!(messages.iter().map(place).eq(0..9), "one sample of each type");
    messages
}

/// Each type with what it has at least.
fn least_messages() -> Vec<Message> {
    let progress = Progress { percent: 0.0, text: None };
    let failed = OutcomeKind::Failed { retryable: false, retry_after_ms: None };
    let succeeded = OutcomeKind::Succeeded { result: None };
    vec![
        Message::JobDispatch { jobs: vec![least_dispatch()], heartbeat_seq: None },
        Message::JobProgress {
            progress: vec![ExecutionProgress { job: JOB, execution: EXECUTION, progress }],
        },
        Message::JobResult { outcomes: vec![outcome(failed), outcome(succeeded)] },
        Message::Notification(Notification::default()),
    ]
}

fn registration(offer: Capabilities) -> WorkerRegistration {
    WorkerRegistration {
        incarnation: WORKER,
        name: name("w1"),
        host: "host-1".into(),
        pid: 4711,
        version: "0.1.0".into(),
        offer,
        slots: 4,
        started_at: AT,
    }
}

fn heartbeat() -> WorkerHeartbeat {
    WorkerHeartbeat {
        incarnation: WORKER,
        seq: 17,
        state: WorkerState::Draining,
        capacity: 6,
        running: vec![of_execution()],
        unacknowledged: vec![of_execution()],
        load: Some(Load { cpu: 0.5, memory_used_bytes: 1_000, memory_bytes: 4_000 }),
    }
}

fn answer() -> HeartbeatAnswer {
    HeartbeatAnswer {
        register: true,
        lease_ms: 15_000,
        heartbeat_ms: 5_000,
        stop: vec![of_execution()],
        cancel: vec![of_execution()],
        asked: vec![of_execution()],
        resend: vec![EXECUTION],
        drain: true,
        fenced: true,
        takes_back: true,
        leader: Some("http://10.0.0.7:7070".into()),
        node_drains: true,
        secret: Some(WorkerSecret::from_bytes([7; 32])),
        now: AT,
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let mut all = Vec::new();
    for message in messages() {
        let kind = message.kind();
        all.push(full(kind, &wrapped(message, true)));
    }
    for message in least_messages() {
        let kind = message.kind();
        all.push(sample(&format!("{kind}.least"), &wrapped(message, false)));
    }
    let offer = Capabilities {
        queues: BTreeSet::from([name("media")]),
        handlers: BTreeSet::from([name("video.process")]),
        commands: true,
        labels: labels("gpu", "a"),
    };
    all.push(full("worker_registration", &registration(offer)));
    let least = registration(Capabilities::default());
    all.push(sample("worker_registration.least", &least));
    all.push(full("worker_heartbeat", &heartbeat()));
    let least = WorkerHeartbeat {
        running: Vec::new(),
        unacknowledged: Vec::new(),
        load: None,
        ..heartbeat()
    };
    all.push(sample("worker_heartbeat.least", &least));
    all.push(full("heartbeat_answer", &answer()));
    all.push(sample("heartbeat_answer.least", &HeartbeatAnswer { now: AT, ..Default::default() }));

    let envelope = || wrapped(Message::JobCancel { executions: vec![of_execution()] }, true);
    let request = PublishRequest { envelopes: vec![envelope()], wait_ms: Some(10_000) };
    all.push(full("publish_request", &request));
    let least = PublishRequest { envelopes: vec![envelope()], wait_ms: None };
    all.push(sample("publish_request.least", &least));
    let problem = Problem {
        kind: "urn:orx:problem:too_large".into(),
        title: Code::TooLarge.title().into(),
        status: 413,
        code: Code::TooLarge,
        detail: "a chunk is at most 65536 bytes, found 70000".into(),
        cause: Some("the worker is older".into()),
        hint: Some("upgrade it".into()),
        candidates: vec!["1423".into()],
        request_id: Some("r1".into()),
    };
    let answer = PublishAnswer {
        v: 1,
        receipts: vec![Receipt::Recorded, Receipt::Refused],
        refused: vec![RefusedEnvelope { place: 1, problem }],
    };
    all.push(full("publish_answer", &answer));
    let problem = Problem::new(Code::BadRequest, "found no JSON");
    all.push(sample("problem.least", &problem));
    let least = PublishAnswer { v: 1, receipts: vec![Receipt::Taken], refused: Vec::new() };
    all.push(sample("publish_answer.least", &least));
    let lines = vec![
        InboxLine::Envelope(Box::new(envelope())),
        InboxLine::Ping {},
        InboxLine::TakenOver {},
    ];
    all.push(full("inbox_lines", &lines));
    for (file, channel) in [
        ("node_publish_to_inbox", NodeChannel::Inbox(WORKER)),
        ("node_publish_to_all", NodeChannel::Broadcast),
    ] {
        all.push(full(file, &NodePublishRequest { channel, envelopes: vec![envelope()] }));
    }
    all
}

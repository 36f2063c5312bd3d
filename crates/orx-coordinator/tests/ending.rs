//! A coordinator that is stopped.

use std::sync::Arc;
use std::time::Duration;

use orx_coordinator::run::Parts;
use orx_coordinator::{Clock, Coordinator, Now, Settings};
use orx_model::log::{LogChunk, LogCursor, Stream};
use orx_model::message::{Body, Envelope, Message, VERSION};
use orx_model::{ExecutionId, Incarnation, JobId, MessageId};
use orx_store::{
    Dispatching, Jobs, Lead, LeadRequest, Leases, LogRequest, Logs, Memory, NodeReport,
};
use orx_testkit::make::{NOW, job, name, request};
use orx_transport::{Channel, Direct, PeerNodes, Shard, Transport, Wakeups};
use tokio_util::sync::CancellationToken;

struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        Now { wall: NOW, mono: Duration::ZERO }
    }
}

#[tokio::test]
async fn a_stopping_coordinator_records_the_reports_that_it_took() {
    let (store, hub) = (Arc::new(Memory::default()), Direct::new());
    store.enqueue(vec![job().into()], NOW).await.expect("accepted");
    let node = Incarnation(1);
    let lead = LeadRequest { node, ttl: Duration::from_secs(60), above: 0 };
    let Ok(Lead::Leading(term)) = store.lead(lead, NOW).await else { panic!("it leads") };
    let claimed =
        store.claim_ready(vec![request(2, 1, 1)], term, NOW).await.expect("claimed").claimed;
    assert_eq!(claimed.len(), 1);
    let report = NodeReport {
        node,
        name: name("n"),
        url: None,
        version: "1".into(),
        zone_version: None,
        started_at: NOW,
    };
    let parts = Parts {
        store: Arc::<Memory>::clone(&store),
        transport: Arc::new(hub.clone()),
        wakeups: Wakeups::new(),
        clock: Arc::new(Still),
        settings: Settings::default(),
        node: report,
        exclusive: true,
        peers: PeerNodes::default(),
        seed: 1,
    };
    let stop = CancellationToken::new();
    let (_coordinator, running) = Coordinator::start(parts, stop.clone()).await.expect("started");

    stop.cancel();
    let chunk = LogChunk {
        job: JobId(1),
        attempt: 1,
        execution: ExecutionId(1),
        seq: 1,
        stream: Stream::Out,
        at: NOW,
        dropped_bytes: 0,
        bytes: b"last words\n".to_vec(),
    };
    let envelope = Envelope {
        id: MessageId(1),
        version: VERSION,
        at: NOW,
        from: Incarnation(2),
        to: None,
        trace: None,
        body: Body::Known(Message::JobLog { chunks: vec![chunk.clone()] }),
    };
    hub.publish(Channel::Events(Shard::of(JobId(1))), vec![envelope]).await.expect("taken");
    running.await.expect("no panic").expect("in good order");

    let all = LogRequest {
        job: JobId(1),
        attempt: None,
        streams: vec![Stream::Out],
        after: LogCursor::default(),
        limit_bytes: 1_000,
    };
    assert_eq!(store.read_logs(all).await.expect("read"), [chunk]);
}

//! `direct` over HTTP passes the suite of every transport: what workers publish and read, and what nodes
//! send to each other, goes through the real router on a real socket.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orx_api::{ApiSettings, Serving, WorkerGatewayState, router, serve};
use orx_control::{ControlPanel, Scope};
use orx_model::message::{
    Body, Envelope, HeartbeatAnswer, Message, VERSION, WorkerHeartbeat, WorkerRegistration,
    WorkerState,
};
use orx_model::secret::WORKER_SECRET;
use orx_model::wire::{NodeChannel, NodePublishRequest, PublishAnswer, Receipt, path};
use orx_model::{Incarnation, JobId, MessageId};
use orx_store::{Memory, Store};
use orx_testkit::make::{NOW, control_settings, name, outcome, succeeded};
use orx_transport::http::{BearerToken, HttpTransport, HttpTransportOptions, PeerTransport};
use orx_transport::{
    Channel, Direct, Gateway, Links, Peer, PeerList, PeerNodes, PeerServer, Shard, Subscription,
    Transport, TransportError, Wakeups,
};
use tokio_util::sync::CancellationToken;

#[path = "common/answers.rs"]
mod answers;
#[path = "common/api.rs"]
mod api;

use answers::Answers;

fn http() -> reqwest::Client {
    // A binary does this at its start; only a second call could fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// A node without its services.
struct Node {
    url: String,
    /// The transport of its process.
    hub: Arc<dyn Transport>,
    peers: Arc<PeerTransport>,
    worker_token: String,
    node_token: String,
    stop: CancellationToken,
}

fn registration(of: Incarnation) -> WorkerRegistration {
    WorkerRegistration {
        incarnation: of,
        name: name("w"),
        host: "h".into(),
        pid: 1,
        version: "1".into(),
        offer: orx_model::Capabilities::default(),
        slots: 1,
        started_at: NOW,
    }
}

async fn node(answer: HeartbeatAnswer) -> Node {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    node_on(&store, answer).await
}

async fn node_on(store: &Arc<dyn Store>, answer: HeartbeatAnswer) -> Node {
    node_over(Arc::new(Direct::new()), store, answer).await
}

async fn node_over(
    hub: Arc<dyn Transport>,
    store: &Arc<dyn Store>,
    answer: HeartbeatAnswer,
) -> Node {
    let answers = Answers { store: Arc::clone(store), answer };
    let store = Arc::clone(store);
    let settings = control_settings();
    let no_token = BearerToken::new("");
    let peers = PeerTransport::new(
        Arc::clone(&hub),
        PeerNodes::default(),
        Links::default(),
        http(),
        no_token,
    );
    let peers = Arc::new(peers);
    let carried = Arc::clone(&peers) as Arc<dyn Transport>;
    let panel = ControlPanel::new(store, carried, Wakeups::new(), Arc::new(|| NOW), settings);
    let worker_token = panel.make_token(vec![Scope::Worker], "w").await.expect("a token");
    let node_token = panel.make_token(vec![Scope::Node], "n").await.expect("a token");
    let stop = CancellationToken::new();
    let api = ApiSettings {
        worker_gateway: Some(WorkerGatewayState {
            transport: Arc::clone(&peers) as Arc<dyn Transport>,
            peers: Some(Arc::clone(&peers) as Arc<dyn PeerServer>),
            coordinator: Arc::new(answers),
        }),
        closing: stop.clone(),
        ..api::settings()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(serve(listener, router(panel, api), Serving::default(), stop.clone()));
    Node { url, hub, peers, worker_token, node_token, stop }
}

fn link(urls: &[&Node]) -> HttpTransport {
    HttpTransport::new(HttpTransportOptions {
        urls: urls.iter().map(|node| node.url.clone()).collect(),
        token: BearerToken::new(&urls[0].worker_token),
        http: http(),
    })
    .expect("a link")
}

/// A node with a client that publishes and reads over HTTP.
struct OverHttp {
    node: Node,
    link: HttpTransport,
    http: reqwest::Client,
}

impl OverHttp {
    async fn post(
        &self,
        channel: NodeChannel,
        envelopes: &[Envelope],
    ) -> Result<(), TransportError> {
        let request = NodePublishRequest { channel, envelopes: envelopes.to_vec() };
        let answer = self
            .http
            .post(format!("{}{}", self.node.url, path::NODE_PUBLISH))
            .bearer_auth(&self.node.node_token)
            .json(&request)
            .send()
            .await
            .expect("an answer");
        match answer.status().as_u16() {
            200 => Ok(()),
            404 => Err(TransportError::NoReader { channel: Channel::Broadcast }),
            other => Err(TransportError::Unreachable(other.to_string())),
        }
    }
}

#[async_trait]
impl Transport for OverHttp {
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        match to {
            Channel::Events(_) => self.link.publish(to, envelopes).await,
            Channel::Inbox(of) => self.post(NodeChannel::Inbox(of), &envelopes).await,
            Channel::Broadcast => self.post(NodeChannel::Broadcast, &envelopes).await,
            // No client publishes there over HTTP.
            Channel::Enqueue => self.node.hub.publish(to, envelopes).await,
        }
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        match channel {
            Channel::Inbox(of) => {
                self.link.register(registration(of)).await.expect("registered");
                self.link.subscribe(channel).await
            }
            _ => self.node.hub.subscribe(channel).await,
        }
    }

    async fn subscribe_events(
        &self,
        shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        self.node.hub.subscribe_events(shards).await
    }
}

mod contract {
    use super::*;

    async fn open() -> Arc<dyn Transport> {
        let node = node(HeartbeatAnswer::default()).await;
        let link = link(&[&node]);
        // The worker from which all events of the suite come.
        link.register(registration(Incarnation(1))).await.expect("registered");
        Arc::new(OverHttp { node, link, http: http() })
    }

    orx_testkit::transport_contract!(open);
}

/// The transport behind the server fails in every allowed way.
mod contract_over_an_unreliable_transport {
    use orx_testkit::unreliable::{Faults, Unreliable};

    use super::*;

    async fn open(seed: u64) -> Arc<dyn Transport> {
        let carried = Unreliable::new(Arc::new(Direct::new()), Faults::MANY, seed);
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let node = node_over(Arc::new(carried), &store, HeartbeatAnswer::default()).await;
        let link = link(&[&node]);
        link.register(registration(Incarnation(1))).await.expect("registered");
        Arc::new(OverHttp { node, link, http: http() })
    }

    orx_testkit::transport_contract!(under_faults open);
}

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);

fn envelope(n: u128, body: Message) -> Envelope {
    Envelope {
        id: MessageId(n),
        version: VERSION,
        at: NOW,
        from: Incarnation(5),
        to: None,
        trace: None,
        body: Body::Known(body),
    }
}

fn ack(n: u128) -> Envelope {
    envelope(n, Message::JobResultAck { executions: vec![orx_model::ExecutionId(n)] })
}

fn result(job: i64) -> Envelope {
    let outcomes = vec![outcome(JobId(job), 1, succeeded())];
    envelope(job as u128, Message::JobResult { outcomes })
}

async fn read(subscription: &mut Box<dyn Subscription>, count: usize) -> Vec<u128> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let taken = tokio::time::timeout(SOON, subscription.next(8)).await.expect("in time");
        let (envelopes, acknowledged) = taken.expect("a reader").accept();
        acknowledged.await.expect("acknowledged");
        seen.extend(envelopes.iter().map(|envelope| envelope.id.0));
    }
    seen
}

#[tokio::test]
async fn each_envelope_gets_a_receipt() {
    let node = node(HeartbeatAnswer::default()).await;
    let mut events = node.hub.subscribe_events(Shard::all().collect()).await.expect("a reader");
    tokio::spawn(async move {
        let receipts = [Receipt::Recorded, Receipt::Stale];
        let mut seen = 0;
        while seen < 2 {
            let deliveries = events.next(8).await.expect("deliveries");
            let answered = deliveries.answer(|_| {
                seen += 1;
                receipts[seen - 1]
            });
            answered.await.expect("answered");
        }
        // The third is never answered.
        std::future::pending::<()>().await;
    });
    let answer = http()
        .post(format!("{}{}", node.url, path::WORKER_REGISTER))
        .bearer_auth(&node.worker_token)
        .json(&registration(Incarnation(5)))
        .send();
    let answer = answer.await.expect("an answer").json::<HeartbeatAnswer>().await.expect("json");
    let secret = answer.secret.expect("a secret");
    let publish = |envelopes: Vec<Envelope>, wait_ms: u64| {
        let body = serde_json::json!({ "envelopes": envelopes, "wait_ms": wait_ms });
        let call = http().post(format!("{}{}", node.url, path::WORKER_PUBLISH));
        let call = call.bearer_auth(&node.worker_token).header(WORKER_SECRET, secret.expose());
        call.json(&body).send()
    };
    let strange = envelope(9, Message::Notification(orx_model::message::Notification::default()));
    let answer = publish(vec![result(1), strange, result(2)], 20_000).await.expect("an answer");
    let answer: PublishAnswer = answer.json().await.expect("json");
    assert_eq!(answer.receipts, [Receipt::Recorded, Receipt::NotForUs, Receipt::Stale]);
    let late = publish(vec![result(3)], 30).await.expect("an answer");
    let late: PublishAnswer = late.json().await.expect("json");
    assert_eq!(late.receipts, [Receipt::Taken]);
}

#[tokio::test]
async fn a_worker_moves_on_when_its_coordinator_ends_and_its_events_arrive_at_the_next() {
    // All nodes of one store know the same tokens.
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let first = node_on(&store, HeartbeatAnswer::default()).await;
    let second = node_on(&store, HeartbeatAnswer::default()).await;
    let link = link(&[&first, &second]);
    let of = Incarnation(5);
    link.register(registration(of)).await.expect("registered");
    let mut inbox = link.subscribe(Channel::Inbox(of)).await.expect("a reader");
    let mut events = first.hub.subscribe_events(Shard::all().collect()).await.expect("a reader");
    let tell = |job| link.publish(Channel::Events(Shard::of(JobId(job))), vec![result(job)]);
    tell(1).await.expect("taken");
    assert_eq!(read(&mut events, 1).await, [1]);

    first.stop.cancel();
    let mut events = second.hub.subscribe_events(Shard::all().collect()).await.expect("a reader");
    tell(2).await.expect("taken");
    assert_eq!(read(&mut events, 1).await, [2]);
    let arrived = async {
        while !second.peers.reads(of) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, arrived).await.expect("its inbox is there too");
    second.hub.publish(Channel::Inbox(of), vec![ack(7)]).await.expect("sent");
    assert_eq!(read(&mut inbox, 1).await, [7]);
}

#[tokio::test]
async fn a_worker_follows_to_the_leader() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let leader = node_on(&store, HeartbeatAnswer::default()).await;
    let answer = HeartbeatAnswer { leader: Some(leader.url.clone()), ..Default::default() };
    let follower = node_on(&store, answer).await;
    let link = HttpTransport::new(HttpTransportOptions {
        urls: vec![follower.url.clone()],
        token: BearerToken::new(&follower.worker_token),
        http: http(),
    })
    .expect("a link");
    let of = Incarnation(5);
    link.register(registration(of)).await.expect("registered");
    let _reader = link.subscribe(Channel::Inbox(of)).await.expect("a reader");
    assert!(follower.peers.reads(of));
    let heartbeat = WorkerHeartbeat {
        incarnation: of,
        seq: 1,
        state: WorkerState::Running,
        capacity: 1,
        running: Vec::new(),
        unacknowledged: Vec::new(),
        load: None,
    };
    link.heartbeat(heartbeat).await.expect("an answer");
    let left = async {
        while follower.peers.reads(of) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, left).await.expect("it went to the leader");
}

#[tokio::test]
async fn a_message_for_a_worker_of_another_node_is_relayed() {
    let (near, far) =
        tokio::join!(node(HeartbeatAnswer::default()), node(HeartbeatAnswer::default()));
    let link = link(&[&far]);
    let of = Incarnation(5);
    link.register(registration(of)).await.expect("registered");
    let mut reader = link.subscribe(Channel::Inbox(of)).await.expect("a reader");
    let peers = PeerNodes::default();
    let peer = Peer { node: Incarnation(2), url: far.url.clone() };
    peers.set(PeerList { peers: vec![peer], leader: None });
    let token = BearerToken::new(&far.node_token);
    let nodes = PeerTransport::new(Arc::clone(&near.hub), peers, Links::default(), http(), token);
    nodes.publish(Channel::Inbox(of), vec![ack(7)]).await.expect("passed on");
    assert_eq!(read(&mut reader, 1).await, [7]);
    let nobody = nodes.publish(Channel::Inbox(Incarnation(6)), vec![ack(8)]).await;
    assert!(matches!(nobody, Err(TransportError::NoReader { .. })), "{nobody:?}");

    let mut received = far.hub.subscribe(Channel::Broadcast).await.expect("a reader");
    nodes.publish(Channel::Broadcast, vec![ack(9)]).await.expect("published");
    assert_eq!(read(&mut received, 1).await, [9]);
}

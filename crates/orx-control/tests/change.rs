//! Changes of many jobs at once, over the reference store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use orx_control::{Caller, ControlPanel};
use orx_model::message::{Body, Envelope, Message};
use orx_model::wire::{Change, ChangeAnswer, ChangeRequest};
use orx_model::{Incarnation, JobId, JobSpec, JobStatus, RetryPolicy, limits};
use orx_store::{Dispatching, Jobs, Lead, LeadRequest, Leases, Memory, Term};
use orx_testkit::make::{NOW, at, control_settings, failed, job, outcome, request, succeeded};
use orx_transport::{Channel, Shard, Subscription, Transport, TransportError, Wakeups};
use parking_lot::Mutex;

/// Receives envelopes, and never confirms.
#[derive(Default)]
struct Hanging {
    sent: Mutex<Vec<(Channel, Vec<JobId>)>>,
    store: Arc<Memory>,
    /// How many jobs had no recorded cancel when the first message was published.
    left: Mutex<Option<usize>>,
}

#[async_trait]
impl Transport for Hanging {
    async fn publish(&self, to: Channel, envelopes: Vec<Envelope>) -> Result<(), TransportError> {
        let cancelled = |envelope: Envelope| match envelope.body {
            Body::Known(Message::JobCancel { executions }) => executions,
            _ => Vec::new(),
        };
        let jobs = envelopes.into_iter().flat_map(cancelled).map(|one| one.job).collect();
        self.sent.lock().push((to, jobs));
        let live = self.store.live_attempts().await.expect("attempts");
        let left = live.iter().filter(|live| !live.cancel_requested).count();
        self.left.lock().get_or_insert(left);
        std::future::pending().await
    }

    async fn subscribe(&self, channel: Channel) -> Result<Box<dyn Subscription>, TransportError> {
        Err(TransportError::NoReader { channel })
    }

    async fn subscribe_events(
        &self,
        _shards: Vec<Shard>,
    ) -> Result<Box<dyn Subscription>, TransportError> {
        Err(TransportError::Closed)
    }
}

struct World {
    panel: ControlPanel,
    store: Arc<Memory>,
    transport: Arc<Hanging>,
    term: Term,
}

async fn world() -> World {
    let store = Arc::new(Memory::new());
    let transport = Arc::new(Hanging { store: Arc::clone(&store), ..Hanging::default() });
    let settings = control_settings();
    let panel = ControlPanel::new(
        Arc::<Memory>::clone(&store),
        Arc::<Hanging>::clone(&transport),
        Wakeups::new(),
        Arc::new(|| NOW),
        settings,
    );
    let asked = LeadRequest { node: Incarnation(1), ttl: Duration::from_secs(3_600), above: 0 };
    let Lead::Leading(term) = store.lead(asked, NOW).await.expect("a lease") else {
        panic!("another leads");
    };
    World { panel, store, transport, term }
}

impl World {
    async fn enqueue(&self, count: usize, spec: JobSpec) {
        self.store.enqueue(vec![spec.into(); count], NOW).await.expect("jobs");
    }

    async fn claim(&self, worker: u128, execution: u128, free_slots: usize) {
        let claimed = self
            .store
            .claim_ready(vec![request(worker, execution, free_slots)], self.term, NOW)
            .await;
        assert_eq!(claimed.expect("jobs").claimed.len(), free_slots);
    }
}

fn by_filter(filter: &str) -> ChangeRequest {
    ChangeRequest { filter: Some(filter.to_owned()), ..ChangeRequest::default() }
}

#[tokio::test]
async fn a_cancel_of_many_jobs_records_all_before_it_sends_one_message_to_each_worker() {
    let world = world().await;
    let jobs = limits::BATCH_JOBS + 200;
    world.enqueue(jobs, job()).await;
    world.claim(1, 1, jobs - 100).await;
    world.claim(2, 1_000_000, 100).await;

    let began = Instant::now();
    let answer = world.panel.cancel(&Caller::local(), by_filter("id>0")).await.expect("an answer");

    assert!(began.elapsed() < Duration::from_secs(10), "it waits for no worker after another");
    assert_eq!(answer.affected, jobs as u64);
    assert_eq!(*world.transport.left.lock(), Some(0), "sent before it was done");
    let mut sent: Vec<(Channel, usize)> = {
        let sent = world.transport.sent.lock();
        sent.iter().map(|(to, jobs)| (*to, jobs.len())).collect()
    };
    sent.sort_by_key(|(_, jobs)| *jobs);
    let inbox = |worker| Channel::Inbox(Incarnation(worker));
    assert_eq!(sent, [(inbox(2), 100), (inbox(1), jobs - 100)]);
}

#[tokio::test]
async fn a_dry_run_answers_alike_for_a_filter_and_for_ids() {
    let world = world().await;
    let spec = JobSpec { retry: RetryPolicy { retries: 0, ..RetryPolicy::default() }, ..job() };
    world.enqueue(3, spec).await;
    world.claim(1, 1, 2).await;
    let outcomes = vec![outcome(JobId(1), 1, succeeded()), outcome(JobId(2), 2, failed())];
    world.store.record_outcomes(outcomes, vec![0.5; 2], at(2)).await.expect("recorded");
    let caller = Caller::local();
    let panel = &world.panel;
    let filter = ChangeRequest { dry_run: true, ..by_filter("id>0") };
    let ids =
        ChangeRequest { ids: vec![JobId(1), JobId(2), JobId(3)], filter: None, ..filter.clone() };
    let shown = |answer: ChangeAnswer| {
        let jobs = answer.jobs.iter().map(|job| (job.id.0, job.change, job.status));
        (answer.affected, jobs.collect::<Vec<_>>())
    };
    use {Change as C, JobStatus as S};
    let (done, dead, waits) = (Some(S::Completed), Some(S::Failed), Some(S::Pending));
    for request in [&filter, &ids] {
        let cancel = panel.cancel(&caller, request.clone()).await.expect("cancel");
        let wanted =
            vec![(1, C::AlreadyFinal, done), (2, C::AlreadyFinal, dead), (3, C::Would, waits)];
        assert_eq!(shown(cancel), (1, wanted));
        let retry = panel.retry(&caller, request.clone()).await.expect("retry");
        let wanted = vec![(1, C::Would, done), (2, C::Would, dead), (3, C::NotInState, waits)];
        assert_eq!(shown(retry), (2, wanted));
    }
    let retry_dead = panel.retry_dead(&caller, filter.clone()).await.expect("retry");
    assert_eq!(shown(retry_dead), (1, vec![(2, C::Would, dead)]));
    let strange = ChangeRequest { ids: vec![JobId(9)], ..ids };
    let delete_dead = panel.delete_dead(&caller, strange).await.expect("delete");
    assert_eq!(shown(delete_dead), (0, vec![(9, C::NotFound, None)]));
}

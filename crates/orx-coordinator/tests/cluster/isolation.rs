//! I29: a slow call of one worker delays no other worker.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use orx_model::message::{WorkerHeartbeat, WorkerRegistration, WorkerState};
use orx_model::{Capabilities, Incarnation, JobId, JobSpec};
use orx_store::Jobs;
use orx_testkit::make;
use orx_transport::GatewayServer;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, sleep_until};

use crate::faults::{Kinds, Pace};
use crate::name;
use crate::net::SECRET;
use crate::node::Node;
use crate::run::in_virtual_time;
use crate::store::done;
use crate::worker::{WORK, Worker};
use crate::world::World;

const WORKERS: u128 = 256;
/// An answer to a heartbeat is late after this: it needs a few calls to the store.
const LATE: Duration = Duration::from_secs(2);
const PERIOD: Duration = Duration::from_secs(10);

async fn started(pace: Pace) -> (Arc<World>, Arc<Node>) {
    let world = World::new(StdRng::seed_from_u64(1), true, None, pace, Kinds::NONE);
    let node = Node::start(&world, Incarnation(1), 0).await;
    while node.coordinator().is_none() {
        sleep(Duration::from_millis(100)).await;
    }
    (world, node)
}

fn registration(world: &World, incarnation: Incarnation) -> WorkerRegistration {
    WorkerRegistration {
        incarnation,
        name: name("w"),
        host: "h".into(),
        pid: 1,
        version: "1".into(),
        offer: Capabilities { handlers: [name(WORK)].into(), ..Capabilities::default() },
        slots: 1,
        started_at: world.wall(),
    }
}

fn heartbeat(incarnation: Incarnation, seq: u64) -> WorkerHeartbeat {
    WorkerHeartbeat {
        incarnation,
        seq,
        state: WorkerState::Running,
        capacity: 1,
        running: Vec::new(),
        unacknowledged: Vec::new(),
        load: None,
    }
}

#[test]
fn a_store_that_takes_200_ms_a_call_delays_no_heartbeat_and_no_renewal() {
    in_virtual_time(async {
        let (world, node) = started(Pace::Slow).await;
        let coordinator = node.coordinator().expect("it runs");
        let workers = || (0..WORKERS).map(|number| Incarnation(100 + number));
        let registered =
            join_all(workers().map(|it| coordinator.register(registration(&world, it), SECRET)));
        assert!(registered.await.iter().all(Result::is_ok));
        let began = world.elapsed();
        for seq in 1..=6 {
            let sent_at = Instant::now();
            let answers = join_all(workers().map(|worker| async move {
                let answer = coordinator.heartbeat(heartbeat(worker, seq), SECRET).await;
                (sent_at.elapsed(), answer)
            }));
            let answers = answers.await;
            let late = answers.iter().map(|(took, _)| *took).max().unwrap_or_default();
            assert!(late < LATE, "the last of {WORKERS} heartbeats was answered after {late:?}");
            let refused =
                answers.iter().filter(|(_, it)| !it.as_ref().is_ok_and(|it| !it.register));
            assert_eq!(refused.count(), 0);
            sleep_until(sent_at + PERIOD).await;
        }
        let leases: Vec<_> = world.leases().into_iter().filter(|at| *at >= began).collect();
        let gaps = leases.windows(2).map(|pair| pair[1] - pair[0]);
        let longest = gaps.max().expect("renewals");
        assert!(longest < PERIOD + LATE, "the lease was renewed after {longest:?}");
        assert_eq!(world.failure(), None);
    });
}

#[test]
fn an_outcome_that_the_store_rejects_delays_no_other() {
    in_virtual_time(async {
        let (world, _node) = started(Pace::Quick).await;
        let bad = JobId(3);
        world.unwritable.lock().insert(bad);
        Worker::start(&world, Incarnation(2), 0);
        let on_a = || JobSpec { queue: name("a"), ..make::job() };
        let jobs = vec![on_a().into(); 20];
        done(world.memory.enqueue(jobs, world.wall())).expect("accepted");
        let open = || {
            let jobs = world.memory.all_jobs();
            jobs.iter()
                .filter(|job| !job.state.status.is_final())
                .map(|job| job.id)
                .collect::<Vec<_>>()
        };
        // Some attempts run for 40 s, and some are retried.
        sleep(Duration::from_secs(600)).await;
        assert_eq!(open(), [bad]);
        world.unwritable.lock().clear();
        sleep(Duration::from_secs(600)).await;
        assert_eq!(open(), []);
        assert_eq!(world.failure(), None);
    });
}

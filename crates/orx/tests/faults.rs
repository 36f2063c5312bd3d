//! Single faults of a fleet, each with its promise.

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cluster::{Cluster, Kind, LEASE, bounds, pause};
use common::{Machine, is_running, signal, until};
use orx_model::{AttemptStatus, JobStatus};
use orx_testkit::history::Fact;

fn runs(cluster: &Cluster, job: &str) -> bool {
    cluster.status(job) == "running"
}

/// How many executions of a job have started, and how many of them have ended.
fn executions_of(cluster: &Cluster, job: &str) -> (usize, usize) {
    let (mut started, mut ended) = (BTreeSet::new(), BTreeSet::new());
    for record in cluster.history.read() {
        match record.fact {
            Fact::Started { job: of, execution } if of.to_string() == job => {
                started.insert(execution);
            }
            Fact::Ended { job: of, execution } if of.to_string() == job => {
                ended.insert(execution);
            }
            _ => {}
        }
    }
    (started.len(), ended.len())
}

fn end(cluster: &Cluster) {
    cluster.history.add(Fact::Quiet {});
    until("every job has ended", || cluster.all_jobs_ended());
    cluster.history.add(Fact::AllEnded {});
    cluster.check(&bounds());
}

#[test]
fn a_job_of_several_leases_survives_its_coordinators_restart_in_one_attempt() {
    let cluster = Cluster::start(Kind::Sqlite, false);
    let job = cluster.detach(0, "long", "15", "").expect("accepted");
    until("it runs", || runs(&cluster, &job));
    for seconds in [0, 3] {
        cluster.kill("c1");
        pause(Duration::from_secs(seconds));
        cluster.restart("c1");
        pause(LEASE / 2);
    }
    end(&cluster);
    let shown = cluster.show(&job);
    assert_eq!((shown.job.state.status, shown.job.state.attempt), (JobStatus::Completed, 1));
    assert_eq!(executions_of(&cluster, &job), (1, 1));
}

#[test]
fn a_worker_that_was_stopped_past_its_lease_changes_nothing_and_ends_what_it_no_longer_holds() {
    let cluster = Cluster::start(Kind::Sqlite, false);
    // Two at one worker: one ends while the worker is stopped, the other is long.
    let go = cluster.path("go");
    let short = cluster.detach(0, "short", go.to_str().expect("text"), "").expect("accepted");
    let long = cluster.detach(0, "long", "40", "").expect("accepted");
    until("both run", || runs(&cluster, &short) && runs(&cluster, &long));
    let first = |job| cluster.show(job).attempts[0].clone();
    let holder = first(&long).worker_name.to_string();
    cluster.stop(&holder);
    std::fs::write(&go, "").expect("a file");
    until("the job is another's", || cluster.show(&long).job.state.attempt == 2);
    until("it runs there", || runs(&cluster, &long));
    let both_there = first(&short).worker_name.as_str() == holder;
    cluster.resume(&holder);
    until("the first process of the job was ended", || executions_of(&cluster, &long) == (2, 1));
    assert_eq!(
        cluster.show(&long).job.state.status,
        JobStatus::Running,
        "its second attempt goes on"
    );
    let lost = first(&long);
    assert_eq!(lost.status, AttemptStatus::Lost, "the late end of the first changed nothing");
    if both_there {
        until("the short one has ended", || cluster.show(&short).job.state.status.is_final());
        assert_eq!(first(&short).status, AttemptStatus::Lost);
        assert_eq!(cluster.show(&short).job.state.attempt, 2);
    }
    cluster.cancel(0, &long);
    end(&cluster);
}

#[test]
fn a_coordinator_that_was_stopped_loses_no_worker_whose_heartbeats_it_missed() {
    let cluster = Cluster::start(Kind::Sqlite, false);
    let job = cluster.detach(0, "long", "20", "").expect("accepted");
    until("it runs", || runs(&cluster, &job));
    // Shorter and longer than the time for which a leader trusts its own lease.
    for share in [0.8, 0.85, 0.9, 1.6] {
        cluster.stop("c1");
        pause(LEASE.mul_f64(share));
        cluster.resume("c1");
        pause(LEASE / 4);
    }
    end(&cluster);
    let shown = cluster.show(&job);
    assert_eq!((shown.job.state.status, shown.job.state.attempt), (JobStatus::Completed, 1));
}

#[test]
fn a_leader_that_was_stopped_and_replaced_follows_and_changes_nothing() {
    let cluster = Cluster::start(Kind::Postgres, false);
    let (leader, epoch) = cluster.leader(0).expect("one leads");
    let other = usize::from(leader == "c1");
    let job = cluster.detach(other, "before", "8", "").expect("accepted");
    until("it runs", || runs(&cluster, &job));
    cluster.note_leader(other);
    cluster.stop(&leader);
    let next = || cluster.leader(other).filter(|(_, later)| *later > epoch);
    until("the other leads", || next().is_some());
    cluster.note_leader(other);
    let replaced = next().expect("a leader");
    assert_ne!(replaced.0, leader);
    let meanwhile = cluster.detach(other, "meanwhile", "0.1", "").expect("accepted");
    until("it ran", || cluster.show(&meanwhile).job.state.status == JobStatus::Completed);
    cluster.resume(&leader);
    let stopped = usize::from(leader == "c2");
    until("it follows", || cluster.leader(stopped).as_ref() == Some(&replaced));
    let after = cluster.detach(stopped, "after", "0.1", "").expect("accepted");
    end(&cluster);
    for job in [&job, &meanwhile, &after] {
        let shown = cluster.show(job);
        assert_eq!(
            (shown.job.state.status, shown.job.state.attempt),
            (JobStatus::Completed, 1),
            "{job}"
        );
    }
    assert_eq!(cluster.leader(other), Some(replaced), "no further change of who leads");
}

#[test]
fn a_worker_moves_on_when_its_coordinator_is_killed_and_its_job_completes_in_one_attempt() {
    let cluster = Cluster::start(Kind::Postgres, false);
    let (leader, _) = cluster.leader(0).expect("one leads");
    let other = usize::from(leader == "c1");
    let jobs: Vec<String> = (0..4)
        .map(|n| cluster.detach(other, &format!("k{n}"), "9", "").expect("accepted"))
        .collect();
    until("all run", || jobs.iter().all(|job| runs(&cluster, job)));
    cluster.note_leader(other);
    cluster.kill(&leader);
    until("the other leads", || cluster.leader(other).is_some_and(|(who, _)| who != leader));
    cluster.note_leader(other);
    let after = cluster.detach(other, "after", "0.1", "").expect("accepted");
    until("it ran", || cluster.show(&after).job.state.status == JobStatus::Completed);
    until("all have ended", || cluster.all_jobs_ended());
    for job in &jobs {
        let shown = cluster.show(job);
        assert_eq!(
            (shown.job.state.status, shown.job.state.attempt),
            (JobStatus::Completed, 1),
            "{job}"
        );
    }
    cluster.restart(&leader);
    end(&cluster);
}

#[test]
fn a_worker_that_gets_sigterm_lets_attempts_end_within_its_grace_and_releases_the_rest() {
    let cluster = Cluster::start_with(Kind::Sqlite, false, Duration::from_secs(6));
    cluster.kill("w2");
    until("it is lost", || cluster.live_workers() == 1);
    let (go, later) = (cluster.path("go"), cluster.path("later"));
    let short = cluster.detach(0, "short", go.to_str().expect("text"), "").expect("accepted");
    let long = cluster.detach(0, "long", later.to_str().expect("text"), "").expect("accepted");
    until("both run", || runs(&cluster, &short) && runs(&cluster, &long));
    cluster.terminate("w1");
    until("it is reported to the coordinator", || {
        let list = cluster.json(&["worker", "list"]);
        list.is_some_and(|list| list[0]["state"] == "draining")
    });
    let late = cluster.detach(0, "late", "0.1", "").expect("accepted");
    std::fs::write(&go, "").expect("a file");
    assert_eq!(cluster.ended("w1"), 0, "{}", cluster.log_of("w1"));
    let ended = |job: &str| cluster.show(job).attempts.first().map(|attempt| attempt.status);
    assert_eq!(ended(&short), Some(AttemptStatus::Succeeded));
    assert_eq!(ended(&long), Some(AttemptStatus::Interrupted));
    assert_eq!(ended(&late), None, "what comes while a worker ends is for others");
    std::fs::write(&later, "").expect("a file");
    cluster.start_worker(0);
    cluster.restart("w2");
    end(&cluster);
    let long = cluster.show(&long);
    assert_eq!((long.job.state.status, long.job.state.attempt), (JobStatus::Completed, 2));
}

/// The worker gets the address that nodes use for the leader, which it cannot reach from its network.
#[test]
fn a_worker_that_cannot_reach_the_leader_stays_with_a_coordinator_that_it_reaches() {
    let cluster = Cluster::start(Kind::Postgres, true);
    cluster.kill("w1");
    cluster.kill("w2");
    let (leader, _) = cluster.leader(0).expect("one leads");
    if leader == "c1" {
        // The first server in the worker's list is a follower.
        cluster.kill("c1");
        until("the other leads", || cluster.leader(1).is_some_and(|(who, _)| who == "c2"));
        cluster.note_leader(1);
        cluster.restart("c1");
    }
    let before = cluster.log_of("w2").len();
    cluster.restart("w2");
    // A job dispatched while the worker tries the leader misses it once, and is dispatched again.
    until("it tried the leader, and is back", || {
        let log = &cluster.log_of("w2")[before..];
        log.contains("the leader cannot be reached") && log.contains("ready")
    });
    for number in 0..5 {
        let job = cluster.detach(0, &format!("k{number}"), "0.5", "").expect("accepted");
        until("it has ended", || cluster.show(&job).job.state.status.is_final());
        let shown = cluster.show(&job);
        assert_eq!(
            (shown.job.state.status, shown.job.state.attempt),
            (JobStatus::Completed, 1),
            "{job}"
        );
    }
    cluster.restart("w1");
    end(&cluster);
}

/// The database does not respond, a worker is stopped, and clients wait for jobs.
#[test]
fn a_coordinator_ends_on_sigterm_though_its_peers_do_not_answer() {
    let cluster = Cluster::start(Kind::Postgres, false);
    let job = cluster.detach(0, "long", "300", "").expect("accepted");
    until("it runs", || runs(&cluster, &job));
    let mut waits = cluster.client(0, &["wait", &job]).spawn().expect("orx runs");
    let mut follows = cluster.client(1, &["logs", &job, "--follow"]).spawn().expect("orx runs");
    cluster.stop("w1");
    cluster.stop("db");
    for who in ["c1", "c2"] {
        cluster.terminate(who);
    }
    for who in ["c1", "c2"] {
        cluster.ended(who);
    }
    cluster.resume("db");
    for client in [&mut waits, &mut follows] {
        client.kill().expect("killed");
        client.wait().expect("ended");
    }
    for node in 0..2 {
        cluster.start_coordinator(node);
        cluster.await_coordinator(node);
    }
    cluster.resume("w1");
    cluster.cancel(0, &job);
    end(&cluster);
}

/// A single machine: the worker is inside the server, which is stopped for longer than a lease.
#[test]
fn a_whole_server_that_was_stopped_goes_on_with_its_jobs() {
    let config = "[cluster]\nlease = \"2s\"\nheartbeat = \"500ms\"\nmonitor = \"500ms\"\n\
                  leader_lease = \"4s\"\nleader_renew = \"1s\"\nleader_margin = \"500ms\"\n";
    let machine = Machine::with_config(config);
    let run = machine.orx(["run", "--detach", "--", "sleep", "8"]);
    let job = run.out.trim().to_owned();
    until("it runs", || machine.status(&job) == "running");
    let server = machine.address_pid().expect("a server");
    for _ in 0..2 {
        signal(server, "STOP");
        pause(Duration::from_millis(2_800));
        signal(server, "CONT");
        pause(Duration::from_millis(500));
    }
    let began = Instant::now();
    until("it has ended", || machine.status(&job) == "completed");
    assert!(is_running(server) && began.elapsed() < Duration::from_secs(30));
    assert_eq!(machine.json(["show", &job])["attempt"], 1);
}

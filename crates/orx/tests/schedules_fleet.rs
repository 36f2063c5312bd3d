//! Schedules on several coordinators that share a PostgreSQL database: the leader is stopped past
//! its lease, or killed, while others fire, and each due time is decided once.

#[path = "common/cluster.rs"]
mod cluster;
mod common;

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Cluster, Kind, LEASE, pause};
use common::until;
use orx_model::Timestamp;
use serde_json::Value;

const SCHEDULES: usize = 12;

/// The ledger of a schedule as a node returns it, oldest first: slot, count, outcome.
fn ledger(cluster: &Cluster, id: &str) -> Vec<(Timestamp, Timestamp, u64, Option<i64>)> {
    let rows = cluster.json(&["schedule", "runs", id, "--all"]).expect("a ledger");
    let time = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
    let row = |row: &Value| {
        let slot: Timestamp = time(&row["slot"]).expect("a slot");
        let last = time(&row["last"]).unwrap_or(slot);
        (slot, last, row["count"].as_u64().unwrap_or(1), row["job"].as_i64())
    };
    let mut rows: Vec<_> = rows.as_array().expect("rows").iter().map(row).collect();
    rows.sort_unstable_by_key(|row| row.0);
    rows
}

#[test]
fn each_due_time_is_decided_once_while_leaders_are_stopped_and_killed() {
    let cluster = Cluster::start(Kind::Postgres, false);
    let ids: Vec<String> = (0..SCHEDULES).map(|n| format!("s{n}")).collect();
    for id in &ids {
        let add = ["schedule", "add", id, "--every", "1s", "--catch-up", "all:5", "orx.noop"];
        let ran = cluster.ask(0, &add);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    // Past its lease, so that the other fires while it sleeps; then it wakes and tries to write.
    for round in 0..4 {
        let (leader, epoch) = (0..2).find_map(|node| cluster.leader(node)).expect("one leads");
        let other = usize::from(leader == "c1");
        if round == 2 {
            cluster.kill(&leader);
        } else {
            cluster.stop(&leader);
        }
        let next = || cluster.leader(other).filter(|(_, later)| *later > epoch);
        until("the other leads", || next().is_some());
        let before = ledger(&cluster, &ids[0]).len();
        if round == 2 {
            cluster.restart(&leader);
        } else {
            pause(LEASE / 4);
            cluster.resume(&leader);
        }
        until("the new leader fires", || ledger(&cluster, &ids[0]).len() > before);
    }
    for id in &ids {
        // One end for each, later than any response: the server rejects an end in the past.
        let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
        let end = i64::try_from(since.as_millis()).expect("in range") + 5_000;
        let end = Timestamp::from_millis(end);
        let ran = cluster.ask(0, &["schedule", "set", id, "--end", &end.to_string()]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let ended = || {
        let all = cluster.json(&["schedule", "list"]).expect("schedules");
        all.as_array().expect("rows").iter().all(|view| view["state"] == "ended")
    };
    until("all have ended", ended);

    let jobs = cluster.json(&["jobs", "--limit", "100000"]).expect("jobs");
    let mut made: BTreeMap<(String, Timestamp), Vec<i64>> = BTreeMap::new();
    for job in jobs.as_array().expect("rows") {
        let id = job["schedule"]["id"].as_str().expect("of a schedule").to_owned();
        let slot = job["schedule"]["slot"].as_str().and_then(|text| text.parse().ok());
        let key = (id, slot.expect("for a due time"));
        made.entry(key).or_default().push(job["id"].as_i64().expect("an id"));
    }
    for id in &ids {
        let rows = ledger(&cluster, id);
        let mut next = rows.first().expect("it fired").0;
        for (slot, last, count, job) in rows {
            assert_eq!(slot, next, "{id}: each second has its row");
            let seconds = last.saturating_since(slot).as_secs() + 1;
            assert_eq!(count, seconds, "{id}: {slot} to {last}");
            next = Timestamp::from_millis(last.as_millis() + 1_000);
            let jobs = made.remove(&(id.clone(), slot)).unwrap_or_default();
            let of_slot: Vec<i64> = job.into_iter().collect();
            assert_eq!(jobs, of_slot, "{id}: the job of {slot} is the one of its row");
        }
    }
    let left: BTreeSet<_> = made.keys().collect();
    assert!(left.is_empty(), "jobs without a row: {left:?}");
}

//! The drain of a node of a cluster, through the commands of an operator.

mod common;

use std::process::{Child, Stdio};

use common::{Machine, get, two_nodes, until};
use orx_testkit::servers::TestDatabase;
use serde_json::Value;

/// A worker daemon, killed at the end.
struct Worker(Child);

impl Worker {
    fn start(machine: &Machine) -> Self {
        let log = std::fs::File::create(machine.path("w1.log")).expect("a log");
        let mut command = machine.command(["daemon", "worker", "--name", "w1", "--slots", "2"]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("orx runs");
        until("the worker is there", || workers(machine).len() == 1);
        Self(child)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn workers(machine: &Machine) -> Vec<Value> {
    machine.json(["worker", "list"]).as_array().expect("a list").clone()
}

fn node(machine: &Machine, name: &str) -> Value {
    let nodes = machine.json(["cluster", "nodes"]);
    let found = nodes.as_array().expect("a list").iter().find(|node| node["name"] == name);
    found.expect("it is listed").clone()
}

fn detached(machine: &Machine, script: &str) -> String {
    let run = machine.orx(["run", "--detach", "--", "sh", "-c", script]);
    assert_eq!(run.code, 0, "{run:?}");
    run.out.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_hands_over_lead_and_workers_while_jobs_go_on() {
    let database = TestDatabase::new().await;
    let (first, second) = two_nodes(&database.url(), "");
    let _worker = Worker::start(&first);
    assert_eq!(workers(&first)[0]["node"], node(&first, "n1")["node"]);
    let running = detached(&first, "until [ -e go ]; do sleep 0.02; done");
    let waiting: Vec<String> = (0..5).map(|_| detached(&second, "sleep 0.1")).collect();
    until("it runs", || first.status(&running) == "running");

    // The request goes to the other node, and only notifications make it this fast.
    let why = ["--wait", "--timeout", "9s", "--reason", "new kernel"];
    let drained = second.orx([&["cluster", "drain", "n1"][..], &why].concat());
    assert_eq!((drained.out.as_str(), drained.code), ("n1 drained\n", 0), "{drained:?}");
    assert_eq!(node(&first, "n1")["drain"], "drained");
    assert_eq!(node(&first, "n2")["leads"], true);
    assert_eq!(workers(&first)[0]["node"], node(&first, "n2")["node"]);
    let entry = &first.json(["audit", "--action", "drain_node"])[0];
    assert_eq!((&entry["object"], &entry["reason"]), (&"n1".into(), &"new kernel".into()));
    let status = first.orx(["cluster", "status"]);
    assert!(status.out.contains("n1 follows, drained"), "{status:?}");
    let ready = get(&first, "/readyz");
    assert!(ready.contains(" 503 "), "{ready}");
    assert!(get(&second, "/readyz").contains(" 200 "));

    // It answers as before, and each job has one attempt.
    let ran = first.orx(["run", "--", "echo", "on"]);
    assert_eq!((ran.out.as_str(), ran.code), ("on\n", 0), "{ran:?}");
    std::fs::write(first.path("work/go"), "").expect("written");
    for job in waiting.iter().chain([&running]) {
        let waited = first.orx(["wait", job, "--timeout", "60s"]);
        assert_eq!(waited.code, 0, "{waited:?}");
        let attempts = second.json(["show", job])["attempts"].clone();
        assert_eq!(attempts.as_array().map(Vec::len), Some(1), "{attempts}");
    }

    let refused = second.orx(["cluster", "drain", "n2"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("no other live node could lead"), "{refused:?}");
    let unknown = second.orx(["cluster", "drain", "n3"]);
    assert_eq!(unknown.code, 3, "{unknown:?}");
    assert!(unknown.err.contains("did you mean `n"), "{unknown:?}");

    let undone = first.orx(["cluster", "drain", "n1", "--undo"]);
    assert_eq!(undone.out, "n1 takes workers and may lead\n", "{undone:?}");
    assert_eq!(node(&second, "n1")["drain"], Value::Null);
    until("it is ready", || get(&first, "/readyz").contains(" 200 "));
    let back = first.orx(["cluster", "drain", "n2", "--wait", "--timeout", "9s"]);
    assert_eq!(back.code, 0, "{back:?}");
    assert_eq!(node(&second, "n1")["leads"], true);
}

#[test]
fn the_only_node_is_not_drained() {
    let alone = Machine::with_server();
    let name = alone.json(["cluster", "nodes"])[0]["name"].clone();
    let refused = alone.orx(["cluster", "drain", name.as_str().expect("a name")]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.err.contains("start another coordinator"), "{refused:?}");
    assert_eq!(alone.json(["cluster", "nodes"])[0]["drain"], Value::Null);
}

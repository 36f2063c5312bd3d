//! The record of who changed what.

mod common;

use common::Machine;
use serde_json::Value;

#[test]
fn each_change_of_a_person_is_recorded_with_who_from_where_what_and_why() {
    let mut machine = Machine::with_server();
    for queue in ["media", "media", "mail"] {
        machine.orx(["enqueue", "nobody", "-q", queue]);
    }
    machine.orx(["queue", "pause", "media", "--reason", "disk full"]);
    machine.orx(["cancel", "1", "2", "--reason", "bad upload", "--yes"]);
    machine.orx(["retry", "1"]);
    machine.orx(["queue", "resume", "media"]);
    // Changes nothing, so there is nothing to record.
    machine.orx(["queue", "resume", "media"]);
    machine.orx(["cancel", "3", "--dry-run"]);
    machine.kill();
    machine.start(&[]);

    let entries = machine.json(["audit"]);
    let field = |name: &str| -> Vec<Value> {
        entries.as_array().expect("a list").iter().map(|entry| entry[name].clone()).collect()
    };
    assert_eq!(field("action"), ["resume_queue", "retry_jobs", "cancel_jobs", "pause_queue"]);
    assert_eq!(field("object"), ["media", "1", "1, 2", "media"]);
    assert_eq!(field("changed"), [1, 1, 2, 1]);
    assert_eq!(
        field("reason"),
        [Value::Null, Value::Null, "bad upload".into(), "disk full".into()]
    );
    assert!(field("address").iter().all(|address| address == "127.0.0.1"), "{entries}");
    assert!(field("by").iter().all(|by| by.as_str().is_some_and(|by| !by.is_empty())), "{entries}");

    let pauses = machine.json(["audit", "--action", "pause_queue"]);
    assert_eq!(pauses.as_array().map(Vec::len), Some(1));
    let refused = machine.orx(["audit", "--action", "pause_queu"]);
    assert!(refused.err.contains("did you mean `pause_queue`?"), "{refused:?}");
}

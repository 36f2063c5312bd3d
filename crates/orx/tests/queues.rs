//! Queues that a person pauses and resumes.

mod common;

use common::{Machine, until};

#[test]
fn a_paused_queue_starts_no_job_even_after_a_crash_and_says_who_paused_it_and_why() {
    let mut machine = Machine::with_server();
    let run = |machine: &Machine, queue: &str| {
        let ran = machine.orx(["run", "--detach", "-o", "id", "-q", queue, "--", "true"]);
        ran.out.trim().to_owned()
    };
    let first = run(&machine, "media");
    until("the first job has ended", || machine.status(&first) == "completed");
    let paused = machine.orx(["queue", "pause", "media", "--reason", "disk full"]);
    assert_eq!((paused.code, paused.out.as_str()), (0, "paused media: 0 jobs wait\n"));
    let (waits, other) = (run(&machine, "media"), run(&machine, "default"));
    until("the other queue runs", || machine.status(&other) == "completed");
    assert_eq!(machine.status(&waits), "pending");

    machine.kill();
    machine.start(&[]);
    let other = run(&machine, "default");
    until("the other queue runs", || machine.status(&other) == "completed");
    assert_eq!(machine.status(&waits), "pending");
    let view = &machine.json(["queue", "show", "media"])[0];
    assert_eq!(view["paused"]["reason"], "disk full");
    assert!(view["paused"]["by"].as_str().is_some_and(|by| !by.is_empty()), "{view}");
    let table = machine.orx(["queue", "list"]).out;
    assert!(table.contains("paused") && table.contains("disk full"), "{table}");

    let resumed = machine.orx(["queue", "resume", "media"]);
    assert_eq!((resumed.code, resumed.out.as_str()), (0, "resumed media\n"));
    until("the job of the resumed queue runs", || machine.status(&waits) == "completed");
}

#[test]
fn an_unknown_queue_is_refused_with_the_nearest_name_before_any_is_paused() {
    let machine = Machine::with_server();
    machine.orx(["enqueue", "nobody", "-q", "media"]);
    let refused = machine.orx(["queue", "pause", "media", "medai"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("did you mean `media`?"), "{}", refused.err);
    assert!(machine.json(["queue", "show", "media"])[0]["paused"].is_null());
}

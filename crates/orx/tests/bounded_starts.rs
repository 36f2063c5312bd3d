//! Jobs that kill their server, and the jobs beside them: the first become dead letters after a few
//! starts, and the others succeed.

mod common;

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{Machine, is_running, read, result_of, signal, until};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// Leaves a mark, then kills its server, the parent of its process, once its caller has the response.
const DEADLY: &str = "echo x >> starts/$ORX_JOB_ID; while ! [ -e armed ]; do sleep 0.02; done; \
                      kill -9 $PPID; sleep 60";
const HEALTHY: &str = "echo x >> starts/$ORX_JOB_ID; sleep 0.05";

/// A server that restarts after each kill.
struct Supervisor<'m> {
    machine: &'m Machine,
    pid: Mutex<Option<u32>>,
    deaths: AtomicUsize,
    over: AtomicBool,
}

/// Stops the supervisor's loop, also where an assertion fails.
struct StopOnDrop<'s, 'm>(&'s Supervisor<'m>);

impl Drop for StopOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
        let pid = self.0.pid.lock();
        if let Some(pid) = *pid {
            signal(pid, "TERM");
        }
    }
}

impl Supervisor<'_> {
    fn run(&self) {
        loop {
            let mut pid = self.pid.lock();
            if self.over.load(Ordering::Acquire) {
                return;
            }
            let daemon = ["daemon", "server", "--listen", "127.0.0.1:0"];
            let mut command = self.machine.command(daemon);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut server = command.spawn().expect("orx runs");
            *pid = Some(server.id());
            drop(pid);
            let ended = server.wait().expect("ended");
            if ended.signal() == Some(9) {
                self.deaths.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    fn deaths(&self) -> usize {
        self.deaths.load(Ordering::Acquire)
    }
}

/// Runs `test` beside a supervised server.
fn supervised(machine: &Machine, test: impl FnOnce(&Supervisor<'_>)) {
    let supervisor = Supervisor {
        machine,
        pid: Mutex::default(),
        deaths: AtomicUsize::default(),
        over: AtomicBool::default(),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| supervisor.run());
        let _ends = StopOnDrop(&supervisor);
        test(&supervisor);
    });
}

fn command(script: &str) -> Value {
    // The wait after a loss is the same as after a failure.
    json!({"command": {"argv": ["sh", "-c", script]}, "backoff_ms": 300})
}

/// Creates jobs by `make`, with a response that no deadly job may cut off.
fn before_any_death<T>(machine: &Machine, make: impl FnOnce() -> T) -> T {
    let armed = machine.path("work/armed");
    // There is none before the first time.
    let _ = std::fs::remove_file(&armed);
    let made = make();
    std::fs::write(armed, "").expect("written");
    made
}

/// Enqueues all in one request, so that they start together; returns their ids.
fn enqueue(machine: &Machine, jobs: &[Value]) -> Vec<String> {
    let lines: Vec<String> = jobs
        .iter()
        .map(|job| {
            let mut job = job.clone();
            job["command"]["cwd"] = machine.path("work").to_string_lossy().into();
            job.to_string()
        })
        .collect();
    let input = lines.join("\n");
    let ran = before_any_death(machine, || {
        machine.orx_in(["enqueue", "--batch", "-", "-o", "json"], input.as_bytes())
    });
    assert_eq!(ran.code, 0, "{ran:?}");
    let answers: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"));
    answers.as_array().expect("a list").iter().map(|answer| answer["id"].to_string()).collect()
}

/// The job; `None` while no server responds. Starts no server: the supervisor does.
fn show(machine: &Machine, job: &str) -> Option<Value> {
    let shown =
        machine.command(["show", "--no-start", job, "-o", "json"]).output().expect("orx runs");
    serde_json::from_str(&result_of(shown).out).ok()
}

fn count(machine: &Machine, status: &str) -> Option<u64> {
    let shown = machine
        .command(["cluster", "status", "--no-start", "-o", "json"])
        .output()
        .expect("orx runs");
    serde_json::from_str::<Value>(&result_of(shown).out).ok()?["counts"][status].as_u64()
}

fn starts(machine: &Machine, job: &str) -> usize {
    read(machine.path("work/starts").join(job)).lines().count()
}

fn is_poison(machine: &Machine, job: &str) -> bool {
    show(machine, job).is_some_and(|job| job["dead"] == "poison")
}

fn machine() -> Machine {
    let machine = Machine::new();
    std::fs::create_dir(machine.path("work/starts")).expect("a folder");
    machine
}

#[test]
fn a_job_that_kills_its_server_becomes_a_dead_letter_and_a_hundred_neighbours_end() {
    let machine = machine();
    supervised(&machine, |server| {
        until("the server is ready", || count(&machine, "completed").is_some());
        let mut jobs = vec![command(HEALTHY); 101];
        // Each time among the jobs that start with the server.
        jobs[5] = command(DEADLY);
        let mut ids = enqueue(&machine, &jobs);
        let deadly = ids.remove(5);
        until("the deadly one is a dead letter", || is_poison(&machine, &deadly));
        until("its neighbours end", || count(&machine, "completed") == Some(100));
        assert_eq!(starts(&machine, &deadly), 3);
        assert_eq!(server.deaths(), 3);
        for id in &ids {
            let job = show(&machine, id).expect("the server stays up");
            assert!(job["ends"]["server_lost"].as_u64() <= Some(2), "{job}");
            assert!(starts(&machine, id) <= 3, "{job}");
        }
        let after = machine.orx(["run", "--no-start", "--", "true"]);
        assert_eq!((after.code, server.deaths()), (0, 3), "{after:?}");
    });
}

#[test]
fn several_that_kill_their_server_are_each_found_and_what_must_not_run_twice_runs_once() {
    let machine = machine();
    supervised(&machine, |server| {
        until("the server is ready", || count(&machine, "completed").is_some());
        let mut once = command(DEADLY);
        once["on_lost"] = "fail".into();
        let mut jobs = vec![command(HEALTHY); 20];
        jobs.extend([command(DEADLY), command(DEADLY)]);
        let ids = enqueue(&machine, &jobs);
        for deadly in &ids[20..] {
            until("it is a dead letter", || is_poison(&machine, deadly));
            assert!((1..=3).contains(&starts(&machine, deadly)), "{deadly}");
        }
        until("the others end", || count(&machine, "completed") == Some(20));

        let once = enqueue(&machine, &[once]);
        let ended = || show(&machine, &once[0]).filter(|job| job["status"] == "failed");
        until("it is lost", || ended().is_some());
        assert_eq!(ended().map(|job| job["dead"].clone()), Some("lost".into()));
        assert_eq!(starts(&machine, &once[0]), 1);
        assert!(server.deaths() <= 3 + 3 + 1, "{}", server.deaths());
    });
}

#[test]
fn a_run_of_a_schedule_that_kills_its_server_becomes_a_dead_letter_too() {
    let machine = machine();
    supervised(&machine, |server| {
        until("the server is ready", || count(&machine, "completed").is_some());
        let add = ["schedule", "add", "deadly", "--every", "1h", "--", "sh", "-c", DEADLY];
        let added = machine.orx(add);
        assert_eq!(added.code, 0, "{added:?}");
        let run = before_any_death(&machine, || machine.orx(["schedule", "trigger", "deadly"]));
        assert_eq!(run.code, 0, "{run:?}");
        until("it is a dead letter", || is_poison(&machine, "1"));
        assert_eq!((starts(&machine, "1"), server.deaths()), (3, 3));
    });
}

#[test]
fn one_crash_of_a_server_costs_what_ran_there_nothing_and_a_stop_none_at_all() {
    let mut machine = machine();
    machine.start(&[]);
    let hold = "echo x >> starts/$ORX_JOB_ID; while ! [ -e go ]; do sleep 0.02; done";
    let mut job = command(hold);
    job["backoff_ms"] = 600_000.into();
    let ids = enqueue(&machine, &vec![job; 8]);
    let all_started = |times| ids.iter().all(|id| starts(&machine, id) >= times);
    until("all have started", || all_started(1));
    machine.kill();
    machine.start(&[]);
    // At once: no wait before, and none for each other.
    let all_started = |times| ids.iter().all(|id| starts(&machine, id) >= times);
    until("all have started again", || all_started(2));
    for id in &ids {
        let ends = machine.json(["show", id])["ends"].clone();
        assert_eq!(ends, json!({"failed": 0, "lost": 0, "server_lost": 1, "returned": 0}));
    }
    let pid = machine.address_pid().expect("a server");
    assert_eq!(machine.stop(), 0, "{}", machine.log());
    assert!(!is_running(pid));
    std::fs::write(machine.path("work/go"), "").expect("written");
    machine.start(&[]);
    until("all end", || count(&machine, "completed") == Some(8));
    for id in &ids {
        let ends = machine.json(["show", id])["ends"].clone();
        assert_eq!(ends, json!({"failed": 0, "lost": 0, "server_lost": 1, "returned": 1}));
    }
}

#[test]
fn a_job_that_kills_the_server_in_the_background_becomes_a_dead_letter_too() {
    let machine = machine();
    let run =
        before_any_death(&machine, || machine.orx(["run", "--detach", "--", "sh", "-c", DEADLY]));
    assert_eq!(run.code, 0, "{run:?}");
    let deadly = run.out.trim().to_owned();
    until("it is a dead letter", || {
        // Each of these starts a server where there is none; the deadly one may take it down.
        machine.orx(["run", "--detach", "--", "true"]);
        is_poison(&machine, &deadly)
    });
    assert_eq!(starts(&machine, &deadly), 3);
}

#[test]
fn a_schedule_whose_runs_kill_their_server_is_paused_and_the_server_stays_up() {
    let machine = Machine::new();
    std::fs::create_dir_all(machine.path("work/starts")).expect("a folder");
    supervised(&machine, |supervisor| {
        // Starts no server beside the supervisor's: its deaths would not be counted.
        until("a server runs", || machine.orx(["cluster", "status", "--no-start"]).code == 0);
        let ran = before_any_death(&machine, || {
            machine.orx(["schedule", "add", "killer", "--every", "1s", "--", "sh", "-c", DEADLY])
        });
        assert_eq!(ran.code, 0, "{ran:?}");
        until("its runs are poison", || {
            let shown = machine.orx(["schedule", "show", "killer", "--no-start", "-o", "json"]);
            shown.out.contains("are dead letters with the reason `poison`")
        });
        // The first loss may be due to another job: the wait begins with the second.
        assert_eq!(supervisor.deaths(), 6);
        assert_eq!(machine.orx(["run", "--", "true"]).code, 0);
    });
}

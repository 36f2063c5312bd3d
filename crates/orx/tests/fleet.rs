//! Coordinators and workers as separate processes, through the commands of an operator.

mod common;

use std::process::{Child, Stdio};

use common::{Machine, is_running, read, signal, two_nodes, until};
use orx_model::Timestamp;
use orx_testkit::servers::TestDatabase;
use serde_json::{Value, json};

/// A worker daemon, killed at the end.
struct Worker(Child);

impl Worker {
    fn start(machine: &Machine, name: &str, more: &[&str]) -> Self {
        let log = std::fs::File::create(machine.path(&format!("{name}.log"))).expect("a log");
        let mut command = machine.command(["daemon", "worker", "--name", name, "--slots", "2"]);
        let child = command.args(more).stdout(Stdio::null()).stderr(log).spawn();
        let worker = Self(child.expect("orx runs"));
        until("the worker is there", || state(machine, name) == "running");
        worker
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

/// The state of the worker of this name that is not fenced, as printed.
fn state(machine: &Machine, name: &str) -> String {
    let list = machine.orx(["worker", "list", "-o", "tsv", "--no-header"]).out;
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split('\t').collect()).collect();
    let mut of = rows.iter().filter(|row| row[0] == name && row[1] != "fenced");
    of.next().map(|row| row[1].to_owned()).unwrap_or_default()
}

fn detached(machine: &Machine, script: &str) -> String {
    let run = machine.orx(["run", "--detach", "--", "sh", "-c", script]);
    assert_eq!(run.code, 0, "{run:?}");
    run.out.trim().to_owned()
}

fn worker_of(machine: &Machine, job: &str) -> String {
    machine.json(["show", job])["live"]["worker_name"].as_str().unwrap_or_default().to_owned()
}

/// Enqueues all in one request.
fn enqueue(machine: &Machine, jobs: &[Value]) {
    let lines: Vec<String> = jobs.iter().map(Value::to_string).collect();
    let ran = machine.orx_in(["enqueue", "--batch", "-"], lines.join("\n").as_bytes());
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_prefetched_job_without_a_free_slot_returns_to_its_place_and_urgent_jobs_start_first() {
    let mut machine = Machine::new();
    machine.coordinate("127.0.0.1:0");
    let _one = Worker::start(&machine, "w1", &[]);
    enqueue(&machine, &vec![json!({"name": "orx.noop"}); 100]);
    let count = |status: &str| machine.json(["cluster", "status"])["counts"][status].clone();
    until("the short ones end", || count("completed") == 100);
    until("more is asked for than there are slots", || {
        workers(&machine)[0]["capacity"].as_u64() > Some(2)
    });
    let _two = Worker::start(&machine, "w2", &[]);

    std::fs::create_dir(machine.path("work/go")).expect("a folder");
    let script = "echo $ORX_JOB_ID >> starts; until [ -e go/$ORX_JOB_ID ]; do sleep 0.02; done";
    let argv = ["sh", "-c", script];
    let cwd = machine.path("work");
    enqueue(&machine, &vec![json!({"command": {"argv": argv, "cwd": cwd}}); 12]);
    until("both are busy, and what they have no slot for is in the store", || {
        count("running") == 4 && count("pending") == 8
    });
    let status = machine.json(["cluster", "status"]);
    let figures = ["slots", "active", "prefetched"].map(|figure| status[figure].clone());
    assert_eq!(figures, [4, 4, 0]);

    let urgent = ["run", "--detach", "--priority", "critical", "--", argv[0], argv[1], argv[2]];
    let urgent = machine.orx(urgent).out.trim().to_owned();
    let starts = || -> Vec<String> {
        read(machine.path("work/starts")).lines().map(str::to_owned).collect()
    };
    let end = |job: &str| std::fs::write(machine.path("work/go").join(job), "").expect("written");
    end(&starts()[0]);
    until("another starts", || starts().len() == 5);
    assert_eq!(starts()[4], urgent);

    // The others start in the order in which they were accepted, at whichever worker has a slot.
    let mut ended = 1;
    while starts().len() < 13 {
        let next = starts().len();
        end(&starts()[ended]);
        ended += 1;
        until("the next starts", || starts().len() > next);
    }
    starts().iter().for_each(|job| end(job));
    until("all end", || count("completed") == 113);
    let numbers: Vec<u64> =
        starts()[5..].iter().map(|job| job.parse().expect("a number")).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    for job in starts() {
        let ends = machine.json(["show", &job])["ends"].clone();
        assert_eq!(ends, json!({"failed": 0, "lost": 0, "server_lost": 0, "returned": 0}));
    }
}

#[test]
fn workers_are_listed_shown_drained_resumed_and_fenced() {
    let mut machine = Machine::new();
    machine.coordinate("127.0.0.1:0");
    let _one = Worker::start(&machine, "w1", &[]);
    let _two = Worker::start(&machine, "w2", &["--label", "gpu=a100"]);

    let list = workers(&machine);
    assert_eq!(list.len(), 2);
    until("its machine's load is known", || {
        workers(&machine).iter().all(|worker| worker["load"]["memory_bytes"].as_u64() > Some(0))
    });
    assert_eq!(list[1]["offer"]["labels"]["gpu"], "a100");
    let picky = machine.orx(["run", "--require", "gpu=a100", "--", "true"]);
    assert_eq!(picky.code, 0, "{picky:?}");
    assert_eq!(machine.json(["show", "@last"])["worker"], "w2");

    // A draining worker finishes its jobs, gets no new ones, and stays.
    let job = detached(&machine, "until [ -e go ]; do sleep 0.05; done");
    until("it runs", || machine.status(&job) == "running");
    let on = worker_of(&machine, &job);
    let other = if on == "w1" { "w2" } else { "w1" };
    let drained = machine.orx(["worker", "drain", &on, "-o", "json"]);
    assert_eq!(drained.code, 0, "{drained:?}");
    until("it drains", || state(&machine, &on) == "draining");
    let many: Vec<String> = (0..4).map(|_| detached(&machine, "true")).collect();
    for job in &many {
        assert_eq!(machine.orx(["wait", job, "--timeout", "30s"]).code, 0);
        assert_eq!(machine.json(["show", job])["worker"], other, "{on} drains");
    }
    std::fs::write(machine.path("work/go"), "").expect("a file");
    assert_eq!(machine.orx(["wait", &job, "--timeout", "30s"]).code, 0);
    until("it is drained", || state(&machine, &on) == "drained");
    assert_eq!(machine.orx(["worker", "resume", &on]).code, 0);
    until("it works again", || state(&machine, &on) == "running");
    let shown = machine.orx(["worker", "show", &on]);
    assert!(shown.out.contains("machine") && shown.out.contains("cpu"), "{shown:?}");

    // A fenced worker's job runs elsewhere at once, and its own process is stopped.
    let script = "echo $$ > pid.$ORX_ATTEMPT; until [ -e end ]; do sleep 0.05; done";
    let job = detached(&machine, script);
    until("it runs", || machine.status(&job) == "running" && !read(pid(&machine, 1)).is_empty());
    let first: u32 = read(pid(&machine, 1)).trim().parse().expect("a pid");
    let on = worker_of(&machine, &job);
    let asked = machine.orx(["worker", "fence", &on]);
    assert!(asked.code == 2 && asked.err.contains("--yes"), "{asked:?}");
    assert_eq!(machine.orx(["worker", "fence", &on, "--yes"]).code, 0);
    until("it runs again", || !read(pid(&machine, 2)).is_empty());
    until("the first is stopped", || !is_running(first));
    std::fs::write(machine.path("work/end"), "").expect("a file");
    assert_eq!(machine.orx(["wait", &job, "--timeout", "30s"]).code, 0);
    let shown = machine.json(["show", &job]);
    let ends: Vec<&str> = shown["attempts"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|attempt| attempt["status"].as_str())
        .collect();
    assert_eq!(ends, ["lost", "succeeded"]);
    // The worker registers as another incarnation; the fence of the old one stays.
    until("it is back", || state(&machine, &on) == "running");
    let fenced = workers(&machine).iter().filter(|worker| worker["order"] == "fence").count();
    assert_eq!(fenced, 1);

    let nobody = machine.orx(["worker", "drain", "w3"]);
    assert!(nobody.code == 3 && nobody.err.contains("did you mean"), "{nobody:?}");
}

fn pid(machine: &Machine, attempt: u32) -> std::path::PathBuf {
    machine.path(&format!("work/pid.{attempt}"))
}

#[test]
fn a_worker_that_gets_sigterm_releases_its_attempts_and_deregisters() {
    let mut machine = Machine::new();
    machine.coordinate("127.0.0.1:0");
    let config = machine.path("w.toml");
    std::fs::write(&config, "[worker]\nstop_grace = \"100ms\"\n").expect("written");
    let config = config.to_str().expect("text");
    let mut one = Worker::start(&machine, "w1", &["--config", config]);
    let job = detached(&machine, "sleep 60");
    until("it runs", || machine.status(&job) == "running");
    signal(one.0.id(), "TERM");
    assert!(one.0.wait().expect("ended").success());
    assert_eq!(workers(&machine), [Value::Null; 0]);
    let shown = machine.json(["show", &job]);
    assert_eq!((&shown["status"], &shown["ends"]["lost"]), (&"pending".into(), &0.into()));
    assert_eq!(shown["attempts"][0]["status"], "interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_coordinator_answers_any_call_and_the_leader_is_notified() {
    let database = TestDatabase::new().await;
    let (mut first, second) = two_nodes(&database.url(), "");
    let nodes = |machine: &Machine| machine.json(["cluster", "status"])["nodes"].clone();
    let leads: Vec<bool> = nodes(&second)
        .as_array()
        .expect("a list")
        .iter()
        .map(|node| node["leads"] == true)
        .collect();
    assert_eq!(leads, [true, false]);

    // The worker reaches a follower, and continues to the leader.
    let _worker = Worker::start(&second, "w1", &[]);
    for machine in [&first, &second] {
        let ran = machine.orx(["run", "--", "sh", "-c", "echo out; exit 3"]);
        assert_eq!((ran.out.as_str(), ran.code), ("out\n", 3), "{ran:?}");
    }
    // Requests to one node take effect through the other.
    let job = detached(&second, "echo begun; sleep 60");
    let mut follow = first.command(["logs", "-f", &job]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().expect("orx runs");
    until("it runs", || first.status(&job) == "running");
    assert_eq!(first.orx(["cancel", &job]).code, 0);
    until("it is cancelled", || second.status(&job) == "cancelled");
    assert!(follow.wait().expect("ended").code().is_some());

    // On SIGTERM the leader steps down at once: its lease need not expire first.
    assert_eq!(first.stop(), 0, "{}", first.log());
    let ran = second.orx(["run", "--", "echo", "on"]);
    assert_eq!((ran.out.as_str(), ran.code), ("on\n", 0), "{ran:?}");
    let list = nodes(&second);
    assert_eq!((list.as_array().map(Vec::len), &list[0]["leads"]), (Some(1), &true.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_steps_down_on_request_to_any_node_and_another_leads_at_once() {
    let database = TestDatabase::new().await;
    let (first, second) = two_nodes(&database.url(), "");
    let leader = |machine: &Machine| machine.json(["cluster", "status"])["leader"].clone();
    let before = leader(&first);
    // The request goes to a follower.
    let answer = second.orx(["cluster", "step-down", "--reason", "new kernel"]);
    assert!(answer.out.starts_with("n1 stepped down, n2 leads"), "{answer:?}");
    assert_ne!(leader(&first), before);
    assert_eq!(first.json(["audit", "--action", "step_down"])[0]["reason"], "new kernel");
    let alone = Machine::with_server();
    let refused = alone.orx(["cluster", "step-down"]);
    assert_eq!(refused.code, 4, "{refused:?}");
}

/// Every period is longer than the test, so that only notifications cause anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_accepted_by_a_follower_is_started_because_the_leader_is_notified() {
    let database = TestDatabase::new().await;
    let periods = "[cluster]\nlease = \"1h\"\nheartbeat = \"10m\"\nmonitor = \"10m\"\n\
                   leader_lease = \"1h\"\nleader_renew = \"10m\"\nnode_heartbeat = \"10m\"\n";
    let (first, second) = two_nodes(&database.url(), periods);
    let _worker = Worker::start(&first, "w1", &[]);
    for _ in 0..3 {
        let job = detached(&second, "true");
        let waited = second.orx(["wait", &job, "--timeout", "30s"]);
        assert_eq!(waited.code, 0, "{waited:?}");
        let shown = second.json(["show", &job]);
        let at = |value: &Value| -> orx_model::Timestamp {
            value.as_str().and_then(|text| text.parse().ok()).expect("a time")
        };
        let claimed = at(&shown["attempts"][0]["claimed_at"]);
        let took = claimed.saturating_since(at(&shown["created_at"]));
        // Far less than the leader's periods, and some seconds for a busy machine.
        assert!(took < std::time::Duration::from_secs(20), "{took:?}: {shown}");
    }
}

/// Without a notification of the other node, they would poll only after 10 s.
#[tokio::test(flavor = "multi_thread")]
async fn waits_and_followers_at_one_node_see_at_once_what_another_records() {
    let database = TestDatabase::new().await;
    let (first, second) = two_nodes(&database.url(), "");
    let _worker = Worker::start(&first, "w1", &[]);
    let script = "echo one; until [ -e go ]; do sleep 0.02; done; echo two; rm go; \
                  until [ -e end ]; do sleep 0.02; done; rm end";
    for _ in 0..3 {
        let job = detached(&first, script);
        let out = second.path("out");
        let file = std::fs::File::create(&out).expect("a file");
        let mut follow = second.command(["logs", "-f", &job]).stdout(file).spawn().expect("runs");
        let mut wait = second.command(["wait", &job]).stdout(Stdio::null()).spawn().expect("runs");
        until("it follows", || read(&out).contains("one"));
        let begun = std::time::Instant::now();
        std::fs::write(first.path("work/go"), "").expect("written");
        until("more is printed", || read(&out).contains("two"));
        std::fs::write(first.path("work/end"), "").expect("written");
        assert!(wait.wait().expect("ended").success());
        assert!(follow.wait().expect("ended").success());
        let took = begun.elapsed();
        assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    }
}

/// The best of several rounds counts: a busy machine may take any time.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_that_one_node_records_is_seen_at_another_within_a_tenth_of_a_second() {
    let database = TestDatabase::new().await;
    let (first, second) = two_nodes(&database.url(), "");
    let _worker = Worker::start(&first, "w1", &[]);
    let ended = |job: &str| -> Timestamp {
        let shown = first.json(["show", job]);
        serde_json::from_value(shown["finished_at"].clone()).expect("it has ended")
    };
    let script = "echo one; until [ -e end ]; do sleep 0.02; done; rm end";
    let mut best = [i64::MAX; 3];
    for _ in 0..5 {
        let job = detached(&first, script);
        let out = second.path("out");
        let file = std::fs::File::create(&out).expect("a file");
        let wait = second.command(["wait", &job]).stdout(Stdio::null()).spawn().expect("runs");
        let follow = second.command(["logs", "-f", &job]).stdout(file).spawn().expect("runs");
        until("it follows", || read(&out).contains("one"));
        let seen = [wait, follow].map(|child| std::thread::spawn(move || exit_of(child)));
        std::fs::write(first.path("work/end"), "").expect("written");
        let seen = seen.map(|seen| seen.join().expect("no panic"));
        let end = ended(&job);

        let file = std::fs::File::create(&out).expect("a file");
        let run = second.command(["run", "--", "sh", "-c", script]).stdout(file).spawn();
        let run = run.expect("runs");
        until("it runs", || read(&out).contains("one"));
        let ran = std::thread::spawn(move || exit_of(run));
        std::fs::write(second.path("work/end"), "").expect("written");
        let ran = ran.join().expect("no panic");
        let id = second.json(["show", "@last"])["id"].to_string();
        let late = [(seen[0], end), (seen[1], end), (ran, ended(&id))];
        for (best, (seen, end)) in best.iter_mut().zip(late) {
            *best = (*best).min(seen.as_millis() - end.as_millis());
        }
    }
    assert!(best.iter().all(|ms| *ms < 100), "wait, logs -f and run see it after {best:?} ms");
}

/// When the job ended, which must be a success.
fn exit_of(mut child: Child) -> Timestamp {
    assert!(child.wait().expect("ended").success());
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms = since.expect("after 1970").as_millis();
    Timestamp::from_millis(i64::try_from(ms).expect("before the end of time"))
}

/// A follower of a job's log stops at the end of the job and misses later output.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_over_only_when_what_it_printed_can_be_read() {
    let database = TestDatabase::new().await;
    let mut machine = Machine::new();
    machine.coordinate_on(&database.url(), "n1", "");
    let _worker = Worker::start(&machine, "w1", &[]);

    let held = database.hold_writes("logs").await;
    let run = machine.command(["run", "--", "echo", "hello"]).stdout(Stdio::piped()).spawn();
    let run = run.expect("orx runs");
    database.lock_waits(1).await;
    let waited = machine.orx(["wait", "@last", "--timeout", "500ms"]);
    assert_eq!(waited.code, 124, "{waited:?}");
    drop(held);
    let ran = run.wait_with_output().expect("ended");
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "hello\n");
}

/// Jobs claimed beside it start all the same, and once.
#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_cannot_be_recorded_holds_up_no_job_that_was_claimed() {
    let database = TestDatabase::new().await;
    let mut machine = Machine::new();
    machine.coordinate_on(&database.url(), "n1", "");
    let _worker = Worker::start(&machine, "w1", &[]);
    let busy = detached(&machine, "sleep 600");
    let first = detached(&machine, "while [ ! -e go ]; do sleep 0.02; done");
    until("both run", || [&busy, &first].iter().all(|job| machine.status(job) == "running"));
    let rest: Vec<String> = (0..3).map(|_| detached(&machine, "true")).collect();

    // That table takes outcomes and no claims.
    let held = database.hold_writes("attempts").await;
    std::fs::write(machine.path("work/go"), "").expect("written");
    until("the write fails", || machine.log().contains("does not take writes"));
    let waiting = database.run("select count(*) from jobs where status = 1").await;
    assert_ne!(waiting, ["3"], "a place became free, and a job is given for it");
    drop(held);
    for job in &rest {
        let waited = machine.orx(["wait", job, "--timeout", "8s"]);
        assert_eq!(waited.code, 0, "{waited:?}");
        let shown = machine.json(["show", job]);
        let attempts = shown["attempts"].as_array().expect("attempts");
        // A prefetched job without a free slot in time never started.
        let started = attempts.iter().filter(|attempt| attempt["status"] != "refused").count();
        assert_eq!(started, 1, "{shown}");
    }
}

#[test]
fn the_settings_of_a_server_are_shown_with_their_origins_and_without_secrets() {
    let handler = "[handler.pay]\ncmd = [\"pay\", \"--password=hunter2\"]\n";
    let machine = Machine::with_config(&format!("[cluster]\nlease = \"40s\"\n{handler}"));
    let answer = machine.json(["config", "show", "--server"]);
    let of = |name: &str| {
        let all = answer["settings"].as_array().expect("a list");
        all.iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
    };
    assert_eq!(of("cluster.lease")["value"], "40s");
    assert_eq!(of("cluster.lease")["origin"]["from"], "file");
    assert_eq!(of("cluster.lease")["origin"]["line"], 2);
    assert_eq!(of("server.listen")["origin"], json!({"from": "flag", "name": "--listen"}));
    assert_eq!(of("retention.completed")["origin"]["from"], "default");
    assert_eq!(of("output"), Value::Null, "only clients use it");
    assert!(of("handler.pay")["value"].is_object(), "{answer}");
    assert!(!answer.to_string().contains("hunter2"), "{answer}");
    // The address to which a name of nothing was resolved.
    assert_eq!(of("server.advertise")["value"], machine.url().as_str());
    let text = machine.orx(["config", "show", "--server"]).out;
    assert!(text.contains("cluster.lease") && text.contains("config.toml:2"), "{text}");
}

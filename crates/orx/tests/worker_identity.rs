//! Only the process that registered can act as a worker: a caller with a worker's token that knows another
//! incarnation (`ps` and views show it) can do nothing as that worker, nor to its jobs.

mod common;
#[path = "common/http.rs"]
mod http;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Machine, read, two_nodes, until};
use http::{Answer, Lines};
use orx_testkit::servers::TestDatabase;
use serde_json::{Value, json};

const INCARNATION: &str = "c0de0000000000000000000000000001";
const STRANGER: &str = "bad00000000000000000000000000001";

/// A caller at one node, with a token of the scope `worker`.
struct Caller {
    url: String,
    token: String,
    secret: Option<String>,
}

impl Caller {
    fn new(machine: &Machine) -> Self {
        let made = machine.orx(["token", "create", "--scope", "worker"]);
        assert_eq!(made.code, 0, "{made:?}");
        Self { url: machine.url(), token: made.out.trim().to_owned(), secret: None }
    }

    /// Sends with this secret.
    fn at(&self, machine: &Machine) -> Self {
        Self { url: machine.url(), token: self.token.clone(), secret: self.secret.clone() }
    }

    fn with(&self, secret: Option<&str>) -> Self {
        let (url, token) = (self.url.clone(), self.token.clone());
        Self { url, token, secret: secret.map(str::to_owned) }
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        self.secret.iter().map(|secret| ("orx-worker-secret", secret.as_str())).collect()
    }

    fn post(&self, route: &str, body: &Value) -> Answer {
        let path = format!("/worker/v1/{route}");
        http::post(&self.url, &path, &self.token, &self.headers(), body)
    }

    fn register(&self, incarnation: &str, slots: u32) -> Answer {
        self.post("register", &registration(incarnation, slots))
    }

    fn heartbeat(&self, incarnation: &str, seq: u64, state: &str, capacity: u32) -> Answer {
        let beat = json!({
            "incarnation": incarnation, "seq": seq, "state": state, "capacity": capacity,
            "running": [], "unacknowledged": [],
        });
        self.post("heartbeat", &beat)
    }

    fn publish(&self, from: &str, body: Value) -> Answer {
        let envelope = json!({
            "id": "00000000000000000000000000000001", "version": 1,
            "at": "2026-01-01T00:00:00Z", "from": from, "body": body,
        });
        self.post("publish", &json!({ "envelopes": [envelope], "wait_ms": 20_000 }))
    }

    fn inbox(&self, incarnation: &str) -> Result<Lines, Answer> {
        let path = format!("/worker/v1/inbox?worker={incarnation}");
        http::stream(&self.url, &path, &self.token, &self.headers())
    }
}

fn registration(incarnation: &str, slots: u32) -> Value {
    json!({
        "incarnation": incarnation, "name": "victim", "host": "h", "pid": 1, "version": "1",
        "offer": { "queues": [], "handlers": ["work"], "commands": false, "labels": {} },
        "slots": slots, "started_at": "2026-01-01T00:00:00Z",
    })
}

fn outcome(job: &Value, kind: Value) -> Value {
    let outcome = json!({
        "job": job["job"], "execution": job["execution"], "kind": kind,
        "ended_at": "2026-01-01T00:00:00Z",
    });
    json!({ "job_result": { "outcomes": [outcome] } })
}

/// A registered worker with one dispatched job.
fn victim(machine: &Machine, reach: &Machine) -> (Caller, Lines, Value) {
    let mut victim = Caller::new(machine);
    let registered = victim.register(INCARNATION, 1);
    assert_eq!(registered.status, 200, "{registered:?}");
    let secret = registered.json()["secret"].as_str().expect("a secret").to_owned();
    assert!(secret.len() == 64, "{secret}");
    victim.secret = Some(secret);
    let mut inbox = victim.inbox(INCARNATION).expect("its inbox");
    assert_eq!(victim.heartbeat(INCARNATION, 1, "running", 1).status, 200);
    assert_eq!(reach.orx(["enqueue", "work"]).code, 0);
    let job = inbox.next()["envelope"]["body"]["job_dispatch"]["jobs"][0].clone();
    assert!(job["job"].is_i64(), "{job}");
    (victim, inbox, job)
}

/// Everything that another caller can try with this secret; each is rejected.
fn is_refused_everything(as_whom: &Caller, incarnation: &str, job: Option<&Value>) {
    let refused = |what: &str, answer: Answer| {
        assert_eq!(answer.status, 403, "{what}: {answer:?}");
        assert_eq!(answer.json()["code"], "not_this_worker", "{what}");
    };
    refused("register", as_whom.register(incarnation, 900));
    refused("heartbeat", as_whom.heartbeat(incarnation, 1 << 40, "running", 0));
    refused("stopped", as_whom.heartbeat(incarnation, 1 << 40, "stopped", 0));
    refused("inbox", as_whom.inbox(incarnation).err().expect("no inbox"));
    let nothing = json!({"job": 1, "execution": STRANGER});
    let reported = outcome(job.unwrap_or(&nothing), json!({"succeeded": {"result": "forged"}}));
    refused("publish", as_whom.publish(incarnation, reported));
}

/// Without a secret and with a wrong one, by the token of the worker itself and by another.
fn strangers_are_refused(victim: &Caller, other: &Caller, incarnation: &str, job: Option<&Value>) {
    for token in [victim, other] {
        is_refused_everything(&token.with(None), incarnation, job);
        is_refused_everything(&token.with(Some(&"a".repeat(64))), incarnation, job);
    }
}

/// A worker of its own reports the outcome of an attempt that another has.
fn reports_of_a_stranger_are_stale(machine: &Machine, other: &Caller, job: &Value) {
    let registered = other.register(STRANGER, 1);
    let own = registered.json()["secret"].as_str().map(str::to_owned);
    let stranger = other.with(own.as_deref());
    assert_eq!(stranger.heartbeat(STRANGER, 1, "running", 0).status, 200);
    let of = json!({"job": job["job"], "execution": job["execution"]});
    let mut started = of.clone();
    started["at"] = "2026-01-01T00:00:00Z".into();
    let mut progress = of;
    progress["progress"] = json!({"percent": 66.0, "text": "forged"});
    let mut chunk = progress.clone();
    chunk["attempt"] = job["attempt"].clone();
    for (name, value) in [("seq", json!(1)), ("stream", json!("out")), ("bytes", json!("forged"))] {
        chunk[name] = value;
    }
    chunk["at"] = "2026-01-01T00:00:00Z".into();
    for reported in [
        json!({"job_status": {"started": [started]}}),
        json!({"job_progress": {"progress": [progress]}}),
        json!({"job_log": {"chunks": [chunk]}}),
    ] {
        let answer = stranger.publish(STRANGER, reported.clone());
        assert_eq!(answer.status, 200, "{reported}: {answer:?}");
    }
    for kind in [json!({"succeeded": {"result": "forged"}}), json!("interrupted")] {
        let answer = stranger.publish(STRANGER, outcome(job, kind)).json();
        assert_eq!(answer["receipts"], json!(["stale"]), "{answer}");
    }
    // In the name of another, beside its own.
    let forged = stranger.publish(INCARNATION, outcome(job, json!("interrupted")));
    assert_eq!(forged.status, 403, "{forged:?}");
    let id = job["job"].to_string();
    let shown = machine.json(["show", &id]);
    assert_eq!(shown["status"], "dispatched", "{shown}");
    assert!(!shown.to_string().contains("forged"), "{shown}");
    assert_eq!(machine.orx(["logs", &id]).out, "");
}

#[test]
fn a_call_without_a_workers_secret_is_refused_also_after_a_crash_of_the_server() {
    let mut machine = Machine::new();
    machine.coordinate("127.0.0.1:0");
    let other = Caller::new(&machine);
    let (victim, _inbox, job) = victim(&machine, &machine);
    let secret = victim.secret.clone().expect("a secret");

    strangers_are_refused(&victim, &other, INCARNATION, Some(&job));
    reports_of_a_stranger_are_stale(&machine, &other, &job);
    let worker = &machine.json(["worker", "show", &INCARNATION[..8]])["worker"];
    assert_eq!((&worker["slots"], &worker["state"]), (&json!(1), &json!("running")), "{worker}");

    // Repeating its registration is safe, and the response does not contain the secret again.
    let again = victim.register(INCARNATION, 1);
    assert_eq!((again.status, &again.json()["secret"]), (200, &Value::Null), "{again:?}");

    let address = machine.url().trim_start_matches("http://").to_owned();
    // Writes before an accepted job are on disk with it.
    assert_eq!(machine.orx(["enqueue", "nobody"]).code, 0);
    machine.kill();
    machine.coordinate(&address);
    strangers_are_refused(&victim, &other, INCARNATION, Some(&job));
    let beat = victim.heartbeat(INCARNATION, 2, "running", 1).json();
    if beat["register"] == true {
        assert_eq!(victim.register(INCARNATION, 1).status, 200);
    }
    let reported = victim.publish(INCARNATION, outcome(&job, json!({"succeeded": {"result": 7}})));
    assert_eq!(reported.json()["receipts"], json!(["recorded"]), "{reported:?}");
    let id = job["job"].to_string();
    assert_eq!(machine.orx(["result", &id]).out.trim(), "7");
    assert_eq!(machine.json(["show", &id])["attempt"], 1);

    // The secret is in one response, and nowhere else.
    assert!(!machine.log().contains(&secret), "{}", machine.log());
    for args in [["worker", "list"].as_slice(), &["worker", "show", &INCARNATION[..8]]] {
        let mut all = args.to_vec();
        all.extend(["-o", "json"]);
        let ran = common::result_of(machine.command(all).output().expect("orx runs"));
        assert!(ran.code == 0 && !ran.out.contains(&secret), "{ran:?}");
    }
    // After its deregistration reports in its name are stale.
    assert_eq!(victim.heartbeat(INCARNATION, 3, "stopped", 0).status, 200);
    let after = other.publish(INCARNATION, outcome(&job, json!("interrupted")));
    assert_eq!(after.status, 409, "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_database_know_a_worker_by_the_same_secret() {
    let database = TestDatabase::new().await;
    let (first, second) = two_nodes(&database.url(), "");
    let other = Caller::new(&first);
    let (victim, _inbox, job) = victim(&first, &first);
    strangers_are_refused(&victim.at(&second), &other.at(&second), INCARNATION, Some(&job));
    reports_of_a_stranger_are_stale(&second, &other.at(&second), &job);

    // The worker moves to the other node with the same identity.
    let moved = victim.at(&second);
    let beat = moved.heartbeat(INCARNATION, 2, "running", 1).json();
    assert_eq!(beat["register"], true, "{beat}");
    assert_eq!(moved.register(INCARNATION, 1).status, 200);
    assert_eq!(moved.heartbeat(INCARNATION, 3, "running", 1).status, 200);
    assert!(moved.inbox(INCARNATION).is_ok());
    let reported = moved.publish(INCARNATION, outcome(&job, json!({"succeeded": {"result": 7}})));
    assert_eq!(reported.json()["receipts"], json!(["recorded"]), "{reported:?}");
    strangers_are_refused(&victim, &other, INCARNATION, Some(&job));
}

/// A worker's process, killed at the end.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn running(machine: &Machine, log: &str, mut command: Command) -> Process {
    let log = std::fs::File::create(machine.path(log)).expect("a log");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
    Process(child.expect("the worker starts"))
}

/// The incarnation of the only worker, as views show it.
fn incarnation(machine: &Machine) -> String {
    let list = machine.json(["worker", "list"]);
    list[0]["incarnation"].as_str().unwrap_or_default().to_owned()
}

fn goes_on_whatever_strangers_try(machine: &Machine, job: &[&str], log: &str) {
    until("the worker is there", || !incarnation(machine).is_empty());
    let ran = common::result_of(machine.command(job).output().expect("orx runs"));
    let id = ran.out.trim().to_owned();
    until("it runs", || machine.status(&id) == "running");
    let (one, two) = (Caller::new(machine), Caller::new(machine));
    let of = incarnation(machine);
    strangers_are_refused(&one, &two, &of, None);
    std::fs::write(machine.path("work/go"), "").expect("written");
    let waited = machine.orx(["wait", &id, "--timeout", "60s"]);
    assert_eq!(waited.code, 0, "{waited:?}\n{}", read(machine.path(log)));
    let shown = machine.json(["show", &id]);
    assert_eq!(shown["attempts"].as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(incarnation(machine), of);
}

#[test]
fn the_worker_of_orx_goes_on_whatever_strangers_try() {
    let mut machine = Machine::new();
    machine.coordinate("127.0.0.1:0");
    let _worker = running(&machine, "w.log", machine.command(["daemon", "worker"]));
    let script = "while [ ! -e go ]; do sleep 0.02; done";
    let job = ["run", "--detach", "--", "sh", "-c", script];
    goes_on_whatever_strangers_try(&machine, &job, "w.log");
}

#[test]
fn the_worker_in_python_goes_on_whatever_strangers_try() {
    let mut machine = Machine::new();
    machine.coordinate("127.0.0.1:0");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/worker.py");
    let mut python = Command::new("python3");
    python.arg(script).args(["--url", &machine.url(), "--token-file"]);
    python.arg(machine.state().join("token"));
    let _worker = running(&machine, "python.log", python);
    let job = ["enqueue", "python.count", "to:=20", "-o", "id"];
    goes_on_whatever_strangers_try(&machine, &job, "python.log");
}

//! Commands against the nodes of a cluster, which record what they see in its history.

use std::io::Read;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use orx_model::wire::JobDetail;
use orx_testkit::history::Fact;

use super::{Cluster, pause};
use crate::common::{CommandResult, begin, read, result_of, signal, until};

/// A client is killed after this time; its request may have been carried out.
const ANSWER: Duration = Duration::from_secs(4);

impl Cluster {
    pub(crate) fn client(&self, node: usize, args: &[&str]) -> Command {
        let mut command = self.base();
        command
            .args(args)
            .env("ORX_URL", self.url(node))
            .env("ORX_TOKEN", read(self.path("c1/token")).trim())
            .env("ORX_STATE", self.path("client"));
        command
    }

    /// Runs a command against a node; the code is -1 where it did not end in time.
    pub(crate) fn ask(&self, node: usize, args: &[&str]) -> CommandResult {
        let mut child = begin(&mut self.client(node, args));
        // A list exceeds the buffer of a pipe, so this reads while the command runs.
        let (pid, over) = (child.id(), Instant::now() + ANSWER);
        let done = std::sync::atomic::AtomicBool::new(false);
        let mut killed = false;
        let output = std::thread::scope(|scope| {
            let done = &done;
            let watch = scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    if Instant::now() > over {
                        signal(pid, "KILL");
                        return true;
                    }
                    pause(Duration::from_millis(5));
                }
                false
            });
            let mut output = (Vec::new(), Vec::new());
            if let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) {
                out.read_to_end(&mut output.0).expect("read");
                err.read_to_end(&mut output.1).expect("read");
            }
            let status = child.wait().expect("ended");
            done.store(true, Ordering::Release);

            killed = watch.join().expect("the watch");
            std::process::Output { status, stdout: output.0, stderr: output.1 }
        });
        let mut answer = result_of(output);
        if killed {
            answer.code = -1;
        }
        answer
    }

    pub(crate) fn json(&self, args: &[&str]) -> Option<serde_json::Value> {
        (0..self.nodes()).find_map(|node| {
            let mut all = args.to_vec();
            all.extend(["-o", "json"]);
            serde_json::from_str(&self.ask(node, &all).out).ok()
        })
    }

    pub(crate) fn show(&self, job: &str) -> JobDetail {
        let mut found = None;
        until(&format!("job {job} is shown"), || {
            found = (0..self.nodes()).find_map(|node| {
                let ran = self.ask(node, &["show", job, "-o", "json"]);
                serde_json::from_str(&ran.out).ok()
            });
            found.is_some()
        });
        found.expect("a job")
    }

    pub(crate) fn status(&self, job: &str) -> String {
        self.show(job).job.state.status.to_string()
    }

    pub(crate) fn live_workers(&self) -> usize {
        let list = self.json(&["worker", "list"]);
        let list = list.and_then(|list| list.as_array().cloned()).unwrap_or_default();
        list.iter().filter(|worker| worker["live"] == true).count()
    }

    /// Every job with its attempts, for the final check.
    pub(crate) fn view(&self) -> Vec<JobDetail> {
        let mut ids = Vec::new();
        until("the jobs are listed", || {
            let list = self.ask(0, &["jobs", "--limit", "100000", "-o", "id"]);
            ids = list.out.split_whitespace().map(str::to_owned).collect();
            list.code == 0
        });
        ids.iter().map(|id| self.show(id)).collect()
    }

    /// Records the status of every job.
    pub(crate) fn look(&self) {
        let Some(list) = self.json(&["jobs", "--limit", "100000"]) else { return };
        for job in list.as_array().into_iter().flatten() {
            let observed = serde_json::json!({"observed": {
                "job": job["id"], "status": job["status"], "attempt": job["attempt"]
            }});
            self.history.add(serde_json::from_value(observed).expect("a fact"));
        }
    }

    /// The leader, as one node reports it.
    pub(crate) fn leader(&self, node: usize) -> Option<(String, u64)> {
        let ran = self.ask(node, &["cluster", "status", "-o", "json"]);
        let status: serde_json::Value = serde_json::from_str(&ran.out).ok()?;
        let nodes = status["nodes"].as_array()?;
        let leads = nodes.iter().find(|node| node["node"] == status["leader"])?;
        Some((leads["name"].as_str()?.to_owned(), status["epoch"].as_u64()?))
    }

    pub(crate) fn note_leader(&self, node: usize) {
        if let Some((who, epoch)) = self.leader(node) {
            self.history.add(Fact::Leads { who, epoch });
        }
    }

    /// Enqueues a job that notes when it starts and ends. Returns its id where it was accepted.
    pub(crate) fn enqueue(
        &self,
        node: usize,
        key: &str,
        seconds: &str,
        code: &str,
    ) -> Option<String> {
        let (time, code) = (format!("time={seconds}"), format!("code={code}"));
        let args = ["enqueue", "mark", &time, &code, "--key", key, "-o", "id"];
        self.accepted(node, key, &args)
    }

    /// The same with a command as the job. Instead of seconds it takes a file: the job ends once the file
    /// exists.
    pub(crate) fn detach(
        &self,
        node: usize,
        key: &str,
        seconds: &str,
        how: &str,
    ) -> Option<String> {
        let script = self.path("job.sh");
        let script = script.to_str().expect("a path");
        let run = ["run", "--no-start", "--detach", "--key", key];
        let args: Vec<&str> =
            run.into_iter().chain(["--", "sh", script, seconds, "0", how]).collect();
        self.accepted(node, key, &args)
    }

    fn accepted(&self, node: usize, key: &str, args: &[&str]) -> Option<String> {
        let answer = self.ask(node, args);
        let key = key.to_owned();
        let job = answer.out.trim().to_owned();
        match answer.code {
            0 => {
                let id = job.parse().unwrap_or_else(|error| panic!("{error}: {answer:?}"));
                self.history.add(Fact::Accepted { key, job: id });
                return Some(job);
            }
            2..=5 => self.history.add(Fact::Refused { key }),
            _ => self.history.add(Fact::Unanswered { key }),
        }
        None
    }

    pub(crate) fn cancel(&self, node: usize, job: &str) {
        let answer = self.ask(node, &["cancel", job, "-o", "jsonl"]);
        let Ok(answer) = serde_json::from_str::<serde_json::Value>(&answer.out) else { return };
        let id = job.parse().expect("an id");
        match answer["change"].as_str() {
            Some("cancelled") => self.history.add(Fact::Cancelled { job: id }),
            Some("cancelling") => self.history.add(Fact::Cancelling { job: id }),
            _ => {}
        }
    }

    /// Whether every job has ended.
    pub(crate) fn all_jobs_ended(&self) -> bool {
        let Some(status) = self.json(&["cluster", "status"]) else { return false };
        let counts = &status["counts"];
        ["created", "pending", "scheduled", "dispatched", "running"]
            .iter()
            .all(|status| counts.get(status).is_none_or(|count| *count == 0))
    }
}

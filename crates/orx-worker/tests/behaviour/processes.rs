//! Processes that these tests start, and this test binary as one of them.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use orx_model::message::Dispatch;
use orx_worker::ctx;
use orx_worker::process::signal_group;
use rustix::process::Signal;

use crate::coordinator::command;

/// Names the role of this binary in a process that does not test.
const ROLE: &str = "ORX_TEST_ROLE";
const REQUESTS: &str = "ORX_TEST_REQUESTS";
const EXIT: &str = "ORX_TEST_EXIT";
const ENTRY: &str = "processes::another_role_of_this_binary_if_the_environment_names_one";

/// Acts only in a process that was started by [`as_role`].
#[test]
fn another_role_of_this_binary_if_the_environment_names_one() {
    match std::env::var(ROLE).as_deref() {
        Ok("client") => act_as_client(),
        Ok("worker") => crate::death::worker(),
        Ok("guard") => {
            let worker = std::env::args().next_back().expect("an incarnation");
            orx_worker::guard::run(std::io::stdin(), &worker);
        }
        Ok(other) => panic!("no such role: {other}"),
        Err(_) => {}
    }
}

/// The command line of a process with that role. Further arguments are the role's.
pub(crate) fn as_role(role: &str) -> Vec<String> {
    let binary = std::env::current_exe().expect("this binary");
    let binary = binary.to_str().expect("a plain path").to_owned();
    let words = ["env".to_owned(), format!("{ROLE}={role}"), binary];
    let options = ["--exact", "--nocapture", ENTRY].map(str::to_owned);
    words.into_iter().chain(options).collect()
}

/// A job that sends these requests through the side channel, prints the answers and exits with `exit`.
pub(crate) fn client(requests: &[ctx::CtxRequest], exit: i32) -> Dispatch {
    let words = as_role("client");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut job = command(&words);
    if let Some(command) = &mut job.command {
        let requests = serde_json::to_string(requests).expect("JSON");
        command.env =
            BTreeMap::from([(REQUESTS.to_owned(), requests), (EXIT.to_owned(), exit.to_string())]);
    }
    job
}

fn act_as_client() {
    let requests = std::env::var(REQUESTS).expect("requests");
    let requests: Vec<ctx::CtxRequest> = serde_json::from_str(&requests).expect("JSON");
    for request in requests {
        let answer = match ctx::send(request) {
            Ok(()) => "taken".to_owned(),
            Err(error) => error.to_string(),
        };
        writeln!(std::io::stdout(), "answer: {answer}").expect("standard output");
    }
    let exit = std::env::var(EXIT).expect("an exit code");
    std::process::exit(exit.parse().expect("a number"));
}

/// Also for a process that has ended and whose status is not collected yet.
pub(crate) fn is_gone(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Checks repeatedly, until a deadline.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not hold");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn all_end(pids: &[u32]) {
    eventually("the end of all processes", || pids.iter().all(|pid| is_gone(*pid)));
}

/// Kills a process group that a test does not stop on purpose.
pub(crate) struct EndsWithTest(pub(crate) u32);

impl Drop for EndsWithTest {
    fn drop(&mut self) {
        signal_group(self.0, Signal::KILL);
    }
}

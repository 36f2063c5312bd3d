//! `orx top` in a real terminal: tmux shows what a person would see.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Machine, orx, result_of, until};
use orx_model::Timestamp;
use orx_model::time::UtcClock;
use orx_top::{
    Answer, Failure, FailureKind, Keymap, LiveNews, LogNews, LogRequest, Request, ServerCommands,
    Theme, TopClock, TopOptions, Topic,
};
use tokio::sync::mpsc::Sender;

/// A terminal of 120 columns and 36 lines with a shell, on a machine.
struct Terminal<'a> {
    machine: &'a Machine,
    socket: PathBuf,
}

impl<'a> Terminal<'a> {
    fn open(machine: &'a Machine) -> Self {
        let it = Self { machine, socket: machine.path("tmux") };
        let folder = machine.path("work");
        let folder = folder.to_str().expect("text");
        let size = ["-x", "120", "-y", "36"];
        let mut open = vec!["-f", "/dev/null", "new-session", "-d", "-c", folder];
        open.extend(size);
        open.push("sh");
        it.tmux(&open);
        it.types("PS1='ready> '; stty -g > before; clear\n");
        it.shows("ready>");
        it
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(args).env_clear();
        let template = self.machine.command([""; 0]);
        for (name, value) in template.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.env("TERM", "xterm-256color").env("LANG", "C.UTF-8").env("SHELL", "/bin/sh");
        let ran = result_of(command.output().expect("tmux runs: install tmux"));
        assert_eq!(ran.code, 0, "{args:?}: {}", ran.err);
        ran.out
    }

    fn keys(&self, keys: &[&str]) {
        let mut args = vec!["send-keys"];
        args.extend(keys);
        self.tmux(&args);
    }

    fn types(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    fn top(&self, args: &str) {
        self.types(&format!("{} top {args}\n", orx().display()));
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen has this text.
    fn shows(&self, text: &str) {
        let mut last = String::new();
        let there = || {
            last = self.screen();
            last.contains(text)
        };
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| until(text, there)));
        assert!(waited.is_ok(), "the screen never showed `{text}`:\n{}", self.screen());
    }

    /// Waits until the terminal is as it was before: no alternate screen, a cursor, no mouse mode, and
    /// lines that are edited and shown as they are typed.
    fn is_given_back(&self) {
        let modes = "#{alternate_on} #{cursor_flag} #{mouse_any_flag}";
        until("the terminal is given back", || {
            self.tmux(&["display-message", "-p", modes]).trim() == "0 1 0"
        });
        self.types("stty -g | cmp - before && echo sane again\n");
        self.shows("sane again");
        self.types("clear\n");
    }

    /// The last process of the pane: tmux may put a shell of its own before the shell.
    fn pid_of_top(&self) -> u32 {
        let panes = self.tmux(&["list-panes", "-F", "#{pane_pid}"]);
        let mut last: u32 = panes.trim().parse().expect("a process");
        while let Ok(child) =
            common::read(format!("/proc/{last}/task/{last}/children")).trim().parse()
        {
            last = child;
        }
        last
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

fn talker(machine: &Machine, script: &str) -> String {
    let ran = machine.orx(["run", "--detach", "-o", "id", "--", "sh", "-c", script]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.out.trim().to_owned()
}

#[test]
fn a_job_is_found_opened_followed_and_cancelled_and_the_terminal_is_given_back() {
    let machine = Machine::with_server();
    let job = talker(&machine, "i=0; while :; do i=$((i+1)); echo step $i; sleep 0.2; done");
    machine.orx(["run", "--", "true"]);
    let terminal = Terminal::open(&machine);
    terminal.top("");
    terminal.shows("live");
    terminal.keys(&["2"]);
    terminal.shows("2 found");
    terminal.types("/status:running");
    terminal.keys(&["Enter"]);
    terminal.shows("1 found");
    terminal.keys(&["Enter"]);
    terminal.shows(&format!("Jobs > {job}"));
    terminal.shows("step 12");
    terminal.keys(&["c"]);
    terminal.shows("Cancel on local");
    until("the job is cancelled", || {
        // A key within 300 ms of the question is not meant for it.
        terminal.keys(&["y"]);
        machine.status(&job) == "cancelled"
    });
    terminal.shows("cancelled");
    terminal.keys(&["Escape"]);
    terminal.keys(&["!"]);
    terminal.shows(&format!("orx cancel {job}"));
    terminal.keys(&["Escape"]);
    terminal.keys(&["q"]);
    terminal.is_given_back();
}

#[test]
fn a_lost_server_is_shown_and_the_next_one_is_found() {
    let machine = Machine::with_server();
    talker(&machine, "true");
    let pid = machine.address_pid().expect("a server");
    let terminal = Terminal::open(&machine);
    terminal.top("--screen jobs");
    terminal.shows("live");
    common::signal(pid, "KILL");
    terminal.shows("offline, retry in");
    terminal.shows("STALE");
    assert!(terminal.screen().contains("1 found"), "what was there stays");
    let mut next = machine.command(["daemon", "server", "--listen", "127.0.0.1:0"]);
    let mut next = next.stderr(std::process::Stdio::null()).spawn().expect("a server");
    terminal.shows("live");
    common::signal(next.id(), "KILL");
    next.wait().expect("ended");
}

#[test]
fn whatever_a_job_prints_stays_in_its_box() {
    let machine = Machine::with_server();
    let hostile = r"printf '\033[2J\033[H\033]0;taken over\007\033[?1049l\033[?25h\033[?1000h\033c\n'
        printf 'a\000b\302\2332Jc\377d\n'; printf '\342\200\256reversed\n'
        head -c 20000 /dev/zero | tr '\0' x; echo; echo the end; sleep 60";
    let job = talker(&machine, hostile);
    let terminal = Terminal::open(&machine);
    terminal.top(&format!("--filter id={job}"));
    terminal.shows("live");
    terminal.shows("1 found");
    terminal.keys(&["Enter"]);
    terminal.shows("the end");
    let screen = terminal.screen();
    assert!(screen.contains("Jobs >") && screen.contains("? more"), "{screen}");
    let state = terminal.tmux(&[
        "display-message",
        "-p",
        "#{alternate_on} #{mouse_any_flag} #{pane_title}",
    ]);
    assert!(state.starts_with("1 0 ") && !state.contains("taken over"), "{state}");
    terminal.keys(&["q"]);
    terminal.keys(&["q"]);
    terminal.is_given_back();
}

#[test]
fn a_signal_ends_it_with_its_code_and_a_stop_lends_the_terminal() {
    let machine = Machine::with_server();
    for (signal, code) in [("TERM", "143"), ("HUP", "129")] {
        let terminal = Terminal::open(&machine);
        terminal.top("--mouse");
        terminal.shows("live");
        common::signal(terminal.pid_of_top(), signal);
        terminal.shows("ready>");
        terminal.types("echo code $?\n");
        terminal.shows(&format!("code {code}"));
        terminal.is_given_back();
        drop(terminal);
        let _ = std::fs::remove_file(machine.path("tmux"));
    }
    let terminal = Terminal::open(&machine);
    terminal.types("set -m\n");
    terminal.top("");
    terminal.shows("live");
    terminal.keys(&["C-z"]);
    terminal.is_given_back();
    terminal.types("fg\n");
    terminal.shows("live");
    common::signal(terminal.pid_of_top(), "TSTP");
    terminal.is_given_back();
    terminal.types("fg\n");
    terminal.shows("live");
    terminal.keys(&["q"]);
    terminal.is_given_back();
}

/// Set where the dashboard below runs, to the part of it that panics.
const PANICS: &str = "ORX_TEST_TOP_PANICS";

/// Requests of the dashboard that panics.
struct Panics(bool);

#[async_trait::async_trait]
impl ServerCommands for Panics {
    async fn call(&self, _: &Request) -> Result<Answer, Failure> {
        assert!(!self.0, "a forced panic in a task");
        Err(Failure::new(FailureKind::Link, "there is no server here"))
    }

    async fn follow(&self, _: LogRequest, _: Sender<LogNews>) {}

    async fn watch(&self, _: Topic, _: Sender<LiveNews>) {}
}

/// The time, until the terminal shows the dashboard.
fn time_that_panics() -> Timestamp {
    static READ: AtomicU32 = AtomicU32::new(0);
    assert!(READ.fetch_add(1, Ordering::Relaxed) < 5, "a forced panic in the loop");
    Timestamp::default()
}

/// No test, but the dashboard that the next one looks at: the product itself has no way to panic on request.
#[test]
fn a_dashboard_that_panics() {
    let Ok(part) = std::env::var(PANICS) else { return };
    let options = TopOptions {
        context: "panics".to_owned(),
        color: None,
        contexts: None,
        read_only: false,
        protected: false,
        ascii: false,
        theme: Theme::Ansi,
        mouse: true,
        screen: None,
        filter: String::new(),
        replay: false,
        by: None,
        keys: Keymap::default(),
        zone: Box::new(UtcClock),
        pager: Vec::new(),
        clipboard: Vec::new(),
        settings: Vec::new(),
        state: None,
        folder: PathBuf::new(),
        commands: BTreeMap::new(),
    };
    let wall = if part == "loop" { time_that_panics } else { Timestamp::default };
    let clock = TopClock { wall, chance: || 0.5 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let ended = runtime.block_on(orx_top::run(options, Arc::new(Panics(part == "task")), clock));
    ended.expect("ended in good order");
}

#[test]
fn a_panic_gives_the_terminal_back_and_ends_the_dashboard() {
    let machine = Machine::new();
    let program = std::env::current_exe().expect("a path");
    for (part, text) in
        [("loop", "a forced panic in the loop"), ("task", "a forced panic in a task")]
    {
        let terminal = Terminal::open(&machine);
        let run = format!("{} --exact a_dashboard_that_panics --nocapture", program.display());
        terminal.types(&format!("{PANICS}={part} {run}; echo code $?\n"));
        terminal.shows("code 101");
        let screen = terminal.screen();
        assert!(screen.contains(text), "{screen}");
        terminal.is_given_back();
        drop(terminal);
        let _ = std::fs::remove_file(machine.path("tmux"));
    }
}

#[test]
fn it_is_small_and_large_at_once_and_back() {
    let machine = Machine::with_server();
    talker(&machine, "true");
    let terminal = Terminal::open(&machine);
    terminal.top("--screen jobs");
    terminal.shows("1 found");
    terminal.tmux(&["resize-window", "-x", "40", "-y", "10"]);
    terminal.shows("orx top Jobs");
    terminal.tmux(&["resize-window", "-x", "120", "-y", "36"]);
    terminal.shows("1 found");
    terminal.keys(&["q"]);
    terminal.is_given_back();
}

#[test]
fn without_a_terminal_it_names_once_and_prints_no_control_code() {
    let machine = Machine::with_server();
    talker(&machine, "true");
    let ran = machine.orx(["top"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{ran:?}");
    assert!(ran.err.contains("`orx top --once`") && !ran.err.contains('\u{1b}'), "{ran:?}");
    let ran = machine.orx(["top", "--once"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("QUEUE") && !ran.out.contains('\u{1b}'), "{ran:?}");
    let report = machine.json(["top", "--once"]);
    assert_eq!(report["cluster"]["workers_live"], 1, "{report}");
}

#[test]
fn a_recorded_session_is_shown_without_its_server() {
    let mut machine = Machine::with_server();
    let job = talker(&machine, "echo recorded output");
    let terminal = Terminal::open(&machine);
    terminal.top("--record session.jsonl --screen jobs");
    terminal.shows("1 found");
    terminal.keys(&["Enter"]);
    terminal.shows("recorded output");
    terminal.keys(&["q"]);
    terminal.keys(&["q"]);
    terminal.is_given_back();
    drop(terminal);
    let _ = std::fs::remove_file(machine.path("tmux"));
    machine.kill();
    let terminal = Terminal::open(&machine);
    terminal.top("--replay session.jsonl --screen jobs");
    terminal.shows("REPLAY");
    terminal.shows("1 found");
    terminal.keys(&["Enter"]);
    terminal.shows("recorded output");
    terminal.keys(&["c"]);
    let screen = terminal.screen();
    assert!(!screen.contains("Cancel on") && screen.contains(&job), "{screen}");
    terminal.keys(&["q"]);
    terminal.keys(&["q"]);
    terminal.is_given_back();
}

#[test]
fn the_logs_of_all_jobs_lead_to_the_job_and_its_events_and_the_next_session_goes_on_there() {
    let machine = Machine::with_server();
    let one = talker(&machine, "echo first of one; sleep 60");
    let two = talker(&machine, "echo first of two >&2; exit 3");
    until("it has failed", || machine.status(&two) == "failed");
    assert_eq!(machine.orx(["retry", &two, "--reason", "once more"]).code, 0);
    let terminal = Terminal::open(&machine);
    terminal.top("--screen logs");
    terminal.shows("live");
    terminal.shows("first of one");
    terminal.shows("first of two");
    let line = terminal.screen();
    let line = line.lines().find(|line| line.contains("first of two")).expect("a line");
    assert!(line.contains(&format!("{two}.1")) && line.contains("err"), "{line}");
    let three = talker(&machine, "echo new output");
    terminal.shows("new output");
    terminal.types("/of one");
    terminal.keys(&["Enter"]);
    terminal.shows("1 lines match");
    terminal.keys(&["Enter"]);
    terminal.shows(&format!("Logs > {one}"));
    terminal.keys(&["Escape"]);
    terminal.types(&format!(":show {two}"));
    terminal.keys(&["Enter"]);
    terminal.shows(&format!("Logs > {two}"));
    terminal.keys(&["]", "]", "]", "]"]);
    terminal.shows("attempt 1 failed");
    terminal.shows("once more");
    terminal.keys(&["q"]);
    terminal.types(&format!(":logs id={three}"));
    terminal.keys(&["Enter"]);
    terminal.shows(&format!("Logs  id={three}"));
    terminal.shows("1 line of 1 job");
    terminal.keys(&["q"]);
    terminal.is_given_back();
    terminal.top("");
    terminal.shows("[8 Logs]");
    terminal.shows("new output");
    terminal.types(":");
    terminal.keys(&["Up"]);
    terminal.shows(&format!(":logs id={three}"));
    terminal.keys(&["Escape"]);
    terminal.keys(&["q"]);
    terminal.is_given_back();
    let log = common::read(machine.path("home/.local/state/orx/top.log"));
    assert!(log.lines().any(|line| line.ends_with("local  live")), "{log}");
}

#[test]
fn the_sample_recording_shows_what_went_wrong_without_a_server() {
    let machine = Machine::new();
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/eventful-hour.jsonl");
    let terminal = Terminal::open(&machine);
    terminal.top(&format!("--replay {sample} --from 1h"));
    terminal.shows("REPLAY");
    terminal.keys(&["2"]);
    terminal.shows("✗ failed");
    terminal.keys(&["4"]);
    terminal.shows("drained");
    terminal.keys(&["5"]);
    terminal.shows("nightly");
    terminal.keys(&["Enter"]);
    terminal.shows("  missed");
    terminal.keys(&["6"]);
    terminal.shows("disk quota exceeded");
    terminal.keys(&["8"]);
    terminal.shows("reading ");
    terminal.keys(&["9"]);
    terminal.shows("worker lost");
    terminal.keys(&["q"]);
    terminal.is_given_back();
    assert!(!machine.path("home/.local/state/orx").exists(), "a recording leaves nothing behind");
}

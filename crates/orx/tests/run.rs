//! `orx run`: a command as a job, and `orx run` behaves as that command.

mod common;

use std::process::Stdio;

use common::{Machine, begin, ended, is_running, orx, read, result_of, signal, until};

#[test]
fn the_first_run_on_a_bare_machine_starts_a_server_and_prints_hello() {
    let machine = Machine::new();
    let ran = machine.orx(["run", "--", "echo", "hello"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "hello\n", ""));
    let folder = std::fs::metadata(machine.state()).expect("a state folder");
    let token = std::fs::metadata(machine.state().join("token")).expect("a token");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(folder.permissions().mode() & 0o777, 0o700);
    assert_eq!(token.permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_idle_server_ends_by_itself_and_the_next_run_starts_another() {
    let mut machine = Machine::new();
    // Long enough to be observed while it runs.
    machine.start(&["--exit-when-idle", "3s"]);
    let first = machine.address_pid().expect("a server");
    assert_eq!(machine.orx(["run", "--", "true"]).code, 0);
    until("the server ends", || !is_running(first));
    assert_eq!(machine.orx(["run", "--", "echo", "again"]).out, "again\n");
    assert_eq!(machine.status("1"), "completed");
}

#[test]
fn many_at_once_on_a_bare_machine_share_one_server() {
    let machine = Machine::new();
    let start = |n: usize| machine.begin(["run", "--", "echo", &n.to_string()]);
    let children: Vec<_> = (0..6).map(start).collect();
    for (n, child) in children.into_iter().enumerate() {
        let ran = ended(child);
        assert_eq!((ran.code, ran.out), (0, format!("{n}\n")), "{}", ran.err);
    }
    assert_eq!(machine.json(["jobs"]).as_array().map(Vec::len), Some(6));
}

#[test]
fn without_a_server_and_with_no_start_a_run_is_an_error() {
    let machine = Machine::new();
    let ran = machine.orx(["run", "--no-start", "--", "true"]);
    assert_eq!(ran.code, 69, "{ran:?}");
    assert!(ran.err.contains("orx daemon server"), "{ran:?}");
    assert!(!machine.state().join("orx.db").exists());
}

#[test]
fn an_address_file_of_a_killed_server_counts_as_stale() {
    let mut machine = Machine::with_server();
    let stale = read(machine.state().join("server.json"));
    machine.kill();
    assert_eq!(read(machine.state().join("server.json")), stale);
    assert_eq!(machine.orx(["--no-start", "jobs"]).code, 69);
    // No server can come back here, so waiting would hang.
    let began = std::time::Instant::now();
    for args in [["logs", "1"], ["wait", "1"]] {
        let ran = machine.orx(["--no-start", args[0], args[1]]);
        assert!(ran.code == 69 && !ran.err.contains("reconnecting"), "{args:?}: {ran:?}");
        let nowhere = Machine::new().orx(args);
        assert!(nowhere.code == 69 && !nowhere.err.contains("reconnecting"), "{nowhere:?}");
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(30));
    assert_eq!(machine.orx(["run", "--", "echo", "x"]).out, "x\n");
}

#[test]
fn its_end_is_the_commands_end() {
    let machine = Machine::with_server();
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("exit 75", 75), ("kill -9 $$", 137)] {
        assert_eq!(machine.orx(["run", "--", "sh", "-c", script]).code, code, "{script}");
    }
    let missing = machine.orx(["run", "--", "./nothing-here"]);
    assert_eq!(missing.code, 127, "{missing:?}");
    std::fs::write(machine.path("work/plain"), "no program").expect("written");
    assert_eq!(machine.orx(["run", "--", "./plain"]).code, 126);
    let nowhere = machine.orx(["run", "--cwd", "/nowhere", "--", "true"]);
    assert_eq!(nowhere.code, 126, "{nowhere:?}");
    assert!(nowhere.err.contains("/nowhere"), "{nowhere:?}");
}

#[test]
fn a_command_that_reports_a_failure_is_no_success_for_its_caller() {
    let machine = Machine::with_server();
    let program = orx().display().to_string();
    let ran = machine.orx(["run", "--", "sh", "-c", "\"$0\" ctx fail 'no good'", &program]);
    assert!(ran.code == 1 && ran.err.contains("no good"), "{ran:?}");
    assert_eq!(machine.orx(["wait", "@last"]).code, 1);
}

#[test]
fn both_streams_come_apart_and_byte_for_byte() {
    let machine = Machine::with_server();
    let script = r"printf 'a\000\377\033[2Jb'; printf 'err\001' >&2";
    let ran = machine.orx(["run", "--", "sh", "-c", script]);
    assert_eq!(ran.bytes, b"a\x00\xff\x1b[2Jb");
    assert_eq!(ran.err.as_bytes(), b"err\x01");
    let logs = machine.orx(["logs", "@last", "--stream", "out"]);
    assert_eq!(logs.bytes, ran.bytes);
}

#[test]
fn it_runs_where_the_caller_stands_with_nothing_of_the_callers_environment() {
    let machine = Machine::with_server();
    let mut command = machine.command(["run", "--env", "A", "--env", "B=two", "--", "sh", "-c"]);
    let script = r#"pwd; echo "$A-$B-$C-$ORX_JOB_ID-$ORX_ATTEMPT""#;
    let ran =
        result_of(command.arg(script).env("A", "one").env("C", "no").output().expect("orx runs"));
    let work = machine.path("work").canonicalize().expect("a folder");
    assert_eq!(ran.out, format!("{}\none-two--1-1\n", work.display()));
}

#[test]
fn standard_input_is_passed_on_only_when_asked_for() {
    let machine = Machine::with_server();
    assert_eq!(machine.orx_in(["run", "--stdin", "--", "cat"], b"in\0put").bytes, b"in\0put");
    assert_eq!(machine.orx_in(["run", "--", "cat"], b"input").out, "");
}

/// Whether a process has a handler for this signal.
fn catches(pid: u32, signal: u32) -> bool {
    let status = read(format!("/proc/{pid}/status"));
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = caught.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

#[test]
fn a_signal_leaves_the_job_running_or_cancels_it_depending_on_the_flag() {
    let machine = Machine::with_server();
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        for (more, code, status) in [("detach", code, "running"), ("cancel", 6, "cancelled")] {
            let job = ["sh", "-c", "echo up; sleep 60"];
            let mut child = machine.begin(["run", "--on-interrupt", more, "--"].iter().chain(&job));
            let mut out = child.stdout.take().expect("a pipe");
            let mut first = [0; 3];
            std::io::Read::read_exact(&mut out, &mut first).expect("the job runs");
            signal(child.id(), name);
            let ran = ended(child);
            assert_eq!(ran.code, code, "{name} {more}: {ran:?}");
            assert_eq!(machine.status("@last"), status, "{name} {more}");
            let id = machine.json(["show", "@last"])["id"].to_string();
            let resume = format!("`orx logs -f {id}`");
            let cancel = format!("`orx cancel {id}`");
            let shows_both = ran.err.contains(&resume) && ran.err.contains(&cancel);
            assert_eq!(shows_both, more == "detach", "{ran:?}");
            assert_eq!(machine.orx(["cancel", "--status", "running", "--yes"]).code, 0);
        }
    }
}

#[test]
fn a_job_whose_output_is_not_read_any_more_ends_unless_it_is_detached() {
    let machine = Machine::with_server();
    for to in ["1", "2"] {
        let script = format!("\"$0\" run -- sh -c 'exec yes >&{to}' 2>&1 | head -1");
        let mut sh = std::process::Command::new("sh");
        sh.args(["-c", &script, &orx().display().to_string()]).env_clear();
        for (name, value) in machine.command([""; 0]).get_envs() {
            sh.env(name, value.unwrap_or_default());
        }
        let ran = result_of(sh.current_dir(machine.path("work")).output().expect("sh runs"));
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "y\n", ""), "{ran:?}");
        until("the job ends", || machine.status("@last") == "cancelled");
    }
    let id = machine.orx(["run", "--detach", "--", "sleep", "60"]).out;
    until("it runs", || machine.status(id.trim()) == "running");
    // A command that only watches a job does not end it.
    let mut follows = machine.command(["logs", "-f", id.trim()]);
    let mut follows = follows.stdout(Stdio::null()).spawn().expect("orx runs");
    until("it listens for signals", || catches(follows.id(), 15));
    signal(follows.id(), "TERM");
    assert_eq!(follows.wait().expect("ended").code(), Some(143));
    assert_eq!(machine.status(id.trim()), "running");
    assert_eq!(machine.orx(["cancel", id.trim()]).code, 0);
}

#[test]
fn a_signal_that_its_caller_ignores_does_not_end_it() {
    let machine = Machine::with_server();
    let script = "trap '' HUP INT; exec \"$0\" run -- sh -c 'echo up; \
                  until test -e go; do sleep 0.05; done; echo done'";
    let mut sh = std::process::Command::new("sh");
    sh.args(["-c", script, &orx().display().to_string()]).env_clear();
    for (name, value) in machine.command([""; 0]).get_envs() {
        sh.env(name, value.unwrap_or_default());
    }
    sh.current_dir(machine.path("work")).stdin(Stdio::null());
    let mut child = begin(&mut sh);
    let mut out = child.stdout.take().expect("a pipe");
    std::io::Read::read_exact(&mut out, &mut [0; 3]).expect("the job runs");
    for name in ["HUP", "INT"] {
        signal(child.id(), name);
    }
    std::fs::write(machine.path("work/go"), "").expect("written");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut out, &mut rest).expect("read");
    assert_eq!((child.wait().expect("ended").code(), rest.as_str()), (Some(0), "done\n"));
}

#[test]
fn ctrl_c_while_waiting_prints_how_to_continue() {
    let machine = Machine::with_server();
    assert_eq!(machine.orx(["enqueue", "nobody", "-o", "id"]).out, "1\n");
    let waits: [(&[&str], &str); 4] = [
        (&["enqueue", "nobody", "--wait"], "orx wait 2"),
        (&["enqueue", "nobody", "--follow"], "orx logs -f 3"),
        (&["wait", "1"], "orx wait 1"),
        (&["logs", "-f", "1"], "orx logs -f 1"),
    ];
    let cancels = |resume: &str| format!("orx cancel {}", resume.rsplit(' ').next().unwrap_or(""));
    for (args, resume) in waits {
        let child = machine.begin(args);
        let pid = child.id();
        // Its handler is installed before it sends anything to the server.
        until("it listens for Ctrl-C", || catches(pid, 2));
        if args[0] == "enqueue" {
            let id = resume.rsplit(' ').next().unwrap_or_default();
            until("it is accepted", || machine.orx(["show", id]).code == 0);
        }
        signal(pid, "INT");
        let ran = ended(child);
        let cancels = cancels(resume);
        let shows_both = ran.err.contains(resume) && ran.err.contains(&cancels);
        assert!(ran.code == 130 && shows_both, "{args:?}: {ran:?}");
    }
}

#[test]
fn time_limits_end_the_wait_or_the_job() {
    let machine = Machine::with_server();
    assert_eq!(machine.orx(["run", "--timeout", "200ms", "--", "sleep", "60"]).code, 124);
    // The waiting command ends, whether or not the job has started by then.
    until("it goes on", || machine.status("@last") == "running");
    assert_eq!(machine.orx(["cancel", "@last"]).code, 0);
    assert_eq!(machine.orx(["wait", "@last"]).code, 6);
    let over = machine.orx(["run", "--job-timeout", "200ms", "--", "sleep", "60"]);
    assert_eq!(over.code, 124, "{over:?}");
    assert_eq!(machine.status("@last"), "timed_out");
}

#[test]
fn a_time_limit_ends_a_command_that_then_ends_well_as_timed_out() {
    let machine = Machine::with_server();
    let script = "trap 'exit 0' TERM; sleep 5 & wait";
    let over = machine.orx(["run", "--job-timeout", "1s", "--", "sh", "-c", script]);
    assert!(over.code == 124 && over.err.contains("ran out of time"), "{over:?}");
    let job = machine.json(["show", "@last"]);
    assert_eq!((&job["status"], &job["dead"]), (&"timed_out".into(), &"exhausted".into()));
    assert_eq!(machine.orx(["wait", "@last"]).code, 124);
}

#[test]
fn processes_of_a_job_end_with_a_killed_server() {
    let mut machine = Machine::with_server();
    // One child in its group, one that left it for a session of its own.
    let script = "sleep 300 & echo $! > one; setsid sleep 300 & echo $! > two; echo up; wait";
    let mut child = machine.begin(["run", "--on-lost", "fail", "--", "sh", "-c", script]);
    let pid = |name: &str| read(machine.path("work").join(name)).trim().parse::<u32>().ok();
    until("the job runs", || pid("one").is_some() && pid("two").is_some());
    let (one, two) = (pid("one").expect("a pid"), pid("two").expect("a pid"));
    until("the sleeper has left the group", || is_running(one) && is_running(two));
    machine.kill();
    until("its children are gone", || !is_running(one) && !is_running(two));
    // The waiting command finds the restarted server.
    machine.start(&[]);
    assert_eq!(child.wait().expect("ended").code(), Some(125));
    assert_eq!(machine.status("1"), "failed");
}

#[test]
fn the_first_thing_that_a_server_starts_dies_with_it_too() {
    // The job kills its server as soon as it can: the guard must have started before it.
    let script = "sleep 300 & echo $! > pid; kill -9 $PPID; wait";
    for _ in 0..8 {
        let mut machine = Machine::with_server();
        // The response may or may not arrive before the kill of the server.
        machine.orx([
            "run",
            "--detach",
            "--no-start",
            "--on-lost",
            "fail",
            "--",
            "sh",
            "-c",
            script,
        ]);
        let pid = || read(machine.path("work/pid")).trim().parse::<u32>().ok();
        until("the job runs", || pid().is_some());
        let pid = pid().expect("a pid");
        until("its child is gone", || !is_running(pid));
        machine.kill();
    }
}

#[test]
fn a_job_lost_with_its_server_is_run_again_and_its_caller_sees_the_end() {
    let mut machine = Machine::with_server();
    let script = "echo try >> tries; test $(wc -l < tries) -gt 1 || sleep 300; echo done";
    let child = machine.begin(["run", "--", "sh", "-c", script]);
    until("the first try runs", || read(machine.path("work/tries")).lines().count() == 1);
    machine.kill();
    machine.start(&[]);
    let ran = ended(child);
    assert_eq!((ran.code, ran.out.as_str()), (0, "done\n"), "{ran:?}");
    let job = machine.json(["show", "1"]);
    assert_eq!((job["attempt"].as_u64(), &job["status"]), (Some(2), &"completed".into()));
    assert_eq!(job["attempts"][0]["status"], "lost");
}

#[test]
fn an_orderly_stop_gives_running_jobs_back_at_no_cost() {
    let mut machine = Machine::new();
    std::fs::write(machine.path("orx.toml"), "[worker]\nstop_grace = \"100ms\"\n").expect("config");
    let config = machine.path("orx.toml").display().to_string();
    machine.start(&["--config", &config]);
    // One is killed, the other stops in good order on request.
    for (id, trap) in [("1", ""), ("2", "trap 'exit 0' TERM; ")] {
        let tries = format!("tries{id}");
        let script = format!(
            "{trap}echo try >> {tries}; test $(wc -l < {tries}) -gt 1 || {{ sleep 300 & wait; }}"
        );
        assert_eq!(machine.orx(["run", "--detach", "--", "sh", "-c", &script]).code, 0);
        let tries = machine.path("work").join(&tries);
        until("the first try runs", || read(&tries).lines().count() == 1);
    }
    assert_eq!(machine.stop(), 0, "{}", machine.log());
    machine.start(&["--config", &config]);
    for id in ["1", "2"] {
        assert_eq!(machine.orx(["wait", id]).code, 0);
        let job = machine.json(["show", id]);
        assert_eq!(job["attempts"][0]["status"], "interrupted");
        assert_eq!((&job["attempt"], &job["ends"]["failed"]), (&2.into(), &0.into()));
    }
}

#[test]
fn a_follower_of_a_server_in_the_background_starts_another_when_that_is_killed() {
    let machine = Machine::new();
    let script = "echo try >> tries; test $(wc -l < tries) -gt 1 || sleep 300; echo done";
    let child = machine.begin(["run", "--", "sh", "-c", script]);
    until("the first try runs", || read(machine.path("work/tries")).lines().count() == 1);
    signal(machine.address_pid().expect("a server"), "KILL");
    let ran = ended(child);
    assert_eq!((ran.code, ran.out.as_str()), (0, "done\n"), "{ran:?}");
}

//! The server that a command starts in the background: it inherits nothing from its first caller, stays
//! while it is needed, hands over to a manually started one, and can be shown and stopped.

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{CommandResult, Machine, ended, is_running, orx, read, result_of, until};

/// Runs a user's script with `orx` on the path.
fn script(machine: &Machine, text: &str) -> Command {
    let command = machine.command([""; 0]);
    let mut sh = Command::new("sh");
    sh.args(["-c", text]).env_clear().current_dir(machine.path("work")).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        sh.env(name, value.unwrap_or_default());
    }
    let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, path)| path);
    let mut own = orx().parent().expect("a folder").as_os_str().to_owned();
    own.push(":");
    own.push(path.unwrap_or_default());
    sh.env("PATH", own);
    sh
}

fn sh(machine: &Machine, text: &str) -> CommandResult {
    result_of(script(machine, text).output().expect("sh runs"))
}

fn server(machine: &Machine) -> u32 {
    machine.address_pid().filter(|pid| is_running(*pid)).expect("a server in the background")
}

#[test]
fn neither_it_nor_any_job_inherits_open_files_of_its_first_caller() {
    let machine = Machine::new();
    let first = "exec 9>lock; flock 9; orx run -- ls -l /proc/self/fd; \
                 out=$(orx run -- echo hello 3>&1); echo got $out";
    let first = sh(&machine, first);
    assert!(first.code == 0 && first.out.ends_with("got hello\n"), "{first:?}");
    assert!(!first.out.contains("/lock"), "{first:?}");
    // The server runs, and holds neither the caller's lock nor its pipe.
    server(&machine);
    assert_eq!(sh(&machine, "flock -n lock true").code, 0);
}

#[test]
fn a_server_in_the_foreground_passes_on_none_of_its_starters_descriptors() {
    let machine = Machine::new();
    let script_of = "exec 9>lock; orx daemon server --listen 127.0.0.1:0 2>log & server=$!; \
                     until test -e $ORX_STATE/server.json; do sleep 0.05; done; \
                     orx run -- ls -l /proc/self/fd; kill $server; wait";
    let ran = sh(&machine, script_of);
    assert!(ran.out.contains("/dev/null") && !ran.out.contains("/lock"), "{ran:?}");
}

#[test]
fn it_stands_in_a_session_of_its_own_at_the_root_with_little_environment() {
    let machine = Machine::new();
    let mut first = script(&machine, "orx run --detach -- true");
    assert!(first.env("FIRST", "caller").env("TZ", "Asia/Tokyo").status().expect("sh").success());
    let pid = server(&machine);
    let stat = read(format!("/proc/{pid}/stat"));
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    assert_eq!((fields[2], fields[3]), (&*pid.to_string(), &*pid.to_string()), "group and session");
    let link = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}")).expect("a link");
    assert_eq!(link("cwd").as_os_str(), "/");
    assert_eq!(link("fd/0").as_os_str(), "/dev/null");
    let environ = read(format!("/proc/{pid}/environ"));
    assert!(environ.contains("HOME=") && !environ.contains("FIRST=") && !environ.contains("TZ="));
}

#[test]
fn each_job_has_the_umask_path_zone_and_folder_of_its_own_caller() {
    let machine = Machine::new();
    let bin = machine.path("work/bin");
    std::fs::create_dir(&bin).expect("a folder");
    std::fs::write(bin.join("hello-job"), "#!/bin/sh\numask; date +%Z; pwd\n").expect("a file");
    assert_eq!(sh(&machine, "chmod 755 bin/hello-job; mkdir other").code, 0);
    let first = "umask 077; cd other; PATH=$PATH:$HOME/../work/bin TZ=XYZ-3 orx run -- hello-job";
    let first = sh(&machine, first);
    let work = machine.path("work").canonicalize().expect("a folder");
    assert_eq!(first.out, format!("0077\nXYZ\n{}/other\n", work.display()), "{first:?}");
    let second = sh(&machine, "umask 002; orx run -- sh -c 'umask; date +%Z; > made; ls -l made'");
    assert!(second.out.starts_with("0002\nUTC\n-rw-rw-r--"), "{second:?}");
    assert_eq!(sh(&machine, "orx run -- hello-job").code, 127, "the first caller's path is gone");
    let named = sh(&machine, "orx run --env PATH=/usr/bin:/bin -- sh -c 'echo $PATH'");
    assert_eq!(named.out, "/usr/bin:/bin\n");
}

#[test]
fn its_files_are_private_whatever_its_first_callers_umask() {
    use std::os::unix::fs::PermissionsExt;
    let machine = Machine::new();
    assert_eq!(sh(&machine, "umask 000; orx run -- true").code, 0);
    for name in ["token", "server.json", "server.lock", "server.log"] {
        let mode = std::fs::metadata(machine.state().join(name)).expect(name).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let status = read(format!("/proc/{}/status", server(&machine)));
    assert!(status.contains("Umask:\t0022"), "{status}");
}

#[test]
fn limits_that_its_first_caller_lowered_stick_to_no_job() {
    let machine = Machine::new();
    let first = "ulimit -S -n 60; ulimit -S -t 40; ulimit -S -f 4000; orx run --detach -- true";
    assert_eq!(sh(&machine, first).code, 0);
    let limits = "ulimit -S -n; ulimit -S -t; ulimit -S -f";
    let plain = sh(&machine, limits);
    let ran = sh(&machine, &format!("orx run -- sh -c '{limits}'"));
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let (plain, ran): (Vec<_>, Vec<_>) =
        (plain.out.lines().map(number).collect(), ran.out.lines().map(number).collect());
    assert!(ran.len() == 3 && ran[0] >= plain[0].min(1024), "{ran:?} of {plain:?}");
    assert!(ran[1] >= plain[1] && ran[2] >= plain[2], "{ran:?} of {plain:?}");
}

/// A job's `/proc/self/status`, without the two signals of the C library.
fn ignored(job: &CommandResult) -> u64 {
    let digits = job.out.trim().strip_prefix("SigIgn:\t").expect("the signals ignored");
    u64::from_str_radix(digits, 16).expect("a set of signals") & !(0b11 << 31)
}

#[test]
fn signals_that_its_first_caller_ignores_stick_to_no_job() {
    let machine = Machine::new();
    let first = sh(&machine, "trap '' INT QUIT CHLD USR1; exec orx run -- true");
    assert_eq!(first.code, 0, "{first:?}");
    let job = sh(&machine, "orx run -- grep SigIgn /proc/self/status");
    assert_eq!(ignored(&job), 0, "{job:?}");
}

#[test]
fn jobs_of_a_server_that_is_started_by_hand_with_ignored_signals_end_and_ignore_none() {
    let machine = Machine::new();
    let script_of = "trap '' CHLD INT; orx daemon server --listen 127.0.0.1:0 2>log & server=$!; \
                     until test -e $ORX_STATE/server.json; do sleep 0.05; done; \
                     orx run -- grep SigIgn /proc/self/status; kill $server; wait";
    let ran = sh(&machine, script_of);
    assert_eq!(ignored(&ran), 0, "{ran:?}");
}

#[test]
fn no_job_inherits_the_out_of_memory_score_of_its_first_caller() {
    let machine = Machine::new();
    let score = "cat /proc/self/oom_score_adj";
    let plain = sh(&machine, score);
    let first = "echo 500 > /proc/self/oom_score_adj; orx run -- true";
    assert_eq!(sh(&machine, first).code, 0);
    assert_eq!(sh(&machine, &format!("orx run -- {score}")).out, plain.out);
}

#[test]
fn the_processors_that_its_first_caller_was_confined_to_stick_to_no_job() {
    let machine = Machine::new();
    let allowed = "grep Cpus_allowed: /proc/self/status";
    let plain = sh(&machine, allowed);
    assert_eq!(sh(&machine, "taskset -c 0 orx run -- true").code, 0);
    assert_eq!(sh(&machine, &format!("orx run -- {allowed}")).out, plain.out);
}

#[test]
fn the_whole_environment_is_given_when_asked_for_but_no_token() {
    let machine = Machine::with_server();
    let token = read(machine.state().join("token"));
    let script_of = "A=1 B=2 ORX_TOKEN=$(cat $ORX_STATE/token) orx run --env-all --env B=3 -- env";
    let ran = sh(&machine, script_of);
    assert!(ran.out.contains("A=1\n") && ran.out.contains("B=3\n"), "{ran:?}");
    assert!(!ran.out.contains(token.trim()) && ran.out.contains("ORX_JOB_ID="), "{ran:?}");
}

#[test]
fn it_stays_for_its_quiet_time_after_the_end_of_the_last_job() {
    let mut machine = Machine::new();
    machine.start(&["--background", "--exit-when-idle", "2s"]);
    let server = machine.address_pid().expect("a server");
    // The job takes longer than the quiet time, without requests meanwhile.
    let script = "while ! test -e go; do sleep 0.05; done; date +%s%N > ended";
    assert_eq!(machine.orx(["run", "--detach", "--", "sh", "-c", script]).code, 0);
    std::thread::park_timeout(Duration::from_millis(2_500));
    assert!(is_running(server), "a job runs:\n{}", machine.log());
    std::fs::write(machine.path("work/go"), "").expect("written");
    until("the job ends", || !read(machine.path("work/ended")).is_empty());
    until("the server ends", || !is_running(server));
    let ended: u128 = read(machine.path("work/ended")).trim().parse().expect("a time");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let quiet = Duration::from_nanos((now.expect("a time").as_nanos() - ended) as u64);
    assert!(quiet >= Duration::from_millis(1_900), "it ended {quiet:?} after its job");
}

#[test]
fn readers_start_one_where_a_store_is_and_only_there() {
    let mut machine = Machine::new();
    for args in [&["jobs"][..], &["show", "1"], &["wait", "1"], &["logs", "1"], &["cancel", "1"]] {
        let nothing = machine.orx(args);
        assert!(nothing.code == 69 && nothing.err.contains("holds no jobs yet"), "{nothing:?}");
    }
    assert!(!machine.state().join("orx.db").exists());
    machine.start(&["--background", "--exit-when-idle", "200ms"]);
    let first = machine.address_pid().expect("a server");
    let id = machine.orx(["run", "--detach", "--", "sh", "-c", "echo done"]).out;
    until("it ends by itself", || !is_running(first));
    assert_eq!(machine.orx(["--no-start", "jobs"]).code, 69);
    assert_eq!(machine.orx(["wait", id.trim()]).code, 0);
    for args in [&["jobs"][..], &["show", id.trim()], &["logs", id.trim()]] {
        assert_eq!(machine.orx(["daemon", "stop"]).code, 0);
        let read = machine.orx(args);
        assert_eq!(read.code, 0, "{args:?}: {read:?}");
    }
}

#[test]
fn it_hands_its_folder_over_to_a_server_that_is_started_by_hand() {
    let mut machine = Machine::new();
    machine.configure("[worker]\nstop_grace = \"200ms\"\n");
    let script = "echo try >> tries; test $(wc -l < tries) -gt 1 || sleep 300; echo done";
    let child = machine.begin(["run", "--", "sh", "-c", script]);
    until("the first try runs", || read(machine.path("work/tries")).lines().count() == 1);
    let first = server(&machine);
    machine.start(&[]);
    assert_ne!(machine.address_pid(), Some(first));
    let ran = ended(child);
    assert_eq!((ran.code, ran.out.as_str()), (0, "done\n"), "{ran:?}");
    let job = machine.json(["show", "1"]);
    assert_eq!(job["attempts"][0]["status"], "interrupted");
    assert_eq!(job["ends"]["failed"], 0);
    // A manually started server does not hand its folder over.
    let held = machine.orx(["daemon", "server", "--listen", "127.0.0.1:0"]);
    assert!(held.code == 4 && held.err.contains("orx daemon stop"), "{held:?}");
}

#[test]
fn it_is_seen_and_ended() {
    let machine = Machine::new();
    let none = machine.orx(["daemon", "status"]);
    assert!(none.code == 3 && none.out.contains("no server runs"), "{none:?}");
    assert_eq!(machine.orx(["run", "--", "true"]).code, 0);
    let pid = server(&machine);
    let status = machine.json(["daemon", "status"]);
    assert_eq!((&status["running"], &status["background"]), (&true.into(), &true.into()));
    assert_eq!(status["pid"], pid);
    let stopped = machine.json(["daemon", "stop"]);
    assert_eq!((&stopped["stopped"], &stopped["pid"]), (&true.into(), &pid.into()));
    assert!(!is_running(pid));
    let again = machine.orx(["daemon", "stop", "-o", "json"]);
    assert!(again.code == 0 && again.out.contains("\"stopped\":false"), "{again:?}");
    let none = machine.orx(["daemon", "status", "-o", "json"]);
    assert!(none.code == 3 && none.out.contains("\"running\":false"), "{none:?}");
}

#[test]
fn status_and_stop_of_a_folder_that_cannot_be_read_are_errors() {
    let machine = Machine::new();
    std::fs::write(machine.state(), "").expect("a file where the folder should be");
    for command in ["status", "stop"] {
        let ran = machine.orx(["daemon", command]);
        assert!(ran.code == 69 && ran.err.contains("cannot read the state folder"), "{ran:?}");
    }
}

#[test]
fn a_stop_while_a_job_runs_gives_the_job_back_and_its_caller_waits_for_the_next_server() {
    let machine = Machine::new();
    machine.configure("[worker]\nstop_grace = \"200ms\"\n");
    let script = "echo try >> tries; test $(wc -l < tries) -gt 1 || sleep 300";
    assert_eq!(machine.orx(["run", "--detach", "--", "sh", "-c", script]).code, 0);
    until("the first try runs", || read(machine.path("work/tries")).lines().count() == 1);
    let began = Instant::now();
    assert_eq!(machine.orx(["daemon", "stop"]).code, 0);
    assert!(began.elapsed() < Duration::from_secs(30), "it waited for the job");
    assert_eq!(machine.orx(["wait", "1"]).code, 0);
    assert_eq!(machine.json(["show", "1"])["attempts"][0]["status"], "interrupted");
}

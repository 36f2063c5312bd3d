//! Output of commands: the same bytes for scripts on any host, and nothing from a job that acts on a
//! terminal.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::{Machine, orx, result_of, until};

const HOSTILE: &str =
    r"printf 'a\033[2Jb\033]0;owned\007c\000\377\302\233d\n'; printf 'up\033[1A' >&2";

/// Runs a command on its own terminal, by `script` of util-linux, and returns its output.
fn on_terminal(machine: &Machine, args: &str) -> Vec<u8> {
    let line = format!("{} {args}", orx().display());
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", machine.path("home"))
        .env("ORX_STATE", machine.state())
        .env("TERM", "xterm-256color")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .expect("`script` runs");
    output.stdout
}

#[test]
fn nothing_from_a_job_acts_on_a_terminal_in_any_view() {
    let machine = Machine::with_server();
    let refused = on_terminal(&machine, r#"run --tag "$(printf 't=\033[2J')" -- true"#);
    assert!(!refused.contains(&0x1b) && !refused.is_empty(), "{refused:?}");
    let tag = "t=\u{202e}\u{ad}\u{e0041}";
    assert_eq!(machine.orx(["run", "--tag", tag, "--", "sh", "-c", HOSTILE]).code, 0);
    let failing = "printf 'bad\\033[2J\\302\\233x\\n' >&2; exit 1";
    assert_eq!(machine.orx(["run", "--", "sh", "-c", failing]).code, 1);
    for args in [
        "logs 1",
        "logs 2",
        "logs 1 2 -o tsv",
        "jobs -o wide",
        "jobs -o tsv",
        "show 1",
        "show 2",
        "show 2 -o tsv",
        "dlq list",
        "jobs -o json",
    ] {
        let bytes = on_terminal(&machine, &format!("{args} --color never"));
        let text = String::from_utf8_lossy(&bytes);
        let acts = text.chars().find(|c| {
            matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{202a}'..='\u{202e}' | '\u{e0000}'..='\u{e007f}')
        });
        assert_eq!(acts, None, "{args}: {text:?}");
    }
    let shown =
        String::from_utf8_lossy(&on_terminal(&machine, "logs 1 --color never")).into_owned();
    assert!(shown.contains("a␛b␛c"), "{shown:?}");
    let raw = on_terminal(&machine, "logs 1 --raw");
    assert!(raw.windows(4).any(|bytes| bytes == b"\x1b[2J"));
}

/// The final text of a terminal; it emulates only what these tests need.
fn screen(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = vec![Vec::new()];
    let mut column = 0;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let line: &mut Vec<char> = lines.last_mut().expect("a line");
        match c {
            '\r' => column = 0,
            '\n' => {
                lines.push(Vec::new());
                column = 0;
            }
            '\u{1b}' => {
                assert_eq!(rest.by_ref().take(2).collect::<String>(), "[K", "in {text:?}");
                line.truncate(column);
            }
            c => {
                if column < line.len() {
                    line[column] = c
                } else {
                    line.push(c)
                }
                column += 1;
            }
        }
    }
    lines.iter().map(|line| line.iter().collect::<String>() + "\n").collect()
}

#[test]
fn the_last_part_of_overwritten_progress_is_shown_live_and_later() {
    let machine = Machine::with_server();
    // Each part arrives separately.
    let script = r"printf 'begin\nat 10%%'; sleep 0.4; printf '\rat 50%%, more'; sleep 0.4; \
                   printf '\r'; sleep 0.4; printf 'at 100%%\r\nend\n'";
    std::fs::write(machine.path("progress"), script).expect("written");
    let path = machine.path("progress").display().to_string();
    let expected = "begin\nat 100%\nend\n";
    let run = on_terminal(&machine, &format!("run -- sh {path}"));
    assert!(String::from_utf8_lossy(&run).contains("at 50%"), "it is shown when it comes: {run:?}");
    assert_eq!(screen(&run).trim_end(), expected.trim_end());
    for args in ["logs 1", "logs -f 1"] {
        let shown = on_terminal(&machine, args);
        assert_eq!(screen(&shown).trim_end(), expected.trim_end(), "{args}");
    }
    assert!(!on_terminal(&machine, "logs 1").contains(&0x1b), "there is nothing to write over");
    let shown = screen(&on_terminal(&machine, "logs 1 --prefix"));
    assert!(shown.lines().nth(1).is_some_and(|it| it.ends_with("1 out  at 100%")), "{shown}");
}

#[test]
fn a_structured_line_cannot_write_over_its_level() {
    let machine = Machine::with_server();
    let program = orx().display().to_string();
    let script = r#""$0" ctx log --level warn "$(printf 'true\rINFO false')""#;
    assert_eq!(machine.orx(["run", "--", "sh", "-c", script, &program]).code, 0);
    let shown = screen(&on_terminal(&machine, "logs 1"));
    assert!(shown.contains("WARN true INFO false"), "{shown}");
}

#[test]
fn output_over_the_quota_is_shown_for_its_attempt_and_at_the_end_of_a_run() {
    const TOTAL: u64 = 17_500_000;
    let machine = Machine::with_server();
    let script = format!("head -c {TOTAL} /dev/zero | tr '\\0' x");
    let run = machine.orx(["run", "--", "sh", "-c", &script]);
    let last = run.err.lines().last().unwrap_or_default();
    assert!(last.contains("KiB of its output not stored") && last.contains("16.0 MiB"), "{last}");
    let job = machine.json(["show", "1"]);
    let dropped = job["attempts"][0]["dropped_bytes"].as_u64().expect("a number");
    assert!(dropped > 0);
    assert_eq!(run.bytes.len() as u64 + dropped, TOTAL);
    let shown = machine.orx(["show", "1"]).out;
    assert!(shown.contains("KiB of its output not stored"), "{shown}");
    assert_eq!(machine.orx(["run", "--", "echo", "little"]).err, "");
    assert_eq!(machine.json(["show", "2"])["attempts"][0]["dropped_bytes"], 0);
}

#[test]
fn a_pipe_gets_the_stored_bytes_and_json_no_control_characters() {
    let machine = Machine::with_server();
    machine.orx(["run", "--", "sh", "-c", HOSTILE]);
    let logs = machine.orx(["logs", "1", "--stream", "out"]);
    assert_eq!(logs.bytes, b"a\x1b[2Jb\x1b]0;owned\x07c\x00\xff\xc2\x9bd\n");
    let json = machine.orx(["logs", "1", "-o", "jsonl"]);
    assert!(json.out.chars().all(|c| c == '\n' || !c.is_control()), "{}", json.out);
}

#[test]
fn a_line_that_comes_in_pieces_is_shown_whole() {
    let machine = Machine::with_server();
    let script = "seq 1 30000; printf half; sleep 0.5; echo ' and half'; printf end";
    assert_eq!(machine.orx(["run", "--", "sh", "-c", script]).code, 0);
    let shown = machine.orx(["logs", "1", "--prefix"]).out;
    let lines: Vec<&str> =
        shown.lines().filter_map(|line| line.split_once("out  ")).map(|(_, text)| text).collect();
    assert_eq!(lines.len(), 30_002, "{:?}", lines.last());
    assert!((1..=30_000).zip(&lines).all(|(number, line)| line.parse() == Ok(number)));
    assert_eq!(lines[30_000..], ["half and half", "end"]);
    let letters = "printf x; i=0; while [ $i -lt 3000 ]; do printf 'äöüäöüäöüä'; i=$((i+1)); done";
    assert_eq!(machine.orx(["run", "--", "sh", "-c", letters]).code, 0);
    let parts = machine.json(["logs", "2"]);
    let text: String =
        parts.as_array().expect("a list").iter().filter_map(|part| part["data"].as_str()).collect();
    let both = machine.json(["logs", "1", "2"]);
    let first =
        |job: &str| both.as_array().and_then(|all| all.iter().position(|p| p["job"] == job));
    assert!(first("1") == Some(0) && first("2") > Some(0), "one list of both");
    assert_eq!(machine.orx(["run", "--", "printf", r"cut\303"]).code, 0);
    assert!(machine.orx(["logs", "3", "-o", "jsonl"]).out.contains("\u{fffd}"));
    assert!(text.chars().skip(1).all(|c| "äöü".contains(c)) && text.chars().count() == 30_001);
}

#[test]
fn a_tail_is_followed_from_there_on() {
    let machine = Machine::with_server();
    let go = machine.path("go");
    let script = "seq 1 5; while [ ! -e $1 ]; do sleep 0.1; done; seq 6 7";
    let place = go.to_str().expect("a path");
    assert_eq!(machine.orx(["run", "--detach", "--", "sh", "-c", script, "sh", place]).code, 0);
    until("it has printed", || machine.orx(["logs", "1"]).out.ends_with("5\n"));
    let mut follow = machine.command(["logs", "-f", "1", "--tail", "2"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().expect("orx runs");
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!([next(), next()], ["4", "5"], "while the job goes on");
    std::fs::write(&go, "").expect("written");
    assert_eq!([next(), next()], ["6", "7"]);
    assert!(follow.wait().expect("ended").success());
}

#[test]
fn lines_of_a_log_are_chosen_by_pattern_level_and_time() {
    let machine = Machine::with_server();
    let script = r"printf 'one\ttab\ntwo\nno end'; orx=$0; $orx ctx log --level warn two";
    let binary = orx();
    let binary = binary.to_str().expect("a path");
    assert_eq!(machine.orx(["run", "--", "sh", "-c", script, binary]).code, 0);
    let rows = machine.orx(["logs", "1", "-o", "tsv", "--grep", "n[eo]|^WARN"]).out;
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split('\t').collect()).collect();
    assert_eq!(rows[0], ["job", "attempt", "stream", "at", "text"]);
    let texts = rows[1..].iter().map(|row| (row[0], row[1], row[2], row[4]));
    let mut texts: Vec<_> = texts.collect();
    texts.sort_unstable();
    let expected = [("log", "WARN two"), ("out", "no end"), ("out", r"one\ttab")];
    assert_eq!(texts, expected.map(|(stream, text)| ("1", "1", stream, text)));
    let warned = machine.json(["logs", "1", "--level", "warn"]);
    assert_eq!(warned.as_array().map(Vec::len), Some(1), "{warned}");
    assert_eq!(machine.json(["logs", "1", "--level", "error"]), serde_json::json!([]));
    assert_eq!(machine.orx(["logs", "1", "--since", "1h", "--grep", "tab"]).out, "one\ttab\n");
    assert_eq!(machine.orx(["logs", "1", "--since", "2020-01-01", "--tail", "0"]).out, "");
    assert_eq!(machine.orx(["logs", "1", "--since", "0s"]).out, "");
    let wrong = machine.orx(["logs", "1", "--grep", "("]);
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""));
    assert!(wrong.err.contains("unclosed group"), "{}", wrong.err);
}

#[test]
fn a_filter_reaches_what_lies_beyond_a_page() {
    let machine = Machine::with_server();
    let lines = "{\"name\":\"x\",\"command\":{\"argv\":[\"echo\",\"a\"]}}\n".repeat(60);
    assert_eq!(machine.orx_in(["enqueue", "--batch", "-"], lines.as_bytes()).code, 0);
    assert_eq!(machine.orx(["wait", "--name", "x"]).code, 0);
    assert_eq!(machine.orx(["logs", "--name", "x"]).out.lines().count(), 60);
    let many = "{\"name\":\"nobody\"}\n".repeat(1_200);
    assert_eq!(machine.orx_in(["enqueue", "--batch", "-"], many.as_bytes()).code, 0);
    let cancelled = machine.orx(["cancel", "--name", "nobody", "--yes"]);
    assert_eq!((cancelled.code, cancelled.out.as_str()), (0, "cancelled 1200 jobs\n"));
}

#[test]
fn every_list_speaks_every_format() {
    let machine = Machine::with_server();
    machine.orx(["run", "--", "false"]);
    for list in ["jobs", "dlq list", "queue list", "worker list"] {
        for format in ["table", "wide", "json", "jsonl", "tsv", "id"] {
            let mut args: Vec<&str> = list.split(' ').collect();
            args.extend(["-o", format]);
            let ran = result_of(machine.command(&args).output().expect("orx runs"));
            assert_eq!(ran.code, 0, "{list} {format}: {ran:?}");
            match format {
                "json" => {
                    let all: Vec<serde_json::Value> = serde_json::from_str(&ran.out).expect("json");
                    assert!(all.len() == 1 && all[0]["v"] == 1, "{list}: {}", ran.out);
                }
                "jsonl" => {
                    for line in ran.out.lines() {
                        let value: serde_json::Value = serde_json::from_str(line).expect("json");
                        assert_eq!(value["v"], 1);
                    }
                }
                "id" => assert_eq!(ran.out.lines().count(), 1),
                _ => assert_eq!(ran.out.lines().count(), 2, "{list} {format}: {}", ran.out),
            }
        }
    }
    let empty = machine.orx(["jobs", "--status", "completed", "-o", "json"]);
    assert_eq!(empty.out, "[]\n");
    let fields = machine.orx(["jobs", "-o", "tsv", "--fields", "id,status", "--no-header"]);
    assert_eq!(fields.out, "1\tfailed\n");
    for args in [["jobs", "", "json"], ["jobs", "", "jsonl"], ["show", "1", "json"]] {
        let [command, job, format] = args;
        let base = vec![command, "-o", format, "--fields"];
        let with = |base: &[&str], fields: &str| {
            let job = (!job.is_empty()).then_some(job);
            result_of(machine.command(base).arg(fields).args(job).output().expect("orx runs"))
        };
        let wrong = with(&base, "id,statuss");
        assert!(wrong.code == 2 && wrong.out.is_empty(), "{args:?}: {wrong:?}");
        assert!(wrong.err.contains("did you mean `status`?"), "{args:?}: {wrong:?}");
        // This job has no deadline, which is not the caller's mistake.
        let right = with(&base, "id,deadline");
        assert!(right.code == 0 && right.out.contains("{\"id\":1,\"v\":1}"), "{args:?}: {right:?}");
    }
    let tsv = machine.orx(["show", "1", "-o", "tsv", "--fields", "status,id"]);
    assert_eq!(tsv.out, "status\tfailed\nid\t1\n", "{tsv:?}");
    let lines = machine.orx(["show", "1", "--fields", "status,attempt"]);
    assert!(lines.out.starts_with("status   failed\nattempt  1.1 "), "{lines:?}");
    let wrong = machine.orx(["show", "1", "--fields", "statuss"]);
    assert!(wrong.code == 2 && wrong.err.contains("did you mean `status`?"), "{wrong:?}");
    let status = machine.json(["cluster", "status"]);
    assert_eq!((&status["v"], &status["counts"]["failed"]), (&1.into(), &1.into()));
}

#[test]
fn a_job_is_never_shown_as_tried_more_often_than_it_may_be() {
    let machine = Machine::with_server();
    assert_eq!(machine.orx(["run", "--", "false"]).code, 1);
    let tries = || {
        let listed = machine.orx(["jobs", "-o", "tsv", "--fields", "try", "--no-header"]).out;
        let shown = machine.orx(["show", "1", "-o", "tsv", "--fields", "tries"]).out;
        (listed.trim().to_owned(), shown.trim().to_owned())
    };
    assert_eq!(tries(), ("1/1".to_owned(), "tries\t1 of 1".to_owned()));
    assert_eq!(machine.orx(["retry", "1"]).code, 0);
    assert_eq!(machine.orx(["wait", "1"]).code, 1);
    assert_eq!(tries(), ("2".to_owned(), "tries\t2".to_owned()));
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let machine = Machine::with_server();
    machine.orx(["run", "--", "seq", "100000"]);
    for command in ["logs 1", "--help", "help exit-codes", "jobs -o json"] {
        let line = format!("{} {command} 2> err | head -c 1; test ! -s err", orx().display());
        let mut shell = Command::new("bash");
        shell
            .args(["-o", "pipefail", "-c", &line])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", machine.path("home"))
            .env("ORX_STATE", machine.state())
            .current_dir(machine.path("work"));
        let ran = result_of(shell.output().expect("bash runs"));
        assert_eq!(ran.code, 0, "{command}: {ran:?}");
    }
}

#[test]
fn ids_go_through_pipes_and_changes_of_many_need_a_yes() {
    let machine = Machine::with_server();
    let ids: String = (0..3).map(|_| machine.orx(["enqueue", "nobody", "-o", "id"]).out).collect();
    assert_eq!(ids, "1\n2\n3\n");
    let asked = machine.orx_in(["cancel", "-"], ids.as_bytes());
    assert!(asked.code == 2 && asked.err.contains("--yes"), "{asked:?}");
    let dry = machine.orx(["cancel", "--filter", "name:nobody", "--dry-run", "-o", "json"]);
    assert!(dry.out.contains("\"affected\":3"), "{dry:?}");
    let done = machine.orx_in(["cancel", "-", "--yes"], b"1\n2\n");
    assert_eq!((done.code, done.out.as_str()), (0, "cancelled 1, 2\n"));
    let one = machine.orx_in(["cancel", "-"], b"1\n3\n");
    assert!(one.err.contains("cancel 1 job (3)?"), "{one:?}");
    let dry = machine.orx(["cancel", "1", "3", "--dry-run"]);
    let shown =
        "would change 1 job\n  3 nobody (pending)\nunchanged, already ended: 1 (cancelled)\n";
    assert_eq!(dry.out, shown, "{dry:?}");
    for _ in 0..5 {
        machine.orx(["enqueue", "nobody"]);
    }
    let dry = machine.orx(["cancel", "--status", "pending", "--dry-run"]);
    assert!(dry.out.starts_with("would change 6 jobs\n  3 nobody (pending)\n"), "{dry:?}");
    assert!(dry.out.ends_with("\n  and 1 more\n"), "{dry:?}");
    let asked = machine.orx(["cancel", "--status", "pending"]);
    assert!(asked.err.contains("cancel 6 jobs (3, 4, 5, 6, 7 …)?"), "{asked:?}");
    let part = machine.orx(["cancel", "1", "3"]);
    assert_eq!(part.code, 7, "{part:?}");
    assert_eq!(machine.orx(["cancel", "1"]).code, 4);
    assert_eq!(machine.orx(["wait", "1"]).code, 6);
    assert_eq!(machine.orx(["wait", "1", "2"]).code, 6);
}

#[test]
fn a_batch_is_answered_in_order_with_what_was_refused() {
    let machine = Machine::with_server();
    let lines = b"{\"name\":\"a\"}\nnonsense\n{\"name\":\"b\",\"args\":{\"n\":1}}\n";
    let ran = machine.orx_in(["enqueue", "--batch", "-", "-q", "bulk"], lines);
    assert_eq!((ran.code, ran.out.as_str()), (7, "1\n2\n"), "{ran:?}");
    assert!(ran.err.contains("line 2"), "{ran:?}");
    assert_eq!(machine.json(["show", "2"])["queue"], "bulk");
    let spaced = machine.orx_in(["enqueue", "--batch", "-"], b"\n  \nnonsense\n\n");
    assert!(spaced.err.contains("line 3"), "{spaced:?}");
    let json = machine.orx_in(["enqueue", "--batch", "-", "-o", "json"], lines);
    let all: serde_json::Value = serde_json::from_str(&json.out).expect("one value");
    let all = all.as_array().expect("a list").clone();
    assert!(all.len() == 3 && all.iter().all(|line| line["v"] == 1), "{json:?}");
    assert_eq!((&all[2]["id"], &all[1]["error"]["code"]), (&4.into(), &"bad_request".into()));
    let lined = machine.orx_in(["enqueue", "--batch", "-", "-o", "jsonl"], lines);
    let first = lined.out.lines().next().and_then(|line| serde_json::from_str(line).ok());
    assert_eq!(first, Some(serde_json::json!({"v": 1, "line": 1, "id": 5, "created": true})));
    assert_eq!(machine.orx_in(["enqueue", "--batch", "-", "-o", "json"], b"").out, "[]\n");
}

#[test]
fn a_job_reports_progress_logs_and_its_result_by_the_side_channel() {
    let machine = Machine::with_server();
    let script = "\"$0\" ctx progress 50 half && \"$0\" ctx log --level warn careful && \
                  \"$0\" ctx result '{\"pages\": 12}' && echo out";
    let program = orx().display().to_string();
    let ran = machine.orx(["run", "--", "sh", "-c", script, &program]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "out\n"), "{ran:?}");
    assert!(ran.err.contains("WARN careful"), "{ran:?}");
    assert_eq!(machine.orx(["result", "@last"]).out, "{\"pages\":12}\n");
    let outside = machine.orx(["ctx", "progress", "1"]);
    assert!(outside.code == 2 && outside.err.contains("not inside a job"), "{outside:?}");
}

#[test]
fn handlers_of_the_configuration_run_typed_jobs() {
    let mut machine = Machine::new();
    let config = "[handler.greet]\ncmd = [\"sh\", \"-c\", \"echo hello $1; cat\", \"sh\", \"{args.who}\"]\n\
                  [handler.later]\ncmd = [\"sh\", \"-c\", \"test $ORX_ATTEMPT -gt 1 || exit 75\"]\n\
                  [job.later]\nbackoff = \"10ms\"\njitter = 0.0\n";
    std::fs::write(machine.path("orx.toml"), config).expect("written");
    let path = machine.path("orx.toml").display().to_string();
    machine.start(&["--config", &path]);
    let ran = machine.orx(["enqueue", "greet", "who=a b; c", "--follow"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "hello a b; c\n{\"who\":\"a b; c\"}"), "{ran:?}");
    let later = machine.orx(["enqueue", "later", "--wait", "-o", "json"]);
    let job: serde_json::Value = serde_json::from_str(&later.out).expect("json");
    assert_eq!((&job["status"], &job["attempt"]), (&"completed".into(), &2.into()), "{later:?}");
    let missing = machine.orx(["enqueue", "greet", "--wait"]);
    assert!(missing.code == 1 && missing.out.contains("args have no `who`"), "{missing:?}");
    let near = machine.orx(["enqueue", "gret"]);
    assert!(near.code == 0 && near.err.contains("did you mean `greet`?"), "{near:?}");
}

#[test]
fn the_table_of_exit_codes_is_aligned() {
    let machine = Machine::new();
    let ran = machine.orx(["help", "exit-codes"]);
    let codes: Vec<&str> = ran.out.lines().take_while(|line| !line.starts_with('`')).collect();
    assert!(codes.len() > 10 && codes.iter().all(|line| line.starts_with("  ")), "{ran:?}");
}

#[test]
fn the_configuration_in_force_names_the_origin_of_each_setting_and_no_secret() {
    let machine = Machine::new();
    let file = machine.path("orx.toml");
    let text = "color = \"never\"\n\n[worker]\nslots = 3\n\n[handler.x]\ncmd = [\"x\", \"--token=c4n4ry\"]\n";
    std::fs::write(&file, text).expect("written");
    let file = file.display().to_string();
    let show = |args: &[&str]| {
        let mut command = machine.command(["config", "show", "--config", &file]);
        command
            .args(args)
            .env("ORX_TOKEN", "c4n4ry")
            .env("ORX_STORE_URL", "postgres://me:c4n4ry@db/orx")
            .env("ORX_URL", "http://127.0.0.1:7");
        let shown = result_of(command.output().expect("orx runs"));
        assert!(shown.code == 0 && !shown.out.contains("c4n4ry"), "{shown:?}");
        shown.out
    };
    let json: serde_json::Value = serde_json::from_str(&show(&["-o", "json"])).expect("JSON");
    assert_eq!((&json["worker"]["slots"], &json["token"]), (&3.into(), &"***".into()));
    assert_eq!(json["urls"][0], "http://127.0.0.1:7");
    let origins = &json["origins"];
    for (key, name) in
        [("store.url", "ORX_STORE_URL"), ("token", "ORX_TOKEN"), ("state", "ORX_STATE")]
    {
        assert_eq!(origins[key], serde_json::json!({"from": "variable", "name": name}), "{key}");
    }
    assert_eq!(origins["output"], serde_json::json!({"from": "flag", "name": "--output"}));
    let slots = serde_json::json!({"from": "file", "file": file, "line": 4});
    assert_eq!(origins["worker.slots"], slots);
    assert_eq!(origins["handler.x"]["line"], 6);
    assert_eq!(origins["worker.name"], serde_json::json!({"from": "default"}));

    let text = show(&["--origin"]);
    for line in [
        format!("# file: {file}  # --config"),
        "# token: ***  # ORX_TOKEN".to_owned(),
        format!("color = \"never\"  # {file}:1"),
        "url = \"postgres://***@db/orx\"  # ORX_STORE_URL".to_owned(),
        format!("slots = 3  # {file}:4"),
        format!("[handler.x]  # {file}:6"),
        "lease = \"30s\"  # default".to_owned(),
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }
    // The file is valid: values that no file can hold are in comments.
    let again = machine.path("again.toml");
    std::fs::write(&again, show(&[]).replace("postgres://***@db/orx", "")).expect("written");
    let checked = machine.orx(["config", "check", "--config", &again.display().to_string()]);
    assert_eq!(checked.code, 0, "{checked:?}");
}

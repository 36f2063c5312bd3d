use std::collections::BTreeMap;

use clap::Parser as _;

use super::file::parse;
use super::*;
use crate::args::{Cli, TopLevelCommand};

const EXAMPLE: &str = include_str!("../../../../config.example.toml");

/// Each setting of a file by its key, with its value as it is shown.
fn values(config: &Config) -> BTreeMap<String, toml::Value> {
    let mut all = BTreeMap::new();
    config.each(&mut |table, key, setting| {
        all.insert(format!("{table}.{key}"), setting.shown().expect("a value"));
    });
    all
}

#[test]
fn the_example_shows_every_key_with_its_default() {
    let (example, defaults) = (parse(EXAMPLE).expect("a configuration"), Config::default());
    assert_eq!(values(&example), values(&defaults));
    example.each(&mut |table, key, setting| {
        assert!(matches!(setting.origin(), Layer::File(_)), "{table}.{key} is not shown");
    });
    // Tables of tables are empty by default, and shown in comments.
    for table in ["handler", "job", "context"] {
        assert!(EXAMPLE.contains(&format!("# [{table}.")), "{table} is not shown");
    }
}

#[test]
fn the_commented_values_of_the_example_are_right_too() {
    let text: String = EXAMPLE
        .lines()
        .skip_while(|line| !line.starts_with("# Handlers:"))
        .map(|line| line.strip_prefix("# ").unwrap_or(line))
        .filter(|line| line.starts_with('[') || line.contains(" = "))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = parse(&text).expect("a configuration");
    assert_eq!((config.handler.len(), config.job.len(), config.contexts.named.len()), (1, 1, 1));
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_and_its_line() {
    for (text, near, line) in [
        ("[server]\nlisen = \"127.0.0.1:1\"\n", "listen", "line 2"),
        ("[context.x]\nurl = \"http://x\"\nreadonly = true\n", "read_only", "line 3"),
        ("[handler.x]\ncmdd = []\n", "cmd", "line 2"),
    ] {
        let error = parse(text).expect_err("refused");
        assert_eq!(error.hint, Some(format!("did you mean `{near}`?")));
        assert!(error.cause.as_deref().is_some_and(|cause| cause.contains(line)), "{error:?}");
    }
}

#[test]
fn a_password_of_a_url_is_never_shown() {
    for (url, shown) in [
        ("postgres://orx:canary@db:5432/jobs", "postgres://***@db:5432/jobs"),
        ("postgres://orx:can@ry@db/jobs?sslmode=require", "postgres://***@db/jobs"),
        ("postgres://db/jobs?password=canary", "postgres://db/jobs"),
        ("postgres://db", "postgres://db"),
    ] {
        assert_eq!(shown_url(url), shown);
        let config = parse(&format!("[store]\nurl = \"{url}\"")).expect("right");
        let text = format!("{:?}{config:?}", values(&config));
        assert!(text.contains(shown) && !text.contains("ry@") && !text.contains("canary"));
    }
}

#[test]
fn secrets_of_a_handler_are_masked() {
    let text =
        "[handler.x]\ncmd = [\"x\", \"--password\", \"canary\"]\nenv = { API_TOKEN = \"canary\" }";
    let shown = format!("{:?}", values(&parse(text).expect("right")));
    assert!(shown.contains("--password") && shown.contains("API_TOKEN"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn a_value_out_of_range_is_refused() {
    for text in [
        "output = \"xml\"",
        "[worker]\nslots = 0",
        "[worker]\ncommands = \"perhaps\"",
        "[store]\nsessions = 1",
        "[store]\nurl = \"mysql://db\"",
        "[transport]\nurl = \"carrier-pigeon\"",
        "[transport]\nurl = \"amqp://user:secret@host\"",
        "[worker]\nstop_grace = 30",
        "[defaults]\nfactor = 0.5",
        "[job.x]\njitter = 2.0",
        "[cluster]\nlease = \"10ms\"",
        "[cluster]\nheartbeat = \"16s\"",
        "[cluster]\nmonitor = \"31s\"",
        "[cluster]\nleader_lease = \"20s\"",
        "[handler.x]\ncmd = []",
        "[server]\nlisten = \"nowhere\"",
        "[server]\nconnections = 0",
        "[server]\ntls_cert = \"cert.pem\"",
        "[context.x]\nurl = \"ftp://x\"",
        "[context.x]\nurl = \"http://user:secret@x\"",
        "[context.x]\nurl = \"http://x\"\nurls = [\"http://y\"]",
        "[context.x]\ntoken_file = \"x\"",
    ] {
        let error = parse(text).expect_err(text);
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

/// Resolves a command line, an environment and a file, which is in a folder of its own.
fn resolved(args: &[&str], variables: &[(&str, &str)], file: &str) -> Result<Config, CliError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("orx.toml");
    std::fs::write(&path, file).expect("written");
    let mut variables = variables.to_vec();
    variables.push(("ORX_CONFIG", path.to_str().expect("text")));
    let cli = Cli::try_parse_from([&["orx"], args].concat()).expect("arguments");
    let daemon = match &cli.command {
        Some(TopLevelCommand::Daemon(daemon)) => Some(daemon),
        _ => None,
    };
    let flags = Flags { global: &cli.global, daemon };
    resolve(flags, &Environment::of(&variables))
}

#[test]
fn a_flag_stands_over_a_variable_over_the_file_over_the_default() {
    let file = "output = \"tsv\"\n";
    let all = [("ORX_OUTPUT", "id")];
    let found = |args: &[&str], variables: &[(&str, &str)], file: &str| {
        let config = resolved(args, variables, file).expect("right");
        (*config.output, config.output.origin())
    };
    let show = ["config", "show"];
    let flag = ["config", "show", "-o", "json"];
    assert_eq!(found(&flag, &all, file), (Format::Json, Layer::Flag("--output")));
    assert_eq!(found(&show, &all, file), (Format::Id, Layer::Variable("ORX_OUTPUT")));
    assert_eq!(found(&show, &[("ORX_OUTPUT", "")], file), (Format::Tsv, Layer::File(9)));
    assert_eq!(found(&show, &[], ""), (Format::Table, Layer::Default));
}

#[test]
fn flags_of_a_worker_stand_over_the_file_one_by_one() {
    let file = "[worker]\nslots = 3\nname = \"w\"\nlabels = { a = \"1\", b = \"1\" }\n";
    let args = ["daemon", "worker", "--slots", "5", "--label", "b=2", "--queues", "x,y"];
    let worker = resolved(&args, &[], file).expect("right").worker;
    assert_eq!((*worker.slots, worker.slots.origin()), (5, Layer::Flag("--slots")));
    assert_eq!((worker.name.as_str(), worker.queues.len()), ("w", 2));
    assert!(matches!(worker.name.origin(), Layer::File(_)));
    let labels: Vec<_> = worker.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(labels, [("a", "1"), ("b", "2")]);
}

#[test]
fn an_error_names_the_flag_or_the_variable_that_it_is_about() {
    let of = |args: &[&str], variables: &[(&str, &str)]| {
        resolved(args, variables, "").expect_err("refused").message
    };
    let store = of(&["jobs"], &[("ORX_STORE_URL", "mysql://user:secret@db")]);
    assert!(store.starts_with("`ORX_STORE_URL` must be") && !store.contains("secret"), "{store}");
    let worker = of(&["daemon", "worker", "--coordinator", "ftp://x"], &[]);
    assert!(worker.starts_with("`--coordinator`: "), "{worker}");
    assert!(of(&["jobs"], &[("ORX_OUTPUT", "xml")]).contains("output format `xml`"));
}

#[test]
fn a_context_gives_what_no_flag_and_no_variable_gives() {
    let file = "[context.x]\nurls = [\"http://a\", \"http://b\"]\ntoken_file = \"~/t\"\nread_only = true\n";
    let home = ("HOME", "/home/me");
    let of =
        |args: &[&str], variables: &[(&str, &str)]| resolved(args, variables, file)?.connection();
    let context = of(&["-c", "x", "jobs"], &[home]).expect("a context");
    assert_eq!(*context.urls, ["http://a", "http://b"]);
    assert_eq!(context.token_file.as_deref(), Some("/home/me/t".as_ref()));
    assert!(*context.read_only && matches!(context.urls.origin(), Layer::File(_)));
    let both = of(&["jobs"], &[home, ("ORX_CONTEXT", "x"), ("ORX_URL", "http://c")]);
    let both = both.expect("a context");
    assert_eq!((&*both.urls, *both.read_only), (&vec!["http://c".to_owned()], true));
    let local = of(&["jobs"], &[home]).expect("the local server");
    assert!(local.urls.is_empty() && local.token.is_none() && !*local.read_only);
    let near = of(&["-c", "xx", "jobs"], &[home]).expect_err("refused");
    assert_eq!(near.hint.as_deref(), Some("did you mean `x`?"));
}

#[test]
fn the_state_folder_is_found_and_colours_are_chosen_by_the_environment() {
    let of = |variables: &[(&str, &str)]| resolved(&["jobs"], variables, "").expect("right");
    let state = |variables: &[(&str, &str)]| (*of(variables).state).clone();
    let home = ("HOME", "/h");
    assert_eq!(state(&[home]), Some("/h/.local/state/orx".into()));
    assert_eq!(state(&[home, ("XDG_STATE_HOME", "/x")]), Some("/x/orx".into()));
    assert_eq!(state(&[home, ("XDG_STATE_HOME", "x")]), Some("/h/.local/state/orx".into()));
    assert_eq!(state(&[home, ("ORX_STATE", "s")]), Some("s".into()));
    assert!(state(&[]).is_none() && of(&[]).state_dir().is_err());
    let color = |variables: &[(&str, &str)]| of(variables).wants_color(true);
    let term = ("TERM", "xterm");
    assert!(color(&[term]) && !color(&[]) && !color(&[("TERM", "dumb")]));
    assert!(!color(&[term, ("NO_COLOR", "1")]) && color(&[("CLICOLOR_FORCE", "1")]));
    assert!(color(&[("NO_COLOR", "1"), ("ORX_COLOR", "always")]));
}

#[test]
fn a_value_of_the_file_is_found_by_its_line() {
    let config = resolved(&["jobs"], &[], "output = \"id\"\n\n[worker]\nslots = 3\n[job.a]\n");
    let config = config.expect("right");
    let file = (*config.file).as_ref().expect("a file");
    let line = |origin| match origin {
        Layer::File(byte) => file.line(byte),
        other => panic!("{other:?} is not the file"),
    };
    let job = config.job.values().next().expect("a job type");
    let lines = [config.output.origin(), config.worker.slots.origin(), job.origin()].map(line);
    assert_eq!(lines, [1, 4, 5]);
}

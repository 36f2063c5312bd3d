//! Schedules in files: what is written reads back, and errors have their position.

use orx_model::schedule::ScheduleSpec;
use proptest::prelude::*;
use serde_json::json;

use crate::oracle::any_spec;
use crate::{ScheduleFile, diff};

const FILE: &str = r#"
[[schedule]]
id = "nightly-report"
cron = "30 2 * * mon-fri"
zone = "Europe/Berlin"
jitter = "5m"
start = "2026-01-01T00:00:00Z"
catch_up = "all:5"
window = "2d12h"
overlap = "queue-one"
on_missed = "page.oncall"

[schedule.job]
name = "report.make"
queue = "reports"
priority = "high"
args = { customer = 42, day = 2026-01-01, parts = ["a", "b"] }
timeout = "1h"

[[schedule]]
id = "sweep"
every = "15m"
offset = "90s"

[schedule.job.command]
argv = ["/usr/local/bin/sweep", "--all"]
stdin = "first\nsecond\n"
env = { LANG = "C" }

[[schedule]]
id = "new-year"
at = "2026-12-31T23:00:00Z"
job = { name = "fireworks" }
"#;

fn read(text: &str) -> Vec<ScheduleSpec> {
    let file: ScheduleFile = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    file.specs().unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn write(specs: &[ScheduleSpec]) -> String {
    toml::to_string(&ScheduleFile::new(specs)).expect("toml")
}

#[test]
fn a_file_of_each_kind_of_schedule() {
    let specs = read(FILE);
    let times: Vec<String> = specs.iter().map(ScheduleSpec::when_text).collect();
    insta::assert_snapshot!(times.join("\n"), @r"
    cron 30 2 * * mon-fri in Europe/Berlin
    every 15m offset 1m30s
    once at 2026-12-31T23:00:00.000Z
    ");
    let args = specs[0].job.args.as_ref().map(|args| args.get());
    assert_eq!(args, Some(r#"{"customer":42,"day":"2026-01-01","parts":["a","b"]}"#));
    insta::assert_snapshot!(write(&specs), @r#"
    [[schedule]]
    id = "nightly-report"
    cron = "30 2 * * mon-fri"
    zone = "Europe/Berlin"
    jitter = "5m"
    start = "2026-01-01T00:00:00.000Z"
    catch_up = "all:5"
    window = "2d12h"
    overlap = "queue-one"
    tolerance = "5m"
    on_missed = "page.oncall"

    [schedule.job]
    name = "report.make"
    queue = "reports"
    priority = "high"
    timeout = "1h"

    [schedule.job.args]
    customer = 42
    day = "2026-01-01"
    parts = ["a", "b"]

    [[schedule]]
    id = "sweep"
    every = "15m"
    offset = "1m30s"
    zone = "UTC"
    catch_up = "one"
    window = "1w"
    overlap = "skip"
    tolerance = "5m"

    [schedule.job.command]
    argv = ["/usr/local/bin/sweep", "--all"]
    stdin = """
    first
    second
    """

    [schedule.job.command.env]
    LANG = "C"

    [[schedule]]
    id = "new-year"
    at = "2026-12-31T23:00:00.000Z"
    zone = "UTC"
    catch_up = "one"
    window = "1w"
    overlap = "skip"
    tolerance = "5m"

    [schedule.job]
    name = "fireworks"
    "#);
}

#[test]
fn what_toml_does_not_have_is_written_as_text() {
    let specs: Vec<ScheduleSpec> = serde_json::from_value(json!([{
        "id": "odd", "timing": {"once": "2026-01-01T00:00:00Z"},
        "job": {
            "args": {"none": null, "large": 18_446_744_073_709_551_615_u64},
            "command": {"argv": ["x"], "stdin": "/w=="},
        },
    }]))
    .expect("specs");
    let text = write(&specs);
    insta::assert_snapshot!(text, @r#"
    [[schedule]]
    id = "odd"
    at = "2026-01-01T00:00:00.000Z"
    zone = "UTC"
    catch_up = "one"
    window = "1w"
    overlap = "skip"
    tolerance = "5m"

    [schedule.job]
    args_json = '{"large":18446744073709551615,"none":null}'

    [schedule.job.command]
    argv = ["x"]
    stdin_base64 = "/w=="
    "#);
    assert_eq!(diff(&specs[0], &read(&text)[0]), []);
}

#[test]
fn a_time_is_text_or_what_toml_has_for_times() {
    let file = |at: &str| {
        let text = format!("[[schedule]]\nid = \"x\"\nat = {at}\njob.name = \"x\"\n");
        toml::from_str::<ScheduleFile>(&text).map(|file| file.schedule[0].at)
    };
    let wanted: orx_model::Timestamp = "2026-12-31T22:00:00Z".parse().expect("a time");
    for at in ["\"2026-12-31T22:00:00Z\"", "2026-12-31T22:00:00Z", "2026-12-31 23:00:00+01:00"] {
        assert_eq!(file(at).unwrap_or_else(|error| panic!("{at}: {error}")), Some(wanted));
    }
    for at in ["2026-12-31", "22:00:00", "7", "\"soon\"", "{}"] {
        let error = file(at).expect_err(at).to_string();
        assert!(error.contains("expected a time such as"), "{at}: {error}");
    }
}

#[test]
fn errors_in_a_file_name_their_line_or_schedule() {
    let refused = |text: &str| toml::from_str::<ScheduleFile>(text).expect_err(text).to_string();
    insta::assert_snapshot!(refused("[[schedule]]\nid = \"a\"\ncron = \"0 26 * * *\"\n"), @r#"
    TOML parse error at line 3, column 8
      |
    3 | cron = "0 26 * * *"
      |        ^^^^^^^^^^^^
    expected 0 to 23 in the hour field, found `26`
    "#);
    insta::assert_snapshot!(refused("[[schedule]]\nid = \"a\"\nwindow = 7\n"), @r"
    TOML parse error at line 3, column 10
      |
    3 | window = 7
      |          ^
    invalid type: integer `7`, expected a string
    ");
    insta::assert_snapshot!(refused("[[schedules]]\nid = \"a\"\n"), @r"
    TOML parse error at line 1, column 3
      |
    1 | [[schedules]]
      |   ^^^^^^^^^
    unknown field `schedules`, expected `schedule`
    ");

    let text = r#"
        schedule = [
            { id = "a", job = { name = "x" } },
            { id = "a", cron = "@daily", every = "1h", job = { name = "x" } },
            { id = "b", cron = "@daily", offset = "1h", job = { name = "x" } },
            { id = "c", every = "1h", offset = "2h", tolerance = "0", job = {} },
            { id = "d", every = "1h", job = { name = "x", args = {}, args_json = "{}" } },
            { id = "e", every = "1h", job = { name = "x", args_json = "{" } },
        ]
    "#;
    let file: ScheduleFile = toml::from_str(text).expect("a file");
    let problems = file.specs().expect_err("problems");
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    schedule `a`: `cron`: expected one of `cron`, `every` and `at`, found none
    schedule `a`: `id`: expected an id of its own, found that of a schedule above
    schedule `a`: `cron`: expected one of `cron`, `every` and `at`, found several
    schedule `b`: `offset`: expected it with `every` alone
    schedule `c`: `timing`: expected `offset_ms` less than `every_ms` 3600000, found 7200000
    schedule `c`: `tolerance`: expected 1000 to 315360000000 (ten years), found 0
    schedule `c`: `job.name`: expected a job type, or a `command`, found neither
    schedule `d`: `job.args_json`: expected `args` or `args_json`, found both
    schedule `e`: `job.args_json`: expected JSON text, found none: EOF while parsing an object at line 1 column 1
    ");
}

proptest! {
    #[test]
    fn every_schedule_reads_back_from_a_file(specs in proptest::collection::vec(any_spec(), 0..4)) {
        let text = write(&specs);
        let file: ScheduleFile = toml::from_str(&text).expect("a file");
        prop_assert_eq!(file.schedule.len(), specs.len());
        for (schedule, spec) in file.schedule.iter().zip(&specs) {
            let read = schedule.spec().expect("a spec");
            prop_assert_eq!(diff(spec, &read), [], "{}", text);
        }
    }
}

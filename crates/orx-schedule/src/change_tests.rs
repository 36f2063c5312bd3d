//! Changes name only what they change, and a difference is every field that differs.

use orx_model::schedule::{ScheduleSpec, SpecChange};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::oracle::any_spec;
use crate::{Schedule, SpecProblem, diff};

fn change(text: &Value) -> SpecChange {
    serde_json::from_value(text.clone()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn apply(change: &SpecChange, spec: &ScheduleSpec) -> Result<ScheduleSpec, SpecProblem> {
    change.apply(spec)
}

fn spec() -> ScheduleSpec {
    serde_json::from_value(json!({
        "id": "nightly", "timing": {"cron": "0 2 * * *"}, "zone": "Europe/Berlin",
        "end": "2027-01-01T00:00:00Z", "max_runs": 5, "on_missed": "page",
        "job": {"name": "report", "args": {"n": 1, "password": "old"}, "queue": "reports",
            "tags": {"team": "data"},
            "command": {"argv": ["report", "--token", "old"], "env": {"LANG": "C"}}},
    }))
    .expect("a spec")
}

fn lines(old: &ScheduleSpec, new: &ScheduleSpec) -> String {
    diff(old, new).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn null_removes_a_value_and_an_absent_value_stays() {
    let change = change(&json!({"end": null, "max_runs": null, "job": {"queue": null}}));
    let new = apply(&change, &spec()).expect("a change");
    assert_eq!((new.end, new.max_runs, new.job.queue.clone()), (None, None, None));
    insta::assert_snapshot!(lines(&spec(), &new), @r"
    end: 2027-01-01T00:00:00.000Z > (not set)
    job.queue: reports > (not set)
    max_runs: 5 > (not set)
    ");
    let text = serde_json::to_value(&change).expect("json");
    assert_eq!(text, json!({"end": null, "max_runs": null, "job": {"queue": null}}));
}

#[test]
fn a_part_is_set_and_the_other_parts_stay() {
    let new = apply(
        &change(&json!({"job": {
            "set_args": {"n": 2, "m": [1]}, "set_tags": {"cost": "low"},
            "set_require": {"gpu": "a100"},
            "set_command": {"argv": ["other"], "set_env": {"TZ": "UTC"}, "first_cwd": "/first"},
        }})),
        &spec(),
    )
    .expect("a change");
    insta::assert_snapshot!(lines(&spec(), &new), @r#"
    job.args: {"n":1,"password":"***"} > {"m":[1],"n":2,"password":"***"}
    job.command.argv: ["report","--token","***"] > ["other"]
    job.command.env.TZ: (not set) > UTC
    job.require.gpu: (not set) > a100
    job.tags.cost: (not set) > low
    "#);
    let interval = |timing: &Value, text: &Value| {
        let old = apply(&change(&json!({"timing": timing})), &spec()).expect("a change");
        let changed = apply(&change(text), &old).map(|new| new.when_text());
        changed.map_err(|problem| problem.to_string())
    };
    let every = json!({"interval": {"every_ms": 60_000, "offset_ms": 5_000}});
    let cron = json!({"cron": "0 2 * * *"});
    let ok = |text: &str| Ok(text.to_owned());
    assert_eq!(interval(&every, &json!({"every_ms": 20_000})), ok("every 20s offset 5s"));
    assert_eq!(interval(&every, &json!({"offset_ms": 3_000})), ok("every 1m offset 3s"));
    assert_eq!(interval(&every, &json!({"offset_ms": 0})), ok("every 1m"));
    let both = json!({"every_ms": 20_000, "offset_ms": 1_000});
    assert_eq!(interval(&cron, &both), ok("every 20s offset 1s"));
    let refused = interval(&cron, &json!({"offset_ms": 1_000}));
    assert_eq!(refused, Err("`offset_ms`: only an interval has one".to_owned()));
}

#[test]
fn a_part_is_not_set_of_what_is_not_there() {
    let mut bare = spec();
    bare.job.command = None;
    let refused = |text: &Value| match apply(&change(text), &bare) {
        Ok(new) => lines(&bare, &new),
        Err(problem) => problem.to_string(),
    };
    let command = |change: Value| refused(&json!({"job": {"set_command": change}}));
    let cwd = command(json!({"cwd": "/tmp"}));
    assert!(cwd.contains("no command to change"), "{cwd}");
    assert_eq!(
        command(json!({"argv": ["a"], "first_cwd": "/first"})),
        "job.command.argv: (not set) > [\"a\"]\njob.command.cwd: (not set) > /first"
    );
    let list = refused(&json!({"job": {"args": [1], "set_args": {"n": 2}}}));
    assert!(list.contains("no JSON object"), "{list}");
    let digits = r#"{"job": {"args": {"n": 12345678901234567890123}, "set_args": {"m": 0.10}}}"#;
    let digits: SpecChange = serde_json::from_str(digits).expect("a change");
    let args = apply(&digits, &bare).expect("a change").job.args.expect("arguments");
    assert_eq!(args.get(), r#"{"m":0.10,"n":12345678901234567890123}"#);
    let anew = json!({"job": {"tags": {}, "set_tags": {"e": "f"}}});
    let anew = apply(&change(&anew), &bare).expect("a change");
    assert_eq!(json!(anew.job.tags), json!({"e": "f"}));
}

#[test]
fn a_difference_is_in_the_words_of_a_file_and_shows_no_secret() {
    let new = apply(&change(&json!({
        "timing": {"interval": {"every_ms": 900_000, "offset_ms": 60_000}},
        "zone": "UTC", "jitter_ms": 90_000, "start": "2026-01-01T00:00:00Z", "catch_up": "all:5",
        "window_ms": 86_400_000, "overlap": "queue_one", "tolerance_ms": 1_000,
        "on_missed": "wake", "on_failure": "wake",
        "job": {
            "args": {"n": 1, "password": "new", "none": null}, "timeout_ms": 3_600_000,
            "priority": "high", "tags": {"team": "data", "cost": "low"},
            "command": {"argv": ["report", "--token", "new"],
                "env": {"LANG": "C", "API_TOKEN": "new"}, "stdin": "aGVsbG8="},
        },
    })), &spec())
    .expect("a change");
    insta::assert_snapshot!(lines(&spec(), &new), @r#"
    catch_up: one > all:5
    cron: 0 2 * * * > (not set)
    every: (not set) > 15m
    jitter: (not set) > 1m30s
    job.args: {"n":1,"password":"***"} > {"n":1,"none":null,"password":"***"}
    job.command.argv: ["report","--token","***"] > ["report","--token","***"]
    job.command.env.API_TOKEN: (not set) > ***
    job.command.stdin: (not set) > hello
    job.priority: (not set) > high
    job.tags.cost: (not set) > low
    job.timeout: (not set) > 1h
    offset: (not set) > 1m
    on_failure: (not set) > wake
    on_missed: page > wake
    overlap: skip > queue-one
    start: (not set) > 2026-01-01T00:00:00.000Z
    tolerance: 5m > 1s
    window: 1w > 1d
    zone: Europe/Berlin > UTC
    "#);
    let first = serde_json::to_string(&diff(&spec(), &new)[0]).expect("json");
    insta::assert_snapshot!(first, @r#"{"field":"catch_up","old":"one","new":"all:5"}"#);
}

#[test]
fn what_means_the_same_does_not_differ() {
    let other = |args: &str| {
        let text = serde_json::to_string(&spec()).expect("json");
        let text = text.replace(r#"{"n":1,"password":"old"}"#, args);
        serde_json::from_str::<ScheduleSpec>(&text).expect("a spec")
    };
    assert_eq!(diff(&spec(), &other(r#"{ "password": "old", "n": 1 }"#)), []);
    assert_eq!(lines(&spec(), &other(r#"{"n":1}"#)).lines().count(), 1);
}

#[test]
fn a_change_takes_no_unknown_field_and_no_null_where_something_must_be() {
    for wrong in [
        json!({"ends": null}),
        json!({"id": "other"}),
        json!({"job": {"key": "k"}}),
        json!({"job": {"run_at": "2026-01-01T00:00:00Z"}}),
        json!({"zone": null}),
        json!({"timing": null}),
        json!({"job": {"tags": null}}),
    ] {
        assert!(serde_json::from_value::<SpecChange>(wrong.clone()).is_err(), "{wrong}");
    }
    for wrong in [json!({"timing": {"cron": "0 26 * * *"}}), json!({"zone": "Mars/Base"})] {
        let new = apply(&change(&wrong), &spec()).expect("a change");
        assert!(Schedule::new(new).is_err(), "{wrong}");
    }
    assert!(SpecChange::default().is_empty());
    assert!(change(&json!({"job": {}})).is_empty());
    assert!(!change(&json!({"end": null})).is_empty());
}

proptest! {
    /// Taking every field of one schedule over, one at a time, changes that field alone; taking all
    /// over makes the other schedule.
    #[test]
    fn a_change_of_one_field_changes_that_field_alone(old in any_spec(), new in any_spec()) {
        prop_assert_eq!(diff(&old, &old), []);
        let mut target = serde_json::to_value(&new).expect("json");
        let object = target.as_object_mut().expect("an object");
        object.remove("id");
        let job = object.get_mut("job").and_then(Value::as_object_mut).expect("an object");
        job.remove("by");
        for name in ["name", "args", "command", "queue", "priority", "retries", "backoff_ms",
            "timeout_ms", "expires_ms", "on_lost", "corr"] {
            job.entry(name).or_insert(Value::Null);
        }
        job.entry("tags").or_insert(json!({}));
        job.entry("require").or_insert(json!({}));
        object.entry("jitter_ms").or_insert(json!(0));
        for name in ["start", "end", "max_runs", "on_missed", "on_failure"] {
            object.entry(name).or_insert(Value::Null);
        }
        for (name, value) in object.iter() {
            let changed = apply(&change(&json!({name: value})), &old).expect("a change");
            let plain = name.trim_end_matches("_ms");
            for found in diff(&old, &changed) {
                let timing = plain == "timing"
                    && ["cron", "every", "offset", "at"].contains(&found.field.as_str());
                let job = plain == "job" && found.field.starts_with("job.");
                prop_assert!(timing || job || found.field == plain, "{name}: {found}");
            }
        }
        let mut all = apply(&change(&target), &old).expect("a change");
        all.id = new.id.clone();
        all.job.by.clone_from(&new.job.by);
        prop_assert_eq!(diff(&all, &new), []);
    }
}

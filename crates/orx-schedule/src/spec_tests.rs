//! Schedules as they are sent, and warnings.

use orx_model::ids::JobId;
use orx_model::schedule::{CatchUp, Overlap, ScheduleSpec, SkipReason, Slot, SlotOutcome, When};
use orx_model::wire::EnqueueRequest;

use crate::oracle::at;
use crate::{NamedZone, Schedule, lint};

fn spec(when: When) -> ScheduleSpec {
    let job = EnqueueRequest { name: "report".parse().ok(), ..EnqueueRequest::default() };
    ScheduleSpec::new("nightly".parse().expect("a name"), when, job)
}

fn cron_spec(expr: &str, zone: &str) -> ScheduleSpec {
    let mut spec = spec(When::Cron(expr.parse().expect("an expression")));
    spec.zone = zone.parse().expect("a zone");
    spec
}

#[test]
fn a_spec_reads_back_and_takes_no_unknown_field() {
    let text = r#"{"id":"nightly","timing":{"cron":"0 2 * * *"},"zone":"Europe/Berlin",
        "catch_up":"all:5","overlap":"queue_one","on_missed":"page",
        "job":{"name":"report","args":{"n":1e2},"queue":"reports","priority":"high"}}"#;
    let spec: Schedule = serde_json::from_str(text).expect("a spec");
    assert_eq!(spec.check(), Ok(()));
    insta::assert_snapshot!(serde_json::to_string_pretty(&spec).expect("json"), @r#"
    {
      "id": "nightly",
      "timing": {
        "cron": "0 2 * * *"
      },
      "zone": "Europe/Berlin",
      "catch_up": "all:5",
      "window_ms": 604800000,
      "overlap": "queue_one",
      "tolerance_ms": 300000,
      "on_missed": "page",
      "job": {
        "name": "report",
        "args": {"n":1e2},
        "queue": "reports",
        "priority": "high"
      }
    }
    "#);
    assert_eq!(spec.when_text(), "cron 0 2 * * * in Europe/Berlin");
    for wrong in [
        text.replace("catch_up", "catchup"),
        text.replace("queue\":", "queues\":"),
        text.replace("0 2 * * *", "0 26 * * *"),
        text.replace("Europe/Berlin", "Europe/Berlim"),
        text.replace("all:5", "all:0"),
        text.replace("{\"cron\":\"0 2 * * *\"}", "{\"interval\":{\"every\":5}}"),
    ] {
        assert!(serde_json::from_str::<Schedule>(&wrong).is_err(), "{wrong}");
    }
    let error = "Europe/Berlim".parse::<NamedZone>().expect_err("no zone").to_string();
    assert!(error.ends_with("found `Europe/Berlim`; did you mean `Europe/Berlin`?"), "{error}");
    assert!("europe/berlin".parse::<NamedZone>().is_ok() && "local".parse::<NamedZone>().is_err());
}

#[test]
fn impossible_schedules_are_explained() {
    let good = || cron_spec("0 2 * * *", "UTC");
    let after = |change: fn(&mut ScheduleSpec)| {
        let mut spec = good();
        change(&mut spec);
        Schedule::checked(spec).expect_err("something is wrong").to_string()
    };
    let all = [
        after(|s| s.timing = When::Interval { every_ms: 999, offset_ms: 0 }),
        after(|s| s.timing = When::Interval { every_ms: 5_000, offset_ms: 5_000 }),
        after(|s| s.jitter_ms = u64::MAX),
        after(|s| s.window_ms = u64::MAX),
        after(|s| s.tolerance_ms = 0),
        after(|s| s.max_runs = Some(0)),
        after(|s| {
            s.start = Some(at("2026-01-02T00:00:00Z"));
            s.end = Some(at("2026-01-01T00:00:00Z"));
        }),
        after(|s| {
            s.start = Some(at("2026-01-02T03:00:00Z"));
            s.end = Some(at("2026-01-02T04:00:00Z"));
        }),
        after(|s| s.job.name = None),
        after(|s| s.job.key = Some("k".to_owned())),
        after(|s| s.job.delay_ms = Some(1)),
    ];
    insta::assert_snapshot!(all.join("\n"), @r"
    `timing`: expected an interval of 1 s to ten years (`every_ms` 1000 to 315360000000), found 999
    `timing`: expected `offset_ms` less than `every_ms` 5000, found 5000
    `jitter_ms`: expected 0 to 86400000 (a day), found 18446744073709551615
    `window_ms`: expected 0 to 315360000000 (ten years), found 18446744073709551615
    `tolerance_ms`: expected 1000 to 315360000000 (ten years), found 0
    `max_runs`: expected 1 or more, found 0
    `end`: expected `start` `2026-01-02T00:00:00.000Z` or later, found `2026-01-01T00:00:00.000Z`
    `timing`: `cron 0 2 * * *` is never due from `start` `2026-01-02T03:00:00.000Z` to `end` `2026-01-02T04:00:00.000Z`
    `job.name`: expected a job type, or a `command`, found neither
    `job.key`: expected nothing: each slot makes a job of its own, due at the slot
    `job.delay_ms`: expected nothing: each slot makes a job of its own, due at the slot
    ");
}

#[test]
fn a_row_of_the_ledger_reads_back() {
    let slot = at("2026-01-01T02:00:00Z");
    let row =
        |outcome| Slot { slot, last: None, count: 1, exact: true, outcome, recorded_at: slot };
    let rows = [
        row(SlotOutcome::Ran { job: JobId(7), late_ms: 3 }),
        row(SlotOutcome::Skipped { reason: SkipReason::OneWaits }),
        row(SlotOutcome::CaughtUp { job: JobId(8), late_ms: 3_600_000 }),
        Slot {
            last: Some(at("2026-01-03T02:00:00Z")),
            count: 3,
            exact: false,
            ..row(SlotOutcome::Missed)
        },
    ];
    let json = rows.map(|row| serde_json::to_string(&row).expect("json"));
    insta::assert_snapshot!(json.join("\n"), @r#"
    {"slot":"2026-01-01T02:00:00.000Z","outcome":"ran","job":7,"late_ms":3,"recorded_at":"2026-01-01T02:00:00.000Z"}
    {"slot":"2026-01-01T02:00:00.000Z","outcome":"skipped","reason":"one_waits","recorded_at":"2026-01-01T02:00:00.000Z"}
    {"slot":"2026-01-01T02:00:00.000Z","outcome":"caught_up","job":8,"late_ms":3600000,"recorded_at":"2026-01-01T02:00:00.000Z"}
    {"slot":"2026-01-01T02:00:00.000Z","last":"2026-01-03T02:00:00.000Z","count":3,"exact":false,"outcome":"missed","recorded_at":"2026-01-01T02:00:00.000Z"}
    "#);
    for (json, row) in json.iter().zip(rows) {
        assert_eq!(serde_json::from_str::<Slot>(json).expect("a row"), row);
    }
}

#[test]
fn what_is_allowed_but_hardly_meant_is_warned_of() {
    let from = at("2026-01-01T00:00:00Z");
    let warned = |spec: &ScheduleSpec| {
        let schedule = Schedule::new(spec.clone()).expect("a schedule");
        let lines = lint(&schedule, from).into_iter().map(|w| w.to_string());
        format!("[{}]\n{}\n", spec.when_text(), lines.collect::<Vec<_>>().join("\n"))
    };
    let mut all = String::new();
    for (expr, zone) in [
        ("30 2 * * *", "America/New_York"),
        ("30 1 * * *", "America/New_York"),
        ("*/30 2 * * *", "Europe/Berlin"),
        ("0 12 * * *", "Europe/Berlin"),
        ("0 * * * *", "Europe/Berlin"),
        ("0 0 31 * *", "UTC"),
        ("0 0 29 2 *", "UTC"),
        ("* * * * *", "UTC"),
        ("*/7 * * * *", "UTC"),
        ("*/90 * * * *", "UTC"),
        ("0 0 13 * fri", "UTC"),
        ("0 0 */2 * fri", "UTC"),
    ] {
        all.push_str(&warned(&cron_spec(expr, zone)));
    }
    let mut often = spec(When::Interval { every_ms: 120_000, offset_ms: 0 });
    (often.overlap, often.catch_up) = (Overlap::CancelOld, CatchUp::All(9));
    often.jitter_ms = 600_000;
    often.job.timeout_ms = Some(240_000);
    all.push_str(&warned(&often));
    all.push_str(&warned(&spec(When::Once(at("2025-01-01T00:00:00Z")))));
    insta::assert_snapshot!(all, @r"
    [cron 30 2 * * * in America/New_York]
    clock_skips: `2026-03-08 02:30` does not exist in America/New_York: it runs right after the jump, at 2026-03-08 03:00
    [cron 30 1 * * * in America/New_York]
    clock_repeats: `2026-11-01 01:30` occurs twice in America/New_York: it runs the first time only
    [cron */30 2 * * * in Europe/Berlin]
    clock_skips: `2026-03-29 02:00` does not exist in Europe/Berlin: `*/30 2 * * *` is not due in that hour
    clock_repeats: `2026-10-25 02:00` occurs twice in Europe/Berlin: `*/30 2 * * *` is due both times
    run_time: due times are 30m apart and no timeout bounds a run: one that takes longer makes the next be skipped
    [cron 0 12 * * * in Europe/Berlin]

    [cron 0 * * * * in Europe/Berlin]

    [cron 0 0 31 * * in UTC]
    short_months: it is not due in Feb, Apr, Jun, Sep, Nov: no such day there
    [cron 0 0 29 2 * in UTC]
    short_months: in Feb it is due in leap years only
    [cron * * * * * in UTC]
    frequent: it is due every 1m: each run adds a job to the store
    run_time: due times are 1m apart and no timeout bounds a run: one that takes longer makes the next be skipped
    [cron */7 * * * * in UTC]
    uneven_step: `*/7` in the minute field does not divide 60: the gap to the next round is 4, not 7
    run_time: due times are 4m apart and no timeout bounds a run: one that takes longer makes the next be skipped
    [cron */90 * * * * in UTC]
    long_step: `*/90` in the minute field is one value only: it has 60
    [cron 0 0 13 * fri in UTC]
    either_day: day of month and day of week are both restricted: it is due on days on which either matches, not both
    [cron 0 0 */2 * fri in UTC]
    both_days: one of the day fields starts with `*`: it is due on days on which both match
    uneven_step: `*/2` in the day of month field does not divide 31: the gap to the next round is 1, not 2
    [every 2m]
    jitter_cut: the jitter is cut where due times are 2m apart: it ends before the next
    run_time: due times are 2m apart and a run may take 4m: one that takes longer is cancelled by the next
    [once at 2025-01-01T00:00:00.000Z]
    never_due: no due time is left after 2026-01-01T00:00:00.000Z
    ");
}

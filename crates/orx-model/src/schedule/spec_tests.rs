//! Schedules as they are sent, crontabs, and warnings.

use proptest::prelude::*;

use super::oracle::at;
use super::{ScheduleSpec, SkipReason, Slot, SlotOutcome, When, ZoneName, crontab, lint};
use crate::ids::JobId;
use crate::wire::EnqueueRequest;

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
    let spec: ScheduleSpec = serde_json::from_str(text).expect("a spec");
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
        assert!(serde_json::from_str::<ScheduleSpec>(&wrong).is_err(), "{wrong}");
    }
    let error = "Europe/Berlim".parse::<ZoneName>().expect_err("no zone").to_string();
    assert!(error.ends_with("found `Europe/Berlim`; did you mean `Europe/Berlin`?"), "{error}");
    assert!("europe/berlin".parse::<ZoneName>().is_ok() && "local".parse::<ZoneName>().is_err());
}

#[test]
fn what_cannot_be_is_said_in_words() {
    let good = || cron_spec("0 2 * * *", "UTC");
    let after = |change: fn(&mut ScheduleSpec)| {
        let mut spec = good();
        change(&mut spec);
        spec.check().expect_err("something is wrong")
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
    an interval is 1 s to ten years (`every_ms` 1000 to 315360000000), found 999
    `offset_ms` must be less than `every_ms` 5000, found 5000
    `jitter_ms` is at most 86400000 (a day), found 18446744073709551615
    `window_ms` is at most 315360000000, found 18446744073709551615
    `tolerance_ms` is 1000 to 315360000000, found 0
    `max_runs` is 1 or more, found 0
    `end` must not be before `start` `2026-01-02T00:00:00.000Z`, found `2026-01-01T00:00:00.000Z`
    the schedule is never due between `start` and `end`
    the job of a schedule needs a `name`, or a `command`
    the job of a schedule takes no `key`: each slot makes a job of its own
    the job of a schedule takes no `delay_ms`: each slot makes a job of its own
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

const CRONTAB: &str = r#"
# m h dom mon dow command
MAILTO = ops@example.com
SHELL=/bin/bash
PATH="/usr/local/bin:/usr/bin"
CRON_TZ=America/New_York

30 2 * * 1-5	/usr/local/bin/backup.sh --all   # not a comment
@daily backup.sh
*/10 * * * *  A=b mail -s "10\% off" ops%Hello,%line 2 \% done
 CRON_TZ = Europe/Berlin
HOME=/srv
0 0 1 * * cd /srv && make
"#;

fn shown(tab: &crontab::Crontab) -> String {
    let entries = tab.entries.iter().map(|entry| {
        let spec = &entry.spec;
        let command = spec.job.command.as_ref().expect("a command");
        format!(
            "{}: {} = {} {:?} stdin {:?} cwd {:?} env {:?}",
            entry.line,
            spec.id,
            spec.when_text(),
            command.argv,
            command.stdin,
            command.cwd,
            command.env.keys().collect::<Vec<_>>(),
        )
    });
    let notes = tab.notes.iter().map(|note| format!("note {}: {}", note.line, note.text));
    entries.chain(notes).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_crontab_becomes_schedules() {
    let tab = crontab::parse(CRONTAB, &crontab::Options::default()).expect("a crontab");
    insta::assert_snapshot!(shown(&tab), @r#"
    8: backup.sh = cron 30 2 * * 1-5 in America/New_York ["/bin/bash", "-c", "/usr/local/bin/backup.sh --all   # not a comment"] stdin None cwd None env ["PATH", "SHELL"]
    9: backup.sh-2 = cron @daily in America/New_York ["/bin/bash", "-c", "backup.sh"] stdin None cwd None env ["PATH", "SHELL"]
    10: mail = cron */10 * * * * in America/New_York ["/bin/bash", "-c", "A=b mail -s \"10% off\" ops"] stdin Some("SGVsbG8sCmxpbmUgMiAlIGRvbmUK") cwd None env ["PATH", "SHELL"]
    13: cd = cron 0 0 1 * * in Europe/Berlin ["/bin/bash", "-c", "cd /srv && make"] stdin None cwd Some("/srv") env ["HOME", "PATH", "SHELL"]
    note 3: `MAILTO` is left out: output is kept with the job, not mailed
    "#);
}

#[test]
fn a_system_crontab_has_a_user() {
    let options = crontab::Options {
        user_column: true,
        prefix: "web1-".to_owned(),
        zone: "Europe/Berlin".parse().expect("a zone"),
    };
    let text = "RANDOM_DELAY=5\n17 * * * * root cd / && run-parts /etc/cron.hourly\n@weekly www-data [ -x /x ] && /x\n";
    let tab = crontab::parse(text, &options).expect("a crontab");
    insta::assert_snapshot!(shown(&tab), @r#"
    2: web1-cd = cron 17 * * * * in Europe/Berlin ["sh", "-c", "cd / && run-parts /etc/cron.hourly"] stdin None cwd None env []
    3: web1-line-3 = cron @weekly in Europe/Berlin ["sh", "-c", "[ -x /x ] && /x"] stdin None cwd None env []
    note 2: the user `root` is left out: a command runs as the worker's user
    note 3: the user `www-data` is left out: a command runs as the worker's user
    "#);
    assert!(tab.entries.iter().all(|entry| entry.spec.jitter_ms == 300_000));
}

#[test]
fn every_line_that_is_wrong_is_reported_with_its_field() {
    let text = "60 * * * * a\n* * * * *\n@reboot start\n* * * * * ok\nCRON_TZ=Mars/Base\n\
                0 0 30 2 * never\n* * * funk * x\n* * *\n* * * * * %input only\n0-9=5\nRANDOM_DELAY=x\n";
    let errors = crontab::parse(text, &crontab::Options::default()).expect_err("errors");
    insta::assert_snapshot!(errors.to_string(), @r"
    line 1: expected 0 to 59 in the minute field, found `60`
    line 2: expected a time and a command: more than 5 columns, found 5 columns in `* * * * *`
    line 3: expected `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` or `@annually`, found `@reboot`: a schedule has due times, and the start of a machine is none; let the machine's init system run it
    line 5: `CRON_TZ`: expected a time zone such as `Europe/Berlin`, found `Mars/Base`
    line 6: `0 0 30 2 *` is never due: no month in the month field has a day in the day of month field
    line 7: expected 1 to 12 or jan to dec in the month field, found `funk`
    line 8: expected a time and a command: more than 5 columns, found 3 columns in `* * *`
    line 9: expected a command after the time: more than 5 columns, found 7 columns in `* * * * * %input only`
    line 10: expected a time and a command: more than 5 columns, found 1 column in `0-9=5`
    line 11: `RANDOM_DELAY`: expected minutes, 0 to 1440, found `x`
    ");
    assert_eq!(errors.0[0].field, Some(super::CronField::Minute));
}

#[test]
fn what_is_allowed_but_hardly_meant_is_warned_of() {
    let from = at("2026-01-01T00:00:00Z");
    let warned = |spec: &ScheduleSpec| {
        let lines = lint(spec, from).into_iter().map(|w| format!("{:?}: {}", w.code, w.text));
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
    (often.overlap, often.catch_up) = (super::Overlap::CancelOld, super::CatchUp::All(9));
    often.jitter_ms = 600_000;
    often.job.timeout_ms = Some(240_000);
    all.push_str(&warned(&often));
    all.push_str(&warned(&spec(When::Once(at("2025-01-01T00:00:00Z")))));
    insta::assert_snapshot!(all, @r"
    [cron 30 2 * * * in America/New_York]
    ClockSkips: `2026-03-08 02:30` does not exist in America/New_York: it runs right after the jump, at 2026-03-08 03:00
    [cron 30 1 * * * in America/New_York]
    ClockRepeats: `2026-11-01 01:30` occurs twice in America/New_York: it runs the first time only
    [cron */30 2 * * * in Europe/Berlin]
    ClockSkips: `2026-03-29 02:00` does not exist in Europe/Berlin: `*/30 2 * * *` is not due in that hour
    ClockRepeats: `2026-10-25 02:00` occurs twice in Europe/Berlin: `*/30 2 * * *` is due both times
    RunTime: due times are 30m apart and no timeout bounds a run: one that takes longer makes the next be skipped
    [cron 0 12 * * * in Europe/Berlin]

    [cron 0 * * * * in Europe/Berlin]

    [cron 0 0 31 * * in UTC]
    ShortMonths: it is not due in Feb, Apr, Jun, Sep, Nov: no such day there
    [cron 0 0 29 2 * in UTC]
    ShortMonths: in Feb it is due in leap years only
    [cron * * * * * in UTC]
    Frequent: it is due every 1m: each run is a job kept
    RunTime: due times are 1m apart and no timeout bounds a run: one that takes longer makes the next be skipped
    [cron */7 * * * * in UTC]
    UnevenStep: `*/7` in the minute field does not divide 60: the gap to the next round is 4, not 7
    RunTime: due times are 4m apart and no timeout bounds a run: one that takes longer makes the next be skipped
    [cron */90 * * * * in UTC]
    LongStep: `*/90` in the minute field is one value only: it has 60
    [cron 0 0 13 * fri in UTC]
    EitherDay: day of month and day of week are both restricted: it is due on days on which either matches, not both
    [cron 0 0 */2 * fri in UTC]
    BothDays: one of the day fields starts with `*`: it is due on days on which both match
    UnevenStep: `*/2` in the day of month field does not divide 31: the gap to the next round is 1, not 2
    [every 2m]
    JitterCut: the jitter is cut where due times are 2m apart: it ends before the next
    RunTime: due times are 2m apart and a run may take 4m: one that takes longer is cancelled by the next
    CatchUpCancels: catch-up is `all:9` and overlap `cancel-old`: runs caught up cancel each other, and the last is left
    [once at 2025-01-01T00:00:00.000Z]
    NeverDue: no due time is left after 2026-01-01T00:00:00.000Z
    ");
}

proptest! {
    /// I27: no crontab panics.
    #[test]
    fn no_crontab_panics(
        text in "([ -~\t\näß\r\0]{0,60}|(@[a-z]{0,8}|([*0-9/,-]{1,5} ){5})[ -~]{0,40}|[A-Z_\"']{1,9} ?= ?[ -~]{0,9}|\n){0,12}",
        user_column in any::<bool>(), prefix in ".{0,4}",
    ) {
        let options = crontab::Options { user_column, prefix, ..Default::default() };
        match crontab::parse(&text, &options) {
            Ok(tab) => {
                let mut ids = std::collections::BTreeSet::new();
                for entry in &tab.entries {
                    prop_assert!(ids.insert(entry.spec.id.clone()), "{}", entry.spec.id);
                    let json = serde_json::to_string(&entry.spec).expect("json");
                    let read: ScheduleSpec = serde_json::from_str(&json).expect("a spec");
                    prop_assert_eq!(serde_json::to_string(&read).expect("json"), json);
                }
            }
            Err(errors) => prop_assert!(!errors.to_string().is_empty()),
        }
    }

    /// The percent rule, by a second reading of crontab(5).
    #[test]
    fn percent_is_crontabs(text in "[a-c%\\\\]{1,12}") {
        prop_assume!(!text.starts_with('%'));
        let line = format!("* * * * * x{text}");
        let tab = crontab::parse(&line, &crontab::Options::default()).expect("a crontab");
        let command = tab.entries[0].spec.job.command.as_ref().expect("a command");
        // Backslashes pair up from the left; a percent after an unpaired one is a literal.
        let bytes: Vec<char> = format!("x{text}").chars().collect();
        let end = (0..bytes.len()).find(|end| {
            let before = bytes[..*end].iter().rev().take_while(|c| **c == '\\').count();
            bytes[*end] == '%' && before % 2 == 0
        });
        let head: String = bytes[..end.unwrap_or(bytes.len())].iter().collect();
        let mut words = String::new();
        let mut chars = head.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('%') => words.push('%'),
                    Some(c) => { words.push('\\'); words.push(c); }
                    None => words.push('\\'),
                },
                c => words.push(c),
            }
        }
        prop_assert_eq!(&command.argv[2], &words);
        prop_assert_eq!(command.stdin.is_some(), end.is_some());
    }
}

//! The meaning of crontab, compared with a matcher that reads the text anew and against `croner`.

use chrono::{DateTime, NaiveDate, Utc};
use proptest::prelude::*;

use crate::oracle::{at, cron, expression, slots, utc, walk};
use crate::walk::walks;
use crate::{Cron, CronField};

fn error(text: &str) -> String {
    text.parse::<Cron>().expect_err(text).to_string()
}

#[test]
fn what_is_wrong_names_the_field_what_was_found_and_what_is_allowed() {
    insta::assert_snapshot!(
        ["60 * * * *", "* 24 * * *", "0 0 0 * *", "0 0 * foo *", "0 0 * * 8", "0 0 * * funday",
         "5/10 * * * *", "*/0 * * * *", "30-10 * * * *", "1,,2 * * * *", "* * * *", "",
         "* * * * * * *", "@reboot", "@fortnightly", "0 0 L * *", "0 0 ? * 1", "0 0 * * 1#2",
         "0 0 15W * *", "0 0 30 2 *", "0 0 31 2,4,6 */2", "-1 * * * *", "+1 * * * *",
         "99999999999 * * * *", "61 0 0 * * *", "*-5 * * * *", "** * * * *", "1-2-3 * * * *"]
        .map(error).join("\n"), @r"
    expected 0 to 59 in the minute field, found `60`
    expected 0 to 23 in the hour field, found `24`
    expected 1 to 31 in the day of month field, found `0`
    expected 1 to 12 or jan to dec in the month field, found `foo`
    expected 0 to 7 (0 and 7 are Sunday) or sun to sat in the day of week field, found `8`
    expected 0 to 7 (0 and 7 are Sunday) or sun to sat in the day of week field, found `funday`
    expected a step only after `*` or a range such as `5-59` in the minute field, found `5/10`
    expected a step of 1 to 255 after `/` in the minute field, found `*/0`
    expected 0 to 59, ranges going up in the minute field, found `30-10`
    expected 0 to 59 between commas in the minute field, found ``
    expected 5 fields (minute, hour, day of month, month, day of week), 6 with seconds first, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`, found 4 in `* * * *`
    expected 5 fields (minute, hour, day of month, month, day of week), 6 with seconds first, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`, found 0 in ``
    expected 5 fields (minute, hour, day of month, month, day of week), 6 with seconds first, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`, found 7 in `* * * * * * *`
    expected `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` or `@annually`, found `@reboot`: a schedule has due times, and the start of a machine is none; let the machine's init system run it
    expected `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` or `@annually`, found `@fortnightly`
    expected 1 to 31, without the signs that Quartz adds in the day of month field, found `L`
    expected 1 to 31, without the signs that Quartz adds in the day of month field, found `?`
    expected 0 to 7 (0 and 7 are Sunday) or sun to sat, without the signs that Quartz adds in the day of week field, found `1#2`
    expected 1 to 31, without the signs that Quartz adds in the day of month field, found `15W`
    `0 0 30 2 *` is never due: no month in the month field has a day in the day of month field
    `0 0 31 2,4,6 */2` is never due: no month in the month field has a day in the day of month field
    expected 0 to 59 in the minute field, found `-1`
    expected 0 to 59 in the minute field, found `+1`
    expected 0 to 59 in the minute field, found `99999999999`
    expected 0 to 59 in the second field, found `61`
    expected 0 to 59 in the minute field, found `*-5`
    expected 0 to 59 in the minute field, found `**`
    expected 0 to 59 in the minute field, found `1-2-3`
    ");
    assert!(error(&"1,".repeat(600)).contains("at most 1024 bytes"));
    let found = "0 24 * * *".parse::<Cron>().expect_err("an hour of 24").field();
    assert_eq!(found, Some(CronField::Hour));
}

#[test]
fn an_expression_that_is_never_due_is_refused_without_a_walk() {
    let before = walks();
    for text in
        ["0 0 30 2 *", "0 0 31 4 *", "0 0 31 2,4,6,9,11 *", "0 0 30,31 feb */2", "* * * 30-31 2 *"]
    {
        assert!(error(text).contains("never due"), "{text}");
    }
    assert_eq!(walks(), before, "the calendar was walked");
    // A day of the week makes up for it, and a leap year comes.
    for text in ["0 0 30 2 mon", "0 0 29 2 *", "0 0 29 2 */2", "0 0 31 */2 *"] {
        let timing = cron(text, utc());
        assert!(timing.next_after(at("2026-01-01T00:00:00Z")).is_some(), "{text}");
    }
}

#[test]
fn exactly_the_dates_that_no_year_has_are_never_due() {
    for month in 1..=12_u32 {
        for day in 1..=31_u32 {
            let text = format!("0 0 {day} {month} *");
            // 2028 is a leap year.
            let exists = NaiveDate::from_ymd_opt(2028, month, day).is_some();
            match text.parse::<Cron>() {
                Ok(_) => assert!(exists, "{text}"),
                Err(error) => assert!(!exists && error.to_string().contains("never due"), "{text}"),
            }
        }
    }
}

#[test]
fn every_weekday_falls_on_every_date_before_the_end_of_what_is_known() {
    // `*/7` is Sunday alone, and starts with `*`, so both fields must match.
    for (day, month) in [("29", "2"), ("31", "12"), ("1", "1")] {
        let timing = cron(&format!("0 0 {day} {month} */7"), utc());
        assert!(timing.next_after(at("2026-01-01T00:00:00Z")).is_some(), "{day} {month}");
    }
}

#[test]
fn sunday_is_0_and_7_and_names_are_read_in_any_case() {
    let from = at("2026-01-01T00:00:00Z").as_millis() / 1_000;
    let days = |weekday: &str| {
        let timing = cron(&format!("0 0 * * {weekday}"), utc());
        slots(&timing, from, from + 7 * 86_400)
            .into_iter()
            .map(|at| ((at / 86_400 + 4) % 7).to_string())
            .collect::<String>()
    };
    for sunday in ["0", "7", "sun", "SUN", "Sun", "0,7", "7-7", "*/7"] {
        assert_eq!(days(sunday), "0", "{sunday}");
    }
    assert_eq!(days("5-7"), "560");
    assert_eq!(days("fri-sun"), "560");
    assert_eq!(days("0-7"), days("*"));
    assert_eq!(days("*/2"), "6024");
    assert_eq!(
        days("mon,WED-fri"),
        "5134".chars().filter(|c| "1345".contains(*c)).collect::<String>()
    );
}

#[test]
fn two_restricted_day_fields_mean_either_and_a_star_means_both() {
    let from = at("2026-02-01T00:00:00Z").as_millis() / 1_000;
    let count = |expr: &str| slots(&cron(expr, utc()), from - 1, from + 28 * 86_400 - 1).len();
    assert_eq!(count("0 0 13 * fri"), 4, "Friday the 13th is one of four Fridays");
    assert_eq!(count("0 0 14 * fri"), 5);
    assert_eq!(count("0 0 */2 * fri"), 2, "Fridays with an odd date");
    assert_eq!(count("0 0 1-31 * fri"), 28, "1-31 is restricted, though it is every day");
    assert_eq!(count("0 0 */7 * *"), 4);
}

#[test]
fn aliases_are_five_fields() {
    let from = at("2025-12-31T00:00:00Z");
    for (alias, fields) in [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@ANNUALLY", "0 0 1 1 *"),
    ] {
        assert_eq!(cron(alias, utc()).next_after(from), cron(fields, utc()).next_after(from));
    }
    assert!("@hourly".parse::<Cron>().expect("an alias").is_wildcard());
    assert!(!"@daily".parse::<Cron>().expect("an alias").is_wildcard());
}

#[test]
fn an_expression_reads_back_from_its_text_and_from_json() {
    let expr: Cron = " */5\t0  * * mon ".parse().expect("an expression");
    assert_eq!(expr.to_string(), "*/5 0 * * mon");
    let json = serde_json::to_string(&expr).expect("json");
    assert_eq!(serde_json::from_str::<Cron>(&json).expect("an expression"), expr);
    let wrong = serde_json::from_str::<Cron>("\"0 24 * * *\"").expect_err("no hour");
    assert!(wrong.to_string().contains("hour field"), "{wrong}");
}

/// Restricted by a step alone, `croner` and crontab differ in what a `*` in a day field means.
fn read_alike(text: &str) -> bool {
    let words: Vec<&str> = text.split(' ').collect();
    let plain = |word: &str| word == "*" || !word.starts_with('*');
    plain(words[2]) && plain(words[4])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn due_times_in_utc_are_those_of_croner(text in expression(), day in 0_i64..3_653) {
        let Ok(_) = text.parse::<Cron>() else { return Ok(()) };
        prop_assume!(read_alike(&text));
        let from = at("2020-01-01T00:00:00Z").as_millis() / 1_000 + day * 86_400;
        let theirs: croner::Cron = text.parse().expect("croner reads it");
        let start = DateTime::<Utc>::from_timestamp(from, 0).expect("a time");
        let expected: Vec<i64> =
            theirs.iter_after(start).take(20).map(|time| time.timestamp()).collect();
        let Some(last) = expected.last() else { return Ok(()) };
        prop_assert_eq!(slots(&cron(&text, utc()), from, *last), expected, "{}", text);
    }

    /// Six fields, seconds first.
    #[test]
    fn due_times_with_seconds_are_those_of_croner(
        text in expression(), second in "[1-5]?[0-9]|\\*/[1-9]|[0-9]-[1-5][0-9](/[2-9])?",
        day in 0_i64..3_653,
    ) {
        prop_assume!(text.parse::<Cron>().is_ok() && read_alike(&text));
        let text = format!("{second} {text}");
        let from = at("2020-01-01T00:00:00Z").as_millis() / 1_000 + day * 86_400;
        let parser = croner::parser::CronParser::builder()
            .seconds(croner::parser::Seconds::Required)
            .build();
        let theirs = parser.parse(&text).expect("croner reads it");
        let start = DateTime::<Utc>::from_timestamp(from, 0).expect("a time");
        let expected: Vec<i64> =
            theirs.iter_after(start).take(20).map(|time| time.timestamp()).collect();
        let Some(last) = expected.last() else { return Ok(()) };
        prop_assert_eq!(slots(&cron(&text, utc()), from, *last), expected, "{}", text);
    }

    #[test]
    fn due_times_in_utc_are_those_of_a_walk(text in expression(), day in 0_i64..3_653) {
        let Ok(_) = text.parse::<Cron>() else { return Ok(()) };
        let from = at("2020-01-01T00:00:00Z").as_millis() / 1_000 + day * 86_400;
        let until = from + 3 * 86_400;
        let expected = walk(utc(), &text, from, until, 60);
        prop_assert_eq!(slots(&cron(&text, utc()), from, until), expected, "{}", text);
    }

    /// I27: no text panics, and what is read reads back.
    #[test]
    fn no_text_panics(text in prop_oneof![
        ".{0,60}",
        "[-0-9*/,@#?LWa-z ]{0,60}",
        "([*0-9][-*/,0-9]{0,6} ){4,6}[0-9*a-z]{1,4}",
    ]) {
        let before = walks();
        if let Ok(expr) = text.parse::<Cron>() {
            prop_assert_eq!(expr.to_string().parse::<Cron>(), Ok(expr));
        }
        prop_assert_eq!(walks(), before, "reading walks no calendar");
    }
}

//! Zones by name and as POSIX writes them.

use orx_model::Timestamp;
use orx_model::time::{Toward, parse_time};
use proptest::prelude::*;

use crate::oracle::{at, slots};
use crate::{Cron, DueRule, NamedZone, Schedule, Timing, Zone};

fn zone(text: &str) -> NamedZone {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn nightly(zone: NamedZone) -> Timing {
    Timing::new(DueRule::Cron("30 2 * * *".parse().expect("an expression")), zone)
}

#[test]
fn a_posix_string_is_a_zone_and_stays_as_it_is_written() {
    let rules = "CET-1CEST,M3.5.0,M10.5.0/3";
    let (from, until) = (at("2026-01-01T00:00:00Z"), at("2036-01-01T00:00:00Z"));
    let (from, until) = (from.as_millis() / 1_000, until.as_millis() / 1_000);
    let berlin = slots(&nightly(zone("Europe/Berlin")), from, until);
    assert_eq!(slots(&nightly(zone(rules)), from, until), berlin);
    let text = format!(
        r#"{{"id":"nightly","timing":{{"cron":"30 2 * * *"}},"zone":"{rules}","job":{{"name":"n"}}}}"#
    );
    let spec: Schedule = serde_json::from_str(&text).expect("a schedule");
    assert_eq!(serde_json::to_value(&spec).expect("json")["zone"], rules);
}

#[test]
fn what_reads_otherwise_than_it_is_meant_is_refused_with_both_meanings() {
    let answer = |text: &str| match text.parse::<NamedZone>() {
        Ok(zone) => format!("{text}: {zone}"),
        Err(error) => format!("{text}: {error}"),
    };
    let texts =
        ["europe/berlin", "posix/Europe/Berlin", "z", "right/Europe/Berlin", "UTC+3", "gmt-2", ""];
    insta::assert_snapshot!(texts.map(answer).join("\n"), @r"
    europe/berlin: Europe/Berlin
    posix/Europe/Berlin: Europe/Berlin
    z: UTC
    right/Europe/Berlin: expected a time zone such as `Europe/Berlin`, found `right/Europe/Berlin`; it counts leap seconds, and times here do not: `Europe/Berlin` does not
    UTC+3: expected a time zone such as `Europe/Berlin`, found `UTC+3`; `<-03>+3` is what POSIX means by it, `<+03>-3` the opposite
    gmt-2: expected a time zone such as `Europe/Berlin`, found `gmt-2`; `<+02>-2` is what POSIX means by it, `<-02>+2` the opposite
    : expected a time zone such as `Europe/Berlin`, found ``
    ");
}

#[test]
fn the_variable_tz_is_read_as_the_c_library_reads_it() {
    let read = |text: &str| NamedZone::from_posix(text).map(|zone| zone.to_string());
    assert_eq!(read("UTC+3").as_deref(), Ok("<-03>+3"));
    assert_eq!(read("AAA5BBB").as_deref(), Ok("AAA5BBB,M3.2.0,M11.1.0"));
    assert_eq!(read("<+0330>-3:30").as_deref(), Ok("<+0330>-3:30"));
    assert!(read("Mars/Base").is_err());
    let at = at("2026-07-01T00:00:00Z").as_millis() / 1_000;
    let east = |text: &str| NamedZone::from_posix(text).expect("a zone").rules().offset_at(at);
    assert_eq!([east("UTC+3"), east("AAA5BBB"), east("<+0330>-3:30")], [-10_800, -14_400, 12_600]);
}

proptest! {
    /// Whatever rules somebody writes: what is taken has due times that increase.
    #[test]
    fn any_posix_rules_are_refused_or_give_due_times_in_order(
        std in -24_i64..25, dst in -24_i64..25,
        from in "M[1-9]\\.[1-5]\\.[0-6]|J[1-9][0-9]{0,2}|[0-9]{1,3}", from_at in -167_i64..168,
        to in "M[1-9]\\.[1-5]\\.[0-6]|J[1-9][0-9]{0,2}|[0-9]{1,3}", to_at in -167_i64..168,
        minute in 0..60_u32, hour in 0..24_u32, ms in 0_i64..4_000_000_000_000,
    ) {
        let text = format!("AAA{std}BBB{dst},{from}/{from_at},{to}/{to_at}");
        let Ok(zone) = text.parse::<NamedZone>() else { return Ok(()) };
        let expr: Cron = format!("{minute} {hour} * * *").parse().expect("an expression");
        let timing = Timing::new(DueRule::Cron(expr), zone);
        let mut at = Timestamp::from_millis(ms);
        for _ in 0..40 {
            let Some(next) = timing.next_after(at) else { break };
            prop_assert!(next > at, "{} {} {}", text, at, next);
            at = next;
        }
    }
}

#[test]
fn a_time_with_its_zone_needs_no_seconds() {
    let berlin: Zone = "Europe/Berlin".parse().expect("a zone");
    let read = |text| parse_time(text, Timestamp::default(), &berlin, Toward::Future);
    for (text, wanted) in [
        ("2027-01-01T09:00+01:00", "2027-01-01T08:00:00Z"),
        ("2027-04-03T14:00Z", "2027-04-03T14:00:00Z"),
        ("2027-04-03 14:00z", "2027-04-03T14:00:00Z"),
        ("2027-04-03T14:00-03:30", "2027-04-03T17:30:00Z"),
        ("2027-04-03T14:00:09Z", "2027-04-03T14:00:09Z"),
        ("2027-04-03T14:00", "2027-04-03T12:00:00Z"),
    ] {
        assert_eq!(read(text), Ok(at(wanted)), "{text}");
    }
    for text in ["2027-04-03T14:00+1", "2027-04-03T14Z", "2027-04-03T25:00Z", "14:00Z"] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn a_time_that_the_jump_skips_is_just_after_it_and_of_two_the_first() {
    let zone: Zone = "Europe/Berlin".parse().expect("a zone");
    let now = at("2026-01-01T00:00:00Z");
    let read = |text| parse_time(text, now, &zone, Toward::Future).expect("a time").to_string();
    assert_eq!(read("2026-03-29 02:30"), "2026-03-29T01:00:00.000Z");
    assert_eq!(read("2026-10-25 02:30"), "2026-10-25T00:30:00.000Z");
}

//! Warnings about schedules that are valid but probably not meant.

use std::fmt;
use std::time::Duration;

use orx_model::Timestamp;
use orx_model::names;
use orx_model::schedule::Overlap;
use orx_model::time::format_duration;
use serde::{Deserialize, Serialize};

use crate::cron::{Cron, CronField, days_of};
use crate::preview::{ClockChange, minute_text};
use crate::spec::Schedule;
use crate::timing::{DueRule, Timing};

names! {
    /// The kind of a warning.
    pub enum WarningCode {
        /// No due time is left.
        NeverDue = "never_due",
        /// The zone's clock skips a due time within ten years.
        ClockSkips = "clock_skips",
        /// The zone's clock shows a due time twice within ten years.
        ClockRepeats = "clock_repeats",
        /// Some months have no such day.
        ShortMonths = "short_months",
        /// Due every minute or more often.
        Frequent = "frequent",
        /// A step that does not divide its field: the last gap is shorter.
        UnevenStep = "uneven_step",
        /// A step longer than its field.
        LongStep = "long_step",
        /// Both day fields are restricted: either makes a day due.
        EitherDay = "either_day",
        /// Both day fields are given, one with `*/n`: both must match.
        BothDays = "both_days",
        /// Runs may overlap, or be skipped or cancelled for it.
        RunTime = "run_time",
        /// The jitter is cut to the shortest gap between due times.
        JitterCut = "jitter_cut",
    }
}

/// A warning about a valid schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The kind.
    pub code: WarningCode,
    /// What happens, and when first.
    pub text: String,
}

/// `either_day: day of month and …`.
impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.text)
    }
}

/// Ten years.
const AHEAD_SECONDS: i64 = 3_653 * 24 * 60 * 60;
/// The number of due times searched for the shortest gap.
const GAPS: usize = 200;

/// Warnings about a schedule that passes [`Schedule::check`], from an instant on.
#[must_use]
pub fn lint(schedule: &Schedule, from: Timestamp) -> Vec<Warning> {
    let mut warnings = Warnings(Vec::new());
    let timing = schedule.timing();
    if timing.next_after(from).is_none() {
        warnings.add(WarningCode::NeverDue, format!("no due time is left after {from}"));
        return warnings.0;
    }
    if let DueRule::Cron(expr) = timing.pattern() {
        clock(&mut warnings, expr, timing, from);
        days(&mut warnings, expr);
        steps(&mut warnings, expr);
    }
    gaps(&mut warnings, schedule, from);
    warnings.0
}

struct Warnings(Vec<Warning>);

impl Warnings {
    fn add(&mut self, code: WarningCode, text: String) {
        self.0.push(Warning { code, text });
    }
}

/// The first due time that a clock change skips, and the first that one repeats.
fn clock(warnings: &mut Warnings, expr: &Cron, timing: &Timing, from: Timestamp) {
    let wildcard = expr.is_wildcard();
    // Every hour by elapsed time is what such an expression means, so a clock change is no surprise.
    if wildcard && expr.fields().hour.len() == CronField::Hour.size() {
        return;
    }
    let zone = timing.zone();
    let offsets = zone.offsets();
    let start = from.as_millis().div_euclid(1_000);
    let (mut skips, mut repeats) = (None, None);
    let mut segment = offsets.at(start);
    while let Some(next) = offsets.next(segment) {
        let change = ClockChange::between(segment, next);
        segment = next;
        if change.at > start.saturating_add(AHEAD_SECONDS) {
            break;
        }
        let (low, high) = (change.from.min(change.to), change.from.max(change.to));
        let Some(wall) = expr.next_wall(low - 1).filter(|wall| *wall < high) else { continue };
        let first = if change.to > change.from { &mut skips } else { &mut repeats };
        first.get_or_insert((change, minute_text(wall)));
    }
    if let Some((change, wall)) = skips {
        let end = minute_text(change.to);
        warnings.add(
            WarningCode::ClockSkips,
            if wildcard {
                format!("`{wall}` does not exist in {zone}: `{expr}` is not due in that hour")
            } else {
                format!("`{wall}` does not exist in {zone}: it runs right after the jump, at {end}")
            },
        );
    }
    if let Some((_, wall)) = repeats {
        warnings.add(
            WarningCode::ClockRepeats,
            if wildcard {
                format!("`{wall}` occurs twice in {zone}: `{expr}` is due both times")
            } else {
                format!("`{wall}` occurs twice in {zone}: it runs the first time only")
            },
        );
    }
}

fn days(warnings: &mut Warnings, expr: &Cron) {
    let fields = expr.fields();
    let (day, weekday) = (fields.day, fields.weekday);
    if fields.either_day() {
        warnings.add(
            WarningCode::EitherDay,
            "day of month and day of week are both restricted: it is due on days on which either \
             matches, not both"
                .to_owned(),
        );
        return;
    }
    let all_days = day.len() == CronField::DayOfMonth.size();
    let all_weekdays = weekday.len() == CronField::DayOfWeek.size();
    if !all_days && !all_weekdays {
        warnings.add(
            WarningCode::BothDays,
            "one of the day fields starts with `*`: it is due on days on which both match"
                .to_owned(),
        );
    }
    let names =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let without: Vec<&str> = (1..=12_u32)
        .zip(names)
        .filter(|(month, _)| fields.month.has(*month))
        .filter(|(month, _)| !day.values().any(|day| day <= days_of(*month)))
        .map(|(_, name)| name)
        .collect();
    let leap = fields.month.has(2) && day.values().min() == Some(29);
    if !without.is_empty() {
        let months = without.join(", ");
        warnings
            .add(WarningCode::ShortMonths, format!("it is not due in {months}: no such day there"));
    } else if leap {
        warnings.add(WarningCode::ShortMonths, "in Feb it is due in leap years only".to_owned());
    }
}

fn steps(warnings: &mut Warnings, expr: &Cron) {
    for field in CronField::ALL {
        let Some(step) = expr.fields().set(field).step else { continue };
        let size = field.size();
        if step >= size {
            warnings.add(
                WarningCode::LongStep,
                format!("`*/{step}` in the {field} field is one value only: it has {size}"),
            );
        } else if size % step != 0 && field != CronField::DayOfWeek {
            let last = (size - 1) % step + 1;
            warnings.add(
                WarningCode::UnevenStep,
                format!(
                    "`*/{step}` in the {field} field does not divide {size}: the gap to the next \
                     round is {last}, not {step}"
                ),
            );
        }
    }
}

fn gaps(warnings: &mut Warnings, schedule: &Schedule, from: Timestamp) {
    let timing = schedule.timing();
    let mut shortest: Option<Duration> = None;
    let mut at = timing.next_after(from);
    for _ in 0..GAPS {
        let Some((slot, next)) = at.and_then(|slot| Some((slot, timing.next_after(slot)?))) else {
            break;
        };
        let gap = next.saturating_since(slot);
        shortest = Some(shortest.map_or(gap, |shortest| shortest.min(gap)));
        at = Some(next);
    }
    let Some(shortest) = shortest else { return };
    let gap = format_duration(shortest);
    if shortest <= Duration::from_secs(60) {
        warnings.add(
            WarningCode::Frequent,
            format!("it is due every {gap}: each run adds a job to the store"),
        );
    }
    if u128::from(schedule.jitter_ms) >= shortest.as_millis() {
        warnings.add(
            WarningCode::JitterCut,
            format!("the jitter is cut where due times are {gap} apart: it ends before the next"),
        );
    }
    let longest = schedule.job.timeout_ms.filter(|ms| *ms > 0).map(Duration::from_millis);
    let known = match longest {
        Some(longest) if longest <= shortest => return,
        Some(longest) => format!("a run may take {}", format_duration(longest)),
        // A missing limit matters only where runs pile up or are cancelled.
        None if matches!(schedule.overlap, Overlap::Skip | Overlap::QueueOne)
            && shortest >= Duration::from_secs(60 * 60) =>
        {
            return;
        }
        None => "no timeout bounds a run".to_owned(),
    };
    let follows = match schedule.overlap {
        Overlap::Skip => "one that takes longer makes the next be skipped",
        Overlap::Allow => "runs that take longer pile up beside each other",
        Overlap::QueueOne => "one that takes longer delays the next",
        Overlap::CancelOld => "one that takes longer is cancelled by the next",
    };
    warnings.add(WarningCode::RunTime, format!("due times are {gap} apart and {known}: {follows}"));
}

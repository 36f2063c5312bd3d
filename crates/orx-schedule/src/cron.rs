//! Cron expressions: the five fields of a crontab line, or six with seconds first, with crontab's meaning.
//!
//! | field | allowed |
//! |---|---|
//! | second | 0-59; only with six fields |
//! | minute | 0-59 |
//! | hour | 0-23 |
//! | day of month | 1-31 |
//! | month | 1-12, jan-dec |
//! | day of week | 0-7, sun-sat; 0 and 7 are Sunday |
//!
//! A field is a list, separated by commas, of `*`, numbers, names and ranges `a-b`; after `*` and
//! ranges a step `/n`. A field that starts with `*` is unrestricted. Where both day fields are
//! restricted, a day on which either matches is due (`0 0 13 * fri`: every 13th and every Friday);
//! else both must match. Both rules are those of Vixie cron (crontab(5), `find_jobs` in its cron.c).
//!
//! `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` and `@annually` stand for five
//! fields. Extensions of Quartz and others (`?`, `L`, `W`, `#`, a year, `5/10`) are rejected.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use orx_model::schedule::CronExpr;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::walk::Walls;

/// A field of a cron expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CronField {
    /// Seconds: the first of six fields.
    Second,
    /// Minutes, 0 to 59.
    Minute,
    /// Hours, 0 to 23.
    Hour,
    /// Days of the month, 1 to 31.
    DayOfMonth,
    /// Months, 1 to 12 or by name.
    Month,
    /// Days of the week, 0 to 7 or by name; 0 and 7 are Sunday.
    DayOfWeek,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl CronField {
    pub(crate) const ALL: [Self; 6] =
        [Self::Second, Self::Minute, Self::Hour, Self::DayOfMonth, Self::Month, Self::DayOfWeek];

    /// The name for people: `day of month`.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        }
    }

    /// The allowed values, in words.
    #[must_use]
    pub fn allowed(self) -> &'static str {
        match self {
            Self::Second | Self::Minute => "0 to 59",
            Self::Hour => "0 to 23",
            Self::DayOfMonth => "1 to 31",
            Self::Month => "1 to 12 or jan to dec",
            Self::DayOfWeek => "0 to 7 (0 and 7 are Sunday) or sun to sat",
        }
    }

    fn bounds(self) -> (u8, u8) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 7),
        }
    }

    /// The number of different values.
    pub(crate) fn size(self) -> u32 {
        let (low, high) = self.bounds();
        match self {
            Self::DayOfWeek => 7,
            _ => u32::from(high - low) + 1,
        }
    }

    fn named(self, text: &str) -> Option<u8> {
        let place = |names: &[&str]| names.iter().position(|name| name.eq_ignore_ascii_case(text));
        match self {
            Self::Month => place(&MONTHS).and_then(|at| u8::try_from(at + 1).ok()),
            Self::DayOfWeek => place(&WEEKDAYS).and_then(|at| u8::try_from(at).ok()),
            Self::Second | Self::Minute | Self::Hour | Self::DayOfMonth => None,
        }
    }
}

impl fmt::Display for CronField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.words())
    }
}

/// Why a text is not a cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// A field has a value that it does not allow.
    #[error("expected {expected} in the {field} field, found `{found}`")]
    Field {
        /// The field.
        field: CronField,
        /// The allowed values.
        expected: String,
        /// The value that was found.
        found: String,
    },
    /// The number of fields is wrong.
    #[error(
        "expected 5 fields (minute, hour, day of month, month, day of week), 6 with seconds first, \
         or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`, found {fields} in `{found}`"
    )]
    Shape {
        /// The number of fields that was found.
        fields: usize,
        /// The text, cut to 80 characters.
        found: String,
    },
    /// It starts with `@` and is not an alias.
    #[error(
        "expected `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly` or \
         `@annually`, found `{found}`{why}"
    )]
    Alias {
        /// The text, cut to 80 characters.
        found: String,
        /// Why it is not supported; empty for an unknown word.
        why: &'static str,
    },
    /// It names only days that no month has.
    #[error(
        "`{found}` is never due: no month in the month field has a day in the day of month field"
    )]
    Never {
        /// The text, cut to 80 characters.
        found: String,
    },
    /// It is longer than an expression may be.
    #[error("a cron expression is at most {most} bytes, found {found}")]
    TooLong {
        /// The limit, in bytes.
        most: usize,
        /// The size of the text, in bytes.
        found: usize,
    },
}

impl CronError {
    /// The field that is wrong, if it is a single one.
    #[must_use]
    pub fn field(&self) -> Option<CronField> {
        match self {
            Self::Field { field, .. } => Some(*field),
            Self::Never { .. } => Some(CronField::DayOfMonth),
            Self::Shape { .. } | Self::Alias { .. } | Self::TooLong { .. } => None,
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// What one field allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Set {
    /// Bit n: the value n. Sunday is bit 0.
    pub(crate) bits: u64,
    /// Whether it starts with `*`: unrestricted in the terms of crontab.
    pub(crate) star: bool,
    /// The largest step after a `*`.
    pub(crate) step: Option<u32>,
}

impl Set {
    pub(crate) fn has(self, value: u32) -> bool {
        value < 64 && self.bits & (1 << value) != 0
    }

    pub(crate) fn values(self) -> impl Iterator<Item = u32> {
        (0..64).filter(move |value| self.has(*value))
    }

    pub(crate) fn len(self) -> u32 {
        self.bits.count_ones()
    }

    fn parse(field: CronField, text: &str) -> Result<Self, CronError> {
        let mut set = Self { star: text.starts_with('*'), ..Self::default() };
        for item in text.split(',') {
            set.add(field, item)?;
        }
        if field == CronField::DayOfWeek && set.has(7) {
            set.bits = set.bits & !(1 << 7) | 1;
        }
        Ok(set)
    }

    fn add(&mut self, field: CronField, item: &str) -> Result<(), CronError> {
        let wrong = |expected: String| CronError::Field { field, expected, found: shown(item) };
        let allowed = || {
            let quartz = item.contains(['?', '#']) || item.ends_with(['L', 'W']);
            let note = if quartz { ", without the signs that Quartz adds" } else { "" };
            wrong(format!("{}{note}", field.allowed()))
        };
        if item.is_empty() {
            return Err(wrong(format!("{} between commas", field.allowed())));
        }
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (low, high) = match range.split_once('-') {
            _ if range == "*" => field.bounds(),
            Some((low, high)) => {
                let start = value(field, low).ok_or_else(allowed)?;
                let mut end = value(field, high).ok_or_else(allowed)?;
                // In `fri-sun`, Sunday is the last day of the week.
                if field == CronField::DayOfWeek && end == 0 && start > 0 {
                    end = if field.named(high).is_some() { 7 } else { 0 };
                }
                if start > end {
                    return Err(wrong(format!("{}, ranges going up", field.allowed())));
                }
                (start, end)
            }
            None => {
                let value = value(field, range).ok_or_else(allowed)?;
                if step.is_some() {
                    let (_, last) = field.bounds();
                    return Err(wrong(format!(
                        "a step only after `*` or a range such as `{value}-{last}`"
                    )));
                }
                (value, value)
            }
        };
        let step = match step {
            None => 1,
            Some(digits) => {
                let step = number(digits).filter(|step| *step > 0);
                step.ok_or_else(|| wrong("a step of 1 to 255 after `/`".to_owned()))?
            }
        };
        if range == "*" && step > 1 {
            self.step = self.step.max(Some(u32::from(step)));
        }
        for value in (low..=high).step_by(usize::from(step)) {
            self.bits |= 1 << value;
        }
        Ok(())
    }
}

fn number(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn value(field: CronField, text: &str) -> Option<u8> {
    let (low, high) = field.bounds();
    field.named(text).or_else(|| number(text).filter(|value| (low..=high).contains(value)))
}

/// The fields, each as the set of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) second: Set,
    pub(crate) minute: Set,
    pub(crate) hour: Set,
    pub(crate) day: Set,
    pub(crate) month: Set,
    pub(crate) weekday: Set,
}

impl Fields {
    fn parse(words: [&str; 6]) -> Result<Self, CronError> {
        let [second, minute, hour, day, month, weekday] = words;
        Ok(Self {
            second: Set::parse(CronField::Second, second)?,
            minute: Set::parse(CronField::Minute, minute)?,
            hour: Set::parse(CronField::Hour, hour)?,
            day: Set::parse(CronField::DayOfMonth, day)?,
            month: Set::parse(CronField::Month, month)?,
            weekday: Set::parse(CronField::DayOfWeek, weekday)?,
        })
    }

    pub(crate) fn set(&self, field: CronField) -> Set {
        match field {
            CronField::Second => self.second,
            CronField::Minute => self.minute,
            CronField::Hour => self.hour,
            CronField::DayOfMonth => self.day,
            CronField::Month => self.month,
            CronField::DayOfWeek => self.weekday,
        }
    }

    /// Whether both day fields are restricted, so that either makes a day due.
    pub(crate) fn either_day(&self) -> bool {
        !self.day.star && !self.weekday.star
    }

    /// Days of the month that exist in some month of the expression.
    fn has_day(&self) -> bool {
        self.month.values().any(|month| self.day.values().any(|day| day <= days_of(month)))
    }

    /// Whether some day is due. Every weekday falls on every date within forty years, so only a date that
    /// no month has is never due.
    fn ever_due(&self) -> bool {
        self.either_day() || self.has_day()
    }
}

/// The most days a month can have.
pub(crate) fn days_of(month: u32) -> u32 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// A parsed cron expression. Equal where the text is equal; cheap to clone.
#[derive(Clone)]
pub struct Cron(Arc<ParsedCron>);

struct ParsedCron {
    expr: CronExpr,
    fields: Fields,
    walls: Walls,
}

impl Cron {
    /// The text, with single spaces.
    #[must_use]
    pub fn expr(&self) -> &CronExpr {
        &self.0.expr
    }

    /// Whether it follows elapsed time over clock changes, because its minute or hour field starts with
    /// `*`. Otherwise it names fixed times of the day. Vixie cron makes the same distinction
    /// (`MIN_STAR | HR_STAR`).
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.fields.minute.star || self.0.fields.hour.star
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.0.fields
    }

    /// The first wall-clock second after `after` that matches. Both are counted from 1970 as if the
    /// wall clock were UTC.
    pub(crate) fn next_wall(&self, after: i64) -> Option<i64> {
        self.0.walls.next(after)
    }
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        if text.len() > CronExpr::MAX_BYTES {
            return Err(CronError::TooLong { most: CronExpr::MAX_BYTES, found: text.len() });
        }
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let fields = match words.as_slice() {
            [alias] if alias.starts_with('@') => Fields::parse(named(alias)?)?,
            [minute, hour, day, month, weekday] => {
                Fields::parse(["0", minute, hour, day, month, weekday])?
            }
            [second, minute, hour, day, month, weekday] => {
                Fields::parse([second, minute, hour, day, month, weekday])?
            }
            _ => return Err(CronError::Shape { fields: words.len(), found: shown(text.trim()) }),
        };
        let text = words.join(" ");
        if !fields.ever_due() {
            return Err(CronError::Never { found: shown(&text) });
        }
        let Some(walls) = Walls::new(&fields) else {
            return Err(CronError::Never { found: shown(&text) });
        };
        Ok(Self(Arc::new(ParsedCron { expr: text.as_str().into(), fields, walls })))
    }
}

fn named(alias: &str) -> Result<[&'static str; 6], CronError> {
    let plain = alias.to_ascii_lowercase();
    Ok(match plain.as_str() {
        "@hourly" => ["0", "0", "*", "*", "*", "*"],
        "@daily" | "@midnight" => ["0", "0", "0", "*", "*", "*"],
        "@weekly" => ["0", "0", "0", "*", "*", "0"],
        "@monthly" => ["0", "0", "0", "1", "*", "*"],
        "@yearly" | "@annually" => ["0", "0", "0", "1", "1", "*"],
        "@reboot" => {
            let why = ": a schedule has due times, and the start of a machine is none; let the \
                       machine's init system run it";
            return Err(CronError::Alias { found: shown(alias), why });
        }
        "@every" => {
            let why = ": an interval is a schedule of its own kind, not a cron expression";
            return Err(CronError::Alias { found: shown(alias), why });
        }
        _ => return Err(CronError::Alias { found: shown(alias), why: "" }),
    })
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expr.fmt(f)
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({})", self.0.expr)
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.0.expr == other.0.expr
    }
}

impl Eq for Cron {}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.expr.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

//! Instants and durations as text, for people and programs. Reads no clock: `now` is an argument.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01 UTC. As text, RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-01-31T18:42:05.120Z")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first moment of the year 0: the earliest in RFC 3339.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// The last moment of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The instant, if it is in the years 0 to 9999, which every reader accepts.
    fn known(self) -> Option<Self> {
        (Self::MIN..=Self::MAX).contains(&self).then_some(self)
    }

    /// The instant this many milliseconds after 1970-01-01 UTC.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Later by a duration, at most the latest instant.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Earlier by a duration, at least the earliest instant.
    #[must_use]
    pub fn saturating_sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time since `earlier`; zero where `earlier` is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    fn utc(self) -> DateTime<Utc> {
        // Outside the range, the nearest instant that every reader accepts.
        DateTime::from_timestamp_millis(self.clamp(Self::MIN, Self::MAX).0).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// The text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time such as `2026-01-31T18:42:05Z`, `18:42` or `yesterday`, found `{found}`")]
pub struct ParseTimeError {
    /// The text that was found, cut to 80 characters.
    pub found: String,
}

impl ParseTimeError {
    fn new(found: &str) -> Self {
        Self { found: found.chars().take(80).collect() }
    }
}

impl FromStr for Timestamp {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        let time = DateTime::parse_from_rfc3339(text).ok();
        let known = time.and_then(|time| Self(time.timestamp_millis()).known());
        known.ok_or_else(|| ParseTimeError::new(text))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The wall clock of a place, for parsing and printing local times. All values are seconds since 1970; a
/// wall-clock time counts as if it were UTC. `orx-schedule` implements it for time zones.
pub trait WallClock {
    /// Seconds east of UTC at an instant.
    fn offset_at(&self, at: i64) -> i64;

    /// The first instant at which the clock shows `wall` or later: the earlier of two, or the end of a
    /// gap.
    fn first_reaching(&self, wall: i64) -> i64;
}

/// The clock of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UtcClock;

impl WallClock for UtcClock {
    fn offset_at(&self, _: i64) -> i64 {
        0
    }

    fn first_reaching(&self, wall: i64) -> i64 {
        wall
    }
}

/// The instant of a wall-clock time.
fn place(clock: &dyn WallClock, wall: NaiveDateTime) -> Timestamp {
    let wall = wall.and_utc();
    let at = clock.first_reaching(wall.timestamp());
    let ms = i64::from(wall.timestamp_subsec_millis());
    Timestamp(at.saturating_mul(1_000).saturating_add(ms))
}

fn shown(clock: &dyn WallClock, at: Timestamp) -> DateTime<FixedOffset> {
    let offset = clock.offset_at(at.0.div_euclid(1_000));
    let offset = i32::try_from(offset).ok().and_then(FixedOffset::east_opt);
    let utc = at.utc();
    // An offset may exceed the range of chrono.
    match offset.filter(|offset| utc.naive_utc().checked_add_offset(*offset).is_some()) {
        Some(offset) => utc.with_timezone(&offset),
        None => utc.fixed_offset(),
    }
}

/// Which day a time such as `18:42` is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toward {
    /// The latest in the past.
    Past,
    /// The next in the future.
    Future,
}

/// RFC 3339, with or without seconds, `YYYY-MM-DD [HH:MM[:SS]]`, `HH:MM[:SS]`, `now`, `today`,
/// `yesterday`, `tomorrow`.
///
/// # Errors
///
/// Any other text, and times outside of the years 0 to 9999.
pub fn parse_time(
    text: &str,
    now: Timestamp,
    clock: &dyn WallClock,
    toward: Toward,
) -> Result<Timestamp, ParseTimeError> {
    let error = || ParseTimeError::new(text);
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    if let Some(time) = without_seconds(text) {
        return Ok(time);
    }
    let today = shown(clock, now).date_naive();
    let day = chrono::Duration::days(1);
    let place = |wall| place(clock, wall).known().ok_or_else(error);
    let midnight = |date: NaiveDate| place(date.and_time(NaiveTime::MIN));
    match text {
        "now" => return Ok(now),
        "today" => return midnight(today),
        "yesterday" => return midnight(today - day),
        "tomorrow" => return midnight(today + day),
        _ => {}
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return midnight(date);
    }
    for form in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"] {
        if let Ok(wall) = NaiveDateTime::parse_from_str(text, form) {
            return place(wall);
        }
    }
    let time = NaiveTime::parse_from_str(text, "%H:%M:%S")
        .or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"))
        .map_err(|_| error())?;
    let at = |date: NaiveDate| place(date.and_time(time));
    let here = at(today)?;
    match toward {
        Toward::Past if here > now => at(today - day),
        Toward::Future if here <= now => at(today + day),
        Toward::Past | Toward::Future => Ok(here),
    }
}

/// `2027-01-01T09:00+01:00`, `2027-01-01 08:00Z`.
fn without_seconds(text: &str) -> Option<Timestamp> {
    const WALL: usize = "2027-01-01T09:00".len();
    let (wall, zone) = text.split_at_checked(WALL)?;
    // The rest is the zone, without seconds.
    if !zone.starts_with(['Z', 'z', '+', '-']) {
        return None;
    }
    format!("{wall}:00{zone}").parse().ok()
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// The text is not a duration.
    #[error("expected a duration such as `90s`, `2h30m` or `500ms`, found `{found}`")]
    Form {
        /// The text that was found, cut to 80 characters.
        found: String,
    },
    /// It is longer than ten years.
    #[error("expected a duration of at most ten years (`3650d`), found `{found}`")]
    TooLong {
        /// Bytes of the text.
        found: String,
    },
}

const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 24 * 60 * 60 * 1_000),
    ("d", 24 * 60 * 60 * 1_000),
    ("h", 60 * 60 * 1_000),
    ("m", 60 * 1_000),
    ("s", 1_000),
    ("ms", 1),
];

/// `90s`, `2h30m`, `1.5s`, `500ms`, `1w`; `0` alone needs no unit. No unit twice; at most ten years.
///
/// # Errors
///
/// Any other text, and a longer duration.
pub fn parse_duration(text: &str) -> Result<Duration, ParseDurationError> {
    let found = || text.chars().take(80).collect();
    let error = || ParseDurationError::Form { found: found() };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total_ms = 0_f64;
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        if seen.contains(&unit) || number.is_empty() || number.starts_with('.') {
            return Err(error());
        }
        seen.push(unit);
        total_ms += number.parse::<f64>().map_err(|_| error())? * *unit_ms as f64;
        rest = tail;
    }
    let most = crate::limits::DELAY_MAX.as_millis() as f64;
    if text.is_empty() {
        return Err(error());
    }
    if total_ms > most {
        return Err(ParseDurationError::TooLong { found: found() });
    }
    Ok(Duration::from_millis(total_ms.round() as u64))
}

/// A duration for people, with at most two units: `4m12s`, `3d4h`, `310ms`, `2.0s`.
#[must_use]
pub fn format_duration(span: Duration) -> String {
    let ms = span.as_millis() as u64;
    let seconds = ms / 1_000;
    match ms {
        0 => "0s".to_owned(),
        1..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{}.{}s", seconds, ms % 1_000 / 100),
        10_000..60_000 => format!("{seconds}s"),
        60_000..3_600_000 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600_000..86_400_000 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

fn two(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large}{large_unit}")
    } else {
        format!("{large}{large_unit}{small}{small_unit}")
    }
}

/// A change of a clock by milliseconds, for people: `forward by 10m`, `back by 2h`.
#[must_use]
pub fn jump_words(by_ms: i64) -> String {
    // In seconds, because two clocks are not read in the same moment.
    let seconds = by_ms.unsigned_abs().saturating_add(500) / 1_000;
    let by = format_duration(Duration::from_secs(seconds));
    if by_ms < 0 { format!("back by {by}") } else { format!("forward by {by}") }
}

/// A duration to the millisecond: parses to the same value.
#[must_use]
pub fn format_exact(span: Duration) -> String {
    let mut ms = span.as_millis() as u64;
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, unit_ms) in UNITS {
        if ms >= unit_ms {
            text.push_str(&format!("{}{unit}", ms / unit_ms));
            ms %= unit_ms;
        }
    }
    text
}

/// The style in which times are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeStyle {
    /// `4m12s ago`, `in 3h`.
    Relative,
    /// Local wall-clock time with its offset.
    Local,
    /// RFC 3339 in UTC.
    Utc,
    /// Seconds since 1970, with milliseconds.
    Unix,
}

impl FromStr for TimeStyle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "relative" => Ok(Self::Relative),
            "local" => Ok(Self::Local),
            "utc" => Ok(Self::Utc),
            "unix" => Ok(Self::Unix),
            _ => Err(format!("expected `relative`, `local`, `utc` or `unix`, found `{text}`")),
        }
    }
}

/// A time in a style; `clock` is the reader's wall clock.
#[must_use]
pub fn format_time(
    at: Timestamp,
    style: TimeStyle,
    now: Timestamp,
    clock: &dyn WallClock,
) -> String {
    match style {
        TimeStyle::Relative if at > now => {
            format!("in {}", format_duration(at.saturating_since(now)))
        }
        TimeStyle::Relative => format!("{} ago", format_duration(now.saturating_since(at))),
        // Absolute times always show their zone.
        TimeStyle::Local => shown(clock, at).format("%Y-%m-%d %H:%M:%S%.3f %:z").to_string(),
        TimeStyle::Utc => at.to_string(),
        TimeStyle::Unix => format!("{}.{:03}", at.0.div_euclid(1_000), at.0.rem_euclid(1_000)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_time_prints_as_rfc_3339_in_utc_with_milliseconds() {
        assert_eq!(time("2026-01-31T19:42:05.12+01:00").to_string(), "2026-01-31T18:42:05.120Z");
        assert!("2026-01-31".parse::<Timestamp>().is_err());
        for outside in ["9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00+01:00"] {
            assert!(outside.parse::<Timestamp>().is_err(), "{outside}");
        }
    }

    #[test]
    fn a_clock_time_is_the_last_or_the_next() {
        let now = time("2026-03-01T12:00:00Z");
        let read = |text, toward| parse_time(text, now, &UtcClock, toward).map(|t| t.to_string());
        assert_eq!(read("13:00", Toward::Past).as_deref(), Ok("2026-02-28T13:00:00.000Z"));
        assert_eq!(read("13:00", Toward::Future).as_deref(), Ok("2026-03-01T13:00:00.000Z"));
        assert_eq!(read("11:00", Toward::Future).as_deref(), Ok("2026-03-02T11:00:00.000Z"));
        assert_eq!(read("yesterday", Toward::Past).as_deref(), Ok("2026-02-28T00:00:00.000Z"));
        assert!(read("25:00", Toward::Past).is_err());
    }

    #[test]
    fn a_duration_that_is_too_long_is_an_error_of_its_own() {
        for text in ["3651d", "99999999999999999999d"] {
            let error = parse_duration(text).expect_err("too long").to_string();
            assert!(error.contains("at most ten years (`3650d`)"), "{error}");
        }
        assert!(parse_duration("3650d").is_ok());
    }

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(parse_duration("2h30m"), Ok(Duration::from_secs(9_000)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1_500)));
        for text in ["", "10", "5x", "1s1s", "-1s", "99w99999999d", "s", "1.2.3s", ".5s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_duration_shows_two_units_at_most() {
        let shown = |ms| format_duration(Duration::from_millis(ms));
        let all = [0, 310, 2_040, 9_999, 12_000, 252_000, 3_600_000, 273_600_000].map(shown);
        assert_eq!(all, ["0s", "310ms", "2.0s", "9.9s", "12s", "4m12s", "1h", "3d4h"]);
    }

    proptest! {
        #[test]
        fn an_exact_duration_reads_back(ms in 0_u64..315_360_000_000) {
            let span = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_exact(span)), Ok(span));
        }

        #[test]
        fn a_timestamp_reads_back(ms in Timestamp::MIN.0..=Timestamp::MAX.0) {
            let at = Timestamp::from_millis(ms);
            prop_assert_eq!(at.to_string().parse::<Timestamp>(), Ok(at));
        }

        #[test]
        fn any_timestamp_is_shown_so_that_it_can_be_read(ms in any::<i64>()) {
            let at = Timestamp::from_millis(ms);
            let shown = at.clamp(Timestamp::MIN, Timestamp::MAX);
            prop_assert_eq!(at.to_string().parse::<Timestamp>(), Ok(shown));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let now = Timestamp::from_millis(0);
            let _ = parse_duration(&text);
            let _ = parse_time(&text, now, &UtcClock, Toward::Past);
        }
    }
}

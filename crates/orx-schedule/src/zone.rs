//! Time zones by name.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use orx_model::schedule::ZoneName;
use orx_model::text::nearest;
use orx_model::time::WallClock;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rules::{Offsets, ZoneRules, source};

/// A time zone with the same meaning on every host: one of the IANA database (`Europe/Berlin`, `UTC`), or
/// the rules themselves as POSIX writes them (`CET-1CEST,M3.5.0,M10.5.0/3`). Never "the local one":
/// a schedule may be written on one host and fired on another. Cheap to clone; it keeps the rules that
/// were in force when it was parsed.
#[derive(Clone)]
pub struct NamedZone {
    name: ZoneName,
    rules: ZoneRules,
}

impl Default for NamedZone {
    fn default() -> Self {
        Self { name: ZoneName::default(), rules: ZoneRules::utc() }
    }
}

impl fmt::Debug for NamedZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamedZone").field(&self.as_str()).finish()
    }
}

impl PartialEq for NamedZone {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for NamedZone {}

impl Hash for NamedZone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl NamedZone {
    /// Its name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.name.as_str()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ZoneName {
        &self.name
    }

    /// The rules of its clock.
    #[must_use]
    pub fn rules(&self) -> &ZoneRules {
        &self.rules
    }

    pub(crate) fn offsets(&self) -> &Offsets {
        self.rules.offsets()
    }

    /// Parses `TZ` as the C library does: as a POSIX string, with the rules of the United States where it
    /// names summer time without rules. `UTC+3`, which in POSIX is three hours west, is rewritten as
    /// `<-03>+3`, which cannot be misread as east.
    ///
    /// # Errors
    ///
    /// The text is not a POSIX string.
    pub fn from_posix(text: &str) -> Result<Self, ParseZoneError> {
        let plain = both_meanings(text).map_or_else(|| text.to_owned(), |(west, _)| west);
        for written in [format!("{plain},M3.2.0,M11.1.0"), plain] {
            if let Ok(rules) = ZoneRules::from_posix(&written) {
                return Ok(Self { name: written.as_str().into(), rules });
            }
        }
        Err(ParseZoneError::new(text, String::new()))
    }
}

/// The meaning of `UTC+3` and the like in POSIX, and to a reader. `None` for any other text.
fn both_meanings(text: &str) -> Option<(String, String)> {
    let upper = text.get(..3)?.to_ascii_uppercase();
    let sign = text.get(3..4)?;
    let hours: u32 = text.get(4..)?.parse().ok()?;
    if !matches!(upper.as_str(), "UTC" | "GMT") || !matches!(sign, "+" | "-") || hours > 24 {
        return None;
    }
    let (west, east) = (format!("<-{hours:02}>+{hours}"), format!("<+{hours:02}>-{hours}"));
    Some(if sign == "+" { (west, east) } else { (east, west) })
}

/// The text is not a known time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a time zone such as `Europe/Berlin`, found `{found}`{hint}")]
pub struct ParseZoneError {
    found: String,
    hint: String,
}

impl ParseZoneError {
    fn new(text: &str, hint: String) -> Self {
        Self { found: text.chars().take(80).collect(), hint }
    }
}

impl FromStr for NamedZone {
    type Err = ParseZoneError;

    /// Parses a name, ignoring case; `Z` is UTC.
    fn from_str(text: &str) -> Result<Self, ParseZoneError> {
        if text == "UTC" || text.eq_ignore_ascii_case("z") {
            return Ok(Self::default());
        }
        // The database contains its zones a second time under this prefix.
        let name = text.strip_prefix("posix/").unwrap_or(text);
        if let Some((name, rules)) = source().find(name) {
            return Ok(Self { name: name[..].into(), rules });
        }
        if let Some(name) = text.strip_prefix("right/") {
            let hint =
                format!("; it counts leap seconds, and times here do not: `{name}` does not");
            return Err(ParseZoneError::new(text, hint));
        }
        if let Some((as_posix, as_read)) = both_meanings(text) {
            let hint =
                format!("; `{as_posix}` is what POSIX means by it, `{as_read}` the opposite");
            return Err(ParseZoneError::new(text, hint));
        }
        if let Ok(rules) = ZoneRules::from_posix(text) {
            return Ok(Self { name: text.into(), rules });
        }
        let found: String = text.chars().take(80).collect();
        // The distance to each name takes time proportional to the text.
        let names = source().names();
        let near = nearest(&found, names.iter().map(String::as_str));
        let hint = match near {
            // The database lists the name, but has no rules for it.
            Some(near) if near == text => "; its file in the zone database is damaged".to_owned(),
            Some(near) => format!("; did you mean `{near}`?"),
            None => String::new(),
        };
        Err(ParseZoneError { found, hint })
    }
}

impl fmt::Display for NamedZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for NamedZone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for NamedZone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The wall clock for parsing and printing times.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Zone {
    /// UTC.
    #[default]
    Utc,
    /// A zone with a name.
    Named(NamedZone),
    /// The rules of one host, without a name elsewhere.
    Unnamed(ZoneRules),
}

impl FromStr for Zone {
    type Err = ParseZoneError;

    fn from_str(text: &str) -> Result<Self, ParseZoneError> {
        match text {
            "UTC" | "utc" | "Z" => Ok(Self::Utc),
            name => name.parse().map(Self::Named),
        }
    }
}

impl WallClock for Zone {
    fn offset_at(&self, at: i64) -> i64 {
        match self {
            Self::Utc => 0,
            Self::Named(zone) => zone.rules.offset_at(at),
            Self::Unnamed(rules) => rules.offset_at(at),
        }
    }

    fn first_reaching(&self, wall: i64) -> i64 {
        match self {
            Self::Utc => wall,
            Self::Named(zone) => zone.offsets().first_reaching(wall),
            Self::Unnamed(rules) => rules.offsets().first_reaching(wall),
        }
    }
}

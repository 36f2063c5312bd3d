//! Time zones by name.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::zone::{Offsets, ZoneRules, source};

/// A zone that means the same on every machine: one of the IANA database (`Europe/Berlin`, `UTC`), or
/// the rules themselves as POSIX writes them (`CET-1CEST,M3.5.0,M10.5.0/3`). Never "the local one":
/// where a schedule is read and where it is fired are different machines. Cheap to clone; it keeps the
/// rules that held when it was read.
#[derive(Clone, utoipa::ToSchema)]
#[schema(value_type = String, example = "Europe/Berlin")]
pub struct ZoneName(Named);

#[derive(Clone)]
struct Named {
    name: Arc<str>,
    rules: ZoneRules,
}

impl Default for ZoneName {
    fn default() -> Self {
        Self(Named { name: Arc::from("UTC"), rules: ZoneRules::utc() })
    }
}

impl fmt::Debug for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ZoneName").field(&self.as_str()).finish()
    }
}

impl PartialEq for ZoneName {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for ZoneName {}

impl Hash for ZoneName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl ZoneName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.name
    }

    #[must_use]
    pub fn rules(&self) -> &ZoneRules {
        &self.0.rules
    }

    pub(super) fn offsets(&self) -> &Offsets {
        self.0.rules.offsets()
    }

    /// What `TZ` means to the C library: a POSIX string whatever it starts with, with the rules of the
    /// United States where it names summer time and no rules. One that reads like `UTC+3`, which POSIX
    /// has three hours west, is written so that nobody takes it for three hours east: `<-03>+3`.
    ///
    /// # Errors
    ///
    /// What is no POSIX string.
    pub fn from_posix(text: &str) -> Result<Self, ParseZoneError> {
        let plain = said_plainly(text).map_or_else(|| text.to_owned(), |(west, _)| west);
        for written in [format!("{plain},M3.2.0,M11.1.0"), plain] {
            if let Ok(rules) = ZoneRules::from_posix(&written) {
                return Ok(Self(Named { name: Arc::from(written), rules }));
            }
        }
        Err(ParseZoneError::new(text, String::new()))
    }
}

/// `UTC+3` and the like: as POSIX means it, and as a reader may. `None` for what is no such string.
fn said_plainly(text: &str) -> Option<(String, String)> {
    let upper = text.get(..3)?.to_ascii_uppercase();
    let sign = text.get(3..4)?;
    let hours: u32 = text.get(4..)?.parse().ok()?;
    if !matches!(upper.as_str(), "UTC" | "GMT") || !matches!(sign, "+" | "-") || hours > 24 {
        return None;
    }
    let (west, east) = (format!("<-{hours:02}>+{hours}"), format!("<+{hours:02}>-{hours}"));
    Some(if sign == "+" { (west, east) } else { (east, west) })
}

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

impl FromStr for ZoneName {
    type Err = ParseZoneError;

    /// In any case; `Z` is UTC.
    fn from_str(text: &str) -> Result<Self, ParseZoneError> {
        if text == "UTC" || text.eq_ignore_ascii_case("z") {
            return Ok(Self::default());
        }
        // The database holds its zones a second time under this name.
        let name = text.strip_prefix("posix/").unwrap_or(text);
        if let Some((name, rules)) = source().find(name) {
            return Ok(Self(Named { name, rules }));
        }
        if let Some(name) = text.strip_prefix("right/") {
            let hint =
                format!("; it counts leap seconds, and times here do not: `{name}` does not");
            return Err(ParseZoneError::new(text, hint));
        }
        if let Some((as_posix, as_read)) = said_plainly(text) {
            let hint =
                format!("; `{as_posix}` is what POSIX means by it, `{as_read}` the opposite");
            return Err(ParseZoneError::new(text, hint));
        }
        if let Ok(rules) = ZoneRules::from_posix(text) {
            return Ok(Self(Named { name: Arc::from(text), rules }));
        }
        let found: String = text.chars().take(80).collect();
        // The distance to each name takes time that grows with the text.
        let names = source().names();
        let near = crate::text::nearest(&found, names.iter().map(String::as_str));
        let hint = match near {
            // It stands in the database, and was not found there.
            Some(near) if near == text => "; its file in the zone database is damaged".to_owned(),
            Some(near) => format!("; did you mean `{near}`?"),
            None => String::new(),
        };
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

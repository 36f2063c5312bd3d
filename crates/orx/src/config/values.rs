//! Types of single settings, each as it is written in the configuration file.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use clap::ValueEnum;
use orx_model::time::{format_exact, parse_duration};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ui::{ColorChoice, Format};

/// A duration in human notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConfigDuration(pub Duration);

impl<'de> Deserialize<'de> for ConfigDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(ConfigDuration).map_err(D::Error::custom)
    }
}

impl Serialize for ConfigDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&if self.0.is_zero() {
            "0".to_owned()
        } else {
            format_exact(self.0)
        })
    }
}

/// A URL that may contain a password, and is printed without it.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretUrl(pub(crate) String);

impl Deref for SecretUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", shown_url(&self.0))
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&shown_url(&self.0))
    }
}

/// A URL for printing: without user, password and query, which may contain a password too.
pub(crate) fn shown_url(url: &str) -> String {
    let shown = orx_model::mask::without_userinfo(url);
    shown.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// A token, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The promise of a store for acknowledged changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoreDurability {
    /// They survive a power loss.
    Full,
    /// A power loss may lose the most recent ones.
    Relaxed,
}

/// Whether a worker runs commands that are part of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commands {
    /// Only where every address is on loopback, so that all callers are users of one machine.
    Auto,
    Always,
    Never,
}

impl Commands {
    #[must_use]
    pub(crate) fn taken(self, on_loopback: bool) -> bool {
        match self {
            Self::Auto => on_loopback,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

impl std::str::FromStr for Commands {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "true" => Ok(Self::Always),
            "false" => Ok(Self::Never),
            _ => Err(format!("expected `auto`, `true` or `false`, found `{text}`")),
        }
    }
}

impl Serialize for Commands {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Always => serializer.serialize_bool(true),
            Self::Never => serializer.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for Commands {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum BoolOrText {
            Known(bool),
            Text(String),
        }
        match BoolOrText::deserialize(deserializer)? {
            BoolOrText::Known(true) => Ok(Self::Always),
            BoolOrText::Known(false) => Ok(Self::Never),
            BoolOrText::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

/// One of the values that a flag of this type takes.
fn one_of<'de, T: ValueEnum, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    T::from_str(&text, false).map_err(|_| {
        let all = T::value_variants().iter().filter_map(T::to_possible_value);
        let names: Vec<String> = all.map(|value| value.get_name().to_owned()).collect();
        D::Error::custom(format!("must be one of {}, found `{text}`", names.join(", ")))
    })
}

fn name_of<T: ValueEnum, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let value = value.to_possible_value();
    serializer.serialize_str(value.as_ref().map_or("", |value| value.get_name()))
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_of(deserializer)
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        name_of(self, serializer)
    }
}

impl<'de> Deserialize<'de> for ColorChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_of(deserializer)
    }
}

impl Serialize for ColorChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        name_of(self, serializer)
    }
}

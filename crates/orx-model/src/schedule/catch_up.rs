//! How many missed slots a schedule catches up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many missed slots are caught up. As text `none`, `one`, `all`, `all:5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CatchUp {
    /// None of them.
    None,
    /// One run for all of them: the newest slot within the window. A slot that is due now counts as that
    /// run.
    #[default]
    One,
    /// The newest slots up to this number, oldest first; 1 to [`CatchUp::ALL_MAX`].
    All(u32),
}

impl CatchUp {
    /// The number for `all` without one.
    pub const ALL_MAX: u32 = 1_000;
}

impl fmt::Display for CatchUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::One => f.pad("one"),
            Self::All(Self::ALL_MAX) => f.pad("all"),
            Self::All(most) => f.pad(&format!("all:{most}")),
        }
    }
}

/// The text is not a catch-up policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected `none`, `one`, `all` or `all:N` with N of 1 to {}, found `{found}`",
    CatchUp::ALL_MAX
)]
pub struct ParseCatchUpError {
    /// The text that was found, cut to 80 characters.
    pub found: String,
}

impl FromStr for CatchUp {
    type Err = ParseCatchUpError;

    fn from_str(text: &str) -> Result<Self, ParseCatchUpError> {
        let error = || ParseCatchUpError { found: text.chars().take(80).collect() };
        match text {
            "none" => Ok(Self::None),
            "one" => Ok(Self::One),
            "all" => Ok(Self::All(Self::ALL_MAX)),
            _ => {
                let digits = text.strip_prefix("all:").ok_or_else(error)?;
                let plain = digits.bytes().all(|b| b.is_ascii_digit());
                match digits.parse() {
                    Ok(most) if plain && (1..=Self::ALL_MAX).contains(&most) => Ok(Self::All(most)),
                    _ => Err(error()),
                }
            }
        }
    }
}

impl Serialize for CatchUp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CatchUp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Not derived: the JSON form is a string.
impl utoipa::PartialSchema for CatchUp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("How many of the slots that were missed are run afterwards."))
            .pattern(Some("^(none|one|all(:[1-9][0-9]{0,3})?)$"))
            .examples(["all:5"])
            .into()
    }
}

impl utoipa::ToSchema for CatchUp {}

//! Each kind of id is a type with its own text form, so the compiler rejects a job id in place of an
//! attempt id, and the parser reports what it expected and found.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;

use rand::Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The text is not an id of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found `{found}`")]
pub struct ParseIdError {
    /// The expected form.
    pub expected: &'static str,
    /// The text that was found, cut to a limit.
    pub found: String,
}

impl ParseIdError {
    pub(crate) fn new(expected: &'static str, found: &str) -> Self {
        // An id comes from outside, so the length of a wrong one is limited.
        Self { expected, found: found.chars().take(80).collect() }
    }
}

/// An id that the store counts up from 1, in digits alone.
fn parse_number(text: &str, expected: &'static str) -> Result<i64, ParseIdError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|id| digits && (1..=JobId::MAX).contains(id));
    id.ok_or_else(|| ParseIdError::new(expected, text))
}

/// A job id, which the store assigns and never reuses. At least 1 and below 2^53, so that every JSON reader
/// reads it exactly.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = i64, minimum = 1, example = 1423)]
pub struct JobId(pub i64);

impl JobId {
    /// The largest id; a double represents it exactly.
    pub const MAX: i64 = (1 << 53) - 1;
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_number(text, "a job id such as `1423`").map(Self)
    }
}

/// The id of an operation over many jobs, which the store assigns: 1, 2, ….
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = i64, minimum = 1, example = 17)]
pub struct OperationId(pub i64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for OperationId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        parse_number(text, "the id of an operation such as `17`").map(Self)
    }
}

/// One try to run a job, numbered from 1. Printed and typed as `1423.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The job.
    pub job: JobId,
    /// Number of the attempt, from 1.
    pub number: NonZeroU32,
}

impl AttemptId {
    /// `None` for number 0: a job that was not yet claimed has no attempt.
    #[must_use]
    pub fn new(job: JobId, number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(|number| Self { job, number })
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.number)
    }
}

impl FromStr for AttemptId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = || ParseIdError::new("an attempt such as `1423.2`", text);
        let (job, number) = text.split_once('.').ok_or_else(error)?;
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        Ok(Self {
            job: job.parse().map_err(|_| error())?,
            number: number.parse().map_err(|_| error())?,
        })
    }
}

impl Serialize for AttemptId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AttemptId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
        #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
        pub struct $name(pub u128);

        impl $name {
            /// A new random id.
            pub fn random(rng: &mut (impl Rng + ?Sized)) -> Self {
                Self((u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64()))
            }

            /// Its 16 bytes.
            #[must_use]
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }

            /// The id with these bytes.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(u128::from_be_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let error = || ParseIdError::new($expected, text);
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(error());
                }
                u128::from_str_radix(text, 16).map(Self).map_err(|_| error())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

random_id!(
    /// Id of one attempt for the store and workers: 128 random bits, which the claiming leader draws.
    ExecutionId,
    "an execution id of 32 hexadecimal digits"
);
random_id!(
    /// Id of one start of a worker or node. Its name is for people only.
    Incarnation,
    "an incarnation of 32 hexadecimal digits"
);
random_id!(
    /// Id of one envelope, by which readers recognise duplicates.
    MessageId,
    "a message id of 32 hexadecimal digits"
);

/// A name that people choose: of a job type, queue, handler or worker. 1 to 128 of `A-Za-z0-9._:-`,
/// not starting with `-`: safe in a terminal, a shell, a metric label and a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, pattern = "^[A-Za-z0-9._:][A-Za-z0-9._:-]{0,127}$")]
pub struct Name(Arc<str>);

impl Name {
    /// Longest name, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A valid name for any text, with `-` for each character that is not allowed. For job types derived
    /// from the path of a command.
    #[must_use]
    pub fn from_any(text: &str) -> Self {
        let mut name: String = text
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._:-".contains(c) { c } else { '-' })
            .take(Self::MAX_BYTES)
            .collect();
        if name.is_empty() || name.starts_with('-') {
            name.insert(0, '_');
            name = name.replacen('_', ".", 1);
            name.truncate(Self::MAX_BYTES);
        }
        Self(name.into())
    }
}

impl FromStr for Name {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
        let right = (1..=Self::MAX_BYTES).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(allowed);
        if right {
            Ok(Self(text.into()))
        } else {
            Err(ParseIdError::new("a name of 1 to 128 letters, digits, `.`, `_`, `:`, `-`", text))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_reads_as_it_prints() {
        let attempt: AttemptId = "1423.2".parse().expect("an attempt");
        assert_eq!((attempt.job, attempt.number.get()), (JobId(1423), 2));
        assert_eq!(attempt.to_string(), "1423.2");
    }

    #[test]
    fn what_is_no_id_is_refused_with_what_was_found() {
        for text in ["", "0", "-1", "+1", "1.2", "9007199254740992", "x"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        for text in ["1423", "1423.", "1423.0", "1423.+2", ".2", "1.2.3"] {
            assert!(text.parse::<AttemptId>().is_err(), "{text}");
        }
        let error = "12.x".parse::<AttemptId>().expect_err("no attempt");
        assert_eq!(error.to_string(), "expected an attempt such as `1423.2`, found `12.x`");
    }

    #[test]
    fn a_name_holds_nothing_a_terminal_or_shell_could_act_on() {
        for text in ["", "-x", "a b", "a\u{1b}[2J", "ä", "a/b", &"x".repeat(129)] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
            let near = Name::from_any(text);
            assert_eq!(near.as_str().parse::<Name>().as_ref(), Ok(&near), "{text:?}");
        }
    }

    #[test]
    fn a_random_id_reads_as_it_prints() {
        let id = ExecutionId(0x0123);
        assert_eq!(id.to_string(), "00000000000000000000000000000123");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(ExecutionId::from_bytes(id.to_bytes()), id);
    }
}

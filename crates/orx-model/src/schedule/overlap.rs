//! What a schedule does while its previous run has not ended.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What happens to a slot that becomes due while the previous run has not ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The slot is skipped.
    #[default]
    Skip,
    /// Both run at once.
    Allow,
    /// The slot waits for the previous run; at most one slot waits.
    #[serde(alias = "queue-one")]
    QueueOne,
    /// The previous run is cancelled, and the slot runs after its end.
    #[serde(alias = "cancel-old")]
    CancelOld,
}

impl Overlap {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::Skip, Self::Allow, Self::QueueOne, Self::CancelOld];

    /// The name on the command line: `queue-one`. JSON has `queue_one`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Allow => "allow",
            Self::QueueOne => "queue-one",
            Self::CancelOld => "cancel-old",
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not an overlap policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `skip`, `allow`, `queue-one` or `cancel-old`, found `{found}`")]
pub struct ParseOverlapError {
    /// The text that was found, cut to 80 characters.
    pub found: String,
}

impl FromStr for Overlap {
    type Err = ParseOverlapError;

    /// Also accepts `queue_one`.
    fn from_str(text: &str) -> Result<Self, ParseOverlapError> {
        let plain = text.to_ascii_lowercase().replace('_', "-");
        Self::ALL
            .into_iter()
            .find(|overlap| overlap.as_str() == plain)
            .ok_or_else(|| ParseOverlapError { found: text.chars().take(80).collect() })
    }
}

//! The secret of a worker's incarnation: a request that contains it comes from the process that
//! registered. An incarnation is public: views and `ps` show it. Its secret is in one response only, and
//! neither type here prints its content.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The header in which a worker sends its secret.
pub const WORKER_SECRET: &str = "orx-worker-secret";

/// The secret itself: 64 hexadecimal digits, held by its worker alone.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
pub struct WorkerSecret(String);

impl WorkerSecret {
    const DIGITS: usize = 64;

    /// The secret with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Parses the 64 digits; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == Self::DIGITS && text.bytes().all(digit)).then(|| Self(text.to_owned()))
    }

    /// The 64 digits, for the header and for hashing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WorkerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerSecret(…)")
    }
}

/// The stored form of a [`WorkerSecret`]: its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_back_and_never_shown() {
        let secret = WorkerSecret::from_bytes([0xa5; 32]);
        assert_eq!(WorkerSecret::parse(secret.expose()), Some(secret.clone()));
        let shown = format!("{secret:?} {:?}", SecretHash([0xa5; 32]));
        assert_eq!(shown, "WorkerSecret(…) SecretHash(…)");
        for no_secret in ["", "a5", &secret.expose().to_uppercase(), &"g".repeat(64)] {
            assert_eq!(WorkerSecret::parse(no_secret), None);
        }
    }
}

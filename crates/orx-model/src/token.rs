//! Tokens as the API speaks of them. The text of a token is in one answer only: the one to the
//! request that made it.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A token to make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// `service`, `read`, `admin`, `exec`, `worker`, `node`; at least one.
    pub scopes: Vec<String>,
    /// For people: what it is for. At most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Ends so long from now; without it, it does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// What is known of a token. Never the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenView {
    /// The part that is no secret, and names it.
    pub id: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// What it is for, in the words of who made it.
    pub note: String,
    /// `valid`, `expired` or `revoked`.
    pub state: TokenState,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when it does not count; absent for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked; absent where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Roughly, and only as far as the server that answers knows since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

/// Whether a token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// It counts.
    Valid,
    /// Its time is over.
    Expired,
    /// Somebody took it back.
    Revoked,
}

impl TokenState {
    /// The name as JSON has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A token that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenMade {
    /// Version of the format: 1.
    pub v: u32,
    /// The token itself. It is shown here, and nowhere again.
    pub token: String,
    /// The id by which it is listed and revoked.
    pub id: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// What it is for.
    pub note: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when it does not count; absent for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl std::fmt::Debug for TokenMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the token.
        f.debug_struct("TokenMade").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Every token, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenList {
    /// Version of the format: 1.
    pub v: u32,
    /// The tokens, without their secrets.
    pub tokens: Vec<TokenView>,
}

/// Tokens to revoke: all of them, or none where one is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// 1 to 100.
    pub ids: Vec<String>,
}

/// What became of a request to revoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RevokeAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// In the order asked for. One that was revoked before keeps its time.
    pub tokens: Vec<TokenView>,
}

/// Routes of the API.
pub mod path {
    /// GET lists, POST makes one.
    pub const TOKENS: &str = "/admin/v1/tokens";
    /// Revoke tokens.
    pub const TOKENS_REVOKE: &str = "/admin/v1/tokens/revoke";
}

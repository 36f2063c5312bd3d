//! Tokens in the API. The text of a token is in one response only: to the request that created it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::names;

/// A token to make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// `service`, `read`, `admin`, `exec`, `worker`, `node`; at least one.
    pub scopes: Vec<String>,
    /// What the token is for; at most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Lifetime from now, in milliseconds; without it, the token does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// A token without its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenView {
    /// The public part of the token, by which it is listed and revoked.
    pub id: String,
    /// The scopes of the token.
    pub scopes: Vec<String>,
    /// What the token is for, as its creator wrote it.
    pub note: String,
    /// `valid`, `expired` or `revoked`.
    pub state: TokenState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked; absent where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// Last use, roughly, as far as this server has seen it since its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
}

names! {
    /// What a token allows.
    #[derive(PartialOrd, Ord)]
    pub enum Scope {
        /// Enqueue, read, wait for and cancel jobs.
        Service = "service",
        /// Read everything.
        Read = "read",
        /// Everything but [`Scope::Node`].
        Admin = "admin",
        /// Give commands with jobs.
        Exec = "exec",
        /// Call as a worker.
        Worker = "worker",
        /// Call as a coordinator.
        Node = "node",
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::of_name(text).ok_or_else(|| format!("there is no scope `{text}`"))
    }
}

names! {
    /// Whether a token is valid.
    #[derive(utoipa::ToSchema)]
    pub enum TokenState {
        /// The token is valid.
        Valid = "valid",
        /// The token has expired.
        Expired = "expired",
        /// The token was revoked.
        Revoked = "revoked",
    }
}

/// A new token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TokenMade {
    /// Version of the format: 1.
    pub v: u32,
    /// The token itself. No other response contains it.
    pub token: String,
    /// The id by which it is listed and revoked.
    pub id: String,
    /// The scopes of the token.
    pub scopes: Vec<String>,
    /// What it is for.
    pub note: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl std::fmt::Debug for TokenMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is not printed.
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

/// Tokens to revoke: all of them, or none where one is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// Ids of the tokens, 1 to 100.
    pub ids: Vec<String>,
}

/// The result of a request to revoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RevokeAnswer {
    /// Version of the format: 1.
    pub v: u32,
    /// In the order of the request. A token that was revoked before keeps its time.
    pub tokens: Vec<TokenView>,
}

/// Routes of the API.
pub mod path {
    /// GET lists tokens, POST creates one.
    pub const TOKENS: &str = "/admin/v1/tokens";
    /// Revoke tokens.
    pub const TOKENS_REVOKE: &str = "/admin/v1/tokens/revoke";
}

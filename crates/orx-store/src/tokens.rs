//! API tokens in a store.

use async_trait::async_trait;
use orx_model::Timestamp;

use crate::Result;

/// An API token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// The public part of the token.
    pub id: String,
    /// SHA-256 of the secret part.
    pub hash: [u8; 32],
    /// `service`, `read`, `admin`, `exec`, `worker`, `node`.
    pub scopes: Vec<String>,
    /// When a person made the token.
    pub created_at: Timestamp,
    /// The token is invalid from then on; `None` for a token that never expires.
    pub expires_at: Option<Timestamp>,
    /// When a person revoked the token.
    pub revoked_at: Option<Timestamp>,
    /// Free text of the person who made the token.
    pub note: String,
}

/// Stores API tokens, without their secrets.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// Durable. Inserts the token, or replaces the one with the same id.
    async fn put_token(&self, token: TokenRecord) -> Result<()>;

    /// The token with this id, valid or not.
    async fn token(&self, id: &str) -> Result<Option<TokenRecord>>;

    /// Every token, valid or not.
    async fn tokens(&self) -> Result<Vec<TokenRecord>>;

    /// Durable. Deletes tokens that were revoked or expired before then; returns how many.
    async fn forget_tokens(&self, ended_before: Timestamp) -> Result<u64>;
}

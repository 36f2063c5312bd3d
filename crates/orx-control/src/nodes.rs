//! The token with which a node authenticates to the other nodes. It is stored in the store that they
//! share: a process that can write there is one of the nodes, so no token need be configured.

use std::time::Duration;

use orx_model::{Incarnation, Timestamp};
use orx_store::{Store, StoreError, TokenRecord};
use rand::Rng;
use sha2::{Digest, Sha256};

use crate::Scope;

/// A node's own token. Only this process knows it; the store has its hash.
pub struct NodeToken {
    text: String,
    record: TokenRecord,
}

impl NodeToken {
    /// Makes a token that expires after `valid`, unless it is extended.
    ///
    /// # Errors
    /// The store did not write it.
    pub async fn make(
        store: &dyn Store,
        node: Incarnation,
        valid: Duration,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut secret = [0_u8; 32];
        rand::rng().fill_bytes(&mut secret);
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        // The beginning of the node's incarnation: one record for each start of a node.
        let id: String = node.to_string().chars().take(16).collect();
        let record = TokenRecord {
            hash: Sha256::digest(secret.as_bytes()).into(),
            scopes: vec![Scope::Node.as_str().to_owned()],
            created_at: now,
            expires_at: Some(now.saturating_add(valid)),
            revoked_at: None,
            note: format!("node {id}"),
            id: id.clone(),
        };
        store.put_token(record.clone()).await?;
        Ok(Self { text: format!("orx_node_{id}_{secret}"), record })
    }

    /// The text of the token, a secret.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Extends the token: it expires after `valid` from now, unless it was revoked.
    ///
    /// # Errors
    /// The store did not read or write it.
    pub async fn extend(
        &self,
        store: &dyn Store,
        valid: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // Writing the record anew would undo a revocation.
        let known = store.token(&self.record.id).await?;
        if known.is_some_and(|known| known.revoked_at.is_some()) {
            return Ok(());
        }
        let expires_at = Some(now.saturating_add(valid));
        store.put_token(TokenRecord { expires_at, ..self.record.clone() }).await
    }

    /// Revokes the token when the node ends.
    ///
    /// # Errors
    /// The store did not write it.
    pub async fn end(&self, store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
        store.put_token(TokenRecord { revoked_at: Some(now), ..self.record.clone() }).await
    }
}

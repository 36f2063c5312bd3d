//! What a node shows to other nodes: a token of its own, which the store that they share vouches for.
//! Whoever can write to the store is one of them, so nothing has to be configured.

use std::time::Duration;

use orx_model::{Incarnation, Timestamp};
use orx_store::{Store, StoreError, TokenRecord};
use rand::Rng;
use sha2::{Digest, Sha256};

use crate::Scope;

/// A node's own token. It is known to this process alone, and to the store by its hash.
pub struct NodeToken {
    text: String,
    record: TokenRecord,
}

impl NodeToken {
    /// Valid for so long, unless it is extended.
    ///
    /// # Errors
    /// The store did not keep it.
    pub async fn make(
        store: &dyn Store,
        node: Incarnation,
        valid: Duration,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let mut secret = [0_u8; 32];
        rand::rng().fill_bytes(&mut secret);
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        // One record a start of a node: the beginning of its own id.
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

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// From now on valid for so long, unless it was revoked.
    ///
    /// # Errors
    /// The store did not keep it.
    pub async fn extend(
        &self,
        store: &dyn Store,
        valid: Duration,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // Who revoked it meant it: to write the record anew would undo that.
        let known = store.token(&self.record.id).await?;
        if known.is_some_and(|known| known.revoked_at.is_some()) {
            return Ok(());
        }
        let expires_at = Some(now.saturating_add(valid));
        store.put_token(TokenRecord { expires_at, ..self.record.clone() }).await
    }

    /// The node ends: nobody shows it any more.
    ///
    /// # Errors
    /// The store did not keep it.
    pub async fn end(&self, store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
        store.put_token(TokenRecord { revoked_at: Some(now), ..self.record.clone() }).await
    }
}

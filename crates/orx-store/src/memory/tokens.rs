//! API tokens in the reference model.

use async_trait::async_trait;
use orx_model::Timestamp;

use super::Memory;
use crate::{Result, TokenRecord, Tokens};

#[async_trait]
impl Tokens for Memory {
    async fn put_token(&self, token: TokenRecord) -> Result<()> {
        self.state()?.tokens.insert(token.id.clone(), token);
        Ok(())
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>> {
        Ok(self.state()?.tokens.get(id).cloned())
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        Ok(self.state()?.tokens.values().cloned().collect())
    }

    async fn forget_tokens(&self, ended_before: Timestamp) -> Result<u64> {
        let mut state = self.state()?;
        let before = state.tokens.len();
        state.tokens.retain(|_, token| {
            let ended = [token.revoked_at, token.expires_at].into_iter().flatten().min();
            ended.is_none_or(|at| at >= ended_before)
        });
        Ok((before - state.tokens.len()) as u64)
    }
}

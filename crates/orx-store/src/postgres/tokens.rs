//! Tokens of the API.

use async_trait::async_trait;
use orx_model::Timestamp;
use sqlx::postgres::PgRow;

use super::db_error::DbResult;
use super::executor::MessageKind;
use super::row::{self, PgColumns, wrong};
use super::{PgBudget, Postgres, sql};
use crate::codec::millis;
use crate::columns::Row as _;
use crate::{Result, TokenRecord, Tokens};

impl PgBudget {
    async fn put_token(&self, token: &TokenRecord) -> DbResult<()> {
        let values = [
            ("id", sql::text(&token.id)),
            ("hash", sql::bytes(&token.hash)),
            ("scopes", sql::text(&serde_json::to_string(&token.scopes)?)),
            ("created_at", sql::int(token.created_at.as_millis())),
            ("expires_at", sql::optional_int(millis(token.expires_at))),
            ("revoked_at", sql::optional_int(millis(token.revoked_at))),
            ("note", sql::text(&token.note)),
        ];
        let message = sql::fill(include_str!("put_token.sql"), values);
        self.rows(MessageKind::Repeatable, message).await.map(drop)
    }

    async fn token(&self, id: &str) -> DbResult<Option<TokenRecord>> {
        let message = sql::fill(&format!("{TOKEN} where id = :id"), [("id", sql::text(id))]);
        self.rows(MessageKind::Read, message).await?.first().map(token).transpose()
    }

    async fn tokens(&self) -> DbResult<Vec<TokenRecord>> {
        let rows = self.rows(MessageKind::Read, format!("{TOKEN} order by id")).await?;
        row::readable("a token", &rows, token)
    }

    async fn forget_tokens(&self, ended_before: Timestamp) -> DbResult<u64> {
        let message = sql::fill(
            "with gone as (delete from tokens using (:settings) s \
             where revoked_at < :before or expires_at < :before returning 1) \
             select count(*) from gone",
            [("before", sql::int(ended_before.as_millis()))],
        );
        let rows = self.rows(MessageKind::Repeatable, message).await?;
        rows.first().map_or(Ok(0), |row| PgColumns(row).unsigned(0))
    }
}

const TOKEN: &str = "select id, hash, scopes, created_at, expires_at, revoked_at, note from tokens";

fn token(row: &PgRow) -> DbResult<TokenRecord> {
    let row = PgColumns(row);
    Ok(TokenRecord {
        id: row.text(0)?,
        hash: row.bytes(1)?.try_into().map_err(|_| wrong(1, "not a hash"))?,
        scopes: row.json(2)?,
        created_at: row.time(3)?,
        expires_at: row.optional_time(4)?,
        revoked_at: row.optional_time(5)?,
        note: row.text(6)?,
    })
}

#[async_trait]
impl Tokens for Postgres {
    async fn put_token(&self, token: TokenRecord) -> Result<()> {
        self.inner.write("store the token", self.inner.put_token(&token)).await
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>> {
        self.inner.read("read the token", self.inner.token(id)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        self.inner.read("read the tokens", self.inner.tokens()).await
    }

    async fn forget_tokens(&self, ended_before: Timestamp) -> Result<u64> {
        let run = self.inner.forget_tokens(ended_before);
        self.inner.write("delete old tokens", run).await
    }
}

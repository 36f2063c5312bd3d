//! Tokens of the API.

use async_trait::async_trait;
use orx_model::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::db_error::DbResult;
use super::row::{self, millis};
use super::writer::Tx;
use super::{Sqlite, WriteKind};
use crate::{Result, TokenRecord, Tokens};

fn put_token(tx: &mut Tx<'_>, token: &TokenRecord) -> DbResult<()> {
    tx.conn
        .prepare_cached(
            "INSERT OR REPLACE INTO tokens \
             (id, hash, scopes, created_at, expires_at, revoked_at, note) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            token.id,
            token.hash,
            serde_json::to_string(&token.scopes)?,
            token.created_at.as_millis(),
            millis(token.expires_at),
            millis(token.revoked_at),
            token.note,
        ])?;
    Ok(())
}

const TOKEN: &str = "SELECT id, hash, scopes, created_at, expires_at, revoked_at, note FROM tokens";

fn token(conn: &Connection, id: &str) -> DbResult<Option<TokenRecord>> {
    let mut read = conn.prepare_cached(&format!("{TOKEN} WHERE id = ?1"))?;
    Ok(read.query_row([id], token_row).optional()?)
}

fn tokens(conn: &Connection) -> DbResult<Vec<TokenRecord>> {
    let mut read = conn.prepare_cached(&format!("{TOKEN} ORDER BY id"))?;
    let rows = read.query_map([], token_row)?;
    Ok(row::readable("a token", rows)?)
}

fn token_row(row: &Row<'_>) -> rusqlite::Result<TokenRecord> {
    Ok(TokenRecord {
        id: row.get(0)?,
        hash: row.get(1)?,
        scopes: row::json(row, 2)?,
        created_at: row::time(row, 3)?,
        expires_at: row::optional_time(row, 4)?,
        revoked_at: row::optional_time(row, 5)?,
        note: row.get(6)?,
    })
}

fn forget_tokens(tx: &mut Tx<'_>, ended_before: Timestamp) -> DbResult<u64> {
    let gone = tx
        .conn
        .prepare_cached("DELETE FROM tokens WHERE revoked_at < ?1 OR expires_at < ?1")?
        .execute([ended_before.as_millis()])?;
    Ok(gone as u64)
}

#[async_trait]
impl Tokens for Sqlite {
    async fn put_token(&self, token: TokenRecord) -> Result<()> {
        let run = move |tx: &mut Tx<'_>| put_token(tx, &token);
        self.write("store the token", WriteKind::Durable, 1, run).await
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>> {
        let id = id.to_owned();
        self.read("read the token", move |conn| token(conn, &id)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        self.read("read the tokens", tokens).await
    }

    async fn forget_tokens(&self, ended_before: Timestamp) -> Result<u64> {
        let run = move |tx: &mut Tx<'_>| forget_tokens(tx, ended_before);
        self.write("delete old tokens", WriteKind::Durable, 1, run).await
    }
}

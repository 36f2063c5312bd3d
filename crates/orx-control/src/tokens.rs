//! Authenticates callers by their tokens, `orx_<scope>_<id>_<secret>`. The store has a hash of the
//! secret, never the secret.

use std::collections::HashMap;

use orx_model::token::{Scope, TokenState};
use orx_model::{Code, Problem, Timestamp};
use orx_store::TokenRecord;
use parking_lot::Mutex;
use rand::Rng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{Caller, ControlPanel, Result, store_problem};

/// Most cached tokens.
const CACHED_MAX: usize = 256;
/// For this long a cached token is not read again: a token that another server revoked may be accepted
/// meanwhile.
const CACHED_MS: i64 = 1_000;
/// Most tokens whose last use is remembered.
const USED_MAX: usize = 4_096;

/// Caches tokens, so that most requests do not read the store.
#[derive(Default)]
pub(crate) struct TokenCache {
    /// By id, with the time of the read.
    known: Mutex<HashMap<String, (Timestamp, TokenRecord)>>,
    /// By id, when a token was last used at this server. Never written to the store.
    used: Mutex<HashMap<String, Timestamp>>,
}

impl TokenCache {
    fn get(&self, id: &str, now: Timestamp) -> Option<TokenRecord> {
        let known = self.known.lock();
        let (read_at, record) = known.get(id)?;
        let fresh = (0..CACHED_MS).contains(&(now.as_millis() - read_at.as_millis()));
        fresh.then(|| record.clone())
    }

    pub(crate) fn put(&self, record: &TokenRecord, now: Timestamp) {
        let mut known = self.known.lock();
        if let Some((read_at, older)) = known.get_mut(&record.id) {
            // A read that began before the token was revoked here must not restore it.
            if older.revoked_at.is_none() || record.revoked_at.is_some() {
                *older = record.clone();
            }
            *read_at = now;
            return;
        }
        if known.len() >= CACHED_MAX {
            known.clear();
        }
        known.insert(record.id.clone(), (now, record.clone()));
    }

    fn note_use(&self, id: &str, now: Timestamp) {
        let mut used = self.used.lock();
        if let Some(last) = used.get_mut(id) {
            *last = now;
            return;
        }
        if used.len() >= USED_MAX {
            let oldest = used.iter().min_by_key(|(_, at)| **at).map(|(id, _)| id.clone());
            if let Some(oldest) = oldest {
                used.remove(&oldest);
            }
        }
        used.insert(id.to_owned(), now);
    }

    pub(crate) fn last_used(&self, id: &str) -> Option<Timestamp> {
        self.used.lock().get(id).copied()
    }
}

impl ControlPanel {
    /// Makes a token for code in this process, without an expiry. Returns its text, which is nowhere
    /// else.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn make_token(&self, scopes: Vec<Scope>, note: &str) -> Result<String> {
        Ok(self.store_token(&scopes, note, None).await?.0)
    }

    /// Makes and stores a token. Returns its text and its record.
    pub(crate) async fn store_token(
        &self,
        scopes: &[Scope],
        note: &str,
        expires_at: Option<Timestamp>,
    ) -> Result<(String, TokenRecord)> {
        let mut bytes = [0_u8; 40];
        rand::rng().fill_bytes(&mut bytes);
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let (id, secret) = (hex(&bytes[..8]), hex(&bytes[8..]));
        let record = TokenRecord {
            id: id.clone(),
            hash: Sha256::digest(secret.as_bytes()).into(),
            scopes: scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            created_at: self.now(),
            expires_at,
            revoked_at: None,
            note: note.to_owned(),
        };
        self.store().put_token(record.clone()).await.map_err(store_problem)?;
        let first = scopes.first().map_or("none", |scope| scope.as_str());
        Ok((format!("orx_{first}_{id}_{secret}"), record))
    }

    /// The caller that the token authenticates.
    ///
    /// # Errors
    /// [`Code::Unauthenticated`], which does not reveal whether the id or the secret is wrong; errors of
    /// the store.
    pub async fn authenticate(&self, token: &str) -> Result<Caller> {
        let (id, secret) = parts(token).ok_or_else(refused)?;
        // Before the look-up, so that an unknown id takes as long.
        let hash: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        let record = self.token(id).await?.ok_or_else(refused)?;
        let now = self.now();
        if !bool::from(hash.ct_eq(&record.hash)) || state_of(&record, now) != TokenState::Valid {
            return Err(refused());
        }
        self.inner.tokens.note_use(id, now);
        Ok(Caller {
            name: if record.note.is_empty() { record.id } else { record.note },
            scopes: record.scopes.iter().filter_map(|scope| scope.parse().ok()).collect(),
            address: None,
        })
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>> {
        let now = self.now();
        if let Some(record) = self.inner.tokens.get(id, now) {
            return Ok(Some(record));
        }
        let record = self.store().token(id).await.map_err(store_problem)?;
        if let Some(record) = &record {
            self.inner.tokens.put(record, now);
        }
        // The cache is newer if the token was revoked during the read.
        Ok(self.inner.tokens.get(id, now).or(record))
    }
}

pub(crate) fn state_of(record: &TokenRecord, now: Timestamp) -> TokenState {
    if record.revoked_at.is_some() {
        TokenState::Revoked
    } else if record.expires_at.is_some_and(|at| at <= now) {
        TokenState::Expired
    } else {
        TokenState::Valid
    }
}

fn parts(token: &str) -> Option<(&str, &str)> {
    let mut parts = token.strip_prefix("orx_")?.split('_');
    let (_, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit());
    (parts.next().is_none() && hex(id, 16) && hex(secret, 64)).then_some((id, secret))
}

fn refused() -> Problem {
    Problem::new(Code::Unauthenticated, "the token is unknown or no longer valid").hint(
        "the local server's token is in `token` in its state folder; `ORX_TOKEN` names another",
    )
}

//! Who may ask: tokens `orx_<scope>_<id>_<secret>`. The store keeps a hash of the secret, never the
//! secret.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use orx_model::{Code, Problem, Timestamp};
use orx_store::TokenRecord;
use rand::Rng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{Caller, ControlPanel, Result, store_problem};

/// Tokens remembered, so that each request does not read the store.
const CACHED: usize = 256;
const CACHED_MS: i64 = 1_000;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Enqueue, read, wait for and cancel jobs.
    Service,
    /// Read everything.
    Read,
    /// Everything but [`Scope::Node`].
    Admin,
    /// Give commands with jobs.
    Exec,
    /// Be a worker.
    Worker,
    /// Be a coordinator.
    Node,
}

impl Scope {
    pub const ALL: [Self; 6] =
        [Self::Service, Self::Read, Self::Admin, Self::Exec, Self::Worker, Self::Node];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Read => "read",
            Self::Admin => "admin",
            Self::Exec => "exec",
            Self::Worker => "worker",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| format!("there is no scope `{text}`"))
    }
}

#[derive(Default)]
pub(crate) struct Cache {
    /// By id, with when it was read.
    known: Mutex<HashMap<String, (Timestamp, TokenRecord)>>,
}

impl ControlPanel {
    /// Makes a token; its text is returned here and nowhere else.
    pub async fn make_token(&self, scopes: Vec<Scope>, note: &str) -> Result<String> {
        let mut bytes = [0_u8; 40];
        rand::rng().fill_bytes(&mut bytes);
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let (id, secret) = (hex(&bytes[..8]), hex(&bytes[8..]));
        let record = TokenRecord {
            id: id.clone(),
            hash: Sha256::digest(secret.as_bytes()).into(),
            scopes: scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            created_at: self.now(),
            expires_at: None,
            revoked_at: None,
            note: note.to_owned(),
        };
        self.store().put_token(record).await.map_err(store_problem)?;
        let first = scopes.first().map_or("none", |scope| scope.as_str());
        Ok(format!("orx_{first}_{id}_{secret}"))
    }

    /// # Errors
    /// [`Code::Unauthenticated`], which does not say whether the id or the secret is wrong.
    pub async fn authenticate(&self, token: &str) -> Result<Caller> {
        let (id, secret) = parts(token).ok_or_else(refused)?;
        let record = self.token(id).await?.ok_or_else(refused)?;
        let hash: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        let now = self.now();
        let valid = bool::from(hash.ct_eq(&record.hash))
            && record.revoked_at.is_none()
            && record.expires_at.is_none_or(|at| now < at);
        if !valid {
            return Err(refused());
        }
        Ok(Caller {
            name: if record.note.is_empty() { record.id } else { record.note },
            scopes: record.scopes.iter().filter_map(|scope| scope.parse().ok()).collect(),
        })
    }

    async fn token(&self, id: &str) -> Result<Option<TokenRecord>> {
        let now = self.now();
        let lock = || self.inner.tokens.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, record)) = lock().get(id)
            && (0..CACHED_MS).contains(&(now.as_millis() - at.as_millis()))
        {
            return Ok(Some(record.clone()));
        }
        let record = self.store().token(id).await.map_err(store_problem)?;
        if let Some(record) = &record {
            let mut known = lock();
            if known.len() >= CACHED {
                known.clear();
            }
            known.insert(id.to_owned(), (now, record.clone()));
        }
        Ok(record)
    }
}

fn parts(token: &str) -> Option<(&str, &str)> {
    let mut parts = token.strip_prefix("orx_")?.split('_');
    let (_, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit());
    (parts.next().is_none() && hex(id, 16) && hex(secret, 64)).then_some((id, secret))
}

fn refused() -> Problem {
    Problem::new(Code::Unauthenticated, "the token is not known here, or no longer valid").hint(
        "the local server's token is in `token` in its state folder; `ORX_TOKEN` names another",
    )
}

//! Makes, lists and revokes tokens. Only callers with the scope `admin` may. They may give a token any
//! scope, also `node`, which they do not have themselves: the first token is `admin`, and all others are
//! made with it.

use std::collections::BTreeSet;

use orx_model::limits::{NOTE_CHARS, REVOKE_TOKENS};
use orx_model::text::nearest;
use orx_model::token::{
    RevokeAnswer, RevokeRequest, TokenList, TokenMade, TokenRequest, TokenState, TokenView,
};
use orx_model::wire::{AuditAction, V};
use orx_model::{Code, Problem, Timestamp, limits};
use orx_store::TokenRecord;
use tokio::sync::Semaphore;

use crate::audit::{MadeChange, named};
use crate::tokens::state_of;
use crate::{Caller, ControlPanel, Result, Scope, store_problem};

/// Most valid tokens at once. Revoked and expired tokens remain as a record of past callers.
const VALID_MAX: usize = 1_000;

/// Serializes changes of the tokens in this process. Otherwise two admins who revoke each other's
/// token at the same time would revoke the last one.
static CHANGING: Semaphore = Semaphore::const_new(1);

impl ControlPanel {
    /// Makes a token. Its text is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] without `admin`; [`Code::BadRequest`], [`Code::TooMany`], and errors of the
    /// store.
    pub async fn create_token(&self, caller: &Caller, request: TokenRequest) -> Result<TokenMade> {
        caller.need(Scope::Admin)?;
        let scopes = scopes(&request.scopes)?;
        let note = note(request.note.as_deref().unwrap_or_default())?;
        let now = self.now();
        let expires_at = request.expires_ms.map(|ms| expiry(ms, now)).transpose()?;
        let _one = CHANGING.acquire().await.ok();
        let known = self.store().tokens().await.map_err(store_problem)?;
        let valid = known.iter().filter(|one| state_of(one, now) == TokenState::Valid).count();
        if valid >= VALID_MAX {
            let detail = format!("there are {valid} valid tokens, the limit is {VALID_MAX}");
            return Err(Problem::new(Code::TooMany, detail).hint("`orx token revoke` ends some"));
        }
        let (token, record) = self.store_token(&scopes, note, expires_at).await?;
        let (id, scopes) = (&record.id, record.scopes.join(","));
        tracing::info!(id, scopes, by = caller.name, "a token was made");
        let object = format!("{id} ({scopes})");
        let (action, by, reason) = (AuditAction::CreateToken, None, None);
        self.record_change(caller, MadeChange { action, object, changed: 1, by, reason }).await;
        Ok(TokenMade {
            v: V,
            token,
            id: record.id,
            scopes: record.scopes,
            note: record.note,
            created_at: record.created_at,
            expires_at: record.expires_at,
        })
    }

    /// Every token, oldest first.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] without `admin`, and errors of the store.
    pub async fn list_tokens(&self, caller: &Caller) -> Result<TokenList> {
        caller.need(Scope::Admin)?;
        let mut tokens = self.store().tokens().await.map_err(store_problem)?;
        tokens.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(TokenList { v: V, tokens: tokens.into_iter().map(|one| self.view(one)).collect() })
    }

    /// Revokes tokens: at this server at once, at other servers within a second. A request with a wrong
    /// id revokes none.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] without `admin`; [`Code::NotFound`] for an unknown id;
    /// [`Code::StateConflict`] if no valid `admin` token would be left; [`Code::BadRequest`], and errors
    /// of the store.
    pub async fn revoke_tokens(
        &self,
        caller: &Caller,
        request: RevokeRequest,
    ) -> Result<RevokeAnswer> {
        caller.need(Scope::Admin)?;
        if request.ids.is_empty() || request.ids.len() > REVOKE_TOKENS {
            let found = request.ids.len();
            let detail = format!("1 to {REVOKE_TOKENS} tokens are revoked at once, found {found}");
            return Err(Problem::new(Code::BadRequest, detail));
        }
        let _one = CHANGING.acquire().await.ok();
        let now = self.now();
        let known = self.store().tokens().await.map_err(store_problem)?;
        let mut chosen: Vec<TokenRecord> = Vec::new();
        for id in &request.ids {
            let found = known.iter().find(|one| one.id == *id).ok_or_else(|| unknown(id))?;
            if !chosen.contains(found) {
                chosen.push(found.clone());
            }
        }
        let is_admin = |one: &&TokenRecord| {
            state_of(one, now) == TokenState::Valid
                && one.scopes.iter().any(|scope| scope == Scope::Admin.as_str())
        };
        let left = known.iter().filter(is_admin).filter(|one| !chosen.contains(one)).count();
        if left == 0 && chosen.iter().any(|one| is_admin(&one)) {
            let detail = "this would revoke the last valid token with the scope `admin`";
            return Err(Problem::new(Code::StateConflict, detail)
                .cause("nobody could make another")
                .hint("`orx token create --scope admin` makes one first"));
        }
        for record in &mut chosen {
            if record.revoked_at.is_none() {
                record.revoked_at = Some(now);
                self.store().put_token(record.clone()).await.map_err(store_problem)?;
                tracing::info!(id = record.id, by = caller.name, "a token was revoked");
            }
            self.inner.tokens.put(record, now);
        }
        let object = named(chosen.iter().map(|one| &one.id));
        let (action, by, reason) = (AuditAction::RevokeTokens, None, None);
        let changed = chosen.len() as u64;
        self.record_change(caller, MadeChange { action, object, changed, by, reason }).await;
        let tokens = chosen.into_iter().map(|one| self.view(one)).collect();
        Ok(RevokeAnswer { v: V, tokens })
    }

    fn view(&self, record: TokenRecord) -> TokenView {
        TokenView {
            state: state_of(&record, self.now()),
            last_used_at: self.inner.tokens.last_used(&record.id),
            id: record.id,
            scopes: record.scopes,
            note: record.note,
            created_at: record.created_at,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
        }
    }
}

fn scopes(named: &[String]) -> Result<Vec<Scope>> {
    let mut scopes = BTreeSet::new();
    for text in named {
        let scope: Scope = text.parse().map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            let names = Scope::ALL.map(Scope::as_str);
            let problem = Problem::new(Code::BadRequest, format!("there is no scope `{shown}`"));
            match nearest(text, names) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint(format!("there are {}", names.join(", "))),
            }
        })?;
        scopes.insert(scope);
    }
    if scopes.is_empty() {
        let names = Scope::ALL.map(Scope::as_str).join(", ");
        let problem = Problem::new(Code::BadRequest, "a token needs at least one scope");
        return Err(problem.hint(format!("there are {names}")));
    }
    Ok(scopes.into_iter().collect())
}

fn note(text: &str) -> Result<&str> {
    let text = text.trim();
    if text.chars().count() > NOTE_CHARS || text.chars().any(char::is_control) {
        let detail = format!("a note is at most {NOTE_CHARS} characters, in one line");
        return Err(Problem::new(Code::BadRequest, detail));
    }
    Ok(text)
}

fn expiry(ms: u64, now: Timestamp) -> Result<Timestamp> {
    let most = limits::DELAY_MAX.as_millis() as u64;
    if !(1_000..=most).contains(&ms) {
        let detail = "a token expires 1 s to 10 years from now; without an expiry, never";
        return Err(Problem::new(Code::BadRequest, detail).cause(format!("found {ms} ms")));
    }
    Ok(Timestamp::from_millis(now.as_millis().saturating_add(ms as i64)))
}

fn unknown(id: &str) -> Problem {
    // A token that was passed by mistake is a secret: the text does not repeat it.
    let is_id = id.len() <= 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let detail = if is_id {
        format!("there is no token `{id}`")
    } else {
        "a token is named by its id, which is 16 characters of 0-9 and a-f".to_owned()
    };
    Problem::new(Code::NotFound, detail).hint("`orx token list` shows the ids")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_place_of_an_id_is_not_repeated() {
        let token = "orx_admin_0123456789abcdef_0123456789abcdef0123456789abcdef";
        assert!(!format!("{:?}", unknown(token)).contains("0123456789abcdef"));
        assert!(unknown("0123456789abcdef").detail.contains("0123456789abcdef"));
    }

    #[test]
    fn scopes_are_a_set_and_a_wrong_one_gets_the_nearest() {
        let named = |all: &[&str]| scopes(&all.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(named(&["read", "service", "read"]), Ok(vec![Scope::Service, Scope::Read]));
        assert!(named(&[]).is_err());
        let wrong = named(&["amdin"]).expect_err("refused");
        assert_eq!(wrong.hint.as_deref(), Some("did you mean `admin`?"));
    }

    #[test]
    fn a_note_is_one_short_line_and_an_expiry_is_in_the_future() {
        assert_eq!(note(" ci "), Ok("ci"));
        assert!(note("a\nb").is_err() && note(&"x".repeat(129)).is_err());
        let now = Timestamp::from_millis(5_000);
        assert_eq!(expiry(1_000, now), Ok(Timestamp::from_millis(6_000)));
        assert!(expiry(0, now).is_err() && expiry(u64::MAX, now).is_err());
    }
}

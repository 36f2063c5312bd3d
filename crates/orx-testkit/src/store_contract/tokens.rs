//! Cases of tokens.

use orx_store::TokenRecord;

use super::AStore;
use crate::make::{NOW, at};

/// A token is stored by id; a second put replaces it.
pub async fn tokens_are_stored_and_replaced(store: AStore) {
    let token = TokenRecord {
        id: "a".into(),
        hash: [7; 32],
        scopes: vec!["admin".into()],
        created_at: NOW,
        expires_at: Some(at(9)),
        revoked_at: None,
        note: "note".into(),
    };
    store.put_token(token.clone()).await.expect("put");
    assert_eq!(store.token("a").await.expect("read"), Some(token.clone()));
    assert_eq!(store.token("b").await.expect("read"), None);
    let revoked = TokenRecord { revoked_at: Some(at(1)), ..token };
    store.put_token(revoked.clone()).await.expect("put");
    assert_eq!(store.tokens().await.expect("read"), [revoked]);
}

/// Tokens that expired or were revoked before the given time are deleted.
pub async fn tokens_that_ended_long_ago_are_forgotten(store: AStore) {
    let token = |id: &str, expires: Option<i64>, revoked: Option<i64>| TokenRecord {
        id: id.into(),
        hash: [7; 32],
        scopes: vec!["read".into()],
        created_at: NOW,
        expires_at: expires.map(at),
        revoked_at: revoked.map(at),
        note: String::new(),
    };
    for one in [
        token("a", None, None),
        token("b", Some(5), None),
        token("c", Some(900), Some(5)),
        token("d", Some(900), None),
        token("e", None, Some(60)),
    ] {
        store.put_token(one).await.expect("put");
    }
    assert_eq!(store.forget_tokens(at(60)).await.expect("forgotten"), 2);
    let left: Vec<String> =
        store.tokens().await.expect("read").into_iter().map(|token| token.id).collect();
    assert_eq!(left, ["a", "d", "e"]);
}

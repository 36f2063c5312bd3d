//! Tokens made, listed and revoked through the operations of the control panel, on a clock that the
//! test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use orx_control::{Caller, ControlPanel, ControlSettings, Scope};
use orx_model::token::{RevokeRequest, TokenRequest, TokenState};
use orx_model::{Code, Incarnation, Timestamp};
use orx_store::{Memory, Store};
use orx_testkit::make::{NOW, control_settings};
use orx_transport::{Direct, Wakeups};

/// Two servers on one store.
struct Cluster {
    clock: Arc<AtomicI64>,
    here: ControlPanel,
    there: ControlPanel,
}

impl Cluster {
    fn new() -> Self {
        let clock = Arc::new(AtomicI64::new(NOW.as_millis()));
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let panel = |node| {
            let settings = ControlSettings { node: Incarnation(node), ..control_settings() };
            let read = Arc::clone(&clock);
            let now = Arc::new(move || Timestamp::from_millis(read.load(Ordering::Relaxed)));
            let (store, transport) = (Arc::clone(&store), Arc::new(Direct::new()));
            ControlPanel::new(store, transport, Wakeups::new(), now, settings)
        };
        let (here, there) = (panel(1), panel(2));
        Self { clock, here, there }
    }

    fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    async fn make(&self, scopes: &[&str], expires_ms: Option<u64>) -> (String, String) {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let request = TokenRequest { scopes, note: Some("test".into()), expires_ms };
        let made = self.here.create_token(&Caller::local(), request).await.expect("a token");
        (made.id, made.token)
    }

    async fn revoke(&self, ids: &[&str]) -> orx_control::Result<orx_model::token::RevokeAnswer> {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        self.here.revoke_tokens(&Caller::local(), RevokeRequest { ids }).await
    }
}

#[tokio::test]
async fn a_revoked_token_ends_at_this_server_at_once_and_at_others_within_a_second() {
    let cluster = Cluster::new();
    cluster.make(&["admin"], None).await;
    let (id, token) = cluster.make(&["read", "service"], None).await;
    for panel in [&cluster.here, &cluster.there] {
        let caller = panel.authenticate(&token).await.expect("valid");
        assert_eq!(caller.scopes, vec![Scope::Service, Scope::Read]);
    }
    cluster.revoke(&[&id]).await.expect("revoked");
    assert!(cluster.here.authenticate(&token).await.is_err());
    cluster.pass(1_000);
    assert!(cluster.there.authenticate(&token).await.is_err());
    let again = cluster.revoke(&[&id]).await.expect("no change");
    assert_eq!(again.tokens[0].revoked_at, Some(NOW));
}

#[tokio::test]
async fn a_token_expires() {
    let cluster = Cluster::new();
    let (_, token) = cluster.make(&["read"], Some(60_000)).await;
    cluster.pass(59_999);
    assert!(cluster.here.authenticate(&token).await.is_ok());
    cluster.pass(1);
    assert!(cluster.here.authenticate(&token).await.is_err());
    let list = cluster.here.list_tokens(&Caller::local()).await.expect("a list");
    assert_eq!(list.tokens[0].state, TokenState::Expired);
    assert_eq!(
        list.tokens[0].last_used_at.map(Timestamp::as_millis),
        Some(NOW.as_millis() + 59_999)
    );
}

#[tokio::test]
async fn the_last_admin_token_stays_and_a_wrong_id_revokes_nothing() {
    let cluster = Cluster::new();
    let (first, _) = cluster.make(&["admin"], None).await;
    let (ending, _) = cluster.make(&["admin"], Some(5_000)).await;
    let (read, token) = cluster.make(&["read"], None).await;
    let both = cluster.revoke(&[&first, &ending]).await.expect_err("refused");
    assert_eq!(both.code, Code::StateConflict);
    let unknown = cluster.revoke(&[&read, "0000000000000000"]).await.expect_err("refused");
    assert_eq!(unknown.code, Code::NotFound);
    assert!(cluster.here.authenticate(&token).await.is_ok());
    cluster.pass(5_000);
    let last = cluster.revoke(&[&first]).await.expect_err("the other has expired");
    assert_eq!(last.code, Code::StateConflict);
    cluster.make(&["admin"], None).await;
    cluster.revoke(&[&first]).await.expect("another is left");
}

#[tokio::test]
async fn only_admin_makes_tokens_and_no_view_contains_one() {
    let cluster = Cluster::new();
    let (_, token) = cluster.make(&["admin"], None).await;
    let secret = token.rsplit('_').next().expect("a secret");
    let list = cluster.here.list_tokens(&Caller::local()).await.expect("a list");
    assert!(!format!("{list:?}").contains(secret));
    for scope in Scope::ALL {
        let caller = Caller { name: "x".into(), scopes: vec![scope], address: None };
        let request = TokenRequest { scopes: vec!["node".into()], note: None, expires_ms: None };
        let made = cluster.here.create_token(&caller, request).await;
        assert_eq!(made.is_ok(), scope == Scope::Admin, "{scope}");
    }
}

//! A database that is killed during requests: the answer is that the outcome is unknown, or that nothing was
//! done; never that the server failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Method, Request};
use orx_api::router;
use orx_control::Scope;
use orx_model::wire::path::JOBS;
use orx_store::{Postgres, PostgresOptions};
use orx_testkit::make::{NOW, control_panel};
use orx_testkit::servers::OwnPostgres;
use orx_transport::Wakeups;
use tower::ServiceExt;

#[path = "common/api.rs"]
mod api;

/// Longer than anything here takes, even on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Polls, because other processes bring it about.
async fn comes(what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < SOON, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn enqueue(admin: &str, key: &str) -> Request<Body> {
    Request::builder()
        .method(Method::POST)
        .uri(JOBS)
        .header("host", "127.0.0.1:7070")
        .header("authorization", format!("Bearer {admin}"))
        .header("content-type", "application/json")
        .body(Body::from(format!(r#"{{"name":"work","key":"{key}"}}"#)))
        .expect("a request")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enqueue_during_which_the_database_is_killed_is_answered_503_or_504() {
    let mut database = OwnPostgres::start();
    let options = PostgresOptions::new(format!("{}/postgres", database.url()));
    let store = Arc::new(Postgres::open(options, NOW).await.expect("a store"));
    let panel = control_panel(store, Wakeups::new());
    let admin = panel.make_token(vec![Scope::Admin], "a").await.expect("a token");
    let router = router(panel, api::settings());
    let (stop, accepted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|who| {
            let (router, admin) = (router.clone(), admin.clone());
            let (stop, accepted) = (Arc::clone(&stop), Arc::clone(&accepted));
            tokio::spawn(async move {
                let mut answers = BTreeMap::<u16, usize>::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let request = enqueue(&admin, &format!("{who}/{number}"));
                    let answer = router.clone().oneshot(request).await.expect("an answer");
                    let status = answer.status().as_u16();
                    *answers.entry(status).or_default() += 1;
                    if status == 201 {
                        accepted.fetch_add(1, Ordering::Relaxed);
                    } else {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                answers
            })
        })
        .collect();
    let more = async || {
        let before = accepted.load(Ordering::Relaxed);
        comes("some are accepted", || accepted.load(Ordering::Relaxed) > before + 30).await;
    };
    more().await;
    comes("a session is killed", || database.kill_session()).await;
    more().await;
    database.kill();
    tokio::task::block_in_place(|| database.restart());
    more().await;
    stop.store(true, Ordering::Relaxed);
    let mut answers = BTreeMap::<u16, usize>::new();
    for caller in callers {
        for (status, count) in caller.await.expect("a caller") {
            *answers.entry(status).or_default() += count;
        }
    }
    assert!(answers.keys().all(|status| [201, 503, 504].contains(status)), "{answers:?}");
}

//! The views of the links of a node and its workers.

use std::sync::Arc;

use orx_control::{Caller, ControlPanel};
use orx_model::message::{WorkerRegistration, WorkerState};
use orx_model::wire::{LinkKind, LinkView};
use orx_model::{Capabilities, Code, Incarnation, SecretHash};
use orx_store::{Memory, WorkerReport, Workers as _};
use orx_testkit::make::{NOW, control_settings, name};
use orx_transport::{ConnectionState, Direct, LinkOf, SubscriptionState, Wakeups};
use tokio::sync::watch;
use tokio::time::Instant;

fn panel(store: &Arc<Memory>, wakeups: &Wakeups) -> ControlPanel {
    ControlPanel::new(
        Arc::<Memory>::clone(store),
        Arc::new(Direct::new()),
        wakeups.clone(),
        Arc::new(|| NOW),
        control_settings(),
    )
}

async fn register(store: &Memory, worker: u128, of: &str, node: Incarnation) {
    let report = WorkerReport {
        registration: WorkerRegistration {
            incarnation: Incarnation(worker),
            name: name(of),
            host: "h".into(),
            pid: 1,
            version: "1".into(),
            offer: Capabilities::default(),
            slots: 1,
            started_at: NOW,
        },
        state: WorkerState::Running,
        capacity: 1,
        heartbeat: 0,
        load: None,
        hosted_by: None,
        node: Some(node),
    };
    store.put_workers(vec![(SecretHash([1; 32]), report)], NOW).await.expect("stored");
}

fn state(why: Option<&str>) -> SubscriptionState {
    let since = Instant::now();
    let connection = match why {
        None => ConnectionState::Connected { since },
        Some(why) => ConnectionState::Reconnecting { since, why: why.to_owned() },
    };
    SubscriptionState { connection, last_echo: Some(since) }
}

fn of(link: &LinkView) -> (LinkKind, Option<Incarnation>, bool, Option<&str>) {
    (link.of, link.worker, link.connected, link.why.as_deref())
}

#[tokio::test]
async fn a_view_states_which_links_are_connected_and_why_others_are_not() {
    let (store, wakeups) = (Arc::new(Memory::new()), Wakeups::new());
    let panel = panel(&store, &wakeups);
    let own = control_settings().node;
    register(&store, 1, "one", own).await;
    register(&store, 2, "two", own).await;
    register(&store, 3, "elsewhere", Incarnation(99)).await;
    let events = watch::Sender::new(state(None));
    let links = wakeups.links();
    let _events = links.open(LinkOf::Events, events.subscribe());
    let one = links.open(LinkOf::Inbox(Incarnation(1)), watch::channel(state(None)).1);
    let caller = Caller::local();
    let status = panel.cluster(&caller).await.expect("a status");
    let shown: Vec<_> = status.links.iter().map(of).collect();
    let unread = Some("it was not read here yet");
    let expected = [
        (LinkKind::Events, None, true, None),
        (LinkKind::Inbox, Some(Incarnation(1)), true, None),
        (LinkKind::Inbox, Some(Incarnation(2)), false, unread),
    ];
    assert_eq!(shown, expected);
    assert!(status.links[0].since.is_some() && status.links[0].last_echo.is_some());
    assert_eq!(status.links[1].worker_name, Some(name("one")));
    let lines = panel.check_links().expect("connected");
    assert!(lines.starts_with("events connected for ") && lines.contains("last echo"), "{lines}");

    drop(one);
    events.send_replace(state(Some("connection refused")));
    let status = panel.cluster(&caller).await.expect("a status");
    assert_eq!(of(&status.links[0]), (LinkKind::Events, None, false, Some("connection refused")));
    let gone = (LinkKind::Inbox, Some(Incarnation(1)), false, Some("nobody reads it"));
    assert_eq!(of(&status.links[1]), gone);
    assert!(status.links[1].since.is_some());
    let attention = status.attention.join("\n");
    for words in ["the link events reconnecting for", "the link inbox of worker one reconnecting"] {
        assert!(attention.contains(words), "{attention}");
    }
    let problem = panel.check_links().expect_err("a link is not connected");
    assert_eq!(problem.code, Code::Unavailable);
    assert!(problem.detail.contains("connection refused"), "{problem}");
}

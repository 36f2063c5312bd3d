//! The state of the links of this node: its own subscriptions, and those of its workers.

use orx_model::wire::{LinkKind, LinkView, WorkerView};
use orx_model::{Code, Problem, Timestamp};
use orx_transport::{ConnectionState, LinkOf, SubscriptionState};
use tokio::time::Instant;

use crate::{ControlPanel, Result};

impl ControlPanel {
    /// The subscriptions of this node itself.
    fn own_links(&self) -> Vec<LinkView> {
        let own = [(LinkOf::Events, LinkKind::Events), (LinkOf::Broadcast, LinkKind::Broadcast)];
        let links = self.inner.wakeups.links();
        let view = |(of, kind)| Some(self.link_view(kind, links.state(of)?));
        own.into_iter().filter_map(view).collect()
    }

    /// The links of this node, then those of the live workers that read their inbox here.
    pub(crate) fn link_views(&self, workers: &[&WorkerView]) -> Vec<LinkView> {
        let links = self.inner.wakeups.links();
        let own = self.inner.settings.node;
        let mut views = self.own_links();
        for worker in workers {
            let state = links.state(LinkOf::Inbox(worker.incarnation));
            let is_open = state.as_ref().is_some_and(SubscriptionState::is_connected);
            // The node where the worker reads reports it.
            if worker.node.is_some_and(|node| node != own) && !is_open {
                continue;
            }
            let view = match state {
                Some(state) => self.link_view(LinkKind::Inbox, state),
                None => LinkView {
                    of: LinkKind::Inbox,
                    worker: None,
                    worker_name: None,
                    connected: false,
                    since: None,
                    why: Some("it was not read here yet".to_owned()),
                    last_echo: None,
                },
            };
            let (worker, worker_name) = (Some(worker.incarnation), Some(worker.name.clone()));
            views.push(LinkView { worker, worker_name, ..view });
        }
        views
    }

    fn link_view(&self, of: LinkKind, state: SubscriptionState) -> LinkView {
        let now = self.now();
        let time = |at: Instant| -> Timestamp { now.saturating_sub(at.elapsed()) };
        let (connected, since, why) = match state.connection {
            ConnectionState::Connected { since } => (true, since, None),
            ConnectionState::Reconnecting { since, why } => (false, since, Some(why)),
        };
        LinkView {
            of,
            worker: None,
            worker_name: None,
            connected,
            since: Some(time(since)),
            why,
            last_echo: state.last_echo.map(time),
        }
    }

    /// Checks that this node receives from its workers and the other nodes. Returns the state of each of
    /// its links, one a line.
    ///
    /// # Errors
    /// [`Code::Unavailable`]: a link is not connected.
    pub fn check_links(&self) -> Result<String> {
        let mut lines = String::new();
        for link in self.own_links() {
            let text = self.link_text(&link);
            if !link.connected {
                return Err(Problem::new(Code::Unavailable, format!("the link {text}")));
            }
            lines.push_str(&text);
            lines.push('\n');
        }
        Ok(lines)
    }

    pub(crate) fn link_text(&self, link: &LinkView) -> String {
        let now = self.now();
        let ago = |at: Timestamp| orx_model::time::format_duration(now.saturating_since(at));
        let is = if link.connected { "connected" } else { "reconnecting" };
        let of = match &link.worker_name {
            Some(name) => format!("{} of worker {name}", link.of.as_str()),
            None => link.of.as_str().to_owned(),
        };
        let since = link.since.map(|at| format!(" for {}", ago(at))).unwrap_or_default();
        let echo = link.last_echo.map(|at| format!(", last echo {} ago", ago(at)));
        let why = link.why.as_ref().map(|why| format!(": {why}"));
        let (echo, why) = (echo.unwrap_or_default(), why.unwrap_or_default());
        format!("{of} {is}{since}{echo}{why}")
    }
}

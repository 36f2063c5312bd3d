//! The inbox of a worker. It reopens a lost subscription by itself and logs each loss once. Reading
//! never blocks the worker's loop: a stop, the end of a lease or of an attempt wait for no coordinator.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orx_model::Incarnation;
use orx_model::message::Envelope;
use orx_transport::{
    Acknowledgement, Channel, ConnectionState, Subscription, SubscriptionState, Transport,
    TransportError,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::runtime::RETRY;

/// Most envelopes taken at once.
const BATCH: usize = 64;

/// What an inbox yields.
#[derive(Debug)]
pub(crate) enum Incoming {
    Envelopes(Vec<Envelope>),
    /// It is connected, again or to another coordinator, which should receive a heartbeat.
    Connected,
}

pub(crate) struct WorkerInbox {
    transport: Arc<dyn Transport>,
    of: Incarnation,
    state: InboxState,
    /// Since when it is connected, as of the last check.
    connected: Option<Instant>,
    /// Whether the current loss was logged.
    loss_logged: bool,
    /// The acknowledgement of the last batch. Only the next read waits for it.
    acknowledging: Option<Acknowledgement>,
}

enum InboxState {
    Open(Box<dyn Subscription>, watch::Receiver<SubscriptionState>),
    Opening(BoxFuture<'static, Box<dyn Subscription>>),
}

impl WorkerInbox {
    pub(crate) async fn open(
        transport: Arc<dyn Transport>,
        of: Incarnation,
    ) -> Result<Self, TransportError> {
        let subscription = transport.subscribe(Channel::Inbox(of)).await?;
        let state = open(subscription);
        let mut inbox =
            Self { transport, of, state, connected: None, loss_logged: false, acknowledging: None };
        inbox.check_connection();
        Ok(inbox)
    }

    /// Waits for the next envelopes. They are acknowledged on receipt: recovery heals a later loss.
    /// Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Incoming {
        loop {
            if self.check_connection() {
                return Incoming::Connected;
            }
            if let Some(acknowledging) = &mut self.acknowledging {
                if let Err(error) = acknowledging.await {
                    tracing::debug!(%error, "not acknowledged: the envelopes may come again");
                }
                self.acknowledging = None;
            }
            match &mut self.state {
                InboxState::Open(subscription, state) => {
                    let next = tokio::select! {
                        biased;
                        // It fails when the subscription has ended, which the next arm reports too.
                        Ok(()) = state.changed() => continue,
                        next = subscription.next(BATCH) => next,
                    };
                    match next {
                        Ok(deliveries) => {
                            let (envelopes, acknowledging) = deliveries.accept();
                            self.acknowledging = Some(acknowledging);
                            return Incoming::Envelopes(envelopes);
                        }
                        Err(error) => {
                            self.lost(&error.to_string());
                            let opening = reopen(Arc::clone(&self.transport), self.of);
                            self.state = InboxState::Opening(Box::pin(opening));
                        }
                    }
                }
                InboxState::Opening(opening) => self.state = open(opening.await),
            }
        }
    }

    /// Reads the state of the connection and logs a change. Returns whether it is a new connection.
    fn check_connection(&mut self) -> bool {
        let InboxState::Open(_, state) = &mut self.state else { return false };
        let connection = state.borrow_and_update().connection.clone();
        match connection {
            ConnectionState::Connected { since } => {
                let is_new = self.connected.replace(since) != Some(since);
                if std::mem::take(&mut self.loss_logged) {
                    tracing::info!("the inbox is connected again");
                }
                is_new
            }
            ConnectionState::Reconnecting { why, .. } => {
                self.lost(&why);
                false
            }
        }
    }

    fn lost(&mut self, why: &str) {
        self.connected = None;
        if !std::mem::replace(&mut self.loss_logged, true) {
            tracing::warn!(why, "the inbox lost its coordinator; reconnecting");
        }
    }
}

fn open(subscription: Box<dyn Subscription>) -> InboxState {
    let state = subscription.state();
    InboxState::Open(subscription, state)
}

async fn reopen(transport: Arc<dyn Transport>, of: Incarnation) -> Box<dyn Subscription> {
    let mut backoff = RETRY;
    loop {
        match transport.subscribe(Channel::Inbox(of)).await {
            Ok(subscription) => return subscription,
            Err(error) => tracing::debug!(%error, "the inbox cannot be opened yet"),
        }
        tokio::time::sleep(backoff.failed()).await;
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures_util::FutureExt as _;
    use orx_transport::{Deliveries, Shard};

    use super::*;

    /// Its inboxes have the state that is sent, and no envelopes.
    struct StateOnly(watch::Sender<SubscriptionState>);

    struct EmptyInbox(watch::Receiver<SubscriptionState>);

    #[async_trait]
    impl Transport for StateOnly {
        async fn publish(&self, to: Channel, _: Vec<Envelope>) -> Result<(), TransportError> {
            Err(TransportError::NoReader { channel: to })
        }

        async fn subscribe(&self, _: Channel) -> Result<Box<dyn Subscription>, TransportError> {
            Ok(Box::new(EmptyInbox(self.0.subscribe())))
        }

        async fn subscribe_events(
            &self,
            _: Vec<Shard>,
        ) -> Result<Box<dyn Subscription>, TransportError> {
            Err(TransportError::Closed)
        }
    }

    #[async_trait]
    impl Subscription for EmptyInbox {
        async fn next(&mut self, _: usize) -> Result<Deliveries, TransportError> {
            std::future::pending().await
        }

        fn state(&self) -> watch::Receiver<SubscriptionState> {
            self.0.clone()
        }
    }

    fn reconnecting() -> SubscriptionState {
        let (since, why) = (Instant::now(), "it restarts".to_owned());
        let connection = ConnectionState::Reconnecting { since, why };
        SubscriptionState { connection, last_echo: None }
    }

    #[tokio::test]
    async fn each_loss_is_logged_once_and_each_new_connection_is_yielded_once() {
        let begin = Instant::now();
        let state = watch::Sender::new(SubscriptionState::connected(begin));
        let transport = Arc::new(StateOnly(state.clone()));
        let mut inbox = WorkerInbox::open(transport, Incarnation(1)).await.expect("open");
        let yields = |inbox: &mut WorkerInbox| {
            let next = inbox.next().now_or_never();
            assert!(!matches!(next, Some(Incoming::Envelopes(_))), "{next:?}");
            next.is_some()
        };
        assert!(!yields(&mut inbox) && !inbox.loss_logged, "it begins connected");
        for _ in 0..2 {
            state.send_replace(reconnecting());
            assert!(!yields(&mut inbox) && inbox.loss_logged);
        }
        let later = |seconds| begin + std::time::Duration::from_secs(seconds);
        state.send_replace(SubscriptionState::connected(later(1)));
        assert!(yields(&mut inbox) && !inbox.loss_logged);
        assert!(!yields(&mut inbox));
        // Another coordinator, without a loss in between.
        state.send_replace(SubscriptionState::connected(later(2)));
        assert!(yields(&mut inbox) && !inbox.loss_logged);
        assert!(!yields(&mut inbox));
    }
}

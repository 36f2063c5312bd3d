//! The inbox of a worker, which opens it anew when it was lost, and says so once. Whoever reads it can do something
//! else meanwhile: a stop, a cut lease and an end wait for no coordinator.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orx_model::Incarnation;
use orx_model::message::Envelope;
use orx_transport::{
    Acknowledgement, Channel, Connection, Subscription, SubscriptionState, Transport,
    TransportError,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::runtime::{RETRY_FIRST, RETRY_MOST};

/// Envelopes taken at once.
const BATCH: usize = 64;

/// What comes of an inbox.
#[derive(Debug)]
pub(crate) enum Incoming {
    Envelopes(Vec<Envelope>),
    /// It is connected again, or elsewhere: whoever sends to it should hear of this worker.
    Connected,
}

pub(crate) struct Inbox {
    transport: Arc<dyn Transport>,
    of: Incarnation,
    state: State,
    /// Since when it is connected, as far as it was looked at.
    connected: Option<Instant>,
    /// That the coordinator was lost was said.
    said: bool,
    /// Of what was read last. It holds up the next reading, and nothing else.
    acknowledging: Option<Acknowledgement>,
}

enum State {
    Open(Box<dyn Subscription>, watch::Receiver<SubscriptionState>),
    Opening(BoxFuture<'static, Box<dyn Subscription>>),
}

impl Inbox {
    pub(crate) async fn open(
        transport: Arc<dyn Transport>,
        of: Incarnation,
    ) -> Result<Self, TransportError> {
        let subscription = transport.subscribe(Channel::Inbox(of)).await?;
        let state = open(subscription);
        let mut inbox =
            Self { transport, of, state, connected: None, said: false, acknowledging: None };
        inbox.look();
        Ok(inbox)
    }

    /// What came. It is acknowledged on receipt: what is lost from there on, recovery finds.
    /// Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Incoming {
        loop {
            if self.look() {
                return Incoming::Connected;
            }
            if let Some(acknowledging) = &mut self.acknowledging {
                if let Err(error) = acknowledging.await {
                    tracing::debug!(%error, "what was read may come again");
                }
                self.acknowledging = None;
            }
            match &mut self.state {
                State::Open(subscription, state) => {
                    let next = tokio::select! {
                        biased;
                        // An error would say that the subscription is over: the next one says it too.
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
                            self.state = State::Opening(Box::pin(opening));
                        }
                    }
                }
                State::Opening(opening) => self.state = open(opening.await),
            }
        }
    }

    /// Looks how it stands, and says so once where that changed. Answers whether it is connected anew.
    fn look(&mut self) -> bool {
        let State::Open(_, state) = &mut self.state else { return false };
        let connection = state.borrow_and_update().connection.clone();
        match connection {
            Connection::Connected { since } => {
                let is_new = self.connected.replace(since) != Some(since);
                if std::mem::take(&mut self.said) {
                    tracing::info!("the inbox is open again");
                }
                is_new
            }
            Connection::Reconnecting { why, .. } => {
                self.lost(&why);
                false
            }
        }
    }

    fn lost(&mut self, why: &str) {
        self.connected = None;
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!(why, "the inbox is cut off from the coordinator: opening it again");
        }
    }
}

fn open(subscription: Box<dyn Subscription>) -> State {
    let state = subscription.state();
    State::Open(subscription, state)
}

async fn reopen(transport: Arc<dyn Transport>, of: Incarnation) -> Box<dyn Subscription> {
    let mut pause = RETRY_FIRST;
    loop {
        match transport.subscribe(Channel::Inbox(of)).await {
            Ok(subscription) => return subscription,
            Err(error) => tracing::debug!(%error, "the inbox cannot be opened yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MOST);
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use futures_util::FutureExt as _;
    use orx_transport::{Deliveries, Shard};

    use super::*;

    /// Its inboxes stand as they are told to, and bring nothing.
    struct Silent(watch::Sender<SubscriptionState>);

    struct Nothing(watch::Receiver<SubscriptionState>);

    #[async_trait]
    impl Transport for Silent {
        async fn publish(&self, to: Channel, _: Vec<Envelope>) -> Result<(), TransportError> {
            Err(TransportError::NoReader { channel: to })
        }

        async fn subscribe(&self, _: Channel) -> Result<Box<dyn Subscription>, TransportError> {
            Ok(Box::new(Nothing(self.0.subscribe())))
        }

        async fn subscribe_events(
            &self,
            _: Vec<Shard>,
        ) -> Result<Box<dyn Subscription>, TransportError> {
            Err(TransportError::Closed)
        }
    }

    #[async_trait]
    impl Subscription for Nothing {
        async fn next(&mut self, _: usize) -> Result<Deliveries, TransportError> {
            std::future::pending().await
        }

        fn state(&self) -> watch::Receiver<SubscriptionState> {
            self.0.clone()
        }
    }

    fn reconnecting() -> SubscriptionState {
        let (since, why) = (Instant::now(), "it restarts".to_owned());
        let connection = Connection::Reconnecting { since, why };
        SubscriptionState { connection, last_echo: None }
    }

    #[tokio::test]
    async fn a_link_is_said_to_be_lost_once_and_each_new_one_is_told_of_once() {
        let begin = Instant::now();
        let told = watch::Sender::new(SubscriptionState::connected(begin));
        let transport = Arc::new(Silent(told.clone()));
        let mut inbox = Inbox::open(transport, Incarnation(1)).await.expect("open");
        let told_of = |inbox: &mut Inbox| {
            let next = inbox.next().now_or_never();
            assert!(!matches!(next, Some(Incoming::Envelopes(_))), "{next:?}");
            next.is_some()
        };
        assert!(!told_of(&mut inbox) && !inbox.said, "it begins connected");
        for _ in 0..2 {
            told.send_replace(reconnecting());
            assert!(!told_of(&mut inbox) && inbox.said);
        }
        let later = |seconds| begin + std::time::Duration::from_secs(seconds);
        told.send_replace(SubscriptionState::connected(later(1)));
        assert!(told_of(&mut inbox) && !inbox.said);
        assert!(!told_of(&mut inbox));
        // Another coordinator, without a gap that was seen.
        told.send_replace(SubscriptionState::connected(later(2)));
        assert!(told_of(&mut inbox) && !inbox.said);
        assert!(!told_of(&mut inbox));
    }
}

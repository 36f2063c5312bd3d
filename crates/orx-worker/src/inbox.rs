//! The inbox of a worker, which opens it anew when it was lost. Whoever reads it can do something
//! else meanwhile: a stop, a cut lease and an end wait for no coordinator.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orx_model::Incarnation;
use orx_transport::{Channel, Delivery, Subscription, Transport, TransportError};

use crate::runtime::{RETRY_FIRST, RETRY_MOST};

/// Envelopes taken at once.
const BATCH: usize = 64;

pub(crate) struct Inbox {
    transport: Arc<dyn Transport>,
    of: Incarnation,
    state: State,
}

enum State {
    Open(Box<dyn Subscription>),
    Opening(BoxFuture<'static, Box<dyn Subscription>>),
}

impl Inbox {
    pub(crate) async fn open(
        transport: Arc<dyn Transport>,
        of: Incarnation,
    ) -> Result<Self, TransportError> {
        let subscription = transport.subscribe(Channel::Inbox(of)).await?;
        Ok(Self { transport, of, state: State::Open(subscription) })
    }

    /// What came. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Vec<Box<dyn Delivery>> {
        loop {
            match &mut self.state {
                State::Open(subscription) => match subscription.next(BATCH).await {
                    Ok(deliveries) => return deliveries,
                    Err(error) => {
                        tracing::warn!(%error, "the inbox was lost: opening it anew");
                        let opening = reopen(Arc::clone(&self.transport), self.of);
                        self.state = State::Opening(Box::pin(opening));
                    }
                },
                State::Opening(opening) => self.state = State::Open(opening.await),
            }
        }
    }
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

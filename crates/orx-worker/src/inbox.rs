//! The inbox of a worker, which opens it anew when it was lost. Whoever reads it can do something
//! else meanwhile: a stop, a cut lease and an end wait for no coordinator.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use orx_model::Incarnation;
use orx_model::message::Envelope;
use orx_transport::{Acknowledgement, Channel, Subscription, Transport, TransportError};

use crate::runtime::{RETRY_FIRST, RETRY_MOST};

/// Envelopes taken at once.
const BATCH: usize = 64;

pub(crate) struct Inbox {
    transport: Arc<dyn Transport>,
    of: Incarnation,
    state: State,
    /// Of what was read last. It holds up the next reading, and nothing else.
    acknowledging: Option<Acknowledgement>,
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
        let state = State::Open(subscription);
        Ok(Self { transport, of, state, acknowledging: None })
    }

    /// What came. It is acknowledged on receipt: what is lost from there on, recovery finds.
    /// Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Vec<Envelope> {
        loop {
            if let Some(acknowledging) = &mut self.acknowledging {
                if let Err(error) = acknowledging.await {
                    tracing::debug!(%error, "what was read may come again");
                }
                self.acknowledging = None;
            }
            match &mut self.state {
                State::Open(subscription) => match subscription.next(BATCH).await {
                    Ok(deliveries) => {
                        let (envelopes, acknowledging) = deliveries.accept();
                        self.acknowledging = Some(acknowledging);
                        return envelopes;
                    }
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

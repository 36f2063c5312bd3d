//! The batch of envelopes that a reader receives, and how the reader answers it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use orx_model::message::Envelope;
use orx_model::wire::Receipt;
use tokio::sync::oneshot;

use crate::TransportError;

/// A batch of envelopes that one reader received. The reader answers all of them in one call, or splits
/// the batch and answers each part when it has processed it. Envelopes that are dropped unanswered are
/// delivered again, except those of [`Channel::Broadcast`](crate::Channel::Broadcast).
#[derive(Default)]
#[must_use = "envelopes that are dropped unanswered are delivered again"]
pub struct Deliveries {
    /// Each with its index in the batch as the transport delivered it.
    envelopes: Vec<(usize, Envelope)>,
    /// `None` if the transport needs no answer.
    from: Option<Arc<dyn Acknowledge>>,
}

/// An acknowledgement that is sent when it is polled.
pub type Acknowledgement = BoxFuture<'static, Result<(), TransportError>>;

/// The transport's side of one batch of [`Deliveries`]. It identifies an envelope by its index in the
/// batch as delivered. Each envelope is answered at most once; the answers may come in several calls.
#[async_trait]
pub trait Acknowledge: Send + Sync {
    /// Acknowledges envelopes: they are not delivered again. Forwards each receipt to the publisher if
    /// it waits for one.
    ///
    /// # Errors
    /// The carrier did not confirm: they may be delivered again.
    async fn ack(&self, answered: Vec<(usize, Receipt)>) -> Result<(), TransportError>;

    /// Returns envelopes: they are delivered again at once, to this reader or another.
    ///
    /// # Errors
    /// The carrier did not confirm: they are delivered again later.
    async fn nack(&self, returned: Vec<(usize, Envelope)>) -> Result<(), TransportError>;

    /// The reader dropped these envelopes: as [`Self::nack`], without waiting.
    fn dropped(&self, returned: Vec<(usize, Envelope)>);
}

impl Deliveries {
    /// A batch whose answers go to `from`.
    pub fn new(envelopes: Vec<Envelope>, from: Arc<dyn Acknowledge>) -> Self {
        Self { envelopes: envelopes.into_iter().enumerate().collect(), from: Some(from) }
    }

    /// A batch of a channel that never redelivers: answers are ignored.
    pub fn unanswered(envelopes: Vec<Envelope>) -> Self {
        Self { envelopes: envelopes.into_iter().enumerate().collect(), from: None }
    }

    /// How many envelopes the batch holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.envelopes.len()
    }

    /// Whether the batch holds no envelope.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.envelopes.is_empty()
    }

    /// The envelopes, in the order of their delivery.
    pub fn envelopes(&self) -> impl ExactSizeIterator<Item = &Envelope> {
        self.envelopes.iter().map(|(_, envelope)| envelope)
    }

    /// Keeps the first `at` envelopes and returns the rest.
    pub fn split_off(&mut self, at: usize) -> Self {
        let rest = self.envelopes.split_off(at.min(self.envelopes.len()));
        Self { envelopes: rest, from: self.from.clone() }
    }

    /// Splits the batch into the envelopes that satisfy `predicate` and the others.
    pub fn partition(mut self, mut predicate: impl FnMut(&Envelope) -> bool) -> (Self, Self) {
        let all = std::mem::take(&mut self.envelopes);
        let (yes, no) = all.into_iter().partition(|(_, envelope)| predicate(envelope));
        let part = |envelopes| Self { envelopes, from: self.from.clone() };
        (part(yes), part(no))
    }

    /// Acknowledges all envelopes, each with its receipt, which the transport forwards to a publisher
    /// that waits for it.
    ///
    /// # Errors
    /// The transport did not confirm: the envelopes may be delivered again.
    pub async fn answer(
        mut self,
        mut receipt: impl FnMut(&Envelope) -> Receipt + Send,
    ) -> Result<(), TransportError> {
        let Some(from) = self.from.clone() else {
            self.envelopes.clear();
            return Ok(());
        };
        let envelopes = std::mem::take(&mut self.envelopes);
        if envelopes.is_empty() {
            return Ok(());
        }
        let answered = envelopes.iter().map(|(index, envelope)| (*index, receipt(envelope)));
        from.ack(answered.collect()).await
    }

    /// Acknowledges all envelopes as [`Receipt::Recorded`].
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub async fn ack(self) -> Result<(), TransportError> {
        self.answer(|_| Receipt::Recorded).await
    }

    /// Returns all envelopes: they are delivered again at once.
    ///
    /// # Errors
    /// The transport did not confirm: they are delivered again later.
    pub async fn nack(mut self) -> Result<(), TransportError> {
        let returned = std::mem::take(&mut self.envelopes);
        match &self.from {
            Some(from) if !returned.is_empty() => from.nack(returned).await,
            _ => Ok(()),
        }
    }

    /// Returns the envelopes before they are acknowledged, for a reader that tolerates both their loss
    /// and a second delivery. If the acknowledgement is not awaited, it may or may not happen.
    pub fn accept(mut self) -> (Vec<Envelope>, Acknowledgement) {
        let (indexes, envelopes): (Vec<usize>, Vec<Envelope>) =
            std::mem::take(&mut self.envelopes).into_iter().unzip();
        let from = self.from.take().filter(|_| !indexes.is_empty());
        let answered = indexes.into_iter().map(|index| (index, Receipt::Recorded)).collect();
        let acknowledgement = async move {
            match from {
                Some(from) => from.ack(answered).await,
                None => Ok(()),
            }
        };
        (envelopes, Box::pin(acknowledgement))
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        if self.envelopes.is_empty() {
            return;
        }
        if let Some(from) = &self.from {
            from.dropped(std::mem::take(&mut self.envelopes));
        }
    }
}

/// The receipts of envelopes that were published together, in their order.
#[must_use = "the receipts state what the reader did with the envelopes"]
#[derive(Default)]
pub struct Receipts {
    /// `None`: the receipt is `Taken`, no other will come.
    pending: Vec<Option<oneshot::Receiver<Receipt>>>,
}

impl Receipts {
    /// For `count` envelopes that the carrier has confirmed, and whose reader sends no receipt.
    pub fn taken(count: usize) -> Self {
        Self { pending: (0..count).map(|_| None).collect() }
    }

    /// For envelopes whose reader sends a receipt for each. A sender that is dropped leaves its receipt
    /// at [`Receipt::Taken`].
    pub fn pending(pending: Vec<oneshot::Receiver<Receipt>>) -> Self {
        Self { pending: pending.into_iter().map(Some).collect() }
    }

    /// How many envelopes were published.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether no envelope was published.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Adds the receipts of envelopes that were published after these.
    pub fn append(&mut self, mut other: Self) {
        self.pending.append(&mut other.pending);
    }

    /// Waits for the receipts, at most for `time`, and returns one for each envelope: `Taken` where
    /// none came in time.
    pub async fn within(self, time: Duration) -> Vec<Receipt> {
        let mut receipts = vec![Receipt::Taken; self.pending.len()];
        let mut pending = self.pending;
        let all = async {
            for (receipt, pending) in receipts.iter_mut().zip(&mut pending) {
                let Some(receiver) = pending else { continue };
                if let Ok(received) = receiver.await {
                    *receipt = received;
                }
                *pending = None;
            }
        };
        if tokio::time::timeout(time, all).await.is_err() {
            // Receipts behind the one that did not come may be there.
            for (receipt, pending) in receipts.iter_mut().zip(pending) {
                if let Some(Ok(received)) = pending.map(|mut receiver| receiver.try_recv()) {
                    *receipt = received;
                }
            }
        }
        receipts
    }
}

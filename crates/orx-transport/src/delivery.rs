//! What a reader was handed, and how it answers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use orx_model::message::Envelope;
use orx_model::wire::Receipt;
use tokio::sync::oneshot;

use crate::TransportError;

/// Envelopes that one reader took together. It answers all of them in one call, or splits them and
/// answers each part when it is done with it. Dropped unanswered, they come again (but those of
/// [`Channel::Broadcast`](crate::Channel::Broadcast)).
#[derive(Default)]
#[must_use = "what is dropped unanswered comes again"]
pub struct Deliveries {
    /// Each with its index in the batch as the transport delivered it.
    envelopes: Vec<(usize, Envelope)>,
    /// `None` where the transport need not know what becomes of them.
    from: Option<Arc<dyn Acknowledge>>,
}

/// The acknowledgement of envelopes that their reader has already: it runs when it is polled.
pub type Acknowledgement = BoxFuture<'static, Result<(), TransportError>>;

/// The transport's side of one batch of [`Deliveries`]. It knows the envelopes by their indexes in the
/// batch as it was delivered; each is answered at most once, in however many calls.
#[async_trait]
pub trait Acknowledge: Send + Sync {
    /// They will not come again, unless this fails. Whoever asked is told what became of each.
    async fn ack(&self, answered: Vec<(usize, Receipt)>) -> Result<(), TransportError>;

    /// They come again at once, here or at another reader. After a failure they come again later.
    async fn nack(&self, returned: Vec<(usize, Envelope)>) -> Result<(), TransportError>;

    /// Their reader dropped them: as [`Self::nack`], without waiting for anything.
    fn dropped(&self, returned: Vec<(usize, Envelope)>);
}

impl Deliveries {
    pub fn new(envelopes: Vec<Envelope>, from: Arc<dyn Acknowledge>) -> Self {
        Self { envelopes: envelopes.into_iter().enumerate().collect(), from: Some(from) }
    }

    /// Of a channel on which nothing comes again.
    pub fn unanswered(envelopes: Vec<Envelope>) -> Self {
        Self { envelopes: envelopes.into_iter().enumerate().collect(), from: None }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.envelopes.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.envelopes.is_empty()
    }

    /// In the order in which they came.
    pub fn envelopes(&self) -> impl ExactSizeIterator<Item = &Envelope> {
        self.envelopes.iter().map(|(_, envelope)| envelope)
    }

    /// Keeps the first `at` and returns the rest.
    pub fn split_off(&mut self, at: usize) -> Self {
        let rest = self.envelopes.split_off(at.min(self.envelopes.len()));
        Self { envelopes: rest, from: self.from.clone() }
    }

    /// Those of which that is true, and the others.
    pub fn partition(mut self, mut is: impl FnMut(&Envelope) -> bool) -> (Self, Self) {
        let all = std::mem::take(&mut self.envelopes);
        let (yes, no) = all.into_iter().partition(|(_, envelope)| is(envelope));
        let part = |envelopes| Self { envelopes, from: self.from.clone() };
        (part(yes), part(no))
    }

    /// They are done with and will not come again; whoever asked is told what became of each.
    ///
    /// # Errors
    /// The transport could not be told: they may come again.
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

    /// They are done with and will not come again.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub async fn ack(self) -> Result<(), TransportError> {
        self.answer(|_| Receipt::Recorded).await
    }

    /// They come again at once.
    ///
    /// # Errors
    /// The transport could not be told: they come again later.
    pub async fn nack(mut self) -> Result<(), TransportError> {
        let returned = std::mem::take(&mut self.envelopes);
        match &self.from {
            Some(from) if !returned.is_empty() => from.nack(returned).await,
            _ => Ok(()),
        }
    }

    /// The envelopes, before they are acknowledged: for a reader that can do without them as well as
    /// with two of them. Not awaited, the acknowledgement may or may not take place.
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

/// What becomes of envelopes that were published together, in their order.
#[must_use = "they say what became of the envelopes"]
#[derive(Default)]
pub struct Receipts {
    /// `None`: all that is known of it is that it was taken.
    told: Vec<Option<oneshot::Receiver<Receipt>>>,
}

impl Receipts {
    /// Of so many that a broker has confirmed. What their reader does with them it tells nobody.
    pub fn taken(count: usize) -> Self {
        Self { told: (0..count).map(|_| None).collect() }
    }

    /// Of envelopes whose readers tell what became of them. One who ends without a word leaves it at
    /// `taken`.
    pub fn told(told: Vec<oneshot::Receiver<Receipt>>) -> Self {
        Self { told: told.into_iter().map(Some).collect() }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.told.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    pub fn append(&mut self, mut other: Self) {
        self.told.append(&mut other.told);
    }

    /// One for each envelope. What is not decided within that time is `taken`.
    pub async fn within(self, time: Duration) -> Vec<Receipt> {
        let mut receipts = vec![Receipt::Taken; self.told.len()];
        let mut told = self.told;
        let all = async {
            for (receipt, told) in receipts.iter_mut().zip(&mut told) {
                let Some(decided) = told else { continue };
                if let Ok(decided) = decided.await {
                    *receipt = decided;
                }
                *told = None;
            }
        };
        if tokio::time::timeout(time, all).await.is_err() {
            // Behind one that is not decided there may be some that are.
            for (receipt, told) in receipts.iter_mut().zip(told) {
                if let Some(Ok(decided)) = told.map(|mut told| told.try_recv()) {
                    *receipt = decided;
                }
            }
        }
        receipts
    }
}

//! Publishes the progress of an attempt: the newest value, at most once in 100 ms. A full transport
//! delays the progress and nothing else.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use orx_model::job::Progress;
use orx_model::message::{Dispatch, ExecutionProgress, Message};
use tokio::time::Instant;

use crate::runtime::Publisher;

const SEND_EVERY: Duration = Duration::from_millis(100);

/// Sends the progress that its attempt reports.
pub(crate) struct ProgressSender {
    publisher: Publisher,
    /// Not yet sent.
    newest: Option<Progress>,
    sending: Option<BoxFuture<'static, ()>>,
    sent_at: Option<Instant>,
}

impl ProgressSender {
    pub(crate) fn new(publisher: Publisher) -> Self {
        Self { publisher, newest: None, sending: None, sent_at: None }
    }

    pub(crate) fn set(&mut self, progress: Progress) {
        self.newest = Some(progress);
    }

    /// Sends each report when it is due and never returns. Cancelling loses nothing.
    pub(crate) async fn advance(&mut self, of: &Dispatch) {
        loop {
            if let Some(sending) = &mut self.sending {
                sending.await;
                self.sending = None;
            }
            if self.newest.is_none() {
                return std::future::pending().await;
            }
            if let Some(sent_at) = self.sent_at {
                tokio::time::sleep_until(sent_at + SEND_EVERY).await;
            }
            self.send(of);
        }
    }

    /// Sends the newest value if the transport accepts it at once.
    pub(crate) fn finish(mut self, of: &Dispatch) {
        if let Some(sending) = self.sending.take()
            && sending.now_or_never().is_none()
        {
            return;
        }
        self.send(of);
        let _ = self.sending.and_then(FutureExt::now_or_never);
    }

    fn send(&mut self, of: &Dispatch) {
        let Some(progress) = self.newest.take() else { return };
        self.sent_at = Some(Instant::now());
        let (job, execution) = (of.job, of.execution);
        let message =
            Message::JobProgress { progress: vec![ExecutionProgress { job, execution, progress }] };
        let publisher = self.publisher.clone();
        self.sending = Some(Box::pin(async move {
            if let Err(error) = publisher.publish(job, message).await {
                tracing::debug!(%error, "could not publish progress");
            }
        }));
    }
}

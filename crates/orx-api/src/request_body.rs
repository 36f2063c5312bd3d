//! The body of a request: it must arrive at a minimum speed, and what its handler leaves unread goes
//! back to the middleware.
//!
//! The server would take unread bytes for the next request on the connection. So the middleware reads
//! the rest if it is short, or else the answer announces that the connection closes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::EXPECT;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::Limits;

/// Most unread bytes that are read to keep the connection open.
const UNREAD_MAX: u64 = 64 * 1024;
/// How long the unread bytes may take to arrive: those sent with the head are there by then.
const UNREAD_WAIT: Duration = Duration::from_millis(250);

/// The body did not arrive at the minimum speed.
#[derive(Debug, thiserror::Error)]
#[error("the body comes too slowly")]
pub(crate) struct TooSlow;

struct TimedBody {
    inner: Body,
    /// Receives the rest of the body when this is dropped.
    unread_to: Option<oneshot::Sender<Body>>,
    began: Instant,
    received: u64,
    grace: Duration,
    bytes_per_second: u32,
    /// Set while the body waits for bytes.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for TimedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.deadline = None;
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                this.received += data.len() as u64;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let earned = Duration::from_secs(this.received / u64::from(this.bytes_per_second.max(1)));
        let until = this.began + this.grace + earned;
        let deadline = this.deadline.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Some(Err(Box::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        if let Some(unread_to) = self.unread_to.take() {
            // The middleware may have been cancelled.
            let _ = unread_to.send(std::mem::take(&mut self.inner));
        }
    }
}

/// The part of a body that its handler did not read.
pub(crate) struct UnreadBody {
    body: oneshot::Receiver<Body>,
    /// Whether the client waits for `100 Continue` before it sends the body.
    expects_continue: bool,
}

impl UnreadBody {
    /// Prepares the request for its handler. `None` for a request without a body.
    pub(crate) fn of(request: Request, limits: &Limits) -> (Request, Option<Self>) {
        if request.body().is_end_stream() {
            return (request, None);
        }
        let expects_continue = request.headers().contains_key(EXPECT);
        let (unread_to, body) = oneshot::channel();
        let request = request.map(|inner| {
            Body::new(TimedBody {
                inner,
                unread_to: Some(unread_to),
                began: Instant::now(),
                received: 0,
                grace: limits.body_grace,
                bytes_per_second: limits.body_bytes_per_second,
                deadline: None,
            })
        });
        (request, Some(Self { body, expects_continue }))
    }

    /// Reads the rest and returns whether the connection can take another request. A handler that goes
    /// on reading while it streams its answer reads the rest itself.
    pub(crate) async fn read_rest(mut self) -> bool {
        let Ok(mut body) = self.body.try_recv() else { return true };
        if body.is_end_stream() {
            return true;
        }
        if self.expects_continue || body.size_hint().lower() > UNREAD_MAX {
            return false;
        }
        let read = async {
            let mut left = UNREAD_MAX;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                let Some(rest) = left.checked_sub(bytes) else { return false };
                left = rest;
            }
            true
        };
        tokio::time::timeout(UNREAD_WAIT, read).await.unwrap_or(false)
    }
}

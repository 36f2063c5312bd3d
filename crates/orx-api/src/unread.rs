//! What is left of a request's body once its answer is known. What was not read would be taken for the
//! next request: it is read, where it is little, or the answer says that the connection ends.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::EXPECT;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;

/// More than this is not read for the sake of the connection.
const MOST: u64 = 64 * 1024;
/// What comes with its head is there by then.
const WITHIN: Duration = Duration::from_millis(250);

/// A body that its handler reads, and that is handed back when the handler drops it.
struct Lent {
    body: Body,
    back: Option<oneshot::Sender<Body>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            // Nobody may ask for it any more.
            let _ = back.send(std::mem::take(&mut self.body));
        }
    }
}

/// The rest of a body, as far as its handler leaves it.
pub(crate) struct Rest {
    body: oneshot::Receiver<Body>,
    /// The client waits to be told to send it.
    expects: bool,
}

impl Rest {
    /// `None` for a request without a body.
    pub(crate) fn of(request: Request) -> (Request, Option<Self>) {
        if request.body().is_end_stream() {
            return (request, None);
        }
        let (parts, body) = request.into_parts();
        let expects = parts.headers.contains_key(EXPECT);
        let (back, rest) = oneshot::channel();
        let request = Request::from_parts(parts, Body::new(Lent { body, back: Some(back) }));
        (request, Some(Self { body: rest, expects }))
    }

    /// Answers whether the connection can take another request. A handler that still reads, as one
    /// that streams its answer does, sees to that itself.
    pub(crate) async fn read_out(mut self) -> bool {
        let Ok(mut body) = self.body.try_recv() else { return true };
        if body.is_end_stream() {
            return true;
        }
        if self.expects || body.size_hint().lower() > MOST {
            return false;
        }
        let read = async {
            let mut left = MOST;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return false };
                let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
                let Some(rest) = left.checked_sub(bytes) else { return false };
                left = rest;
            }
            true
        };
        tokio::time::timeout(WITHIN, read).await.unwrap_or(false)
    }
}

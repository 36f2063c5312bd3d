//! Connections that have no request under way. They keep nobody out: where there is no place for
//! another connection, one of them makes room, first those that have never asked for anything, and of
//! these the one that has been silent for longest.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::peers::{ConnectionPermit, source};

/// Whether it has asked for something, and when it fell silent: in the order in which they go.
type Turn = (bool, u64);

#[derive(Debug, Clone, Default)]
pub(crate) struct Idle {
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    silent: BTreeMap<Turn, Arc<Held>>,
    turns: u64,
}

/// What a connection takes up, until it ends or makes room.
#[derive(Debug)]
struct Held {
    source: IpAddr,
    places: Mutex<Option<(OwnedSemaphorePermit, ConnectionPermit)>>,
    close: CancellationToken,
}

/// A connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    idle: Idle,
    held: Arc<Held>,
    turn: Mutex<Option<Turn>>,
}

impl Idle {
    pub(crate) fn line(
        &self,
        address: IpAddr,
        permit: OwnedSemaphorePermit,
        place: ConnectionPermit,
    ) -> Arc<Line> {
        let places = Mutex::new(Some((permit, place)));
        let held = Held { source: source(address), places, close: CancellationToken::new() };
        let line = Line { idle: self.clone(), held: Arc::new(held), turn: Mutex::new(None) };
        line.fall_silent(false);
        Arc::new(line)
    }

    /// Closes one, of that address if one is given; answers whether there was one.
    pub(crate) fn make_room(&self, address: Option<IpAddr>) -> bool {
        let wanted = address.map(source);
        let mut lines = self.lines.lock();
        let fits = |held: &Held| wanted.is_none_or(|wanted| held.source == wanted);
        let first = lines.silent.iter().find(|(_, held)| fits(held)).map(|(turn, _)| *turn);
        let Some(held) = first.and_then(|turn| lines.silent.remove(&turn)) else { return false };
        drop(lines);
        held.close.cancel();
        // Before the connection has closed, which it does at once.
        drop(held.places.lock().take());
        true
    }
}

impl Line {
    /// Resolves when it has to make room.
    pub(crate) async fn closed(&self) {
        self.held.close.cancelled().await;
    }

    fn fall_silent(&self, has_asked: bool) {
        // One that has made room already has nothing to give.
        if self.held.close.is_cancelled() {
            return;
        }
        let mut lines = self.idle.lines.lock();
        lines.turns += 1;
        let turn = (has_asked, lines.turns);
        lines.silent.insert(turn, Arc::clone(&self.held));
        drop(lines);
        *self.turn.lock() = Some(turn);
    }

    fn speak(&self) {
        let turn = self.turn.lock().take();
        if let Some(turn) = turn {
            let mut lines = self.idle.lines.lock();
            lines.silent.remove(&turn);
        }
    }

    /// A request is under way, until what this returns is dropped.
    pub(crate) fn ask(self: &Arc<Self>) -> Asking {
        self.speak();
        Asking { line: Arc::clone(self) }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.speak();
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Asking {
    line: Arc<Line>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.line.fall_silent(true);
    }
}

/// The body of an answer: its request is under way until it is out.
pub(crate) struct Answering {
    inner: Body,
    _asking: Asking,
}

impl Answering {
    pub(crate) fn new(inner: Body, asking: Asking) -> Self {
        Self { inner, _asking: asking }
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

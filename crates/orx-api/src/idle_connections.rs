//! Idle connections: those without a request in flight. They keep no caller out: when a limit is
//! reached, one of them is closed for the new connection. First go those that never sent a request, the
//! longest idle first.

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

/// Whether the connection ever sent a request, and a number that grows with time: connections are closed
/// in this order.
type CloseOrder = (bool, u64);

/// The idle connections of a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdleConnections {
    table: Arc<Mutex<IdleTable>>,
}

#[derive(Debug, Default)]
struct IdleTable {
    idle: BTreeMap<CloseOrder, Arc<ConnectionPermits>>,
    last_number: u64,
}

/// The permits of a connection, until it ends or is closed for another.
#[derive(Debug)]
struct ConnectionPermits {
    source: IpAddr,
    permits: Mutex<Option<(OwnedSemaphorePermit, ConnectionPermit)>>,
    close: CancellationToken,
}

/// One connection, until this is dropped.
#[derive(Debug)]
pub(crate) struct TrackedConnection {
    all: IdleConnections,
    permits: Arc<ConnectionPermits>,
    /// While it is idle.
    order: Mutex<Option<CloseOrder>>,
}

impl IdleConnections {
    /// Tracks a new connection, which is idle until its first request.
    pub(crate) fn track(
        &self,
        address: IpAddr,
        total: OwnedSemaphorePermit,
        of_address: ConnectionPermit,
    ) -> Arc<TrackedConnection> {
        let permits = Arc::new(ConnectionPermits {
            source: source(address),
            permits: Mutex::new(Some((total, of_address))),
            close: CancellationToken::new(),
        });
        let connection = TrackedConnection { all: self.clone(), permits, order: Mutex::new(None) };
        connection.becomes_idle(false);
        Arc::new(connection)
    }

    /// Closes an idle connection, of this address if one is given. Returns whether there was one.
    pub(crate) fn close_one(&self, address: Option<IpAddr>) -> bool {
        let wanted = address.map(source);
        let mut table = self.table.lock();
        let fits = |it: &ConnectionPermits| wanted.is_none_or(|wanted| it.source == wanted);
        let first = table.idle.iter().find(|(_, it)| fits(it)).map(|(order, _)| *order);
        let Some(closed) = first.and_then(|order| table.idle.remove(&order)) else { return false };
        drop(table);
        closed.close.cancel();
        // At once, without waiting until the connection has closed.
        drop(closed.permits.lock().take());
        true
    }
}

impl TrackedConnection {
    /// Resolves when the connection must close for another.
    pub(crate) async fn closed(&self) {
        self.permits.close.cancelled().await;
    }

    fn becomes_idle(&self, had_request: bool) {
        // One that closes already has no permits left.
        if self.permits.close.is_cancelled() {
            return;
        }
        let mut table = self.all.table.lock();
        table.last_number += 1;
        let order = (had_request, table.last_number);
        table.idle.insert(order, Arc::clone(&self.permits));
        drop(table);
        *self.order.lock() = Some(order);
    }

    fn becomes_active(&self) {
        let order = self.order.lock().take();
        if let Some(order) = order {
            let mut table = self.all.table.lock();
            table.idle.remove(&order);
        }
    }

    /// A request begins; it is in flight until the returned value is dropped.
    pub(crate) fn begin_request(self: &Arc<Self>) -> ActiveRequest {
        self.becomes_active();
        ActiveRequest { connection: Arc::clone(self) }
    }
}

impl Drop for TrackedConnection {
    fn drop(&mut self) {
        self.becomes_active();
    }
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct ActiveRequest {
    connection: Arc<TrackedConnection>,
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.connection.becomes_idle(true);
    }
}

/// The body of an answer, whose request is in flight until all of it is sent.
pub(crate) struct ActiveBody {
    inner: Body,
    _request: ActiveRequest,
}

impl ActiveBody {
    pub(crate) fn new(inner: Body, request: ActiveRequest) -> Self {
        Self { inner, _request: request }
    }
}

impl HttpBody for ActiveBody {
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

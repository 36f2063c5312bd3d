//! Serves connections: bounds their number and slowness, encrypts them, and ends them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use orx_model::{Code, Problem};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::idle_connections::{ActiveBody, IdleConnections, TrackedConnection};
use crate::limits::Limits;
use crate::peers::{ConnectionsPerIp, PeerAddrs};
use crate::tls::Tls;
use crate::write_timeout::WriteTimeoutIo;

/// How long a rejected client may take to read the reason.
const REJECT_WAIT: Duration = Duration::from_secs(1);
/// How much of a rejected client's request is read, so that it gets to the reason.
const REJECT_BYTES: u64 = 64 * 1024;
/// How long a connection is read after its last answer.
const LINGER: Duration = Duration::from_secs(5);
/// How much of it is read.
const LINGER_BYTES: u64 = 16 * 1024 * 1024;
/// The shortest time between two log lines about addresses with too many connections.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// How often a full server looks for a connection that became idle.
const IDLE_CHECK: Duration = Duration::from_millis(20);

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct Serving {
    /// The limits of connections.
    pub limits: Limits,
    /// `None`: without encryption.
    pub tls: Option<Arc<Tls>>,
}

/// Serves until `stop`; then accepts no connection and returns when the answers in flight are sent.
///
/// It uses hyper directly, because axum's `serve` limits neither the number of connections nor slow
/// ones.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    serving: Serving,
    stop: CancellationToken,
) {
    let Serving { limits, tls } = serving;
    let permits = Arc::new(Semaphore::new(limits.connections));
    let peers = ConnectionsPerIp::default();
    let connections = TaskTracker::new();
    let server = Arc::new(HttpServer { limits, tls, router, stop: stop.clone() });
    let idle = IdleConnections::default();
    let mut logged = None;
    loop {
        let (stream, address) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Mostly for want of descriptors, until other connections end.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let most = server.limits.connections_per_peer;
        let mut of_address = peers.enter(address.ip(), most);
        if of_address.is_none() && idle.close_one(Some(address.ip())) {
            of_address = peers.enter(address.ip(), most);
        }
        let Some(of_address) = of_address else {
            let now = tokio::time::Instant::now();
            if logged.is_none_or(|at| now.duration_since(at) >= LOG_EVERY) {
                logged = Some(now);
                tracing::warn!(peer = %address.ip(), "an address has too many connections");
            }
            if server.tls.is_none() {
                reject_connection(stream);
            }
            continue;
        };
        let total = tokio::select! {
            () = stop.cancelled() => break,
            total = acquire(&permits, &idle) => total,
        };
        let Ok(total) = total else { break };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection without TCP_NODELAY");
        }
        let server = Arc::clone(&server);
        let connection = idle.track(address.ip(), total, of_address);
        connections.spawn(async move {
            tokio::select! {
                () = connection.closed() => {
                    tracing::debug!(peer = %address, "closed an idle connection for another");
                }
                () = server.connection(stream, address, &connection) => {}
            }
        });
    }
    connections.close();
    let last_answers = server.limits.last_answers;
    if tokio::time::timeout(last_answers, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "ending with answers in flight");
    }
}

/// Acquires a permit for one more connection: a free one, or that of a connection that is idle, becomes
/// idle or ends.
async fn acquire(
    permits: &Arc<Semaphore>,
    idle: &IdleConnections,
) -> Result<OwnedSemaphorePermit, AcquireError> {
    loop {
        if permits.available_permits() == 0 {
            idle.close_one(None);
        }
        let permit = Arc::clone(permits).acquire_owned();
        if let Ok(permit) = tokio::time::timeout(IDLE_CHECK, permit).await {
            return permit;
        }
    }
}

/// What all connections share.
struct HttpServer {
    limits: Limits,
    tls: Option<Arc<Tls>>,
    router: Router,
    stop: CancellationToken,
}

impl HttpServer {
    async fn connection(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        tracked: &Arc<TrackedConnection>,
    ) {
        let own = stream.local_addr().map_or(address.ip(), |own| own.ip());
        let addrs = PeerAddrs { peer: address.ip().to_canonical(), own: own.to_canonical() };
        let timeout = self.limits.reader_within;
        let Some(tls) = &self.tls else {
            return self.serve_http(WriteTimeoutIo::new(stream, timeout), addrs, tracked).await;
        };
        let handshake = async {
            let mut first = [0_u8; 1];
            let read = stream.peek(&mut first).await?;
            // A TLS record begins with a small number, an HTTP request with a letter.
            if read == 1 && first[0].is_ascii_alphabetic() {
                return Ok(Err(stream));
            }
            TlsAcceptor::from(tls.config()).accept(stream).await.map(Ok)
        };
        let handshake = tokio::select! {
            () = self.stop.cancelled() => return,
            done = tokio::time::timeout(self.limits.handshake_within, handshake) => done,
        };
        match handshake {
            Ok(Ok(Ok(stream))) => {
                self.serve_http(WriteTimeoutIo::new(stream, timeout), addrs, tracked).await;
            }
            Ok(Ok(Err(stream))) => reject_with(stream, &plain_http()).await,
            Ok(Err(error)) => tracing::debug!(%error, peer = %address, "the TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %address, "the TLS handshake timed out"),
        }
    }

    async fn serve_http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        addrs: PeerAddrs,
        tracked: &Arc<TrackedConnection>,
    ) {
        let router = TowerToHyperService::new(self.router.clone());
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(addrs);
            let active = tracked.begin_request();
            let answer = router.call(request);
            async { Ok::<_, Infallible>(answer.await?.map(|body| ActiveBody::new(body, active))) }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.headers_within)
            .max_headers(self.limits.headers)
            .max_header_size(self.limits.header_bytes);
        let mut connection = builder.serve_connection(TokioIo::new(stream), service);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.stop.cancelled() => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        };
        match ended {
            Ok(()) => tokio::select! {
                () = linger(connection.into_parts().io.into_inner()) => {}
                () = self.stop.cancelled() => {}
            },
            Err(error) => tracing::debug!(%error, "a connection failed"),
        }
    }
}

/// Reads on after the last answer, so that a client that still sends a body gets to read it: closing a
/// socket with unread bytes resets the connection, and the client loses the answer.
async fn linger(stream: impl AsyncRead + Unpin) {
    let mut rest = stream.take(LINGER_BYTES);
    let mut nowhere = tokio::io::sink();
    let read = tokio::io::copy(&mut rest, &mut nowhere);
    // A client that sends for longer loses the answer.
    let _ = tokio::time::timeout(LINGER, read).await;
}

/// Sends the reason why a connection is closed, without waiting for the client.
fn reject_connection(stream: TcpStream) {
    use std::io::Write;
    // The socket does not block; what does not fit at once is lost.
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(too_many().as_bytes());
    }
}

/// Sends an answer to a client that cannot be served, and waits until it is read; see [`linger`].
async fn reject_with(mut stream: TcpStream, text: &str) {
    let sent = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(REJECT_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // A client that does not read in time loses the answer.
    let _ = tokio::time::timeout(REJECT_WAIT, sent).await;
}

fn plain_http() -> String {
    let problem = Problem::new(Code::BadRequest, "this server speaks HTTPS, found plain HTTP")
        .hint("use `https://` in the address");
    plain_answer("400 Bad Request", &problem)
}

fn too_many() -> String {
    let detail = "this address has too many connections to the server";
    plain_answer("503 Service Unavailable", &Problem::new(Code::Unavailable, detail))
}

fn plain_answer(status: &str, problem: &Problem) -> String {
    let body = serde_json::to_string(problem).unwrap_or_default();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

//! Connections: how many, how slow, how they are encrypted, and how they end.

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

use crate::idle::{Answering, Idle, Line};
use crate::limits::Limits;
use crate::peers::{ConnectionsPerIp, PeerAddrs};
use crate::slow::Read;
use crate::tls::Tls;

/// Whoever is sent away has so long to read why.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: u64 = 64 * 1024;
/// For so long, and so much, a connection is read on that ends with its last answer.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: u64 = 16 * 1024 * 1024;
/// Full addresses are told of in the log no more often than this.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Where all connections have requests under way, whether one has fallen silent is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct Serving {
    pub limits: Limits,
    /// `None`: without encryption.
    pub tls: Option<Arc<Tls>>,
}

/// Serves until `stop`; then takes no more and ends when the answers under way are out.
///
/// axum's own `serve` has no limit for connections and none for slow ones, so hyper, which is under
/// it, is used directly.
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
    let shared = Arc::new(Shared { limits, tls, router, stop: stop.clone() });
    let idle = Idle::default();
    let mut told = None;
    loop {
        let (stream, address) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, mostly: others end, then it goes on.
                    tracing::warn!(%error, "could not take a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let most = shared.limits.connections_per_peer;
        let mut place = peers.enter(address.ip(), most);
        if place.is_none() && idle.make_room(Some(address.ip())) {
            place = peers.enter(address.ip(), most);
        }
        let Some(place) = place else {
            let now = tokio::time::Instant::now();
            if told.is_none_or(|at| now.duration_since(at) >= TELL_EVERY) {
                told = Some(now);
                tracing::warn!(peer = %address.ip(), "an address has too many connections");
            }
            if shared.tls.is_none() {
                reject_connection(stream);
            }
            continue;
        };
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = room_for_one(&permits, &idle) => permit,
        };
        let Ok(permit) = permit else { break };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection without TCP_NODELAY");
        }
        let shared = Arc::clone(&shared);
        let line = idle.line(address.ip(), permit, place);
        connections.spawn(async move {
            tokio::select! {
                () = line.closed() => tracing::debug!(peer = %address, "an idle connection made room"),
                () = shared.connection(stream, address, &line) => {}
            }
        });
    }
    connections.close();
    let last_answers = shared.limits.last_answers;
    if tokio::time::timeout(last_answers, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "ending with answers under way");
    }
}

/// A place for one more connection: one that is free, that an idle connection gives up now, or that
/// one gives up as soon as it falls silent or ends.
async fn room_for_one(
    permits: &Arc<Semaphore>,
    idle: &Idle,
) -> Result<OwnedSemaphorePermit, AcquireError> {
    loop {
        if permits.available_permits() == 0 {
            idle.make_room(None);
        }
        let permit = Arc::clone(permits).acquire_owned();
        if let Ok(permit) = tokio::time::timeout(LOOK_AGAIN, permit).await {
            return permit;
        }
    }
}

struct Shared {
    limits: Limits,
    tls: Option<Arc<Tls>>,
    router: Router,
    stop: CancellationToken,
}

impl Shared {
    async fn connection(&self, stream: TcpStream, address: SocketAddr, line: &Arc<Line>) {
        let own = stream.local_addr().map_or(address.ip(), |own| own.ip());
        let ends = PeerAddrs { peer: address.ip().to_canonical(), own: own.to_canonical() };
        let within = self.limits.reader_within;
        let Some(tls) = &self.tls else {
            return self.converse(Read::new(stream, within), ends, line).await;
        };
        let handshake = async {
            let mut first = [0_u8; 1];
            let read = stream.peek(&mut first).await?;
            // A TLS record begins with its kind, a small number; HTTP with a letter.
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
            Ok(Ok(Ok(stream))) => self.converse(Read::new(stream, within), ends, line).await,
            Ok(Ok(Err(stream))) => reject_with(stream, &speaks_tls()).await,
            Ok(Err(error)) => tracing::debug!(%error, peer = %address, "no TLS handshake"),
            Err(_) => tracing::debug!(peer = %address, "no TLS handshake in time"),
        }
    }

    async fn converse(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        ends: PeerAddrs,
        line: &Arc<Line>,
    ) {
        let router = TowerToHyperService::new(self.router.clone());
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ends);
            let asking = line.ask();
            let answer = router.call(request);
            async { Ok::<_, Infallible>(answer.await?.map(|body| Answering::new(body, asking))) }
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
            Err(error) => tracing::debug!(%error, "a connection broke"),
        }
    }
}

/// Reads on after the last answer, so that a client which still sends a body gets to the answer: to
/// close with something unread would take the answer back.
async fn linger(stream: impl AsyncRead + Unpin) {
    let mut rest = stream.take(LINGER_BYTES);
    let mut nowhere = tokio::io::sink();
    let read = tokio::io::copy(&mut rest, &mut nowhere);
    // Whoever sends for longer misses it.
    let _ = tokio::time::timeout(LINGER, read).await;
}

/// Says in passing why a connection is closed. Nothing is waited for: there are too many already.
fn reject_connection(stream: TcpStream) {
    use std::io::Write;
    // It does not block, and what does not fit into the socket at once is lost.
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(too_many().as_bytes());
    }
}

/// Says something to a client that cannot be served, and waits until it was read: to close with
/// something unread would take back what was said.
async fn reject_with(mut stream: TcpStream, text: &str) {
    let said = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(FAREWELL_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // Whoever does not listen misses it.
    let _ = tokio::time::timeout(FAREWELL, said).await;
}

fn speaks_tls() -> String {
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

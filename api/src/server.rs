//! The router on a port: an accept loop of our own, so that every connection is bounded in time and number.
//!
//! A connection has a bounded time to send the head of its first and of each further request, which bounds slow and idle
//! clients alike, and to take what is written. There is a bounded number of them; beyond it the listener waits, leaving new
//! ones in the kernel's queue.
//! Stopping lets requests that run finish, for a while; answers that would never end are told ([`Stopping`]).

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::Body;
use holdfast_raft::transport::tls::{Stream, Tls};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::bounded_write::BoundedWrite;
use crate::limits::Peer;
use crate::live::Stopping;

/// The head of a request and what is buffered with it, in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long a connection may take to show a certificate.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// Rest after a failed accept: most often there are no file descriptors left.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// The SHA-256 of the certificate that whoever asks has shown; in each request on a listener with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown(pub [u8; 32]);

/// What connections may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long the head of a request may take to arrive, idle time before it included.
    pub head_wait: Duration,
    /// How long what is written may wait for the client to take some of it.
    pub write_wait: Duration,
    /// Connections at the same time.
    pub connections_max: usize,
    /// How long requests that run may take to finish when the server stops.
    pub stop_wait: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_wait: Duration::from_secs(30),
            write_wait: Duration::from_secs(60),
            connections_max: 20_000,
            stop_wait: Duration::from_secs(15),
        }
    }
}

/// Serves `router` on `listener` until `stop` resolves, then until the requests that run are done.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) -> io::Result<()> {
    serve_within(Limits::default(), listener, router, stop).await
}

/// [`serve`] for members of the cluster alone, who show a certificate; who that is stands in each request as its [`Principal`](holdfast_raft::transport::principal::Principal).
pub async fn serve_members(
    tls: Option<Tls>,
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    accept(Limits::default(), tls, listener, router, stop).await
}

/// [`serve`] with limits of the caller's.
pub async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    accept(limits, None, listener, router, stop).await
}

async fn accept(
    limits: Limits,
    tls: Option<Tls>,
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let (stopping, stopping_seen) = watch::channel(false);
    tokio::pin!(stop);
    loop {
        let accept = async {
            let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (watcher, stopping) = (graceful.watcher(), Stopping(stopping_seen.clone()));
                let (tls, router) = (tls.clone(), router.clone());
                tokio::spawn(async move {
                    if let Some(stream) = open(stream, peer, tls).await {
                        let connection = watcher.watch(connection(limits, stream, peer, stopping, router));
                        if let Err(error) = connection.await {
                            debug!(%peer, %error, "a connection ended early");
                        }
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
    drop(listener);
    stopping.send_replace(true);
    if tokio::time::timeout(limits.stop_wait, graceful.shutdown()).await.is_err() {
        warn!("requests were still running when the server stopped");
    }
    Ok(())
}

/// Shakes hands, where that is asked for.
async fn open(stream: TcpStream, peer: SocketAddr, tls: Option<Tls>) -> Option<Stream> {
    // Answers are small and written whole: waiting to fill a segment would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "the connection stays without TCP_NODELAY");
    }
    let Some(tls) = tls else { return Some(Stream::Plain(stream)) };
    match tokio::time::timeout(HANDSHAKE_WAIT, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            warn!(%peer, %error, "refused");
            None
        }
        Err(_) => {
            warn!(%peer, "refused: no handshake in time");
            None
        }
    }
}

/// One connection: HTTP/1.1, one request after the other.
fn connection(
    limits: Limits,
    stream: Stream,
    peer: SocketAddr,
    stopping: Stopping,
    router: Router,
) -> http1::Connection<
    TokioIo<BoundedWrite<Stream>>,
    impl hyper::service::HttpService<Incoming, ResBody = Body, Future: Send>,
> {
    let principal = stream.principal();
    let shown = stream.certificate().map(|certificate| {
        let hash = digest(&SHA256, certificate);
        Shown(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    });
    let service = service_fn(move |request: http::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer.ip()));
        request.extensions_mut().insert(stopping.clone());
        if let Some(principal) = principal {
            request.extensions_mut().insert(principal);
        }
        if let Some(shown) = shown {
            request.extensions_mut().insert(shown);
        }
        let answered = router.clone().oneshot(request);
        async move { Ok::<_, Infallible>(answered.await.unwrap_or_else(|never| match never {})) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_wait)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(BoundedWrite::new(stream, limits.write_wait)), service)
}

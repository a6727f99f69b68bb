//! Frames over HTTP/2: one bidirectional gRPC stream a connection, raw bytes as messages.
//!
//! tonic supplies framing, flow control and keep-alive; the codec here passes bytes through, so there is no Protocol Buffers
//! schema to keep beside our own format. Each [`Connection`] is a TCP connection of its own: a snapshot on one does not hold
//! up the heartbeats on another.
//!
//! With [`Tls`] every TCP connection begins with its handshake, in which both sides show a certificate; tonic sees the bytes
//! inside. Without, whoever starts a node keeps the peer listener on loopback or on a network that he trusts.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{Semaphore, mpsc};
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::server::Connected;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::principal::Principal;
use super::tls::{Stream, Tls};
use super::{Connection, FRAME_BYTES_MAX, Listener, Transport, pair};

const PATH: &str = "/holdfast.Peer/Frames";
const BACKLOG_MAX: usize = 64;
/// HTTP/2 flow control: what may be on its way unread, in bytes, so that one long frame does not wait for the window.
const WINDOW_BYTES: u32 = 16 << 20;
/// How long a silent connection stands before it is probed, and how long the probe may take.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Encode buffers grow in steps of this size; frames that are ready together go out together up to it.
const BUFFER_BYTES: usize = 64 << 10;

/// How long a connection may take to show a certificate, and how many may be about to.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKES_MAX: usize = 64;
/// After an error of the listener, which is of the machine (too many open files).
const LISTENER_PAUSE: Duration = Duration::from_millis(100);

/// The network of real nodes.
#[derive(Clone, Default)]
pub struct Grpc {
    tls: Option<Tls>,
}

impl Grpc {
    /// A network in which everybody shows a certificate.
    pub fn secured(tls: Tls) -> Grpc {
        Grpc { tls: Some(tls) }
    }
}

impl Transport for Grpc {
    fn connect<'a>(&'a self, addr: &'a str, timeout: Duration) -> BoxFuture<'a, io::Result<Connection>> {
        async move {
            let endpoint = Endpoint::from_shared(format!("http://{addr}"))
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
                .connect_timeout(timeout)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE)
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES);
            let connected = tokio::time::timeout(timeout, open(endpoint, addr, self.tls.clone())).await;
            connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        }
        .boxed()
    }

    fn listen<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        async move {
            let addr = lookup_host(addr).await?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
            let listener = TcpListener::bind(addr).await?;
            let addr = listener.local_addr()?;
            let (accepted_tx, accepted) = mpsc::channel(BACKLOG_MAX);
            let open = Arc::new(Semaphore::new(1));
            let closed = open.clone();
            let server = Server::builder()
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES)
                .http2_keepalive_interval(Some(KEEP_ALIVE))
                .http2_keepalive_timeout(Some(KEEP_ALIVE))
                .serve_with_incoming_shutdown(
                    PeerService { accepted: accepted_tx },
                    incoming(listener, self.tls.clone()),
                    async move {
                        // Closed when the listener is dropped; the one permit is taken, so nothing else wakes this.
                        let _permit = closed.acquire().await;
                        let _ = closed.acquire().await;
                    },
                );
            tokio::spawn(server);
            Ok(Box::new(GrpcListener { addr, accepted, open }) as Box<dyn Listener>)
        }
        .boxed()
    }
}

/// Opens the one stream of a new connection and starts its pump.
async fn open(endpoint: Endpoint, addr: &str, tls: Option<Tls>) -> io::Result<Connection> {
    let refused = |error: tonic::transport::Error| io::Error::new(io::ErrorKind::ConnectionRefused, error);
    let known = Arc::new(OnceLock::new());
    let (to, learnt) = (addr.to_string(), known.clone());
    let connector = tower::service_fn(move |_: http::Uri| {
        let (to, tls, learnt) = (to.clone(), tls.clone(), learnt.clone());
        async move {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            let stream = match tls {
                Some(tls) => tls.connect(stream).await?,
                None => Stream::Plain(stream),
            };
            let _ = learnt.set(stream.principal());
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    let channel = endpoint.connect_with_connector(connector).await.map_err(refused)?;
    let mut client = tonic::client::Grpc::new(channel)
        .max_decoding_message_size(FRAME_BYTES_MAX)
        .max_encoding_message_size(FRAME_BYTES_MAX);
    client.ready().await.map_err(refused)?;
    let (near, mut far) = pair("", addr);
    let outgoing = stream::poll_fn(move |cx| far.incoming.poll_recv(cx));
    let response = client
        .streaming(Request::new(outgoing), PathAndQuery::from_static(PATH), FrameCodec)
        .await
        .map_err(|status| io::Error::new(io::ErrorKind::ConnectionRefused, status))?;
    tokio::spawn(pump(response.into_inner(), far.outgoing));
    Ok(Connection { principal: known.get().copied().flatten(), ..near })
}

/// The connections of a listener, those that have shaken hands where that is asked for. Ends when nobody takes them any more.
fn incoming(
    listener: TcpListener,
    tls: Option<Tls>,
) -> impl futures_util::Stream<Item = io::Result<Stream>> + Send + 'static {
    let (ready, mut taken) = mpsc::channel(BACKLOG_MAX);
    tokio::spawn(accept(listener, tls, ready));
    stream::poll_fn(move |cx| taken.poll_recv(cx))
}

async fn accept(listener: TcpListener, tls: Option<Tls>, ready: mpsc::Sender<io::Result<Stream>>) {
    let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = ready.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the peer listener failed");
                tokio::time::sleep(LISTENER_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let (tls, ready) = (tls.clone(), ready.clone());
        tokio::spawn(async move {
            let shaken = async {
                stream.set_nodelay(true)?;
                match tls {
                    Some(tls) => tls.accept(stream).await,
                    None => Ok(Stream::Plain(stream)),
                }
            };
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, shaken).await {
                Ok(Ok(stream)) => drop(ready.send(Ok(stream)).await),
                Ok(Err(error)) => tracing::warn!(%peer, %error, "peer refused"),
                Err(_) => tracing::warn!(%peer, "peer refused: no handshake in time"),
            }
            drop(place);
        });
    }
}

/// What is known of a connection once it is accepted.
#[derive(Debug, Clone)]
pub struct Known {
    peer: String,
    principal: Option<Principal>,
}

impl Connected for Stream {
    type ConnectInfo = Known;

    fn connect_info(&self) -> Known {
        let peer = self.tcp().peer_addr().map(|addr| addr.to_string()).unwrap_or_default();
        Known { peer, principal: self.principal() }
    }
}

/// Carries what arrives to its reader, until either is gone.
async fn pump(mut from: Streaming<Bytes>, to: mpsc::Sender<Bytes>) {
    loop {
        let frame = tokio::select! {
            biased;
            _ = to.closed() => return,
            frame = from.message() => frame,
        };
        match frame {
            Ok(Some(frame)) => {
                if to.send(frame).await.is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(%status, "peer connection ended");
                return;
            }
        }
    }
}

struct GrpcListener {
    addr: SocketAddr,
    accepted: mpsc::Receiver<Connection>,
    open: Arc<Semaphore>,
}

impl Listener for GrpcListener {
    fn local_addr(&self) -> String {
        self.addr.to_string()
    }

    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        async move { self.accepted.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into()) }.boxed()
    }
}

impl Drop for GrpcListener {
    fn drop(&mut self) {
        self.open.close();
    }
}

/// The HTTP service: the one path is a stream of frames.
#[derive(Clone)]
struct PeerService {
    accepted: mpsc::Sender<Connection>,
}

impl tower::Service<http::Request<Body>> for PeerService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let accepted = self.accepted.clone();
        async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("no such method").into_http());
            }
            let mut grpc = tonic::server::Grpc::new(FrameCodec)
                .max_decoding_message_size(FRAME_BYTES_MAX)
                .max_encoding_message_size(FRAME_BYTES_MAX);
            Ok(grpc.streaming(Frames { accepted }, request).await)
        }
        .boxed()
    }
}

struct Frames {
    accepted: mpsc::Sender<Connection>,
}

impl tower::Service<Request<Streaming<Bytes>>> for Frames {
    type Response = Response<BoxStream<'static, Result<Bytes, Status>>>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let accepted = self.accepted.clone();
        async move {
            let known = request.extensions().get::<Known>().cloned();
            let known = known.ok_or_else(|| Status::internal("a connection without its origin"))?;
            let (near, mut far) = pair("", &known.peer);
            let near = Connection { principal: known.principal, ..near };
            accepted.send(near).await.map_err(|_| Status::unavailable("this node is stopping"))?;
            tokio::spawn(pump(request.into_inner(), far.outgoing));
            let outgoing = stream::poll_fn(move |cx| far.incoming.poll_recv(cx));
            Ok(Response::new(outgoing.map(Ok).boxed()))
        }
        .boxed()
    }
}

/// Messages are the bytes themselves.
#[derive(Debug, Clone, Copy, Default)]
struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = FrameCodec;
    type Decoder = FrameCodec;

    fn encoder(&mut self) -> FrameCodec {
        FrameCodec
    }

    fn decoder(&mut self) -> FrameCodec {
        FrameCodec
    }
}

impl Encoder for FrameCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.reserve(item.len());
        dst.put(item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, BUFFER_BYTES)
    }
}

impl Decoder for FrameCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, BUFFER_BYTES)
    }
}

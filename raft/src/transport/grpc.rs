//! Frames over HTTP/2: one bidirectional gRPC stream a connection, raw bytes as messages.
//!
//! tonic supplies framing, flow control and keep-alive; the codec here passes bytes through, so there is no Protocol Buffers
//! schema to keep beside our own format. Each [`Connection`] is a TCP connection of its own: a snapshot on one does not hold
//! up the heartbeats on another.
//!
//! What this deliberately does not do: encrypt. Until TLS is configured, whoever starts a node keeps the peer listener on
//! loopback or on a network that he trusts.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, BoxStream, StreamExt};
use http::uri::PathAndQuery;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::{Semaphore, mpsc};
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::{Connection, FRAME_BYTES_MAX, Listener, Transport, pair};

const PATH: &str = "/holdfast.Peer/Frames";
const BACKLOG_MAX: usize = 64;
/// HTTP/2 flow control: what may be on its way unread, in bytes, so that one long frame does not wait for the window.
const WINDOW_BYTES: u32 = 16 << 20;
/// How long a silent connection stands before it is probed, and how long the probe may take.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Encode buffers grow in steps of this size; frames that are ready together go out together up to it.
const BUFFER_BYTES: usize = 64 << 10;

/// The network of real nodes.
#[derive(Debug, Clone, Default)]
pub struct Grpc;

impl Transport for Grpc {
    fn connect<'a>(&'a self, addr: &'a str, timeout: Duration) -> BoxFuture<'a, io::Result<Connection>> {
        async move {
            let endpoint = Endpoint::from_shared(format!("http://{addr}"))
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?
                .connect_timeout(timeout)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE)
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES);
            let connected = tokio::time::timeout(timeout, open(endpoint, addr)).await;
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
                    TcpIncoming::from(listener).with_nodelay(Some(true)),
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
async fn open(endpoint: Endpoint, addr: &str) -> io::Result<Connection> {
    let refused = |error: tonic::transport::Error| io::Error::new(io::ErrorKind::ConnectionRefused, error);
    let channel = endpoint.connect().await.map_err(refused)?;
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
    Ok(near)
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
            let peer = request.remote_addr().map(|addr| addr.to_string()).unwrap_or_default();
            let (near, mut far) = pair("", &peer);
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

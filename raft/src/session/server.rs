//! The side of a session that is connected to.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;

use super::wire::{self, Frame, WireError};
use super::{Failure, Hello, IN_FLIGHT_MAX, Refused, Welcome};
use crate::transport::Connection;
use crate::transport::principal::Principal;

/// A connection on which nobody says who he is for so long is ended.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// The answer to a hello, and, for who is let in, what answers the requests.
pub type Admission = Result<(Welcome, Box<dyn Handler>), Refused>;

/// Decides who is let in.
pub trait Acceptor: Send + Sync + 'static {
    fn accept<'a>(&'a self, hello: &'a Hello) -> BoxFuture<'a, Admission>;
}

/// Answers the requests of one session.
pub trait Handler: Send + 'static {
    /// Called for each request in the order of sending. The futures are polled in that order for the first time, and run
    /// side by side.
    fn handle(&mut self, method: u8, body: Bytes) -> BoxFuture<'static, Result<Bytes, Failure>>;
}

/// Serves one connection until it ends. Whoever wants it to end sooner drops this.
pub async fn serve(connection: Connection, acceptor: &dyn Acceptor) {
    let Connection { peer, principal, outgoing, mut incoming } = connection;
    let hello = tokio::time::timeout(HELLO_TIMEOUT, incoming.recv()).await;
    let Ok(Some(hello)) = hello else { return };
    let refused = match wire::open(hello) {
        Ok(Frame::Hello(hello)) => match admit(principal, &hello, acceptor).await {
            Ok((welcome, handler)) => {
                if outgoing.send(wire::welcome(&welcome)).await.is_ok() {
                    answer_requests(incoming, outgoing, handler).await;
                }
                return;
            }
            Err(refused) => refused,
        },
        Ok(_) => Refused::Protocol(WireError::Unexpected.to_string()),
        Err(error) => Refused::Protocol(error.to_string()),
    };
    tracing::warn!(%peer, %refused, "peer refused");
    let _ = outgoing.send(wire::refused(&refused)).await;
}

/// Lets in who is who he says he is, if the acceptor does.
async fn admit(principal: Option<Principal>, hello: &Hello, acceptor: &dyn Acceptor) -> Admission {
    match principal.filter(|principal| !principal.may_say(hello)) {
        Some(other) => Err(Refused::Certificate { holder: other.to_string(), node_id: hello.node_id }),
        None => acceptor.accept(hello).await,
    }
}

async fn answer_requests(
    mut incoming: mpsc::Receiver<Bytes>,
    outgoing: mpsc::Sender<Bytes>,
    mut handler: Box<dyn Handler>,
) {
    let mut in_flight = FuturesUnordered::new();
    let mut last_id = 0;
    loop {
        let frame = tokio::select! {
            biased;
            Some(answered) = in_flight.next(), if !in_flight.is_empty() => {
                let (id, answer): (u64, Result<Bytes, Failure>) = answered;
                let frame = match answer {
                    Ok(body) => wire::answer(id, &body),
                    Err(failure) => wire::failure(id, &failure),
                };
                if outgoing.send(frame).await.is_err() {
                    return;
                }
                continue;
            }
            frame = incoming.recv(), if in_flight.len() < IN_FLIGHT_MAX => frame,
        };
        let Some(frame) = frame else { return };
        match wire::open(frame) {
            // Ids rise by one. A frame that came twice or late must not be carried out again: it may be a proposal.
            Ok(Frame::Request { id, .. }) if id <= last_id => {
                tracing::debug!(id, last_id, "a request came twice or out of order; ignored");
            }
            Ok(Frame::Request { id, method, body }) => {
                last_id = id;
                in_flight.push(handler.handle(method, body).map(move |answer| (id, answer)));
            }
            Ok(_) => return tracing::warn!("a peer sent something else than requests; session ended"),
            Err(error) => return tracing::warn!(%error, "session ended"),
        }
    }
}

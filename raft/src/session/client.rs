//! The connecting side of a session.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::wire::{self, Frame, WireError};
use super::{Failure, Hello, IN_FLIGHT_MAX, Refused, Welcome};
use crate::transport::{Connection, Transport};

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("refused: {0}")]
    Refused(Refused),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the peer ended the connection before it answered")]
    Ended,
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request never left this node.
    #[error("the session has ended")]
    NotSent,
    /// The request may have been carried out.
    #[error("the session ended before the answer came")]
    Lost,
    /// The peer says so.
    #[error("{0}")]
    Failed(#[from] Failure),
}

/// An open session. Clones are the same one; it ends when the last of them is dropped.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
    welcome: Welcome,
}

struct Shared {
    outgoing: mpsc::Sender<Bytes>,
    in_flight: Arc<Semaphore>,
    calls: Mutex<Calls>,
}

struct Calls {
    next_id: u64,
    waiting: BTreeMap<u64, oneshot::Sender<Result<Bytes, Failure>>>,
    closed: bool,
    heard: Instant,
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().expect("no holder of the calls panics")
    }

    /// Ends the session: whoever waits learns that the answer is lost.
    fn close(&self) {
        let waiting = {
            let mut calls = self.calls();
            calls.closed = true;
            std::mem::take(&mut calls.waiting)
        };
        self.in_flight.close();
        drop(waiting);
    }
}

impl Session {
    /// Connects to `addr` and shakes hands, all within `timeout`.
    pub async fn open(
        transport: &dyn Transport,
        addr: &str,
        hello: &Hello,
        timeout: Duration,
    ) -> Result<Session, OpenError> {
        let open = async {
            let connection = transport.connect(addr, timeout).await.map_err(OpenError::Connect)?;
            Session::greet(connection, hello).await
        };
        tokio::time::timeout(timeout, open).await.unwrap_or(Err(OpenError::TimedOut(timeout)))
    }

    async fn greet(mut connection: Connection, hello: &Hello) -> Result<Session, OpenError> {
        if let Some(other) = connection.principal.filter(|principal| !principal.may_hear(hello)) {
            let refused = Refused::Certificate { holder: other.to_string(), node_id: hello.expected_node_id };
            return Err(OpenError::Refused(refused));
        }
        connection.outgoing.send(wire::hello(hello)).await.map_err(|_| OpenError::Ended)?;
        let frame = connection.incoming.recv().await.ok_or(OpenError::Ended)?;
        let welcome = match wire::open(frame)? {
            Frame::Welcome(welcome) => welcome,
            Frame::Refused(refused) => return Err(OpenError::Refused(refused)),
            _ => return Err(WireError::Unexpected.into()),
        };
        let calls = Calls { next_id: 0, waiting: BTreeMap::new(), closed: false, heard: Instant::now() };
        let shared = Arc::new(Shared {
            outgoing: connection.outgoing,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            calls: Mutex::new(calls),
        });
        tokio::spawn(receive(connection.incoming, Arc::downgrade(&shared)));
        Ok(Session { shared, welcome })
    }

    /// What the peer said of itself.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    pub fn is_closed(&self) -> bool {
        self.shared.calls().closed
    }

    /// How long nothing has come from the peer.
    pub fn silent_for(&self) -> Duration {
        self.shared.calls().heard.elapsed()
    }

    /// Ends the session for all its holders.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Sends a request and waits for its answer. The caller bounds the time.
    pub async fn call(&self, method: u8, body: &[u8]) -> Result<Bytes, CallError> {
        self.start(method, body.len(), |frame| frame.extend_from_slice(body)).await?.await
    }

    /// Sends a request whose body `write` appends (about `capacity` bytes); the answer is what the [`Call`] resolves to.
    /// Waits while [`IN_FLIGHT_MAX`] requests are under way. Requests go out in the order in which this is called.
    pub async fn start(
        &self,
        method: u8,
        capacity: usize,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<Call, CallError> {
        let permit = self.shared.in_flight.clone().acquire_owned().await.map_err(|_| CallError::NotSent)?;
        let (sender, answer) = oneshot::channel();
        let id = {
            let mut calls = self.shared.calls();
            if calls.closed {
                return Err(CallError::NotSent);
            }
            calls.next_id += 1;
            let id = calls.next_id;
            calls.waiting.insert(id, sender);
            id
        };
        let call = Call { id, answer, shared: Arc::downgrade(&self.shared), _permit: permit };
        let frame = wire::request(id, method, capacity, write);
        if self.shared.outgoing.send(frame).await.is_err() {
            self.shared.close();
            return Err(CallError::NotSent);
        }
        Ok(call)
    }
}

/// An answer to come. Dropping it gives it up; the peer may carry out the request all the same.
pub struct Call {
    id: u64,
    answer: oneshot::Receiver<Result<Bytes, Failure>>,
    shared: Weak<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Future for Call {
    type Output = Result<Bytes, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        Poll::Ready(match answer {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(failure)) => Err(CallError::Failed(failure)),
            Err(_) => Err(CallError::Lost),
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.calls().waiting.remove(&self.id);
        }
    }
}

/// Hands out answers until the connection or the session is gone.
async fn receive(mut incoming: mpsc::Receiver<Bytes>, shared: Weak<Shared>) {
    while let Some(frame) = incoming.recv().await {
        let Some(shared) = shared.upgrade() else { return };
        let (id, answer) = match wire::open(frame) {
            Ok(Frame::Answer { id, body }) => (id, Ok(body)),
            Ok(Frame::Failure { id, failure }) => (id, Err(failure)),
            Ok(_) => {
                tracing::warn!("a peer sent what only the connecting side may send; session ended");
                return shared.close();
            }
            Err(error) => {
                tracing::warn!(%error, "session ended");
                return shared.close();
            }
        };
        let mut calls = shared.calls();
        if calls.closed {
            return;
        }
        calls.heard = Instant::now();
        // A call that was given up, or a frame that came twice, has nobody waiting.
        if let Some(waiting) = calls.waiting.remove(&id) {
            let _ = waiting.send(answer);
        }
    }
    if let Some(shared) = shared.upgrade() {
        shared.close();
    }
}

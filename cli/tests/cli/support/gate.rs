//! A gate between a worker and its broker, which holds back an acknowledgement: the moment between a step that is done and the
//! broker knowing it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// What a client of JetStream writes to say that a message is done with.
const ACKNOWLEDGED: &[u8] = b"+ACK";
const CHUNK_BYTES: usize = 64 << 10;

/// The gate. It stays open until it is told otherwise.
pub struct Gate {
    /// What workers are told as `--nats`.
    pub url: String,
    waiting: Arc<Mutex<Option<oneshot::Sender<Held>>>>,
}

/// An acknowledgement that the broker has not got, and with it all that its sender says afterwards. It goes on when this is
/// dropped, if its sender still lives.
pub struct Held {
    _go_on: oneshot::Sender<()>,
}

impl Gate {
    /// A gate before the broker at `broker`.
    pub async fn start(broker: SocketAddr) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("nats://{}", listener.local_addr().expect("an address"));
        let waiting = Arc::<Mutex<Option<oneshot::Sender<Held>>>>::default();
        let gate = waiting.clone();
        tokio::spawn(async move {
            loop {
                let Ok((worker, _)) = listener.accept().await else { continue };
                let Ok(broker) = TcpStream::connect(broker).await else { continue };
                let ((from_worker, mut to_worker), (mut from_broker, to_broker)) =
                    (worker.into_split(), broker.into_split());
                tokio::spawn(pass(from_worker, to_broker, gate.clone()));
                // Either side may go away at any time.
                tokio::spawn(async move { drop(copy(&mut from_broker, &mut to_worker).await) });
            }
        });
        Gate { url, waiting }
    }

    /// Holds back the next acknowledgement; resolves when there is one.
    pub fn hold(&self) -> oneshot::Receiver<Held> {
        let (held, receiver) = oneshot::channel();
        *self.waiting.lock().expect("nothing panics under the lock") = Some(held);
        receiver
    }
}

/// Carries what a worker says to the broker.
async fn pass(mut worker: OwnedReadHalf, mut broker: OwnedWriteHalf, gate: Arc<Mutex<Option<oneshot::Sender<Held>>>>) {
    let mut chunk = vec![0; CHUNK_BYTES];
    while let Ok(length @ 1..) = worker.read(&mut chunk).await {
        let said = &chunk[..length];
        if said.windows(ACKNOWLEDGED.len()).any(|window| window == ACKNOWLEDGED) {
            let waiting = gate.lock().expect("nothing panics under the lock").take();
            if let Some(waiting) = waiting {
                let (go_on, gone_on) = oneshot::channel();
                let _ = waiting.send(Held { _go_on: go_on });
                // Resolves when it is dropped.
                let _ = gone_on.await;
            }
        }
        if broker.write_all(said).await.is_err() {
            return;
        }
    }
}

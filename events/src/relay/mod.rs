//! The relay: carries the rows of the outbox to the stream, each exactly once and under its own number.
//!
//! The stream's sequence number *is* the event's number. Event n is published with the demand that the stream ends with n - 1, so
//! the broker's compare-and-set is the fence: of two relays, of a publish that arrives after its sender gave up, and of whatever
//! a broker does that lost its end, none can make a gap or a second copy. The relay runs where the leader is, to save traffic
//! and not for safety.
//!
//! A session begins on a fresh connection: read the last number L, see that message L is row L, publish from L + 1 with
//! a bounded window in flight. On any error the window is dropped and a new session reads L again. So a broker that was wiped or
//! went back is filled again from what the outbox keeps, under the same numbers; the ledger is told first, so that it keeps all
//! of that until the stream has it. What the relay must not do is guess: a stream that is
//! ahead of the ledger, or holds something else, stops it until an operator has looked, and it says so.
//!
//! What this deliberately does not do: stop sales. While the broker is away the outbox grows; the ledger's policy bounds it.

mod session;
mod status;

pub use status::{Phase, Status};

use std::sync::Arc;
use std::time::Duration;

use holdfast_raft::node::Unavailable;
use tokio::time::sleep;

use crate::broker::{BrokerError, SharedBroker};
use crate::outbox::Outbox;
use crate::pause::jittered;
use status::Board;

/// How the relay goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Publishes that wait for their acknowledgement at once.
    pub window_max: usize,
    /// A publish that is not acknowledged within this ends the session.
    pub ack_timeout: Duration,
    /// The ledger is told how far the stream has come after this many events …
    pub mirror_events: u64,
    /// … or after this long.
    pub mirror_interval: Duration,
    /// Pauses after errors grow from here, and are spread by half …
    pub backoff_min: Duration,
    /// … up to this.
    pub backoff_max: Duration,
    /// Between two looks at a stream that only an operator can put right.
    pub stopped_pause: Duration,
    /// Between two looks whether this node leads.
    pub leader_look: Duration,
    /// Between two looks at the stream's end while there is nothing to publish: what it loses then is filled again, too.
    pub stream_look: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            window_max: 512,
            ack_timeout: Duration::from_secs(5),
            mirror_events: 4_096,
            mirror_interval: Duration::from_secs(5),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            stopped_pause: Duration::from_secs(10),
            leader_look: Duration::from_millis(200),
            stream_look: Duration::from_secs(5),
        }
    }
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Ended {
    /// Another node leads now.
    #[error("this node does not lead any more")]
    NotLeading,
    /// The stream ends before what the ledger knew it to have. The ledger knows now.
    #[error("the stream has lost what it had after event {0}, and is filled again")]
    Lost(u64),
    /// The outbox is not what it was: a lineage has begun, or rows have gone.
    #[error("the outbox has moved on")]
    MovedOn,
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the ledger: {0}")]
    Ledger(#[from] Unavailable),
    /// Only an operator can go on from here.
    #[error("{0}")]
    Stopped(String),
}

/// The relay of one node. Clones show the same status.
pub struct Relay<O> {
    outbox: Arc<O>,
    broker: SharedBroker,
    settings: Settings,
    board: Board,
}

impl<O> Clone for Relay<O> {
    fn clone(&self) -> Relay<O> {
        Relay {
            outbox: self.outbox.clone(),
            broker: self.broker.clone(),
            settings: self.settings,
            board: self.board.clone(),
        }
    }
}

impl<O: Outbox> Relay<O> {
    pub fn new(outbox: O, broker: SharedBroker, settings: Settings) -> Relay<O> {
        Relay { outbox: Arc::new(outbox), broker, settings, board: Board::default() }
    }

    pub fn status(&self) -> Status {
        self.board.status()
    }

    /// A way to see the status without knowing whose outbox it is.
    pub fn watch(&self) -> StatusWatch {
        StatusWatch(self.board.clone())
    }

    /// Relays for as long as it is polled, whenever this node leads.
    pub async fn run(&self) {
        let mut backoff = self.settings.backoff_min;
        loop {
            if !self.outbox.leads() {
                self.board.follows();
                sleep(self.settings.leader_look).await;
                continue;
            }
            let Err(ended) = self.session(&mut backoff).await;
            let pause = match &ended {
                Ended::NotLeading => continue,
                Ended::Stopped(_) => self.settings.stopped_pause,
                // Somebody else was quicker, or what was on its way has arrived: the next look tells.
                Ended::Broker(BrokerError::WrongLast(_)) | Ended::Lost(_) | Ended::MovedOn => self.settings.backoff_min,
                Ended::Broker(_) | Ended::Ledger(_) => {
                    let pause = backoff;
                    backoff = (backoff * 2).min(self.settings.backoff_max);
                    pause
                }
            };
            self.board.ended(&ended);
            sleep(jittered(pause)).await;
        }
    }
}

/// The status of a relay, for views.
#[derive(Clone)]
pub struct StatusWatch(Board);

impl StatusWatch {
    pub fn status(&self) -> Status {
        self.0.status()
    }
}

/// Where nothing relays, nobody would acknowledge events, and the outbox would grow until it stops new locks. So the leader
/// says itself, now and then, that they were taken. Never ends.
pub async fn acknowledge_alone(outbox: impl Outbox, interval: Duration) {
    loop {
        sleep(interval).await;
        if !outbox.leads() {
            continue;
        }
        let Ok(rows) = outbox.rows(0, 0).await else { continue };
        if rows.figures.last > rows.figures.acked {
            // What fails now is said again after the next pause.
            let _ = outbox.acknowledge(rows.figures.last, rows.figures.losses).await;
        }
    }
}

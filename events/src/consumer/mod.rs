//! Following the ledger's events: durable, in order per entity, each taken in once in effect.
//!
//! A broker delivers at least once, late, twice and in the wrong order, and several workers share one durable consumer. What puts
//! this right is the entity's version, which rises by one with every change: a version that has been seen is acknowledged and
//! dropped, the next one is handled, and one beyond a gap is either answered by reading the entity from the ledger or comes again
//! later. The [`Inbox`] remembers the versions. Acknowledgements prove nothing, so a handler's effects must be idempotent: commands
//! whose ids are deterministic, or what the inbox covers.
//!
//! What cannot be read or handled does not hold up others: it goes to the dead-letter stream with its reason, from where
//! an operator replays it. Whether somebody else is merely away (`Trouble::Away`) or the message itself is bad is the handler's to say;
//! only the latter is counted. The count is ours: the broker's would include the waiting for a gap to close.
//!
//! When a lineage rises, versions begin anew, because a restored ledger may have gone back: entities are then read anew.

mod inbox;
mod work;

#[cfg(not(madsim))]
pub use inbox::FileInbox;
pub use inbox::{Inbox, InboxError, Key, MemoryInbox, Place, SharedInbox, shared};

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::broker::{SharedBroker, StartAt};
use crate::wire;

/// Who consumes what, and how patiently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The consumer's name: workers of the same name share its messages. Letters, digits, `-` and `_`.
    pub durable: String,
    /// The subjects, as [`wire::filter`] names them; all of them without.
    pub filter: Option<String>,
    /// Where a consumer begins that the broker does not know yet.
    pub start: StartAt,
    /// Messages taken at once. Those of one entity are handled one after the other, entities side by side.
    pub batch_max: usize,
    /// What takes longer than this comes again.
    pub handle_timeout: Duration,
    /// What is not acknowledged within this comes again: longer than what is taken at once should take.
    pub ack_wait: Duration,
    /// Pauses before a message comes again grow from here …
    pub retry_min: Duration,
    /// … up to this.
    pub retry_max: Duration,
    /// A message that failed so often is a dead letter.
    pub failures_max: u32,
    /// So is one that was delivered so often without an end, whatever the reason.
    pub deliveries_max: u64,
}

impl Settings {
    pub fn new(durable: impl Into<String>, filter: impl Into<Option<String>>) -> Settings {
        Settings {
            durable: durable.into(),
            filter: filter.into(),
            start: StartAt::First,
            batch_max: 32,
            handle_timeout: Duration::from_secs(20),
            ack_wait: Duration::from_secs(30),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(10),
            failures_max: 5,
            deliveries_max: 1_000,
        }
    }

    fn retry_after(&self, deliveries: u64) -> Duration {
        let doubled = 1u32 << deliveries.saturating_sub(1).min(16);
        self.retry_min.saturating_mul(doubled).min(self.retry_max)
    }
}

/// An event as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub message: wire::Message,
    /// How often it was delivered, this time included.
    pub deliveries: u64,
    /// It was a dead letter that an operator has replayed: later events of the entity may have been handled before.
    pub replayed: bool,
}

/// Why a message could not be handled now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// What it takes is away. It comes again, and nothing is counted.
    #[error("{0}")]
    Away(String),
    /// It failed. It comes again a few times, then it is a dead letter.
    #[error("{0}")]
    Failed(String),
    /// It will never succeed: a dead letter at once.
    #[error("{0}")]
    Hopeless(String),
}

/// What to do with an event that does not follow on what has been seen of its entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// Handle it: the order does not matter to this consumer.
    Handle,
    /// The entity was read from the ledger, at this version: that covers the event, unless it is younger still.
    CaughtUp { version: u64 },
    /// Let it come again later: what is missing is on its way.
    Later,
}

/// What a consumer does with events.
pub trait Handler: Send + Sync + 'static {
    /// Handles one event. It may come more than once, in rare cases after it succeeded.
    fn handle<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Result<(), Trouble>>;

    /// An event came whose predecessors have not: `seen` is the last version that was handled, if any is known.
    fn gap<'a>(&'a self, _received: &'a Received, _seen: Option<u64>) -> BoxFuture<'a, Result<OnGap, Trouble>> {
        std::future::ready(Ok(OnGap::Later)).boxed()
    }

    /// The ledger was restored or recovered: what is known of entities may be younger than what is true now. Read them anew.
    fn lineage_rose(&self, _lineage: u16) -> BoxFuture<'_, Result<(), Trouble>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// One worker of a consumer. Start as many as are wanted, in as many processes.
pub struct Consumer {
    broker: SharedBroker,
    settings: Settings,
    inbox: SharedInbox,
    handler: Arc<dyn Handler>,
}

impl Consumer {
    /// Workers of one process share one inbox.
    pub fn new(broker: SharedBroker, settings: Settings, inbox: SharedInbox, handler: impl Handler) -> Consumer {
        Consumer { broker, settings, inbox, handler: Arc::new(handler) }
    }

    /// Consumes until `stop` becomes true (or its sender is gone); what has begun by then is finished. Survives every failure
    /// of the broker by beginning anew.
    pub async fn run(&self, stop: watch::Receiver<bool>) {
        work::run(self, stop).await;
    }
}

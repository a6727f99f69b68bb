//! The broker of a run: the one in memory, made to fail in every way that its contract leaves open.
//!
//! It stands outside the cluster, reached by every machine whatever is cut between them: so two nodes that both believe to
//! lead do relay at the same time. What it does to single messages is drawn from a stream of its own; when it is away, wiped or set
//! back is the schedule's to say.
//!
//! What this deliberately does not do: take time. A publish that is to arrive late is a fault like any other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use holdfast_events::broker::{BrokerError, SharedBroker, Stored, ledger_stream};
use holdfast_events::memory::{Faults, Image, Memory};

use crate::streams::number;
use crate::trace::Trace;

/// Messages of one stream: no run comes near.
const MESSAGES_MAX: usize = 1_000_000;
/// Lineages of one run: a schedule restores a few backups at most.
const LINEAGES_MAX: u16 = 8;
/// How late a publish is at most that its sender has given up.
const LATE_MAX: Duration = Duration::from_secs(4);

/// The broker, and what the faults hold of it.
pub struct Bus {
    broker: Memory,
    trace: Arc<Trace>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Faults that keep it away.
    away: u32,
    /// Copies of what it held, by the fault that will put it back.
    images: BTreeMap<u32, Image>,
    /// By lineage, the last number of the ledger's stream that it ever had when it lost something.
    ended: BTreeMap<u16, u64>,
}

impl Bus {
    pub fn new(seed: u64, trace: Arc<Trace>) -> Bus {
        Bus { broker: Memory::new(number(seed, "broker"), MESSAGES_MAX), trace, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nothing panics while it holds the broker")
    }

    /// For who publishes or consumes.
    pub fn broker(&self) -> SharedBroker {
        Arc::new(self.broker.clone())
    }

    /// It goes away, or, when the last fault that keeps it away is over, comes back.
    pub fn away(&self, begins: bool) {
        let mut held = self.held();
        held.away = if begins { held.away + 1 } else { held.away - 1 };
        match (begins, held.away) {
            (true, 1) => self.broker.stop(),
            (false, 0) => self.broker.start(),
            _ => {}
        }
    }

    /// Everything that it holds is gone, consumers included.
    pub fn wipe(&self) {
        self.note_ends();
        self.broker.wipe();
    }

    /// A copy is taken, for `fault` to put back.
    pub fn copy(&self, fault: u32) {
        self.held().images.insert(fault, self.broker.image());
    }

    /// It becomes what it was when `fault` began.
    pub fn set_back(&self, fault: u32) {
        let image = self.held().images.remove(&fault);
        if let Some(image) = image {
            self.note_ends();
            self.broker.restore(image);
        }
    }

    /// It loses the newest messages of every stream.
    pub fn lose_end(&self, messages: u64) {
        self.note_ends();
        self.broker.lose_newest(messages);
    }

    /// An operator removes the ledger's stream, as its relay asks: it is made anew from what the ledger keeps.
    pub async fn remove(&self, stream: &str) -> Result<bool, BrokerError> {
        self.note_ends();
        self.broker().connect().await?.remove(stream).await
    }

    fn note_ends(&self) {
        let mut held = self.held();
        for lineage in 0..LINEAGES_MAX {
            let ended = held.ended.entry(lineage).or_default();
            *ended = self.broker.last(&ledger_stream(lineage)).max(*ended);
        }
    }

    /// Events of this lineage up to this number may have been in the stream and be there no more.
    pub fn ended(&self, lineage: u16) -> u64 {
        self.held().ended.get(&lineage).copied().unwrap_or_default()
    }

    /// Of 1,000 publishes, deliveries and acknowledgements so many go wrong, each in every way there is. 0: none.
    pub fn misbehave(&self, permille: u32) {
        self.broker.set_faults(Faults {
            publish_lost_permille: permille,
            publish_ack_lost_permille: permille,
            publish_late_permille: permille,
            late_max: LATE_MAX,
            delivery_twice_permille: permille,
            delivery_reordered_permille: permille,
            ack_lost_permille: permille,
        });
    }

    /// What the ledger's stream holds. `lineage` is the ledger's.
    pub fn messages(&self, lineage: u16) -> Vec<Stored> {
        self.broker.messages(&ledger_stream(lineage))
    }

    /// The last number of the ledger's stream, and how many messages these consumers have not acknowledged.
    pub fn figures(&self, lineage: u16, durables: &[&str]) -> (u64, u64) {
        let stream = ledger_stream(lineage);
        let open = durables.iter().map(|durable| self.broker.unacknowledged(&stream, durable)).sum();
        (self.broker.last(&stream), open)
    }

    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        self.trace.note(format_args!("broker {what}"));
    }
}

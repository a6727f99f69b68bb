//! An outbox that a test writes by hand, and brokers to relay it to.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_events::broker::SharedBroker;
use holdfast_events::check::{OutboxRows, Report, check};
use holdfast_events::memory::Memory;
use holdfast_events::outbox::{Figures, Outbox, Rows};
use holdfast_events::relay::{Phase, Relay, Settings};
use holdfast_ledger::entities::Holding;
use holdfast_ledger::event::{Event, EventBody, EventType};
use holdfast_ledger::id::{Id, UserId};
use holdfast_raft::node::Unavailable;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The longest that a condition is waited for. Passing takes a fraction of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "it did not come to this: {what}");
}

pub fn memory(seed: u64) -> (Memory, SharedBroker) {
    let memory = Memory::new(seed, 1_000_000);
    (memory.clone(), Arc::new(memory))
}

/// The outbox of a ledger that a test writes. Clones are the same one.
#[derive(Clone)]
pub struct Ledger(Arc<Shared>);

struct Shared {
    cluster: u128,
    inner: Mutex<Inner>,
    news: Notify,
}

#[derive(Clone)]
struct Inner {
    events: Vec<Event>,
    first: u64,
    lineage: u16,
    acked: u64,
    losses: u32,
    leads: bool,
}

impl Ledger {
    pub fn new(cluster: u128) -> Ledger {
        let inner = Inner { events: Vec::new(), first: 1, lineage: 0, acked: 0, losses: 0, leads: true };
        Ledger(Arc::new(Shared { cluster, inner: Mutex::new(inner), news: Notify::new() }))
    }

    /// A ledger that was restored from a copy of this one, and begins another lineage.
    pub fn restored(&self, lineage: u16) -> Ledger {
        let inner = Inner { lineage, ..self.with(|inner| inner.clone()) };
        Ledger(Arc::new(Shared { cluster: self.0.cluster, inner: Mutex::new(inner), news: Notify::new() }))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        let done = work(&mut self.0.inner.lock().unwrap());
        self.0.news.notify_waiters();
        done
    }

    /// One more event of `entity`.
    pub fn emit(&self, event_type: EventType, entity: Id, version: u64, body: EventBody) {
        self.with(|inner| {
            let seq = inner.events.len() as u64 + 1;
            let event = Event {
                seq,
                lineage: inner.lineage,
                index: seq,
                time_ms: 1_700_000_000_000,
                event_type,
                entity,
                version,
                body,
            };
            inner.events.push(event);
        });
    }

    /// A ticket's version: created with version 0, updated from then on.
    pub fn emit_ticket(&self, ticket: Id, version: u64, title: &str) {
        let event_type = if version == 0 { EventType::TicketCreated } else { EventType::TicketUpdated };
        self.emit(event_type, ticket, version, ticket_body(title));
    }

    /// So many tickets, each just created.
    pub fn emit_tickets(&self, count: u64) {
        for _ in 0..count {
            let ordinal = self.last() as u32;
            self.emit_ticket(Id::mint(0, 7, ordinal), 0, "Row A, seat 1");
        }
    }

    pub fn last(&self) -> u64 {
        self.with(|inner| inner.events.len() as u64)
    }

    pub fn acked(&self) -> u64 {
        self.with(|inner| inner.acked)
    }

    pub fn set_leads(&self, leads: bool) {
        self.with(|inner| inner.leads = leads);
    }

    /// As if the retention of everything before `first` had passed: what is acknowledged of that goes. What is kept from then on.
    pub fn trim(&self, first: u64) -> u64 {
        self.with(|inner| {
            inner.first = inner.first.max(first.min(inner.acked + 1));
            inner.first
        })
    }

    /// Drops what no stream has, as no ledger must.
    pub fn drop_before(&self, first: u64) {
        self.with(|inner| (inner.first, inner.acked) = (first, inner.acked.max(first - 1)));
    }

    pub fn losses(&self) -> u32 {
        self.with(|inner| inner.losses)
    }

    /// Forgets the last events, as no ledger must.
    pub fn forget(&self, count: usize) {
        self.with(|inner| inner.events.truncate(inner.events.len() - count));
    }
}

fn ticket_body(title: &str) -> EventBody {
    EventBody::Ticket {
        title: title.into(),
        price_minor: 2_000,
        price_version: 0,
        currency: "USD".parse().unwrap(),
        user: UserId(Id::mint(0, 1, 0)),
        holding: Holding::Free,
        withdrawn: false,
    }
}

impl Outbox for Ledger {
    fn leads(&self) -> bool {
        self.with(|inner| inner.leads)
    }

    fn cluster(&self) -> String {
        format!("{:032x}", self.0.cluster)
    }

    async fn figures(&self) -> Result<Figures, Unavailable> {
        Ok(self.rows(0, 0).await?.figures)
    }

    async fn rows(&self, after: u64, limit: usize) -> Result<Rows, Unavailable> {
        Ok(self.with(|inner| Rows {
            events: inner
                .events
                .iter()
                .skip(after.max(inner.first - 1).min(inner.events.len() as u64) as usize)
                .take(limit)
                .cloned()
                .collect(),
            figures: Figures {
                lineage: inner.lineage,
                first: inner.first,
                last: inner.events.len() as u64,
                acked: inner.acked,
                losses: inner.losses,
                waiting_soft_max: 1_000_000,
            },
            index: inner.events.len() as u64,
        }))
    }

    async fn applied_beyond(&self, index: u64) {
        loop {
            let mut news = std::pin::pin!(self.0.news.notified());
            news.as_mut().enable();
            if self.0.inner.lock().unwrap().events.len() as u64 > index {
                return;
            }
            news.await;
        }
    }

    async fn acknowledge(&self, upto: u64, losses: u32) -> Result<(), Unavailable> {
        self.with(|inner| {
            if losses == inner.losses {
                inner.acked = inner.acked.max(upto);
            } else if losses == inner.losses + 1 {
                (inner.acked, inner.losses) = (upto.max(inner.first - 1), losses);
            }
        });
        Ok(())
    }
}

/// Quick enough for a test that makes everything fail.
pub fn quick() -> Settings {
    Settings {
        window_max: 64,
        ack_timeout: Duration::from_millis(200),
        mirror_events: 100,
        mirror_interval: Duration::from_millis(50),
        backoff_min: Duration::from_millis(2),
        backoff_max: Duration::from_millis(50),
        stopped_pause: Duration::from_millis(50),
        leader_look: Duration::from_millis(20),
        stream_look: Duration::from_millis(50),
    }
}

/// A relay at work; it ends with the test.
pub struct Running {
    pub relay: Relay<Ledger>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn relay(ledger: &Ledger, broker: &SharedBroker, settings: Settings) -> Running {
    let relay = Relay::new(ledger.clone(), broker.clone(), settings);
    let running = relay.clone();
    Running { relay, task: tokio::spawn(async move { running.run().await }) }
}

impl Running {
    pub async fn has_published(&self, seq: u64) {
        eventually(&format!("event {seq} is published"), || async {
            let status = self.relay.status();
            status.phase == Phase::Relaying && status.published >= seq
        })
        .await;
    }

    pub async fn is_stopped(&self) -> String {
        eventually("the relay stops", || async { self.relay.status().phase == Phase::Stopped }).await;
        self.relay.status().trouble.expect("a stop has a reason")
    }
}

/// Compares stream and outbox, on a broker that may be away for a moment.
pub async fn compared(ledger: &Ledger, broker: &SharedBroker) -> Report {
    let mut last = String::new();
    for _ in 0..20 {
        match broker.connect().await {
            Ok(connection) => match check(&OutboxRows(ledger), &*connection).await {
                Ok(report) => return report,
                Err(error) => last = error.to_string(),
            },
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("stream and outbox cannot be compared: {last}");
}

/// The stream holds all that the ledger has emitted, each once and under its number.
pub async fn is_complete(ledger: &Ledger, broker: &SharedBroker) {
    let report = compared(ledger, broker).await;
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!((report.waiting, report.upto), (0, ledger.last()), "{report:#?}");
}

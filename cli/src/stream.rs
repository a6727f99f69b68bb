//! The ledger's stream read as anybody reads it: from the broker, from its first message to its last.
//!
//! `demo` counts with it, and the fault tests audit with it. It believes nothing of what the relay says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_events::broker::{
    BrokerError, Message, PullSettings, SharedBroker, StartAt, ledger_stream, newest_lineage,
};
use holdfast_events::nats::Nats;
use holdfast_events::wire::{self, Envelope, header};
use holdfast_ledger::event::EventType;
use holdfast_ledger::query;

use crate::failure::Failure;
use crate::stored;

/// Rows of the outbox that are read at once.
const ROWS_PAGE: usize = 100;
/// Messages taken at once.
const BATCH: usize = 500;
/// How long the broker may take for the next of them.
const FETCH_WAIT: Duration = Duration::from_secs(5);
const ACK_WAIT: Duration = Duration::from_secs(60);

/// What a whole stream holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    pub events: u64,
    /// Event ids that stand in the stream more than once.
    pub doubled: u64,
    /// Versions of entities that are missing, or not in their order.
    pub gaps: u64,
    /// The last version of each entity.
    pub versions: BTreeMap<String, u64>,
    /// Names of the mails that must have been sent for these events, and of those that may.
    pub mails_must: BTreeSet<String>,
    pub mails_may: BTreeSet<String>,
}

/// The broker at `url`.
pub fn broker(url: &str) -> Result<SharedBroker, Failure> {
    let nats = Nats::new(&[url.to_string()], None).map_err(|error| Failure::usage(format!("--nats {url}: {error}")))?;
    Ok(Arc::new(nats))
}

/// The number of the stream's last message; `None` where there is no stream of the ledger.
///
/// # Errors
/// The broker is away.
pub async fn last(url: &str) -> Result<Option<u64>, Failure> {
    let complain = |error: BrokerError| Failure::unreachable(format!("{url}: {error}"));
    let connection = broker(url)?.connect().await.map_err(complain)?;
    match newest_lineage(&*connection).await.map_err(complain)? {
        Some(lineage) => {
            let state = connection.state(&ledger_stream(lineage)).await.map_err(complain)?;
            Ok(state.map(|state| state.last))
        }
        None => Ok(None),
    }
}

/// Reads the whole stream of the newest lineage: every message by its number.
///
/// # Errors
/// The broker is away, has no such stream, or ends it before its own last number.
pub async fn read(url: &str) -> Result<BTreeMap<u64, Message>, Failure> {
    let complain = |error: BrokerError| Failure::unreachable(format!("{url}: {error}"));
    let connection = broker(url)?.connect().await.map_err(complain)?;
    let missing = || Failure::failed(format!("{url}: no stream of the ledger"));
    let lineage = newest_lineage(&*connection).await.map_err(complain)?.ok_or_else(missing)?;
    let stream = ledger_stream(lineage);
    let state = connection.state(&stream).await.map_err(complain)?.ok_or_else(missing)?;
    let settings = PullSettings {
        durable: None,
        filter: None,
        start: StartAt::First,
        ack_wait: ACK_WAIT,
        ack_pending_max: BATCH * 2,
    };
    let pull = connection.pull(&stream, settings).await.map_err(complain)?;
    let mut messages = BTreeMap::new();
    while (messages.len() as u64) < state.last + 1 - state.first {
        let deliveries = pull.fetch(BATCH, FETCH_WAIT).await.map_err(complain)?;
        if deliveries.is_empty() {
            let end = messages.last_key_value().map(|(seq, _)| *seq);
            return Err(Failure::failed(format!("{stream} ends at {end:?} instead of {}", state.last)));
        }
        for delivery in deliveries {
            delivery.ack().await.map_err(complain)?;
            messages.insert(delivery.seq, delivery.message);
        }
    }
    Ok(messages)
}

/// What stands in the whole stream.
///
/// # Errors
/// Those of [`read`], and a message without an event's headers.
pub async fn scan(url: &str) -> Result<Scan, Failure> {
    let (mut scan, mut ids) = (Scan::default(), BTreeSet::new());
    for (seq, message) in read(url).await? {
        let envelope = Envelope::read(|name| message.header(name));
        let envelope = envelope.map_err(|error| Failure::failed(format!("message {seq}: {error}")))?;
        scan.note(&envelope, ids.insert(envelope.id.clone()));
    }
    Ok(scan)
}

/// Compares the stream with the outbox that a stopped node has stored, message by message: number, subject, id and body. One
/// line for each difference; and how many were compared.
pub async fn differences(url: &str, data: &Path) -> Result<(u64, Vec<String>), Failure> {
    let mut messages = read(url).await?;
    let (_folder, inspection) = stored::open(data).await?;
    let complain =
        |error: &dyn std::fmt::Display| Failure::failed(format!("the outbox of {}: {error}", data.display()));
    let state = inspection.state();
    let (mut compared, mut differences) = (0, Vec::new());
    let mut after = state.meta().outbox_first - 1;
    loop {
        let page = query::events(state, after, ROWS_PAGE).map_err(|error| complain(&error))?;
        let Some(last) = page.events.last() else { break };
        after = last.seq;
        for event in &page.events {
            compared += 1;
            let Some(message) = messages.remove(&event.seq) else {
                differences.push(format!("event {} is not in the stream", event.seq));
                continue;
            };
            let id = message.header(header::CE_ID).unwrap_or_default();
            let published = Message::from(wire::publish(event, id.split(':').next().unwrap_or_default()));
            let is_same = published.subject == message.subject && published.body == message.body;
            if !is_same || published.header(header::CE_ID) != Some(id) {
                differences.push(format!("event {} is another one in the stream: {id}", event.seq));
            }
        }
    }
    // What the outbox has let go of by age is not compared.
    let beyond = messages.keys().filter(|seq| **seq >= state.meta().outbox_first);
    differences.extend(beyond.map(|seq| format!("message {seq} is no event of the ledger")));
    Ok((compared, differences))
}

impl Scan {
    /// Takes in one event. The stream is in order, so every version follows on the one before.
    fn note(&mut self, envelope: &Envelope, is_new: bool) {
        self.events += 1;
        if !is_new {
            self.doubled += 1;
            return;
        }
        if !envelope.is_change() {
            return;
        }
        let (entity, version) = (envelope.entity.to_string(), envelope.version);
        match envelope.event_type {
            // Who paid at once is not told any more that he has time to.
            EventType::OrderCreated => drop(self.mails_may.insert(format!("locked.{entity}.{version}"))),
            EventType::OrderCancelled => drop(self.mails_may.insert(format!("expired.{entity}.{version}"))),
            // Only the last of a payment's changes may be that its money was given back.
            EventType::PaymentUpdated => drop(self.mails_may.insert(format!("refunded.{entity}.{version}"))),
            EventType::OrderCompleted | EventType::OrderReinstated => {
                self.mails_must.insert(format!("confirmed.{entity}.{version}"));
            }
            _ => {}
        }
        let expected = self.versions.get(&entity).map_or(0, |last| last + 1);
        self.gaps += version.abs_diff(expected);
        self.versions.insert(entity, version);
    }
}

//! Is the stream what the outbox says? Row by row, with every difference named.
//!
//! Both sides are read in pages and compared by number, id and a hash of subject and body. What the stream does not have yet is
//! waiting and no difference; what either side has let go of by age is not compared.
//!
//! What this deliberately does not do: mend. The relay does what can be done by itself; what stands here is for people.

use std::future::Future;
use std::time::Duration;

use holdfast_ledger::event::Event;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::broker::{BrokerError, Connection, PullSettings, StartAt, Stored, ledger_stream};
use crate::outbox::Outbox;
use crate::wire::{self, header};

/// Differences that are named; beyond, they are counted only.
pub const NAMED_MAX: usize = 100;
/// Messages read at once.
const MESSAGES: usize = 256;
/// How long the broker may take for the next message of a stream that is known to have it.
const MESSAGE_WAIT: Duration = Duration::from_secs(5);

/// What of an event is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub seq: u64,
    /// The event's id, `{cluster}:{lineage}:{seq}`.
    pub id: String,
    pub lineage: u16,
    /// XXH3-128 of subject and body, hex.
    pub hash: String,
}

impl Row {
    /// What the message of `event` has to be.
    pub fn of_event(event: &Event, cluster: &str) -> Row {
        let published = wire::publish(event, cluster);
        let id = published.headers.iter().find(|(name, _)| *name == header::CE_ID).map(|(_, id)| id.clone());
        Row {
            seq: event.seq,
            id: id.unwrap_or_default(),
            lineage: event.lineage,
            hash: hash(&published.subject, &published.body),
        }
    }
}

fn hash(subject: &str, body: &[u8]) -> String {
    format!("{:032x}", xxh3_128(&[subject.as_bytes(), &[0], body].concat()))
}

/// Some rows of the outbox, and how far it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPage {
    pub lineage: u16,
    /// The first row that is kept.
    pub first: u64,
    /// The last event emitted.
    pub last: u64,
    pub rows: Vec<Row>,
}

/// An outbox that may be far away.
pub trait Rows {
    /// Some rows with a number above `after`; none only where there are none.
    fn page(&self, after: u64) -> impl Future<Output = Result<RowPage, String>> + Send;
}

/// The outbox of a node in this process.
pub struct OutboxRows<'a, O>(pub &'a O);

impl<O: Outbox> Rows for OutboxRows<'_, O> {
    async fn page(&self, after: u64) -> Result<RowPage, String> {
        let rows = self.0.rows(after, 100).await.map_err(|error| error.to_string())?;
        let cluster = self.0.cluster();
        Ok(RowPage {
            lineage: rows.figures.lineage,
            first: rows.figures.first,
            last: rows.figures.last,
            rows: rows.events.iter().map(|event| Row::of_event(event, &cluster)).collect(),
        })
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the outbox: {0}")]
    Outbox(String),
}

/// What the comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub stream: String,
    /// The numbers that were compared.
    pub from: u64,
    pub upto: u64,
    /// Messages that are the row of their number.
    pub equal: u64,
    /// Rows that the stream does not have, although it has later ones.
    pub missing: u64,
    /// Messages whose event the stream has had before.
    pub duplicates: u64,
    /// Messages that are another event than the row of their number, or the same with another body.
    pub different: u64,
    /// Rows that the stream does not have yet.
    pub waiting: u64,
    /// The first differences, a line each.
    pub differences: Vec<String>,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.missing == 0 && self.duplicates == 0 && self.different == 0
    }

    fn name(&mut self, difference: String) {
        if self.differences.len() < NAMED_MAX {
            self.differences.push(difference);
        }
    }
}

/// Compares the stream of the present lineage with the outbox, as far as both are kept.
pub async fn check(rows: &impl Rows, connection: &dyn Connection) -> Result<Report, CheckError> {
    let figures = rows.page(u64::MAX - 1).await.map_err(CheckError::Outbox)?;
    let stream = ledger_stream(figures.lineage);
    let state = connection.state(&stream).await?.ok_or_else(|| BrokerError::NoStream(stream.clone()))?;
    let mut outbox = Kept { rows, page: Vec::new().into_iter(), after: state.first.max(figures.first) - 1 };
    let mut upcoming = outbox.next_of(figures.lineage).await?;
    let from = upcoming.as_ref().map_or(state.last + 1, |row| row.seq).max(state.first);
    let mut report = Report {
        stream: stream.clone(),
        from,
        upto: state.last,
        waiting: figures.last.saturating_sub(state.last),
        ..Report::default()
    };
    let mut messages = Messages::open(connection, &stream, from, state.last).await?;
    let mut seen = Seen { from, events: Vec::new() };
    while let Some(stored) = messages.next().await? {
        while let Some(row) = upcoming.take_if(|row| row.seq < stored.seq) {
            report.missing += 1;
            report.name(format!("{}: {} is missing", row.seq, row.id));
            upcoming = outbox.next_of(figures.lineage).await?;
        }
        let row = upcoming.take_if(|row| row.seq == stored.seq);
        compare(&mut report, &mut seen, &stored, row.as_ref());
        if row.is_some() {
            upcoming = outbox.next_of(figures.lineage).await?;
        }
    }
    Ok(report)
}

fn compare(report: &mut Report, seen: &mut Seen, stored: &Stored, row: Option<&Row>) {
    let id = stored.message.header(header::CE_ID).unwrap_or("no id");
    let event = stored.message.header(header::SEQ).and_then(|text| text.parse().ok());
    if event.is_some_and(|event| !seen.first_time(event)) {
        report.duplicates += 1;
        report.name(format!("{}: {id} is here a second time", stored.seq));
        return;
    }
    match row {
        Some(row) if row.id == id && row.hash == hash(&stored.message.subject, &stored.message.body) => {
            report.equal += 1;
        }
        Some(row) if row.id == id => {
            report.different += 1;
            report.name(format!("{}: {id} has another subject or body", stored.seq));
        }
        Some(row) => {
            report.different += 1;
            report.name(format!("{}: {id} instead of {}", stored.seq, row.id));
        }
        None => {
            report.different += 1;
            report.name(format!("{}: {id}, and the outbox has no such row", stored.seq));
        }
    }
}

/// Which events have been met: one bit each.
struct Seen {
    from: u64,
    events: Vec<u64>,
}

impl Seen {
    /// Events far beyond what was asked for are not counted, so that a made-up number takes no memory.
    const EVENTS_MAX: u64 = 1 << 32;

    fn first_time(&mut self, event: u64) -> bool {
        let Some(at) = event.checked_sub(self.from).filter(|at| *at < Seen::EVENTS_MAX) else { return true };
        let (word, bit) = ((at / 64) as usize, 1 << (at % 64));
        if word >= self.events.len() {
            self.events.resize(word + 1, 0);
        }
        let first = self.events[word] & bit == 0;
        self.events[word] |= bit;
        first
    }
}

/// The rows of an outbox, one after the other.
struct Kept<'a, R> {
    rows: &'a R,
    page: std::vec::IntoIter<Row>,
    after: u64,
}

impl<R: Rows> Kept<'_, R> {
    /// The next row of `lineage`. Rows of older ones stand in older streams.
    async fn next_of(&mut self, lineage: u16) -> Result<Option<Row>, CheckError> {
        loop {
            let row = match self.page.next() {
                Some(row) => row,
                None => {
                    self.page = self.rows.page(self.after).await.map_err(CheckError::Outbox)?.rows.into_iter();
                    match self.page.next() {
                        Some(row) => row,
                        None => return Ok(None),
                    }
                }
            };
            self.after = row.seq;
            if row.lineage == lineage {
                return Ok(Some(row));
            }
        }
    }
}

/// The messages of a stream, each once and in order.
struct Messages {
    pull: Box<dyn crate::broker::Pull>,
    page: std::vec::IntoIter<Stored>,
    next: u64,
    last: u64,
}

impl Messages {
    async fn open(connection: &dyn Connection, stream: &str, from: u64, last: u64) -> Result<Messages, BrokerError> {
        let settings = PullSettings {
            durable: None,
            filter: None,
            start: StartAt::Seq(from),
            ack_wait: Duration::from_secs(60),
            ack_pending_max: 2 * MESSAGES,
        };
        let pull = connection.pull(stream, settings).await?;
        Ok(Messages { pull, page: Vec::new().into_iter(), next: from, last })
    }

    async fn next(&mut self) -> Result<Option<Stored>, BrokerError> {
        while self.next <= self.last {
            if let Some(stored) = self.page.find(|stored| stored.seq >= self.next) {
                self.next = stored.seq + 1;
                return Ok((stored.seq <= self.last).then_some(stored));
            }
            let fetched = self.pull.fetch(MESSAGES, MESSAGE_WAIT).await?;
            if fetched.is_empty() {
                return Err(BrokerError::Away(format!("message {} and what follows it do not come", self.next)));
            }
            let mut page = Vec::with_capacity(fetched.len());
            for delivery in fetched {
                delivery.ack().await?;
                page.push(Stored { seq: delivery.seq, message: delivery.message });
            }
            page.sort_by_key(|stored| stored.seq);
            self.page = page.into_iter();
        }
        Ok(None)
    }
}

//! What the relay and the consumers need of a message broker: streams with numbered messages, and durable pull consumers.
//!
//! Two implementations stand behind it: [`memory`](crate::memory), in this process, which can be told to fail in every way that
//! a broker fails; and [`nats`](crate::nats), JetStream. The same conformance suite runs on both.
//!
//! The broker is a cache of the ledger's outbox and is not believed: it may lose what it acknowledged, deliver twice, late and
//! out of order, and forget acknowledgements. The one thing that is relied on is the compare-and-set of
//! [`Connection::publish`]: a message is appended only if the stream's last number is the expected one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// The names of the ledger's streams begin with this; the lineage follows, four hex digits.
const LEDGER_STREAM_PREFIX: &str = "LEDGER_V1_";
/// Where what cannot be handled is laid down, and what is tried again.
pub const DEAD_STREAM: &str = "LEDGER_DEAD";

/// Why the broker did not do it. One line for a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// It cannot be reached, or did not answer in time: what was asked may or may not have been done.
    #[error("the broker is away: {0}")]
    Away(String),
    /// The stream's last number is not the expected one: somebody else has published, or the broker has lost something.
    #[error("the stream does not end where it should: {0}")]
    WrongLast(String),
    /// There is no such stream.
    #[error("no stream {0}")]
    NoStream(String),
    /// A stream or consumer is there, but not as it must be. An operator has to look.
    #[error("{0}")]
    Misconfigured(String),
    /// It answered, and said no.
    #[error("the broker refuses: {0}")]
    Refused(String),
}

/// A message, without its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub subject: String,
    /// In the order in which they are sent; names are lower case and not repeated.
    pub headers: Vec<(Cow<'static, str>, String)>,
    pub body: Bytes,
}

impl Message {
    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl From<crate::wire::Published> for Message {
    fn from(published: crate::wire::Published) -> Message {
        let headers = published.headers.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Message { subject: published.subject, headers, body: published.body }
    }
}

/// A message of a stream, with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub seq: u64,
    pub message: Message,
}

/// Which numbers a stream holds. An empty stream has `first == last + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    pub first: u64,
    pub last: u64,
}

/// A stream as it must be. Storage on disk, bounded by age alone: a full stream would stop sales.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSettings {
    pub name: String,
    pub subjects: Vec<String>,
    pub max_age: Duration,
    /// Within this a repeated message id is not appended a second time.
    pub duplicate_window: Duration,
    /// The number that the first message gets where the stream has to be made.
    pub first_seq: u64,
    /// Nothing can be deleted or purged.
    pub append_only: bool,
}

impl StreamSettings {
    /// The stream of one lineage of the ledger, beginning with event `first_seq`.
    pub fn ledger(lineage: u16, first_seq: u64) -> StreamSettings {
        StreamSettings {
            name: ledger_stream(lineage),
            subjects: vec![crate::wire::SUBJECTS.into()],
            max_age: Duration::from_secs(14 * 24 * 3_600),
            duplicate_window: Duration::from_secs(120),
            first_seq,
            append_only: true,
        }
    }

    /// The stream of dead letters and of their replays.
    pub fn dead() -> StreamSettings {
        StreamSettings {
            name: DEAD_STREAM.into(),
            subjects: vec!["dead.v1.*".into(), "redo.v1.*".into()],
            max_age: Duration::from_secs(90 * 24 * 3_600),
            duplicate_window: Duration::from_secs(120),
            first_seq: 1,
            append_only: false,
        }
    }
}

/// The name of the stream of one lineage.
pub fn ledger_stream(lineage: u16) -> String {
    format!("{LEDGER_STREAM_PREFIX}{lineage:04x}")
}

/// The lineage of a ledger's stream, from its name.
pub fn lineage_of(stream: &str) -> Option<u16> {
    let digits = stream.strip_prefix(LEDGER_STREAM_PREFIX)?;
    (digits.len() == 4).then(|| u16::from_str_radix(digits, 16).ok())?
}

/// The highest lineage of which there is a stream: the one that is published to now.
pub async fn newest_lineage(connection: &dyn Connection) -> Result<Option<u16>, BrokerError> {
    Ok(connection.streams().await?.iter().filter_map(|name| lineage_of(name)).max())
}

/// Where a consumer that is not there yet begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    First,
    /// With what comes next.
    New,
    Seq(u64),
    /// With what the broker took in at most this long ago.
    Since(Duration),
}

/// A consumer as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSettings {
    /// Workers that name the same one share its messages, and it remembers what they have acknowledged. `None`: one reader of
    /// its own, forgotten when it goes.
    pub durable: Option<String>,
    /// A subject, with wildcards; all of the stream without.
    pub filter: Option<String>,
    pub start: StartAt,
    /// What is not acknowledged within this is delivered again.
    pub ack_wait: Duration,
    /// At most this many are delivered and not acknowledged.
    pub ack_pending_max: usize,
}

/// A durable consumer at a moment, as the broker counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerState {
    pub name: String,
    /// Messages that it wants and has not been sent yet.
    pub pending: u64,
    /// Sent, and not acknowledged.
    pub ack_pending: u64,
    /// Of those, sent more than once.
    pub redelivered: u64,
    /// The last message that was sent; below the stream's first where none was.
    pub delivered: u64,
}

/// A message that came.
pub struct Delivery {
    pub seq: u64,
    /// How often it has been delivered, this time included.
    pub deliveries: u64,
    pub message: Message,
    pub(crate) acker: Box<dyn Acker>,
}

/// What a consumer says of a delivery. None of it is certain to arrive; what is not acknowledged comes again.
pub(crate) trait Acker: Send + Sync {
    fn settle(&self, verdict: Verdict) -> BoxFuture<'_, Result<(), BrokerError>>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Again(Duration),
}

impl Delivery {
    /// It is done with, and need not come again. That this returns proves nothing.
    pub async fn ack(&self) -> Result<(), BrokerError> {
        self.acker.settle(Verdict::Done).await
    }

    /// It is to come again, after `delay`.
    pub async fn nak(&self, delay: Duration) -> Result<(), BrokerError> {
        self.acker.settle(Verdict::Again(delay)).await
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("seq", &self.seq)
            .field("deliveries", &self.deliveries)
            .field("message", &self.message)
            .finish()
    }
}

/// A broker, as many users share it.
pub type SharedBroker = Arc<dyn Broker>;

/// Where a broker is, and how to sign in to it.
pub trait Broker: Send + Sync + 'static {
    /// A new connection. It ends when the last handle to it is dropped, or on its own: then every call says so.
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, BrokerError>>;
}

/// The acknowledgement of a publish, once it comes: the number that the message got.
pub type Acknowledged = BoxFuture<'static, Result<u64, BrokerError>>;

/// One connection to a broker.
pub trait Connection: Send + Sync + 'static {
    /// The names of all streams.
    fn streams(&self) -> BoxFuture<'_, Result<Vec<String>, BrokerError>>;

    /// What a stream holds; `None` where there is no such stream.
    fn state<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Option<StreamState>, BrokerError>>;

    /// Makes the stream where it is missing, and refuses one that is not as it must be.
    fn ensure<'a>(&'a self, settings: &'a StreamSettings) -> BoxFuture<'a, Result<StreamState, BrokerError>>;

    /// Takes a whole stream away, with its consumers. Whether it was there.
    fn remove<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<bool, BrokerError>>;

    /// The message with this number, if the stream still holds it.
    fn message<'a>(&'a self, stream: &'a str, seq: u64) -> BoxFuture<'a, Result<Option<Stored>, BrokerError>>;

    /// Sends a message to `stream`. What this returns at once is that it was sent, in the order of the calls; what it returns
    /// later is that the stream has it. With `expected_last` it is appended only if that is the stream's last number.
    fn publish<'a>(
        &'a self,
        stream: &'a str,
        message: Message,
        expected_last: Option<u64>,
    ) -> BoxFuture<'a, Result<Acknowledged, BrokerError>>;

    /// A consumer of `stream`, made where it is missing.
    fn pull<'a>(&'a self, stream: &'a str, settings: PullSettings)
    -> BoxFuture<'a, Result<Box<dyn Pull>, BrokerError>>;

    /// Takes one message out of a stream that is not append-only. Whether it was there.
    fn delete<'a>(&'a self, stream: &'a str, seq: u64) -> BoxFuture<'a, Result<bool, BrokerError>>;

    /// Forgets a durable consumer. Whether it was there.
    fn forget<'a>(&'a self, stream: &'a str, durable: &'a str) -> BoxFuture<'a, Result<bool, BrokerError>>;

    /// The durable consumers of a stream, by name; none where there is no such stream.
    fn consumers<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<ConsumerState>, BrokerError>>;

    /// How many messages a stream holds under each subject that `filter` means; none where there is no such stream.
    fn held<'a>(
        &'a self,
        stream: &'a str,
        filter: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, u64>, BrokerError>>;
}

/// One reader of a consumer.
pub trait Pull: Send + Sync {
    /// At most `limit` messages; waits up to `wait` for the first, and returns nothing where none came.
    fn fetch(&self, limit: usize, wait: Duration) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>>;
}

/// Whether `subject` is one that `filter` means: `*` stands for one part, `>` for all that follow.
pub(crate) fn matches(filter: &str, subject: &str) -> bool {
    let (mut wanted, mut parts) = (filter.split('.'), subject.split('.'));
    loop {
        match (wanted.next(), parts.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(want), Some(part)) if want == part => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_named_by_lineage() {
        assert_eq!(ledger_stream(10), "LEDGER_V1_000a");
        assert_eq!(lineage_of("LEDGER_V1_000a"), Some(10));
        assert!(["LEDGER_V1_a", "LEDGER_DEAD", "LEDGER_V1_00ag"].iter().all(|name| lineage_of(name).is_none()));
    }

    #[test]
    fn filters_mean_subjects() {
        assert!(matches("ledger.v1.>", "ledger.v1.ticket.07.created"));
        assert!(matches("ledger.v1.ticket.*.created", "ledger.v1.ticket.07.created"));
        assert!(!matches("ledger.v1.ticket.*", "ledger.v1.ticket.07.created"));
        assert!(!matches("ledger.v1.ticket.07.created.>", "ledger.v1.ticket.07.created"));
        assert!(!matches("ledger.v1.order.>", "ledger.v1.ticket.07.created"));
    }
}

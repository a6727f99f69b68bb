//! Dead letters: events that a consumer could not read or handle, laid down with the reason, and their replay.
//!
//! They stand in a stream of their own under `dead.v1.<consumer>`. A replay sends the event to that consumer alone, by
//! `redo.v1.<consumer>` in the same stream, since the ledger's stream takes nothing but the ledger's next event; the letter is then
//! taken away. If it fails again, it is laid down again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::broker::{
    BrokerError, Connection, DEAD_STREAM, Delivery, Message, PullSettings, StartAt, Stored, StreamSettings,
};

/// The longest reason that is kept, in bytes.
const REASON_BYTES_MAX: usize = 500;
/// How long the broker may take to store a letter.
const STORE_WAIT: Duration = Duration::from_secs(5);
/// How long to wait for letters that may not be there.
const LIST_WAIT: Duration = Duration::from_millis(500);

const REASON: &str = "holdfast-dead-reason";
const CONSUMER: &str = "holdfast-dead-consumer";
const STREAM: &str = "holdfast-dead-stream";
const SEQ: &str = "holdfast-dead-seq";
const SUBJECT: &str = "holdfast-dead-subject";
const DELIVERIES: &str = "holdfast-dead-deliveries";
const OURS: &str = "holdfast-dead-";

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number in the dead-letter stream.
    pub seq: u64,
    pub consumer: String,
    pub reason: String,
    /// The stream that it came from, and its number there.
    pub stream: String,
    pub stream_seq: u64,
    pub deliveries: u64,
    /// The event as it was.
    pub message: Message,
}

fn dead_subject(consumer: &str) -> String {
    format!("dead.v1.{consumer}")
}

/// Where a consumer's replayed letters come.
pub(crate) fn redo_subject(consumer: &str) -> String {
    format!("redo.v1.{consumer}")
}

/// Lays `delivery` down. Once this returns the letter is stored.
pub(crate) async fn bury(
    connection: &dyn Connection,
    consumer: &str,
    stream: &str,
    delivery: &Delivery,
    reason: &str,
) -> Result<(), BrokerError> {
    let original = &delivery.message;
    let mut headers = original.headers.clone();
    headers.retain(|(name, _)| is_of_event(name));
    headers.extend([
        (REASON.into(), shortened(reason)),
        (CONSUMER.into(), consumer.to_string()),
        (STREAM.into(), stream.to_string()),
        (SEQ.into(), delivery.seq.to_string()),
        (SUBJECT.into(), original.header(SUBJECT).unwrap_or(&original.subject).to_string()),
        (DELIVERIES.into(), delivery.deliveries.to_string()),
        // A worker that is killed between this and its acknowledgement does not lay it down a second time.
        ("Nats-Msg-Id".into(), format!("{consumer}:{stream}:{}", delivery.seq)),
    ]);
    let letter = Message { subject: dead_subject(consumer), headers, body: original.body.clone() };
    store(connection, letter).await
}

async fn store(connection: &dyn Connection, message: Message) -> Result<(), BrokerError> {
    let stored = connection.publish(DEAD_STREAM, message, None).await?;
    match tokio::time::timeout(STORE_WAIT, stored).await {
        Ok(stored) => stored.map(|_| ()),
        Err(_) => Err(BrokerError::Away("a dead letter is not acknowledged".into())),
    }
}

/// At most `limit` letters with a number above `after`, oldest first.
pub async fn list(connection: &dyn Connection, after: u64, limit: usize) -> Result<Vec<DeadLetter>, BrokerError> {
    connection.ensure(&StreamSettings::dead()).await?;
    let settings = PullSettings {
        durable: None,
        filter: Some(dead_subject("*")),
        start: StartAt::Seq(after + 1),
        ack_wait: Duration::from_secs(30),
        ack_pending_max: limit,
    };
    let pull = connection.pull(DEAD_STREAM, settings).await?;
    let mut letters = Vec::new();
    while letters.len() < limit {
        let fetched = pull.fetch(limit - letters.len(), LIST_WAIT).await?;
        if fetched.is_empty() {
            break;
        }
        for delivery in fetched {
            let stored = Stored { seq: delivery.seq, message: delivery.message.clone() };
            letters.extend(read(stored));
            delivery.ack().await?;
        }
    }
    Ok(letters)
}

/// How many letters there are, by consumer.
pub async fn counts(connection: &dyn Connection) -> Result<BTreeMap<String, u64>, BrokerError> {
    let held = connection.held(DEAD_STREAM, &dead_subject("*")).await?;
    let prefix = dead_subject("");
    let consumer = |subject: String| subject.strip_prefix(&prefix).unwrap_or(&subject).to_string();
    Ok(held.into_iter().map(|(subject, count)| (consumer(subject), count)).collect())
}

/// One letter.
pub async fn show(connection: &dyn Connection, seq: u64) -> Result<Option<DeadLetter>, BrokerError> {
    connection.ensure(&StreamSettings::dead()).await?;
    Ok(connection.message(DEAD_STREAM, seq).await?.and_then(read))
}

/// Sends a letter to its consumer once more and takes it away. Whether it was there.
pub async fn replay(connection: &dyn Connection, seq: u64) -> Result<bool, BrokerError> {
    let Some(letter) = show(connection, seq).await? else { return Ok(false) };
    let mut message = letter.message;
    let original = (SUBJECT.into(), std::mem::replace(&mut message.subject, redo_subject(&letter.consumer)));
    message.headers.push(original);
    store(connection, message).await?;
    connection.delete(DEAD_STREAM, seq).await?;
    Ok(true)
}

/// The letter that a message is; `None` for what is none, such as a replay on its way.
fn read(stored: Stored) -> Option<DeadLetter> {
    let Stored { seq, mut message } = stored;
    let text = |name| message.header(name).map(str::to_string);
    let number = |name| message.header(name).and_then(|text| text.parse().ok());
    let (consumer, reason, stream, subject) = (text(CONSUMER)?, text(REASON)?, text(STREAM)?, text(SUBJECT)?);
    let (stream_seq, deliveries) = (number(SEQ)?, number(DELIVERIES)?);
    message.subject = subject;
    message.headers.retain(|(name, _)| is_of_event(name));
    Some(DeadLetter { seq, consumer, reason, stream, stream_seq, deliveries, message })
}

/// Whether a header belongs to the event: neither to its having been laid down nor to the broker.
fn is_of_event(name: &str) -> bool {
    !name.starts_with(OURS) && !name.to_ascii_lowercase().starts_with("nats-")
}

/// One line, not too long: it becomes a header.
fn shortened(reason: &str) -> String {
    let line: String = reason.chars().map(|char| if char.is_ascii_graphic() { char } else { ' ' }).collect();
    line[..line.len().min(REASON_BYTES_MAX)].trim().to_string()
}

//! What is told to the world: each event of the ledger as a message that any language reads.
//!
//! The outbox keeps events in the ledger's own encoding; the message is a pure function of that row, so every node would
//! publish the same bytes. An event is a CloudEvent in binary mode: its context stands in headers, its body is JSON. The six
//! types of the original application carry the original's fields, beside ours. The structs of [`types`] are the definition:
//! JSON Schemas, the AsyncAPI document and the TypeScript types in `events/schemas/` are made from them.
//!
//! What this deliberately does not do: speak to a broker, or decide who may follow. Bodies name people by id alone.

mod asyncapi;
mod convert;
pub mod definitions;
mod message;
pub mod time;
pub mod trace;
pub mod types;
mod typescript;
mod values;

use bytes::Bytes;
use holdfast_ledger::event::{Event, EventType};
use holdfast_ledger::id::Id;
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use time::rfc3339;

pub use message::{Body, Envelope, Malformed, Message};
pub use values::{Price, Time};

/// What every subject begins with.
pub const SUBJECT_PREFIX: &str = "ledger.v1";

/// All subjects of the stream.
pub const SUBJECTS: &str = "ledger.v1.>";

/// Into so many parts the entities of an aggregate fall; a subject names the part, two digits from 00.
pub const PARTITIONS: u64 = 16;

/// The names of the headers.
pub mod header {
    pub const CE_SPECVERSION: &str = "ce-specversion";
    pub const CE_ID: &str = "ce-id";
    pub const CE_SOURCE: &str = "ce-source";
    pub const CE_TYPE: &str = "ce-type";
    pub const CE_SUBJECT: &str = "ce-subject";
    pub const CE_TIME: &str = "ce-time";
    pub const CE_DATASCHEMA: &str = "ce-dataschema";
    pub const CONTENT_TYPE: &str = "content-type";
    pub const SEQ: &str = "holdfast-seq";
    pub const VERSION: &str = "holdfast-version";
    pub const LINEAGE: &str = "holdfast-lineage";
    pub const LOG_INDEX: &str = "holdfast-log-index";
    pub const TRACEPARENT: &str = "traceparent";
}

/// The version of CloudEvents.
pub(crate) const SPECVERSION: &str = "1.0";
pub(crate) const CONTENT_TYPE_JSON: &str = "application/json";

/// Every type of event.
pub const ALL: &[EventType] = EventType::ALL;

/// One event, ready for the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The event's number, and the stream's.
    pub seq: u64,
    pub subject: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
}

/// One event as a single JSON object: CloudEvents' names, the event's place in the ledger, and its body under `data`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Structured {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    event_type: &'static str,
    subject: Id,
    time: time::Rfc3339,
    datacontenttype: &'static str,
    /// A 64-bit number, hence a string.
    seq: String,
    version: u64,
    lineage: u16,
    log_index: String,
    data: Body,
}

/// The type of that name.
pub fn by_name(name: &str) -> Option<EventType> {
    ALL.iter().copied().find(|event_type| event_type.name() == name)
}

/// The message of `event` in the cluster of that name.
pub fn publish(event: &Event, cluster: &str) -> Published {
    let name = event.event_type.name();
    let headers = vec![
        (header::CE_SPECVERSION, SPECVERSION.to_string()),
        (header::CE_ID, ce_id(event, cluster)),
        (header::CE_SOURCE, source(cluster)),
        (header::CE_TYPE, name.to_string()),
        (header::CE_SUBJECT, event.entity.to_string()),
        (header::CE_TIME, rfc3339(event.time_ms).as_str().to_string()),
        (header::CE_DATASCHEMA, definitions::schema_id(event.event_type)),
        (header::CONTENT_TYPE, CONTENT_TYPE_JSON.to_string()),
        (header::SEQ, event.seq.to_string()),
        (header::VERSION, event.version.to_string()),
        (header::LINEAGE, event.lineage.to_string()),
        (header::LOG_INDEX, event.index.to_string()),
        (header::TRACEPARENT, trace::Context::of_entry(cluster, event.lineage, event.index).traceparent()),
    ];
    let body = serde_json::to_vec(&Body::of(event)).expect("our own types are JSON");
    Published { seq: event.seq, subject: subject(event.event_type, event.entity), headers, body: body.into() }
}

/// `event` as one JSON object, for those who do not read headers.
pub fn structured(event: &Event, cluster: &str) -> Structured {
    Structured {
        specversion: SPECVERSION,
        id: ce_id(event, cluster),
        source: source(cluster),
        event_type: event.event_type.name(),
        subject: event.entity,
        time: rfc3339(event.time_ms),
        datacontenttype: CONTENT_TYPE_JSON,
        seq: event.seq.to_string(),
        version: event.version,
        lineage: event.lineage,
        log_index: event.index.to_string(),
        data: Body::of(event),
    }
}

/// The subject of an event: `ledger.v1.ticket.07.created`. All events of one entity and type have one subject.
pub fn subject(event_type: EventType, entity: Id) -> String {
    let (aggregate, happened) = parts(event_type);
    let partition = xxh3_64(entity.as_bytes()) % PARTITIONS;
    format!("{SUBJECT_PREFIX}.{aggregate}.{partition:02}.{happened}")
}

/// The subjects of an aggregate, such as `ticket`.
pub fn filter(aggregate: &str) -> String {
    format!("{SUBJECT_PREFIX}.{aggregate}.>")
}

/// The subjects of one type of event.
pub fn filter_of(event_type: EventType) -> String {
    let (aggregate, happened) = parts(event_type);
    format!("{SUBJECT_PREFIX}.{aggregate}.*.{happened}")
}

/// Aggregate and what happened to it: `ticket` and `created`.
pub(crate) fn parts(event_type: EventType) -> (&'static str, &'static str) {
    event_type.name().split_once(':').expect("a type's name is aggregate:event")
}

fn ce_id(event: &Event, cluster: &str) -> String {
    format!("{cluster}:{}:{}", event.lineage, event.seq)
}

fn source(cluster: &str) -> String {
    format!("urn:holdfast:{cluster}")
}

//! Reading a message back: the consumer's side of [`super::publish`].
//!
//! Whatever a broker delivers is either a message or a named reason why not, never a panic. A type that this build does not
//! know is told apart from a message that is broken: a newer ledger may tell more than an older consumer understands.

use std::str::FromStr;

use holdfast_ledger::event::EventType;
use holdfast_ledger::id::Id;
use serde::{Deserialize, Serialize};

use super::time::parse_rfc3339;
use super::types::{Entity, Expiration, Order, Payment, Place, Ticket, User, UserRequest};
use super::{by_name, header};

/// What headers say of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `{cluster}:{lineage}:{seq}`: the same however often it is delivered.
    pub id: String,
    pub event_type: EventType,
    /// The entity that changed.
    pub entity: Id,
    /// The entity's version after the change.
    pub version: u64,
    pub seq: u64,
    pub lineage: u16,
    /// The log index of the entry that caused it.
    pub index: u64,
    /// Ledger time, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The trace of that entry; empty where the message does not say.
    pub traceparent: String,
}

/// What an event says, by aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Body {
    Ticket(Ticket),
    Order(Order),
    Expiration(Expiration),
    Payment(Payment),
    User(User),
    UserRequest(UserRequest),
    Place(Place),
}

/// One event as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub envelope: Envelope,
    pub body: Body,
}

/// Why a message is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the header {0} is missing or not readable")]
    Header(&'static str),
    #[error("the type {0:?} is not known here")]
    UnknownType(String),
    #[error("the body does not fit the type: {0}")]
    Body(String),
    #[error("the body speaks of {body}, the headers of {headers}")]
    Entity { body: Id, headers: Id },
}

impl Envelope {
    /// Reads the headers; `of` looks one up by its name.
    pub fn read<'a>(of: impl Fn(&str) -> Option<&'a str>) -> Result<Envelope, Malformed> {
        let text = |name: &'static str| of(name).ok_or(Malformed::Header(name));
        let name = text(header::CE_TYPE)?;
        let event_type = by_name(name).ok_or_else(|| Malformed::UnknownType(name.to_string()))?;
        let time_ms = parse_rfc3339(text(header::CE_TIME)?).ok_or(Malformed::Header(header::CE_TIME))?;
        Ok(Envelope {
            id: text(header::CE_ID)?.to_string(),
            event_type,
            entity: parsed(header::CE_SUBJECT, text(header::CE_SUBJECT)?)?,
            version: parsed(header::VERSION, text(header::VERSION)?)?,
            seq: parsed(header::SEQ, text(header::SEQ)?)?,
            lineage: parsed(header::LINEAGE, text(header::LINEAGE)?)?,
            index: parsed(header::LOG_INDEX, text(header::LOG_INDEX)?)?,
            time_ms,
            traceparent: of(header::TRACEPARENT).unwrap_or_default().to_string(),
        })
    }

    /// Whether the event is a change of its entity, so that the entity's versions count it. `expiration:complete` is not: it
    /// repeats the version of the `order:cancelled` beside it.
    pub fn is_change(&self) -> bool {
        self.event_type != EventType::ExpirationComplete
    }
}

impl Message {
    /// Reads a message; `of` looks a header up by its name.
    pub fn read<'a>(of: impl Fn(&str) -> Option<&'a str>, body: &[u8]) -> Result<Message, Malformed> {
        let envelope = Envelope::read(of)?;
        let body = match envelope.event_type {
            EventType::TicketCreated | EventType::TicketUpdated => Body::Ticket(json(&envelope, body)?),
            EventType::OrderCreated
            | EventType::OrderUpdated
            | EventType::OrderCancelled
            | EventType::OrderCompleted
            | EventType::OrderReinstated => Body::Order(json(&envelope, body)?),
            EventType::ExpirationComplete => Body::Expiration(json(&envelope, body)?),
            EventType::PaymentRequested | EventType::PaymentCreated | EventType::PaymentUpdated => {
                Body::Payment(json(&envelope, body)?)
            }
            EventType::UserCreated | EventType::UserUpdated | EventType::UserBanned => {
                Body::User(json(&envelope, body)?)
            }
            EventType::UserResetRequested | EventType::UserVerificationRequested => {
                Body::UserRequest(json(&envelope, body)?)
            }
            EventType::LineJoined
            | EventType::LineOffered
            | EventType::LineTaken
            | EventType::LineLeft
            | EventType::LinePassed => Body::Place(json(&envelope, body)?),
        };
        Ok(Message { envelope, body })
    }
}

fn parsed<T: FromStr>(name: &'static str, text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|_| Malformed::Header(name))
}

fn json<T: Entity + for<'de> Deserialize<'de>>(envelope: &Envelope, body: &[u8]) -> Result<T, Malformed> {
    let read: T = serde_json::from_slice(body).map_err(|error| Malformed::Body(error.to_string()))?;
    if read.entity() != envelope.entity {
        return Err(Malformed::Entity { body: read.entity(), headers: envelope.entity });
    }
    Ok(read)
}

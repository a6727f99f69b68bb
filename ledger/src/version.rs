//! Versions: what builds of different age agree on while they work in one cluster.
//!
//! A version is a small number. A build knows a range of them, [`Versions`]; the cluster is at one, which is part of the state and
//! is raised by a command of an operator alone. Everything that is stored or sent is written as the cluster's version has it, and
//! read as any version of the range has it, so that a cluster whose nodes are exchanged one by one has the same bytes on all of
//! them, and a node can go back to the build that it came from until the version is raised.
//!
//! A row is rewritten when it changes, not when the version does: rows of several forms stand side by side. Which one a row is
//! written in depends on the cluster's version at that entry, never on what the build could do: the state hash must be the same
//! whichever build applied. A row's first byte names its form, by the version that brought it, and so stays 1 for what has not
//! changed since. Commands are only ever added: one whose meaning or shape changes becomes another one, which
//! [needs](Command::needs) a version.
//!
//! What this deliberately does not do: take a version back. What a newer version has written an older build cannot read.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::command::Command;
use crate::entities::{
    AuditRow, Bootstrap, Change, IdempotencyRecord, NodeKey, Order, Payment, Personal, Place, Request, ServiceKey,
    Session, User, Webhook,
};
use crate::event::Event;
use crate::id::{PlaceId, TicketId, UserId};
use crate::state::Meta;

#[cfg(feature = "next-version")]
mod next;

#[cfg(feature = "next-version")]
pub(crate) use next::forget_locks;
#[cfg(feature = "next-version")]
pub use next::{NEXT, TicketNext};

#[cfg(not(feature = "next-version"))]
mod shipped;

#[cfg(not(feature = "next-version"))]
pub use shipped::NEXT;

/// A version, counted from [`FIRST`].
pub type Version = u8;

/// What an empty state is at: whoever founds a cluster raises it at once to what he knows.
pub const FIRST: Version = 1;

/// The versions that a build knows, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub min: Version,
    pub max: Version,
}

impl Versions {
    /// Of this build, as it is shipped.
    pub const SHIPPED: Versions = Versions { min: 1, max: 1 };

    pub fn contains(&self, version: Version) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// What stands behind a version as such: a batch behind the cluster's, a command that is forwarded behind the one that it
    /// needs. A newer one is told by its first byte.
    pub fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, CodecError> {
        let found = codec::form(bytes)?;
        if !self.contains(found) {
            return Err(CodecError::Version { found });
        }
        codec::decode_as(bytes, found)
    }
}

impl Default for Versions {
    fn default() -> Versions {
        Versions::SHIPPED
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Versions { min, max } if min == max => write!(f, "version {min}"),
            Versions { min, max } => write!(f, "versions {min} to {max}"),
        }
    }
}

/// What a build has that can play the next version in tests; no shipped build has it.
#[derive(Debug, Clone, Copy)]
pub struct Next {
    /// What a node knows that plays a newer build.
    pub versions: Versions,
    /// A command that the newer version has, and the shipped one has not.
    pub command: fn(TicketId) -> Command,
}

/// A value whose form may differ from version to version.
pub trait Versioned: Serialize + DeserializeOwned {
    /// Appends the value in the form that `version` has.
    fn write(&self, _version: Version, bytes: &mut Vec<u8>) {
        codec::encode_into(bytes, self);
    }

    /// Reads a value of any form that this build knows.
    fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes)
    }
}

/// Rows that have had one form so far.
macro_rules! of_one_form {
    ($($row:ty),+ $(,)?) => {
        $(impl Versioned for $row {})+
    };
}

of_one_form!(
    (),
    AuditRow,
    Bootstrap,
    Change,
    Event,
    IdempotencyRecord,
    Meta,
    NodeKey,
    Order,
    Payment,
    Personal,
    Place,
    PlaceId,
    Request,
    ServiceKey,
    Session,
    TicketId,
    User,
    UserId,
    Webhook,
);
#[cfg(not(feature = "next-version"))]
of_one_form!(crate::entities::Ticket);

impl Command {
    /// The lowest version of a cluster in which this can be asked.
    pub fn needs(&self) -> Version {
        match self {
            #[cfg(feature = "next-version")]
            Command::ForgetLocks { .. } => next::VERSION,
            _ => FIRST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Batch;

    #[test]
    fn a_batch_of_a_newer_version_is_told_by_its_first_byte() {
        let batch = Batch { time_ms: 7, commands: Vec::new() };
        let mut bytes = Vec::new();
        codec::encode_as(&mut bytes, 2, &batch);
        assert_eq!(Versions::SHIPPED.read::<Batch>(&bytes), Err(CodecError::Version { found: 2 }));
        assert_eq!(Versions { min: 1, max: 2 }.read::<Batch>(&bytes), Ok(batch));
        assert!(matches!(Versions::SHIPPED.read::<Batch>(&[]), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn a_range_says_what_it_is() {
        assert_eq!(Versions { min: 1, max: 1 }.to_string(), "version 1");
        assert_eq!(Versions { min: 1, max: 2 }.to_string(), "versions 1 to 2");
    }
}

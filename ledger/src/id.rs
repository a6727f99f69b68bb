//! Identities: 12 bytes, written as 24 lowercase hex digits, the shape that clients of the original expect.
//!
//! An id is lineage (2 bytes), log index (6 bytes) and the ordinal of the id within its entry (4 bytes), big-endian: it is
//! minted without randomness, equal on every node, unique, and ordered by creation. Knowing one authorises nothing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The length of an encoded id.
pub const ID_BYTES: usize = 12;

/// An identity of any kind. The typed ids below wrap it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id([u8; ID_BYTES]);

/// A text that is not 24 lowercase hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 24 lowercase hex digits")]
pub struct IdError;

impl Id {
    /// The id numbered `ordinal` that the entry at `index` mints in `lineage`.
    pub fn mint(lineage: u16, index: u64, ordinal: u32) -> Id {
        assert!(index < 1 << 48, "a log index fits in 48 bits");
        let mut bytes = [0; ID_BYTES];
        bytes[..2].copy_from_slice(&lineage.to_be_bytes());
        bytes[2..8].copy_from_slice(&index.to_be_bytes()[2..]);
        bytes[8..].copy_from_slice(&ordinal.to_be_bytes());
        Id(bytes)
    }

    pub fn from_bytes(bytes: [u8; ID_BYTES]) -> Id {
        Id(bytes)
    }

    pub fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }

    /// The log index of the entry that minted this id.
    pub fn log_index(&self) -> u64 {
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(&self.0[2..8]);
        u64::from_be_bytes(bytes)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 2 * ID_BYTES];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            (pair[0], pair[1]) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
        }
        f.write_str(std::str::from_utf8(&text).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Id, IdError> {
        if text.len() != 2 * ID_BYTES {
            return Err(IdError);
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(IdError),
        };
        let mut bytes = [0; ID_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Id(bytes))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Id, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            <[u8; ID_BYTES]>::deserialize(deserializer).map(Id)
        }
    }
}

macro_rules! typed_id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name(pub Id);

        impl $name {
            pub fn as_bytes(&self) -> &[u8; ID_BYTES] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<$name, IdError> {
                text.parse().map($name)
            }
        }
    )+};
}

typed_id! {
    /// One sellable unit.
    TicketId,
    /// One purchase, from lock to completion or cancellation.
    OrderId,
    /// One account.
    UserId,
    /// One signed-in session of a user.
    SessionId,
    /// One attempt to pay for an order.
    PaymentId,
    /// One place in the line for a ticket.
    PlaceId,
    /// A request to set a password anew or to prove an address.
    RequestId,
    /// One address to which events are posted.
    WebhookId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_by_creation_and_round_trip() {
        let ids = [Id::mint(0, 1, 0), Id::mint(0, 1, 1), Id::mint(0, 2, 0), Id::mint(1, 1, 0)];
        assert!(ids.is_sorted());
        assert_eq!(ids[1].to_string(), "000000000000000100000001");
        assert!(ids.iter().all(|id| id.to_string().parse() == Ok(*id)));
        assert_eq!(ids[2].log_index(), 2);
    }

    #[test]
    fn only_24_lowercase_hex_digits_are_an_id() {
        for bad in ["", "1", "00000000000000010000000g", "00000000000000010000000A", "0000000000000001000000001"] {
            assert_eq!(bad.parse::<Id>(), Err(IdError), "{bad}");
        }
    }
}

//! The keys of the tables: fixed-width big-endian parts, so that byte order is the order of pages and sweeps.

use crate::id::{ID_BYTES, Id};

/// Two ids, one after the other.
pub(crate) fn pair(first: Id, second: Id) -> [u8; 2 * ID_BYTES] {
    let mut key = [0; 2 * ID_BYTES];
    key[..ID_BYTES].copy_from_slice(first.as_bytes());
    key[ID_BYTES..].copy_from_slice(second.as_bytes());
    key
}

/// An entity and its version.
pub(crate) fn change(entity: Id, version: u64) -> [u8; ID_BYTES + 8] {
    let mut key = [0; ID_BYTES + 8];
    key[..ID_BYTES].copy_from_slice(entity.as_bytes());
    key[ID_BYTES..].copy_from_slice(&version.to_be_bytes());
    key
}

/// A deadline and whose it is: an order's or a place's.
pub(crate) fn deadline(deadline_ms: u64, of: Id) -> [u8; 8 + ID_BYTES] {
    let mut key = [0; 8 + ID_BYTES];
    key[..8].copy_from_slice(&deadline_ms.to_be_bytes());
    key[8..].copy_from_slice(of.as_bytes());
    key
}

/// A word and a ticket. A word has no byte 0, so all tickets of a word stand together.
pub(crate) fn word(word: &str, ticket: Id) -> Vec<u8> {
    let mut key = Vec::with_capacity(word.len() + 1 + ID_BYTES);
    key.extend_from_slice(word.as_bytes());
    key.push(0);
    key.extend_from_slice(ticket.as_bytes());
    key
}

/// An id and a text: a seller's external id, a user's idempotency key.
pub(crate) fn text(owner: Id, text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(ID_BYTES + text.len());
    key.extend_from_slice(owner.as_bytes());
    key.extend_from_slice(text.as_bytes());
    key
}

/// A time, before the key of what it belongs to.
pub(crate) fn aged(time_ms: u64, key: &[u8]) -> Vec<u8> {
    let mut aged = Vec::with_capacity(8 + key.len());
    aged.extend_from_slice(&time_ms.to_be_bytes());
    aged.extend_from_slice(key);
    aged
}

/// The time that a key begins with; `None` for one that is too short.
pub(crate) fn time_ms(key: &[u8]) -> Option<u64> {
    key.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The id at `at` in a key; `None` where the key is too short.
pub(crate) fn id_at(key: &[u8], at: usize) -> Option<Id> {
    key.get(at..)?.first_chunk().map(|bytes| Id::from_bytes(*bytes))
}

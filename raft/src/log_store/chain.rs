//! How an entry stands in the log's database: a checksum chained over all entries before it, then the entry.
//!
//! The chain makes an entry that was changed, lost or put in another's place visible where a checksum of its own would not
//! show it. It starts anew from the log id at which the log was purged or reset, and that record keeps its value.

use bytes::{Buf, Bytes, BytesMut};
use holdfast_ledger::version::Versions;
use serde::{Deserialize, Serialize};

use crate::damage::{Damage, Fault};
use crate::engine::TableNumber;
use crate::format::{self, ENTRY_VERSION, FormatError, LogIdRecord};
use crate::types::{Entry, LogId};

/// index, big-endian → checksum, entry.
pub const ENTRIES: TableNumber = 1;
/// one of the keys below → record.
pub const RECORDS: TableNumber = 2;
pub const VOTE: &[u8] = b"vote";
pub const COMMITTED: &[u8] = b"committed";
pub const PURGED: &[u8] = b"purged";

/// The checksum before the first entry of a log that was never purged.
pub const CHAIN_START: u32 = 0;

const CHECKSUM_BYTES: usize = 4;

/// Where the log begins: everything up to `log_id` is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    pub log_id: LogIdRecord,
    /// The chain's value at that entry.
    pub chain: u32,
}

impl Purged {
    /// The start of a log whose entry at `log_id` was never here: a snapshot took its place.
    pub fn reset(log_id: LogId) -> Purged {
        let log_id = LogIdRecord::from(log_id);
        Purged { log_id, chain: crc32c::crc32c(&format::encode(&log_id)) }
    }
}

pub fn entry_key(index: u64) -> Bytes {
    Bytes::copy_from_slice(&index.to_be_bytes())
}

/// The row of `entry`, and the chain's value at it.
pub fn link(chain: u32, entry: &Entry) -> (Bytes, u32) {
    let mut row = BytesMut::with_capacity(CHECKSUM_BYTES + format::entry_bytes(entry));
    row.extend_from_slice(&[0; CHECKSUM_BYTES]);
    format::encode_entry(entry, &mut row);
    let linked = crc32c::crc32c_append(chain, &row[CHECKSUM_BYTES..]);
    row[..CHECKSUM_BYTES].copy_from_slice(&linked.to_le_bytes());
    (row.freeze(), linked)
}

/// The chain's value that a stored row claims.
pub fn claimed(index: u64, row: &Bytes) -> Result<u32, Damage> {
    if row.len() < CHECKSUM_BYTES {
        return Err(unreadable(index, "it is too short"));
    }
    Ok(row.clone().get_u32_le())
}

/// Checks that the row at `index` follows from `chain`, and returns its entry and the chain's value at it. An entry that was written
/// in a newer form is no damage.
pub fn verify(chain: u32, index: u64, row: Bytes) -> Result<(Entry, u32), Fault> {
    let found = claimed(index, &row)?;
    let encoded = row.slice(CHECKSUM_BYTES..);
    let expected = crc32c::crc32c_append(chain, &encoded);
    if found != expected {
        return Err(Damage::BrokenChain { index, expected, found }.into());
    }
    let entry = format::decode_entry(encoded).map_err(|error| match error {
        FormatError::EntryVersion { found } if found > ENTRY_VERSION => {
            let known = Versions { min: ENTRY_VERSION, max: ENTRY_VERSION };
            Fault::Version { what: format!("the form of entry {index}"), found, known }
        }
        error => unreadable(index, error).into(),
    })?;
    if entry.log_id.index() != index {
        return Err(unreadable(index, format!("it says that it is entry {}", entry.log_id.index())).into());
    }
    Ok((entry, expected))
}

fn unreadable(index: u64, reason: impl ToString) -> Damage {
    Damage::Unreadable { what: format!("entry {index}"), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::types::Payload;

    fn entry(index: u64, payload: &'static [u8]) -> Entry {
        let payload = EntryPayload::Normal(Payload(Bytes::from_static(payload)));
        Entry { log_id: LogId::new_term_index(1, index), payload }
    }

    #[test]
    fn a_chain_holds_and_every_change_breaks_it() {
        let (first, chain) = link(CHAIN_START, &entry(1, b"one"));
        let (second, end) = link(chain, &entry(2, b"two"));
        assert_eq!(verify(CHAIN_START, 1, first.clone()), Ok((entry(1, b"one"), chain)));
        assert_eq!(verify(chain, 2, second.clone()), Ok((entry(2, b"two"), end)));

        for bit in 0..first.len() * 8 {
            let mut flipped = first.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let broken = verify(CHAIN_START, 1, flipped.into());
            let is_seen = matches!(broken, Err(Fault::Damage(Damage::BrokenChain { index: 1, .. })));
            assert!(is_seen, "bit {bit}: {broken:?}");
        }
        assert!(verify(CHAIN_START, 2, second).is_err(), "an entry without the one before it");
        assert!(verify(CHAIN_START, 1, Bytes::from_static(b"abc")).is_err());
    }
    #[test]
    fn an_entry_in_a_newer_form_is_told_from_a_damaged_one() {
        let (row, _) = link(CHAIN_START, &entry(1, b"one"));
        let mut newer = row[CHECKSUM_BYTES..].to_vec();
        newer[0] = ENTRY_VERSION + 1;
        let linked = crc32c::crc32c_append(CHAIN_START, &newer);
        let row = [&linked.to_le_bytes()[..], &newer].concat();
        let found = verify(CHAIN_START, 1, row.into());
        assert!(matches!(found, Err(Fault::Version { found, .. }) if found == ENTRY_VERSION + 1), "{found:?}");
    }
}

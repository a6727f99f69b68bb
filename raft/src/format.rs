//! The form of everything that replication stores or sends.
//!
//! openraft's own serde shapes change between releases, so each of its types has a plain record here, encoded by
//! [`holdfast_ledger::codec`] behind its version byte. Records are also what the wire's messages are made of. Entries are
//! hot and get a fixed header laid by hand, followed by the payload as it is: an entry's payload is encoded once, by the
//! leader, and the same bytes are stored, sent and applied on every node.
//!
//! What this deliberately does not do: checksums. The log chains its own over entries, the transport has one a frame, a
//! snapshot one a file.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use holdfast_ledger::codec::{self, CodecError};
use openraft::{EntryPayload, Membership};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::types::{Entry, LogId, NodeId, NodeRecord, Payload, SnapshotMeta, StoredMembership, Vote};

/// The first byte of every entry that this build writes.
pub const ENTRY_VERSION: u8 = 1;

/// Version, kind, term and index: what stands before an entry's payload, in bytes.
pub const ENTRY_HEADER_BYTES: usize = 18;

const KIND_BLANK: u8 = 0;
const KIND_NORMAL: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("an entry of {bytes} bytes is shorter than its header")]
    EntryShort { bytes: usize },
    #[error("entry format {found} is not known here (this build reads {ENTRY_VERSION})")]
    EntryVersion { found: u8 },
    #[error("entry kind {found} is not known here")]
    EntryKind { found: u8 },
    #[error("a blank entry carries {bytes} bytes")]
    BlankNotEmpty { bytes: usize },
    #[error("a membership names a voter without a record")]
    Membership,
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl From<FormatError> for std::io::Error {
    fn from(error: FormatError) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// A position in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogIdRecord {
    pub term: u64,
    pub index: u64,
}

impl From<LogId> for LogIdRecord {
    fn from(id: LogId) -> LogIdRecord {
        LogIdRecord { term: **id.committed_leader_id(), index: id.index() }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> LogId {
        LogId::new_term_index(record.term, record.index)
    }
}

/// Whom a node voted for in a term, and whether a quorum did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteRecord {
    pub term: u64,
    pub node: NodeId,
    pub committed: bool,
}

impl From<Vote> for VoteRecord {
    fn from(vote: Vote) -> VoteRecord {
        VoteRecord { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Vote {
        let vote = Vote::new(record.term, record.node);
        Vote { committed: record.committed, ..vote }
    }
}

/// A membership: one set of voters, or two while it changes; nodes that are in no set are learners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipRecord {
    pub voters: Vec<BTreeSet<NodeId>>,
    pub nodes: BTreeMap<NodeId, NodeRecord>,
}

impl From<&Membership<NodeId, NodeRecord>> for MembershipRecord {
    fn from(membership: &Membership<NodeId, NodeRecord>) -> MembershipRecord {
        MembershipRecord {
            voters: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, node)| (*id, node.clone())).collect(),
        }
    }
}

impl TryFrom<MembershipRecord> for Membership<NodeId, NodeRecord> {
    type Error = FormatError;

    fn try_from(record: MembershipRecord) -> Result<Self, FormatError> {
        if record.voters.is_empty() && record.nodes.is_empty() {
            return Ok(Membership::default());
        }
        Membership::new(record.voters, record.nodes).map_err(|_| FormatError::Membership)
    }
}

/// A membership and the entry that brought it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMembershipRecord {
    pub log_id: Option<LogIdRecord>,
    pub membership: MembershipRecord,
}

impl From<&StoredMembership> for StoredMembershipRecord {
    fn from(stored: &StoredMembership) -> StoredMembershipRecord {
        StoredMembershipRecord {
            log_id: stored.log_id().map(LogIdRecord::from),
            membership: stored.membership().into(),
        }
    }
}

impl TryFrom<StoredMembershipRecord> for StoredMembership {
    type Error = FormatError;

    fn try_from(record: StoredMembershipRecord) -> Result<Self, FormatError> {
        Ok(StoredMembership::new(record.log_id.map(LogId::from), record.membership.try_into()?))
    }
}

/// What a snapshot holds: everything up to `last_log_id`. The same pair says what a state database holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMetaRecord {
    pub last_log_id: Option<LogIdRecord>,
    pub membership: StoredMembershipRecord,
}

impl From<&SnapshotMeta> for SnapshotMetaRecord {
    fn from(meta: &SnapshotMeta) -> SnapshotMetaRecord {
        SnapshotMetaRecord {
            last_log_id: meta.last_log_id.map(LogIdRecord::from),
            membership: (&meta.last_membership).into(),
        }
    }
}

impl TryFrom<SnapshotMetaRecord> for SnapshotMeta {
    type Error = FormatError;

    fn try_from(record: SnapshotMetaRecord) -> Result<Self, FormatError> {
        Ok(SnapshotMeta {
            last_log_id: record.last_log_id.map(LogId::from),
            last_membership: record.membership.try_into()?,
        })
    }
}

/// Encodes a record, or any message made of records.
pub fn encode<T: Serialize>(record: &T) -> Bytes {
    codec::encode(record)
}

/// Decodes what [`encode`] wrote; every byte must be used.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FormatError> {
    Ok(codec::decode(bytes)?)
}

/// Appends the entry's header and payload to `out`.
pub fn encode_entry(entry: &Entry, out: &mut BytesMut) {
    let id = LogIdRecord::from(entry.log_id);
    let (kind, payload) = match &entry.payload {
        EntryPayload::Blank => (KIND_BLANK, Bytes::new()),
        EntryPayload::Normal(payload) => (KIND_NORMAL, payload.0.clone()),
        EntryPayload::Membership(membership) => (KIND_MEMBERSHIP, encode(&MembershipRecord::from(membership))),
    };
    out.reserve(ENTRY_HEADER_BYTES + payload.len());
    out.put_u8(ENTRY_VERSION);
    out.put_u8(kind);
    out.put_u64_le(id.term);
    out.put_u64_le(id.index);
    out.put_slice(&payload);
}

/// How many bytes [`encode_entry`] appends; exact for all but membership entries, where it is a guess.
pub fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_HEADER_BYTES
        + match &entry.payload {
            EntryPayload::Blank => 0,
            EntryPayload::Normal(payload) => payload.0.len(),
            EntryPayload::Membership(membership) => 128 * membership.nodes().count(),
        }
}

/// Decodes what [`encode_entry`] wrote. The payload shares `bytes`, it is not copied.
pub fn decode_entry(bytes: Bytes) -> Result<Entry, FormatError> {
    if bytes.len() < ENTRY_HEADER_BYTES {
        return Err(FormatError::EntryShort { bytes: bytes.len() });
    }
    if bytes[0] != ENTRY_VERSION {
        return Err(FormatError::EntryVersion { found: bytes[0] });
    }
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let log_id = LogId::new_term_index(number(2), number(10));
    let payload = bytes.slice(ENTRY_HEADER_BYTES..);
    let payload = match bytes[1] {
        KIND_BLANK if payload.is_empty() => EntryPayload::Blank,
        KIND_BLANK => return Err(FormatError::BlankNotEmpty { bytes: payload.len() }),
        KIND_NORMAL => EntryPayload::Normal(Payload(payload)),
        KIND_MEMBERSHIP => EntryPayload::Membership(decode::<MembershipRecord>(&payload)?.try_into()?),
        found => return Err(FormatError::EntryKind { found }),
    };
    Ok(Entry { log_id, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Intent;

    fn membership() -> Membership<NodeId, NodeRecord> {
        let node = |n: u8| NodeRecord {
            peer_addr: format!("p{n}"),
            http_addr: format!("h{n}"),
            instance: n.into(),
            intent: Intent::Voter,
        };
        Membership::new(vec![BTreeSet::from([1]), BTreeSet::from([1, 2])], BTreeMap::from([(1, node(1)), (2, node(2))]))
            .expect("every voter has a record")
    }

    fn encoded(entry: &Entry) -> Bytes {
        let mut out = BytesMut::new();
        encode_entry(entry, &mut out);
        out.freeze()
    }

    #[test]
    fn golden_bytes_of_an_entry() {
        let entry = Entry {
            log_id: LogId::new_term_index(3, 258),
            payload: EntryPayload::Normal(Payload(Bytes::from_static(b"pay"))),
        };
        let bytes = encoded(&entry);
        assert_eq!(&bytes[..], b"\x01\x01\x03\0\0\0\0\0\0\0\x02\x01\0\0\0\0\0\0pay");
        assert_eq!(decode_entry(bytes), Ok(entry));
    }

    #[test]
    fn golden_bytes_of_records() {
        let id = LogIdRecord { term: 1, index: 2 };
        assert_eq!(&encode(&id)[..], b"\x01\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0");
        let vote = VoteRecord { term: 1, node: 2, committed: true };
        assert_eq!(&encode(&vote)[..], b"\x01\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01");
        let alone = MembershipRecord {
            voters: vec![BTreeSet::from([7])],
            nodes: BTreeMap::from([(
                7,
                NodeRecord { peer_addr: "p".into(), http_addr: "h".into(), instance: 5, intent: Intent::InPlaceOf(9) },
            )]),
        };
        let mut golden = vec![1];
        for number in [1u64, 1, 7, 1, 7, 1] {
            golden.extend(number.to_le_bytes());
        }
        golden.push(b'p');
        golden.extend(1u64.to_le_bytes());
        golden.push(b'h');
        golden.extend(5u128.to_le_bytes());
        golden.extend(2u32.to_le_bytes());
        golden.extend(9u64.to_le_bytes());
        assert_eq!(&encode(&alone)[..], &golden[..]);
    }

    #[test]
    fn everything_comes_back_as_it_went() {
        let vote = Vote::new_committed(4, 9);
        assert_eq!(Vote::from(VoteRecord::from(vote)), vote);
        for payload in
            [EntryPayload::Blank, EntryPayload::Normal(Payload(Bytes::new())), EntryPayload::Membership(membership())]
        {
            let entry = Entry { log_id: LogId::new_term_index(1, 2), payload };
            assert_eq!(decode_entry(encoded(&entry)), Ok(entry));
        }
        let log_id = Some(LogId::new_term_index(5, 6));
        let meta = SnapshotMeta { last_log_id: log_id, last_membership: StoredMembership::new(log_id, membership()) };
        assert_eq!(SnapshotMetaRecord::from(&meta).try_into(), Ok(meta));
        let empty = SnapshotMeta::default();
        assert_eq!(SnapshotMetaRecord::from(&empty).try_into(), Ok(empty));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        assert_eq!(decode_entry(Bytes::from_static(b"short")), Err(FormatError::EntryShort { bytes: 5 }));
        let mut bytes = vec![0; ENTRY_HEADER_BYTES];
        bytes[0] = 2;
        assert_eq!(decode_entry(bytes.clone().into()), Err(FormatError::EntryVersion { found: 2 }));
        bytes[0] = ENTRY_VERSION;
        bytes[1] = 9;
        assert_eq!(decode_entry(bytes.clone().into()), Err(FormatError::EntryKind { found: 9 }));
        bytes[1] = KIND_BLANK;
        bytes.push(0);
        assert_eq!(decode_entry(bytes.into()), Err(FormatError::BlankNotEmpty { bytes: 1 }));
        let stranger = MembershipRecord { voters: vec![BTreeSet::from([1])], nodes: BTreeMap::new() };
        assert_eq!(Membership::try_from(stranger), Err(FormatError::Membership));
    }
}

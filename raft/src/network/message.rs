//! What the requests between peers say, and how it is laid out.
//!
//! Appends and proposals are hot and laid by hand around bytes that are already encoded; the rest are records. Numbers are
//! little-endian. The frame around each carries a checksum, so what cannot be read here is a peer's mistake, not the wire's.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};

use crate::format::{self, FormatError, LogIdRecord, VoteRecord};
use crate::node::{JoinRequest, ManageError};
use crate::plan::Change;
use crate::types::{Entry, LogId, NodeId, TypeConfig, Vote};

/// The methods of a session, by lane.
pub mod method {
    pub const APPEND: u8 = 1;
    pub const VOTE: u8 = 2;
    pub const PRE_VOTE: u8 = 3;
    pub const TRANSFER_LEADER: u8 = 4;
    pub const READ_INDEX: u8 = 5;
    pub const CLOCK: u8 = 6;
    pub const PROPOSE: u8 = 7;
    pub const MANAGE: u8 = 8;
    pub const SNAPSHOT_BEGIN: u8 = 9;
    pub const SNAPSHOT_CHUNK: u8 = 10;
    pub const SNAPSHOT_END: u8 = 11;
    pub const PROGRESS: u8 = 12;
    pub const PLAN: u8 = 13;
    pub const RAISE: u8 = 14;
}

/// A body that is not what its method asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("the message ends early")]
    Short,
    #[error("{0} bytes are left over")]
    Leftover(usize),
    #[error("unknown tag {0}")]
    Tag(u8),
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl From<bytes::TryGetError> for MessageError {
    fn from(_: bytes::TryGetError) -> MessageError {
        MessageError::Short
    }
}

fn put_vote(out: &mut BytesMut, vote: &Vote) {
    let record = VoteRecord::from(*vote);
    out.put_u64_le(record.term);
    out.put_u64_le(record.node);
    out.put_u8(record.committed.into());
}

fn get_vote(from: &mut Bytes) -> Result<Vote, MessageError> {
    let (term, node) = (from.try_get_u64_le()?, from.try_get_u64_le()?);
    let committed = get_flag(from)?;
    Ok(VoteRecord { term, node, committed }.into())
}

fn put_log_id(out: &mut BytesMut, id: Option<LogId>) {
    let record = id.map(LogIdRecord::from);
    out.put_u8(record.is_some().into());
    if let Some(record) = record {
        out.put_u64_le(record.term);
        out.put_u64_le(record.index);
    }
}

fn get_log_id(from: &mut Bytes) -> Result<Option<LogId>, MessageError> {
    if !get_flag(from)? {
        return Ok(None);
    }
    let (term, index) = (from.try_get_u64_le()?, from.try_get_u64_le()?);
    Ok(Some(LogIdRecord { term, index }.into()))
}

fn get_flag(from: &mut Bytes) -> Result<bool, MessageError> {
    match from.try_get_u8()? {
        0 => Ok(false),
        1 => Ok(true),
        tag => Err(MessageError::Tag(tag)),
    }
}

/// Takes the next `length` bytes without copying them.
fn get_bytes(from: &mut Bytes, length: usize) -> Result<Bytes, MessageError> {
    if from.len() < length {
        return Err(MessageError::Short);
    }
    Ok(from.split_to(length))
}

fn nothing_left(from: &Bytes) -> Result<(), MessageError> {
    if from.is_empty() { Ok(()) } else { Err(MessageError::Leftover(from.len())) }
}

/// About how many bytes [`put_append`] appends.
pub fn append_bytes(entries: &[Entry]) -> usize {
    64 + entries.iter().map(|entry| 4 + format::entry_bytes(entry)).sum::<usize>()
}

/// Appends an append: vote, the position before its entries, the leader's commit, the entries.
pub fn put_append(out: &mut BytesMut, vote: &Vote, prev: Option<LogId>, commit: Option<LogId>, entries: &[Entry]) {
    put_vote(out, vote);
    put_log_id(out, prev);
    put_log_id(out, commit);
    out.put_u32_le(entries.len() as u32);
    for entry in entries {
        let at = out.len();
        out.put_u32_le(0);
        format::encode_entry(entry, out);
        let length = (out.len() - at - 4) as u32;
        out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// Reads what [`put_append`] wrote. Payloads share the frame's bytes.
pub fn get_append(mut from: Bytes) -> Result<AppendEntriesRequest<TypeConfig>, MessageError> {
    let vote = get_vote(&mut from)?;
    let prev_log_id = get_log_id(&mut from)?;
    let leader_commit = get_log_id(&mut from)?;
    let count = from.try_get_u32_le()? as usize;
    // Each entry has at least its length and its header, so the count cannot make us allocate more than was sent.
    if count > from.len() / (4 + format::ENTRY_HEADER_BYTES) {
        return Err(MessageError::Short);
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let length = from.try_get_u32_le()? as usize;
        entries.push(format::decode_entry(get_bytes(&mut from, length)?)?);
    }
    nothing_left(&from)?;
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

const APPENDED: u8 = 0;
const APPENDED_PART: u8 = 1;
const CONFLICT: u8 = 2;
const HIGHER_VOTE: u8 = 3;

pub fn encode_appended(response: &AppendEntriesResponse<TypeConfig>) -> Bytes {
    let mut out = BytesMut::with_capacity(18);
    match response {
        AppendEntriesResponse::Success => out.put_u8(APPENDED),
        AppendEntriesResponse::PartialSuccess(upto) => {
            out.put_u8(APPENDED_PART);
            put_log_id(&mut out, *upto);
        }
        AppendEntriesResponse::Conflict => out.put_u8(CONFLICT),
        AppendEntriesResponse::HigherVote(vote) => {
            out.put_u8(HIGHER_VOTE);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub fn decode_appended(mut from: Bytes) -> Result<AppendEntriesResponse<TypeConfig>, MessageError> {
    let response = match from.try_get_u8()? {
        APPENDED => AppendEntriesResponse::Success,
        APPENDED_PART => AppendEntriesResponse::PartialSuccess(get_log_id(&mut from)?),
        CONFLICT => AppendEntriesResponse::Conflict,
        HIGHER_VOTE => AppendEntriesResponse::HigherVote(get_vote(&mut from)?),
        tag => return Err(MessageError::Tag(tag)),
    };
    nothing_left(&from)?;
    Ok(response)
}

/// Asks for a vote, or whether there would be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteMessage {
    vote: VoteRecord,
    last_log_id: Option<LogIdRecord>,
    leadership_transfer: bool,
}

impl From<&VoteRequest<TypeConfig>> for VoteMessage {
    fn from(request: &VoteRequest<TypeConfig>) -> VoteMessage {
        VoteMessage {
            vote: request.vote.into(),
            last_log_id: request.last_log_id.map(LogIdRecord::from),
            leadership_transfer: request.leadership_transfer,
        }
    }
}

impl From<VoteMessage> for VoteRequest<TypeConfig> {
    fn from(message: VoteMessage) -> VoteRequest<TypeConfig> {
        let mut request = VoteRequest::new(message.vote.into(), message.last_log_id.map(LogId::from));
        request.leadership_transfer = message.leadership_transfer;
        request
    }
}

/// The answer to a [`VoteMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteAnswer {
    pub vote: VoteRecord,
    granted: bool,
    last_log_id: Option<LogIdRecord>,
}

impl From<VoteResponse<TypeConfig>> for VoteAnswer {
    fn from(response: VoteResponse<TypeConfig>) -> VoteAnswer {
        VoteAnswer {
            vote: response.vote.into(),
            granted: response.vote_granted,
            last_log_id: response.last_log_id.map(LogIdRecord::from),
        }
    }
}

impl From<VoteAnswer> for VoteResponse<TypeConfig> {
    fn from(answer: VoteAnswer) -> VoteResponse<TypeConfig> {
        VoteResponse::new(Vote::from(answer.vote), answer.last_log_id.map(LogId::from), answer.granted)
    }
}

/// Hands leadership over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferMessage {
    from_leader: VoteRecord,
    to_node_id: NodeId,
    last_log_id: Option<LogIdRecord>,
}

impl From<&TransferLeaderRequest<TypeConfig>> for TransferMessage {
    fn from(request: &TransferLeaderRequest<TypeConfig>) -> TransferMessage {
        TransferMessage {
            from_leader: (*request.from_leader()).into(),
            to_node_id: *request.to_node_id(),
            last_log_id: request.last_log_id().copied().map(LogIdRecord::from),
        }
    }
}

impl From<TransferMessage> for TransferLeaderRequest<TypeConfig> {
    fn from(message: TransferMessage) -> TransferLeaderRequest<TypeConfig> {
        let last_log_id = message.last_log_id.map(LogId::from);
        TransferLeaderRequest::new(message.from_leader.into(), message.to_node_id, last_log_id)
    }
}

/// Why a node did not take leadership over, as it answers to a [`TransferMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferRefusal {
    VoteChanged { expected: VoteRecord, actual: VoteRecord },
    LogNotFlushed { expected: Option<LogIdRecord>, actual: Option<LogIdRecord> },
}

/// Changes of the cluster that any member takes and the leader makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManageMessage {
    Admit(JoinRequest),
    /// With `basis`: on this membership, by its log index, or not at all.
    Change {
        change: Change,
        basis: Option<u64>,
    },
}

/// The answer to a [`ManageMessage`]: the admitted node's id, else 0.
pub type ManageAnswer = Result<NodeId, ManageError>;

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::types::Payload;

    fn entry(index: u64, payload: &'static [u8]) -> Entry {
        Entry {
            log_id: LogId::new_term_index(3, index),
            payload: EntryPayload::Normal(Payload(Bytes::from_static(payload))),
        }
    }

    fn append() -> Bytes {
        let mut out = BytesMut::new();
        let prev = Some(LogId::new_term_index(2, 8));
        put_append(&mut out, &Vote::new_committed(3, 1), prev, None, &[entry(9, b"nine"), entry(10, b"")]);
        out.freeze()
    }

    #[test]
    fn an_append_comes_back_as_it_went() {
        let request = get_append(append()).expect("readable");
        assert_eq!(request.vote, Vote::new_committed(3, 1));
        assert_eq!(request.prev_log_id, Some(LogId::new_term_index(2, 8)));
        assert_eq!(request.leader_commit, None);
        assert_eq!(request.entries, vec![entry(9, b"nine"), entry(10, b"")]);
    }

    #[test]
    fn golden_bytes_of_a_heartbeat() {
        let mut out = BytesMut::new();
        put_append(&mut out, &Vote::new_committed(3, 1), None, Some(LogId::new_term_index(2, 8)), &[]);
        let golden = b"\x03\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\x00\x01\x02\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(&out[..], &golden[..]);
    }

    #[test]
    fn a_cut_append_is_an_error_wherever_it_is_cut() {
        let whole = append();
        for length in 0..whole.len() {
            assert!(get_append(whole.slice(..length)).is_err(), "cut at {length}");
        }
        let mut longer = BytesMut::from(&whole[..]);
        longer.put_u8(0);
        assert_eq!(get_append(longer.freeze()).unwrap_err(), MessageError::Leftover(1));
    }

    #[test]
    fn answers_to_appends_come_back_as_they_went() {
        for response in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(Some(LogId::new_term_index(1, 2))),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(Vote::new(5, 2)),
        ] {
            assert_eq!(decode_appended(encode_appended(&response)), Ok(response));
        }
        assert_eq!(decode_appended(Bytes::from_static(b"\x09")), Err(MessageError::Tag(9)));
    }
}

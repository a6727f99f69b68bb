//! The shapes that replication works with, and their names.
//!
//! openraft is generic over a type configuration; this is ours. Its serde shapes are not a stable format, so nothing here is
//! stored or sent as it stands: [`format`](crate::format) encodes it.

use std::fmt;

use bytes::Bytes;
use holdfast_ledger::outcome::Applied;
use serde::{Deserialize, Serialize};

/// A member's number. Given once by the cluster, never again to another.
pub type NodeId = u64;

/// What the membership says of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Where its peers reach it, `host:port`.
    pub peer_addr: String,
    /// Where clients reach it, `host:port`.
    pub http_addr: String,
    /// The random id of its data folder: another folder under the same node id is refused.
    pub instance: u128,
    /// What it is to become, while it is a learner.
    pub intent: Intent,
}

/// What a learner is to become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// A voter, once it has caught up, while there are fewer voters than wanted.
    #[default]
    Voter,
    /// Nothing else: it serves stale reads.
    Learner,
    /// A voter in the place of this member, once that one is away.
    InPlaceOf(NodeId),
}

/// A log entry's content: an encoded [`Batch`](holdfast_ledger::command::Batch), encoded once by the leader and stored, sent
/// and applied as it is.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry said: `None` for blank and membership entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response(pub Option<Applied>);

openraft::declare_raft_types!(
    /// openraft, as Holdfast uses it: one leader a term, entries of encoded bytes.
    pub TypeConfig:
        D = Payload,
        R = Response,
        NodeId = NodeId,
        Node = NodeRecord,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        AsyncRuntime = crate::runtime::Runtime,
);

pub type Vote = openraft::alias::VoteOf<TypeConfig>;
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;

//! What the operator's listener says and is told.

use holdfast_ledger::version::{Version, Versions};
use holdfast_raft::identity::Place;
use holdfast_raft::node::Status;
use holdfast_raft::types::Intent;
use holdfast_raft::version::Build;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// What a node says of itself and its cluster. Ids of 128 bits are hex: JSON numbers do not hold them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    pub node_id: u64,
    pub cluster_id: String,
    pub leader: Option<u64>,
    pub term: u64,
    pub last_log_index: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    pub members: Vec<MemberView>,
    /// Leader known, caught up, storage fine, not stopping, and the public listener serves.
    pub ready: bool,
    /// What the cluster is at, as far as this node has applied.
    pub version: Version,
    /// What this node runs, and which versions that knows.
    pub build: Build,
}

/// One member, as the membership records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberView {
    pub node_id: u64,
    pub peer_addr: String,
    pub http_addr: String,
    pub voter: bool,
}

impl From<Status> for StatusView {
    fn from(status: Status) -> StatusView {
        let members = status.members.into_iter().map(|(node_id, record, voter)| MemberView {
            node_id,
            peer_addr: record.peer_addr,
            http_addr: record.http_addr,
            voter,
        });
        StatusView {
            node_id: status.node_id,
            cluster_id: format!("{:032x}", status.cluster_id),
            leader: status.leader,
            term: status.term,
            last_log_index: status.last_log_index,
            committed_index: status.committed_index,
            applied_index: status.applied_index,
            members: members.collect(),
            ready: status.ready,
            version: status.version,
            build: status.build,
        }
    }
}

/// A node that wants to be a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The random id of its data folder, 32 hex digits.
    pub instance: String,
    pub peer_addr: String,
    pub http_addr: String,
    /// What it wants to become.
    #[serde(default)]
    pub intent: Intent,
    /// From `holdfast cluster token`, where one is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What its build knows.
    #[serde(default)]
    pub versions: Versions,
}

/// What a joining node is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// 32 hex digits.
    pub cluster_id: String,
    pub node_id: u64,
}

/// The public half of a service's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewServiceKey {
    /// `payments` or `notifications`.
    pub service: String,
    pub key_id: String,
    /// 64 hex digits.
    pub public_key: String,
}

/// The place that a joining node was given.
pub fn place(joined: Joined) -> Result<Place, Failure> {
    let cluster_id = parse_hex(&joined.cluster_id)
        .ok_or_else(|| Failure::unreachable("--join: the answer's cluster_id is not 32 hex digits"))?;
    Ok(Place { cluster_id, node_id: joined.node_id })
}

/// A 128-bit id from its 32 hex digits.
pub fn parse_hex(text: &str) -> Option<u128> {
    (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_32_hex_digits() {
        assert_eq!(parse_hex("000000000000000000000000000000ff"), Some(255));
        for bad in ["", "ff", "+00000000000000000000000000000ff", "000000000000000000000000000000fg"] {
            assert_eq!(parse_hex(bad), None, "{bad}");
        }
    }
}

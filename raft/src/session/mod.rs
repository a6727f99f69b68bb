//! Sessions: who speaks to whom, and requests with answers over one connection.
//!
//! A connection begins with a handshake. The connecting side says which cluster and node it is, by which data folder, which
//! node it expects to reach, and how far its vote and log have come; the other side lets it in, saying the same of itself, or
//! refuses with a reason that has a name. After that the connecting side sends requests, several at once, and gets an answer
//! or a failure for each, in whatever order they are ready. Both sides bound what is under way.
//!
//! A session that ends loses the answers of what was under way: whoever asked learns that, and decides what it means. There
//! is no retry here, and no order between requests but that of their sending.
//!
//! What this deliberately does not do: know Raft. Methods are numbers and bodies are bytes; `network` gives them meaning.

mod client;
mod server;
pub mod wire;

use holdfast_ledger::version::Version;
use serde::{Deserialize, Serialize};

use crate::format::{LogIdRecord, VoteRecord};
use crate::types::NodeId;
use crate::version::Build;

pub use client::{Call, CallError, OpenError, Session};
pub use server::{Acceptor, Admission, Handler, serve};

/// Requests under way in one session, either side.
pub const IN_FLIGHT_MAX: usize = 256;

/// What a session is for. Each purpose has a connection of its own, so that a snapshot holds up no append, and an append no
/// heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    /// Entries.
    Log,
    /// Heartbeats, votes, read indexes, clocks: small, and urgent.
    Control,
    /// Proposals that are forwarded.
    Proposals,
    Snapshot,
}

/// How far a node's durable data reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reach {
    pub vote: Option<VoteRecord>,
    pub last_log_id: Option<LogIdRecord>,
}

/// The least that a node's durable data must reach, because it has acknowledged so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Floor {
    pub term: u64,
    pub log_id: Option<LogIdRecord>,
}

impl Floor {
    /// What of `reach` is below this floor, if anything is. Means a loss only if `reach` was taken after the floor was known: a
    /// node goes on acknowledging while a greeting of it is under way.
    pub fn missed_by(&self, reach: &Reach) -> Option<&'static str> {
        if reach.vote.map_or(0, |vote| vote.term) < self.term {
            return Some("vote");
        }
        (reach.last_log_id < self.log_id).then_some("log")
    }
}

/// What the connecting side says first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub cluster_id: u128,
    pub node_id: NodeId,
    /// The id of its data folder.
    pub instance: u128,
    pub reach: Reach,
    /// Whom it expects to reach.
    pub expected_node_id: NodeId,
    pub expected_instance: u128,
    pub lane: Lane,
    pub build: Build,
    /// What its cluster is at, as far as it has applied. It stands before all that could differ between versions.
    #[serde(skip)]
    pub version: Version,
    /// The last entry that it has applied, where the cluster's version says so.
    #[serde(skip)]
    pub applied: u64,
}

/// What the side that was connected to says when it lets the other in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    pub reach: Reach,
    pub build: Build,
    pub version: Version,
}

/// Why a session was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refused {
    #[error("the peers do not speak the same protocol: {0}")]
    Protocol(String),
    #[error("this is another cluster, {found:032x}")]
    OtherCluster { found: u128 },
    #[error("this is node {found}, not the one that was expected")]
    OtherNode { found: NodeId },
    #[error("node {node_id} is known by another data folder")]
    OtherInstance { node_id: NodeId },
    #[error("node {node_id} says that its {what} is behind what it had acknowledged")]
    WentBack { node_id: NodeId, what: String, floor: Floor },
    #[error("this node is stopping")]
    Stopping,
    #[error(
        "node {node_id} runs {}, which knows {}, and the cluster is at version {version}: start it with a build that knows it",
        .build.name, .build.versions
    )]
    Version { node_id: NodeId, build: Build, version: Version },
    /// The certificate is another node's.
    #[error("the certificate stands for {holder}, not for node {node_id}")]
    Certificate { holder: String, node_id: NodeId },
}

/// Why a request has no answer, as the peer says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    #[error("the peer does not know method {0}")]
    UnknownMethod(u8),
    #[error("the peer has stopped: {0}")]
    Stopped(String),
    #[error("{0}")]
    Other(String),
}

#[cfg(all(test, not(madsim)))]
mod tests;

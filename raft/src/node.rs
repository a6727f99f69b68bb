//! One node of the cluster, as everything above replication sees it: propose, read, watch, membership.

use std::future::Future;
use std::sync::Arc;

use holdfast_ledger::State;
use holdfast_ledger::command::Submitted;
use holdfast_ledger::outcome::Outcome;
use holdfast_ledger::store::StoreError;
use serde::{Deserialize, Serialize};

use crate::state::StateStore;
use crate::types::{NodeId, NodeRecord};

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write that was acknowledged before the read began, on whichever node.
    Linearizable,
    /// Whatever this node has applied.
    Stale,
    /// What this node has applied, once that includes this log index.
    AtLeast(u64),
}

/// The decision about one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub outcome: Outcome,
    /// The entry that carried the command.
    pub index: u64,
    /// Ledger time after that entry.
    pub time_ms: u64,
}

/// Why there is no answer. Never a decision of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unavailable {
    /// Nothing was done: no leader that a quorum follows is in reach. Try again.
    #[error("no leader with a quorum is in reach")]
    NoLeader,
    /// It may or may not have been done: ask again with the same idempotency key.
    #[error("the outcome is not known")]
    Unknown,
    /// Nothing was done: too much is waiting already.
    #[error("too many requests are waiting")]
    Overloaded,
    /// Nothing was done: the command does not fit into one entry.
    #[error("the request is too large")]
    TooLarge,
    /// This node is stopping or has stopped on a fault of its storage.
    #[error("this node is stopping")]
    Stopping,
}

/// A running node. Clones are handles to the same node.
#[derive(Clone)]
pub struct Node {
    inner: Arc<()>,
}

/// What a node knows of itself and its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub node_id: NodeId,
    pub cluster_id: u128,
    pub leader: Option<NodeId>,
    pub term: u64,
    pub last_log_index: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    /// Voters first, each with its record; the flag says whether it is a voter.
    pub members: Vec<(NodeId, NodeRecord, bool)>,
    /// Leader known, caught up, storage fine, not stopping.
    pub ready: bool,
}

impl Node {
    /// Proposes one command and answers when it has been applied; proposals that arrive together travel as one entry.
    pub async fn propose(&self, submitted: Submitted) -> Result<Answer, Unavailable> {
        let _ = (submitted, &self.inner);
        todo!()
    }

    /// Proposes commands that travel in one entry, in this order.
    pub async fn propose_many(&self, submitted: Vec<Submitted>) -> Result<Vec<Answer>, Unavailable> {
        let _ = submitted;
        todo!()
    }

    /// Waits until the state here is as fresh as asked, then runs `query` on one consistent state. `query` is to be short
    /// (one page): apply waits for it.
    pub async fn read<T>(
        &self,
        consistency: Consistency,
        query: impl FnOnce(&State<StateStore>) -> Result<T, StoreError>,
    ) -> Result<T, Unavailable> {
        let _ = (consistency, query);
        todo!()
    }

    /// Resolves once this node has applied more than `index`, with what it has applied.
    pub fn applied_beyond(&self, index: u64) -> impl Future<Output = u64> + Send {
        async move {
            let _ = index;
            todo!()
        }
    }

    pub fn status(&self) -> Status {
        todo!()
    }
}

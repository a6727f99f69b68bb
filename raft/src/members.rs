//! Who a member is: its id, and what the membership says of it.
//!
//! A node id is the log index of an entry written for the purpose, behind the ledger's lineage: no other node, now or after a
//! restore, ever gets it. A data folder that asks again gets the id that it has. Members join as learners; the leader makes
//! learners voters when they have caught up, as [`plan`](crate::plan) says.

use crate::node::JoinRequest;
use crate::types::{NodeId, NodeRecord};

/// Bits of a node id that hold the log index.
const INDEX_BITS: u32 = 48;

/// The node id that the entry at `index` gives.
pub fn node_id(lineage: u16, index: u64) -> NodeId {
    assert!(index < 1 << INDEX_BITS, "log indexes have 48 bits");
    u64::from(lineage) << INDEX_BITS | index
}

/// The record of a data folder that joins.
pub fn record(request: &JoinRequest) -> NodeRecord {
    NodeRecord {
        peer_addr: request.peer_addr.clone(),
        http_addr: request.http_addr.clone(),
        instance: request.instance,
        intent: request.intent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_another_lineage_are_others() {
        assert_eq!(node_id(0, 7), 7);
        assert_eq!(node_id(1, 7), (1 << 48) + 7);
    }
}

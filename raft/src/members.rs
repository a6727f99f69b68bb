//! The cluster's members: who may join, who becomes a voter, and what must hold before somebody goes.
//!
//! A node id is the log index of an entry written for the purpose, behind the ledger's lineage: no other node, now or after a
//! restore, ever gets it. A data folder that asks again gets the id that it has. Members join as learners; the leader makes
//! learners voters when they have caught up, while there are fewer voters than wanted, all voters are live, and no other
//! member claims the same address: three wiped folders behind three known addresses must not become six voters.
//!
//! openraft checks none of this; what is decided here are pure functions of a [`View`], so that they can be tested without a
//! cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::node::{JoinRequest, ManageError};
use crate::types::{NodeId, NodeRecord};

/// Bits of a node id that hold the log index.
const INDEX_BITS: u32 = 48;

/// The node id that the entry at `index` gives.
pub fn node_id(lineage: u16, index: u64) -> NodeId {
    assert!(index < 1 << INDEX_BITS, "log indexes have 48 bits");
    u64::from(lineage) << INDEX_BITS | index
}

/// What the leader knows of the members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub voters: BTreeSet<NodeId>,
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    /// Members that have answered the leader within an election time-out, and the leader itself.
    pub live: BTreeSet<NodeId>,
    /// How many entries each member is behind the leader.
    pub lag_entries: BTreeMap<NodeId, u64>,
    pub leader: NodeId,
}

impl View {
    /// The member with this data folder.
    pub fn member_of(&self, instance: u128) -> Option<(NodeId, &NodeRecord)> {
        self.nodes.iter().find(|(_, record)| record.instance == instance).map(|(id, record)| (*id, record))
    }

    /// The learners to make voters now.
    pub fn to_promote(&self, voters_target: usize, lag_entries_max: u64) -> BTreeSet<NodeId> {
        let wanted = voters_target.saturating_sub(self.voters.len());
        if wanted == 0 || !self.voters.is_subset(&self.live) {
            return BTreeSet::new();
        }
        let ready = self.nodes.iter().filter(|(id, record)| {
            !self.voters.contains(id)
                && self.live.contains(id)
                && self.lag_entries.get(id).is_some_and(|lag| *lag <= lag_entries_max)
                && !self.address_taken(**id, record)
        });
        ready.map(|(id, _)| *id).take(wanted).collect()
    }

    /// Whether another member says that it is where this one is.
    fn address_taken(&self, id: NodeId, record: &NodeRecord) -> bool {
        self.nodes.iter().any(|(other, known)| *other != id && known.peer_addr == record.peer_addr)
    }

    /// Whether `leaving` may go: it is a member, does not lead, and the live voters that stay are a quorum.
    pub fn may_remove(&self, leaving: NodeId) -> Result<(), ManageError> {
        if !self.nodes.contains_key(&leaving) {
            return Err(ManageError::NotAMember(leaving));
        }
        if leaving == self.leader {
            return Err(ManageError::Leads(leaving));
        }
        let staying: BTreeSet<NodeId> = self.voters.iter().copied().filter(|voter| *voter != leaving).collect();
        let live = staying.intersection(&self.live).count();
        if live > staying.len() / 2 { Ok(()) } else { Err(ManageError::QuorumLost(leaving)) }
    }

    /// Whether leadership can be handed to `to`.
    pub fn may_lead(&self, to: NodeId) -> Result<(), ManageError> {
        match (self.nodes.contains_key(&to), self.voters.contains(&to)) {
            (false, _) => Err(ManageError::NotAMember(to)),
            (true, false) => Err(ManageError::NotAVoter(to)),
            (true, true) => Ok(()),
        }
    }
}

/// The record of a data folder that joins.
pub fn record(request: &JoinRequest) -> NodeRecord {
    NodeRecord {
        peer_addr: request.peer_addr.clone(),
        http_addr: request.http_addr.clone(),
        instance: request.instance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes 1 to `nodes`, of which 1 to `voters` vote; all live and caught up; 1 leads.
    fn view(nodes: u64, voters: u64) -> View {
        let record = |id: u64| NodeRecord {
            peer_addr: format!("10.0.0.{id}:4000"),
            http_addr: format!("10.0.0.{id}:3000"),
            instance: id.into(),
        };
        View {
            voters: (1..=voters).collect(),
            nodes: (1..=nodes).map(|id| (id, record(id))).collect(),
            live: (1..=nodes).collect(),
            lag_entries: (2..=nodes).map(|id| (id, 0)).collect(),
            leader: 1,
        }
    }

    #[test]
    fn ids_of_another_lineage_are_others() {
        assert_eq!(node_id(0, 7), 7);
        assert_eq!(node_id(1, 7), (1 << 48) + 7);
    }

    #[test]
    fn learners_become_voters_up_to_the_target() {
        assert_eq!(view(5, 1).to_promote(3, 10), BTreeSet::from([2, 3]));
        assert_eq!(view(5, 3).to_promote(3, 10), BTreeSet::new());
        assert_eq!(view(2, 1).to_promote(3, 10), BTreeSet::from([2]));
    }

    #[test]
    fn a_learner_that_is_behind_or_away_does_not() {
        let mut behind = view(3, 1);
        behind.lag_entries.insert(2, 11);
        behind.live.remove(&3);
        assert_eq!(behind.to_promote(3, 10), BTreeSet::new());
        behind.lag_entries.remove(&2);
        assert_eq!(behind.to_promote(3, 10), BTreeSet::new(), "nothing is known of its log");
    }

    #[test]
    fn nobody_is_promoted_while_a_voter_is_away() {
        let mut away = view(4, 2);
        away.live.remove(&2);
        assert_eq!(away.to_promote(3, 10), BTreeSet::new());
    }

    #[test]
    fn a_wiped_folder_behind_a_known_address_stays_a_learner() {
        let mut wiped = view(3, 2);
        let known = wiped.nodes[&2].peer_addr.clone();
        wiped.nodes.get_mut(&3).unwrap().peer_addr = known;
        assert_eq!(wiped.to_promote(3, 10), BTreeSet::new());
    }

    #[test]
    fn nobody_goes_whom_the_quorum_needs() {
        assert_eq!(view(3, 3).may_remove(2), Ok(()));
        assert_eq!(view(3, 3).may_remove(1), Err(ManageError::Leads(1)));
        assert_eq!(view(3, 3).may_remove(9), Err(ManageError::NotAMember(9)));
        let mut away = view(3, 3);
        away.live.remove(&3);
        assert_eq!(away.may_remove(2), Err(ManageError::QuorumLost(2)), "one of two would be left");
        assert_eq!(away.may_remove(3), Ok(()), "the one that is away may go");
    }

    #[test]
    fn only_voters_lead() {
        assert_eq!(view(3, 2).may_lead(2), Ok(()));
        assert_eq!(view(3, 2).may_lead(3), Err(ManageError::NotAVoter(3)));
        assert_eq!(view(3, 2).may_lead(4), Err(ManageError::NotAMember(4)));
    }

    #[test]
    fn a_folder_is_known_by_its_instance() {
        assert_eq!(view(3, 3).member_of(2).map(|(id, _)| id), Some(2));
        assert_eq!(view(3, 3).member_of(7), None);
    }
}

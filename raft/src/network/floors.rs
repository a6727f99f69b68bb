//! How far each peer has told us that its durable data reaches.
//!
//! What a node has acknowledged it must still have after a restart. If it has not, its disk went back (a restored image, a
//! sync that lied), and it may vote twice or make a leader believe in entries that are gone. So the least it must have is
//! remembered here for each peer, and the handshake refuses one that has less. Only acknowledgements raise a floor:
//! a vote that it answered with, and entries that it acknowledged and that were committed, as others may be truncated.
//!
//! What this deliberately does not do: outlive this process. A node that starts anew learns the floors anew.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::format::{LogIdRecord, VoteRecord};
use crate::session::Floor;
use crate::types::{LogId, NodeId};

/// The floors of all peers.
#[derive(Debug, Default)]
pub struct Floors {
    floors: Mutex<BTreeMap<NodeId, Floor>>,
}

impl Floors {
    /// `peer` answered with this vote, so it has stored it.
    pub fn voted(&self, peer: NodeId, vote: VoteRecord) {
        let mut floors = self.lock();
        let floor = floors.entry(peer).or_default();
        floor.term = floor.term.max(vote.term);
    }

    /// `peer` acknowledged everything up to `acknowledged`, of which everything up to `committed` is for good.
    pub fn acknowledged(&self, peer: NodeId, acknowledged: Option<LogId>, committed: Option<LogId>) {
        let sure = acknowledged.map(LogIdRecord::from).min(committed.map(LogIdRecord::from));
        let mut floors = self.lock();
        let floor = floors.entry(peer).or_default();
        floor.log_id = floor.log_id.max(sure);
    }

    /// The least that `peer` must have from now on.
    pub fn of(&self, peer: NodeId) -> Floor {
        self.lock().get(&peer).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Floor>> {
        self.floors.lock().expect("no holder of the floors panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Reach;

    fn reach(term: u64, index: u64) -> Reach {
        Reach {
            vote: Some(VoteRecord { term, node: 1, committed: true }),
            last_log_id: Some(LogIdRecord { term, index }),
        }
    }

    #[test]
    fn a_peer_may_come_forward_but_not_go_back() {
        let floors = Floors::default();
        assert_eq!(floors.of(2).missed_by(&Reach::default()), None, "nothing is known of it");
        floors.voted(2, VoteRecord { term: 4, node: 1, committed: true });
        floors.acknowledged(2, Some(LogId::new_term_index(4, 9)), Some(LogId::new_term_index(4, 7)));
        assert_eq!(floors.of(2).missed_by(&reach(4, 7)), None, "what was not committed may be truncated");
        assert_eq!(floors.of(2).missed_by(&reach(5, 12)), None);
        assert_eq!(floors.of(2).missed_by(&reach(4, 6)), Some("log"));
        assert_eq!(floors.of(2).missed_by(&reach(3, 9)), Some("vote"));
        assert_eq!(floors.of(2).missed_by(&Reach::default()), Some("vote"));
        assert_eq!(floors.of(3).missed_by(&Reach::default()), None, "another one");
    }

    #[test]
    fn floors_do_not_sink() {
        let floors = Floors::default();
        floors.acknowledged(2, Some(LogId::new_term_index(4, 9)), Some(LogId::new_term_index(4, 9)));
        floors.acknowledged(2, Some(LogId::new_term_index(4, 5)), None);
        floors.voted(2, VoteRecord { term: 1, node: 1, committed: false });
        assert_eq!(floors.of(2).missed_by(&reach(4, 8)), Some("log"));
    }
}

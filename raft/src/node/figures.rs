//! What a node can say of itself in numbers, for metrics, and why it is not ready, for whoever sends it requests.

use std::collections::BTreeMap;

use openraft::ServerState;
use serde::{Deserialize, Serialize};

use super::{Core, Node, READY_LAG_ENTRIES_MAX};
use crate::damage::Fault;
use crate::types::{LogId, NodeId};

/// A node at a moment, beside its [`Status`](super::Status).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    pub leads: bool,
    /// The last entry that the newest snapshot has; 0 without one.
    pub snapshot_index: u64,
    /// The last entry that the log has forgotten.
    pub purged_index: u64,
    /// Entries that each other member is behind, if this node leads.
    pub lag_entries: BTreeMap<NodeId, u64>,
    /// The voters' clocks agree.
    pub clock_agreed: bool,
    /// How far each voter's wall clock is ahead of this node's, in milliseconds.
    pub clock_offset_ms: BTreeMap<NodeId, i64>,
    /// How long the first lock that is over has waited to be taken back, in milliseconds.
    pub expiry_lag_ms: u64,
    /// Why this node stops or has stopped.
    pub fault: Option<Fault>,
}

/// What a node needs to serve, each with whether it has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// It is not stopping.
    pub running: bool,
    /// No fault of its storage, and no broken invariant.
    pub storage: bool,
    /// A leader was heard of lately.
    pub leader: bool,
    /// It has applied nearly all that is known to be committed.
    pub caught_up: bool,
}

impl Readiness {
    pub fn is_ready(&self) -> bool {
        self.running && self.storage && self.leader && self.caught_up
    }
}

impl Node {
    /// The node's figures now.
    pub fn figures(&self) -> Figures {
        let core = &self.running.core;
        let metrics = core.metrics();
        let index = |log_id: Option<LogId>| log_id.map_or(0, |log_id| log_id.index());
        let last = metrics.last_log_index.unwrap_or(0);
        let others = metrics.replication.iter().flatten().filter(|(id, _)| **id != core.node_id());
        Figures {
            leads: metrics.state == ServerState::Leader,
            snapshot_index: index(metrics.snapshot),
            purged_index: index(metrics.purged),
            lag_entries: others.map(|(id, matched)| (*id, last.saturating_sub(index(*matched)))).collect(),
            clock_agreed: core.guard.agreed(),
            clock_offset_ms: core.guard.offsets_ms(),
            expiry_lag_ms: expiry_lag_ms(core),
            fault: core.fatal.latched(),
        }
    }

    /// Whether this node can serve, need by need.
    pub fn readiness(&self) -> Readiness {
        let core = &self.running.core;
        let status = self.status();
        Readiness {
            running: !core.stop.is_raised(),
            storage: core.fatal.latched().is_none(),
            leader: status.leader.is_some(),
            caught_up: status.committed_index > 0
                && status.applied_index + READY_LAG_ENTRIES_MAX >= status.committed_index,
        }
    }
}

/// By this node's own idea of the time; 0 while it has none.
fn expiry_lag_ms(core: &Core) -> u64 {
    let Ok(state) = core.state() else { return 0 };
    let deadline_ms = state.with_state(|state| state.next_deadline_ms());
    match deadline_ms {
        Some(deadline_ms) if core.guard.has_time() => core.guard.now_ms().saturating_sub(deadline_ms),
        _ => 0,
    }
}

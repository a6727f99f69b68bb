//! What becomes of the events of a node that no broker follows: the leader says itself that they were taken.
//!
//! Events stay in the outbox until somebody has acknowledged them and their retention has passed. Where nothing relays them,
//! nobody would, and the outbox would grow until it stops new locks. With a relay this is its work, not ours.

use std::time::Duration;

use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_raft::node::{Consistency, Node};

/// Between two acknowledgements: retention is hours, so minutes of delay cost little.
const ACK_INTERVAL: Duration = Duration::from_secs(60);

/// Acknowledges what was emitted, while this node leads. Never returns.
pub async fn acknowledge(node: Node) {
    loop {
        tokio::time::sleep(ACK_INTERVAL).await;
        let status = node.status();
        if status.leader != Some(status.node_id) {
            continue;
        }
        let emitted =
            node.read(Consistency::Stale, |state| Ok((state.meta().event_seq, state.meta().outbox_acked))).await;
        let Ok((upto, acked)) = emitted else { continue };
        if upto > acked {
            let command = Command::AckOutbox { upto };
            // What fails now is said again in a minute.
            let _ = node.propose(Submitted { actor: Actor::System, idempotency: None, command }).await;
        }
    }
}

//! When the payments service that runs beside a node should look.

use std::time::Duration;

use holdfast_raft::node::Consistency;
use tokio::time::timeout;

use crate::app::App;

/// How long an open payment rests before it is pointed at again, though nothing else happens.
const REST: Duration = Duration::from_millis(500);

impl App {
    /// Resolves when this node leads while payments are open, and has applied more than `seen` or rested; answers with what
    /// it has applied. For a service in the same process: others follow the events.
    pub async fn payments_due(&self, seen: u64) -> u64 {
        loop {
            let status = self.node.status();
            let applied = status.applied_index;
            if status.leader == Some(status.node_id) && self.has_open_payments().await {
                if applied == seen {
                    let _ = timeout(REST, self.node.applied_beyond(applied)).await;
                }
                return self.node.status().applied_index;
            }
            self.node.applied_beyond(applied).await;
        }
    }

    async fn has_open_payments(&self) -> bool {
        let open = self.node.read(Consistency::Stale, |state| Ok(state.meta().payments_open)).await;
        open.is_ok_and(|open| open > 0)
    }
}

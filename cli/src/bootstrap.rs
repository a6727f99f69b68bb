//! The first operator's token: made where a cluster begins, printed once, and kept by nobody.
//!
//! The ledger gets the hash. A node that is started again before anybody has used the token prints a new one, since nothing
//! can tell the old one any more.

use std::time::Duration;

use holdfast_api::new_operator_token;
use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_ledger::entities::Bootstrap;
use holdfast_ledger::outcome::Refusal;
use holdfast_ledger::query;
use holdfast_raft::node::{Consistency, Node};

/// Between two attempts while there is no quorum.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A token that makes whoever claims it the first operator; `None` where there has been one.
pub async fn token(node: &Node) -> Option<String> {
    let (token, token_hash) = new_operator_token();
    loop {
        let claimed = |bootstrap: Option<Bootstrap>| bootstrap.is_some_and(|it| it.claimed_by.is_some());
        match node.read(Consistency::Linearizable, query::bootstrap).await.map(claimed) {
            Ok(true) => return None,
            Ok(false) => {
                let command = Command::SetBootstrapToken { token_hash: token_hash.clone() };
                match node.propose(Submitted { actor: Actor::System, idempotency: None, command }).await {
                    Ok(answer) => match answer.outcome.settled {
                        Ok(_) => return Some(token),
                        Err(Refusal::BootstrapClaimed) => return None,
                        Err(refusal) => {
                            tracing::warn!(code = refusal.code(), "no operator's token could be made");
                            return None;
                        }
                    },
                    Err(error) => tracing::debug!(%error, "the operator's token has to wait"),
                }
            }
            Err(error) => tracing::debug!(%error, "the operator's token has to wait"),
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

//! The service beside a node, in one process: what a single `holdfast dev` needs, and a cluster without a broker.
//!
//! Every node runs one and works on what is open while it leads, over the routes of its own, without a socket. The book of its
//! bank is the process's own.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use holdfast_api::App;
use holdfast_ledger::command::{Actor, Service, Submitted};
use holdfast_ledger::query;
use holdfast_raft::node::{Consistency, Node};
use holdfast_services::client::{InProcess, Signed};
use holdfast_services::key::ServiceKey;
use holdfast_services::payments::sandbox::Sandbox;
use holdfast_services::payments::{Saga, Settings};
use holdfast_services::system_clock;

use crate::folder::SEED_BYTES;

/// Between two attempts to publish the service's key while there is no quorum.
const KEY_INTERVAL: Duration = Duration::from_millis(200);

/// Works until dropped.
pub async fn run(app: App, router: Router, seed: [u8; SEED_BYTES], sandbox: Arc<Sandbox>) {
    let key = ServiceKey::from_seed(Service::Payments, &seed);
    publish(&app.node, &key).await;
    let api = Arc::new(InProcess::<Router, Body>::new(router));
    let api = Signed::new(api, key, &app.settings.issuer, system_clock());
    let saga = Saga::new(api, sandbox, Settings { sweep_interval: None, ..Settings::default() });
    let ring = async {
        let mut seen = 0;
        loop {
            seen = app.payments_due(seen).await;
            saga.ring();
        }
    };
    saga.run(ring).await;
}

/// Makes the cluster accept the service's tokens; keeps trying while there is no quorum.
async fn publish(node: &Node, key: &ServiceKey) {
    loop {
        let known = node.read(Consistency::Stale, |state| query::service_key(state, key.key_id())).await;
        if known.is_ok_and(|known| known.is_some()) {
            return;
        }
        let register = Submitted { actor: Actor::System, idempotency: None, command: key.register() };
        match node.propose(register).await {
            Ok(answer) => {
                if let Err(refusal) = answer.outcome.settled {
                    tracing::warn!(code = refusal.code(), "the payments service beside this node is not accepted");
                    std::future::pending::<()>().await;
                }
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "the payments service's key is not published yet");
                tokio::time::sleep(KEY_INTERVAL).await;
            }
        }
    }
}

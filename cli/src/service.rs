//! What the services' commands have in common: their key, and the cluster that they are clients of.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clap::Args;
use holdfast_api::server;
use holdfast_events::broker::SharedBroker;
use holdfast_ledger::command::{Actor, Service, Submitted};
use holdfast_ledger::query;
use holdfast_raft::node::{Consistency, Node};
use holdfast_services::client::{OverHttp, Patience, Signed};
use holdfast_services::health::Readiness;
use holdfast_services::key::{ServiceKey, service_name};
use holdfast_services::system_clock;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::folder;
use crate::keys::ask_operator;
use crate::operator::NewServiceKey;
use crate::stop;

/// What a service's readiness calls its broker.
pub const NATS: &str = "nats";
/// Between two looks whether the broker answers.
const NATS_INTERVAL: Duration = Duration::from_secs(2);
/// Between two attempts to publish a key while there is no quorum.
const KEY_INTERVAL: Duration = Duration::from_millis(200);

/// Which cluster, and who asks.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// URLs of nodes, separated by commas; one that does not answer is passed over
    #[arg(long, env = "HOLDFAST_API", value_delimiter = ',', value_name = "URL")]
    pub api: Vec<String>,
    /// File of the service's key, as `holdfast keys service` has made it
    #[arg(long, env = "HOLDFAST_SERVICE_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// What the cluster issues tokens as
    #[arg(long, env = "HOLDFAST_ISSUER", default_value = "holdfast", value_name = "NAME")]
    pub issuer: String,
}

impl ApiArgs {
    /// The routes, signed with the service's key.
    pub fn signed(&self, service: Service) -> Result<Signed, Failure> {
        if self.api.is_empty() {
            return Err(Failure::usage("--api: the URL of a node is needed"));
        }
        let api = OverHttp::new(&self.api, Patience::default());
        let api = api.map_err(|error| Failure::usage(format!("--api {error}")))?;
        let path =
            self.key.as_deref().ok_or_else(|| Failure::usage("--key: the file of the service's key is needed"))?;
        let seed = folder::existing_seed(path)?.ok_or_else(|| {
            let name = service_name(service);
            Failure::usage(format!(
                "--key {}: no such file; make it with: holdfast keys service {name} --key {}",
                path.display(),
                path.display()
            ))
        })?;
        let key = ServiceKey::from_seed(service, &seed);
        Ok(Signed::new(Arc::new(api), key, &self.issuer, system_clock()))
    }
}

/// Registers the key in the file, which is made if it is not there, through an operator's listener. Answers with its id.
pub async fn register(service: &str, path: &Path, operator: &str) -> Result<String, Failure> {
    let named = crate::operator::service_named(service);
    let named = named.ok_or_else(|| Failure::usage(format!("{service}: payments or notifications")))?;
    let key = ServiceKey::from_seed(named, &folder::seed_in(path)?);
    let public_key = key.public_key().iter().map(|byte| format!("{byte:02x}")).collect();
    let body = NewServiceKey { service: service.into(), key_id: key.key_id().into(), public_key };
    ask_operator(operator, "/cluster/service-keys", Some(json!(body))).await?;
    Ok(key.key_id().to_string())
}

/// Serves routes until the flag is raised, and says where.
pub async fn listen(
    address: SocketAddr,
    routes: Router,
    stopping: watch::Receiver<bool>,
) -> Result<JoinHandle<std::io::Result<()>>, Failure> {
    let complain = |error: std::io::Error| Failure::cannot_start(format!("--listen {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(complain)?;
    let bound = listener.local_addr().map_err(complain)?;
    say!("ready: http://{bound}");
    Ok(tokio::spawn(server::serve(listener, routes, stop::raised(stopping))))
}

/// Notes whether the broker answers, over a connection of its own. Never ends.
pub async fn watch_nats(broker: SharedBroker, readiness: Readiness) {
    let mut connection = None;
    loop {
        if connection.is_none() {
            connection = broker.connect().await.ok();
        }
        let answers = match &connection {
            Some(connection) => connection.streams().await.is_ok(),
            None => false,
        };
        if !answers {
            connection = None;
        }
        readiness.set(NATS, answers);
        tokio::time::sleep(NATS_INTERVAL).await;
    }
}

/// Makes the cluster accept the service's tokens; keeps trying while there is no quorum.
pub async fn publish(node: &Node, key: &ServiceKey) {
    loop {
        let known = node.read(Consistency::Stale, |state| query::service_key(state, key.key_id())).await;
        if known.is_ok_and(|known| known.is_some()) {
            return;
        }
        let register = Submitted { actor: Actor::System, idempotency: None, command: key.register() };
        match node.propose(register).await {
            Ok(answer) => {
                if let Err(refusal) = answer.outcome.settled {
                    let name = service_name(key.service());
                    tracing::warn!(code = refusal.code(), "the {name} service beside this node is not accepted");
                    std::future::pending::<()>().await;
                }
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "the key of a service beside this node is not published yet");
                tokio::time::sleep(KEY_INTERVAL).await;
            }
        }
    }
}

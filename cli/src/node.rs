//! One node in this process: its folder, its listeners, and how it begins and ends.
//!
//! `serve` and `dev` differ only in their settings. The folder is taken and every address bound before anything is
//! written, so that a wrong flag leaves nothing half-made. A node that stops on request hands leadership over first, while it still
//! serves, and then answers what is under way; one whose storage failed stops at once, with one line and an exit code of its own.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::{App, SigningKey, router, server};
use holdfast_events::overview::Overview;
use holdfast_ledger::command::{Actor, Submitted};
use holdfast_ledger::entities::NodeKey;
use holdfast_ledger::query;
use holdfast_raft::clock::SystemClock;
use holdfast_raft::damage::Fault;
use holdfast_raft::disk;
use holdfast_raft::identity::Identity;
use holdfast_raft::node::{Consistency, Node, Options, Start, StartError};
use holdfast_raft::transport::grpc::Grpc;
use holdfast_raft::transport::tls::Tls;
use holdfast_services::payments::sandbox::Sandbox;
use holdfast_services::payments::sandbox_server;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bus::{Bus, Carrier};
use crate::failure::Failure;
use crate::folder::Folder;
use crate::keys::{PUBLISHED_WAIT, Rotation};
use crate::observe::Serving;
use crate::operator::{self, Join, JoinTokens, Order, WaitingView};
use crate::settings::{Payments, Resolved};
use crate::stop::raised;
use crate::{backup, bootstrap, keys, notifications, observe, payments, stop, stored, tls, traces, versions};

/// Between two attempts to publish the node's key while there is no quorum.
const KEY_INTERVAL: Duration = Duration::from_millis(200);

/// How long handing over and flushing may take at the end; a node that is cut off here replays its log instead.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(3);

/// Where a running node can be reached.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub url: String,
    pub operator: SocketAddr,
}

/// Runs a node until a signal, the end of standard input if `stop_with_stdin`, or a fault of its storage. `announce` is
/// told once it serves.
pub async fn run(settings: Resolved, stop_with_stdin: bool, announce: impl FnOnce(&Addresses)) -> Result<(), Failure> {
    let folder = Arc::new(Folder::take(&settings.data)?);
    let key = SigningKey::from_seed(&folder.signing_seed()?);
    let payments_seed = folder.payments_seed()?;
    let notifications_seed = folder.notifications_seed()?;
    let broker = settings.bus.broker()?;
    let http = bind("--http", settings.http).await?;
    let operator_listener = bind("--operator", settings.operator).await?;
    let http_addr = settings.http_advertise.clone().unwrap_or(http.1.to_string());
    let addresses = Addresses {
        url: settings.public_url.clone().unwrap_or(format!("http://{http_addr}")),
        operator: operator_listener.1,
    };

    let mut stopped = std::pin::pin!(async move {
        tokio::select! {
            biased;
            () = stop::requested() => {}
            () = stop::stdin_closed(), if stop_with_stdin => {}
        }
    });
    let metrics = observe::install();
    let tls = settings.tls.clone().map(tls::load).transpose()?;
    if let Some(tls) = &tls {
        tls::check(tls, folder.path())?;
    }
    let renewing = tls.clone().map(|tls| tokio::spawn(tls.watch()));
    let settings = tokio::select! {
        biased;
        () = &mut stopped => return Ok(()),
        told = told(settings, &folder, &http_addr, tls.clone(), (&http.0, &operator_listener.0)) => told?,
    };
    let node = tokio::select! {
        biased;
        () = &mut stopped => return Ok(()),
        started = start(&settings, &folder, http_addr, tls.clone()) => started?,
    };

    if let Ok(lineage) = node.read(Consistency::Stale, |state| Ok(state.meta().lineage)).await {
        traces::entries_of(&format!("{:032x}", node.status().cluster_id), lineage);
    }
    let (stop, stopping) = watch::channel(false);
    let serving = Serving::default();
    let sandbox = (settings.payments == Payments::Beside).then(|| Arc::new(Sandbox::at(&addresses.url)));
    let rotation = Arc::new(Rotation::new(node.clone(), folder.clone(), key.key_id(), PUBLISHED_WAIT));
    let carrier = Carrier::new(node.clone(), broker.clone());
    let routes =
        operator::router(node.clone(), serving.clone(), sandbox.clone(), JoinTokens::new(settings.require_join_token))
            .merge(operator::relay_routes(carrier.watch()))
            .merge(operator::backup_routes(node.clone()))
            .merge(keys::routes(rotation.clone()))
            .merge(observe::routes(node.clone(), serving.clone(), metrics, carrier.overview()));
    let routes = routes.layer(axum::middleware::from_fn(operator::let_in));
    let operator = server::serve_members(tls.clone(), operator_listener.0, routes, raised(stopping.clone()));
    let operator = tokio::spawn(operator);
    let end = match during(publish(&node, &key), &node, stopped.as_mut()).await {
        Ok(()) => {
            let app = app(&settings, &addresses, node.clone(), key, carrier.overview());
            let routes = router(app.clone());
            // Whoever pays by the bank beside this node is asked there whether it is him.
            let pages = sandbox.clone().map_or_else(axum::Router::new, sandbox_server::bank).merge(routes.clone());
            let payments = sandbox.map(|sandbox| {
                tokio::spawn(payments::inside::run(app.clone(), routes.clone(), payments_seed, sandbox))
            });
            let relay = tokio::spawn(carrier.run());
            // A broker within this process has nobody else to tell people.
            let told = match broker.filter(|_| settings.bus == Bus::Inside) {
                Some(broker) => {
                    let inside = notifications::inside::Inside { app: app.clone(), router: routes.clone(), broker };
                    Some(tokio::spawn(inside.start(&settings.data, notifications_seed, stopping.clone())?))
                }
                None => None,
            };
            let signing = app.clone();
            let keys = tokio::spawn(rotation.run(move |key| signing.use_key(key)));
            let backups = settings
                .backups
                .clone()
                .map(|schedule| tokio::spawn(backup::run_job(node.clone(), schedule, settings.data.clone())));
            let claim = tokio::spawn(offer_operator(settings.bootstrap, node.clone(), addresses.url.clone()));
            let public = tokio::spawn(server::serve(http.0, pages, raised(stopping)));
            serving.set(true);
            announce(&addresses);
            let end = during(std::future::pending::<()>(), &node, stopped.as_mut()).await;
            serving.set(false);
            if matches!(end, Err(End::Asked)) {
                // It still answers: what comes here meanwhile goes on to the next leader.
                node.hand_over().await;
                tracing::info!("stopping");
                stop.send_replace(true);
                let _ = public.await;
            }
            stop.send_replace(true);
            payments.inspect(JoinHandle::abort);
            relay.abort();
            told.inspect(JoinHandle::abort);
            keys.abort();
            backups.inspect(JoinHandle::abort);
            claim.abort();
            end
        }
        early => early,
    };
    stop.send_replace(true);
    if !matches!(end, Err(End::Fault(_))) {
        let _ = operator.await;
    }
    renewing.inspect(JoinHandle::abort);
    // After a fault too: the storage's threads must have ended before the process does, or its end would crash them.
    let _ = tokio::time::timeout(SHUTDOWN_WAIT, node.shutdown()).await;
    match end {
        Err(End::Fault(fault)) => Err(stored::failure(&settings.data, &fault)),
        Ok(()) | Err(End::Asked) => Ok(()),
    }
}

/// Why a node ends.
enum End {
    Asked,
    Fault(Fault),
}

/// Does `work`, unless the node ends before it is done. A broken invariant is not an end: the node takes part in nothing
/// any more and serves what it has, and started again it would only come to the same entry.
async fn during<T>(
    work: impl Future<Output = T>,
    node: &Node,
    stopped: Pin<&mut impl Future<Output = ()>>,
) -> Result<T, End> {
    let fatal = async {
        match node.fatal().await {
            Fault::Invariant { .. } => std::future::pending().await,
            fault => fault,
        }
    };
    tokio::select! {
        biased;
        () = stopped => Err(End::Asked),
        fault = fatal => Err(End::Fault(fault)),
        done = work => Ok(done),
    }
}

/// Makes the cluster accept this node's tokens; keeps trying while there is no quorum. A key that is known stays so.
async fn publish(node: &Node, key: &SigningKey) {
    let known = |keys: Vec<(String, NodeKey)>| keys.iter().any(|(key_id, _)| key_id == key.key_id());
    loop {
        if node.read(Consistency::Stale, query::node_keys).await.is_ok_and(known) {
            return;
        }
        let register = Submitted { actor: Actor::System, idempotency: None, command: key.register() };
        if let Err(error) = node.propose(register).await {
            tracing::debug!(%error, "the signing key is not published yet");
            tokio::time::sleep(KEY_INTERVAL).await;
        }
    }
}

/// Prints the token for the first operator, where a cluster begins and has none yet.
async fn offer_operator(begins: bool, node: Node, url: String) {
    if begins && let Some(token) = bootstrap::token(&node).await {
        say!("first operator: sign in and enter {token} at {url}/operator/claim (it works once)");
    }
}

fn app(settings: &Resolved, addresses: &Addresses, node: Node, key: SigningKey, events: Option<Arc<Overview>>) -> App {
    let settings = holdfast_api::Settings {
        public_url: addresses.url.clone(),
        password_cost: settings.password_cost,
        cors_origins: settings.cors_origins.clone(),
        events,
        card_form: settings.card_form.clone(),
        ..holdfast_api::Settings::default()
    };
    App::new(node, key, settings)
}

/// A listener and the address that it got.
async fn bind(flag: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let complain = |error: std::io::Error| Failure::cannot_start(format!("{flag} {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(complain)?;
    let bound = listener.local_addr().map_err(complain)?;
    Ok((listener, bound))
}

/// The settings, with what the operator says where they do not say how a new folder begins: then the node waits to be told.
/// `listeners`: the public one and the operator's.
async fn told(
    mut settings: Resolved,
    folder: &Folder,
    http_addr: &str,
    tls: Option<Tls>,
    listeners: (&TcpListener, &TcpListener),
) -> Result<Resolved, Failure> {
    let identity = identity(folder)?;
    if identity.place.is_some() || settings.bootstrap || !settings.join.is_empty() {
        return Ok(settings);
    }
    let view = WaitingView {
        instance: format!("{:032x}", identity.instance),
        peer_addr: settings.peer_advertise.clone().unwrap_or(settings.peer.to_string()),
        http_addr: http_addr.to_string(),
    };
    tracing::info!(operator = %settings.operator, "this node waits for `holdfast cluster init` or `add`");
    match operator::wait(listeners.0, listeners.1, tls, view).await? {
        Order::Init => settings.bootstrap = true,
        Order::Welcome { join, intent, token } => {
            (settings.join, settings.intent, settings.join_token) = (join, intent, token);
        }
    }
    Ok(settings)
}

fn identity(folder: &Folder) -> Result<Identity, Failure> {
    let complain =
        |error: std::io::Error| Failure::cannot_start(format!("--data {}: {error}", folder.path().display()));
    Identity::open(&disk::Folder::open(folder.path()).map_err(complain)?).map_err(complain)
}

/// Starts replication: continues, bootstraps, or joins first.
async fn start(settings: &Resolved, folder: &Folder, http_addr: String, tls: Option<Tls>) -> Result<Node, Failure> {
    let complain =
        |error: std::io::Error| Failure::cannot_start(format!("--data {}: {error}", folder.path().display()));
    let disk = disk::Folder::open(folder.path()).map_err(complain)?;
    let identity = identity(folder)?;
    let peer_addr = settings.peer_advertise.clone().unwrap_or(settings.peer.to_string());
    let start = match identity.place {
        Some(_) => Start::Continue,
        None if settings.bootstrap => {
            tls.as_ref().map_or(Start::Bootstrap, |tls| Start::BootstrapAs(tls.principal().cluster_id))
        }
        None if !settings.join.is_empty() => {
            let instance = format!("{:032x}", identity.instance);
            let (peer_addr, http_addr) = (peer_addr.clone(), http_addr.clone());
            let token = settings.join_token.clone();
            let join =
                Join { instance, peer_addr, http_addr, intent: settings.intent, token, versions: versions::known() };
            Start::Joined(operator::place(operator::ask_to_join(&settings.join, &join, tls.as_ref()).await?)?)
        }
        None => return Err(start_failure(settings, StartError::NoCluster)),
    };
    let options = Options {
        disk: Arc::new(disk),
        transport: Arc::new(tls.map(Grpc::secured).unwrap_or_default()),
        clock: Arc::new(SystemClock::default()),
        peer_listen: settings.peer.to_string(),
        // With port 0 the node says which one it got.
        peer_addr: (settings.peer.port() != 0 || settings.peer_advertise.is_some()).then_some(peer_addr),
        http_addr,
        settings: holdfast_raft::settings::Settings {
            voters_target: settings.voters_target as usize,
            ..holdfast_raft::settings::Settings::default()
        },
        storage: versions::storage(),
        start,
    };
    Node::start(options).await.map_err(|error| start_failure(settings, error))
}

fn start_failure(settings: &Resolved, error: StartError) -> Failure {
    let data = settings.data.display();
    match error {
        StartError::NoCluster => {
            Failure::usage(format!("--bootstrap or --join: one is needed, {data} belongs to no cluster yet"))
        }
        StartError::Listen { addr, error } => Failure::cannot_start(format!("--peer {addr}: {error}")),
        StartError::Fault(fault) => stored::failure(&settings.data, &fault),
        error @ (StartError::Disk(_) | StartError::Settings(_) | StartError::Replication(_)) => {
            Failure::cannot_start(format!("--data {data}: {error}"))
        }
    }
}

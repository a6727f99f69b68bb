//! How a node starts and stops.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_ledger::version::{FIRST, Version, Versions};
use openraft::ServerState;
use openraft::type_config::TypeConfigExt;

use super::{Core, Options, Start, StartError, Unavailable, tasks};
use crate::clock::ClockGuard;
use crate::damage::{Damage, Fault};
use crate::disk::SharedDisk;
use crate::identity::{Identity, Place};
use crate::log_store::LogStore;
use crate::network::message::ManageMessage;
use crate::network::{Links, Network};
use crate::plan::Change;
use crate::proposer::Proposer;
use crate::proposer::batch::Group;
use crate::reads::Reads;
use crate::runtime;
use crate::state::Raft;
use crate::stop::Stop;
use crate::storage::Storage;
use crate::types::{Intent, NodeRecord, TypeConfig};
use crate::version;

/// The node that begins a cluster. Ids given later are log indexes of entries after its first ones, so never this.
const FIRST_NODE_ID: u64 = 1;
/// Between two attempts of a founder to say at which version its cluster begins.
const FOUND_AGAIN: Duration = Duration::from_millis(100);
/// How long a stopping node waits for what is under way, and for somebody to take leadership over.
const DRAIN: Duration = Duration::from_secs(2);

pub(super) async fn start(options: Options) -> Result<Arc<Core>, StartError> {
    let Options {
        disk,
        transport,
        clock,
        peer_listen,
        peer_addr,
        http_addr,
        settings,
        storage: storage_settings,
        start,
    } = options;
    let config = settings.raft_config().map_err(|error| StartError::Settings(error.to_string()))?;
    let versions = storage_settings.state.versions;
    let (identity, place) = open_identity(disk.clone(), versions, start).await?;
    if matches!(start, Start::Joined(_)) {
        settle(disk.clone(), identity, place).await?;
    }
    let listener =
        transport.listen(&peer_listen).await.map_err(|error| StartError::Listen { addr: peer_listen, error })?;
    let listens = listener.local_addr();
    let record = NodeRecord {
        peer_addr: peer_addr.unwrap_or_else(|| listens.clone()),
        http_addr,
        instance: identity.instance,
        intent: Intent::Voter,
    };

    let storage = Storage::open(disk.clone(), storage_settings).await?;
    let (closing, synced_end) = (storage.closing(), storage.log.synced_end());
    let Storage { log, machine, state, fatal, stages } = storage;
    let links = Arc::new(Links::new(
        transport,
        (place, identity.instance),
        settings.clone(),
        fatal.clone(),
        (versions, state.version()),
    ));
    let raft = Raft::new(place.node_id, Arc::new(config), Network::new(links.clone()), log, machine)
        .await
        .map_err(|error| StartError::Replication(error.to_string()))?;
    links.attach(raft.clone());
    let founds = identity.place.is_none() && matches!(start, Start::Bootstrap | Start::BootstrapAs(_));
    begin(&raft, start, &identity, &record).await?;
    settle(disk, identity, place).await?;

    let core = Arc::new(Core {
        links,
        raft,
        state: Mutex::new(Some(state)),
        guard: ClockGuard::new(clock, settings.clock_tolerance_ms, settings.clock_interval_ms),
        fatal,
        stages,
        settings,
        versions,
        stop: Stop::default(),
        instance: identity.instance,
        record,
        listens,
        heard_ms: AtomicU64::new(0),
        logged_bytes: AtomicU64::new(0),
        members: tokio::sync::Mutex::new(()),
        synced_end,
        closing: Mutex::new(Some(closing)),
        proposer: OnceLock::new(),
        reads: OnceLock::new(),
    });
    let _ = core.proposer.set(Proposer::start(core.clone(), &core.settings, core.stop.clone()));
    let _ = core.reads.set(Reads::start(core.clone(), &core.settings, core.stop.clone()));
    tasks::start(&core, listener);
    if founds && versions.max > FIRST {
        tokio::spawn(found_at(core.clone(), versions.max));
    }
    Ok(core)
}

/// A new cluster begins at the highest version that its founder knows. One that dies before it has said so leaves it to an operator.
async fn found_at(core: Arc<Core>, version: Version) {
    let command = Command::RaiseVersion { to: version, certificate: None };
    let group = Group::encode(&[Submitted { actor: Actor::System, idempotency: None, command }]);
    while core.proposer().propose(group.clone(), false).await == Err(Unavailable::NoLeader) {
        if !core.sleep(FOUND_AGAIN).await {
            return;
        }
    }
}

/// The folder's identity, and the place that it has or asks for.
async fn open_identity(disk: SharedDisk, versions: Versions, start: Start) -> Result<(Identity, Place), StartError> {
    let opened = runtime::blocking(move || {
        version::check_folder(&*disk, versions)?;
        let identity = Identity::open(&*disk)?;
        // The log is begun before the place is written: a folder that has its place and no log has lost it, votes and all.
        match identity.place {
            Some(_) if !LogStore::was_opened(&*disk)? => Err(Damage::LogMissing.into()),
            _ => Ok(identity),
        }
    });
    let identity = opened.await.map_err(disk_error)?;
    let place = match (identity.place, start) {
        (Some(place), _) => place,
        (None, Start::Joined(place)) => place,
        (None, Start::Bootstrap) => Place { cluster_id: rand::random(), node_id: FIRST_NODE_ID },
        (None, Start::BootstrapAs(cluster_id)) => Place { cluster_id, node_id: FIRST_NODE_ID },
        (None, Start::Continue) => return Err(StartError::NoCluster),
    };
    Ok((identity, place))
}

/// A fault that was met on the way, or an error of the disk.
fn disk_error(error: std::io::Error) -> StartError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
        Some(fault @ Fault::Version { .. }) => StartError::Fault(fault.clone()),
        _ => StartError::Disk(error),
    }
}

/// Writes the folder's place down: for who joins, before anything of the cluster is stored under it; for who begins a
/// cluster, after that, so that a folder which says that it began one and holds no log has lost it, and begins no other.
async fn settle(disk: SharedDisk, identity: Identity, place: Place) -> Result<(), StartError> {
    let settled = runtime::blocking(move || identity.settle(&*disk, place)).await;
    settled.map(|_| ()).map_err(StartError::Disk)
}

/// Makes a new cluster's first node its only voter, unless that was done. A voter that is alone leads at once: there is
/// nobody whose heartbeat it could wait for.
async fn begin(raft: &Raft, start: Start, identity: &Identity, record: &NodeRecord) -> Result<(), StartError> {
    let refused = |error: &dyn std::fmt::Display| StartError::Replication(error.to_string());
    let initialized = raft.is_initialized().await.map_err(|error| refused(&error))?;
    if !initialized && identity.place.is_none() && matches!(start, Start::Bootstrap | Start::BootstrapAs(_)) {
        let members = BTreeMap::from([(FIRST_NODE_ID, record.clone())]);
        return raft.initialize(members).await.map_err(|error| refused(&error));
    }
    if initialized && raft.voter_ids().eq([*raft.node_id()]) {
        raft.trigger().elect(false).await.map_err(|error| refused(&error))?;
    }
    Ok(())
}

/// Hands leadership over if somebody can take it, lets what is under way come to its answer, and stops everything.
pub(super) async fn stop(core: &Arc<Core>) {
    if core.stop.is_raised() {
        return;
    }
    if core.fatal.latched().is_none() {
        hand_over(core).await;
        let _ = TypeConfig::timeout(DRAIN, core.proposer().drained()).await;
    }
    core.stop.raise();
    if let Err(error) = core.raft.shutdown().await {
        tracing::warn!(%error, "replication did not end as it should");
    }
    core.release_state();
    let closing = core.closing.lock().expect("no holder of this panics").take();
    if let Some(closing) = closing
        && let Err(error) = closing.close().await
    {
        tracing::warn!(%error, "the storage was not closed as it should");
    }
}

pub(super) async fn hand_over(core: &Core) {
    if core.metrics().state != ServerState::Leader {
        return;
    }
    let Ok(view) = core.view().await else { return };
    let voters = view.voters();
    let others = voters.iter().filter(|id| **id != core.node_id() && view.live.contains(id));
    let nearest = others.min_by_key(|id| view.lag_entries.get(id).copied().unwrap_or(u64::MAX));
    if let Some(to) = nearest.copied() {
        let transfer = core.manage_here(ManageMessage::Change { change: Change::Transfer { to }, basis: None });
        match TypeConfig::timeout(DRAIN, transfer).await {
            Ok(Ok(_)) => tracing::info!(to, "leadership is handed over"),
            _ => tracing::info!(to, "leadership was not taken over in time; the others will elect"),
        }
    }
}

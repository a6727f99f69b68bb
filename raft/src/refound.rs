//! A new cluster out of what another one left: a backup, or the one member that is left of a quorum.
//!
//! Both make a data folder whose only voter is the node itself, under a cluster id of its own, so that nobody of the old cluster is
//! let in and it lets nobody in. What may have been promised and is not here is lost; whoever calls this raises the ledger's lineage
//! before anything else, so that no id and no event of what was lost is given again. The identity is written last: a folder in
//! which this was cut off is not taken for a node's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_ledger::command::{Actor, Command, Submitted};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, Membership};

use crate::backup::Holding;
use crate::damage::{Damage, Fatal, Fault};
use crate::disk::{Purpose, SharedDisk};
use crate::engine::Durability;
use crate::identity::{Identity, Place};
use crate::log_store::LogStore;
use crate::members;
use crate::node::{Consistency, Node, Options, StartError, Unavailable};
use crate::runtime::{self, WatchReceiver};
use crate::settings::Settings;
use crate::state::folder::{self, Damaged, Mark, engine_fault, storage};
use crate::state::unbounded_durable_end;
use crate::storage::all_released;
use crate::types::{Entry, Intent, LogId, NodeId, NodeRecord, StoredMembership, TypeConfig, Vote};
use crate::version::readable;

/// Where the files of a backed-up state are put, in a folder that is to become a node's.
pub const STATE_DIRECTORY: &str = "state-0";

/// How long a database may take to be closed.
const RELEASE_WAIT: Duration = Duration::from_secs(10);
/// Longer than a node runs that only raises the lineage, in milliseconds.
const NO_TICK_MS: u64 = 24 * 3_600_000;
/// Entries and rows kept in memory meanwhile, in bytes.
const MEMORY_BYTES_MAX: usize = 16 << 20;

/// A node that is a cluster of its own now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refounded {
    pub place: Place,
    /// Where it says that it can be reached; it says so anew when it starts elsewhere.
    pub record: NodeRecord,
    /// What the state held when this began.
    pub held: Holding,
}

/// Why the lineage was not raised.
#[derive(Debug, thiserror::Error)]
pub enum RaiseError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("no lineage is left")]
    NoneLeft,
    #[error("the ledger refuses: {0}")]
    Refused(&'static str),
}

fn disk_fault(error: std::io::Error) -> Fault {
    storage("making a cluster of what is left")(error)
}

fn alone(node_id: NodeId, record: NodeRecord) -> Result<Membership<NodeId, NodeRecord>, Fault> {
    let nodes = BTreeMap::from([(node_id, record)]);
    Membership::new(vec![BTreeSet::from([node_id])], nodes).map_err(|error| damaged(&error))
}

fn damaged(reason: &dyn std::fmt::Display) -> Fault {
    Damage::Unreadable { what: "the state".to_string(), reason: reason.to_string() }.into()
}

/// Waits until a database that was let go of can be opened again. Where it cannot be, opening it says so.
pub(crate) async fn closed(released: Option<WatchReceiver<()>>) {
    all_released([released], RELEASE_WAIT).await;
}

async fn open_log(disk: &SharedDisk) -> Result<LogStore, Fault> {
    LogStore::open(disk.clone(), Fatal::default(), unbounded_durable_end(), MEMORY_BYTES_MAX, readable()).await
}

/// Writes what is waiting, and waits until the log can be opened again.
pub(crate) async fn close_log(log: LogStore) -> Result<(), Fault> {
    log.close().await.map_err(disk_fault)?;
    let released = log.released();
    drop(log);
    closed(released).await;
    Ok(())
}

/// Makes a node of a folder that has nothing but the files of a state in [`STATE_DIRECTORY`].
pub async fn from_state(disk: SharedDisk, peer_addr: String, http_addr: String) -> Result<Refounded, Fault> {
    let opened = disk.clone();
    let engine = runtime::blocking(move || opened.open_engine(STATE_DIRECTORY, Purpose::State)).await;
    let engine = engine.map_err(engine_fault("opening the state"))?;
    let (state, mark) = folder::load(&engine, MEMORY_BYTES_MAX, readable())?;
    let last = mark.last_applied.ok_or_else(|| damaged(&"it holds nothing"))?;
    let held = Holding::of(&state, last);
    // Ids of the lineage to come are log indexes above this one.
    let node_id = members::node_id(held.lineage.saturating_add(1), last.index());
    let instance = rand::random();
    let record = NodeRecord { peer_addr, http_addr, instance, intent: Intent::Voter };
    let membership = StoredMembership::new(Some(last), alone(node_id, record.clone())?);
    let mark = Mark { last_applied: Some(last), membership };
    engine.write(vec![mark.change()], Durability::Synced).map_err(engine_fault("writing the state"))?;
    let released = engine.released();
    drop((state, engine));
    closed(released).await;

    let mut log = open_log(&disk).await?;
    // Terms go on from where the state is: what comes after it is newer.
    log.save_vote(&Vote::new(held.term, node_id)).await.map_err(disk_fault)?;
    close_log(log).await?;
    folder::point(&disk, STATE_DIRECTORY)?;
    let place = Place { cluster_id: rand::random(), node_id };
    Identity { instance, place: Some(place) }.write(&*disk).map_err(disk_fault)?;
    Ok(Refounded { place, record, held })
}

/// Makes the only voter of a node whose cluster has lost its quorum. All that its log has counts as decided.
pub async fn from_member(disk: SharedDisk) -> Result<Refounded, Fault> {
    let identity = Identity::read(&*disk).map_err(disk_fault)?;
    let place = identity.and_then(|identity| identity.place);
    let (Some(identity), Some(place)) = (identity, place) else {
        return Err(damaged(&"the folder belongs to no cluster"));
    };
    let mut log = open_log(&disk).await?;
    let found = folder::find(&disk, MEMORY_BYTES_MAX, readable(), Damaged::IsAnError)?;
    let known = found.mark.membership.membership().get_node(&place.node_id).cloned().unwrap_or_default();
    let record = NodeRecord { instance: identity.instance, intent: Intent::Voter, ..known };
    let last = log.get_log_state().await.map_err(disk_fault)?.last_log_id.max(found.mark.last_applied);
    let last = last.ok_or_else(|| damaged(&"it holds nothing"))?;
    let held = Holding::of(&found.state, found.mark.last_applied.unwrap_or(last));
    let released = found.engine.released();
    drop(found);
    closed(released).await;

    let log_id = LogId::new_term_index(**last.committed_leader_id(), last.index() + 1);
    let membership = EntryPayload::Membership(alone(place.node_id, record.clone())?);
    let (done, written) = TypeConfig::oneshot();
    let entry = Entry { log_id, payload: membership };
    log.append([entry], IOFlushed::signal(done)).await.map_err(disk_fault)?;
    let lost = || disk_fault(std::io::Error::other("the log's writer has ended"));
    written.await.map_err(|_| lost())?.map_err(disk_fault)?;
    close_log(log).await?;
    let place = Place { cluster_id: rand::random(), ..place };
    Identity { place: Some(place), ..identity }.write(&*disk).map_err(disk_fault)?;
    Ok(Refounded { place, record, held })
}

/// Runs the new cluster's only node for a moment, without clients, and raises the ledger's lineage; answers with the new one.
///
/// It is the first thing that the cluster decides: until then nothing ticks, as locks that ran out since the backup was made would
/// be reclaimed under the old lineage, by events whose numbers were given before.
pub async fn raise_lineage(options: Options) -> Result<u16, RaiseError> {
    let settings = Settings { voters_target: 1, tick_interval_ms: NO_TICK_MS, ..options.settings };
    let node = Node::start(Options { settings, ..options }).await?;
    let raised = raise(&node).await;
    node.shutdown().await;
    raised
}

async fn raise(node: &Node) -> Result<u16, RaiseError> {
    let current = node.read(Consistency::Linearizable, |state| Ok(state.meta().lineage)).await?;
    let lineage = current.checked_add(1).ok_or(RaiseError::NoneLeft)?;
    let command = Command::RaiseLineage { lineage };
    let answer = node.propose(Submitted { actor: Actor::System, idempotency: None, command }).await?;
    answer.outcome.settled.map(|_| lineage).map_err(|refusal| RaiseError::Refused(refusal.code()))
}

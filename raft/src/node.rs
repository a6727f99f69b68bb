//! One node of the cluster, as everything above replication sees it: propose, read, watch, membership.

mod core;
mod figures;
mod manage;
mod start;
mod tasks;

pub(crate) use self::core::Core;
pub use self::figures::{Figures, Readiness};

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use holdfast_ledger::State;
use holdfast_ledger::command::Submitted;
use holdfast_ledger::outcome::Outcome;
use holdfast_ledger::store::StoreError;
use holdfast_ledger::version::{Version, Versions};
use openraft::type_config::TypeConfigExt;
use openraft_rt::WatchReceiver as _;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::damage::Fault;
use crate::disk::SharedDisk;
use crate::identity::Place;
use crate::network::message::ManageMessage;
use crate::plan::{Change, Plan, Refusal};
use crate::proposer::batch::Group;
use crate::raise::{RaiseMessage, RaisePlan};
use crate::settings::Settings;
use crate::state::StateStore;
use crate::storage::StorageSettings;
use crate::transport::Transport;
use crate::types::{Intent, LogId, NodeId, NodeRecord, TypeConfig};
use crate::version::Build;

/// A node that is at most this many entries behind is ready to serve.
const READY_LAG_ENTRIES_MAX: u64 = 1_000;

/// What a node needs to run.
pub struct Options {
    /// Its data folder: [`Folder`](crate::disk::Folder) or [`SimDisk`](crate::disk::SimDisk).
    pub disk: SharedDisk,
    /// [`Grpc`](crate::transport::grpc::Grpc), or the simulator's.
    pub transport: Arc<dyn Transport>,
    /// [`SystemClock`](crate::clock::SystemClock), or the simulator's.
    pub clock: Arc<dyn Clock>,
    /// Where to listen for peers, `host:port`; port 0 lets the system choose.
    pub peer_listen: String,
    /// Where peers reach this node, if that is not where it listens.
    pub peer_addr: Option<String>,
    /// Where clients reach this node, `host:port`.
    pub http_addr: String,
    pub settings: Settings,
    /// How much memory the log and the state may take.
    pub storage: StorageSettings,
    /// What to do with a folder that belongs to no cluster yet; one that does goes on with its own.
    pub start: Start,
}

/// How a node with a new folder begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// As the only voter of a new cluster.
    Bootstrap,
    /// The same, with a cluster id that something else has chosen: its certificates.
    BootstrapAs(u128),
    /// With the place that [`Node::admit`] on a member gave it.
    Joined(Place),
    /// Not at all: the folder must belong to a cluster already.
    Continue,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the data folder belongs to no cluster yet: bootstrap one or join one")]
    NoCluster,
    #[error("the data folder: {0}")]
    Disk(std::io::Error),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("cannot listen for peers on {addr}: {error}")]
    Listen { addr: String, error: std::io::Error },
    #[error("the settings do not fit together: {0}")]
    Settings(String),
    #[error("replication does not start: {0}")]
    Replication(String),
}

/// A data folder that asks for a place in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// From [`Identity::open`](crate::identity::Identity::open). The same one gets the same node id, however often it asks.
    pub instance: u128,
    pub peer_addr: String,
    pub http_addr: String,
    /// What it wants to become. A folder that is known keeps what is written of it.
    pub intent: Intent,
    /// What its build knows.
    pub versions: Versions,
}

/// Why a change of the cluster's members was not made, or is not known to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ManageError {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("node {0} did not take over in time")]
    NotTakenOver(NodeId),
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write that was acknowledged before the read began, on whichever node.
    Linearizable,
    /// Whatever this node has applied.
    Stale,
    /// What this node has applied, once that includes this log index.
    AtLeast(u64),
}

/// The decision about one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub outcome: Outcome,
    /// The entry that carried the command.
    pub index: u64,
    /// Ledger time after that entry.
    pub time_ms: u64,
}

/// Why there is no answer. Never a decision of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unavailable {
    /// Nothing was done: no leader that a quorum follows is in reach. Try again.
    #[error("no leader with a quorum is in reach")]
    NoLeader,
    /// It may or may not have been done: ask again with the same idempotency key.
    #[error("the outcome is not known")]
    Unknown,
    /// Nothing was done: too much is waiting already.
    #[error("too many requests are waiting")]
    Overloaded,
    /// Nothing was done: the command does not fit into one entry.
    #[error("the request is too large")]
    TooLarge,
    /// This node is stopping or has stopped on a fault of its storage.
    #[error("this node is stopping")]
    Stopping,
    /// Nothing was done: the cluster is at a version that does not know this yet.
    #[error("this needs version {needs} of the cluster, which is at {version}: `holdfast cluster raise`")]
    Version { needs: Version, version: Version },
}

impl Unavailable {
    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Unavailable::NoLeader => "no_leader",
            Unavailable::Unknown => "unknown",
            Unavailable::Overloaded => "overloaded",
            Unavailable::TooLarge => "too_large",
            Unavailable::Stopping => "stopping",
            Unavailable::Version { .. } => "version",
        }
    }
}

/// A running node. Clones are handles to the same node.
#[derive(Clone)]
pub struct Node {
    running: Arc<Running>,
}

/// Ends the node's tasks when the last handle is dropped. A node that is to answer what is under way is shut down instead.
struct Running {
    core: Arc<Core>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.core.stop.raise();
    }
}

/// What a node knows of itself and its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub node_id: NodeId,
    pub cluster_id: u128,
    pub leader: Option<NodeId>,
    pub term: u64,
    pub last_log_index: u64,
    pub committed_index: u64,
    pub applied_index: u64,
    /// Voters first, each with its record; the flag says whether it is a voter.
    pub members: Vec<(NodeId, NodeRecord, bool)>,
    /// Leader known, caught up, storage fine, not stopping.
    pub ready: bool,
    /// What the cluster is at, as far as this node has applied.
    pub version: Version,
    /// What this node runs.
    pub build: Build,
}

/// What the leader knows of its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub leader: NodeId,
    /// Members that have answered the leader within an election time-out, and the leader itself.
    pub live: BTreeSet<NodeId>,
    /// How many entries each member is behind the leader, where it is known.
    pub lag_entries: BTreeMap<NodeId, u64>,
}

impl Node {
    /// Starts a node: opens its folder, listens for peers, and goes on where it stopped.
    pub async fn start(options: Options) -> Result<Node, StartError> {
        let core = start::start(options).await?;
        Ok(Node { running: Arc::new(Running { core }) })
    }

    /// Proposes one command and answers when it has been applied; proposals that arrive together travel as one entry.
    pub async fn propose(&self, submitted: Submitted) -> Result<Answer, Unavailable> {
        let mut answers = self.propose_many(vec![submitted]).await?;
        // An answer that does not fit the question says nothing about what was done.
        answers.pop().ok_or(Unavailable::Unknown)
    }

    /// Proposes commands that travel in one entry, in this order.
    pub async fn propose_many(&self, submitted: Vec<Submitted>) -> Result<Vec<Answer>, Unavailable> {
        let core = &self.running.core;
        core.check_running()?;
        core.proposer().propose(Group::encode(&submitted), false).await
    }

    /// Waits until the state here is as fresh as asked, then runs `query` on one consistent state. `query` is to be short
    /// (one page): apply waits for it.
    pub async fn read<T>(
        &self,
        consistency: Consistency,
        query: impl FnOnce(&State<StateStore>) -> Result<T, StoreError>,
    ) -> Result<T, Unavailable> {
        let core = &self.running.core;
        let fresh = async {
            match consistency {
                // A node that has stopped on a fault still serves what it has.
                Consistency::Stale => Ok(0),
                Consistency::AtLeast(index) => core.applied(index).await,
                Consistency::Linearizable => {
                    core.check_running()?;
                    core.applied(core.reads().index(false).await?).await
                }
            }
        };
        let timeout = core.settings.read_timeout();
        TypeConfig::timeout(timeout, fresh).await.unwrap_or(Err(Unavailable::NoLeader))?;
        core.state()?.with_state(query).map_err(|error| {
            tracing::error!(%error, "the state cannot be read");
            Unavailable::Stopping
        })
    }

    /// Runs a long `query` on what this node has applied, on a thread that may block. Apply waits for it, and so do writes
    /// that are made here: the caller bounds it.
    pub async fn scan<T: Send + 'static>(
        &self,
        query: impl FnOnce(&State<StateStore>) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let state = self.running.core.state()?.clone();
        Ok(crate::runtime::blocking(move || state.with_state(query)).await)
    }

    /// Resolves once this node has applied more than `index`, with what it has applied. Never, once the node has stopped.
    pub fn applied_beyond(&self, index: u64) -> impl Future<Output = u64> + Send + 'static {
        let applied = self.running.core.state().map(|state| state.applied());
        async move {
            let Ok(mut applied) = applied else { return std::future::pending().await };
            match applied.wait_until_ge(&(index + 1)).await {
                Ok(applied) => applied,
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// For what else a node does, beside this file.
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.running.core
    }

    pub fn status(&self) -> Status {
        let core = &self.running.core;
        let leader = core.leader_lately();
        let metrics = core.metrics();
        let index = |log_id: Option<LogId>| log_id.map_or(0, |log_id| log_id.index());
        let committed_index = index(metrics.cluster_committed).max(index(metrics.local_committed));
        // Metrics follow a little behind what was answered.
        let applied_index = core.state().map_or(index(metrics.last_applied), |state| state.applied_index());
        let committed_index = committed_index.max(applied_index);
        let membership = metrics.membership_config.membership();
        // While the voters change there are two sets of them: who is in one only is not one yet, or not any more.
        let votes = |id: &NodeId| membership.get_joint_config().iter().all(|voters| voters.contains(id));
        let mut members: Vec<_> = membership.nodes().map(|(id, record)| (*id, record.clone(), votes(id))).collect();
        members.sort_by_key(|(id, _, votes)| (!votes, *id));
        Status {
            node_id: core.node_id(),
            cluster_id: core.links.place.cluster_id,
            leader,
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            committed_index,
            applied_index,
            members,
            version: core.links.version(),
            build: Build::of(core.versions),
            ready: core.check_running().is_ok()
                && leader.is_some()
                && committed_index > 0
                && applied_index + READY_LAG_ENTRIES_MAX >= committed_index,
        }
    }

    /// How far the members have come. On any member: asks the leader, once.
    pub async fn progress(&self) -> Result<Progress, Unavailable> {
        self.running.core.progress().await
    }

    /// Gives a data folder its place in the cluster, as a learner; it becomes a voter once it has caught up, while there are
    /// fewer voters than `voters_target`. On any member: asks the leader.
    pub async fn admit(&self, request: JoinRequest) -> Result<Place, ManageError> {
        let core = &self.running.core;
        let node_id = core.manage(ManageMessage::Admit(request)).await?;
        Ok(Place { cluster_id: core.links.place.cluster_id, node_id })
    }

    /// What a change of the members would do, or, without one, how they stand. On any member: asks the leader, once.
    pub async fn plan(&self, change: Option<Change>) -> Result<Plan, Unavailable> {
        self.running.core.plan(change).await
    }

    /// Makes a change of the members, unless its plan refuses it; with `basis`, only on the membership that was planned on. On
    /// any member: asks the leader. A leader that is to go hands leadership over first.
    pub async fn change(&self, change: Change, basis: Option<u64>) -> Result<(), ManageError> {
        self.running.core.manage(ManageMessage::Change { change, basis }).await.map(|_| ())
    }

    /// What raising the cluster's version would do, as high as the leader's build knows if no version is named. On any member.
    pub async fn plan_raise(&self, to: Option<Version>) -> Result<RaisePlan, ManageError> {
        self.running.core.raise(RaiseMessage { to, make: false, certificate: None }).await
    }

    /// Raises the cluster's version, unless the plan refuses it: there is no way back. On any member: asks the leader. The audit
    /// names `certificate`, the SHA-256 of the one that the operator has shown; the cluster itself where there is none.
    pub async fn raise(&self, to: Option<Version>, certificate: Option<[u8; 32]>) -> Result<RaisePlan, ManageError> {
        self.running.core.raise(RaiseMessage { to, make: true, certificate }).await
    }

    /// Hands leadership to the voter `to`, and returns when it leads. On any member: asks the leader.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), ManageError> {
        self.change(Change::Transfer { to }, None).await
    }

    /// Takes a member out of the cluster, unless the live voters that are left would be no quorum. On any member.
    pub async fn remove(&self, node_id: NodeId) -> Result<(), ManageError> {
        self.change(Change::Remove { node_id }, None).await
    }

    /// Where this node listens for peers, with the port that was chosen.
    pub fn peer_addr(&self) -> &str {
        &self.running.core.listens
    }

    /// Resolves when this node must stop because of its storage or its own state; the fault is one line.
    pub fn fatal(&self) -> impl Future<Output = Fault> + Send + 'static {
        let fatal = self.running.core.fatal.clone();
        async move { fatal.wait().await }
    }

    /// Hands leadership to the voter that is nearest, if this node leads and there is one that answers; returns within a bounded time.
    pub async fn hand_over(&self) {
        start::hand_over(&self.running.core).await;
    }

    /// Hands leadership over if it can, answers what is under way, flushes, and stops. Later calls return at once.
    pub async fn shutdown(&self) {
        start::stop(&self.running.core).await;
    }
}

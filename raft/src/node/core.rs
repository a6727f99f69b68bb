//! What the tasks of one node share, and how it carries proposals and finds read indexes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::future::{Either, select};
use holdfast_ledger::outcome::Applied;
use holdfast_ledger::planted::{self, Bug, at_work};
use holdfast_ledger::version::{Version, Versions};
use openraft::errors::{ClientWriteError, RaftError};
use openraft::type_config::TypeConfigExt;
use openraft::{RaftMetrics, ReadPolicy, ServerState};
#[cfg(not(madsim))]
use openraft_rt::Instant as _;
use openraft_rt::WatchReceiver as _;

use super::Unavailable;
use crate::clock::ClockGuard;
use crate::damage::Fatal;
use crate::format;
use crate::network::Links;
use crate::network::message::method;
use crate::proposer::batch::{Group, encode_groups};
use crate::proposer::{Carried, Carrier, GroupAnswer, Leader, Proposer};
use crate::reads::{IndexSource, Reads};
use crate::runtime::WatchReceiver;
use crate::session::Lane;
use crate::settings::Settings;
use crate::stages::{Note, Stages};
use crate::state::{Raft, StateHandle};
use crate::stop::Stop;
use crate::storage::Closing;
use crate::types::{NodeId, NodeRecord, Payload, TypeConfig};

/// Between two looks whether the clocks have agreed.
const CLOCK_LOOK: Duration = Duration::from_millis(20);

/// One node, for its own tasks.
pub(crate) struct Core {
    pub links: Arc<Links>,
    pub raft: Raft,
    /// Given back when the node stops: the databases stay open for as long as somebody holds it.
    pub(super) state: Mutex<Option<StateHandle>>,
    pub guard: ClockGuard,
    pub fatal: Fatal,
    /// When the newest entries came how far.
    pub stages: Arc<Stages>,
    pub settings: Settings,
    pub stop: Stop,
    /// What this build knows, as it runs.
    pub versions: Versions,
    /// The id of the data folder.
    pub instance: u128,
    /// How this node wants to be known.
    pub record: NodeRecord,
    /// Where it listens for peers.
    pub listens: String,
    /// When a leader's append last came, by the monotonic clock, in milliseconds; 0: none has come since the start.
    pub heard_ms: AtomicU64,
    /// Bytes of entries that came into the log since the last look at them.
    pub logged_bytes: AtomicU64,
    /// One change of the members at a time.
    pub members: tokio::sync::Mutex<()>,
    /// All entries of the log with a lower index are synced.
    pub synced_end: WatchReceiver<u64>,
    /// Taken when the node stops.
    pub closing: Mutex<Option<Closing>>,
    pub proposer: OnceLock<Proposer>,
    pub reads: OnceLock<Reads>,
}

impl Core {
    /// The state, until the node has stopped.
    pub fn state(&self) -> Result<StateHandle, Unavailable> {
        self.state.lock().expect("no holder of the state panics").clone().ok_or(Unavailable::Stopping)
    }

    /// Gives the state back.
    pub fn release_state(&self) {
        self.state.lock().expect("no holder of the state panics").take();
    }

    pub fn node_id(&self) -> NodeId {
        self.links.place.node_id
    }

    pub fn proposer(&self) -> &Proposer {
        self.proposer.get().expect("set before the first session is accepted")
    }

    pub fn reads(&self) -> &Reads {
        self.reads.get().expect("set before the first session is accepted")
    }

    pub fn metrics(&self) -> RaftMetrics<TypeConfig> {
        self.raft.metrics().borrow_watched().clone()
    }

    /// What the membership says of a node.
    pub fn record_of(&self, id: NodeId) -> Option<NodeRecord> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().get_node(&id).cloned()
    }

    /// Waits until the log is durable up to the entry at `index`, or to a snapshot that took its place.
    pub async fn synced(&self, index: u64) -> Result<(), Unavailable> {
        let mut synced_end = self.synced_end.clone();
        while *synced_end.borrow_watched() <= index {
            tokio::select! {
                biased;
                () = self.stop.wait() => return Err(Unavailable::Stopping),
                changed = synced_end.changed() => changed.map_err(|_| Unavailable::Stopping)?,
            }
        }
        Ok(())
    }

    /// Whether this node cannot tell a member from a stranger: it has a place, and has not heard yet who else has one.
    pub fn knows_nobody(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().nodes().next().is_none()
    }

    pub fn leads(&self) -> bool {
        self.raft.server_metrics().borrow_watched().state == ServerState::Leader
    }

    pub fn leader(&self) -> Leader {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state == ServerState::Leader {
            return Leader::Me;
        }
        let Some(id) = metrics.current_leader.filter(|id| *id != self.node_id()) else { return Leader::Unknown };
        match metrics.membership_config.membership().get_node(&id) {
            Some(record) => Leader::Other(id, record.clone()),
            None => Leader::Unknown,
        }
    }

    /// The leader, if it was heard of within two election time-outs: openraft names one until there is another.
    pub fn leader_lately(&self) -> Option<NodeId> {
        let metrics = self.metrics();
        let silent_ms = match metrics.state {
            // A voter that is alone has nobody who acknowledges.
            ServerState::Leader if metrics.membership_config.membership().voter_ids().eq([self.node_id()]) => 0,
            ServerState::Leader => metrics.last_quorum_acked.map_or(u64::MAX, |at| at.elapsed().as_millis() as u64),
            // The stored vote names a leader too, which may be long gone.
            _ => match self.heard_ms.load(Ordering::Relaxed) {
                0 => u64::MAX,
                heard_ms => self.guard.monotonic_ms().saturating_sub(heard_ms),
            },
        };
        metrics.current_leader.filter(|_| silent_ms <= 2 * self.settings.election_max_ms)
    }

    /// Resolves when the leader, the vote or the membership is another one. Never, once replication has stopped: whoever waits
    /// bounds the time, and would otherwise ask again at once, for as long as he is ready to wait.
    pub async fn leader_changed(&self) {
        let mut metrics = self.raft.server_metrics();
        drop(metrics.borrow_and_update());
        if metrics.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Sleeps, unless the node stops meanwhile. Returns whether it goes on.
    pub async fn sleep(&self, duration: Duration) -> bool {
        let sleep = std::pin::pin!(TypeConfig::sleep(duration));
        let stop = std::pin::pin!(self.stop.wait());
        matches!(select(stop, sleep).await, Either::Right(_))
    }

    /// Resolves once the clocks have agreed for the first time.
    async fn first_time(&self) {
        while !self.guard.has_time() {
            TypeConfig::sleep(CLOCK_LOOK).await;
        }
    }

    /// Nothing new is begun on a node that stops.
    pub fn check_running(&self) -> Result<(), Unavailable> {
        if self.stop.is_raised() || self.fatal.latched().is_some() {
            return Err(Unavailable::Stopping);
        }
        Ok(())
    }

    /// Waits until this node has applied `index`.
    pub async fn applied(&self, index: u64) -> Result<u64, Unavailable> {
        let mut applied = self.state()?.applied();
        let applied = std::pin::pin!(applied.wait_until_ge(&index));
        let stop = std::pin::pin!(self.stop.wait());
        match select(stop, applied).await {
            Either::Right((Ok(applied), _)) => Ok(applied),
            _ => Err(Unavailable::Stopping),
        }
    }
}

impl Core {
    /// Tells what an entry would do if it were the next, for [`Bug::PublishBeforeCommit`].
    fn foresee(&self, Payload(payload): &Payload) {
        let next = self.metrics().last_log_index.unwrap_or_default() + 1;
        let (Ok(state), Ok(batch)) = (self.state(), self.versions.read(payload)) else { return };
        planted::foresee(self.node_id(), state.foresee(next, &batch));
    }
}

impl Carrier for Core {
    fn leader(&self) -> Leader {
        Core::leader(self)
    }

    async fn leader_changed(&self) {
        Core::leader_changed(self).await
    }

    async fn stamp(&self) -> u64 {
        if !self.guard.has_time() {
            let wait = Duration::from_millis(self.settings.clock_wait_ms);
            let _ = TypeConfig::timeout(wait, self.first_time()).await;
        }
        // Without a state this node has stopped, and what is stamped goes nowhere.
        let ledger_ms = || self.state().map_or(0, |state| state.with_state(|state| state.meta().now_ms));
        self.guard.stamp(ledger_ms).time_ms
    }

    fn version(&self) -> Version {
        self.links.version()
    }

    async fn write(&self, payload: Payload) -> Carried<Applied> {
        self.logged_bytes.fetch_add(payload.0.len() as u64, Ordering::Relaxed);
        if at_work(Bug::PublishBeforeCommit) {
            self.foresee(&payload);
        }
        match self.raft.client_write(payload).await {
            Ok(written) => match written.data.0 {
                Some(applied) => Carried::Answered(applied),
                // Its outcome was part of a snapshot that was installed.
                None => Carried::Unknown,
            },
            // The entry was in the log and is not any more here; it may still be committed by another leader.
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => Carried::Unknown,
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Carried::NotProposed,
            Err(error) => {
                tracing::warn!(%error, "a proposal has no answer");
                Carried::Unknown
            }
        }
    }

    fn note(&self, index: u64) -> Option<Note> {
        self.stages.of(index)
    }

    async fn forward(
        &self,
        to: NodeId,
        record: &NodeRecord,
        groups: Vec<Group>,
        timeout: Duration,
    ) -> Carried<Vec<GroupAnswer>> {
        let body = encode_groups(groups.iter());
        match self.links.call(to, record, Lane::Proposals, method::PROPOSE, &body, timeout).await {
            Ok(answer) => match format::decode(&answer) {
                Ok(answers) => Carried::Answered(answers),
                Err(error) => {
                    tracing::warn!(%error, leader = to, "the leader's answer cannot be read");
                    Carried::Unknown
                }
            },
            Err(error) if error.not_sent() => Carried::NotProposed,
            Err(error) => {
                tracing::debug!(%error, leader = to, "forwarded proposals have no answer");
                Carried::Unknown
            }
        }
    }
}

impl IndexSource for Core {
    fn leader(&self) -> Leader {
        Core::leader(self)
    }

    async fn leader_changed(&self) {
        Core::leader_changed(self).await
    }

    async fn confirm(&self) -> Carried<u64> {
        if at_work(Bug::ReadWithoutQuorum) {
            return Carried::Answered(self.metrics().last_applied.map_or(0, |id| id.index()));
        }
        let confirming = self.raft.get_read_linearizer(ReadPolicy::ReadIndex);
        match TypeConfig::timeout(self.settings.read_timeout(), confirming).await {
            Ok(Ok(linearizer)) => Carried::Answered(linearizer.read_log_id().index()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no read index");
                Carried::NotProposed
            }
            Err(_) => Carried::NotProposed,
        }
    }

    async fn ask(&self, to: NodeId, record: &NodeRecord) -> Carried<u64> {
        let timeout = self.settings.election_max();
        let asked = self.links.call(to, record, Lane::Control, method::READ_INDEX, &[], timeout).await;
        let index = asked.ok().and_then(|answer| format::decode::<Result<u64, Unavailable>>(&answer).ok());
        match index {
            Some(Ok(index)) => Carried::Answered(index),
            _ => Carried::NotProposed,
        }
    }
}

//! Changes of the members: asked for on any node, made by the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::InstantOf;
use openraft::{ChangeMembers, Precondition};
use openraft_rt::WatchReceiver as _;

use super::{Core, JoinRequest, ManageError, Progress, Unavailable};
use crate::format;
use crate::members::{self, View};
use crate::network::LinkError;
use crate::network::message::{ManageAnswer, ManageMessage, method};
use crate::proposer::Leader;
use crate::session::{CallError, Lane};
use crate::types::{NodeId, TypeConfig};

/// Between two attempts at a change while another one is under way.
const TRY_AGAIN: Duration = Duration::from_millis(50);

type Written = Result<ClientWriteResponse<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

impl Core {
    /// Makes a change here if this node leads, or asks the leader; looks for one for a while.
    pub async fn manage(&self, change: ManageMessage) -> ManageAnswer {
        let look_until = TypeConfig::now() + self.settings.leader_wait();
        loop {
            self.check_running()?;
            let answer = match self.leader() {
                Leader::Me => self.manage_here(change.clone()).await,
                Leader::Other(to, record) => {
                    let body = format::encode(&change);
                    let timeout = self.settings.proposal_timeout();
                    let asked = self.links.call(to, &record, Lane::Proposals, method::MANAGE, &body, timeout).await;
                    self.read_answer(asked)
                }
                Leader::Unknown => Err(Unavailable::NoLeader.into()),
            };
            let nothing_done = matches!(answer, Err(ManageError::Unavailable(Unavailable::NoLeader)));
            if !nothing_done || TypeConfig::now() >= look_until {
                return answer;
            }
            let _ = TypeConfig::timeout(TRY_AGAIN, self.leader_changed()).await;
        }
    }

    fn read_answer(&self, asked: Result<bytes::Bytes, LinkError>) -> ManageAnswer {
        match asked {
            Ok(answer) => format::decode(&answer).unwrap_or(Err(Unavailable::Unknown.into())),
            Err(error) if error.not_sent() => Err(Unavailable::NoLeader.into()),
            Err(LinkError::Call(CallError::Failed(failure))) => {
                tracing::warn!(%failure, "the leader cannot change the members");
                Err(Unavailable::NoLeader.into())
            }
            Err(_) => Err(Unavailable::Unknown.into()),
        }
    }

    /// How far the members have come, as the leader knows it; asks it, if that is another node.
    pub async fn progress(&self) -> Result<Progress, Unavailable> {
        self.check_running()?;
        match self.leader() {
            Leader::Me => self.progress_here().await,
            Leader::Other(to, record) => {
                let timeout = self.settings.election_max();
                let asked = self.links.call(to, &record, Lane::Control, method::PROGRESS, &[], timeout).await;
                let answer = asked.map_err(|_| Unavailable::NoLeader)?;
                format::decode(&answer).unwrap_or(Err(Unavailable::NoLeader))
            }
            Leader::Unknown => Err(Unavailable::NoLeader),
        }
    }

    /// How far the members have come, if this node leads.
    pub async fn progress_here(&self) -> Result<Progress, Unavailable> {
        if !self.leads() {
            return Err(Unavailable::NoLeader);
        }
        let View { live, mut lag_entries, leader, .. } = self.view().await?;
        lag_entries.insert(leader, 0);
        Ok(Progress { leader, live, lag_entries })
    }

    /// Makes a change, if this node leads.
    pub async fn manage_here(&self, change: ManageMessage) -> ManageAnswer {
        if !self.leads() {
            return Err(Unavailable::NoLeader.into());
        }
        let _one_at_a_time = self.members.lock().await;
        match change {
            ManageMessage::Admit(request) => self.admit_here(request).await,
            ManageMessage::TransferLeader { to } => self.transfer_here(to).await.map(|()| 0),
            ManageMessage::Remove { node_id } => self.remove_here(node_id).await.map(|()| 0),
        }
    }

    async fn admit_here(&self, request: JoinRequest) -> ManageAnswer {
        let record = members::record(&request);
        if let Some((id, known)) = self.view().await?.member_of(request.instance) {
            if *known != record {
                let moved = ChangeMembers::SetNodes(BTreeMap::from([(id, record)]));
                self.change(moved, true).await?;
            }
            return Ok(id);
        }
        let blank = self.raft.write_blank().await.map_err(manage_error)?;
        let lineage = self.state()?.with_state(|state| state.meta().lineage);
        let id = members::node_id(lineage, blank.log_id.index());
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(id, record)])), true).await?;
        tracing::info!(node_id = id, peer_addr = request.peer_addr, "a node has joined");
        Ok(id)
    }

    async fn remove_here(&self, node_id: NodeId) -> Result<(), ManageError> {
        let view = self.answering(self.view().await?).await;
        view.may_remove(node_id)?;
        let leaving = BTreeSet::from([node_id]);
        let change = match view.voters.contains(&node_id) {
            true => ChangeMembers::RemoveVoters(leaving),
            false => ChangeMembers::RemoveNodes(leaving),
        };
        self.change(change, false).await
    }

    async fn transfer_here(&self, to: NodeId) -> Result<(), ManageError> {
        self.view().await?.may_lead(to)?;
        if to == self.node_id() {
            return Ok(());
        }
        self.raft.trigger().transfer_leader(to).await.map_err(|_| Unavailable::Stopping)?;
        let mut metrics = self.raft.server_metrics();
        let taken_over = metrics.wait_until(|metrics| metrics.current_leader == Some(to));
        match TypeConfig::timeout(self.settings.election_max() * 2, taken_over).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Unavailable::Stopping.into()),
            Err(_) => Err(ManageError::NotTakenOver(to)),
        }
    }

    /// Changes the membership; while another change is under way, tries again for as long as one waits for a leader.
    async fn change(
        &self,
        change: ChangeMembers<NodeId, crate::types::NodeRecord>,
        retain: bool,
    ) -> Result<(), ManageError> {
        let try_until = TypeConfig::now() + self.settings.leader_wait();
        loop {
            let changed: Written = self.raft.change_membership(change.clone(), retain).await;
            match changed.map_err(manage_error) {
                Err(ManageError::InProgress) if TypeConfig::now() < try_until => TypeConfig::sleep(TRY_AGAIN).await,
                changed => return changed.map(|_| ()),
            }
        }
    }

    /// Makes voters of the learners that can be, as the leader.
    pub async fn promote(&self) {
        let _one_at_a_time = self.members.lock().await;
        let last_membership_log_id = *self.metrics().membership_config.log_id();
        let Ok(view) = self.view().await else { return };
        let (target, lag_max) = (self.settings.voters_target, self.settings.promotion_lag_entries_max);
        let ready = view.to_promote(target, lag_max);
        if ready.is_empty() || self.answering(view).await.to_promote(target, lag_max) != ready {
            return;
        }
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id };
        let change = ChangeMembers::AddVoterIds(ready.clone());
        match self.raft.change_membership_if(change, true, [unchanged]).await {
            Ok(_) => tracing::info!(?ready, "learners have become voters"),
            Err(error) => tracing::info!(%error, ?ready, "learners could not become voters yet"),
        }
    }

    /// The same view, in which only those are live who answer right now: what was heard within an election time-out may be of
    /// somebody who has gone since.
    async fn answering(&self, mut view: View) -> View {
        let timeout = Duration::from_millis(self.settings.election_min_ms);
        let others = view.nodes.iter().filter(|(id, _)| **id != self.node_id() && view.live.contains(id));
        let asked = others.map(|(id, record)| async move {
            let answer = self.links.call(*id, record, Lane::Control, method::CLOCK, &[], timeout).await;
            answer.ok().map(|_| *id)
        });
        let answered = futures_util::future::join_all(asked).await;
        view.live = answered.into_iter().flatten().chain([self.node_id()]).collect();
        view
    }

    /// What this node, leading, knows of the members.
    pub async fn view(&self) -> Result<View, Unavailable> {
        // The metrics may not have a change yet that has just been made; what Raft itself has is asked for through its queue.
        let membership = self.raft.with_raft_state(|state| state.membership_state.effective().membership().clone());
        let membership = membership.await.map_err(|_| Unavailable::Stopping)?;
        let metrics = self.metrics();
        let last = metrics.last_log_index.unwrap_or(0);
        let now = TypeConfig::now();
        let recent = |at: &InstantOf<TypeConfig>| now - *at <= self.settings.election_max();
        let heard = metrics.heartbeat.iter().flatten();
        let live = heard.filter(|(_, at)| at.as_ref().is_some_and(|at| recent(at))).map(|(id, _)| *id);
        let matched = metrics.replication.iter().flatten();
        let lag = matched.filter_map(|(id, log_id)| Some((*id, last.saturating_sub(log_id.as_ref()?.index()))));
        Ok(View {
            voters: membership.voter_ids().collect(),
            nodes: membership.nodes().map(|(id, record)| (*id, record.clone())).collect(),
            live: live.chain([self.node_id()]).collect(),
            lag_entries: lag.collect(),
            leader: self.node_id(),
        })
    }
}

fn manage_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ManageError {
    use ChangeMembershipError as Change;
    match error {
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => Unavailable::Unknown.into(),
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => Unavailable::NoLeader.into(),
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            Change::InProgress(_) | Change::UncommittedLeaderLog(_),
        )) => ManageError::InProgress,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(Change::LearnerNotFound(missing))) => {
            ManageError::NotAMember(missing.node_id)
        }
        error => {
            tracing::warn!(%error, "the members could not be changed");
            Unavailable::Unknown.into()
        }
    }
}

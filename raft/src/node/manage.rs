//! Changes of the members: asked for on any node, made by the leader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_ledger::planted;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::InstantOf;
use openraft::{ChangeMembers, Precondition};
use openraft_rt::WatchReceiver as _;

use super::{Core, JoinRequest, ManageError, Progress, Unavailable};
use crate::format;
use crate::members;
use crate::network::LinkError;
use crate::network::message::{ManageAnswer, ManageMessage, method};
use crate::plan::{Change, Plan, Refusal, View};
use crate::proposer::Leader;
use crate::proposer::batch::Group;
use crate::raise::{self, RaiseMessage, RaisePlan};
use crate::session::{CallError, Lane};
use crate::types::{Intent, LogId, NodeId, NodeRecord, TypeConfig};
use crate::version::Build;

/// Between two attempts at a change while another one is under way.
const TRY_AGAIN: Duration = Duration::from_millis(50);

type Members = ChangeMembers<NodeId, NodeRecord>;

impl Core {
    /// Makes a change here if this node leads, or asks the leader; looks for one for a while.
    pub async fn manage(&self, change: ManageMessage) -> ManageAnswer {
        // Long enough for leadership to be handed over first.
        let look_until = TypeConfig::now() + self.settings.leader_wait() + self.settings.election_max() * 2;
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

    /// What a change would do, as the leader knows it; asks it, if that is another node.
    pub async fn plan(&self, change: Option<Change>) -> Result<Plan, Unavailable> {
        self.check_running()?;
        match self.leader() {
            Leader::Me => self.plan_here(change).await,
            Leader::Other(to, record) => {
                let timeout = self.settings.election_max();
                let body = format::encode(&change);
                let asked = self.links.call(to, &record, Lane::Control, method::PLAN, &body, timeout).await;
                let answer = asked.map_err(|_| Unavailable::NoLeader)?;
                format::decode(&answer).unwrap_or(Err(Unavailable::NoLeader))
            }
            Leader::Unknown => Err(Unavailable::NoLeader),
        }
    }

    /// What a change would do, if this node leads.
    pub async fn plan_here(&self, change: Option<Change>) -> Result<Plan, Unavailable> {
        if !self.leads() {
            return Err(Unavailable::NoLeader);
        }
        let changing = self.members.try_lock().is_err();
        let mut plan = self.view().await?.plan(change, self.lag_max());
        if changing {
            plan.refusal = Some(Refusal::InProgress);
        }
        Ok(plan)
    }

    /// Raises the cluster's version or says what that would do; asks the leader, if that is another node.
    pub async fn raise(&self, message: RaiseMessage) -> Result<RaisePlan, ManageError> {
        self.check_running()?;
        match self.leader() {
            Leader::Me => self.raise_here(message).await,
            Leader::Other(to, record) => {
                let body = format::encode(&message);
                let timeout = self.settings.proposal_timeout();
                match self.links.call(to, &record, Lane::Proposals, method::RAISE, &body, timeout).await {
                    Ok(answer) => format::decode(&answer).unwrap_or(Err(Unavailable::Unknown.into())),
                    Err(error) if error.not_sent() => Err(Unavailable::NoLeader.into()),
                    Err(_) => Err(Unavailable::Unknown.into()),
                }
            }
            Leader::Unknown => Err(Unavailable::NoLeader.into()),
        }
    }

    /// Raises the cluster's version or says what that would do, if this node leads. Nobody joins meanwhile.
    pub async fn raise_here(&self, message: RaiseMessage) -> Result<RaisePlan, ManageError> {
        if !self.leads() {
            return Err(Unavailable::NoLeader.into());
        }
        let _one_at_a_time = self.members.lock().await;
        let view = self.answering(self.view().await?).await;
        // Whoever has answered has said before what it runs now.
        let view = View { builds: self.links.builds(Build::of(self.versions)), ..view };
        let plan = raise::plan(&view, Build::of(self.versions), message.to);
        if !message.make {
            return Ok(plan);
        }
        if let Some(refusal) = plan.refusal {
            return Err(refusal.into());
        }
        let command = Command::RaiseVersion { to: plan.to, certificate: message.certificate };
        let submitted = Submitted { actor: Actor::System, idempotency: None, command };
        let answers = self.proposer().propose(Group::encode(&[submitted]), false).await?;
        let version = self.links.version();
        match answers.first().map(|answer| &answer.outcome.settled) {
            Some(Ok(_)) => Ok(RaisePlan { version: plan.to, ..plan }),
            Some(Err(_)) => Err(Refusal::VersionReached { version }.into()),
            None => Err(Unavailable::Unknown.into()),
        }
    }

    /// Makes a change, if this node leads.
    pub async fn manage_here(&self, message: ManageMessage) -> ManageAnswer {
        if !self.leads() {
            return Err(Unavailable::NoLeader.into());
        }
        match message {
            ManageMessage::Admit(request) => {
                let _one_at_a_time = self.members.lock().await;
                self.admit_here(request).await
            }
            ManageMessage::Change { change: Change::Transfer { to }, .. } => {
                let _one_at_a_time = self.members.lock().await;
                let plan = self.view().await?.plan(Some(Change::Transfer { to }), self.lag_max());
                allowed(&plan)?;
                self.transfer_here(to).await.map(|()| 0)
            }
            ManageMessage::Change { change, basis } => {
                let one_at_a_time = self.members.try_lock();
                let _one_at_a_time = one_at_a_time.map_err(|_| Refusal::InProgress)?;
                self.change_here(change, basis).await.map(|()| 0)
            }
        }
    }

    async fn admit_here(&self, request: JoinRequest) -> ManageAnswer {
        let (view, at) = self.view_at().await?;
        if view.unfinished().is_some() {
            return Err(Refusal::Unfinished.into());
        }
        if !request.versions.contains(view.version) {
            return Err(Refusal::NewcomerTooOld { knows: request.versions, version: view.version }.into());
        }
        let record = members::record(&request);
        if let Some((id, known)) = view.member_of(request.instance) {
            let record = NodeRecord { intent: known.intent, ..record };
            if *known != record {
                self.write(ChangeMembers::SetNodes(BTreeMap::from([(id, record)])), true, at).await?;
            }
            return Ok(id);
        }
        let blank = self.raft.write_blank().await.map_err(manage_error)?;
        let lineage = self.state()?.with_state(|state| state.meta().lineage);
        let id = planted::freed_id().unwrap_or(members::node_id(lineage, blank.log_id.index()));
        self.write(ChangeMembers::AddNodes(BTreeMap::from([(id, record)])), true, at).await?;
        tracing::info!(node_id = id, peer_addr = request.peer_addr, "a node has joined");
        Ok(id)
    }

    /// Makes a change that its plan allows. Where leadership has to go elsewhere first, it is handed over, and the answer is
    /// that this node does not lead: the next leader is asked then.
    async fn change_here(&self, change: Change, basis: Option<u64>) -> Result<(), ManageError> {
        let (view, at) = self.view_at().await?;
        if basis.is_some_and(|basis| basis != view.basis) {
            return Err(Refusal::Outdated.into());
        }
        let view = self.answering(view).await;
        let plan = view.plan(Some(change.clone()), self.lag_max());
        allowed(&plan)?;
        if let Some(to) = plan.hand_over_to {
            self.transfer_here(to).await?;
            return Err(Unavailable::NoLeader.into());
        }
        let (members, retain) = written(&view, &plan, &change);
        self.write(members, retain, at).await?;
        if let Change::Remove { node_id } = &change {
            planted::note_removed(self.node_id(), *node_id);
        }
        tracing::info!(?change, "the members have changed");
        Ok(())
    }

    async fn transfer_here(&self, to: NodeId) -> Result<(), ManageError> {
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

    /// Changes the membership that was written at `at`, and no other.
    async fn write(&self, change: Members, retain: bool, at: Option<LogId>) -> Result<(), ManageError> {
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: at };
        let try_until = TypeConfig::now() + self.settings.leader_wait();
        loop {
            let changed = self.raft.change_membership_if(change.clone(), retain, [unchanged.clone()]).await;
            match changed.map_err(manage_error) {
                // A new leader's first entry, or the change before, may not be committed yet.
                Err(ManageError::Refused(Refusal::InProgress)) if TypeConfig::now() < try_until => {
                    TypeConfig::sleep(TRY_AGAIN).await
                }
                changed => return changed.map(|_| ()),
            }
        }
    }

    /// Makes the changes that are due, as the leader.
    pub async fn settle_members(&self) {
        while let Some(change) = self.due().await {
            let _one_at_a_time = self.members.lock().await;
            let Ok((view, at)) = self.view_at().await else { return };
            let view = self.answering(view).await;
            if view.due(self.settings.voters_target, self.lag_max()).as_ref() != Some(&change) {
                return;
            }
            let plan = view.plan(Some(change.clone()), self.lag_max());
            let (members, retain) = written(&view, &plan, &change);
            match self.write(members, retain, at).await {
                Ok(()) => tracing::info!(?change, "a learner has become a voter"),
                Err(error) => {
                    tracing::info!(%error, ?change, "a learner could not become a voter yet");
                    return;
                }
            }
        }
    }

    async fn due(&self) -> Option<Change> {
        self.view().await.ok()?.due(self.settings.voters_target, self.lag_max())
    }

    /// Resumes a change of the voters that nobody is making any more. `left`: which one was seen, by its log index, and since
    /// when, in milliseconds by the monotonic clock; the answer is what to say at the next look.
    pub async fn finish_what_was_left(&self, left: Option<(u64, u64)>) -> Option<(u64, u64)> {
        let one_at_a_time = self.members.try_lock().ok()?;
        let view = self.view().await.ok()?;
        view.unfinished()?;
        let now_ms = self.guard.monotonic_ms();
        let (_, since_ms) = left.filter(|(basis, _)| *basis == view.basis).unwrap_or((view.basis, now_ms));
        if now_ms.saturating_sub(since_ms) < self.settings.unfinished_wait_ms {
            return Some((view.basis, since_ms));
        }
        if let Err(error) = self.change_here(Change::Resume, Some(view.basis)).await {
            tracing::info!(%error, "a change of the voters that was left half-way cannot be resumed yet");
        }
        drop(one_at_a_time);
        None
    }

    fn lag_max(&self) -> u64 {
        self.settings.promotion_lag_entries_max
    }

    /// The same view, in which those are live who answer right now: what was heard within an election time-out may be of
    /// somebody who has gone since, and a new leader has not heard of everybody yet.
    async fn answering(&self, mut view: View) -> View {
        let timeout = Duration::from_millis(self.settings.election_min_ms);
        let others = view.nodes.iter().filter(|(id, _)| **id != self.node_id());
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
        self.view_at().await.map(|(view, _)| view)
    }

    /// The same, and where in the log the membership stands.
    async fn view_at(&self) -> Result<(View, Option<LogId>), Unavailable> {
        // The metrics may not have a change yet that has just been made; what Raft itself has is asked for through its queue.
        let effective = self.raft.with_raft_state(|state| {
            let effective = state.membership_state.effective();
            (*effective.log_id(), effective.membership().clone())
        });
        let (at, membership) = effective.await.map_err(|_| Unavailable::Stopping)?;
        let metrics = self.metrics();
        let last = metrics.last_log_index.unwrap_or(0);
        let now = TypeConfig::now();
        let recent = |at: &InstantOf<TypeConfig>| now - *at <= self.settings.election_max();
        let heard = metrics.heartbeat.iter().flatten();
        let live = heard.filter(|(_, at)| at.as_ref().is_some_and(|at| recent(at))).map(|(id, _)| *id);
        let matched = metrics.replication.iter().flatten();
        let lag = matched.filter_map(|(id, log_id)| Some((*id, last.saturating_sub(log_id.as_ref()?.index()))));
        let view = View {
            configs: membership.get_joint_config().clone(),
            nodes: membership.nodes().map(|(id, record)| (*id, record.clone())).collect(),
            live: live.chain([self.node_id()]).collect(),
            lag_entries: lag.collect(),
            leader: self.node_id(),
            basis: at.map_or(0, |at| at.index()),
            version: self.links.version(),
            builds: self.links.builds(Build::of(self.versions)),
        };
        Ok((view, at))
    }
}

fn allowed(plan: &Plan) -> Result<(), ManageError> {
    plan.refusal.clone().map_or(Ok(()), |refusal| Err(refusal.into()))
}

/// A change as openraft is asked for it, and whether voters that go stay as learners.
fn written(view: &View, plan: &Plan, change: &Change) -> (Members, bool) {
    let voters = ChangeMembers::ReplaceAllVoters(plan.after.voters.clone());
    let meaning = |id: &NodeId, intent: Intent| {
        let record = view.nodes.get(id).cloned().unwrap_or_default();
        ChangeMembers::SetNodes(BTreeMap::from([(*id, NodeRecord { intent, ..record })]))
    };
    match change {
        Change::Promote { node_id } => (ChangeMembers::Batch(vec![meaning(node_id, Intent::Voter), voters]), true),
        Change::Demote { node_id } => (ChangeMembers::Batch(vec![meaning(node_id, Intent::Learner), voters]), true),
        Change::Replace { node_id, by } if plan.before.voters.contains(node_id) => {
            (ChangeMembers::Batch(vec![meaning(by, Intent::Voter), voters]), false)
        }
        Change::Remove { node_id } if plan.before.voters.contains(node_id) => (voters, false),
        Change::Remove { node_id } => (ChangeMembers::RemoveNodes(BTreeSet::from([*node_id])), false),
        Change::Replace { node_id, by } => {
            let goes = ChangeMembers::RemoveNodes(BTreeSet::from([*node_id]));
            (ChangeMembers::Batch(vec![meaning(by, Intent::Voter), goes]), false)
        }
        Change::Resume => {
            // Who was demoted stays; who was removed goes.
            let goes = plan.before.voters.difference(&plan.after.voters);
            let goes = goes.filter(|id| view.nodes.get(id).is_some_and(|record| record.intent != Intent::Learner));
            (ChangeMembers::Batch(vec![ChangeMembers::RemoveNodes(goes.copied().collect()), voters]), true)
        }
        Change::Undo | Change::Transfer { .. } => (voters, true),
    }
}

fn manage_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ManageError {
    use ChangeMembershipError as Change;
    match error {
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => Unavailable::Unknown.into(),
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => Unavailable::NoLeader.into(),
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            Change::InProgress(_) | Change::UncommittedLeaderLog(_),
        )) => Refusal::InProgress.into(),
        RaftError::APIError(ClientWriteError::ChangeMembershipError(Change::LearnerNotFound(missing))) => {
            Refusal::NotAMember { node_id: missing.node_id }.into()
        }
        RaftError::APIError(ClientWriteError::PreconditionFailed(_)) => Refusal::Outdated.into(),
        error => {
            tracing::warn!(%error, "the members could not be changed");
            Unavailable::Unknown.into()
        }
    }
}

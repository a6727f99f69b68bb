//! Changes of the members, thought through before they are made.
//!
//! A [`Plan`] says what a change would do: who is a member and who votes before and after, how many of the voters may fail then,
//! how those involved are doing, and, if it must not be made, why. The leader makes no change that its own plan refuses, so
//! what an operator is shown and what is done are the same code. Everything here is a pure function of a [`View`].
//!
//! What this deliberately does not do: weigh. A change that is safe is not refused for being unwise; the plan shows what it costs.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_ledger::version::{Version, Versions};
use serde::{Deserialize, Serialize};

use crate::types::{Intent, NodeId, NodeRecord};
use crate::version::Build;

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A member that has caught up becomes a voter.
    Promote { node_id: NodeId },
    /// A voter becomes a learner, and stays one.
    Demote { node_id: NodeId },
    /// A learner that has caught up takes a member's place, in one step; that member goes.
    Replace { node_id: NodeId, by: NodeId },
    /// A member goes. If it leads, it hands leadership over first.
    Remove { node_id: NodeId },
    /// A voter takes leadership over.
    Transfer { to: NodeId },
    /// A change of the voters that was left half-way goes on to its end.
    Resume,
    /// A change of the voters that was left half-way is taken back.
    Undo,
}

/// Why a change is not made, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    #[error("node {node_id} is not a member: see the members with `holdfast cluster status`")]
    NotAMember { node_id: NodeId },
    #[error("node {node_id} is not a voter: promote it first")]
    NotAVoter { node_id: NodeId },
    #[error("node {node_id} votes already")]
    VotesAlready { node_id: NodeId },
    #[error("node {node_id} is the only voter: promote another one first")]
    LastVoter { node_id: NodeId },
    #[error("node {node_id} does not answer the leader: start it, or mend its network, and try again")]
    NotLive { node_id: NodeId },
    #[error(
        "node {node_id} is {lag_entries} entries behind, {lag_entries_max} are allowed: wait until it has caught up"
    )]
    Lags { node_id: NodeId, lag_entries: u64, lag_entries_max: u64 },
    #[error("node {node_id} has not told yet how far it has come: wait until it has caught up")]
    NothingKnown { node_id: NodeId },
    #[error("{live} of the {voters} voters would be live, and {quorum} are a quorum: bring voters back first")]
    QuorumLost { voters: usize, live: usize, quorum: usize },
    #[error("node {by} is at the same address: `holdfast cluster replace {by} --by {node_id}`")]
    AddressInUse { node_id: NodeId, by: NodeId },
    #[error("another change of the members is under way: wait for its end, and look with `holdfast cluster plan`")]
    InProgress,
    #[error("a change of the voters was left half-way: `holdfast cluster plan --resume` or `--undo` first")]
    Unfinished,
    #[error("no change of the voters was left half-way: there is nothing to resume or to undo")]
    NothingUnfinished,
    #[error("the cluster is at version {version} already: a version is never taken back")]
    VersionReached { version: Version },
    #[error(
        "node {node_id} runs {build}, which knows {knows}: start it with a build that knows version {version}, and try again"
    )]
    TooOld { node_id: NodeId, build: String, knows: Versions, version: Version },
    #[error(
        "node {node_id} has not said which build it runs: wait until it has been in touch with the leader, and try again"
    )]
    BuildNotKnown { node_id: NodeId },
    #[error("the newcomer's build knows {knows}, and the cluster is at version {version}: start a build that knows it")]
    NewcomerTooOld { knows: Versions, version: Version },
    #[error("the members have changed since this was planned: look at the plan again")]
    Outdated,
}

impl Refusal {
    /// A name that stays the same, for scripts.
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NotAMember { .. } => "not_a_member",
            Refusal::NotAVoter { .. } => "not_a_voter",
            Refusal::VotesAlready { .. } => "votes_already",
            Refusal::LastVoter { .. } => "last_voter",
            Refusal::NotLive { .. } => "not_live",
            Refusal::Lags { .. } => "lags",
            Refusal::NothingKnown { .. } => "nothing_known",
            Refusal::QuorumLost { .. } => "quorum_lost",
            Refusal::AddressInUse { .. } => "address_in_use",
            Refusal::InProgress => "in_progress",
            Refusal::Unfinished => "unfinished",
            Refusal::NothingUnfinished => "nothing_unfinished",
            Refusal::VersionReached { .. } => "version_reached",
            Refusal::TooOld { .. } => "too_old",
            Refusal::BuildNotKnown { .. } => "build_not_known",
            Refusal::NewcomerTooOld { .. } => "newcomer_too_old",
            Refusal::Outdated => "outdated",
        }
    }
}

/// The cluster on one side of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    pub members: BTreeSet<NodeId>,
    pub voters: BTreeSet<NodeId>,
    /// How many of the voters may fail while a quorum is left, if all are live.
    pub faults_tolerated: usize,
    /// The same for those that are live now; 0 as well where there is no quorum at all.
    pub faults_tolerated_now: usize,
}

/// How a member is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub node_id: NodeId,
    pub peer_addr: String,
    pub http_addr: String,
    /// The random id of its data folder, 32 hex digits.
    pub instance: String,
    pub intent: Intent,
    pub voter: bool,
    pub leads: bool,
    /// Has answered the leader within an election time-out.
    pub live: bool,
    /// How many entries it is behind the leader, where that is known.
    pub lag_entries: Option<u64>,
    /// What it runs, where it has told the leader.
    pub build: Option<Build>,
}

/// What a change would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// `None`: only a look at what is.
    pub change: Option<Change>,
    pub before: Side,
    pub after: Side,
    /// All members, as the leader sees them.
    pub members: Vec<Standing>,
    /// Leadership goes here first, as whoever leads is to go.
    pub hand_over_to: Option<NodeId>,
    /// The voters from which, and to which, a change was left half-way.
    pub unfinished: Option<(BTreeSet<NodeId>, BTreeSet<NodeId>)>,
    /// The log entry of the membership that this was planned on. A change that names it is made on no other.
    pub basis: u64,
    /// What the cluster is at.
    pub version: Version,
    pub refusal: Option<Refusal>,
}

/// What the leader knows of the members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The voters; two sets while they change.
    pub configs: Vec<BTreeSet<NodeId>>,
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    /// Members that have answered the leader within an election time-out, and the leader itself.
    pub live: BTreeSet<NodeId>,
    /// How many entries each member is behind the leader.
    pub lag_entries: BTreeMap<NodeId, u64>,
    pub leader: NodeId,
    /// The log entry of this membership.
    pub basis: u64,
    /// What the cluster is at.
    pub version: Version,
    /// What the members run, where they have said so.
    pub builds: BTreeMap<NodeId, Build>,
}

/// The members and voters that a change leads to.
struct Goal {
    members: BTreeSet<NodeId>,
    voters: BTreeSet<NodeId>,
}

fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

impl View {
    /// Everybody who votes, in whichever set.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.configs.iter().flatten().copied().collect()
    }

    /// The voters from which and to which a change was left half-way.
    pub fn unfinished(&self) -> Option<(&BTreeSet<NodeId>, &BTreeSet<NodeId>)> {
        match self.configs.as_slice() {
            [from, .., to] => Some((from, to)),
            _ => None,
        }
    }

    /// The member with this data folder.
    pub fn member_of(&self, instance: u128) -> Option<(NodeId, &NodeRecord)> {
        self.nodes.iter().find(|(_, record)| record.instance == instance).map(|(id, record)| (*id, record))
    }

    /// Another member that says that it is where this one is.
    pub fn at_same_address(&self, id: NodeId) -> Option<NodeId> {
        let address = &self.nodes.get(&id)?.peer_addr;
        self.nodes.iter().find(|(other, known)| **other != id && known.peer_addr == *address).map(|(other, _)| *other)
    }

    fn members(&self) -> BTreeSet<NodeId> {
        self.nodes.keys().copied().collect()
    }

    fn side(&self, members: BTreeSet<NodeId>, configs: &[BTreeSet<NodeId>]) -> Side {
        let least = |count: &dyn Fn(&BTreeSet<NodeId>) -> usize| configs.iter().map(count).min().unwrap_or(0);
        Side {
            members,
            voters: configs.iter().flatten().copied().collect(),
            faults_tolerated: least(&|voters| voters.len().saturating_sub(quorum(voters.len()))),
            faults_tolerated_now: least(&|voters| {
                voters.intersection(&self.live).count().saturating_sub(quorum(voters.len()))
            }),
        }
    }

    fn known(&self, node_id: NodeId) -> Result<(), Refusal> {
        if self.nodes.contains_key(&node_id) { Ok(()) } else { Err(Refusal::NotAMember { node_id }) }
    }

    fn voting(&self, node_id: NodeId) -> Result<(), Refusal> {
        self.known(node_id)?;
        if self.voters().contains(&node_id) { Ok(()) } else { Err(Refusal::NotAVoter { node_id }) }
    }

    fn live(&self, node_id: NodeId) -> Result<(), Refusal> {
        if self.live.contains(&node_id) { Ok(()) } else { Err(Refusal::NotLive { node_id }) }
    }

    /// Whether the member can become a voter: it does not vote, is live, and has caught up.
    pub fn caught_up(&self, node_id: NodeId, lag_entries_max: u64) -> Result<(), Refusal> {
        self.known(node_id)?;
        if self.voters().contains(&node_id) {
            return Err(Refusal::VotesAlready { node_id });
        }
        self.live(node_id)?;
        match self.lag_entries.get(&node_id) {
            Some(lag) if *lag <= lag_entries_max => Ok(()),
            Some(lag) => Err(Refusal::Lags { node_id, lag_entries: *lag, lag_entries_max }),
            None => Err(Refusal::NothingKnown { node_id }),
        }
    }

    fn quorum_of(&self, voters: &BTreeSet<NodeId>) -> Result<(), Refusal> {
        let (count, live) = (voters.len(), voters.intersection(&self.live).count());
        match live >= quorum(count) {
            true => Ok(()),
            false => Err(Refusal::QuorumLost { voters: count, live, quorum: quorum(count) }),
        }
    }

    /// Where a change leads, unless it must not be made.
    fn goal(&self, change: &Change, lag_entries_max: u64) -> (Goal, Result<(), Refusal>) {
        let mut goal = Goal { members: self.members(), voters: self.configs.last().cloned().unwrap_or_default() };
        let voters = goal.voters.len();
        let allowed = match *change {
            Change::Resume | Change::Undo => {
                if let (Change::Undo, Some((from, _))) = (change, self.unfinished()) {
                    goal.voters = from.clone();
                }
                self.unfinished().map(|_| ()).ok_or(Refusal::NothingUnfinished)
            }
            Change::Transfer { to } => self.voting(to).and_then(|()| self.live(to)),
            _ if self.unfinished().is_some() => Err(Refusal::Unfinished),
            Change::Promote { node_id } => {
                goal.voters.insert(node_id);
                let alone = || match self.at_same_address(node_id) {
                    Some(by) => Err(Refusal::AddressInUse { node_id, by }),
                    None => Ok(()),
                };
                self.caught_up(node_id, lag_entries_max).and_then(|()| alone())
            }
            Change::Demote { node_id } => {
                goal.voters.remove(&node_id);
                self.voting(node_id).and_then(|()| self.not_alone(node_id, voters))
            }
            Change::Replace { node_id, by } => {
                if goal.voters.remove(&node_id) {
                    goal.voters.insert(by);
                }
                goal.members.remove(&node_id);
                self.known(node_id).and_then(|()| self.caught_up(by, lag_entries_max))
            }
            Change::Remove { node_id } => {
                goal.voters.remove(&node_id);
                goal.members.remove(&node_id);
                self.known(node_id).and_then(|()| self.not_alone(node_id, voters))
            }
        };
        let allowed = allowed.and_then(|()| self.agreed(change, &goal));
        (goal, allowed)
    }

    /// Whether those who must agree to a change are live: a quorum of the voters after it, and of those before it.
    fn agreed(&self, change: &Change, goal: &Goal) -> Result<(), Refusal> {
        match change {
            // The voters stay as they are.
            Change::Transfer { .. } => Ok(()),
            // What is left half-way is agreed to already; its end needs those alone who vote then.
            Change::Resume | Change::Undo => self.quorum_of(&goal.voters),
            _ => {
                self.quorum_of(&goal.voters)?;
                self.configs.iter().try_for_each(|voters| self.quorum_of(voters))
            }
        }
    }

    fn not_alone(&self, node_id: NodeId, voters: usize) -> Result<(), Refusal> {
        match voters == 1 && self.voters().contains(&node_id) {
            true => Err(Refusal::LastVoter { node_id }),
            false => Ok(()),
        }
    }

    /// The voter to whom leadership goes first: live, staying, and nearest to the leader's log.
    fn successor(&self, voters: &BTreeSet<NodeId>) -> Option<NodeId> {
        let now = self.voters();
        let able = voters.iter().filter(|id| **id != self.leader && now.contains(id) && self.live.contains(id));
        able.min_by_key(|id| self.lag_entries.get(id).copied().unwrap_or(u64::MAX)).copied()
    }

    /// What `change` would do; without one, what is.
    pub fn plan(&self, change: Option<Change>, lag_entries_max: u64) -> Plan {
        let before = self.side(self.members(), &self.configs);
        let (after, allowed, hand_over_to) = match &change {
            None => (before.clone(), Ok(()), None),
            Some(change) => {
                let (goal, allowed) = self.goal(change, lag_entries_max);
                let stays = goal.voters.contains(&self.leader);
                let hand_over_to = if stays { None } else { self.successor(&goal.voters) };
                let allowed = match (&allowed, stays, hand_over_to) {
                    // A leader that is to go hands over to somebody who votes already; where nobody can take over, it stays.
                    (Ok(()), false, None) => Err(Refusal::LastVoter { node_id: self.leader }),
                    _ => allowed,
                };
                (self.side(goal.members, &[goal.voters]), allowed, hand_over_to)
            }
        };
        let after = if allowed.is_ok() { after } else { before.clone() };
        Plan {
            change,
            before,
            after,
            members: self.standings(),
            hand_over_to: hand_over_to.filter(|_| allowed.is_ok()),
            unfinished: self.unfinished().map(|(from, to)| (from.clone(), to.clone())),
            basis: self.basis,
            version: self.version,
            refusal: allowed.err(),
        }
    }

    fn standings(&self) -> Vec<Standing> {
        let votes = |id: &NodeId| self.configs.iter().all(|voters| voters.contains(id));
        let standing = |(id, record): (&NodeId, &NodeRecord)| Standing {
            node_id: *id,
            peer_addr: record.peer_addr.clone(),
            http_addr: record.http_addr.clone(),
            instance: format!("{:032x}", record.instance),
            intent: record.intent,
            voter: votes(id),
            leads: *id == self.leader,
            live: self.live.contains(id),
            lag_entries: if *id == self.leader { Some(0) } else { self.lag_entries.get(id).copied() },
            build: self.builds.get(id).cloned(),
        };
        let mut standings: Vec<_> = self.nodes.iter().map(standing).collect();
        standings.sort_by_key(|standing| (!standing.voter, standing.node_id));
        standings
    }

    /// What the leader does without being asked: a learner that has caught up and came for a member's place takes it; others
    /// become voters while there are fewer than wanted, all voters are live, and no other member claims the same address.
    pub fn due(&self, voters_target: usize, lag_entries_max: u64) -> Option<Change> {
        if self.unfinished().is_some() {
            return None;
        }
        let voters = self.voters();
        let ready = |id: &NodeId| self.caught_up(*id, lag_entries_max).is_ok();
        let replacing = self.nodes.iter().find_map(|(id, record)| match record.intent {
            Intent::InPlaceOf(node_id) if ready(id) && self.nodes.contains_key(&node_id) => {
                Some(Change::Replace { node_id, by: *id })
            }
            _ => None,
        });
        // Whoever came for a place while its holder is still at work has to be told so by an operator.
        let replacing = replacing.filter(|change| match change {
            Change::Replace { node_id, .. } => {
                !self.live.contains(node_id) && self.plan(Some(change.clone()), lag_entries_max).refusal.is_none()
            }
            _ => false,
        });
        if replacing.is_some() {
            return replacing;
        }
        if voters.len() >= voters_target || !voters.is_subset(&self.live) {
            return None;
        }
        let wants = |id: &NodeId| match self.nodes[id].intent {
            Intent::Voter => true,
            Intent::Learner => false,
            // Its place is free: the member that it came for has gone already.
            Intent::InPlaceOf(node_id) => !self.nodes.contains_key(&node_id),
        };
        let learner = self.nodes.keys().find(|id| wants(id) && ready(id) && self.at_same_address(**id).is_none())?;
        Some(Change::Promote { node_id: *learner })
    }
}

#[cfg(test)]
mod tests;

//! Proposals on their way into the log: those that arrive together travel as one entry.
//!
//! A proposal waits in a bounded queue until a batch can go; a batch takes what is there, whole groups in the order of
//! arrival, and a few batches are under way at once. On the leader a batch is stamped and written as one entry. Elsewhere it
//! is forwarded to the leader as it is, where it joins the leader's own queue: one hop, never two.
//!
//! What is certain decides what happens to a batch that failed. If nothing was proposed, it is tried again for a while, as an
//! election may be under way. If it may have been proposed, it is not, and the caller learns that the outcome is unknown.

pub mod batch;
mod slow;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use holdfast_ledger::outcome::Applied;
use holdfast_ledger::planted::{Bug, at_work};
use holdfast_ledger::version::{FIRST, Version};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::InstantOf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::node::{Answer, Unavailable};
use crate::settings::Settings;
use crate::stages::{Note, Spent};
use crate::stop::Stop;
use crate::types::{NodeId, NodeRecord, Payload, TypeConfig};
use batch::Group;
use slow::SlowLog;

/// How long a batch waits before it looks for the leader again, if nobody tells it that there is one.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a leader that another one has followed may still take to answer a batch. One that handed over answers at once; one
/// that is halted or cut off does not, and those who wait behind the batch need not wait for it.
const LATE_ANSWER: Duration = Duration::from_millis(100);
/// What may wait in the queue altogether, in KiB.
const QUEUED_KIB_MAX: usize = 128 << 10;

/// The answers to one group, one a command.
pub type GroupAnswer = Result<Vec<Answer>, Unavailable>;

/// Who leads, as far as this node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leader {
    Me,
    Other(NodeId, NodeRecord),
    Unknown,
}

/// What became of an entry or of a forwarded batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried<T> {
    Answered(T),
    /// It is certain that nothing was proposed.
    NotProposed,
    Unknown,
}

/// What proposals are carried by: the node, or a test.
pub trait Carrier: Send + Sync + 'static {
    fn leader(&self) -> Leader;

    /// Resolves when another leader may be known, or never.
    fn leader_changed(&self) -> impl Future<Output = ()> + Send;

    /// The leader's time for an entry.
    fn stamp(&self) -> impl Future<Output = u64> + Send;

    /// What the cluster is at, as far as this node has applied.
    fn version(&self) -> Version {
        FIRST
    }

    /// Writes one entry and waits until it is applied.
    fn write(&self, payload: Payload) -> impl Future<Output = Carried<Applied>> + Send;

    /// When an entry came how far on this node, if that is still known.
    fn note(&self, _index: u64) -> Option<Note> {
        None
    }

    /// Forwards groups to the leader and waits for an answer to each.
    fn forward(
        &self,
        to: NodeId,
        record: &NodeRecord,
        groups: Vec<Group>,
        timeout: Duration,
    ) -> impl Future<Output = Carried<Vec<GroupAnswer>>> + Send;
}

/// One group, and who waits for it.
struct Proposal {
    group: Group,
    /// Came from another node: it goes no further.
    forwarded: bool,
    answer: oneshot::Sender<GroupAnswer>,
    /// When it was queued.
    at: InstantOf<TypeConfig>,
    _queued: OwnedSemaphorePermit,
}

impl Proposal {
    fn answer(self, answer: GroupAnswer) {
        // Whoever asked may have gone.
        let _ = self.answer.send(answer);
    }
}

/// The queue's front end. Clones are the same queue.
#[derive(Clone)]
pub struct Proposer {
    queue: mpsc::Sender<Proposal>,
    room: Arc<Semaphore>,
    entry_bytes_max: usize,
}

impl Proposer {
    /// Starts the task that carries proposals until `stop` is raised.
    pub fn start<C: Carrier>(carrier: Arc<C>, settings: &Settings, stop: Stop) -> Proposer {
        let (queue, proposals) = mpsc::channel(settings.proposals_queued_max);
        let proposer = Proposer {
            queue,
            room: Arc::new(Semaphore::new(QUEUED_KIB_MAX)),
            entry_bytes_max: settings.entry_bytes_max,
        };
        tokio::spawn(run(carrier, proposals, settings.clone(), stop));
        proposer
    }

    /// Proposes a group and waits for its answer. `forwarded`: another node sent it here because this one leads.
    pub async fn propose(&self, group: Group, forwarded: bool) -> GroupAnswer {
        let answer = self.ask(group, forwarded).await;
        if let Err(unavailable) = &answer {
            metrics::counter!("holdfast_proposals_failed_total", "reason" => unavailable.name()).increment(1);
        }
        answer
    }

    async fn ask(&self, group: Group, forwarded: bool) -> GroupAnswer {
        if group.commands() == 0 {
            return Ok(Vec::new());
        }
        if !group.fits(self.entry_bytes_max) {
            return Err(Unavailable::TooLarge);
        }
        let kib = (group.bytes() / 1024 + 1) as u32;
        let queued = self.room.clone().try_acquire_many_owned(kib).map_err(|_| Unavailable::Overloaded)?;
        let (answer, answered) = oneshot::channel();
        let proposal = Proposal { group, forwarded, answer, at: TypeConfig::now(), _queued: queued };
        self.queue.try_send(proposal).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unavailable::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Unavailable::Stopping,
        })?;
        // The task went away with the batch: it may have been proposed.
        answered.await.unwrap_or(Err(Unavailable::Unknown))
    }

    /// Takes nothing more in, and resolves when everything is answered.
    pub async fn drained(&self) {
        if let Ok(everything) = self.room.acquire_many(QUEUED_KIB_MAX as u32).await {
            everything.forget();
        }
    }
}

async fn run<C: Carrier>(carrier: Arc<C>, mut queue: mpsc::Receiver<Proposal>, settings: Settings, stop: Stop) {
    let slow = SlowLog::new(settings.slow_operation_ms);
    let mut in_flight = FuturesUnordered::new();
    let mut first = None;
    loop {
        if first.is_none() {
            first = tokio::select! {
                biased;
                _ = stop.wait() => break,
                Some(()) = in_flight.next(), if !in_flight.is_empty() => continue,
                proposal = queue.recv(), if in_flight.len() < settings.batches_in_flight_max => match proposal {
                    Some(proposal) => Some(proposal),
                    None => break,
                },
            };
            // Whoever is about to propose as well gets on this batch.
            tokio::task::yield_now().await;
        }
        if in_flight.len() >= settings.batches_in_flight_max {
            tokio::select! {
                biased;
                _ = stop.wait() => break,
                _ = in_flight.next() => {}
            }
            continue;
        }
        if let Some(proposal) = first.take() {
            let (batch, left_over) = gather(proposal, &mut queue, &settings);
            first = left_over;
            in_flight.push(carry(carrier.clone(), batch, &settings, &slow));
        }
    }
    queue.close();
    while let Ok(proposal) = queue.try_recv() {
        proposal.answer(Err(Unavailable::Stopping));
    }
    if let Some(proposal) = first {
        proposal.answer(Err(Unavailable::Stopping));
    }
}

/// Takes from the queue what fits into one entry with `first`; what did not fit any more begins the next one.
fn gather(
    first: Proposal,
    queue: &mut mpsc::Receiver<Proposal>,
    settings: &Settings,
) -> (VecDeque<Proposal>, Option<Proposal>) {
    let (mut commands, mut bytes) = (first.group.commands(), first.group.bytes());
    let mut batch = VecDeque::from([first]);
    while let Ok(next) = queue.try_recv() {
        commands += next.group.commands();
        bytes += next.group.bytes();
        if commands > settings.entry_commands_max || bytes > settings.entry_bytes_max {
            return (batch, Some(next));
        }
        batch.push_back(next);
    }
    (batch, None)
}

/// Carries one batch to its answers.
async fn carry<C: Carrier>(carrier: Arc<C>, batch: VecDeque<Proposal>, settings: &Settings, slow: &SlowLog) {
    let begun = TypeConfig::now();
    let mut look_until = begun + settings.leader_wait();
    let mut deadline = begun + settings.proposal_timeout();
    if at_work(Bug::RetryBlindly) {
        look_until = deadline + settings.proposal_timeout();
    }
    let mut batch = Vec::from(batch);
    loop {
        if at_work(Bug::RetryBlindly) {
            deadline = TypeConfig::now() + settings.proposal_timeout();
        }
        batch = refuse_early(&*carrier, batch);
        batch = match carrier.leader() {
            Leader::Me => write(&*carrier, batch, deadline, slow).await,
            Leader::Other(id, record) => forward(&*carrier, id, &record, batch, deadline).await,
            Leader::Unknown => batch,
        };
        if batch.is_empty() {
            return;
        }
        let now = TypeConfig::now();
        if now >= look_until {
            return answer_all(batch, Unavailable::NoLeader);
        }
        let pause = LOOK_AGAIN.min(look_until - now);
        let _ = TypeConfig::timeout(pause, carrier.leader_changed()).await;
    }
}

/// Answers what the cluster's version does not know yet. Returns the others.
fn refuse_early<C: Carrier>(carrier: &C, batch: Vec<Proposal>) -> Vec<Proposal> {
    let version = carrier.version();
    let (batch, early): (Vec<_>, Vec<_>) = batch.into_iter().partition(|proposal| proposal.group.needs() <= version);
    for proposal in early {
        let needs = proposal.group.needs();
        proposal.answer(Err(Unavailable::Version { needs, version }));
    }
    batch
}

fn answer_all(batch: Vec<Proposal>, error: Unavailable) {
    for proposal in batch {
        proposal.answer(Err(error.clone()));
    }
}

/// Writes `batch` as one entry. Returns what is certain not to have been proposed.
async fn write<C: Carrier>(
    carrier: &C,
    batch: Vec<Proposal>,
    deadline: InstantOf<TypeConfig>,
    slow: &SlowLog,
) -> Vec<Proposal> {
    let begun = TypeConfig::now();
    let time_ms = carrier.stamp().await;
    let payload = batch::payload(carrier.version(), time_ms, batch.iter().map(|proposal| &proposal.group));
    let written = TypeConfig::timeout_at(deadline, carrier.write(payload)).await;
    match written.unwrap_or(Carried::Unknown) {
        Carried::Answered(applied) => {
            let (index, commands) = (applied.index, applied.outcomes.len());
            let first = batch.iter().map(|proposal| proposal.at).min().unwrap_or(begun);
            split(batch, applied);
            let spent = Spent::new(first, begun, carrier.note(index));
            slow.answered(index, commands, TypeConfig::now() - first, &spent);
        }
        Carried::Unknown if at_work(Bug::RetryBlindly) => return batch,
        Carried::Unknown => answer_all(batch, Unavailable::Unknown),
        Carried::NotProposed => return batch,
    }
    Vec::new()
}

/// Gives each proposal the outcomes of its own commands.
fn split(batch: Vec<Proposal>, applied: Applied) {
    let commands: usize = batch.iter().map(|proposal| proposal.group.commands()).sum();
    assert_eq!(applied.outcomes.len(), commands, "an entry has one outcome for each command");
    let (index, time_ms) = (applied.index, applied.time_ms);
    let mut outcomes = applied.outcomes.into_iter().map(|outcome| Answer { outcome, index, time_ms });
    for proposal in batch {
        let answers = outcomes.by_ref().take(proposal.group.commands()).collect();
        proposal.answer(Ok(answers));
    }
}

/// Forwards `batch` to the leader. Returns what is certain not to have been proposed.
async fn forward<C: Carrier>(
    carrier: &C,
    to: NodeId,
    record: &NodeRecord,
    batch: Vec<Proposal>,
    deadline: InstantOf<TypeConfig>,
) -> Vec<Proposal> {
    let (forwarded, own): (Vec<_>, Vec<_>) = batch.into_iter().partition(|proposal| proposal.forwarded);
    answer_all(forwarded, Unavailable::NoLeader);
    if own.is_empty() {
        return own;
    }
    let groups = own.iter().map(|proposal| proposal.group.clone()).collect();
    let timeout = deadline - TypeConfig::now();
    let answer = carrier.forward(to, record, groups, timeout);
    match unless_another_leads(carrier, to, answer).await {
        Carried::Answered(answers) if answers.len() == own.len() => {
            let mut again = Vec::new();
            for (proposal, answer) in own.into_iter().zip(answers) {
                match answer {
                    Err(Unavailable::NoLeader) => again.push(proposal),
                    answer => proposal.answer(answer),
                }
            }
            again
        }
        Carried::Unknown if at_work(Bug::RetryBlindly) => own,
        Carried::Answered(_) | Carried::Unknown => {
            answer_all(own, Unavailable::Unknown);
            Vec::new()
        }
        Carried::NotProposed => own,
    }
}

/// The answer of the leader `to`, or [`Unknown`](Carried::Unknown) once another node leads and it has still not come.
async fn unless_another_leads<C: Carrier, T>(
    carrier: &C,
    to: NodeId,
    answer: impl Future<Output = Carried<T>>,
) -> Carried<T> {
    let followed = async {
        another_leads(to, || carrier.leader(), || carrier.leader_changed()).await;
        TypeConfig::sleep(LATE_ANSWER).await;
    };
    match select(std::pin::pin!(answer), std::pin::pin!(followed)).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => Carried::Unknown,
    }
}

/// Resolves once another node than `to` leads. `changed` resolves when another leader may be known, or never.
pub(crate) async fn another_leads<F: Future + Send>(to: NodeId, leader: impl Fn() -> Leader, changed: impl Fn() -> F) {
    loop {
        match leader() {
            Leader::Me => return,
            Leader::Other(id, _) if id != to => return,
            Leader::Other(..) | Leader::Unknown => {}
        }
        let _ = TypeConfig::timeout(LOOK_AGAIN, changed()).await;
    }
}

#[cfg(all(test, not(madsim)))]
mod tests;

//! Read indexes: how far a state must have come so that reading it is linearizable.
//!
//! The leader's commit index, once a quorum has confirmed that it still leads, is such an index for every read that was asked
//! for before the confirmation began (Raft dissertation, section 6.4). So reads that arrive while one round is under way wait
//! together for the next one: the cost is a round, however many they are. Followers ask the leader for the index and read
//! their own state.
//!
//! What this deliberately does not do: read under the leader's lease. A voter that was restarted forgets that it granted one.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use holdfast_ledger::planted::{Bug, at_work};
use openraft::type_config::TypeConfigExt;
use tokio::sync::{mpsc, oneshot};

use crate::node::Unavailable;
use crate::proposer::{Carried, Leader, another_leads};
use crate::settings::Settings;
use crate::stop::Stop;
use crate::types::{NodeId, NodeRecord, TypeConfig};

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Where read indexes come from: the node, or a test.
pub trait IndexSource: Send + Sync + 'static {
    fn leader(&self) -> Leader;

    /// Resolves when another leader may be known, or never.
    fn leader_changed(&self) -> impl Future<Output = ()> + Send;

    /// Confirms that this node leads, and says up to where its log is committed.
    fn confirm(&self) -> impl Future<Output = Carried<u64>> + Send;

    /// Asks the leader.
    fn ask(&self, to: NodeId, record: &NodeRecord) -> impl Future<Output = Carried<u64>> + Send;
}

struct Waiting {
    /// Came from another node: it goes no further.
    forwarded: bool,
    answer: oneshot::Sender<Result<u64, Unavailable>>,
}

/// The queue's front end. Clones are the same queue.
#[derive(Clone)]
pub struct Reads {
    queue: mpsc::Sender<Waiting>,
}

impl Reads {
    /// Starts the task that makes the rounds until `stop` is raised.
    pub fn start<S: IndexSource>(source: Arc<S>, settings: &Settings, stop: Stop) -> Reads {
        let (queue, waiting) = mpsc::channel(settings.reads_queued_max);
        tokio::spawn(run(source, waiting, settings.clone(), stop));
        Reads { queue }
    }

    /// An index that includes everything that was acknowledged anywhere before this call.
    pub async fn index(&self, forwarded: bool) -> Result<u64, Unavailable> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Waiting { forwarded, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unavailable::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Unavailable::Stopping,
        })?;
        answered.await.unwrap_or(Err(Unavailable::Stopping))
    }
}

async fn run<S: IndexSource>(source: Arc<S>, mut queue: mpsc::Receiver<Waiting>, settings: Settings, stop: Stop) {
    loop {
        let first = tokio::select! {
            biased;
            _ = stop.wait() => return,
            first = queue.recv() => match first {
                Some(first) => first,
                None => return,
            },
        };
        let mut waiting = vec![first];
        while let Ok(next) = queue.try_recv() {
            waiting.push(next);
        }
        tokio::select! {
            biased;
            _ = stop.wait() => return,
            _ = round(&*source, waiting, &settings) => {}
        }
    }
}

/// Answers everybody in `waiting` with one index, or with why there is none.
async fn round<S: IndexSource>(source: &S, mut waiting: Vec<Waiting>, settings: &Settings) {
    let look_until = TypeConfig::now() + settings.leader_wait();
    loop {
        let carried = match source.leader() {
            Leader::Me => source.confirm().await,
            Leader::Other(..) if at_work(Bug::ReadFromFollower) => Carried::Answered(0),
            Leader::Other(id, record) => {
                waiting = answer(waiting, Err(Unavailable::NoLeader), |waiting| waiting.forwarded);
                if waiting.is_empty() {
                    return;
                }
                ask(source, id, &record).await
            }
            Leader::Unknown => Carried::NotProposed,
        };
        if let Carried::Answered(index) = carried {
            answer(waiting, Ok(index), |_| true);
            return;
        }
        let now = TypeConfig::now();
        if now >= look_until {
            answer(waiting, Err(Unavailable::NoLeader), |_| true);
            return;
        }
        let pause = LOOK_AGAIN.min(look_until - now);
        let _ = TypeConfig::timeout(pause, source.leader_changed()).await;
    }
}

/// Asks the leader `to`, as long as no other node leads: one that is halted or cut off does not hold up the round.
async fn ask<S: IndexSource>(source: &S, to: NodeId, record: &NodeRecord) -> Carried<u64> {
    let followed = another_leads(to, || source.leader(), || source.leader_changed());
    match select(std::pin::pin!(source.ask(to, record)), std::pin::pin!(followed)).await {
        Either::Left((index, _)) => index,
        Either::Right(_) => Carried::NotProposed,
    }
}

/// Answers those for whom `whom` holds, and returns the others.
fn answer(waiting: Vec<Waiting>, result: Result<u64, Unavailable>, whom: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
    let (answered, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(whom);
    for one in answered {
        // Whoever asked may have gone.
        let _ = one.answer.send(result.clone());
    }
    others
}

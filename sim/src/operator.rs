//! Whoever looks after the machines: replaces those that lost their data, and takes nodes out of the cluster.
//!
//! He sits at a machine of his own and asks the leader over the network, again and again, since answers get lost. What he has
//! brought about he sees in what the leader says of its members, not in the answer.

use std::sync::Arc;
use std::time::Duration;

use holdfast_raft::node::ManageError;
use holdfast_raft::plan::Refusal;
use holdfast_raft::types::NodeId;
use madsim::net::Endpoint;
use tokio::time::sleep;

use crate::clocks::elapsed;
use crate::evidence;
use crate::hop::{BackUp, RaiseVersion, Remove, Transfer};
use crate::machine::http_addr;
use crate::world::World;

/// How long he waits for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
const TRY_AGAIN: Duration = Duration::from_millis(300);
/// How long it takes until he notices that a machine has given up.
const NOTICED_AFTER: Duration = Duration::from_millis(1_000);
/// A relay that has stopped looks again within this.
const RELAY_LOOKED_AFTER: Duration = Duration::from_millis(4_000);
/// How long he watches a machine that came back with an old folder.
const WATCHED_FOR: Duration = Duration::from_millis(2_000);

impl World {
    /// The operator does something; nobody waits for him.
    pub fn operate(self: &Arc<World>, doing: impl Future<Output = ()> + Send + 'static) {
        self.operator().spawn(doing);
    }

    /// A machine that has lost its data gets an empty disk and joins anew; what it was before is taken out.
    pub async fn replace(self: Arc<World>, number: u32) {
        let Some(old) = self.begin_replacing(number) else { return };
        sleep(NOTICED_AFTER).await;
        self.ground.trace.note(format_args!("operator replaces n{number}, node {old}"));
        self.empty(number);
        self.expel(old).await;
        self.end_replacing(number);
    }

    /// Takes a machine out of the cluster, and brings it back at `ends`: empty, or, where it `returns`, with its old folder first.
    pub async fn take_out(self: Arc<World>, number: u32, fault: u32, returns: bool, ends: Duration) {
        let Some(old) = self.begin_replacing(number) else { return };
        self.expel(old).await;
        self.ground.trace.note(format_args!("operator has taken out n{number}, node {old}"));
        self.take_down(number, fault);
        if !returns {
            self.wipe(number);
        }
        sleep(ends.saturating_sub(elapsed())).await;
        self.bring_back(number, fault);
        if returns {
            sleep(WATCHED_FOR).await;
            self.empty(number);
        }
        self.end_replacing(number);
    }

    /// A machine that was not there comes with an empty disk.
    pub fn arrive(&self, number: u32) {
        self.ground.trace.note(format_args!("n{number} arrives"));
        self.ground.present.arrive(number);
        self.empty(number);
    }

    /// Takes a machine out of the cluster for good, when all are there and enough stay.
    pub async fn depart(self: Arc<World>, number: u32) {
        while self.ground.present.count() > 1 && !self.is_safe_to_lose() {
            sleep(TRY_AGAIN).await;
        }
        let Some(old) = self.begin_replacing(number) else { return };
        self.expel(old).await;
        self.ground.trace.note(format_args!("operator has taken out n{number}, node {old}, for good"));
        self.ground.present.depart(number);
        self.empty(number);
        self.end_replacing(number);
    }

    /// A machine that runs on an old copy of its folder is watched, and replaced if it does not find its place again.
    pub async fn watch_old(self: Arc<World>, number: u32) {
        sleep(WATCHED_FOR).await;
        if !self.is_in_place(number) {
            self.replace(number).await;
        }
    }

    /// Raises the cluster's version, asking again and again until it is done or his time is up.
    pub async fn raise_version(self: Arc<World>, ends: Duration) {
        let endpoint = Endpoint::bind("0.0.0.0:0").await.expect("the operator's machine has a free port");
        while elapsed() < ends {
            if let Some(leader) = self.leader() {
                let asked = endpoint.call_timeout(http_addr(leader), RaiseVersion, ANSWER_WAIT).await;
                self.ground.trace.note(format_args!("operator raises the version: {asked:?}"));
                match asked {
                    Ok(Ok(_)) | Ok(Err(ManageError::Refused(Refusal::VersionReached { .. }))) => return,
                    _ => {}
                }
            }
            sleep(TRY_AGAIN).await;
        }
    }

    /// Removes a stream that has lost events which are not kept any more, as its relay asks.
    pub async fn remove_stream(self: Arc<World>, stream: String) {
        sleep(NOTICED_AFTER).await;
        let removed = self.ground.bus.remove(&stream).await;
        self.ground.trace.note(format_args!("operator removes {stream}: {removed:?}"));
        // Until the relay has looked again, it says what it said.
        sleep(RELAY_LOOKED_AFTER).await;
        self.end_removing(&stream);
    }

    /// Sets the clocks that are behind ledger time: where most have gone back it stands still until they have caught up.
    pub fn set_clocks(&self) {
        let ledger_ms = evidence::ledger_ms(self);
        self.ground.machines.values().for_each(|machine| machine.clock.catch_up(ledger_ms));
    }

    /// Makes a backup of whichever member gives one, a follower first; he gives up when his time is up.
    pub async fn back_up(self: Arc<World>, fault: u32, ends: Duration) {
        let endpoint = Endpoint::bind("0.0.0.0:0").await.expect("the operator's machine has a free port");
        let mut number = self.leader().unwrap_or(0);
        while elapsed() < ends {
            number = self.ground.present.next(number);
            match endpoint.call_timeout(http_addr(number), BackUp, ANSWER_WAIT).await {
                Ok(Ok(kept)) => {
                    self.ground.trace.note(format_args!("operator has a backup of n{number} up to {}", kept.index));
                    return self.keep(fault, kept);
                }
                Ok(Err(why)) => self.ground.trace.note(format_args!("operator gets no backup of n{number}: {why}")),
                Err(_) => {}
            }
            sleep(TRY_AGAIN).await;
        }
    }

    /// All machines are lost, and begin anew with the backup that `fault` made.
    pub fn begin_anew(self: &Arc<World>, fault: u32) {
        let Some(numbers) = self.lose_everything(fault) else {
            return self.ground.trace.note(format_args!("fault {fault} has no backup to restore"));
        };
        self.ground.trace.note(format_args!("operator restores a backup on n{}", numbers[0]));
        let world = self.clone();
        self.operate(async move {
            sleep(NOTICED_AFTER).await;
            numbers.iter().for_each(|number| world.bring_back(*number, fault));
        });
    }

    /// Asks until no leader knows this node any more. A leader hands over first.
    pub async fn expel(&self, node_id: NodeId) {
        let endpoint = Endpoint::bind("0.0.0.0:0").await.expect("the operator's machine has a free port");
        loop {
            let (leader, members) = match self.members() {
                Some((leader, members)) if members.iter().any(|(id, _)| *id == node_id) => (leader, members),
                Some(_) => return,
                None => {
                    sleep(TRY_AGAIN).await;
                    continue;
                }
            };
            let leads = self.node_id(leader) == Some(node_id);
            let heir = members.iter().find(|(id, votes)| *votes && *id != node_id && self.is_live(*id));
            match (leads, heir) {
                (true, Some((heir, _))) => {
                    let asked = endpoint.call_timeout(http_addr(leader), Transfer(*heir), ANSWER_WAIT).await;
                    self.ground.trace.note(format_args!("operator hands over to node {heir}: {asked:?}"));
                }
                (true, None) => {}
                (false, _) => {
                    let asked = endpoint.call_timeout(http_addr(leader), Remove(node_id), ANSWER_WAIT).await;
                    self.ground.trace.note(format_args!("operator removes node {node_id}: {asked:?}"));
                }
            }
            sleep(TRY_AGAIN).await;
        }
    }
}

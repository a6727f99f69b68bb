//! What is done to the leader, and how it is made good again.

use std::time::Duration;

use holdfast_raft::plan::{Change, Plan};
use rustix::process::{Pid, Signal, kill_process};

use super::Kind;
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::membership::Operators;
use crate::operator::Asked;

/// How long a hand-over may take.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// Does it to the node of index `leader`. `heir`: who leads after a hand-over.
pub async fn act(cluster: &mut Cluster, kind: Kind, leader: usize, heir: usize) -> Result<(), Failure> {
    match kind {
        Kind::Kill => cluster.kill(leader),
        Kind::Stop => signal(cluster, leader, Signal::STOP)?,
        Kind::Drain => signal(cluster, leader, Signal::TERM)?,
        Kind::Partition => cluster.net().isolate(leader),
        Kind::Transfer => {
            let to = cluster.status().await[heir].as_ref().map(|status| status.node_id);
            let to = to.ok_or_else(|| Failure::unreachable("the heir does not answer"))?;
            let operators = Operators::at(&[cluster.members[leader].operator.to_string()], ANSWER_WAIT)?;
            let asked = Asked { change: Some(Change::Transfer { to }), basis: None };
            operators.ask::<Option<Plan>>("/cluster/change", &asked).await.map_err(|problem| problem.failure)?;
        }
    }
    Ok(())
}

/// Makes it good again.
pub fn heal(cluster: &mut Cluster, kind: Kind, leader: usize) -> Result<(), Failure> {
    match kind {
        Kind::Kill => cluster.restart(leader)?,
        Kind::Drain => {
            let ended = cluster.stop(leader);
            if !matches!(ended, Ok(Some(0))) {
                return Err(Failure::failed(format!(
                    "node {}: it did not stop as it was asked: {ended:?}",
                    leader + 1
                )));
            }
            cluster.restart(leader)?;
        }
        Kind::Stop => signal(cluster, leader, Signal::CONT)?,
        Kind::Partition => cluster.net().heal(),
        Kind::Transfer => {}
    }
    Ok(())
}

/// Makes good again whatever was done, to whichever node.
pub fn mend(cluster: &mut Cluster) -> Result<(), Failure> {
    cluster.net().heal();
    for node in 0..cluster.members.len() {
        match cluster.members[node].is_running() {
            true => signal(cluster, node, Signal::CONT)?,
            false => cluster.restart(node)?,
        }
    }
    Ok(())
}

fn signal(cluster: &Cluster, node: usize, signal: Signal) -> Result<(), Failure> {
    let pid = cluster.members[node].pid().and_then(|pid| Pid::from_raw(pid as i32));
    let pid = pid.ok_or_else(|| Failure::failed(format!("node {} does not run", node + 1)))?;
    kill_process(pid, signal).map_err(|error| Failure::failed(format!("node {}: {error}", node + 1)))
}

//! Faults of the node that relays.

use rustix::process::{Pid, Signal, kill_process};

use super::{Drill, Outcome, Setting, USUAL};

const BETWEEN: u64 = 15;

pub async fn killed(setting: Setting) -> Outcome {
    let mut drill = Drill::start(setting).await;
    for _ in 0..2 {
        let leader = drill.estate.cluster.wait_for_leader().await.expect("a leader");
        drill.estate.cluster.kill(leader);
        drill.load.wait_for(BETWEEN).await;
        drill.estate.cluster.restart(leader).expect("the node starts");
        drill.estate.cluster.wait_for_voters().await.expect("all vote again");
    }
    drill.end("relay's node killed", "SIGKILL of the leader, twice").await
}

/// The halted node wakes in the middle of what it was publishing and does not know yet that another leads: two relays at once.
pub async fn halted(setting: Setting) -> Outcome {
    let drill = Drill::start(setting).await;
    for _ in 0..2 {
        let leader = drill.estate.cluster.wait_for_leader().await.expect("a leader");
        let pid =
            drill.estate.cluster.members[leader].pid().and_then(|pid| Pid::from_raw(pid as i32)).expect("it runs");
        kill_process(pid, Signal::STOP).expect("it runs");
        drill.load.wait_for(BETWEEN).await;
        kill_process(pid, Signal::CONT).expect("it runs");
        drill.load.wait_for(BETWEEN).await;
    }
    drill
        .end("relay's node halted", "SIGSTOP of the leader until another relays, then SIGCONT: two relays, twice")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relays_node_is_killed() {
    killed(USUAL).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_at_once() {
    halted(USUAL).await.assert_clean();
}

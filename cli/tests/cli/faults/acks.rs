//! Faults between a step that is done and the broker knowing it: the worker's acknowledgement does not arrive.

use holdfast_cli::estate::Worker;

use super::{Drill, Outcome, Setting, USUAL};
use crate::support::WAIT;
use crate::support::gate::{Gate, Held};

const BETWEEN: u64 = 10;

/// Waits until an acknowledgement is on its way, and holds it back.
async fn held(gate: &Gate) -> Held {
    tokio::time::timeout(WAIT, gate.hold()).await.expect("a worker acknowledges").expect("the gate runs")
}

/// Kills the service's only worker before its acknowledgement arrives, twice, and halts it once: then it arrives late.
async fn before_the_ack(drill: &mut Drill, worker: impl Fn(&mut Drill) -> &mut Worker, gate: impl Fn(&Drill) -> &Gate) {
    for _ in 0..2 {
        let ack = held(gate(drill)).await;
        worker(drill).kill();
        drop(ack);
        worker(drill).restart().await.expect("the worker starts");
        drill.load.wait_for(BETWEEN).await;
    }
    let ack = held(gate(drill)).await;
    worker(drill).pause().expect("it runs");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    worker(drill).resume().expect("it runs");
    drop(ack);
    drill.load.wait_for(BETWEEN).await;
}

pub async fn of_payments(setting: Setting) -> Outcome {
    let mut drill = Drill::start(Setting { payments: 1, gated: true, ..setting }).await;
    before_the_ack(&mut drill, |drill| &mut drill.estate.payments[0], |drill| &drill.gates[0]).await;
    drill.end("payments before the ack", "SIGKILL twice and SIGSTOP once while an acknowledgement is under way").await
}

pub async fn of_notifications(setting: Setting) -> Outcome {
    let mut drill = Drill::start(Setting { gated: true, ..setting }).await;
    before_the_ack(&mut drill, |drill| &mut drill.estate.notifications[0], |drill| &drill.gates[1]).await;
    drill
        .end("notifications before the ack", "SIGKILL twice and SIGSTOP once while an acknowledgement is under way")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_killed_before_they_acknowledge() {
    of_payments(USUAL).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_killed_before_they_acknowledge() {
    of_notifications(USUAL).await.assert_clean();
}

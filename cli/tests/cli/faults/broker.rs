//! Faults of the broker.

use super::{DEBIAN, Drill, Outcome, Setting, USUAL};

/// Purchases that go on while the broker is away, and after it came back.
const BETWEEN: u64 = 15;

pub async fn killed(setting: Setting) -> Outcome {
    let mut drill = Drill::start(setting).await;
    for _ in 0..3 {
        drill.estate.broker.kill();
        drill.load.wait_for(BETWEEN).await;
        drill.estate.broker.restart().await.expect("the broker starts");
        drill.load.wait_for(BETWEEN).await;
    }
    drill.end("broker killed", format!("{}: SIGKILL three times under load", setting.server)).await
}

pub async fn halted(setting: Setting) -> Outcome {
    let drill = Drill::start(setting).await;
    for _ in 0..2 {
        drill.estate.broker.pause().expect("it runs");
        drill.load.wait_for(BETWEEN).await;
        drill.estate.broker.resume().expect("it runs");
        drill.load.wait_for(BETWEEN).await;
    }
    drill.end("broker halted", format!("{}: SIGSTOP twice under load", setting.server)).await
}

pub async fn wiped(setting: Setting) -> Outcome {
    let mut drill = Drill::start(setting).await;
    drill.load.wait_for(BETWEEN).await;
    drill.estate.broker.kill();
    drill.estate.broker.wipe().expect("its store is removed");
    drill.load.wait_for(BETWEEN).await;
    drill.estate.broker.restart().await.expect("the broker starts");
    drill.end("broker wiped", format!("{}: killed, its store removed, started", setting.server)).await
}

pub async fn set_back(setting: Setting) -> Outcome {
    let mut drill = Drill::start(setting).await;
    let copy = drill.dir.path().join("copy");
    drill.load.wait_for(BETWEEN).await;
    drill.estate.broker.stop();
    drill.estate.broker.save_to(&copy).expect("a copy");
    drill.estate.broker.restart().await.expect("the broker starts");
    drill.load.wait_for(BETWEEN).await;
    drill.estate.broker.kill();
    drill.estate.broker.restore_from(&copy).expect("the older copy");
    drill.load.wait_for(BETWEEN).await;
    drill.estate.broker.restart().await.expect("the broker starts");
    drill.end("broker set back", format!("{}: killed, an older copy of its store put back", setting.server)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_killed() {
    killed(USUAL).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_broker_is_killed() {
    killed(Setting { server: DEBIAN, ..USUAL }).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_halted() {
    halted(USUAL).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_wiped() {
    wiped(USUAL).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_set_back() {
    set_back(USUAL).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_broker_is_set_back() {
    set_back(Setting { server: DEBIAN, ..USUAL }).await.assert_clean();
}

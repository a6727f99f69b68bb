//! Faults of the services and of what they call, at each step of the saga.

use super::{Drill, Moment, Outcome, Setting, Step, USUAL};

const BETWEEN: u64 = 10;
/// The steps that every purchase takes.
const STEPS: [Step; 3] = [Step::Create, Step::Confirm, Step::Capture];

/// The worker is gone before the provider was asked, and after it did what it was asked: in both cases before it could say so.
pub async fn payments_killed(setting: Setting) -> Outcome {
    let mut drill = Drill::start(Setting { payments: 1, ..setting }).await;
    for step in STEPS {
        for moment in [Moment::Arrived, Moment::Done] {
            let caught = drill.caught(step, moment).await;
            drill.estate.payments[0].kill();
            drop(caught);
            drill.estate.payments[0].restart().await.expect("the worker starts");
            drill.load.wait_for(BETWEEN).await;
        }
    }
    drill.end("payments killed", "SIGKILL at create, confirm and capture, before and after each took effect").await
}

/// A worker stops in the middle of a step, another one takes the payment over, and then the first goes on where it was.
pub async fn payments_halted(setting: Setting) -> Outcome {
    let drill = Drill::start(Setting { payments: 2, ..setting }).await;
    for (step, moment) in STEPS.into_iter().flat_map(|step| [(step, Moment::Arrived), (step, Moment::Done)]) {
        let caught = drill.caught(step, moment).await;
        // Whose request it is cannot be told from outside: each is halted in turn while the answer waits.
        for worker in &drill.estate.payments {
            worker.pause().expect("it runs");
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            worker.resume().expect("it runs");
        }
        drop(caught);
        drill.load.wait_for(BETWEEN).await;
    }
    drill.end("payments halted", "SIGSTOP of each of two workers while an answer is under way, then SIGCONT").await
}

pub async fn answers_dropped(setting: Setting) -> Outcome {
    let drill = Drill::start(setting).await;
    for step in STEPS {
        for moment in [Moment::Arrived, Moment::Done, Moment::Done] {
            drill.caught(step, moment).await.drop_answer();
        }
        drill.load.wait_for(BETWEEN).await;
    }
    drill.end("provider's answers dropped", "connection closed at each step, before and after it took effect").await
}

pub async fn notifications_killed(setting: Setting) -> Outcome {
    let mut drill = Drill::start(Setting { mails_refused: 3, ..setting }).await;
    for _ in 0..3 {
        drill.load.wait_for(BETWEEN).await;
        drill.estate.notifications[0].kill();
        drill.load.wait_for(BETWEEN).await;
        drill.estate.notifications[0].restart().await.expect("the worker starts");
    }
    drill
        .end("notifications killed", "SIGKILL three times; the mail server refuses the first three mails for now")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_killed_at_every_step() {
    payments_killed(USUAL).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_halted_in_the_middle() {
    payments_halted(USUAL).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_providers_answers_are_dropped() {
    answers_dropped(USUAL).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_killed() {
    notifications_killed(USUAL).await.assert_clean();
}

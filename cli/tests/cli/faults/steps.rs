//! Each step of the saga by itself, with orders of the test's own beside the load: also those that an ordinary sale does not
//! take, letting go of money and giving it back.

use std::time::{Duration, Instant};

use super::{Drill, Ending, Outcome, Setting, USUAL};
use crate::support::people::Locked;
use crate::support::stripe::{Caught, Moment, Step};

/// Those that an ordinary sale does not take.
const RARE: [Step; 2] = [Step::Cancel, Step::Refund];
const ALL: [Step; 5] = [Step::Create, Step::Confirm, Step::Capture, Step::Cancel, Step::Refund];
const MOMENTS: [Moment; 2] = [Moment::Arrived, Moment::Done];
/// Longer than the sweeper leaves a payment to whoever was told of it.
const TAKEN_OVER: Duration = Duration::from_secs(8);

impl Drill {
    /// An order of which the provider was asked to take this step, and whose request is caught.
    async fn brought_to(&self, step: Step, moment: Moment) -> (Locked, Caught) {
        let locked = self.people.lock_one().await;
        match step {
            Step::Cancel => {
                // The operator ends the lock while the bank is asked: what it authorises is let go.
                let asked = self.stripe.trap_for(&locked.order, Step::Confirm, Moment::Arrived);
                locked.pay("tok_visa");
                let asked = Drill::sprung(asked).await;
                self.people.release(&locked.order).await;
                let trap = self.stripe.trap_for(&locked.order, step, moment);
                drop(asked);
                let caught = Drill::sprung(trap).await;
                (locked, caught)
            }
            Step::Create | Step::Confirm | Step::Capture => {
                let trap = self.stripe.trap_for(&locked.order, step, moment);
                locked.pay("tok_visa");
                let caught = Drill::sprung(trap).await;
                (locked, caught)
            }
            Step::Refund => {
                assert_eq!(locked.pay("tok_visa").await.expect("paid").status, 201);
                locked.settled("captured").await;
                let trap = self.stripe.trap_for(&locked.order, step, moment);
                self.people.refund(&locked.order).await;
                let caught = Drill::sprung(trap).await;
                (locked, caught)
            }
        }
    }

    /// Waits until the step is recorded, and notes for the audit how the order ended.
    async fn settled(&mut self, locked: &Locked, step: Step) {
        let (status, ending) = end_of(step);
        locked.settled(status).await;
        self.own.insert(locked.order.clone(), ending);
    }
}

fn end_of(step: Step) -> (&'static str, Ending) {
    match step {
        Step::Create | Step::Confirm | Step::Capture => ("captured", Ending::Taken),
        Step::Cancel => ("voided", Ending::LetGo),
        Step::Refund => ("refunded", Ending::GivenBack),
    }
}

pub async fn killed(setting: Setting) -> Outcome {
    let mut drill = Drill::start(Setting { payments: 1, ..setting }).await;
    for step in RARE {
        for moment in MOMENTS {
            let (locked, caught) = drill.brought_to(step, moment).await;
            drill.estate.payments[0].kill();
            drop(caught);
            drill.estate.payments[0].restart().await.expect("the worker starts");
            drill.settled(&locked, step).await;
        }
    }
    drill.end("payments killed", "SIGKILL at cancel and refund, before and after each took effect").await
}

/// The worker that asks is halted until another one has done the step, and then goes on where it was.
pub async fn halted(setting: Setting) -> Outcome {
    let mut drill = Drill::start(Setting { payments: 2, ..setting }).await;
    for step in ALL {
        for moment in MOMENTS {
            let (locked, caught) = drill.brought_to(step, moment).await;
            // Whose request it is cannot be told from outside: the other one takes over, or is halted in its turn.
            for worker in &drill.estate.payments {
                worker.pause().expect("it runs");
                let started = Instant::now();
                while started.elapsed() < TAKEN_OVER && locked.payment().await["status"] != end_of(step).0 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                worker.resume().expect("it runs");
            }
            drop(caught);
            drill.settled(&locked, step).await;
        }
    }
    drill
        .end("payments halted", "SIGSTOP at each of five steps until another worker has taken over, then SIGCONT")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_killed_while_money_is_let_go_and_given_back() {
    killed(USUAL).await.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_halted_at_every_step_until_another_worker_has_taken_over() {
    halted(USUAL).await.assert_clean();
}

//! The table of `docs/EVENTS.md`, printed from what happened.

use super::{DEBIAN, Outcome, Setting, USUAL, acks, broker, pile, relay, steps, workers};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "prints the table of docs/EVENTS.md; some minutes"]
async fn fault_table() {
    let debian = Setting { server: DEBIAN, ..USUAL };
    let mut outcomes: Vec<Outcome> = Vec::new();
    println!(
        "| fault | what was done | events | orders | lost | doubled | charges wrong | mails | mails wrong | mails repeated | caught up after |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    macro_rules! drill {
        ($($drill:expr),* $(,)?) => {$(
            let outcome = $drill.await;
            println!("{}", row(&outcome));
            outcomes.push(outcome);
        )*};
    }
    drill!(
        broker::killed(USUAL),
        broker::killed(debian),
        broker::halted(USUAL),
        broker::wiped(USUAL),
        broker::set_back(USUAL),
        broker::set_back(debian),
        pile::up(USUAL),
        relay::killed(USUAL),
        relay::halted(USUAL),
        workers::payments_killed(USUAL),
        workers::payments_halted(USUAL),
        workers::answers_dropped(USUAL),
        workers::notifications_killed(USUAL),
        steps::killed(USUAL),
        steps::halted(USUAL),
        acks::of_payments(USUAL),
        acks::of_notifications(USUAL),
    );
    let findings: Vec<String> = outcomes.iter().flat_map(|outcome| outcome.findings.clone()).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// One line of the table.
pub fn row(outcome: &Outcome) -> String {
    let Outcome {
        fault,
        done,
        events,
        orders,
        lost,
        doubled,
        charges_wrong,
        mails,
        mails_wrong,
        mails_repeated,
        catch_up,
        ..
    } = outcome;
    let catch_up = catch_up.as_secs_f64();
    format!(
        "| {fault} | {done} | {events} | {orders} | {lost} | {doubled} | {charges_wrong} | {mails} | {mails_wrong} | {mails_repeated} | {catch_up:.1} s |"
    )
}

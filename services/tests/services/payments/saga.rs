//! The saga from the token to the money, and everything that may come between.

use std::sync::Arc;
use std::time::Duration;

use holdfast_ledger::command::Command;
use holdfast_ledger::entities::Policy;
use holdfast_services::payments::Taken;
use holdfast_services::payments::provider::Standing;
use holdfast_services::payments::sandbox::{ChargeLine, Sandbox};
use tokio::sync::oneshot;

use super::provider::Forgetful;
use super::world::{World, hasty};

/// The only charge of an order.
fn charge(bank: &Sandbox, order: &str) -> ChargeLine {
    let mut charges = bank.charges();
    charges.retain(|charge| charge.order_id().as_deref() == Some(order));
    assert_eq!(charges.len(), 1, "{charges:?}");
    charges.remove(0)
}

#[tokio::test]
async fn a_paid_order_is_complete_and_charged_once() {
    let world = World::new(Policy::default()).await;
    let bank = Arc::new(Sandbox::default());
    world.start(bank.clone());
    let (mut buyer, order, payment) = world.paid_with("tok_visa").await;
    buyer.settled(&payment, "captured").await;
    assert_eq!(buyer.order_status(&order).await, "complete");
    let charge = charge(&bank, &order);
    assert_eq!((charge.standing, charge.captures, charge.amount_minor), (Standing::Captured, 1, 2000));
}

#[tokio::test]
async fn a_declined_payment_gives_the_ticket_back_and_holds_no_money() {
    let world = World::new(Policy::default()).await;
    let bank = Arc::new(Sandbox::default());
    world.start(bank.clone());
    let (mut buyer, order, payment) = world.paid_with("tok_chargeDeclinedLostCard").await;
    assert_eq!(buyer.settled(&payment, "declined").await["failure"], "lost_card");
    assert_eq!(buyer.order_status(&order).await, "cancelled");
    assert_eq!(charge(&bank, &order).standing, Standing::Declined);
}

#[tokio::test]
async fn a_buyer_at_his_bank_past_the_locks_end_but_inside_the_grace_gets_his_ticket() {
    let world = World::new(hasty(20_000)).await;
    let bank = Arc::new(Sandbox::default());
    world.start(bank.clone());
    let (mut buyer, order, payment) = world.paid_with("tok_3ds_3000").await;
    buyer.settled(&payment, "captured").await;
    assert_eq!(buyer.order_status(&order).await, "complete");
    assert_eq!(charge(&bank, &order).captures, 1);
}

#[tokio::test]
async fn a_buyer_who_fails_at_his_bank_is_declined() {
    let world = World::new(Policy::default()).await;
    let bank = Arc::new(Sandbox::default());
    world.start(bank.clone());
    let (mut buyer, order, payment) = world.paid_with("tok_3dsFails_200").await;
    let declined = buyer.settled(&payment, "declined").await;
    assert_eq!(declined["failure"], "payment_intent_authentication_failure");
    assert_eq!(charge(&bank, &order).standing, Standing::Declined);
}

#[tokio::test]
async fn a_buyer_who_never_comes_back_from_his_bank_is_charged_nothing() {
    let world = World::new(hasty(300)).await;
    let bank = Arc::new(Sandbox::default());
    world.start(bank.clone());
    let (mut buyer, order, payment) = world.paid_with("tok_3dsNever").await;
    buyer.settled(&payment, "voided").await;
    assert_eq!(buyer.order_status(&order).await, "cancelled");
    let charge = charge(&bank, &order);
    assert_eq!((charge.standing, charge.captures), (Standing::Voided, 0));
}

#[tokio::test]
async fn an_operators_refund_gives_the_money_back() {
    let world = World::new(Policy::default()).await;
    let bank = Arc::new(Sandbox::default());
    world.start(bank.clone());
    let (mut buyer, order, payment) = world.paid_with("tok_visa").await;
    buyer.settled(&payment, "captured").await;
    world.as_system(Command::RequestRefund { order: order.parse().unwrap() }).await;
    buyer.settled(&payment, "refunded").await;
    assert_eq!(charge(&bank, &order).standing, Standing::Refunded);
    assert_eq!(buyer.order_status(&order).await, "complete");
}

#[tokio::test]
async fn answers_that_are_lost_and_keys_that_are_forgotten_charge_once() {
    let world = World::new(hasty(300)).await;
    let bank = Arc::new(Sandbox::default());
    world.start(Arc::new(Forgetful::new(bank.clone())));
    let (mut paying, order, payment) = world.paid_with("tok_visa").await;
    paying.settled(&payment, "captured").await;
    world.as_system(Command::RequestRefund { order: order.parse().unwrap() }).await;
    paying.settled(&payment, "refunded").await;
    assert_eq!((charge(&bank, &order).standing, charge(&bank, &order).captures), (Standing::Refunded, 1));

    let (mut declined, order, payment) = world.paid_with("tok_chargeDeclined").await;
    declined.settled(&payment, "declined").await;
    assert_eq!(charge(&bank, &order).standing, Standing::Declined);

    let (mut late, order, payment) = world.paid_with("tok_3dsNever").await;
    late.settled(&payment, "voided").await;
    assert_eq!(charge(&bank, &order).standing, Standing::Voided);
}

#[tokio::test]
async fn two_services_at_once_charge_once() {
    let world = World::new(Policy { locks_per_user_max: 50, ..Policy::default() }).await;
    let bank = Arc::new(Sandbox::default());
    world.start(bank.clone());
    world.start(bank.clone());
    for token in ["tok_visa", "tok_slow_100", "tok_3ds_150", "tok_mastercard"] {
        let (mut buyer, order, payment) = world.paid_with(token).await;
        buyer.settled(&payment, "captured").await;
        assert_eq!(charge(&bank, &order).captures, 1, "{token}");
    }
}

#[tokio::test]
async fn a_payment_that_is_pointed_at_twice_is_carried_through_once() {
    let world = World::new(Policy::default()).await;
    let bank = Arc::new(Sandbox::default());
    let saga = world.saga(bank.clone());
    let (mut buyer, order, payment) = world.paid_with("tok_visa").await;
    let payment_id = payment.parse().unwrap();
    assert_eq!(saga.take_up(payment_id).await, Taken::Done);
    assert_eq!(saga.take_up(payment_id).await, Taken::Done);
    assert_eq!(saga.take_up("0000000000000fff00000000".parse().unwrap()).await, Taken::Unknown);
    buyer.settled(&payment, "captured").await;
    assert_eq!(charge(&bank, &order).captures, 1);
}

#[tokio::test]
async fn a_service_that_is_stopped_finishes_the_step_in_hand_and_begins_nothing() {
    let world = World::new(Policy::default()).await;
    let bank = Arc::new(Sandbox::default());
    let (mut slow, slow_order, slow_payment) = world.paid_with("tok_slow_1500").await;
    let saga = world.saga(bank.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let running = {
        let saga = saga.clone();
        tokio::spawn(async move { saga.run(async { drop(stopped.await) }).await })
    };
    // The intent, and then the authorisation.
    while bank.charges().first().is_none_or(|charge| charge.requests < 2) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stop);
    running.await.unwrap();
    // The authorisation in hand was recorded, so the ledger has decided; the capture is for whoever comes next.
    assert_eq!(slow.order_status(&slow_order).await, "complete");
    assert_eq!(charge(&bank, &slow_order).captures, 0);
    assert_eq!(saga.take_up(slow_payment.parse().unwrap()).await, Taken::Busy);
    world.start(bank.clone());
    slow.settled(&slow_payment, "captured").await;
    assert_eq!(charge(&bank, &slow_order).captures, 1);
}

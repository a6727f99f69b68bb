//! What is due goes, in order and a bounded number at a time; what is not stays.

use crate::command::{Actor, Command};
use crate::entities::{Order, Policy};
use crate::invariants::check_invariants;
use crate::market::{Market, OPENING_MS};
use crate::outcome::{Refusal, Reply};
use crate::query;
use crate::tables::Table;

fn market_with(change: impl FnOnce(&mut Policy)) -> Market {
    let mut market = Market::open();
    let mut policy = market.state.meta().policy.clone();
    change(&mut policy);
    assert_eq!(market.ask(&Actor::System, Command::SetPolicy(policy)), Reply::Done);
    market
}

fn tick(market: &mut Market, time_ms: u64) {
    market.ask_at(time_ms, &Actor::System, None, Command::Tick).settled.expect("the cluster may tick");
    assert_eq!(check_invariants(&market.state), Ok(()));
}

#[test]
fn locks_are_reclaimed_at_their_deadline_in_its_order_and_a_few_at_a_time() {
    let mut market = market_with(|policy| policy.sweep_entries_max = 1);
    let live = |market: &Market| market.state.meta().orders_live;
    let deadline_ms = OPENING_MS + market.state.meta().policy.lock_ttl_ms;
    assert_eq!((live(&market), market.state.next_deadline_ms()), (2, Some(deadline_ms)));
    tick(&mut market, deadline_ms - 1);
    assert_eq!((live(&market), market.state.has_due()), (2, false));
    tick(&mut market, deadline_ms);
    assert_eq!((live(&market), market.state.has_due()), (1, true), "both are due, one is swept");
    let first: Order = market.row(Table::Orders, market.live.as_bytes());
    assert!(!first.status.holds_tickets(), "equal deadlines go in the order of ids");
    tick(&mut market, 0);
    assert_eq!((live(&market), market.state.has_due(), market.state.next_deadline_ms()), (0, false, None));
}

#[test]
fn a_user_sees_none_of_his_due_locks_however_few_are_swept() {
    let mut market = market_with(|policy| policy.sweep_entries_max = 1);
    let buyer = market.buyer.clone();
    market.lock(&buyer, market.free);
    let deadline_ms = OPENING_MS + market.state.meta().policy.lock_ttl_ms;
    let gone = market.ask_at(deadline_ms, &buyer, None, Command::CancelOrder { order: market.live, version: None });
    assert_eq!(gone.settled, Err(Refusal::OrderExpired { order: market.live }));
    assert_eq!(query::user(&market.state, market.bob).map(|user| user.expect("Bob is there").locks_live), Ok(0));
}

#[test]
fn the_next_deadline_is_never_late_and_exact_once_it_is_reached() {
    let mut market = Market::open();
    let buyer = market.buyer.clone();
    let first_ms = market.state.next_deadline_ms().expect("two locks live");
    let later = market.ask_at(5_000, &buyer, None, Command::ExtendLock { order: market.live });
    later.settled.expect("once it may be extended");
    tick(&mut market, first_ms);
    let order: Order = market.row(Table::Orders, market.live.as_bytes());
    assert_eq!(market.state.next_deadline_ms(), Some(order.deadline_ms));
    assert!(!market.state.has_due());
}

#[test]
fn keys_are_forgotten_after_their_time_and_earlier_over_the_bound_but_not_while_a_lock_may_live() {
    let records = |market: &Market| market.state.meta().idempotency_records;
    let mut market = Market::open();
    let before = records(&market);
    assert!(before > 2);
    let ttl_ms = market.state.meta().policy.idempotency_ttl_ms;
    tick(&mut market, OPENING_MS + ttl_ms - 1);
    assert_eq!(records(&market), before);
    tick(&mut market, OPENING_MS + ttl_ms);
    assert_eq!(records(&market), 0);

    let mut market = market_with(|policy| policy.idempotency_records_max = 2);
    let policy = market.state.meta().policy.clone();
    tick(&mut market, OPENING_MS + policy.lock_ttl_ms + policy.payment_grace_ms - 1);
    assert_eq!(records(&market), before);
    tick(&mut market, OPENING_MS + policy.lock_ttl_ms + policy.payment_grace_ms);
    assert_eq!((records(&market), market.state.has_due()), (2, false), "the youngest two stay");
}

#[test]
fn a_key_that_is_too_old_may_be_used_again() {
    let mut market = market_with(|policy| policy.sweep_entries_max = 1);
    let buyer = market.buyer.clone();
    let session = match buyer {
        Actor::User(signed_in) => signed_in.session,
        _ => unreachable!("Bob is a user"),
    };
    let extend = Command::ExtendLock { order: market.live };
    let first = market.ask_at(OPENING_MS, &buyer, Some("again"), extend.clone());
    let again = market.ask_at(OPENING_MS, &buyer, Some("again"), extend);
    assert_eq!((again.settled, again.decided_at, again.replayed), (first.settled, first.decided_at, true));
    let other = market.ask_at(
        OPENING_MS + market.state.meta().policy.idempotency_ttl_ms,
        &buyer,
        Some("again"),
        Command::SignOut { session },
    );
    assert_eq!((other.settled, other.replayed), (Ok(Reply::Done), false));
    assert_eq!(check_invariants(&market.state), Ok(()));
}

#[test]
fn events_go_when_they_are_acknowledged_and_old() {
    let mut market = Market::open();
    let (last, day_ms) = (market.state.meta().event_seq, market.state.meta().policy.outbox_retention_ms);
    tick(&mut market, OPENING_MS + 1);
    market.ask(&Actor::System, Command::AckOutbox { upto: last - 1, losses: 0 });
    assert_eq!(market.state.meta().outbox_first, 1, "acknowledged, and young");
    tick(&mut market, OPENING_MS + day_ms);
    assert_eq!(market.state.meta().outbox_first, last, "old, and the last not acknowledged");
    let kept = query::events(&market.state, 0, 100).expect("a store in memory");
    assert_eq!((kept.first_kept, kept.events[0].seq), (last, last));
    let refused = market.ask_at(0, &Actor::System, None, Command::AckOutbox { upto: u64::MAX, losses: 0 });
    assert!(refused.settled.is_err());
}

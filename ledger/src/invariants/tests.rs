//! The scan finds each kind of damage. Rows are changed here with the state hash kept right, so that what finds the damage is
//! the check that it is meant for.

use super::*;
use crate::entities::{
    AuditRow, CancelReason, Holding, OrderStatus, Payment, PaymentStatus, PaymentStep, Place, PlaceStatus, Ticket,
};
use crate::event::Event;
use crate::market::Market;
use crate::store::Write;

impl Market {
    /// Writes a row as it should not be, with the hash as if it should.
    fn change<T: Versioned>(&mut self, table: Table, key: impl AsRef<[u8]>, change: impl FnOnce(&mut T)) {
        let mut row = self.row(table, key.as_ref());
        change(&mut row);
        self.put(table, key, &row);
    }

    fn put<T: Versioned>(&mut self, table: Table, key: impl AsRef<[u8]>, row: &T) {
        self.state.put(table, key.as_ref(), row).expect("a store in memory");
        self.state.write_meta().expect("a store in memory");
    }

    fn remove(&mut self, table: Table, key: impl AsRef<[u8]>) {
        self.state.remove(table, key.as_ref()).expect("the market has this row");
        self.state.write_meta().expect("a store in memory");
    }

    fn meta(&mut self, change: impl FnOnce(&mut Meta)) {
        change(&mut self.state.meta);
        self.state.write_meta().expect("a store in memory");
    }
}

/// Damages a market; the scan must say something that contains `said`.
fn finds(said: &str, damage: impl FnOnce(&mut Market)) {
    let mut market = Market::open();
    assert_eq!(check_invariants(&market.state), Ok(()), "sound before: {said}");
    damage(&mut market);
    let found = check_invariants(&market.state).expect_err(said);
    assert!(found.iter().any(|sentence| sentence.contains(said)), "{said}: {found:#?}");
}

#[test]
fn finds_wrong_hash_and_meta() {
    finds("the rows sum to", |m| m.meta(|meta| meta.rows_hash ^= 1));
    finds("the rows sum to", |m| {
        let key = m.free.as_bytes().to_vec();
        let row = m.state.store.get(Table::Tickets, &key).unwrap().unwrap();
        m.state.store.put(Table::OrdersByUser, &key, row).unwrap();
    });
    finds("not what the state works with", |m| m.state.meta.now_ms += 1);
    finds("not a valid value", |m| m.put(Table::Tickets, [0; ID_BYTES], &()));
}

#[test]
fn finds_wrong_counters() {
    finds("counters", |m| m.meta(|meta| meta.tickets += 1));
    finds("counters", |m| m.meta(|meta| meta.tickets_sold -= 1));
    finds("counters", |m| m.meta(|meta| meta.tickets_withdrawn += 1));
    finds("counters", |m| m.meta(|meta| meta.locks_live += 1));
    finds("counters", |m| m.meta(|meta| meta.orders += 1));
    finds("counters", |m| m.meta(|meta| meta.orders_live += 1));
    finds("counters", |m| m.meta(|meta| meta.orders_complete += 1));
    finds("counters", |m| m.meta(|meta| meta.users += 1));
    finds("counters", |m| m.meta(|meta| meta.payments_open += 1));
    finds("counters", |m| m.meta(|meta| meta.payments[PaymentStatus::Captured as usize] += 1));
    finds("counters", |m| m.meta(|meta| meta.idempotency_records += 1));
    let bob = |m: &Market| *m.bob.as_bytes();
    finds("live locks", |m| m.change(Table::Users, bob(m), |user: &mut User| user.locks_live += 1));
    finds("sessions", |m| m.change(Table::Users, bob(m), |user: &mut User| user.sessions += 1));
    finds("idempotency records", |m| m.change(Table::Users, bob(m), |user: &mut User| user.idempotency_records += 1));
}

#[test]
fn finds_missing_and_surplus_index_rows() {
    let key = |m: &Market| *m.free.as_bytes();
    finds("TicketsAvailable", |m| m.remove(Table::TicketsAvailable, key(m)));
    finds("TicketsAvailable has", |m| m.put(Table::TicketsAvailable, *m.locked.as_bytes(), &()));
    finds("TicketsBySeller", |m| m.remove(Table::TicketsBySeller, keys::pair(m.alice.0, m.free.0)));
    finds("TicketsByExternalId", |m| m.remove(Table::TicketsByExternalId, keys::text(m.alice.0, "seat-0")));
    finds("TicketsByExternalId", |m| {
        m.put(Table::TicketsByExternalId, keys::text(m.alice.0, "seat-0"), &m.sold.clone())
    });
    finds("TicketsByWord", |m| m.remove(Table::TicketsByWord, keys::word("row", m.free.0)));
    finds("TicketsByWord has", |m| m.put(Table::TicketsByWord, keys::word("row", m.sold.0), &()));
    finds("OrdersByUser", |m| m.remove(Table::OrdersByUser, keys::pair(m.bob.0, m.paid.0)));
    finds("LocksByUser", |m| m.remove(Table::LocksByUser, keys::pair(m.bob.0, m.live.0)));
    finds("PaymentsOpen", |m| m.remove(Table::PaymentsOpen, *m.asked.as_bytes()));
    finds("PaymentsOpen has", |m| m.put(Table::PaymentsOpen, *m.charge.as_bytes(), &()));
    finds("UsersByEmail", |m| m.remove(Table::UsersByEmail, b"bob@example.com"));
    finds("Personal", |m| m.remove(Table::Personal, *m.bob.as_bytes()));
    finds("Deadlines", |m| {
        let deadline_ms = m.row::<Order>(Table::Orders, m.live.as_bytes()).deadline_ms;
        m.remove(Table::Deadlines, keys::deadline(deadline_ms, m.live.0));
    });
    finds("IdempotencyByAge", |m| {
        let oldest = m.state.keys(Table::IdempotencyByAge, &[], 1).unwrap().remove(0);
        m.remove(Table::IdempotencyByAge, &oldest);
    });
}

#[test]
fn finds_holdings_that_disagree() {
    let order = |m: &Market| m.live;
    finds("is held by order", |m| {
        let live = order(m);
        m.change(Table::Tickets, *m.free.as_bytes(), |t: &mut Ticket| {
            t.holding = Holding::Locked { order: live };
        });
    });
    finds("its ticket", |m| {
        m.change(Table::Tickets, *m.locked.as_bytes(), |t: &mut Ticket| t.holding = Holding::Free);
    });
    finds("is held by order", |m| {
        m.change(Table::Orders, *m.live.as_bytes(), |order: &mut Order| {
            order.status = OrderStatus::Cancelled(CancelReason::Buyer);
        });
    });
    finds("is held by order", |m| {
        m.change(Table::Orders, *m.live.as_bytes(), |order: &mut Order| order.lines[0].price_minor += 1);
    });
    finds("waits for its release", |m| {
        m.change(Table::Tickets, *m.free.as_bytes(), |t: &mut Ticket| t.withdraw_at_release = true);
    });
    finds("withdrawn and held", |m| {
        m.change(Table::Tickets, *m.sold.as_bytes(), |t: &mut Ticket| t.withdrawn = true);
    });
    finds("costs 0", |m| {
        m.change(Table::Tickets, *m.free.as_bytes(), |t: &mut Ticket| t.price_minor = 0);
    });
}

#[test]
fn finds_money_that_moves_without_a_sale() {
    let charge = |m: &Market| *m.charge.as_bytes();
    let asked = |m: &Market| *m.asked.as_bytes();
    finds("its payment", |m| {
        m.change(Table::Payments, asked(m), |p: &mut Payment| {
            (p.status, p.next, p.token) = (PaymentStatus::Captured, None, None);
        });
    });
    finds("its payment", |m| {
        m.change(Table::Payments, charge(m), |p: &mut Payment| p.status = PaymentStatus::Voided);
    });
    finds("token kept: true", |m| {
        m.change(Table::Payments, charge(m), |p: &mut Payment| p.token = Some("tok_visa".into()));
    });
    finds("next Some(Capture)", |m| {
        m.change(Table::Payments, charge(m), |p: &mut Payment| p.next = Some(PaymentStep::Capture));
    });
    finds("is not its order's", |m| m.change(Table::Payments, charge(m), |p: &mut Payment| p.amount_minor += 1));
    finds("without a payment", |m| {
        m.change(Table::Orders, *m.paid.as_bytes(), |order: &mut Order| order.payments.clear());
    });
}

#[test]
fn finds_gaps_in_versions_and_events() {
    let live = |m: &Market| *m.live.as_bytes();
    finds("its last event", |m| m.change(Table::Orders, live(m), |order: &mut Order| order.version += 1));
    finds("has a gap", |m| m.remove(Table::History, keys::change(m.locked.0, 1)));
    finds("History has", |m| {
        let change: crate::entities::Change = m.row(Table::History, &keys::change(m.locked.0, 0));
        m.put(Table::History, keys::change(Id::mint(9, 9, 9), 0), &change);
    });
    finds("outbox: ", |m| m.remove(Table::Outbox, 3u64.to_be_bytes()));
    finds("outbox: first", |m| m.meta(|meta| meta.outbox_acked = meta.event_seq + 1));
    finds("not the event of this number", |m| {
        m.change(Table::Outbox, 3u64.to_be_bytes(), |event: &mut Event| event.seq = 4);
    });
    finds("begins at 7", |m| m.change(Table::Outbox, 3u64.to_be_bytes(), |event: &mut Event| event.version = 7));
}

#[test]
fn finds_changes_of_what_operators_did() {
    let first = 1u64.to_be_bytes();
    let two = |m: &mut Market| {
        for order in [m.live, m.paid] {
            m.ask_at(1_000, &crate::command::Actor::System, None, crate::command::Command::ReleaseLock { order });
        }
        let policy = m.state.meta.policy.clone();
        m.ask_at(1_000, &crate::command::Actor::System, None, crate::command::Command::SetPolicy(policy));
        assert_eq!((m.state.meta.audit_seq, check_invariants(&m.state)), (2, Ok(())));
    };
    finds("of the audit was changed", |m| {
        two(m);
        m.change(Table::Audit, first, |row: &mut AuditRow| row.time_ms += 1);
    });
    finds("of the audit was changed", |m| {
        two(m);
        m.remove(Table::Audit, first);
    });
    finds("of the audit was changed", |m| {
        two(m);
        m.change(Table::Audit, first, |row: &mut AuditRow| {
            row.index += 1;
            row.hash = crate::audit::row_digest(1, row);
        });
    });
    finds("the audit ends with row 1", |m| {
        two(m);
        m.remove(Table::Audit, 2u64.to_be_bytes());
    });
}

#[test]
fn finds_lines_that_disagree() {
    let join = |m: &mut Market| {
        let (carol, ticket) = (m.sign_up("waiting"), m.locked);
        m.ask(&carol, crate::command::Command::JoinLine { ticket });
        carol.user().expect("a user")
    };
    let place = |m: &Market| m.state.keys(Table::Places, &[], 1).unwrap().remove(0);
    finds("waiting, a scan", |m| {
        join(m);
        m.change(Table::Tickets, *m.locked.as_bytes(), |t: &mut Ticket| t.waiting += 1);
    });
    finds("places, a scan", |m| {
        let waiting = join(m);
        m.change(Table::Users, *waiting.as_bytes(), |user: &mut User| user.places += 1);
    });
    finds("LineByTicket", |m| {
        join(m);
        let key = m.state.keys(Table::LineByTicket, &[], 1).unwrap().remove(0);
        m.remove(Table::LineByTicket, key);
    });
    finds("counters", |m| {
        join(m);
        m.meta(|meta| meta.places_live += 1);
    });
    finds("its ticket Locked", |m| {
        join(m);
        let status = PlaceStatus::Offered { deadline_ms: 9_000 };
        m.change(Table::Places, place(m), |place: &mut Place| place.status = status);
    });
    finds("is offered to place", |m| {
        join(m);
        let live = m.live;
        m.ask(&crate::command::Actor::System, crate::command::Command::ReleaseLock { order: live });
        m.change(Table::Places, place(m), |place: &mut Place| place.status = PlaceStatus::Waiting);
    });
    finds("is not held and 1 wait", |m| {
        join(m);
        m.change(Table::Tickets, *m.locked.as_bytes(), |t: &mut Ticket| t.holding = Holding::Free);
    });
}

#[test]
fn finds_wrong_records_around_users() {
    let ask = |m: &mut Market| {
        let user = m.bob;
        m.ask(&crate::command::Actor::Anonymous, crate::command::Command::RequestReset { user });
        m.ask(&m.buyer.clone(), crate::command::Command::WatchTicket { ticket: m.free });
    };
    finds("requests, a scan", |m| {
        ask(m);
        m.change(Table::Users, *m.bob.as_bytes(), |user: &mut User| user.requests += 1);
    });
    finds("RequestsByEnd", |m| {
        ask(m);
        let key = m.state.keys(Table::RequestsByEnd, &[], 1).unwrap().remove(0);
        m.remove(Table::RequestsByEnd, key);
    });
    finds("watches, a scan", |m| {
        ask(m);
        m.change(Table::Users, *m.bob.as_bytes(), |user: &mut User| user.watches += 1);
    });
    finds("watchers, a scan", |m| {
        ask(m);
        m.change(Table::Tickets, *m.free.as_bytes(), |t: &mut Ticket| t.watchers += 1);
    });
    finds("not the bootstrap token", |m| {
        let bootstrap = Bootstrap { token_hash: vec![1], set_ms: 0, claimed_by: None };
        m.put(Table::Bootstrap, [], &bootstrap);
    });
    finds("not a public key", |m| {
        let service = crate::command::Service::Payments;
        m.put(Table::ServiceKeys, b"k1", &ServiceKey { service, public_key: vec![1], registered_ms: 0 });
    });
}

#[test]
fn finds_wrong_users_and_keys() {
    let bob = |m: &Market| *m.bob.as_bytes();
    finds("is banned or erased", |m| m.change(Table::Users, bob(m), |user: &mut User| user.banned = true));
    finds("has personal data", |m| m.change(Table::Users, bob(m), |user: &mut User| user.erased = true));
    finds("is from the future", |m| {
        let session = m.state.keys(Table::Sessions, &bob(m), 1).unwrap().remove(0);
        m.change(Table::Sessions, &session, |session: &mut Session| session.created_ms += 1);
    });
    finds("from the future", |m| {
        let record = m.state.keys(Table::Idempotency, &bob(m), 1).unwrap().remove(0);
        m.change(Table::Idempotency, &record, |record: &mut IdempotencyRecord| record.index += 1_000);
    });
    finds("not a public key", |m| m.change(Table::NodeKeys, b"node-1", |key: &mut NodeKey| key.public_key.truncate(1)));
}

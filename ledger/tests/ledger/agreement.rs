//! Random walks, decided twice: by the ledger and by the [naive model](crate::model). They must agree in every answer, and in
//! what they hold after every entry.

use holdfast_ledger::invariants::check_invariants;
use holdfast_ledger::query;
use holdfast_ledger::state::State;
use holdfast_ledger::store::MemoryStore;
use proptest::prelude::*;

use crate::model::Model;
use crate::walk::{Walker, policy, walk};

/// Everything that the model knows is so in the state.
fn agree(state: &State<MemoryStore>, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(state.meta().now_ms, model.now_ms);
    for (id, expected) in &model.users {
        let user = query::user(state, *id).expect("a store in memory").expect("a user");
        let session_count = |user: u32| user as usize;
        prop_assert_eq!(
            (user.banned, user.erased, user.epoch, session_count(user.sessions), session_count(user.locks_live)),
            (expected.banned, expected.erased, expected.epoch, expected.sessions.len(), model.locks_of(*id)),
        );
        prop_assert_eq!(user.verified, expected.verified);
        prop_assert_eq!(
            (user.expiries_in_row, user.cooldown_until_ms),
            (expected.expiries_in_row, expected.cooldown_until_ms)
        );
    }
    for (id, expected) in &model.tickets {
        let ticket = query::ticket(state, *id).expect("a store in memory").expect("a ticket");
        prop_assert_eq!(ticket.holding, expected.holding);
        prop_assert_eq!(
            (ticket.version, ticket.price_minor, ticket.price_version, ticket.price_next_minor),
            (expected.version, expected.price_minor, expected.price_version, expected.price_next_minor),
        );
        prop_assert_eq!(
            (ticket.withdrawn, ticket.withdraw_at_release),
            (expected.withdrawn, expected.withdraw_at_release)
        );
    }
    for (id, expected) in &model.orders {
        let order = query::order(state, *id).expect("a store in memory").expect("an order");
        let lines: Vec<_> = order.lines.iter().map(|line| (line.ticket, line.price_minor)).collect();
        prop_assert_eq!((order.version, order.status), (expected.version, expected.status));
        prop_assert_eq!(&lines, &expected.lines);
        prop_assert_eq!((order.deadline_ms, &order.payments), (expected.deadline_ms, &expected.payments));
    }
    for (id, expected) in &model.payments {
        let payment = query::payment(state, *id).expect("a store in memory").expect("a payment");
        prop_assert_eq!(
            (payment.version, payment.status, payment.next, &payment.intent_id),
            (expected.version, expected.status, expected.next, &expected.intent_id),
        );
        let price: u64 = model.orders[&expected.order].lines.iter().map(|(_, price_minor)| price_minor).sum();
        prop_assert_eq!(payment.amount_minor, price, "charged is what was locked");
    }
    for (id, expected) in &model.places {
        let place = query::place(state, *id).expect("a store in memory").expect("a place");
        prop_assert_eq!((place.ticket, place.user), (expected.ticket, expected.user));
        prop_assert_eq!((place.version, place.status), (expected.version, expected.status));
    }
    for (user, ticket) in model.users.keys().flat_map(|user| model.tickets.keys().map(move |ticket| (*user, *ticket))) {
        let position = query::line_position(state, user, ticket).expect("a store in memory");
        prop_assert_eq!(position.map(|position| position.ahead as usize), model.ahead(user, ticket));
        let watching = query::is_watching(state, user, ticket).expect("a store in memory");
        prop_assert_eq!(watching, model.watches(user, ticket));
    }
    let counted = (state.meta().tickets, state.meta().orders, state.meta().users);
    prop_assert_eq!(counted, (model.tickets.len() as u64, model.orders.len() as u64, model.users.len() as u64));
    Ok(())
}

proptest! {
    #[test]
    fn the_ledger_and_the_model_agree(policy in policy(), steps in walk(80)) {
        let mut state = State::open(MemoryStore::default()).expect("a store in memory");
        let (mut model, mut walker) = (Model::default(), Walker::new());
        let mut batches = walker.opening(&policy);
        for step in std::iter::once(None).chain(steps.iter().map(Some)) {
            batches.extend(step.map(|step| walker.batch(step)));
            let batch = batches.pop().expect("one entry at a time");
            let index = state.meta().index + 1;
            let applied = state.apply(index, &batch).expect("a store in memory");
            let expected = model.apply(index, &batch, &applied.outcomes);
            prop_assert_eq!(&applied.outcomes, &expected, "{:#?}", batch);
            agree(&state, &model)?;
            let broken = check_invariants(&state);
            prop_assert!(broken.is_ok(), "{:?} after {:#?}", broken, batch);
            walker.learn(&batch, &applied);
        }
    }
}

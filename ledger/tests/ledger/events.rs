//! Events are dense, and each change of an entity is one event: no version missing, none twice.

use std::collections::BTreeMap;

use holdfast_ledger::codec;
use holdfast_ledger::entities::{Change, Order, Payment, Place, Ticket, User};
use holdfast_ledger::event::{Event, EventType};
use holdfast_ledger::id::{ID_BYTES, Id};
use holdfast_ledger::state::State;
use holdfast_ledger::store::{self, MemoryStore, Read};
use holdfast_ledger::tables::Table;
use proptest::prelude::*;
use serde::de::DeserializeOwned;

use crate::walk::{Walker, policy, walk};

fn table<T: DeserializeOwned>(store: &MemoryStore, table: Table) -> Vec<(Vec<u8>, T)> {
    let rows = store.range(table, &[], None, store::Order::Ascending, usize::MAX).expect("a store in memory");
    rows.iter().map(|(key, row)| (key.to_vec(), codec::decode(row).expect("a row"))).collect()
}

/// Entity → its version, for everything that has versions.
fn versions(store: &MemoryStore) -> BTreeMap<Id, u64> {
    let id = |key: Vec<u8>| Id::from_bytes(key.try_into().expect("an id"));
    let mut versions = BTreeMap::new();
    versions.extend(table::<Ticket>(store, Table::Tickets).into_iter().map(|(key, ticket)| (id(key), ticket.version)));
    versions.extend(table::<Order>(store, Table::Orders).into_iter().map(|(key, order)| (id(key), order.version)));
    versions
        .extend(table::<Payment>(store, Table::Payments).into_iter().map(|(key, payment)| (id(key), payment.version)));
    versions.extend(table::<Place>(store, Table::Places).into_iter().map(|(key, place)| (id(key), place.version)));
    versions.extend(table::<User>(store, Table::Users).into_iter().map(|(key, user)| (id(key), user.version)));
    versions
}

proptest! {
    #[test]
    fn one_event_a_version_and_no_gap(policy in policy(), steps in walk(60)) {
        let mut state = State::open(MemoryStore::default()).expect("a store in memory");
        let mut walker = Walker::new();
        let mut counted = 0;
        let mut batches = walker.opening(&policy);
        for step in std::iter::once(None).chain(steps.iter().map(Some)) {
            batches.extend(step.map(|step| walker.batch(step)));
            let batch = batches.pop().expect("one entry at a time");
            let applied = state.apply(state.meta().index + 1, &batch).expect("a store in memory");
            counted += u64::from(applied.events);
            prop_assert_eq!(counted, state.meta().event_seq, "an entry says how many events it emitted");
            walker.learn(&batch, &applied);
        }

        let events = table::<Event>(state.store(), Table::Outbox);
        prop_assert_eq!(events.len() as u64, state.meta().event_seq);
        let mut seen: BTreeMap<Id, u64> = BTreeMap::new();
        let mut types: BTreeMap<(Id, u64), EventType> = BTreeMap::new();
        let mut before = (0, 0);
        for (number, (key, event)) in (1u64..).zip(&events) {
            prop_assert_eq!(event.seq, number, "dense");
            prop_assert_eq!(&key[..], &number.to_be_bytes()[..]);
            prop_assert!((event.index, event.time_ms) >= before, "in the order of the log");
            before = (event.index, event.time_ms);
            if event.event_type == EventType::ExpirationComplete {
                prop_assert!(seen.contains_key(&event.entity), "only what was there can run out");
                continue;
            }
            prop_assert_eq!(event.version, seen.get(&event.entity).map_or(0, |version| version + 1));
            seen.insert(event.entity, event.version);
            types.insert((event.entity, event.version), event.event_type);
        }
        prop_assert_eq!(&seen, &versions(state.store()), "every change was told");

        for (key, change) in table::<Change>(state.store(), Table::History) {
            let entity = Id::from_bytes(key[..ID_BYTES].try_into().expect("an id"));
            let version = u64::from_be_bytes(key[ID_BYTES..].try_into().expect("a version"));
            prop_assert_eq!(types.remove(&(entity, version)), Some(change.event_type), "history says what was told");
        }
        prop_assert!(types.is_empty(), "and all of it: {:?}", types);
    }
}

//! Replicas that apply the same entries hold the same rows, byte for byte, whatever their stores are made of.

use holdfast_ledger::codec;
use holdfast_ledger::command::Batch;
use holdfast_ledger::state::State;
use holdfast_ledger::store::{MemoryStore, Write};
use proptest::prelude::*;

use crate::hash_store::{HashStore, rows};
use crate::walk::{Step, Walker, policy, walk};

/// Walks on `state` and returns the log: the entries as they would be stored.
fn log_of<S: Write>(state: &mut State<S>, policy: &holdfast_ledger::entities::Policy, steps: &[Step]) -> Vec<Vec<u8>> {
    let mut walker = Walker::new();
    let mut log = Vec::new();
    let mut apply = |walker: &mut Walker, batch: Batch| {
        log.push(codec::encode(&batch).to_vec());
        let applied = state.apply(log.len() as u64, &batch).expect("a store in memory");
        walker.learn(&batch, &applied);
    };
    for batch in walker.opening(policy) {
        apply(&mut walker, batch);
    }
    for step in steps {
        let batch = walker.batch(step);
        apply(&mut walker, batch);
    }
    log
}

fn replay<S: Write>(state: &mut State<S>, log: &[Vec<u8>]) {
    for entry in log {
        let batch: Batch = codec::decode(entry).expect("an entry that was encoded");
        state.apply(state.meta().index + 1, &batch).expect("a store in memory");
    }
}

proptest! {
    /// A leader, a follower on another kind of store, one that restarts in the middle, and one that starts from a copy.
    #[test]
    fn replicas_agree(policy in policy(), steps in walk(60), cut in any::<prop::sample::Index>()) {
        let mut leader = State::open(MemoryStore::default()).expect("a store in memory");
        let log = log_of(&mut leader, &policy, &steps);
        let cut = cut.index(log.len());

        let mut follower = State::open(HashStore::default()).expect("a store in memory");
        replay(&mut follower, &log[..cut]);
        let copy = follower.store().clone();
        let hash = follower.state_hash();
        replay(&mut follower, &log[cut..]);
        prop_assert_eq!(follower.state_hash(), leader.state_hash());
        prop_assert_eq!(rows(follower.store()), rows(leader.store()));

        let mut restarted = State::open(copy).expect("a store in memory");
        prop_assert_eq!(restarted.state_hash(), hash);
        replay(&mut restarted, &log[cut..]);
        prop_assert_eq!(restarted.state_hash(), leader.state_hash());
        prop_assert_eq!(rows(restarted.store()), rows(leader.store()));
    }

    /// The hash tells states apart: one row less, and it is another.
    #[test]
    fn the_hash_sees_every_row(policy in policy(), steps in walk(20), row in any::<prop::sample::Index>()) {
        let mut state = State::open(MemoryStore::default()).expect("a store in memory");
        log_of(&mut state, &policy, &steps);
        let rows = rows(state.store());
        let (table, key, _) = &rows[row.index(rows.len())];
        prop_assume!(*table != holdfast_ledger::tables::Table::Meta);
        let mut store = state.store().clone();
        store.delete(*table, key).expect("a store in memory");
        let damaged = State::open(store).expect("damage is found by the scan, not at opening");
        prop_assert!(holdfast_ledger::invariants::check_invariants(&damaged).is_err());
    }
}

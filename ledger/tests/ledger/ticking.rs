//! What the leader's ticker relies on: ticks come to an end, leave nothing due, and the next deadline is never named late.

use holdfast_ledger::codec;
use holdfast_ledger::command::{Actor, Batch, Command, Submitted};
use holdfast_ledger::entities::{Order, Policy};
use holdfast_ledger::state::State;
use holdfast_ledger::store::{self, MemoryStore, Read};
use holdfast_ledger::tables::Table;
use proptest::prelude::*;

use crate::walk::{Walker, policy, walk};

/// When each live lock runs out.
fn deadlines(state: &State<MemoryStore>) -> Vec<u64> {
    let rows = state.store().range(Table::Orders, &[], None, store::Order::Ascending, usize::MAX);
    let orders = rows.expect("a store in memory").into_iter().map(|(_, row)| codec::decode(&row).expect("an order"));
    orders.filter(|order: &Order| order.status.holds_tickets()).map(|order| order.deadline_ms).collect()
}

fn tick(state: &mut State<MemoryStore>, time_ms: u64) -> u32 {
    let tick = Submitted { actor: Actor::System, idempotency: None, command: Command::Tick };
    let index = state.meta().index + 1;
    state.apply(index, &Batch { time_ms, commands: vec![tick] }).expect("a store in memory").events
}

/// Ticks as a leader does, at most once for everything that can be due, and once more for a bound that was early.
fn tick_until_nothing_is_due(state: &mut State<MemoryStore>) -> Result<(), TestCaseError> {
    let most = state.meta().orders_live + state.meta().idempotency_records + state.meta().event_seq + 1;
    let mut ticks = 0;
    while state.has_due() {
        prop_assert!(ticks <= most, "ticks that do nothing go on for ever");
        tick(state, 0);
        ticks += 1;
    }
    Ok(())
}

proptest! {
    #[test]
    fn ticks_end_and_leave_nothing_due(policy in policy(), steps in walk(60)) {
        let policy = Policy { sweep_entries_max: 1, ..policy };
        let mut state = State::open(MemoryStore::default()).expect("a store in memory");
        let mut walker = Walker::new();
        let mut batches = walker.opening(&policy);
        for step in std::iter::once(None).chain(steps.iter().map(Some)) {
            batches.extend(step.map(|step| walker.batch(step)));
            let batch = batches.pop().expect("one entry at a time");
            let applied = state.apply(state.meta().index + 1, &batch).expect("a store in memory");
            walker.learn(&batch, &applied);

            tick_until_nothing_is_due(&mut state)?;
            let (now_ms, deadlines) = (state.meta().now_ms, deadlines(&state));
            prop_assert!(deadlines.iter().all(|deadline_ms| *deadline_ms > now_ms), "a due lock was left");
            let first = deadlines.iter().min();
            prop_assert!(first.is_none_or(|first| state.next_deadline_ms().is_some_and(|next| next <= *first)), "named late");
            prop_assert_eq!(tick(&mut state, 0), 0, "nothing is due, and a tick does nothing");
        }

        // A leader who ticks only at the deadlines that it is told gets every lock back at its deadline.
        while let Some(next_ms) = state.next_deadline_ms() {
            let before = deadlines(&state);
            tick(&mut state, next_ms);
            tick_until_nothing_is_due(&mut state)?;
            let due = before.iter().filter(|deadline_ms| **deadline_ms <= next_ms).count();
            prop_assert_eq!(deadlines(&state).len(), before.len() - due);
            prop_assert!(state.next_deadline_ms() > Some(next_ms) || state.next_deadline_ms().is_none(), "the ticker gets on");
        }
        prop_assert!(deadlines(&state).is_empty());
    }
}

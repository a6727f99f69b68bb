//! How asks are cut into entries decides nothing: only ids differ, for they are made from the entry's index. Nor does it decide
//! anything when what is due is swept.

use std::collections::BTreeMap;

use holdfast_ledger::command::Batch;
use holdfast_ledger::entities::Policy;
use holdfast_ledger::outcome::{Applied, Refusal, Reply, Settled};
use holdfast_ledger::state::{Meta, State};
use holdfast_ledger::store::MemoryStore;
use proptest::prelude::*;

use crate::walk::{Step, Walker, policy, walk, without_lines};

/// What a reply says when ids are left out.
fn without_ids(settled: &Settled) -> String {
    match settled {
        Ok(Reply::Ticket { version, .. }) => format!("ticket v{version}"),
        Ok(Reply::Order { version, .. }) => format!("order v{version}"),
        Ok(Reply::Payment { .. }) => "payment".into(),
        Ok(Reply::Request { expires_ms, .. }) => format!("a mail until {expires_ms}"),
        Ok(Reply::Place { version, .. }) => format!("place v{version}"),
        Ok(Reply::SignedIn { epoch, .. }) => format!("signed in, epoch {epoch}"),
        Ok(Reply::Tickets(tickets)) => format!("{} tickets", tickets.len()),
        Ok(other) => format!("{other:?}"),
        Err(Refusal::TicketReserved { deadline_ms, .. }) => format!("reserved until {deadline_ms}"),
        Err(Refusal::CoolingDown { until_ms }) => format!("cooling down until {until_ms}"),
        Err(refusal) => refusal.code().into(),
    }
}

/// The counters that must not depend on the cut.
fn counters(meta: &Meta) -> BTreeMap<&'static str, u64> {
    BTreeMap::from([
        ("now", meta.now_ms),
        ("events", meta.event_seq),
        ("locks", meta.locks_live),
        ("tickets", meta.tickets),
        ("sold", meta.tickets_sold),
        ("withdrawn", meta.tickets_withdrawn),
        ("orders", meta.orders),
        ("orders live", meta.orders_live),
        ("orders complete", meta.orders_complete),
        ("users", meta.users),
        ("places", meta.places_live),
        ("closing", meta.lines_closing),
        ("payments open", meta.payments_open),
        ("keys", meta.idempotency_records),
    ])
}

/// Walks with the asks of each step cut into entries of at most `commands_max`, stamped alike.
fn run(policy: &Policy, steps: &[Step], commands_max: usize) -> (Vec<String>, BTreeMap<&'static str, u64>) {
    let mut state = State::open(MemoryStore::default()).expect("a store in memory");
    let mut walker = Walker::new();
    let mut told = Vec::new();
    let mut batches = walker.opening(policy);
    for step in std::iter::once(None).chain(steps.iter().map(Some)) {
        batches.extend(step.map(|step| walker.batch(step)));
        let batch = batches.pop().expect("one entry at a time");
        let mut whole = Applied { index: 0, time_ms: 0, outcomes: Vec::new(), events: 0 };
        for commands in batch.commands.chunks(commands_max) {
            let part = Batch { time_ms: batch.time_ms, commands: commands.to_vec() };
            let index = state.meta().index + 1;
            whole.outcomes.extend(state.apply(index, &part).expect("a store in memory").outcomes);
        }
        // Only after the whole step: what a step asks must not depend on the cut either.
        walker.learn(&batch, &whole);
        told.extend(whole.outcomes.iter().map(|outcome| without_ids(&outcome.settled)));
    }
    (told, counters(state.meta()))
}

/// Walks with a sweep of at most `sweep_entries_max`, and returns every answer.
fn answers(policy: &Policy, steps: &[Step], sweep_entries_max: u32) -> Vec<Settled> {
    let policy = Policy { sweep_entries_max, ..policy.clone() };
    let mut state = State::open(MemoryStore::default()).expect("a store in memory");
    let mut walker = Walker::new();
    let mut batches = walker.opening(&policy);
    let mut answers = Vec::new();
    for step in std::iter::once(None).chain(steps.iter().map(Some)) {
        batches.extend(step.map(|step| walker.batch(step)));
        let batch = batches.pop().expect("one entry at a time");
        let applied = state.apply(state.meta().index + 1, &batch).expect("a store in memory");
        walker.learn(&batch, &applied);
        answers.extend(applied.outcomes.into_iter().map(|outcome| outcome.settled));
    }
    answers
}

proptest! {
    /// A sweep only tidies up: however late it comes, the answers are the same. Where somebody waits it also gives the ticket
    /// to him, from then on: a late sweep takes nothing from the time that he has, so it is left out here.
    #[test]
    fn when_due_locks_are_swept_decides_nothing(policy in policy(), steps in walk(80)) {
        let steps = without_lines(&steps);
        prop_assert_eq!(answers(&policy, &steps, 1_000), answers(&policy, &steps, 1));
    }

    #[test]
    fn the_cut_into_entries_decides_nothing(policy in policy(), steps in walk(60), commands_max in 1usize..4) {
        prop_assert_eq!(run(&policy, &steps, usize::MAX), run(&policy, &steps, commands_max));
    }
}

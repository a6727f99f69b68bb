//! Walks that nobody gets anywhere on prove nothing: fixed walks must meet every answer and event that walks can meet.

use std::collections::BTreeMap;

use holdfast_ledger::command::Command;
use holdfast_ledger::outcome::{Outcome, Reply};
use holdfast_ledger::query;
use holdfast_ledger::state::State;
use holdfast_ledger::store::MemoryStore;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::walk::{Walker, policy, walk};

/// How often each answer was given and each event emitted.
type Met = BTreeMap<String, u32>;

fn answer(command: &Command, outcome: &Outcome) -> String {
    let name = format!("{command:?}");
    let name = name.split([' ', '(']).next().expect("a command's name");
    let told = match &outcome.settled {
        Ok(Reply::Unchanged) => "unchanged",
        Ok(_) => "done",
        Err(refusal) => refusal.code(),
    };
    let replayed = if outcome.replayed { " again" } else { "" };
    format!("{name} {told}{replayed}")
}

fn meet(walks: usize) -> Met {
    let mut runner = TestRunner::deterministic();
    let strategy = (policy(), walk(80));
    let mut met = Met::new();
    for _ in 0..walks {
        let (policy, steps) = strategy.new_tree(&mut runner).expect("a walk").current();
        let mut state = State::open(MemoryStore::default()).expect("a store in memory");
        let mut walker = Walker::new();
        let mut batches = walker.opening(&policy);
        for step in std::iter::once(None).chain(steps.iter().map(Some)) {
            batches.extend(step.map(|step| walker.batch(step)));
            let batch = batches.pop().expect("one entry at a time");
            let applied = state.apply(state.meta().index + 1, &batch).expect("a store in memory");
            for (submitted, outcome) in batch.commands.iter().zip(&applied.outcomes) {
                *met.entry(answer(&submitted.command, outcome)).or_default() += 1;
            }
            walker.learn(&batch, &applied);
        }
        let mut after = 0;
        while let events = query::events(&state, after, 100).expect("a store in memory")
            && let Some(last) = events.events.last()
        {
            after = last.seq;
            for event in &events.events {
                *met.entry(event.event_type.name().into()).or_default() += 1;
            }
        }
    }
    met
}

/// What must be met.
const EXPECTED: &[&str] = &[
    "BanUser done",
    "BanUser unchanged",
    "UnbanUser done",
    "EraseUser done",
    "SignIn done",
    "SignIn banned",
    "SignOut done",
    "SignUp email_in_use",
    "RefreshSession done",
    "RefreshSession unchanged",
    "ChangeEmail done",
    "ChangeEmail email_in_use",
    "ChangePassword done",
    "RequestReset done",
    "RequestReset banned",
    "RequestVerification done",
    "ResetPassword done",
    "ResetPassword request_not_found",
    "VerifyEmail done",
    "VerifyEmail request_not_found",
    "EditTicket done",
    "EditTicket not_owner",
    "EditTicket ticket_not_editable",
    "EditTicket version_mismatch",
    "SchedulePrice done",
    "SchedulePrice unchanged",
    "WithdrawTicket done",
    "WithdrawTicket ticket_sold",
    "PlaceOrder done",
    "PlaceOrder done again",
    "PlaceOrder banned",
    "PlaceOrder not_signed_in",
    "PlaceOrder invalid",
    "PlaceOrder idempotency_key_reused",
    "PlaceOrder ticket_reserved",
    "PlaceOrder ticket_reserved_by_you",
    "PlaceOrder ticket_sold",
    "PlaceOrder ticket_withdrawn",
    "PlaceOrder sale_ended",
    "PlaceOrder seller_banned",
    "PlaceOrder own_ticket",
    "PlaceOrder price_changed",
    "PlaceOrder currencies_differ",
    "PlaceOrder too_many_locks",
    "PlaceOrder too_many_tickets",
    "PlaceOrder cooling_down",
    "CancelOrder done",
    "CancelOrder not_owner",
    "CancelOrder order_cancelled",
    "CancelOrder order_complete",
    "CancelOrder order_expired",
    "CancelOrder payment_in_progress",
    "CancelOrder version_mismatch",
    "ExtendLock done",
    "ExtendLock extensions_used_up",
    "ExtendLock payment_in_progress",
    "BeginPayment done",
    "BeginPayment done again",
    "BeginPayment order_cancelled",
    "BeginPayment order_expired",
    "RecordIntent done",
    "RecordAuthorized done",
    "RecordAuthorized stale_fence",
    "RecordAuthorized payment_conflict",
    "RecordAuthorized unchanged",
    "RecordDeclined done",
    "RecordCaptured done",
    "RecordCaptured unchanged",
    "RecordCaptureFailed done",
    "RecordVoided done",
    "RecordVoided unchanged",
    "RequestRefund done",
    "ReleaseLock done",
    "ReleaseLock order_cancelled",
    "JoinLine done",
    "JoinLine line_full",
    "JoinLine own_ticket",
    "JoinLine ticket_available",
    "JoinLine ticket_reserved_by_you",
    "JoinLine ticket_sold",
    "JoinLine ticket_withdrawn",
    "JoinLine seller_banned",
    "LeaveLine done",
    "LeaveLine place_not_found",
    "WatchTicket done",
    "WatchTicket unchanged",
    "UnwatchTicket done",
    "RecordRefunded done",
    "expiration:complete",
    "line:joined",
    "line:left",
    "line:offered",
    "line:passed",
    "line:taken",
    "order:cancelled",
    "order:completed",
    "order:created",
    "order:reinstated",
    "order:updated",
    "payment:created",
    "payment:requested",
    "payment:updated",
    "ticket:created",
    "ticket:updated",
    "user:banned",
    "user:created",
    "user:updated",
    "user:reset_requested",
    "user:verification_requested",
];

#[test]
fn walks_meet_what_they_are_for() {
    let met = meet(400);
    for (name, times) in &met {
        println!("{times:6} {name}");
    }
    let missed: Vec<_> = EXPECTED.iter().filter(|expected| !met.contains_key(**expected)).collect();
    assert!(missed.is_empty(), "no walk met {missed:?}");
}

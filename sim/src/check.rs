//! The judges: each holds the evidence of a run against one promise, and each has a test with evidence that must fail.
//!
//! The evidence is what the clients were told, what every machine has in the end, and the bank's book. The checks share no
//! code with what they check.
//!
//! What this deliberately does not do: look inside a node. What a node saw on its way (states at the same index, leaders of a
//! term, ledger time) is compared while the run goes on, by the [observer](crate::machine::Observed).

use std::collections::{BTreeMap, BTreeSet};

use crate::check_events;
use crate::check_time;
use crate::clocks::EPOCH_MS;
use crate::history::{Asked, Call, Told};
use crate::past::{self, Past};
use crate::provider::{Line, Standing};
use crate::second;

/// One machine in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub number: u32,
    pub index: u64,
    pub hash: u128,
    /// What a full scan of its state found wrong.
    pub violations: Vec<String>,
}

/// A ticket in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketEnd {
    /// The order that has bought it.
    pub sold_to: Option<String>,
    /// The order whose lock holds it.
    pub locked_by: Option<String>,
    /// The seat that it was created for.
    pub seat: Option<u64>,
}

/// An order in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderEnd {
    pub user: String,
    pub complete: bool,
    /// Its lock is live.
    pub live: bool,
    pub tickets: Vec<String>,
    pub total_minor: u64,
}

/// Everything that a run left behind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// As the ledger that is there in the end knows them.
    pub calls: Vec<Call>,
    /// Those of which a restore has left nothing.
    pub lost: Vec<Call>,
    /// What restores have ended.
    pub pasts: Vec<Past>,
    pub ends: Vec<End>,
    pub tickets: BTreeMap<String, TicketEnd>,
    pub orders: BTreeMap<String, OrderEnd>,
    /// By intent.
    pub charges: BTreeMap<String, Line>,
    /// What was told of all this.
    pub told: check_events::Told,
    /// So many of the machines' clocks were wrong in the same way at some time that a majority may have agreed on a wrong time.
    pub clocks_misled: bool,
}

/// One promise, and who judges it. A judge says what is wrong, in sentences.
pub struct Check {
    pub name: &'static str,
    pub judge: fn(&Evidence) -> Vec<String>,
}

/// All of them.
pub const CHECKS: &[Check] = &[
    Check { name: "invariants", judge: invariants },
    Check { name: "replicas", judge: replicas },
    Check { name: "purchases", judge: purchases },
    Check { name: "sold once", judge: sold_once },
    Check { name: "charges", judge: charges },
    Check { name: "at most once", judge: at_most_once },
    Check { name: "leases", judge: leases },
    Check { name: "real time", judge: real_time },
    Check { name: "answers", judge: answers },
    Check { name: "refusals", judge: refusals },
    Check { name: "nothing left open", judge: nothing_left_open },
    Check { name: "releases", judge: releases },
    Check { name: "offers", judge: offers },
    Check { name: "events", judge: check_events::events },
    Check { name: "stream", judge: check_events::stream },
    Check { name: "listeners", judge: check_events::listeners },
    Check { name: "mails", judge: check_events::mails },
    Check { name: "mirror", judge: check_events::mirror },
    Check { name: "bans", judge: check_events::bans },
    Check { name: "ledger time", judge: check_time::ledger_time },
    Check { name: "pace", judge: check_time::pace },
    Check { name: "one order", judge: second::linearizable },
    Check { name: "restores", judge: restores },
];

/// Every judgement, each with the name of its check before it.
pub fn judge(evidence: &Evidence) -> Vec<String> {
    let said =
        |check: &Check| (check.judge)(evidence).into_iter().map(|line| format!("{}: {line}", check.name)).collect();
    CHECKS.iter().flat_map(|check| -> Vec<String> { said(check) }).collect()
}

impl Evidence {
    /// The calls that were answered, with their answers.
    pub fn answered(&self) -> impl Iterator<Item = (&Call, &Told)> {
        self.calls.iter().filter_map(|call| Some((call, call.told.as_ref()?)))
    }

    /// The account of each client.
    pub fn users(&self) -> BTreeMap<u32, &str> {
        let is_account = |asked: &Asked| matches!(asked, Asked::SignUp { .. } | Asked::SignIn { .. });
        let signed_in = self.answered().filter(|(call, told)| is_account(&call.asked) && told.status < 300);
        signed_in.filter_map(|(call, told)| Some((call.client, told.id.as_deref()?))).collect()
    }

    /// The id is of something that a restore has taken back.
    fn is_lost(&self, id: &str) -> bool {
        past::is_lost(&self.pasts, id)
    }

    /// The accounts that somebody wanted to ban.
    pub fn banned(&self) -> BTreeSet<&str> {
        let asked = self.calls.iter().chain(&self.lost).map(|call| &call.asked);
        asked.filter_map(|asked| if let Asked::Ban { user } = asked { Some(user.as_str()) } else { None }).collect()
    }
}

/// A full scan of every machine's state finds nothing wrong.
fn invariants(evidence: &Evidence) -> Vec<String> {
    let of = |end: &End| end.violations.iter().map(|what| format!("n{}: {what}", end.number)).collect::<Vec<_>>();
    evidence.ends.iter().flat_map(of).collect()
}

/// All machines have the same state at the same index.
fn replicas(evidence: &Evidence) -> Vec<String> {
    let mut states: BTreeMap<u64, (u32, u128)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for end in &evidence.ends {
        let (first, hash) = *states.entry(end.index).or_insert((end.number, end.hash));
        if hash != end.hash {
            wrong.push(format!("n{first} and n{} differ at index {}", end.number, end.index));
        }
    }
    wrong
}

/// Every purchase that was acknowledged is there, at the price that the buyer saw.
fn purchases(evidence: &Evidence) -> Vec<String> {
    let mut seen_prices: BTreeMap<&str, u64> = BTreeMap::new();
    for (call, told) in evidence.answered() {
        let wants = call.asked.wants();
        if let (false, 201, Some(order)) = (wants.is_empty(), told.status, &told.id) {
            seen_prices.insert(order, wants.iter().map(|(_, price_minor)| price_minor).sum());
        }
    }
    let mut wrong = Vec::new();
    for (call, told) in evidence.answered() {
        let (Asked::Pay { order, .. }, 201) = (&call.asked, told.status) else { continue };
        match evidence.orders.get(order) {
            None => wrong.push(format!("order {order} was paid and is gone")),
            Some(end) if !end.complete => wrong.push(format!("order {order} was paid and is not complete")),
            Some(end) if seen_prices.get(order.as_str()).is_some_and(|seen| *seen != end.total_minor) => {
                wrong.push(format!("order {order} costs {}, which is not what its buyer saw", end.total_minor));
            }
            Some(_) => {}
        }
    }
    for (order, seen) in seen_prices {
        match evidence.orders.get(order) {
            None => wrong.push(format!("order {order} was acknowledged and is gone")),
            Some(end) if end.total_minor != seen => {
                wrong.push(format!("order {order} was not locked at the price seen"))
            }
            Some(_) => {}
        }
    }
    wrong
}

/// A ticket is in at most one complete order, and both agree.
fn sold_once(evidence: &Evidence) -> Vec<String> {
    let mut buyers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, order) in evidence.orders.iter().filter(|(_, order)| order.complete) {
        order.tickets.iter().for_each(|ticket| buyers.entry(ticket).or_default().push(id));
    }
    let mut wrong = Vec::new();
    for (ticket, orders) in &buyers {
        if orders.len() > 1 {
            wrong.push(format!("ticket {ticket} was sold {} times: {orders:?}", orders.len()));
        }
        let sold_to = evidence.tickets.get(*ticket).and_then(|end| end.sold_to.as_deref());
        if sold_to != orders.first().copied() {
            wrong.push(format!("ticket {ticket} is in complete order {}, but is sold to {sold_to:?}", orders[0]));
        }
    }
    for (ticket, end) in
        evidence.tickets.iter().filter(|(id, end)| end.sold_to.is_some() && !buyers.contains_key(id.as_str()))
    {
        wrong.push(format!("ticket {ticket} is sold to {:?}, which is not complete", end.sold_to));
    }
    wrong
}

/// Money was taken once for every complete order, at the locked price, and for nothing else; given back, where an operator asked
/// for it. The bank knows each payment once. What it was asked for before a restore, it has done, and the ledger may not know why:
/// that is left to operators, but nobody is charged twice for it.
fn charges(evidence: &Evidence) -> Vec<String> {
    let mut taken: BTreeMap<&str, (u32, u64)> = BTreeMap::new();
    let mut payments = BTreeSet::new();
    let refund = |call: &Call| match &call.asked {
        Asked::Refund { order } => Some((order.clone(), call.told.as_ref().map(|told| told.status))),
        _ => None,
    };
    let refunds: Vec<(String, Option<u16>)> = evidence.calls.iter().filter_map(refund).collect();
    let lost_refunds: Vec<(String, Option<u16>)> = evidence.lost.iter().filter_map(refund).collect();
    let is_complete = |order: &str| evidence.orders.get(order).is_some_and(|end| end.complete);
    let mut let_go = BTreeSet::new();
    let mut wrong = Vec::new();
    for (intent, line) in &evidence.charges {
        if !payments.insert(line.payment) {
            wrong.push(format!("{intent} of order {}: the bank has another charge for the same payment", line.order));
        }
        let is_before = past::is_before(&evidence.pasts, line.asked_ns);
        // Taken for what may have been completed in a past that is lost.
        let was_taken = line.taken_ns.is_some_and(|at_ns| past::is_before(&evidence.pasts, at_ns))
            && line.captures == 1
            && !is_complete(&line.order);
        let mut all_refunds = refunds.iter().chain(&lost_refunds);
        let asked_back = all_refunds.any(|(order, status)| *order == line.order && *status != Some(409));
        let owed_back = refunds.iter().any(|(order, status)| *order == line.order && *status == Some(202));
        match line.standing {
            Standing::Captured | Standing::Refunded if was_taken => {}
            Standing::Captured if owed_back => {
                wrong.push(format!("{intent} of order {} was to be given back and was not", line.order));
            }
            Standing::Refunded if !asked_back && is_before => _ = let_go.insert(line.order.as_str()),
            Standing::Refunded if !asked_back => {
                wrong.push(format!("{intent} of order {} was given back and nobody asked for it", line.order));
            }
            Standing::Captured | Standing::Refunded => {
                let (captures, amount_minor) = taken.entry(&line.order).or_default();
                *captures += line.captures;
                *amount_minor += line.amount_minor;
            }
            // The ledger may have given the payment up before it knew of this charge.
            Standing::Authorized if is_before => {}
            Standing::Voided if is_before => _ = let_go.insert(line.order.as_str()),
            Standing::Authorized => {
                wrong.push(format!("{intent} of order {} was neither captured nor voided", line.order))
            }
            Standing::Created | Standing::Declined | Standing::Voided => {}
        }
    }
    for (id, order) in &evidence.orders {
        match (order.complete, taken.remove(id.as_str())) {
            (true, Some((1, amount_minor))) if amount_minor == order.total_minor => {}
            (true, Some((1, amount_minor))) => {
                wrong.push(format!("order {id} was locked at {} and charged {amount_minor}", order.total_minor));
            }
            (true, Some((captures, _))) => wrong.push(format!("order {id} was charged {captures} times")),
            (true, None) if let_go.contains(id.as_str()) => {}
            (true, None) => wrong.push(format!("order {id} is complete and was never charged")),
            (false, Some(_)) => wrong.push(format!("order {id} is not complete and was charged")),
            (false, None) => {}
        }
    }
    wrong.extend(taken.keys().map(|order| format!("order {order} was charged and does not exist")));
    wrong
}

/// A call happened at most once, however often it was sent.
fn at_most_once(evidence: &Evidence) -> Vec<String> {
    let users = evidence.users();
    let mut asked: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let mut orders = BTreeSet::new();
    let mut wrong = Vec::new();
    for call in &evidence.calls {
        let wants = call.asked.wants();
        let Some(user) = users.get(&call.client).filter(|_| !wants.is_empty()) else { continue };
        let told = call.told.as_ref();
        if call.may_have_happened() || told.is_some_and(|told| told.status == 201) {
            wants.iter().for_each(|(ticket, _)| *asked.entry((user, *ticket)).or_default() += 1);
        }
        let order = told.filter(|told| told.status == 201).and_then(|told| told.id.as_deref());
        if let Some(order) = order.filter(|order| !orders.insert(order.to_string())) {
            wrong.push(format!("two calls were answered with order {order}"));
        }
    }
    wrong.extend(tickets_at_most_once(evidence));
    let repeated = evidence.answered().filter(|(call, told)| told.replayed && call.attempts == 1);
    wrong.extend(
        repeated.map(|(call, _)| format!("{:?} was sent once, and its answer is that of a repetition", call.asked)),
    );
    for (id, order) in &evidence.orders {
        for ticket in &order.tickets {
            let left = asked.entry((order.user.as_str(), ticket.as_str())).or_default();
            *left -= 1;
            if *left < 0 {
                wrong.push(format!("order {id} for ticket {ticket} was never asked for"));
            }
        }
    }
    wrong
}

/// Every ticket has a seat that was asked for, and none has that of another.
fn tickets_at_most_once(evidence: &Evidence) -> Vec<String> {
    let seats = |call: &Call| match &call.asked {
        Asked::CreateTicket { seat, .. } if call.told.as_ref().is_none_or(|told| told.status == 201) => *seat..seat + 1,
        Asked::CreateTickets { prices_minor, first_seat } => *first_seat..first_seat + prices_minor.len() as u64,
        _ => 0..0,
    };
    let mut asked: BTreeSet<u64> = evidence.calls.iter().flat_map(seats).collect();
    let surplus = evidence.tickets.iter().filter(|(_, end)| !end.seat.is_some_and(|seat| asked.remove(&seat)));
    surplus.map(|(id, end)| format!("ticket {id} for seat {:?} was asked for once less", end.seat)).collect()
}

/// Ledger time may be so much faster than real time, where clocks drift, and so far off, in milliseconds.
const PACE_PERCENT: u64 = 70;
const CLOCKS_APART_MS: u64 = 3_000;

/// Nobody gets a ticket before the lock of whoever had it is over, by ledger time: what was promised to the one in his answers
/// is held against when the other's lock began. An order that its buyer gave up, or that the bank declined, may end early.
/// Ledger time itself must keep pace with real time, as far as drifting clocks let it: a lock that is promised for long is not
/// over at once, unless the time that was promised has come.
fn leases(evidence: &Evidence) -> Vec<String> {
    struct Lock<'a> {
        order: &'a str,
        index: u64,
        created_ms: u64,
        /// From the call to its answer.
        span_ns: (u64, u64),
    }
    let mut locks: BTreeMap<&str, Vec<Lock>> = BTreeMap::new();
    let mut promised: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    let mut may_end_early = BTreeSet::new();
    for call in &evidence.calls {
        match &call.asked {
            Asked::CancelOrder { order } | Asked::ReleaseLock { order } | Asked::Pay { order, declined: true } => {
                may_end_early.insert(order.as_str());
            }
            _ => {}
        }
    }
    let banned = evidence.banned();
    let of_banned = evidence.orders.iter().filter(|(_, end)| banned.contains(end.user.as_str()));
    may_end_early.extend(of_banned.map(|(order, _)| order.as_str()));
    for (call, told) in evidence.answered() {
        let Some(index) = told.log_index else { continue };
        let order = match &call.asked {
            Asked::PlaceOrder { .. } | Asked::PlaceTogether { .. } if told.status == 201 => told.id.as_deref(),
            Asked::ExtendLock { order } | Asked::ReadOrder { order } if told.status == 200 => Some(order.as_str()),
            _ => None,
        };
        let (Some(order), Some(expires_ms)) = (order, told.expires_ms) else { continue };
        promised.entry(order).or_default().push((index, expires_ms));
        for (ticket, _) in call.asked.wants() {
            let Some(created_ms) = told.created_ms else { continue };
            let span_ns = (call.invoked_ns, call.returned_ns.unwrap_or(u64::MAX));
            locks.entry(ticket).or_default().push(Lock { order, index, created_ms, span_ns });
        }
    }
    let mut wrong = Vec::new();
    for (ticket, locks) in &mut locks {
        locks.sort_by_key(|lock| lock.index);
        for (at, next) in locks.iter().enumerate() {
            for before in locks[..at].iter().filter(|before| !may_end_early.contains(before.order)) {
                let told = promised.get(before.order).into_iter().flatten().filter(|(index, _)| *index < next.index);
                let until_ms = told.map(|(_, expires_ms)| *expires_ms).max().unwrap_or(0);
                if next.created_ms < until_ms {
                    let early_ms = until_ms - next.created_ms;
                    let (one, other) = (before.order, next.order);
                    wrong.push(format!(
                        "ticket {ticket}: order {other} began {early_ms} ms before the lock of order {one} was over"
                    ));
                }
                let lasted_ms = next.span_ns.1.saturating_sub(before.span_ns.0) / 1_000_000;
                let promised_ms = until_ms.saturating_sub(before.created_ms);
                // Where ledger time had fallen behind and catches up, a lock is over when it was said to be, by true time.
                let is_before = EPOCH_MS + next.span_ns.1 / 1_000_000 + CLOCKS_APART_MS < until_ms;
                let lost_time = is_before && lasted_ms + CLOCKS_APART_MS < promised_ms * PACE_PERCENT / 100;
                if lost_time && !evidence.clocks_misled {
                    let order = before.order;
                    wrong.push(format!(
                        "ticket {ticket}: order {order} had {promised_ms} ms and lost it after {lasted_ms} ms"
                    ));
                }
            }
        }
    }
    wrong
}

/// What was answered before a call began is in the state that answers it: log indexes respect real time.
fn real_time(evidence: &Evidence) -> Vec<String> {
    let mut moments = Vec::new();
    for (call, told) in evidence.answered() {
        let (Some(returned_ns), Some(index)) = (call.returned_ns, told.log_index) else { continue };
        moments.push((returned_ns, true, index, call));
        // A remembered answer, and one that an earlier attempt already had, may be older.
        if !told.replayed {
            moments.push((call.invoked_ns, false, index, call));
        }
    }
    moments.sort_by_key(|(at_ns, is_return, index, _)| (*at_ns, *is_return, *index));
    let mut newest = 0;
    let mut wrong = Vec::new();
    for (_, is_return, index, call) in moments {
        if is_return {
            newest = newest.max(index);
        } else if index < newest {
            wrong.push(format!(
                "{:?} reflects index {index}, but {newest} had been answered before it began",
                call.asked
            ));
        }
    }
    wrong
}

/// Every answer is one that its request may have.
fn answers(evidence: &Evidence) -> Vec<String> {
    let allowed = |asked: &Asked| -> &[u16] {
        match asked {
            Asked::SignUp { .. } => &[201, 400],
            Asked::SignIn { .. } | Asked::ListTickets | Asked::ReadTicket { .. } | Asked::ReadOrder { .. } => &[200],
            Asked::CreateTicket { .. } => &[201],
            Asked::ChangePrice { .. } => &[200, 400],
            Asked::PlaceOrder { .. } | Asked::PlaceTogether { .. } => &[201, 400, 409, 403],
            Asked::CancelOrder { .. } => &[204, 409],
            Asked::ExtendLock { .. } => &[200, 400, 409],
            Asked::Pay { .. } => &[201, 400, 402, 409],
            Asked::CreateTickets { .. } | Asked::ListLocks | Asked::ListSold | Asked::ReadPlace { .. } => &[200],
            Asked::JoinLine { .. } => &[201, 400, 409],
            Asked::LeaveLine { .. } => &[204, 404, 409],
            Asked::ReleaseLock { .. } => &[200, 409],
            Asked::Refund { .. } => &[202, 409],
            Asked::Ban { .. } | Asked::Unban { .. } => &[200],
        }
    };
    // Who is banned is signed out, and cannot sign in.
    let (users, banned) = (evidence.users(), evidence.banned());
    let may_be_banned = |call: &Call| users.get(&call.client).is_some_and(|user| banned.contains(user));
    let is_allowed = |call: &Call, status: u16| {
        allowed(&call.asked).contains(&status)
            || matches!(status, 401 | 403) && may_be_banned(call)
            || matches!(status, 400 | 401 | 404) && speaks_of_what_is_lost(evidence, call)
    };
    let unexpected = evidence.answered().filter(|(call, told)| !is_allowed(call, told.status));
    unexpected.map(|(call, told)| format!("{:?} was answered {} {:?}", call.asked, told.status, told.code)).collect()
}

/// The call names something that a restore has taken back, or its client's account is lost.
fn speaks_of_what_is_lost(evidence: &Evidence, call: &Call) -> bool {
    let of_account = || {
        let own = evidence.lost.iter().filter(|lost| lost.client == call.client);
        own.filter_map(account).any(|user| evidence.is_lost(user))
    };
    call.asked.names().into_iter().any(|id| evidence.is_lost(id)) || of_account()
}

/// The account that a call has made or found.
fn account(call: &Call) -> Option<&str> {
    let is_account = matches!(call.asked, Asked::SignUp { .. } | Asked::SignIn { .. });
    call.told.as_ref().filter(|told| is_account && told.status < 300)?.id.as_deref()
}

/// What a restore has taken back does not come up again, in the ledger or in answers, and no id of it is given anew.
fn restores(evidence: &Evidence) -> Vec<String> {
    let mut wrong = Vec::new();
    for id in evidence.tickets.keys().chain(evidence.orders.keys()).filter(|id| evidence.is_lost(id)) {
        wrong.push(format!("{id} was lost with the lineage that made it, and is there"));
    }
    for (call, told) in evidence.answered().filter(|(_, told)| told.status < 300) {
        let ids = told.id.iter().chain(told.ids.iter().flatten());
        for id in ids.filter(|id| evidence.is_lost(id)) {
            wrong.push(format!("{:?} was answered with {id}, which was lost", call.asked));
        }
    }
    wrong
}

/// A buyer who was told that a ticket is sold was told the truth.
fn refusals(evidence: &Evidence) -> Vec<String> {
    let mut wrong = Vec::new();
    for (call, told) in evidence.answered() {
        let wants = call.asked.wants();
        let is_sold = |ticket: &str| evidence.tickets.get(ticket).is_some_and(|end| end.sold_to.is_some());
        let said_so = told.code.as_deref() == Some("ticket_sold");
        if said_so && !wants.is_empty() && !wants.iter().any(|(ticket, _)| is_sold(ticket)) {
            wrong.push(format!("of {wants:?} one was said to be sold, and none is"));
        }
    }
    wrong
}

/// An order whose lock an operator has ended is not complete, whatever the bank said later.
fn releases(evidence: &Evidence) -> Vec<String> {
    let mut wrong = Vec::new();
    for (call, told) in evidence.answered() {
        if let (Asked::ReleaseLock { order }, 200) = (&call.asked, told.status)
            && evidence.orders.get(order).is_some_and(|end| end.complete || end.live)
        {
            wrong.push(format!("order {order} was released by an operator and went on"));
        }
    }
    wrong
}

/// While a ticket is kept for one buyer, nobody else locks it: unless he has given the offer up, had taken it, or was banned.
fn offers(evidence: &Evidence) -> Vec<String> {
    let (users, banned) = (evidence.users(), evidence.banned());
    let user = |call: &Call| users.get(&call.client).copied();
    let wants = |call: &Call, ticket: &str| call.asked.wants().iter().any(|(wanted, _)| *wanted == ticket);
    let mut wrong = Vec::new();
    for (look, seen) in evidence.answered().filter(|(look, _)| user(look).is_none_or(|user| !banned.contains(user))) {
        let (Asked::ReadPlace { ticket }, Some(until_ms), Some(at)) =
            (&look.asked, seen.offered_until_ms, seen.log_index)
        else {
            continue;
        };
        let moves = |call: &&Call| match &call.asked {
            Asked::LeaveLine { ticket: left } => left == ticket,
            _ => wants(call, ticket),
        };
        // Whatever he does about the ticket after he was told may end the offer.
        let mut own = evidence.calls.iter().filter(moves).filter(|call| user(call) == user(look));
        if own.any(|call| call.returned_ns.is_none_or(|at_ns| at_ns > look.invoked_ns)) {
            continue;
        }
        for (call, told) in evidence.answered() {
            let (201, Some(index), Some(created_ms)) = (told.status, told.log_index, told.created_ms) else {
                continue;
            };
            if wants(call, ticket) && index > at && created_ms < until_ms && user(call) != user(look) {
                let early_ms = until_ms - created_ms;
                wrong.push(format!("ticket {ticket} was kept for another when it was locked, {early_ms} ms early"));
            }
        }
    }
    wrong
}

/// After some quiet, every lock has ended and every payment is decided.
fn nothing_left_open(evidence: &Evidence) -> Vec<String> {
    let live = evidence
        .orders
        .iter()
        .filter(|(_, order)| order.live)
        .map(|(id, _)| format!("order {id} still holds its lock"));
    let locked = evidence.tickets.iter().filter(|(_, end)| end.locked_by.is_some());
    live.chain(locked.map(|(id, end)| format!("ticket {id} is still locked by {:?}", end.locked_by))).collect()
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::id::{Id, PaymentId};

    use super::*;

    fn told(status: u16, log_index: u64, id: &str) -> Told {
        Told {
            status,
            log_index: Some(log_index),
            replayed: false,
            code: None,
            id: Some(id.into()),
            ids: Vec::new(),
            price_minor: None,
            created_ms: None,
            expires_ms: None,
            offered_until_ms: None,
        }
    }

    fn call(client: u32, asked: Asked, span_ns: (u64, u64), told: Told) -> Call {
        Call { client, asked, invoked_ns: span_ns.0, attempts: 1, returned_ns: Some(span_ns.1), told: Some(told) }
    }

    fn create(seat: u64) -> Asked {
        Asked::CreateTicket { price_minor: 500, seat }
    }

    fn free(seat: u64) -> TicketEnd {
        TicketEnd { sold_to: None, locked_by: None, seat: Some(seat) }
    }

    fn place(ticket: &str) -> Asked {
        Asked::PlaceOrder { ticket: ticket.into(), price_minor: 500 }
    }

    fn pay(order: &str) -> Asked {
        Asked::Pay { order: order.into(), declined: false }
    }

    fn order(user: &str, complete: bool, ticket: &str) -> OrderEnd {
        OrderEnd { user: user.into(), complete, live: false, tickets: vec![ticket.into()], total_minor: 500 }
    }

    /// One for each order.
    fn payment_of(order: &str) -> PaymentId {
        PaymentId(Id::mint(1, 1, u32::from(order.as_bytes()[1])))
    }

    fn line(order: &str, standing: Standing) -> Line {
        Line {
            order: order.into(),
            payment: payment_of(order),
            amount_minor: 500,
            currency: "USD".into(),
            standing,
            captures: u32::from(standing == Standing::Captured),
            asked_ns: 45,
            taken_ns: (standing == Standing::Captured).then_some(45),
        }
    }

    /// Two buyers, two tickets: one bought, one locked and left.
    fn good() -> Evidence {
        let sign_up = |email: &str| Asked::SignUp { email: email.into() };
        let refused = Told { code: Some("ticket_sold".into()), ..told(400, 14, "") };
        Evidence {
            calls: vec![
                call(1, sign_up("a"), (0, 10), told(201, 5, "ua")),
                call(2, sign_up("b"), (0, 12), told(201, 6, "ub")),
                call(1, place("t1"), (20, 30), told(201, 10, "o1")),
                call(2, place("t2"), (20, 35), told(201, 11, "o2")),
                call(1, pay("o1"), (40, 50), told(201, 13, "p1")),
                call(2, place("t1"), (60, 70), refused),
                call(0, create(1), (0, 3), told(201, 3, "t1")),
                call(0, create(2), (3, 5), told(201, 4, "t2")),
            ],
            ends: (1..=3).map(|number| End { number, index: 20, hash: 7, violations: vec![] }).collect(),
            tickets: BTreeMap::from([
                ("t1".into(), TicketEnd { sold_to: Some("o1".into()), ..free(1) }),
                ("t2".into(), free(2)),
            ]),
            orders: BTreeMap::from([("o1".into(), order("ua", true, "t1")), ("o2".into(), order("ub", false, "t2"))]),
            charges: BTreeMap::from([("pi_1".into(), line("o1", Standing::Captured))]),
            ..Evidence::default()
        }
    }

    /// The names of the checks that object once the evidence is changed.
    fn objections(change: impl FnOnce(&mut Evidence)) -> BTreeSet<String> {
        let mut evidence = good();
        change(&mut evidence);
        judge(&evidence).iter().map(|line| line.split(':').next().expect("a name").to_string()).collect()
    }

    #[test]
    fn the_second_opinion_objects_to_a_lock_on_what_is_sold() {
        let again = |run: &mut Evidence| {
            run.calls.push(call(2, place("t1"), (80, 90), told(201, 15, "o3")));
            run.orders.insert("o3".into(), order("ub", false, "t1"));
        };
        assert_eq!(objections(again), only("one order"));
    }

    /// The run was restored from entry 12 at 100 ns: what was answered later is of the next lineage.
    fn restored(run: &mut Evidence) {
        run.pasts = vec![Past { lineage: 0, index: 12, event_seq: 9, until_ns: 100 }];
        (run.calls, run.lost) = past::split(std::mem::take(&mut run.calls), &run.pasts);
    }

    #[test]
    fn what_came_after_the_backup_may_be_gone_and_nothing_else() {
        let unsold = |run: &mut Evidence| {
            restored(run);
            run.orders.get_mut("o1").unwrap().complete = false;
            run.tickets.get_mut("t1").unwrap().sold_to = None;
        };
        assert_eq!(objections(restored), BTreeSet::new(), "the payment goes on");
        assert_eq!(objections(unsold), BTreeSet::new(), "it was decided at 13, and the bank was asked before");
        let late = |run: &mut Evidence| {
            unsold(run);
            let line = run.charges.get_mut("pi_1").unwrap();
            (line.asked_ns, line.taken_ns) = (100, Some(100));
        };
        assert_eq!(objections(late), only("charges"));
        let twice = |run: &mut Evidence| {
            restored(run);
            run.charges.get_mut("pi_1").unwrap().captures = 2;
        };
        assert_eq!(objections(twice), only("charges"));
        let gone = |run: &mut Evidence| {
            restored(run);
            run.orders.remove("o2");
        };
        assert_eq!(objections(gone), only("purchases"), "it was decided at 11");
    }

    #[test]
    fn what_was_lost_and_comes_up_again_is_seen() {
        let lost = format!("0000{:012x}00000001", 13);
        let there = |run: &mut Evidence| {
            restored(run);
            run.orders.insert(lost.clone(), order("ub", false, "t2"));
        };
        assert!(objections(there).contains("restores"));
        let read = |status| {
            let asked = Asked::ReadOrder { order: lost.clone() };
            objections(|run| {
                restored(run);
                run.calls.push(call(2, asked, (120, 130), told(status, 14, &lost)));
            })
        };
        assert_eq!(read(404), BTreeSet::new());
        assert_eq!(read(200), only("restores"));
        let unknown = |run: &mut Evidence| {
            restored(run);
            run.calls.push(call(2, Asked::ReadOrder { order: "o2".into() }, (120, 130), told(404, 14, "o2")));
        };
        assert_eq!(objections(unknown), only("answers"), "that one was not lost");
    }

    #[test]
    fn an_order_of_several_tickets_counts_for_each() {
        let lines = vec![("t2".to_string(), 500), ("t3".to_string(), 500)];
        let both = |run: &mut Evidence| {
            run.calls.push(call(0, create(3), (5, 6), told(201, 7, "t3")));
            run.tickets.insert("t3".into(), free(3));
            run.calls.push(call(1, Asked::PlaceTogether { lines: lines.clone() }, (80, 90), told(201, 15, "o3")));
            let tickets = vec!["t2".into(), "t3".into()];
            run.orders.insert("o3".into(), OrderEnd { tickets, total_minor: 1_000, ..order("ua", false, "") });
        };
        assert_eq!(objections(both), BTreeSet::new());
        let for_less = |run: &mut Evidence| {
            both(run);
            run.orders.get_mut("o3").unwrap().total_minor = 500;
        };
        assert_eq!(objections(for_less), only("purchases"));
    }

    #[test]
    fn only_who_is_banned_is_turned_away() {
        let turned_away = |run: &mut Evidence| {
            run.calls.push(call(2, place("t2"), (80, 90), told(401, 15, "")));
        };
        assert_eq!(objections(turned_away), only("answers"));
        let banned = |run: &mut Evidence| {
            turned_away(run);
            run.calls.push(call(9, Asked::Ban { user: "ub".into() }, (60, 70), told(200, 14, "")));
        };
        assert_eq!(objections(banned), only("bans"), "of whose ban nobody was told");
        let made_before = |attempts| {
            objections(move |run| {
                banned(run);
                run.calls[8].attempts = attempts;
                run.orders.insert("o3".into(), order("ub", false, "t2"));
            })
        };
        assert_eq!(made_before(2), only("bans"), "the first attempt made it, and its answer was lost");
        assert_eq!(made_before(1), both("at most once", "bans"));
    }

    fn only(name: &str) -> BTreeSet<String> {
        BTreeSet::from([name.to_string()])
    }

    fn both(one: &str, other: &str) -> BTreeSet<String> {
        BTreeSet::from([one.to_string(), other.to_string()])
    }

    #[test]
    fn a_good_run_passes() {
        assert_eq!(judge(&good()), Vec::<String>::new());
    }

    /// Buyer 1 locks a third ticket until `expires_ms`, and buyer 2 gets it at `created_ms`.
    fn one_after_the_other(run: &mut Evidence, expires_ms: u64, created_ms: u64) {
        run.calls.push(call(0, create(3), (5, 6), told(201, 7, "t3")));
        run.tickets.insert("t3".into(), free(3));
        let lock = |index, id: &str, created_ms, expires_ms| Told {
            created_ms: Some(created_ms),
            expires_ms: Some(expires_ms),
            ..told(201, index, id)
        };
        run.calls.push(call(1, place("t3"), (80, 90), lock(15, "o3", 0, expires_ms)));
        run.calls.push(call(2, place("t3"), (100, 110), lock(17, "o4", created_ms, created_ms + 5_000)));
        run.orders.insert("o3".into(), order("ua", false, "t3"));
        run.orders.insert("o4".into(), order("ub", false, "t3"));
    }

    #[test]
    fn a_lock_that_ends_early_is_seen() {
        assert_eq!(objections(|run| one_after_the_other(run, 4_000, 3_999)), both("leases", "one order"));
        assert_eq!(objections(|run| one_after_the_other(run, 4_000, 4_000)), BTreeSet::new());
    }

    #[test]
    fn a_lock_that_time_ran_away_from_is_seen() {
        let until = |ms| move |run: &mut Evidence| one_after_the_other(run, EPOCH_MS + ms, EPOCH_MS + 3_600_000);
        assert_eq!(objections(until(8_000)), both("leases", "pace"));
        assert_eq!(objections(until(2_000)), only("pace"));
    }

    #[test]
    fn a_lock_that_is_over_when_it_was_said_to_be_is_none_that_time_ran_away_from() {
        assert_eq!(objections(|run| one_after_the_other(run, 8_000, 8_000)), BTreeSet::new());
    }

    #[test]
    fn a_lock_that_was_extended_counts_as_long_as_it_was_promised() {
        let extended = |told: Told| call(1, Asked::ExtendLock { order: "o3".into() }, (92, 95), told);
        let promise = Told { expires_ms: Some(9_000), ..told(200, 16, "o3") };
        assert_eq!(
            objections(|run| {
                one_after_the_other(run, 5_000, 6_000);
                run.calls.push(extended(promise));
            }),
            both("leases", "one order")
        );
    }

    #[test]
    fn a_lock_that_was_given_up_may_end_early() {
        assert_eq!(
            objections(|run| {
                one_after_the_other(run, 5_000, 1_000);
                let cancel = Asked::CancelOrder { order: "o3".into() };
                run.calls.push(call(1, cancel, (92, 95), told(204, 16, "")));
            }),
            BTreeSet::new()
        );
    }

    #[test]
    fn a_repetition_of_what_was_sent_once_is_seen() {
        let repeated = |attempts| {
            objections(move |run| {
                let call = run.calls.last_mut().expect("a good run has calls");
                call.told.as_mut().expect("all are answered").replayed = true;
                call.attempts = attempts;
            })
        };
        assert_eq!(repeated(1), only("at most once"));
        assert_eq!(repeated(2), BTreeSet::new());
    }

    #[test]
    fn a_ticket_that_nobody_created_is_seen() {
        let from_nowhere = |run: &mut Evidence| {
            run.tickets.insert("t9".into(), free(9));
        };
        assert_eq!(objections(from_nowhere), only("at most once"));
        let on_the_seat_of_another = |run: &mut Evidence| _ = run.tickets.insert("t9".into(), free(1));
        assert_eq!(objections(on_the_seat_of_another), only("at most once"));
    }

    #[test]
    fn a_violated_invariant_is_seen() {
        assert_eq!(objections(|run| run.ends[1].violations.push("a counter is off".into())), only("invariants"));
    }

    #[test]
    fn a_replica_that_differs_is_seen() {
        assert_eq!(objections(|run| run.ends[2].hash = 8), only("replicas"));
        assert_eq!(objections(|run| (run.ends[2].hash, run.ends[2].index) = (8, 19)), BTreeSet::new());
    }

    #[test]
    fn a_lost_purchase_is_seen() {
        assert!(objections(|run| _ = run.orders.remove("o1")).contains("purchases"));
        assert!(objections(|run| run.orders.get_mut("o1").unwrap().complete = false).contains("purchases"));
        assert_eq!(objections(|run| _ = run.orders.remove("o2")), only("purchases"));
    }

    #[test]
    fn another_price_than_the_one_seen_is_seen() {
        let dearer = |run: &mut Evidence| run.orders.get_mut("o1").unwrap().total_minor = 600;
        assert!(objections(dearer).contains("purchases"));
    }

    #[test]
    fn a_ticket_sold_twice_is_seen() {
        let twice = |run: &mut Evidence| _ = run.orders.insert("o3".into(), order("ub", true, "t1"));
        assert!(objections(twice).contains("sold once"));
        let unsold = |run: &mut Evidence| run.tickets.get_mut("t2").unwrap().sold_to = Some("o2".into());
        assert_eq!(objections(unsold), only("sold once"));
    }

    #[test]
    fn wrong_charges_are_seen() {
        let change = |change: fn(&mut BTreeMap<String, Line>)| objections(|run| change(&mut run.charges));
        assert_eq!(change(|book| book.clear()), only("charges"));
        assert_eq!(change(|book| book.get_mut("pi_1").unwrap().amount_minor = 499), only("charges"));
        assert_eq!(change(|book| book.get_mut("pi_1").unwrap().captures = 2), only("charges"));
        assert_eq!(change(|book| _ = book.insert("pi_2".into(), line("o1", Standing::Captured))), only("charges"));
        assert_eq!(change(|book| _ = book.insert("pi_2".into(), line("o2", Standing::Captured))), only("charges"));
        assert_eq!(change(|book| _ = book.insert("pi_2".into(), line("o2", Standing::Authorized))), only("charges"));
        assert_eq!(change(|book| _ = book.insert("pi_2".into(), line("o9", Standing::Captured))), only("charges"));
        assert_eq!(change(|book| _ = book.insert("pi_2".into(), line("o2", Standing::Voided))), BTreeSet::new());
    }

    #[test]
    fn a_call_that_happened_twice_is_seen() {
        let again = |run: &mut Evidence| _ = run.orders.insert("o3".into(), order("ub", false, "t2"));
        assert_eq!(objections(again), only("at most once"));
        let shared = |run: &mut Evidence| run.calls[3].told = Some(told(201, 11, "o1"));
        assert!(objections(shared).contains("at most once"));
    }

    #[test]
    fn a_call_without_an_answer_may_have_happened() {
        let lost_answer = |run: &mut Evidence| (run.calls[3].told, run.calls[3].returned_ns) = (None, None);
        assert_eq!(objections(lost_answer), BTreeSet::new());
    }

    #[test]
    fn an_answer_from_the_past_is_seen() {
        assert_eq!(objections(|run| run.calls[5].told.as_mut().unwrap().log_index = Some(12)), only("real time"));
        assert_eq!(objections(|run| run.calls[3].told.as_mut().unwrap().log_index = Some(9)), BTreeSet::new());
    }

    #[test]
    fn an_answer_that_cannot_be_is_seen() {
        assert_eq!(objections(|run| run.calls[5].told.as_mut().unwrap().status = 500), only("answers"));
    }

    #[test]
    fn a_false_refusal_is_seen() {
        assert_eq!(objections(|run| run.calls[5].asked = place("t2")), both("one order", "refusals"));
    }

    #[test]
    fn a_released_order_that_goes_on_is_seen() {
        let release = |order: &str, status| {
            call(9, Asked::ReleaseLock { order: order.into() }, (80, 90), told(status, 18, order))
        };
        assert_eq!(objections(|run| run.calls.push(release("o1", 200))), only("releases"));
        assert_eq!(objections(|run| run.calls.push(release("o1", 409))), BTreeSet::new());
        assert_eq!(objections(|run| run.calls.push(release("o2", 200))), BTreeSet::new());
    }

    #[test]
    fn a_refund_that_was_not_paid_or_not_asked_for_is_seen() {
        let refund = |status| call(9, Asked::Refund { order: "o1".into() }, (80, 90), told(status, 18, "o1"));
        let paid_back = |run: &mut Evidence| run.charges.get_mut("pi_1").unwrap().standing = Standing::Refunded;
        assert_eq!(objections(|run| run.calls.push(refund(202))), only("charges"));
        assert_eq!(objections(paid_back), only("charges"));
        let both = |run: &mut Evidence| {
            paid_back(run);
            run.charges.get_mut("pi_1").unwrap().captures = 1;
            run.calls.push(refund(202));
        };
        assert_eq!(objections(both), BTreeSet::new());
    }

    #[test]
    fn a_payment_that_the_bank_knows_twice_is_seen() {
        let twice = |run: &mut Evidence| _ = run.charges.insert("pi_2".into(), line("o1", Standing::Created));
        assert_eq!(objections(twice), only("charges"));
    }

    #[test]
    fn an_offer_that_another_takes_is_seen() {
        let offered = Told { offered_until_ms: Some(5_000), ..told(200, 15, "") };
        let look = || call(2, Asked::ReadPlace { ticket: "t3".into() }, (100, 110), offered.clone());
        let locked = |run: &mut Evidence, created_ms| {
            run.calls.push(call(0, create(3), (5, 6), told(201, 7, "t3")));
            run.tickets.insert("t3".into(), free(3));
            run.orders.insert("o3".into(), order("ua", false, "t3"));
            let lock = Told { created_ms: Some(created_ms), expires_ms: Some(9_000), ..told(201, 17, "o3") };
            run.calls.push(look());
            run.calls.push(call(1, place("t3"), (120, 130), lock));
        };
        assert_eq!(objections(|run| locked(run, 4_999)), only("offers"));
        assert_eq!(objections(|run| locked(run, 5_000)), BTreeSet::new());
        let left = |run: &mut Evidence| {
            locked(run, 4_000);
            run.calls.push(call(2, Asked::LeaveLine { ticket: "t3".into() }, (111, 119), told(204, 16, "")));
        };
        assert_eq!(objections(left), BTreeSet::new());
    }

    #[test]
    fn an_open_end_is_seen() {
        assert_eq!(objections(|run| run.orders.get_mut("o2").unwrap().live = true), only("nothing left open"));
        let locked = |run: &mut Evidence| run.tickets.get_mut("t2").unwrap().locked_by = Some("o2".into());
        assert_eq!(objections(locked), only("nothing left open"));
    }
}

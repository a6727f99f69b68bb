//! What the clients do: a seller who keeps changing prices, buyers who race for the tickets, for one or for several at once, pay
//! for them or stand in line, an operator who steps in and bans, and somebody who only looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::RngExt;
use serde_json::Value;
use tokio::time::sleep;

use crate::client::{Client, minor};
use crate::history::Asked;
use crate::schedule::Workload;

/// Prices are drawn from this range, in minor units.
const PRICES_MINOR: std::ops::Range<u64> = 500..20_000;
const CREATED: u16 = 201;
const UNAUTHORIZED: u16 = 401;
const DECLINED: u16 = 402;
/// Tickets of one order.
const TOGETHER_MAX: usize = 4;
/// The mean pause of who is banned between two attempts to sign in, in milliseconds.
const BANNED_LOOK_MS: u64 = 400;
/// Of 100 locks, so many are extended.
const EXTENDED_PERCENT: u32 = 25;

/// How often a place in a line is looked at, and the least mean pause between two looks, in milliseconds.
const LOOKS_MAX: u32 = 6;
const LOOK_MS: u64 = 200;
/// Of 100 things that an operator does, so many are refunds.
const REFUNDS_PERCENT: u32 = 30;

/// Tells the clients when to stop.
pub type Closing = Arc<AtomicBool>;

/// Signs the client up; or in, where an answer was lost and the account is there already. False: without success.
pub async fn sign_up(client: &mut Client, email: &str) -> bool {
    loop {
        match client.call(Asked::SignUp { email: email.into() }).await {
            Some((told, _)) if told.status == CREATED => return true,
            Some((told, _)) if told.code.as_deref() == Some("email_in_use") => break,
            Some(_) => return false,
            None => {}
        }
    }
    let signed_in = client.call(Asked::SignIn { email: email.into() }).await;
    signed_in.is_some_and(|(told, _)| told.status == 200)
}

/// Puts the tickets on sale, `work.bulk` of them at once; their ids.
pub async fn put_on_sale(seller: &mut Client, work: &Workload) -> Vec<String> {
    let prices_minor: Vec<u64> = (0..work.bulk).map(|_| seller.rng().random_range(PRICES_MINOR)).collect();
    let mut tickets = Vec::new();
    let first_seat = seller.next_seat();
    if !prices_minor.is_empty()
        && let Some((_, lines)) = seller.call(Asked::CreateTickets { prices_minor, first_seat }).await
    {
        tickets.extend(lines.as_array().into_iter().flatten().filter_map(id_of));
    }
    for _ in work.bulk..work.tickets {
        let price_minor = seller.rng().random_range(PRICES_MINOR);
        let seat = seller.next_seat();
        let created = seller.call(Asked::CreateTicket { price_minor, seat }).await;
        tickets.extend(created.and_then(|(told, _)| told.id));
    }
    tickets
}

/// Changes prices until closing, whatever the buyers do meanwhile; creates a ticket where one could not be changed.
pub async fn sell(mut seller: Client, work: Workload, mut tickets: Vec<String>, closing: Closing) {
    while !closing.load(Ordering::Relaxed) {
        pause(&mut seller, work.price_change_ms).await;
        let price_minor = seller.rng().random_range(PRICES_MINOR);
        let at = seller.rng().random_range(0..tickets.len().max(1));
        let Some(ticket) = tickets.get(at).cloned() else { continue };
        let changed = seller.call(Asked::ChangePrice { ticket, price_minor }).await;
        if changed.is_some_and(|(told, _)| matches!(told.status, 400 | 404)) {
            // Locked, sold, or lost: something new keeps the buyers busy.
            let seat = seller.next_seat();
            let created = seller.call(Asked::CreateTicket { price_minor, seat }).await;
            if let Some(id) = created.and_then(|(told, _)| told.id) {
                tickets[at] = id;
            }
        }
    }
}

/// Buys until closing; `email` is the buyer's account.
pub async fn buy(mut buyer: Client, work: Workload, email: String, closing: Closing) {
    let mut on_sale: Vec<(String, u64)> = Vec::new();
    while !closing.load(Ordering::Relaxed) {
        pause(&mut buyer, work.think_ms).await;
        // An old list now and then: what it says may be wrong by now.
        if on_sale.is_empty() || buyer.rng().random_range(0..3) > 0 {
            let Some((_, list)) = buyer.call(Asked::ListTickets).await else { continue };
            on_sale = list.as_array().into_iter().flatten().filter_map(offer).collect();
        }
        if on_sale.is_empty() {
            continue;
        }
        let at = buyer.rng().random_range(0..on_sale.len());
        let chosen = choice(&mut buyer, &work, &on_sale, at);
        let placed = buyer.call(chosen).await;
        let Some((told, _)) = placed else { continue };
        match (told.status, told.id, told.code.as_deref()) {
            (CREATED, Some(order), _) => settle(&mut buyer, &work, order).await,
            (UNAUTHORIZED, ..) => come_back(&mut buyer, &email, &closing).await,
            (_, _, Some("ticket_reserved")) if buyer.rng().random_range(0..100) < work.waiting_percent => {
                stand_in_line(&mut buyer, &work, on_sale[at].0.clone()).await;
            }
            _ => {}
        }
    }
}

/// An order for the ticket at `at`, or for some of those behind it too.
fn choice(buyer: &mut Client, work: &Workload, on_sale: &[(String, u64)], at: usize) -> Asked {
    let together = buyer.rng().random_range(0..100) < work.together_percent;
    let several = buyer.rng().random_range(2..=TOGETHER_MAX).min(on_sale.len());
    if together && several > 1 {
        let lines = on_sale.iter().cycle().skip(at).take(several).cloned().collect();
        return Asked::PlaceTogether { lines };
    }
    let (ticket, price_minor) = on_sale[at].clone();
    Asked::PlaceOrder { ticket, price_minor }
}

/// Who is not signed in any more signs in again: at once, or when a ban is lifted.
async fn come_back(buyer: &mut Client, email: &str, closing: &Closing) {
    while !closing.load(Ordering::Relaxed) {
        let signed_in = buyer.call(Asked::SignIn { email: email.into() }).await;
        if signed_in.is_some_and(|(told, _)| told.status == 200) {
            return;
        }
        pause(buyer, BANNED_LOOK_MS).await;
    }
}

/// Waits for a ticket that somebody else has, until it is offered or patience ends; then gives the place up, or forgets it.
async fn stand_in_line(buyer: &mut Client, work: &Workload, ticket: String) {
    let joined = buyer.call(Asked::JoinLine { ticket: ticket.clone() }).await;
    if joined.is_none_or(|(told, _)| told.status != CREATED) {
        return;
    }
    for _ in 0..LOOKS_MAX {
        pause(buyer, LOOK_MS.max(work.think_ms)).await;
        let Some((_, place)) = buyer.call(Asked::ReadPlace { ticket: ticket.clone() }).await else { continue };
        match place["status"].as_str() {
            Some("offered") => return take_offer(buyer, work, ticket).await,
            Some("waiting") => {}
            _ => return,
        }
    }
    if buyer.rng().random() {
        buyer.call(Asked::LeaveLine { ticket }).await;
    }
}

async fn take_offer(buyer: &mut Client, work: &Workload, ticket: String) {
    let read = buyer.call(Asked::ReadTicket { ticket: ticket.clone() }).await;
    let Some(price_minor) = read.and_then(|(told, _)| told.price_minor) else { return };
    let placed = buyer.call(Asked::PlaceOrder { ticket, price_minor }).await;
    if let Some(order) = placed.filter(|(told, _)| told.status == CREATED).and_then(|(told, _)| told.id) {
        settle(buyer, work, order).await;
    }
}

/// An operator's day until closing: releases locks, and gives money back.
pub async fn operate(mut operator: Client, work: Workload, closing: Closing) {
    while !closing.load(Ordering::Relaxed) {
        pause(&mut operator, work.operator_ms).await;
        let deed = operator.rng().random_range(0..100);
        let refunds = deed < REFUNDS_PERCENT;
        let bans = !refunds && deed < REFUNDS_PERCENT + work.bans_percent;
        let list = operator.call(if refunds { Asked::ListSold } else { Asked::ListLocks }).await;
        let Some((_, list)) = list else { continue };
        let orders: Vec<&Value> = list.as_array().into_iter().flatten().collect();
        if orders.is_empty() {
            continue;
        }
        let row = orders[operator.rng().random_range(0..orders.len())];
        if bans && let Some(user) = row["userId"].as_str() {
            ban(&mut operator, &work, user).await;
            continue;
        }
        let Some(order) = id_of(row) else { continue };
        operator.call(if refunds { Asked::Refund { order } } else { Asked::ReleaseLock { order } }).await;
    }
}

/// Bans a buyer who holds a lock, and lifts the ban after a while.
async fn ban(operator: &mut Client, work: &Workload, user: &str) {
    operator.call(Asked::Ban { user: user.into() }).await;
    pause(operator, work.operator_ms).await;
    operator.call(Asked::Unban { user: user.into() }).await;
}

/// Looks at tickets at one node after the other, also at one that others have given up.
pub async fn look(mut reader: Client, work: Workload, nodes: u32, tickets: Vec<String>, closing: Closing) {
    let mut node = 0;
    while !closing.load(Ordering::Relaxed) {
        pause(&mut reader, work.reading_ms).await;
        node = node % nodes + 1;
        let ticket = tickets[reader.rng().random_range(0..tickets.len())].clone();
        reader.look(Asked::ReadTicket { ticket }, node).await;
    }
}

fn id_of(row: &Value) -> Option<String> {
    Some(row["id"].as_str()?.to_string())
}

/// Pays, gives up, or forgets an order.
async fn settle(buyer: &mut Client, work: &Workload, order: String) {
    pause(buyer, work.think_ms).await;
    if buyer.rng().random_range(0..100) < EXTENDED_PERCENT {
        buyer.call(Asked::ExtendLock { order: order.clone() }).await;
        pause(buyer, work.think_ms).await;
    }
    let choice = buyer.rng().random_range(0..100);
    if choice < work.cancelled_percent {
        buyer.call(Asked::CancelOrder { order }).await;
    } else if choice >= work.cancelled_percent + work.abandoned_percent {
        let declined = buyer.rng().random_range(0..100) < work.declined_percent;
        let paid = buyer.call(Asked::Pay { order: order.clone(), declined }).await;
        if work.payment_attempts > 1 && paid.is_some_and(|(told, _)| told.status == DECLINED) {
            pause(buyer, work.think_ms).await;
            buyer.call(Asked::Pay { order: order.clone(), declined: false }).await;
        }
        buyer.call(Asked::ReadOrder { order }).await;
    }
}

fn offer(ticket: &Value) -> Option<(String, u64)> {
    Some((ticket["id"].as_str()?.to_string(), minor(&ticket["price"])?))
}

async fn pause(client: &mut Client, mean_ms: u64) {
    let pause_ms = client.rng().random_range(0..2 * mean_ms + 1);
    sleep(Duration::from_millis(pause_ms)).await;
}

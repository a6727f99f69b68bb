//! Reading what the machines have in the end, for the checks.
//!
//! States are read as they lie in each machine, without asking the cluster: a machine that is wrong is to show it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use futures_util::FutureExt;
use holdfast_ledger::State;
use holdfast_ledger::entities::{CancelReason, Holding, OrderStatus, PaymentStatus, Ticket};
use holdfast_ledger::event::{Event, EventBody};
use holdfast_ledger::id::{OrderId, UserId};
use holdfast_ledger::invariants::check_invariants;
use holdfast_ledger::limits::PAGE_ROWS_MAX;
use holdfast_ledger::query::{self, Cursor, Page};
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::{Consistency, Node, Status};
use holdfast_raft::state::StateStore;

use crate::check::{End, Evidence, OrderEnd, TicketEnd};
use crate::check_events::{Row, Told};
use crate::history::{Asked, Call};
use crate::mirror::{Copied, Heard};
use crate::services::{DURABLES, LISTENER};
use crate::world::World;

/// What a machine has now.
fn peek<T>(node: &Node, query: impl FnOnce(&State<StateStore>) -> Result<T, StoreError>) -> Option<T> {
    node.read(Consistency::Stale, query).now_or_never()?.ok()
}

/// Every event that was ever applied somewhere, in order, written down while the run goes on: the ledger drops those that the
/// broker has had for long.
#[derive(Default)]
pub struct Archive(Mutex<Archived>);

#[derive(Default)]
struct Archived {
    rows: Vec<Row>,
    /// What restores have taken back.
    lost: Vec<Row>,
    /// The last index that was looked at.
    index: u64,
    /// The cluster of each lineage, as ids of events name it.
    clusters: BTreeMap<u16, String>,
}

impl Archive {
    fn archived(&self) -> MutexGuard<'_, Archived> {
        self.0.lock().expect("nothing panics while it holds the archive")
    }

    /// The ledger goes on from this entry and event: what came after them is lost.
    pub fn go_back(&self, index: u64, event_seq: u64) {
        let mut archived = self.archived();
        let (left, lost) = std::mem::take(&mut archived.rows).into_iter().partition(|row| row.seq <= event_seq);
        archived.rows = left;
        archived.lost.extend::<Vec<Row>>(lost);
        archived.index = index;
    }
}

/// Writes down what has happened since the last look, as the machine has it that has applied the most.
pub fn archive(world: &World, statuses: &[(u32, Status)]) {
    let Some((number, status)) = statuses.iter().max_by_key(|(_, status)| status.applied_index) else { return };
    let mut archived = world.ground.archive.archived();
    let node = world.ground.live().get(number).filter(|_| status.applied_index > archived.index).cloned();
    let Some(node) = node else { return };
    let after = archived.rows.last().map_or(0, |row| row.seq);
    if let Some(lineage) = peek(&node, |state| Ok(state.meta().lineage)) {
        archived.clusters.entry(lineage).or_insert_with(|| format!("{:032x}", status.cluster_id));
    }
    if let Some(rows) = peek(&node, |state| rows(state, after, &archived.clusters)) {
        archived.rows.extend(rows);
        archived.index = status.applied_index;
    }
}

/// The ledger's time, where it has come furthest.
pub fn ledger_ms(world: &World) -> u64 {
    let live = world.ground.live();
    live.values().filter_map(|node| peek(node, |state| Ok(state.meta().now_ms))).max().unwrap_or(0)
}

/// Nothing is under way any more, and all machines are voters and stand level.
pub fn is_settled(world: &World) -> bool {
    world.is_level() && world.is_staffed() && what_is_open(world).is_none()
}

/// What of the events is still under way, in words.
fn what_is_untold(world: &World, lineage: u16, emitted: u64) -> Option<String> {
    let (published, open) = world.ground.bus.figures(lineage, &DURABLES);
    if published < emitted {
        let live = world.ground.live();
        let relays = world.ground.relays();
        let trouble = live.keys().find_map(|number| relays.get(number)?.status().trouble);
        let trouble = trouble.map_or(String::new(), |trouble| format!(": {trouble}"));
        return Some(format!("of {emitted} events {published} are published{trouble}"));
    }
    // Who hears everything hears the streams of earlier lineages to their ends.
    let earlier = |lineage| world.ground.bus.figures(lineage, &[LISTENER]).1;
    let open = open + (0..lineage).map(earlier).sum::<u64>();
    (open > 0).then(|| format!("{open} messages are not acknowledged"))
}

/// What is still under way, in words.
pub fn what_is_open(world: &World) -> Option<String> {
    let live = world.ground.live();
    let (number, node) = live.iter().next()?;
    let meta = peek(node, |state| Ok(state.meta().clone()))?;
    let (locks, payments) = (meta.orders_live, meta.payments_open);
    let open =
        (locks + payments > 0).then(|| format!("n{number} has {locks} live orders and {payments} open payments"));
    drop(live);
    open.or_else(|| what_is_untold(world, meta.lineage, meta.event_seq))
}

/// Everything but the calls.
pub async fn collect(world: &World) -> Evidence {
    let (charges, clocks_misled) = (world.ground.bank.lines(), world.ground.observed().clocks_misled);
    let mut evidence = Evidence { charges, clocks_misled, ..Evidence::default() };
    archive(world, &world.statuses());
    let (archived, lost, clusters) = {
        let archived = world.ground.archive.archived();
        (archived.rows.clone(), archived.lost.clone(), archived.clusters.clone())
    };
    // Where time leaps ahead, events may be dropped before everybody has heard them.
    let may_be_dropped = clocks_misled && world.drops_events();
    evidence.told = Told {
        at_rest: is_settled(world) && !may_be_dropped,
        archived,
        lost,
        heard: world.ground.heard.events(),
        mails: world.ground.letterbox.mails(),
        copy: world.ground.copy.tickets(),
        copy_lineage: world.ground.copy.lineage(),
        addresses: addresses(world),
        ..Told::default()
    };
    let nodes: Vec<(u32, Node)> = world.ground.live().iter().map(|(number, node)| (*number, node.clone())).collect();
    for (number, node) in &nodes {
        let end = peek(node, |state| {
            let violations = check_invariants(state).err().unwrap_or_default();
            Ok(End { number: *number, index: state.meta().index, hash: state.state_hash(), violations })
        });
        evidence.ends.extend(end);
    }
    let users = users(world);
    if let Some((_, node)) = nodes.first() {
        let read = peek(node, |state| {
            evidence.told.lineage = state.meta().lineage;
            let kept = rows(state, 0, &clusters)?;
            let first = kept.first().map_or(u64::MAX, |row| row.seq);
            evidence.told.rows = evidence.told.archived.iter().filter(|row| row.seq < first).cloned().collect();
            evidence.told.rows.extend(kept);
            let stream = world.ground.bus.messages(state.meta().lineage);
            evidence.told.stream = stream.iter().map(|kept| (kept.seq, Heard::of(&kept.message))).collect();
            let streamed = stream.first().map_or(u64::MAX, |kept| kept.seq);
            evidence.told.gone = world.ground.bus.ended(evidence.told.lineage).min(first.min(streamed) - 1);
            let earlier = (0..evidence.told.lineage).flat_map(|lineage| world.ground.bus.messages(lineage));
            evidence.told.earlier = earlier.map(|kept| Heard::of(&kept.message).id).collect();
            read_ledger(state, &users, &mut evidence)
        });
        assert!(read.is_some(), "a state that was read a moment ago can be read");
    }
    evidence
}

/// The address of each account that clients have been told of.
fn addresses(world: &World) -> BTreeMap<String, String> {
    let calls = world.clients.history.calls();
    let address = |call: &Call| match &call.asked {
        Asked::SignUp { email } | Asked::SignIn { email } => Some((call.told.as_ref()?.id.clone()?, email.clone())),
        _ => None,
    };
    calls.iter().filter_map(address).collect()
}

/// The outbox from after this event on.
fn rows(state: &State<StateStore>, after: u64, clusters: &BTreeMap<u16, String>) -> Result<Vec<Row>, StoreError> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let after = rows.last().map_or(after, |row| row.seq);
        let page = query::events(state, after, PAGE_ROWS_MAX)?.events;
        if page.is_empty() {
            return Ok(rows);
        }
        rows.extend(page.into_iter().map(|event| row(event, clusters)));
    }
}

fn row(event: Event, clusters: &BTreeMap<u16, String>) -> Row {
    let cluster = clusters.get(&event.lineage).map_or("", String::as_str);
    let (user, detail) = match event.body {
        EventBody::Ticket { user, price_version, .. } => {
            (user.to_string(), if price_version == event.version { "price" } else { "" })
        }
        EventBody::Order { user, reason, .. } => {
            (user.to_string(), if reason == Some(CancelReason::Expired) { "expired" } else { "" })
        }
        EventBody::Payment { user, status, .. } => {
            (user.to_string(), if status == PaymentStatus::Refunded { "refunded" } else { "" })
        }
        EventBody::User { user, banned, .. } => (user.to_string(), if banned { "banned" } else { "" }),
        EventBody::UserRequest { user, .. } | EventBody::Place { user, .. } => (user.to_string(), ""),
        EventBody::Expiration { .. } => (String::new(), ""),
    };
    Row {
        seq: event.seq,
        index: event.index,
        time_ms: event.time_ms,
        id: format!("{cluster}:{}:{}", event.lineage, event.seq),
        kind: event.event_type.name().into(),
        entity: event.entity.to_string(),
        version: event.version,
        user,
        detail: detail.into(),
    }
}

/// What a mirror is to have of a ticket.
fn to_copy(ticket: &Ticket) -> Copied {
    let status = match ticket.holding {
        _ if ticket.withdrawn => "withdrawn",
        Holding::Free => "available",
        Holding::Locked { .. } => "locked",
        Holding::Offered { .. } => "offered",
        Holding::Sold { .. } => "sold",
    };
    Copied { version: ticket.version, price_minor: ticket.price_minor, status: status.into() }
}

/// All accounts that clients have been told of.
fn users(world: &World) -> Vec<UserId> {
    let calls = world.clients.history.calls();
    let accounts = calls.iter().filter(|call| matches!(call.asked, Asked::SignUp { .. } | Asked::SignIn { .. }));
    let mut users: Vec<UserId> = accounts.filter_map(|call| call.told.as_ref()?.id.as_deref()?.parse().ok()).collect();
    users.sort_unstable();
    users.dedup();
    users
}

fn read_ledger(state: &State<StateStore>, users: &[UserId], evidence: &mut Evidence) -> Result<(), StoreError> {
    let text = |order: OrderId| order.to_string();
    for user in users {
        for (id, ticket) in all(|after| query::tickets_of_seller(state, *user, after, PAGE_ROWS_MAX))? {
            evidence.told.tickets.insert(id.to_string(), to_copy(&ticket));
            let (sold_to, locked_by) = match ticket.holding {
                Holding::Free => (None, None),
                Holding::Locked { order } => (None, Some(text(order))),
                Holding::Offered { .. } => (None, None),
                Holding::Sold { order } => (Some(text(order)), None),
            };
            let seat = ticket.details.seat.as_deref().and_then(|seat| seat.parse().ok());
            evidence.tickets.insert(id.to_string(), TicketEnd { sold_to, locked_by, seat });
        }
        for (id, order) in all(|after| query::orders_of_user(state, *user, after, PAGE_ROWS_MAX))? {
            let end = OrderEnd {
                user: user.to_string(),
                complete: order.status == OrderStatus::Complete,
                live: order.status.holds_tickets(),
                tickets: order.lines.iter().map(|line| line.ticket.to_string()).collect(),
                total_minor: order.total_minor(),
            };
            evidence.orders.insert(id.to_string(), end);
        }
    }
    Ok(())
}

/// A list with all its pages.
fn all<T>(page: impl Fn(Option<&Cursor>) -> Result<Page<T>, StoreError>) -> Result<Vec<T>, StoreError> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let next = page(after.as_ref())?;
        rows.extend(next.rows);
        match next.next {
            Some(cursor) => after = Some(cursor),
            None => return Ok(rows),
        }
    }
}

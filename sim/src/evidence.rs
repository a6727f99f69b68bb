//! Reading what the machines have in the end, for the checks.
//!
//! States are read as they lie in each machine, without asking the cluster: a machine that is wrong is to show it.

use futures_util::FutureExt;
use holdfast_ledger::State;
use holdfast_ledger::entities::{Holding, OrderStatus};
use holdfast_ledger::id::{OrderId, UserId};
use holdfast_ledger::invariants::check_invariants;
use holdfast_ledger::limits::PAGE_ROWS_MAX;
use holdfast_ledger::query::{self, Cursor, Page};
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::{Consistency, Node};
use holdfast_raft::state::StateStore;

use crate::check::{End, Evidence, OrderEnd, TicketEnd};
use crate::history::Asked;
use crate::world::World;

/// What a machine has now.
fn peek<T>(node: &Node, query: impl FnOnce(&State<StateStore>) -> Result<T, StoreError>) -> Option<T> {
    node.read(Consistency::Stale, query).now_or_never()?.ok()
}

/// Nothing of the ledger is under way any more, and all machines stand level.
pub fn is_settled(world: &World) -> bool {
    world.is_level() && what_is_open(world).is_none()
}

/// What is still under way, in words.
pub fn what_is_open(world: &World) -> Option<String> {
    let live = world.ground.live();
    let (number, node) = live.iter().next()?;
    let (locks, payments) = peek(node, |state| Ok((state.meta().orders_live, state.meta().payments_open)))?;
    (locks + payments > 0).then(|| format!("n{number} has {locks} live orders and {payments} open payments"))
}

/// Everything but the calls.
pub async fn collect(world: &World) -> Evidence {
    let mut evidence = Evidence { charges: world.ground.bank.lines(), ..Evidence::default() };
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
        let read = peek(node, |state| read_ledger(state, &users, &mut evidence));
        assert!(read.is_some(), "a state that was read a moment ago can be read");
    }
    evidence
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
            let (sold_to, locked_by) = match ticket.holding {
                Holding::Free => (None, None),
                Holding::Locked { order } => (None, Some(text(order))),
                Holding::Offered { .. } => (None, None),
                Holding::Sold { order } => (Some(text(order)), None),
            };
            evidence.tickets.insert(id.to_string(), TicketEnd { sold_to, locked_by });
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

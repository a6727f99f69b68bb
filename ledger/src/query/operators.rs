//! Lists for operators: what is live, who there is, what hangs, and what was done.

use super::{Cursor, List, Page, id_at_end, page, tickets_of_seller_where};
use crate::email;
use crate::entities::{AuditRow, Holding, Order, Payment, Personal, Ticket, User};
use crate::id::{OrderId, PaymentId, TicketId, UserId};
use crate::rows::damaged;
use crate::state::State;
use crate::store::{Order as Direction, Read, StoreError};
use crate::tables::Table;

/// Orders whose lock is live, those that run out soonest first.
pub fn locks_live<S: Read>(
    state: &State<S>,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(OrderId, Order)>, StoreError> {
    let list = List { table: Table::Deadlines, prefix: &[], order: Direction::Ascending };
    page(state, &list, after, limit, |key| {
        let id = OrderId(id_at_end(list.table, key)?);
        // The others are offers to who waits in a line.
        let order: Option<Order> = state.row(Table::Orders, id.as_bytes())?;
        Ok(order.map(|order| (id, order)))
    })
}

/// All orders that are wanted, newest first.
pub fn orders<S: Read>(
    state: &State<S>,
    is_wanted: impl Fn(&Order) -> bool,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(OrderId, Order)>, StoreError> {
    let list = List { table: Table::Orders, prefix: &[], order: Direction::Descending };
    page(state, &list, after, limit, |key| {
        let id = OrderId(id_at_end(list.table, key)?);
        let order: Order = state.row_required(Table::Orders, id.as_bytes())?;
        Ok(is_wanted(&order).then_some((id, order)))
    })
}

/// All payments, oldest first.
pub fn payments<S: Read>(
    state: &State<S>,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(PaymentId, Payment)>, StoreError> {
    let list = List { table: Table::Payments, prefix: &[], order: Direction::Ascending };
    page(state, &list, after, limit, |key| {
        let id = PaymentId(id_at_end(list.table, key)?);
        Ok(Some((id, state.row_required(Table::Payments, id.as_bytes())?)))
    })
}

/// Payments for which the payments service has had something to do for at least `for_ms`, oldest first.
pub fn payments_stuck<S: Read>(
    state: &State<S>,
    for_ms: u64,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(PaymentId, Payment)>, StoreError> {
    let list = List { table: Table::PaymentsOpen, prefix: &[], order: Direction::Ascending };
    let since_ms = state.meta().now_ms.saturating_sub(for_ms);
    page(state, &list, after, limit, |key| {
        let id = PaymentId(id_at_end(list.table, key)?);
        let payment: Payment = state.row_required(Table::Payments, id.as_bytes())?;
        Ok((payment.changed_ms <= since_ms).then_some((id, payment)))
    })
}

/// Accounts whose address begins with `prefix`, whatever its case, by address. Erased ones have none.
pub fn users_by_email<S: Read>(
    state: &State<S>,
    prefix: &str,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(UserId, User, Personal)>, StoreError> {
    let prefix = email::folded(prefix);
    let list = List { table: Table::UsersByEmail, prefix: prefix.as_bytes(), order: Direction::Ascending };
    page(state, &list, after, limit, |key| {
        let id: UserId = state.row_required(list.table, key)?;
        let user = state.row_required(Table::Users, id.as_bytes())?;
        Ok(Some((id, user, state.row_required(Table::Personal, id.as_bytes())?)))
    })
}

/// The tickets that a seller has sold, oldest first.
pub fn sales_of_seller<S: Read>(
    state: &State<S>,
    seller: UserId,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(TicketId, Ticket)>, StoreError> {
    tickets_of_seller_where(state, seller, after, limit, |ticket| Ok(matches!(ticket.holding, Holding::Sold { .. })))
}

/// What operators did, by number, newest first, as far back as kept.
pub fn audit<S: Read>(
    state: &State<S>,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<Page<(u64, AuditRow)>, StoreError> {
    let list = List { table: Table::Audit, prefix: &[], order: Direction::Descending };
    page(state, &list, after, limit, |key| {
        let seq = key.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        let seq = seq.ok_or_else(|| damaged(list.table, key, "short key"))?;
        Ok(Some((seq, state.row_required(list.table, key)?)))
    })
}

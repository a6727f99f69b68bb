//! Changes of entities: the one place that raises a version, keeps indexes and counters, and emits the event.
//!
//! Every change of a ticket, order, payment, place or user goes through here: its version rises by one, one event with that version
//! goes to the outbox under the next number, one row goes to its history, and the indexes follow from what it was and what
//! it is. Counters of a user (live locks, sessions, keys) or a ticket (who waits, who watches) are bookkeeping, not changes:
//! they raise no version.

use crate::entities::{Change, Holding, Order, OrderStatus, Payment, PaymentStatus, Place, PlaceStatus, Ticket, User};
use crate::entry::Entry;
use crate::event::{Event, EventBody, EventType};
use crate::id::{Id, OrderId, PaymentId, PlaceId, RequestId, TicketId, UserId};
use crate::keys;
use crate::planted::{Bug, at_work};
use crate::store::{Order as Direction, StoreError, Write};
use crate::tables::Table;
use crate::words::ticket_words;

/// Old history rows dropped with one change: more than one, so that a lowered bound is reached.
const HISTORY_DROPS_MAX: usize = 8;

/// What a change says beyond the entity itself.
struct Emitted {
    event_type: EventType,
    entity: Id,
    version: u64,
    body: EventBody,
}

impl<S: Write> Entry<'_, S> {
    pub fn ticket(&self, id: TicketId) -> Result<Option<Ticket>, StoreError> {
        self.state.row(Table::Tickets, id.as_bytes())
    }

    /// A ticket that another row names.
    pub fn ticket_required(&self, id: TicketId) -> Result<Ticket, StoreError> {
        self.state.row_required(Table::Tickets, id.as_bytes())
    }

    pub fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        self.state.row(Table::Orders, id.as_bytes())
    }

    /// An order that another row names.
    pub fn order_required(&self, id: OrderId) -> Result<Order, StoreError> {
        self.state.row_required(Table::Orders, id.as_bytes())
    }

    pub fn payment(&self, id: PaymentId) -> Result<Option<Payment>, StoreError> {
        self.state.row(Table::Payments, id.as_bytes())
    }

    /// Writes a new ticket.
    pub fn create_ticket(&mut self, id: TicketId, ticket: &Ticket) -> Result<(), StoreError> {
        self.state.insert(Table::Tickets, id.as_bytes(), ticket)?;
        self.state.mark(Table::TicketsBySeller, &keys::pair(ticket.seller.0, id.0))?;
        self.state.mark(Table::TicketsAvailable, id.as_bytes())?;
        if let Some(external_id) = &ticket.external_id {
            self.state.insert(Table::TicketsByExternalId, &keys::text(ticket.seller.0, external_id), &id)?;
        }
        for word in ticket_words(&ticket.title, &ticket.details) {
            self.state.mark(Table::TicketsByWord, &keys::word(&word, id.0))?;
        }
        self.meta().tickets += 1;
        self.emit(ticket_event(EventType::TicketCreated, id, ticket), None)
    }

    /// Changes a ticket; `change` sees its new version. Its words are the caller's where the change alters title or details.
    pub fn update_ticket(
        &mut self,
        id: TicketId,
        ticket: &mut Ticket,
        about: Option<OrderId>,
        change: impl FnOnce(&mut Ticket),
    ) -> Result<(), StoreError> {
        let (was_available, was_listed, was_sold) = (is_available(ticket), is_listed(ticket), is_sold(ticket));
        let was_withdrawn = ticket.withdrawn;
        ticket.version += 1;
        change(ticket);
        match (was_available, is_available(ticket)) {
            (true, false) => self.state.unmark(Table::TicketsAvailable, id.as_bytes())?,
            (false, true) => self.state.mark(Table::TicketsAvailable, id.as_bytes())?,
            _ => {}
        }
        assert!(was_listed || !is_listed(ticket), "a sold or withdrawn ticket does not come back on sale");
        assert!(is_sold(ticket) || !was_sold, "a sold ticket stays sold");
        if was_listed && !is_listed(ticket) {
            for word in ticket_words(&ticket.title, &ticket.details) {
                self.state.unmark(Table::TicketsByWord, &keys::word(&word, id.0))?;
            }
        }
        let (sold, withdrawn) = (is_sold(ticket) && !was_sold, ticket.withdrawn && !was_withdrawn);
        self.meta().tickets_sold += u64::from(sold);
        self.meta().tickets_withdrawn += u64::from(withdrawn);
        self.state.put(Table::Tickets, id.as_bytes(), ticket)?;
        self.emit(ticket_event(EventType::TicketUpdated, id, ticket), about)
    }

    /// Changes title, price or description of a ticket that is free and on sale.
    pub fn update_listing(
        &mut self,
        id: TicketId,
        ticket: &mut Ticket,
        change: impl FnOnce(&mut Ticket),
    ) -> Result<(), StoreError> {
        assert!(is_available(ticket) || at_work(Bug::PriceNotFrozen), "only a free ticket on sale is edited");
        let words_before = ticket_words(&ticket.title, &ticket.details);
        self.update_ticket(id, ticket, None, change)?;
        let words = ticket_words(&ticket.title, &ticket.details);
        for word in words_before.iter().filter(|word| !words.contains(word)) {
            self.state.unmark(Table::TicketsByWord, &keys::word(word, id.0))?;
        }
        for word in words.iter().filter(|word| !words_before.contains(word)) {
            self.state.mark(Table::TicketsByWord, &keys::word(word, id.0))?;
        }
        Ok(())
    }

    /// Writes a new order, whose lock is live.
    pub fn create_order(&mut self, id: OrderId, order: &Order) -> Result<(), StoreError> {
        assert!(order.status.holds_tickets(), "an order begins with a live lock");
        self.state.insert(Table::Orders, id.as_bytes(), order)?;
        self.state.mark(Table::OrdersByUser, &keys::pair(order.user.0, id.0))?;
        self.state.mark(Table::LocksByUser, &keys::pair(order.user.0, id.0))?;
        self.insert_deadline(order.deadline_ms, id.0)?;
        self.meta().orders += 1;
        self.meta().orders_live += 1;
        self.meta().locks_live += order.lines.len() as u64;
        self.emit(order_event(EventType::OrderCreated, id, order), None)
    }

    /// Changes an order. The tickets and the user's counters are the caller's (see `leases.rs`).
    pub fn update_order(
        &mut self,
        id: OrderId,
        order: &mut Order,
        event_type: EventType,
        change: impl FnOnce(&mut Order),
    ) -> Result<(), StoreError> {
        let (was, was_deadline_ms) = (order.status, order.deadline_ms);
        order.version += 1;
        change(order);
        let holds = order.status.holds_tickets();
        assert!(was.holds_tickets() || !holds, "a lock that ended does not come back");
        assert!(was != OrderStatus::Complete, "a complete order stays as it is");
        if was.holds_tickets() && !holds {
            self.state.unmark(Table::LocksByUser, &keys::pair(order.user.0, id.0))?;
            self.meta().orders_live -= 1;
            self.meta().locks_live -= order.lines.len() as u64;
        }
        if was.holds_tickets() && (!holds || was_deadline_ms != order.deadline_ms) {
            if holds {
                self.insert_deadline(order.deadline_ms, id.0)?;
            }
            self.state.unmark(Table::Deadlines, &keys::deadline(was_deadline_ms, id.0))?;
        }
        self.meta().orders_complete += u64::from(order.status == OrderStatus::Complete);
        self.state.put(Table::Orders, id.as_bytes(), order)?;
        self.emit(order_event(event_type, id, order), None)
    }

    fn insert_deadline(&mut self, deadline_ms: u64, of: Id) -> Result<(), StoreError> {
        self.state.mark(Table::Deadlines, &keys::deadline(deadline_ms, of))?;
        let front = &mut self.state.fronts.deadline_ms;
        *front = Some(front.map_or(deadline_ms, |first_ms| first_ms.min(deadline_ms)));
        Ok(())
    }

    /// Writes a new place at the end of a line. The counters are the caller's (see `line.rs`).
    pub fn create_place(&mut self, id: PlaceId, place: &Place) -> Result<(), StoreError> {
        assert!(place.status == PlaceStatus::Waiting, "a place begins with waiting");
        self.state.insert(Table::Places, id.as_bytes(), place)?;
        self.state.mark(Table::LineByTicket, &keys::pair(place.ticket.0, id.0))?;
        self.state.insert(Table::PlacesByUser, &keys::pair(place.user.0, place.ticket.0), &id)?;
        self.meta().places_live += 1;
        self.emit(place_event(EventType::LineJoined, id, place), None)
    }

    /// Changes a live place. The counters are the caller's (see `line.rs`).
    pub fn update_place(
        &mut self,
        id: PlaceId,
        place: &mut Place,
        event_type: EventType,
        status: PlaceStatus,
    ) -> Result<(), StoreError> {
        assert!(place.status.is_live(), "a place that has ended stays so");
        if let PlaceStatus::Offered { deadline_ms } = place.status {
            self.state.unmark(Table::Deadlines, &keys::deadline(deadline_ms, id.0))?;
        }
        place.version += 1;
        place.status = status;
        if let PlaceStatus::Offered { deadline_ms } = status {
            self.insert_deadline(deadline_ms, id.0)?;
        }
        if !status.is_live() {
            self.state.unmark(Table::LineByTicket, &keys::pair(place.ticket.0, id.0))?;
            self.state.remove(Table::PlacesByUser, &keys::pair(place.user.0, place.ticket.0))?;
            self.meta().places_live -= 1;
        }
        self.state.put(Table::Places, id.as_bytes(), place)?;
        self.emit(place_event(event_type, id, place), None)
    }

    /// Writes a new payment, for which the payments service has something to do.
    pub fn create_payment(&mut self, id: PaymentId, payment: &Payment) -> Result<(), StoreError> {
        assert!(payment.next.is_some(), "a payment begins with something to do");
        self.state.insert(Table::Payments, id.as_bytes(), payment)?;
        self.state.mark(Table::PaymentsOpen, id.as_bytes())?;
        self.meta().payments_open += 1;
        self.meta().payments[payment.status as usize] += 1;
        self.emit(payment_event(EventType::PaymentRequested, id, payment), Some(payment.order))
    }

    /// Changes a payment. The token goes once nothing can be asked with it any more.
    pub fn update_payment(
        &mut self,
        id: PaymentId,
        payment: &mut Payment,
        event_type: EventType,
        change: impl FnOnce(&mut Payment),
    ) -> Result<(), StoreError> {
        let (was_open, was) = (payment.next.is_some(), payment.status);
        payment.version += 1;
        change(payment);
        payment.changed_ms = self.now_ms();
        if payment.status != PaymentStatus::Requested {
            payment.token = None;
            payment.action_url = None;
        }
        self.meta().payments[was as usize] -= 1;
        self.meta().payments[payment.status as usize] += 1;
        match (was_open, payment.next.is_some()) {
            (true, false) => {
                self.state.unmark(Table::PaymentsOpen, id.as_bytes())?;
                self.meta().payments_open -= 1;
            }
            (false, true) => {
                self.state.mark(Table::PaymentsOpen, id.as_bytes())?;
                self.meta().payments_open += 1;
            }
            _ => {}
        }
        self.state.put(Table::Payments, id.as_bytes(), payment)?;
        self.emit(payment_event(event_type, id, payment), Some(payment.order))
    }

    /// Writes a new user.
    pub fn create_user(&mut self, id: UserId, user: &User) -> Result<(), StoreError> {
        self.put_user(id, user);
        self.meta().users += 1;
        self.emit(user_event(EventType::UserCreated, id, user), None)
    }

    /// Changes a user: roles, ban, erasure, epoch.
    pub fn update_user(
        &mut self,
        id: UserId,
        user: &mut User,
        event_type: EventType,
        change: impl FnOnce(&mut User),
    ) -> Result<(), StoreError> {
        user.version += 1;
        change(user);
        self.put_user(id, user);
        self.emit(user_event(event_type, id, user), None)
    }

    /// A mail to a user is asked for: a change of his account, so that whoever sends it sees it once and in its order.
    pub fn update_user_asking(
        &mut self,
        id: UserId,
        user: &mut User,
        event_type: EventType,
        request: RequestId,
        expires_ms: u64,
    ) -> Result<(), StoreError> {
        user.version += 1;
        self.put_user(id, user);
        let body = EventBody::UserRequest { user: id, request, expires_ms };
        self.emit(Emitted { event_type, entity: id.0, version: user.version, body }, None)
    }

    /// The original's event beside `order:cancelled`: it repeats the order's version, and is no change of its own.
    pub fn emit_expiration(&mut self, id: OrderId, order: &Order) -> Result<(), StoreError> {
        let body = EventBody::Expiration { order: id };
        let event_type = EventType::ExpirationComplete;
        self.write_event(Emitted { event_type, entity: id.0, version: order.version, body })
    }

    fn emit(&mut self, emitted: Emitted, about: Option<OrderId>) -> Result<(), StoreError> {
        let (entity, version) = (emitted.entity, emitted.version);
        let (index, time_ms) = (self.state.meta.index, self.now_ms());
        let change = Change { index, time_ms, event_type: emitted.event_type, order: about };
        self.state.insert(Table::History, &keys::change(entity, version), &change)?;
        self.trim_history(entity, version)?;
        self.write_event(emitted)
    }

    /// Keeps the last `history_per_entity_max` changes; oldest first, so that what is kept has no gap.
    fn trim_history(&mut self, entity: Id, version: u64) -> Result<(), StoreError> {
        let Some(oldest) = (version + 1).checked_sub(self.state.meta.policy.history_per_entity_max) else {
            return Ok(());
        };
        let (from, to) = (keys::change(entity, 0), keys::change(entity, oldest));
        let old = self.state.store.range(Table::History, &from, Some(&to), Direction::Ascending, HISTORY_DROPS_MAX)?;
        old.iter().try_for_each(|(key, _)| self.state.remove(Table::History, key))
    }

    fn write_event(&mut self, emitted: Emitted) -> Result<(), StoreError> {
        let Emitted { event_type, entity, version, body } = emitted;
        let meta = &mut self.state.meta;
        meta.event_seq += 1;
        let (seq, time_ms) = (meta.event_seq, meta.now_ms);
        let event = Event { seq, lineage: meta.lineage, index: meta.index, time_ms, event_type, entity, version, body };
        self.state.fronts.outbox_ms.get_or_insert(time_ms);
        self.state.insert(Table::Outbox, &seq.to_be_bytes(), &event)
    }
}

/// It can be bought now.
pub(crate) fn is_available(ticket: &Ticket) -> bool {
    ticket.holding == Holding::Free && !ticket.withdrawn
}

/// It is found by its words.
pub(crate) fn is_listed(ticket: &Ticket) -> bool {
    !is_sold(ticket) && !ticket.withdrawn
}

fn is_sold(ticket: &Ticket) -> bool {
    matches!(ticket.holding, Holding::Sold { .. })
}

fn ticket_event(event_type: EventType, id: TicketId, ticket: &Ticket) -> Emitted {
    let body = EventBody::Ticket {
        title: ticket.title.clone(),
        price_minor: ticket.price_minor,
        price_version: ticket.price_version,
        currency: ticket.currency,
        user: ticket.seller,
        holding: ticket.holding,
        withdrawn: ticket.withdrawn,
    };
    Emitted { event_type, entity: id.0, version: ticket.version, body }
}

fn order_event(event_type: EventType, id: OrderId, order: &Order) -> Emitted {
    let body = EventBody::Order {
        user: order.user,
        status: order.status,
        deadline_ms: order.deadline_ms,
        currency: order.currency,
        tickets: order.lines.iter().map(|line| (line.ticket, line.price_minor)).collect(),
        reason: match order.status {
            OrderStatus::Cancelled(reason) => Some(reason),
            _ => None,
        },
    };
    Emitted { event_type, entity: id.0, version: order.version, body }
}

fn payment_event(event_type: EventType, id: PaymentId, payment: &Payment) -> Emitted {
    let body = EventBody::Payment {
        payment: id,
        order: payment.order,
        user: payment.user,
        attempt: payment.attempt,
        status: payment.status,
        next: payment.next,
        amount_minor: payment.amount_minor,
        currency: payment.currency,
        fence: payment.fence,
        intent_id: payment.intent_id.clone(),
        failure: payment.failure.clone(),
    };
    Emitted { event_type, entity: id.0, version: payment.version, body }
}

fn place_event(event_type: EventType, id: PlaceId, place: &Place) -> Emitted {
    let Place { version, ticket, user, status, .. } = *place;
    Emitted { event_type, entity: id.0, version, body: EventBody::Place { place: id, ticket, user, status } }
}

fn user_event(event_type: EventType, id: UserId, user: &User) -> Emitted {
    let User { banned, erased, verified, epoch, .. } = *user;
    let body = EventBody::User { user: id, banned, erased, verified, epoch };
    Emitted { event_type, entity: id.0, version: user.version, body }
}

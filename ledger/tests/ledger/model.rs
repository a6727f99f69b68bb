//! A deliberately simple second ledger: maps and loops, no indexes, no counters, no encoding. It decides every command of a
//! walk by itself, from the design's words, and must agree with the real one in every answer.
//!
//! What differs on purpose: it ends all locks that are due before each entry, where the ledger ends those that a command
//! can see and sweeps the rest afterwards. That the two agree is the claim that a sweep never changes what is decided.
//!
//! What it leaves out: what a walk never asks (bulk creation, details, node keys, the outbox).

use std::collections::BTreeMap;

use holdfast_ledger::command::{Actor, Batch, Command, NewTicket, Seen, Service, Submitted, Wanted};
use holdfast_ledger::entities::{
    CancelReason, Fence, Holding, OrderStatus, PaymentStatus, PaymentStep, Policy, Roles, SignedIn,
};
use holdfast_ledger::id::{OrderId, PaymentId, SessionId, TicketId, UserId};
use holdfast_ledger::money::{Currency, Decimal};
use holdfast_ledger::outcome::{Field, Outcome, Refusal, Reply, Settled};

pub struct Account {
    pub email: Option<String>,
    pub roles: Roles,
    pub banned: bool,
    pub erased: bool,
    pub epoch: u32,
    pub expiries_in_row: u32,
    pub cooldown_until_ms: u64,
    /// Oldest first, with the time when it is over.
    pub sessions: Vec<(SessionId, u64)>,
}

pub struct Ticket {
    pub version: u64,
    pub seller: UserId,
    pub price_minor: u64,
    pub price_version: u64,
    pub price_next_minor: Option<u64>,
    pub currency: Currency,
    pub holding: Holding,
    pub withdrawn: bool,
    pub withdraw_at_release: bool,
    pub sale_ends_ms: Option<u64>,
    pub external_id: Option<String>,
}

pub struct Order {
    pub version: u64,
    pub user: UserId,
    pub status: OrderStatus,
    /// Ticket and locked price.
    pub lines: Vec<(TicketId, u64)>,
    pub deadline_ms: u64,
    pub extensions: u32,
    pub grace_given: bool,
    pub payments: Vec<PaymentId>,
}

pub struct Payment {
    pub version: u64,
    pub order: OrderId,
    pub status: PaymentStatus,
    pub next: Option<PaymentStep>,
    pub intent_id: Option<String>,
}

struct Remembered {
    request_hash: u128,
    settled: Settled,
    index: u64,
    recorded_ms: u64,
}

/// The second ledger.
#[derive(Default)]
pub struct Model {
    pub now_ms: u64,
    pub policy: Policy,
    pub users: BTreeMap<UserId, Account>,
    pub tickets: BTreeMap<TicketId, Ticket>,
    pub orders: BTreeMap<OrderId, Order>,
    pub payments: BTreeMap<PaymentId, Payment>,
    keys: BTreeMap<(UserId, String), Remembered>,
    /// What the real ledger answered to the command in hand: the model takes the ids of new things from it, and nothing else.
    said: Option<Reply>,
}

impl Model {
    /// The answers to `batch`, the entry at `index`. `said` lends the ids of what is new.
    pub fn apply(&mut self, index: u64, batch: &Batch, said: &[Outcome]) -> Vec<Outcome> {
        self.now_ms = self.now_ms.max(batch.time_ms);
        self.end_due_locks();
        let now_ms = self.now_ms;
        let ttl_ms = self.policy.idempotency_ttl_ms;
        self.keys.retain(|_, remembered| now_ms < remembered.recorded_ms + ttl_ms);
        let decide = |(submitted, said): (&Submitted, &Outcome)| {
            self.said = said.settled.as_ref().ok().cloned();
            self.answer(index, submitted)
        };
        batch.commands.iter().zip(said).map(decide).collect()
    }

    fn answer(&mut self, index: u64, submitted: &Submitted) -> Outcome {
        let fresh = |settled| Outcome { settled, decided_at: index, replayed: false };
        if let Actor::User(signed_in) = &submitted.actor
            && let Err(refusal) = self.check_signed_in(signed_in)
        {
            return fresh(Err(refusal));
        }
        let key = submitted.actor.user().zip(submitted.idempotency.as_ref());
        if let Some((user, key)) = key
            && let Some(remembered) = self.keys.get(&(user, key.key.clone()))
        {
            if remembered.request_hash != key.request_hash {
                return fresh(Err(Refusal::IdempotencyKeyReused));
            }
            return Outcome { settled: remembered.settled.clone(), decided_at: remembered.index, replayed: true };
        }
        let settled = self.decide(&submitted.actor, &submitted.command);
        let try_again = matches!(
            settled,
            Err(Refusal::Forbidden
                | Refusal::CoolingDown { .. }
                | Refusal::TooManyLocks { .. }
                | Refusal::TooManyTickets { .. })
        );
        if let Some((user, key)) = key
            && !try_again
        {
            let recorded_ms = self.now_ms;
            let remembered =
                Remembered { request_hash: key.request_hash, settled: settled.clone(), index, recorded_ms };
            self.keys.insert((user, key.key.clone()), remembered);
        }
        fresh(settled)
    }

    fn decide(&mut self, actor: &Actor, command: &Command) -> Settled {
        match command {
            Command::SignUp { email, .. } => self.sign_up(email),
            Command::SignIn { user, epoch } => self.sign_in(*user, *epoch),
            Command::SignOut { session } => self.sign_out(actor, *session),
            Command::BanUser { user } => self.ban(*user),
            Command::UnbanUser { user } => self.unban(*user),
            Command::EraseUser { user } => self.erase(*user),
            Command::CreateTicket(new) => self.create_ticket(seller(actor, self)?, new),
            Command::EditTicket { ticket, price, version, .. } => {
                self.edit_ticket(seller(actor, self)?, *ticket, *price, *version)
            }
            Command::SchedulePrice { ticket, price } => self.schedule_price(seller(actor, self)?, *ticket, *price),
            Command::WithdrawTicket { ticket } => self.withdraw_ticket(seller(actor, self)?, *ticket),
            Command::PlaceOrder { tickets } => self.place_order(user(actor)?, tickets),
            Command::CancelOrder { order, version } => self.cancel_order(user(actor)?, *order, *version),
            Command::ExtendLock { order } => self.extend_lock(user(actor)?, *order),
            Command::BeginPayment { order, .. } => self.begin_payment(user(actor)?, *order),
            Command::RequestRefund { order } => self.request_refund(*order),
            Command::Tick => Ok(Reply::Done),
            Command::SetPolicy(policy) => {
                self.policy = policy.clone();
                Ok(Reply::Done)
            }
            bank => {
                assert!(matches!(actor, Actor::Service(Service::Payments)), "a walk asks nothing else");
                self.bank(bank)
            }
        }
    }

    // Users.

    fn check_signed_in(&self, signed_in: &SignedIn) -> Result<(), Refusal> {
        let account = self.users.get(&signed_in.user).ok_or(Refusal::NotSignedIn)?;
        if account.banned {
            return Err(Refusal::Banned);
        }
        let open =
            |(session, expires_ms): &(SessionId, u64)| *session == signed_in.session && self.now_ms < *expires_ms;
        match account.epoch == signed_in.epoch && !account.erased && account.sessions.iter().any(open) {
            true => Ok(()),
            false => Err(Refusal::NotSignedIn),
        }
    }

    fn sign_up(&mut self, email: &str) -> Settled {
        let email = email.to_lowercase();
        if self.users.values().any(|account| account.email.as_ref() == Some(&email)) {
            return Err(Refusal::EmailInUse);
        }
        let Some(Reply::SignedIn { user, .. }) = self.said else { return Ok(Reply::Done) };
        assert!(!self.users.contains_key(&user), "a new account has a new id");
        let account = Account {
            email: Some(email),
            roles: Roles::default(),
            banned: false,
            erased: false,
            epoch: 0,
            expiries_in_row: 0,
            cooldown_until_ms: 0,
            sessions: Vec::new(),
        };
        self.users.insert(user, account);
        self.open_session(user)
    }

    fn sign_in(&mut self, user: UserId, epoch: u32) -> Settled {
        let account = self.users.get(&user).filter(|account| !account.erased).ok_or(Refusal::UserNotFound)?;
        if account.banned {
            return Err(Refusal::Banned);
        }
        if account.epoch != epoch {
            return Err(Refusal::NotSignedIn);
        }
        self.open_session(user)
    }

    fn open_session(&mut self, user: UserId) -> Settled {
        let Some(Reply::SignedIn { session, .. }) = self.said else { return Ok(Reply::Done) };
        let (now_ms, policy) = (self.now_ms, &self.policy);
        let account = self.users.get_mut(&user).expect("an account");
        account.sessions.retain(|(_, expires_ms)| now_ms < *expires_ms);
        while account.sessions.len() >= policy.sessions_per_user_max as usize {
            account.sessions.remove(0);
        }
        account.sessions.push((session, now_ms + policy.session_ttl_ms));
        Ok(Reply::SignedIn { user, session, epoch: account.epoch })
    }

    fn sign_out(&mut self, actor: &Actor, session: SessionId) -> Settled {
        let account = self.users.get_mut(&user(actor)?).expect("who asks has an account");
        let before = account.sessions.len();
        account.sessions.retain(|(open, _)| *open != session);
        Ok(if account.sessions.len() < before { Reply::Done } else { Reply::Unchanged })
    }

    /// A ban and an erasure: nothing of the user's that is not paid goes on.
    fn shut_out(&mut self, user: UserId, reason: CancelReason) {
        let account = self.users.get_mut(&user).expect("an account");
        account.epoch += 1;
        account.sessions.clear();
        let live: Vec<OrderId> = self.live_orders_of(user).collect();
        for order in live {
            self.release(order, reason);
        }
    }

    fn ban(&mut self, user: UserId) -> Settled {
        let account = self.users.get_mut(&user).ok_or(Refusal::UserNotFound)?;
        if account.banned {
            return Ok(Reply::Unchanged);
        }
        account.banned = true;
        self.shut_out(user, CancelReason::Banned);
        Ok(Reply::Done)
    }

    fn unban(&mut self, user: UserId) -> Settled {
        let account = self.users.get_mut(&user).ok_or(Refusal::UserNotFound)?;
        Ok(if std::mem::take(&mut account.banned) { Reply::Done } else { Reply::Unchanged })
    }

    fn erase(&mut self, user: UserId) -> Settled {
        let account = self.users.get_mut(&user).ok_or(Refusal::UserNotFound)?;
        if account.erased {
            return Ok(Reply::Unchanged);
        }
        account.erased = true;
        account.email = None;
        self.shut_out(user, CancelReason::Buyer);
        Ok(Reply::Done)
    }

    // Tickets.

    fn create_ticket(&mut self, seller: UserId, new: &NewTicket) -> Settled {
        let price_minor = minor(new.price, new.currency)?;
        let same = |ticket: &Ticket| ticket.seller == seller && ticket.external_id == new.external_id;
        if new.external_id.is_some()
            && let Some((id, ticket)) = self.tickets.iter().find(|(_, ticket)| same(ticket))
        {
            return Ok(Reply::Ticket { ticket: *id, version: ticket.version });
        }
        let Some(Reply::Ticket { ticket: id, .. }) = self.said else { return Ok(Reply::Done) };
        assert!(!self.tickets.contains_key(&id), "a new ticket has a new id");
        let ticket = Ticket {
            version: 0,
            seller,
            price_minor,
            price_version: 0,
            price_next_minor: None,
            currency: new.currency,
            holding: Holding::Free,
            withdrawn: false,
            withdraw_at_release: false,
            sale_ends_ms: new.details.sale_ends_ms,
            external_id: new.external_id.clone(),
        };
        self.tickets.insert(id, ticket);
        Ok(Reply::Ticket { ticket: id, version: 0 })
    }

    fn edit_ticket(&mut self, by: UserId, id: TicketId, price: Decimal, version: Option<u64>) -> Settled {
        let ticket = self.tickets.get_mut(&id).ok_or(Refusal::TicketNotFound { ticket: id })?;
        if ticket.holding != Holding::Free {
            return Err(Refusal::TicketNotEditable { ticket: id });
        }
        if ticket.seller != by {
            return Err(Refusal::NotOwner);
        }
        if ticket.withdrawn {
            return Err(Refusal::TicketWithdrawn { ticket: id });
        }
        if version.is_some_and(|version| version != ticket.version) {
            return Err(Refusal::VersionMismatch { version: ticket.version });
        }
        let price_minor = minor(price, ticket.currency)?;
        ticket.version += 1;
        ticket.reprice(price_minor);
        Ok(Reply::Ticket { ticket: id, version: ticket.version })
    }

    fn schedule_price(&mut self, by: UserId, id: TicketId, price: Option<Decimal>) -> Settled {
        let ticket = self.tickets.get_mut(&id).ok_or(Refusal::TicketNotFound { ticket: id })?;
        if ticket.seller != by {
            return Err(Refusal::NotOwner);
        }
        if matches!(ticket.holding, Holding::Sold { .. }) {
            return Err(Refusal::TicketNotEditable { ticket: id });
        }
        if ticket.withdrawn {
            return Err(Refusal::TicketWithdrawn { ticket: id });
        }
        let price_minor = price.map(|price| minor(price, ticket.currency)).transpose()?;
        match (ticket.holding, price_minor) {
            (Holding::Free, Some(price_minor)) if price_minor != ticket.price_minor => {
                ticket.version += 1;
                ticket.reprice(price_minor);
            }
            (Holding::Locked { .. }, next) if next != ticket.price_next_minor => {
                ticket.version += 1;
                ticket.price_next_minor = next;
            }
            _ => return Ok(Reply::Unchanged),
        }
        Ok(Reply::Ticket { ticket: id, version: ticket.version })
    }

    fn withdraw_ticket(&mut self, by: UserId, id: TicketId) -> Settled {
        let ticket = self.tickets.get_mut(&id).ok_or(Refusal::TicketNotFound { ticket: id })?;
        if ticket.seller != by {
            return Err(Refusal::NotOwner);
        }
        if matches!(ticket.holding, Holding::Sold { .. }) {
            return Err(Refusal::TicketSold { ticket: id });
        }
        if ticket.withdrawn || ticket.withdraw_at_release {
            return Ok(Reply::Unchanged);
        }
        ticket.version += 1;
        match ticket.holding {
            Holding::Free => ticket.withdrawn = true,
            _ => ticket.withdraw_at_release = true,
        }
        Ok(Reply::Ticket { ticket: id, version: ticket.version })
    }

    // Orders.

    fn place_order(&mut self, buyer: UserId, wanted: &[Wanted]) -> Settled {
        let ids: Vec<TicketId> = wanted.iter().map(|wanted| wanted.ticket).collect();
        let twice = (1..ids.len()).any(|at| ids[..at].contains(&ids[at]));
        if ids.is_empty() || twice {
            return Err(Refusal::Invalid { field: Field::Tickets });
        }
        for wanted in wanted {
            self.check_wanted(buyer, wanted)?;
        }
        let currency = self.tickets[&ids[0]].currency;
        if ids.iter().any(|id| self.tickets[id].currency != currency) {
            return Err(Refusal::CurrenciesDiffer);
        }
        let max = self.policy.locks_per_user_max;
        if self.locks_of(buyer) + ids.len() > max as usize {
            return Err(Refusal::TooManyLocks { max });
        }
        let max = self.policy.tickets_per_order_max;
        if ids.len() > max as usize {
            return Err(Refusal::TooManyTickets { max });
        }
        let until_ms = self.users[&buyer].cooldown_until_ms;
        if self.now_ms < until_ms {
            return Err(Refusal::CoolingDown { until_ms });
        }
        let Some(Reply::Order { order: id, .. }) = self.said else { return Ok(Reply::Done) };
        assert!(!self.orders.contains_key(&id), "a new order has a new id");
        let mut lines = Vec::new();
        for ticket_id in ids {
            let ticket = self.tickets.get_mut(&ticket_id).expect("a ticket");
            ticket.version += 1;
            ticket.holding = Holding::Locked { order: id };
            lines.push((ticket_id, ticket.price_minor));
        }
        let order = Order {
            version: 0,
            user: buyer,
            status: OrderStatus::Created,
            lines,
            deadline_ms: self.now_ms + self.policy.lock_ttl_ms,
            extensions: 0,
            grace_given: false,
            payments: Vec::new(),
        };
        self.orders.insert(id, order);
        Ok(Reply::Order { order: id, version: 0 })
    }

    fn check_wanted(&self, buyer: UserId, wanted: &Wanted) -> Result<(), Refusal> {
        let id = wanted.ticket;
        let ticket = self.tickets.get(&id).ok_or(Refusal::TicketNotFound { ticket: id })?;
        if ticket.withdrawn {
            return Err(Refusal::TicketWithdrawn { ticket: id });
        }
        match ticket.holding {
            Holding::Sold { .. } => return Err(Refusal::TicketSold { ticket: id }),
            Holding::Locked { order } if self.orders[&order].user == buyer => {
                return Err(Refusal::TicketReservedByYou { ticket: id, order });
            }
            Holding::Locked { order } => {
                return Err(Refusal::TicketReserved { ticket: id, deadline_ms: self.orders[&order].deadline_ms });
            }
            Holding::Free => (),
        }
        if ticket.sale_ends_ms.is_some_and(|ends_ms| self.now_ms >= ends_ms) {
            return Err(Refusal::SaleEnded { ticket: id });
        }
        if !self.users[&ticket.seller].in_good_standing() {
            return Err(Refusal::SellerBanned { ticket: id });
        }
        if ticket.seller == buyer {
            return Err(Refusal::OwnTicket { ticket: id });
        }
        let (seen_minor, fits) = match wanted.seen {
            Seen::Nothing => (None, true),
            Seen::Version(version) => (None, ticket.price_version <= version),
            Seen::Price(price) => {
                let seen = minor(price, ticket.currency)?;
                (Some(seen), seen == ticket.price_minor)
            }
            Seen::PriceMax(price) => {
                let seen = minor(price, ticket.currency)?;
                (Some(seen), ticket.price_minor <= seen)
            }
        };
        let (price_minor, currency, version) = (ticket.price_minor, ticket.currency, ticket.version);
        match fits {
            true => Ok(()),
            false => Err(Refusal::PriceChanged { ticket: id, seen_minor, price_minor, currency, version }),
        }
    }

    fn cancel_order(&mut self, by: UserId, id: OrderId, version: Option<u64>) -> Settled {
        let order = self.own_order(by, id)?;
        match order.status {
            OrderStatus::Created => (),
            OrderStatus::AwaitingPayment => return Err(Refusal::PaymentInProgress { order: id }),
            ended => return Err(over(id, ended)),
        }
        if version.is_some_and(|version| version != order.version) {
            return Err(Refusal::VersionMismatch { version: order.version });
        }
        self.release(id, CancelReason::Buyer);
        Ok(Reply::Order { order: id, version: self.orders[&id].version })
    }

    fn extend_lock(&mut self, by: UserId, id: OrderId) -> Settled {
        let (max, extension_ms) = (self.policy.lock_extensions_max, self.policy.lock_extension_ms);
        let order = self.own_order(by, id)?;
        match order.status {
            OrderStatus::Created => (),
            OrderStatus::AwaitingPayment => return Err(Refusal::PaymentInProgress { order: id }),
            ended => return Err(over(id, ended)),
        }
        if order.extensions >= max {
            return Err(Refusal::ExtensionsUsedUp { max });
        }
        let order = self.orders.get_mut(&id).expect("an order");
        order.version += 1;
        order.extensions += 1;
        order.deadline_ms += extension_ms;
        Ok(Reply::Order { order: id, version: order.version })
    }

    fn own_order(&self, by: UserId, id: OrderId) -> Result<&Order, Refusal> {
        let order = self.orders.get(&id).ok_or(Refusal::OrderNotFound)?;
        if order.user == by { Ok(order) } else { Err(Refusal::NotOwner) }
    }

    fn live_orders_of(&self, user: UserId) -> impl Iterator<Item = OrderId> + '_ {
        let live = move |(_, order): &(&OrderId, &Order)| order.user == user && order.status.holds_tickets();
        self.orders.iter().filter(live).map(|(id, _)| *id)
    }

    /// Tickets that the user's live locks hold.
    pub fn locks_of(&self, user: UserId) -> usize {
        self.live_orders_of(user).map(|id| self.orders[&id].lines.len()).sum()
    }

    fn end_due_locks(&mut self) {
        let due = |(_, order): &(&OrderId, &Order)| order.status.holds_tickets() && order.deadline_ms <= self.now_ms;
        let mut due: Vec<(u64, OrderId)> =
            self.orders.iter().filter(due).map(|(id, order)| (order.deadline_ms, *id)).collect();
        due.sort();
        for (deadline_ms, id) in due {
            self.release(id, CancelReason::Expired);
            let account = self.users.get_mut(&self.orders[&id].user).expect("a buyer");
            account.expiries_in_row += 1;
            if account.expiries_in_row >= self.policy.cooldown_after_expiries {
                account.cooldown_until_ms = account.cooldown_until_ms.max(deadline_ms + self.policy.cooldown_ms);
            }
        }
    }

    /// Ends a live lock without a sale.
    fn release(&mut self, id: OrderId, reason: CancelReason) {
        let order = self.orders.get_mut(&id).expect("an order");
        order.version += 1;
        order.status = OrderStatus::Cancelled(reason);
        for (ticket, _) in &order.lines {
            let ticket = self.tickets.get_mut(ticket).expect("a ticket");
            ticket.version += 1;
            ticket.holding = Holding::Free;
            if let Some(price_minor) = ticket.price_next_minor {
                ticket.reprice(price_minor);
            }
            ticket.withdrawn = ticket.withdraw_at_release;
            ticket.withdraw_at_release = false;
        }
    }

    // Payments.

    fn begin_payment(&mut self, by: UserId, id: OrderId) -> Settled {
        let (max, grace_ms, now_ms) = (self.policy.payment_attempts_max, self.policy.payment_grace_ms, self.now_ms);
        let order = self.own_order(by, id)?;
        match order.status {
            OrderStatus::Created => (),
            OrderStatus::AwaitingPayment | OrderStatus::Complete => {
                return Ok(Reply::Payment { payment: *order.payments.last().expect("a payment"), order: id });
            }
            ended => return Err(over(id, ended)),
        }
        if order.payments.len() >= max as usize {
            return Err(Refusal::AttemptsUsedUp { max });
        }
        let Some(Reply::Payment { payment: payment_id, .. }) = self.said else { return Ok(Reply::Done) };
        assert!(!self.payments.contains_key(&payment_id), "a new payment has a new id");
        let order = self.orders.get_mut(&id).expect("an order");
        order.version += 1;
        order.status = OrderStatus::AwaitingPayment;
        if !order.grace_given {
            order.grace_given = true;
            order.deadline_ms = order.deadline_ms.max(now_ms + grace_ms);
        }
        order.payments.push(payment_id);
        let payment = Payment {
            version: 0,
            order: id,
            status: PaymentStatus::Requested,
            next: Some(PaymentStep::Authorize),
            intent_id: None,
        };
        self.payments.insert(payment_id, payment);
        Ok(Reply::Payment { payment: payment_id, order: id })
    }

    fn bank(&mut self, command: &Command) -> Settled {
        use PaymentStatus::*;
        let id = match command {
            Command::RecordIntent { payment, .. }
            | Command::RecordAuthorized { payment, .. }
            | Command::RecordDeclined { payment, .. }
            | Command::RecordCaptured { payment }
            | Command::RecordCaptureFailed { payment, .. }
            | Command::RecordVoided { payment }
            | Command::RecordRefunded { payment } => *payment,
            other => unreachable!("a walk does not ask {other:?}"),
        };
        let payment = self.payments.get(&id).ok_or(Refusal::PaymentNotFound)?;
        let order = payment.order;
        match (command, payment.status, payment.next) {
            (Command::RecordIntent { intent_id, .. }, ..) => return self.record_intent(id, intent_id),
            (Command::RecordAuthorized { fence, .. }, Requested, _) => return self.record_authorized(id, *fence),
            (Command::RecordDeclined { .. }, Requested, _) => {
                self.moved(id, Declined, None);
                self.attempt_failed(order, id);
                return Ok(Reply::Payment { payment: id, order });
            }
            (Command::RecordVoided { .. }, Requested, _)
            | (Command::RecordVoided { .. }, Authorized, Some(PaymentStep::Void)) => {
                self.moved(id, Voided, None);
                self.attempt_failed(order, id);
            }
            (Command::RecordCaptured { .. }, Authorized, Some(PaymentStep::Capture))
            | (Command::RecordCaptured { .. }, CaptureFailed, _) => self.moved(id, Captured, None),
            (Command::RecordCaptureFailed { .. }, Authorized, Some(PaymentStep::Capture)) => {
                self.moved(id, CaptureFailed, None)
            }
            (Command::RecordRefunded { .. }, Captured, Some(PaymentStep::Refund)) => self.moved(id, Refunded, None),
            (Command::RecordAuthorized { .. }, Authorized | Captured | CaptureFailed | Voided | Refunded, _)
            | (Command::RecordDeclined { .. }, Declined, _)
            | (Command::RecordCaptured { .. }, Captured | Refunded, _)
            | (Command::RecordCaptureFailed { .. }, CaptureFailed, _)
            | (Command::RecordVoided { .. }, Voided, _)
            | (Command::RecordRefunded { .. }, Refunded, _) => return Ok(Reply::Unchanged),
            _ => return Err(Refusal::PaymentConflict),
        }
        Ok(Reply::Done)
    }

    fn moved(&mut self, id: PaymentId, status: PaymentStatus, next: Option<PaymentStep>) {
        let payment = self.payments.get_mut(&id).expect("a payment");
        payment.version += 1;
        payment.status = status;
        payment.next = next;
    }

    fn record_intent(&mut self, id: PaymentId, intent_id: &str) -> Settled {
        let payment = self.payments.get_mut(&id).expect("a payment");
        match &payment.intent_id {
            Some(known) if known == intent_id => Ok(Reply::Unchanged),
            None if payment.status == PaymentStatus::Requested => {
                payment.version += 1;
                payment.intent_id = Some(intent_id.into());
                Ok(Reply::Done)
            }
            _ => Err(Refusal::PaymentConflict),
        }
    }

    /// The pivot: whoever holds the lock buys; who lost it may get it back while nothing has changed; else the money goes back.
    fn record_authorized(&mut self, id: PaymentId, fence: Fence) -> Settled {
        let order_id = self.payments[&id].order;
        // An order is granted by the entry that made its id.
        if fence.index != order_id.0.log_index() {
            self.moved(id, PaymentStatus::Authorized, Some(PaymentStep::Void));
            return Err(Refusal::StaleFence);
        }
        let buys = self.buys(&self.orders[&order_id], id);
        self.moved(id, PaymentStatus::Authorized, Some(if buys { PaymentStep::Capture } else { PaymentStep::Void }));
        if buys {
            self.sell(order_id);
        }
        Ok(Reply::Payment { payment: id, order: order_id })
    }

    fn buys(&self, order: &Order, payment: PaymentId) -> bool {
        let as_it_was = |(ticket, price_minor): &(TicketId, u64)| {
            let ticket = &self.tickets[ticket];
            ticket.holding == Holding::Free
                && !ticket.withdrawn
                && ticket.price_minor == *price_minor
                && self.users[&ticket.seller].in_good_standing()
        };
        order.payments.last() == Some(&payment)
            && match order.status {
                OrderStatus::AwaitingPayment => true,
                OrderStatus::Cancelled(CancelReason::Expired) => {
                    self.users[&order.user].in_good_standing() && order.lines.iter().all(as_it_was)
                }
                _ => false,
            }
    }

    fn sell(&mut self, id: OrderId) {
        let order = self.orders.get_mut(&id).expect("an order");
        order.version += 1;
        order.status = OrderStatus::Complete;
        self.users.get_mut(&order.user).expect("a buyer").expiries_in_row = 0;
        for (ticket, _) in &order.lines {
            let ticket = self.tickets.get_mut(ticket).expect("a ticket");
            ticket.version += 1;
            ticket.holding = Holding::Sold { order: id };
            ticket.price_next_minor = None;
            ticket.withdraw_at_release = false;
        }
    }

    /// The bank's no: another attempt while the policy allows it, else the end of the order that waited for this one.
    fn attempt_failed(&mut self, id: OrderId, payment: PaymentId) {
        let attempts_max = self.policy.payment_attempts_max as usize;
        let order = self.orders.get_mut(&id).expect("an order");
        if order.status != OrderStatus::AwaitingPayment || order.payments.last() != Some(&payment) {
            return;
        }
        if order.payments.len() < attempts_max {
            order.version += 1;
            order.status = OrderStatus::Created;
        } else {
            self.release(id, CancelReason::PaymentFailed);
        }
    }

    fn request_refund(&mut self, id: OrderId) -> Settled {
        use PaymentStatus::*;
        let order = self.orders.get(&id).ok_or(Refusal::OrderNotFound)?;
        if order.status != OrderStatus::Complete {
            return Err(Refusal::NotRefundable { order: id });
        }
        let payment = *order.payments.last().expect("a complete order was paid");
        match (self.payments[&payment].status, self.payments[&payment].next) {
            (Captured, None) => self.moved(payment, Captured, Some(PaymentStep::Refund)),
            (Captured, Some(_)) | (Refunded, _) => return Ok(Reply::Unchanged),
            _ => return Err(Refusal::NotRefundable { order: id }),
        }
        Ok(Reply::Payment { payment, order: id })
    }
}

impl Account {
    fn in_good_standing(&self) -> bool {
        !self.banned && !self.erased
    }
}

impl Ticket {
    /// `version` is the new one already.
    fn reprice(&mut self, price_minor: u64) {
        if price_minor != self.price_minor {
            self.price_minor = price_minor;
            self.price_version = self.version;
        }
        self.price_next_minor = None;
    }
}

fn user(actor: &Actor) -> Result<UserId, Refusal> {
    actor.user().ok_or(Refusal::Forbidden)
}

fn seller(actor: &Actor, model: &Model) -> Result<UserId, Refusal> {
    let user = user(actor)?;
    if model.users[&user].roles.seller { Ok(user) } else { Err(Refusal::Forbidden) }
}

fn minor(price: Decimal, currency: Currency) -> Result<u64, Refusal> {
    price.to_minor(currency).ok().filter(|minor| *minor > 0).ok_or(Refusal::Invalid { field: Field::Price })
}

/// Why nothing more can be done with an order that has ended.
fn over(order: OrderId, status: OrderStatus) -> Refusal {
    match status {
        OrderStatus::Complete => Refusal::OrderComplete { order },
        OrderStatus::Cancelled(CancelReason::Expired) => Refusal::OrderExpired { order },
        _ => Refusal::OrderCancelled { order },
    }
}

//! A deliberately simple second ledger: maps and loops, no indexes, no counters, no encoding. It decides every command of a
//! walk by itself, from the design's words, and must agree with the real one in every answer.
//!
//! What differs on purpose: it ends all locks that are due before each entry, where the ledger ends those that a command
//! can see and sweeps the rest afterwards. That the two agree is the claim that a sweep never changes what is decided.
//!
//! What it leaves out: what a walk never asks (bulk creation, details, keys, webhooks, the first operator, the outbox).

mod accounts;
mod line;
mod orders;
mod payments;
mod tickets;
mod users;

use std::collections::{BTreeMap, BTreeSet};

use holdfast_ledger::command::{Actor, Batch, Command, Service, Submitted};
use holdfast_ledger::entities::{
    CancelReason, Holding, OrderStatus, PaymentStatus, PaymentStep, PlaceStatus, Policy, Purpose, Roles, SignedIn,
};
use holdfast_ledger::id::{OrderId, PaymentId, PlaceId, RequestId, SessionId, TicketId, UserId};
use holdfast_ledger::money::{Currency, Decimal};
use holdfast_ledger::outcome::{Field, Outcome, Refusal, Reply, Settled};

pub struct Account {
    /// As he wrote it.
    pub email: Option<String>,
    pub verified: bool,
    /// Mails that were asked for, with the time when each counts no longer.
    pub requests: Vec<(RequestId, Purpose, u64)>,
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

pub struct Place {
    pub version: u64,
    pub ticket: TicketId,
    pub user: UserId,
    pub status: PlaceStatus,
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
    /// In the order of the line.
    pub places: BTreeMap<PlaceId, Place>,
    watches: BTreeSet<(UserId, TicketId)>,
    keys: BTreeMap<(UserId, String), Remembered>,
    /// What the real ledger answered to the command in hand: the model takes the ids of new things from it, and nothing else.
    said: Option<Reply>,
}

impl Model {
    /// The answers to `batch`, the entry at `index`. `said` lends the ids of what is new.
    pub fn apply(&mut self, index: u64, batch: &Batch, said: &[Outcome]) -> Vec<Outcome> {
        self.now_ms = self.now_ms.max(batch.time_ms);
        self.end_due();
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
            return self.told_before(submitted).unwrap_or_else(|| fresh(Err(refusal)));
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
                | Refusal::TooMany { .. }
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

    /// The answer that moved the user's session on to the epoch of now, where he asks the same again under the one before.
    fn told_before(&self, submitted: &Submitted) -> Option<Outcome> {
        let (Actor::User(old), Some(key)) = (&submitted.actor, &submitted.idempotency) else { return None };
        let remembered = self.keys.get(&(old.user, key.key.clone()))?;
        let Ok(Reply::SignedIn { user, session, epoch }) = remembered.settled else { return None };
        let is_same = remembered.request_hash == key.request_hash && (user, session) == (old.user, old.session);
        let holds = self.check_signed_in(&SignedIn { user, session, epoch }).is_ok();
        let told = || Outcome { settled: remembered.settled.clone(), decided_at: remembered.index, replayed: true };
        (is_same && holds).then(told)
    }

    fn decide(&mut self, actor: &Actor, command: &Command) -> Settled {
        match command {
            Command::SignUp { email, .. } => self.sign_up(email),
            Command::SignIn { user, epoch, .. } => self.sign_in(*user, *epoch),
            Command::SignOut { session } => self.sign_out(actor, *session),
            Command::RefreshSession => self.refresh(actor),
            Command::ChangeEmail { email } => self.change_email(user(actor)?, email),
            Command::ChangePassword { .. } => self.change_password(actor),
            Command::RequestReset { user } => self.request_reset(*user),
            Command::RequestVerification => self.request_verification(user(actor)?),
            Command::ResetPassword { user, request, .. } => self.reset_password(*user, *request),
            Command::VerifyEmail { user, request } => self.verify_email(*user, *request),
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
            Command::ReleaseLock { order } => self.release_lock(*order),
            Command::JoinLine { ticket } => self.join_line(user(actor)?, *ticket),
            Command::LeaveLine { ticket } => self.leave_line(user(actor)?, *ticket),
            Command::WatchTicket { ticket } => self.watch(user(actor)?, *ticket),
            Command::UnwatchTicket { ticket } => self.unwatch(user(actor)?, *ticket),
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

//! Random walks: what a handful of people, a bank and a clock may do to a ledger.
//!
//! A walk is data (so that a failure shrinks): steps of asks that name people and things by small numbers. A [`Walker`] turns
//! each into real commands with the ids that the ledger has handed out so far, so that most of them mean something.

use holdfast_ledger::command::{Actor, Batch, Command, IdempotencyKey, NewTicket, Seen, Service, Submitted, Wanted};
use holdfast_ledger::entities::{Fence, Policy, SignedIn, TicketDetails};
use holdfast_ledger::id::{Id, OrderId, PaymentId, TicketId};
use holdfast_ledger::money::{Currency, Decimal};
use holdfast_ledger::outcome::{Applied, Reply};
use proptest::collection::vec;
use proptest::prelude::*;

/// Noon of 1 January 2026, UTC.
pub const NOON_MS: u64 = 1_767_268_800_000;

/// One entry of a walk.
#[derive(Debug, Clone)]
pub struct Step {
    /// How the leader's clock moves before it, in milliseconds.
    pub clock_ms: i64,
    pub asks: Vec<Ask>,
}

/// What somebody asks. Numbers name the people in order of sign-up, and the things counting back from the newest.
#[derive(Debug, Clone)]
pub enum Ask {
    SignUp { address: u8 },
    SignIn { user: u8, epoch_back: u8 },
    SignOut { user: u8 },
    Ban { user: u8 },
    Unban { user: u8 },
    Erase { user: u8 },
    Sell { user: u8, price: u8, euro: bool, sale_ends: bool, external: Option<u8> },
    Edit { user: u8, ticket: u8, price: u8, version: Option<u8> },
    Schedule { user: u8, ticket: u8, price: Option<u8> },
    Withdraw { user: u8, ticket: u8 },
    Order { user: u8, tickets: Vec<u8>, seen: See, key: Option<u8> },
    Cancel { user: u8, order: u8, version: Option<u8>, key: Option<u8> },
    Extend { user: u8, order: u8 },
    Pay { user: u8, order: u8, key: Option<u8> },
    Bank { payment: u8, says: Says },
    Refund { order: u8 },
    Tick,
}

/// What a buyer saw.
#[derive(Debug, Clone, Copy)]
pub enum See {
    Nothing,
    Price(u8),
    PriceMax(u8),
    Version(u8),
}

/// What the bank says of a payment.
#[derive(Debug, Clone, Copy)]
pub enum Says {
    Intent(u8),
    Authorized { stale: bool },
    Declined,
    Captured,
    CaptureFailed,
    Voided,
    Refunded,
}

/// A walk of 10 to `steps_max` entries.
pub fn walk(steps_max: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 10..steps_max)
}

/// Rules of the ledger tight enough to be met by short walks.
pub fn policy() -> impl Strategy<Value = Policy> {
    (1u32..3, 0u32..3, 1u32..4, 1u32..4, 1u32..4, 1u32..4).prop_map(
        |(attempts, extensions, locks, tickets, expiries, sessions)| Policy {
            payment_attempts_max: attempts,
            lock_extensions_max: extensions,
            locks_per_user_max: locks,
            tickets_per_order_max: tickets,
            cooldown_after_expiries: expiries,
            sessions_per_user_max: sessions,
            ..Policy::default()
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    const MINUTE_MS: i64 = 60_000;
    let clock_ms = prop_oneof![
        6 => Just(0),
        4 => 1..MINUTE_MS,
        4 => MINUTE_MS..6 * MINUTE_MS,
        2 => Just(15 * MINUTE_MS - 1),
        2 => Just(15 * MINUTE_MS),
        1 => Just(25 * 60 * MINUTE_MS),
        1 => -20 * MINUTE_MS..0,
    ];
    (clock_ms, prop_oneof![6 => vec(ask(), 1), 1 => vec(ask(), 2..6)])
        .prop_map(|(clock_ms, asks)| Step { clock_ms, asks })
}

fn ask() -> impl Strategy<Value = Ask> {
    let user = || 0u8..5;
    let thing = || 0u8..5;
    let price = || 1u8..5;
    let key = || prop_oneof![3 => Just(None), 1 => (0u8..3).prop_map(Some)];
    let version = || prop_oneof![3 => Just(None), 1 => (0u8..6).prop_map(Some)];
    let see = prop_oneof![
        4 => Just(See::Nothing),
        2 => price().prop_map(See::Price),
        1 => price().prop_map(See::PriceMax),
        1 => (0u8..8).prop_map(See::Version),
    ];
    let says = prop_oneof![
        1 => (0u8..2).prop_map(Says::Intent),
        8 => prop::bool::weighted(0.1).prop_map(|stale| Says::Authorized { stale }),
        3 => Just(Says::Declined),
        3 => Just(Says::Captured),
        1 => Just(Says::CaptureFailed),
        3 => Just(Says::Voided),
        1 => Just(Says::Refunded),
    ];
    let external = prop::option::weighted(0.3, 0u8..3);
    prop_oneof![
        1 => (0u8..4).prop_map(|address| Ask::SignUp { address }),
        3 => (user(), prop_oneof![5 => Just(0u8), 1 => Just(1)]).prop_map(|(user, epoch_back)| Ask::SignIn { user, epoch_back }),
        1 => user().prop_map(|user| Ask::SignOut { user }),
        2 => user().prop_map(|user| Ask::Ban { user }),
        2 => user().prop_map(|user| Ask::Unban { user }),
        1 => user().prop_map(|user| Ask::Erase { user }),
        4 => (user(), price(), prop::bool::weighted(0.1), prop::bool::weighted(0.1), external)
            .prop_map(|(user, price, euro, sale_ends, external)| Ask::Sell { user, price, euro, sale_ends, external }),
        3 => (user(), thing(), price(), version()).prop_map(|(user, ticket, price, version)| Ask::Edit { user, ticket, price, version }),
        3 => (user(), thing(), prop::option::weighted(0.8, price())).prop_map(|(user, ticket, price)| Ask::Schedule { user, ticket, price }),
        1 => (user(), thing()).prop_map(|(user, ticket)| Ask::Withdraw { user, ticket }),
        16 => (user(), vec(thing(), 1..4), see, key()).prop_map(|(user, tickets, seen, key)| Ask::Order { user, tickets, seen, key }),
        3 => (user(), thing(), version(), key()).prop_map(|(user, order, version, key)| Ask::Cancel { user, order, version, key }),
        2 => (user(), thing()).prop_map(|(user, order)| Ask::Extend { user, order }),
        10 => (user(), thing(), key()).prop_map(|(user, order, key)| Ask::Pay { user, order, key }),
        14 => (thing(), says).prop_map(|(payment, says)| Ask::Bank { payment, says }),
        1 => thing().prop_map(|order| Ask::Refund { order }),
        2 => Just(Ask::Tick),
    ]
}

/// Knows which ids the ledger has handed out.
#[derive(Debug, Clone)]
pub struct Walker {
    clock_ms: u64,
    users: Vec<SignedIn>,
    tickets: Vec<TicketId>,
    orders: Vec<OrderId>,
    payments: Vec<(PaymentId, OrderId)>,
}

impl Walker {
    pub fn new() -> Walker {
        Walker { clock_ms: NOON_MS, users: Vec::new(), tickets: Vec::new(), orders: Vec::new(), payments: Vec::new() }
    }

    /// The entry that every walk begins with: the rules, four people, and a ticket of the first.
    pub fn opening(&self, policy: &Policy) -> Vec<Batch> {
        let system = |command| Submitted { actor: Actor::System, idempotency: None, command };
        let sign_up = |who: &str| Submitted {
            actor: Actor::Anonymous,
            idempotency: None,
            command: Command::SignUp { email: format!("{who}@example.com"), password_hash: "$argon2id$x".into() },
        };
        let people = ["a", "b", "c", "d"].map(sign_up);
        let commands = std::iter::once(system(Command::SetPolicy(policy.clone()))).chain(people).collect();
        vec![Batch { time_ms: NOON_MS, commands }]
    }

    /// The entry that `step` asks for.
    pub fn batch(&mut self, step: &Step) -> Batch {
        self.clock_ms = self.clock_ms.saturating_add_signed(step.clock_ms);
        Batch { time_ms: self.clock_ms, commands: step.asks.iter().map(|ask| self.submitted(ask)).collect() }
    }

    /// Takes note of the ids that came out of `batch`.
    pub fn learn(&mut self, batch: &Batch, applied: &Applied) {
        for (submitted, outcome) in batch.commands.iter().zip(&applied.outcomes) {
            match (&outcome.settled, &submitted.command) {
                (Ok(Reply::SignedIn { user, session, epoch }), _) => {
                    let signed_in = SignedIn { user: *user, session: *session, epoch: *epoch };
                    match self.users.iter_mut().find(|known| known.user == *user) {
                        Some(known) => *known = signed_in,
                        None => self.users.push(signed_in),
                    }
                }
                (Ok(Reply::Ticket { ticket, .. }), _) => remember(&mut self.tickets, *ticket),
                (Ok(Reply::Order { order, .. }), _) => remember(&mut self.orders, *order),
                (Ok(Reply::Payment { payment, order }), _) => remember(&mut self.payments, (*payment, *order)),
                _ => (),
            }
        }
    }

    fn user(&self, number: u8) -> SignedIn {
        self.users[usize::from(number) % self.users.len()]
    }

    fn ticket(&self, number: u8) -> TicketId {
        back(&self.tickets, number).unwrap_or(TicketId(nothing()))
    }

    fn order(&self, number: u8) -> OrderId {
        back(&self.orders, number).unwrap_or(OrderId(nothing()))
    }

    fn submitted(&self, ask: &Ask) -> Submitted {
        let system = |command| Submitted { actor: Actor::System, idempotency: None, command };
        let by = |user: u8, command| Submitted { actor: Actor::User(self.user(user)), idempotency: None, command };
        let keyed = |submitted: Submitted, key: Option<u8>| {
            let request_hash = u128::from(
                holdfast_ledger::codec::encode(&submitted.command).iter().map(|b| u64::from(*b)).sum::<u64>(),
            );
            Submitted {
                idempotency: key.map(|key| IdempotencyKey { key: format!("key {key}"), request_hash }),
                ..submitted
            }
        };
        let version = |version: &Option<u8>| version.map(u64::from);
        match ask {
            Ask::SignUp { address } => Submitted {
                actor: Actor::Anonymous,
                idempotency: None,
                command: Command::SignUp {
                    email: format!("{}@Example.com", ["A", "b", "e", "f"][usize::from(*address)]),
                    password_hash: "$argon2id$x".into(),
                },
            },
            Ask::SignIn { user, epoch_back } => {
                // The walker does not know the epoch of now: bans raise it, so it guesses upwards from what it saw last.
                let known = self.user(*user);
                let epoch = known.epoch + 1 - u32::from(*epoch_back);
                Submitted {
                    actor: Actor::Anonymous,
                    idempotency: None,
                    command: Command::SignIn { user: known.user, epoch },
                }
            }
            Ask::SignOut { user } => by(*user, Command::SignOut { session: self.user(*user).session }),
            Ask::Ban { user } => system(Command::BanUser { user: self.user(*user).user }),
            Ask::Unban { user } => system(Command::UnbanUser { user: self.user(*user).user }),
            Ask::Erase { user } => system(Command::EraseUser { user: self.user(*user).user }),
            Ask::Sell { user, price, euro, sale_ends, external } => {
                let currency = if *euro { "EUR".parse().expect("a currency") } else { Currency::USD };
                let details = TicketDetails {
                    sale_ends_ms: sale_ends.then_some(NOON_MS + 10 * 60_000),
                    ..TicketDetails::default()
                };
                let external_id = external.map(|number| format!("seat {number}"));
                by(
                    *user,
                    Command::CreateTicket(NewTicket {
                        title: "A seat".into(),
                        price: whole(*price),
                        currency,
                        external_id,
                        details,
                    }),
                )
            }
            Ask::Edit { user, ticket, price, version: v } => by(
                *user,
                Command::EditTicket {
                    ticket: self.ticket(*ticket),
                    title: "A seat".into(),
                    price: whole(*price),
                    version: version(v),
                    details: None,
                },
            ),
            Ask::Schedule { user, ticket, price } => {
                by(*user, Command::SchedulePrice { ticket: self.ticket(*ticket), price: price.map(whole) })
            }
            Ask::Withdraw { user, ticket } => by(*user, Command::WithdrawTicket { ticket: self.ticket(*ticket) }),
            Ask::Order { user, tickets, seen, key } => {
                let seen = match *seen {
                    See::Nothing => Seen::Nothing,
                    See::Price(price) => Seen::Price(whole(price)),
                    See::PriceMax(price) => Seen::PriceMax(whole(price)),
                    See::Version(version) => Seen::Version(u64::from(version)),
                };
                let tickets = tickets.iter().map(|ticket| Wanted { ticket: self.ticket(*ticket), seen }).collect();
                keyed(by(*user, Command::PlaceOrder { tickets }), *key)
            }
            Ask::Cancel { user, order, version: v, key } => {
                keyed(by(*user, Command::CancelOrder { order: self.order(*order), version: version(v) }), *key)
            }
            Ask::Extend { user, order } => by(*user, Command::ExtendLock { order: self.order(*order) }),
            Ask::Pay { user, order, key } => {
                keyed(by(*user, Command::BeginPayment { order: self.order(*order), token: "tok_visa".into() }), *key)
            }
            Ask::Bank { payment, says } => Submitted {
                actor: Actor::Service(Service::Payments),
                idempotency: None,
                command: self.bank(*payment, *says),
            },
            Ask::Refund { order } => system(Command::RequestRefund { order: self.order(*order) }),
            Ask::Tick => system(Command::Tick),
        }
    }

    fn bank(&self, number: u8, says: Says) -> Command {
        let (payment, order) = back(&self.payments, number).unwrap_or((PaymentId(nothing()), OrderId(nothing())));
        match says {
            Says::Intent(number) => Command::RecordIntent { payment, intent_id: format!("pi_{number}") },
            Says::Authorized { stale } => {
                let ordinal = u32::from_be_bytes(order.as_bytes()[8..].try_into().expect("four bytes"));
                let index = if stale { order.0.log_index() - order.0.log_index().min(1) } else { order.0.log_index() };
                Command::RecordAuthorized { payment, fence: Fence { index, ordinal } }
            }
            Says::Declined => Command::RecordDeclined { payment, failure: "card_declined".into() },
            Says::Captured => Command::RecordCaptured { payment },
            Says::CaptureFailed => Command::RecordCaptureFailed { payment, failure: "bank_error".into() },
            Says::Voided => Command::RecordVoided { payment },
            Says::Refunded => Command::RecordRefunded { payment },
        }
    }
}

/// Ten of the currency a step: `2` → 20.
fn whole(tens: u8) -> Decimal {
    Decimal { digits: u64::from(tens) * 10, decimals: 0 }
}

/// An id that nothing has.
fn nothing() -> Id {
    Id::from_bytes([0xff; 12])
}

/// The `number`-th newest, going round.
fn back<T: Copy>(things: &[T], number: u8) -> Option<T> {
    (!things.is_empty()).then(|| things[things.len() - 1 - usize::from(number) % things.len()])
}

fn remember<T: PartialEq>(known: &mut Vec<T>, new: T) {
    if !known.contains(&new) {
        known.push(new);
    }
}

//! Random walks: what a handful of people, a bank and a clock may do to a ledger.
//!
//! A walk is data (so that a failure shrinks): steps of asks that name people and things by small numbers. A [`Walker`] turns
//! each into real commands with the ids that the ledger has handed out so far, so that most of them mean something.

use std::collections::BTreeMap;

use holdfast_ledger::command::{Actor, Batch, Command, IdempotencyKey, NewTicket, Seen, Service, Submitted, Wanted};
use holdfast_ledger::entities::{Fence, Policy, SignedIn, TicketDetails};
use holdfast_ledger::id::{Id, OrderId, PaymentId, PlaceId, RequestId, TicketId, UserId};
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

/// What somebody asks. Numbers name the people in order of sign-up, and the things counting back from the newest; where `by` is
/// nobody, it is whom the thing belongs to.
#[derive(Debug, Clone)]
pub enum Ask {
    SignUp {
        address: u8,
    },
    SignIn {
        user: u8,
        stale: bool,
    },
    SignOut {
        user: u8,
    },
    Ban {
        user: u8,
    },
    Unban {
        user: u8,
    },
    Erase {
        user: u8,
    },
    Account {
        user: u8,
        does: Does,
    },
    /// Somebody has lost the user's password.
    Forgot {
        user: u8,
    },
    /// A mail has arrived; `reset`: he sets his password anew.
    Mail {
        request: u8,
        reset: bool,
    },
    Sell {
        user: u8,
        price: u8,
        euro: bool,
        sale_ends: bool,
        external: Option<u8>,
    },
    Edit {
        by: Option<u8>,
        ticket: u8,
        price: u8,
        version: Option<u8>,
    },
    Schedule {
        by: Option<u8>,
        ticket: u8,
        price: Option<u8>,
    },
    Withdraw {
        by: Option<u8>,
        ticket: u8,
    },
    Order {
        user: u8,
        tickets: Vec<u8>,
        seen: See,
        key: Option<u8>,
    },
    Cancel {
        by: Option<u8>,
        order: u8,
        version: Option<u8>,
        key: Option<u8>,
    },
    Extend {
        by: Option<u8>,
        order: u8,
    },
    Pay {
        by: Option<u8>,
        order: u8,
        key: Option<u8>,
    },
    Bank {
        payment: u8,
        says: Says,
    },
    Refund {
        order: u8,
    },
    /// Waits for one of the tickets that were locked last.
    Join {
        user: u8,
        locked: u8,
    },
    /// By whose place it is where `by` is nobody.
    Leave {
        by: Option<u8>,
        place: u8,
    },
    /// Orders the ticket of his place.
    Take {
        place: u8,
    },
    /// An operator ends a lock.
    Release {
        order: u8,
    },
    Watch {
        user: u8,
        ticket: u8,
        watch: bool,
    },
    /// The last request that had a key, once more.
    Again,
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

/// What a user does with his own account.
#[derive(Debug, Clone, Copy)]
pub enum Does {
    Refresh,
    Email(u8),
    Password,
    Verify,
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

/// A walk of at most `steps_max` entries, the first of which puts a few tickets on sale.
pub fn walk(steps_max: usize) -> impl Strategy<Value = Vec<Step>> {
    let sell = |user| Ask::Sell { user, price: 1, euro: false, sale_ends: false, external: None };
    let first = Step { clock_ms: 0, asks: [0, 0, 1, 1, 2].map(sell).to_vec() };
    vec(step(), 0..steps_max).prop_map(move |steps| std::iter::once(first.clone()).chain(steps).collect())
}

/// The same walk, but that nobody waits for a ticket.
pub fn without_lines(steps: &[Step]) -> Vec<Step> {
    let waits = |ask: &Ask| matches!(ask, Ask::Join { .. });
    let asks = |step: &Step| step.asks.iter().filter(|ask| !waits(ask)).cloned().collect();
    steps.iter().map(|step| Step { clock_ms: step.clock_ms, asks: asks(step) }).collect()
}

/// Rules of the ledger tight enough to be met by short walks.
pub fn policy() -> impl Strategy<Value = Policy> {
    (1u32..3, 0u32..3, 1u32..6, 1u32..4, 1u32..5, 1u32..4, (1u32..4, 1u32..3)).prop_map(
        |(attempts, extensions, locks, tickets, expiries, sessions, (line, places))| Policy {
            payment_attempts_max: attempts,
            lock_extensions_max: extensions,
            locks_per_user_max: locks,
            tickets_per_order_max: tickets,
            cooldown_after_expiries: expiries,
            sessions_per_user_max: sessions,
            line_places_per_ticket_max: line,
            line_places_per_user_max: places,
            ..Policy::default()
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    const MINUTE_MS: i64 = 60_000;
    let clock_ms = prop_oneof![
        20 => Just(0),
        10 => 1..MINUTE_MS,
        5 => MINUTE_MS..6 * MINUTE_MS,
        2 => Just(15 * MINUTE_MS - 1),
        2 => Just(15 * MINUTE_MS),
        1 => Just(25 * 60 * MINUTE_MS),
        1 => -20 * MINUTE_MS..0,
    ];
    let asks = prop_oneof![6 => vec(ask(), 1), 1 => vec(ask(), 2..6)];
    (clock_ms, asks).prop_map(|(clock_ms, asks)| Step { clock_ms, asks })
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![14 => asks_of_users(), 25 => asks_of_sellers(), 100 => asks_of_buyers(), 60 => asks_of_payments()]
}

fn user() -> impl Strategy<Value = u8> {
    0u8..5
}

/// Mostly whom it belongs to.
fn by() -> impl Strategy<Value = Option<u8>> {
    prop::option::weighted(0.1, user())
}

/// Mostly one of the newest.
fn thing() -> impl Strategy<Value = u8> {
    prop_oneof![3 => 0u8..3, 1 => 0u8..12]
}

fn price() -> impl Strategy<Value = u8> {
    1u8..4
}

fn key() -> impl Strategy<Value = Option<u8>> {
    prop::option::weighted(0.15, 0u8..3)
}

fn version() -> impl Strategy<Value = Option<u8>> {
    prop::option::weighted(0.15, 0u8..6)
}

fn asks_of_users() -> impl Strategy<Value = Ask> {
    let rarely = || prop::bool::weighted(0.2);
    let does = prop_oneof![
        1 => Just(Does::Refresh),
        2 => (0u8..4).prop_map(Does::Email),
        1 => Just(Does::Password),
        3 => Just(Does::Verify),
    ];
    prop_oneof![
        1 => (0u8..4).prop_map(|address| Ask::SignUp { address }),
        8 => (user(), rarely()).prop_map(|(user, stale)| Ask::SignIn { user, stale }),
        1 => user().prop_map(|user| Ask::SignOut { user }),
        3 => user().prop_map(|user| Ask::Ban { user }),
        5 => user().prop_map(|user| Ask::Unban { user }),
        1 => user().prop_map(|user| Ask::Erase { user }),
        5 => (user(), does).prop_map(|(user, does)| Ask::Account { user, does }),
        3 => user().prop_map(|user| Ask::Forgot { user }),
        4 => (0u8..3, any::<bool>()).prop_map(|(request, reset)| Ask::Mail { request, reset }),
    ]
}

fn asks_of_sellers() -> impl Strategy<Value = Ask> {
    let rarely = || prop::bool::weighted(0.05);
    let external = prop::option::weighted(0.3, 0u8..3);
    let maybe_price = prop::option::weighted(0.8, price());
    prop_oneof![
        10 => (user(), price(), rarely(), rarely(), external)
            .prop_map(|(user, price, euro, sale_ends, external)| Ask::Sell { user, price, euro, sale_ends, external }),
        6 => (by(), thing(), price(), version())
            .prop_map(|(by, ticket, price, version)| Ask::Edit { by, ticket, price, version }),
        6 => (by(), thing(), maybe_price).prop_map(|(by, ticket, price)| Ask::Schedule { by, ticket, price }),
        1 => (by(), thing()).prop_map(|(by, ticket)| Ask::Withdraw { by, ticket }),
    ]
}

fn asks_of_buyers() -> impl Strategy<Value = Ask> {
    let tickets = prop_oneof![
        6 => vec(thing(), 1),
        3 => (0u8..6, 1u8..3).prop_map(|(first, step)| vec![first, first + step]),
        1 => vec(thing(), 0..4),
    ];
    let see = prop_oneof![
        6 => Just(See::Nothing),
        2 => price().prop_map(See::Price),
        1 => price().prop_map(See::PriceMax),
        1 => (0u8..8).prop_map(See::Version),
    ];
    prop_oneof![
        16 => (user(), tickets, see, key())
            .prop_map(|(user, tickets, seen, key)| Ask::Order { user, tickets, seen, key }),
        3 => (by(), thing(), version(), key())
            .prop_map(|(by, order, version, key)| Ask::Cancel { by, order, version, key }),
        3 => (by(), thing()).prop_map(|(by, order)| Ask::Extend { by, order }),
        10 => (by(), thing(), key()).prop_map(|(by, order, key)| Ask::Pay { by, order, key }),
        12 => (user(), thing()).prop_map(|(user, locked)| Ask::Join { user, locked }),
        2 => (by(), thing()).prop_map(|(by, place)| Ask::Leave { by, place }),
        5 => thing().prop_map(|place| Ask::Take { place }),
        3 => (user(), thing(), prop::bool::weighted(0.7)).prop_map(|(user, ticket, watch)| Ask::Watch { user, ticket, watch }),
        2 => Just(Ask::Again),
    ]
}

fn asks_of_payments() -> impl Strategy<Value = Ask> {
    let says = prop_oneof![
        2 => (0u8..2).prop_map(Says::Intent),
        10 => prop::bool::weighted(0.05).prop_map(|stale| Says::Authorized { stale }),
        3 => Just(Says::Declined),
        6 => Just(Says::Captured),
        1 => Just(Says::CaptureFailed),
        3 => Just(Says::Voided),
        2 => Just(Says::Refunded),
    ];
    prop_oneof![
        16 => (thing(), says).prop_map(|(payment, says)| Ask::Bank { payment, says }),
        2 => thing().prop_map(|order| Ask::Refund { order }),
        1 => thing().prop_map(|order| Ask::Release { order }),
        2 => Just(Ask::Tick),
    ]
}

/// Knows which ids the ledger has handed out, and to whom.
#[derive(Debug, Clone, Default)]
pub struct Walker {
    clock_ms: u64,
    users: Vec<SignedIn>,
    /// The epoch under which a password is checked now, as far as the walker has seen.
    epochs: BTreeMap<UserId, u32>,
    tickets: Vec<(TicketId, UserId)>,
    orders: Vec<(OrderId, UserId)>,
    payments: Vec<(PaymentId, OrderId)>,
    /// Tickets that were locked, in this order.
    locked: Vec<TicketId>,
    places: Vec<(PlaceId, (TicketId, UserId))>,
    keyed: Option<Submitted>,
    requests: Vec<(RequestId, UserId)>,
}

impl Walker {
    pub fn new() -> Walker {
        Walker { clock_ms: NOON_MS, ..Walker::default() }
    }

    /// The entry that every walk begins with: the rules, and four people.
    pub fn opening(&self, policy: &Policy) -> Vec<Batch> {
        let signed_up = |who: &str| Submitted {
            actor: Actor::Anonymous,
            idempotency: None,
            command: sign_up(format!("{who}@example.com")),
        };
        let people = ["a", "b", "c", "d"].map(signed_up);
        let commands = std::iter::once(system(Command::SetPolicy(policy.clone()))).chain(people).collect();
        vec![Batch { time_ms: NOON_MS, commands }]
    }

    /// The entry that `step` asks for.
    pub fn batch(&mut self, step: &Step) -> Batch {
        self.clock_ms = self.clock_ms.saturating_add_signed(step.clock_ms);
        Batch { time_ms: self.clock_ms, commands: step.asks.iter().map(|ask| self.submitted(ask)).collect() }
    }

    /// Takes note of what came out of `batch`.
    pub fn learn(&mut self, batch: &Batch, applied: &Applied) {
        for (submitted, outcome) in batch.commands.iter().zip(&applied.outcomes) {
            let user = submitted.actor.user();
            if submitted.idempotency.is_some() {
                self.keyed = Some(submitted.clone());
            }
            match (&outcome.settled, &submitted.command) {
                (Ok(Reply::SignedIn { user, session, epoch }), _) => {
                    let signed_in = SignedIn { user: *user, session: *session, epoch: *epoch };
                    self.epochs.insert(*user, *epoch);
                    match self.users.iter_mut().find(|known| known.user == *user) {
                        Some(known) => *known = signed_in,
                        None => self.users.push(signed_in),
                    }
                }
                (Ok(Reply::Request { user, request, .. }), _) => remember(&mut self.requests, *request, *user),
                (
                    Ok(Reply::Done),
                    Command::BanUser { user } | Command::EraseUser { user } | Command::ResetPassword { user, .. },
                ) => {
                    *self.epochs.entry(*user).or_default() += 1;
                }
                (Ok(Reply::Ticket { ticket, .. }), _) => remember(&mut self.tickets, *ticket, user.expect("a seller")),
                (Ok(Reply::Order { .. }), Command::ReleaseLock { .. }) => (),
                (Ok(Reply::Order { order, .. }), Command::PlaceOrder { tickets }) => {
                    remember(&mut self.orders, *order, user.expect("a buyer"));
                    self.locked.extend(tickets.iter().map(|wanted| wanted.ticket));
                }
                (Ok(Reply::Place { place, ticket, .. }), _) => {
                    remember(&mut self.places, *place, (*ticket, user.expect("a buyer")));
                }
                (Ok(Reply::Order { order, .. }), _) => remember(&mut self.orders, *order, user.expect("a buyer")),
                (Ok(Reply::Payment { payment, order }), _) => remember(&mut self.payments, *payment, *order),
                _ => (),
            }
        }
    }

    fn user(&self, number: u8) -> SignedIn {
        self.users[usize::from(number) % self.users.len()]
    }

    /// Who asks something of what belongs to `owner`.
    fn by(&self, number: Option<u8>, owner: UserId) -> Actor {
        let owner = || self.users.iter().find(|known| known.user == owner).copied();
        Actor::User(number.map(|number| self.user(number)).or_else(owner).unwrap_or(self.users[0]))
    }

    fn ticket(&self, number: u8) -> (TicketId, UserId) {
        back(&self.tickets, number).unwrap_or((TicketId(nothing()), UserId(nothing())))
    }

    fn order(&self, number: u8) -> (OrderId, UserId) {
        back(&self.orders, number).unwrap_or((OrderId(nothing()), UserId(nothing())))
    }

    fn submitted(&self, ask: &Ask) -> Submitted {
        let plain = |actor, command| Submitted { actor, idempotency: None, command };
        // Of what was asked rather than of the command: the ids in it depend on how asks are cut into entries.
        let request_hash =
            format!("{ask:?}").bytes().fold(0, |hash, byte| hash * 31 % 1_000_000_007 + u128::from(byte));
        let keyed = |actor, command, key: &Option<u8>| {
            let idempotency = key.map(|key| IdempotencyKey { key: format!("key {key}"), request_hash });
            Submitted { actor, idempotency, command }
        };
        match ask {
            Ask::SignUp { .. } | Ask::SignIn { .. } | Ask::SignOut { .. } => self.of_user(ask),
            Ask::Account { user, does } => plain(Actor::User(self.user(*user)), account(*does)),
            Ask::Forgot { user } => plain(Actor::Anonymous, Command::RequestReset { user: self.user(*user).user }),
            Ask::Mail { request, reset } => plain(Actor::Anonymous, self.mail(*request, *reset)),
            Ask::Ban { user } => system(Command::BanUser { user: self.user(*user).user }),
            Ask::Unban { user } => system(Command::UnbanUser { user: self.user(*user).user }),
            Ask::Erase { user } => system(Command::EraseUser { user: self.user(*user).user }),
            Ask::Sell { .. } | Ask::Edit { .. } | Ask::Schedule { .. } | Ask::Withdraw { .. } => self.of_seller(ask),
            Ask::Order { user, tickets, seen, key } => {
                let seen = match *seen {
                    See::Nothing => Seen::Nothing,
                    See::Price(price) => Seen::Price(tens(price)),
                    See::PriceMax(price) => Seen::PriceMax(tens(price)),
                    See::Version(version) => Seen::Version(u64::from(version)),
                };
                let tickets = tickets.iter().map(|ticket| Wanted { ticket: self.ticket(*ticket).0, seen }).collect();
                keyed(Actor::User(self.user(*user)), Command::PlaceOrder { tickets }, key)
            }
            Ask::Cancel { by, order, version, key } => {
                let (order, buyer) = self.order(*order);
                keyed(self.by(*by, buyer), Command::CancelOrder { order, version: version.map(u64::from) }, key)
            }
            Ask::Extend { by, order } => {
                let (order, buyer) = self.order(*order);
                plain(self.by(*by, buyer), Command::ExtendLock { order })
            }
            Ask::Pay { by, order, key } => {
                let (order, buyer) = self.order(*order);
                keyed(self.by(*by, buyer), Command::BeginPayment { order, token: "tok_visa".into() }, key)
            }
            Ask::Bank { payment, says } => plain(Actor::Service(Service::Payments), self.bank(*payment, *says)),
            Ask::Join { .. } | Ask::Leave { .. } | Ask::Take { .. } | Ask::Watch { .. } => self.of_waiting(ask),
            Ask::Release { order } => system(Command::ReleaseLock { order: self.order(*order).0 }),
            Ask::Refund { order } => system(Command::RequestRefund { order: self.order(*order).0 }),
            Ask::Again => self.keyed.clone().unwrap_or_else(|| system(Command::Tick)),
            Ask::Tick => system(Command::Tick),
        }
    }

    fn of_user(&self, ask: &Ask) -> Submitted {
        let (actor, command) = match ask {
            Ask::SignUp { address } => (Actor::Anonymous, sign_up(email(*address))),
            Ask::SignIn { user, stale } => {
                let user = self.user(*user).user;
                let epoch = self.epochs[&user];
                let epoch = if *stale { epoch.saturating_sub(1) } else { epoch };
                (Actor::Anonymous, Command::SignIn { user, epoch, agent: String::new() })
            }
            Ask::SignOut { user } => {
                let signed_in = self.user(*user);
                (Actor::User(signed_in), Command::SignOut { session: signed_in.session })
            }
            other => unreachable!("{other:?} is not about one's own account"),
        };
        Submitted { actor, idempotency: None, command }
    }

    fn of_waiting(&self, ask: &Ask) -> Submitted {
        let place = |number: u8| back(&self.places, number).map_or((TicketId(nothing()), UserId(nothing())), |at| at.1);
        let (actor, command) = match ask {
            Ask::Join { user, locked } => {
                let ticket = back(&self.locked, *locked).unwrap_or(TicketId(nothing()));
                (Actor::User(self.user(*user)), Command::JoinLine { ticket })
            }
            Ask::Leave { by, place: number } => {
                let (ticket, user) = place(*number);
                (self.by(*by, user), Command::LeaveLine { ticket })
            }
            Ask::Take { place: number } => {
                let (ticket, user) = place(*number);
                (self.by(None, user), Command::PlaceOrder { tickets: vec![Wanted { ticket, seen: Seen::Nothing }] })
            }
            Ask::Watch { user, ticket, watch } => {
                let ticket = self.ticket(*ticket).0;
                let command = if *watch { Command::WatchTicket { ticket } } else { Command::UnwatchTicket { ticket } };
                (Actor::User(self.user(*user)), command)
            }
            other => unreachable!("{other:?} is not about waiting"),
        };
        Submitted { actor, idempotency: None, command }
    }

    fn of_seller(&self, ask: &Ask) -> Submitted {
        let (actor, command) = match ask {
            Ask::Sell { user, price, euro, sale_ends, external } => {
                let currency = if *euro { "EUR".parse().expect("a currency") } else { Currency::USD };
                let sale_ends_ms = sale_ends.then_some(NOON_MS + 10 * 60_000);
                let new = NewTicket {
                    title: "A seat".into(),
                    price: tens(*price),
                    currency,
                    external_id: external.map(|number| format!("seat {number}")),
                    details: TicketDetails { sale_ends_ms, ..TicketDetails::default() },
                };
                (Actor::User(self.user(*user)), Command::CreateTicket(new))
            }
            Ask::Edit { by, ticket, price, version } => {
                let (ticket, seller) = self.ticket(*ticket);
                let (title, price, version) = ("A seat".into(), tens(*price), version.map(u64::from));
                (self.by(*by, seller), Command::EditTicket { ticket, title, price, version, details: None })
            }
            Ask::Schedule { by, ticket, price } => {
                let (ticket, seller) = self.ticket(*ticket);
                (self.by(*by, seller), Command::SchedulePrice { ticket, price: price.map(tens) })
            }
            Ask::Withdraw { by, ticket } => {
                let (ticket, seller) = self.ticket(*ticket);
                (self.by(*by, seller), Command::WithdrawTicket { ticket })
            }
            other => unreachable!("{other:?} is not a seller's"),
        };
        Submitted { actor, idempotency: None, command }
    }

    fn mail(&self, request: u8, reset: bool) -> Command {
        let (request, user) = back(&self.requests, request).unwrap_or((RequestId(nothing()), self.users[0].user));
        match reset {
            true => Command::ResetPassword { user, request, password_hash: "$argon2id$y".into() },
            false => Command::VerifyEmail { user, request },
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

fn account(does: Does) -> Command {
    match does {
        Does::Refresh => Command::RefreshSession,
        Does::Email(address) => Command::ChangeEmail { email: email(address) },
        Does::Password => Command::ChangePassword { password_hash: "$argon2id$z".into() },
        Does::Verify => Command::RequestVerification,
    }
}

fn email(address: u8) -> String {
    format!("{}@Example.com", ["A", "b", "e", "f"][usize::from(address)])
}

fn sign_up(email: String) -> Command {
    Command::SignUp { email, password_hash: "$argon2id$x".into(), agent: String::new() }
}

fn system(command: Command) -> Submitted {
    Submitted { actor: Actor::System, idempotency: None, command }
}

/// `2` → 20 of the currency.
fn tens(tens: u8) -> Decimal {
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

fn remember<K: PartialEq, V>(known: &mut Vec<(K, V)>, new: K, of: V) {
    if known.iter().all(|(known, _)| *known != new) {
        known.push((new, of));
    }
}

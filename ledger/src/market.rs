//! A little market for unit tests.

use crate::command::{Actor, Batch, Command, IdempotencyKey, NewTicket, Seen, Submitted, Wanted};
use crate::entities::{Payment, SignedIn};
use crate::id::{OrderId, PaymentId, TicketId, UserId};
use crate::limits::PUBLIC_KEY_BYTES;
use crate::money::{Currency, Decimal};
use crate::outcome::{Outcome, Reply};
use crate::state::State;
use crate::store::MemoryStore;
use crate::tables::Table;
use crate::version::Versioned;

/// Ledger time when the market opens.
pub(crate) const OPENING_MS: u64 = 1_000;

/// A little market: one ticket free, one locked, one sold, one being paid for, one withdrawn.
pub(crate) struct Market {
    pub state: State<MemoryStore>,
    /// Alice sells, Bob buys.
    pub alice: UserId,
    pub bob: UserId,
    pub seller: Actor,
    pub buyer: Actor,
    pub free: TicketId,
    pub locked: TicketId,
    pub sold: TicketId,
    pub withdrawn: TicketId,
    /// Bob's live order, the order that he has paid, and the payment.
    pub live: OrderId,
    pub paid: OrderId,
    pub charge: PaymentId,
    /// Carol's payment, for which the bank is asked.
    pub asked: PaymentId,
}

impl Market {
    /// Asks in an entry of its own, at a time.
    pub fn ask_at(&mut self, time_ms: u64, actor: &Actor, key: Option<&str>, command: Command) -> Outcome {
        let idempotency = key.map(|key| IdempotencyKey { key: key.into(), request_hash: 1 });
        let submitted = Submitted { actor: actor.clone(), idempotency, command };
        let batch = Batch { time_ms, commands: vec![submitted] };
        let mut applied = self.state.apply(self.state.meta().index + 1, &batch).expect("a store in memory");
        applied.outcomes.remove(0)
    }

    /// Asks for what must be granted, under a key of its own, at the opening time.
    pub fn ask(&mut self, actor: &Actor, command: Command) -> Reply {
        let key = self.state.meta().index.to_string();
        self.ask_at(OPENING_MS, actor, Some(&key), command).settled.expect("what the market needs is granted")
    }

    pub fn sign_up(&mut self, name: &str) -> Actor {
        let email = format!("{name}@example.com");
        let command = Command::SignUp { email, password_hash: "$argon2id$".into(), agent: "a browser".into() };
        match self.ask(&Actor::Anonymous, command) {
            Reply::SignedIn { user, session, epoch } => Actor::User(SignedIn { user, session, epoch }),
            other => panic!("{other:?}"),
        }
    }

    pub fn lock(&mut self, buyer: &Actor, ticket: TicketId) -> OrderId {
        match self.ask(buyer, Command::PlaceOrder { tickets: vec![Wanted { ticket, seen: Seen::Nothing }] }) {
            Reply::Order { order, .. } => order,
            other => panic!("{other:?}"),
        }
    }

    pub fn begin(&mut self, buyer: &Actor, order: OrderId) -> PaymentId {
        match self.ask(buyer, Command::BeginPayment { order, token: "tok_visa".into() }) {
            Reply::Payment { payment, .. } => payment,
            other => panic!("{other:?}"),
        }
    }

    pub fn open() -> Market {
        let mut market = Market {
            state: State::open(MemoryStore::default()).expect("a store in memory"),
            alice: UserId::default(),
            bob: UserId::default(),
            seller: Actor::Anonymous,
            buyer: Actor::Anonymous,
            free: TicketId::default(),
            locked: TicketId::default(),
            sold: TicketId::default(),
            withdrawn: TicketId::default(),
            live: OrderId::default(),
            paid: OrderId::default(),
            charge: PaymentId::default(),
            asked: PaymentId::default(),
        };
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| market.sign_up(name));
        (market.alice, market.bob) = (alice.user().expect("a user"), bob.user().expect("a user"));
        (market.seller, market.buyer) = (alice.clone(), bob.clone());
        let tickets: Vec<TicketId> = (0..5).map(|seat| market.sell(&alice, &format!("Row {seat}"), seat)).collect();
        (market.free, market.locked, market.sold, market.withdrawn) = (tickets[0], tickets[1], tickets[2], tickets[4]);
        market.paid = market.lock(&bob, market.sold);
        market.charge = market.begin(&bob, market.paid);
        let fence = market.row::<Payment>(Table::Payments, market.charge.as_bytes()).fence;
        market.ask(&Actor::System, Command::RecordAuthorized { payment: market.charge, fence });
        market.ask(&Actor::System, Command::RecordCaptured { payment: market.charge });
        market.live = market.lock(&bob, market.locked);
        let waiting = market.lock(&carol, tickets[3]);
        market.asked = market.begin(&carol, waiting);
        market.ask(&alice, Command::WithdrawTicket { ticket: market.withdrawn });
        let public_key = vec![7; PUBLIC_KEY_BYTES];
        market.ask(&Actor::System, Command::RegisterNodeKey { key_id: "node-1".into(), public_key });
        market
    }

    pub fn sell(&mut self, seller: &Actor, title: &str, seat: u64) -> TicketId {
        let new = NewTicket {
            title: title.into(),
            price: Decimal { digits: 20, decimals: 0 },
            currency: Currency::USD,
            external_id: Some(format!("seat-{seat}")),
            details: Default::default(),
        };
        match self.ask(seller, Command::CreateTicket(new)) {
            Reply::Ticket { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        }
    }

    /// A row that the market has.
    pub fn row<T: Versioned>(&self, table: Table, key: &[u8]) -> T {
        self.state.row_required(table, key).expect("the market has this row")
    }
}

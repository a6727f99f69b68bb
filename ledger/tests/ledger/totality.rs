//! Apply is total: whatever decodes has an outcome, nothing panics, and what was refused changed nothing.

use bytes::Bytes;
use holdfast_ledger::codec;
use holdfast_ledger::command::{Actor, Batch, Command, IdempotencyKey, NewTicket, Seen, Service, Submitted, Wanted};
use holdfast_ledger::entities::{Fence, Operation, Policy, Roles, SignedIn, Step, TicketDetails};
use holdfast_ledger::event::EventType;
use holdfast_ledger::id::{ID_BYTES, Id, OrderId, PaymentId, RequestId, SessionId, TicketId, UserId, WebhookId};
use holdfast_ledger::invariants::check_invariants;
use holdfast_ledger::money::{Currency, Decimal};
use holdfast_ledger::outcome::Applied;
use holdfast_ledger::state::State;
use holdfast_ledger::store::MemoryStore;
use holdfast_ledger::tables::Table;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::hash_store::rows;
use crate::walk::{NOON_MS, Walker, policy, walk};

/// Ids that often are somebody's: the entries and ordinals of short walks; else anything.
fn id() -> impl Strategy<Value = Id> {
    prop_oneof![
        8 => (1u64..24, 0u32..9).prop_map(|(index, ordinal)| Id::mint(0, index, ordinal)),
        1 => any::<[u8; ID_BYTES]>().prop_map(Id::from_bytes),
    ]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..4, Just(u64::MAX), Just(u64::MAX - 1), Just(i64::MAX as u64), Just(NOON_MS), any::<u64>()]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..4, Just(u32::MAX), any::<u32>()]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("a@example.com".into()),
        Just("A@EXAMPLE.com".into()),
        Just("\0".into()),
        Just("İ@ﬁ.ẞ".into()),
        Just("\u{202e}\u{feff}\u{10ffff}".into()),
        Just(" \t\n".into()),
        (0usize..400).prop_map(|length| "ä".repeat(length)),
        Just("x".repeat(70_000)),
        any::<String>(),
    ]
}

fn url() -> impl Strategy<Value = String> {
    prop_oneof![Just("https://receiver.example/hook".into()), Just("https://".into()), text()]
}

fn token_hash() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![3 => Just(vec![7; 32]), 1 => vec(any::<u8>(), 0..40)]
}

fn maybe<T: std::fmt::Debug + Clone + 'static>(
    of: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    prop::option::of(of)
}

fn decimal() -> impl Strategy<Value = Decimal> {
    let decimals = prop_oneof![Just(0u8), Just(2), 0u8..10, Just(u8::MAX)];
    (number(), decimals).prop_map(|(digits, decimals)| Decimal { digits, decimals })
}

fn currency() -> impl Strategy<Value = Currency> {
    prop_oneof![Just("USD"), Just("EUR"), Just("JPY"), Just("KWD")].prop_map(|code| code.parse().expect("a currency"))
}

fn details() -> impl Strategy<Value = TicketDetails> {
    (maybe(text()), maybe(text()), maybe(number()), maybe(number())).prop_map(
        |(venue, seat, starts_ms, sale_ends_ms)| TicketDetails {
            venue,
            seat,
            starts_ms,
            sale_ends_ms,
            ..TicketDetails::default()
        },
    )
}

fn new_ticket() -> impl Strategy<Value = NewTicket> {
    (text(), decimal(), currency(), maybe(text()), details()).prop_map(
        |(title, price, currency, external_id, details)| NewTicket { title, price, currency, external_id, details },
    )
}

fn seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        Just(Seen::Nothing),
        decimal().prop_map(Seen::Price),
        decimal().prop_map(Seen::PriceMax),
        number().prop_map(Seen::Version),
    ]
}

/// Rules as an operator's slip might write them.
fn hostile_policy() -> BoxedStrategy<Policy> {
    (vec(number(), 14), vec(small(), 11))
        .prop_map(|(long, short)| Policy {
            lock_ttl_ms: long[0],
            lock_extension_ms: long[1],
            lock_extensions_max: short[0],
            payment_grace_ms: long[2],
            payment_attempts_max: short[1],
            locks_per_user_max: short[2],
            tickets_per_order_max: short[3],
            cooldown_after_expiries: short[4],
            cooldown_ms: long[3],
            session_ttl_ms: long[4],
            sessions_per_user_max: short[5],
            idempotency_ttl_ms: long[5],
            idempotency_keys_per_user_max: short[6],
            idempotency_records_max: long[6],
            sweep_entries_max: short[0],
            history_per_entity_max: long[7],
            outbox_retention_ms: long[8],
            outbox_events_soft_max: long[9],
            outbox_events_hard_max: long[10],
            offer_ttl_ms: long[11],
            line_places_per_ticket_max: short[7],
            line_places_per_user_max: short[8],
            watchers_per_ticket_max: short[9],
            watches_per_user_max: short[10],
            request_ttl_ms: long[12],
            audit_rows_max: long[13],
        })
        .boxed()
}

/// One rule of a policy that is otherwise sound, so that some of the slips get past a check of the whole.
fn slipped_policy() -> impl Strategy<Value = Policy> {
    (hostile_policy(), 0u8..12).prop_map(|(hostile, which)| {
        let mut policy = Policy::default();
        match which {
            0 => policy.lock_ttl_ms = hostile.lock_ttl_ms,
            1 => policy.payment_grace_ms = hostile.payment_grace_ms,
            2 => policy.cooldown_ms = hostile.cooldown_ms,
            3 => policy.session_ttl_ms = hostile.session_ttl_ms,
            4 => policy.idempotency_ttl_ms = hostile.idempotency_ttl_ms,
            5 => policy.history_per_entity_max = hostile.history_per_entity_max,
            6 => policy.sweep_entries_max = hostile.sweep_entries_max,
            7 => policy.offer_ttl_ms = hostile.offer_ttl_ms,
            8 => policy.line_places_per_ticket_max = hostile.line_places_per_ticket_max,
            9 => policy.watches_per_user_max = hostile.watches_per_user_max,
            10 => policy.request_ttl_ms = hostile.request_ttl_ms,
            _ => policy.payment_attempts_max = hostile.payment_attempts_max,
        }
        policy
    })
}

fn command() -> BoxedStrategy<Command> {
    let user = || id().prop_map(UserId);
    let ticket = || id().prop_map(TicketId);
    let order = || id().prop_map(OrderId);
    let payment = || id().prop_map(PaymentId);
    let fence = (number(), small()).prop_map(|(index, ordinal)| Fence { index, ordinal });
    let roles = any::<(bool, bool, bool)>().prop_map(|(seller, operator_read, operator_admin)| Roles {
        seller,
        operator_read,
        operator_admin,
    });
    let wanted = || (ticket(), seen()).prop_map(|(ticket, seen)| Wanted { ticket, seen });
    let users = prop_oneof![
        (text(), text(), text()).prop_map(|(email, password_hash, agent)| Command::SignUp {
            email,
            password_hash,
            agent
        }),
        (user(), small(), text()).prop_map(|(user, epoch, agent)| Command::SignIn { user, epoch, agent }),
        id().prop_map(|id| Command::SignOut { session: SessionId(id) }),
        (user(), roles).prop_map(|(user, roles)| Command::SetRoles { user, roles }),
        user().prop_map(|user| Command::BanUser { user }),
        user().prop_map(|user| Command::UnbanUser { user }),
        user().prop_map(|user| Command::EraseUser { user }),
    ];
    let request = || id().prop_map(RequestId);
    let accounts = prop_oneof![
        Just(Command::RefreshSession),
        text().prop_map(|email| Command::ChangeEmail { email }),
        text().prop_map(|password_hash| Command::ChangePassword { password_hash }),
        user().prop_map(|user| Command::RequestReset { user }),
        (user(), request(), text()).prop_map(|(user, request, password_hash)| Command::ResetPassword {
            user,
            request,
            password_hash
        }),
        Just(Command::RequestVerification),
        (user(), request()).prop_map(|(user, request)| Command::VerifyEmail { user, request }),
        token_hash().prop_map(|token_hash| Command::ClaimOperator { token_hash }),
    ];
    let tickets = prop_oneof![
        new_ticket().prop_map(Command::CreateTicket),
        vec(new_ticket(), 0..4).prop_map(Command::CreateTickets),
        (ticket(), text(), decimal(), maybe(number()), maybe(details())).prop_map(
            |(ticket, title, price, version, details)| {
                Command::EditTicket { ticket, title, price, version, details }
            }
        ),
        (ticket(), maybe(decimal())).prop_map(|(ticket, price)| Command::SchedulePrice { ticket, price }),
        ticket().prop_map(|ticket| Command::WithdrawTicket { ticket }),
    ];
    let orders = prop_oneof![
        3 => vec(wanted(), 0..4).prop_map(|tickets| Command::PlaceOrder { tickets }),
        1 => (wanted(), 0usize..300).prop_map(|(wanted, many)| Command::PlaceOrder { tickets: vec![wanted; many] }),
        1 => (order(), maybe(number())).prop_map(|(order, version)| Command::CancelOrder { order, version }),
        1 => order().prop_map(|order| Command::ExtendLock { order }),
        2 => (order(), text()).prop_map(|(order, token)| Command::BeginPayment { order, token }),
        1 => order().prop_map(|order| Command::RequestRefund { order }),
        1 => order().prop_map(|order| Command::ReleaseLock { order }),
        1 => ticket().prop_map(|ticket| Command::WatchTicket { ticket }),
        1 => ticket().prop_map(|ticket| Command::UnwatchTicket { ticket }),
        2 => ticket().prop_map(|ticket| Command::JoinLine { ticket }),
        1 => ticket().prop_map(|ticket| Command::LeaveLine { ticket }),
    ];
    let bank = prop_oneof![
        (payment(), text()).prop_map(|(payment, intent_id)| Command::RecordIntent { payment, intent_id }),
        (payment(), text())
            .prop_map(|(payment, text)| Command::RecordAction { payment, url: format!("https://{text}") }),
        (payment(), fence).prop_map(|(payment, fence)| Command::RecordAuthorized { payment, fence }),
        (payment(), text()).prop_map(|(payment, failure)| Command::RecordDeclined { payment, failure }),
        payment().prop_map(|payment| Command::RecordCaptured { payment }),
        (payment(), text()).prop_map(|(payment, failure)| Command::RecordCaptureFailed { payment, failure }),
        payment().prop_map(|payment| Command::RecordVoided { payment }),
        payment().prop_map(|payment| Command::RecordRefunded { payment }),
    ];
    let cluster = prop_oneof![
        Just(Command::Tick),
        hostile_policy().prop_map(Command::SetPolicy),
        slipped_policy().prop_map(Command::SetPolicy),
        (text(), vec(any::<u8>(), 0..40))
            .prop_map(|(key_id, public_key)| Command::RegisterNodeKey { key_id, public_key }),
        (number(), 0..3_u32).prop_map(|(upto, losses)| Command::AckOutbox { upto, losses }),
        token_hash().prop_map(|token_hash| Command::SetBootstrapToken { token_hash }),
        text().prop_map(|key_id| Command::RetireNodeKey { key_id }),
        any::<u16>().prop_map(|lineage| Command::RaiseLineage { lineage }),
        (maybe(any::<u64>()), maybe(any::<[u8; 32]>())).prop_map(|(node, certificate)| {
            Command::NoteOperation { operation: Operation::RemoveMember, step: Step::Asked, node, certificate }
        }),
        (any::<u8>(), maybe(any::<[u8; 32]>())).prop_map(|(to, certificate)| Command::RaiseVersion { to, certificate }),
    ];
    let webhook = || id().prop_map(WebhookId);
    let event_types = vec((0..EventType::ALL.len()).prop_map(|at| EventType::ALL[at]), 0..4);
    let services = prop_oneof![
        (any::<bool>(), text(), vec(any::<u8>(), 31..34)).prop_map(|(payments, key_id, public_key)| {
            let service = if payments { Service::Payments } else { Service::Notifications };
            Command::RegisterServiceKey { service, key_id, public_key }
        }),
        text().prop_map(|key_id| Command::RevokeServiceKey { key_id }),
        (maybe(webhook()), url(), maybe(text()), event_types)
            .prop_map(|(webhook, url, secret, event_types)| Command::PutWebhook { webhook, url, secret, event_types }),
        webhook().prop_map(|webhook| Command::RemoveWebhook { webhook }),
    ];
    // Boxed, each: unions of unions by value overflow the stack of an unoptimised build.
    let people = prop_oneof![2 => users.boxed(), 2 => accounts.boxed()];
    let cluster = prop_oneof![2 => cluster.boxed(), 1 => services.boxed()];
    prop_oneof![3 => people.boxed(), 3 => tickets.boxed(), 4 => orders.boxed(), 3 => bank.boxed(), 2 => cluster.boxed()]
        .boxed()
}

fn actor() -> BoxedStrategy<Actor> {
    let signed_in = (id(), id(), prop_oneof![8 => Just(0u32), 1 => small()])
        .prop_map(|(user, session, epoch)| SignedIn { user: UserId(user), session: SessionId(session), epoch });
    // The first four people of a walk, in the sessions that they signed up with.
    let known = (0u32..4).prop_map(|number| SignedIn {
        user: UserId(Id::mint(0, 1, 2 * number)),
        session: SessionId(Id::mint(0, 1, 2 * number + 1)),
        epoch: 0,
    });
    prop_oneof![
        3 => Just(Actor::System),
        1 => Just(Actor::Anonymous),
        6 => known.prop_map(Actor::User),
        2 => signed_in.prop_map(Actor::User),
        1 => Just(Actor::Service(Service::Payments)),
        1 => Just(Actor::Service(Service::Notifications)),
    ]
    .boxed()
}

fn batch() -> BoxedStrategy<Batch> {
    let idempotency =
        maybe((text(), any::<u128>()).prop_map(|(key, request_hash)| IdempotencyKey { key, request_hash }));
    let submitted = (actor(), idempotency, command()).prop_map(|(actor, idempotency, command)| Submitted {
        actor,
        idempotency,
        command,
    });
    let time_ms = prop_oneof![4 => NOON_MS..NOON_MS + 100_000_000, 1 => number()];
    (time_ms, vec(submitted, 1..4)).prop_map(|(time_ms, commands)| Batch { time_ms, commands }).boxed()
}

/// Walks a little, so that there is something to hurt.
fn walked(policy: &Policy, steps: &[crate::walk::Step]) -> State<MemoryStore> {
    let mut state = State::open(MemoryStore::default()).expect("a store in memory");
    let mut walker = Walker::new();
    let mut batches = walker.opening(policy);
    batches.reverse();
    for step in std::iter::once(None).chain(steps.iter().map(Some)) {
        batches.extend(step.map(|step| walker.batch(step)));
        let batch = batches.pop().expect("one entry at a time");
        let applied = state.apply(state.meta().index + 1, &batch).expect("a store in memory");
        walker.learn(&batch, &applied);
    }
    state
}

/// What people and things are: everything but the records about requests and sessions, which age by themselves.
fn substance(state: &State<MemoryStore>) -> Vec<(Table, Bytes, Bytes)> {
    let ages = [
        Table::Meta,
        Table::Users,
        Table::Sessions,
        Table::Idempotency,
        Table::IdempotencyByAge,
        Table::Outbox,
        Table::Requests,
        Table::RequestsByEnd,
    ];
    rows(state.store()).into_iter().filter(|(table, ..)| !ages.contains(table)).collect()
}

/// Applies `batch` and holds the state against the invariants.
fn apply(state: &mut State<MemoryStore>, batch: &Batch) -> Result<Applied, TestCaseError> {
    let before = substance(state);
    let now_ms = state.meta().now_ms;
    let applied = state.apply(state.meta().index + 1, batch).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert_eq!(applied.outcomes.len(), batch.commands.len(), "each command has its outcome");
    prop_assert!(applied.time_ms >= now_ms, "ledger time never goes back");
    if applied.events == 0 && applied.outcomes.iter().all(|outcome| outcome.settled.is_err()) {
        prop_assert_eq!(before, substance(state), "what is refused changes nothing");
    }
    let broken = check_invariants(state);
    prop_assert!(broken.is_ok(), "{:?} after {:?}", broken, batch);
    Ok(applied)
}

proptest! {
    #[test]
    fn any_command_has_an_outcome(policy in policy(), steps in walk(24), batches in vec(batch(), 1..12)) {
        let mut state = walked(&policy, &steps);
        for batch in &batches {
            apply(&mut state, batch)?;
        }
    }

    /// Bytes that still decode after damage are commands like any other.
    #[test]
    fn damaged_bytes_are_refused_or_applied(
        policy in policy(),
        steps in walk(16),
        batch in batch(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes = codec::encode(&batch).to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(batch) = codec::decode::<Batch>(&bytes) {
            let mut state = walked(&policy, &steps);
            apply(&mut state, &batch)?;
        }
    }

    #[test]
    fn arbitrary_bytes_decode_or_do_not(bytes in vec(any::<u8>(), 0..300)) {
        let versioned: Vec<u8> = std::iter::once(codec::FORMAT_VERSION).chain(bytes.iter().copied()).collect();
        for bytes in [bytes, versioned] {
            if let Ok(batch) = codec::decode::<Batch>(&bytes) {
                prop_assert_eq!(&codec::encode(&batch)[..], &bytes[..], "one value, one encoding");
                apply(&mut State::open(MemoryStore::default()).expect("a store in memory"), &batch)?;
            }
        }
    }
}

/// More commands than an entry may have are refused, each of them, and nothing is done.
#[test]
fn an_entry_too_large_is_refused_whole() {
    use holdfast_ledger::limits::ENTRY_COMMANDS_MAX;
    use holdfast_ledger::outcome::Refusal;
    let sign_up = |number: usize| Submitted {
        actor: Actor::Anonymous,
        idempotency: None,
        command: Command::SignUp {
            email: format!("{number}@example.com"),
            password_hash: "$argon2id$x".into(),
            agent: String::new(),
        },
    };
    let mut state = State::open(MemoryStore::default()).expect("a store in memory");
    let batch = Batch { time_ms: NOON_MS, commands: (0..=ENTRY_COMMANDS_MAX).map(sign_up).collect() };
    let applied = state.apply(1, &batch).expect("a store in memory");
    assert_eq!(applied.outcomes.len(), ENTRY_COMMANDS_MAX + 1);
    assert!(applied.outcomes.iter().all(|outcome| outcome.settled == Err(Refusal::EntryTooLarge)));
    assert_eq!((state.meta().users, state.meta().event_seq), (0, 0));

    let batch = Batch { time_ms: NOON_MS, commands: (0..ENTRY_COMMANDS_MAX).map(sign_up).collect() };
    let applied = state.apply(2, &batch).expect("a store in memory");
    assert!(applied.outcomes.iter().all(|outcome| outcome.settled.is_ok()));
    check_invariants(&state).expect("the invariants hold");
}

//! The commands of the stories, and how each is written.
//!
//! | line | meaning |
//! |---|---|
//! | `bob: signup [email=…]`, `bob: signin [user=…] [epoch=N]`, `bob: signout` | an account, another session (also under another name), its end |
//! | `bob: refresh`, `bob: revoke carol` | his session goes on; the one that is called carol ends |
//! | `bob: email bob@example.org`, `bob: password [hash=…]`, `bob: verify` | changes of an account; a mail that proves its address |
//! | `nobody: forgot bob`, `nobody: reset bob r1 [hash=…]`, `nobody: verified bob r2` | a mail for a lost password; what came of the mails |
//! | `bootstrap 7`, `bob: claim 7` | the token of the first operator, a byte standing for its hash |
//! | `ban bob`, `unban bob`, `erase bob`, `roles bob seller operator_admin`, `release o1` | what operators do |
//! | `operation remove\|removed\|not_removed\|token [node=2] [certificate=7]` | something is done to the cluster |
//! | `service_key payments k1 [byte=7]`, `revoke_key k1`, `retire_key k1` | keys of services and nodes |
//! | `webhook https://… [id=w1] [secret=…] [types=ticket:created,…]`, `remove_webhook w1` | where events are posted |
//! | `bob: watch t1`, `bob: unwatch t1` | wants to be told of another price |
//! | `bob: join t1`, `bob: leave t1` | the line for a ticket |
//! | `alice: sell "title" price=20.00 [currency=EUR] [external=…] [seat=…] [sale_ends="14:00:00"]` | a ticket |
//! | `alice: import "first" "second" price=20.00` | several, the title being the seller's own id of each |
//! | `alice: edit t1 [title=…] price=25.00 [version=N]`, `alice: schedule t1 [price=25.00]`, `alice: withdraw t1` | changes of a ticket |
//! | `bob: order t1 t2 [price=…] [max=…] [version=N]` | a lock; `price`, `max` and `version` say what he saw, of every ticket |
//! | `bob: cancel o1 [version=N]`, `bob: extend o1` | changes of an order |
//! | `bob: pay o1 [token=…]` | begins a payment |
//! | `payments: intent p1 id=…`, `authorized p1 [fence=p2]`, `declined p1 [failure=…]` | what the bank said; `fence`: that of another payment |
//! | `payments: captured p1`, `capture_failed p1`, `voided p1`, `refunded p1`; `refund o1` | the end of a payment |
//! | `tick`, `ack 5`, `lineage 2`, `node_key k1`, `policy lock_ttl=10m locks_per_user=2 …` | what the cluster does |
//!
//! Every line may carry an idempotency key: `key=… [request=N]`, where another `request` is another body.

use holdfast_ledger::codec;
use holdfast_ledger::command::{Command, NewTicket, Seen, Service, Wanted};
use holdfast_ledger::entities::{Fence, Operation, Payment, Policy, Roles, Step, TicketDetails};
use holdfast_ledger::event::EventType;
use holdfast_ledger::id::{Id, OrderId, PaymentId, RequestId, TicketId, UserId, WebhookId};
use holdfast_ledger::money::{Currency, Decimal};
use holdfast_ledger::store::Write;
use holdfast_ledger::tables::Table;

use super::{DAY_MS, Fallible, Story};

/// What a password is kept as, where the story does not care.
const PASSWORD_HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$aGFzaA";

type Arguments<'a> = goldenscript::ArgumentConsumer<'a>;

/// One line of a story that is a command to the ledger.
pub struct Line {
    /// As the story writes it.
    pub name: String,
    pub command: Command,
    /// Idempotency key, and the request's hash if the line names one.
    pub key: Option<(String, Option<u128>)>,
}

/// Reads one line; `who` is its prefix.
pub fn parse<S: Write>(line: &goldenscript::Command, who: Option<&str>, story: &Story<S>) -> Fallible<Line> {
    let mut arguments = line.consume_args();
    let request = arguments.take_key("request").map(str::parse).transpose()?;
    let key = arguments.take_key("key").map(|key| (key.to_string(), request));
    let command = match line.name.as_str() {
        "signup" | "signin" | "signout" | "roles" | "ban" | "unban" | "erase" => {
            user(line, who, &mut arguments, story)?
        }
        "refresh" | "revoke" | "email" | "password" | "verify" | "forgot" | "reset" | "verified" | "bootstrap"
        | "claim" => account(line, &mut arguments, story)?,
        "service_key" | "revoke_key" | "retire_key" | "operation" | "webhook" | "remove_webhook" => {
            service(line, &mut arguments, story)?
        }
        "sell" | "import" | "edit" | "schedule" | "withdraw" | "watch" | "unwatch" | "join" | "leave" => {
            ticket(line, &mut arguments, story)?
        }
        "order" | "cancel" | "extend" | "pay" | "refund" | "release" => order(line, &mut arguments, story)?,
        "tick" => Command::Tick,
        "ack" => Command::AckOutbox {
            upto: arguments.next_pos().ok_or("up to what?")?.parse()?,
            losses: arguments.take_key("losses").unwrap_or("0").parse()?,
        },
        "lineage" => Command::RaiseLineage { lineage: arguments.next_pos().ok_or("which?")?.parse()? },
        "version" => Command::RaiseVersion {
            to: arguments.next_pos().ok_or("which?")?.parse()?,
            certificate: certificate(&mut arguments)?,
        },
        "node_key" => Command::RegisterNodeKey {
            key_id: arguments.next_pos().ok_or("which?")?.into(),
            public_key: vec![
                arguments.take_key("byte").unwrap_or("7").parse()?;
                arguments.take_key("bytes").unwrap_or("32").parse()?
            ],
        },
        "policy" => Command::SetPolicy(policy(story.state().meta().policy.clone(), &mut arguments)?),
        _ => payment(line, &mut arguments, story)?,
    };
    arguments.reject_next()?;
    Ok(Line { name: line.to_string(), command, key })
}

fn user<S: Write>(
    line: &goldenscript::Command,
    who: Option<&str>,
    arguments: &mut Arguments,
    story: &Story<S>,
) -> Fallible<Command> {
    let named = |arguments: &mut Arguments| Fallible::Ok(UserId(subject(arguments, story)?));
    Ok(match line.name.as_str() {
        "signup" => Command::SignUp {
            email: arguments
                .take_key("email")
                .map_or_else(|| format!("{}@example.com", who.unwrap_or("x")), String::from),
            password_hash: arguments.take_key("hash").unwrap_or(PASSWORD_HASH).into(),
            agent: arguments.take_key("agent").unwrap_or("").into(),
        },
        "signin" => {
            let name = arguments.take_key("user").or(who).ok_or("who signs in?")?;
            let user = UserId(story.names.id(name)?);
            let epoch = arguments.take_key("epoch").map(str::parse).transpose()?;
            let agent = arguments.take_key("agent").unwrap_or("").into();
            Command::SignIn { user, epoch: epoch.map_or_else(|| story.epoch(user), Ok)?, agent }
        }
        "signout" => Command::SignOut { session: story.names.signed_in(who.ok_or("who?")?)?.session },
        "ban" => Command::BanUser { user: named(arguments)? },
        "unban" => Command::UnbanUser { user: named(arguments)? },
        "erase" => Command::EraseUser { user: named(arguments)? },
        _ => {
            let user = named(arguments)?;
            let mut roles = Roles { seller: false, operator_read: false, operator_admin: false };
            while let Some(role) = arguments.next_pos() {
                match role {
                    "seller" => roles.seller = true,
                    "operator_read" => roles.operator_read = true,
                    "operator_admin" => roles.operator_admin = true,
                    _ => return Err(format!("no role {role}").into()),
                }
            }
            Command::SetRoles { user, roles }
        }
    })
}

fn account<S: Write>(line: &goldenscript::Command, arguments: &mut Arguments, story: &Story<S>) -> Fallible<Command> {
    let named = |arguments: &mut Arguments| Fallible::Ok(UserId(subject(arguments, story)?));
    let request = |arguments: &mut Arguments| Fallible::Ok(RequestId(subject(arguments, story)?));
    let hash = |arguments: &mut Arguments| arguments.take_key("hash").unwrap_or(PASSWORD_HASH).to_string();
    let byte = |arguments: &mut Arguments| Fallible::Ok(vec![arguments.next_pos().ok_or("which?")?.parse()?; 32]);
    Ok(match line.name.as_str() {
        "refresh" => Command::RefreshSession,
        "revoke" => Command::SignOut { session: story.names.signed_in(arguments.next_pos().ok_or("whose?")?)?.session },
        "email" => Command::ChangeEmail { email: arguments.next_pos().ok_or("which?")?.into() },
        "password" => Command::ChangePassword { password_hash: hash(arguments) },
        "verify" => Command::RequestVerification,
        "forgot" => Command::RequestReset { user: named(arguments)? },
        "reset" => {
            let (user, request) = (named(arguments)?, request(arguments)?);
            Command::ResetPassword { user, request, password_hash: hash(arguments) }
        }
        "verified" => Command::VerifyEmail { user: named(arguments)?, request: request(arguments)? },
        "bootstrap" => Command::SetBootstrapToken { token_hash: byte(arguments)? },
        _ => Command::ClaimOperator { token_hash: byte(arguments)? },
    })
}

fn service<S: Write>(line: &goldenscript::Command, arguments: &mut Arguments, story: &Story<S>) -> Fallible<Command> {
    let key_id = |arguments: &mut Arguments| Fallible::Ok(arguments.next_pos().ok_or("which key?")?.to_string());
    Ok(match line.name.as_str() {
        "service_key" => {
            let service = match arguments.next_pos() {
                Some("payments") => Service::Payments,
                Some("notifications") => Service::Notifications,
                _ => return Err("which service?".into()),
            };
            let public_key = vec![arguments.take_key("byte").unwrap_or("7").parse()?; 32];
            Command::RegisterServiceKey { service, key_id: key_id(arguments)?, public_key }
        }
        "revoke_key" => Command::RevokeServiceKey { key_id: key_id(arguments)? },
        "retire_key" => Command::RetireNodeKey { key_id: key_id(arguments)? },
        "operation" => {
            let (operation, step) = match arguments.next_pos() {
                Some("remove") => (Operation::RemoveMember, Step::Asked),
                Some("removed") => (Operation::RemoveMember, Step::Done),
                Some("not_removed") => (Operation::RemoveMember, Step::Failed),
                Some("token") => (Operation::GiveJoinToken, Step::Done),
                _ => return Err("which operation?".into()),
            };
            let node = arguments.take_key("node").map(str::parse).transpose()?;
            Command::NoteOperation { operation, step, node, certificate: certificate(arguments)? }
        }
        "webhook" => {
            let id = arguments.take_key("id").map(|name| story.names.id(name)).transpose()?;
            let types = arguments.take_key("types").map_or(Vec::new(), |types| types.split(',').collect());
            Command::PutWebhook {
                webhook: id.map(WebhookId),
                url: arguments.next_pos().ok_or("where?")?.into(),
                secret: arguments.take_key("secret").map(String::from),
                event_types: types
                    .into_iter()
                    .map(EventType::from_name)
                    .collect::<Option<_>>()
                    .ok_or("no such event")?,
            }
        }
        _ => Command::RemoveWebhook { webhook: WebhookId(subject(arguments, story)?) },
    })
}

fn ticket<S: Write>(line: &goldenscript::Command, arguments: &mut Arguments, story: &Story<S>) -> Fallible<Command> {
    let price = |arguments: &mut Arguments| arguments.take_key("price").map(str::parse::<Decimal>).transpose();
    let wants_price = |arguments: &mut Arguments| Fallible::Ok(price(arguments)?.ok_or("at which price?")?);
    Ok(match line.name.as_str() {
        "sell" => {
            let title = arguments.next_pos().ok_or("what?")?.to_string();
            let external_id = arguments.take_key("external").map(String::from);
            Command::CreateTicket(NewTicket {
                title,
                price: wants_price(arguments)?,
                currency: currency(arguments)?,
                external_id,
                details: details(arguments)?.unwrap_or_default(),
            })
        }
        "import" => {
            let (price, currency) = (wants_price(arguments)?, currency(arguments)?);
            let titles = std::iter::from_fn(|| arguments.next_pos());
            let new = |title: &str| NewTicket {
                title: title.into(),
                price,
                currency,
                external_id: Some(title.into()),
                details: TicketDetails::default(),
            };
            Command::CreateTickets(titles.map(new).collect())
        }
        "edit" => {
            let id = subject(arguments, story)?;
            let title = match arguments.take_key("title") {
                Some(title) => title.to_string(),
                None => story.names.title(story.state().store(), id)?,
            };
            Command::EditTicket {
                ticket: TicketId(id),
                title,
                price: wants_price(arguments)?,
                version: number(arguments, "version")?,
                details: details(arguments)?,
            }
        }
        "schedule" => Command::SchedulePrice { ticket: TicketId(subject(arguments, story)?), price: price(arguments)? },
        "watch" => Command::WatchTicket { ticket: TicketId(subject(arguments, story)?) },
        "join" => Command::JoinLine { ticket: TicketId(subject(arguments, story)?) },
        "leave" => Command::LeaveLine { ticket: TicketId(subject(arguments, story)?) },
        "unwatch" => Command::UnwatchTicket { ticket: TicketId(subject(arguments, story)?) },
        _ => Command::WithdrawTicket { ticket: TicketId(subject(arguments, story)?) },
    })
}

fn order<S: Write>(line: &goldenscript::Command, arguments: &mut Arguments, story: &Story<S>) -> Fallible<Command> {
    let named = |arguments: &mut Arguments| Fallible::Ok(OrderId(subject(arguments, story)?));
    Ok(match line.name.as_str() {
        "order" => {
            let seen = if let Some(price) = arguments.take_key("price") {
                Seen::Price(price.parse()?)
            } else if let Some(price) = arguments.take_key("max") {
                Seen::PriceMax(price.parse()?)
            } else {
                number(arguments, "version")?.map_or(Seen::Nothing, Seen::Version)
            };
            let names: Vec<&str> = std::iter::from_fn(|| arguments.next_pos()).collect();
            let wanted = |name: &&str| Ok(Wanted { ticket: TicketId(story.names.id(name)?), seen });
            Command::PlaceOrder { tickets: names.iter().map(wanted).collect::<Fallible<_>>()? }
        }
        "cancel" => Command::CancelOrder { order: named(arguments)?, version: number(arguments, "version")? },
        "extend" => Command::ExtendLock { order: named(arguments)? },
        "refund" => Command::RequestRefund { order: named(arguments)? },
        "release" => Command::ReleaseLock { order: named(arguments)? },
        _ => {
            let token = arguments.take_key("token").unwrap_or("tok_visa").to_string();
            Command::BeginPayment { order: named(arguments)?, token }
        }
    })
}

fn payment<S: Write>(line: &goldenscript::Command, arguments: &mut Arguments, story: &Story<S>) -> Fallible<Command> {
    let fence = arguments.take_key("fence").map(|name| story.names.id(name)).transpose()?;
    let text = |arguments: &mut Arguments, key, default: &str| arguments.take_key(key).unwrap_or(default).to_string();
    let known = ["intent", "action", "authorized", "declined", "captured", "capture_failed", "voided", "refunded"];
    if !known.contains(&line.name.as_str()) {
        return Err(format!("no command {}", line.name).into());
    }
    let payment = PaymentId(subject(arguments, story)?);
    Ok(match line.name.as_str() {
        "intent" => Command::RecordIntent { payment, intent_id: text(arguments, "id", "pi_1") },
        "action" => Command::RecordAction { payment, url: text(arguments, "url", "https://bank.example/1") },
        "authorized" => {
            let of = fence.unwrap_or(payment.0);
            let row = story.state().store().get(Table::Payments, of.as_bytes())?;
            let fence = match row {
                Some(row) => codec::decode::<Payment>(&row)?.fence,
                None => Fence { index: 0, ordinal: 0 },
            };
            Command::RecordAuthorized { payment, fence }
        }
        "declined" => Command::RecordDeclined { payment, failure: text(arguments, "failure", "card_declined") },
        "captured" => Command::RecordCaptured { payment },
        "capture_failed" => Command::RecordCaptureFailed { payment, failure: text(arguments, "failure", "bank_error") },
        "voided" => Command::RecordVoided { payment },
        _ => Command::RecordRefunded { payment },
    })
}

/// The policy of now with what the line changes.
fn policy(mut policy: Policy, arguments: &mut Arguments) -> Fallible<Policy> {
    while let Some((key, value)) = arguments.next_key() {
        match key {
            "lock_ttl" => policy.lock_ttl_ms = duration(value)?,
            "extension" => policy.lock_extension_ms = duration(value)?,
            "extensions" => policy.lock_extensions_max = value.parse()?,
            "grace" => policy.payment_grace_ms = duration(value)?,
            "attempts" => policy.payment_attempts_max = value.parse()?,
            "locks_per_user" => policy.locks_per_user_max = value.parse()?,
            "tickets_per_order" => policy.tickets_per_order_max = value.parse()?,
            "cooldown_after" => policy.cooldown_after_expiries = value.parse()?,
            "cooldown" => policy.cooldown_ms = duration(value)?,
            "session_ttl" => policy.session_ttl_ms = duration(value)?,
            "sessions_per_user" => policy.sessions_per_user_max = value.parse()?,
            "keys_ttl" => policy.idempotency_ttl_ms = duration(value)?,
            "keys_per_user" => policy.idempotency_keys_per_user_max = value.parse()?,
            "keys" => policy.idempotency_records_max = value.parse()?,
            "sweep" => policy.sweep_entries_max = value.parse()?,
            "history" => policy.history_per_entity_max = value.parse()?,
            "outbox_retention" => policy.outbox_retention_ms = duration(value)?,
            "outbox_soft" => policy.outbox_events_soft_max = value.parse()?,
            "outbox_hard" => policy.outbox_events_hard_max = value.parse()?,
            "offer_ttl" => policy.offer_ttl_ms = duration(value)?,
            "line" => policy.line_places_per_ticket_max = value.parse()?,
            "places_per_user" => policy.line_places_per_user_max = value.parse()?,
            "watchers" => policy.watchers_per_ticket_max = value.parse()?,
            "watches_per_user" => policy.watches_per_user_max = value.parse()?,
            "request_ttl" => policy.request_ttl_ms = duration(value)?,
            "audit_rows" => policy.audit_rows_max = value.parse()?,
            _ => return Err(format!("no rule {key}").into()),
        }
    }
    Ok(policy)
}

/// The first positional argument as an id.
fn subject<S: Write>(arguments: &mut Arguments, story: &Story<S>) -> Fallible<Id> {
    story.names.id(arguments.next_pos().ok_or("which?")?)
}

/// What was shown, as so many bytes of one value.
fn certificate(arguments: &mut Arguments) -> Fallible<Option<[u8; 32]>> {
    Ok(arguments.take_key("certificate").map(str::parse).transpose()?.map(|byte| [byte; 32]))
}

fn number(arguments: &mut Arguments, key: &str) -> Fallible<Option<u64>> {
    Ok(arguments.take_key(key).map(str::parse).transpose()?)
}

fn currency(arguments: &mut Arguments) -> Fallible<Currency> {
    Ok(arguments.take_key("currency").unwrap_or("USD").parse()?)
}

fn details(arguments: &mut Arguments) -> Fallible<Option<TicketDetails>> {
    let seat = arguments.take_key("seat").map(String::from);
    let sale_ends = arguments.take_key("sale_ends").map(clock).transpose()?;
    let details = TicketDetails { seat, sale_ends_ms: sale_ends.map(|ms| DAY_MS + ms), ..TicketDetails::default() };
    Ok((details != TicketDetails::default()).then_some(details))
}

/// `12:30:00` in milliseconds since midnight.
pub fn clock(text: &str) -> Fallible<u64> {
    let parts: Vec<u64> = text.split(':').map(str::parse).collect::<Result<_, _>>()?;
    match parts[..] {
        [hours, minutes, seconds] => Ok(((hours * 60 + minutes) * 60 + seconds) * 1000),
        _ => Err(format!("no time of day: {text}").into()),
    }
}

/// `15m` in milliseconds; also `d`, `h`, `s` and `ms`.
pub fn duration(text: &str) -> Fallible<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "d" => 86_400_000,
        "h" => 3_600_000,
        "m" => 60_000,
        "s" => 1_000,
        "ms" => 1,
        _ => return Err(format!("no duration: {text}").into()),
    };
    Ok(digits.parse::<u64>()? * unit_ms)
}

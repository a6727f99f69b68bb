//! How a story tells what the ledger answered, emitted and holds.

use std::fmt::Write as _;

use holdfast_ledger::codec;
use holdfast_ledger::entities::{
    AuditActor, AuditRow, AuditSubject, Change, Holding, Order, OrderStatus, Payment, Place, PlaceStatus, Ticket, User,
};
use holdfast_ledger::event::{Event, EventBody};
use holdfast_ledger::id::{Id, OrderId, TicketId};
use holdfast_ledger::money::Currency;
use holdfast_ledger::outcome::{Outcome, Refusal, Reply};
use holdfast_ledger::store::{self, Read, prefix_end};
use holdfast_ledger::tables::Table;

use super::names::Names;
use super::{DAY_MS, Fallible};

/// `12:15:00` on the story's day, `+1d 12:15:00` on a later one, with milliseconds where there are some.
pub fn time(ms: u64) -> String {
    let Some(since) = ms.checked_sub(DAY_MS) else { return format!("{ms} ms") };
    let (days, ms) = (since / 86_400_000, since % 86_400_000);
    let day = if days > 0 { format!("+{days}d ") } else { String::new() };
    let fraction = if ms % 1000 > 0 { format!(".{:03}", ms % 1000) } else { String::new() };
    format!("{day}{:02}:{:02}:{:02}{fraction}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60)
}

/// `20.00 USD`, with all decimals of the currency.
fn money(minor: u64, currency: Currency) -> String {
    format!("{} {currency}", currency.display(minor))
}

/// A name of the code in the words of the story: `CaptureFailed` → `capture_failed`.
fn words(name: impl std::fmt::Debug) -> String {
    let mut words = String::new();
    for letter in format!("{name:?}").chars() {
        if letter.is_ascii_uppercase() && words.ends_with(|last: char| last.is_ascii_lowercase()) {
            words.push('_');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

/// ` label value`, or `, label value` for a label that begins so; nothing where there is no value.
fn optional(label: &str, value: Option<impl std::fmt::Display>) -> String {
    let space = if label.starts_with(',') { "" } else { " " };
    value.map_or_else(String::new, |value| format!("{space}{label} {value}"))
}

impl Names {
    /// One line: `ok` and what was made, or `refused` and why.
    pub fn outcome(&self, outcome: &Outcome) -> String {
        let again = if outcome.replayed { " (the remembered answer)" } else { "" };
        match &outcome.settled {
            Ok(reply) => format!("ok{}{again}", self.reply(reply)),
            Err(refusal) => format!("refused: {}{again}", self.refusal(refusal)),
        }
    }

    fn reply(&self, reply: &Reply) -> String {
        match reply {
            Reply::Done => String::new(),
            Reply::Unchanged => ", unchanged".into(),
            Reply::SignedIn { user, epoch, .. } => format!(" {} epoch {epoch}", self.of(user.0)),
            Reply::Ticket { ticket, version } => format!(" {} v{version}", self.of(ticket.0)),
            Reply::Order { order, version } => format!(" {} v{version}", self.of(order.0)),
            Reply::Payment { payment, order } => format!(" {} for {}", self.of(payment.0), self.of(order.0)),
            Reply::Request { user, request, expires_ms } => {
                format!(" {} for {} until {}", self.of(request.0), self.of(user.0), time(*expires_ms))
            }
            Reply::Webhook { webhook } => format!(" {}", self.of(webhook.0)),
            Reply::Place { place, ticket, version } => {
                format!(" {} for {} v{version}", self.of(place.0), self.of(ticket.0))
            }
            Reply::Tickets(tickets) => tickets.iter().fold(String::new(), |told, ticket| match ticket {
                Ok((ticket, true)) => told + &format!(" {}", self.of(ticket.0)),
                Ok((ticket, false)) => told + &format!(" {} (there already)", self.of(ticket.0)),
                Err(refusal) => told + &format!(" [{}]", self.refusal(refusal)),
            }),
        }
    }

    fn refusal(&self, refusal: &Refusal) -> String {
        use Refusal::*;
        let ticket = |ticket: &TicketId| self.of(ticket.0);
        let order = |order: &OrderId| self.of(order.0);
        let details = match refusal {
            TicketNotFound { ticket: t } | TicketSold { ticket: t } | TicketWithdrawn { ticket: t } => ticket(t),
            SaleEnded { ticket: t } | SellerBanned { ticket: t } | OwnTicket { ticket: t } => ticket(t),
            TicketNotEditable { ticket: t } | TicketAvailable { ticket: t } | LineClosed { ticket: t } => ticket(t),
            TicketReserved { ticket: t, deadline_ms } => format!("{} until {}", ticket(t), time(*deadline_ms)),
            TicketReservedByYou { ticket: t, order: o } => format!("{} by {}", ticket(t), order(o)),
            PriceChanged { ticket: t, seen_minor, price_minor, currency, version } => {
                let seen = optional("seen", seen_minor.map(|minor| money(minor, *currency)));
                format!("{}{seen} is {} v{version}", ticket(t), money(*price_minor, *currency))
            }
            Invalid { field } => words(field),
            VersionMismatch { version } => format!("it is v{version}"),
            TooManyTickets { max } | TooManyLocks { max } | ExtensionsUsedUp { max } => format!("at most {max}"),
            AttemptsUsedUp { max } | TooManyIdempotencyKeys { max } | TooMany { max, .. } => format!("at most {max}"),
            CoolingDown { until_ms } => format!("until {}", time(*until_ms)),
            OrderExpired { order: o } | OrderCancelled { order: o } | OrderComplete { order: o } => order(o),
            PaymentInProgress { order: o } | NotRefundable { order: o } => order(o),
            NotSignedIn | Banned | Forbidden | NotOwner | OrderNotFound | PaymentNotFound | UserNotFound => {
                String::new()
            }
            EmailInUse | CurrenciesDiffer | StaleFence | PaymentConflict | IdempotencyKeyReused => String::new(),
            OutboxFull | EntryTooLarge | BootstrapClaimed | BootstrapRefused => String::new(),
            RequestNotFound | KeyNotFound | WebhookNotFound | PlaceNotFound => String::new(),
        };
        format!("{} {details}", refusal.code()).trim_end().into()
    }

    /// One line: the event's type, its entity and version, and what it says.
    pub fn event(&self, event: &Event) -> String {
        let body = match &event.body {
            EventBody::Ticket { price_minor, currency, holding, withdrawn, .. } => {
                let withdrawn = if *withdrawn { " withdrawn" } else { "" };
                format!("v{} {} {}{withdrawn}", event.version, money(*price_minor, *currency), self.holding(holding))
            }
            EventBody::Order { user, status, deadline_ms, currency, tickets, .. } => {
                let lines = tickets.iter().map(|(ticket, minor)| (self.of(ticket.0), *minor));
                let order = self.order_line(self.of(user.0), status, lines.collect(), *currency, *deadline_ms);
                format!("v{} {order}", event.version)
            }
            EventBody::Expiration { .. } => String::new(),
            EventBody::Payment { order, status, next, amount_minor, currency, intent_id, .. } => format!(
                "v{} for {} {}{} {}{}",
                event.version,
                self.of(order.0),
                words(status),
                optional("next", next.map(words)),
                money(*amount_minor, *currency),
                optional("intent", intent_id.as_ref()),
            ),
            EventBody::User { banned, erased, verified, epoch, .. } => {
                let said = [(*banned, " banned"), (*erased, " erased"), (*verified, " verified")];
                let said: String = said.into_iter().filter(|(is, _)| *is).map(|(_, said)| said).collect();
                format!("v{} epoch {epoch}{said}", event.version)
            }
            EventBody::UserRequest { request, expires_ms, .. } => {
                format!("v{} {} until {}", event.version, self.of(request.0), time(*expires_ms))
            }
            EventBody::Place { ticket, user, status, .. } => {
                format!(
                    "v{} {} for {}, {}",
                    event.version,
                    self.of(user.0),
                    self.of(ticket.0),
                    self.place_status(status)
                )
            }
        };
        format!("{} {} {body}", event.event_type.name(), self.of(event.entity)).trim_end().into()
    }

    fn holding(&self, holding: &Holding) -> String {
        match holding {
            Holding::Free => "free".into(),
            Holding::Locked { order } => format!("locked by {}", self.of(order.0)),
            Holding::Sold { order } => format!("sold to {}", self.of(order.0)),
            Holding::Offered { user, deadline_ms, .. } => {
                format!("offered to {} until {}", self.of(user.0), time(*deadline_ms))
            }
        }
    }

    fn order_line(
        &self,
        user: String,
        status: &OrderStatus,
        lines: Vec<(String, u64)>,
        currency: Currency,
        deadline_ms: u64,
    ) -> String {
        let status = match status {
            OrderStatus::Created => format!("created until {}", time(deadline_ms)),
            OrderStatus::AwaitingPayment => format!("awaiting:payment until {}", time(deadline_ms)),
            OrderStatus::Complete => "complete".into(),
            OrderStatus::Cancelled(reason) => format!("cancelled ({})", words(reason)),
        };
        let lines: Vec<_> =
            lines.iter().map(|(ticket, minor)| format!("{ticket} {}", money(*minor, currency))).collect();
        format!("{user} {status}, {}", lines.join(", "))
    }

    /// The title of the ticket `id`; empty where there is none.
    pub fn title(&self, store: &impl Read, id: Id) -> Fallible<String> {
        let row = store.get(Table::Tickets, id.as_bytes())?;
        Ok(row.map(|row| codec::decode::<Ticket>(&row)).transpose()?.map_or_else(String::new, |ticket| ticket.title))
    }

    /// What the ledger holds of the entity called `name`.
    pub fn show(&self, store: &impl Read, name: &str) -> Fallible<String> {
        let id = self.id(name)?;
        let row = |table| store.get(table, id.as_bytes());
        let told = if let Some(row) = row(Table::Tickets)? {
            self.ticket(&codec::decode(&row)?)
        } else if let Some(row) = row(Table::Orders)? {
            self.order(&codec::decode(&row)?)
        } else if let Some(row) = row(Table::Payments)? {
            self.payment(&codec::decode(&row)?)
        } else if let Some(row) = row(Table::Places)? {
            let place: Place = codec::decode(&row)?;
            let status = self.place_status(&place.status);
            format!("v{} {} for {}, {status}", place.version, self.of(place.user.0), self.of(place.ticket.0))
        } else if let Some(row) = row(Table::Users)? {
            self.user(&codec::decode(&row)?)
        } else {
            "is nowhere".into()
        };
        Ok(format!("{name} {told}"))
    }

    fn ticket(&self, ticket: &Ticket) -> String {
        let mut told = format!(
            "v{} {:?} of {}, {} since v{}, {}",
            ticket.version,
            ticket.title,
            self.of(ticket.seller.0),
            money(ticket.price_minor, ticket.currency),
            ticket.price_version,
            self.holding(&ticket.holding),
        );
        told += &optional(", next price", ticket.price_next_minor.map(|minor| money(minor, ticket.currency)));
        told += if ticket.withdrawn { ", withdrawn" } else { "" };
        told += &optional(", waiting", (ticket.waiting > 0).then_some(ticket.waiting));
        told += &optional(", watchers", (ticket.watchers > 0).then_some(ticket.watchers));
        told += if ticket.closing { ", line closing" } else { "" };
        told += if ticket.withdraw_at_release { ", to be withdrawn at release" } else { "" };
        told += &optional(", seat", ticket.details.seat.as_ref());
        told + &optional(", sale ends", ticket.details.sale_ends_ms.map(time))
    }

    fn order(&self, order: &Order) -> String {
        let lines = order.lines.iter().map(|line| (self.of(line.ticket.0), line.price_minor)).collect();
        let told = self.order_line(self.of(order.user.0), &order.status, lines, order.currency, order.deadline_ms);
        let payments: Vec<_> = order.payments.iter().map(|payment| self.of(payment.0)).collect();
        let payments = if payments.is_empty() { String::new() } else { format!(", payments {}", payments.join(" ")) };
        format!("v{} {told}{payments}", order.version)
    }

    fn payment(&self, payment: &Payment) -> String {
        format!(
            "v{} for {}, attempt {}, {}{} {}, token {}{}{}{}",
            payment.version,
            self.of(payment.order.0),
            payment.attempt,
            words(payment.status),
            optional("next", payment.next.map(words)),
            money(payment.amount_minor, payment.currency),
            payment.token.as_deref().unwrap_or("erased"),
            optional(", intent", payment.intent_id.as_ref()),
            optional(", asked at", payment.action_url.as_ref()),
            optional(", failure", payment.failure.as_ref()),
        )
    }

    fn place_status(&self, status: &PlaceStatus) -> String {
        match status {
            PlaceStatus::Offered { deadline_ms } => format!("offered until {}", time(*deadline_ms)),
            PlaceStatus::Taken { order } => format!("taken by {}", self.of(order.0)),
            PlaceStatus::Left(reason) => format!("left ({})", words(reason)),
            other => words(other),
        }
    }

    fn user(&self, user: &User) -> String {
        let mut told =
            format!("v{} epoch {}, sessions {}, locks {}", user.version, user.epoch, user.sessions, user.locks_live);
        let mut say = |said: bool, what: String| told += if said { &what } else { "" };
        say(user.expiries_in_row > 0, format!(", {} locks ran out in a row", user.expiries_in_row));
        say(user.cooldown_until_ms > 0, format!(", cools down until {}", time(user.cooldown_until_ms)));
        say(user.banned, ", banned".into());
        say(user.erased, ", erased".into());
        say(user.verified, ", verified".into());
        say(user.requests > 0, format!(", requests {}", user.requests));
        say(user.watches > 0, format!(", watches {}", user.watches));
        say(user.places > 0, format!(", places {}", user.places));
        told
    }

    /// Why the entity called `name` is as it is: one line a change.
    pub fn history(&self, store: &impl Read, name: &str) -> Fallible<String> {
        let id = self.id(name)?;
        let prefix = id.as_bytes();
        let rows =
            store.range(Table::History, prefix, prefix_end(prefix).as_deref(), store::Order::Ascending, usize::MAX)?;
        let mut told = String::new();
        for (key, row) in rows {
            let change: Change = codec::decode(&row)?;
            let version = u64::from_be_bytes(key[prefix.len()..].try_into()?);
            let order = optional("for", change.order.map(|order| self.of(order.0)));
            writeln!(told, "v{version} {} {}{order}", time(change.time_ms), change.event_type.name())?;
        }
        Ok(told)
    }

    /// The tickets that can be bought now.
    pub fn available(&self, store: &impl Read) -> Fallible<String> {
        self.keys(store, Table::TicketsAvailable)
    }

    /// The payments for which the payments service has something to do.
    pub fn open_payments(&self, store: &impl Read) -> Fallible<String> {
        self.keys(store, Table::PaymentsOpen)
    }

    /// What operators did: one line a row.
    pub fn audit(&self, store: &impl Read) -> Fallible<String> {
        let mut told = String::new();
        for (key, row) in store.range(Table::Audit, &[], None, store::Order::Ascending, usize::MAX)? {
            let row: AuditRow = codec::decode(&row)?;
            let actor = match row.actor {
                AuditActor::Cluster => "the cluster".into(),
                AuditActor::User(user) => self.of(user.0),
                AuditActor::Service(service) => words(service),
                AuditActor::Certificate(hash) => format!("certificate {:02x}", hash[0]),
            };
            let subject = match &row.subject {
                AuditSubject::Cluster => "the cluster".into(),
                AuditSubject::User(user) => self.of(user.0),
                AuditSubject::Order(order) => self.of(order.0),
                AuditSubject::Webhook(webhook) => self.of(webhook.0),
                AuditSubject::Key(key_id) => key_id.clone(),
                AuditSubject::Node(node) => format!("node {node}"),
            };
            let seq = u64::from_be_bytes(key[..].try_into()?);
            writeln!(told, "{seq} {} {actor}: {} {subject}", time(row.time_ms), row.action.name())?;
        }
        Ok(told)
    }

    fn keys(&self, store: &impl Read, table: Table) -> Fallible<String> {
        let mut names = Vec::new();
        for (key, _) in store.range(table, &[], None, store::Order::Ascending, usize::MAX)? {
            names.push(self.of(Id::from_bytes(key[..].try_into()?)));
        }
        Ok(if names.is_empty() { "none".into() } else { names.join(" ") })
    }
}

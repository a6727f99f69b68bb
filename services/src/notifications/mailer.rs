//! From an event to its mails: who is to be told, what the letter needs to say, and the post.

use std::sync::Arc;

use holdfast_events::consumer::Trouble;
use holdfast_events::wire::{Message, Price, Time};
use holdfast_ledger::id::{OrderId, RequestId, TicketId, UserId};
use holdfast_ledger::money::Currency;
use serde::Deserialize;
use serde_json::json;

use super::found;
use super::letter::{About, Letter, Line};
use super::mail::{Mail, Sender};
use super::occasion::{self, Occasion};
use super::post::{Post, Undelivered};
use super::sent::{Known, SentLog};
use super::text::{money, when};
use crate::client::Signed;

/// Writes and posts mails.
pub(super) struct Mailer {
    pub(super) api: Signed,
    pub(super) post: Arc<dyn Post>,
    pub(super) sent: SentLog,
    pub(super) public_url: String,
    pub(super) sender: Sender,
}

/// As much of an order as a letter says.
#[derive(Deserialize)]
struct OrderView {
    tickets: Vec<LineView>,
    total: Price,
    currency: Currency,
}

#[derive(Deserialize)]
struct LineView {
    title: String,
    price: Price,
}

#[derive(Deserialize)]
struct TicketView {
    title: String,
    price: Price,
    currency: Currency,
}

#[derive(Deserialize)]
struct ContactView {
    email: Option<String>,
    banned: bool,
    erased: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LinkView {
    purpose: String,
    url: String,
    expires_at: Time,
}

impl Mailer {
    /// Writes to whom the event concerns.
    pub(super) async fn handle(&self, message: &Message) -> Result<(), Trouble> {
        let Some(occasion) = occasion::of(message) else { return Ok(()) };
        let envelope = &message.envelope;
        let about = About { entity: envelope.entity, version: envelope.version, time_ms: envelope.time_ms };
        match occasion {
            Occasion::PriceChanged { ticket, title, price } => {
                self.tell_watchers(about, ticket, &Line { title, price }).await
            }
            Occasion::Link { user, request } => self.send_link(about, user, request).await,
            Occasion::Offered { ticket, user, until } => {
                let Some(view) = found(self.api.get::<TicketView>(&format!("/api/tickets/{ticket}")).await)? else {
                    return Ok(());
                };
                let line = Line { title: view.title, price: money(view.price, view.currency) };
                self.send(user, &Letter::offer(about, &self.public_url, ticket, line, &when(until.ms))).await
            }
            Occasion::Locked { order, user, until } => {
                let Some((lines, _)) = self.order(order).await? else { return Ok(()) };
                self.send(user, &Letter::locked(about, &self.public_url, order, lines, &when(until.ms))).await
            }
            Occasion::Confirmed { order, user } => {
                let Some((lines, _)) = self.order(order).await? else { return Ok(()) };
                self.send(user, &Letter::confirmed(about, &self.public_url, order, lines)).await
            }
            Occasion::Expired { order, user } => {
                let Some((lines, _)) = self.order(order).await? else { return Ok(()) };
                self.send(user, &Letter::expired(about, &self.public_url, order, lines)).await
            }
            Occasion::Refunded { order, user } => {
                let Some((lines, total)) = self.order(order).await? else { return Ok(()) };
                self.send(user, &Letter::refunded(about, &self.public_url, order, lines, &total)).await
            }
        }
    }

    /// What an order lists, and its total. Both are as they were locked: they never change.
    async fn order(&self, order: OrderId) -> Result<Option<(Vec<Line>, String)>, Trouble> {
        let Some(view) = found(self.api.get::<OrderView>(&format!("/api/services/orders/{order}")).await)? else {
            return Ok(None);
        };
        let line = |line: LineView| Line { title: line.title, price: money(line.price, view.currency) };
        Ok(Some((view.tickets.into_iter().map(line).collect(), money(view.total, view.currency))))
    }

    /// One mail to each watcher. One that fails for now makes the event come again; those who have theirs are then passed over.
    async fn tell_watchers(&self, about: About, ticket: TicketId, line: &Line) -> Result<(), Trouble> {
        let path = format!("/api/services/tickets/{ticket}/watchers");
        let (mut cursor, mut failed) = (None::<String>, Ok(()));
        loop {
            let page = found(self.api.page::<UserId>(&path, cursor.as_deref()).await)?;
            let Some((watchers, next)) = page else { return Ok(()) };
            for user_id in watchers {
                let letter = Letter::price_changed(about, &self.public_url, ticket, user_id, line.clone());
                failed = failed.and(self.send(user_id, &letter).await);
            }
            match next {
                Some(next) => cursor = Some(next),
                None => return failed,
            }
        }
    }

    /// The link is made by a node, at this moment; a request that is used or over has none.
    async fn send_link(&self, about: About, user: UserId, request: RequestId) -> Result<(), Trouble> {
        let path = format!("/api/services/users/{user}/link");
        let Some(link) = found(self.api.post::<LinkView>(&path, &json!({ "request": request })).await)? else {
            return Ok(());
        };
        let until = when(link.expires_at.ms);
        let letter = match link.purpose.as_str() {
            "reset" => Letter::reset(about, link.url, &until),
            "verify" => Letter::verification(about, link.url, &until),
            other => return Err(Trouble::Failed(format!("no letter is known for a link of the purpose {other:?}"))),
        };
        self.send(user, &letter).await
    }

    /// Posts the letter to its reader, once. Who is banned or gone is not written to.
    async fn send(&self, reader: UserId, letter: &Letter) -> Result<(), Trouble> {
        let sending = match self.sent.begin(&letter.name) {
            Known::Sent => return Ok(()),
            Known::Busy => return Err(Trouble::Away("it is being sent".into())),
            Known::New(sending) => sending,
        };
        let contact = self.api.get::<ContactView>(&format!("/api/services/users/{reader}/contact")).await;
        let mail = match found(contact)? {
            Some(ContactView { email: Some(email), banned: false, erased: false }) => {
                Mail::write(letter, &self.sender, &email).ok()
            }
            _ => None,
        };
        let Some(mail) = mail else {
            count(letter, "no_reader");
            return Ok(());
        };
        match self.post.deliver(&mail).await {
            Ok(()) => count(letter, "sent"),
            // Said once and for all: asking again would bring the same answer.
            Err(Undelivered::Never(why)) => {
                tracing::warn!("mail {}: refused: {why}", letter.name);
                count(letter, "refused");
            }
            Err(Undelivered::Later(why)) => {
                count(letter, "later");
                return Err(Trouble::Away(why));
            }
        }
        sending.done().map_err(|error| Trouble::Away(error.to_string()))
    }
}

fn count(letter: &Letter, outcome: &'static str) {
    let template = letter.template.name();
    metrics::counter!("holdfast_mails_total", "template" => template, "outcome" => outcome).increment(1);
}

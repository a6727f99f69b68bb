//! One ticket, as buyers see it: its price, its state, and what can be done about it.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::encoded;
use super::chrome::{Chrome, ok, page};
use super::form::{Form, Sheet, fresh_key};
use super::home::read_or_stale;
use super::money::Amount;
use super::problem::Problem;
use super::views::{Change, Order, Place, Ticket};
use super::visit::{Visit, go};

#[derive(Template)]
#[template(path = "ticket.html")]
struct TicketPage {
    chrome: Chrome,
    ticket: Ticket,
    /// What could not be done.
    alert: String,
    /// What was done.
    notice: &'static str,
    key: String,
    mine: bool,
    signed_in: bool,
    /// The visitor's own order that holds or has bought it.
    order: Option<Order>,
    place: Option<Place>,
    watching: bool,
    history: Vec<Change>,
    /// The form for the next price, as it was typed.
    sheet: Sheet,
}

#[derive(Deserialize)]
struct Watching {
    watching: bool,
}

/// `GET /tickets/{id}`
pub async fn show(visit: Visit, Path(id): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let notice = match uri.query() {
        Some("done=created") => "Your ticket is on sale.",
        Some("done=saved") => "Your changes are saved.",
        Some("done=joined") => "You are in line.",
        Some("done=left") => "You have left the line.",
        Some("done=watching") => "We will mail you when the price changes.",
        Some("done=unwatched") => "You will hear no more of this ticket's price.",
        Some("done=withdrawn") => "The ticket is off sale, or will be as soon as nobody holds it.",
        Some("done=price") => "The new price is set.",
        _ => "",
    };
    ok(&found(&visit, &id, String::new(), notice).await?)
}

async fn found(visit: &Visit, id: &str, alert: String, notice: &'static str) -> Result<TicketPage, Problem> {
    let path = format!("/api/tickets/{}", encoded(id));
    let (ticket, paused) = read_or_stale(&visit.api, &path, &[]).await;
    let ticket: Ticket = ticket?.json()?;
    let freshness = if paused { "?consistency=stale" } else { "" };
    // The rest adds to the page; without it the page is still true.
    let history = visit.api.get(format!("{path}/history{freshness}")).json().await.unwrap_or_default();
    let signed_in = visit.viewer.is_some();
    let mine = visit.viewer.as_ref().is_some_and(|viewer| viewer.id == ticket.user_id);
    let (mut order, mut place, mut watching) = (None, None, false);
    if signed_in && !mine {
        if let Some(order_id) = &ticket.order_id {
            order = visit.api.get(format!("/api/orders/{}{freshness}", encoded(order_id))).json().await.ok();
        }
        let found = visit.api.get(format!("{path}/line{freshness}")).json::<Place>().await.ok();
        place = found.filter(|place| !place.is("none"));
        let found = visit.api.get(format!("{path}/watch{freshness}")).json::<Watching>().await;
        watching = found.is_ok_and(|found| found.watching);
    }
    let chrome = Chrome::new(visit, "home").paused(paused);
    let key = fresh_key();
    let sheet = Sheet::default();
    Ok(TicketPage { chrome, ticket, alert, notice, key, mine, signed_in, order, place, watching, history, sheet })
}

#[derive(Template)]
#[template(path = "price_changed.html")]
struct PriceChangedPage {
    chrome: Chrome,
    ticket_id: String,
    title: String,
    old: String,
    new: String,
    new_plain: String,
    key: String,
}

/// `POST /tickets/{id}/buy`: locks the ticket at the price that was shown.
pub async fn buy(visit: Visit, Path(id): Path<String>, form: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let body = json!({ "ticketId": id, "price": form.get("price") });
    let problem = match visit.api.post("/api/orders", body).once(form.get("key")).send().await {
        Ok(answer) => return Ok(go(&format!("/orders/{}", answer.json::<Order>()?.id))),
        Err(problem) => problem,
    };
    match problem.code() {
        "ticket_reserved_by_you" => {
            let order = problem.member("orderId").unwrap_or_default();
            Ok(go(&format!("/orders/{}", encoded(&order))))
        }
        "price_changed" => price_changed(&visit, &id, &form, &problem).await,
        _ if problem.is_mendable() => {
            let lost = found(&visit, &id, refusal_words(&problem), "").await?;
            page(problem.status, &lost)
        }
        _ => Err(problem),
    }
}

/// Why a ticket could not be locked, in words.
fn refusal_words(problem: &Problem) -> String {
    match problem.code() {
        "ticket_reserved" => "Another buyer was a moment faster.".into(),
        "ticket_sold" => "This ticket has just been sold.".into(),
        "too_many_locks" => "You hold as many tickets as you may. Pay for one or give one back first.".into(),
        _ => format!("{}.", problem.message().trim_end_matches('.')),
    }
}

/// The question whether the new price is good as well.
async fn price_changed(visit: &Visit, id: &str, form: &Form, problem: &Problem) -> Result<Response, Problem> {
    let ticket: Ticket = visit.api.get(format!("/api/tickets/{}", encoded(id))).json().await?;
    let amount = |name: &str| -> Option<Amount> { serde_json::from_str(&problem.member(name)?).ok() };
    let new = amount("price").unwrap_or_else(|| ticket.price.clone());
    let old = amount("seenPrice").map_or_else(|| form.get("price").to_string(), |old| old.shown(&ticket.currency));
    let page_ = PriceChangedPage {
        chrome: Chrome::new(visit, "home"),
        ticket_id: id.to_string(),
        old,
        new: new.shown(&ticket.currency),
        new_plain: new.plain(&ticket.currency),
        title: ticket.title,
        key: fresh_key(),
    };
    page(StatusCode::CONFLICT, &page_)
}

/// `POST /tickets/{id}/join`: a place in the line.
pub async fn join(visit: Visit, Path(id): Path<String>, _: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let joined = visit.api.post(format!("/api/tickets/{}/line", encoded(&id)), json!({})).send().await;
    settled(&visit, &id, joined.map(|_| "joined")).await
}

/// `POST /tickets/{id}/leave`
pub async fn leave(visit: Visit, Path(id): Path<String>, _: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let left = visit.api.delete(format!("/api/tickets/{}/line", encoded(&id))).send().await;
    settled(&visit, &id, left.map(|_| "left")).await
}

/// `POST /tickets/{id}/watch`: a mail when the price changes.
pub async fn watch(visit: Visit, Path(id): Path<String>, _: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let watched = visit.api.post(format!("/api/tickets/{}/watch", encoded(&id)), Value::Null).send().await;
    settled(&visit, &id, watched.map(|_| "watching")).await
}

/// `POST /tickets/{id}/unwatch`
pub async fn unwatch(visit: Visit, Path(id): Path<String>, _: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let unwatched = visit.api.delete(format!("/api/tickets/{}/watch", encoded(&id))).send().await;
    settled(&visit, &id, unwatched.map(|_| "unwatched")).await
}

/// Back to the ticket: with what was done, or with why it was not.
pub async fn settled(visit: &Visit, id: &str, done: Result<&str, Problem>) -> Result<Response, Problem> {
    match done {
        Ok(done) => Ok(go(&format!("/tickets/{}?done={done}", encoded(id)))),
        Err(problem) if problem.is_mendable() => {
            let shown = found(visit, id, refusal_words(&problem), "").await?;
            page(problem.status, &shown)
        }
        Err(problem) => Err(problem),
    }
}

/// The ticket's page after a next price that is none: what is wrong stands beside its field.
pub async fn refused_price(visit: &Visit, id: &str, form: &Form, problem: &Problem) -> Result<Response, Problem> {
    let mut shown = found(visit, id, String::new(), "").await?;
    shown.sheet = form.refused(problem);
    shown.alert = shown.sheet.errors_beside(&["price"]).first().map(|error| error.to_string()).unwrap_or_default();
    page(problem.status, &shown)
}

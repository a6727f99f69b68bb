//! The seller's side: putting tickets on sale, changing them, and what has been sold.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::{encoded, query};
use super::chrome::{Chrome, ok, page};
use super::form::{Form, Sheet, fresh_key};
use super::home::read_or_stale;
use super::money::Amount;
use super::orders::cursor_of;
use super::problem::Problem;
use super::tickets::{refused_price, settled};
use super::views::Ticket;
use super::visit::{Visit, go, sign_in_to};
use super::when::{Moment, of_input};

/// Rows of one page.
const ROWS: &str = "50";
/// Fields that are optional texts of a ticket.
const TEXTS: [&str; 5] = ["eventName", "venue", "section", "row", "seat"];
/// Fields that are optional times of a ticket.
const TIMES: [&str; 2] = ["startsAt", "saleEndsAt"];
/// Fields that the form of a ticket shows.
const FIELDS: [&str; 10] =
    ["title", "price", "currency", "eventName", "venue", "section", "row", "seat", "startsAt", "saleEndsAt"];

#[derive(Template)]
#[template(path = "listings.html")]
struct ListingsPage {
    chrome: Chrome,
    tickets: Vec<Ticket>,
    next: Option<String>,
    further: bool,
    notice: String,
}

/// `GET /sell`: the visitor's own tickets, whatever their state.
pub async fn listings(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    visit.signed_in()?;
    let cursor = cursor_of(&uri);
    let asked = [("seller", "me"), ("limit", ROWS), ("cursor", &cursor)];
    let (answer, paused) = read_or_stale(&visit.api, "/api/tickets", &asked).await;
    let answer = answer?;
    let next = answer.next_cursor().map(|cursor| format!("/sell{}", query(&[("cursor", &cursor)])));
    let imported = uri.query().and_then(|query| query.strip_prefix("imported=")?.parse::<u32>().ok());
    let notice = imported.map(|count| format!("Tickets put on sale: {count}.")).unwrap_or_default();
    let (tickets, further) = (answer.json()?, !cursor.is_empty());
    let chrome = Chrome::new(&visit, "sell").paused(paused);
    ok(&ListingsPage { chrome, tickets, next, further, notice })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sale {
    ticket_id: String,
    title: String,
    price: Amount,
    currency: String,
    sold_at: Option<Moment>,
}

impl Sale {
    fn price(&self) -> String {
        self.price.shown(&self.currency)
    }
}

#[derive(Template)]
#[template(path = "sales.html")]
struct SalesPage {
    chrome: Chrome,
    sales: Vec<Sale>,
    next: Option<String>,
}

/// `GET /sell/sales`
pub async fn sales(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    visit.signed_in()?;
    let asked = query(&[("limit", ROWS), ("cursor", &cursor_of(&uri))]);
    let answer = visit.api.get(format!("/api/sales{asked}")).send().await?;
    let next = answer.next_cursor().map(|cursor| format!("/sell/sales{}", query(&[("cursor", &cursor)])));
    ok(&SalesPage { chrome: Chrome::new(&visit, "sell"), sales: answer.json()?, next })
}

#[derive(Template)]
#[template(path = "ticket_form.html")]
struct TicketFormPage {
    chrome: Chrome,
    sheet: Sheet,
    key: String,
    /// The ticket that is edited; `None` for a new one.
    ticket: Option<Ticket>,
    version: String,
    /// What is wrong with no field of the form.
    alerts: Vec<String>,
    /// The visitor had to sign in between typing and sending.
    kept: bool,
}

impl TicketFormPage {
    fn new(visit: &Visit, sheet: Sheet, ticket: Option<Ticket>) -> TicketFormPage {
        let alerts = sheet.errors_beside(&FIELDS).into_iter().map(str::to_string).collect();
        let version = ticket.as_ref().map(|ticket| ticket.version.to_string()).unwrap_or_default();
        let chrome = Chrome::new(visit, if ticket.is_some() { "sell" } else { "new" });
        TicketFormPage { chrome, sheet, key: fresh_key(), ticket, version, alerts, kept: false }
    }
}

/// `GET /tickets/new`, with what was typed before where the visitor had to sign in meanwhile.
pub async fn new(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    visit.signed_in()?;
    let carried = Sheet::carried(&uri);
    let kept = carried.is_some();
    let sheet = carried.unwrap_or_else(|| Sheet::of(&[("currency", "USD")]));
    ok(&TicketFormPage { kept, ..TicketFormPage::new(&visit, sheet, None) })
}

/// `POST /tickets/new`
pub async fn create(visit: Visit, form: Form) -> Result<Response, Problem> {
    if visit.viewer.is_none() {
        return Ok(go(&sign_in_to(&form.carried_to(visit.page(), &FIELDS))));
    }
    let mut body = ticket_body(&form);
    body.insert("currency".into(), json!(form.get("currency")));
    match visit.api.post("/api/tickets", Value::Object(body)).once(form.get("key")).send().await {
        Ok(answer) => Ok(go(&format!("/tickets/{}?done=created", answer.json::<Ticket>()?.id))),
        Err(problem) if problem.is_mendable() => {
            page(problem.status, &TicketFormPage::new(&visit, form.refused(&problem), None))
        }
        Err(problem) => Err(problem),
    }
}

/// The members that a new and an edited ticket share. A field left empty is none, also where the ticket had one.
fn ticket_body(form: &Form) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("title".into(), json!(form.get("title")));
    body.insert("price".into(), json!(form.get("price").replace(',', "")));
    for name in TEXTS {
        body.insert(name.into(), given(form.get(name)).map_or(Value::Null, |text| json!(text)));
    }
    for name in TIMES {
        body.insert(name.into(), given(form.get(name)).map_or(Value::Null, |time| json!(of_input(time))));
    }
    body
}

/// What a field holds, if anything.
fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The visitor's own ticket.
async fn own(visit: &Visit, id: &str) -> Result<Ticket, Problem> {
    let viewer = visit.signed_in()?;
    let ticket: Ticket = visit.api.get(format!("/api/tickets/{}", encoded(id))).json().await?;
    if ticket.user_id == viewer.id { Ok(ticket) } else { Err(Problem::not_owner()) }
}

/// `GET /tickets/{id}/edit`
pub async fn edit(visit: Visit, Path(id): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let ticket = own(&visit, &id).await?;
    let carried = Sheet::carried(&uri);
    let kept = carried.is_some();
    let sheet = carried.unwrap_or_else(|| sheet_of(&ticket));
    ok(&TicketFormPage { kept, ..TicketFormPage::new(&visit, sheet, Some(ticket)) })
}

/// The form of a ticket as it is saved.
fn sheet_of(ticket: &Ticket) -> Sheet {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let time = |time: &Option<Moment>| time.as_ref().map(|time| time.input().to_string()).unwrap_or_default();
    Sheet::of(&[
        ("title", &ticket.title),
        ("price", &ticket.price.plain(&ticket.currency)),
        ("currency", &ticket.currency),
        ("eventName", &text(&ticket.event_name)),
        ("venue", &text(&ticket.venue)),
        ("section", &text(&ticket.section)),
        ("row", &text(&ticket.row)),
        ("seat", &text(&ticket.seat)),
        ("startsAt", &time(&ticket.starts_at)),
        ("saleEndsAt", &time(&ticket.sale_ends_at)),
    ])
}

/// `POST /tickets/{id}/edit`
pub async fn save(visit: Visit, Path(id): Path<String>, form: Form) -> Result<Response, Problem> {
    if visit.viewer.is_none() {
        return Ok(go(&sign_in_to(&form.carried_to(visit.page(), &FIELDS))));
    }
    let body = Value::Object(ticket_body(&form));
    let path = format!("/api/tickets/{}", encoded(&id));
    let saved = visit.api.put(path, body).matching(form.get("version")).once(form.get("key")).send().await;
    match saved {
        Ok(_) => Ok(go(&format!("/tickets/{}?done=saved", encoded(&id)))),
        Err(problem) if problem.is_mendable() => {
            let ticket = own(&visit, &id).await?;
            let mut sheet = form.refused(&problem);
            if problem.status == StatusCode::PRECONDITION_FAILED {
                sheet.complain_of_changes(&sheet_of(&ticket), &FIELDS);
            }
            page(problem.status, &TicketFormPage::new(&visit, sheet, Some(ticket)))
        }
        Err(problem) => Err(problem),
    }
}

/// `POST /tickets/{id}/price`: a price from the next release on; an empty field takes it back.
pub async fn schedule(visit: Visit, Path(id): Path<String>, form: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let price = form.get("price").replace(',', "");
    let body = if price.is_empty() { json!({ "price": null }) } else { json!({ "price": price }) };
    match visit.api.put(format!("/api/tickets/{}/next-price", encoded(&id)), body).send().await {
        Err(problem) if problem.is_mendable() => refused_price(&visit, &id, &form, &problem).await,
        done => settled(&visit, &id, done.map(|_| "price")).await,
    }
}

/// `POST /tickets/{id}/withdraw`
pub async fn withdraw(visit: Visit, Path(id): Path<String>, _: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let done = visit.api.delete(format!("/api/tickets/{}", encoded(&id))).send().await;
    settled(&visit, &id, done.map(|_| "withdrawn")).await
}

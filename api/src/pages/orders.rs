//! Orders: the lock with its countdown, paying, and the bought tickets.

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;

use super::api::{encoded, query};
use super::card::CardForm;
use super::chrome::{Chrome, ok, page};
use super::form::{Form, Sheet, fresh_key};
use super::home::read_or_stale;
use super::problem::Problem;
use super::views::{Bought, Change, Order, Payment, decline_words};
use super::visit::{Visit, go};

/// Orders of one page.
const ORDERS: &str = "25";

/// A card of the sandbox bank, to try with.
struct TestCard {
    token: &'static str,
    name: &'static str,
    does: &'static str,
}

const TEST_CARDS: [TestCard; 5] = [
    TestCard { token: "tok_visa", name: "Visa •••• 4242", does: "Pays" },
    TestCard { token: "tok_chargeDeclined", name: "Visa •••• 0002", does: "Is declined" },
    TestCard {
        token: "tok_chargeDeclinedInsufficientFunds",
        name: "Visa •••• 9995",
        does: "Has too little money on it",
    },
    TestCard { token: "tok_3ds", name: "Visa •••• 3155", does: "Asks you to confirm at the bank" },
    TestCard { token: "tok_slow", name: "Visa •••• 0077", does: "Pays, but the bank takes its time" },
];

#[derive(Template)]
#[template(path = "orders.html")]
struct OrdersPage {
    chrome: Chrome,
    orders: Vec<Order>,
    next: Option<String>,
}

/// `GET /orders`: the visitor's own, newest first.
pub async fn list(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    visit.signed_in()?;
    let cursor = cursor_of(&uri);
    let (answer, paused) = read_or_stale(&visit.api, "/api/orders", &[("limit", ORDERS), ("cursor", &cursor)]).await;
    let answer = answer?;
    let next = answer.next_cursor().map(|cursor| format!("/orders{}", query(&[("cursor", &cursor)])));
    ok(&OrdersPage { chrome: Chrome::new(&visit, "orders").paused(paused), orders: answer.json()?, next })
}

/// The `cursor` of a page's own query.
pub fn cursor_of(uri: &Uri) -> String {
    #[derive(Default, Deserialize)]
    struct Cursor {
        #[serde(default)]
        cursor: String,
    }
    Query::<Cursor>::try_from_uri(uri).map(|Query(found)| found.cursor).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage {
    chrome: Chrome,
    order: Order,
    payment: Option<Payment>,
    bought: Vec<Bought>,
    history: Vec<Change>,
    sheet: Sheet,
    alert: String,
    notice: &'static str,
    cards: &'static [TestCard],
    /// The provider's own form in their place.
    card_form: Option<CardForm>,
    key: String,
    /// Seconds after which the page is asked for again, for browsers without our script.
    refresh_s: Option<u64>,
}

impl OrderPage {
    /// Why the bank said no to the last attempt.
    fn decline(&self) -> &'static str {
        self.payment.as_ref().filter(|payment| payment.is("declined")).map_or("", Payment::reason)
    }

    /// Where the buyer confirms the payment at his bank.
    fn bank_page(&self) -> Option<&str> {
        self.payment.as_ref().and_then(|payment| payment.next_action.as_ref()).map(|action| action.url.as_str())
    }
}

/// `GET /orders/{id}`
pub async fn show(visit: Visit, Path(id): Path<String>, uri: Uri) -> Result<Response, Problem> {
    let notice = match uri.query() {
        Some("done=extended") => "You have more time.",
        Some("done=cancelled") => "The tickets are given back. Nothing was charged.",
        _ => "",
    };
    shown(StatusCode::OK, &found(&visit, &id, notice).await?)
}

/// The order's page; with the provider's form in it, it may load that.
fn shown(status: StatusCode, order: &OrderPage) -> Result<Response, Problem> {
    let mut response = page(status, order)?;
    if let Some(card_form) = order.card_form.as_ref().filter(|_| order.order.is_payable()) {
        response.extensions_mut().insert(card_form.policy());
    }
    Ok(response)
}

async fn found(visit: &Visit, id: &str, notice: &'static str) -> Result<OrderPage, Problem> {
    visit.signed_in()?;
    let path = format!("/api/orders/{}", encoded(id));
    let (order, paused) = read_or_stale(&visit.api, &path, &[]).await;
    let order: Order = order?.json()?;
    let freshness = if paused { "?consistency=stale" } else { "" };
    // The rest adds to the page; without it the page is still true.
    let payment = match &order.payment_id {
        Some(payment) => visit.api.get(format!("/api/payments/{}{freshness}", encoded(payment))).json().await.ok(),
        None => None,
    };
    let bought = match order.is("complete") {
        true => visit.api.get(format!("{path}/tickets{freshness}")).json().await.unwrap_or_default(),
        false => Vec::new(),
    };
    let history = visit.api.get(format!("{path}/history{freshness}")).json().await.unwrap_or_default();
    let refresh_s = match order.status.as_str() {
        "created" if order.expires_in_seconds > 0 => Some(order.expires_in_seconds + 1),
        "awaiting:payment" => Some(2),
        _ => None,
    };
    Ok(OrderPage {
        chrome: Chrome::new(visit, "orders").paused(paused),
        order,
        payment,
        bought,
        history,
        sheet: Sheet::of(&[("token", TEST_CARDS[0].token)]),
        alert: String::new(),
        notice,
        cards: &TEST_CARDS,
        card_form: visit.card_form.clone(),
        key: fresh_key(),
        refresh_s,
    })
}

/// `POST /orders/{id}/pay`: whatever the bank says is shown by the order's page.
pub async fn pay(visit: Visit, Path(id): Path<String>, form: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let body = json!({ "orderId": id, "token": form.get("token") });
    let here = format!("/orders/{}", encoded(&id));
    match visit.api.post("/api/payments", body).once(form.get("key")).send().await {
        Ok(_) => Ok(go(&here)),
        Err(problem) if problem.status == StatusCode::PAYMENT_REQUIRED => declined(&visit, &id, &problem).await,
        Err(problem) if problem.is_mendable() => {
            let mut order = found(&visit, &id, "").await?;
            // What has happened to the order in between is said by the order itself.
            if order.order.is_payable() {
                order.alert = problem.message().to_string();
                order.sheet = form.refused(&problem);
            }
            shown(problem.status, &order)
        }
        Err(problem) => Err(problem),
    }
}

/// The order's page after the bank said no.
async fn declined(visit: &Visit, id: &str, problem: &Problem) -> Result<Response, Problem> {
    let mut order = found(visit, id, "").await?;
    if order.decline().is_empty() {
        let code = problem.member("declineCode").unwrap_or_default();
        order.alert = format!("The payment was declined. {}", decline_words(&code));
    }
    shown(problem.status, &order)
}

/// `POST /orders/{id}/extend`
pub async fn extend(visit: Visit, Path(id): Path<String>, form: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let path = format!("/api/orders/{}/extend", encoded(&id));
    let done = visit.api.post(path, json!({})).once(form.get("key")).send().await;
    settled(&visit, &id, done.map(|_| "extended")).await
}

/// `POST /orders/{id}/cancel`
pub async fn cancel(visit: Visit, Path(id): Path<String>, _: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let done = visit.api.delete(format!("/api/orders/{}", encoded(&id))).send().await;
    settled(&visit, &id, done.map(|_| "cancelled")).await
}

async fn settled(visit: &Visit, id: &str, done: Result<&str, Problem>) -> Result<Response, Problem> {
    match done {
        Ok(done) => Ok(go(&format!("/orders/{}?done={done}", encoded(id)))),
        Err(problem) if problem.is_mendable() => {
            let mut order = found(visit, id, "").await?;
            order.alert = problem.message().to_string();
            shown(problem.status, &order)
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Template)]
#[template(path = "pass.html")]
struct PassPage {
    chrome: Chrome,
    order_id: String,
    ticket: Bought,
}

/// `GET /orders/{id}/tickets/{ticket}`: one bought ticket, for the printer.
pub async fn pass(visit: Visit, Path((id, ticket)): Path<(String, String)>) -> Result<Response, Problem> {
    visit.signed_in()?;
    let bought: Vec<Bought> = visit.api.get(format!("/api/orders/{}/tickets", encoded(&id))).json().await?;
    let ticket = bought.into_iter().find(|bought| bought.ticket_id == ticket).ok_or_else(Problem::no_page)?;
    ok(&PassPage { chrome: Chrome::new(&visit, "orders"), order_id: id, ticket })
}

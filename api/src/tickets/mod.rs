//! Tickets: what is for sale, and what a seller may do with his own.

mod body;
mod list;
mod view;

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::command::{Command, NewTicket};
use holdfast_ledger::entities::Ticket;
use holdfast_ledger::id::TicketId;
use holdfast_ledger::limits::BULK_TICKETS_MAX;
use holdfast_ledger::outcome::Reply;
use holdfast_ledger::query;
use holdfast_ledger::store::StoreError;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::body::{BAD_PRICE, BAD_PRICE_EDIT, TicketBody};
pub use self::view::{TicketView, held_until_ms, status_name};
use crate::app::{App, Done, Ledger};
use crate::body::{BULK_BODY_BYTES_MAX, JsonBody};
use crate::error::{Complaint, Fault, complaint};
use crate::fields::{Complaints, path_id};
use crate::headers::{IDEMPOTENCY_REPLAYED, etag, if_match, json, not_modified};
use crate::history;
use crate::idempotency;
use crate::openapi::{EntityId, IdempotencyParam, IfMatchParam, IfNoneMatchParam, NextPrice, Problem};
use crate::router::{Fresh, PathText, QueryOf, ReadQuery};
use crate::session::Caller;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list::list, create))
        .routes(routes!(create_many))
        .routes(routes!(show, edit, withdraw))
        .routes(routes!(schedule_price))
        .routes(routes!(history::of_ticket))
}

/// `POST /api/tickets`: a ticket for sale.
#[utoipa::path(
    post, path = "/api/tickets", tag = "tickets", security(("session" = [])), params(IdempotencyParam),
    request_body = TicketBody,
    responses((status = 201, description = "Created", body = TicketView))
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Fault> {
    let ticket = body.parse::<TicketBody>()?.new_ticket().map_err(Complaints::into_fault)?;
    let command = Command::CreateTicket(ticket);
    let done = idempotency::once(&app, &caller, &headers, command).await??;
    answer(&app, StatusCode::CREATED, &done).await
}

/// One line of a bulk answer.
#[derive(Serialize, ToSchema)]
#[schema(as = BulkLine)]
#[serde(untagged)]
enum Line {
    Created {
        #[schema(value_type = EntityId)]
        id: TicketId,
        /// `false`: it was there already, under the same external id.
        created: bool,
    },
    Refused {
        errors: Vec<Complaint>,
    },
    /// It was only checked, and its shape is good.
    Good {
        checked: bool,
    },
}

/// Whether a bulk creation is only tried.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BulkQuery {
    /// `true`: says what is wrong with each line, and creates nothing.
    check: Option<bool>,
}

/// `POST /api/tickets/bulk`: an array of tickets, each with its own result, in the same order.
#[utoipa::path(
    post, path = "/api/tickets/bulk", tag = "tickets", security(("session" = [])), params(IdempotencyParam, BulkQuery),
    request_body = Vec<TicketBody>,
    responses((status = 200, description = "A result for each ticket, in the same order", body = Vec<Line>))
)]
pub async fn create_many(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    QueryOf(query): QueryOf<BulkQuery>,
    body: JsonBody<BULK_BODY_BYTES_MAX>,
) -> Result<Response, Fault> {
    let rows: Vec<&RawValue> = body.parse_array()?;
    if rows.len() > BULK_TICKETS_MAX {
        let message = format!("At most {BULK_TICKETS_MAX} tickets at once");
        return Err(Fault::bad_field("tickets", "too_many_tickets", message));
    }
    let read: Vec<Result<NewTicket, Complaints>> = rows.iter().map(|row| new_ticket_of(row)).collect();
    if query.check == Some(true) {
        let lines = read.into_iter().map(|ticket| match ticket {
            Ok(_) => Line::Good { checked: true },
            Err(complaints) => Line::Refused { errors: complaints.into_vec() },
        });
        return Ok(json(StatusCode::OK, &lines.collect::<Vec<_>>(), app.node.status().applied_index));
    }
    let good: Vec<NewTicket> = read.iter().filter_map(|ticket| ticket.as_ref().ok().cloned()).collect();
    let command = Command::CreateTickets(good);
    let done = idempotency::once(&app, &caller, &headers, command).await??;
    let Reply::Tickets(results) = done.reply else { unreachable!("a bulk creation is answered line by line") };
    let mut results = results.into_iter();
    let lines = read.into_iter().map(|ticket| match ticket {
        Err(complaints) => Line::Refused { errors: complaints.into_vec() },
        Ok(_) => match results.next().expect("every ticket that was sent has a result") {
            Ok((id, created)) => Line::Created { id, created },
            Err(refusal) => Line::Refused { errors: vec![complaint(&refusal)] },
        },
    });
    Ok(json(StatusCode::OK, &lines.collect::<Vec<_>>(), done.decided_at))
}

fn new_ticket_of(row: &RawValue) -> Result<NewTicket, Complaints> {
    let body = row.get().starts_with('{').then(|| serde_json::from_str::<TicketBody>(row.get()).ok()).flatten();
    body.ok_or_else(|| Complaints::one(Complaint::new("malformed_json", "A ticket must be a JSON object")))?
        .new_ticket()
}

/// `PUT /api/tickets/:id`: another title or price. Details are left as they are where none is given; otherwise those that are
/// left out or `null` are gone.
#[utoipa::path(
    put, path = "/api/tickets/{id}", tag = "tickets", security(("session" = [])),
    params(IdempotencyParam, IfMatchParam), request_body = TicketBody,
    responses(
        (status = 200, description = "Done", body = TicketView),
        (status = 412, description = "Changed meanwhile", body = Problem),
    )
)]
pub async fn edit(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Fault> {
    let (title, price, details) = {
        let body: TicketBody = body.parse()?;
        let mut complaints = Complaints::default();
        let title = body.title(&mut complaints);
        let price = body.price(None, BAD_PRICE_EDIT, &mut complaints);
        let details = body.details(&mut complaints);
        let (title, price) = complaints.settle(title.zip(price))?;
        (title, price, details)
    };
    let ticket = path_id(&id, "id")?;
    let command = Command::EditTicket { ticket, title, price, version: if_match(&headers)?, details };
    let done = idempotency::once(&app, &caller, &headers, command).await??;
    answer(&app, StatusCode::OK, &done).await
}

/// `PUT /api/tickets/:id/next-price` `{price}`: a price from the next release on, at once where nobody holds the ticket.
/// `{"price": null}` takes it back.
#[utoipa::path(
    put, path = "/api/tickets/{id}/next-price", tag = "tickets", security(("session" = [])),
    params(IdempotencyParam), request_body = NextPrice,
    responses((status = 200, description = "Done", body = TicketView))
)]
pub async fn schedule_price(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Fault> {
    let price = {
        let body: TicketBody = body.parse()?;
        let mut complaints = Complaints::default();
        let price = body.price.is_some().then(|| body.price(None, BAD_PRICE, &mut complaints)).flatten();
        complaints.settle(Some(price))?
    };
    let ticket = path_id(&id, "id")?;
    let command = Command::SchedulePrice { ticket, price };
    let done = idempotency::once(&app, &caller, &headers, command).await??;
    ticket_answer(&app, StatusCode::OK, ticket, &done).await
}

/// `DELETE /api/tickets/:id`: off sale, at release where somebody holds it. Answers with the ticket.
#[utoipa::path(
    delete, path = "/api/tickets/{id}", tag = "tickets", security(("session" = [])), params(IdempotencyParam),
    responses((status = 200, description = "Done", body = TicketView))
)]
pub async fn withdraw(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let ticket = path_id(&id, "id")?;
    let command = Command::WithdrawTicket { ticket };
    let done = idempotency::once(&app, &caller, &headers, command).await??;
    ticket_answer(&app, StatusCode::OK, ticket, &done).await
}

/// The ticket that a command created or changed.
async fn answer(app: &App, status: StatusCode, done: &Done) -> Result<Response, Fault> {
    let Reply::Ticket { ticket, .. } = done.reply else { unreachable!("a change of a ticket is answered with it") };
    ticket_answer(app, status, ticket, done).await
}

async fn ticket_answer(app: &App, status: StatusCode, id: TicketId, done: &Done) -> Result<Response, Fault> {
    let seen = app.read_own(done.index, |state| ticket_held(state, id)).await?;
    let (ticket, held_until_ms) = seen.value.ok_or_else(|| Fault::not_found("ticket_not_found"))?;
    let view = TicketView::new(id, &ticket).held_until(held_until_ms, seen.now_ms);
    let mut response = json(status, &view, done.decided_at);
    response.headers_mut().insert(header::ETAG, etag(ticket.version));
    if done.replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// A ticket, and when what holds it runs out.
fn ticket_held(state: &Ledger, id: TicketId) -> Result<Option<(Ticket, Option<u64>)>, StoreError> {
    let Some(ticket) = query::ticket(state, id)? else { return Ok(None) };
    let held_until_ms = held_until_ms(state, &ticket)?;
    Ok(Some((ticket, held_until_ms)))
}

/// `GET /api/tickets/:id`: one ticket.
#[utoipa::path(
    get, path = "/api/tickets/{id}", tag = "tickets", params(ReadQuery, IfNoneMatchParam),
    responses((status = 200, description = "Done", body = TicketView), (status = 304, description = "Not changed"))
)]
pub async fn show(
    State(app): State<App>,
    PathText(id): PathText,
    headers: HeaderMap,
    Fresh(freshness): Fresh,
) -> Result<Response, Fault> {
    let id = path_id(&id, "id")?;
    let seen = app.read(freshness, |state| ticket_held(state, id)).await?;
    let found = seen.value.ok_or_else(|| Fault::not_found("ticket_not_found").log_index(seen.index));
    let (ticket, held_until_ms) = found?;
    if let Some(response) = not_modified(&headers, ticket.version, seen.index) {
        return Ok(response);
    }
    let view = TicketView::new(id, &ticket).held_until(held_until_ms, seen.now_ms);
    let mut response = json(StatusCode::OK, &view, seen.index);
    response.headers_mut().insert(header::ETAG, etag(ticket.version));
    Ok(response)
}

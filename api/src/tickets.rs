//! Tickets: what is for sale, and what a seller may do with his own.

use axum::extract::{OriginalUri, State};
use axum::response::Response;
use holdfast_ledger::command::{Command, NewTicket};
use holdfast_ledger::entities::{Holding, Ticket, TicketDetails};
use holdfast_ledger::id::{OrderId, TicketId, UserId};
use holdfast_ledger::limits::{BULK_TICKETS_MAX, EXTERNAL_ID_BYTES_MAX, TEXT_BYTES_MAX, TITLE_BYTES_MAX};
use holdfast_ledger::money::{Currency, Decimal, MoneyError, PRICE_MINOR_MAX};
use holdfast_ledger::outcome::Reply;
use holdfast_ledger::query::{self, TicketFilter};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::app::{App, Done};
use crate::body::{BULK_BODY_BYTES_MAX, JsonBody};
use crate::error::{Complaint, Fault, complaint};
use crate::fields::{self, Complaints, Raw, path_id, price_json};
use crate::headers::{IDEMPOTENCY_REPLAYED, etag, freshness, if_match, json, not_modified};
use crate::idempotency;
use crate::paging;
use crate::router::{PathText, QueryOf, ReadQuery};
use crate::session::{Caller, Identity};
use crate::time::{Rfc3339, rfc3339};

const BAD_TITLE: &str = "Title is required";
/// The original's words, which differ between creating and editing.
const BAD_PRICE: &str = "Price must be greater than 0";
const BAD_PRICE_EDIT: &str = "Price must be provided and must be greater than 0";

/// A ticket on the wire.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TicketView<'a> {
    id: TicketId,
    title: &'a str,
    price: Box<RawValue>,
    user_id: UserId,
    version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<OrderId>,
    status: &'static str,
    currency: Currency,
    price_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_price: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    venue: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    section: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seat: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<Rfc3339>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sale_ends_at: Option<Rfc3339>,
    created_at: Rfc3339,
}

impl<'a> TicketView<'a> {
    pub fn new(id: TicketId, ticket: &'a Ticket) -> TicketView<'a> {
        let (status, order_id) = match ticket.holding {
            Holding::Free if ticket.withdrawn => ("withdrawn", None),
            Holding::Free => ("available", None),
            Holding::Locked { order } => ("locked", Some(order)),
            Holding::Sold { order } => ("sold", Some(order)),
        };
        let details = &ticket.details;
        TicketView {
            id,
            title: &ticket.title,
            price: price_json(ticket.price_minor, ticket.currency),
            user_id: ticket.seller,
            version: ticket.version,
            order_id,
            status,
            currency: ticket.currency,
            price_version: ticket.price_version,
            next_price: ticket.price_next_minor.map(|minor| price_json(minor, ticket.currency)),
            external_id: ticket.external_id.as_deref(),
            event_name: details.event_name.as_deref(),
            venue: details.venue.as_deref(),
            section: details.section.as_deref(),
            row: details.row.as_deref(),
            seat: details.seat.as_deref(),
            starts_at: details.starts_ms.map(rfc3339),
            sale_ends_at: details.sale_ends_ms.map(rfc3339),
            created_at: rfc3339(ticket.created_ms),
        }
    }
}

/// A ticket as it is sent.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TicketBody<'a> {
    #[serde(borrow)]
    title: Raw<'a>,
    #[serde(borrow)]
    price: Raw<'a>,
    #[serde(borrow)]
    currency: Raw<'a>,
    #[serde(borrow)]
    external_id: Raw<'a>,
    #[serde(borrow)]
    event_name: Raw<'a>,
    #[serde(borrow)]
    venue: Raw<'a>,
    #[serde(borrow)]
    section: Raw<'a>,
    #[serde(borrow)]
    row: Raw<'a>,
    #[serde(borrow)]
    seat: Raw<'a>,
    #[serde(borrow)]
    starts_at: Raw<'a>,
    #[serde(borrow)]
    sale_ends_at: Raw<'a>,
}

impl TicketBody<'_> {
    fn title(&self, complaints: &mut Complaints) -> Option<String> {
        let title = fields::text(self.title).map(|title| title.trim().to_string()).filter(|title| !title.is_empty());
        let title = complaints.require(title, "title", BAD_TITLE)?;
        if title.len() > TITLE_BYTES_MAX {
            complaints.add("title", "too_long", format!("Title may be at most {TITLE_BYTES_MAX} bytes"));
            return None;
        }
        Some(title)
    }

    /// A price above zero that fits the currency, where that is known here.
    fn price(&self, currency: Option<Currency>, words: &'static str, complaints: &mut Complaints) -> Option<Decimal> {
        let price = fields::decimal(self.price).filter(|price| price.digits > 0);
        let price = complaints.require(price, "price", words)?;
        match currency.map_or(Ok(0), |currency| price.to_minor(currency)) {
            Ok(minor) if minor <= PRICE_MINOR_MAX => Some(price),
            Err(MoneyError::TooManyDecimals) => {
                complaints.add("price", "too_many_decimals", "Price has more decimals than its currency");
                None
            }
            _ => {
                complaints.add("price", "too_large", "Price is too large");
                None
            }
        }
    }

    fn currency(&self, complaints: &mut Complaints) -> Option<Currency> {
        if self.currency.is_none() {
            return Some(Currency::USD);
        }
        let currency = fields::text(self.currency).and_then(|code| code.parse().ok());
        complaints.require(currency, "currency", "Currency must be an ISO 4217 code such as USD")
    }

    /// The details, if any is given.
    fn details(&self, complaints: &mut Complaints) -> Option<TicketDetails> {
        let members =
            [self.event_name, self.venue, self.section, self.row, self.seat, self.starts_at, self.sale_ends_at];
        members.iter().any(Option::is_some).then(|| {
            let mut text = |raw, field| bounded_text(complaints, raw, field, TEXT_BYTES_MAX);
            let (event_name, venue) = (text(self.event_name, "eventName"), text(self.venue, "venue"));
            let (section, row, seat) = (text(self.section, "section"), text(self.row, "row"), text(self.seat, "seat"));
            let mut time = |raw, field| complaints.optional(raw, fields::time_ms, field, "Must be an RFC 3339 time");
            let (starts_ms, sale_ends_ms) = (time(self.starts_at, "startsAt"), time(self.sale_ends_at, "saleEndsAt"));
            TicketDetails { event_name, venue, section, row, seat, starts_ms, sale_ends_ms }
        })
    }

    fn new_ticket(&self) -> Result<NewTicket, Complaints> {
        let mut complaints = Complaints::default();
        let title = self.title(&mut complaints);
        let currency = self.currency(&mut complaints);
        let price = self.price(currency, BAD_PRICE, &mut complaints);
        let external_id = bounded_text(&mut complaints, self.external_id, "externalId", EXTERNAL_ID_BYTES_MAX);
        let details = self.details(&mut complaints).unwrap_or_default();
        match (title, price, currency) {
            (Some(title), Some(price), Some(currency)) if complaints.is_empty() => {
                Ok(NewTicket { title, price, currency, external_id, details })
            }
            _ => Err(complaints),
        }
    }
}

/// An optional text of 1 to `bytes_max` bytes.
fn bounded_text(complaints: &mut Complaints, raw: Raw, field: &'static str, bytes_max: usize) -> Option<String> {
    let fits = |text: &String| (1..=bytes_max).contains(&text.len());
    let read = |raw| fields::text(raw).map(|text| text.into_owned()).filter(fits);
    complaints.optional(raw, read, field, "Must be a text, neither empty nor too long")
}

/// `POST /api/tickets`
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Fault> {
    let ticket = body.parse::<TicketBody>()?.new_ticket().map_err(Complaints::into_fault)?;
    let command = Command::CreateTicket(ticket);
    let key = idempotency::key(&headers, &command)?;
    let done = app.propose(caller.actor(), key, command).await??;
    answer(&app, StatusCode::CREATED, &done).await
}

/// One line of a bulk answer.
#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Created { id: TicketId, created: bool },
    Refused { errors: Vec<Complaint> },
}

/// `POST /api/tickets/bulk`: an array of tickets, each with its own result, in the same order.
pub async fn create_many(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBody<BULK_BODY_BYTES_MAX>,
) -> Result<Response, Fault> {
    let rows: Vec<&RawValue> = body.parse_array()?;
    if rows.len() > BULK_TICKETS_MAX {
        let message = format!("At most {BULK_TICKETS_MAX} tickets at once");
        return Err(Fault::bad_field("tickets", "too_many_tickets", message));
    }
    let read: Vec<Result<NewTicket, Complaints>> = rows.iter().map(|row| new_ticket_of(row)).collect();
    let good: Vec<NewTicket> = read.iter().filter_map(|ticket| ticket.as_ref().ok().cloned()).collect();
    let command = Command::CreateTickets(good);
    let key = idempotency::key(&headers, &command)?;
    let done = app.propose(caller.actor(), key, command).await??;
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

/// `PUT /api/tickets/:id`
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
    let key = idempotency::key(&headers, &command)?;
    let done = app.propose(caller.actor(), key, command).await??;
    answer(&app, StatusCode::OK, &done).await
}

/// `PUT /api/tickets/:id/next-price` `{price}`: a price from the next release on, at once where nobody holds the ticket.
/// `{"price": null}` takes it back.
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
    let key = idempotency::key(&headers, &command)?;
    let done = app.propose(caller.actor(), key, command).await??;
    ticket_answer(&app, StatusCode::OK, ticket, &done).await
}

/// `DELETE /api/tickets/:id`: off sale, at release where somebody holds it. Answers with the ticket.
pub async fn withdraw(
    State(app): State<App>,
    caller: Caller,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let ticket = path_id(&id, "id")?;
    let command = Command::WithdrawTicket { ticket };
    let key = idempotency::key(&headers, &command)?;
    let done = app.propose(caller.actor(), key, command).await??;
    ticket_answer(&app, StatusCode::OK, ticket, &done).await
}

/// The ticket that a command created or changed.
async fn answer(app: &App, status: StatusCode, done: &Done) -> Result<Response, Fault> {
    let Reply::Ticket { ticket, .. } = done.reply else { unreachable!("a change of a ticket is answered with it") };
    ticket_answer(app, status, ticket, done).await
}

async fn ticket_answer(app: &App, status: StatusCode, id: TicketId, done: &Done) -> Result<Response, Fault> {
    let seen = app.read_own(done.index, |state| query::ticket(state, id)).await?;
    let ticket = seen.value.ok_or_else(|| Fault::not_found("ticket_not_found"))?;
    let mut response = json(status, &TicketView::new(id, &ticket), done.decided_at);
    response.headers_mut().insert(header::ETAG, etag(ticket.version));
    if done.replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, header::HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// `GET /api/tickets/:id`
pub async fn show(
    State(app): State<App>,
    PathText(id): PathText,
    headers: HeaderMap,
    QueryOf(query): QueryOf<ReadQuery>,
) -> Result<Response, Fault> {
    let id = path_id(&id, "id")?;
    let freshness = freshness(&headers, query.consistency.as_deref(), query.min_index.as_deref())?;
    let seen = app.read(freshness, |state| query::ticket(state, id)).await?;
    let ticket = seen.value.ok_or_else(|| Fault::not_found("ticket_not_found").log_index(seen.index))?;
    if let Some(response) = not_modified(&headers, ticket.version, seen.index) {
        return Ok(response);
    }
    let mut response = json(StatusCode::OK, &TicketView::new(id, &ticket), seen.index);
    response.headers_mut().insert(header::ETAG, etag(ticket.version));
    Ok(response)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListQuery {
    limit: Option<String>,
    cursor: Option<String>,
    q: Option<String>,
    seller: Option<String>,
    min_price: Option<String>,
    max_price: Option<String>,
    currency: Option<String>,
    consistency: Option<String>,
    #[serde(rename = "min-index")]
    min_index: Option<String>,
}

impl ListQuery {
    fn filter(&self) -> Result<TicketFilter, Fault> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let seller = given(&self.seller).map(|id| path_id(&id, "seller")).transpose()?;
        let currency: Option<Currency> = given(&self.currency)
            .map(|code| code.parse())
            .transpose()
            .map_err(|_| Fault::bad_field("currency", "invalid", "Currency must be an ISO 4217 code such as USD"))?;
        let (min, max) = (given(&self.min_price), given(&self.max_price));
        // Amounts of different currencies cannot be compared.
        let currency = if min.is_some() || max.is_some() { Some(currency.unwrap_or(Currency::USD)) } else { currency };
        let minor = |text: Option<String>, field: &'static str| {
            let read = |text: String| {
                text.parse::<Decimal>().and_then(|price| price.to_minor(currency.unwrap_or(Currency::USD)))
            };
            text.map(read)
                .transpose()
                .map_err(|_| Fault::bad_field(field, "invalid", "Must be an amount such as 20.00"))
        };
        Ok(TicketFilter {
            seller,
            search: given(&self.q),
            price_minor_min: minor(min, "minPrice")?,
            price_minor_max: minor(max, "maxPrice")?,
            currency,
        })
    }
}

/// `GET /api/tickets`: what can be bought now, in pages. `seller=me` lists the caller's own, whatever their status.
pub async fn list(
    State(app): State<App>,
    identity: Identity,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Response, Fault> {
    let freshness = freshness(&headers, query.consistency.as_deref(), query.min_index.as_deref())?;
    let wanted = paging::wanted(query.limit.as_deref(), query.cursor.as_deref())?;
    let after = wanted.after.as_ref();
    let seen = if query.seller.as_deref() == Some("me") {
        let seller = identity.caller().ok_or_else(Fault::not_signed_in)?.signed_in.user;
        app.read(freshness, |state| query::tickets_of_seller(state, seller, after, wanted.limit)).await?
    } else {
        let filter = query.filter()?;
        app.read(freshness, |state| query::tickets_available(state, &filter, after, wanted.limit)).await?
    };
    let views: Vec<_> = seen.value.rows.iter().map(|(id, ticket)| TicketView::new(*id, ticket)).collect();
    let mut response = json(StatusCode::OK, &views, seen.index);
    paging::link_next(&mut response, &uri, seen.value.next.as_ref());
    Ok(response)
}

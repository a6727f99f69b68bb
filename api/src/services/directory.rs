//! What services look up: orders, whom to write to, who watches a price, where events are to be posted.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::command::{Actor, Command, Service};
use holdfast_ledger::entities::Purpose;
use holdfast_ledger::id::{OrderId, RequestId, TicketId, UserId, WebhookId};
use holdfast_ledger::query;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ServiceCaller;
use crate::app::{App, Ledger};
use crate::body::JsonBody;
use crate::error::Fault;
use crate::fields::{self, Complaints, Raw, path_id};
use crate::headers::{json, no_content};
use crate::openapi::{EntityId, Time};
use crate::orders::OrderView;
use crate::paging::Listing;
use crate::router::{Fresh, PageQuery, PathText, ReadQuery};
use crate::time::{Rfc3339, rfc3339};
use crate::users::mailed_link;

/// `GET /api/services/orders/:id`: one order, anybody's.
#[utoipa::path(
    get, path = "/api/services/orders/{id}", tag = "services", security(("service" = [])), params(ReadQuery),
    responses((status = 200, description = "The order", body = OrderView))
)]
pub async fn order(
    State(app): State<App>,
    _caller: ServiceCaller,
    PathText(id): PathText,
    Fresh(freshness): Fresh,
) -> Result<Response, Fault> {
    let id: OrderId = path_id(&id, "id")?;
    let seen = app.read(freshness, |state| query::order(state, id)).await?;
    let order = seen.value.ok_or_else(|| Fault::not_found("order_not_found").log_index(seen.index))?;
    Ok(json(StatusCode::OK, &OrderView::new(id, &order, seen.now_ms, seen.extensions_max), seen.index))
}

/// Whom to write to.
#[derive(Serialize, ToSchema)]
#[schema(as = Contact)]
#[serde(rename_all = "camelCase")]
struct ContactView {
    #[schema(value_type = EntityId)]
    id: UserId,
    /// None for an erased account.
    email: Option<String>,
    verified: bool,
    banned: bool,
    erased: bool,
}

/// `GET /api/services/users/:id/contact`: the address of an account, and whether it is in good standing.
#[utoipa::path(
    get, path = "/api/services/users/{id}/contact", tag = "services", security(("service" = [])), params(ReadQuery),
    responses((status = 200, description = "The address", body = ContactView))
)]
pub async fn contact(
    State(app): State<App>,
    caller: ServiceCaller,
    PathText(id): PathText,
    Fresh(freshness): Fresh,
) -> Result<Response, Fault> {
    caller.require(Service::Notifications)?;
    let id: UserId = path_id(&id, "id")?;
    let read = |state: &Ledger| Ok((query::user(state, id)?, query::personal(state, id)?));
    let seen = app.read(freshness, read).await?;
    let (user, personal) = seen.value;
    let user = user.ok_or_else(|| Fault::not_found("user_not_found").log_index(seen.index))?;
    let email = personal.map(|personal| personal.email);
    let view = ContactView { id, email, verified: user.verified, banned: user.banned, erased: user.erased };
    Ok(json(StatusCode::OK, &view, seen.index))
}

/// For which request of the account.
#[derive(Deserialize, ToSchema)]
#[schema(as = LinkRequest)]
struct LinkBody<'a> {
    #[serde(borrow)]
    #[schema(value_type = EntityId)]
    request: Raw<'a>,
}

/// A link for a mail, which lets its reader do what he has asked for.
#[derive(Serialize, ToSchema)]
#[schema(as = Link)]
#[serde(rename_all = "camelCase")]
struct LinkView {
    /// `reset` or `verify`.
    purpose: &'static str,
    url: String,
    #[schema(value_type = Time)]
    expires_at: Rfc3339,
}

/// `POST /api/services/users/:id/link` `{request}`: the link of a request for a mail, signed now. 404 once the request is over.
#[utoipa::path(
    post, path = "/api/services/users/{id}/link", tag = "services", security(("service" = [])), request_body = LinkBody,
    responses((status = 200, description = "The link", body = LinkView))
)]
pub async fn link(
    State(app): State<App>,
    caller: ServiceCaller,
    PathText(id): PathText,
    body: JsonBody,
) -> Result<Response, Fault> {
    caller.require(Service::Notifications)?;
    let user: UserId = path_id(&id, "id")?;
    let mut complaints = Complaints::default();
    let request = fields::id::<RequestId>(body.parse::<LinkBody>()?.request);
    let request = complaints.require(request, "request", "Invalid value");
    let link = mailed_link(&app, user, complaints.settle(request)?).await?;
    let link = link.ok_or_else(|| Fault::not_found("request_not_found"))?;
    let purpose = match link.purpose {
        Purpose::Reset => "reset",
        Purpose::Verify => "verify",
    };
    let view = LinkView { purpose, url: link.url, expires_at: rfc3339(link.expires_ms) };
    let index = app.node.status().applied_index;
    Ok(json(StatusCode::OK, &view, index))
}

/// `GET /api/services/tickets/:id/watchers`: the ids of the accounts that watch the ticket's price.
#[utoipa::path(
    get, path = "/api/services/tickets/{id}/watchers", tag = "services", security(("service" = [])), params(PageQuery),
    responses((status = 200, description = "A page of ids", body = Vec<EntityId>))
)]
pub async fn watchers(
    State(app): State<App>,
    caller: ServiceCaller,
    PathText(id): PathText,
    listing: Listing,
) -> Result<Response, Fault> {
    caller.require(Service::Notifications)?;
    let id: TicketId = path_id(&id, "id")?;
    let seen = listing.read(&app, |state, after, limit| query::watchers(state, id, after, limit)).await?;
    Ok(listing.answer(&seen, |user| *user))
}

/// An address to which events are posted, with the secret that signs them.
#[derive(Serialize, ToSchema)]
#[schema(as = ServiceWebhook)]
#[serde(rename_all = "camelCase")]
struct WebhookView {
    #[schema(value_type = EntityId)]
    id: WebhookId,
    url: String,
    secret: String,
    /// None: all.
    event_types: Vec<&'static str>,
    #[schema(value_type = Time)]
    created_at: Rfc3339,
    #[schema(value_type = Time)]
    updated_at: Rfc3339,
}

/// `GET /api/services/webhooks`: all addresses to which events are posted.
#[utoipa::path(
    get, path = "/api/services/webhooks", tag = "services", security(("service" = [])), params(ReadQuery),
    responses((status = 200, description = "All of them", body = Vec<WebhookView>))
)]
pub async fn webhooks(
    State(app): State<App>,
    caller: ServiceCaller,
    Fresh(freshness): Fresh,
) -> Result<Response, Fault> {
    caller.require(Service::Notifications)?;
    let seen = app.read(freshness, query::webhooks).await?;
    let view = |(id, webhook): (WebhookId, holdfast_ledger::entities::Webhook)| WebhookView {
        id,
        url: webhook.url,
        secret: webhook.secret,
        event_types: webhook.event_types.iter().map(|event_type| event_type.name()).collect(),
        created_at: rfc3339(webhook.created_ms),
        updated_at: rfc3339(webhook.updated_ms),
    };
    let views: Vec<_> = seen.value.into_iter().map(view).collect();
    Ok(json(StatusCode::OK, &views, seen.index))
}

/// `DELETE /api/services/webhooks/:id`: its receiver said that it is gone (410).
#[utoipa::path(
    delete, path = "/api/services/webhooks/{id}", tag = "services", security(("service" = [])),
    responses((status = 204, description = "Removed"))
)]
pub async fn remove_webhook(
    State(app): State<App>,
    caller: ServiceCaller,
    PathText(id): PathText,
) -> Result<Response, Fault> {
    caller.require(Service::Notifications)?;
    let webhook: WebhookId = path_id(&id, "id")?;
    let done = app.propose(Actor::Service(caller.0), None, Command::RemoveWebhook { webhook }).await??;
    Ok(no_content(done.decided_at))
}

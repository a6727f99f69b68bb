//! Addresses to which events are posted.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use holdfast_ledger::command::Command;
use holdfast_ledger::entities::Webhook;
use holdfast_ledger::event::EventType;
use holdfast_ledger::id::WebhookId;
use holdfast_ledger::outcome::Reply;
use holdfast_ledger::query;
use holdfast_raft::node::Consistency;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Onlooker, Operator};
use crate::app::{App, Done};
use crate::body::JsonBody;
use crate::error::Fault;
use crate::fields::{self, Complaints, Raw, path_id};
use crate::headers::json;
use crate::idempotency;
use crate::openapi::{EntityId, IdempotencyParam, Problem, Time};
use crate::router::PathText;
use crate::time::{Rfc3339, rfc3339};

/// Bytes of a secret of ours.
const SECRET_BYTES: usize = 32;

/// An address to which events are posted.
#[derive(Serialize, ToSchema)]
#[schema(as = Webhook)]
#[serde(rename_all = "camelCase")]
struct WebhookView<'a> {
    #[schema(value_type = EntityId)]
    id: WebhookId,
    url: &'a str,
    /// Empty: all of them.
    event_types: Vec<&'static str>,
    /// What posts are signed with (Standard Webhooks). Shown once, when it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[schema(value_type = Time)]
    created_at: Rfc3339,
    #[schema(value_type = Time)]
    updated_at: Rfc3339,
}

impl<'a> WebhookView<'a> {
    fn new(id: WebhookId, webhook: &'a Webhook, shows_secret: bool) -> WebhookView<'a> {
        WebhookView {
            id,
            url: &webhook.url,
            event_types: webhook.event_types.iter().map(EventType::name).collect(),
            secret: shows_secret.then_some(&webhook.secret),
            created_at: rfc3339(webhook.created_ms),
            updated_at: rfc3339(webhook.updated_ms),
        }
    }
}

/// A webhook to be made or changed.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewWebhook)]
#[serde(rename_all = "camelCase")]
struct WebhookBody<'a> {
    /// `https`, or `http` for trying it out.
    #[serde(borrow)]
    #[schema(value_type = String)]
    url: Raw<'a>,
    /// Names of events such as `order:completed`; none: all of them.
    #[serde(default)]
    event_types: Vec<String>,
    /// Make a new secret, where there is one already.
    #[serde(default)]
    new_secret: bool,
}

impl WebhookBody<'_> {
    fn command(&self, webhook: Option<WebhookId>) -> Result<Command, Fault> {
        let mut complaints = Complaints::default();
        let url =
            complaints.require(fields::text(self.url), "url", "Must be an address such as https://example.com/hook");
        let by_name = |name: &String| EventType::ALL.iter().copied().find(|known| known.name() == name);
        let event_types: Option<Vec<EventType>> = self.event_types.iter().map(by_name).collect();
        let event_types =
            complaints.require(event_types, "eventTypes", "Must be names of events such as order:completed");
        let (url, event_types) = complaints.settle(url.zip(event_types))?;
        let secret = (webhook.is_none() || self.new_secret).then(secret);
        Ok(Command::PutWebhook { webhook, url: url.into_owned(), secret, event_types })
    }
}

/// A secret as Standard Webhooks writes it.
fn secret() -> String {
    use base64::Engine;
    let bytes: [u8; SECRET_BYTES] = rand::random();
    format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// `GET /api/operator/webhooks`: all addresses to which events are posted, without their secrets.
#[utoipa::path(
    get, path = "/api/operator/webhooks", tag = "operators", security(("session" = ["operator-read"])),
    responses((status = 200, description = "All of them", body = Vec<WebhookView>))
)]
pub async fn list(State(app): State<App>, _: Onlooker) -> Result<Response, Fault> {
    let seen = app.read(Consistency::Linearizable, query::webhooks).await?;
    let views: Vec<_> = seen.value.iter().map(|(id, webhook)| WebhookView::new(*id, webhook, false)).collect();
    Ok(json(StatusCode::OK, &views, seen.index))
}

/// `POST /api/operator/webhooks`: a new address. Its secret is in this answer and in no other.
#[utoipa::path(
    post, path = "/api/operator/webhooks", tag = "operators", security(("session" = ["operator-admin"])),
    request_body = WebhookBody,
    responses(
        (status = 201, description = "The webhook, with its secret", body = WebhookView),
        (status = 409, description = "There are as many as may be", body = Problem),
    )
)]
pub async fn create(State(app): State<App>, Operator(caller): Operator, body: JsonBody) -> Result<Response, Fault> {
    // Without an idempotency key: a repeat makes another secret, so it never is the same request.
    let command = body.parse::<WebhookBody>()?.command(None)?;
    let done = app.propose(caller.actor(), None, command).await??;
    answer(&app, StatusCode::CREATED, &done, true).await
}

/// `PUT /api/operator/webhooks/:id`: another address or other events; a new secret where one is asked for.
#[utoipa::path(
    put, path = "/api/operator/webhooks/{id}", tag = "operators", security(("session" = ["operator-admin"])),
    request_body = WebhookBody,
    responses((status = 200, description = "The webhook, with a secret that is new", body = WebhookView))
)]
pub async fn change(
    State(app): State<App>,
    Operator(caller): Operator,
    PathText(id): PathText,
    body: JsonBody,
) -> Result<Response, Fault> {
    let id: WebhookId = path_id(&id, "id")?;
    let (command, is_new) = {
        let body: WebhookBody = body.parse()?;
        (body.command(Some(id))?, body.new_secret)
    };
    let done = app.propose(caller.actor(), None, command).await??;
    answer(&app, StatusCode::OK, &done, is_new).await
}

async fn answer(app: &App, status: StatusCode, done: &Done, shows_secret: bool) -> Result<Response, Fault> {
    let Reply::Webhook { webhook: id } = done.reply else { unreachable!("a change of a webhook is answered with it") };
    let seen = app.read_own(done.index, query::webhooks).await?;
    let found = seen.value.iter().find(|(known, _)| *known == id);
    let (_, webhook) = found.ok_or_else(|| Fault::not_found("webhook_not_found"))?;
    Ok(json(status, &WebhookView::new(id, webhook, shows_secret), done.decided_at))
}

/// `DELETE /api/operator/webhooks/:id`: nothing more is posted there.
#[utoipa::path(
    delete, path = "/api/operator/webhooks/{id}", tag = "operators", security(("session" = ["operator-admin"])),
    params(IdempotencyParam),
    responses((status = 204, description = "Removed"))
)]
pub async fn remove(
    State(app): State<App>,
    Operator(caller): Operator,
    PathText(id): PathText,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let command = Command::RemoveWebhook { webhook: path_id(&id, "id")? };
    idempotency::once(&app, &caller, &headers, command).await??;
    Ok(StatusCode::NO_CONTENT.into_response())
}

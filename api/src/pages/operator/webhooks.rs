//! Webhooks: who is told of events, and the secret that proves it is us who tell.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::json;

use super::{Desk, done};
use crate::pages::api::encoded;
use crate::pages::chrome::{Chrome, ok, page};
use crate::pages::form::{Form, Sheet};
use crate::pages::problem::Problem;
use crate::pages::visit::Visit;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    id: String,
    url: String,
    event_types: Vec<String>,
    /// Shown once, when it is made.
    secret: Option<String>,
}

impl Webhook {
    fn events(&self) -> String {
        if self.event_types.is_empty() { "All events".into() } else { self.event_types.join(", ") }
    }
}

#[derive(Template)]
#[template(path = "operator_webhooks.html")]
struct WebhooksPage {
    chrome: Chrome,
    desk: Desk,
    webhooks: Vec<Webhook>,
    added: Option<Webhook>,
    sheet: Sheet,
}

async fn found(visit: &Visit, uri: &Uri) -> Result<WebhooksPage, Problem> {
    let (chrome, desk) = Desk::new(visit, "webhooks", uri)?;
    let webhooks = visit.api.get("/api/operator/webhooks").json().await?;
    Ok(WebhooksPage { chrome, desk, webhooks, added: None, sheet: Sheet::default() })
}

/// `GET /operator/webhooks`
pub async fn show(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    ok(&found(&visit, &uri).await?)
}

/// `POST /operator/webhooks`: shows the secret, for the only time; so it answers with the page itself.
pub async fn add(visit: Visit, uri: Uri, form: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let events: Vec<&str> =
        form.get("eventTypes").split([',', ' ', '\n', '\r']).filter(|event| !event.is_empty()).collect();
    let body = json!({ "url": form.get("url"), "eventTypes": events });
    match visit.api.post("/api/operator/webhooks", body).json::<Webhook>().await {
        Ok(added) => {
            let mut webhooks = found(&visit, &uri).await?;
            webhooks.added = Some(added);
            page(StatusCode::CREATED, &webhooks)
        }
        Err(problem) if problem.is_mendable() => {
            let mut webhooks = found(&visit, &uri).await?;
            webhooks.sheet = form.refused(&problem);
            page(problem.status, &webhooks)
        }
        Err(problem) => Err(problem),
    }
}

/// `POST /operator/webhooks/{id}/remove`
pub async fn remove(visit: Visit, Path(id): Path<String>, uri: Uri, _: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    match visit.api.delete(format!("/api/operator/webhooks/{}", encoded(&id))).send().await {
        Ok(_) => done("/operator/webhooks", "removed"),
        Err(problem) if problem.is_mendable() => {
            let mut webhooks = found(&visit, &uri).await?;
            webhooks.desk.alert(&problem);
            page(problem.status, &webhooks)
        }
        Err(problem) => Err(problem),
    }
}

//! What operators did: rows that carry each other's hash, so that none can be changed or left out unseen.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::command::Service;
use holdfast_ledger::entities::{AuditActor, AuditRow, AuditSubject};
use holdfast_ledger::query;
use serde::Serialize;
use utoipa::ToSchema;

use super::Onlooker;
use crate::app::App;
use crate::error::Fault;
use crate::openapi::Time;
use crate::paging::Listing;
use crate::router::PageQuery;
use crate::time::{Rfc3339, rfc3339};

/// One thing that an operator did.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditRow)]
#[serde(rename_all = "camelCase")]
struct AuditView {
    /// Dense: 1, 2, 3 …
    seq: u64,
    /// The entry that decided it.
    log_index: u64,
    #[schema(value_type = Time)]
    time: Rfc3339,
    /// A user's id, or `service:` and its name, or `certificate:` and its SHA-256; `null` for the cluster itself and who works on its machines.
    actor: Option<String>,
    action: &'static str,
    /// `cluster`, `user`, `order`, `webhook`, `key` or `node`.
    subject_kind: &'static str,
    /// The id of what it was done to.
    subject: String,
    /// SHA-256 of the row with the hash before it: 64 hex digits.
    hash: String,
    /// Of the row before; zeros for the first.
    previous_hash: String,
}

impl AuditView {
    fn new(seq: u64, row: &AuditRow) -> AuditView {
        let (subject_kind, subject) = match &row.subject {
            AuditSubject::Cluster => ("cluster", String::new()),
            AuditSubject::User(user) => ("user", user.to_string()),
            AuditSubject::Order(order) => ("order", order.to_string()),
            AuditSubject::Webhook(webhook) => ("webhook", webhook.to_string()),
            AuditSubject::Key(key_id) => ("key", key_id.clone()),
            AuditSubject::Node(node) => ("node", node.to_string()),
        };
        AuditView {
            seq,
            log_index: row.index,
            time: rfc3339(row.time_ms),
            actor: match row.actor {
                AuditActor::Cluster => None,
                AuditActor::User(user) => Some(user.to_string()),
                AuditActor::Service(Service::Payments) => Some("service:payments".into()),
                AuditActor::Service(Service::Notifications) => Some("service:notifications".into()),
                AuditActor::Certificate(hash) => Some(format!("certificate:{}", hex(&hash))),
            },
            action: row.action.name(),
            subject_kind,
            subject,
            hash: hex(&row.hash),
            previous_hash: hex(&row.previous_hash),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `GET /api/operator/audit`: what operators did, newest first.
#[utoipa::path(
    get, path = "/api/operator/audit", tag = "operators", security(("session" = ["operator-read"])), params(PageQuery),
    responses((status = 200, description = "A page of it", body = Vec<AuditView>))
)]
pub async fn list(State(app): State<App>, _: Onlooker, listing: Listing) -> Result<Response, Fault> {
    let seen = listing.read(&app, query::audit).await?;
    Ok(listing.answer(&seen, |(seq, row)| AuditView::new(*seq, row)))
}

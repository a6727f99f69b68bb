//! What an operator looks at when something is wrong: stuck payments, the outbox, the invariants, and who has done what.

use askama::Template;
use axum::response::Response;
use http::Uri;
use serde::Deserialize;
use serde_json::json;

use super::{Asked, Desk, ROWS, done};
use crate::pages::api::query;
use crate::pages::chrome::{Chrome, ok, page};
use crate::pages::form::Form;
use crate::pages::money::{Amount, Count};
use crate::pages::problem::Problem;
use crate::pages::visit::Visit;
use crate::pages::when::{self, Moment};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stuck {
    id: String,
    order_id: String,
    status: String,
    next: Option<String>,
    amount: Amount,
    currency: String,
    attempt: u64,
    intent_id: Option<String>,
    open_for_seconds: u64,
}

impl Stuck {
    fn amount(&self) -> String {
        self.amount.shown(&self.currency)
    }

    fn open_for(&self) -> String {
        when::duration(self.open_for_seconds)
    }
}

#[derive(Template)]
#[template(path = "operator_payments.html")]
struct PaymentsPage {
    chrome: Chrome,
    desk: Desk,
    payments: Vec<Stuck>,
    next: Option<String>,
}

/// `GET /operator/payments`: open for longer than a bank usually takes.
pub async fn payments(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let (chrome, desk) = Desk::new(&visit, "payments", &uri)?;
    let cursor = Asked::of(&uri).cursor;
    let asked = query(&[("openForSeconds", "60"), ("limit", ROWS), ("cursor", &cursor)]);
    let answer = visit.api.get(format!("/api/operator/payments{asked}")).send().await?;
    let next = answer.next_cursor().map(|cursor| format!("/operator/payments{}", query(&[("cursor", &cursor)])));
    ok(&PaymentsPage { chrome, desk, payments: answer.json()?, next })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outbox {
    last_event: Count,
    acknowledged: Count,
    waiting: Count,
    first_kept: Count,
    soft_max: Count,
    hard_max: Count,
}

impl Outbox {
    /// What the number of waiting events means.
    fn words(&self) -> &'static str {
        match self.waiting {
            waiting if waiting >= self.hard_max => "Full: no new locks are taken until the broker takes events again.",
            waiting if waiting >= self.soft_max => {
                "The broker has been away for long. New locks stop at the hard limit."
            }
            _ => "That is within the limits.",
        }
    }

    fn tone(&self) -> &'static str {
        match self.waiting {
            waiting if waiting >= self.hard_max => "bad",
            waiting if waiting >= self.soft_max => "wait",
            _ => "good",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Events {
    broker: String,
    trouble: Option<String>,
    relay: Option<Relay>,
    stream: Option<Stream>,
    consumers: Vec<Consumer>,
    dead_letters: u64,
}

#[derive(Deserialize)]
struct Relay {
    phase: String,
    published: Count,
    trouble: Option<String>,
    errors: u64,
}

impl Relay {
    /// What it is at, in words, and how that is coloured.
    fn words(&self) -> (&'static str, &'static str) {
        match self.phase.as_str() {
            "following" => ("Another node leads and relays.", "off"),
            "opening" => ("It looks where the stream ends.", "wait"),
            "relaying" => ("It relays.", "good"),
            "retrying" => ("It tries again by itself.", "wait"),
            _ => ("It has stopped until an operator has looked.", "bad"),
        }
    }
}

#[derive(Deserialize)]
struct Stream {
    name: String,
    first: Count,
    last: Count,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consumer {
    name: String,
    pending: Count,
    ack_pending: Count,
    redelivered: Count,
    last_delivered: Count,
    dead_letters: u64,
}

#[derive(Template)]
#[template(path = "operator_outbox.html")]
struct OutboxPage {
    chrome: Chrome,
    desk: Desk,
    outbox: Outbox,
    events: Events,
}

/// `GET /operator/outbox`: how far the events have come, and who follows them.
pub async fn outbox(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let (chrome, desk) = Desk::new(&visit, "outbox", &uri)?;
    let outbox = visit.api.get("/api/operator/outbox").json().await?;
    let events = visit.api.get("/api/operator/events").json().await?;
    ok(&OutboxPage { chrome, desk, outbox, events })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invariants {
    running: bool,
    last: Option<Check>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    log_index: u64,
    time: Moment,
    holds: bool,
    findings: Vec<String>,
    state_hash: String,
}

#[derive(Template)]
#[template(path = "operator_invariants.html")]
struct InvariantsPage {
    chrome: Chrome,
    desk: Desk,
    invariants: Invariants,
}

/// `GET /operator/invariants`
pub async fn invariants(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let (chrome, desk) = Desk::new(&visit, "invariants", &uri)?;
    let invariants = visit.api.get("/api/operator/invariants").json().await?;
    ok(&InvariantsPage { chrome, desk, invariants })
}

/// `POST /operator/invariants`: a full scan, beside the running sale.
pub async fn check(visit: Visit, uri: Uri, _: Form) -> Result<Response, Problem> {
    let (chrome, mut desk) = Desk::new(&visit, "invariants", &uri)?;
    match visit.api.post("/api/operator/invariants", json!({})).send().await {
        Ok(_) => done("/operator/invariants", "check"),
        Err(problem) if problem.code() != "rate_limited" && problem.status.as_u16() == 429 || problem.is_mendable() => {
            desk.alert(&problem);
            let invariants = visit.api.get("/api/operator/invariants").json().await?;
            page(problem.status, &InvariantsPage { chrome, desk, invariants })
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditRow {
    seq: u64,
    time: Moment,
    /// A user's id, or `service:` and its name, or `certificate:` and its SHA-256. `None`: the cluster itself.
    actor: Option<String>,
    action: String,
    subject: String,
    hash: String,
}

/// Who did what is in a row, as it is shown.
enum Actor<'a> {
    Cluster,
    User(&'a str),
    Service(&'a str),
    Certificate { hash: &'a str, short: &'a str },
}

impl AuditRow {
    fn who(&self) -> Actor<'_> {
        let Some(actor) = self.actor.as_deref() else { return Actor::Cluster };
        match actor.split_once(':') {
            None => Actor::User(actor),
            Some(("certificate", hash)) => Actor::Certificate { hash, short: short(hash) },
            Some((_, name)) => Actor::Service(name),
        }
    }

    fn short_hash(&self) -> &str {
        short(&self.hash)
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

#[derive(Template)]
#[template(path = "operator_audit.html")]
struct AuditPage {
    chrome: Chrome,
    desk: Desk,
    rows: Vec<AuditRow>,
    next: Option<String>,
}

/// `GET /operator/audit`: newest first.
pub async fn audit(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let (chrome, desk) = Desk::new(&visit, "audit", &uri)?;
    let cursor = Asked::of(&uri).cursor;
    let answer =
        visit.api.get(format!("/api/operator/audit{}", query(&[("limit", ROWS), ("cursor", &cursor)]))).send().await?;
    let next = answer.next_cursor().map(|cursor| format!("/operator/audit{}", query(&[("cursor", &cursor)])));
    ok(&AuditPage { chrome, desk, rows: answer.json()?, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_users_have_a_page_to_lead_to() {
        let shown = |actor: &str| {
            let row = json!({
                "seq": 1, "time": "2026-01-01T00:00:00.000Z", "actor": actor, "action": "ban", "subject": "u", "hash": "00",
            });
            let row: AuditRow = serde_json::from_value(row).unwrap();
            match row.who() {
                Actor::Cluster => "cluster".into(),
                Actor::User(id) => format!("user {id}"),
                Actor::Service(name) => format!("service {name}"),
                Actor::Certificate { short, .. } => format!("certificate {short}"),
            }
        };
        assert_eq!(shown("u-1"), "user u-1");
        assert_eq!(shown("service:payments"), "service payments");
        assert_eq!(shown(&format!("certificate:{}", "ab".repeat(32))), "certificate abababababab");
    }
}

//! Whether a ticket that somebody shows is good. Anybody may ask.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use http::Uri;
use serde::Deserialize;
use serde_json::json;

use super::chrome::{Chrome, ok, page};
use super::form::Form;
use super::problem::Problem;
use super::views::{event_words, seat_words};
use super::visit::Visit;
use super::when::Moment;

/// What the interface says of a signed ticket.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    valid: bool,
    reason: Option<String>,
    order_id: Option<String>,
    title: Option<String>,
    event_name: Option<String>,
    venue: Option<String>,
    section: Option<String>,
    row: Option<String>,
    seat: Option<String>,
    starts_at: Option<Moment>,
}

impl Verdict {
    fn event(&self) -> String {
        event_words(&self.event_name, &self.venue)
    }

    fn place(&self) -> String {
        seat_words(&self.section, &self.row, &self.seat)
    }

    /// Why it is not good.
    fn words(&self) -> &'static str {
        match self.reason.as_deref() {
            Some("refunded") => "It was bought, and the money was given back since.",
            Some("bad_signature" | "unknown_key") => {
                "Its signature is none of ours: it was changed, or made by somebody else."
            }
            Some("unknown_order" | "not_complete") => "No paid order belongs to it.",
            _ => "This text is no signed ticket. Make sure that it is complete.",
        }
    }
}

#[derive(Template)]
#[template(path = "verify.html")]
struct VerifyPage {
    chrome: Chrome,
    token: String,
    answer: Option<Verdict>,
    alert: String,
}

/// `GET /verify`, also where a ticket's QR code leads, with `token` in the query.
pub async fn show(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    #[derive(Default, Deserialize)]
    struct Shown {
        #[serde(default)]
        token: String,
    }
    let token = Query::<Shown>::try_from_uri(&uri).map(|Query(shown)| shown.token).unwrap_or_default();
    if token.is_empty() {
        return ok(&VerifyPage { chrome: Chrome::new(&visit, ""), token, answer: None, alert: String::new() });
    }
    answered(&visit, token).await
}

/// `POST /verify`
pub async fn check(visit: Visit, form: Form) -> Result<Response, Problem> {
    answered(&visit, form.get("token").to_string()).await
}

async fn answered(visit: &Visit, token: String) -> Result<Response, Problem> {
    let chrome = Chrome::new(visit, "");
    let verdict = match visit.api.post("/api/tickets/verify", json!({ "token": token })).json().await {
        Err(problem) if problem.is_out_of_date() => {
            let alert = problem.message().to_string();
            return page(problem.status, &VerifyPage { chrome, token, answer: None, alert });
        }
        Err(problem) if problem.is_mendable() => Verdict::none(),
        answer => answer?,
    };
    ok(&VerifyPage { chrome, token, answer: Some(verdict), alert: String::new() })
}

impl Verdict {
    /// Of what could not even be read.
    fn none() -> Verdict {
        let (reason, order_id, title, event_name, venue) = (None, None, None, None, None);
        let (section, row, seat, starts_at) = (None, None, None, None);
        Verdict { valid: false, reason, order_id, title, event_name, venue, section, row, seat, starts_at }
    }
}

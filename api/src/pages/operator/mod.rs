//! The operators' side: how the cluster stands, what is locked, who buys, what is stuck, and what operators have done.
//!
//! Whoever may only read sees the same pages without the forms. What he must not do is refused by the interface, whatever
//! a page shows.

mod cluster;
mod health;
mod orders;
mod users;
mod webhooks;

use axum::Router;
use axum::extract::Query;
use axum::response::Response;
use axum::routing::{get, post};
use http::Uri;
use serde::Deserialize;

use super::Pages;
use super::chrome::Chrome;
use super::problem::Problem;
use super::visit::{Viewer, Visit, go};

/// Rows of one page.
const ROWS: &str = "50";

pub fn routes() -> Router<Pages> {
    Router::new()
        .route("/operator", get(cluster::show))
        .route("/operator/locks", get(orders::locks))
        .route("/operator/orders", get(orders::search))
        .route("/operator/orders/{id}", get(orders::show))
        .route("/operator/orders/{id}/release", post(orders::release))
        .route("/operator/orders/{id}/refund", post(orders::refund))
        .route("/operator/users", get(users::search))
        .route("/operator/users/{id}", get(users::show))
        .route("/operator/users/{id}/ban", post(users::ban))
        .route("/operator/users/{id}/unban", post(users::unban))
        .route("/operator/users/{id}/roles", post(users::roles))
        .route("/operator/payments", get(health::payments))
        .route("/operator/outbox", get(health::outbox))
        .route("/operator/invariants", get(health::invariants).post(health::check))
        .route("/operator/audit", get(health::audit))
        .route("/operator/webhooks", get(webhooks::show).post(webhooks::add))
        .route("/operator/webhooks/{id}/remove", post(webhooks::remove))
}

/// What all pages of operators share.
struct Desk {
    /// Which of the pages this is.
    tab: &'static str,
    /// The visitor may act, not only read.
    is_admin: bool,
    /// What could not be done, and what was.
    alert: String,
    notice: &'static str,
}

impl Desk {
    /// For operators alone: everybody else is sent to sign in or told that he may not.
    fn new(visit: &Visit, tab: &'static str, uri: &Uri) -> Result<(Chrome, Desk), Problem> {
        let viewer = visit.signed_in()?;
        if !viewer.is_operator() {
            return Err(Problem::forbidden());
        }
        let asked = Asked::of(uri);
        let notice = match asked.done.as_str() {
            "claimed" => "This account now runs the service.",
            "released" => "The lock is released.",
            "refund" => "The refund is under way.",
            "banned" => "The account is banned.",
            "unbanned" => "The account is no longer banned.",
            "roles" => "The roles are set.",
            "check" => "The check has started.",
            "removed" => "The webhook is removed.",
            _ => "",
        };
        let is_admin = visit.viewer.as_ref().is_some_and(Viewer::is_admin);
        let desk = Desk { tab, is_admin, alert: String::new(), notice };
        Ok((Chrome::new(visit, "operator"), desk))
    }

    fn is(&self, tab: &str) -> bool {
        self.tab == tab
    }

    /// Says what could not be done.
    fn alert(&mut self, problem: &Problem) {
        self.alert = problem.message().to_string();
    }
}

/// What links between these pages carry.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    q: String,
    status: String,
    cursor: String,
    done: String,
}

impl Asked {
    fn of(uri: &Uri) -> Asked {
        Query::<Asked>::try_from_uri(uri).map(|Query(asked)| asked).unwrap_or_default()
    }

    fn has_status(&self, status: &str) -> bool {
        self.status == status
    }
}

/// Onwards after something was done.
fn done(path: &str, what: &str) -> Result<Response, Problem> {
    Ok(go(&format!("{path}?done={what}")))
}

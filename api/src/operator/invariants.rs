//! Whether everything that the ledger promises holds, now and on this node: a full scan, as `holdfast verify` makes it.
//!
//! Apply waits while a scan runs, so there is one at a time, not oftener than every few seconds, and none of a ledger that is
//! too large for it: that one is verified from a backup, or on a node that was stopped.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::invariants::check_invariants;
use holdfast_ledger::state::Meta;
use holdfast_raft::node::Consistency;
use http::StatusCode;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{Onlooker, Operator};
use crate::app::App;
use crate::error::Fault;
use crate::headers::json;
use crate::openapi::{Problem, Time};
use crate::time::{Rfc3339, rfc3339};

/// Between the starts of two scans.
const INTERVAL: Duration = Duration::from_secs(10);
/// Entities and events of the largest ledger that is scanned while it serves: about a second's work.
const ROWS_MAX: u64 = 200_000;

/// The scans of this process.
#[derive(Clone, Default)]
pub struct Checks(Arc<Mutex<Scans>>);

#[derive(Default)]
struct Scans {
    started_at: Option<Instant>,
    running: bool,
    last: Option<CheckView>,
}

/// What a scan found.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = InvariantsCheck)]
#[serde(rename_all = "camelCase")]
struct CheckView {
    /// The last entry of the state that was scanned.
    log_index: u64,
    /// Ledger time of that state.
    #[schema(value_type = Time)]
    time: Rfc3339,
    holds: bool,
    /// What does not hold, a sentence each.
    findings: Vec<String>,
    /// About as many rows as were looked at one by one.
    rows: u64,
    /// The same on every node at the same log index: 32 hex digits.
    state_hash: String,
}

/// Whether a scan runs, and what the last one found.
#[derive(Serialize, ToSchema)]
#[schema(as = Invariants)]
struct ChecksView {
    running: bool,
    last: Option<CheckView>,
}

impl Checks {
    fn view(&self) -> ChecksView {
        let scans = self.0.lock().expect("nothing panics while it holds the scans");
        ChecksView { running: scans.running, last: scans.last.clone() }
    }

    /// `true` where a scan is to be started; a running one goes on.
    fn begin(&self) -> Result<bool, Fault> {
        let mut scans = self.0.lock().expect("nothing panics while it holds the scans");
        if scans.running {
            return Ok(false);
        }
        if let Some(left) = scans.started_at.and_then(|at| INTERVAL.checked_sub(at.elapsed())) {
            return Err(Fault::rate_limited(left.as_secs() + 1));
        }
        scans.started_at = Some(Instant::now());
        scans.running = true;
        Ok(true)
    }

    fn end(&self, found: Option<CheckView>) {
        let mut scans = self.0.lock().expect("nothing panics while it holds the scans");
        scans.running = false;
        if let Some(found) = &found {
            metrics::counter!("holdfast_invariant_checks_total").increment(1);
            metrics::gauge!("holdfast_invariants_violated").set(found.findings.len() as f64);
        }
        scans.last = found.or(scans.last.take());
    }
}

/// `GET /api/operator/invariants`: what the last scan of this node found.
#[utoipa::path(
    get, path = "/api/operator/invariants", tag = "operators", security(("session" = ["operator-read"])),
    responses((status = 200, description = "The last scan", body = ChecksView))
)]
pub async fn show(State(app): State<App>, _: Onlooker) -> Result<Response, Fault> {
    Ok(json(StatusCode::OK, &app.checks.view(), app.node.status().applied_index))
}

/// `POST /api/operator/invariants`: starts a scan of this node's state, where none runs.
#[utoipa::path(
    post, path = "/api/operator/invariants", tag = "operators", security(("session" = ["operator-admin"])),
    responses(
        (status = 202, description = "A scan runs", body = ChecksView),
        (status = 409, description = "The ledger is too large to be scanned while it serves", body = Problem),
    )
)]
pub async fn start(State(app): State<App>, _: Operator) -> Result<Response, Fault> {
    let rows = app.read(Consistency::Stale, |state| Ok(rows(state.meta()))).await?.value;
    if rows > ROWS_MAX {
        let message = "The ledger is too large to be scanned while it serves; use holdfast verify on a stopped node";
        return Err(Fault::conflict("ledger_too_large", message).member("rows", &rows).member("max", &ROWS_MAX));
    }
    if app.checks.begin()? {
        let (node, checks) = (app.node.clone(), app.checks.clone());
        tokio::spawn(async move {
            let scan = node.scan(move |state| {
                let findings = check_invariants(state).err().unwrap_or_default();
                CheckView {
                    log_index: state.meta().index,
                    time: rfc3339(state.meta().now_ms),
                    holds: findings.is_empty(),
                    findings,
                    rows,
                    state_hash: format!("{:032x}", state.state_hash()),
                }
            });
            checks.end(scan.await.ok());
        });
    }
    Ok(json(StatusCode::ACCEPTED, &app.checks.view(), app.node.status().applied_index))
}

/// About as many rows as a scan has to look at one by one.
fn rows(meta: &Meta) -> u64 {
    let events = (meta.event_seq + 1).saturating_sub(meta.outbox_first);
    [meta.tickets, meta.orders, meta.users, meta.idempotency_records, events].iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_scan_at_a_time_and_not_too_often() {
        let checks = Checks::default();
        assert!(checks.begin().unwrap());
        assert!(!checks.begin().unwrap(), "one runs already");
        checks.end(None);
        assert_eq!(checks.begin().unwrap_err().first().code, "rate_limited");
    }
}

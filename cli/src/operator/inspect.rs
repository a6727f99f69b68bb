//! What this node has, looked through: the audit's rows, and a scan of all that must hold.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use holdfast_ledger::entities::AuditRow;
use holdfast_ledger::invariants::check_invariants;
use holdfast_ledger::query::{self, Cursor};
use holdfast_raft::node::{Consistency, Node};
use serde::{Deserialize, Serialize};

use super::Refused;

/// Rows of one page.
const ROWS_PER_PAGE: usize = 100;
/// A larger ledger is not scanned while it serves, as apply waits for the scan.
const SCANNED_ROWS_MAX: u64 = 200_000;
/// Findings that are told; there may be one for every row.
const FINDINGS_MAX: usize = 50;

/// Where the page begins: what the page before said.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    after: Option<String>,
}

/// Some rows of the audit, newest first, and where its chain begins and ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPage {
    /// The number of the newest row, and its hash.
    pub last: u64,
    pub hash: [u8; 32],
    /// The number of the last row that is not kept any more, and its hash.
    pub dropped: u64,
    pub anchor: [u8; 32],
    pub rows: Vec<(u64, AuditRow)>,
    pub next: Option<String>,
}

/// `POST /audit`: a page of what operators did, as this node has applied it.
pub async fn audit(
    State(node): State<Node>,
    body: Result<Json<AuditQuery>, JsonRejection>,
) -> Result<Json<AuditPage>, Refused> {
    let Json(asked) = body?;
    let after: Option<Cursor> = match asked.after.map(|after| after.parse()).transpose() {
        Ok(after) => after,
        Err(_) => return Err(Refused(StatusCode::BAD_REQUEST, "after: not what a page said".into())),
    };
    let page = node.read(Consistency::Stale, move |state| {
        let page = query::audit(state, after.as_ref(), ROWS_PER_PAGE)?;
        let meta = state.meta();
        Ok(AuditPage {
            last: meta.audit_seq,
            hash: meta.audit_hash,
            dropped: meta.audit_dropped,
            anchor: meta.audit_anchor,
            rows: page.rows,
            next: page.next.map(|cursor| cursor.to_string()),
        })
    });
    Ok(Json(page.await?))
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanView {
    pub node_id: u64,
    /// The last entry that the state had.
    pub index: u64,
    /// 32 hex digits; the same on every node at the same index.
    pub state_hash: String,
    pub holds: bool,
    /// At most 50 of them.
    pub findings: Vec<String>,
}

/// `POST /verify`: recomputes the state's hash from all rows and checks every invariant, while apply waits.
pub async fn scan(State(node): State<Node>) -> Result<Json<ScanView>, Refused> {
    let rows = node.read(Consistency::Stale, |state| {
        let meta = state.meta();
        let events = (meta.event_seq + 1).saturating_sub(meta.outbox_first);
        Ok([meta.tickets, meta.orders, meta.users, meta.idempotency_records, events].iter().sum::<u64>())
    });
    let rows = rows.await?;
    if rows > SCANNED_ROWS_MAX {
        let message = format!(
            "about {rows} rows, and {SCANNED_ROWS_MAX} are scanned while a node serves: use `holdfast backup drill`, or `holdfast verify --data` on a stopped node"
        );
        return Err(Refused(StatusCode::CONFLICT, message));
    }
    let node_id = node.status().node_id;
    let scanned = node.scan(move |state| {
        let mut findings: Vec<String> =
            check_invariants(state).err().unwrap_or_default().iter().map(ToString::to_string).collect();
        let holds = findings.is_empty();
        findings.truncate(FINDINGS_MAX);
        let state_hash = format!("{:032x}", state.state_hash());
        ScanView { node_id, index: state.meta().index, state_hash, holds, findings }
    });
    Ok(Json(scanned.await?))
}

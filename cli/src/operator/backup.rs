//! A snapshot of this node, held for whoever copies it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use holdfast_ledger::entities::Operation;
use holdfast_raft::backup::Backup;
use holdfast_raft::node::Node;
use holdfast_raft::snapshot::CHUNK_BYTES_MAX;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Refused;
use super::noted::By;
use crate::backup::{Manifest, described};

/// Snapshots that are held at once: each keeps its files from being removed.
const HELD_MAX: usize = 2;
/// A snapshot that nobody has read from for so long is let go.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// A snapshot that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldView {
    pub id: u64,
    pub manifest: Manifest,
}

#[derive(Clone)]
struct Held {
    node: Node,
    snapshots: Arc<Mutex<BTreeMap<u64, (Instant, Backup)>>>,
}

impl Held {
    fn snapshots(&self) -> MutexGuard<'_, BTreeMap<u64, (Instant, Backup)>> {
        self.snapshots.lock().expect("nothing panics while it holds the snapshots")
    }
}

/// The backup's part of the listener.
pub fn backup_routes(node: Node) -> Router {
    Router::new()
        .route("/backup", post(hold))
        .route("/backup/{id}/{file}", get(piece))
        .route("/backup/{id}/release", post(release))
        .with_state(Held { node, snapshots: Arc::default() })
}

/// `POST /backup`: makes a snapshot and holds it.
async fn hold(State(held): State<Held>, by: By) -> Result<Json<HeldView>, Refused> {
    {
        let mut snapshots = held.snapshots();
        snapshots.retain(|_, (used, _)| used.elapsed() < IDLE_MAX);
        if snapshots.len() >= HELD_MAX {
            let message = format!("{HELD_MAX} backups are under way at this node: wait for one to end");
            return Err(Refused(StatusCode::CONFLICT, message));
        }
    }
    let unavailable = |error: &dyn std::fmt::Display| Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    let backup = held.node.backup().await.map_err(|error| unavailable(&error))?;
    let manifest = described(&backup).await.map_err(|error| unavailable(&error))?;
    // Where there is no quorum, a backup is worth more than its row.
    by.ended(&held.node, Operation::TakeBackup, None, true).await;
    let id = rand::random::<u32>().into();
    held.snapshots().insert(id, (Instant::now(), backup));
    Ok(Json(HeldView { id, manifest }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PieceQuery {
    offset: u64,
}

/// `GET /backup/ID/NUMBER?offset=N`: a piece of a file; empty at its end.
async fn piece(
    State(held): State<Held>,
    Path((id, file)): Path<(u64, usize)>,
    Query(query): Query<PieceQuery>,
) -> Result<Bytes, Refused> {
    let backup = held.snapshots().get_mut(&id).map(|(used, backup)| {
        *used = Instant::now();
        backup.clone()
    });
    let backup = backup.ok_or_else(|| Refused(StatusCode::NOT_FOUND, "no such snapshot is held here".into()))?;
    let read = backup.read(file, query.offset, CHUNK_BYTES_MAX).await;
    read.map_err(|error| Refused(StatusCode::SERVICE_UNAVAILABLE, format!("the snapshot cannot be read: {error}")))
}

/// `POST /backup/ID/release`.
async fn release(State(held): State<Held>, Path(id): Path<u64>) -> Json<Value> {
    Json(json!({ "released": held.snapshots().remove(&id).is_some() }))
}

//! Backups by the clock: each node that has a schedule makes them while it leads, so that one is made whoever leads.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_raft::node::Node;

use super::create;
use super::drill::drill;
use super::prune::{UNFINISHED, prune};
use super::source::Source;
use super::store::Store;
use crate::failure::Failure;

/// When and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub to: String,
    pub interval: Duration,
    /// How many good backups stay; `None`: all.
    pub keep: Option<usize>,
}

/// Makes backups and drills them until it is dropped. `data`: where drills are made.
pub async fn run(node: Node, schedule: Schedule, data: PathBuf) {
    loop {
        tokio::time::sleep(schedule.interval).await;
        let status = node.status();
        if status.leader != Some(status.node_id) {
            continue;
        }
        let done = once(&node, &schedule.to, data.clone()).await;
        let holds = if done.is_ok() { 1.0 } else { 0.0 };
        metrics::gauge!("holdfast_backup_drill_holds").set(holds);
        match done {
            Ok(name) => {
                tidy(&schedule).await;
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                metrics::gauge!("holdfast_backup_timestamp_seconds").set(now.as_secs_f64());
                tracing::info!(backup = name, "the state is backed up, and the backup can be restored");
            }
            Err(failure) => tracing::error!(%failure, "the scheduled backup failed"),
        }
    }
}

/// Removes what is older than is kept. What stays because of an error is removed the next time.
async fn tidy(schedule: &Schedule) {
    let Some(keep) = schedule.keep else { return };
    let pruned = async { prune(&Store::open(&schedule.to, false)?, keep, UNFINISHED, false).await };
    match pruned.await {
        Ok(pruned) => tracing::debug!(removed = pruned.removed.len(), "old backups are removed"),
        Err(failure) => tracing::warn!(%failure, "old backups stay"),
    }
}

async fn once(node: &Node, to: &str, data: PathBuf) -> Result<String, Failure> {
    let store = Store::open(to, true)?;
    let backup = node.backup().await.map_err(|error| Failure::failed(format!("no snapshot: {error}")))?;
    let (manifest, _) = create::copy(&Source::Here(backup), &store).await?;
    drill(&store, Some(&manifest.name()), data).await.map(|drilled| drilled.name)
}

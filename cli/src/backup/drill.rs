//! `holdfast backup drill`: is this backup one that can be restored?
//!
//! It is restored into a folder of its own beside everything, without a listener, its state is scanned as a whole, and the folder is
//! removed. The result is a JSON object, and a file of metrics for whoever collects such files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use holdfast_ledger::invariants::check_invariants;
use holdfast_raft::disk;
use holdfast_raft::inspect::Inspection;
use serde_json::json;

use super::FromArgs;
use super::restore::unpack;
use super::store::Store;
use crate::failure::{Exit, Failure};
use crate::{stored, versions};

#[derive(Debug, Args)]
pub struct DrillArgs {
    /// Folder in which the drill makes its own [default: the system's]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Write the result as metrics in Prometheus's text format
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    #[command(flatten)]
    pub from: FromArgs,
}

/// What a drill found.
#[derive(Debug, Clone, PartialEq)]
pub struct Drilled {
    pub name: String,
    pub state_hash: String,
    pub seconds: f64,
}

pub async fn run(args: &DrillArgs) -> Result<(), Failure> {
    let store = Store::open(&args.from.store.from, false)?;
    let scratch = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let drilled = drill(&store, args.from.backup.as_deref(), scratch).await;
    if let Some(path) = &args.metrics {
        let complain = |error: std::io::Error| Failure::cannot_start(format!("--metrics {}: {error}", path.display()));
        std::fs::write(path, metrics_text(drilled.as_ref().ok())).map_err(complain)?;
    }
    let drilled = drilled?;
    match args.from.store.json {
        true => say!(
            "{}",
            json!({ "backup": drilled.name, "state_hash": drilled.state_hash, "seconds": drilled.seconds, "holds": true })
        ),
        false => say!(
            "backup {} can be restored: hash {} and all invariants hold ({:.1} s)",
            drilled.name,
            drilled.state_hash,
            drilled.seconds
        ),
    }
    Ok(())
}

/// Removes the drill's folder, however the drill ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Restores a backup below `scratch`, compares its hash and checks everything that must hold.
pub async fn drill(store: &Store, backup: Option<&str>, scratch: PathBuf) -> Result<Drilled, Failure> {
    let began = Instant::now();
    let manifest = store.manifest(backup).await?;
    manifest.check_version(versions::known())?;
    let scratch = Scratch(scratch.join(format!("holdfast-drill-{:016x}", rand::random::<u64>())));
    let data = &scratch.0;
    let complain = |error: std::io::Error| Failure::cannot_start(format!("{}: {error}", data.display()));
    std::fs::create_dir_all(data).map_err(complain)?;
    unpack(store, &manifest, data).await?;
    let disk = disk::Folder::open(data).map_err(complain)?;
    let inspection = Inspection::open(Arc::new(disk)).await.map_err(|fault| stored::failure(data, &fault))?;
    let checked =
        tokio::task::spawn_blocking(move || check_invariants(inspection.state()).map_err(|found| found.len()));
    let checked = checked.await.map_err(|error| Failure::failed(format!("the scan: {error}")))?;
    let found =
        |count| Failure::new(Exit::Damaged, format!("backup {}: {count} invariants do not hold", manifest.name()));
    checked.map_err(found)?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Drilled { name: manifest.name(), state_hash: manifest.state_hash, seconds })
}

fn metrics_text(drilled: Option<&Drilled>) -> String {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (holds, seconds) = drilled.map_or((0, 0.0), |drilled| (1, drilled.seconds));
    format!(
        "# TYPE holdfast_backup_drill_holds gauge\nholdfast_backup_drill_holds {holds}\n\
         # TYPE holdfast_backup_drill_seconds gauge\nholdfast_backup_drill_seconds {seconds}\n\
         # TYPE holdfast_backup_drill_timestamp_seconds gauge\nholdfast_backup_drill_timestamp_seconds {now_s}\n"
    )
}

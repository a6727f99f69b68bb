//! `holdfast backup`: copies of a running node's state, and clusters made of them.
//!
//! A backup is a snapshot's files, kept under their checksums, and a manifest with the state's hash. What an earlier backup has is
//! not copied again. A restore makes a new cluster: another id, a higher lineage, so that neither an id nor an event of what came
//! after the backup is given again, and whoever follows the events sees that it has to look anew.
//!
//! What this deliberately does not do: back up keys. The signing keys of a node stay in its folder, and a restored node makes
//! its own.

mod create;
mod drill;
mod job;
mod manifest;
mod prune;
mod restore;
mod source;
mod store;

pub use job::{Schedule, run as run_job};
pub use manifest::{Manifest, hex};
pub use restore::raise_lineage;
pub use source::described;

use clap::{Args, Subcommand};
use holdfast_ledger::version::FIRST;
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::membership::{Operators, Problem, Reach};
use crate::versions;
use source::Source;
use store::Store;

/// Damaged files that are named.
const DAMAGED_SHOWN_MAX: usize = 16;

/// Back a cluster up, and make one of a backup
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Copy the state of a running node; only what the store does not have yet
    Create(CreateArgs),
    /// List the backups in a store
    List(StoreArgs),
    /// Read a backup whole and compare all checksums
    Verify(FromArgs),
    /// Make a new cluster of one node out of a backup, in an empty folder
    Restore(restore::RestoreArgs),
    /// Restore a backup beside everything, compare the state's hash, check all invariants, and remove it again
    Drill(drill::DrillArgs),
    /// Remove old backups, and the files that only they have
    Prune(prune::PruneArgs),
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Folder, or s3://bucket/prefix with AWS_* variables
    #[arg(long, value_name = "STORE")]
    to: String,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Folder, or s3://bucket/prefix with AWS_* variables
    #[arg(long, value_name = "STORE")]
    from: String,
    /// One JSON object, for errors as well
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct FromArgs {
    /// Which backup [default: the newest]
    #[arg(long, value_name = "NAME")]
    backup: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

pub async fn run(command: BackupCommand) -> Result<(), Failure> {
    let (json, done) = match command {
        BackupCommand::Create(args) => (args.reach.json, create(&args).await),
        BackupCommand::List(args) => (args.json, list(&args).await),
        BackupCommand::Verify(args) => (args.store.json, verify(&args).await),
        BackupCommand::Restore(args) => (args.from.store.json, restore::run(&args).await),
        BackupCommand::Drill(args) => (args.from.store.json, drill::run(&args).await),
        BackupCommand::Prune(args) => (args.store.json, prune::run(&args).await),
    };
    done.inspect_err(|failure| {
        if json {
            say!("{}", Problem::from(failure.clone()).json());
        }
    })
}

async fn create(args: &CreateArgs) -> Result<(), Failure> {
    let store = Store::open(&args.to, true)?;
    let operators = Operators::new(&args.reach).map_err(|problem| problem.failure)?;
    let source = Source::hold(operators).await?;
    let made = create::copy(&source, &store).await;
    source.release().await;
    let (manifest, copied) = made?;
    if args.reach.json {
        say!(
            "{}",
            json!({ "backup": manifest.name(), "copied_files": copied.files, "copied_bytes": copied.bytes, "manifest": manifest })
        );
    } else {
        say!("backup:      {} in {}", manifest.name(), args.to);
        say!("state:       up to log entry {}, hash {}", manifest.index, manifest.state_hash);
        say!("cluster:     {}, at version {}", manifest.cluster_id, manifest.cluster_version.unwrap_or(FIRST));
        say!(
            "copied:      {} of {} files, {} of {} bytes",
            copied.files,
            manifest.files.len(),
            copied.bytes,
            manifest.bytes()
        );
    }
    Ok(())
}

async fn list(args: &StoreArgs) -> Result<(), Failure> {
    let names = Store::open(&args.from, false)?.names().await?;
    match args.json {
        true => say!("{}", json!({ "backups": names })),
        false => names.iter().for_each(|name| say!("{name}")),
    }
    Ok(())
}

async fn verify(args: &FromArgs) -> Result<(), Failure> {
    let store = Store::open(&args.store.from, false)?;
    let manifest = store.manifest(args.backup.as_deref()).await?;
    manifest.check_version(versions::known())?;
    let mut damaged = Vec::new();
    for file in &manifest.files {
        match store.read_file(file, |_| Ok(())).await {
            Err(failure) if failure.exit == Exit::Damaged => damaged.push(failure.message),
            read => read?,
        }
    }
    if !damaged.is_empty() {
        let (count, all) = (damaged.len(), manifest.files.len());
        damaged.truncate(DAMAGED_SHOWN_MAX);
        let message = format!("backup {}: {count} of {all} files: {}", manifest.name(), damaged.join("; "));
        return Err(Failure::new(Exit::Damaged, message));
    }
    let (name, files, bytes) = (manifest.name(), manifest.files.len(), manifest.bytes());
    match args.store.json {
        true => say!("{}", json!({ "backup": name, "files": files, "bytes": bytes, "holds": true })),
        false => say!("backup {name} holds: {files} files, {bytes} bytes"),
    }
    Ok(())
}

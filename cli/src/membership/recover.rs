//! `holdfast cluster recover`: what is left of a cluster that has lost its quorum for good becomes a cluster of its own.
//!
//! The last resort. What a majority acknowledged and this folder does not have is lost, and nobody can say here how much that is; the
//! folder whose log goes farthest loses least, so others that can be read are compared first.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use holdfast_raft::disk;
use holdfast_raft::refound;
use serde_json::json;

use super::Problem;
use crate::backup::raise_lineage;
use crate::failure::Failure;
use crate::stored;

#[derive(Debug, Args)]
pub struct RecoverArgs {
    /// Folder of the stopped node that is to go on alone
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR")]
    data: PathBuf,
    /// Folders of other members, stopped, that can still be read; may be said again
    #[arg(long, value_name = "DIR")]
    other: Vec<PathBuf>,
    /// Yes: what a majority acknowledged and this folder does not have is lost
    #[arg(long)]
    yes_lose_what_is_missing: bool,
    /// One JSON object, for errors as well
    #[arg(long)]
    pub json: bool,
}

/// How far a folder's log goes: its last entry, and what it knows to be committed.
async fn reach(data: &Path) -> Result<(u64, u64), Failure> {
    let (_folder, inspection) = stored::open(data).await?;
    let bounds = inspection.bounds();
    let last = bounds.last.unwrap_or(0).max(inspection.applied());
    let committed = bounds.committed.unwrap_or(0).max(inspection.applied());
    inspection.close().await.map_err(|fault| stored::failure(data, &fault))?;
    Ok((last, committed))
}

pub async fn run(args: &RecoverArgs) -> Result<(), Problem> {
    let (last, committed) = reach(&args.data).await?;
    let mut farthest: Option<(u64, &Path)> = None;
    for other in &args.other {
        let (there, _) = reach(other).await?;
        farthest = farthest.max(Some((there, other)));
    }
    if !args.json {
        say!("{}: its log ends at entry {last}, and {committed} was known there to be committed.", args.data.display());
        match farthest {
            Some((there, other)) => say!("{}: its log ends at entry {there}.", other.display()),
            None => say!("No other folder was compared (--other): what others had beyond {last} is not known here."),
        }
        say!(
            "Lost is what was acknowledged after entry {last}. Orders, payments and events of it are gone from the ledger."
        );
    }
    if let Some((there, other)) = farthest.filter(|(there, _)| *there > last) {
        let message = format!("the log in {} goes on to entry {there}: recover from that folder", other.display());
        return Err(Problem::refused("another_is_farther", message));
    }
    if !args.yes_lose_what_is_missing {
        let message = "nothing was done: say --yes-lose-what-is-missing if no quorum will ever come back";
        return Err(Problem::refused("not_confirmed", message));
    }
    let complain = |error: std::io::Error| Failure::cannot_start(format!("--data {}: {error}", args.data.display()));
    let folder = crate::folder::Folder::take_existing(&args.data)?;
    let disk = disk::Folder::open(&args.data).map_err(complain)?;
    let refounded = refound::from_member(Arc::new(disk)).await.map_err(|fault| stored::failure(&args.data, &fault))?;
    let lineage = raise_lineage(&args.data, &refounded).await?;
    drop(folder);
    let cluster = format!("{:032x}", refounded.place.cluster_id);
    if args.json {
        say!(
            "{}",
            json!({ "cluster_id": cluster, "node_id": refounded.place.node_id, "lineage": lineage, "last_index": last })
        );
    } else {
        say!(
            "It is the only voter of the new cluster {cluster}, lineage {lineage}. Start it, and let empty nodes join it."
        );
        say!("Never start the other members again: they belong to the cluster that was.");
    }
    Ok(())
}

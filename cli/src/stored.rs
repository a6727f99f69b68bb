//! Opening what a stopped node has stored.

use std::path::Path;
use std::sync::Arc;

use holdfast_raft::damage::Fault;
use holdfast_raft::disk;
use holdfast_raft::inspect::Inspection;

use crate::failure::{Exit, Failure};
use crate::folder::Folder;

/// Takes the folder for as long as the result is held, and opens what is in it. Refuses a folder that a node is using.
pub async fn open(data: &Path) -> Result<(Folder, Inspection), Failure> {
    let folder = Folder::take_existing(data)?;
    let disk = disk::Folder::open(data)
        .map_err(|error| Failure::cannot_start(format!("--data {}: {error}", data.display())))?;
    let inspection = Inspection::open(Arc::new(disk)).await.map_err(|fault| failure(data, &fault))?;
    Ok((folder, inspection))
}

/// A fault of stored data, as the end of a command.
pub fn failure(data: &Path, fault: &Fault) -> Failure {
    let exit = match fault {
        Fault::Storage { .. } => Exit::Storage,
        Fault::Version { .. } => Exit::Newer,
        Fault::Damage(_) | Fault::Undecodable { .. } | Fault::Invariant { .. } => Exit::Damaged,
    };
    Failure::new(exit, format!("--data {}: {fault}", data.display()))
}

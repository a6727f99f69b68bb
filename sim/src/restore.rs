//! Restoring a backup: what `holdfast backup create` and `holdfast backup restore` do, on simulated machines.
//!
//! Some member makes a backup while the cluster works. Later all machines lose what they have, and one of them makes a new cluster
//! of the backup: it has another id and the next lineage, and the others join it with empty disks. What came after the backup is
//! lost, and nothing else: [`past`](crate::past) says what that means for whoever had been told of it.
//!
//! What this deliberately does not do: restore half. A machine that dies on the way begins anew with an empty folder.

use std::sync::Arc;

use holdfast_raft::disk::{Disk, SharedDisk};
use holdfast_raft::node::{Node, Options, Start};
use holdfast_raft::refound::{self, STATE_DIRECTORY};
use holdfast_raft::snapshot::CHUNK_BYTES_MAX;
use serde::{Deserialize, Serialize};

use crate::clocks::elapsed;
use crate::machine::{Ground, any_port, options, peer_addr};

/// A backup, kept outside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The ledger's lineage, and its last entry.
    pub lineage: u16,
    pub index: u64,
    pub state_hash: u128,
    /// The last event.
    pub event_seq: u64,
    /// Ledger time, in milliseconds.
    pub time_ms: u64,
    /// Its files, each with its name.
    files: Vec<(String, Vec<u8>)>,
}

/// Makes a backup of a node and copies its files.
pub async fn back_up(node: &Node) -> Result<Kept, String> {
    let backup = node.backup().await.map_err(|error| error.to_string())?;
    let mut files = Vec::new();
    for (number, file) in backup.files().iter().enumerate() {
        let mut content: Vec<u8> = Vec::new();
        loop {
            let piece = backup.read(number, content.len() as u64, CHUNK_BYTES_MAX).await;
            let piece = piece.map_err(|error| error.to_string())?;
            if piece.is_empty() {
                break;
            }
            content.extend_from_slice(&piece);
        }
        files.push((file.name.clone(), content));
    }
    let held = backup.holding;
    let (lineage, index, state_hash) = (held.lineage, held.index, held.state_hash);
    Ok(Kept { lineage, index, state_hash, event_seq: held.event_seq, time_ms: held.now_ms, files })
}

/// Makes the only node of a new cluster of machine `number`, if it is to be restored. Whatever was begun before is given up.
pub async fn restore(ground: &Arc<Ground>, number: u32) -> Result<(), String> {
    let machine = &ground.machines[&number];
    let Some(kept) = machine.to_restore() else { return Ok(()) };
    machine.disk().wipe(&[]);
    let disk: SharedDisk = Arc::new(machine.disk());
    unpack(&*disk, &kept).map_err(|error| format!("restoring: {error}"))?;
    let options = Options { peer_listen: any_port(number), start: Start::Continue, ..options(ground, number) };
    let peer_addr = peer_addr(number).to_string();
    let refounded = refound::from_state(disk, peer_addr.clone(), options.http_addr.clone()).await;
    let refounded = refounded.map_err(|error| error.to_string())?;
    {
        let mut observed = ground.observed();
        let held = refounded.held;
        if (held.index, held.state_hash, held.event_seq) != (kept.index, kept.state_hash, kept.event_seq) {
            observed.violations.insert(format!("the restored state is not the one that was backed up: {held:?}"));
        }
        observed.state(number, (kept.lineage, kept.index), kept.state_hash, kept.time_ms);
    }
    let options = Options { peer_addr: Some(peer_addr), ..options };
    let lineage = refound::raise_lineage(options).await.map_err(|error| error.to_string())?;
    ground.trace.note(format_args!("n{number} is restored from entry {}, lineage {lineage}", kept.index));
    if lineage != kept.lineage + 1 {
        ground.observed().violations.insert(format!("lineage {} is followed by {lineage}", kept.lineage));
    }
    // Nothing in the new lineage is earlier than what it goes on from.
    ground.observed().state(number, (lineage, kept.index), kept.state_hash, kept.time_ms);
    ground.pasts.end(kept.lineage, elapsed().as_nanos() as u64);
    machine.restored();
    Ok(())
}

fn unpack(disk: &dyn Disk, kept: &Kept) -> std::io::Result<()> {
    for (name, content) in &kept.files {
        disk.append(&format!("{STATE_DIRECTORY}/{name}"), content)?;
    }
    disk.sync_dir(STATE_DIRECTORY)
}

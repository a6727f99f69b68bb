//! What a backup is made of: a snapshot of a running node, held while somebody copies its files, and what it holds.
//!
//! Any member can give one, a learner as well: it makes a snapshot of what it has applied when it is asked, which is a checkpoint
//! that shares its files with the state, and reads the state's hash from a copy of it. Who copies the files can compare that
//! hash with what comes out of them elsewhere.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use holdfast_ledger::State;
use holdfast_ledger::version::Version;
use openraft::type_config::TypeConfigExt;
use openraft_rt::WatchReceiver as _;

use crate::damage::Fault;
use crate::disk::Purpose;
use crate::node::{Core, Node, Unavailable};
use crate::runtime;
use crate::snapshot::{FileRecord, Shelf, SnapshotFiles};
use crate::state::StateStore;
use crate::state::folder::{self, engine_fault, storage};
use crate::types::{LogId, TypeConfig};
use crate::version::readable;

/// Rows kept in memory while a copy is looked into, in bytes.
const CACHE_BYTES_MAX: usize = 1 << 20;

/// Why there is no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("nothing is applied here yet: there is nothing to back up")]
    Nothing,
    #[error("no snapshot was made in time")]
    TimedOut,
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What a state holds, in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// The last entry that it has.
    pub index: u64,
    pub term: u64,
    pub lineage: u16,
    /// What the cluster was at: there are rows of no newer form.
    pub version: Version,
    pub state_hash: u128,
    /// The last event.
    pub event_seq: u64,
    /// Ledger time, in milliseconds since the Unix epoch.
    pub now_ms: u64,
}

impl Holding {
    pub(crate) fn of(state: &State<StateStore>, last: LogId) -> Holding {
        let meta = state.meta();
        Holding {
            index: last.index(),
            term: **last.committed_leader_id(),
            lineage: meta.lineage,
            version: meta.version,
            state_hash: state.state_hash(),
            event_seq: meta.event_seq,
            now_ms: meta.now_ms,
        }
    }
}

/// A snapshot that stays as long as this is held.
#[derive(Debug, Clone)]
pub struct Backup {
    pub cluster_id: u128,
    pub holding: Holding,
    files: SnapshotFiles,
}

impl Backup {
    /// Its files, in the order of their names.
    pub fn files(&self) -> &[FileRecord] {
        &self.files.manifest().files
    }

    /// Reads at most `bytes` bytes of the file of this number from `offset`, and never more than
    /// [`CHUNK_BYTES_MAX`](crate::snapshot::CHUNK_BYTES_MAX); empty at its end.
    pub async fn read(&self, file: usize, offset: u64, bytes: usize) -> io::Result<Bytes> {
        self.files.read(file, offset, bytes).await
    }
}

impl Node {
    /// Makes a snapshot of what this node has applied, to be copied while it goes on.
    pub async fn backup(&self) -> Result<Backup, BackupError> {
        take(self.core()).await
    }
}

async fn take(core: &Core) -> Result<Backup, BackupError> {
    core.check_running()?;
    let state = core.state()?;
    let applied = state.applied_log_id().ok_or(BackupError::Nothing)?;
    let stopping = |_| BackupError::Unavailable(Unavailable::Stopping);
    core.raft.trigger().snapshot().await.map_err(|_| Unavailable::Stopping)?;
    let mut metrics = core.raft.metrics();
    let made = metrics.wait_until(|metrics| metrics.snapshot >= Some(applied));
    let made = TypeConfig::timeout(Duration::from_millis(core.settings.snapshot_timeout_ms), made).await;
    made.map_err(|_| BackupError::TimedOut)?.map_err(stopping)?;
    let snapshot = core.raft.get_snapshot().await.map_err(|_| Unavailable::Stopping)?;
    let files = snapshot.ok_or(BackupError::Nothing)?.snapshot;
    let (shelf, copied) = (state.shelf(), files.clone());
    let holding = runtime::blocking(move || look(&shelf, &copied)).await?;
    Ok(Backup { cluster_id: core.links.place.cluster_id, holding, files })
}

/// Opens a copy of a snapshot and reads what it holds. Blocks.
fn look(shelf: &Shelf, files: &SnapshotFiles) -> Result<Holding, BackupError> {
    let doing = "looking into a snapshot";
    let (disk, path) = (files.disk(), shelf.unfinished_path());
    disk.copy_dir(files.path(), &path).map_err(storage(doing))?;
    let engine = disk.open_engine(&path, Purpose::State).map_err(engine_fault(doing))?;
    let (state, mark) = folder::load(&engine, CACHE_BYTES_MAX, readable())?;
    let holding = Holding::of(&state, mark.last_applied.ok_or(BackupError::Nothing)?);
    drop((state, engine));
    disk.remove_dir(&path).map_err(storage(doing))?;
    Ok(holding)
}

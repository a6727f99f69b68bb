//! All that a node stores, opened from its data folder: the log, the state, and the latch for their faults.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use openraft::type_config::TypeConfigExt as _;
use openraft_rt::WatchReceiver as _;

use crate::damage::{Damage, Fatal, Fault};
use crate::disk::SharedDisk;
use crate::log_store::LogStore;
use crate::runtime::WatchReceiver;
use crate::stages::Stages;
use crate::state::{self, StateHandle, StateMachine, StateSettings};
use crate::types::{LogId, TypeConfig};

/// How long closing waits for others to let go of the storage.
const RELEASE_WAIT: Duration = Duration::from_secs(1);

/// How much memory storage may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageSettings {
    /// Log entries kept in memory, in bytes.
    pub recent_bytes_max: usize,
    pub state: StateSettings,
}

impl Default for StorageSettings {
    fn default() -> StorageSettings {
        StorageSettings { recent_bytes_max: 64 << 20, state: StateSettings::default() }
    }
}

/// A node's log and state, open. `log` and `machine` are for openraft, `state` is for whoever reads.
pub struct Storage {
    pub log: LogStore,
    pub machine: StateMachine,
    pub state: StateHandle,
    pub fatal: Fatal,
    pub(crate) stages: Arc<Stages>,
}

impl Storage {
    /// Opens what is in `disk`, or begins anew in an empty folder. Must be called inside the runtime.
    ///
    /// An error is a fault of the disk, or [`Damage`](crate::damage::Damage): then this node must not vote.
    pub async fn open(disk: SharedDisk, settings: StorageSettings) -> Result<Storage, Fault> {
        let fatal = Fatal::default();
        let durable_end = Arc::new(AtomicU64::new(0));
        let (recent_bytes_max, known) = (settings.recent_bytes_max, settings.state.versions);
        let log = LogStore::open(disk.clone(), fatal.clone(), durable_end.clone(), recent_bytes_max, known).await?;
        let (machine, state) = state::open(disk, settings.state, fatal.clone(), log.synced_end(), durable_end).await?;
        // What is not in the state comes from the snapshot, and what is in neither from the log: nothing may be in none.
        let (held, purged) = (state.restorable_log_id(), log.purged_log_id());
        if held < purged {
            let index = |id: Option<LogId>| id.map_or(0, |id| id.index());
            return Err(Damage::StateBehindLog { held: index(held), purged: index(purged) }.into());
        }
        let stages = log.stages();
        Ok(Storage { machine: machine.noting(stages.clone()), log, state, fatal, stages })
    }

    /// What closes the storage after openraft has been shut down; taken before `log` and `machine` are given away.
    pub fn closing(&self) -> Closing {
        Closing { log: self.log.clone(), state: self.state.clone() }
    }
}

/// Closes a storage in the right order.
pub struct Closing {
    log: LogStore,
    state: StateHandle,
}

impl Closing {
    /// Flushes the state and ends both writers: nothing is lost from then on. Then waits until the databases can be opened
    /// again, which is when the last handle to this storage is gone; no longer than [`RELEASE_WAIT`], as the caller may hold one.
    pub async fn close(self) -> std::io::Result<()> {
        let Closing { log, state } = self;
        let flushed = state.close().await;
        let written = log.close().await;
        let released = [log.released(), state.released()];
        drop((log, state));
        if !all_released(released, RELEASE_WAIT).await {
            tracing::debug!("the databases stay open while somebody holds this node");
        }
        flushed.and(written)
    }
}

/// Waits, no longer than `wait`, until databases that were let go of can be opened again; whether they can be.
pub(crate) async fn all_released<const N: usize>(databases: [Option<WatchReceiver<()>>; N], wait: Duration) -> bool {
    let released = async {
        for mut database in databases.into_iter().flatten() {
            // Ends with an error when the sender goes, which is what is waited for.
            while database.changed().await.is_ok() {}
        }
    };
    TypeConfig::timeout(wait, released).await.is_ok()
}

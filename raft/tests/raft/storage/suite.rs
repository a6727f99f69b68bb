//! openraft's own suite for log stores and state machines, on both disks.

use std::sync::Arc;

use holdfast_raft::damage::Fatal;
use holdfast_raft::disk::{SharedDisk, SimDisk};
use holdfast_raft::log_store::LogStore;
use holdfast_raft::runtime::{WatchReceiver, WatchSender, watch_channel};
use holdfast_raft::state::{self, StateMachine};
use holdfast_raft::types::TypeConfig;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft_rt::AsyncRuntime;
#[cfg(not(madsim))]
use openraft_rt::WatchReceiver as _;

use super::drive;

/// Makes stores each in a new folder. The suite applies what is in no log and purges what is in no snapshot, so nothing
/// holds either back.
struct Builder<D> {
    new_disk: fn() -> (D, SharedDisk),
}

/// What goes when a test of the suite is over: the databases first, then their folder.
struct Guard<D> {
    #[cfg_attr(madsim, expect(dead_code, reason = "a simulated disk has nothing to wait for"))]
    released: Vec<WatchReceiver<()>>,
    _all_synced: WatchSender<u64>,
    _folder: D,
}

impl<D> Drop for Guard<D> {
    /// Waits for the databases: RocksDB must not be at work when the process ends.
    fn drop(&mut self) {
        #[cfg(not(madsim))]
        for mut released in self.released.drain(..) {
            let wait = async { while released.changed().await.is_ok() {} };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(wait));
        }
    }
}

impl<D: Send + Sync + 'static> StoreBuilder<TypeConfig, LogStore, StateMachine, Guard<D>> for Builder<D> {
    async fn build(&self) -> Result<(Guard<D>, LogStore, StateMachine), StorageError<TypeConfig>> {
        let (folder, disk) = (self.new_disk)();
        let settings = drive::small();
        let unbounded = state::unbounded_durable_end();
        let (bytes_max, known) = (settings.recent_bytes_max, settings.state.versions);
        let log = LogStore::open(disk.clone(), Fatal::default(), unbounded.clone(), bytes_max, known).await;
        let log = log.expect("a new folder opens");
        let (all_synced, synced_end) = watch_channel(u64::MAX);
        let opened = state::open(disk, settings.state, Fatal::default(), synced_end, unbounded).await;
        let (machine, handle) = opened.expect("a new folder opens");
        let released = [log.released(), handle.released()].into_iter().flatten().collect();
        Ok((Guard { released, _all_synced: all_synced, _folder: folder }, log, machine))
    }
}

fn run<D: Send + Sync + 'static>(new_disk: fn() -> (D, SharedDisk)) {
    let passed = holdfast_raft::runtime::Runtime::new(4).block_on(Suite::test_all(Builder { new_disk }));
    passed.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn openraft_storage_suite_on_the_simulated_disk() {
    run(|| {
        let disk = SimDisk::new(1);
        (disk.clone(), Arc::new(disk) as SharedDisk)
    });
}

#[cfg(not(madsim))]
#[test]
fn openraft_storage_suite_on_rocksdb() {
    run(|| {
        let root = tempfile::tempdir().expect("a folder");
        let disk = holdfast_raft::disk::Folder::open(root.path()).expect("opens");
        (root, Arc::new(disk) as SharedDisk)
    });
}

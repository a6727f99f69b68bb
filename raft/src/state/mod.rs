//! The state: the ledger's, applied in memory and written behind to its own database.
//!
//! [Apply](machine) works on rows in memory above the engine ([store](store)); the [flusher](flush) writes what changed
//! as one batch, with the position it belongs to, and makes checkpoints of it. The log has every entry that is not yet
//! flushed, so flushes need no sync of their own; openraft replays what came after the last one.
//!
//! What this deliberately does not do: isolate readers from apply. A reader holds a read lock for one page, apply takes
//! the write lock for one entry.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use holdfast_ledger::State;
use holdfast_ledger::command::Batch;
use holdfast_ledger::event::Event;
use holdfast_ledger::limits::PAGE_ROWS_MAX;
#[cfg(doc)]
use holdfast_ledger::planted::Bug;
use holdfast_ledger::query;
use holdfast_ledger::version::{Version, Versions};
use openraft_rt::{WatchReceiver as _, WatchSender as _};
use tokio::sync::{mpsc, oneshot};

use self::flush::{Flusher, FlusherOp, QUEUE_OPS_MAX};
use self::folder::{Damaged, Mark};
use crate::damage::{Fatal, Fault};
use crate::disk::SharedDisk;
use crate::log_store::DurableEnd;
use crate::runtime::{self, WatchReceiver, WatchSender, watch_channel};
use crate::snapshot::{Manifest, Shelf, SnapshotReceiver};
use crate::types::{LogId, StoredMembership, TypeConfig};
use crate::version;

mod cache;
mod flush;
pub(crate) mod folder;
mod machine;
mod overlay;
mod store;

pub(crate) use machine::panic_message;
pub use machine::{SnapshotBuilder, StateMachine};
pub use store::StateStore;

/// openraft's handle to a running node, over this state.
pub type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// How much memory the state may take, and how often it is flushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSettings {
    /// Rows changed since the last flush, in bytes; apply waits when they are more. As much again may be on its way.
    pub overlay_bytes_max: usize,
    /// Unchanged rows kept in memory, in bytes.
    pub cache_bytes_max: usize,
    /// What changed is flushed at least this often, in milliseconds.
    pub flush_interval_ms: u64,
    /// What this node knows: a state of another version is not opened, and none is come to.
    pub versions: Versions,
}

impl Default for StateSettings {
    fn default() -> StateSettings {
        StateSettings {
            overlay_bytes_max: 64 << 20,
            cache_bytes_max: 64 << 20,
            flush_interval_ms: 1_000,
            versions: Versions::SHIPPED,
        }
    }
}

/// The state and its position, behind one lock: they change together.
struct Held {
    state: State<StateStore>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
    /// The position that the engine has.
    flushed: Option<LogId>,
}

impl Held {
    /// The position that is applied here.
    fn mark(&self) -> Mark {
        Mark { last_applied: self.last_applied, membership: self.membership.clone() }
    }
}

struct Shared {
    held: RwLock<Held>,
    settings: StateSettings,
    fatal: Fatal,
    shelf: Arc<Shelf>,
    durable_end: DurableEnd,
    applied: WatchSender<u64>,
    applied_seen: WatchReceiver<u64>,
    /// Counts flushes; whoever waits for room waits for it to change.
    flushes: WatchSender<u64>,
    flusher: mpsc::Sender<FlusherOp>,
    disk: SharedDisk,
    version: ClusterVersion,
}

/// What the cluster is at, as far as this node has applied, for who does not hold the state.
pub type ClusterVersion = Arc<AtomicU8>;

impl Shared {
    /// Before anything of `version` is kept: it must be known here, and the folder says so first.
    fn come_to(&self, version: Version) -> Result<(), Fault> {
        if version == self.version.load(Ordering::Acquire) {
            return Ok(());
        }
        version::check("the cluster", version, self.settings.versions)?;
        version::mark(&*self.disk, version).map_err(folder::storage("marking the folder's version"))?;
        self.version.store(version, Ordering::Release);
        tracing::info!(version, "the cluster's version");
        Ok(())
    }

    fn read<T>(&self, query: impl FnOnce(&Held) -> T) -> T {
        query(&self.held.read().expect("a panic of apply is caught before it reaches the lock"))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        change(&mut self.held.write().expect("a panic of apply is caught before it reaches the lock"))
    }

    /// Everything up to `id` is durable: the log may forget it.
    fn raise_durable_end(&self, id: Option<LogId>) {
        self.durable_end.fetch_max(id.map_or(0, |id| id.index() + 1), Ordering::AcqRel);
    }

    fn publish_applied(&self, id: Option<LogId>) {
        let index = id.map_or(0, |id| id.index());
        self.applied.send_if_modified(|applied| std::mem::replace(applied, index) != index);
    }
}

/// What the node reads of the state. Clones are of the same state.
#[derive(Clone)]
pub struct StateHandle {
    shared: Arc<Shared>,
}

impl StateHandle {
    /// Runs `query` on one consistent state. Apply waits for it, so it is to be short: one page. It may read the disk.
    pub fn with_state<T>(&self, query: impl FnOnce(&State<StateStore>) -> T) -> T {
        self.shared.read(|held| query(&held.state))
    }

    /// The events that `batch` would make as entry `index`, for [`Bug::PublishBeforeCommit`]. The state stays as it is.
    pub(crate) fn foresee(&self, index: u64, batch: &Batch) -> Vec<Event> {
        self.shared.write(|held| {
            let before = held.state.meta().event_seq;
            held.state.store_mut().begin_entry();
            let applied = held.state.apply(index, batch).is_ok();
            let events = query::events(&held.state, before, PAGE_ROWS_MAX).map(|page| page.events);
            held.state.store_mut().roll_back();
            let as_before = held.state.reload().is_ok();
            events.ok().filter(|_| applied && as_before).unwrap_or_default()
        })
    }

    /// The index of the last entry applied; 0 before the first.
    pub fn applied_index(&self) -> u64 {
        *self.shared.applied_seen.borrow_watched()
    }

    /// What the cluster is at, followed without the state.
    pub(crate) fn version(&self) -> ClusterVersion {
        self.shared.version.clone()
    }

    /// Follows [`applied_index`](StateHandle::applied_index).
    pub fn applied(&self) -> WatchReceiver<u64> {
        self.shared.applied_seen.clone()
    }

    pub fn applied_log_id(&self) -> Option<LogId> {
        self.shared.read(|held| held.last_applied)
    }

    /// How far state and snapshot go without the log.
    pub fn restorable_log_id(&self) -> Option<LogId> {
        let snapshot = self.shared.shelf.current().and_then(|files| files.manifest().meta.last_log_id);
        self.applied_log_id().max(snapshot.map(LogId::from))
    }

    /// The last membership applied.
    pub fn membership(&self) -> StoredMembership {
        self.shared.read(|held| held.membership.clone())
    }

    pub(crate) fn shelf(&self) -> Arc<Shelf> {
        self.shared.shelf.clone()
    }

    /// Begins to receive a snapshot; see [`Shelf::receive`] for what is refused.
    pub async fn receive_snapshot(&self, manifest: Manifest) -> io::Result<SnapshotReceiver> {
        let shelf = self.shared.shelf.clone();
        runtime::blocking(move || shelf.receive(manifest)).await
    }

    /// A channel that closes when the state's database can be opened again; see
    /// [`Engine::released`](crate::engine::Engine::released).
    pub fn released(&self) -> Option<WatchReceiver<()>> {
        self.shared.read(|held| held.state.store().released())
    }

    /// Flushes what changed, makes it durable, and ends the flusher.
    pub async fn close(&self) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        self.shared.flusher.send(FlusherOp::Close { done }).await.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the state is closed")
}

/// Opens the state in `disk` and starts its flusher, which flushes nothing that the log has not synced (`synced_end`).
///
/// `durable_end` is raised to what is durable here, now and later.
pub async fn open(
    disk: SharedDisk,
    settings: StateSettings,
    fatal: Fatal,
    synced_end: WatchReceiver<u64>,
    durable_end: DurableEnd,
) -> Result<(StateMachine, StateHandle), Fault> {
    let (opened, cache_bytes_max, versions) = (disk.clone(), settings.cache_bytes_max, settings.versions);
    let find = move || folder::find(&opened, cache_bytes_max, versions, Damaged::IsBuiltAnew);
    let found = runtime::blocking(find).await?;
    let version = found.state.meta().version;
    version::mark(&*disk, version).map_err(folder::storage("marking the folder's version"))?;
    let shelf = found.shelf.clone();
    let (applied, applied_seen) = watch_channel(found.mark.last_applied.map_or(0, |id| id.index()));
    let (flusher, ops) = mpsc::channel(QUEUE_OPS_MAX);
    let interval = Duration::from_millis(settings.flush_interval_ms);
    tokio::spawn(flush::tick(flusher.downgrade(), interval));
    let held = Held {
        state: found.state,
        flushed: found.mark.last_applied,
        last_applied: found.mark.last_applied,
        membership: found.mark.membership,
    };
    let shared = Arc::new(Shared {
        held: RwLock::new(held),
        settings,
        fatal,
        shelf,
        durable_end,
        applied,
        applied_seen,
        flushes: watch_channel(0).0,
        flusher,
        disk: disk.clone(),
        version: Arc::new(AtomicU8::new(version)),
    });
    shared.raise_durable_end(found.mark.last_applied);
    let work = Flusher::new(Arc::downgrade(&shared), disk, found.engine, found.directory, synced_end);
    runtime::dedicated(work.run(ops));
    Ok((StateMachine::new(shared.clone()), StateHandle { shared }))
}

/// A durable end that nothing holds back, for a log without a state.
pub fn unbounded_durable_end() -> DurableEnd {
    Arc::new(AtomicU64::new(u64::MAX))
}

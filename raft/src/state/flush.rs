//! The flusher: the one writer of the state's database.
//!
//! It freezes what changed, together with the position that it belongs to, waits until the log has synced everything up to
//! there, and writes it as one batch. Checkpoints and installed snapshots go through its queue too, so that a checkpoint
//! holds exactly one position and an install never meets a flush.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use holdfast_ledger::planted::{Bug, at_work};
use openraft::type_config::TypeConfigExt;
use openraft_rt::{WatchReceiver as _, WatchSender as _};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::folder::{self, Mark, engine_fault, storage};
use super::overlay::Overlay;
use crate::damage::{Damage, Fault};
use crate::disk::{Purpose, SharedDisk};
#[cfg(feature = "planted")]
use crate::engine::Batch;
use crate::engine::{Durability, SharedEngine};
use crate::failpoint::{Point, reach};
use crate::runtime::WatchReceiver;
use crate::snapshot::SnapshotFiles;
use crate::types::TypeConfig;

/// Requests that may wait for the flusher; more make their callers wait.
pub const QUEUE_OPS_MAX: usize = 16;

type Done<T> = oneshot::Sender<io::Result<T>>;

/// What the flusher is asked.
pub enum FlusherOp {
    /// Flush what changed.
    Flush,
    /// Flush what changed and make a checkpoint of it: answers with where it is and what it holds.
    Checkpoint { done: Done<(String, Mark)> },
    /// Put the state of a complete snapshot in the place of what is here.
    Install { files: SnapshotFiles, done: Done<()> },
    /// Flush what changed, make it durable, and end.
    Close { done: Done<()> },
}

pub struct Flusher {
    /// Weak: the flusher ends when nobody can ask it any more.
    shared: Weak<Shared>,
    disk: SharedDisk,
    engine: SharedEngine,
    directory: String,
    synced_end: WatchReceiver<u64>,
    /// What the last flush left out, for [`Bug::ApplyTwice`].
    #[cfg(feature = "planted")]
    position: Batch,
}

impl Flusher {
    pub fn new(
        shared: Weak<Shared>,
        disk: SharedDisk,
        engine: SharedEngine,
        directory: String,
        synced_end: WatchReceiver<u64>,
    ) -> Flusher {
        Flusher {
            shared,
            disk,
            engine,
            directory,
            synced_end,
            #[cfg(feature = "planted")]
            position: Batch::new(),
        }
    }

    /// Works until it is closed or nobody can ask it any more.
    pub async fn run(mut self, mut ops: mpsc::Receiver<FlusherOp>) {
        while let Some(op) = ops.recv().await {
            let Some(shared) = self.shared.upgrade() else { return };
            match op {
                FlusherOp::Flush => drop(self.flush(&shared).await),
                FlusherOp::Checkpoint { done } => answer(done, self.checkpoint(&shared).await),
                FlusherOp::Install { files, done } => {
                    let result = latching(&shared, self.install(&shared, &files));
                    answer(done, result);
                }
                FlusherOp::Close { done } => {
                    let result = self.close(&shared).await;
                    // The database goes before the caller hears of it, as far as it is held here.
                    drop((shared, self, ops));
                    return answer(done, result);
                }
            }
        }
    }

    /// Writes what changed. Does nothing if nothing did.
    async fn flush(&mut self, shared: &Shared) -> Result<(), Fault> {
        if let Some(fault) = shared.fatal.latched() {
            return Err(fault);
        }
        let Some((rows, mark)) = freeze(shared) else { return Ok(()) };
        self.wait_until_synced(shared, &mark).await?;
        let mut batch = rows.to_batch();
        batch.push(mark.change());
        #[cfg(feature = "planted")]
        if at_work(Bug::ApplyTwice) {
            self.position = batch.extract_if(.., |change| folder::is_position(change)).collect();
        }
        let delay = self.engine.delay(Durability::Unsynced);
        if !delay.is_zero() {
            TypeConfig::sleep(delay).await;
        }
        reach(Point::BeforeFlush);
        let written = self.engine.write(batch, Durability::Unsynced).map_err(engine_fault("flushing the state"));
        latching(shared, written)?;
        reach(Point::AfterFlush);
        let flushed = shared.write(|held| {
            held.flushed = mark.last_applied;
            held.state.store_mut().flushed()
        });
        // Thousands of rows are freed here, where no reader waits.
        drop((rows, flushed));
        shared.flushes.send_if_modified(|flushes| {
            *flushes += 1;
            true
        });
        Ok(())
    }

    /// openraft applies what it has submitted, which may not be synced here yet. A state must not be ahead of its log.
    async fn wait_until_synced(&mut self, shared: &Shared, mark: &Mark) -> Result<(), Fault> {
        let Some(last) = mark.last_applied else { return Ok(()) };
        while *self.synced_end.borrow_watched() <= last.index() {
            let fatal = shared.fatal.clone();
            tokio::select! {
                biased;
                fault = fatal.wait() => return Err(fault),
                changed = self.synced_end.changed() => {
                    changed.map_err(|_| Fault::Storage { doing: "flushing the state", reason: "the log is closed".into() })?;
                }
            }
        }
        Ok(())
    }

    async fn checkpoint(&mut self, shared: &Shared) -> Result<(String, Mark), Fault> {
        self.flush(shared).await?;
        #[cfg(feature = "planted")]
        self.write_position(shared)?;
        // The log is purged up to the snapshot: should that be damaged one day, the state itself has what it held.
        if !at_work(Bug::SnapshotUnsynced) {
            latching(shared, self.engine.sync().map_err(engine_fault("syncing the state")))?;
        }
        let (path, mark) = (shared.shelf.unfinished_path(), folder::read_mark(&*self.engine)?);
        latching(shared, self.engine.checkpoint(&path).map_err(engine_fault("making a snapshot")))?;
        reach(Point::SnapshotWritten);
        Ok((path, mark))
    }

    fn install(&mut self, shared: &Shared, files: &SnapshotFiles) -> Result<(), Fault> {
        let doing = "installing a snapshot";
        reach(Point::BeforeSnapshotInstall);
        let directory = folder::next_directory(&self.directory);
        self.disk.remove_dir(&directory).map_err(storage(doing))?;
        self.disk.copy_dir(files.path(), &directory).map_err(storage(doing))?;
        self.disk.sync_dir(&directory).map_err(storage(doing))?;
        let engine = self.disk.open_engine(&directory, Purpose::State).map_err(engine_fault(doing))?;
        #[cfg_attr(not(feature = "planted"), expect(unused_mut, reason = "changed by a planted bug alone"))]
        let (mut state, mark) = folder::load(&engine, shared.settings.cache_bytes_max, shared.settings.versions)?;
        #[cfg(feature = "planted")]
        if at_work(Bug::DropKeysAtSnapshot) {
            state.forget_keys().map_err(|error| Fault::Storage { doing, reason: error.to_string() })?;
        }
        if mark.record() != files.manifest().meta {
            let (what, reason) = (format!("snapshot {}", files.path()), "it holds another position".to_string());
            return Err(Damage::Unreadable { what, reason }.into());
        }
        shared.come_to(state.meta().version)?;
        reach(Point::SnapshotCopied);
        folder::point(&self.disk, &directory)?;
        reach(Point::AfterSnapshotInstall);
        let last_applied = mark.last_applied;
        let replaced = shared.write(|held| {
            held.last_applied = mark.last_applied;
            held.flushed = mark.last_applied;
            held.membership = mark.membership;
            std::mem::replace(&mut held.state, state)
        });
        shared.raise_durable_end(last_applied);
        shared.publish_applied(last_applied);
        // With both handles gone the old database is closed, and its directory can go.
        self.engine = engine;
        drop(replaced);
        let old = std::mem::replace(&mut self.directory, directory);
        self.disk.remove_dir(&old).map_err(storage(doing))
    }

    /// Writes where the state stands, for [`Bug::ApplyTwice`], which leaves that out of a flush.
    #[cfg(feature = "planted")]
    fn write_position(&mut self, shared: &Shared) -> Result<(), Fault> {
        let position = std::mem::take(&mut self.position);
        let written = self.engine.write(position, Durability::Unsynced).map_err(engine_fault("flushing the state"));
        latching(shared, written)
    }

    async fn close(&mut self, shared: &Shared) -> Result<(), Fault> {
        self.flush(shared).await?;
        #[cfg(feature = "planted")]
        self.write_position(shared)?;
        latching(shared, self.engine.sync().map_err(engine_fault("syncing the state")))?;
        shared.raise_durable_end(shared.read(|held| held.flushed));
        Ok(())
    }
}

/// Asks for a flush every `interval`, as long as there is a flusher to ask. A task of its own, because the flusher's thread
/// may outlive the runtime, whose timers it must not wait for then.
pub async fn tick(flusher: mpsc::WeakSender<FlusherOp>, interval: Duration) {
    loop {
        TypeConfig::sleep(interval).await;
        let Some(flusher) = flusher.upgrade() else { return };
        // A full queue has a flush in it, or something that begins with one.
        if let Err(TrySendError::Closed(_)) = flusher.try_send(FlusherOp::Flush) {
            return;
        }
    }
}

fn answer<T>(done: Done<T>, result: Result<T, Fault>) {
    // The caller may have been dropped meanwhile; then nobody waits.
    drop(done.send(result.map_err(io::Error::from)));
}

fn latching<T>(shared: &Shared, result: Result<T, Fault>) -> Result<T, Fault> {
    result.map_err(|fault| shared.fatal.latch(fault))
}

/// Freezes what changed with its position; `None` if nothing changed since the last flush.
fn freeze(shared: &Shared) -> Option<(Arc<Overlay>, Mark)> {
    shared.write(|held| {
        if held.flushed == held.last_applied {
            return None;
        }
        let rows = held.state.store_mut().freeze();
        Some((rows, held.mark()))
    })
}

//! openraft's state machine over the ledger: apply, build a snapshot, install one.
//!
//! Entries come in order, each is applied once and its caller answered at once. What cannot be applied, because it cannot
//! be decoded, breaks an invariant of the ledger or meets a failing disk, is a fault of this node and stops it at that
//! entry with the state as it was before: the entry's changes are taken back, so that what is still read is consistent.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt};
use holdfast_ledger::codec::CodecError;
use holdfast_ledger::command::Batch;
use holdfast_ledger::outcome::Applied;
use holdfast_ledger::planted::{Bug, at_work};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::SnapshotOf;
use openraft::{EntryPayload, OptionalSend};
use openraft_rt::{WatchReceiver as _, WatchSender as _};
use tokio::sync::oneshot;

use super::flush::FlusherOp;
use super::folder::storage;
use super::{Held, Shared, closed};
use crate::damage::Fault;
use crate::failpoint::{Point, reach};
use crate::runtime::{self, WatchReceiver};
use crate::snapshot::SnapshotFiles;
use crate::stages::Stages;
use crate::types::{Entry, LogId, Payload, Response, SnapshotMeta, StoredMembership, TypeConfig};

type Snapshot = SnapshotOf<TypeConfig, SnapshotFiles>;

/// The state machine that openraft drives. There is one of each state.
pub struct StateMachine {
    shared: Arc<Shared>,
    flushes: WatchReceiver<u64>,
    /// Where it is noted how far entries have come, if somebody reads it.
    stages: Option<Arc<Stages>>,
}

impl StateMachine {
    pub(super) fn new(shared: Arc<Shared>) -> StateMachine {
        let flushes = shared.flushes.subscribe();
        StateMachine { shared, flushes, stages: None }
    }

    /// The same, which notes when it applies entries.
    pub(crate) fn noting(self, stages: Arc<Stages>) -> StateMachine {
        StateMachine { stages: Some(stages), ..self }
    }

    /// Applies an entry, notes when, and measures it.
    fn apply_timed(&self, entry: Entry) -> Result<Option<Applied>, Fault> {
        let index = entry.log_id.index();
        let begun = TypeConfig::now();
        if let Some(stages) = &self.stages {
            stages.applying(index);
        }
        let applied = self.apply_entry(entry)?;
        if let Some(stages) = &self.stages {
            stages.applied(index);
        }
        metrics::histogram!("holdfast_apply_seconds").record((TypeConfig::now() - begun).as_secs_f64());
        Ok(applied)
    }

    /// Waits while there are more changes in memory than there may be.
    async fn wait_for_room(&mut self) -> io::Result<()> {
        let bytes_max = self.shared.settings.overlay_bytes_max;
        loop {
            self.shared.fatal.check()?;
            let bytes = self.shared.read(|held| held.state.store().active_bytes());
            if bytes >= bytes_max / 2 {
                // A full queue has a flush in it, or something that begins with one.
                let _ = self.shared.flusher.try_send(FlusherOp::Flush);
            }
            if bytes < bytes_max {
                return Ok(());
            }
            let fatal = self.shared.fatal.clone();
            tokio::select! {
                biased;
                fault = fatal.wait() => return Err(fault.into()),
                changed = self.flushes.changed() => changed.map_err(|_| closed())?,
            }
        }
    }

    fn apply_entry(&self, entry: Entry) -> Result<Option<Applied>, Fault> {
        let log_id = entry.log_id;
        let applied = match entry.payload {
            EntryPayload::Blank => {
                self.shared.write(|held| held.last_applied = Some(log_id));
                None
            }
            EntryPayload::Membership(membership) => {
                reach(Point::BeforeMembershipApply);
                self.shared.write(|held| {
                    held.last_applied = Some(log_id);
                    held.membership = StoredMembership::new(Some(log_id), membership);
                });
                reach(Point::AfterMembershipApply);
                None
            }
            EntryPayload::Normal(Payload(payload)) => {
                let index = log_id.index();
                let known = self.shared.settings.versions;
                let batch: Batch = known.read(&payload).map_err(|error| match error {
                    CodecError::Version { found } => Fault::Version { what: format!("entry {index}"), found, known },
                    error => Fault::Undecodable { index, reason: error.to_string() },
                })?;
                let batch = if at_work(Bug::ExpireByLocalClock) { stamped_here(batch) } else { batch };
                reach(Point::BeforeApply);
                let applied = self.shared.write(|held| apply_batch(&self.shared, held, log_id, &batch))?;
                reach(Point::AfterApply);
                Some(applied)
            }
        };
        self.shared.publish_applied(Some(log_id));
        Ok(applied)
    }
}

/// The batch with the time of this machine, for [`Bug::ExpireByLocalClock`].
fn stamped_here(batch: Batch) -> Batch {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Batch { time_ms: now.as_millis() as u64, ..batch }
}

/// Applies a batch, or leaves the rows as they were.
fn apply_batch(shared: &Shared, held: &mut Held, log_id: LogId, batch: &Batch) -> Result<Applied, Fault> {
    let index = log_id.index();
    held.state.store_mut().begin_entry();
    let fault = match catch_unwind(AssertUnwindSafe(|| held.state.apply(index, batch))) {
        Ok(Ok(applied)) => match shared.come_to(held.state.meta().version) {
            Ok(()) => {
                held.last_applied = Some(log_id);
                return Ok(applied);
            }
            Err(fault) => fault,
        },
        Ok(Err(error)) => Fault::Storage { doing: "applying an entry", reason: format!("entry {index}: {error}") },
        Err(panic) => Fault::Invariant { index, invariant: panic_message(&*panic) },
    };
    held.state.store_mut().roll_back();
    // If the disk fails here as well, the rows are still right: what is kept beside them only serves apply, which is over.
    if let Err(error) = held.state.reload() {
        tracing::warn!(%error, "the state could not be read again after entry {index} was taken back");
    }
    Err(fault)
}

pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_string())
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFiles;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok(self.shared.read(|held| (held.last_applied, held.membership.clone())))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            self.wait_for_room().await?;
            let applied = self.apply_timed(entry).map_err(|fault| self.shared.fatal.latch(fault))?;
            if let Some(responder) = responder {
                responder.send(Response(applied));
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { shared: self.shared.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, files: SnapshotFiles) -> io::Result<()> {
        self.shared.fatal.check()?;
        let (shelf, wanted) = (self.shared.shelf.clone(), meta.last_log_id);
        let placed = runtime::blocking(move || {
            files.verify()?;
            let placed = shelf.place(files)?;
            match placed.meta()?.last_log_id == wanted {
                true => Ok(placed),
                false => Err(io::Error::other("a newer snapshot than the one to install is here")),
            }
        });
        let files = placed.await.map_err(|error| self.shared.fatal.latch(storage("installing a snapshot")(error)))?;
        let (done, result) = oneshot::channel();
        self.shared.flusher.send(FlusherOp::Install { files, done }).await.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.shared.shelf.current().map(as_snapshot).transpose()
    }
}

fn as_snapshot(files: SnapshotFiles) -> io::Result<Snapshot> {
    Ok(Snapshot { meta: files.meta()?, snapshot: files })
}

/// Builds one snapshot, of the position that is applied when the flusher comes to it, while apply goes on.
pub struct SnapshotBuilder {
    shared: Arc<Shared>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFiles;

    /// A snapshot that was received meanwhile is newer and stays in its place, but is not the answer: openraft purges the log up to
    /// what it is told was built, and what was received is durable in the state only once it is installed.
    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let asked_at = at_work(Bug::OldSnapshotLabel).then(|| self.shared.read(Held::mark));
        if asked_at.is_some() {
            TypeConfig::sleep(std::time::Duration::from_millis(20)).await;
        }
        let (done, result) = oneshot::channel();
        self.shared.flusher.send(FlusherOp::Checkpoint { done }).await.map_err(|_| closed())?;
        let (path, mark) = result.await.map_err(|_| closed())??;
        let shelf = self.shared.shelf.clone();
        let record = asked_at.as_ref().unwrap_or(&mark).record();
        let added = runtime::blocking(move || shelf.add_checkpoint(&path, record)).await;
        let files = added.map_err(|error| self.shared.fatal.latch(storage("making a snapshot")(error)))?;
        self.shared.raise_durable_end(mark.last_applied);
        as_snapshot(files)
    }
}

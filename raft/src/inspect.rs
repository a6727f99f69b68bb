//! A stopped node's data, opened to be looked at: its log, its state, and what an entry did.
//!
//! Opening checks what a starting node checks, and does no more to the folder than that. Replay works on rows in memory
//! above the stored state, or above a copy of the snapshot in `tmp/`, and writes nothing of it: it starts from whatever is
//! nearest before the entry that is asked for, and goes as far back as the log does.
//!
//! What this deliberately does not do: repair, or take part in anything.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use holdfast_ledger::State;
use holdfast_ledger::codec;
use holdfast_ledger::command::Batch;
use holdfast_ledger::outcome::Applied;
use openraft::EntryPayload;
use openraft::storage::{RaftLogReader, RaftLogStorage};

use crate::damage::{Damage, Fatal, Fault};
use crate::disk::{Purpose, SharedDisk};
use crate::log_store::LogStore;
use crate::refound::{close_log, closed};
use crate::runtime;
use crate::snapshot::Shelf;
use crate::state::folder::{self, Damaged, Mark, engine_fault, storage};
use crate::state::{StateStore, panic_message, unbounded_durable_end};
use crate::types::Payload;
use crate::version::readable;

/// Entries and rows kept in memory, in bytes.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// A stopped node's log and state.
pub struct Inspection {
    disk: SharedDisk,
    log: LogStore,
    state: State<StateStore>,
    mark: Mark,
    shelf: Arc<Shelf>,
    bounds: Bounds,
}

/// What the log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first entry there is; `None` in an empty log.
    pub first: Option<u64>,
    pub last: Option<u64>,
    /// What this node knew to be committed: later entries may still be replaced.
    pub committed: Option<u64>,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    pub index: u64,
    pub term: u64,
    pub content: Content,
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A new leader's first entry, or the mark of a join.
    Blank,
    Membership(String),
    Commands(Batch),
}

/// What replaying an entry did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The entry carries no commands.
    Nothing,
    Applied(Applied),
    /// Applying it breaks an invariant of the ledger.
    Broken {
        invariant: String,
    },
}

/// An entry's replay: the entry, what it did, and where the replay started.
pub struct Replayed {
    pub entry: Logged,
    pub effect: Effect,
    /// The state that was at hand: everything up to this entry. 0: the empty state.
    pub from: u64,
    /// The state after the entry; before it, if it is broken.
    pub state: State<StateStore>,
}

/// Why an entry cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("the log has no entry {index}: it has {first} to {last}")]
    NoSuchEntry { index: u64, first: u64, last: u64 },
    #[error(
        "nothing stored is from before entry {index}: the log begins at {first}, and the oldest state is of entry {oldest}"
    )]
    TooOld { index: u64, first: u64, oldest: u64 },
    #[error("entry {index}, on the way there, breaks an invariant: {invariant}")]
    BrokenBefore { index: u64, invariant: String },
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Inspection {
    /// Opens and checks the data in `disk`, which no running node may be using.
    pub async fn open(disk: SharedDisk) -> Result<Inspection, Fault> {
        let (fatal, durable_end) = (Fatal::default(), unbounded_durable_end());
        let mut log = LogStore::open(disk.clone(), fatal, durable_end, MEMORY_BYTES_MAX, readable()).await?;
        let opened = disk.clone();
        let found =
            runtime::blocking(move || folder::find(&opened, MEMORY_BYTES_MAX, readable(), Damaged::IsAnError)).await?;
        let state = log.get_log_state().await.map_err(storage("reading the log"))?;
        let committed = log.read_committed().await.map_err(storage("reading the log"))?;
        let first = match state.last_purged_log_id {
            Some(purged) => Some(purged.index() + 1),
            None => {
                log.limited_get_log_entries(0, u64::MAX).await.map_err(storage("reading the log"))?.first().map(index)
            }
        };
        let last = state.last_log_id.map(|id| id.index());
        let bounds = Bounds {
            first: first.filter(|first| last.is_some_and(|last| *first <= last)),
            last,
            committed: committed.map(|id| id.index()),
        };
        Ok(Inspection { disk, log, state: found.state, mark: found.mark, shelf: found.shelf, bounds })
    }

    /// Lets go of the data: when this returns, it can be opened again.
    pub async fn close(self) -> Result<(), Fault> {
        let Inspection { log, state, .. } = self;
        let released = state.store().released();
        drop(state);
        close_log(log).await?;
        closed(released).await;
        Ok(())
    }

    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The stored state.
    pub fn state(&self) -> &State<StateStore> {
        &self.state
    }

    /// The last entry that the stored state has.
    pub fn applied(&self) -> u64 {
        self.mark.last_applied.map_or(0, |id| id.index())
    }

    /// The last entry that the snapshot has, if there is one.
    pub fn snapshot(&self) -> Option<u64> {
        let meta = self.shelf.current()?.meta().ok()?;
        meta.last_log_id.map(|id| id.index())
    }

    /// The entry at `index`, if the log has it.
    pub async fn entry(&mut self, index: u64) -> Result<Option<Logged>, Fault> {
        read_entry(&mut self.log, index).await
    }

    /// Applies entry after entry, in memory, from the nearest state before the one at `index` up to it.
    pub async fn replay(self, index: u64) -> Result<Replayed, ReplayError> {
        let (Some(first), Some(last)) = (self.bounds.first, self.bounds.last) else {
            return Err(ReplayError::NoSuchEntry { index, first: 0, last: 0 });
        };
        if index < first || index > last {
            return Err(ReplayError::NoSuchEntry { index, first, last });
        }
        let from = self.start_before(index, first)?;
        let Inspection { disk, mut log, state, mark, shelf, .. } = self;
        let mut state = match from == mark.last_applied.map_or(0, |id| id.index()) {
            true => state,
            false => runtime::blocking(move || copied(&disk, &shelf, from)).await?,
        };
        let mut next = if from == 0 { first } else { from + 1 };
        loop {
            let entry = read_entry(&mut log, next).await?.ok_or(Fault::from(Damage::EntryMissing { index: next }))?;
            let effect = apply(&mut state, &entry)?;
            if next == index {
                return Ok(Replayed { entry, effect, from, state });
            }
            if let Effect::Broken { invariant } = effect {
                return Err(ReplayError::BrokenBefore { index: next, invariant });
            }
            next += 1;
        }
    }

    /// The nearest state at hand that is before `index` and that the log goes on from.
    fn start_before(&self, index: u64, first: u64) -> Result<u64, ReplayError> {
        let reached = |state: &u64| *state < index && state + 1 >= first;
        let whole_log = (first <= 1).then_some(0);
        let states = [Some(self.applied()), self.snapshot(), whole_log];
        let oldest = states.iter().flatten().min().copied().unwrap_or(0);
        let nearest = states.into_iter().flatten().filter(reached).max();
        nearest.ok_or(ReplayError::TooOld { index, first, oldest })
    }
}

/// A state of its own, in `tmp/`: a copy of the snapshot, or an empty one for 0. Removed when the folder is next opened.
fn copied(disk: &SharedDisk, shelf: &Shelf, at: u64) -> Result<State<StateStore>, Fault> {
    let doing = "copying a state to replay from";
    let path = shelf.unfinished_path();
    if let Some(files) = shelf.current().filter(|_| at != 0) {
        disk.copy_dir(files.path(), &path).map_err(storage(doing))?;
    }
    let engine = disk.open_engine(&path, Purpose::State).map_err(engine_fault(doing))?;
    folder::load(&engine, MEMORY_BYTES_MAX, readable()).map(|(state, _)| state)
}

async fn read_entry(log: &mut LogStore, index: u64) -> Result<Option<Logged>, Fault> {
    let read = log.limited_get_log_entries(index, index + 1).await;
    let entries = read.map_err(storage("reading the log"))?;
    entries.into_iter().find(|entry| entry.log_id.index() == index).map(logged).transpose()
}

fn index(entry: &crate::types::Entry) -> u64 {
    entry.log_id.index()
}

fn logged(entry: crate::types::Entry) -> Result<Logged, Fault> {
    let index = entry.log_id.index();
    let content = match entry.payload {
        EntryPayload::Blank => Content::Blank,
        EntryPayload::Membership(membership) => Content::Membership(membership.to_string()),
        EntryPayload::Normal(Payload(bytes)) => {
            let undecodable = |error: codec::CodecError| Fault::Undecodable { index, reason: error.to_string() };
            Content::Commands(readable().read(&bytes).map_err(undecodable)?)
        }
    };
    Ok(Logged { index, term: entry.log_id.leader_id.term, content })
}

/// Applies an entry, or leaves the rows as they were.
fn apply(state: &mut State<StateStore>, entry: &Logged) -> Result<Effect, Fault> {
    let Content::Commands(batch) = &entry.content else { return Ok(Effect::Nothing) };
    state.store_mut().begin_entry();
    let applied = catch_unwind(AssertUnwindSafe(|| state.apply(entry.index, batch)));
    if let Ok(Ok(applied)) = applied {
        return Ok(Effect::Applied(applied));
    }
    state.store_mut().roll_back();
    match applied {
        Ok(result) => {
            let reason = result.err().map(|error| error.to_string()).unwrap_or_default();
            Err(Fault::Storage { doing: "replaying an entry", reason })
        }
        Err(panic) => Ok(Effect::Broken { invariant: panic_message(&*panic) }),
    }
}

//! The log: vote, entries and what is committed, as openraft asks for it, on an engine.
//!
//! All changes go through one [writer](writer), which syncs once for everything that waits. Reads come from the
//! [recent](recent) entries in memory, and from the database only for what is older, then checked against the
//! [chain](chain) that links every entry to the one before it. A [watermark](watermark) outside the database says how far
//! the log has been, so that a log that lost its end is noticed when it is [opened](open).
//!
//! What this deliberately does not do: decide what may be purged. openraft purges what a snapshot holds; the log only
//! refuses to go beyond what is durable of the state.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use holdfast_ledger::version::Versions;
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft_rt::{OptionalSend, WatchSender as _};
use tokio::sync::{mpsc, oneshot};

use self::chain::Purged;
use self::recent::Recent;
use self::watermark::Watermark;
use self::writer::{Op, QUEUE_OPS_MAX, Writer};
use crate::damage::{Fatal, Fault};
use crate::disk::{Disk, SharedDisk};
use crate::engine::SharedEngine;
use crate::runtime::{self, WatchReceiver, WatchSender, watch_channel};
use crate::stages::Stages;
use crate::types::{Entry, LogId, TypeConfig, Vote};

mod chain;
mod open;
mod reader;
mod recent;
mod watermark;
mod writer;

/// How much of the state is durable: all entries with a lower index. Shared with the state, which raises it.
pub type DurableEnd = Arc<AtomicU64>;

/// The log's bounds and what is recent of it.
#[derive(Debug)]
struct Held {
    /// The last vote that is durable.
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<Purged>,
    /// What openraft has purged, which the database follows.
    purged_id: Option<LogId>,
    /// The first entry there is.
    first: Option<u64>,
    last: Option<LogId>,
    recent: Recent,
}

impl Held {
    fn has(&self, index: u64) -> bool {
        self.first.is_some_and(|first| index >= first) && self.last.is_some_and(|last| index <= last.index())
    }
}

struct Shared {
    engine: SharedEngine,
    fatal: Fatal,
    durable_end: DurableEnd,
    /// All entries with a lower index are synced.
    synced_end: WatchSender<u64>,
    held: Mutex<Held>,
    stages: Arc<Stages>,
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nothing panics while it holds the log's bounds")
    }

    fn raise_synced_end(&self, end: u64) {
        self.synced_end.send_if_modified(|synced| std::mem::replace(synced, end.max(*synced)) < end);
    }

    fn lower_synced_end(&self, end: u64) {
        self.synced_end.send_if_modified(|synced| std::mem::replace(synced, end.min(*synced)) > end);
    }
}

/// A handle to the log. Clones are of the same log, and serve as readers.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Op>,
    synced_end: WatchReceiver<u64>,
}

impl LogStore {
    /// Opens the log in `disk`, checks it, and starts its writer. Keeps up to `recent_bytes_max` bytes of entries in memory.
    ///
    /// An error is a fault of the disk, [`Damage`](crate::damage::Damage), after which this node must not vote, or an entry of a
    /// version that is not `known`.
    pub async fn open(
        disk: SharedDisk,
        fatal: Fatal,
        durable_end: DurableEnd,
        recent_bytes_max: usize,
        known: Versions,
    ) -> Result<LogStore, Fault> {
        let opened = disk.clone();
        let found = runtime::blocking(move || open::find(&opened, recent_bytes_max, known)).await?;
        let (synced_end, synced_end_seen) = watch_channel(found.watermark.synced_end);
        let held = Held {
            vote: found.vote,
            committed: found.committed,
            purged: found.purged,
            purged_id: found.purged.map(|purged| purged.log_id.into()),
            first: found.first,
            last: found.last,
            recent: found.recent,
        };
        let shared = Arc::new(Shared {
            engine: found.engine,
            fatal,
            durable_end,
            synced_end,
            held: Mutex::new(held),
            stages: Arc::default(),
        });
        let (queue, ops) = mpsc::channel(QUEUE_OPS_MAX);
        let writer = Writer::new(shared.clone(), disk, found.chain, found.watermark);
        runtime::dedicated(writer.run(ops));
        Ok(LogStore { shared, queue, synced_end: synced_end_seen })
    }

    /// Whether a log was ever begun in `disk`: its watermark is written before anything else of it. Blocks.
    pub fn was_opened(disk: &dyn Disk) -> io::Result<bool> {
        Ok(disk.read(watermark::FILE)?.is_some())
    }

    /// Begins a log in a folder that has none. Blocks.
    pub fn begin(disk: &dyn Disk) -> io::Result<()> {
        if !LogStore::was_opened(disk)? {
            Watermark::default().write(disk)?;
        }
        Ok(())
    }

    /// The last entry that was purged.
    pub fn purged_log_id(&self) -> Option<LogId> {
        self.shared.held().purged_id
    }

    /// All entries with an index lower than this are synced. It goes back when entries are truncated.
    pub fn synced_end(&self) -> WatchReceiver<u64> {
        self.synced_end.clone()
    }

    /// When the newest entries came how far.
    pub(crate) fn stages(&self) -> Arc<Stages> {
        self.shared.stages.clone()
    }

    /// Writes what is waiting and the watermark, and ends the writer. Every later change fails.
    pub async fn close(&self) -> io::Result<()> {
        self.ask(|done| Op::Close { done }).await
    }

    /// A channel that closes when the log's database can be opened again; see
    /// [`Engine::released`](crate::engine::Engine::released).
    pub fn released(&self) -> Option<WatchReceiver<()>> {
        self.shared.engine.released()
    }

    /// Sends an operation to the writer; waits while its queue is full.
    async fn send(&self, op: Op) -> io::Result<()> {
        self.shared.fatal.check()?;
        self.queue.send(op).await.map_err(|_| closed())
    }

    /// Sends an operation and waits until it is done.
    async fn ask(&self, op: impl FnOnce(writer::Done) -> Op) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        self.send(op(done)).await?;
        result.await.map_err(|_| closed())?
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed")
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let held = self.shared.held();
        Ok(LogState { last_purged_log_id: held.purged_id, last_log_id: held.last })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = *vote;
        self.ask(|done| Op::Vote { vote, done }).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.shared.held().committed = committed;
        self.send(Op::Committed(committed)).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.shared.held().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut held = self.shared.held();
            for entry in &entries {
                held.first = held.first.or(Some(entry.log_id.index()));
                held.last = Some(entry.log_id);
                held.recent.push(entry.clone());
            }
        }
        self.send(Op::Append { entries, flushed }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let end = last.map_or(0, |last| last.index() + 1);
        {
            let mut held = self.shared.held();
            if held.last <= last {
                return Ok(());
            }
            held.recent.truncate(end);
            held.first = held.first.filter(|first| *first < end);
            held.last = last.or(held.purged_id);
        }
        self.ask(|done| Op::Truncate { end, done }).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let durable_end = self.shared.durable_end.load(Ordering::Acquire);
        if log_id.index() >= durable_end {
            let reason = format!("asked to purge entry {}, durable is what comes before {durable_end}", log_id.index());
            return Err(self.shared.fatal.latch(Fault::Storage { doing: "purging the log", reason }).into());
        }
        {
            let mut held = self.shared.held();
            held.recent.purge(log_id.index());
            held.purged_id = Some(log_id);
            held.last = held.last.max(Some(log_id));
            let next = log_id.index() + 1;
            held.first = held.first.map(|first| first.max(next));
            if !held.has(next) {
                held.first = None;
            }
        }
        self.send(Op::Purge { log_id }).await
    }
}

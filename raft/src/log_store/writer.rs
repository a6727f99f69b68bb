//! The log's one writer: everything that changes the log goes through its queue, in order.
//!
//! It takes what is waiting, writes it as one batch with one sync, and only then completes the callbacks, in order: group
//! commit falls out, and nothing is acknowledged before it is durable. After a failed write or sync the fault is latched
//! and everything that follows fails; a sync is never tried again. Truncating and purging need the chain's value at an
//! entry that is stored, so they are written by themselves between batches.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_ledger::planted::{Bug, at_work};
use openraft::storage::IOFlushed;
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::InstantOf;
use openraft_rt::WatchSender as _;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::chain::{self, CHAIN_START, COMMITTED, ENTRIES, PURGED, Purged, RECORDS, VOTE};
use super::open::{fault, index_of};
use super::watermark::Watermark;
use crate::damage::Fault;
use crate::disk::SharedDisk;
use crate::engine::{Batch, Change, Durability, Order};
use crate::failpoint::{Point, reach};
use crate::format::{self, LogIdRecord, VoteRecord};
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// Operations that may wait for the writer; more make their callers wait.
pub const QUEUE_OPS_MAX: usize = 1_024;

/// Operations written as one batch at most.
const BATCH_OPS_MAX: usize = 256;

/// Entries that a truncation removes at once.
const TRUNCATE_ROWS: usize = 1_024;

/// The watermark follows the log at least this far apart.
const WATERMARK_INTERVAL: Duration = Duration::from_secs(1);

/// Tells a caller how it went.
pub type Done = oneshot::Sender<io::Result<()>>;

/// What the writer is asked.
pub enum Op {
    Append { entries: Vec<Entry>, flushed: IOFlushed<TypeConfig> },
    Vote { vote: Vote, done: Done },
    Committed(Option<LogId>),
    Truncate { end: u64, done: Done },
    Purge { log_id: LogId },
    Close { done: Done },
}

/// What is told once a batch is durable.
enum Callback {
    Flushed(IOFlushed<TypeConfig>),
    Done(Done),
}

impl Callback {
    fn complete(self, result: Result<(), Fault>) {
        let result = result.map_err(io::Error::from);
        match self {
            Callback::Flushed(flushed) => flushed.io_completed(result),
            // The caller may have been dropped meanwhile; then nobody waits.
            Callback::Done(done) => drop(done.send(result)),
        }
    }
}

/// Operations gathered for one write.
#[derive(Default)]
struct Gathered {
    batch: Batch,
    callbacks: Vec<Callback>,
    synced: bool,
    vote: Option<Vote>,
    /// The first entry of the batch.
    first: Option<u64>,
    /// One past the last entry of the batch.
    end: Option<u64>,
}

pub struct Writer {
    shared: Arc<Shared>,
    disk: SharedDisk,
    /// The chain's value at the last entry given to the database.
    chain: u32,
    watermark: Watermark,
    watermark_written: InstantOf<TypeConfig>,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, disk: SharedDisk, chain: u32, watermark: Watermark) -> Writer {
        Writer { shared, disk, chain, watermark, watermark_written: TypeConfig::now() }
    }

    /// Works until it is closed or nobody can ask it any more.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Op>) {
        let mut ops = Vec::with_capacity(BATCH_OPS_MAX);
        while queue.recv_many(&mut ops, BATCH_OPS_MAX).await > 0 {
            let mut gathered = Gathered::default();
            for op in ops.drain(..) {
                match op {
                    Op::Truncate { end, done } => {
                        self.write(std::mem::take(&mut gathered)).await;
                        let result = self.attempt(|writer| writer.truncate(end));
                        Callback::Done(done).complete(result);
                    }
                    Op::Purge { log_id } => {
                        self.write(std::mem::take(&mut gathered)).await;
                        // Nobody waits: a fault is latched, and meets whoever asks next.
                        let _ = self.attempt(|writer| writer.purge(log_id));
                    }
                    Op::Close { done } => {
                        self.write(std::mem::take(&mut gathered)).await;
                        let result = self.attempt(Writer::advance_watermark);
                        // The queue and the database go before the caller hears of it.
                        drop((queue, self));
                        return Callback::Done(done).complete(result);
                    }
                    op => self.gather(op, &mut gathered),
                }
            }
            self.write(gathered).await;
            if TypeConfig::now() - self.watermark_written >= WATERMARK_INTERVAL {
                let _ = self.attempt(Writer::advance_watermark);
            }
        }
    }

    /// Does `step` unless a fault is latched, and latches the one it meets.
    fn attempt(&mut self, step: impl FnOnce(&mut Writer) -> Result<(), Fault>) -> Result<(), Fault> {
        if let Some(fault) = self.shared.fatal.latched() {
            return Err(fault);
        }
        step(self).map_err(|fault| self.shared.fatal.latch(fault))
    }

    fn gather(&mut self, op: Op, gathered: &mut Gathered) {
        let put = |key: &'static [u8], row: Bytes| Change::Put { table: RECORDS, key: Bytes::from_static(key), row };
        match op {
            Op::Append { entries, flushed } => {
                for entry in &entries {
                    let (row, chain) = chain::link(self.chain, entry);
                    self.chain = chain;
                    let index = entry.log_id.index();
                    self.shared.stages.taken(index);
                    gathered.first.get_or_insert(index);
                    gathered.batch.push(Change::Put { table: ENTRIES, key: chain::entry_key(index), row });
                    gathered.end = Some(index + 1);
                }
                gathered.synced = true;
                gathered.callbacks.push(Callback::Flushed(flushed));
            }
            Op::Vote { vote, done } => {
                if !at_work(Bug::ForgetVote) {
                    gathered.batch.push(put(VOTE, format::encode(&VoteRecord::from(vote))));
                }
                gathered.vote = Some(vote);
                gathered.synced = true;
                gathered.callbacks.push(Callback::Done(done));
            }
            // Told to nobody, so it needs no sync: what is lost of it is found out again.
            Op::Committed(Some(committed)) => {
                gathered.batch.push(put(COMMITTED, format::encode(&LogIdRecord::from(committed))));
            }
            Op::Committed(None) => {
                gathered.batch.push(Change::Delete { table: RECORDS, key: Bytes::from_static(COMMITTED) });
            }
            Op::Truncate { .. } | Op::Purge { .. } | Op::Close { .. } => unreachable!("written by themselves"),
        }
    }

    async fn write(&mut self, gathered: Gathered) {
        let Gathered { batch, callbacks, synced, vote, first, end } = gathered;
        if batch.is_empty() && callbacks.is_empty() {
            return;
        }
        let synced = synced && !at_work(Bug::AcknowledgeBeforeSync);
        let durability = if synced { Durability::Synced } else { Durability::Unsynced };
        let delay = self.shared.engine.delay(durability);
        if !delay.is_zero() {
            TypeConfig::sleep(delay).await;
        }
        let result = self.attempt(|writer| {
            let begun = TypeConfig::now();
            reach(if vote.is_some() { Point::BeforeVoteSave } else { Point::BeforeLogWrite });
            writer.shared.engine.write(batch, durability).map_err(fault("writing the log"))?;
            reach(if vote.is_some() { Point::AfterVoteSave } else { Point::AfterSync });
            if synced {
                let took = TypeConfig::now() - begun;
                metrics::histogram!("holdfast_log_sync_seconds").record(took.as_secs_f64());
            }
            if let (Some(first), Some(end)) = (first, end) {
                writer.shared.stages.synced(first, end);
            }
            if let Some(end) = end {
                writer.shared.held().recent.written(end);
                writer.shared.raise_synced_end(end);
            }
            if let Some(vote) = vote {
                writer.shared.held().vote = Some(vote);
                writer.advance_watermark()?;
            }
            Ok(())
        });
        for callback in callbacks {
            callback.complete(result.clone());
        }
    }

    /// Removes the entries from `end` on.
    fn truncate(&mut self, end: u64) -> Result<(), Fault> {
        if self.watermark.synced_end > end {
            Watermark { synced_end: end, ..self.watermark }.write(&*self.disk)?;
            self.watermark.synced_end = end;
        }
        self.shared.lower_synced_end(end);
        let chain = match end.checked_sub(1) {
            Some(last) => self.chain_at(last)?,
            None => None,
        };
        self.chain = match chain {
            Some(chain) => chain,
            // The log is empty up to here.
            None => self.base_chain(),
        };
        let mut batch = Batch::new();
        let mut from = chain::entry_key(end);
        loop {
            let rows = self.shared.engine.range(ENTRIES, &from, None, Order::Ascending, TRUNCATE_ROWS);
            let rows = rows.map_err(fault("reading the log"))?;
            let Some((last, _)) = rows.last() else { break };
            from = chain::entry_key(index_of(last)? + 1);
            batch.extend(rows.into_iter().map(|(key, _)| Change::Delete { table: ENTRIES, key }));
        }
        reach(Point::BeforeTruncate);
        self.shared.engine.write(batch, Durability::Synced).map_err(fault("truncating the log"))?;
        reach(Point::AfterTruncate);
        // Entries that were on their way when the log was truncated have been written meanwhile, and are gone again.
        self.shared.held().recent.truncate(end);
        Ok(())
    }

    /// The chain's value at a stored entry.
    fn chain_at(&self, index: u64) -> Result<Option<u32>, Fault> {
        let row = self.shared.engine.get(ENTRIES, &chain::entry_key(index)).map_err(fault("reading the log"))?;
        Ok(row.map(|row| chain::claimed(index, &row)).transpose()?)
    }

    /// Removes the entries up to `log_id`.
    fn purge(&mut self, log_id: LogId) -> Result<(), Fault> {
        let next = log_id.index() + 1;
        // If it is lost they are purged again.
        let mut durability = Durability::Unsynced;
        let purged = match self.chain_at(log_id.index())? {
            Some(chain) => Purged { log_id: log_id.into(), chain },
            // The log begins after it anyway.
            None if self.has_after(next)? => Purged { log_id: log_id.into(), chain: self.base_chain() },
            // A snapshot took the place of entries that were never here: the log begins anew after it. The watermark goes there, too,
            // and must not be ahead of what is kept of the log.
            None => {
                let purged = Purged::reset(log_id);
                self.chain = purged.chain;
                durability = Durability::Synced;
                purged
            }
        };
        let batch = vec![
            Change::DeleteRange { table: ENTRIES, from: chain::entry_key(0), to: chain::entry_key(next) },
            Change::Put { table: RECORDS, key: Bytes::from_static(PURGED), row: format::encode(&purged) },
        ];
        reach(Point::BeforePurge);
        self.shared.engine.write(batch, durability).map_err(fault("purging the log"))?;
        reach(Point::AfterPurge);
        self.shared.held().purged = Some(purged);
        self.shared.raise_synced_end(next);
        Ok(())
    }

    /// Whether an entry with this index or a higher one is stored.
    fn has_after(&self, index: u64) -> Result<bool, Fault> {
        let rows = self.shared.engine.range(ENTRIES, &chain::entry_key(index), None, Order::Ascending, 1);
        Ok(!rows.map_err(fault("reading the log"))?.is_empty())
    }

    /// The chain's value before the log's first entry.
    fn base_chain(&self) -> u32 {
        self.shared.held().purged.map_or(CHAIN_START, |purged| purged.chain)
    }

    /// Brings the watermark to what is synced.
    fn advance_watermark(&mut self) -> Result<(), Fault> {
        self.watermark_written = TypeConfig::now();
        let vote_term = self.shared.held().vote.map_or(0, |vote| vote.leader_id.term);
        let watermark = Watermark { synced_end: *self.shared.synced_end.borrow_watched(), vote_term };
        if watermark != self.watermark {
            watermark.write(&*self.disk)?;
            self.watermark = watermark;
        }
        Ok(())
    }
}

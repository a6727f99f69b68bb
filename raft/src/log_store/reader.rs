//! Reading the log: from memory where it is recent, else from the database, checked.
//!
//! Streams come in chunks of a bounded size, so that a follower that is far behind does not make the leader hold all that
//! it lacks.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use futures_util::stream::{self, BoxStream, StreamExt};
use openraft::errors::LeaderChanged;
use openraft::storage::{LeaderBoundedStreamError, LeaderBoundedStreamResult, RaftLogReader};
use openraft::type_config::alias::LeaderIdOf;
use openraft_rt::OptionalSend;

use super::chain::{self, CHAIN_START, ENTRIES};
use super::open::{fault, index_of};
use super::{LogStore, Shared};
use crate::damage::{Damage, Fault};
use crate::engine::Order;
use crate::format::entry_bytes;
use crate::runtime;
use crate::types::{Entry, TypeConfig, Vote};

/// Entries of one chunk, in bytes; a single larger one is a chunk of its own.
const CHUNK_BYTES_MAX: usize = 4 << 20;

/// Rows read from the database at once.
const READ_ROWS: usize = 128;

impl Shared {
    /// The entries from the database with `from <= index < end`, in order and checked, at most [`CHUNK_BYTES_MAX`] and
    /// [`READ_ROWS`]. Fewer or none where the log was purged or truncated meanwhile. Blocks.
    fn read_stored(&self, from: u64, end: u64) -> Result<Vec<Entry>, Fault> {
        let (start, to) = (chain::entry_key(from.saturating_sub(1)), chain::entry_key(end));
        let rows = self.engine.range(ENTRIES, &start, Some(&to), Order::Ascending, READ_ROWS + 1);
        let mut rows = rows.map_err(fault("reading the log"))?.into_iter().peekable();
        let before = rows.next_if(|(key, _)| from > 0 && *key == start);
        let before = match before {
            Some((_, row)) => Some(chain::claimed(from - 1, &row)?),
            None => self.chain_before_first(from),
        };
        let Some(mut chain) = before else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (key, row) in rows {
            let index = index_of(&key)?;
            if index != from + entries.len() as u64 {
                break;
            }
            let (entry, linked) = chain::verify(chain, index, row)?;
            chain = linked;
            bytes += entry_bytes(&entry);
            if bytes > CHUNK_BYTES_MAX && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// The chain's value before the entry at `index`, if that is the log's first.
    fn chain_before_first(&self, index: u64) -> Option<u32> {
        let held = self.held();
        match held.purged {
            Some(purged) => (purged.log_id.index + 1 == index).then_some(purged.chain),
            None => (held.first == Some(index)).then_some(CHAIN_START),
        }
    }
}

impl LogStore {
    /// The next entries with `from <= index < end`, from wherever they are; empty if the log has none.
    async fn read_chunk(&self, from: u64, end: u64) -> io::Result<Vec<Entry>> {
        loop {
            let (from, end) = {
                let held = self.shared.held();
                let from = held.first.map_or(u64::MAX, |first| from.max(first));
                let end = end.min(held.last.map_or(0, |last| last.index() + 1));
                if from >= end {
                    return Ok(Vec::new());
                }
                match held.recent.first() {
                    Some(first) if first <= from => return Ok(held.recent.read(from, end, CHUNK_BYTES_MAX)),
                    Some(first) => (from, end.min(first)),
                    None => (from, end),
                }
            };
            let shared = self.shared.clone();
            let read = runtime::blocking(move || shared.read_stored(from, end)).await;
            match read {
                Ok(entries) if !entries.is_empty() => return Ok(entries),
                // Purged or truncated while it was read: look again at what there is.
                _ if !self.shared.held().has(from) => continue,
                Ok(_) => return Err(self.shared.fatal.latch(Damage::EntryMissing { index: from }.into()).into()),
                Err(fault) => return Err(self.shared.fatal.latch(fault).into()),
            }
        }
    }

    /// Entries in chunks, until the range or the log ends.
    fn chunks(&self, from: u64, end: u64) -> BoxStream<'static, io::Result<Vec<Entry>>> {
        let log = self.clone();
        let chunks = stream::try_unfold(from, move |next| {
            let log = log.clone();
            async move {
                let entries = log.read_chunk(next, end).await?;
                let Some(last) = entries.last() else { return Ok(None) };
                let next = last.log_id.index() + 1;
                Ok(Some((entries, next)))
            }
        });
        chunks.boxed()
    }

    fn vote(&self) -> Option<Vote> {
        self.shared.held().vote
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(from) => from + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (from, end)
}

#[allow(refining_impl_trait, reason = "a boxed stream that borrows nothing is what callers here need")]
impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, end) = bounds(&range);
        let mut chunks = self.chunks(from, end);
        let mut entries = Vec::new();
        while let Some(chunk) = chunks.next().await {
            entries.extend(chunk?);
        }
        Ok(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read_chunk(start, end).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.vote())
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> BoxStream<'static, io::Result<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, end) = bounds(&range);
        let entries = self.chunks(from, end).map(|chunk| match chunk {
            Ok(entries) => stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        });
        entries.flatten().boxed()
    }

    /// Ends with an error at the first chunk after which the vote is no longer `leader`'s: entries may have been truncated.
    async fn leader_bounded_stream<RB>(
        &mut self,
        leader: LeaderIdOf<TypeConfig>,
        range: RB,
    ) -> BoxStream<'static, LeaderBoundedStreamResult<TypeConfig>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let log = self.clone();
        let changed = move || match log.vote() {
            Some(vote) if *vote.leader_id() == leader && vote.is_committed() => None,
            vote => Some(LeaderBoundedStreamError::LeaderChanged(LeaderChanged::new(leader, vote))),
        };
        if let Some(error) = changed() {
            return stream::iter([Err(error)]).boxed();
        }
        let (from, end) = bounds(&range);
        let entries = self.chunks(from, end).map(move |chunk| {
            let items = match (chunk, changed()) {
                (_, Some(error)) => vec![Err(error)],
                (Err(error), None) => vec![Err(LeaderBoundedStreamError::IoError(error))],
                (Ok(entries), None) => entries.into_iter().map(Ok).collect(),
            };
            stream::iter(items)
        });
        entries.flatten().boxed()
    }
}

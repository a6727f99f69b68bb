//! Opening a log: read all of it, check every link of its chain, and compare its end with the watermark.
//!
//! The log is at most what was written since the last snapshot and some, so reading it whole costs little and finds
//! damage before this node votes rather than when a follower asks for the entry. Entries of a version that this build does not know
//! are no damage: nothing is changed, and a build that knows it goes on with them.

use bytes::Bytes;
use holdfast_ledger::codec;
use holdfast_ledger::version::Versions;
use openraft::EntryPayload;

use super::chain::{self, CHAIN_START, COMMITTED, ENTRIES, PURGED, Purged, RECORDS, VOTE};
use super::recent::Recent;
use super::watermark::Watermark;
use crate::damage::{Damage, Fault};
use crate::disk::{Purpose, SharedDisk};
use crate::engine::{Engine, EngineError, Order, SharedEngine};
use crate::format::{self, LogIdRecord, VoteRecord};
use crate::types::{Entry, LogId, Payload, Vote};
use crate::version;

const DIRECTORY: &str = "log";

/// Entries read at once while the log is checked.
const CHECK_ROWS: usize = 512;

/// A log as it was found.
pub struct Found {
    pub engine: SharedEngine,
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    pub purged: Option<Purged>,
    /// The first entry there is.
    pub first: Option<u64>,
    pub last: Option<LogId>,
    /// The chain's value at the last entry.
    pub chain: u32,
    pub recent: Recent,
    pub watermark: Watermark,
}

/// Turns an engine's error into the fault that it is for a node.
pub fn fault(doing: &'static str) -> impl Fn(EngineError) -> Fault {
    move |error| match error {
        EngineError::Io { doing: step, reason } => Fault::Storage { doing, reason: format!("{step}: {reason}") },
        EngineError::Damaged(reason) => Damage::Unreadable { what: doing.to_string(), reason }.into(),
    }
}

fn record<T: serde::de::DeserializeOwned>(engine: &dyn Engine, key: &[u8]) -> Result<Option<T>, Fault> {
    let row = engine.get(RECORDS, key).map_err(fault("reading the log's records"))?;
    let decoded = row.map(|row| format::decode(&row)).transpose();
    let what = || format!("the log's record {:?}", String::from_utf8_lossy(key));
    Ok(decoded.map_err(|error| Damage::Unreadable { what: what(), reason: error.to_string() })?)
}

/// Opens and checks the log in `disk`, of which no entry may be of a version that is not `known`. Blocks.
pub fn find(disk: &SharedDisk, recent_bytes_max: usize, known: Versions) -> Result<Found, Fault> {
    let watermark = Watermark::read(disk)?;
    let engine = disk.open_engine(DIRECTORY, Purpose::Log).map_err(fault("opening the log"))?;
    let vote: Option<VoteRecord> = record(&*engine, VOTE)?;
    let committed: Option<LogIdRecord> = record(&*engine, COMMITTED)?;
    let purged: Option<Purged> = record(&*engine, PURGED)?;
    let mut found = Found {
        engine,
        vote: vote.map(Vote::from),
        committed: committed.map(LogId::from),
        purged,
        first: None,
        last: purged.map(|purged| purged.log_id.into()),
        chain: purged.map_or(CHAIN_START, |purged| purged.chain),
        recent: Recent::new(recent_bytes_max, 0),
        watermark: watermark.unwrap_or_default(),
    };
    check_entries(&mut found, known)?;
    if watermark.is_none() && (found.last.is_some() || found.vote.is_some()) {
        return Err(Damage::WatermarkMissing.into());
    }
    check_watermark(&found)?;
    // What a killed process left in the system's cache counts as synced from here on.
    found.engine.sync().map_err(fault("syncing the log"))?;
    found.watermark = Watermark {
        synced_end: found.last.map_or(0, |last| last.index() + 1),
        vote_term: found.vote.map_or(0, |vote| vote.leader_id.term),
    };
    if watermark != Some(found.watermark) {
        found.watermark.write(&**disk)?;
    }
    Ok(found)
}

fn check_entries(found: &mut Found, known: Versions) -> Result<(), Fault> {
    let mut next = found.last.map(|last| last.index() + 1);
    loop {
        let from = chain::entry_key(next.unwrap_or(0));
        let rows = found.engine.range(ENTRIES, &from, None, Order::Ascending, CHECK_ROWS);
        let rows = rows.map_err(fault("reading the log"))?;
        if rows.is_empty() {
            return Ok(());
        }
        for (key, row) in rows {
            let index = index_of(&key)?;
            // The first entry of a log that was never purged may have any index; after it there is no gap.
            let expected = next.unwrap_or(index);
            if index != expected {
                return Err(Damage::EntryMissing { index: expected }.into());
            }
            let (entry, chain) = chain::verify(found.chain, index, row)?;
            check_version(&entry, known)?;
            found.chain = chain;
            found.first = found.first.or(Some(index));
            found.last = Some(entry.log_id);
            found.recent.push(entry);
            found.recent.written(index + 1);
            next = Some(index + 1);
        }
    }
}

/// A folder says what it has come to, and that is read before the log is opened. Where that file was lost or is an older one, the
/// entries say it themselves: it is found here, not when one of them is to be applied by a node that serves and votes.
fn check_version(entry: &Entry, known: Versions) -> Result<(), Fault> {
    let EntryPayload::Normal(Payload(batch)) = &entry.payload else { return Ok(()) };
    match codec::form(batch) {
        Ok(form) => version::check(&format!("entry {}", entry.log_id.index()), form, known),
        // It says nothing, and cannot be applied either: whoever comes to it says so.
        Err(_) => Ok(()),
    }
}

fn check_watermark(found: &Found) -> Result<(), Damage> {
    let end = found.last.map_or(0, |last| last.index() + 1);
    if end < found.watermark.synced_end {
        let (last, watermark) = (end.saturating_sub(1), found.watermark.synced_end - 1);
        return Err(Damage::LogBelowWatermark { last, watermark });
    }
    let term = found.vote.map_or(0, |vote| vote.leader_id.term);
    if term < found.watermark.vote_term {
        return Err(Damage::VoteBelowWatermark { term, watermark: found.watermark.vote_term });
    }
    Ok(())
}

/// The index that a key of the entries' table names.
pub fn index_of(key: &Bytes) -> Result<u64, Damage> {
    let key: [u8; 8] = key[..].try_into().map_err(|_| Damage::Unreadable {
        what: "a key of the log".to_string(),
        reason: format!("it has {} bytes", key.len()),
    })?;
    Ok(u64::from_be_bytes(key))
}

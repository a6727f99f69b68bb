//! Drives a storage as openraft does, one step at a time.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use holdfast_ledger::codec;
use holdfast_ledger::command::Batch;
use holdfast_ledger::version::Versions;
use holdfast_raft::disk::{SharedDisk, SimDisk};
use holdfast_raft::snapshot::SnapshotFiles;
use holdfast_raft::state::{StateHandle, StateSettings};
use holdfast_raft::storage::{Storage, StorageSettings};
use holdfast_raft::types::{Entry, LogId, Payload, TypeConfig};
use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::TypeConfigExt;

/// Small enough that everything which is bounded meets its bound.
pub fn small() -> StorageSettings {
    let state = StateSettings {
        overlay_bytes_max: 40_000,
        cache_bytes_max: 10_000,
        flush_interval_ms: 3_600_000,
        ..StateSettings::default()
    };
    StorageSettings { recent_bytes_max: 4_000, state }
}

pub fn shared(disk: &SimDisk) -> SharedDisk {
    Arc::new(disk.clone())
}

/// Opens with small bounds.
pub async fn open(disk: &SimDisk) -> Storage {
    Storage::open(shared(disk), small()).await.unwrap_or_else(|fault| panic!("does not open: {fault}"))
}

pub fn id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

pub fn entry(term: u64, index: u64, batch: &Batch) -> Entry {
    Entry { log_id: id(term, index), payload: EntryPayload::Normal(Payload(codec::encode(batch))) }
}

/// An entry of so many bytes that nobody applies. It begins with the version of one that somebody could.
pub fn filler(term: u64, index: u64, bytes: usize) -> Entry {
    let mut payload = vec![index as u8; bytes];
    payload.first_mut().into_iter().for_each(|first| *first = Versions::SHIPPED.max);
    Entry { log_id: id(term, index), payload: EntryPayload::Normal(Payload(Bytes::from(payload))) }
}

/// Appends and waits until it is durable.
pub async fn append(storage: &mut Storage, entries: Vec<Entry>) -> io::Result<()> {
    let (done, flushed) = TypeConfig::oneshot();
    storage.log.append(entries, IOFlushed::signal(done)).await?;
    flushed.await.map_err(|_| io::Error::other("the log is closed"))?
}

/// Says that everything up to `upto` is committed, and applies what of it is not.
pub async fn commit(storage: &mut Storage, upto: LogId) -> io::Result<()> {
    storage.log.save_committed(Some(upto)).await?;
    let next = storage.state.applied_log_id().map_or(0, |id| id.index() + 1);
    let entries = storage.log.entries_stream(next..=upto.index()).await;
    let entries = futures_util::StreamExt::map(entries, |entry| entry.map(|entry| (entry, None)));
    storage.machine.apply(entries).await
}

/// Applies entries without a log.
pub async fn apply(storage: &mut Storage, entries: Vec<Entry>) -> io::Result<()> {
    storage.machine.apply(stream::iter(entries.into_iter().map(|entry| Ok((entry, None))))).await
}

/// Makes a snapshot and answers with what it holds.
pub async fn snapshot(storage: &mut Storage) -> io::Result<(LogId, SnapshotFiles)> {
    let mut builder = storage.machine.try_create_snapshot_builder(true).await.expect("one that is forced");
    let snapshot = builder.build_snapshot().await?;
    Ok((snapshot.meta.last_log_id.expect("something was applied"), snapshot.snapshot))
}

/// The whole log.
pub async fn log(storage: &mut Storage) -> Vec<Entry> {
    storage.log.try_get_log_entries(..).await.expect("the log reads")
}

/// Sends a snapshot's files to another state, in chunks of `chunk_bytes`.
pub async fn send(files: &SnapshotFiles, to: &StateHandle, chunk_bytes: usize) -> io::Result<SnapshotFiles> {
    let mut receiver = to.receive_snapshot(files.manifest().clone()).await?;
    for number in 0..files.manifest().files.len() {
        let mut offset = 0;
        loop {
            let chunk = files.read(number, offset, chunk_bytes).await?;
            if chunk.is_empty() {
                break;
            }
            offset += chunk.len() as u64;
            receiver.write(number, chunk).await?;
        }
    }
    receiver.finish().await
}

/// The state's hash, and what a full scan has to say against it.
pub fn check(storage: &Storage) -> u128 {
    storage.state.with_state(|state| {
        holdfast_ledger::invariants::check_invariants(state).unwrap_or_else(|broken| panic!("broken: {broken:?}"));
        state.state_hash()
    })
}

/// Closes as a node does that stops in peace.
pub async fn close(storage: Storage) {
    let closing = storage.closing();
    drop(storage);
    closing.close().await.expect("closes");
}

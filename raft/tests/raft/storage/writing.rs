//! The two writers: what they wait for, what waits for them, and in which order they answer.

use std::time::Duration;

use futures_util::FutureExt;
use holdfast_ledger::command::Batch;
use holdfast_ledger::version::Versions;
use holdfast_raft::damage::Fatal;
use holdfast_raft::disk::{Latency, SimDisk};
use holdfast_raft::log_store::LogStore;
use holdfast_raft::runtime::watch_channel;
use holdfast_raft::state::{self, StateSettings};
use holdfast_raft::types::{Entry, TypeConfig};
use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::TypeConfigExt;
use openraft_rt::WatchSender as _;

use super::drive;

/// Long enough for anything that does not wait to have happened.
const A_WHILE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn what_waits_is_synced_at_once_and_answered_in_order() {
    let disk = SimDisk::new(1);
    let storage = drive::open(&disk).await;
    // While the first sync takes its time the others queue up.
    disk.set_latency(Latency { synced_us: 20_000..20_001, unsynced_us: 0..0 });
    let before = disk.changes();
    let mut answers = Vec::new();
    for index in 0..100 {
        let (done, flushed) = TypeConfig::oneshot();
        let entries = vec![drive::filler(1, index, 10)];
        storage.log.clone().append(entries, IOFlushed::signal(done)).await.expect("queued");
        answers.push(flushed);
    }
    assert_eq!(storage.log.clone().try_get_log_entries(..).await.expect("reads").len(), 100, "readable at once");
    // Whoever is answered finds that all before him have been.
    for at in [50, 99] {
        let (earlier, this) = answers.split_at_mut(at);
        (&mut this[0]).await.expect("answered").expect("durable");
        if at == 50 {
            assert!(earlier.iter_mut().all(|answer| answer.now_or_never().is_some()));
        } else {
            assert!(earlier.iter_mut().skip(51).all(|answer| answer.now_or_never().is_some()));
        }
    }
    let changes = disk.changes() - before;
    assert!(changes < 20, "{changes} changes of the disk for 100 appends");
}

/// Entries that are truncated while they are still on their way to the disk.
#[tokio::test]
async fn truncating_what_is_not_yet_written() {
    let disk = SimDisk::new(1);
    let mut storage = drive::open(&disk).await;
    disk.set_latency(Latency { synced_us: 2_000..2_001, unsynced_us: 0..0 });
    for round in 1..20 {
        let entries: Vec<_> = (0..10).map(|index| drive::filler(round, index, 1_000)).collect();
        storage.log.append(entries, IOFlushed::noop()).await.expect("queued");
        storage.log.truncate_after(None).await.expect("truncated");
        assert_eq!(drive::log(&mut storage).await, []);
    }
    let last: Vec<Entry> = (0..30).map(|index| drive::filler(50, index, 1_000)).collect();
    storage.log.append(last.clone(), IOFlushed::noop()).await.expect("queued");
    assert_eq!(drive::log(&mut storage).await, last, "although memory has room for less");
    drive::close(storage).await;
    let mut storage = drive::open(&disk).await;
    assert_eq!(drive::log(&mut storage).await, last);
}

/// A log whose first entry is not entry 0, and which is purged below it.
#[tokio::test]
async fn purging_before_the_first_entry_keeps_the_chain() {
    let disk = SimDisk::new(1);
    let unbounded = state::unbounded_durable_end();
    let known = Versions::SHIPPED;
    let open = || LogStore::open(drive::shared(&disk), Fatal::default(), unbounded.clone(), 0, known);
    let mut log = open().await.expect("opens");
    let entries: Vec<Entry> = (5..9).map(|index| drive::filler(1, index, 10)).collect();
    for purged in [drive::id(1, 4), drive::id(1, 6)] {
        if purged.index() == 4 {
            log.append(entries.clone(), IOFlushed::noop()).await.expect("queued");
        }
        log.purge(purged).await.expect("queued");
        log.close().await.expect("closes");
        log = open().await.expect("opens");
        let from = usize::try_from(purged.index()).expect("small") - 4;
        assert_eq!(log.try_get_log_entries(..).await.expect("reads"), entries[from..]);
    }
}

/// openraft applies what it has submitted. What the log has not synced must not be in the state's database.
#[tokio::test]
async fn nothing_is_flushed_ahead_of_the_log() {
    let (synced, synced_end) = watch_channel(0);
    let disk = SimDisk::new(1);
    let settings = drive::small().state;
    let opened =
        state::open(drive::shared(&disk), settings, Fatal::default(), synced_end, state::unbounded_durable_end());
    let (mut machine, handle) = opened.await.expect("opens");
    let blank = Entry { log_id: drive::id(1, 7), payload: EntryPayload::Blank };
    machine.apply(futures_util::stream::iter([Ok((blank, None))])).await.expect("applied");
    assert_eq!(handle.applied_index(), 7);

    let mut builder = machine.try_create_snapshot_builder(true).await.expect("one that is forced");
    let building = tokio::spawn(async move { builder.build_snapshot().await });
    for end in [3, 7] {
        tokio::time::sleep(A_WHILE).await;
        assert!(!building.is_finished(), "entry 7 is not synced, only what comes before {end}");
        synced.send_if_modified(|synced| std::mem::replace(synced, end) != end);
    }
    synced.send_if_modified(|synced| std::mem::replace(synced, 8) != 8);
    let snapshot = building.await.expect("no panic").expect("built");
    assert_eq!(snapshot.meta.last_log_id, Some(drive::id(1, 7)));
}

#[tokio::test]
async fn apply_waits_when_too_much_is_not_flushed() {
    let (synced, synced_end) = watch_channel(0);
    let disk = SimDisk::new(1);
    let settings = StateSettings { overlay_bytes_max: 10_000, ..drive::small().state };
    let opened =
        state::open(drive::shared(&disk), settings, Fatal::default(), synced_end, state::unbounded_durable_end());
    let (mut machine, handle) = opened.await.expect("opens");
    let sign_up = |number: u64| Batch {
        time_ms: 1_000,
        commands: vec![holdfast_ledger::command::Submitted {
            actor: holdfast_ledger::command::Actor::Anonymous,
            idempotency: None,
            command: holdfast_ledger::command::Command::SignUp {
                email: format!("{number}@example.com"),
                password_hash: "$argon2id$x".into(),
                agent: String::new(),
            },
        }],
    };
    let entries: Vec<_> = (1..=200).map(|index| Ok((drive::entry(1, index, &sign_up(index)), None))).collect();
    let applying = tokio::spawn(async move { machine.apply(futures_util::stream::iter(entries)).await });
    tokio::time::sleep(A_WHILE).await;
    let stuck_at = handle.applied_index();
    assert!((1..100).contains(&stuck_at), "apply waits, at {stuck_at}");
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(handle.applied_index(), stuck_at);
    synced.send_if_modified(|synced| std::mem::replace(synced, 1_000) != 1_000);
    applying.await.expect("no panic").expect("applied");
    assert_eq!(handle.applied_index(), 200);
    assert_eq!(handle.with_state(|state| state.meta().users), 200);
}

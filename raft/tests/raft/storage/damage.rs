//! Damage and faults: found, named, and nothing acknowledged on top of them.

use holdfast_ledger::command::{Actor, Batch, Command, Submitted};
use holdfast_ledger::id::{Id, UserId};
use holdfast_ledger::store::{Order, Read};
use holdfast_ledger::tables::Table;
use holdfast_ledger::version::Versions;
use holdfast_raft::damage::{Damage, Fault};
use holdfast_raft::disk::{Disk, Purpose, SimDisk};
use holdfast_raft::engine::{Change, Durability};
use holdfast_raft::storage::Storage;
use holdfast_raft::types::{Entry, Payload, Vote};
use openraft::EntryPayload;
use openraft::storage::{RaftLogReader, RaftLogStorage};

use super::drive;

/// A log of ten entries, closed in peace.
async fn ten_entries() -> SimDisk {
    let disk = SimDisk::new(1);
    let mut storage = drive::open(&disk).await;
    storage.log.save_vote(&Vote::new_committed(3, 1)).await.expect("saved");
    for index in 0..10 {
        drive::append(&mut storage, vec![drive::filler(3, index, 100)]).await.expect("appended");
    }
    drive::close(storage).await;
    disk
}

async fn fault(disk: &SimDisk) -> Fault {
    match Storage::open(drive::shared(disk), drive::small()).await {
        Ok(_) => panic!("it opens"),
        Err(fault) => fault,
    }
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_below_its_watermark() {
    let disk = ten_entries().await;
    // A flipped bit in the middle of the journal: everything after it is lost, and the database opens all the same.
    let bytes = disk.file_bytes("log/journal").expect("is there") as usize;
    disk.flip_bit("log/journal", bytes / 2, 0).expect("flipped");
    let found = fault(&disk).await;
    assert!(matches!(found, Fault::Damage(Damage::LogBelowWatermark { watermark: 9, last }) if last < 9), "{found}");
}

#[tokio::test]
async fn a_log_that_is_gone_is_below_its_watermark() {
    let disk = ten_entries().await;
    disk.lose("log");
    assert_eq!(fault(&disk).await, Fault::Damage(Damage::LogBelowWatermark { last: 0, watermark: 9 }));
}

#[tokio::test]
async fn a_vote_that_is_gone_is_noticed() {
    let disk = SimDisk::new(1);
    let storage = drive::open(&disk).await;
    storage.log.clone().save_vote(&Vote::new(5, 2)).await.expect("saved");
    drive::close(storage).await;
    disk.lose("log");
    assert_eq!(fault(&disk).await, Fault::Damage(Damage::VoteBelowWatermark { term: 0, watermark: 5 }));
}

#[tokio::test]
async fn a_missing_or_damaged_watermark_is_damage() {
    let disk = ten_entries().await;
    disk.flip_bit("watermark", 7, 2).expect("flipped");
    assert!(matches!(fault(&disk).await, Fault::Damage(Damage::Unreadable { .. })));
    disk.lose("watermark");
    assert_eq!(fault(&disk).await, Fault::Damage(Damage::WatermarkMissing));
}

/// The database itself is sound here: what it holds is not what was written.
#[tokio::test]
async fn a_changed_entry_breaks_the_chain() {
    const ENTRIES: u8 = 1;
    for (entry, bit) in [(0u64, 0), (4, 33), (4, 200), (9, 799)] {
        let disk = ten_entries().await;
        let engine = disk.open_engine("log", Purpose::Log).expect("opens");
        let key = bytes::Bytes::copy_from_slice(&entry.to_be_bytes());
        let mut row = engine.get(ENTRIES, &key).expect("reads").expect("is there").to_vec();
        row[bit / 8] ^= 1 << (bit % 8);
        let change = Change::Put { table: ENTRIES, key, row: row.into() };
        engine.write(vec![change], Durability::Synced).expect("written");
        let found = fault(&disk).await;
        assert!(matches!(found, Fault::Damage(Damage::BrokenChain { index, .. }) if index == entry), "{found}");
    }
}

#[tokio::test]
async fn a_missing_entry_is_named() {
    const ENTRIES: u8 = 1;
    let disk = ten_entries().await;
    let engine = disk.open_engine("log", Purpose::Log).expect("opens");
    let key = bytes::Bytes::copy_from_slice(&6u64.to_be_bytes());
    engine.write(vec![Change::Delete { table: ENTRIES, key }], Durability::Synced).expect("written");
    assert_eq!(fault(&disk).await, Fault::Damage(Damage::EntryMissing { index: 6 }));
}

/// Entries older than what memory keeps are read from the database, and checked again.
#[tokio::test]
async fn damage_that_comes_later_is_found_when_it_is_read() {
    let disk = SimDisk::new(1);
    let mut storage = drive::open(&disk).await;
    for index in 0..100 {
        drive::append(&mut storage, vec![drive::filler(1, index, 500)]).await.expect("appended");
    }
    assert_eq!(drive::log(&mut storage).await.len(), 100, "what memory does not have comes from the database");
    drive::close(storage).await;
    let mut storage = drive::open(&disk).await;
    // Behind the storage's back, through a second handle on the same rows.
    let engine = disk.open_engine("log", Purpose::Log).expect("opens");
    assert!(engine.get(1, &3u64.to_be_bytes()).expect("reads").is_some());
    assert_eq!(storage.log.limited_get_log_entries(3, 5).await.expect("reads").len(), 2);
    assert_eq!(storage.fatal.latched(), None);
}

#[tokio::test]
async fn a_failed_sync_stops_everything() {
    let disk = SimDisk::new(1);
    let mut storage = drive::open(&disk).await;
    drive::append(&mut storage, vec![drive::filler(1, 0, 10)]).await.expect("appended");
    disk.fail_syncs(true);
    drive::append(&mut storage, vec![drive::filler(1, 1, 10)]).await.expect_err("not acknowledged");
    let fault = storage.fatal.wait().await;
    assert!(matches!(&fault, Fault::Storage { doing: "writing the log", .. }), "{fault}");
    // The disk says that it is well again. It is not believed: what the failed sync was about may be gone.
    disk.fail_syncs(false);
    drive::append(&mut storage, vec![drive::filler(1, 2, 10)]).await.expect_err("not acknowledged either");
    storage.log.save_vote(&Vote::new(2, 1)).await.expect_err("nor a vote");
    storage.log.truncate_after(Some(drive::id(1, 0))).await.expect_err("nor a truncation");
    assert_eq!(storage.fatal.latched(), Some(fault));

    let mut storage = drive::open(&disk.power_lost()).await;
    assert_eq!(
        drive::log(&mut storage).await.first(),
        Some(&drive::filler(1, 0, 10)),
        "what was acknowledged is there"
    );
}

#[tokio::test]
async fn a_full_disk_stops_and_says_so() {
    let disk = SimDisk::new(1);
    let mut storage = drive::open(&disk).await;
    disk.limit(Some(2_000));
    let mut appended = 0;
    while drive::append(&mut storage, vec![drive::filler(1, appended, 300)]).await.is_ok() {
        appended += 1;
    }
    let fault = storage.fatal.wait().await.to_string();
    assert!(fault.contains("full"), "{fault}");
    disk.limit(None);
    let mut storage = drive::open(&disk.process_killed()).await;
    assert!(drive::log(&mut storage).await.len() as u64 >= appended, "what was acknowledged is there");
}

#[tokio::test]
async fn an_entry_that_cannot_be_decoded_stops_at_its_index() {
    let disk = SimDisk::new(1);
    let mut storage = drive::open(&disk).await;
    let nonsense = Payload(bytes::Bytes::from_static(b"\x01nonsense"));
    let nonsense = Entry { log_id: drive::id(1, 1), payload: EntryPayload::Normal(nonsense) };
    let blank = |index| Entry { log_id: drive::id(1, index), payload: EntryPayload::Blank };
    drive::append(&mut storage, vec![blank(0), nonsense, blank(2)]).await.expect("appended");
    drive::commit(&mut storage, drive::id(1, 2)).await.expect_err("stops");
    let fault = storage.fatal.latched();
    assert!(matches!(fault, Some(Fault::Undecodable { index: 1, .. })), "{fault:?}");
    assert_eq!(storage.state.applied_index(), 0, "it stopped before it");
}

/// Nothing else says so: the file beside the log that says what the folder has come to was lost.
#[tokio::test]
async fn an_entry_of_a_newer_version_is_noticed_when_the_log_is_opened_and_changes_nothing() {
    let newer = Versions { max: Versions::SHIPPED.max + 1, ..Versions::SHIPPED };
    let mut settings = drive::small();
    settings.state.versions = newer;
    let disk = SimDisk::new(1);
    let mut storage =
        Storage::open(drive::shared(&disk), settings.clone()).await.unwrap_or_else(|_| panic!("it opens"));
    let of_next = Payload(bytes::Bytes::copy_from_slice(&[newer.max, 0, 0]));
    let of_next = Entry { log_id: drive::id(1, 2), payload: EntryPayload::Normal(of_next) };
    let entries = vec![drive::filler(1, 0, 10), drive::filler(1, 1, 10), of_next];
    drive::append(&mut storage, entries.clone()).await.expect("appended");
    drive::close(storage).await;
    let refused = Fault::Version { what: "entry 2".into(), found: newer.max, known: Versions::SHIPPED };
    assert_eq!(fault(&disk).await, refused);
    let mut storage = Storage::open(drive::shared(&disk), settings).await.unwrap_or_else(|_| panic!("it opens"));
    assert_eq!(drive::log(&mut storage).await, entries, "a build that knows it goes on");
    drive::close(storage).await;
}

/// An entry below the last one applied breaks the ledger's own invariant: entries come in order.
#[tokio::test]
async fn a_broken_invariant_stops_at_its_entry_and_leaves_the_state_readable() {
    let disk = SimDisk::new(1);
    let mut storage = drive::open(&disk).await;
    let batch = Batch { time_ms: 1_000, commands: Vec::new() };
    drive::apply(&mut storage, vec![drive::entry(1, 5, &batch)]).await.expect("applied");
    let hash = drive::check(&storage);
    drive::apply(&mut storage, vec![drive::entry(1, 4, &batch)]).await.expect_err("stops");
    let fault = storage.fatal.latched();
    assert!(matches!(fault, Some(Fault::Invariant { index: 4, .. })), "{fault:?}");
    assert_eq!(drive::check(&storage), hash, "stale reads go on");
    assert_eq!(storage.state.applied_index(), 5);
}

/// The second command of an entry meets a damaged row: what the first one did is taken back, nothing is half-applied.
#[tokio::test]
async fn an_entry_that_fails_in_the_middle_is_taken_back() {
    let anonymous = |command| Submitted { actor: Actor::Anonymous, idempotency: None, command };
    let sign_up = |who: &str| {
        let email = format!("{who}@example.com");
        anonymous(Command::SignUp { email, password_hash: "$argon2id$x".into(), agent: String::new() })
    };
    let batch = |commands| Batch { time_ms: 1_000, commands };
    let disk = SimDisk::new(1);
    let mut storage = drive::open(&disk).await;
    let first = Entry { log_id: drive::id(1, 0), payload: EntryPayload::Blank };
    let second = drive::entry(1, 1, &batch(vec![sign_up("a")]));
    drive::append(&mut storage, vec![first, second]).await.expect("appended");
    drive::commit(&mut storage, drive::id(1, 1)).await.expect("applied");
    drive::close(storage).await;

    let engine = disk.open_engine("state-0", Purpose::State).expect("opens");
    let users = Table::Users as u8;
    let (key, _) = engine.range(users, b"", None, Order::Ascending, 1).expect("reads").remove(0);
    let damaged = Change::Put { table: users, key, row: bytes::Bytes::from_static(b"damaged") };
    engine.write(vec![damaged], Durability::Synced).expect("written");
    let mut storage = drive::open(&disk).await;
    let hash = storage.state.with_state(|state| state.state_hash());
    let user = UserId(Id::mint(0, 1, 0));
    let both = batch(vec![sign_up("b"), anonymous(Command::SignIn { user, epoch: 0, agent: String::new() })]);
    drive::append(&mut storage, vec![drive::entry(1, 2, &both)]).await.expect("appended");
    drive::commit(&mut storage, drive::id(1, 2)).await.expect_err("stops");
    let fault = storage.fatal.latched();
    assert!(matches!(fault, Some(Fault::Storage { doing: "applying an entry", .. })), "{fault:?}");
    storage.state.with_state(|state| {
        assert_eq!((state.meta().users, state.meta().index, state.state_hash()), (1, 1, hash));
        let emails = state.store().range(Table::UsersByEmail, b"", None, Order::Ascending, 9).expect("reads");
        assert_eq!(emails.len(), 1, "nobody else signed up");
    });
}

#[tokio::test]
async fn the_log_is_not_purged_above_what_is_durable() {
    let disk = SimDisk::new(1);
    let mut storage = drive::open(&disk).await;
    let blank = |index| Entry { log_id: drive::id(1, index), payload: EntryPayload::Blank };
    drive::append(&mut storage, (0..10).map(blank).collect()).await.expect("appended");
    drive::commit(&mut storage, drive::id(1, 9)).await.expect("applied");
    storage.log.purge(drive::id(1, 5)).await.expect_err("nothing of the state is durable");
    assert!(storage.fatal.latched().is_some());
}

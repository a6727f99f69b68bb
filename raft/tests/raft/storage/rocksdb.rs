//! The storage on RocksDB: the same lives as on the simulated disk, without its crashes, and damage to real files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_raft::damage::{Damage, Fault};
use holdfast_raft::disk::{Folder, SharedDisk};
use holdfast_raft::inspect::Inspection;
use holdfast_raft::storage::Storage;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftStateMachine};

use super::drive;
use super::script::{self, Step};

fn folder(root: &Path) -> SharedDisk {
    Arc::new(Folder::open(root).expect("opens"))
}

async fn open(root: &Path) -> Storage {
    Storage::open(folder(root), drive::small()).await.unwrap_or_else(|fault| panic!("does not open: {fault}"))
}

async fn fault(root: &Path) -> Fault {
    match Storage::open(folder(root), drive::small()).await {
        Ok(_) => panic!("it opens"),
        Err(fault) => fault,
    }
}

/// The largest file of the log's database that is named so.
fn log_file(root: &Path, suffix: &str) -> PathBuf {
    let files = fs::read_dir(root.join("log")).expect("lists").map(|file| file.expect("lists").path());
    let named = files.filter(|path| path.to_string_lossy().ends_with(suffix));
    named.max_by_key(|path| fs::metadata(path).expect("is there").len()).expect("one such file")
}

#[tokio::test]
async fn a_life_with_restarts() {
    let root = tempfile::tempdir().expect("a folder");
    let script = script::write(11, 60);
    let mut storage = open(root.path()).await;
    let mut snapshot = None;
    for (number, step) in script.steps.iter().enumerate() {
        match step {
            Step::Vote(vote) => storage.log.save_vote(vote).await,
            Step::Append(entries) => drive::append(&mut storage, entries.clone()).await,
            Step::Commit(upto) => drive::commit(&mut storage, *upto).await,
            Step::Truncate(last) => storage.log.truncate_after(*last).await,
            Step::Snapshot => drive::snapshot(&mut storage).await.map(|(at, _)| snapshot = Some(at)),
            Step::Purge { keep: 0 } if snapshot.is_some() => storage.log.purge(snapshot.expect("made")).await,
            Step::Purge { .. } => Ok(()),
        }
        .expect("a sound disk");
        if number % 25 == 24 {
            let (log, hash) = (drive::log(&mut storage).await, drive::check(&storage));
            drive::close(storage).await;
            // Who has only looked is gone, too.
            let inspection = Inspection::open(folder(root.path())).await.expect("sound");
            assert_eq!(inspection.state().state_hash(), hash);
            inspection.close().await.expect("lets go");
            storage = open(root.path()).await;
            assert_eq!(drive::log(&mut storage).await, log);
            assert_eq!(drive::check(&storage), hash);
            let current = storage.machine.get_current_snapshot().await.expect("reads");
            assert_eq!(current.and_then(|current| current.meta.last_log_id), snapshot);
        }
    }
    assert_eq!(drive::check(&storage), *script.hashes.last().expect("not empty"));
    assert!(snapshot.is_some(), "the script makes snapshots");
    drive::close(storage).await;
}

#[tokio::test]
async fn a_snapshot_travels_to_another_folder() {
    let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let mut leader = open(here.path()).await;
    let script = script::write(12, 40);
    for step in &script.steps {
        match step {
            Step::Append(entries) => drive::append(&mut leader, entries.clone()).await,
            Step::Commit(upto) => drive::commit(&mut leader, *upto).await,
            Step::Truncate(last) => leader.log.truncate_after(*last).await,
            _ => Ok(()),
        }
        .expect("a sound disk");
    }
    let (at, files) = drive::snapshot(&mut leader).await.expect("made");
    let mut follower = open(there.path()).await;
    for _ in 0..2 {
        let received = drive::send(&files, &follower.state, 1_000).await.expect("received");
        let meta = received.meta().expect("a valid one");
        follower.machine.install_snapshot(&meta, received).await.expect("installed");
        assert_eq!(follower.state.applied_log_id(), Some(at));
        assert_eq!(drive::check(&follower), drive::check(&leader));
        drive::close(follower).await;
        follower = open(there.path()).await;
        assert_eq!(drive::check(&follower), drive::check(&leader));
    }
    drop(files);
    drive::close(follower).await;
    drive::close(leader).await;
}

/// Fills a log. Closing it leaves the entries where they are, in RocksDB's write-ahead log.
async fn filled(root: &Path) {
    let mut storage = open(root).await;
    for index in 0..50 {
        drive::append(&mut storage, vec![drive::filler(1, index, 1_000)]).await.expect("appended");
    }
    drive::close(storage).await;
}

#[tokio::test]
async fn a_damaged_write_ahead_log_is_noticed() {
    let root = tempfile::tempdir().expect("a folder");
    filled(root.path()).await;
    let path = log_file(root.path(), ".log");
    let mut content = fs::read(&path).expect("reads");
    let middle = content.len() / 2;
    content[middle] ^= 4;
    fs::write(&path, content).expect("written");
    let found = fault(root.path()).await;
    assert!(matches!(found, Fault::Damage(_)), "{found}");
}

#[tokio::test]
async fn a_write_ahead_log_cut_short_is_noticed() {
    let root = tempfile::tempdir().expect("a folder");
    filled(root.path()).await;
    let path = log_file(root.path(), ".log");
    let content = fs::read(&path).expect("reads");
    fs::write(&path, &content[..content.len() / 3]).expect("written");
    let found = fault(root.path()).await;
    assert!(matches!(found, Fault::Damage(Damage::LogBelowWatermark { watermark: 49, .. })), "{found}");
}

#[tokio::test]
async fn a_write_ahead_log_that_is_gone_is_noticed() {
    let root = tempfile::tempdir().expect("a folder");
    filled(root.path()).await;
    fs::remove_file(log_file(root.path(), ".log")).expect("removed");
    let found = fault(root.path()).await;
    assert!(matches!(found, Fault::Damage(_)), "{found}");
}

/// The list of a database's files, or the name of that list.
#[tokio::test]
async fn a_log_without_its_list_of_files_is_damaged_and_a_state_without_it_is_built_anew() {
    for gone in ["MANIFEST-", "CURRENT"] {
        let root = tempfile::tempdir().expect("a folder");
        filled(root.path()).await;
        let lose = |database: &str| {
            let files =
                fs::read_dir(root.path().join(database)).expect("lists").map(|file| file.expect("lists").path());
            let is_it = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(gone));
            files.filter(is_it).for_each(|path| fs::remove_file(path).expect("removed"));
        };
        lose("state-0");
        drive::close(open(root.path()).await).await;
        lose("log");
        let found = fault(root.path()).await;
        let Fault::Damage(Damage::Unreadable { reason, .. }) = &found else { panic!("{gone}: {found}") };
        assert!(reason.contains(gone) && reason.contains("is missing"), "{found}");
    }
}

#[tokio::test]
async fn a_damaged_table_file_is_noticed() {
    let root = tempfile::tempdir().expect("a folder");
    filled(root.path()).await;
    // Opening writes what it finds in the write-ahead log to a table.
    drive::close(open(root.path()).await).await;
    let path = log_file(root.path(), ".sst");
    let mut content = fs::read(&path).expect("reads");
    let middle = content.len() / 3;
    content[middle] ^= 4;
    fs::write(&path, content).expect("written");
    let found = fault(root.path()).await;
    assert!(matches!(found, Fault::Damage(_)), "{found}");
}

#[tokio::test]
async fn one_process_at_a_time() {
    let root = tempfile::tempdir().expect("a folder");
    let mut storage = open(root.path()).await;
    assert!(matches!(fault(root.path()).await, Fault::Storage { doing: "opening the log", .. }));
    assert_eq!(storage.log.read_vote().await.expect("reads"), None, "the first one is none the worse");
    drive::close(storage).await;
}

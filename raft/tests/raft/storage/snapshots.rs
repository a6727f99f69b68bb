//! Snapshots: what they hold, how they travel, and what a crash leaves of them.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_raft::damage::{Damage, Fatal, Fault};
use holdfast_raft::disk::{Disk, SimDisk};
use holdfast_raft::log_store::DurableEnd;
use holdfast_raft::runtime::watch_channel;
use holdfast_raft::snapshot::SnapshotFiles;
use holdfast_raft::state;
use holdfast_raft::storage::Storage;
use holdfast_raft::types::{Entry, LogId, SnapshotMeta};
use openraft::EntryPayload;
use openraft::storage::{RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use openraft_rt::WatchSender as _;

use super::drive;
use super::script::{self, Script, Step};

/// A storage that has lived a script without crashes, snapshots or purges.
async fn lived(disk: &SimDisk, script: &Script) -> Storage {
    let mut storage = drive::open(disk).await;
    for step in &script.steps {
        match step {
            Step::Vote(vote) => storage.log.save_vote(vote).await,
            Step::Append(entries) => drive::append(&mut storage, entries.clone()).await,
            Step::Commit(upto) => drive::commit(&mut storage, *upto).await,
            Step::Truncate(last) => storage.log.truncate_after(*last).await,
            Step::Snapshot | Step::Purge { .. } => Ok(()),
        }
        .expect("a sound disk");
    }
    storage
}

fn meta(files: &SnapshotFiles) -> SnapshotMeta {
    files.meta().expect("a valid one")
}

async fn install(storage: &mut Storage, files: SnapshotFiles) -> io::Result<()> {
    let meta = meta(&files);
    storage.machine.install_snapshot(&meta, files).await
}

fn last(files: &SnapshotFiles) -> Option<LogId> {
    meta(files).last_log_id
}

async fn current(storage: &mut Storage) -> Option<LogId> {
    storage.machine.get_current_snapshot().await.expect("reads").and_then(|snapshot| snapshot.meta.last_log_id)
}

/// A storage with a snapshot installed, closed in peace.
async fn installed(disk: &SimDisk) -> (LogId, u128) {
    let mut leader = lived(&SimDisk::new(1), &script::write(3, 60)).await;
    let (at, files) = drive::snapshot(&mut leader).await.expect("made");
    let mut follower = drive::open(disk).await;
    let received = drive::send(&files, &follower.state, usize::MAX).await.expect("received");
    install(&mut follower, received).await.expect("installed");
    follower.log.purge(at).await.expect("purged");
    drive::close(follower).await;
    (at, drive::check(&leader))
}

#[tokio::test]
async fn a_damaged_state_is_built_anew_from_the_snapshot() {
    let disk = SimDisk::new(2);
    let (at, hash) = installed(&disk).await;
    let rows = disk.paths().into_iter().find(|path| path.starts_with("state-") && path.ends_with("/rows"));
    disk.flip_bit(&rows.expect("the installed state"), 100, 0).expect("flipped");
    let mut storage = drive::open(&disk).await;
    assert_eq!(storage.state.applied_log_id(), None, "the damaged state is given up");
    let snapshot = storage.machine.get_current_snapshot().await.expect("reads").expect("is there");
    storage
        .machine
        .install_snapshot(&snapshot.meta, snapshot.snapshot)
        .await
        .expect("as replication does at its start");
    assert_eq!((storage.state.applied_log_id(), drive::check(&storage)), (Some(at), hash));
}

#[tokio::test]
async fn a_state_that_neither_snapshot_nor_log_can_fill_is_damage() {
    let disk = SimDisk::new(2);
    let (at, _) = installed(&disk).await;
    disk.lose("state-1");
    drive::close(drive::open(&disk).await).await;
    disk.paths().iter().filter(|path| path.starts_with("snapshots/")).for_each(|path| disk.lose(path));
    let opened = Storage::open(drive::shared(&disk), drive::small()).await;
    let fault = opened.err().expect("it does not open");
    assert_eq!(fault, Fault::Damage(Damage::StateBehindLog { held: 0, purged: at.index() }));
}

#[tokio::test]
async fn a_snapshot_without_its_manifest_is_given_up() {
    let disk = SimDisk::new(2);
    let (at, hash) = installed(&disk).await;
    let manifest = disk.paths().into_iter().find(|path| path.ends_with("holdfast-manifest")).expect("is there");
    disk.flip_bit(&manifest, 9, 0).expect("flipped");
    let mut storage = drive::open(&disk).await;
    assert_eq!((storage.state.applied_log_id(), drive::check(&storage)), (Some(at), hash));
    assert_eq!(current(&mut storage).await, None, "the next one is made of the state");
}

#[tokio::test]
async fn a_log_that_a_snapshot_took_the_place_of_outlives_the_power() {
    let disk = SimDisk::new(2);
    let (at, hash) = installed(&disk).await;
    let storage = drive::open(&disk.power_lost()).await;
    assert_eq!(storage.log.purged_log_id(), Some(at));
    assert_eq!((storage.state.applied_log_id(), drive::check(&storage)), (Some(at), hash));
}

/// The log is purged up to the snapshot that was built. One that has been received and not yet installed holds more than the state.
#[tokio::test]
async fn a_snapshot_that_is_built_while_another_is_received_says_what_it_holds_itself() {
    let mut leader = lived(&SimDisk::new(1), &script::write(3, 60)).await;
    let (at, files) = drive::snapshot(&mut leader).await.expect("made");
    // The log of the follower syncs nothing, so its flusher stands still.
    let (synced, synced_end) = watch_channel(0);
    let durable_end = DurableEnd::default();
    let disk = SimDisk::new(2);
    let opened =
        state::open(drive::shared(&disk), drive::small().state, Fatal::default(), synced_end, durable_end.clone())
            .await;
    let (mut machine, state) = opened.expect("opens");
    let own = drive::id(1, 1);
    let blank = Entry { log_id: own, payload: EntryPayload::Blank };
    machine.apply(futures_util::stream::iter([Ok((blank, None))])).await.expect("applied");
    let mut builder = machine.get_snapshot_builder().await;
    let building = tokio::spawn(async move { builder.build_snapshot().await });
    // The builder asks the flusher first.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let received = drive::send(&files, &state, usize::MAX).await.expect("received");
    let installing = tokio::spawn(async move {
        let meta = meta(&received);
        machine.install_snapshot(&meta, received).await.map(|()| machine)
    });
    while !disk.paths().iter().any(|path| path.starts_with("snapshots/")) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(durable_end.load(Ordering::Acquire), 0);
    synced.send_if_modified(|synced| std::mem::replace(synced, 2) != 2);
    let built = building.await.expect("no panic").expect("built");
    assert_eq!(built.meta.last_log_id, Some(own));
    assert_eq!(last(&built.snapshot), Some(own));
    let mut machine = installing.await.expect("no panic").expect("installed");
    let newest = machine.get_current_snapshot().await.expect("reads").expect("is there");
    assert_eq!((newest.meta.last_log_id, state.applied_log_id()), (Some(at), Some(at)));
    assert_eq!(durable_end.load(Ordering::Acquire), at.index() + 1);
}

#[tokio::test]
async fn a_snapshot_travels_and_is_installed() {
    let script = script::write(3, 60);
    let mut leader = lived(&SimDisk::new(1), &script).await;
    let (at, files) = drive::snapshot(&mut leader).await.expect("made");
    assert_eq!(Some(at), leader.state.applied_log_id());
    let follower_disk = SimDisk::new(2);
    for chunk_bytes in [usize::MAX, 1_000] {
        let mut follower = drive::open(&follower_disk).await;
        let received = drive::send(&files, &follower.state, chunk_bytes).await.expect("received");
        install(&mut follower, received).await.expect("installed");
        assert_eq!(follower.state.applied_log_id(), Some(at));
        assert_eq!(drive::check(&follower), drive::check(&leader));
        assert_eq!(current(&mut follower).await, Some(at));
        follower.log.purge(at).await.expect("the snapshot is durable");
        drive::append(&mut follower, vec![drive::filler(9, at.index() + 1, 10)])
            .await
            .expect("the log goes on after it");
        drive::close(follower).await;
        let mut follower = drive::open(&follower_disk).await;
        assert_eq!(drive::log(&mut follower).await.len(), 1, "the log begins after the snapshot");
        assert_eq!(drive::check(&follower), drive::check(&leader));
        drive::close(follower).await;
        for dir in ["log", "watermark"] {
            follower_disk.lose(dir);
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_came_damaged_is_refused() {
    let script = script::write(4, 20);
    let mut leader = lived(&SimDisk::new(1), &script).await;
    let (_, files) = drive::snapshot(&mut leader).await.expect("made");
    let follower = drive::open(&SimDisk::new(2)).await;

    let chunk = files.read(0, 0, usize::MAX).await.expect("reads");
    let mut flipped = chunk.to_vec();
    flipped[chunk.len() / 2] ^= 1;
    let mut receiver = follower.state.receive_snapshot(files.manifest().clone()).await.expect("begins");
    receiver.write(0, flipped.into()).await.expect("taken");
    receiver.finish().await.expect_err("refused");

    let mut receiver = follower.state.receive_snapshot(files.manifest().clone()).await.expect("begins");
    receiver.write(0, chunk.slice(1..)).await.expect("taken");
    receiver.finish().await.expect_err("too short");

    let mut receiver = follower.state.receive_snapshot(files.manifest().clone()).await.expect("begins");
    receiver.write(0, chunk.clone()).await.expect("taken");
    receiver.write(0, chunk.clone()).await.expect_err("too long");
    receiver.write(7, chunk).await.expect_err("no such file");
    assert_eq!(follower.fatal.latched(), None, "a peer's fault is not this node's");
}

#[tokio::test]
async fn a_manifest_cannot_name_files_elsewhere() {
    let script = script::write(4, 5);
    let mut leader = lived(&SimDisk::new(1), &script).await;
    let (_, files) = drive::snapshot(&mut leader).await.expect("made");
    let mut hostile = files.manifest().clone();
    hostile.files[0].name = "../log/journal".to_string();
    leader.state.receive_snapshot(hostile).await.expect_err("refused");
}

#[tokio::test]
async fn abandoned_and_replaced_snapshots_are_removed() {
    let script = script::write(5, 30);
    let disk = SimDisk::new(1);
    let mut storage = lived(&disk, &script).await;
    let (first, held) = drive::snapshot(&mut storage).await.expect("made");
    for more in 1..=5 {
        let next = drive::filler(50, first.index() + more, 0);
        let blank = holdfast_raft::types::Entry { payload: openraft::EntryPayload::Blank, ..next };
        drive::append(&mut storage, vec![blank.clone()]).await.expect("appended");
        drive::commit(&mut storage, blank.log_id).await.expect("applied");
        drive::snapshot(&mut storage).await.expect("made");
        storage.state.receive_snapshot(held.manifest().clone()).await.expect("begins, and is abandoned");
    }
    assert_eq!(disk.list("snapshots").expect("lists").len(), 2, "the current one, and one that is held");
    assert!(!held.read(0, 0, 10).await.expect("still there").is_empty());
    drop(held);
    let (_, files) = drive::snapshot(&mut storage).await.expect("made");
    storage.state.receive_snapshot(files.manifest().clone()).await.expect("begins");
    drop(files);
    assert_eq!(disk.list("snapshots").expect("lists").len(), 1);
    drive::close(storage).await;
    drop(drive::open(&disk).await);
    assert_eq!(disk.list("tmp").expect("lists"), Vec::<String>::new(), "what was begun is gone at the next start");
}

/// A build that ends after an install leaves the newer snapshot where it is.
#[tokio::test]
async fn a_late_build_does_not_replace_an_installed_snapshot() {
    let long = script::write(6, 40);
    let mut leader = lived(&SimDisk::new(1), &long).await;
    let (newer, files) = drive::snapshot(&mut leader).await.expect("made");

    let disk = SimDisk::new(2);
    let mut follower = drive::open(&disk).await;
    let blank = holdfast_raft::types::Entry { log_id: drive::id(1, 0), payload: openraft::EntryPayload::Blank };
    drive::append(&mut follower, vec![blank.clone()]).await.expect("appended");
    drive::commit(&mut follower, blank.log_id).await.expect("applied");
    let (older, old_files) = drive::snapshot(&mut follower).await.expect("made");
    assert!(older < newer);
    let received = drive::send(&files, &follower.state, 100_000).await.expect("received");
    install(&mut follower, received).await.expect("installed");
    assert_eq!(current(&mut follower).await, Some(newer));
    install(&mut follower, old_files).await.expect_err("an older one does not go over it");
    assert_eq!(current(&mut follower).await, Some(newer));
    assert_eq!(last(&drive::snapshot(&mut leader).await.expect("made again").1), Some(newer));
}

/// Power fails at every change of receiving and installing: the state is the one before or the one installed.
#[tokio::test]
async fn power_fails_at_every_step_of_an_install() {
    let script = script::write(8, 30);
    let mut leader = lived(&SimDisk::new(1), &script).await;
    let (at, files) = drive::snapshot(&mut leader).await.expect("made");
    let (mut installed, mut before) = (0, 0);
    for change in 0.. {
        let disk = SimDisk::new(change);
        let mut follower = drive::open(&disk).await;
        drive::append(&mut follower, vec![drive::filler(1, 0, 10)]).await.expect("appended");
        let empty = drive::check(&follower);
        disk.fail_power_at(change);
        let result = async {
            let received = drive::send(&files, &follower.state, 2_000).await?;
            install(&mut follower, received).await
        };
        let finished = result.await.is_ok();
        let mut follower = drive::open(&disk.power_lost()).await;
        match follower.state.applied_log_id() {
            Some(applied) => {
                assert_eq!((applied, current(&mut follower).await), (at, Some(at)));
                assert_eq!(drive::check(&follower), drive::check(&leader));
                installed += 1;
            }
            None => {
                assert_eq!(drive::check(&follower), empty);
                assert!(!finished, "an install that was acknowledged is there");
                before += 1;
            }
        }
        if finished {
            break;
        }
    }
    assert!(installed > 1 && before > 5, "{installed} after, {before} before");
}

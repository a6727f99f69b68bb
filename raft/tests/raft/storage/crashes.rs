//! Power fails at every write of a scripted life: nothing that was acknowledged is lost, and it goes on from there.

use std::io;

use holdfast_raft::disk::SimDisk;
use holdfast_raft::storage::Storage;
use holdfast_raft::types::{Entry, LogId, TypeConfig, Vote};
use openraft::StorageHelper;
use openraft::storage::{RaftLogReader, RaftLogStorage};

use super::drive;
use super::script::{self, Script, Step};

/// What was acknowledged, and what was asked when the power failed.
#[derive(Default)]
struct Acknowledged {
    vote: Option<Vote>,
    /// Every entry of the log, also those that were purged since.
    entries: Vec<Entry>,
    committed: Option<LogId>,
    snapshot: Option<LogId>,
    /// A purge is not waited for: all up to here may be gone.
    purged: Option<LogId>,
    unanswered: Option<Step>,
}

impl Acknowledged {
    async fn ask(&mut self, storage: &mut Storage, step: &Step) -> io::Result<()> {
        match step {
            Step::Vote(vote) => storage.log.save_vote(vote).await?,
            Step::Append(entries) => drive::append(storage, entries.clone()).await?,
            Step::Commit(upto) => drive::commit(storage, *upto).await?,
            Step::Truncate(last) => storage.log.truncate_after(*last).await?,
            Step::Snapshot => {
                self.snapshot = Some(drive::snapshot(storage).await?.0);
            }
            Step::Purge { keep } => {
                if let Some(upto) = self.purgeable(*keep) {
                    storage.log.purge(upto).await?;
                }
            }
        }
        Ok(())
    }

    fn purgeable(&self, keep: u64) -> Option<LogId> {
        let index = self.snapshot?.index().checked_sub(keep)?;
        let upto = self.entries[usize::try_from(index).expect("small")].log_id;
        (Some(upto) > self.purged).then_some(upto)
    }

    fn take_note(&mut self, step: &Step) {
        match step {
            Step::Vote(vote) => self.vote = Some(*vote),
            Step::Append(entries) => self.entries.extend(entries.iter().cloned()),
            Step::Commit(upto) => self.committed = Some(*upto),
            Step::Truncate(last) => self.entries.retain(|entry| Some(entry.log_id) <= *last),
            Step::Snapshot => (),
            Step::Purge { keep } => self.purged = self.purgeable(*keep).or(self.purged),
        }
    }

    /// Runs the script until it ends or the power does.
    async fn run(storage: &mut Storage, script: &Script) -> Acknowledged {
        let mut acknowledged = Acknowledged::default();
        for step in &script.steps {
            if acknowledged.ask(storage, step).await.is_err() {
                acknowledged.unanswered = Some(step.clone());
                break;
            }
            acknowledged.take_note(step);
        }
        acknowledged
    }

    /// Compares what is there after the crash.
    async fn check(&self, storage: &mut Storage) {
        let vote = storage.log.read_vote().await.expect("reads");
        let asked = match &self.unanswered {
            Some(Step::Vote(vote)) => Some(*vote),
            _ => None,
        };
        assert!(vote == self.vote || vote == asked, "{vote:?} is neither {:?} nor {asked:?}", self.vote);

        let mut possible = vec![self.entries.clone()];
        let mut gone = self.purged.map_or(0, |purged| purged.index() + 1);
        match &self.unanswered {
            Some(Step::Append(entries)) => possible.push([&self.entries[..], entries].concat()),
            Some(Step::Truncate(last)) => {
                possible.push(self.entries.iter().filter(|entry| Some(entry.log_id) <= *last).cloned().collect());
            }
            Some(Step::Purge { keep }) => {
                gone = gone.max(self.purgeable(*keep).map_or(0, |upto| upto.index() + 1));
            }
            _ => (),
        }
        let log = drive::log(storage).await;
        let first = log.first().map(|entry| entry.log_id.index());
        let is_there = |expected: &Vec<Entry>| {
            let from = first.unwrap_or(gone).min(expected.len() as u64);
            from <= gone && expected[usize::try_from(from).expect("small")..] == log[..]
        };
        let described = |entries: &[Entry]| entries.iter().map(|entry| entry.log_id.to_string()).collect::<Vec<_>>();
        assert!(possible.iter().any(is_there), "{:?} is not what {:?} left", described(&log), described(&self.entries));
    }
}

/// Recovers as openraft does when it starts, and applies everything that was committed.
async fn recover(storage: &mut Storage, committed: Option<LogId>) {
    let helper = StorageHelper::<TypeConfig, _, _>::new(&mut storage.log, &mut storage.machine).with_id(1);
    let mut helper = helper;
    helper.get_initial_state().await.unwrap_or_else(|error| panic!("does not start: {error}"));
    if let Some(committed) = committed.filter(|committed| Some(*committed) > storage.state.applied_log_id()) {
        drive::commit(storage, committed).await.expect("what was committed applies again");
    }
}

async fn check_state(storage: &Storage, script: &Script) {
    let applied = storage.state.applied_log_id().map(|id| usize::try_from(id.index()).expect("small"));
    let expected = applied.map(|index| script.hashes[index]);
    let hash = drive::check(storage);
    assert!(expected.is_none_or(|expected| expected == hash), "another state than a replay gives at {applied:?}");
}

/// One life with a crash at change number `at`; says whether it came to it.
async fn crash(script: &Script, seed: u64, at: u64, kill: bool) -> bool {
    let disk = SimDisk::new(seed);
    disk.fail_power_at(at);
    let acknowledged = match Storage::open(drive::shared(&disk), drive::small()).await {
        Ok(mut storage) => Acknowledged::run(&mut storage, script).await,
        Err(_) => Acknowledged::default(),
    };
    let crashed = disk.changes() > at;

    let mut disk = if kill { disk.process_killed() } else { disk.power_lost() };
    let mut storage = drive::open(&disk).await;
    acknowledged.check(&mut storage).await;
    if kill {
        // What a killed process left behind and the next one has seen, it counts on: it must be durable by then.
        let seen = (drive::log(&mut storage).await, storage.log.read_vote().await.expect("reads"));
        let applied = storage.state.applied_log_id();
        disk = disk.power_lost();
        storage = drive::open(&disk).await;
        assert_eq!((drive::log(&mut storage).await, storage.log.read_vote().await.expect("reads")), seen);
        assert_eq!(storage.state.applied_log_id(), applied);
    }
    check_state(&storage, script).await;
    recover(&mut storage, acknowledged.committed).await;
    check_state(&storage, script).await;
    assert!(storage.state.applied_log_id() >= acknowledged.committed, "what was committed is applied");

    // It lives on, and what it is told now is there after a peaceful end.
    let last = storage.log.get_log_state().await.expect("reads").last_log_id;
    let more = drive::filler(1_000, last.map_or(0, |last| last.index() + 1), 10);
    drive::append(&mut storage, vec![more.clone()]).await.expect("appends");
    let hash = drive::check(&storage);
    drive::close(storage).await;
    let mut storage = drive::open(&disk).await;
    assert_eq!(drive::log(&mut storage).await.last(), Some(&more));
    assert_eq!(drive::check(&storage), hash, "a peaceful end flushes everything");
    crashed
}

async fn crash_everywhere(seed: u64, kill: bool) {
    let script = script::write(seed, 40);
    let mut at = 0;
    while crash(&script, seed.wrapping_mul(1_000_003).wrapping_add(at), at, kill).await {
        at += 1;
    }
    assert!(at > 100, "the script makes only {at} changes");
}

#[tokio::test]
async fn power_fails_at_every_change() {
    for seed in 0..3 {
        crash_everywhere(seed, false).await;
    }
}

#[tokio::test]
async fn the_process_dies_at_every_change() {
    crash_everywhere(7, true).await;
}

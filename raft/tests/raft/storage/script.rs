//! A life of a log, written down: what it is asked step by step, and the states that its committed entries lead to.

use holdfast_ledger::State;
use holdfast_ledger::command::Batch;
use holdfast_ledger::entities::Policy;
use holdfast_ledger::store::MemoryStore;
use holdfast_raft::types::{Entry, LogId, Vote};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::drive::{entry, filler, id};
use super::walk::{Walker, walk};

/// One thing that a log or a state is asked.
#[derive(Debug, Clone)]
pub enum Step {
    Vote(Vote),
    Append(Vec<Entry>),
    /// Everything up to here is committed and applied.
    Commit(LogId),
    /// Everything after this is taken back; it was never committed.
    Truncate(Option<LogId>),
    Snapshot,
    /// Up to the last snapshot, less some.
    Purge {
        keep: u64,
    },
}

pub struct Script {
    pub steps: Vec<Step>,
    /// The state's hash after the entry at each index.
    pub hashes: Vec<u128>,
}

struct Writer {
    rng: SmallRng,
    term: u64,
    /// The committed log.
    walker: Walker,
    state: State<MemoryStore>,
    hashes: Vec<u128>,
    steps: Vec<Step>,
}

impl Writer {
    fn next(&self) -> u64 {
        self.hashes.len() as u64
    }

    fn vote(&mut self) {
        self.term += 1;
        self.steps.push(Step::Vote(Vote::new(self.term, 1)));
        self.steps.push(Step::Vote(Vote::new_committed(self.term, 1)));
    }

    /// Entries that are going to be committed, and that they are.
    fn commit(&mut self, batches: Vec<Batch>) {
        let entries: Vec<Entry> = batches
            .iter()
            .map(|batch| {
                let index = self.next();
                let applied = self.state.apply(index, batch).expect("a store in memory");
                self.walker.learn(batch, &applied);
                self.hashes.push(self.state.state_hash());
                entry(self.term, index, batch)
            })
            .collect();
        let last = entries.last().expect("not empty").log_id;
        self.steps.push(Step::Append(entries));
        self.steps.push(Step::Commit(last));
    }

    /// Entries of a leader that is going to lose them, and the loss.
    fn lose_entries(&mut self) {
        let (next, count) = (self.next(), self.rng.random_range(1..4));
        let bytes = self.rng.random_range(0..3_000);
        let entries = (next..next + count).map(|index| filler(self.term, index, bytes)).collect();
        self.steps.push(Step::Append(entries));
        let last = match self.steps.iter().rev().find(|step| matches!(step, Step::Commit(_))) {
            Some(Step::Commit(last)) => Some(*last),
            _ => None,
        };
        self.vote();
        self.steps.push(Step::Truncate(last));
    }
}

/// A script of `length` rounds that follows from `seed`.
pub fn write(seed: u64, length: usize) -> Script {
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed_bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let walked = walk(8 * length).new_tree(&mut runner).expect("a walk").current();
    let mut writer = Writer {
        rng: SmallRng::seed_from_u64(seed),
        term: 0,
        walker: Walker::new(),
        state: State::open(MemoryStore::default()).expect("a store in memory"),
        hashes: Vec::new(),
        steps: Vec::new(),
    };
    writer.vote();
    // Index 0 is a cluster's first membership; here it does nothing.
    writer.steps.push(Step::Append(vec![Entry { log_id: id(1, 0), payload: openraft::EntryPayload::Blank }]));
    writer.steps.push(Step::Commit(id(1, 0)));
    writer.hashes.push(writer.state.state_hash());
    writer.commit(writer.walker.opening(&Policy::default()));
    let mut walked = walked.iter();
    for _ in 0..length {
        match writer.rng.random_range(0..10) {
            0 => writer.vote(),
            1 | 2 => writer.lose_entries(),
            3 => writer.steps.push(Step::Snapshot),
            4 => {
                let keep = writer.rng.random_range(0..4);
                writer.steps.push(Step::Purge { keep });
            }
            _ => {
                let count = writer.rng.random_range(1..6);
                for step in walked.by_ref().take(count) {
                    let batch = writer.walker.batch(step);
                    writer.commit(vec![batch]);
                }
            }
        }
    }
    Script { steps: writer.steps, hashes: writer.hashes }
}

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use holdfast_ledger::codec;
use holdfast_ledger::command::{Actor, Batch, Command, Submitted};
use holdfast_ledger::outcome::{Outcome, Reply};

use super::*;

/// A cluster made of answers.
struct Fake {
    leader: Mutex<Leader>,
    /// What the next writes become; an empty list is success.
    writes: Mutex<VecDeque<Carried<()>>>,
    /// Keeps writes from finishing until there are permits.
    gate: Semaphore,
    entries: Mutex<Vec<Batch>>,
    forwards: Mutex<VecDeque<Carried<Vec<GroupAnswer>>>>,
    forwarded: AtomicUsize,
    /// Whether the leader is one that never answers.
    silent: AtomicBool,
}

impl Fake {
    fn leading() -> Arc<Fake> {
        Arc::new(Fake {
            leader: Mutex::new(Leader::Me),
            writes: Mutex::default(),
            gate: Semaphore::new(1_000_000),
            entries: Mutex::default(),
            forwards: Mutex::default(),
            forwarded: AtomicUsize::new(0),
            silent: AtomicBool::new(false),
        })
    }

    fn following() -> Arc<Fake> {
        let fake = Fake::leading();
        *fake.leader.lock().unwrap() = Leader::Other(2, NodeRecord::default());
        fake
    }
}

impl Carrier for Fake {
    fn leader(&self) -> Leader {
        self.leader.lock().unwrap().clone()
    }

    async fn leader_changed(&self) {
        std::future::pending().await
    }

    async fn stamp(&self) -> u64 {
        77
    }

    async fn write(&self, payload: Payload) -> Carried<Applied> {
        self.gate.acquire().await.unwrap().forget();
        let batch: Batch = codec::decode(&payload.0).unwrap();
        match self.writes.lock().unwrap().pop_front() {
            Some(Carried::NotProposed) => return Carried::NotProposed,
            Some(Carried::Unknown) => return Carried::Unknown,
            _ => {}
        }
        let outcomes = batch.commands.iter().map(|submitted| match submitted.command {
            Command::AckOutbox { upto, .. } => Outcome { settled: Ok(Reply::Done), decided_at: upto, replayed: false },
            _ => unreachable!("the tests propose nothing else"),
        });
        let outcomes = outcomes.collect();
        let mut entries = self.entries.lock().unwrap();
        entries.push(batch);
        Carried::Answered(Applied { index: entries.len() as u64, time_ms: 77, outcomes, events: 0 })
    }

    async fn forward(
        &self,
        _to: NodeId,
        _record: &NodeRecord,
        groups: Vec<Group>,
        _timeout: Duration,
    ) -> Carried<Vec<GroupAnswer>> {
        self.forwarded.fetch_add(groups.len(), Ordering::Relaxed);
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let answer = self.forwards.lock().unwrap().pop_front();
        answer.unwrap_or_else(|| Carried::Answered(groups.iter().map(|_| Ok(Vec::new())).collect()))
    }
}

fn group(marks: &[u64]) -> Group {
    let commands: Vec<_> = marks
        .iter()
        .map(|mark| Submitted {
            actor: Actor::System,
            idempotency: None,
            command: Command::AckOutbox { upto: *mark, losses: 0 },
        })
        .collect();
    Group::encode(&commands)
}

fn marks(answer: GroupAnswer) -> Vec<u64> {
    answer.unwrap().iter().map(|answer| answer.outcome.decided_at).collect()
}

fn settings() -> Settings {
    Settings { leader_wait_ms: 200, batches_in_flight_max: 2, ..Settings::default() }
}

#[tokio::test]
async fn what_arrives_together_travels_together_and_is_answered_apart() {
    let fake = Fake::leading();
    fake.gate.forget_permits(1_000_000);
    let proposer = Proposer::start(fake.clone(), &settings(), Stop::default());
    let proposing = (0..50u64).map(|n| {
        let proposer = proposer.clone();
        tokio::spawn(async move { proposer.propose(group(&[n * 2, n * 2 + 1]), false).await })
    });
    let proposing: Vec<_> = proposing.collect();
    fake.gate.add_permits(1_000_000);
    for (n, proposed) in proposing.into_iter().enumerate() {
        assert_eq!(marks(proposed.await.unwrap()), [n as u64 * 2, n as u64 * 2 + 1]);
    }
    let entries = fake.entries.lock().unwrap();
    assert_eq!(entries.iter().map(|batch| batch.commands.len()).sum::<usize>(), 100);
    assert!(entries.len() <= 10, "{} entries for 50 proposals that waited together", entries.len());
    assert!(entries.iter().all(|batch| batch.time_ms == 77), "stamped by the leader");
}

#[tokio::test]
async fn a_group_is_never_torn_apart_and_entries_have_a_limit() {
    let fake = Fake::leading();
    let settings = Settings { entry_commands_max: 4, ..settings() };
    let proposer = Proposer::start(fake.clone(), &settings, Stop::default());
    let proposals = (0..9u64).map(|n| proposer.propose(group(&[n, n, n]), false));
    for answer in futures_util::future::join_all(proposals).await {
        assert_eq!(answer.unwrap().len(), 3);
    }
    assert!(fake.entries.lock().unwrap().iter().all(|batch| batch.commands.len() == 3));
}

#[tokio::test]
async fn what_was_not_proposed_is_tried_again_and_what_may_have_been_is_not() {
    let fake = Fake::leading();
    fake.writes.lock().unwrap().extend([Carried::NotProposed, Carried::NotProposed, Carried::Answered(())]);
    let proposer = Proposer::start(fake.clone(), &settings(), Stop::default());
    assert_eq!(marks(proposer.propose(group(&[5]), false).await), [5]);
    assert_eq!(fake.entries.lock().unwrap().len(), 1);

    fake.writes.lock().unwrap().push_back(Carried::Unknown);
    assert_eq!(proposer.propose(group(&[6]), false).await, Err(Unavailable::Unknown));
    assert_eq!(fake.entries.lock().unwrap().len(), 1, "not proposed a second time");
}

#[tokio::test]
async fn without_a_leader_the_caller_learns_that_nothing_was_done() {
    let fake = Fake::leading();
    *fake.leader.lock().unwrap() = Leader::Unknown;
    let proposer = Proposer::start(fake.clone(), &settings(), Stop::default());
    assert_eq!(proposer.propose(group(&[1]), false).await, Err(Unavailable::NoLeader));
    assert!(fake.entries.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_follower_forwards_once_and_takes_no_second_hop() {
    let fake = Fake::following();
    let proposer = Proposer::start(fake.clone(), &settings(), Stop::default());
    assert_eq!(proposer.propose(group(&[1]), false).await, Ok(Vec::new()));
    assert_eq!(fake.forwarded.load(Ordering::Relaxed), 1);
    assert_eq!(proposer.propose(group(&[2]), true).await, Err(Unavailable::NoLeader));
    assert_eq!(fake.forwarded.load(Ordering::Relaxed), 1, "it came from a node that took this one for the leader");
}

#[tokio::test]
async fn a_forwarded_group_that_found_no_leader_is_tried_again() {
    let fake = Fake::following();
    fake.forwards.lock().unwrap().extend([
        Carried::NotProposed,
        Carried::Answered(vec![Err(Unavailable::NoLeader)]),
        Carried::Answered(vec![Err(Unavailable::Unknown)]),
    ]);
    let proposer = Proposer::start(fake.clone(), &settings(), Stop::default());
    assert_eq!(proposer.propose(group(&[1]), false).await, Err(Unavailable::Unknown));
    assert_eq!(fake.forwarded.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn too_much_is_refused_before_anything_is_done() {
    let fake = Fake::leading();
    fake.gate.forget_permits(1_000_000);
    let settings = Settings { proposals_queued_max: 1, batches_in_flight_max: 1, entry_bytes_max: 1_000, ..settings() };
    let proposer = Proposer::start(fake.clone(), &settings, Stop::default());
    assert_eq!(proposer.propose(group(&vec![1; 1_000]), false).await, Err(Unavailable::TooLarge));
    let proposals = (0..20u64).map(|n| proposer.propose(group(&[n]), false));
    let answers = async { futures_util::future::join_all(proposals).await };
    let (answers, ()) = tokio::join!(answers, async {
        tokio::task::yield_now().await;
        fake.gate.add_permits(100);
    });
    let overloaded = answers.iter().filter(|answer| **answer == Err(Unavailable::Overloaded)).count();
    assert!(overloaded > 0, "the queue has one place");
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 20 - overloaded);
}

#[tokio::test]
async fn a_proposal_after_the_stop_is_told_so() {
    let stop = Stop::default();
    let proposer = Proposer::start(Fake::leading(), &settings(), stop.clone());
    stop.raise();
    let answer = proposer.propose(group(&[1]), false).await;
    assert!(matches!(answer, Err(Unavailable::Stopping | Unavailable::Unknown)), "{answer:?}");
    while !proposer.queue.is_closed() {
        tokio::task::yield_now().await;
    }
    assert_eq!(proposer.propose(group(&[1]), false).await, Err(Unavailable::Stopping));
}

#[tokio::test]
async fn what_was_sent_to_a_silent_leader_is_given_up_when_another_leads_and_holds_up_nobody() {
    let fake = Fake::following();
    fake.silent.store(true, Ordering::Relaxed);
    let proposer = Proposer::start(fake.clone(), &settings(), Stop::default());
    let proposed = |mark| {
        let proposer = proposer.clone();
        tokio::spawn(async move { proposer.propose(group(&[mark]), false).await })
    };
    // As many as may be under way at once, and one that waits for its turn.
    let mut stuck = Vec::new();
    for mark in 1..=2 {
        stuck.push(proposed(mark));
        while fake.forwarded.load(Ordering::Relaxed) < mark as usize {
            tokio::task::yield_now().await;
        }
    }
    let behind = proposed(3);
    *fake.leader.lock().unwrap() = Leader::Me;
    assert_eq!(marks(behind.await.unwrap()), [3]);
    for stuck in stuck {
        assert_eq!(stuck.await.unwrap(), Err(Unavailable::Unknown), "it may have been proposed");
    }
}

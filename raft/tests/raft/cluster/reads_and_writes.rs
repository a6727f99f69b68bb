use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_ledger::command::{Actor, Command, Submitted};
use holdfast_ledger::outcome::{Refusal, Reply};
use holdfast_raft::node::{Consistency, Unavailable};
use holdfast_raft::settings::Settings;

use super::harness::{Cluster, Ground, eventually, has, hash, put, quick, sign_up};

async fn a_lone_node_writes_and_reads(ground: Ground) {
    let cluster = Cluster::alone(ground, quick()).await;
    let node = cluster.node(0);
    let first = put(node, "anna").await;
    let second = put(node, "ben").await;
    assert!(second.index > first.index);
    assert!(second.time_ms >= first.time_ms);
    assert!(first.time_ms > 1_700_000_000_000, "stamped by the wall clock: {}", first.time_ms);
    assert_eq!(has(node, Consistency::Linearizable, "ben").await, Ok(true));
    assert_eq!(has(node, Consistency::AtLeast(second.index), "ben").await, Ok(true));
    assert_eq!(has(node, Consistency::Linearizable, "carl").await, Ok(false));
    let again = node.propose(sign_up("anna")).await.unwrap();
    assert_eq!(again.outcome.settled, Err(Refusal::EmailInUse));
    let status = node.status();
    assert_eq!(status.leader, Some(status.node_id));
    assert!(status.ready);
    assert!(status.applied_index >= again.index);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_on_rocksdb() {
    a_lone_node_writes_and_reads(Ground::real()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_on_a_simulated_disk() {
    a_lone_node_writes_and_reads(Ground::simulated()).await;
}

async fn three_nodes_agree(ground: Ground) {
    let cluster = Cluster::of_three(ground, quick()).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    put(cluster.node(leader), "anna").await;
    let forwarded = put(cluster.node(follower), "ben").await;
    for (at, node) in cluster.running() {
        for name in ["anna", "ben"] {
            assert_eq!(has(node, Consistency::Linearizable, name).await, Ok(true), "{name} at node {at}");
        }
        assert_eq!(has(node, Consistency::AtLeast(forwarded.index), "ben").await, Ok(true));
    }
    eventually("equal states", || async {
        let mut hashes = BTreeSet::new();
        for (_, node) in cluster.running() {
            hashes.insert(hash(node).await);
        }
        hashes.len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_on_rocksdb_and_http() {
    three_nodes_agree(Ground::real()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_in_memory() {
    three_nodes_agree(Ground::simulated()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_at_a_follower_sees_every_write_that_was_acknowledged_anywhere() {
    let cluster = Cluster::of_three(Ground::simulated(), quick()).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    for n in 0..100 {
        let name = format!("user-{n}");
        put(cluster.node(leader), &name).await;
        assert_eq!(has(cluster.node(follower), Consistency::Linearizable, &name).await, Ok(true), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_proposals_at_all_nodes_share_entries_and_each_gets_its_own_answer() {
    let cluster = Cluster::of_three(Ground::simulated(), quick()).await;
    let before = cluster.node(0).status().last_log_index;
    let proposing = (0..600).map(|n| {
        let node = cluster.node(n % 3).clone();
        tokio::spawn(async move { put(&node, &format!("user-{n}")).await.outcome.settled })
    });
    let proposing: Vec<_> = proposing.collect();
    let mut users = BTreeSet::new();
    let mut in_doubt = 0;
    for proposed in proposing {
        match proposed.await.unwrap() {
            Ok(Reply::SignedIn { user, .. }) => assert!(users.insert(user), "somebody got another one's answer"),
            _ => in_doubt += 1,
        }
    }
    assert!(in_doubt < 300, "the leader hardly changes that often");
    let entries = cluster.node(0).status().last_log_index - before;
    assert!(entries < 300, "{entries} entries for 600 proposals");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_proposed_together_are_one_entry_in_their_order() {
    let cluster = Cluster::alone(Ground::simulated(), quick()).await;
    let together = vec![sign_up("anna"), sign_up("anna"), sign_up("ben")];
    let answers = cluster.node(0).propose_many(together).await.unwrap();
    assert!(answers.iter().all(|answer| answer.index == answers[0].index));
    assert!(answers[0].outcome.settled.is_ok());
    assert_eq!(answers[1].outcome.settled, Err(Refusal::EmailInUse));
    assert!(answers[2].outcome.settled.is_ok());
    assert_eq!(cluster.node(0).propose_many(Vec::new()).await, Ok(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_entry_can_carry_is_refused() {
    let settings = Settings { entry_bytes_max: 10_000, ..quick() };
    let cluster = Cluster::alone(Ground::simulated(), settings).await;
    let many = vec![sign_up("anna"); 1_000];
    assert_eq!(cluster.node(0).propose_many(many).await, Err(Unavailable::TooLarge));
    assert_eq!(has(cluster.node(0), Consistency::Linearizable, "anna").await, Ok(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_index_is_woken_by_it() {
    let cluster = Cluster::alone(Ground::simulated(), quick()).await;
    let node = cluster.node(0);
    let index = put(node, "anna").await.index;
    assert!(node.applied_beyond(index - 1).await >= index);
    let waiting = node.applied_beyond(index);
    let (reached, answer) = tokio::join!(waiting, put(node, "ben"));
    assert!(reached > index && reached <= answer.index);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_promised() {
    let settings = Settings { leader_wait_ms: 300, proposal_timeout_ms: 2_000, read_timeout_ms: 2_000, ..quick() };
    let mut cluster = Cluster::of_three(Ground::simulated(), Settings { leader_wait_ms: 10_000, ..settings }).await;
    let leader = cluster.leader().await;
    put(cluster.node(leader), "anna").await;
    for at in (0..3).filter(|at| *at != leader).collect::<Vec<_>>() {
        cluster.stop(at).await;
    }
    let node = cluster.node(leader);
    let proposed = node.propose(sign_up("ben")).await;
    assert!(matches!(proposed, Err(Unavailable::Unknown | Unavailable::NoLeader)), "{proposed:?}");
    let read = has(node, Consistency::Linearizable, "anna").await;
    assert_eq!(read, Err(Unavailable::NoLeader));
    assert_eq!(has(node, Consistency::Stale, "anna").await, Ok(true), "what it has it can still show");
}

/// One clock that is wrong moves no lease, not even when its node leads.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_clock_is_an_hour_ahead_stamps_the_others_time() {
    const HOUR_MS: u64 = 3_600_000;
    let mut cluster = Cluster::alone(Ground::simulated(), quick()).await;
    let wrong = cluster.join_ahead(HOUR_MS).await;
    cluster.join().await;
    for at in 0..3 {
        cluster.eventually_voters(at, 3).await;
    }
    let before = put(cluster.node(0), "anna").await;
    let to = cluster.node(wrong).status().node_id;
    eventually("the node with the wrong clock leads", || async {
        cluster.node(0).transfer_leader(to).await.is_ok() && cluster.node(wrong).status().leader == Some(to)
    })
    .await;
    let after = put(cluster.node(wrong), "ben").await;
    assert!(after.time_ms >= before.time_ms);
    assert!(after.time_ms < before.time_ms + HOUR_MS / 2, "{} ms ahead", after.time_ms - before.time_ms);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledgers_time_goes_on_without_anybody_asking() {
    let settings = Settings { cleanup_interval_ms: 100, tick_interval_ms: 20, ..quick() };
    let cluster = Cluster::alone(Ground::simulated(), settings).await;
    let node = cluster.node(0);
    let tick = Submitted { actor: Actor::System, idempotency: None, command: Command::Tick };
    let time_ms = node.propose(tick).await.unwrap().time_ms;
    eventually("a later ledger time", || async {
        let now_ms = node.read(Consistency::Stale, |state| Ok(state.meta().now_ms)).await.unwrap();
        now_ms >= time_ms + Duration::from_millis(200).as_millis() as u64
    })
    .await;
}

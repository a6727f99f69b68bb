use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use holdfast_raft::node::{Consistency, Start, StartError, Unavailable};

use super::harness::{Cluster, Ground, eventually, has, hash, put, quick, sign_up, signed_up};

async fn a_stopped_node_goes_on(ground: Ground) {
    let mut cluster = Cluster::alone(ground, quick()).await;
    let before = cluster.node(0).status();
    for n in 0..20 {
        put(cluster.node(0), &format!("user-{n}")).await;
    }
    let hashed = hash(cluster.node(0)).await;
    cluster.stop(0).await;
    cluster.restart(0).await;
    let node = cluster.node(0);
    eventually("the node leads again", || async { node.status().leader.is_some() }).await;
    for n in 0..20 {
        assert_eq!(has(node, Consistency::Linearizable, &format!("user-{n}")).await, Ok(true), "user-{n}");
    }
    let (index, state_hash) = hash(node).await;
    assert_eq!((index, state_hash), hashed, "nothing was proposed since");
    let after = node.status();
    assert_eq!((after.node_id, after.cluster_id), (before.node_id, before.cluster_id));
    put(node, "later").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_goes_on_with_rocksdb() {
    a_stopped_node_goes_on(Ground::real()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_goes_on_with_a_simulated_disk() {
    a_stopped_node_goes_on(Ground::simulated()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_a_cluster_does_not_start_by_itself() {
    let mut cluster = Cluster::alone(Ground::simulated(), quick()).await;
    let at = cluster.add();
    let options = cluster.options(at, Start::Continue);
    assert!(matches!(holdfast_raft::node::Node::start(options).await, Err(StartError::NoCluster)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_shut_down_says_so() {
    let mut cluster = Cluster::alone(Ground::simulated(), quick()).await;
    let node = cluster.node(0).clone();
    cluster.stop(0).await;
    assert_eq!(node.propose(sign_up("anna")).await, Err(Unavailable::Stopping));
    assert_eq!(has(&node, Consistency::Linearizable, "anna").await, Err(Unavailable::Stopping));
    assert!(!node.status().ready);
    node.shutdown().await;
}

/// Writers at all nodes while the leader goes twice: what was acknowledged is there, once.
async fn the_leader_goes_and_nothing_acknowledged_is_lost(ground: Ground) {
    let mut cluster = Cluster::of_three(ground, quick()).await;
    let done = Arc::new(AtomicBool::new(false));
    let acknowledged_sum = Arc::new(AtomicUsize::new(0));
    let writing: Vec<_> = (0..6)
        .map(|writer| {
            let nodes: Vec<_> = cluster.running().map(|(_, node)| node.clone()).collect();
            let (done, sum) = (done.clone(), acknowledged_sum.clone());
            tokio::spawn(async move {
                let (mut acknowledged, mut n) = (Vec::new(), 0);
                while !done.load(Ordering::Relaxed) {
                    let name = format!("writer-{writer}-{n}");
                    match nodes[(writer + n) % 3].propose(sign_up(&name)).await {
                        Ok(answer) => {
                            assert!(signed_up(&answer), "{answer:?}");
                            acknowledged.push(name);
                            sum.fetch_add(1, Ordering::Relaxed);
                        }
                        // A stopped node answers at once: let the others have the processor.
                        Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                    }
                    n += 1;
                }
                acknowledged
            })
        })
        .collect();
    for round in 0..2 {
        let enough = (round + 1) * 20;
        eventually("some writes", || async { acknowledged_sum.load(Ordering::Relaxed) >= enough }).await;
        let leader = cluster.leader().await;
        let before = cluster.node(leader).status().term;
        cluster.stop(leader).await;
        let next = cluster.leader().await;
        assert!(cluster.node(next).status().term > before);
        put(cluster.node(next), &format!("after-term-{before}")).await;
        cluster.restart(leader).await;
    }
    done.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writing {
        acknowledged.extend(writer.await.unwrap());
    }
    for (at, node) in cluster.running() {
        for name in &acknowledged {
            assert_eq!(has(node, Consistency::Linearizable, name).await, Ok(true), "{name} at node {at}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_goes_on_rocksdb() {
    the_leader_goes_and_nothing_acknowledged_is_lost(Ground::real()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_goes_in_memory() {
    the_leader_goes_and_nothing_acknowledged_is_lost(Ground::simulated()).await;
}

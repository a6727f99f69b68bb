//! `kill -9` in a loop, under load: nothing acknowledged is lost, nothing is sold twice.

use crate::support::{Load, assert_verified, cluster};

const BUYERS: usize = 12;
const TICKETS: usize = 20_000;
/// Purchases between two kills.
const BETWEEN: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn one_node_killed_again_and_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 1).await;
    let load = Load::start(&cluster, BUYERS, TICKETS).await;
    for _ in 0..6 {
        load.wait_for(BETWEEN).await;
        cluster.kill(0);
        cluster.restart(0).expect("starts again");
        cluster.wait_for_leader().await.expect("leads again");
    }
    load.wait_for(BETWEEN).await;
    let bought = load.end(&cluster).await;
    assert!(bought >= 7 * BETWEEN);
    assert_eq!(cluster.stop(0).expect("stops"), Some(0));
    assert_verified(&cluster.members[0].data);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_the_leader_and_others_killed_again_and_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 3).await;
    let load = Load::start(&cluster, BUYERS, TICKETS).await;
    for round in 0..6 {
        load.wait_for(BETWEEN).await;
        let leader = cluster.wait_for_leader().await.expect("a leader");
        let victim = if round % 2 == 0 { leader } else { rand::random_range(0..3) };
        cluster.kill(victim);
        // The other two go on without it.
        load.wait_for(BETWEEN).await;
        cluster.restart(victim).expect("starts again");
        cluster.wait_for_voters().await.expect("all vote again");
    }
    load.end(&cluster).await;
    cluster.stop_all();
    cluster.members.iter().for_each(|member| assert_verified(&member.data));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_killed_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 3).await;
    let load = Load::start(&cluster, BUYERS, TICKETS).await;
    for _ in 0..2 {
        load.wait_for(BETWEEN).await;
        (0..3).for_each(|node| cluster.kill(node));
        for node in 0..3 {
            cluster.restart(node).expect("starts again");
        }
        cluster.wait_for_voters().await.expect("all vote again");
    }
    load.wait_for(BETWEEN).await;
    load.end(&cluster).await;
    cluster.stop_all();
    cluster.members.iter().for_each(|member| assert_verified(&member.data));
}

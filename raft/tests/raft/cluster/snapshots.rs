use holdfast_raft::node::Consistency;
use holdfast_raft::settings::Settings;

use super::harness::{Cluster, Ground, eventually, has, hash, put, quick};

/// A follower that was away while the log was purged gets a snapshot and goes on from it.
async fn who_is_far_behind_gets_a_snapshot(ground: Ground) {
    let settings =
        Settings { snapshot_entries: 20, log_entries_kept: 5, purge_batch_entries: 1, lag_entries_max: 10, ..quick() };
    let mut cluster = Cluster::of_three(ground, settings).await;
    let follower = cluster.follower().await;
    cluster.stop(follower).await;
    let leader = cluster.leader().await;
    for n in 0..100 {
        put(cluster.node(leader), &format!("user-{n}")).await;
    }
    cluster.restart(follower).await;
    for n in 0..100 {
        let name = format!("user-{n}");
        assert_eq!(has(cluster.node(follower), Consistency::Linearizable, &name).await, Ok(true), "{name}");
    }
    put(cluster.node(follower), "later").await;
    eventually("equal states", || async { hash(cluster.node(leader)).await == hash(cluster.node(follower)).await })
        .await;
    cluster.stop(follower).await;
    cluster.restart(follower).await;
    assert_eq!(has(cluster.node(follower), Consistency::Linearizable, "later").await, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_far_behind_gets_a_snapshot_of_rocksdb_over_http() {
    who_is_far_behind_gets_a_snapshot(Ground::real()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_far_behind_gets_a_snapshot_in_memory() {
    who_is_far_behind_gets_a_snapshot(Ground::simulated()).await;
}

/// One that joins when the log no longer has its beginning.
#[tokio::test(flavor = "multi_thread")]
async fn who_joins_late_begins_with_a_snapshot_and_votes() {
    let settings = Settings { snapshot_entries: 20, log_entries_kept: 0, purge_batch_entries: 1, ..quick() };
    let mut cluster = Cluster::alone(Ground::simulated(), settings).await;
    for n in 0..60 {
        put(cluster.node(0), &format!("user-{n}")).await;
    }
    let late = cluster.join().await;
    cluster.eventually_voters(late, 2).await;
    assert_eq!(has(cluster.node(late), Consistency::Linearizable, "user-0").await, Ok(true));
    eventually("equal states", || async { hash(cluster.node(0)).await == hash(cluster.node(late)).await }).await;
}

use std::collections::BTreeSet;

use holdfast_raft::node::JoinRequest;
use holdfast_raft::plan::{Change, Refusal};
use holdfast_raft::settings::Settings;
use holdfast_raft::types::Intent;

use super::harness::{Cluster, Ground, eventually, put, quick};

fn request(instance: u128) -> JoinRequest {
    let peer_addr = format!("away-{instance}:1");
    JoinRequest { instance, peer_addr, http_addr: "away:2".into(), intent: Intent::Voter, versions: Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_folder_gets_the_same_id_and_another_one_another() {
    let cluster = Cluster::alone(Ground::simulated(), quick()).await;
    let node = cluster.node(0);
    let first = node.admit(request(7)).await.unwrap();
    assert_eq!(node.admit(request(7)).await, Ok(first));
    let second = node.admit(request(8)).await.unwrap();
    assert_eq!(second.cluster_id, first.cluster_id);
    assert_ne!(second.node_id, first.node_id);
    node.remove(second.node_id).await.unwrap();
    let again = node.admit(request(8)).await.unwrap();
    assert!(again.node_id > second.node_id, "an id that was given up is never given again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_asks_from_another_address_is_known_there() {
    let cluster = Cluster::alone(Ground::simulated(), quick()).await;
    let node = cluster.node(0);
    let place = node.admit(request(7)).await.unwrap();
    let moved = JoinRequest { peer_addr: "elsewhere:1".into(), ..request(7) };
    assert_eq!(node.admit(moved).await, Ok(place));
    eventually("the new address is known", || async {
        let members = node.status().members;
        members.iter().any(|(id, record, _)| *id == place.node_id && record.peer_addr == "elsewhere:1")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_passes_a_join_on_and_the_fourth_stays_a_learner() {
    let mut cluster = Cluster::of_three(Ground::simulated(), quick()).await;
    let follower = cluster.follower().await;
    let place = cluster.node(follower).admit(request(7)).await.unwrap();
    assert_eq!(cluster.node(follower).admit(request(7)).await, Ok(place));
    cluster.node(follower).remove(place.node_id).await.unwrap();
    let fourth = cluster.join().await;
    put(cluster.node(fourth), "anna").await;
    cluster.eventually_voters(fourth, 3).await;
    assert_eq!(cluster.node(fourth).status().members.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_member_tells_how_far_the_others_have_come() {
    let cluster = Cluster::of_three(Ground::simulated(), quick()).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let leads = cluster.node(leader).status().node_id;
    for asked in [leader, follower] {
        eventually("all are live and caught up", || async {
            let Ok(progress) = cluster.node(asked).progress().await else { return false };
            progress.leader == leads
                && progress.live.len() == 3
                && progress.lag_entries.len() == 3
                && progress.lag_entries.values().all(|lag| *lag == 0)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_where_it_is_asked_for() {
    let cluster = Cluster::of_three(Ground::simulated(), quick()).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let to = cluster.node(follower).status().node_id;
    cluster.node(follower).transfer_leader(to).await.unwrap();
    assert_eq!(cluster.leader().await, follower);
    let back = cluster.node(leader).status().node_id;
    cluster.node(leader).transfer_leader(back).await.unwrap();
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.node(leader).transfer_leader(99).await, Err(Refusal::NotAMember { node_id: 99 }.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_goes_unless_the_quorum_needs_it() {
    let mut cluster = Cluster::of_three(Ground::simulated(), Settings { voters_target: 3, ..quick() }).await;
    let leader = cluster.leader().await;
    let others: Vec<_> = (0..3).filter(|at| *at != leader).collect();
    let id = |at: usize| cluster.node(at).status().node_id;
    let (own, gone, left) = (id(leader), id(others[0]), id(others[1]));
    cluster.stop(others[0]).await;
    let node = cluster.node(leader);
    eventually("it is noticed that a voter is away", || async {
        node.remove(left).await == Err(Refusal::QuorumLost { voters: 2, live: 1, quorum: 2 }.into())
    })
    .await;
    node.remove(gone).await.unwrap();
    cluster.eventually_voters(leader, 2).await;
    let members: BTreeSet<_> = cluster.node(leader).status().members.into_iter().map(|(id, _, _)| id).collect();
    assert_eq!(members, BTreeSet::from([own, left]));
    put(cluster.node(leader), "anna").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_to_go_hands_leadership_over_first() {
    let cluster = Cluster::of_three(Ground::simulated(), quick()).await;
    let leader = cluster.leader().await;
    let other = cluster.node((leader + 1) % 3);
    let own = cluster.node(leader).status().node_id;
    let plan = other.plan(Some(Change::Remove { node_id: own })).await.unwrap();
    assert_eq!((plan.refusal, plan.before.voters.len(), plan.after.voters.len()), (None, 3, 2));
    assert!(plan.hand_over_to.is_some());
    other.remove(own).await.unwrap();
    let plan = other.plan(None).await.unwrap();
    assert!(!plan.before.members.contains(&own));
    put(other, "anna").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_voter_stays_a_learner_until_it_is_promoted() {
    let cluster = Cluster::of_three(Ground::simulated(), Settings { voters_target: 3, ..quick() }).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let (node, id) = (cluster.node(leader), cluster.node(follower).status().node_id);
    node.change(Change::Demote { node_id: id }, None).await.unwrap();
    cluster.eventually_voters(leader, 2).await;
    put(node, "anna").await;
    // Longer than the leader takes to look for whom it can promote.
    tokio::time::sleep(std::time::Duration::from_millis(3 * quick().housekeeping_interval_ms)).await;
    assert_eq!(node.plan(None).await.unwrap().before.voters.len(), 2);
    // The change before may still be under way.
    eventually("it is promoted", || async {
        match node.change(Change::Promote { node_id: id }, None).await {
            Err(refused) if refused == Refusal::InProgress.into() => false,
            changed => changed.is_ok() || panic!("{changed:?}"),
        }
    })
    .await;
    cluster.eventually_voters(leader, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_on_members_that_are_others_by_now_is_not_made() {
    let mut cluster = Cluster::of_three(Ground::simulated(), quick()).await;
    let leader = cluster.leader().await;
    let basis = cluster.node(leader).plan(None).await.unwrap().basis;
    let fourth = cluster.join().await;
    let id = cluster.node(fourth).status().node_id;
    let change = Change::Remove { node_id: id };
    let node = cluster.node(leader);
    assert_eq!(node.change(change.clone(), Some(basis)).await, Err(Refusal::Outdated.into()));
    let basis = node.plan(Some(change.clone())).await.unwrap().basis;
    assert_eq!(node.change(change, Some(basis)).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_takes_a_members_place_in_one_step() {
    let mut cluster = Cluster::of_three(Ground::simulated(), quick()).await;
    let fourth = cluster.join().await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    let (old, new) = (cluster.node(follower).status().node_id, cluster.node(fourth).status().node_id);
    cluster.stop(follower).await;
    let node = cluster.node(leader);
    let change = Change::Replace { node_id: old, by: new };
    eventually("the newcomer has caught up", || async { node.change(change.clone(), None).await.is_ok() }).await;
    let after = node.plan(None).await.unwrap().before;
    assert!(after.voters.contains(&new) && !after.members.contains(&old), "{after:?}");
    put(node, "anna").await;
}

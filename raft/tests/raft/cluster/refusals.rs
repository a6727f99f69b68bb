use std::time::Duration;

use futures_util::FutureExt;
use holdfast_ledger::version::Versions;
use holdfast_raft::damage::{Damage, Fault};
use holdfast_raft::format::{LogIdRecord, VoteRecord};
use holdfast_raft::identity::{Identity, Place};
use holdfast_raft::node::Start;
use holdfast_raft::session::{Hello, Lane, OpenError, Reach, Refused, Session};
use holdfast_raft::version::Build;

use super::harness::{Cluster, Ground, eventually, put, quick};

const TIMEOUT: Duration = Duration::from_secs(20);

/// What a member would say to node 0 of the cluster.
fn hello(cluster: &Cluster) -> Hello {
    let status = cluster.node(0).status();
    let (_, record, _) = status.members.iter().find(|(id, _, _)| *id == status.node_id).expect("it knows itself");
    Hello {
        cluster_id: status.cluster_id,
        node_id: 77,
        instance: 78,
        reach: Reach::default(),
        expected_node_id: status.node_id,
        expected_instance: record.instance,
        lane: Lane::Control,
        build: Build::of(Versions::SHIPPED),
        version: 1,
        applied: 0,
    }
}

async fn refusal(cluster: &Cluster, hello: Hello) -> Option<Refused> {
    let transport = cluster.ground.transport();
    match Session::open(&*transport, cluster.node(0).peer_addr(), &hello, TIMEOUT).await {
        Ok(_) => None,
        Err(OpenError::Refused(refused)) => Some(refused),
        Err(error) => panic!("neither let in nor refused: {error}"),
    }
}

async fn who_does_not_belong_is_refused(ground: Ground) {
    let cluster = Cluster::alone(ground, quick()).await;
    eventually("the node is its cluster", || async { cluster.node(0).status().ready }).await;
    let known = hello(&cluster);
    assert_eq!(refusal(&cluster, known.clone()).await, None, "a member whom this node does not know yet");
    let strange = Hello { cluster_id: known.cluster_id + 1, ..known.clone() };
    assert_eq!(refusal(&cluster, strange).await, Some(Refused::OtherCluster { found: known.cluster_id }));
    let astray = Hello { expected_node_id: 5, ..known.clone() };
    assert_eq!(refusal(&cluster, astray).await, Some(Refused::OtherNode { found: known.expected_node_id }));
    let outdated = Hello { expected_instance: 5, ..known.clone() };
    let other_instance = Refused::OtherInstance { node_id: known.expected_node_id };
    assert_eq!(refusal(&cluster, outdated).await, Some(other_instance.clone()));
    let impostor = Hello { node_id: known.expected_node_id, instance: 5, ..known };
    assert_eq!(refusal(&cluster, impostor).await, Some(other_instance));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_belong_is_refused_over_http() {
    who_does_not_belong_is_refused(Ground::real()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_belong_is_refused_in_memory() {
    who_does_not_belong_is_refused(Ground::simulated()).await;
}

/// The cluster is at the version after the shipped one. Whoever does not know it is told which one it is, and who knows it is let in,
/// also while it has not applied the raise yet.
async fn an_old_node_is_told_at_which_version_the_cluster_is(ground: Ground) {
    let mut cluster = Cluster::none(ground, quick());
    let founder = cluster.add();
    cluster.versions[founder] = next();
    cluster.start(founder, Start::Bootstrap).await.unwrap();
    eventually("the cluster begins at what its founder knows", || async {
        let status = cluster.node(founder).status();
        status.ready && status.version == next().max
    })
    .await;
    let old = hello(&cluster);
    let refused = Refused::Version { node_id: old.node_id, build: old.build.clone(), version: next().max };
    assert_eq!(refusal(&cluster, old.clone()).await, Some(refused.clone()));
    assert!(refused.to_string().contains("start it with a build that knows it"), "{refused}");
    let not_there_yet = Hello { build: Build::of(next()), ..old };
    assert_eq!(refusal(&cluster, not_there_yet.clone()).await, None);
    assert_eq!(refusal(&cluster, Hello { version: next().max, ..not_there_yet }).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_node_is_told_at_which_version_the_cluster_is_over_http() {
    an_old_node_is_told_at_which_version_the_cluster_is(Ground::real()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_node_is_told_at_which_version_the_cluster_is_in_memory() {
    an_old_node_is_told_at_which_version_the_cluster_is(Ground::simulated()).await;
}

/// The other way round: a raised node greets one that does not know the version. A stranger is only refused; when a member says
/// it, the node has nothing to say in its cluster any more, and stops.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_node_stops_when_a_member_greets_it_from_a_newer_version() {
    let cluster = Cluster::of_three(Ground::simulated(), quick()).await;
    let raised = Hello { build: Build::of(next()), version: next().max, ..hello(&cluster) };
    let own = cluster.node(0).status();
    let refused = Refused::Version { node_id: own.node_id, build: Build::of(Versions::SHIPPED), version: next().max };
    assert_eq!(refusal(&cluster, raised.clone()).await, Some(refused.clone()));
    assert_eq!(cluster.node(0).fatal().now_or_never(), None, "a stranger stops nobody");
    let (node_id, record, _) = own.members.into_iter().find(|(id, _, _)| *id != own.node_id).expect("a peer");
    // It has as much as it had acknowledged, or it would be refused for that.
    let reach = Reach {
        vote: Some(VoteRecord { term: u64::MAX, node: node_id, committed: false }),
        last_log_id: Some(LogIdRecord { term: u64::MAX, index: u64::MAX }),
    };
    let member = Hello { node_id, instance: record.instance, reach, ..raised };
    assert_eq!(refusal(&cluster, member).await, Some(refused));
    let fault = tokio::time::timeout(TIMEOUT, cluster.node(0).fatal()).await;
    let known = Versions::SHIPPED;
    assert_eq!(fault, Ok(Fault::Version { what: "the cluster".into(), found: next().max, known }));
}

/// A node joins with the newer build and is started with the one of before, ere it has heard who the members are. It cannot tell that
/// a member greets it, and would stay for ever, refusing the only one who can tell it anything.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_newcomer_that_knows_nobody_yet_stops_when_it_is_greeted_from_a_newer_version() {
    let mut cluster = Cluster::none(Ground::simulated(), quick());
    let newcomer = cluster.add();
    let joined = Start::Joined(Place { cluster_id: 5, node_id: 9 });
    let instance = Identity::open(&*cluster.options(newcomer, joined).disk).unwrap().instance;
    cluster.start(newcomer, joined).await.unwrap();
    let own = cluster.node(newcomer).status();
    assert_eq!(own.members, [], "nobody has told it anything");
    let stranger = Hello {
        cluster_id: 5,
        node_id: 1,
        instance: 78,
        reach: Reach::default(),
        expected_node_id: 9,
        expected_instance: instance,
        lane: Lane::Control,
        build: Build::of(next()),
        version: next().max,
        applied: 0,
    };
    let mistaken = Hello { cluster_id: 6, ..stranger.clone() };
    assert_eq!(refusal(&cluster, mistaken).await, Some(Refused::OtherCluster { found: 5 }));
    assert_eq!(cluster.node(newcomer).fatal().now_or_never(), None, "another cluster stops nobody");
    let refused = Refused::Version { node_id: 9, build: Build::of(Versions::SHIPPED), version: next().max };
    assert_eq!(refusal(&cluster, stranger).await, Some(refused));
    let fault = tokio::time::timeout(TIMEOUT, cluster.node(newcomer).fatal()).await;
    let known = Versions::SHIPPED;
    assert_eq!(fault, Ok(Fault::Version { what: "the cluster".into(), found: next().max, known }));
}

/// What a build knows that is one version further than the shipped one.
fn next() -> Versions {
    Versions { max: Versions::SHIPPED.max + 1, ..Versions::SHIPPED }
}

/// A follower whose disk was replaced comes back under its old id: neither its leader nor anybody else talks to it.
#[tokio::test(flavor = "multi_thread")]
async fn another_folder_under_a_known_id_takes_no_part() {
    let mut cluster = Cluster::of_three(Ground::simulated(), quick()).await;
    put(cluster.node(0), "anna").await;
    let follower = cluster.follower().await;
    let status = cluster.node(follower).status();
    cluster.stop(follower).await;
    let Ground::Simulated(_, disks) = &mut cluster.ground else { unreachable!("as it was made") };
    disks[follower] = holdfast_raft::disk::SimDisk::new(99);
    let place = Place { cluster_id: status.cluster_id, node_id: status.node_id };
    cluster.start(follower, Start::Joined(place)).await.unwrap();
    let leader = cluster.leader_among_others(follower).await;
    for n in 0..10 {
        put(cluster.node(leader), &format!("later-{n}")).await;
    }
    let wiped = cluster.node(follower).status();
    assert_eq!((wiped.last_log_index, wiped.leader), (0, None), "it was sent nothing, and follows nobody");
}

/// A follower comes back with an older state of its own disk: the same folder, but less than it had acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_went_back_stops_when_a_peer_remembers_more() {
    let mut cluster = Cluster::of_three(Ground::simulated(), quick()).await;
    let follower = cluster.follower().await;
    put(cluster.node(follower), "anna").await;
    let Ground::Simulated(_, disks) = &cluster.ground else { unreachable!("as it was made") };
    let (disk, copy) = (disks[follower].clone(), disks[follower].copy());
    for n in 0..10 {
        put(cluster.node(follower), &format!("later-{n}")).await;
    }
    cluster.stop(follower).await;
    disk.restore(&copy);
    cluster.restart(follower).await;
    let fault = tokio::time::timeout(TIMEOUT, cluster.node(follower).fatal()).await;
    assert_eq!(fault, Ok(Fault::Damage(Damage::WentBack { what: "log".into() })));
}

/// A follower comes back with nothing but the knowledge of who it is. It could vote a second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_lost_everything_but_its_name_does_not_start() {
    let mut cluster = Cluster::of_three(Ground::simulated(), quick()).await;
    let follower = cluster.follower().await;
    put(cluster.node(follower), "anna").await;
    cluster.stop(follower).await;
    // All that is left of the folder is who it is.
    let Ground::Simulated(_, disks) = &mut cluster.ground else { unreachable!("as it was made") };
    for path in disks[follower].paths() {
        if path != "identity" {
            disks[follower].lose(&path);
        }
    }
    let refused = cluster.start(follower, Start::Continue).await.unwrap_err().to_string();
    assert!(refused.contains("its log is gone"), "{refused}");
}

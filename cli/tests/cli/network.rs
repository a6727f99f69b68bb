//! Real nodes on a network of ours that is cut, one way or both, or slow: who leads, who answers, and that nothing acknowledged is
//! lost.

use std::time::Duration;

use holdfast_cli::client::Client;
use holdfast_cli::cluster::Cluster;
use holdfast_cli::net::{End, Flow, Net};
use holdfast_cli::operator::StatusView;
use holdfast_cli::sale::Seller;
use reqwest::header::COOKIE;
use serde_json::{Value, json};

use crate::support::{Load, WAIT, assert_verified, plan};

const NODES: usize = 3;
/// Purchases that show that the others go on.
const SOME: u64 = 5;

async fn cluster(dir: &tempfile::TempDir) -> Cluster {
    Cluster::start_on(Net::default(), plan(dir.path(), NODES)).await.expect("the cluster forms")
}

/// Waits until a node other than `old` leads.
async fn next_leader(cluster: &Cluster, old: usize) -> usize {
    let led_by = |all: &[Option<StatusView>]| {
        let leads = |node: usize| all[node].as_ref().is_some_and(|it| it.ready && it.leader == Some(it.node_id));
        (0..NODES).find(|node| *node != old && leads(*node))
    };
    let all = cluster.wait_for("another node leads", |all| led_by(all).is_some()).await.expect("another node leads");
    led_by(&all).expect("that was waited for")
}

async fn term(cluster: &Cluster, node: usize) -> u64 {
    cluster.status().await[node].as_ref().expect("it answers").term
}

/// Ends the load, stops everything, and looks into every folder.
async fn end(mut cluster: Cluster, load: Load) {
    cluster.wait_for_voters().await.expect("all vote again");
    load.wait_for(SOME).await;
    load.end(&cluster).await;
    cluster.stop_all();
    cluster.members.iter().for_each(|member| assert_verified(&member.data));
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(WAIT).build().expect("a client")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_in_the_minority_promises_nothing_and_the_majority_goes_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(&dir).await;
    let load = Load::start(&cluster, 6, 5_000).await;
    load.wait_for(SOME).await;
    let leader = cluster.wait_for_leader().await.expect("a leader");
    cluster.net().isolate(leader);
    next_leader(&cluster, leader).await;
    load.wait_for(SOME).await;
    // The one that is cut off serves what it has, and says that it cannot know more.
    let url = |query: &str| format!("http://{}/api/tickets?limit=1{query}", cluster.members[leader].http);
    assert_eq!(http().get(url("")).send().await.expect("an answer").status(), 503);
    assert_eq!(http().get(url("&consistency=stale")).send().await.expect("an answer").status(), 200);
    // Its connections stay half open when it dies, too.
    cluster.kill(leader);
    cluster.restart(leader).expect("starts again");
    load.wait_for(SOME).await;
    cluster.net().heal();
    end(cluster, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_cut_off_comes_back_without_an_election() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(&dir).await;
    let load = Load::start(&cluster, 6, 5_000).await;
    load.wait_for(SOME).await;
    let leader = cluster.wait_for_leader().await.expect("a leader");
    let follower = (leader + 1) % NODES;
    let before = term(&cluster, leader).await;
    cluster.net().isolate(follower);
    let alone = |all: &[Option<StatusView>]| all[follower].as_ref().is_some_and(|it| !it.ready && it.leader.is_none());
    cluster.wait_for("it hears no leader", alone).await.expect("it hears no leader");
    load.wait_for(SOME).await;
    cluster.net().heal();
    cluster.wait_for_voters().await.expect("all vote again");
    assert_eq!(
        term(&cluster, leader).await,
        before,
        "it asked whether anybody would vote for it before it raised the term"
    );
    end(cluster, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_not_heard_or_does_not_hear_is_followed() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(&dir).await;
    let load = Load::start(&cluster, 6, 5_000).await;
    for hears in [true, false] {
        load.wait_for(SOME).await;
        let leader = cluster.wait_for_leader().await.expect("a leader");
        for other in (0..NODES).filter(|other| *other != leader) {
            let (from, to) = if hears { (leader, other) } else { (other, leader) };
            cluster.net().set(End::Node(from), End::Node(to), Flow::Held);
        }
        next_leader(&cluster, leader).await;
        load.wait_for(SOME).await;
        cluster.net().heal();
        cluster.wait_for_voters().await.expect("all vote again");
    }
    end(cluster, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_to_a_follower_holds_up_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(&dir).await;
    let load = Load::start(&cluster, 6, 5_000).await;
    load.wait_for(SOME).await;
    let leader = cluster.wait_for_leader().await.expect("a leader");
    let before = term(&cluster, leader).await;
    let slow = Flow::Slow { bytes_per_s: 20_000 };
    cluster.net().set(End::Node(leader), End::Node((leader + 1) % NODES), slow);
    load.wait_for(4 * SOME).await;
    assert_eq!(term(&cluster, leader).await, before, "nobody stood for election");
    cluster.net().heal();
    end(cluster, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_after_the_commit_comes_again_under_its_key() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(&dir).await;
    let client = Client::new(&cluster.urls(), WAIT).expect("a client");
    let seller = Seller::sign_up(&client, "seller@lost.example", "password").await.expect("a seller");
    let tickets = seller.create(&[json!({ "title": "A", "price": 5 }), json!({ "title": "B", "price": 5 })]).await;
    let tickets = tickets.expect("tickets");
    let buyer = client.account("buyer@lost.example", "password", 0).await.expect("a buyer");
    let public = cluster.members[0].http;
    let door = cluster.net().door(0, public).expect("a door");
    cluster.net().set(End::Node(0), End::Outside, Flow::Lost);
    let key = "\"lost-1\"";
    let lock = |at: String, ticket: &str| {
        let request = http().post(format!("http://{at}/api/orders")).header(COOKIE, buyer.cookie());
        request.header("idempotency-key", key).json(&json!({ "ticketId": ticket })).send()
    };
    let lost = lock(door.to_string(), &tickets[0]).await;
    assert!(lost.is_err(), "the answer came through");
    let orders = async || client.list("/api/orders", Some(&buyer), 10).await.expect("orders");
    // It was decided all the same, before anybody asks again.
    let started = std::time::Instant::now();
    while orders().await.is_empty() {
        assert!(started.elapsed() < WAIT, "the request was never carried out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let again = lock(cluster.members[1].http.to_string(), &tickets[0]).await.expect("an answer");
    assert_eq!(again.status(), 201);
    let again: Value = again.json().await.expect("JSON");
    let all = orders().await;
    assert_eq!((all.len(), &all[0]["id"]), (1, &again["id"]), "{again}");
    let other = lock(cluster.members[2].http.to_string(), &tickets[1]).await.expect("an answer");
    let status = other.status().as_u16();
    let body: Value = other.json().await.expect("JSON");
    assert!((400..500).contains(&status), "{status}: {body}");
    assert_eq!(body["errors"][0]["code"], "idempotency_key_reused", "{body}");
    assert_eq!(orders().await.len(), 1);
}

//! The cluster grows and shrinks while it sells.

use holdfast_cli::cluster::Cluster;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{ask, done, id, refused, voters, wait_for_voters};
use crate::support::{Load, assert_verified, cluster, plan};

#[tokio::test(flavor = "multi_thread")]
async fn one_three_five_three_under_load() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 1).await;
    let load = Load::start(&cluster, 6, 5_000).await;
    load.wait_for(10).await;
    // Two that wait are told; they become voters by themselves, as three are wanted.
    for _ in 0..2 {
        let node = cluster.grow(Vec::new()).expect("starts");
        let operator = cluster.members[node].operator.to_string();
        wait_until_waiting(&cluster, node).await;
        done(&cluster, 0, &["add", &operator]);
    }
    wait_for_voters(&cluster, 0, 3).await;
    load.wait_for(10).await;
    // Two more stay learners until somebody promotes them.
    let first = cluster.members[0].operator.to_string();
    for _ in 0..2 {
        cluster.grow(vec!["--join".into(), first.clone()]).expect("starts");
    }
    for node in [3, 4] {
        cluster
            .wait_for("it is a member", |all| all[node].as_ref().is_some_and(|it| it.ready))
            .await
            .expect("a member");
        let id = id(&cluster, node).await.to_string();
        let plan = done(&cluster, 0, &["promote", &id, "--wait", "30", "--dry-run"]);
        assert_eq!(plan["done"], false);
        done(&cluster, 0, &["promote", &id, "--wait", "30"]);
    }
    assert_eq!(voters(&cluster, 0), 5);
    load.wait_for(10).await;
    // The leader goes, and another one.
    let (to, other) = (id(&cluster, 4).await.to_string(), id(&cluster, 3).await.to_string());
    done(&cluster, 0, &["transfer", &to]);
    done(&cluster, 0, &["remove", &to]);
    done(&cluster, 0, &["remove", &other]);
    assert_eq!(voters(&cluster, 0), 3);
    load.wait_for(10).await;
    load.end(&cluster).await;
    cluster.stop_all();
    cluster.members.iter().take(3).for_each(|member| assert_verified(&member.data));
}

/// Waits until a node without a cluster answers that it waits.
async fn wait_until_waiting(cluster: &Cluster, node: usize) {
    let url = format!("http://{}/cluster/waiting", cluster.members[node].operator);
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
    for _ in 0..3_000 {
        if http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{url}: the node does not wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_at_once_one_is_made() {
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = cluster(dir.path(), 3).await;
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
    let leader = cluster.leader().await.expect("a leader");
    let post = |path: &str, body: Value| {
        let url = format!("http://{}{path}", cluster.members[leader].operator);
        let request = http.post(url).json(&body);
        async move {
            let answer = request.send().await.expect("an answer");
            (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
        }
    };
    let mut asked = Vec::new();
    for node in (0..3).filter(|node| *node != leader) {
        let change = json!({ "demote": { "node_id": id(&cluster, node).await } });
        let (_, plan) = post("/cluster/plan", json!({ "change": change, "basis": null })).await;
        asked.push(json!({ "change": change, "basis": plan["basis"] }));
    }
    assert_eq!(asked[0]["basis"], asked[1]["basis"]);
    let (one, two) = tokio::join!(post("/cluster/change", asked[0].clone()), post("/cluster/change", asked[1].clone()));
    let mut statuses = [one.0, two.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{one:?} {two:?}");
    let refused = if one.0 == 409 { &one.1 } else { &two.1 };
    assert!(["in_progress", "outdated"].contains(&refused["code"].as_str().expect("a code")), "{refused}");
    assert_eq!(voters(&cluster, leader), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_leave_no_quorum_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 3).await;
    let leader = cluster.leader().await.expect("a leader");
    let others: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    let (dead, live) = (id(&cluster, others[0]).await.to_string(), id(&cluster, others[1]).await.to_string());
    cluster.kill(others[0]);
    let started = std::time::Instant::now();
    while ask(&cluster, leader, &["remove", &live, "--dry-run"]).1["error"]["code"] != "quorum_lost" {
        assert!(started.elapsed() < crate::support::WAIT, "it is noticed that a voter is away");
    }
    refused(&cluster, leader, &["demote", &live], "quorum_lost");
    refused(&cluster, leader, &["transfer", &dead], "not_live");
    refused(&cluster, leader, &["promote", &live], "votes_already");
    refused(&cluster, leader, &["plan", "--undo"], "nothing_unfinished");
    assert_eq!(voters(&cluster, leader), 3, "what is refused changes nothing");
    done(&cluster, leader, &["remove", &dead]);
    assert_eq!(voters(&cluster, leader), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_hands_leadership_over_and_loses_no_request() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::start(plan(dir.path(), 3)).await.expect("the cluster forms");
    let load = Load::start(&cluster, 6, 5_000).await;
    for _ in 0..2 {
        load.wait_for(10).await;
        let leader = cluster.wait_for_leader().await.expect("a leader");
        let term = cluster.status().await[leader].as_ref().expect("it answers").term;
        let pid = cluster.members[leader].pid().and_then(|pid| Pid::from_raw(pid as i32)).expect("it runs");
        kill_process(pid, Signal::TERM).expect("it runs");
        assert_eq!(cluster.stop(leader).expect("stops"), Some(0));
        let log = std::fs::read_to_string(&cluster.members[leader].log).expect("a log");
        assert!(!log.contains("was not taken over in time"), "{log}");
        // It handed over first, and went on serving until somebody else led.
        let [handed_over, stopping] = ["leadership is handed over", " stopping"].map(|words| log.rfind(words));
        assert!(handed_over.is_some() && handed_over < stopping, "{log}");
        let next = cluster.wait_for_leader().await.expect("a leader");
        assert_ne!(next, leader);
        let after = cluster.status().await[next].as_ref().expect("it answers").term;
        assert_eq!(after, term + 1, "one hand-over, and no election that fails");
        cluster.restart(leader).expect("starts again");
        cluster.wait_for_voters().await.expect("all vote again");
    }
    load.end(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_purchase() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 3).await;
    let load = Load::start(&cluster, 6, 5_000).await;
    for node in 0..3 {
        load.wait_for(5).await;
        assert_eq!(cluster.stop(node).expect("stops"), Some(0));
        load.wait_for(5).await;
        cluster.restart(node).expect("starts again");
        cluster.wait_for_voters().await.expect("all vote again");
    }
    load.wait_for(5).await;
    // Every request of every buyer was answered, and what was acknowledged is there.
    load.end(&cluster).await;
    cluster.stop_all();
    cluster.members.iter().for_each(|member| assert_verified(&member.data));
}

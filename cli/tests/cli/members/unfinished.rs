//! A change of the voters whose leader dies between its two steps.

use std::time::{Duration, Instant};

use holdfast_cli::cluster::Cluster;
use holdfast_cli::net::{End, Flow, Net};
use holdfast_cli::operator::StatusView;
use serde_json::{Value, json};

use super::{ask, done, id, refused, voters, wait_for_voters};
use crate::support::{WAIT, plan};

/// How often the leader may be quicker than the test.
const TRIES_MAX: usize = 10;
/// Slow enough that an entry can be seen on its way, and fast enough for heartbeats.
const SLOW: Flow = Flow::Slow { bytes_per_s: 1_000 };

/// Lets the leader begin to promote `newcomer`, a learner, and kills it when one other voter has the first step in its log and
/// nobody else has. The index of the leader that is dead.
async fn interrupt(cluster: &mut Cluster, newcomer: usize) -> usize {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
    for _ in 0..TRIES_MAX {
        let leader = cluster.wait_for_leader().await.expect("a leader");
        let near = (0..3).find(|node| *node != leader).expect("another voter");
        let far: Vec<usize> = (0..4).filter(|node| *node != leader && *node != near).collect();
        let promoted = id(cluster, newcomer).await;
        let [leads, follows] = [leader, near].map(|node| format!("http://{}/cluster", cluster.members[node].operator));
        let follows = format!("{follows}/status");
        let before = status(&http, &follows).await.last_log_index;
        let began = Instant::now();
        far.iter().for_each(|node| cluster.net().set(End::Node(leader), End::Node(*node), SLOW));
        let change = json!({ "change": { "promote": { "node_id": promoted } }, "basis": null });
        let asked = http.post(format!("{leads}/change")).json(&change).send();
        let asked = tokio::spawn(asked);
        // An entry of the audit says who changes the members; the next one is the first step.
        while status(&http, &follows).await.last_log_index < before + 2 {
            assert!(began.elapsed() < WAIT, "the first step never comes");
        }
        far.iter().for_each(|node| cluster.net().set(End::Node(leader), End::Node(*node), Flow::Held));
        cluster.kill(leader);
        // Nobody is told what became of it.
        let _ = asked.await;
        cluster.net().heal();
        let next = cluster.wait_for_leader().await.expect("a leader");
        if !done(cluster, next, &["plan"])["unfinished"].is_null() {
            return leader;
        }
        // Both steps were done by then.
        cluster.restart(leader).expect("starts again");
        cluster.wait_for("it is back", |all| all[leader].as_ref().is_some_and(|it| it.ready)).await.expect("back");
        if voters(cluster, next) == 4 {
            done(cluster, next, &["demote", &promoted.to_string()]);
        }
    }
    panic!("the leader was quicker {TRIES_MAX} times");
}

async fn status(http: &reqwest::Client, url: &str) -> StatusView {
    http.get(url).send().await.expect("an answer").json().await.expect("a status")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_was_left_half_way_is_undone_or_resumed() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = Cluster::start_on(Net::default(), plan(dir.path(), 3)).await.expect("the cluster forms");
    let first = cluster.members[0].operator.to_string();
    let newcomer = cluster.grow(vec!["--join".into(), first]).expect("starts");
    let member = |all: &[Option<StatusView>]| all[3].as_ref().is_some_and(|it| it.ready);
    cluster.wait_for("it is a member", member).await.expect("a member");

    for (flag, count) in [("--undo", 3), ("--resume", 4)] {
        let dead = interrupt(&mut cluster, newcomer).await;
        let asked = cluster.wait_for_leader().await.expect("a leader");
        let newcomer = id(&cluster, newcomer).await.to_string();
        // Nothing else is changed meanwhile.
        refused(&cluster, asked, &["demote", &newcomer], "unfinished");
        end(&cluster, asked, flag).await;
        wait_for_voters(&cluster, asked, count).await;
        assert!(done(&cluster, asked, &["plan"])["unfinished"].is_null());
        cluster.restart(dead).expect("starts again");
        cluster.wait_for("it is back", |all| all[dead].as_ref().is_some_and(|it| it.ready)).await.expect("back");
    }
}

/// Ends the change; whether its voters are live is known a little after the election.
async fn end(cluster: &Cluster, asked: usize, flag: &str) {
    let started = Instant::now();
    loop {
        let (code, said): (i32, Value) = ask(cluster, asked, &["plan", flag]);
        if code == 0 {
            return;
        }
        assert!(code == 7 && started.elapsed() < WAIT, "{flag}: {said}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

//! Nodes that have lost their data come back under new ids, and take the places of the old ones.

use std::fs;
use std::time::Duration;

use super::{ask, done, id, refused, voters, wait_for_voters};
use crate::support::{Load, WAIT, assert_verified, cluster, holdfast, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_gets_a_new_id_and_votes_only_in_the_dead_ones_place() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 3).await;
    let load = Load::start(&cluster, 4, 5_000).await;
    load.wait_for(5).await;
    let old = id(&cluster, 2).await;
    cluster.kill(2);
    fs::remove_dir_all(&cluster.members[2].data).expect("wiped");
    // It joins again, as its flags say: another folder, another id, no vote.
    cluster.restart(2).expect("starts");
    cluster.wait_for("it is a member", |all| all[2].as_ref().is_some_and(|it| it.ready)).await.expect("a member");
    let new = id(&cluster, 2).await;
    assert_ne!(new, old, "an id is never given twice");
    let (old, new) = (old.to_string(), new.to_string());
    assert_eq!(voters(&cluster, 0), 3);
    refused(&cluster, 0, &["promote", &new, "--wait", "30"], "address_in_use");
    done(&cluster, 0, &["replace", &old, "--by", &new, "--wait", "30"]);
    let members = done(&cluster, 0, &["status"]);
    assert_eq!(members["members"].as_array().expect("members").len(), 3, "{members}");
    assert_eq!(voters(&cluster, 0), 3);
    refused(&cluster, 0, &["remove", &old], "not_a_member");
    load.wait_for(5).await;
    load.end(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_log_takes_no_part_until_it_rejoins_under_a_new_id() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 3).await;
    let load = Load::start(&cluster, 4, 5_000).await;
    load.wait_for(5).await;
    let old = id(&cluster, 2).await;
    let data = cluster.members[2].data.clone();
    let path = data.to_str().expect("a path of text").to_string();
    let operators = [0, 1].map(|node| cluster.members[node].operator.to_string()).join(",");
    let rejoin = ["cluster", "rejoin", "--data", &path, "--operator", &operators, "--json"];

    let used = holdfast(&rejoin);
    assert_eq!(used.status.code(), Some(3), "a running node's folder is not taken: {}", text(&used.stdout));
    cluster.kill(2);
    let key = fs::read(data.join("signing-key")).expect("a key");
    // All but the identity and the keys is lost: it says who it was, and knows nothing of what it promised.
    for name in ["log", "state-0", "state-directory"] {
        let _ = fs::remove_dir_all(data.join(name)).or_else(|_| fs::remove_file(data.join(name)));
    }
    let started = std::time::Instant::now();
    loop {
        let dry = holdfast(&[&rejoin[..], &["--dry-run"]].concat());
        match dry.status.code() {
            Some(0) => break,
            // It is noticed a little later that it is away.
            code => assert_eq!(code, Some(7), "{}{}", text(&dry.stdout), text(&dry.stderr)),
        }
        assert!(started.elapsed() < WAIT, "it is noticed that it is away");
    }
    assert!(
        !fs::read_dir(&data)
            .expect("a folder")
            .flatten()
            .any(|it| it.file_name().to_string_lossy().starts_with("aside-"))
    );
    let rejoined = holdfast(&rejoin);
    assert!(rejoined.status.success(), "{}{}", text(&rejoined.stdout), text(&rejoined.stderr));
    cluster.restart(2).expect("starts");
    let taken = |all: &[Option<holdfast_cli::operator::StatusView>]| {
        all[0].as_ref().is_some_and(|status| {
            status.members.iter().all(|member| member.voter && member.node_id != old) && status.members.len() == 3
        })
    };
    cluster.wait_for("it has the old one's place", taken).await.expect("it takes its place");
    assert_ne!(id(&cluster, 2).await, old);
    assert_eq!(fs::read(data.join("signing-key")).expect("a key"), key, "the machine's keys stay");
    load.wait_for(5).await;
    load.end(&cluster).await;
    cluster.stop_all();
    cluster.members.iter().for_each(|member| assert_verified(&member.data));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_stays_one_serves_stale_reads_and_never_votes() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 1).await;
    let first = cluster.members[0].operator.to_string();
    let learner = cluster.grow(vec!["--join".into(), first, "--learner".into()]).expect("starts");
    cluster.wait_for("it is a member", |all| all[learner].as_ref().is_some_and(|it| it.ready)).await.expect("a member");
    let learns = id(&cluster, learner).await.to_string();
    assert_eq!(voters(&cluster, 0), 1, "fewer voters than wanted, and still");
    let url = format!("http://{}/api/tickets?consistency=stale", cluster.members[learner].http);
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(Duration::from_secs(10)).build();
    let http = http.expect("a client");
    // It says that it is ready once it serves, not before.
    assert_eq!(http.get(&url).send().await.expect("an answer").status(), 200);
    cluster.kill(0);
    assert_eq!(http.get(url).send().await.expect("an answer").status(), 200);
    cluster.restart(0).expect("starts again");
    cluster.wait_for_leader().await.expect("leads again");
    done(&cluster, 0, &["promote", &learns, "--wait", "30"]);
    wait_for_voters(&cluster, 0, 2).await;
    let (exit, _) = ask(&cluster, learner, &["transfer", &learns]);
    assert_eq!(exit, 0);
}

//! Rolling upgrades and the way back, on real processes. The newer build is this one, told to play the next version.

use std::fs;

use holdfast_cli::cluster::Cluster;
use serde_json::Value;

use crate::members::{ask, done, id, refused};
use crate::support::{Load, assert_verified, cluster, holdfast, holdfast_with, text};

/// Exchanges the build of a node on its own folder.
async fn exchange(cluster: &mut Cluster, node: usize, newer: bool) {
    assert_eq!(cluster.stop(node).expect("stops"), Some(0));
    plays_next(cluster, node, newer);
    cluster.restart(node).expect("starts");
    cluster.wait_for_voters().await.expect("all vote again");
}

fn plays_next(cluster: &mut Cluster, node: usize, newer: bool) {
    cluster.members[node].env = if newer { vec![("HOLDFAST_NEXT_VERSION", "1".into())] } else { Vec::new() };
}

/// The newest version that each member's build knows, as the leader sees it.
fn known(version: &Value) -> Vec<u64> {
    let members = version["members"].as_array().expect("members");
    members.iter().map(|member| member["build"]["versions"]["max"].as_u64().unwrap_or(0)).collect()
}

/// Asks for what the next version alone has; what came of it.
async fn ask_next(cluster: &Cluster, node: usize) -> Value {
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
    let url = format!("http://{}/next/{}", cluster.members[node].operator, "0".repeat(24));
    http.post(url).send().await.expect("an answer").json().await.expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_are_upgraded_one_by_one_under_load_and_the_way_back_ends_with_the_raise() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 3).await;
    let load = Load::start(&cluster, 6, 5_000).await;
    load.wait_for(10).await;
    assert_eq!(done(&cluster, 0, &["version"])["version"], 1);
    refused(&cluster, 0, &["raise"], "version_reached");
    refused(&cluster, 0, &["raise", "--to", "2"], "too_old");

    // One after the other; in between one goes back, as nothing has changed yet.
    exchange(&mut cluster, 1, true).await;
    exchange(&mut cluster, 2, true).await;
    exchange(&mut cluster, 1, false).await;
    exchange(&mut cluster, 1, true).await;
    let (_, answer) = ask(&cluster, 0, &["raise", "--to", "2", "--dry-run"]);
    assert_eq!(answer["error"]["code"], "too_old", "one node is old: {answer}");
    let early = ask_next(&cluster, 1).await;
    assert_eq!(early["code"], "version", "{early}");
    exchange(&mut cluster, 0, true).await;
    load.wait_for(10).await;

    let version = done(&cluster, 0, &["version"]);
    assert_eq!((known(&version), version["refusal"].is_null()), (vec![2, 2, 2], true), "{version}");
    assert_eq!(done(&cluster, 0, &["raise", "--dry-run"])["done"], false);
    let before = backup(&cluster, dir.path(), "before");
    assert_eq!(before["manifest"]["cluster_version"], 1, "{before}");
    let raised = done(&cluster, 0, &["raise"]);
    assert_eq!((&raised["done"], &raised["plan"]["version"]), (&Value::Bool(true), &Value::from(2)), "{raised}");
    let all_know = |all: &[Option<holdfast_cli::operator::StatusView>]| {
        all.iter().all(|status| status.as_ref().is_some_and(|status| status.version == 2))
    };
    cluster.wait_for("all are at the new version", all_know).await.expect("they follow");
    let now = ask_next(&cluster, 1).await;
    assert!(now["settled"].as_str().is_some_and(|said| said.contains("TicketNotFound")), "it is decided: {now}");
    load.wait_for(10).await;
    load.end(&cluster).await;
    let after = backup(&cluster, dir.path(), "after");
    assert_eq!(after["manifest"]["cluster_version"], 2, "{after}");
    backups_are_restored_by_who_knows_their_version(dir.path());

    // There is no way back any more: one line, an exit code of its own, and nothing was changed.
    assert_eq!(cluster.stop(1).expect("stops"), Some(0));
    let data = cluster.members[1].data.clone();
    let marked = fs::read_to_string(data.join("cluster-version")).expect("the folder says what it came to");
    assert_eq!(marked, "2\n");
    refuses_to_start(&data, &["version 2", "knows version 1"]);
    // The log says it as well, where the folder's own mark was lost.
    fs::write(data.join("cluster-version"), "1\n").expect("written");
    let (code, line) = serve(&data, &[]);
    assert!(code == Some(9) && line.contains("entry ") && line.contains("version 2"), "{code:?}: {line}");
    // Nor does a newcomer with an old build get in.
    let first = cluster.members[0].operator.to_string();
    let newcomer = dir.path().join("newcomer");
    let (code, line) = serve(&newcomer, &["--join", &first]);
    assert!(code == Some(9) && line.contains("the cluster is at version 2"), "{code:?}: {line}");
    cluster.restart(1).expect("starts");
    cluster.wait_for_voters().await.expect("the newer build is at home there");
    let audit = holdfast(&["audit", "verify", "--operator", &first]);
    assert!(audit.status.success(), "{}", text(&audit.stderr));
    let one = id(&cluster, 0).await;
    assert!(one > 0);
    cluster.stop_all();
    cluster.members.iter().for_each(|member| assert_verified(&member.data));
}

/// Backs the cluster up into a store of this name; what is said of it.
fn backup(cluster: &Cluster, dir: &std::path::Path, store: &str) -> Value {
    let (to, operator) = (dir.join(store).display().to_string(), cluster.members[0].operator.to_string());
    let made = holdfast(&["backup", "create", "--to", &to, "--operator", &operator, "--json"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    serde_json::from_slice(&made.stdout).expect("JSON")
}

/// What was backed up before the raise, an old build restores; what was backed up after it, a newer build alone.
fn backups_are_restored_by_who_knows_their_version(dir: &std::path::Path) {
    let run = |args: &[&str], newer: bool| {
        let next = [("HOLDFAST_NEXT_VERSION", "1")];
        holdfast_with(args, if newer { &next } else { &[] })
    };
    let path = |name: &str| dir.join(name).display().to_string();
    for (store, newer) in [("before", false), ("before", true), ("after", true)] {
        let data = path(&format!("restored-{store}-{newer}"));
        for args in [&["verify"][..], &["drill"], &["restore", "--data", &data]] {
            let done = run(&[&["backup"], args, &["--from", &path(store)]].concat(), newer);
            assert!(done.status.success(), "{store}, {args:?}: {}", text(&done.stderr));
        }
    }
    let data = path("not-restored");
    for args in [&["verify"][..], &["drill"], &["restore", "--data", &data]] {
        let refused = run(&[&["backup"], args, &["--from", &path("after")]].concat(), false);
        let said = text(&refused.stderr);
        assert_eq!((refused.status.code(), said.lines().count()), (Some(9), 1), "{args:?}: {said}");
        assert!(said.contains("at version 2") && said.contains("knows version 1"), "{said}");
    }
    assert!(!dir.join("not-restored").exists(), "nothing was made");
}

/// Runs a node that ends by itself: its exit code and its last line.
fn serve(data: &std::path::Path, more: &[&str]) -> (Option<i32>, String) {
    let data = data.display().to_string();
    let serve =
        ["serve", "--data", &data, "--http", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--operator", "127.0.0.1:0"];
    let output = holdfast(&[&serve[..], more].concat());
    let said = text(&output.stderr);
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("holdfast: ")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    (output.status.code(), lines[0].to_string())
}

fn contents(data: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![data.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.display().to_string(), fs::read(&path).expect("a file")));
            }
        }
    }
    files.sort();
    files
}

fn refuses_to_start(data: &std::path::Path, words: &[&str]) {
    let before = contents(data);
    let (code, line) = serve(data, &[]);
    assert_eq!(code, Some(9), "{line}");
    assert!(words.iter().all(|word| line.contains(word)), "{line}");
    assert!(before == contents(data), "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_future_version_is_not_opened_and_not_changed() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 1).await;
    assert_eq!(cluster.stop(0).expect("stops"), Some(0));
    let data = cluster.members[0].data.clone();
    fs::write(data.join("cluster-version"), "200\n").expect("written");
    refuses_to_start(&data, &["version 200", "start a build that knows it"]);
    fs::remove_file(data.join("cluster-version")).expect("removed");
    cluster.restart(0).expect("starts");
    cluster.wait_for_voters().await.expect("it is as it was");
}

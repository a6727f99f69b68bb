//! Backups under load, clusters made of them, and what is left when a quorum is gone.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::s3::S3;
use crate::support::{Load, WAIT, assert_verified, cluster, holdfast_with, plan, text};
use holdfast_cli::client::{Ask, Client};
use holdfast_cli::cluster::Cluster;
use holdfast_cli::operator::StatusView;

/// Runs a command with `--json` that must end with this exit code; what it printed.
fn said(args: &[&str], code: i32) -> Value {
    said_with(args, &[], code)
}

fn said_with(args: &[&str], variables: &[(&str, &str)], code: i32) -> Value {
    let output = holdfast_with(&[args, &["--json"]].concat(), variables);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
    assert!(!err.contains("panicked"), "{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}{err}"))
}

fn str_of(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_restored_elsewhere_with_the_same_hash_and_events_go_on() {
    let dir = tempfile::tempdir().expect("a folder");
    let (store, restored) = (dir.path().join("store"), dir.path().join("restored"));
    let mut from = cluster(&dir.path().join("from"), 3).await;
    let load = Load::start(&from, 4, 2_000).await;
    load.wait_for(10).await;
    let leader = from.wait_for_leader().await.expect("a leader");
    let follower = from.members[(leader + 1) % 3].operator.to_string();
    let create = ["backup", "create", "--operator", &follower, "--to", str_of(&store)];
    let first = said(&create, 0);
    load.wait_for(10).await;
    let second = said(&create, 0);
    assert!(second["manifest"]["index"].as_u64() > first["manifest"]["index"].as_u64());
    load.end(&from).await;
    // Nothing happens any more but ticks: what the store has is not copied again.
    let files = second["manifest"]["files"].as_array().expect("files").len() as u64;
    assert!(second["copied_files"].as_u64() < Some(files), "{second}");
    from.stop_all();

    let from_store = ["--from", str_of(&store)];
    let listed = said(&[&["backup", "list"][..], &from_store].concat(), 0);
    assert_eq!(listed["backups"].as_array().expect("names").len(), 2);
    said(&[&["backup", "verify"][..], &from_store].concat(), 0);
    let drilled = said(&[&["backup", "drill"][..], &from_store].concat(), 0);
    assert_eq!(drilled["state_hash"], second["manifest"]["state_hash"]);

    let data = restored.join("node-1");
    let restore = [&["backup", "restore", "--data", str_of(&data)][..], &from_store].concat();
    let made = said(&restore, 0);
    assert_eq!(made["state_hash"], second["manifest"]["state_hash"]);
    assert_ne!(made["cluster_id"], second["manifest"]["cluster_id"]);
    assert_eq!((&made["lineage"], &second["manifest"]["lineage"]), (&1.into(), &0.into()));
    assert_eq!(said(&restore, 3)["error"]["code"], "cannot_start", "a folder that is not empty is left alone");

    // It sells, others join it, and events go on where the backup ended, under the next lineage.
    let mut to = Cluster::start(plan(&restored, 2)).await.expect("the new cluster forms");
    let client = Client::new(&to.urls(), WAIT).expect("a client");
    let seller = client.account("new@restored.example", "password", 0).await.expect("an account");
    let ticket = serde_json::json!({ "title": "After", "price": "20.00" });
    let created = client.send(Ask::post("/api/tickets", ticket).by(&seller)).await.expect("an answer");
    assert_eq!(created.status, 201, "{}", created.body);
    assert!(created.body["id"].as_str().is_some_and(|id| id.starts_with("0001")), "{}", created.body);
    let last = second["manifest"]["event_seq"].as_u64().expect("a number");
    let url = format!("http://{}/events/rows?after={last}", to.members[0].operator);
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
    let rows: Value = http.get(url).send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(
        (rows["rows"][0]["seq"].as_u64(), rows["rows"][0]["lineage"].as_u64()),
        (Some(last + 1), Some(1)),
        "{rows}"
    );
    to.stop_all();
    to.members.iter().for_each(|member| assert_verified(&member.data));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_not_restored() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = dir.path().join("store");
    let cluster = cluster(&dir.path().join("from"), 1).await;
    let load = Load::start(&cluster, 1, 50).await;
    load.wait_for(2).await;
    let operator = cluster.members[0].operator.to_string();
    said(&["backup", "create", "--operator", &operator, "--to", str_of(&store)], 0);
    load.end(&cluster).await;
    let blobs = fs::read_dir(store.join("blobs")).expect("blobs").flatten().map(|blob| blob.path());
    let largest = blobs.max_by_key(|blob| fs::metadata(blob).expect("a file").len()).expect("a blob");
    let mut content = fs::read(&largest).expect("a file");
    let middle = content.len() / 2;
    content[middle] ^= 1;
    fs::write(&largest, content).expect("written");
    let data = dir.path().join("restored");
    let name = largest.file_name().expect("a name").to_string_lossy().into_owned();
    for command in ["verify", "drill"] {
        let error = said(&["backup", command, "--from", str_of(&store)], 6)["error"].clone();
        assert_eq!(error["code"], "damaged", "{command}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains(&name)), "{command}: {error}");
    }
    said(&["backup", "restore", "--data", str_of(&data), "--from", str_of(&store)], 6);
    assert!(!data.join("identity").exists(), "what was not restored is no node");
    fs::remove_file(&largest).expect("removed");
    said(&["backup", "verify", "--from", str_of(&store)], 6);
    said(&["backup", "verify", "--from", str_of(&dir.path().join("nowhere"))], 3);
    said(&["backup", "create", "--operator", "127.0.0.1:1", "--to", str_of(&store)], 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_member_of_a_lost_quorum_goes_on_alone_when_it_is_told_what_that_costs() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 3).await;
    let load = Load::start(&cluster, 4, 5_000).await;
    load.wait_for(10).await;
    let leader = cluster.wait_for_leader().await.expect("a leader");
    let lost: Vec<usize> = (0..3).filter(|node| *node != leader).collect();
    lost.iter().for_each(|node| cluster.kill(*node));
    cluster.kill(leader);
    let data = cluster.members[leader].data.clone();
    let recover = ["cluster", "recover", "--data", str_of(&data)];
    assert_eq!(said(&recover, 7)["error"]["code"], "not_confirmed");
    // Whoever led has what was acknowledged: no other log goes farther.
    let other = str_of(&cluster.members[lost[0]].data).to_string();
    let recovered = said(&[&recover[..], &["--other", &other, "--yes-lose-what-is-missing"]].concat(), 0);
    assert_eq!(recovered["lineage"], 1);
    cluster.restart(leader).expect("starts");
    cluster
        .wait_for("it leads alone", |all| {
            all[leader].as_ref().is_some_and(|status| status.ready && status.members.len() == 1)
        })
        .await
        .expect("it leads alone");
    // Another one of the old cluster is let in by nobody: it goes on waiting for that one.
    cluster.restart(lost[0]).expect("starts");
    cluster.wait_for("it answers", |all| all[lost[0]].is_some()).await.expect("it answers");
    load.wait_for(5).await;
    let both = |all: &[Option<StatusView>]| [leader, lost[0]].iter().all(|node| all[*node].is_some());
    let all = cluster.wait_for("both answer", both).await.expect("both answer");
    let [left, old] = [leader, lost[0]].map(|node| all[node].clone().expect("it answers"));
    assert_eq!(left.cluster_id.as_str(), recovered["cluster_id"].as_str().expect("an id"));
    assert_ne!(left.cluster_id, old.cluster_id);
    assert_eq!((left.members.len(), old.members.len()), (1, 3));
    cluster.kill(lost[0]);
    load.end(&cluster).await;
    assert_eq!(cluster.stop(leader).expect("stops"), Some(0));
    assert_verified(&data);
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_in_a_store_that_speaks_s3_are_made_checked_restored_and_pruned() {
    let dir = tempfile::tempdir().expect("a folder");
    let s3 = S3::start(dir.path()).await;
    let cluster = cluster(&dir.path().join("from"), 1).await;
    let load = Load::start(&cluster, 2, 200).await;
    load.wait_for(3).await;
    let operator = cluster.members[0].operator.to_string();
    let store = "s3://backups/some/prefix";
    let create = ["backup", "create", "--operator", &operator, "--to", store];
    let first = said_with(&create, &s3.variables(), 0);
    load.wait_for(3).await;
    load.end(&cluster).await;
    let second = said_with(&create, &s3.variables(), 0);
    let files = second["manifest"]["files"].as_array().expect("files");
    assert!(second["copied_files"].as_u64() < Some(files.len() as u64), "{second}");

    let of_store = |args: &[&str], code| said_with(&[args, &["--from", store]].concat(), &s3.variables(), code);
    assert_eq!(of_store(&["backup", "list"], 0)["backups"], serde_json::json!([first["backup"], second["backup"]]));
    of_store(&["backup", "verify"], 0);
    assert_eq!(of_store(&["backup", "drill"], 0)["state_hash"], second["manifest"]["state_hash"]);
    let dry = of_store(&["backup", "prune", "--keep", "1", "--unfinished-s", "0", "--dry-run"], 0);
    let pruned = of_store(&["backup", "prune", "--keep", "1", "--unfinished-s", "0"], 0);
    assert_eq!((&dry["removed"], &dry["removed_files"]), (&pruned["removed"], &pruned["removed_files"]));
    assert_eq!(pruned["removed"], serde_json::json!([first["backup"]]));
    assert_eq!(of_store(&["backup", "list"], 0)["backups"], serde_json::json!([second["backup"]]));

    let restored = dir.path().join("restored");
    let made = of_store(&["backup", "restore", "--data", str_of(&restored)], 0);
    assert_eq!(made["state_hash"], second["manifest"]["state_hash"]);
    assert_verified(&restored);

    // A file is another one, in the store.
    let file = files.iter().max_by_key(|file| file["bytes"].as_u64()).expect("a file");
    let (name, sha256) = (file["name"].as_str().expect("a name"), file["sha256"].as_str().expect("a checksum"));
    let object = format!("{}/backups/some/prefix/blobs/{sha256}", s3.url);
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
    let content = vec![b'x'; file["bytes"].as_u64().expect("a length") as usize];
    let put = http.put(&object).header("authorization", "AWS key:any").body(content).send().await.expect("an answer");
    assert!(put.status().is_success(), "{}", put.status());
    let error = of_store(&["backup", "verify"], 6)["error"]["message"].to_string();
    assert!(error.contains(name) && error.contains(sha256), "{error}");
    let away: Vec<_> = s3
        .variables()
        .into_iter()
        .map(|it| if it.0 == "AWS_ENDPOINT" { (it.0, "http://127.0.0.1:1") } else { it })
        .collect();
    said_with(&["backup", "list", "--from", store], &away, 4);
}

//! What must not be done is refused in one line, and nothing is changed.

use std::fs;
use std::path::Path;

use holdfast_cli::cluster::Cluster;

use super::refused;
use crate::support::{cluster, holdfast, plan, small_disk, text};

/// Every file below a folder with its content, but for the lock.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.display().to_string(), fs::read(&path).expect("a file"))),
        }
    }
    found.sort();
    found
}

/// Starts a node that must end with this exit code and one line that has these words.
fn not_started(data: &Path, more: &[&str], code: i32, words: &[&str]) {
    let data = data.to_str().expect("a path of text");
    let free = "127.0.0.1:0";
    let serve = ["serve", "--data", data, "--http", free, "--peer", free, "--operator", free];
    let output = holdfast(&[&serve[..], more].concat());
    let said = text(&output.stderr);
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("holdfast: ")).collect();
    assert_eq!((output.status.code(), lines.len()), (Some(code), 1), "{said}");
    assert!(words.iter().all(|word| lines[0].contains(word)), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_newer_format_is_not_opened_and_not_changed() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 1).await;
    assert_eq!(cluster.stop(0).expect("stops"), Some(0));
    let data = cluster.members[0].data.clone();
    // The version stands in the first byte of every small file.
    let identity = data.join("identity");
    let mut bytes = fs::read(&identity).expect("an identity");
    bytes[0] = 200;
    fs::write(&identity, &bytes).expect("written");
    let before = contents(&data);
    not_started(&data, &["--bootstrap"], 3, &["--data", "200"]);
    assert_eq!(contents(&data), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_two_clusters_do_not_mix() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let one = Cluster::start(plan(dirs[0].path(), 1)).await.expect("one cluster");
    let other = Cluster::start(plan(dirs[1].path(), 1)).await.expect("another cluster");
    let operator = other.members[0].operator.to_string();
    refused(&one, 0, &["add", &operator], "not_waiting");
    refused(&one, 0, &["init"], "not_waiting");
    refused(&one, 0, &["remove", "1"], "last_voter");
    let nobody = holdfast(&["cluster", "status", "--json", "--operator", "127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(4));
    assert!(text(&nobody.stdout).contains("\"unreachable\""), "{}", text(&nobody.stdout));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    not_started(Path::new("/proc/holdfast"), &["--bootstrap"], 3, &["--data", "/proc/holdfast"]);
    let said = holdfast(&["cluster", "promote", "many", "--operator", "127.0.0.1:1"]);
    assert_eq!(said.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_cannot_be_written_is_said_in_one_line_and_the_node_starts_once_it_can() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(disk) = small_disk::SmallDisk::mount(dir.path()) else {
        eprintln!("skipped: mounting a small file system is not allowed here");
        return;
    };
    let mut cluster = cluster(dir.path(), 1).await;
    assert_eq!(cluster.stop(0).expect("stops"), Some(0));
    let data = cluster.members[0].data.clone();
    disk.set_writable(false);
    let before = contents(&data);
    not_started(&data, &["--bootstrap"], 3, &["--data", "Read-only"]);
    not_started(&dir.path().join("new"), &["--bootstrap"], 3, &["--data", "Read-only"]);
    assert_eq!(contents(&data), before);
    disk.set_writable(true);
    cluster.restart(0).expect("starts again");
    cluster.wait_for_leader().await.expect("leads again");
    cluster.stop_all();
}

#[test]
fn why_a_node_does_not_start_is_json_where_its_log_is() {
    let said = holdfast(&["serve", "--data", "/proc/holdfast", "--bootstrap", "--log-format", "json"]);
    assert_eq!(said.status.code(), Some(3));
    let lines = text(&said.stderr);
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["error"]["code"], &last["error"]["exit"]), (&"cannot_start".into(), &3.into()), "{last}");
}

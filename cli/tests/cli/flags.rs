//! What is told wrongly is refused in one line that names it, with an exit code that means it.

use std::net::TcpListener;

use crate::support::{cluster, holdfast, holdfast_with, text};

/// Runs a command that must fail with `code` and one line that contains all of `words`.
fn refused(args: &[&str], code: i32, words: &[&str]) {
    let output = holdfast(args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(words.iter().all(|word| said.contains(word)), "{args:?}: {said}");
    assert!(!said.contains("panicked"), "{args:?}: {said}");
    // clap adds a hint; our own refusals are one line.
    assert!(said.lines().count() == 1 || said.contains("Usage:") || said.contains("--help"), "{args:?}: {said}");
}

#[test]
fn a_wrong_flag_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("node");
    let data = data.to_str().expect("a path of text");
    refused(&["serve"], 2, &["--data"]);
    refused(&["serve", "--data", data, "--http", "nowhere"], 2, &["--http"]);
    refused(&["serve", "--data", data, "--voters-target", "0"], 2, &["--voters-target"]);
    refused(&["serve", "--data", data, "--peer", "192.0.2.1:1"], 2, &["--peer", "--insecure"]);
    refused(&["serve", "--data", data, "--operator", "0.0.0.0:0"], 2, &["--operator", "--insecure"]);
    refused(&["serve", "--data", data, "--bootstrap", "--join", "127.0.0.1:1"], 2, &["--bootstrap", "--join"]);
    refused(&["serve", "--data", data, "--join", "here"], 2, &["--join", "HOST:PORT"]);
    refused(&["serve", "--data", data, "--bootstrap", "--nonsense"], 2, &["--nonsense"]);
    refused(&["bench", "lock", "--url", "https://127.0.0.1:1"], 2, &["--url"]);
    refused(&["import", "no-such-file.csv", "--url", "http://127.0.0.1:1"], 2, &["no-such-file.csv"]);
    refused(&["import", "no-such-file.csv", "--url", "ftp://here"], 2, &["--url"]);
    refused(&["verify", "--data", data], 3, &["--data", "no such folder"]);
    let service = ["notifications", "--api", "http://127.0.0.1:1", "--nats"];
    refused(&["notifications", "--api", "http://127.0.0.1:1", "--key", data], 2, &["--nats"]);
    refused(&[&service[..], &["nats://127.0.0.1:1", "--key", data]].concat(), 2, &["--key", "holdfast keys service"]);
    refused(&[&service[..], &["nats://127.0.0.1:1", "--key", data, "--from", "nobody"]].concat(), 2, &["--from"]);
    refused(&["events", "tail"], 2, &["--nats"]);
    refused(&["events", "tail", "--nats", "not a server"], 2, &["--nats", "not the address of a NATS server"]);
    refused(&["events", "dead", "list", "--nats", "nats://127.0.0.1:1"], 4, &["--nats", "the broker is away"]);
    refused(&["events", "status", "--operator", "127.0.0.1:1"], 4, &["--operator"]);
    refused(&["nonsense"], 2, &["nonsense"]);
    assert!(!dir.path().join("node").exists(), "a refused command leaves nothing behind");
}

#[test]
fn what_the_machine_does_not_allow_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("node");
    let data = data.to_str().expect("a path of text");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("its address").to_string();
    let free = "127.0.0.1:0";
    refused(&["dev", "--data", data, "--http", &taken], 3, &["--http", &taken]);
    let serve = ["serve", "--data", data, "--bootstrap", "--http", free];
    refused(&[&serve[..], &["--peer", &taken, "--operator", free]].concat(), 3, &["--peer", &taken]);
    refused(&[&serve[..], &["--peer", free, "--operator", &taken]].concat(), 3, &["--operator", &taken]);
    refused(&["dev", "--data", "/dev/null/node", "--http", free], 3, &["--data", "/dev/null/node"]);
}

#[test]
fn the_file_and_the_variables_say_the_same_as_the_flags() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = dir.path().join("holdfast.toml");
    let path = config.to_str().expect("a path of text");
    std::fs::write(&config, "data = '/tmp'\nvoter-target = 3\n").expect("written");
    refused(&["serve", "--config", path], 2, &["--config", "line 2", "voter-target"]);
    std::fs::write(&config, "data = '/tmp'\nhttp = 7\n").expect("written");
    refused(&["serve", "--config", path], 2, &["--config", "line 2"]);
    std::fs::write(&config, "peer = '192.0.2.1:1'\n").expect("written");
    refused(&["serve", "--config", path, "--data", "/tmp"], 2, &["--peer 192.0.2.1:1"]);
    // The flag wins over the file, the file is what is left.
    refused(&["serve", "--config", path, "--data", "/tmp", "--peer", "192.0.2.9:1"], 2, &["--peer 192.0.2.9:1"]);
    let said = holdfast_with(&["serve", "--config", path, "--data", "/tmp"], &[("HOLDFAST_PEER", "192.0.2.5:1")]);
    assert!(text(&said.stderr).contains("--peer 192.0.2.5:1"), "{}", text(&said.stderr));
    let said = holdfast_with(&["serve", "--data", "/tmp"], &[("HOLDFAST_VOTERS_TARGET", "many")]);
    assert_eq!(said.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_use_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let cluster = cluster(dir.path(), 1).await;
    let data = cluster.members[0].data.to_str().expect("a path of text");
    refused(&["verify", "--data", data], 3, &["--data", "another process"]);
    refused(&["log", "show", "--data", data], 3, &["--data", "another process"]);
    refused(&["dev", "--data", data, "--http", "127.0.0.1:0"], 3, &["--data", "another process"]);
}

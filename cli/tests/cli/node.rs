//! A node's life: it is ready when it says so, stops when asked, goes on with what it had, and can be looked at afterwards.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use holdfast_cli::client::{Ask, Client};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Load, PATIENCE, assert_verified, cluster, holdfast, program, text};

/// A running `holdfast dev`, and its URL.
fn dev(data: &Path) -> (Child, String) {
    let mut child = Command::new(program())
        .args(["dev", "--http", "127.0.0.1:0", "--data"])
        .arg(data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let url = line.trim().strip_prefix("Holdfast is ready: ").expect("the URL").to_string();
    (child, url)
}

fn stop(mut child: Child, signal: Signal) -> Option<i32> {
    let pid = Pid::from_raw(child.id() as i32).expect("a process id");
    kill_process(pid, signal).expect("it runs");
    child.wait().expect("it ends").code()
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_keeps_its_data() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = dir.path().join("new").join("node");
    let (child, url) = dev(&data);
    let client = Client::new(&[url], PATIENCE).expect("a client");
    let seller = client.account("a@b.example", "password", 0).await.expect("an account");
    let body = serde_json::json!({ "title": "Kept", "price": "20.00" });
    let created = client.send(Ask::post("/api/tickets", body).by(&seller)).await.expect("an answer");
    assert_eq!(created.status, 201, "{}", created.body);
    assert_eq!(stop(child, Signal::TERM), Some(0));

    let (child, url) = dev(&data);
    let client = Client::new(&[url], PATIENCE).expect("a client");
    let id = created.body["id"].as_str().expect("an id");
    let read = client.send(Ask::get(format!("/api/tickets/{id}"))).await.expect("an answer");
    assert_eq!((read.status, &read.body["title"]), (200, &created.body["title"]));
    // The session outlives the process, as the key does.
    let me = client.send(Ask::get("/api/users/currentuser").by(&seller)).await.expect("an answer");
    assert_eq!(me.body["currentUser"]["id"].as_str(), Some(seller.id.as_str()));
    assert_eq!(stop(child, Signal::INT), Some(0));
    assert_verified(&data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_nodes_log_says_and_does_what_it_did() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 1).await;
    let load = Load::start(&cluster, 2, 100).await;
    load.wait_for(5).await;
    load.end(&cluster).await;
    assert_eq!(cluster.stop(0).expect("stops"), Some(0));
    let data = cluster.members[0].data.to_str().expect("a path of text").to_string();

    let summary = holdfast(&["log", "show", "--data", &data]);
    let said = text(&summary.stdout);
    assert!(summary.status.success(), "{said}{}", text(&summary.stderr));
    let last: u64 =
        said.split_whitespace().nth(3).and_then(|word| word.trim_end_matches(';').parse().ok()).expect("bounds");
    let mut everything = String::new();
    for index in 1..=last {
        let index = index.to_string();
        let shown = holdfast(&["log", "show", "--data", &data, "--at", &index]);
        assert!(shown.status.success(), "{index}: {}", text(&shown.stderr));
        everything += &text(&shown.stdout);
        if everything.contains("BeginPayment") && everything.contains("SignUp") {
            let replayed = holdfast(&["log", "replay", "--data", &data, "--at", &index]);
            assert!(replayed.status.success(), "{index}: {}", text(&replayed.stderr));
            everything += &text(&replayed.stdout);
            break;
        }
    }
    for word in ["SignUp", "CreateTickets", "PlaceOrder", "BeginPayment", "(hidden)", "payment:requested"] {
        assert!(everything.contains(word), "{word}: {everything}");
    }
    for secret in ["$argon2", "tok_visa"] {
        assert!(!everything.contains(secret), "{secret}: {everything}");
    }
    let beyond = holdfast(&["log", "show", "--data", &data, "--at", "999999"]);
    assert_eq!(beyond.status.code(), Some(2));
    assert!(text(&beyond.stderr).contains("--at 999999"));
    assert_verified(Path::new(&data));
}

#[test]
fn the_demonstration_holds() {
    let shown = holdfast(&["demo", "--once", "--tickets", "60", "--buyers", "12"]);
    let said = text(&shown.stdout);
    assert!(shown.status.success(), "{said}{}", text(&shown.stderr));
    for row in ["tickets", "lost races", "retried over the fail-over", "double-sold", "time without a leader"] {
        assert!(said.contains(row), "{row}: {said}");
    }
}

//! `holdfast events`: the stream as an operator sees it, from a node that relays to a real broker.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use holdfast_cli::broker::NatsServer;
use holdfast_cli::client::{Ask, Client};
use holdfast_cli::tools;
use serde_json::{Value, json};

use crate::support::{WAIT, holdfast, program, text};

/// A node of its own cluster; ended when dropped.
struct Node {
    child: Child,
    url: String,
    operator: String,
}

impl Node {
    fn start(data: &str, nats: &str) -> Node {
        let any = "127.0.0.1:0";
        let listen = ["--http", any, "--peer", any, "--operator", any, "--voters-target", "1"];
        let cheap = ["--password-memory-kib", "8", "--password-passes", "1", "--stop-with-stdin"];
        let mut child = Command::new(program())
            .args(["serve", "--bootstrap", "--data", data, "--nats", nats])
            .args(listen)
            .args(cheap)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        while !line.starts_with("ready: ") {
            line.clear();
            assert_ne!(said.read_line(&mut line).expect("a line"), 0, "it ended before it was ready");
        }
        // Whatever else it says has somewhere to go.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = words[3].trim_start_matches("http://").to_string();
        Node { child, url: words[1].to_string(), operator: address }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn said(args: &[&str]) -> String {
    let output = holdfast(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_the_stream_and_that_it_is_what_the_ledger_says() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = tools::find("nats-server", &program()).expect("the test tools");
    let broker = NatsServer::start(&program(), &server, dir.path()).await.expect("a broker");
    let nats = broker.url();
    let node = Node::start(dir.path().join("node").to_str().expect("text"), &nats);
    let client = Client::new(std::slice::from_ref(&node.url), WAIT).expect("a URL");
    let seller = client.account("seller@test.com", "passw0rd", 0).await.expect("signed up");
    let ticket = json!({ "title": "Row A, seat 1", "price": "20.00" });
    let ticket = client.send(Ask::post("/api/tickets", ticket).by(&seller)).await.expect("an answer");
    let ticket = ticket.expect(201, "a ticket").expect("made")["id"].as_str().expect("an id").to_string();

    let started = Instant::now();
    let emitted = loop {
        let status = said(&["events", "status", "--operator", &node.operator, "--json"]);
        let status: Value = serde_json::from_str(&status).expect("JSON");
        if status["phase"] == "relaying" && status["emitted"].as_u64() >= Some(2) && status["waiting"] == 0 {
            break status["emitted"].as_u64().expect("a number");
        }
        assert!(started.elapsed() < WAIT, "it is not relayed: {status}");
    };
    let report = said(&["events", "check", "--nats", &nats, "--operator", &node.operator, "--json"]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((&report["equal"], &report["waiting"], &report["missing"]), (&json!(emitted), &json!(0), &json!(0)));

    let all = said(&["events", "replay", "--nats", &nats, "--json"]);
    let all: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(all.len() as u64, emitted);
    let last = &all[all.len() - 1];
    assert_eq!((&last["headers"]["ce-type"], &last["data"]["id"]), (&json!("ticket:created"), &json!(ticket)));
    assert_eq!(said(&["events", "replay", "--nats", &nats, "--from", "1", "--to", "1"]).lines().count(), 1);
    assert_eq!(said(&["events", "dead", "list", "--nats", &nats]), "There are no dead letters.\n");
    let absent = holdfast(&["events", "dead", "replay", "7", "--nats", &nats]);
    assert_eq!(absent.status.code(), Some(1), "{}", text(&absent.stderr));
}

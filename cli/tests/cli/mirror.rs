//! The example in another language, against the real thing: its copy of the tickets is the ledger's.

use std::path::{Path, PathBuf};
use std::time::Instant;

use holdfast_cli::broker::NatsServer;
use holdfast_cli::client::{Ask, Client};
use holdfast_cli::cluster::{Cluster, Plan};
use holdfast_cli::tools;
use serde_json::Value;
use tokio::process::Command;

use crate::support::{Load, PATIENCE, WAIT, program, text};

const BUYERS: usize = 4;
const TICKETS: usize = 20;
/// What both must say of a ticket.
const FIELDS: [&str; 7] = ["id", "version", "title", "price", "userId", "orderId", "status"];

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_kept_in_another_language_is_the_ledgers() {
    mirrored("nats-server").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_kept_in_another_language_is_the_ledgers_with_debians_broker_too() {
    mirrored("nats-server-2.9.10").await;
}

async fn mirrored(server: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    let server = tools::find(server, &program()).expect("the test tools");
    let mut broker = NatsServer::start(&program(), &server, dir.path()).await.expect("a broker");
    let flags = ["--password-memory-kib", "8", "--password-passes", "1", "--payments", "beside", "--nats"];
    let flags = flags.iter().map(ToString::to_string).chain([broker.url()]).collect();
    let plan = Plan { program: program(), dir: dir.path().to_path_buf(), nodes: 1, flags };
    let mut cluster = Cluster::start(plan).await.expect("the cluster forms");
    let load = Load::start(&cluster, BUYERS, TICKETS).await;
    load.wait_for(8).await;
    // The relay goes on from where the stream ends, whatever became of the broker.
    broker.kill();
    load.wait_for(4).await;
    broker.restart().await.expect("the broker comes back");
    load.end(&cluster).await;

    let client = Client::new(&cluster.urls(), PATIENCE).expect("a client");
    let started = Instant::now();
    let differ = loop {
        let differ = differences(&client, &copy(&broker.url()).await).await;
        if differ.is_empty() || started.elapsed() > WAIT {
            break differ;
        }
    };
    assert!(differ.is_empty(), "the copy is not what the ledger says: {differ:#?}");
    cluster.stop_all();
    broker.stop();
}

/// What the example knows once it has read the stream.
async fn copy(url: &str) -> Vec<Value> {
    let folder = example();
    let mut node = Command::new("node");
    node.args(["index.js", "--once", "--nats", url]).current_dir(&folder).kill_on_drop(true);
    let output = tokio::time::timeout(WAIT, node.output()).await.expect("it ends").expect("node starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    said["tickets"].as_array().expect("tickets").clone()
}

/// Tickets of which the copy says anything else than the ledger, or that it lacks.
async fn differences(client: &Client, copy: &[Value]) -> Vec<(Value, Value)> {
    let mut differ = Vec::new();
    if copy.len() != TICKETS {
        differ.push((Value::from(copy.len()), Value::from(TICKETS)));
    }
    for ticket in copy {
        let path = format!("/api/tickets/{}", ticket["id"].as_str().unwrap_or_default());
        let truth = client.send(Ask::get(path)).await.expect("an answer").body;
        if FIELDS.iter().any(|field| ticket[field] != truth[field]) {
            differ.push((ticket.clone(), truth));
        }
    }
    differ
}

fn example() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ticket-mirror");
    assert!(folder.join("node_modules").exists(), "{}: `make tools-tests` runs npm ci there", folder.display());
    folder
}

//! A full disk: the node says so and stops, and nothing acknowledged is lost.

use std::time::{Duration, Instant};

use holdfast_cli::client::{Ask, Client};
use serde_json::json;

use crate::support::small_disk::SmallDisk;
use crate::support::{assert_verified, cluster};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_the_node_and_loses_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(disk) = SmallDisk::mount(dir.path()) else {
        eprintln!("skipped: mounting a small file system is not allowed here");
        return;
    };
    let mut cluster = cluster(dir.path(), 1).await;
    let client = Client::new(&cluster.urls(), Duration::from_secs(5)).expect("a client");
    let seller = client.account("seller@full.example", "password", 0).await.expect("an account");
    let acknowledged = fill(&client, &seller).await;
    assert!(!acknowledged.is_empty(), "something fits");
    let code = wait_for_exit(&mut cluster);
    let log = std::fs::read_to_string(&cluster.members[0].log).expect("a log");
    assert_eq!(code, Some(5), "{log}");
    assert!(log.lines().any(|line| line.starts_with("holdfast: --data")), "{log}");
    assert!(!log.contains("panicked"), "{log}");

    disk.grow();
    cluster.restart(0).expect("starts again");
    cluster.wait_for_leader().await.expect("leads again");
    for ticket in &acknowledged {
        let read = client.send(Ask::get(format!("/api/tickets/{ticket}"))).await.expect("an answer");
        assert_eq!(read.status, 200, "ticket {ticket} was acknowledged");
    }
    cluster.stop_all();
    assert_verified(&cluster.members[0].data);
}

/// Creates tickets until the node no longer answers. Those that were acknowledged.
async fn fill(client: &Client, seller: &holdfast_cli::client::Account) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < Duration::from_secs(180), "the disk becomes full");
        let ticket = json!({ "title": "x".repeat(250), "price": 1, "venue": "y".repeat(200) });
        let body = serde_json::Value::Array(vec![ticket; 100]);
        match client.send(Ask::post("/api/tickets/bulk", body).by(seller)).await {
            Ok(reply) if reply.status == 200 => {
                let ids = reply.body.as_array().into_iter().flatten().filter_map(|line| line["id"].as_str());
                acknowledged.extend(ids.map(str::to_string));
            }
            Ok(reply) => panic!("{}: {}", reply.status, reply.body),
            Err(_) => return acknowledged,
        }
    }
}

fn wait_for_exit(cluster: &mut holdfast_cli::cluster::Cluster) -> Option<i32> {
    // It is on its way out; this waits for its end, and asks for it if it should hang.
    cluster.stop(0).expect("it ends")
}

//! A data folder of each version that was released stays here and opens: `tests/fixtures/version-1.tar.gz`, with the hash of
//! its state beside it.
//!
//! A folder is made once, by the build that brings its version:
//! `cargo test --workspace --test cli make_the_folder -- --ignored`.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_cli::client::Client;
use holdfast_cli::cluster::Cluster;
use holdfast_cli::money;
use holdfast_cli::sale::{Buyer, Offer, Seller, Tally};
use holdfast_ledger::money::Currency;
use serde_json::json;

use crate::support::{Load, PATIENCE, assert_verified, cluster, holdfast, plan, text};

const PRICE_MINOR: u64 = 12_50;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn tar(args: &[&str]) {
    let output = Command::new("tar").args(args).output().expect("tar is there");
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
}

/// The hash of a stopped node's state, as `holdfast verify` prints it.
fn state_hash(data: &Path) -> String {
    let said = text(&holdfast(&["verify", "--data", data.to_str().expect("a path of text")]).stdout);
    let line = said.lines().find(|line| line.contains("state: hash ")).unwrap_or_else(|| panic!("no hash: {said}"));
    let word = |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    line.split_whitespace().find(word).expect("a hash").to_string()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes the folder of this version: once, when it is released"]
async fn make_the_folder() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster(dir.path(), 1).await;
    let mut load = Load::start(&cluster, 3, 60).await;
    load.wait_for(12).await;
    assert!(!load.finish().await.orders.is_empty());
    assert_eq!(cluster.stop(0).expect("stops"), Some(0));
    let hash = state_hash(&cluster.members[0].data);
    // Keys of a machine that is gone are nobody's, and RocksDB's own logs are not read.
    let archive = fixture("version-1.tar.gz").display().to_string();
    let from = dir.path().display().to_string();
    tar(&["-czf", &archive, "--exclude=LOG*", "--exclude=in-use", "--exclude=mail", "-C", &from, "node-1"]);
    std::fs::write(fixture("version-1.hash"), hash + "\n").expect("written");
}

fn offer(ticket: String) -> Offer {
    Offer { ticket, title: "A seat more".into(), price_minor: PRICE_MINOR, currency: Currency::USD }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_the_first_version_opens_and_sells_on() {
    let dir = tempfile::tempdir().expect("a folder");
    tar(&["-xzf", &fixture("version-1.tar.gz").display().to_string(), "-C", &dir.path().display().to_string()]);
    let data = dir.path().join("node-1");
    let hash = std::fs::read_to_string(fixture("version-1.hash")).expect("its hash");
    assert_eq!(state_hash(&data), hash.trim(), "the state is what it was, byte for byte");
    let mut cluster = Cluster::start(plan(dir.path(), 1)).await.expect("it goes on");
    let client = Client::new(&cluster.urls(), PATIENCE).expect("a client");
    let buyer = Buyer::sign_up(&client, 0, "buyer-0@test.example", "password").await.expect("he is known");
    let orders = client.list("/api/orders", Some(&buyer.account), 100).await.expect("orders");
    assert!(orders.iter().any(|order| order["status"] == "complete"), "what he bought then is his: {orders:?}");
    let seller = Seller::sign_up(&client, "seller@test.example", "password").await.expect("she is known");
    let price = money::price(PRICE_MINOR, Currency::USD);
    let new = json!({ "title": "A seat more", "price": price, "externalId": "more" });
    let ticket = seller.create(&[new]).await.expect("a ticket").remove(0);
    let (tally, offer) = (Tally::default(), offer(ticket));
    let mut newcomer = Buyer::sign_up(&client, 0, "newcomer@test.example", "password").await.expect("a buyer");
    newcomer.buy(&offer, &tally).await.expect("an answer");
    assert_eq!(Tally::read(&tally.bought), 1);
    cluster.stop_all();
    assert_verified(&data);
}

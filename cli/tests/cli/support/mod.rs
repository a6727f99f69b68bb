//! What the process tests share: the built program, clusters of it, and load on them.

pub mod browser;
pub mod follower;
pub mod gate;
pub mod mail;
pub mod people;
pub mod s3;
pub mod small_disk;
pub mod stripe;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_cli::client::Client;
use holdfast_cli::cluster::{Cluster, Plan};
use holdfast_cli::failure::Failure;
use holdfast_cli::money;
use holdfast_cli::sale::{Attempt, Buyer, Offer, OrderView, Purchase, Seller, Tally, audit};
use holdfast_ledger::money::Currency;
use serde_json::json;
use tokio::task::JoinSet;

/// How long clients keep asking: longer than a node takes to come back.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Anything that is waited for comes within this, or the test fails.
pub const WAIT: Duration = Duration::from_secs(120);
const PRICE_MINOR: u64 = 19_99;
/// Orders of one buyer that are read.
const TICKETS_MAX: usize = 100_000;

pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_holdfast"))
}

/// Runs the program to its end.
pub fn holdfast(args: &[&str]) -> Output {
    holdfast_with(args, &[])
}

/// Runs the program with variables.
pub fn holdfast_with(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program());
    command.args(args).envs(variables.iter().copied());
    command.output().expect("the program starts")
}

/// Runs the program to its end without holding up what else the test runs.
pub async fn holdfast_beside(args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(program());
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(WAIT, command.output()).await.expect("it ends").expect("the program starts")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Nodes whose passwords cost nothing.
pub fn plan(dir: &Path, nodes: usize) -> Plan {
    let flags = ["--password-memory-kib", "8", "--password-passes", "1"].map(str::to_string).to_vec();
    Plan { program: program(), dir: dir.to_path_buf(), nodes, flags }
}

pub async fn cluster(dir: &Path, nodes: usize) -> Cluster {
    Cluster::start(plan(dir, nodes)).await.expect("the cluster forms")
}

/// `holdfast verify` on a node that was stopped.
pub fn assert_verified(data: &Path) {
    let verified = holdfast(&["verify", "--data", data.to_str().expect("a path of text")]);
    assert!(
        verified.status.success(),
        "verify of {}: {}{}",
        data.display(),
        text(&verified.stdout),
        text(&verified.stderr)
    );
}

/// What buyers have in the end.
pub struct Bought {
    /// Complete orders and what they cost.
    pub orders: BTreeMap<String, u64>,
    pub findings: Vec<String>,
}

/// Buyers that buy random tickets as fast as they can until they are told to stop.
pub struct Load {
    pub tally: Arc<Tally>,
    client: Client,
    over: Arc<AtomicBool>,
    buying: JoinSet<Result<(Buyer, Vec<Purchase>), Failure>>,
}

impl Load {
    /// Puts `tickets` on sale and lets `buyers` loose on them.
    pub async fn start(cluster: &Cluster, buyers: usize, tickets: usize) -> Load {
        let client = Client::new(&cluster.urls(), PATIENCE).expect("a client");
        let seller = Seller::sign_up(&client, "seller@test.example", "password").await.expect("a seller");
        let price = money::price(PRICE_MINOR, Currency::USD);
        let bodies: Vec<_> = (0..tickets)
            .map(|n| json!({ "title": format!("Seat {n}"), "price": price, "externalId": n.to_string() }))
            .collect();
        let ids = Arc::new(seller.create(&bodies).await.expect("tickets"));
        let (tally, over) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
        let mut buying = JoinSet::new();
        for number in 0..buyers {
            let buyer = Buyer::sign_up(&client, number, &format!("buyer-{number}@test.example"), "password").await;
            buying.spawn(buy(buyer.expect("a buyer"), ids.clone(), tally.clone(), over.clone()));
        }
        Load { tally, client, over, buying }
    }

    /// Waits until `count` more purchases are acknowledged.
    pub async fn wait_for(&self, count: u64) {
        let wanted = Tally::read(&self.tally.bought) + count;
        let started = Instant::now();
        while Tally::read(&self.tally.bought) < wanted {
            assert!(started.elapsed() < WAIT, "{count} more purchases within {WAIT:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Lets no buyer begin anew, and waits for those who have begun.
    async fn stop(&mut self) -> Vec<(Buyer, Vec<Purchase>)> {
        self.over.store(true, Ordering::Relaxed);
        let mut buyers = Vec::new();
        while let Some(joined) = self.buying.join_next().await {
            buyers.push(joined.expect("a buyer's task").expect("every request was answered"));
        }
        buyers
    }

    /// Ends the load; what the buyers have in the end, by the API, and what is wrong with that.
    pub async fn finish(&mut self) -> Bought {
        let buyers = self.stop().await;
        let audit = audit(&self.client, &buyers, &[]).await.expect("an audit");
        let mut orders = BTreeMap::new();
        for (buyer, _) in &buyers {
            let listed = self.client.list("/api/orders", Some(&buyer.account), TICKETS_MAX).await.expect("orders");
            for order in listed.iter().map(|order| OrderView::parse(order).expect("an order")) {
                if order.status == "complete" {
                    orders.insert(order.id.clone(), order.total_minor());
                }
            }
        }
        Bought { orders, findings: audit.findings }
    }

    /// Ends the load and reads everything again: nothing acknowledged is lost, nothing is sold twice.
    pub async fn end(mut self, cluster: &Cluster) -> u64 {
        let buyers = self.stop().await;
        let charges = cluster.charges().await.expect("the provider's books");
        let audit = audit(&self.client, &buyers, &charges).await.expect("an audit");
        assert!(audit.is_clean(), "{:?}", audit.findings);
        let bought = Tally::read(&self.tally.bought);
        assert!(audit.sold >= bought, "{bought} purchases were acknowledged, {} are there", audit.sold);
        bought
    }
}

async fn buy(
    mut buyer: Buyer,
    tickets: Arc<Vec<String>>,
    tally: Arc<Tally>,
    over: Arc<AtomicBool>,
) -> Result<(Buyer, Vec<Purchase>), Failure> {
    let mut purchases = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let ticket = tickets[rand::random_range(0..tickets.len())].clone();
        let offer = Offer { ticket, title: String::new(), price_minor: PRICE_MINOR, currency: Currency::USD };
        if let Attempt::Bought(purchase) = buyer.buy(&offer, &tally).await? {
            purchases.push(purchase);
        }
    }
    Ok((buyer, purchases))
}

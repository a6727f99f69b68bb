//! `holdfast demo`: three nodes, a broker and both services, a sale, and the leader killed in the middle of it.
//!
//! Every number in the table was observed by a client, or read from the API, the broker, the bank and the mails afterwards;
//! none comes from inside a node.

mod house;
mod report;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use holdfast_ledger::money::Currency;
use indicatif::{ProgressBar, ProgressStyle};
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::json;
use tokio::task::JoinSet;

use crate::client::{Ask, Client};
use crate::cluster::{Cluster, Plan};
use crate::failure::Failure;
use crate::money;
use crate::sale::{Attempt, Buyer, Offer, Purchase, Seller, Tally, audit};
use crate::stop;
use house::House;
use report::Report;

/// The demonstration's nodes.
const NODES: usize = 3;
/// How long a client keeps asking before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Sign-ups under way at once.
const SIGN_UPS_MAX: usize = 8;
/// The sale as a whole.
const SALE_TIMEOUT: Duration = Duration::from_secs(300);
/// Buyers look at this many tickets of the list: the fewer, the more they race.
const SHELF: usize = 12;
/// How long a buyer looks before he decides, in milliseconds.
const THINK_MS: std::ops::Range<u64> = 20..150;
/// Between two price raises, in milliseconds.
const RAISE_MS: std::ops::Range<u64> = 30..120;

/// How long charges, events and mails may take after the sale until they are where they belong.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(120);
const PASSWORD: &str = "demo-password";
const SELLER: &str = "seller@demo.example";
const OPERATOR: &str = "operator@demo.example";

/// Three nodes on loopback sell tickets to racing buyers while the leader is killed: see for yourself that each is sold once
///
/// Afterwards everything stays up to be looked at, if a person is watching: until Ctrl-C, and on a terminal only.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Stop after the table, also on a terminal
    #[arg(long, conflicts_with = "stay")]
    pub once: bool,
    /// Stay up after the table, also without a terminal
    #[arg(long)]
    pub stay: bool,
    /// How many buyers race
    #[arg(long, value_name = "N", default_value_t = 36, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub buyers: u32,
    /// How many tickets are on sale
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub tickets: u32,
    /// Folder of the nodes' data, kept; without it a temporary one, removed at the end
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Runs the demonstration until its table is printed, and then, unless `--once`, until somebody stops it.
pub async fn run(args: DemoArgs) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::cannot_start(format!("own program: {error}")))?;
    let (dir, temporary) = match &args.data {
        Some(dir) => (dir.clone(), false),
        None => (std::env::temp_dir().join(format!("holdfast-demo-{}", std::process::id())), true),
    };
    let mut stopped = std::pin::pin!(stop::requested());
    let plan = Plan { program, dir: dir.clone(), nodes: NODES, flags: Vec::new() };
    let outcome = tokio::select! {
        biased;
        () = &mut stopped => Ok(None),
        outcome = demonstrate(&args, plan) => outcome.map(Some),
    };
    let stays = args.stay || (!args.once && std::io::stdout().is_terminal());
    let result = match outcome {
        Ok(Some((report, house))) => {
            report.print();
            if report.holds() && stays {
                house.tell();
                stopped.await;
            }
            house.stop();
            report.verdict()
        }
        Ok(None) => Ok(()),
        Err(failure) => Err(failure),
    };
    match &result {
        Ok(()) if temporary => drop(std::fs::remove_dir_all(&dir)),
        Ok(()) => {}
        Err(_) => say_aside!("The nodes' data and logs are in {}", dir.display()),
    }
    result
}

/// A sale that is under way: what its tasks share.
struct Sale {
    client: Client,
    tally: Tally,
    over: AtomicBool,
    tickets: u64,
}

async fn demonstrate(args: &DemoArgs, plan: Plan) -> Result<(Report, House), Failure> {
    say!("Starting {NODES} nodes, a broker, a bank without money, payments and notifications on loopback …");
    let mut house = House::start(plan).await?;
    let client = Client::new(&house.estate.cluster.urls(), PATIENCE)?;
    open_office(&client, &house).await?;
    say!("Signing up a seller and {} buyers, putting {} tickets on sale …", args.buyers, args.tickets);
    let seller = open_sale(&client, args.tickets).await?;
    let buyers = sign_up_buyers(&client, args.buyers).await?;

    let sale = Arc::new(Sale {
        client: client.clone(),
        tally: Tally::default(),
        over: AtomicBool::new(false),
        tickets: u64::from(args.tickets),
    });
    let started = Instant::now();
    let mut racing = JoinSet::new();
    for buyer in buyers {
        racing.spawn(race(sale.clone(), buyer));
    }
    let raising = tokio::spawn(raise_prices(sale.clone(), seller));
    let progress = tokio::spawn(show_progress(sale.clone()));
    let fail_over = kill_leader_half_way(&mut house.estate.cluster, &sale).await;

    let mut buyers = Vec::new();
    while let Some(joined) = racing.join_next().await {
        buyers.push(joined.map_err(|error| Failure::failed(format!("a buyer's task: {error}")))??);
    }
    sale.over.store(true, Ordering::Relaxed);
    let _ = progress.await;
    raising.await.map_err(|error| Failure::failed(format!("the seller's task: {error}")))??;
    let took = started.elapsed();
    let fail_over = fail_over?;
    house.estate.cluster.wait_for_voters().await?;

    say!("Reading every order, payment, charge, event and mail again …");
    let settled = house.settle(SETTLE_TIMEOUT).await?;
    let audit = audit(&client, &buyers, &settled.charges).await?;
    let report = Report::new(&sale.tally, (args.tickets, args.buyers), audit, settled, fail_over, took);
    Ok((report, house))
}

/// Signs up somebody who may see and do what operators do.
async fn open_office(client: &Client, house: &House) -> Result<(), Failure> {
    let operator = client.account(OPERATOR, PASSWORD, 0).await?;
    let token = house.estate.cluster.operator_token().await?;
    let ask = Ask::post("/api/users/claim-operator", json!({ "token": token })).by(&operator);
    client.send(ask).await?.expect(200, "the operator's token").map(|_| ())
}

async fn open_sale(client: &Client, tickets: u32) -> Result<Seller, Failure> {
    let seller = Seller::sign_up(client, SELLER, PASSWORD).await?;
    let mut rng = rand::rng();
    let bodies: Vec<_> = (1..=tickets)
        .map(|number| {
            let price_minor = rng.random_range(2_000..20_000);
            let price = money::price(price_minor, Currency::USD);
            json!({ "title": format!("Opening night, seat {number}"), "price": price, "externalId": format!("seat-{number}") })
        })
        .collect();
    seller.create(&bodies).await?;
    Ok(seller)
}

async fn sign_up_buyers(client: &Client, count: u32) -> Result<Vec<Buyer>, Failure> {
    let mut buyers = Vec::with_capacity(count as usize);
    let mut signing_up = JoinSet::new();
    for number in 0..count as usize {
        // Hashing a password is slow on purpose: more at once would only wait.
        if signing_up.len() >= SIGN_UPS_MAX
            && let Some(joined) = signing_up.join_next().await
        {
            buyers.push(joined.map_err(|error| Failure::failed(format!("a sign-up's task: {error}")))??);
        }
        let client = client.clone();
        signing_up.spawn(async move {
            Buyer::sign_up(&client, number, &format!("buyer-{number}@demo.example"), PASSWORD).await
        });
    }
    for signed_up in signing_up.join_all().await {
        buyers.push(signed_up?);
    }
    Ok(buyers)
}

/// One buyer's evening: look, think, try to buy, until nothing is left.
async fn race(sale: Arc<Sale>, mut buyer: Buyer) -> Result<(Buyer, Vec<Purchase>), Failure> {
    let mut purchases = Vec::new();
    let started = Instant::now();
    loop {
        if started.elapsed() > SALE_TIMEOUT {
            return Err(Failure::failed(format!("the sale was not over after {SALE_TIMEOUT:?}")));
        }
        let Some(offer) = pick(&sale.client).await? else {
            // Locks of others may still end unpaid: it is over when as many are sold as there were.
            if Tally::read(&sale.tally.bought) >= sale.tickets {
                return Ok((buyer, purchases));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::time::sleep(Duration::from_millis(rand::random_range(THINK_MS))).await;
        if let Attempt::Bought(purchase) = buyer.buy(&offer, &sale.tally).await? {
            purchases.push(purchase);
        }
    }
}

/// A random ticket from the front of the list; `None` when nothing is on sale.
async fn pick(client: &Client) -> Result<Option<Offer>, Failure> {
    let node = rand::random_range(0..client.nodes());
    let reply = client.send(Ask::get(format!("/api/tickets?limit={SHELF}&consistency=stale")).at(node)).await?;
    let body = reply.expect(200, "tickets")?;
    body.as_array().and_then(|shelf| shelf.choose(&mut rand::rng())).map(Offer::parse).transpose()
}

/// Raises the price of one ticket after the other, where buyers are looking.
async fn raise_prices(sale: Arc<Sale>, seller: Seller) -> Result<(), Failure> {
    while !sale.over.load(Ordering::Relaxed) {
        if let Some(offer) = pick(&sale.client).await? {
            let raised_minor = offer.price_minor + rand::random_range(1..500);
            let node = rand::random_range(0..sale.client.nodes());
            seller.edit(&offer, raised_minor, node, &sale.tally).await?;
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(RAISE_MS))).await;
    }
    Ok(())
}

/// What the kill of the leader looked like from outside.
#[derive(Debug, Clone, Copy)]
pub struct FailOver {
    /// From the kill until another node said that it leads.
    pub without_leader: Duration,
    /// Tickets sold when the leader was killed.
    pub sold_before: u64,
}

/// Waits until half of the tickets are sold, kills the leader, and starts it again once another leads.
async fn kill_leader_half_way(cluster: &mut Cluster, sale: &Sale) -> Result<FailOver, Failure> {
    let waiting = Instant::now();
    while Tally::read(&sale.tally.bought) < sale.tickets / 2 {
        if waiting.elapsed() > SALE_TIMEOUT {
            return Err(Failure::failed("half of the tickets were never sold"));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let leader = cluster.wait_for_leader().await?;
    let sold_before = Tally::read(&sale.tally.bought);
    cluster.kill(leader);
    let killed = Instant::now();
    let next = cluster.wait_for_leader().await?;
    let without_leader = killed.elapsed();
    say!(
        "Leader (node {}) killed with SIGKILL after {sold_before} sales; node {} leads after {} ms. Starting node {} again …",
        leader + 1,
        next + 1,
        without_leader.as_millis(),
        leader + 1
    );
    cluster.restart(leader)?;
    Ok(FailOver { without_leader, sold_before })
}

async fn show_progress(sale: Arc<Sale>) {
    let bar = ProgressBar::new(sale.tickets);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} sold  {msg}").expect("the template is valid");
    bar.set_style(style);
    while !sale.over.load(Ordering::Relaxed) {
        let tally = &sale.tally;
        bar.set_position(Tally::read(&tally.bought));
        bar.set_message(format!(
            "lost races {}  refused for price {}  price raises {}  retried {}",
            Tally::read(&tally.lost),
            Tally::read(&tally.price_changed),
            Tally::read(&tally.edits),
            Tally::read(&tally.resent)
        ));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bar.finish_and_clear();
}

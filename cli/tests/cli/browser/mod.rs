//! What buyers, sellers and operators see, in a real browser on real nodes.

mod access;
mod buying;
mod card;
mod devices;
mod races;
mod screens;
mod selling;

use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_cli::client::{Account, Ask, Client};
use holdfast_cli::cluster::Cluster;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::browser::{Browser, Device, Driver};
use crate::support::{PATIENCE, plan};

pub const PASSWORD: &str = "correct horse battery";

/// A cluster that sells tickets, and the means to look at it.
struct Shop {
    pub cluster: Cluster,
    pub client: Client,
    pub seller: Account,
    driver: Driver,
    visitors: AtomicU64,
    _dir: TempDir,
}

impl Shop {
    async fn open(nodes: usize) -> Shop {
        Shop::open_with(nodes, &[]).await
    }

    /// With flags for its nodes.
    async fn open_with(nodes: usize, flags: &[&str]) -> Shop {
        let dir = tempfile::tempdir().expect("a folder");
        let mut plan = plan(dir.path(), nodes);
        plan.flags.extend(flags.iter().map(ToString::to_string));
        let cluster = Cluster::start(plan).await.expect("the cluster forms");
        let client = Client::new(&cluster.urls(), PATIENCE).expect("a client");
        let seller = client.account("seller@shop.example", PASSWORD, 0).await.expect("a seller");
        let driver = Driver::start(dir.path()).await;
        Shop { cluster, client, seller, driver, visitors: AtomicU64::new(0), _dir: dir }
    }

    /// A browser at the first node.
    async fn visitor(&self, device: Device) -> Browser {
        self.driver.open(&self.cluster.urls()[0], device).await
    }

    /// A browser whose visitor has signed up, and its address.
    async fn buyer(&self, device: Device) -> (Browser, String) {
        let browser = self.visitor(device).await;
        let email = format!("buyer-{}@shop.example", self.visitors.fetch_add(1, Ordering::Relaxed));
        browser.go("/auth/signup").await;
        browser.fill("Email", &email).await;
        browser.fill("Password", PASSWORD).await;
        browser.css("main form button").await.click().await.expect("a click");
        browser.wait_until_signed_in().await;
        (browser, email)
    }

    /// An account of the same visitor, or another one, without a browser.
    async fn account(&self, email: &str) -> Account {
        self.client.account(email, PASSWORD, 0).await.expect("an account")
    }

    /// Makes somebody the first operator.
    async fn make_operator(&self, account: &Account) {
        let token = self.cluster.operator_token().await.expect("a token");
        self.ask(Ask::post("/api/users/claim-operator", json!({ "token": token })).by(account), 200).await;
    }

    /// Puts a ticket on sale; its id.
    async fn ticket(&self, title: &str, price: &str) -> String {
        let body =
            json!({ "title": title, "price": price, "eventName": "Opening night", "venue": "City Hall", "seat": "7" });
        let created = self.ask(Ask::post("/api/tickets", body).by(&self.seller), 201).await;
        created["id"].as_str().expect("an id").to_string()
    }

    /// Locks a ticket for somebody; the order's id.
    async fn lock(&self, ticket: &str, by: &Account) -> String {
        let order = self.ask(Ask::post("/api/orders", json!({ "ticketId": ticket })).by(by), 201).await;
        order["id"].as_str().expect("an id").to_string()
    }

    async fn ask(&self, ask: Ask<'_>, status: u16) -> Value {
        let reply = self.client.send(ask).await.expect("an answer");
        assert_eq!(reply.status, status, "{}", reply.body);
        reply.body
    }

    /// Changes the rules of the sale.
    async fn rule(&self, rules: Value) {
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().expect("a client");
        let url = format!("http://{}/cluster/policy", self.cluster.members[0].operator);
        let answer = http.put(url).json(&rules).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{rules}: {}", answer.status());
    }
}

/// Chooses a card and pays.
async fn pay(browser: &Browser, card: &str) {
    browser.css(&format!("input[name=token][value={card}]")).await.click().await.expect("a click");
    browser.css("#pay").await.click().await.expect("a click");
}

/// The operators' pages.
const OPERATOR: [&str; 9] = [
    "/operator",
    "/operator/locks",
    "/operator/orders",
    "/operator/users",
    "/operator/payments",
    "/operator/outbox",
    "/operator/invariants",
    "/operator/audit",
    "/operator/webhooks",
];

/// Signs in again: whoever became an operator is another one to the old session.
async fn sign_in(browser: &Browser, email: &str) {
    browser.go("/auth/signin").await;
    if browser.has("input[name=email]").await {
        browser.fill("Email", email).await;
        browser.fill("Password", PASSWORD).await;
        browser.css("main form button").await.click().await.expect("a click");
    }
    browser.wait_until_signed_in().await;
}

//! A seller, an operator and buyers of a test's own, who do one thing at a time and look what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use holdfast_cli::client::{Account, Ask, Client, Reply};
use holdfast_cli::cluster::Cluster;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{PATIENCE, WAIT};

const PASSWORD: &str = "password";
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// What each ticket costs, in the main unit and in minor ones.
const PRICE: &str = "20.00";
pub const PRICE_MINOR: u64 = 20_00;

/// Everybody whom a test knows by name.
pub struct People {
    pub client: Client,
    seller: Account,
    operator: Account,
    office: String,
    buyers: AtomicUsize,
}

/// An order, and its buyer.
pub struct Locked {
    pub order: String,
    pub ticket: String,
    pub buyer: Arc<Account>,
    client: Client,
}

impl People {
    /// Signs up the seller and the operator of a cluster that has none yet.
    pub async fn sign_up(cluster: &Cluster) -> People {
        let client = Client::new(&cluster.urls(), PATIENCE).expect("a client");
        let seller = client.account("stall@test.example", PASSWORD, 0).await.expect("a seller");
        let operator = client.account("office@test.example", PASSWORD, 0).await.expect("an operator");
        let token = cluster.operator_token().await.expect("the first operator's token");
        let claim = Ask::post("/api/users/claim-operator", json!({ "token": token })).by(&operator);
        client.send(claim).await.expect("an answer").expect(200, "the claim").expect("claimed");
        let office = format!("http://{}", cluster.members[0].operator);
        People { client, seller, operator, office, buyers: AtomicUsize::new(0) }
    }

    /// Changes the rules of the sale that `changes` names.
    pub async fn rule(&self, changes: Value) {
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build();
        let request = http.expect("a client").put(format!("{}/cluster/policy", self.office)).json(&changes);
        let answer = request.send().await.expect("the operator's listener answers");
        assert!(answer.status().is_success(), "{changes}: {}", answer.text().await.unwrap_or_default());
    }

    /// Puts a ticket on sale; its id.
    pub async fn ticket(&self, title: &str) -> String {
        let ask = Ask::post("/api/tickets", json!({ "title": title, "price": PRICE })).by(&self.seller);
        let ticket = self.client.send(ask).await.expect("an answer").expect(201, "a ticket").expect("made");
        ticket["id"].as_str().expect("an id").to_string()
    }

    /// Somebody new locks the ticket. He tries until nobody else has it.
    pub async fn lock(&self, ticket: &str) -> Locked {
        let number = self.buyers.fetch_add(1, Ordering::Relaxed);
        let buyer = self.client.account(&format!("guest-{number}@test.example"), PASSWORD, number).await;
        let buyer = Arc::new(buyer.expect("a buyer"));
        let started = Instant::now();
        loop {
            let ask = Ask::post("/api/orders", json!({ "ticketId": ticket })).by(&buyer).at(number);
            let reply = self.client.send(ask).await.expect("an answer");
            if let (201, Some(order)) = (reply.status, reply.body["id"].as_str()) {
                let (order, ticket) = (order.to_string(), ticket.to_string());
                return Locked { order, ticket, buyer, client: self.client.clone() };
            }
            assert!(started.elapsed() < WAIT, "nobody can lock {ticket}: {}", reply.complaint());
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Somebody new locks a ticket of his own.
    pub async fn lock_one(&self) -> Locked {
        let ticket = self.ticket("A seat of his own").await;
        self.lock(&ticket).await
    }

    /// The operator ends an order's lock.
    pub async fn release(&self, order: &str) {
        self.office(order, "release", 200).await;
    }

    /// The operator has the money of an order given back.
    pub async fn refund(&self, order: &str) {
        self.office(order, "refund", 202).await;
    }

    async fn office(&self, order: &str, what: &str, status: u16) {
        let ask = Ask::post(format!("/api/operator/orders/{order}/{what}"), json!({})).by(&self.operator);
        self.client.send(ask).await.expect("an answer").expect(status, what).expect("done");
    }
}

impl Locked {
    /// Pays, beside what the test does next: a bank may take its time.
    pub fn pay(&self, token: &str) -> JoinHandle<Reply> {
        let body = json!({ "token": token, "orderId": self.order });
        let (client, buyer, key) = (self.client.clone(), self.buyer.clone(), format!("pay-{}-{token}", self.order));
        tokio::spawn(async move {
            client.send(Ask::post("/api/payments", body).key(key).by(&buyer)).await.expect("an answer")
        })
    }

    /// The order as its buyer sees it.
    pub async fn shown(&self) -> Value {
        self.get(&format!("/api/orders/{}?consistency=linearizable", self.order)).await
    }

    /// The order's last payment; nothing where there is none yet.
    pub async fn payment(&self) -> Value {
        match self.shown().await["paymentId"].as_str() {
            Some(payment) => self.get(&format!("/api/payments/{payment}?consistency=linearizable")).await,
            None => Value::Null,
        }
    }

    /// Waits until the order has this status.
    pub async fn until(&self, status: &str) {
        self.wait(status, async || self.shown().await, |order| order["status"] == status).await;
    }

    /// Waits until the last payment is as wanted, and gives it.
    pub async fn payment_until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, async || self.payment().await, wanted).await
    }

    /// Waits until the last payment has this status.
    pub async fn settled(&self, status: &str) {
        self.payment_until(status, |payment| payment["status"] == status).await;
    }

    async fn wait(&self, what: &str, look: impl AsyncFn() -> Value, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let seen = look().await;
            if wanted(&seen) {
                return seen;
            }
            assert!(started.elapsed() < WAIT, "order {} is not {what}: {seen}", self.order);
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn get(&self, path: &str) -> Value {
        let reply = self.client.send(Ask::get(path).by(&self.buyer)).await.expect("an answer");
        reply.expect(200, path).expect("shown")
    }
}

//! Tickets that are sold in a deployment, through the service for clients: locked, paid by the bank, and told by mail.

use std::fs;
use std::time::{Duration, Instant};

use holdfast_cli::client::Client;
use holdfast_cli::money;
use holdfast_cli::sale::{Attempt, Buyer, Offer, Seller, Tally};
use holdfast_ledger::money::Currency;
use serde_json::json;

use super::Deployed;
use crate::support::{PATIENCE, WAIT, text};

const PRICE_MINOR: u64 = 20_00;

/// Who sells and buys, through the service for clients.
pub struct Shop {
    client: Client,
    seller: Seller,
    tally: Tally,
}

impl Deployed {
    /// Sells one ticket; `meanwhile` happens between the lock and the payment.
    pub async fn sell_while(&mut self, meanwhile: impl AsyncFnOnce(&mut Deployed)) {
        let shop = match self.shop.take() {
            Some(shop) => shop,
            None => {
                let url = format!("http://{}", self.site.services["holdfast-ready"]);
                let client = Client::new(&[url], PATIENCE).expect("a client");
                let seller = Seller::sign_up(&client, "seller@test.example", "password").await.expect("a seller");
                Shop { client, seller, tally: Tally::default() }
            }
        };
        let (title, price_minor) = (format!("Seat {}", self.sold), PRICE_MINOR);
        let currency = Currency::USD;
        let ticket = json!({ "title": title, "price": money::price(price_minor, currency) });
        let ticket = shop.seller.create(&[ticket]).await.expect("a ticket").remove(0);
        let offer = Offer { ticket, title, price_minor, currency };
        let email = format!("buyer-{}@test.example", self.sold);
        let buyer = Buyer::sign_up(&shop.client, 0, &email, "password").await;
        let mut buyer = buyer.expect("a buyer");
        let locked = buyer.lock(&offer, &shop.tally).await.expect("an answer").expect("a lock");
        meanwhile(self).await;
        let paid = buyer.pay(&offer, &locked, &shop.tally).await.expect("an answer");
        assert!(matches!(paid, Attempt::Bought(_)), "{paid:?}");
        self.sold += 1;
        self.wait_for_mail(&email).await;
        self.shop = Some(shop);
    }

    pub async fn sell(&mut self, what: &str) {
        println!("a ticket is sold {what}");
        self.sell_while(async |_| ()).await;
    }

    /// Waits until somebody has the mail that his order is paid.
    async fn wait_for_mail(&self, to: &str) {
        let started = Instant::now();
        let is_his = |mail: &String| mail.contains(to) && mail.contains("https://tickets.example/orders/");
        loop {
            let mails = fs::read_dir(&self.mails).expect("a folder").flatten().map(|mail| mail.path());
            let whole = mails.filter(|mail| mail.extension().is_some_and(|extension| extension == "eml"));
            if whole.filter_map(|mail| fs::read(mail).ok()).map(|mail| text(&mail)).any(|mail| is_his(&mail)) {
                return;
            }
            assert!(started.elapsed() < WAIT, "a mail to {to}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

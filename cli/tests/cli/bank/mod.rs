//! Money and tickets where the bank is slow, says no, asks the buyer, is told to give back, or tells the same thing again and
//! again: three nodes, a broker, the payments service and a provider, all real processes. Each test ends with the provider's book
//! against the ledger.

mod cards;
mod decisions;
mod late;
mod webhooks;

use holdfast_cli::estate::{Estate, EstatePlan};
use holdfast_cli::tools;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::people::{Locked, PRICE_MINOR, People};
use crate::support::stripe::{Intent, Stripe};
use crate::support::{holdfast_beside, plan, program, text};

const SECRET_KEY: &str = "sk_test_holdfast";
/// What the provider signs its webhooks with.
const WEBHOOK_SECRET: &str = "whsec_test";

/// Everything that runs. Dropping it ends all of it.
struct House {
    estate: Estate,
    stripe: Stripe,
    people: People,
    dir: TempDir,
}

/// What must have become of an order's money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Money {
    Taken,
    /// Held for a while, and let go.
    LetGo,
    Declined,
    GivenBack,
}

impl House {
    /// Three nodes, a broker and one payments worker before this provider.
    async fn start(dir: TempDir, stripe: Stripe) -> House {
        let write = |name: &str, secret: &str| {
            std::fs::write(dir.path().join(name), secret).expect("written");
            dir.path().join(name).display().to_string()
        };
        let (key, secret) = (write("stripe.key", SECRET_KEY), write("webhook.secret", WEBHOOK_SECRET));
        let flags = ["--provider", "stripe", "--stripe-url", &stripe.url, "--stripe-key-file", &key];
        let flags = flags.into_iter().chain(["--webhook-secret-file", &secret]).map(str::to_string).collect();
        let plan = EstatePlan {
            nodes: plan(dir.path(), 3),
            broker: tools::find("nats-server", &program()).expect("the test tools"),
            payments: (1, flags),
            notifications: (0, Vec::new()),
        };
        let estate = Estate::start(plan).await.expect("everything starts");
        let people = People::sign_up(&estate.cluster).await;
        House { estate, stripe, people, dir }
    }

    /// The only charge of an order.
    async fn charge(&self, order: &str) -> Intent {
        let mut intents = self.stripe.intents().await;
        intents.retain(|intent| intent.order == order);
        assert_eq!(intents.len(), 1, "{order}: {intents:?}");
        intents.remove(0)
    }

    /// The provider's book against the ledger: each order's charge stands where it must, there is no other, `payments reconcile`
    /// names no difference, and the stream is the outbox.
    async fn audit(mut self, orders: &[(&Locked, Money)]) {
        for (locked, money) in orders {
            let charge = self.charge(&locked.order).await;
            let stands = (charge.status.as_str(), charge.captures, charge.refunded);
            let wanted = match money {
                Money::Taken => ("succeeded", 1, false),
                Money::LetGo => ("canceled", 0, charge.refunded),
                Money::Declined => ("requires_payment_method", 0, false),
                Money::GivenBack => ("succeeded", 1, true),
            };
            assert_eq!((stands, charge.amount_minor), (wanted, PRICE_MINOR), "{money:?}: {charge:?}");
        }
        assert_eq!(self.stripe.intents().await.len(), orders.len(), "a charge for nobody");
        let report = self.reconcile().await;
        let taken = orders.iter().filter(|(_, money)| *money == Money::Taken).count() as u64;
        assert_eq!(report["payments"].as_u64(), Some(orders.len() as u64), "{report}");
        assert_eq!((&report["underWay"], report["captured"].as_u64()), (&Value::from(0), Some(taken)), "{report}");
        self.check_events().await;
        self.estate.stop();
    }

    /// What `holdfast payments reconcile` says. It fails where there is a difference.
    async fn reconcile(&self) -> Value {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let (api, service, key) = (self.estate.cluster.urls().join(","), path("payments.key"), path("stripe.key"));
        let whom = ["payments", "reconcile", "--json", "--api", &api, "--key", &service, "--provider", "stripe"];
        let whose = ["--stripe-url", &self.stripe.url, "--stripe-key-file", &key];
        let output = holdfast_beside(&[&whom[..], &whose[..]].concat()).await;
        let (report, said) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{report}{said}");
        serde_json::from_str(&report).expect("a report")
    }

    async fn check_events(&self) {
        let operator = self.estate.cluster.members[0].operator.to_string();
        let url = self.estate.broker.url();
        let output = holdfast_beside(&["events", "check", "--nats", &url, "--operator", &operator]).await;
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }
}

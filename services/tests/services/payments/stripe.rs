//! The client of Stripe's API against the sandbox as a server of its own, over real sockets, and the two books compared.

use std::sync::Arc;

use holdfast_ledger::command::{Command, Service};
use holdfast_ledger::entities::Policy;
use holdfast_ledger::id::Id;
use holdfast_ledger::money::Currency;
use holdfast_services::client::{OverHttp, Patience, Signed};
use holdfast_services::payments::provider::{Charge, PaymentProvider};
use holdfast_services::payments::reconcile::{Kind, reconcile};
use holdfast_services::payments::sandbox::Sandbox;
use holdfast_services::payments::sandbox_server;
use holdfast_services::payments::stripe::Stripe;
use holdfast_services::system_clock;

use super::world::{World, hasty, key};

/// Serves routes on a port of their own until the test ends.
async fn serve(routes: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(holdfast_api::server::serve(listener, routes, std::future::pending()));
    url
}

#[tokio::test]
async fn the_whole_path_over_the_providers_http_interface_leaves_two_books_that_agree() {
    let world = World::new(hasty(300)).await;
    let bank = Arc::new(Sandbox::default());
    let url = serve(sandbox_server::routes(bank.clone())).await;
    let stripe = Arc::new(Stripe::new(&url, "sk_test_1").unwrap());
    world.start(stripe.clone());
    let mut refunded = None;
    for (token, end) in [
        ("tok_visa", "captured"),
        ("pm_card_visa", "captured"),
        ("tok_chargeDeclinedLostCard", "declined"),
        ("tok_nonsense", "declined"),
        ("tok_3ds_100", "captured"),
        ("tok_3dsFails_100", "declined"),
        ("tok_3dsNever", "voided"),
        ("tok_captureFails", "capture_failed"),
    ] {
        let (mut buyer, order, payment) = world.paid_with(token).await;
        let settled = buyer.settled(&payment, end).await;
        if token == "tok_chargeDeclinedLostCard" {
            assert_eq!(settled["failure"], "lost_card");
        }
        if token == "tok_visa" {
            refunded = Some((buyer, order, payment));
        }
    }
    let (mut buyer, order, payment) = refunded.unwrap();
    world.as_system(Command::RequestRefund { order: order.parse().unwrap() }).await;
    buyer.settled(&payment, "refunded").await;

    let report = reconcile(&world.signed(Service::Payments), &*stripe).await.unwrap();
    assert_eq!(report.differences, []);
    assert_eq!((report.payments, report.charges, report.captured, report.under_way), (8, 7, 2, 0));
    assert_eq!(report.captured_minor["USD"], 4_000);

    // A charge behind the ledger's back is named.
    let stray = Charge {
        payment: holdfast_ledger::id::PaymentId(Id::mint(7, 7, 7)),
        order: holdfast_ledger::id::OrderId(Id::mint(7, 7, 8)),
        amount_minor: 100,
        currency: Currency::USD,
        token: "tok_visa".into(),
    };
    let id = bank.create_intent("stray:1:intent", &stray).await.unwrap();
    bank.authorize("stray:1:authorize", &id, "tok_visa").await.unwrap();
    let report = reconcile(&world.signed(Service::Payments), &*stripe).await.unwrap();
    let kinds: Vec<_> = report.differences.iter().map(|difference| difference.kind).collect();
    assert_eq!(kinds, [Kind::UnknownToLedger]);
}

#[tokio::test]
async fn a_buyer_is_told_where_his_bank_asks_and_is_done_once_he_has_answered() {
    let world = World::new(Policy::default()).await;
    let bank = Arc::new(Sandbox::default());
    let url = serve(sandbox_server::routes(bank.clone())).await;
    let stripe = Stripe::new(&url, "sk_test_1").unwrap().returning_to("https://tickets.example");
    world.start(Arc::new(stripe));
    for (answer, end) in [("yes", "captured"), ("no", "declined")] {
        let (mut buyer, _, payment) = world.paid_with("tok_3dsNever").await;
        let asked_at = loop {
            let shown = buyer.get(&format!("/api/payments/{payment}")).await;
            match shown["nextAction"]["url"].as_str() {
                Some(asked_at) => break asked_at.to_string(),
                None => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        };
        assert!(asked_at.starts_with(&url), "{asked_at}");
        let answered = reqwest::Client::new().post(asked_at).form(&[("answer", answer)]).send().await.unwrap();
        assert!(answered.status().is_success());
        let settled = buyer.settled(&payment, end).await;
        assert!(settled["nextAction"].is_null(), "{settled}");
    }
}

#[tokio::test]
async fn a_provider_that_is_away_declines_nobody() {
    let world = World::new(Policy::default()).await;
    // Nothing listens there: the port was free a moment ago.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let away = world.saga(Arc::new(Stripe::new(&format!("http://{gone}"), "sk_test_1").unwrap()));
    let (mut buyer, order, payment) = world.paid_with("tok_visa").await;
    let taken = away.take_up(payment.parse().unwrap()).await;
    assert!(matches!(taken, holdfast_services::payments::Taken::Away(_)), "{taken:?}");
    // Something that is not Stripe is no decision either.
    let stranger = serve(axum::Router::new()).await;
    let stranger = world.saga(Arc::new(Stripe::new(&stranger, "sk_test_1").unwrap()));
    let taken = stranger.take_up(payment.parse().unwrap()).await;
    assert!(matches!(taken, holdfast_services::payments::Taken::Away(_)), "{taken:?}");
    assert_eq!(buyer.order_status(&order).await, "awaiting:payment");
    world.start(Arc::new(Sandbox::default()));
    buyer.settled(&payment, "captured").await;
}

#[tokio::test]
async fn a_node_that_is_gone_is_passed_over() {
    let world = World::new(Policy::default()).await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let urls = [format!("http://{gone}"), serve(world.router.clone()).await];
    let api = Arc::new(OverHttp::new(&urls, Patience::default()).unwrap());
    let api = Signed::new(api, key(Service::Payments), "holdfast", system_clock());
    let open: Vec<serde_json::Value> = api.get("/api/services/payments?state=open").await.unwrap();
    assert!(open.is_empty());
}

//! The broker is away while events pile up.

use holdfast_cli::sale::Seller;
use serde_json::json;

use super::{Drill, Outcome, Setting, USUAL, client};

/// Tickets that are put on sale meanwhile: an event each.
const TICKETS: usize = 50_000;

pub async fn up(setting: Setting) -> Outcome {
    let mut drill = Drill::start(setting).await;
    drill.estate.broker.kill();
    let seller = Seller::sign_up(&client(&drill.estate), "bulk@test.example", "password").await.expect("a seller");
    let bodies: Vec<_> = (0..TICKETS)
        .map(|n| json!({ "title": format!("Pile {n}"), "price": 10, "externalId": format!("pile-{n}") }))
        .collect();
    assert_eq!(seller.create(&bodies).await.expect("tickets").len(), TICKETS);
    drill.load.wait_for(10).await;
    drill.estate.broker.restart().await.expect("the broker starts");
    drill.end("broker away", format!("killed while {TICKETS} events pile up, then started")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_events_pile_up() {
    let outcome = up(USUAL).await;
    outcome.assert_clean();
    assert!(outcome.events > TICKETS as u64);
}

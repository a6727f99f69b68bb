//! Card numbers never get in.

use std::path::Path;
use std::sync::Arc;

use holdfast_ledger::entities::Policy;
use holdfast_services::payments::sandbox::Sandbox;
use serde_json::json;

use super::world::World;

const CARD: &str = "4000056655665556";

/// The files below `folder` in which `needle` stands.
fn files_with(folder: &Path, needle: &[u8], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_with(&path, needle, found);
        } else if std::fs::read(&path).unwrap_or_default().windows(needle.len()).any(|window| window == needle) {
            found.push(path.display().to_string());
        }
    }
}

#[tokio::test]
async fn a_card_number_is_refused_and_stands_nowhere() {
    let world = World::new(Policy::default()).await;
    world.start(Arc::new(Sandbox::default()));
    let (mut buyer, order) = world.order().await;
    for written in [CARD.to_string(), format!("tok_{CARD}"), "4000 0566 5566 5556".into()] {
        let body = json!({ "token": written, "orderId": order });
        let answer = buyer.send("POST", "/api/payments", Some(body)).await.is(400);
        assert_eq!(answer.body["errors"][0]["code"], "raw_card_number");
        assert!(!answer.body.to_string().contains(&written), "{answer:?}");
    }
    // What is looked for would be found: a token that was taken is there while it is needed, and the order's id stays.
    let payment = buyer.pay(&order, "tok_visa").await;
    buyer.settled(&payment, "captured").await;
    world.node.shutdown().await;
    let (mut orders, mut cards) = (Vec::new(), Vec::new());
    let id: holdfast_ledger::id::OrderId = order.parse().unwrap();
    files_with(world.folder.path(), id.as_bytes(), &mut orders);
    files_with(world.folder.path(), CARD.as_bytes(), &mut cards);
    assert!(!orders.is_empty(), "the search finds what is there");
    assert_eq!(cards, Vec::<String>::new());
}

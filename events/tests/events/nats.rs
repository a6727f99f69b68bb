//! The relay and the consumers on real NATS servers that are killed, wiped and put back.

use std::sync::Arc;
use std::time::Duration;

use holdfast_events::broker::{SharedBroker, ledger_stream};
use holdfast_events::nats::Nats;
use holdfast_events::relay::{Phase, Settings};

use super::servers::{Server, VERSIONS, copy_folder};
use super::support::{Ledger, eventually, is_complete, quick, relay};

fn patient() -> Settings {
    Settings { window_max: 256, ack_timeout: Duration::from_secs(2), ..quick() }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_and_a_broker_that_is_killed_again_and_again_publish_each_event_once() {
    for version in VERSIONS {
        let Some(mut server) = Server::start(version).await else { continue };
        let (ledger, broker) = (Ledger::new(1), server.broker());
        let relays = [relay(&ledger, &broker, patient()), relay(&ledger, &broker, patient())];
        for _ in 0..3 {
            ledger.emit_tickets(1_000);
            let half = ledger.last() - 500;
            eventually("some are published", || async {
                relays.iter().any(|relay| relay.relay.status().published >= half)
            })
            .await;
            server.kill();
            ledger.emit_tickets(100);
            server.start_again().await;
        }
        for relay in &relays {
            relay.has_published(3_300).await;
        }
        is_complete(&ledger, &broker).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_wiped_or_put_back_to_an_older_copy_is_filled_again() {
    for version in VERSIONS {
        let Some(mut server) = Server::start(version).await else { continue };
        let (ledger, broker) = (Ledger::new(1), server.broker());
        let relay = relay(&ledger, &broker, patient());
        ledger.emit_tickets(500);
        relay.has_published(500).await;
        is_complete(&ledger, &broker).await;

        server.kill();
        let copy = server.store().with_extension("copy");
        copy_folder(&server.store(), &copy);
        server.start_again().await;
        ledger.emit_tickets(500);
        relay.has_published(1_000).await;

        server.kill();
        copy_folder(&copy, &server.store());
        server.start_again().await;
        ledger.emit_tickets(10);
        relay.has_published(1_010).await;
        is_complete(&ledger, &broker).await;

        server.kill();
        std::fs::remove_dir_all(server.store()).expect("the store");
        server.start_again().await;
        ledger.emit_tickets(10);
        relay.has_published(1_020).await;
        is_complete(&ledger, &broker).await;

        server.kill();
        std::fs::remove_dir_all(server.store()).expect("the store");
        ledger.trim(300);
        server.start_again().await;
        ledger.emit_tickets(10);
        if version != VERSIONS[0] {
            eventually("it says what this server cannot do", || async {
                let trouble = relay.relay.status().trouble.unwrap_or_default();
                trouble.contains("has to begin with message 300, which NATS can from 2.10 on")
            })
            .await;
            continue;
        }
        relay.has_published(1_030).await;
        is_complete(&ledger, &broker).await;
        let state = broker.connect().await.unwrap().state(&ledger_stream(0)).await.unwrap().expect("made anew");
        assert_eq!(state.first, 300, "{version}: numbers stay what they were");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_is_one_line_and_is_tried_again() {
    let ledger = Ledger::new(1);
    ledger.emit_tickets(5);
    let nowhere: SharedBroker = Arc::new(Nats::new(&["nats://127.0.0.1:1".into()], None).expect("an address"));
    let relay = relay(&ledger, &nowhere, patient());
    eventually("it has tried twice", || async { relay.relay.status().errors >= 2 }).await;
    let status = relay.relay.status();
    let trouble = status.trouble.expect("a reason");
    assert_eq!(status.phase, Phase::Retrying);
    assert!(trouble.starts_with("the broker is away") && !trouble.contains('\n'), "{trouble}");
    for bad in [vec![], vec!["not a server at all".to_string()]] {
        assert!(Nats::new(&bad, None).is_err(), "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_would_lose_events_is_refused_by_name() {
    let Some(server) = Server::start(VERSIONS[0]).await else { return };
    let client = async_nats::connect(server.url()).await.expect("a server");
    let config = async_nats::jetstream::stream::Config {
        name: ledger_stream(0),
        subjects: vec!["ledger.v1.>".into()],
        max_bytes: 100_000,
        ..Default::default()
    };
    async_nats::jetstream::new(client).create_stream(config).await.expect("a stream of somebody else's");
    let ledger = Ledger::new(1);
    ledger.emit_tickets(5);
    let relay = relay(&ledger, &server.broker(), patient());
    eventually("it says what is wrong", || async { relay.relay.status().trouble.is_some() }).await;
    let trouble = relay.relay.status().trouble.expect("a reason");
    assert_eq!(trouble, "stream LEDGER_V1_0000: max_bytes is 100000, and must be unlimited");
}

//! The relay against a broker that does everything that brokers do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_events::broker::{
    Acknowledged, Broker, BrokerError, Connection, ConsumerState, DEAD_STREAM, Message, Pull, PullSettings,
    SharedBroker, Stored, StreamSettings, StreamState, ledger_stream,
};
use holdfast_events::memory::Faults;
use holdfast_events::relay::Phase;

use tokio::sync::Barrier;

use super::support::{Ledger, compared, eventually, is_complete, memory, quick, relay};

/// Everything goes wrong now and then, on the way there.
fn rough() -> Faults {
    Faults {
        publish_lost_permille: 3,
        publish_ack_lost_permille: 3,
        publish_late_permille: 5,
        late_max: Duration::from_millis(400),
        ..Faults::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_at_once_on_a_broker_that_loses_and_delays_publish_each_event_once() {
    for seed in 1..=3 {
        let (ledger, (memory, broker)) = (Ledger::new(1), memory(seed));
        memory.set_faults(rough());
        ledger.emit_tickets(500);
        let relays = [relay(&ledger, &broker, quick()), relay(&ledger, &broker, quick())];
        for _ in 0..10 {
            ledger.emit_tickets(100);
            tokio::task::yield_now().await;
        }
        for relay in &relays {
            relay.has_published(1_500).await;
        }
        memory.set_faults(Faults::default());
        is_complete(&ledger, &broker).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_loses_is_filled_in_again_under_the_same_numbers() {
    let (ledger, (memory, broker)) = (Ledger::new(1), memory(1));
    let relay = relay(&ledger, &broker, quick());
    ledger.emit_tickets(300);
    relay.has_published(300).await;
    let copy = memory.image();
    ledger.emit_tickets(300);
    relay.has_published(600).await;

    memory.lose_newest(50);
    ledger.emit_tickets(10);
    relay.has_published(610).await;
    is_complete(&ledger, &broker).await;

    memory.restore(copy);
    ledger.emit_tickets(10);
    relay.has_published(620).await;
    is_complete(&ledger, &broker).await;

    memory.wipe();
    ledger.emit_tickets(10);
    relay.has_published(630).await;
    is_complete(&ledger, &broker).await;

    eventually("the ledger is told", || async { ledger.acked() == 630 }).await;
    assert_eq!(ledger.trim(400), 400);
    memory.wipe();
    ledger.emit_tickets(10);
    relay.has_published(640).await;
    is_complete(&ledger, &broker).await;
    assert_eq!(memory.messages(&ledger_stream(0)).first().map(|stored| stored.seq), Some(400), "numbers stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_broker_has_lost_is_kept_until_it_has_it_again() {
    let (ledger, (memory, broker)) = (Ledger::new(1), memory(1));
    ledger.emit_tickets(100);
    let relay = relay(&ledger, &broker, quick());
    eventually("the ledger is told", || async { ledger.acked() == 100 }).await;
    assert_eq!((ledger.trim(11), ledger.losses()), (11, 0));
    // Every publish is lost, so the stream stays empty: all that it is to be filled from could go meanwhile.
    memory.set_faults(Faults { publish_lost_permille: 1_000, ..Faults::default() });
    memory.wipe();
    eventually("the loss is known", || async { ledger.losses() == 1 && memory.last(&ledger_stream(0)) == 10 }).await;
    assert_eq!((ledger.trim(60), ledger.acked()), (11, 10));
    // What an older session says comes too late.
    holdfast_events::outbox::Outbox::acknowledge(&ledger, 100, 0).await.unwrap();
    assert_eq!(ledger.trim(60), 11);
    memory.set_faults(Faults::default());
    relay.has_published(100).await;
    eventually("the ledger is told again", || async { ledger.acked() == 100 }).await;
    assert_eq!((ledger.trim(60), ledger.losses()), (60, 1));
    is_complete(&ledger, &broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_stream_that_begins_before_what_is_kept_is_made_anew() {
    let (ledger, (memory, broker)) = (Ledger::new(1), memory(1));
    ledger.emit_tickets(20);
    ledger.drop_before(8);
    let connection = broker.connect().await.unwrap();
    connection.ensure(&StreamSettings::ledger(0, 5)).await.unwrap();
    relay(&ledger, &broker, quick()).has_published(20).await;
    assert_eq!(memory.messages(&ledger_stream(0)).first().map(|stored| stored.seq), Some(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_waited_for_and_the_ledger_knows_what_it_has() {
    let (ledger, (memory, broker)) = (Ledger::new(1), memory(1));
    memory.stop();
    let relay = relay(&ledger, &broker, quick());
    ledger.emit_tickets(1_000);
    eventually("the relay says why it waits", || async {
        let status = relay.relay.status();
        status.phase == Phase::Retrying && status.trouble.is_some_and(|trouble| trouble.contains("away"))
    })
    .await;
    assert_eq!(ledger.acked(), 0);
    memory.start();
    relay.has_published(1_000).await;
    eventually("the ledger is told", || async { ledger.acked() == 1_000 }).await;
    is_complete(&ledger, &broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_lead_publishes_nothing() {
    let (ledger, (memory, broker)) = (Ledger::new(1), memory(1));
    ledger.set_leads(false);
    let relay = relay(&ledger, &broker, quick());
    ledger.emit_tickets(10);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((relay.relay.status().phase, memory.messages(&ledger_stream(0)).len()), (Phase::Following, 0));
    ledger.set_leads(true);
    relay.has_published(10).await;
    ledger.set_leads(false);
    eventually("it stands back", || async { relay.relay.status().phase == Phase::Following }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_ahead_of_the_ledger_stops_the_relay() {
    let (ledger, (memory, broker)) = (Ledger::new(1), memory(1));
    ledger.emit_tickets(20);
    let first = relay(&ledger, &broker, quick());
    first.has_published(20).await;
    drop(first);
    ledger.forget(5);
    let second = relay(&ledger, &broker, quick());
    let reason = second.is_stopped().await;
    assert!(reason.contains("ends with event 20 and the ledger has emitted 15"), "{reason}");
    assert_eq!(memory.messages(&ledger_stream(0)).len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_of_another_ledger_is_not_published_to() {
    let ((ours, theirs), (memory, broker)) = ((Ledger::new(1), Ledger::new(2)), memory(1));
    theirs.emit_tickets(20);
    relay(&theirs, &broker, quick()).has_published(20).await;
    ours.emit_tickets(30);
    let reason = relay(&ours, &broker, quick()).is_stopped().await;
    assert!(reason.contains("message 20 of LEDGER_V1_0000 is not event 20 of this ledger"), "{reason}");
    assert_eq!(memory.messages(&ledger_stream(0)).len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_gone_cannot_be_filled_in_and_that_is_said() {
    let (ledger, (memory, broker)) = (Ledger::new(1), memory(1));
    ledger.emit_tickets(20);
    let relay = relay(&ledger, &broker, quick());
    relay.has_published(20).await;
    memory.lose_newest(10);
    ledger.drop_before(15);
    ledger.emit_tickets(5);
    let reason = relay.is_stopped().await;
    assert!(reason.contains("ends with event 10 and events before 15 are not kept any more"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_ledger_publishes_to_a_stream_of_its_own_and_the_older_one_stands_back() {
    let (older, (memory, broker)) = (Ledger::new(1), memory(1));
    older.emit_tickets(20);
    let newer = older.restored(1);
    older.emit_tickets(10);
    let old_relay = relay(&older, &broker, quick());
    old_relay.has_published(30).await;

    newer.emit_tickets(5);
    let new_relay = relay(&newer, &broker, quick());
    new_relay.has_published(25).await;
    let numbers: Vec<_> = memory.messages(&ledger_stream(1)).iter().map(|stored| stored.seq).collect();
    assert_eq!(numbers, [21, 22, 23, 24, 25], "the older lineage's events stand in its own stream");
    is_complete(&newer, &broker).await;

    memory.lose_newest(0);
    older.emit_tickets(1);
    let reason = old_relay.is_stopped().await;
    assert!(reason.contains("an older ledger must not publish beside it"), "{reason}");
}

/// A broker whose publishes have lost what fences them. Two relays look at the stream's end at the same time: that is what
/// the fence is for.
struct Unfenced(SharedBroker, Arc<Barrier>);

impl Broker for Unfenced {
    fn connect(&self) -> BoxFuture<'_, Result<Arc<dyn Connection>, BrokerError>> {
        async {
            let connection = UnfencedConnection(self.0.connect().await?, self.1.clone());
            Ok(Arc::new(connection) as Arc<dyn Connection>)
        }
        .boxed()
    }
}

struct UnfencedConnection(Arc<dyn Connection>, Arc<Barrier>);

impl Connection for UnfencedConnection {
    fn streams(&self) -> BoxFuture<'_, Result<Vec<String>, BrokerError>> {
        self.0.streams()
    }

    fn state<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Option<StreamState>, BrokerError>> {
        self.0.state(stream)
    }

    fn ensure<'a>(&'a self, settings: &'a StreamSettings) -> BoxFuture<'a, Result<StreamState, BrokerError>> {
        async {
            let state = self.0.ensure(settings).await;
            self.1.wait().await;
            state
        }
        .boxed()
    }

    fn remove<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<bool, BrokerError>> {
        self.0.remove(stream)
    }

    fn message<'a>(&'a self, stream: &'a str, seq: u64) -> BoxFuture<'a, Result<Option<Stored>, BrokerError>> {
        self.0.message(stream, seq)
    }

    /// Without the expected number and without the id; what the relay is told is what it wants to hear.
    fn publish<'a>(
        &'a self,
        stream: &'a str,
        mut message: Message,
        expected_last: Option<u64>,
    ) -> BoxFuture<'a, Result<Acknowledged, BrokerError>> {
        message.headers.retain(|(name, _)| name != "Nats-Msg-Id");
        async move {
            let stored = self.0.publish(stream, message, None).await?;
            Ok(async move { stored.await.map(|seq| expected_last.map_or(seq, |last| last + 1)) }.boxed())
        }
        .boxed()
    }

    fn pull<'a>(
        &'a self,
        stream: &'a str,
        settings: PullSettings,
    ) -> BoxFuture<'a, Result<Box<dyn Pull>, BrokerError>> {
        self.0.pull(stream, settings)
    }

    fn delete<'a>(&'a self, stream: &'a str, seq: u64) -> BoxFuture<'a, Result<bool, BrokerError>> {
        self.0.delete(stream, seq)
    }

    fn forget<'a>(&'a self, stream: &'a str, durable: &'a str) -> BoxFuture<'a, Result<bool, BrokerError>> {
        self.0.forget(stream, durable)
    }

    fn consumers<'a>(&'a self, stream: &'a str) -> BoxFuture<'a, Result<Vec<ConsumerState>, BrokerError>> {
        self.0.consumers(stream)
    }

    fn held<'a>(
        &'a self,
        stream: &'a str,
        filter: &'a str,
    ) -> BoxFuture<'a, Result<BTreeMap<String, u64>, BrokerError>> {
        self.0.held(stream, filter)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_fence_the_check_reports_duplicates() {
    let (ledger, (_, broker)) = (Ledger::new(1), memory(1));
    let unfenced: SharedBroker = Arc::new(Unfenced(broker.clone(), Arc::new(Barrier::new(2))));
    ledger.emit_tickets(200);
    let relays = [relay(&ledger, &unfenced, quick()), relay(&ledger, &unfenced, quick())];
    for relay in &relays {
        relay.has_published(200).await;
    }
    drop(relays);
    let report = compared(&ledger, &broker).await;
    assert!(!report.is_clean(), "{report:#?}");
    assert!(report.duplicates > 0, "{report:#?}");
    assert!(report.differences.iter().any(|line| line.contains("a second time")), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_check_names_what_is_missing_what_is_another_and_what_is_foreign() {
    let (ledger, (_, broker)) = (Ledger::new(1), memory(1));
    ledger.emit_tickets(10);
    relay(&ledger, &broker, quick()).has_published(10).await;
    let connection = broker.connect().await.unwrap();
    assert!(connection.message(DEAD_STREAM, 1).await.is_err(), "nothing was laid down");
    let other = Ledger::new(1);
    other.emit_tickets(8);
    other.emit_ticket(holdfast_ledger::id::Id::mint(0, 9, 9), 0, "Another ticket");
    let report = compared(&other, &broker).await;
    assert_eq!((report.equal, report.different, report.missing, report.duplicates), (8, 2, 0, 0), "{report:#?}");
    other.emit_tickets(5);
    let report = compared(&other, &broker).await;
    assert_eq!((report.waiting, report.upto), (4, 10), "what is not there yet is waiting: {report:#?}");
}

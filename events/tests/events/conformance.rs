//! What every broker must do, in memory and for real.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use holdfast_events::broker::{
    BrokerError, Connection, ConsumerState, Message, Pull, PullSettings, SharedBroker, StartAt, StreamSettings,
    StreamState, ledger_stream, newest_lineage,
};

use super::servers::{Server, VERSIONS};
use super::support::memory;

const SOON: Duration = Duration::from_secs(3);
const NOW: Duration = Duration::from_millis(50);

fn message(subject: &str, id: &str) -> Message {
    let headers = vec![("ce-id".into(), id.to_string()), ("Nats-Msg-Id".into(), id.to_string())];
    Message { subject: subject.into(), headers, body: Bytes::from(format!("body of {id}")) }
}

fn ticket(id: &str) -> Message {
    message("ledger.v1.ticket.07.created", id)
}

async fn publish(
    connection: &dyn Connection,
    stream: &str,
    message: Message,
    last: Option<u64>,
) -> Result<u64, BrokerError> {
    connection.publish(stream, message, last).await?.await
}

async fn pull(connection: &dyn Connection, stream: &str, durable: Option<&str>, start: StartAt) -> Box<dyn Pull> {
    let settings = PullSettings {
        durable: durable.map(str::to_string),
        filter: Some("ledger.v1.ticket.>".into()),
        start,
        ack_wait: Duration::from_millis(500),
        ack_pending_max: 100,
    };
    connection.pull(stream, settings).await.expect("a consumer")
}

async fn seqs(pull: &dyn Pull, limit: usize, wait: Duration) -> Vec<(u64, u64)> {
    let fetched = pull.fetch(limit, wait).await.expect("a fetch");
    fetched.iter().map(|delivery| (delivery.seq, delivery.deliveries)).collect()
}

async fn a_stream_begins_at_its_number_and_takes_only_what_follows(broker: &SharedBroker, first: u64) {
    let connection = broker.connect().await.expect("a broker");
    let (connection, stream) = (&*connection, ledger_stream(0));
    assert_eq!(connection.state(&stream).await.unwrap(), None);
    assert_eq!(newest_lineage(connection).await.unwrap(), None);
    let settings = StreamSettings::ledger(0, first);
    for _ in 0..2 {
        let state = connection.ensure(&settings).await.expect("made, and found");
        assert_eq!(state, StreamState { first, last: first - 1 });
    }
    assert_eq!(newest_lineage(connection).await.unwrap(), Some(0));
    assert_eq!(publish(connection, &stream, ticket("a"), Some(first - 1)).await, Ok(first));
    for last in [first - 1, first + 1, first + 100] {
        let refused = publish(connection, &stream, ticket(&format!("b after {last}")), Some(last)).await;
        assert!(matches!(refused, Err(BrokerError::WrongLast(_))), "{refused:?}");
    }
    assert_eq!(
        publish(connection, &stream, ticket("a"), None).await,
        Ok(first),
        "known by its id, and not stored again"
    );
    assert_eq!(publish(connection, &stream, ticket("b"), Some(first)).await, Ok(first + 1));
    assert_eq!(connection.state(&stream).await.unwrap(), Some(StreamState { first, last: first + 1 }));
    let stored = connection.message(&stream, first + 1).await.unwrap().expect("the second message");
    assert_eq!((stored.seq, stored.message.subject.as_str()), (first + 1, "ledger.v1.ticket.07.created"));
    assert_eq!((stored.message.header("CE-Id"), &stored.message.body[..]), (Some("b"), &b"body of b"[..]));
    assert_eq!(connection.message(&stream, first - 1).await.unwrap(), None);
    assert_eq!(connection.message(&stream, first + 2).await.unwrap(), None);
    assert!(connection.delete(&stream, first).await.is_err(), "it is append-only");
    let elsewhere = publish(connection, &ledger_stream(9), ticket("c"), None).await;
    assert!(elsewhere.is_err(), "there is no such stream");
}

/// Many publishes are on their way at once, and arrive in the order in which they were sent.
async fn publishes_in_flight_keep_their_order(broker: &SharedBroker) {
    let connection = broker.connect().await.expect("a broker");
    let stream = ledger_stream(0);
    let last = connection.state(&stream).await.unwrap().expect("the stream").last;
    let mut acknowledged = Vec::new();
    for n in 0..100 {
        let message = ticket(&format!("in flight {n}"));
        acknowledged.push(connection.publish(&stream, message, Some(last + n)).await.expect("sent"));
    }
    for (n, acknowledged) in acknowledged.into_iter().enumerate() {
        assert_eq!(acknowledged.await, Ok(last + 1 + n as u64));
    }
}

async fn workers_share_a_durable_and_what_is_not_acknowledged_comes_again(broker: &SharedBroker, first: u64) {
    let connection = broker.connect().await.expect("a broker");
    let (connection, stream) = (&*connection, ledger_stream(0));
    let one = pull(connection, &stream, Some("workers"), StartAt::Seq(first)).await;
    let other = pull(connection, &stream, Some("workers"), StartAt::Seq(first)).await;
    let one_has = one.fetch(1, SOON).await.expect("a fetch").pop().expect("a message");
    let other_has = other.fetch(1, SOON).await.expect("a fetch").pop().expect("a message");
    assert_eq!(
        [(one_has.seq, one_has.deliveries), (other_has.seq, other_has.deliveries)],
        [(first, 1), (first + 1, 1)]
    );
    one_has.ack().await.expect("sent");
    other_has.nak(Duration::from_millis(50)).await.expect("sent");
    let mut again = None;
    let mut count = 0;
    while again.is_none() {
        for delivery in one.fetch(50, SOON).await.expect("a fetch") {
            count += 1;
            assert_ne!(delivery.seq, first, "it was acknowledged");
            delivery.ack().await.expect("sent");
            again = again.or((delivery.seq == first + 1).then_some(delivery.deliveries));
        }
        assert!(count < 500, "it does not come again");
    }
    assert_eq!(again, Some(2));
}

async fn readers_begin_where_they_ask(broker: &SharedBroker, first: u64) {
    let connection = broker.connect().await.expect("a broker");
    let (connection, stream) = (&*connection, ledger_stream(0));
    let last = connection.state(&stream).await.unwrap().expect("the stream").last;
    let from_there = pull(connection, &stream, None, StartAt::Seq(last)).await;
    let from_first = pull(connection, &stream, None, StartAt::First).await;
    let from_new = pull(connection, &stream, None, StartAt::New).await;
    let from_lately = pull(connection, &stream, None, StartAt::Since(Duration::from_secs(3_600))).await;
    assert_eq!(seqs(&*from_there, 10, SOON).await, [(last, 1)]);
    assert_eq!(seqs(&*from_first, 2, SOON).await, [(first, 1), (first + 1, 1)]);
    assert_eq!(seqs(&*from_lately, 2, SOON).await, [(first, 1), (first + 1, 1)]);
    assert_eq!(seqs(&*from_new, 10, NOW).await, []);
    let order = message("ledger.v1.order.07.created", "an order");
    publish(connection, &stream, order, Some(last)).await.expect("stored");
    publish(connection, &stream, ticket("news"), Some(last + 1)).await.expect("stored");
    assert_eq!(seqs(&*from_new, 10, SOON).await, [(last + 2, 1)], "the filter leaves the order out");
}

async fn a_newer_lineage_takes_the_subjects_over(broker: &SharedBroker, first: u64) {
    let connection = broker.connect().await.expect("a broker");
    let (connection, older, newer) = (&*connection, ledger_stream(0), ledger_stream(1));
    let before = connection.state(&older).await.unwrap();
    assert_eq!(connection.ensure(&StreamSettings::ledger(1, first)).await, Ok(StreamState { first, last: first - 1 }));
    assert_eq!(newest_lineage(connection).await.unwrap(), Some(1));
    assert_eq!(publish(connection, &newer, ticket("newer"), Some(first - 1)).await, Ok(first));
    assert_eq!(connection.state(&older).await.unwrap(), before, "what it held stays, and nothing comes");
    assert!(connection.message(&older, first).await.unwrap().is_some());
}

async fn a_stream_that_was_taken_away_is_made_anew(broker: &SharedBroker, first: u64) {
    let connection = broker.connect().await.expect("a broker");
    let settings = StreamSettings::ledger(3, first);
    assert_eq!(connection.remove(&settings.name).await, Ok(false));
    connection.ensure(&settings).await.expect("made");
    publish(&*connection, &settings.name, ticket("taken away"), Some(first - 1)).await.expect("stored");
    let _consumer = pull(&*connection, &settings.name, Some("taken-away"), StartAt::First).await;
    assert_eq!(connection.remove(&settings.name).await, Ok(true));
    assert_eq!(connection.state(&settings.name).await.unwrap(), None);
    let state = connection.ensure(&settings).await.expect("made anew");
    assert_eq!(state, StreamState { first, last: first - 1 });
    assert_eq!(connection.consumers(&settings.name).await.unwrap(), []);
}

async fn dead_letters_can_be_taken_away(broker: &SharedBroker, first: u64) {
    let connection = broker.connect().await.expect("a broker");
    let settings = StreamSettings::dead();
    connection.ensure(&settings).await.expect("made");
    let seq = publish(&*connection, &settings.name, message("dead.v1.payments", "dead"), None).await.expect("stored");
    assert_eq!(connection.delete(&settings.name, seq).await, Ok(true));
    assert_eq!(connection.delete(&settings.name, seq).await, Ok(false));
    assert_eq!(connection.message(&settings.name, seq).await.unwrap(), None);
    let pull = pull(&*connection, &ledger_stream(1), Some("short-lived"), StartAt::First).await;
    assert_eq!(seqs(&*pull, 1, SOON).await, [(first, 1)]);
    assert_eq!(connection.forget(&ledger_stream(1), "short-lived").await, Ok(true));
    assert_eq!(connection.forget(&ledger_stream(1), "short-lived").await, Ok(false));
}

async fn what_consumers_have_left_to_do_is_counted(broker: &SharedBroker, first: u64) {
    let connection = broker.connect().await.expect("a broker");
    let (connection, stream) = (&*connection, ledger_stream(2));
    assert_eq!(connection.consumers(&stream).await.unwrap(), [], "no stream, no consumers");
    assert_eq!(connection.held(&stream, ">").await.unwrap(), BTreeMap::new());
    connection.ensure(&StreamSettings::ledger(2, first)).await.expect("made");
    for n in 0..3 {
        publish(connection, &stream, ticket(&format!("counted {n}")), Some(first - 1 + n)).await.expect("stored");
    }
    let order = message("ledger.v1.order.07.created", "a counted order");
    publish(connection, &stream, order, Some(first + 2)).await.expect("stored");
    let held = connection.held(&stream, "ledger.v1.ticket.>").await.unwrap();
    assert_eq!(held, BTreeMap::from([("ledger.v1.ticket.07.created".to_string(), 3)]));
    let consumer = pull(connection, &stream, Some("counted"), StartAt::First).await;
    let state = |pending, ack_pending, redelivered, delivered| ConsumerState {
        name: "counted".into(),
        pending,
        ack_pending,
        redelivered,
        delivered,
    };
    let _reader = pull(connection, &stream, None, StartAt::First).await;
    let mut waiting = connection.consumers(&stream).await.unwrap();
    assert!(waiting[0].delivered < first, "nothing was sent");
    waiting[0].delivered = 0;
    assert_eq!(waiting, [state(3, 0, 0, 0)], "durable ones alone");
    let delivery = consumer.fetch(1, SOON).await.expect("a fetch").pop().expect("a message");
    assert_eq!(connection.consumers(&stream).await.unwrap(), [state(2, 1, 0, first)]);
    delivery.nak(Duration::ZERO).await.expect("sent");
    let mut last = 0;
    // It overtakes what was not sent yet, or not.
    while last != first {
        let delivery = consumer.fetch(1, SOON).await.expect("a fetch").pop().expect("it again");
        last = delivery.seq;
    }
    let state = connection.consumers(&stream).await.unwrap().remove(0);
    assert_eq!((state.redelivered, state.pending + state.ack_pending), (1, 3), "{state:?}");
}

async fn conforms(broker: SharedBroker, first: u64) {
    a_stream_begins_at_its_number_and_takes_only_what_follows(&broker, first).await;
    publishes_in_flight_keep_their_order(&broker).await;
    workers_share_a_durable_and_what_is_not_acknowledged_comes_again(&broker, first).await;
    readers_begin_where_they_ask(&broker, first).await;
    a_newer_lineage_takes_the_subjects_over(&broker, first).await;
    dead_letters_can_be_taken_away(&broker, first).await;
    what_consumers_have_left_to_do_is_counted(&broker, first).await;
    a_stream_that_was_taken_away_is_made_anew(&broker, first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_in_memory_conforms() {
    conforms(memory(1).1, 41).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_nats_conform() {
    for version in VERSIONS {
        let Some(server) = Server::start(version).await else { continue };
        // The older one cannot let a stream begin elsewhere.
        conforms(server.broker(), if version == VERSIONS[0] { 41 } else { 1 }).await;
    }
}

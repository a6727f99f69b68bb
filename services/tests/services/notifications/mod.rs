//! Notifications, from an event on a broker to what people and programs get.

mod mails;
mod smtp;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_events::broker::{Broker, StreamSettings, ledger_stream};
use holdfast_events::memory::Memory;
use holdfast_events::wire;
use holdfast_ledger::command::Service;
use holdfast_ledger::entities::{CancelReason, Fence, Holding, OrderStatus, PaymentStatus, PlaceStatus};
use holdfast_ledger::event::{Event, EventBody, EventType};
use holdfast_ledger::id::{Id, OrderId, PaymentId, PlaceId, RequestId, TicketId, UserId};
use holdfast_ledger::money::Currency;
use holdfast_services::client::{Api, Signed, Unreachable};
use holdfast_services::key::ServiceKey;
use holdfast_services::notifications::post::{Post, Undelivered};
use holdfast_services::notifications::{Mail, Notifications, SentLog, Settings};
use holdfast_services::system_clock;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const TIME_MS: u64 = 1_700_000_000_000;

fn id(ordinal: u32) -> Id {
    Id::mint(0, 7, ordinal)
}

fn buyer() -> UserId {
    UserId(id(1))
}

fn ticket() -> TicketId {
    TicketId(id(2))
}

fn order() -> OrderId {
    OrderId(id(3))
}

/// The cluster's routes, as far as a test has filled them in: path → status and body.
#[derive(Clone, Default)]
struct Routes(Arc<Mutex<BTreeMap<String, (u16, Value)>>>, Arc<Mutex<Vec<String>>>);

impl Routes {
    fn set(&self, call: impl Into<String>, status: u16, body: Value) {
        self.0.lock().unwrap().insert(call.into(), (status, body));
    }

    /// What was asked so far: method and path.
    fn asked(&self) -> Vec<String> {
        self.1.lock().unwrap().clone()
    }

    /// One buyer with an order of one ticket.
    fn with_buyer(title: &str) -> Routes {
        let routes = Routes::default();
        let (buyer, order, ticket) = (buyer(), order(), ticket());
        let line = json!({ "id": ticket, "title": title, "price": 19.99, "version": 1 });
        let contact = json!({ "email": "buyer@example.org", "verified": true, "banned": false, "erased": false });
        routes.set(format!("GET /api/services/users/{buyer}/contact"), 200, contact);
        routes.set(
            format!("GET /api/services/orders/{order}"),
            200,
            json!({ "id": order, "tickets": [line], "total": 19.99, "currency": "USD" }),
        );
        routes.set(
            format!("GET /api/tickets/{ticket}"),
            200,
            json!({ "id": ticket, "title": title, "price": 19.99, "currency": "USD" }),
        );
        routes.set(format!("GET /api/services/tickets/{ticket}/watchers"), 200, json!([buyer]));
        routes.set("GET /api/services/webhooks", 200, json!([]));
        routes
    }
}

impl Api for Routes {
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, Unreachable>> {
        let call = format!("{} {}", request.method(), request.uri().path());
        self.1.lock().unwrap().push(call.clone());
        assert!(request.headers().contains_key("authorization"), "a service says who it is");
        let (status, body) = self.0.lock().unwrap().get(&call).cloned().unwrap_or((404, json!({ "errors": [] })));
        let response = http::Response::builder().status(status).body(Bytes::from(body.to_string())).unwrap();
        std::future::ready(Ok(response)).boxed()
    }
}

/// Keeps mails, and refuses as often as it is told to.
#[derive(Clone, Default)]
struct Letterbox(Arc<Mutex<Vec<Mail>>>);

impl Letterbox {
    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|mail| mail.name().to_string()).collect()
    }
}

impl Post for Letterbox {
    fn deliver<'a>(&'a self, mail: &'a Mail) -> BoxFuture<'a, Result<(), Undelivered>> {
        self.0.lock().unwrap().push(mail.clone());
        std::future::ready(Ok(())).boxed()
    }
}

/// A running service on a broker of its own.
struct Running {
    broker: Memory,
    published: u64,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(routes: &Routes, post: Arc<dyn Post>, sent: SentLog, allow_private: bool) -> Running {
        let broker = Memory::new(1, 10_000);
        let connection = broker.connect().await.expect("a broker in memory");
        connection.ensure(&StreamSettings::ledger(0, 1)).await.expect("a stream");
        let key = ServiceKey::from_seed(Service::Notifications, &[1; 32]);
        let api = Signed::new(Arc::new(routes.clone()), key, "holdfast", system_clock());
        let settings = Settings {
            public_url: "https://tickets.example.org".into(),
            sender: "Tickets <tickets@example.org>".parse().expect("an address"),
            allow_private,
        };
        let service = Notifications::new(api, Arc::new(broker.clone()), post, sent, settings);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move { service.run(stopped).await });
        Running { broker, published: 0, stop, task }
    }

    /// Publishes an event under the next number of the stream.
    async fn publish(&mut self, event: &Event) {
        let connection = self.broker.connect().await.expect("a broker in memory");
        let message = wire::publish(event, "c1").into();
        let sent = connection.publish(&ledger_stream(0), message, Some(self.published)).await.expect("sent");
        self.published = sent.await.expect("taken");
    }

    async fn end(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(PATIENCE, self.task).await.expect("it stops").expect("it did not panic");
    }
}

/// Waits until `holds`.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

fn event(event_type: EventType, entity: Id, version: u64, body: EventBody) -> Event {
    Event { seq: 1, lineage: 0, index: 9, time_ms: TIME_MS, event_type, entity, version, body }
}

fn order_event(event_type: EventType, version: u64, status: OrderStatus) -> Event {
    let reason = match status {
        OrderStatus::Cancelled(reason) => Some(reason),
        _ => None,
    };
    let body = EventBody::Order {
        user: buyer(),
        status,
        deadline_ms: TIME_MS + 900_000,
        currency: Currency::USD,
        tickets: vec![(ticket(), 1999)],
        reason,
    };
    event(event_type, order().0, version, body)
}

fn locked() -> Event {
    order_event(EventType::OrderCreated, 0, OrderStatus::Created)
}

fn confirmed() -> Event {
    order_event(EventType::OrderCompleted, 2, OrderStatus::Complete)
}

fn expired() -> Event {
    order_event(EventType::OrderCancelled, 1, OrderStatus::Cancelled(CancelReason::Expired))
}

fn refunded() -> Event {
    let body = EventBody::Payment {
        payment: PaymentId(id(4)),
        order: order(),
        user: buyer(),
        attempt: 1,
        status: PaymentStatus::Refunded,
        next: None,
        amount_minor: 1999,
        currency: Currency::USD,
        fence: Fence { index: 7, ordinal: 3 },
        intent_id: Some("pi_1".into()),
        failure: None,
    };
    event(EventType::PaymentUpdated, id(4), 5, body)
}

fn price_changed(title: &str, version: u64, price_version: u64) -> Event {
    let body = EventBody::Ticket {
        title: title.into(),
        price_minor: 2500,
        price_version,
        currency: Currency::USD,
        user: UserId(id(9)),
        holding: Holding::Free,
        withdrawn: false,
    };
    event(EventType::TicketUpdated, ticket().0, version, body)
}

fn offered() -> Event {
    let status = PlaceStatus::Offered { deadline_ms: TIME_MS + 300_000 };
    let body = EventBody::Place { place: PlaceId(id(6)), ticket: ticket(), user: buyer(), status };
    event(EventType::LineOffered, id(6), 1, body)
}

fn link_asked_for(event_type: EventType, version: u64, request: u32) -> Event {
    let body =
        EventBody::UserRequest { user: buyer(), request: RequestId(id(request)), expires_ms: TIME_MS + 3_600_000 };
    event(event_type, buyer().0, version, body)
}

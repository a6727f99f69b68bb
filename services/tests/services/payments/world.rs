//! One node with its routes, a buyer and a seller, and as many payment services as a test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use holdfast_api::{App, PasswordCost, Settings, SigningKey};
use holdfast_ledger::command::{Actor, Command, Service, Submitted};
use holdfast_ledger::entities::Policy;
use holdfast_ledger::outcome::Reply;
use holdfast_raft::clock::SystemClock;
use holdfast_raft::disk::Folder;
use holdfast_raft::node::{Node, Options, Start};
use holdfast_raft::transport::grpc::Grpc;
use holdfast_services::client::{Api, InProcess, Signed};
use holdfast_services::key::ServiceKey;
use holdfast_services::payments::provider::PaymentProvider;
use holdfast_services::payments::{self, Saga};
use holdfast_services::system_clock;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const SEED: [u8; 32] = [7; 32];
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node of its own with its routes. It ends with the test.
pub struct World {
    pub node: Node,
    pub router: Router,
    pub folder: tempfile::TempDir,
}

impl World {
    pub async fn new(policy: Policy) -> World {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            disk: Arc::new(Folder::open(folder.path().join("data")).unwrap()),
            transport: Arc::new(Grpc::default()),
            clock: Arc::new(SystemClock::default()),
            peer_listen: "127.0.0.1:0".into(),
            peer_addr: None,
            http_addr: "127.0.0.1:0".into(),
            settings: Default::default(),
            storage: Default::default(),
            start: Start::Bootstrap,
        };
        let node = Node::start(options).await.expect("a new folder starts");
        let signing_key = SigningKey::from_seed(&SEED);
        // The tests ask about payments again and again rather than wait inside one request.
        let settings = Settings {
            password_cost: PasswordCost::LOWEST,
            payment_wait: Duration::from_millis(50),
            ..Settings::default()
        };
        let register = signing_key.register();
        let router = holdfast_api::router(App::new(node.clone(), signing_key, settings));
        let world = World { node, router, folder };
        for command in [Command::SetPolicy(policy), register, key(Service::Payments).register()] {
            world.as_system(command).await;
        }
        world
    }

    pub async fn as_system(&self, command: Command) -> Reply {
        let submitted = Submitted { actor: Actor::System, idempotency: None, command };
        let answer = self.node.propose(submitted).await.expect("a lone node leads");
        answer.outcome.settled.expect("the system may")
    }

    pub fn api(&self) -> InProcess<Router, axum::body::Body> {
        InProcess::new(self.router.clone())
    }

    /// The routes, as `service` calls them.
    pub fn signed(&self, service: Service) -> Signed {
        Signed::new(Arc::new(self.api()), key(service), "holdfast", system_clock())
    }

    /// A payments service that sweeps all the time, until the test ends.
    pub fn start(&self, provider: Arc<dyn PaymentProvider>) -> Saga {
        let saga = self.saga(provider);
        let running = saga.clone();
        tokio::spawn(async move { running.run(std::future::pending()).await });
        saga
    }

    /// A payments service that nobody has started.
    pub fn saga(&self, provider: Arc<dyn PaymentProvider>) -> Saga {
        let settings = payments::Settings {
            sweep_interval: Some(Duration::from_millis(50)),
            rest: Duration::from_millis(50),
            ..payments::Settings::default()
        };
        Saga::new(self.signed(Service::Payments), provider, settings)
    }

    /// Somebody new.
    pub async fn person(&self) -> Person {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let email = format!("person{}@test.com", COUNT.fetch_add(1, Ordering::Relaxed));
        let mut person = Person { api: self.api(), cookie: String::new() };
        let body = json!({ "email": email, "password": "passw0rd" });
        person.send("POST", "/api/users/signup", Some(body)).await.is(201);
        person
    }

    /// An order of one new ticket at 20 dollars, and its buyer.
    pub async fn order(&self) -> (Person, String) {
        let (mut seller, mut buyer) = (self.person().await, self.person().await);
        let ticket = json!({ "title": "concert", "price": "20.00" });
        let ticket = seller.send("POST", "/api/tickets", Some(ticket)).await.is(201).id();
        let order = buyer.send("POST", "/api/orders", Some(json!({ "ticketId": ticket }))).await.is(201).id();
        (buyer, order)
    }

    /// An order, and the payment that its buyer has begun with a token.
    pub async fn paid_with(&self, token: &str) -> (Person, String, String) {
        let (mut buyer, order) = self.order().await;
        let payment = buyer.pay(&order, token).await;
        (buyer, order, payment)
    }
}

/// The key of a service. Only that of payments is registered.
pub fn key(service: Service) -> ServiceKey {
    ServiceKey::from_seed(service, &SEED)
}

/// Locks of two seconds, and `grace_ms` for the bank.
pub fn hasty(grace_ms: u64) -> Policy {
    Policy { lock_ttl_ms: 2_000, lock_extension_ms: 1_000, payment_grace_ms: grace_ms, ..Policy::default() }
}

/// Somebody signed in.
pub struct Person {
    api: InProcess<Router, axum::body::Body>,
    cookie: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
}

impl Answer {
    #[track_caller]
    pub fn is(self, status: u16) -> Answer {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id: {self:?}")).to_string()
    }
}

impl Person {
    pub async fn send(&mut self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        if !self.cookie.is_empty() {
            request = request.header("cookie", &self.cookie);
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let response = self.api.call(request.body(Bytes::from(body)).unwrap()).await.unwrap();
        if let Some(set) = response.headers().get("set-cookie") {
            self.cookie = set.to_str().unwrap().split(';').next().unwrap().to_string();
        }
        let body = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
        Answer { status: response.status(), body }
    }

    pub async fn get(&mut self, path: &str) -> Value {
        self.send("GET", path, None).await.is(200).body
    }

    /// Begins a payment, and answers with its id, whatever has become of it.
    pub async fn pay(&mut self, order: &str, token: &str) -> String {
        let answer = self.send("POST", "/api/payments", Some(json!({ "token": token, "orderId": order }))).await;
        let id = answer.body["id"].as_str().or(answer.body["paymentId"].as_str());
        id.unwrap_or_else(|| panic!("no payment: {answer:?}")).to_string()
    }

    /// Waits until the payment stands at `status`.
    pub async fn settled(&mut self, payment: &str, status: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let body = self.get(&format!("/api/payments/{payment}")).await;
            if body["status"] == status {
                return body;
            }
            assert!(Instant::now() < deadline, "it never came to {status}: {body}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn order_status(&mut self, order: &str) -> String {
        self.get(&format!("/api/orders/{order}")).await["status"].as_str().unwrap().to_string()
    }
}

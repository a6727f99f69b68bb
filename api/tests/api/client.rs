//! A client: sends JSON, keeps its cookie, reads the answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_ledger::command::Command;
use holdfast_ledger::entities::Roles;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::World;

/// Some id that nothing has.
pub const NO_SUCH_ID: &str = "fffe00000000000000000000";
pub const PASSWORD: &str = "passw0rd";

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// `null` where there is no JSON.
    pub body: Value,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id: {self:?}")).to_string()
    }

    /// The first complaint's code.
    pub fn code(&self) -> &str {
        self.body["errors"][0]["code"].as_str().unwrap_or("")
    }

    /// Asserts the status, and shows the whole answer where it is another.
    #[track_caller]
    pub fn is(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts a failure: status, first message and field.
    #[track_caller]
    pub fn fails(self, status: u16, message: &str, field: Option<&str>) -> Answer {
        let error = &self.body["errors"][0];
        assert_eq!((self.status, error["message"].as_str()), (status, Some(message)), "{self:?}");
        assert_eq!(error["field"].as_str(), field, "{self:?}");
        self
    }
}

#[derive(Clone)]
pub struct Client {
    pub url: String,
    http: reqwest::Client,
    /// What is sent as `Cookie`.
    pub cookie: Option<String>,
    extra: Vec<(&'static str, String)>,
}

impl Client {
    pub fn anonymous(url: &str) -> Client {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        Client { url: url.into(), http, cookie: None, extra: Vec::new() }
    }

    /// Somebody new, signed in.
    pub async fn signed_up(url: &str) -> Client {
        let mut client = Client::anonymous(url);
        client.post("/api/users/signup", json!({"email": new_email(), "password": PASSWORD})).await.is(201);
        client
    }

    /// Somebody new at the shared server.
    pub async fn new() -> Client {
        Client::signed_up(&World::shared().url).await
    }

    /// Somebody new at the shared server, with roles.
    pub async fn with_roles(roles: Roles) -> Client {
        let (mut client, email) = (Client::anonymous(&World::shared().url), new_email());
        let credentials = json!({"email": email, "password": PASSWORD});
        let user = client.post("/api/users/signup", credentials.clone()).await.is(201).id().parse().unwrap();
        World::shared().as_system(Command::SetRoles { user, roles }).await;
        client.post("/api/users/signin", credentials).await.is(200);
        client
    }

    /// An operator who may look and act.
    pub async fn operator() -> Client {
        Client::with_roles(Roles { seller: true, operator_read: true, operator_admin: true }).await
    }

    /// The signed-in user's id.
    pub async fn user_id(&mut self) -> String {
        self.get("/api/users/currentuser").await.body["currentUser"]["id"].as_str().expect("signed in").to_string()
    }

    /// The same client, sending one more header.
    pub fn with(&self, name: &'static str, value: impl Into<String>) -> Client {
        let mut client = self.clone();
        client.extra.push((name, value.into()));
        client
    }

    /// The same person at another server.
    pub fn at(&self, url: &str) -> Client {
        Client { url: url.into(), ..self.clone() }
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, None).await
    }

    pub async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body)).await
    }

    pub async fn put(&mut self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, Some(body)).await
    }

    pub async fn delete(&mut self, path: &str) -> Answer {
        self.send("DELETE", path, None).await
    }

    pub async fn send(&mut self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| ("application/json", body.to_string().into_bytes()));
        self.send_raw(method, path, body).await
    }

    pub async fn send_raw(&mut self, method: &str, path: &str, body: Option<(&str, Vec<u8>)>) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        for (name, value) in &self.extra {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request = request.header(HeaderName::from_static(name), value);
        }
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        let response = request.send().await.expect("the server answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("the answer is whole");
        if let Some(set) = headers.get("set-cookie") {
            self.cookie = Some(set.to_str().unwrap().split(';').next().unwrap().to_string());
        }
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status, headers, body, text }
    }

    /// The status of an answer that is not read: it may be a stream without an end. The cookie stays as it is.
    pub async fn status_of(&self, method: &str, path: &str, body: Option<Value>) -> u16 {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        for (name, value) in &self.extra {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.expect("the server answers").status().as_u16()
    }

    /// A new ticket of this seller; its id.
    pub async fn ticket(&mut self, price: &str) -> String {
        self.post("/api/tickets", json!({"title": "concert", "price": price})).await.is(201).id()
    }

    /// A new order of one ticket; its id.
    pub async fn order(&mut self, ticket: &str) -> String {
        self.post("/api/orders", json!({"ticketId": ticket})).await.is(201).id()
    }

    pub async fn pay(&mut self, order: &str, token: &str) -> Answer {
        self.post("/api/payments", json!({"token": token, "orderId": order})).await
    }

    /// Opens a stream of server-sent events, from after `last_event_id` on where there is one.
    pub async fn follow(&self, path: &str, last_event_id: Option<&str>) -> Events {
        let mut request = self.http.get(format!("{}{path}", self.url)).header("accept", "text/event-stream");
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.expect("the server answers");
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Events { response, text: String::new() }
    }

    /// Asks until the answer to `GET path` is as wanted.
    pub async fn until(&mut self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(tokio::time::Instant::now() < deadline, "it never came to that: {answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// One server-sent event.
#[derive(Debug)]
pub struct Event {
    pub id: Option<String>,
    pub name: String,
    pub data: Value,
}

/// A stream of server-sent events.
pub struct Events {
    response: reqwest::Response,
    text: String,
}

impl Events {
    /// The next event; `None` at the stream's end. Comments are passed over.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_string(), rest.to_string());
                self.text = rest;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_string);
                if let Some(data) = field("data: ") {
                    let data = serde_json::from_str(&data).expect("data is JSON");
                    return Some(Event { id: field("id: "), name: field("event: ").expect("a name"), data });
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await;
            let chunk = chunk.expect("something comes in time").expect("the stream is whole")?;
            self.text.push_str(std::str::from_utf8(&chunk).expect("events are text"));
        }
    }

    /// The next event that is as wanted.
    pub async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on until then");
            if wanted(&event) {
                return event;
            }
        }
    }
}

/// An address that no other test uses.
pub fn new_email() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("user{}@test.com", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A seller's ticket at 20 dollars, and a buyer.
pub async fn a_ticket_and_a_buyer(url: &str) -> (String, Client) {
    let ticket = Client::signed_up(url).await.ticket("20.00").await;
    (ticket, Client::signed_up(url).await)
}

/// Writes bytes to a connection of its own and reads until the server closes it or falls silent.
pub async fn send_bytes(url: &str, bytes: &[u8]) -> String {
    let addr = url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    while let Ok(Ok(read @ 1..)) = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..read]);
        if answer.windows(4).any(|window| window == b"\r\n\r\n") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

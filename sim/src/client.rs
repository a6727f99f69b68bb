//! A client: sends a request to one node after the other until it has an answer, under one idempotency key.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use holdfast_events::wire::time::parse_rfc3339;
use madsim::net::Endpoint;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::clocks::elapsed;
use crate::history::{Asked, History, Told};
use crate::hop::{HttpAnswer, HttpCall};
use crate::machine::{Present, http_addr};
use crate::provider::{BAD_TOKEN, GOOD_TOKEN};
use crate::streams::stream;
use crate::trace::Trace;

/// How long one attempt waits. A payment's decision may take as long as the node waits for it.
const ATTEMPT_WAIT: Duration = Duration::from_millis(1_500);
const PAYMENT_WAIT: Duration = Duration::from_millis(4_000);
/// Of 100 calls that may carry an idempotency key, so many do without: then a lost answer is the end of it.
const KEYLESS_PERCENT: u32 = 20;
/// Who sends no key asks once, and waits until whatever he asked for has surely been given up.
const KEYLESS_WAIT: Duration = Duration::from_secs(8);
/// How long who only looks waits.
const LOOK_WAIT: Duration = Duration::from_millis(700);
/// How long a client insists before it goes on without an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// More tickets than one call creates.
const SEATS_APART: u64 = 10_000;

/// What all clients of a run share.
pub struct Clients {
    pub seed: u64,
    pub present: Present,
    pub trace: Arc<Trace>,
    pub history: History,
    /// Of 1,000 requests and answers, so many are lost.
    pub loss_permille: AtomicU32,
}

/// One client.
pub struct Client {
    number: u32,
    shared: Arc<Clients>,
    endpoint: Endpoint,
    rng: SmallRng,
    /// The node that is asked next.
    node: u32,
    token: Option<String>,
    calls: u64,
}

/// Where a request goes and what it carries.
struct Wire {
    method: &'static str,
    path: String,
    body: Value,
    keyed: bool,
}

fn price(minor: u64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

fn ticket(minor: u64, seat: u64) -> Value {
    json!({"title": "a seat", "price": price(minor), "seat": seat.to_string()})
}

impl Asked {
    fn wire(&self) -> Wire {
        let wire = |method, path: String, body, keyed| Wire { method, path, body, keyed };
        match self {
            Asked::SignUp { email } => {
                wire("POST", "/api/users/signup".into(), json!({"email": email, "password": "password"}), false)
            }
            Asked::SignIn { email } => {
                wire("POST", "/api/users/signin".into(), json!({"email": email, "password": "password"}), false)
            }
            Asked::CreateTicket { price_minor, seat } => {
                wire("POST", "/api/tickets".into(), ticket(*price_minor, *seat), true)
            }
            Asked::ListTickets => wire("GET", "/api/tickets?limit=100".into(), Value::Null, false),
            Asked::ReadTicket { ticket } => wire("GET", format!("/api/tickets/{ticket}"), Value::Null, false),
            Asked::ChangePrice { ticket, price_minor } => {
                let body = json!({"title": "a seat", "price": price(*price_minor)});
                wire("PUT", format!("/api/tickets/{ticket}"), body, true)
            }
            Asked::PlaceOrder { ticket, price_minor } => {
                let body = json!({"ticketId": ticket, "price": price(*price_minor)});
                wire("POST", "/api/orders".into(), body, true)
            }
            Asked::PlaceTogether { lines } => {
                let line = |(ticket, minor): &(String, u64)| json!({"ticketId": ticket, "price": price(*minor)});
                let lines: Vec<Value> = lines.iter().map(line).collect();
                wire("POST", "/api/orders".into(), json!({"tickets": lines}), true)
            }
            Asked::ReadOrder { order } => wire("GET", format!("/api/orders/{order}"), Value::Null, false),
            Asked::ExtendLock { order } => wire("POST", format!("/api/orders/{order}/extend"), Value::Null, true),
            Asked::CancelOrder { order } => wire("DELETE", format!("/api/orders/{order}"), Value::Null, false),
            Asked::Pay { order, declined } => {
                let token = if *declined { BAD_TOKEN } else { GOOD_TOKEN };
                wire("POST", "/api/payments".into(), json!({"orderId": order, "token": token}), true)
            }
            Asked::CreateTickets { prices_minor, first_seat } => {
                let tickets = prices_minor.iter().zip(*first_seat..).map(|(minor, seat)| ticket(*minor, seat));
                wire("POST", "/api/tickets/bulk".into(), tickets.collect(), true)
            }
            Asked::JoinLine { ticket } => wire("POST", format!("/api/tickets/{ticket}/line"), Value::Null, true),
            Asked::ReadPlace { ticket } => wire("GET", format!("/api/tickets/{ticket}/line"), Value::Null, false),
            Asked::LeaveLine { ticket } => wire("DELETE", format!("/api/tickets/{ticket}/line"), Value::Null, true),
            Asked::ListLocks => wire("GET", "/api/operator/locks?limit=100".into(), Value::Null, false),
            Asked::ListSold => wire("GET", "/api/operator/orders?status=complete&limit=20".into(), Value::Null, false),
            Asked::ReleaseLock { order } => {
                wire("POST", format!("/api/operator/orders/{order}/release"), Value::Null, true)
            }
            Asked::Refund { order } => wire("POST", format!("/api/operator/orders/{order}/refund"), Value::Null, true),
            Asked::Ban { user } => wire("POST", format!("/api/operator/users/{user}/ban"), Value::Null, true),
            Asked::Unban { user } => wire("POST", format!("/api/operator/users/{user}/unban"), Value::Null, true),
        }
    }

    fn wait(&self) -> Duration {
        if matches!(self, Asked::Pay { .. }) { PAYMENT_WAIT } else { ATTEMPT_WAIT }
    }
}

/// The amount in minor units of a JSON number such as 19.99, by its digits.
pub fn minor(value: &Value) -> Option<u64> {
    let text = value.to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let decimals = format!("{decimals:0<2}");
    (decimals.len() == 2).then(|| format!("{whole}{decimals}").parse().ok()).flatten()
}

fn told(answer: &HttpAnswer, body: &Value) -> Told {
    let text = |value: &Value| value.as_str().map(str::to_string);
    Told {
        status: answer.status,
        log_index: answer.log_index,
        replayed: answer.replayed,
        code: text(&body["errors"][0]["code"]),
        id: text(&body["id"]),
        ids: body.as_array().into_iter().flatten().map(|row| text(&row["id"])).collect(),
        price_minor: minor(&body["total"]).or_else(|| minor(&body["price"])),
        created_ms: body["createdAt"].as_str().and_then(parse_rfc3339),
        expires_ms: body["expiresAt"].as_str().and_then(parse_rfc3339),
        offered_until_ms: body["offeredUntil"].as_str().and_then(parse_rfc3339),
    }
}

impl Client {
    /// Must be made on the simulated machine that it runs on.
    pub async fn new(number: u32, shared: Arc<Clients>) -> Client {
        let endpoint = Endpoint::bind("0.0.0.0:0").await.expect("a client's own machine has a free port");
        let rng = stream(shared.seed, &format!("client {number}"));
        let node = shared.present.next(number % shared.present.count() as u32);
        Client { number, shared, endpoint, rng, node, token: None, calls: 0 }
    }

    pub fn rng(&mut self) -> &mut SmallRng {
        &mut self.rng
    }

    /// A seat that no other call of this client's is about, nor the [`SEATS_APART`] behind it.
    pub fn next_seat(&self) -> u64 {
        (self.calls + 1) * SEATS_APART
    }

    /// Asks until there is an answer; `None` when the client gives up. With the answer's body.
    pub async fn call(&mut self, asked: Asked) -> Option<(Told, Value)> {
        let wire = asked.wire();
        let wait = asked.wait();
        let asked_for = asked.clone();
        self.calls += 1;
        let keyless = wire.keyed && self.rng.random_range(0..100) < KEYLESS_PERCENT;
        let wait = if keyless { KEYLESS_WAIT } else { wait };
        let call = HttpCall {
            method: wire.method.into(),
            path: wire.path,
            token: self.token.clone(),
            idempotency_key: (wire.keyed && !keyless).then(|| format!("c{}-{}", self.number, self.calls)),
            body: if wire.body.is_null() { String::new() } else { wire.body.to_string() },
        };
        let begun = elapsed();
        self.shared.trace.note(format_args!("c{} asks {asked:?}", self.number));
        let number = self.shared.history.begin(self.number, asked, begun.as_nanos() as u64);
        while elapsed() - begun < PATIENCE {
            self.shared.history.attempt(number);
            if let Some(answer) = self.attempt(&call, wait).await
                && call_ends(&asked_for, answer.status)
            {
                let body = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
                let told = told(&answer, &body);
                self.shared.trace.note(format_args!("c{} is told {told:?}", self.number));
                self.shared.history.end(number, told.clone(), elapsed().as_nanos() as u64);
                self.token = answer.token.or(self.token.take());
                return Some((told, body));
            }
            if keyless {
                break;
            }
            self.node = self.shared.present.next(self.node);
            let pause_ms = self.rng.random_range(10..200);
            sleep(Duration::from_millis(pause_ms)).await;
        }
        self.shared.trace.note(format_args!("c{} gives up", self.number));
        None
    }

    /// Asks one node, once: whoever only looks does not insist.
    pub async fn look(&mut self, asked: Asked, node: u32) -> Option<Told> {
        let wire = asked.wire();
        let path = wire.path;
        let call =
            HttpCall { method: wire.method.into(), path, token: None, idempotency_key: None, body: String::new() };
        self.node = node;
        self.shared.trace.note(format_args!("c{} asks n{node} {asked:?}", self.number));
        let number = self.shared.history.begin(self.number, asked.clone(), elapsed().as_nanos() as u64);
        self.shared.history.attempt(number);
        let answer = self.attempt(&call, LOOK_WAIT).await.filter(|answer| call_ends(&asked, answer.status))?;
        let told = told(&answer, &serde_json::from_str(&answer.body).unwrap_or(Value::Null));
        self.shared.trace.note(format_args!("c{} is told {told:?}", self.number));
        self.shared.history.end(number, told.clone(), elapsed().as_nanos() as u64);
        Some(told)
    }

    async fn attempt(&mut self, call: &HttpCall, wait: Duration) -> Option<HttpAnswer> {
        let address: SocketAddr = http_addr(self.node);
        if self.is_lost() {
            sleep(wait).await;
            return None;
        }
        let answer = self.endpoint.call_timeout(address, call.clone(), wait).await.ok();
        if self.is_lost() { None } else { answer }
    }

    fn is_lost(&mut self) -> bool {
        let draw = self.rng.random_range(0..1_000);
        draw < self.shared.loss_permille.load(Ordering::Relaxed)
    }
}

/// Whether to stop asking: the ledger has decided. 503 is no decision, nor is a payment's 202, nor a node that knows no better.
fn call_ends(asked: &Asked, status: u16) -> bool {
    !matches!(status, 408 | 429 | 503) && (status != 202 || !matches!(asked, Asked::Pay { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_by_their_digits() {
        let read = |text: &str| minor(&serde_json::from_str(text).expect("JSON"));
        assert_eq!(read("19.99"), Some(1_999));
        assert_eq!(read("20"), Some(2_000));
        assert_eq!(read("20.0"), Some(2_000));
        assert_eq!(read("0.05"), Some(5));
        assert_eq!(read("null"), None);
        assert_eq!(price(1_905), "19.05");
    }
}

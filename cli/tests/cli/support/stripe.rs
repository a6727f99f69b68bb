//! A payment provider for fault tests: localstripe as a process, or the built-in bank, and in front of it a proxy of ours.
//!
//! The proxy does what Stripe does and localstripe does not: it answers a repeated idempotency key with the first answer,
//! refuses to capture what was cancelled, and knows the tokens of Stripe's older API. And it does what a bad day does: a test can set a trap at a step of the saga, before
//! the request takes effect or after, and then kill a worker, hold the answer back, or drop it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use holdfast_cli::guard::Guarded;
use holdfast_cli::tools;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::{WAIT, program};

const BODY_BYTES_MAX: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// What a worker asks the provider for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Create,
    Confirm,
    Capture,
    Cancel,
    Refund,
}

/// When a trap closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The request has arrived and has had no effect.
    Arrived,
    /// The request took effect and nobody has been told.
    Done,
}

/// A request in a trap. It goes on when this is dropped, unless `drop_answer` was called.
pub struct Caught {
    go_on: Option<oneshot::Sender<Verdict>>,
}

enum Verdict {
    Answer,
    Drop,
}

impl Caught {
    /// Closes the connection without an answer; a request that had only arrived never takes effect.
    pub fn drop_answer(mut self) {
        if let Some(go_on) = self.go_on.take() {
            let _ = go_on.send(Verdict::Drop);
        }
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        if let Some(go_on) = self.go_on.take() {
            let _ = go_on.send(Verdict::Answer);
        }
    }
}

struct Trap {
    step: Step,
    moment: Moment,
    /// Only a request for this order is caught.
    order: Option<String>,
    caught: oneshot::Sender<Caught>,
}

/// An answer that is repeated to whoever repeats the key.
#[derive(Clone)]
struct Answer {
    status: StatusCode,
    body: Bytes,
}

struct Remembered {
    request: (String, Bytes),
    /// `None`: the first request is still under way.
    answer: Option<Answer>,
}

#[derive(Default)]
struct Book {
    keys: BTreeMap<String, Remembered>,
    cancelled: BTreeSet<String>,
    /// Order by intent: from the key that created it.
    intents: BTreeMap<String, String>,
    /// How often each capture took effect.
    captures: BTreeMap<String, u32>,
    traps: Vec<Trap>,
}

/// One intent as the provider knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub id: String,
    pub order: String,
    pub amount_minor: u64,
    pub status: String,
    /// How often a capture of it took effect.
    pub captures: u32,
    pub refunded: bool,
}

/// The provider. Dropping it ends its process.
pub struct Stripe {
    /// What workers are told as `--stripe-url`.
    pub url: String,
    behind: String,
    http: reqwest::Client,
    book: Arc<Mutex<Book>>,
    _process: Guarded,
}

impl Stripe {
    pub async fn start(dir: &Path) -> Stripe {
        let python = tools::find("python/bin/python", &program()).expect("the test tools");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/stripe.py");
        let log = dir.join("stripe.log");
        let mut process = Guarded::start(&program(), &python, [script], &[], &log).expect("localstripe starts");
        let ready = process.wait_for_line("ready:", WAIT).await.expect("localstripe is ready");
        let behind = format!("http://127.0.0.1:{}", ready.trim_start_matches("ready:").trim());
        Stripe::before(behind, process).await
    }

    /// The built-in bank as the provider: it knows buyers who are asked by their banks, and slow ones.
    pub async fn bank(dir: &Path) -> Stripe {
        let args = ["payments", "sandbox", "--listen", "127.0.0.1:0"];
        let mut process = Guarded::start(&program(), &program(), args, &[], &dir.join("bank.log")).expect("it starts");
        let ready = process.wait_for_line("ready: ", WAIT).await.expect("the bank is ready");
        Stripe::before(ready.trim_start_matches("ready:").trim().to_string(), process).await
    }

    /// The proxy before the provider at `behind`.
    async fn before(behind: String, process: Guarded) -> Stripe {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        // What is behind closes connections that rest without a word.
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .tls_certs_only([])
            .timeout(PATIENCE)
            .build()
            .expect("a client");
        let book = Arc::<Mutex<Book>>::default();
        let proxy = Proxy { behind: behind.clone(), http: http.clone(), book: book.clone() };
        tokio::spawn(proxy.serve(listener));
        Stripe { url, behind, http, book, _process: process }
    }

    /// Sets a trap for the next request of that step; resolves when one is caught.
    pub fn trap(&self, step: Step, moment: Moment) -> oneshot::Receiver<Caught> {
        self.set(step, moment, None)
    }

    /// The same for the next request that is about this order.
    pub fn trap_for(&self, order: &str, step: Step, moment: Moment) -> oneshot::Receiver<Caught> {
        self.set(step, moment, Some(order.to_string()))
    }

    fn set(&self, step: Step, moment: Moment, order: Option<String>) -> oneshot::Receiver<Caught> {
        let (caught, receiver) = oneshot::channel();
        self.lock().traps.push(Trap { step, moment, order, caught });
        receiver
    }

    /// Every intent that was ever created.
    pub async fn intents(&self) -> Vec<Intent> {
        let (orders, captures) = {
            let book = self.lock();
            (book.intents.clone(), book.captures.clone())
        };
        let mut intents = Vec::new();
        for (id, order) in orders {
            let url = format!("{}/v1/payment_intents/{id}?expand[]=latest_charge", self.behind);
            let answer = self.http.get(url).bearer_auth("sk_test_holdfast").send().await.expect("localstripe answers");
            let intent: Value = answer.json().await.expect("an intent");
            intents.push(Intent {
                order,
                amount_minor: intent["amount"].as_u64().expect("an amount"),
                status: intent["status"].as_str().expect("a status").to_string(),
                captures: captures.get(&id).copied().unwrap_or(0),
                refunded: intent["latest_charge"]["refunded"].as_bool().unwrap_or(false),
                id,
            });
        }
        intents
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("nothing panics under the lock")
    }
}

#[derive(Clone)]
struct Proxy {
    behind: String,
    http: reqwest::Client,
    book: Arc<Mutex<Book>>,
}

/// The connection is closed without an answer.
#[derive(Debug)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

/// The order that a key is for: workers begin their keys with it.
fn order_of(key: &str) -> &str {
    key.split(':').next().unwrap_or_default()
}

/// What a request is about: its step and its intent's id, empty for a creation.
fn parse(method: &Method, path: &str) -> Option<(Step, String)> {
    if *method != Method::POST {
        return None;
    }
    let words: Vec<&str> = path.trim_matches('/').split('/').collect();
    match words.as_slice() {
        ["v1", "payment_intents"] => Some((Step::Create, String::new())),
        ["v1", "payment_intents", id, "confirm"] => Some((Step::Confirm, id.to_string())),
        ["v1", "payment_intents", id, "capture"] => Some((Step::Capture, id.to_string())),
        ["v1", "payment_intents", id, "cancel"] => Some((Step::Cancel, id.to_string())),
        ["v1", "refunds"] => Some((Step::Refund, String::new())),
        _ => None,
    }
}

fn refusal(status: StatusCode, kind: &str, code: &str, message: &str) -> Answer {
    let body = json!({ "error": { "type": kind, "code": code, "message": message } });
    Answer { status, body: Bytes::from(body.to_string()) }
}

impl Proxy {
    async fn serve(self, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let proxy = self.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let proxy = proxy.clone();
                    // A task of its own: a client that goes away does not undo what its request does.
                    async move { tokio::spawn(proxy.answer(request)).await.expect("the proxy does not panic") }
                });
                // A worker that was killed leaves its connection in the middle of anything.
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    async fn answer(self, request: Request<hyper::body::Incoming>) -> Result<Response<Full<Bytes>>, Dropped> {
        let (parts, body) = request.into_parts();
        let body = http_body_util::Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|_| Dropped)?.to_bytes();
        let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let step = parse(&parts.method, parts.uri.path());
        let key = parts.headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_string);
        let order = key.as_deref().map(order_of).unwrap_or_default().to_string();
        if let Some(step) = &step {
            self.spring(step.0, Moment::Arrived, &order).await?;
        }
        if let Some(key) = &key
            && let Some(answer) = self.remembered(key, &path, &body)
        {
            return Ok(response(answer));
        }
        let answer = self.ask(&parts, &path, body, step.as_ref()).await;
        self.note(key.as_deref(), step.as_ref(), &answer);
        if let Some(step) = &step {
            self.spring(step.0, Moment::Done, &order).await?;
        }
        Ok(response(answer))
    }

    /// The answer that this key was given, or the reason why it gets none; `None`: the key is new, and now taken.
    fn remembered(&self, key: &str, path: &str, body: &Bytes) -> Option<Answer> {
        let mut book = self.lock();
        match book.keys.get(key) {
            Some(known) if known.request != (path.to_string(), body.clone()) => Some(refusal(
                StatusCode::BAD_REQUEST,
                "idempotency_error",
                "idempotency_error",
                "this key came with another request",
            )),
            Some(Remembered { answer: Some(answer), .. }) => Some(answer.clone()),
            Some(Remembered { answer: None, .. }) => {
                Some(refusal(StatusCode::CONFLICT, "idempotency_error", "idempotency_key_in_use", "still under way"))
            }
            None => {
                let request = (path.to_string(), body.clone());
                book.keys.insert(key.to_string(), Remembered { request, answer: None });
                None
            }
        }
    }

    async fn ask(
        &self,
        parts: &hyper::http::request::Parts,
        path: &str,
        body: Bytes,
        step: Option<&(Step, String)>,
    ) -> Answer {
        if let Some((Step::Capture, intent)) = step
            && self.lock().cancelled.contains(intent)
        {
            let code = "payment_intent_unexpected_state";
            return refusal(StatusCode::BAD_REQUEST, "invalid_request_error", code, "it was cancelled");
        }
        let body = translated(&body);
        let mut request = self.http.request(parts.method.clone(), format!("{}{path}", self.behind)).body(body);
        for name in ["authorization", "content-type", "idempotency-key"] {
            if let Some(value) = parts.headers.get(name) {
                request = request.header(name, value);
            }
        }
        let unreachable =
            || refusal(StatusCode::BAD_GATEWAY, "api_error", "unreachable", "localstripe does not answer");
        let Ok(answer) = request.send().await else { return unreachable() };
        let status = answer.status();
        answer.bytes().await.map_or_else(|_| unreachable(), |body| Answer { status, body })
    }

    /// Writes down what an answer means, and the answer under its key.
    fn note(&self, key: Option<&str>, step: Option<&(Step, String)>, answer: &Answer) {
        let mut book = self.lock();
        if answer.status.is_success() {
            match step {
                Some((Step::Create, _)) => {
                    let intent: Value = serde_json::from_slice(&answer.body).expect("localstripe speaks JSON");
                    let order = key.map(order_of).unwrap_or_default().to_string();
                    book.intents.insert(intent["id"].as_str().expect("an id").to_string(), order);
                }
                Some((Step::Capture, intent)) => *book.captures.entry(intent.clone()).or_default() += 1,
                Some((Step::Cancel, intent)) => drop(book.cancelled.insert(intent.clone())),
                _ => {}
            }
        }
        if let Some(key) = key {
            if answer.status == StatusCode::BAD_GATEWAY {
                book.keys.remove(key);
            } else if let Some(known) = book.keys.get_mut(key) {
                known.answer = Some(answer.clone());
            }
        }
    }

    /// Lets a trap for this moment close, and waits for what the test decides.
    async fn spring(&self, step: Step, moment: Moment, order: &str) -> Result<(), Dropped> {
        let trap = {
            let mut book = self.lock();
            // A trap whose test has given up is none.
            book.traps.retain(|trap| !trap.caught.is_closed());
            let fits = |trap: &Trap| {
                (trap.step, trap.moment) == (step, moment) && trap.order.as_ref().is_none_or(|wanted| wanted == order)
            };
            let found = book.traps.iter().position(fits);
            found.map(|at| book.traps.remove(at))
        };
        let Some(trap) = trap else { return Ok(()) };
        let (go_on, verdict) = oneshot::channel();
        if trap.caught.send(Caught { go_on: Some(go_on) }).is_err() {
            return Ok(());
        }
        match verdict.await {
            Ok(Verdict::Drop) => Err(Dropped),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("nothing panics under the lock")
    }
}

/// A form in which tokens of the older API are payment methods, which is all that localstripe knows.
fn translated(form: &Bytes) -> String {
    let token =
        |name: &str| format!("payment_method_data%5Btype%5D=card&payment_method_data%5Bcard%5D%5Btoken%5D={name}");
    String::from_utf8_lossy(form)
        .replace(&token("tok_visa"), "payment_method=pm_card_visa")
        .replace(&token("tok_chargeDeclined"), "payment_method=pm_card_chargeCustomerFail")
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

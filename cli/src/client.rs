//! A client of the HTTP API that knows several nodes of one cluster.
//!
//! A request goes to one node; when that node cannot be reached, or says 503 or 429, the same request goes to the next one,
//! with the same idempotency key, until there is an answer or patience ends. That is all a client needs to survive a
//! fail-over: the key makes the ledger answer a repeated request with its first decision. A node that let a request run into
//! its time-out is passed over for a while, so that a halted node costs one time-out and not one a request.
//!
//! What this deliberately does not do: repeat what has no key and is not repeatable by nature. Callers mark such requests.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::failure::Failure;

/// How long one node may take for one answer. Payments wait up to 10 s.
const TRY_TIMEOUT: Duration = Duration::from_secs(15);
/// Waits between tries grow from here …
const BACKOFF_MIN: Duration = Duration::from_millis(10);
/// … up to this.
const BACKOFF_MAX: Duration = Duration::from_millis(250);
/// A node that gave no answer in time is asked after the others for this long: what hangs once hangs for the next one too.
const REST: Duration = Duration::from_secs(20);
/// Longest `Retry-After` that is honoured.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(5);

/// One cluster, as clients reach it. Clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    urls: Arc<[String]>,
    /// Until when each node is passed over, because it did not answer in time.
    resting: Arc<Mutex<Vec<Option<Instant>>>>,
    patience: Duration,
}

/// A signed-in user. The session is renewed by whatever answer carries a new cookie.
pub struct Account {
    pub id: String,
    pub email: String,
    cookie: Mutex<String>,
}

/// One request, before it is sent.
pub struct Ask<'a> {
    method: Method,
    path: String,
    body: Option<Value>,
    key: Option<String>,
    account: Option<&'a Account>,
    first_node: usize,
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
    /// Where the next page stands.
    pub next_cursor: Option<String>,
    /// How often the request was sent before this answer came.
    pub resent: u32,
    cookie: Option<String>,
}

/// No node answered in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAnswer {
    pub request: String,
    pub last: String,
}

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.request, self.last)
    }
}

impl From<NoAnswer> for Failure {
    fn from(error: NoAnswer) -> Failure {
        Failure::unreachable(error)
    }
}

impl Reply {
    /// The stable code of the first error, or nothing.
    pub fn code(&self) -> &str {
        self.body["errors"][0]["code"].as_str().unwrap_or_default()
    }

    /// What a person should read: the first error's message with its code, or the status.
    pub fn complaint(&self) -> String {
        let error = &self.body["errors"][0];
        match (error["message"].as_str(), error["field"].as_str()) {
            (Some(message), Some(field)) => format!("{message} ({}, {field})", self.code()),
            (Some(message), None) => format!("{message} ({})", self.code()),
            _ => format!("status {}", self.status),
        }
    }

    /// The body, when the status is the wanted one.
    pub fn expect(self, status: u16, what: &str) -> Result<Value, Failure> {
        if self.status == status {
            Ok(self.body)
        } else {
            Err(Failure::failed(format!("{what}: {}", self.complaint())))
        }
    }
}

impl<'a> Ask<'a> {
    pub fn new(method: Method, path: impl Into<String>) -> Ask<'a> {
        Ask { method, path: path.into(), body: None, key: None, account: None, first_node: 0 }
    }

    pub fn get(path: impl Into<String>) -> Ask<'a> {
        Ask::new(Method::GET, path)
    }

    pub fn post(path: impl Into<String>, body: Value) -> Ask<'a> {
        Ask { body: Some(body), ..Ask::new(Method::POST, path) }
    }

    pub fn put(path: impl Into<String>, body: Value) -> Ask<'a> {
        Ask { body: Some(body), ..Ask::new(Method::PUT, path) }
    }

    /// The idempotency key; every resend carries it.
    pub fn key(self, key: impl Into<String>) -> Ask<'a> {
        Ask { key: Some(key.into()), ..self }
    }

    pub fn by(self, account: &'a Account) -> Ask<'a> {
        Ask { account: Some(account), ..self }
    }

    /// The node that is asked first; counts modulo the number of nodes.
    pub fn at(self, node: usize) -> Ask<'a> {
        Ask { first_node: node, ..self }
    }
}

impl Client {
    /// A client of the nodes at `urls` that gives up on a request after `patience`.
    pub fn new(urls: &[String], patience: Duration) -> Result<Client, Failure> {
        if urls.is_empty() {
            return Err(Failure::usage("--url: no node is named"));
        }
        for url in urls {
            let parsed = reqwest::Url::parse(url).map_err(|error| Failure::usage(format!("--url {url}: {error}")))?;
            if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
                return Err(Failure::usage(format!("--url {url}: not an http:// or https:// URL")));
            }
        }
        let mut builder = reqwest::Client::builder()
            .timeout(TRY_TIMEOUT)
            .connect_timeout(Duration::from_secs(2))
            .pool_max_idle_per_host(256)
            .no_proxy();
        if urls.iter().all(|url| url.starts_with("http://")) {
            // A machine without a certificate store can still talk to its own cluster.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| Failure::cannot_start(format!("HTTP client: {error}")))?;
        let resting = Arc::new(Mutex::new(vec![None; urls.len()]));
        let urls = urls.iter().map(|url| url.trim_end_matches('/').to_string()).collect();
        Ok(Client { http, urls, resting, patience })
    }

    pub fn nodes(&self) -> usize {
        self.urls.len()
    }

    /// Sends a request until a node answers it with anything but 429 and 503.
    pub async fn send(&self, ask: Ask<'_>) -> Result<Reply, NoAnswer> {
        let started = Instant::now();
        let mut backoff = BACKOFF_MIN;
        for resent in 0.. {
            let node = self.awake(ask.first_node + resent as usize);
            let tried = self.try_once(&ask, node).await;
            self.note(node, tried.as_ref().is_err_and(reqwest::Error::is_timeout));
            let (wait, last) = match tried {
                Ok((reply, _)) if !matches!(reply.status, 429 | 502 | 503 | 504) => {
                    if let (Some(account), Some(cookie)) = (ask.account, &reply.cookie) {
                        account.renew(cookie);
                    }
                    return Ok(Reply { resent, ..reply });
                }
                Ok((reply, retry_after)) if reply.status == 429 => {
                    (retry_after.unwrap_or(BACKOFF_MAX), reply.complaint())
                }
                Ok((reply, _)) => (backoff, reply.complaint()),
                Err(error) => (backoff, innermost(&error)),
            };
            if started.elapsed() + wait > self.patience {
                let request = format!("{} {}{}", ask.method, self.urls[node], ask.path);
                return Err(NoAnswer { request, last });
            }
            tokio::time::sleep(wait).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        unreachable!("the loop ends by returning")
    }

    /// The first node from `first` on that does not rest; `first` itself where all do.
    fn awake(&self, first: usize) -> usize {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let mut nodes = (0..self.urls.len()).map(|step| (first + step) % self.urls.len());
        nodes.find(|node| resting[*node].is_none_or(|until| until <= now)).unwrap_or(first % self.urls.len())
    }

    fn note(&self, node: usize, was_silent: bool) {
        let until = was_silent.then(|| Instant::now() + REST);
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)[node] = until;
    }

    async fn try_once(&self, ask: &Ask<'_>, node: usize) -> Result<(Reply, Option<Duration>), reqwest::Error> {
        let mut request = self.http.request(ask.method.clone(), format!("{}{}", self.urls[node], ask.path));
        if let Some(body) = &ask.body {
            request = request.json(body);
        }
        if let Some(key) = &ask.key {
            request = request.header("idempotency-key", format!("\"{key}\""));
        }
        if let Some(account) = ask.account {
            request = request.header(header::COOKIE, account.cookie());
        }
        let response = request.send().await?;
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_string);
        let retry_after = text("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let reply = Reply {
            status: response.status().as_u16(),
            next_cursor: text("x-next-cursor"),
            cookie: text("set-cookie").and_then(|cookie| cookie.split(';').next().map(str::to_string)),
            body: Value::Null,
            resent: 0,
        };
        let bytes = response.bytes().await?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok((Reply { body, ..reply }, retry_after.map(|wait| wait.min(RETRY_AFTER_MAX))))
    }

    /// An account for `email`: signed up, or signed in where it is there already.
    pub async fn account(&self, email: &str, password: &str, first_node: usize) -> Result<Account, Failure> {
        let body = json!({ "email": email, "password": password });
        let up = self.send(Ask::post("/api/users/signup", body.clone()).at(first_node)).await?;
        let reply = if up.status == StatusCode::BAD_REQUEST && up.code() == "email_in_use" {
            self.send(Ask::post("/api/users/signin", body).at(first_node)).await?
        } else {
            up
        };
        let (Some(id), Some(cookie), 200 | 201) = (reply.body["id"].as_str(), &reply.cookie, reply.status) else {
            return Err(Failure::failed(format!("sign in as {email}: {}", reply.complaint())));
        };
        Ok(Account { id: id.to_string(), email: email.to_string(), cookie: Mutex::new(cookie.clone()) })
    }

    /// All items of a paged list, at most `items_max`.
    pub async fn list(&self, path: &str, account: Option<&Account>, items_max: usize) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        while items.len() < items_max {
            let joint = if path.contains('?') { '&' } else { '?' };
            let page = match &cursor {
                Some(cursor) => format!("{path}{joint}limit=100&cursor={cursor}"),
                None => format!("{path}{joint}limit=100"),
            };
            let ask = Ask::get(page);
            let reply = self.send(if let Some(account) = account { ask.by(account) } else { ask }).await?;
            cursor = reply.next_cursor.clone();
            match reply.expect(200, path)? {
                Value::Array(page) => items.extend(page),
                _ => return Err(Failure::failed(format!("{path}: not a list"))),
            }
            if cursor.is_none() {
                break;
            }
        }
        Ok(items)
    }
}

impl Account {
    /// The session as a `Cookie` header.
    pub fn cookie(&self) -> String {
        self.cookie.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn renew(&self, cookie: &str) {
        *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = cookie.to_string();
    }
}

/// The cause at the bottom of an error: "connection refused" rather than "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

//! One connection of the benchmark: requests are made from ready parts, so that the client costs as little as it can.

use std::time::Instant;

use bytes::Bytes;
use holdfast_ledger::limits::LOCKS_PER_USER_MAX;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Measured;
use crate::client::Account;
use crate::failure::Failure;

/// Reconnections in a row before a connection gives up.
const RECONNECTS_MAX: u32 = 100;
const RECONNECT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

/// A node, as the benchmark dials it.
#[derive(Debug, Clone)]
pub struct Target {
    /// `host:port`.
    authority: String,
}

impl Target {
    pub fn parse(url: &str) -> Result<Target, Failure> {
        let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        match authority {
            Some(authority) if !authority.is_empty() && !authority.contains('/') => {
                let port = if authority.contains(':') { "" } else { ":80" };
                Ok(Target { authority: format!("{authority}{port}") })
            }
            _ => Err(Failure::usage(format!("--url {url}: the benchmark takes http://HOST:PORT"))),
        }
    }
}

/// A connection with its users and its tickets.
pub struct Connection {
    target: Target,
    host: HeaderValue,
    /// One for each user; each locks his share of the tickets.
    cookies: Vec<HeaderValue>,
    tickets: Vec<String>,
    recycle: bool,
    idempotency_keys: bool,
}

impl Connection {
    pub fn new(
        target: Target,
        users: &[Account],
        tickets: &[String],
        recycle: bool,
        idempotency_keys: bool,
    ) -> Result<Connection, Failure> {
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| Failure::failed("session: not a header"));
        Ok(Connection {
            host: header(&target.authority)?,
            cookies: users.iter().map(|user| header(&user.cookie())).collect::<Result<_, _>>()?,
            target,
            tickets: tickets.to_vec(),
            recycle,
            idempotency_keys,
        })
    }

    /// Locks ticket after ticket until `until`. The flag says that the tickets ran out before.
    pub async fn run(self, until: Instant) -> (Measured, bool) {
        let mut measured = Measured::new();
        let mut sender = None;
        let mut reconnects = 0;
        let mut turn = 0;
        while Instant::now() < until {
            if turn >= self.tickets.len() && !self.recycle {
                return (measured, true);
            }
            let Some(open) = &mut sender else {
                match self.connect().await {
                    Ok(open) => sender = Some(open),
                    Err(()) if reconnects < RECONNECTS_MAX => {
                        reconnects += 1;
                        *measured.errors.entry("no connection".into()).or_default() += 1;
                        tokio::time::sleep(RECONNECT_PAUSE).await;
                    }
                    Err(()) => return (measured, false),
                }
                continue;
            };
            match self.turn(open, turn, &mut measured).await {
                Ok(()) => reconnects = 0,
                Err(_) => {
                    *measured.errors.entry("connection lost".into()).or_default() += 1;
                    sender = None;
                }
            }
            turn += 1;
        }
        (measured, false)
    }

    /// One lock, measured, and its cancellation where tickets are used again.
    async fn turn(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        turn: usize,
        measured: &mut Measured,
    ) -> Result<(), hyper::Error> {
        let position = turn % self.tickets.len();
        let (ticket, cookie) = (&self.tickets[position], &self.cookies[position / LOCKS_PER_USER_MAX as usize]);
        let body = Bytes::from(format!("{{\"ticketId\":\"{ticket}\"}}"));
        let mut request = self.request(Method::POST, Uri::from_static("/api/orders"), cookie, body);
        if self.idempotency_keys {
            let key = HeaderValue::try_from(format!("\"{ticket}-{turn}\"")).expect("hex digits make a header");
            request.headers_mut().insert(HeaderName::from_static("idempotency-key"), key);
        }
        let asked = Instant::now();
        let (status, answer) = exchange(sender, request).await?;
        if status != StatusCode::CREATED {
            *measured.errors.entry(format!("{} {}", status.as_u16(), code(&answer))).or_default() += 1;
            return Ok(());
        }
        measured.latencies_us.saturating_record(asked.elapsed().as_micros() as u64);
        if self.recycle
            && let Some(uri) = order_uri(&answer)
        {
            let (status, answer) = exchange(sender, self.request(Method::DELETE, uri, cookie, Bytes::new())).await?;
            if status != StatusCode::NO_CONTENT {
                *measured.errors.entry(format!("cancel: {} {}", status.as_u16(), code(&answer))).or_default() += 1;
            }
        }
        Ok(())
    }

    fn request(&self, method: Method, uri: Uri, cookie: &HeaderValue, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(COOKIE, cookie.clone());
        request
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ()> {
        let stream = TcpStream::connect(&self.target.authority).await.map_err(|_| ())?;
        stream.set_nodelay(true).map_err(|_| ())?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| ())?;
        // Its end shows as an error of the next request.
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), hyper::Error> {
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

fn code(answer: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    body["errors"][0]["code"].as_str().unwrap_or("without a code").to_string()
}

fn order_uri(answer: &[u8]) -> Option<Uri> {
    #[derive(serde::Deserialize)]
    struct Created {
        id: String,
    }
    let created: Created = serde_json::from_slice(answer).ok()?;
    Uri::try_from(format!("/api/orders/{}", created.id)).ok()
}

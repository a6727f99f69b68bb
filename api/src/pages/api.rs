//! The interface as pages use it: one request inside the process, and what came back.

use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt;

use super::problem::Problem;
use crate::headers::{NEXT_CURSOR, REQUEST_ID};
use crate::limits::Peer;

/// What of the visitor's request travels on: who he is and how he is known.
const CARRIED: [HeaderName; 4] = [header::COOKIE, header::USER_AGENT, header::ACCEPT_LANGUAGE, REQUEST_ID];

/// A client of the interface that speaks for one visitor.
#[derive(Clone)]
pub struct Api {
    router: Router,
    carried: HeaderMap,
    peer: Option<Peer>,
    /// Cookies that answers set, to be handed on to the browser.
    cookies: Arc<Mutex<Vec<HeaderValue>>>,
    /// Why this visitor's form may change nothing.
    barred: Arc<OnceLock<Problem>>,
}

/// An answer of the interface that is no failure.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// The body as `T`. That it has another shape is a defect of ours, shown as such.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body).map_err(|error| {
            tracing::error!(%error, "an answer of the interface is not what its page expects");
            Problem::ours()
        })
    }

    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// Where the next page of a list starts.
    pub fn next_cursor(&self) -> Option<String> {
        self.headers.get(NEXT_CURSOR)?.to_str().ok().map(str::to_string)
    }
}

/// One request to the interface.
pub struct Ask<'a> {
    api: &'a Api,
    method: Method,
    path: String,
    body: Option<Value>,
    key: Option<&'a str>,
    /// The version that the visitor saw.
    version: Option<u64>,
}

impl Api {
    /// For whoever sent a request of these parts.
    pub fn new(router: Router, parts: &Parts) -> Api {
        let mut api = Api::of_nobody(router);
        for name in CARRIED {
            for value in parts.headers.get_all(&name) {
                api.carried.append(name.clone(), value.clone());
            }
        }
        api.peer = parts.extensions.get::<Peer>().copied();
        api
    }

    /// For nobody in particular.
    pub fn of_nobody(router: Router) -> Api {
        Api { router, carried: HeaderMap::new(), peer: None, cookies: Arc::default(), barred: Arc::default() }
    }

    pub fn get(&self, path: impl Into<String>) -> Ask<'_> {
        self.ask(Method::GET, path)
    }

    pub fn post(&self, path: impl Into<String>, body: Value) -> Ask<'_> {
        Ask { body: Some(body), ..self.ask(Method::POST, path) }
    }

    pub fn put(&self, path: impl Into<String>, body: Value) -> Ask<'_> {
        Ask { body: Some(body), ..self.ask(Method::PUT, path) }
    }

    pub fn delete(&self, path: impl Into<String>) -> Ask<'_> {
        self.ask(Method::DELETE, path)
    }

    fn ask(&self, method: Method, path: impl Into<String>) -> Ask<'_> {
        Ask { api: self, method, path: path.into(), body: None, key: None, version: None }
    }

    /// From now on nothing is written for this visitor: whatever is asked for that could, fails with `problem`. What he typed
    /// can still be shown to him again, as after any other refusal.
    pub fn bar(&self, problem: Problem) {
        // The first reason is as good as any later one.
        let _ = self.barred.set(problem);
    }

    /// Cookies that were set since the last call.
    pub fn take_cookies(&self) -> Vec<HeaderValue> {
        std::mem::take(&mut *self.cookies.lock().expect("no panic while cookies are held"))
    }

    /// Sets a cookie of the page's own.
    pub fn set_cookie(&self, cookie: HeaderValue) {
        self.cookies.lock().expect("no panic while cookies are held").push(cookie);
    }
}

impl<'a> Ask<'a> {
    /// The request happens once, however often it is sent with this key.
    pub fn once(mut self, key: &'a str) -> Ask<'a> {
        self.key = (!key.is_empty()).then_some(key);
        self
    }

    /// A body with a request that usually has none.
    pub fn with(mut self, body: Value) -> Ask<'a> {
        self.body = Some(body);
        self
    }

    /// The request is refused where the entity has changed since this version.
    pub fn matching(mut self, version: &str) -> Ask<'a> {
        self.version = version.parse().ok();
        self
    }

    /// Sends it; anything but success is a problem.
    pub async fn send(self) -> Result<Answer, Problem> {
        let api = self.api;
        if let Some(problem) = api.barred.get().filter(|_| !self.method.is_safe()) {
            return Err(problem.clone());
        }
        let body = self.body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.path.parse().map_err(|_| Problem::no_page())?;
        *request.headers_mut() = api.carried.clone();
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = self.key.and_then(|key| HeaderValue::try_from(format!("\"{key}\"")).ok()) {
            request.headers_mut().insert("idempotency-key", key);
        }
        if let Some(version) = self.version {
            request.headers_mut().insert(header::IF_MATCH, crate::headers::etag(version));
        }
        if let Some(peer) = api.peer {
            request.extensions_mut().insert(peer);
        }
        let response = api.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        let (parts, body) = response.into_parts();
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            api.set_cookie(cookie.clone());
        }
        // The answer was made in this process: it is whole, and as long as its page bound allows.
        let body = body.collect().await.map_err(|_| Problem::ours())?.to_bytes();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        if answer.status.is_success() { Ok(answer) } else { Err(Problem::of(&answer)) }
    }

    /// Sends it and reads the body.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Problem> {
        self.send().await?.json()
    }
}

/// `text` as one segment of a path or one value of a query.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A query string of the pairs that have a value, with its question mark; empty without any.
pub fn query(pairs: &[(&str, &str)]) -> String {
    let given = pairs.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<String> = given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_leaves_out_what_is_empty_and_escapes_the_rest() {
        assert_eq!(query(&[("q", "a b&c"), ("cursor", ""), ("x", "ü")]), "?q=a%20b%26c&x=%C3%BC");
        assert_eq!(query(&[("q", "")]), "");
    }
}

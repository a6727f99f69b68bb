//! Several nodes of one cluster, by their URLs.
//!
//! A request goes to the node that answered last; when that one cannot be reached, or says 429, 502, 503 or 504, the same
//! request goes to the next, until there is an answer or patience ends. That is safe because whatever services ask is
//! idempotent by state.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use tokio::time::{Instant, sleep};

use super::{Api, Unreachable};

/// Nodes that a client knows.
const URLS_MAX: usize = 32;

/// How long is waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For one answer of one node.
    pub answer: Duration,
    /// For any answer of any node.
    pub whole: Duration,
    /// Between two tries, at first; it doubles up to `back_off_max`, and is drawn at random below that.
    pub back_off_min: Duration,
    pub back_off_max: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(10),
            whole: Duration::from_secs(15),
            back_off_min: Duration::from_millis(20),
            back_off_max: Duration::from_millis(500),
        }
    }
}

/// An address that cannot be one of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {why}")]
pub struct UrlError {
    pub url: String,
    pub why: String,
}

/// The nodes at some URLs.
pub struct OverHttp {
    http: reqwest::Client,
    urls: Vec<String>,
    /// The index of the node that answered last.
    answered: AtomicUsize,
    patience: Patience,
}

impl OverHttp {
    /// # Errors
    /// No URL, too many, or one that is not `http://` or `https://` with a host.
    pub fn new(urls: &[String], patience: Patience) -> Result<OverHttp, UrlError> {
        let error = |url: &str, why: &str| UrlError { url: url.into(), why: why.into() };
        if urls.is_empty() || urls.len() > URLS_MAX {
            return Err(error(&urls.join(","), &format!("1 to {URLS_MAX} URLs are expected")));
        }
        for url in urls {
            let parsed = reqwest::Url::parse(url).map_err(|why| error(url, &why.to_string()))?;
            if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
                return Err(error(url, "not an http:// or https:// URL"));
            }
        }
        let mut builder =
            reqwest::Client::builder().connect_timeout(patience.connect).timeout(patience.answer).no_proxy();
        if urls.iter().all(|url| url.starts_with("http://")) {
            // A machine without a certificate store can still talk to its own cluster.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|why| error(&urls[0], &format!("HTTP client: {why}")))?;
        let urls = urls.iter().map(|url| url.trim_end_matches('/').to_string()).collect();
        Ok(OverHttp { http, urls, answered: AtomicUsize::new(0), patience })
    }

    async fn try_node(
        &self,
        index: usize,
        request: &http::Request<Bytes>,
    ) -> Result<http::Response<Bytes>, Unreachable> {
        let url = &self.urls[index];
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let sent = self
            .http
            .request(request.method().clone(), format!("{url}{path}"))
            .headers(request.headers().clone())
            .body(request.body().clone())
            .send();
        let unreachable = |error: reqwest::Error| Unreachable(format!("{url}: {}", innermost(&error)));
        let mut answer = sent.await.map_err(unreachable)?;
        let mut response = http::Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        *response.body_mut() = answer.bytes().await.map_err(unreachable)?;
        Ok(response)
    }
}

impl Api for OverHttp {
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Bytes>, Unreachable>> {
        async move {
            let give_up = Instant::now() + self.patience.whole;
            let first = self.answered.load(Ordering::Relaxed);
            let mut back_off = self.patience.back_off_min;
            for tried in 0.. {
                let index = (first + tried) % self.urls.len();
                let why = match self.try_node(index, &request).await {
                    Ok(response) if !is_passing(response.status()) => {
                        self.answered.store(index, Ordering::Relaxed);
                        return Ok(response);
                    }
                    Ok(response) if Instant::now() >= give_up => return Ok(response),
                    Ok(response) => Unreachable(format!("{}: {}", self.urls[index], response.status())),
                    Err(why) => why,
                };
                // Another node may answer at once; only a whole round without an answer is a reason to wait.
                if (tried + 1).is_multiple_of(self.urls.len()) {
                    if Instant::now() + back_off > give_up {
                        return Err(why);
                    }
                    sleep(back_off.mul_f64(rand::random_range(0.5..1.0))).await;
                    back_off = (back_off * 2).min(self.patience.back_off_max);
                }
            }
            unreachable!("the loop ends by returning")
        }
        .boxed()
    }
}

/// The node cannot answer now; another one might.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The cause at the bottom of an error: "connection refused" rather than "error sending request".
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

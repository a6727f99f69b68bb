//! Requests of a service, signed, as JSON, with the errors told apart by what they mean for a retry.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Api, Unreachable};
use crate::WallClock;
use crate::key::ServiceKey;

/// How long a signed token is used again, in seconds: most of its life is then still before it.
const TOKEN_KEPT_S: u64 = 30;
/// Rows asked for at a time.
const PAGE_ROWS: usize = 100;

/// Why a request of a service was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No answer, or none for now. It may or may not have been done; it may be asked again.
    #[error("{0}")]
    Unreachable(String),
    /// The cluster said no. `code` is stable.
    #[error("{message} ({code}, status {status})")]
    Refused { status: u16, code: String, message: String },
    /// An answer that is not what the route promises.
    #[error("{0}")]
    Malformed(String),
}

impl CallError {
    /// The stable code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            CallError::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl From<Unreachable> for CallError {
    fn from(Unreachable(why): Unreachable) -> CallError {
        CallError::Unreachable(why)
    }
}

/// The routes, as one service calls them. Clones are handles to the same one.
#[derive(Clone)]
pub struct Signed(Arc<Caller>);

struct Caller {
    api: Arc<dyn Api>,
    key: ServiceKey,
    /// The `aud` of tokens: what the cluster issues its own as.
    audience: String,
    clock: WallClock,
    kept: Mutex<Option<Kept>>,
}

/// A token, for requests that follow soon.
struct Kept {
    token: String,
    issued_s: u64,
}

impl Caller {
    fn token(&self) -> String {
        let now_s = (self.clock)() / 1_000;
        let mut kept = self.kept.lock().expect("nothing panics while it holds a token");
        // A clock that was set back makes a new one, too.
        if let Some(kept) = kept.as_ref().filter(|kept| (kept.issued_s..kept.issued_s + TOKEN_KEPT_S).contains(&now_s))
        {
            return kept.token.clone();
        }
        let token = self.key.token(&self.audience, now_s);
        *kept = Some(Kept { token: token.clone(), issued_s: now_s });
        token
    }
}

impl Signed {
    pub fn new(api: Arc<dyn Api>, key: ServiceKey, audience: impl Into<String>, clock: WallClock) -> Signed {
        Signed(Arc::new(Caller { api, key, audience: audience.into(), clock, kept: Mutex::default() }))
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        read(path, &self.call(Method::GET, path, Bytes::new()).await?)
    }

    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).expect("our bodies have a JSON form");
        read(path, &self.call(Method::POST, path, body.into()).await?)
    }

    /// Deletes what is at the path; the answer has no body.
    pub async fn delete(&self, path: &str) -> Result<(), CallError> {
        self.call(Method::DELETE, path, Bytes::new()).await.map(drop)
    }

    /// One page of a list, and the cursor of the next. `path` may have a query.
    pub async fn page<T: DeserializeOwned>(
        &self,
        path: &str,
        cursor: Option<&str>,
    ) -> Result<(Vec<T>, Option<String>), CallError> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut page = format!("{path}{joint}limit={PAGE_ROWS}");
        if let Some(cursor) = cursor {
            page.push_str("&cursor=");
            page.push_str(cursor);
        }
        let response = self.call(Method::GET, &page, Bytes::new()).await?;
        let next = response.headers().get("x-next-cursor").and_then(|value| value.to_str().ok()).map(str::to_string);
        Ok((read(&page, &response)?, next))
    }

    /// All rows of a list, at most `rows_max` (rounded up to whole pages).
    pub async fn pages<T: DeserializeOwned>(&self, path: &str, rows_max: usize) -> Result<Vec<T>, CallError> {
        let (mut rows, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let (page, next) = self.page::<T>(path, cursor.as_deref()).await?;
            rows.extend(page);
            match next {
                Some(next) if rows.len() < rows_max => cursor = Some(next),
                _ => return Ok(rows),
            }
        }
    }

    async fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Bytes>, CallError> {
        let token = self.0.token();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(body)
            .map_err(|error| CallError::Malformed(format!("{path}: {error}")))?;
        let response = self.0.api.call(request).await?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(CallError::Unreachable(format!("{path}: status {status}")))
            }
            status => Err(refused(status, response.body())),
        }
    }
}

fn read<T: DeserializeOwned>(path: &str, response: &Response<Bytes>) -> Result<T, CallError> {
    serde_json::from_slice(response.body()).map_err(|error| CallError::Malformed(format!("{path}: {error}")))
}

fn refused(status: StatusCode, body: &[u8]) -> CallError {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let first = |member: &str| body["errors"][0][member].as_str().unwrap_or_default().to_string();
    CallError::Refused { status: status.as_u16(), code: first("code"), message: first("message") }
}

//! Headers of our own, conditional requests, and how fresh a read is asked to be.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use holdfast_raft::node::Consistency;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::error::Fault;

/// The log index that an answer reflects.
pub const LOG_INDEX: HeaderName = HeaderName::from_static("log-index");
/// On a read: answer once the node has applied this log index, from what it has then.
pub const MIN_INDEX: HeaderName = HeaderName::from_static("min-index");
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where the next page of a list starts.
pub const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");
/// This is the remembered answer to an earlier request with the same key.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What most answers fit in, in bytes.
const JSON_BYTES_USUAL: usize = 1_024;

/// How long a read waits for the index that it was asked to include.
pub const MIN_INDEX_WAIT: Duration = Duration::from_secs(2);

/// A JSON answer of ours, with the index it reflects.
pub fn json(status: StatusCode, body: &impl Serialize, log_index: u64) -> Response {
    let mut bytes = Vec::with_capacity(JSON_BYTES_USUAL);
    serde_json::to_writer(&mut bytes, body).expect("our views have a JSON form");
    let mut response = Response::new(Bytes::from(bytes).into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(LOG_INDEX, log_index.into());
    response
}

/// 204, with the index that decided.
pub fn no_content(log_index: u64) -> Response {
    (StatusCode::NO_CONTENT, [(LOG_INDEX, HeaderValue::from(log_index))]).into_response()
}

/// The strong entity tag of a version.
pub fn etag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits in quotes are a header value")
}

/// 304 where the client has this version already, else `None`.
pub fn not_modified(headers: &HeaderMap, version: u64, log_index: u64) -> Option<Response> {
    let known = headers.get(header::IF_NONE_MATCH)?.to_str().ok()?;
    let tag = format!("\"{version}\"");
    let matches = known.trim() == "*" || known.split(',').any(|t| t.trim().trim_start_matches("W/") == tag);
    matches.then(|| {
        let headers = [(header::ETAG, etag(version)), (LOG_INDEX, log_index.into())];
        (StatusCode::NOT_MODIFIED, headers).into_response()
    })
}

/// The version that `If-Match` asks for; `*` and no header ask for none. A tag that we never gave can match nothing: 412.
pub fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match quoted {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty() => {
            // A number beyond every version still is a tag that does not match.
            Ok(Some(digits.parse().unwrap_or(u64::MAX)))
        }
        Some(tag) if !tag.contains('"') => Ok(Some(u64::MAX)),
        None if text.starts_with("W/\"") => Ok(Some(u64::MAX)),
        _ => Err(Fault::bad_field("If-Match", "invalid", "If-Match takes one entity tag, such as \"3\", or *")),
    }
}

/// How fresh a read must be: linearizable unless `consistency=stale` or `min-index` says otherwise.
pub fn freshness(
    headers: &HeaderMap,
    consistency: Option<&str>,
    min_index: Option<&str>,
) -> Result<Consistency, Fault> {
    let min_index = match (min_index, headers.get(MIN_INDEX)) {
        (Some(text), _) => Some(text),
        (None, Some(value)) => Some(value.to_str().unwrap_or_default()),
        (None, None) => None,
    };
    if let Some(text) = min_index {
        let index = text.parse().map_err(|_| Fault::bad_field("min-index", "invalid", "min-index is a log index"))?;
        return Ok(Consistency::AtLeast(index));
    }
    match consistency {
        None | Some("linearizable") => Ok(Consistency::Linearizable),
        Some("stale") => Ok(Consistency::Stale),
        Some(_) => Err(Fault::bad_field("consistency", "invalid", "consistency is linearizable or stale")),
    }
}

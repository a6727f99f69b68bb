//! Request bodies: read whole, bounded in size and time, and JSON objects only.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::header;
use http_body_util::BodyExt;
use serde::Deserialize;

use crate::app::App;
use crate::error::Fault;

/// Any body but a bulk import's, in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 10;
/// A bulk import, in bytes.
pub const BULK_BODY_BYTES_MAX: usize = 4 << 20;
/// How far a body that is too long is read on, in bytes.
const DROPPED_BYTES_MAX: usize = 8 << 20;
/// How long a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(20);

/// A whole body of at most `MAX` bytes, sent as JSON. An empty one counts as `{}`.
pub struct JsonBody<const MAX: usize = BODY_BYTES_MAX>(Bytes);

impl<const MAX: usize> JsonBody<MAX> {
    /// The body as an object whose members `T` borrows.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Fault> {
        let bytes: &[u8] = if self.0.is_empty() { b"{}" } else { &self.0 };
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(Fault::malformed_json("the body must be a JSON object"));
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }

    /// The body as a JSON array.
    pub fn parse_array<'a, T: Deserialize<'a>>(&'a self) -> Result<Vec<T>, Fault> {
        if !self.0.trim_ascii_start().starts_with(b"[") {
            return Err(Fault::malformed_json("the body must be a JSON array"));
        }
        serde_json::from_slice(&self.0).map_err(malformed)
    }
}

fn malformed(error: serde_json::Error) -> Fault {
    Fault::malformed_json(format!("the body is not the JSON that is expected here: {error}"))
}

impl<const MAX: usize> FromRequest<App> for JsonBody<MAX> {
    type Rejection = Fault;

    async fn from_request(request: Request, _app: &App) -> Result<Self, Fault> {
        let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(|value| is_json(value.as_bytes()));
        let declared =
            request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: u64| length > (MAX + DROPPED_BYTES_MAX) as u64) {
            return Err(Fault::body_too_large(MAX));
        }
        let bytes = read(request.into_body(), MAX).await?;
        // A form of another site can send a body without asking first, but not as JSON.
        if !is_json && !bytes.is_empty() {
            return Err(Fault::unsupported_media_type());
        }
        Ok(JsonBody(bytes))
    }
}

/// Reads a body whole. One that is too long is read on for a while and dropped: a client that is still sending when the
/// connection closes would never see the answer.
pub async fn read(mut body: Body, bytes_max: usize) -> Result<Bytes, Fault> {
    let read = async {
        // Most bodies are one frame, which is then not copied.
        let (mut first, mut whole, mut length) = (Bytes::new(), BytesMut::new(), 0usize);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Fault::body_incomplete())?.into_data() else { continue };
            length = length.saturating_add(data.len());
            if length > bytes_max {
                (first, whole) = (Bytes::new(), BytesMut::new());
                if length > bytes_max + DROPPED_BYTES_MAX {
                    break;
                }
            } else if first.is_empty() {
                first = data;
            } else {
                if whole.is_empty() {
                    whole.extend_from_slice(&first);
                }
                whole.extend_from_slice(&data);
            }
        }
        if length > bytes_max {
            return Err(Fault::body_too_large(bytes_max));
        }
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    };
    tokio::time::timeout(BODY_WAIT, read).await.unwrap_or_else(|_| Err(Fault::body_incomplete()))
}

/// `application/json` or `application/*+json`, whatever the parameters.
fn is_json(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    essence == b"application/json" || essence.starts_with(b"application/") && essence.ends_with(b"+json")
}

//! What went wrong, for the page that has to say it.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::api::Answer;
use crate::error::Fault;

const OUT_OF_DATE: &str = "form_out_of_date";

/// One thing that is wrong, and in which field.
#[derive(Debug, Clone, Deserialize)]
pub struct Complaint {
    pub message: String,
    #[serde(default)]
    pub field: String,
    #[serde(default)]
    pub code: String,
}

/// A failure of the interface, or of a page.
#[derive(Debug, Clone)]
pub struct Problem {
    pub status: StatusCode,
    pub complaints: Vec<Complaint>,
    pub retry_after_s: Option<u64>,
    pub request_id: String,
    members: Map<String, Value>,
}

impl Problem {
    /// The problem that a failed answer tells of.
    pub fn of(answer: &Answer) -> Problem {
        let retry_after = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        Problem::read(answer.status, retry_after.and_then(|text| text.parse().ok()), answer.bytes())
    }

    /// The problem in an error's body.
    pub fn read(status: StatusCode, retry_after_s: Option<u64>, body: &[u8]) -> Problem {
        let members: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
        let errors = members.get("errors").cloned().unwrap_or_default();
        let complaints = serde_json::from_value(errors).unwrap_or_default();
        let request_id = members.get("requestId").and_then(Value::as_str).unwrap_or_default().to_string();
        Problem { status, complaints, retry_after_s, request_id, members }
    }

    fn new(status: StatusCode, code: &str, message: &str) -> Problem {
        let complaint = Complaint { message: message.into(), field: String::new(), code: code.into() };
        let (request_id, members) = Default::default();
        Problem { status, complaints: vec![complaint], retry_after_s: None, request_id, members }
    }

    /// There is no such page.
    pub fn no_page() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "no_page", "There is no such page")
    }

    /// A defect of ours.
    pub fn ours() -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something of ours broke")
    }

    /// Nobody is signed in.
    pub fn not_signed_in() -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "not_signed_in", "Sign in first")
    }

    /// It is somebody else's.
    pub fn not_owner() -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, "not_owner", "Not authorized")
    }

    /// The visitor's role does not allow it.
    pub fn forbidden() -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "Your role does not allow this")
    }

    /// The form's token does not fit its sender any more.
    pub fn out_of_date() -> Problem {
        let message = "This page was open for too long, or you signed in or out since. Nothing was done. What you typed is still \
                       here: look it over and send it again.";
        Problem::new(StatusCode::FORBIDDEN, OUT_OF_DATE, message)
    }

    /// 400 without a field.
    pub fn bad(code: &str, message: &str) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// The first complaint's code.
    pub fn code(&self) -> &str {
        self.complaints.first().map_or("", |complaint| &complaint.code)
    }

    pub fn message(&self) -> &str {
        self.complaints.first().map_or("", |complaint| &complaint.message)
    }

    /// A further member of the body, as text.
    pub fn member(&self, name: &str) -> Option<String> {
        match self.members.get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        }
    }

    /// The visitor can mend it on the page he came from: neither who he is nor the service itself is in the way.
    pub fn is_mendable(&self) -> bool {
        let elsewhere = matches!(self.status.as_u16(), 401 | 403 | 404 | 408 | 413 | 429);
        self.is_out_of_date() || self.status.is_client_error() && !elsewhere && self.code() != "malformed_id"
    }

    /// Nothing is wrong but the form's age: sent again as it is shown now, it counts.
    pub fn is_out_of_date(&self) -> bool {
        self.code() == OUT_OF_DATE
    }

    /// Signing in may help.
    pub fn wants_sign_in(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED && self.code() != "not_owner"
    }

    /// The ledger cannot decide at the moment.
    pub fn is_pause(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }
}

impl From<&Fault> for Problem {
    fn from(fault: &Fault) -> Problem {
        Problem::new(fault.status(), fault.first().code, &fault.first().message)
    }
}

impl IntoResponse for Problem {
    /// A bare response that carries the problem to the layer that knows the visitor and renders it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

//! Every error that a client sees, in one place: which status, which code, which words.
//!
//! The body is the original's `errors: [{message, field?}]` inside an RFC 9457 problem. Messages and statuses of the
//! original's routes are frozen; `code` is what programs should look at. A handler returns a [`Fault`]; the outermost layer
//! turns it into a response, because only that knows the request's id, path and `Accept`.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use holdfast_raft::node::Unavailable;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

mod refusals;

pub use refusals::{complaint, payment_refused, refused};
use utoipa::ToSchema;

/// Seconds after which a request that found no leader may be sent again.
const RETRY_UNAVAILABLE_S: u64 = 1;

const SOMETHING_WRONG: &str = "Something went wrong";
const NOT_AUTHORIZED: &str = "Not authorized";
const NOT_FOUND: &str = "Not Found";

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Complaint {
    pub message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<Cow<'static, str>>,
    pub code: &'static str,
}

impl Complaint {
    pub fn new(code: &'static str, message: impl Into<Cow<'static, str>>) -> Complaint {
        Complaint { message: message.into(), field: None, code }
    }

    pub fn on(field: &'static str, code: &'static str, message: impl Into<Cow<'static, str>>) -> Complaint {
        Complaint { message: message.into(), field: Some(field.into()), code }
    }
}

/// Why a request was not carried out, as its caller is told.
#[derive(Debug, Clone)]
pub struct Fault(Box<Problem>);

#[derive(Debug, Clone)]
struct Problem {
    status: StatusCode,
    complaints: Vec<Complaint>,
    detail: Option<Cow<'static, str>>,
    /// Further members of the body.
    members: Vec<(&'static str, Box<RawValue>)>,
    retry_after_s: Option<u64>,
    log_index: Option<u64>,
    clear_session: bool,
}

/// What of the request an error's body names.
pub struct Asked<'a> {
    pub path: &'a str,
    pub request_id: &'a str,
    /// The client prefers `application/problem+json`.
    pub wants_problem_json: bool,
}

impl Fault {
    /// A fault with several complaints; the first one's message is the summary.
    pub fn new(status: StatusCode, complaints: Vec<Complaint>) -> Fault {
        assert!(!complaints.is_empty(), "a fault says what is wrong");
        Fault(Box::new(Problem {
            status,
            complaints,
            detail: None,
            members: Vec::new(),
            retry_after_s: None,
            log_index: None,
            clear_session: false,
        }))
    }

    fn one(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(status, vec![Complaint::new(code, message)])
    }

    /// 400 on one field.
    pub fn bad_field(field: &'static str, code: &'static str, message: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(StatusCode::BAD_REQUEST, vec![Complaint::on(field, code, message)])
    }

    /// 400 for an id in the path or query that is none; the original's words, with the field that it never named.
    pub fn malformed_id(field: &'static str) -> Fault {
        Fault::bad_field(field, "malformed_id", SOMETHING_WRONG).detail("an id is 24 lowercase hex digits")
    }

    /// 400 for a body that is not JSON or not an object.
    pub fn malformed_json(detail: impl Into<Cow<'static, str>>) -> Fault {
        Fault::one(StatusCode::BAD_REQUEST, "malformed_json", SOMETHING_WRONG).detail(detail)
    }

    /// 401: nobody is signed in.
    pub fn not_signed_in() -> Fault {
        Fault::one(StatusCode::UNAUTHORIZED, "not_signed_in", NOT_AUTHORIZED)
    }

    /// 401: somebody else's, in the original's words.
    pub fn not_owner() -> Fault {
        Fault::one(StatusCode::UNAUTHORIZED, "not_owner", NOT_AUTHORIZED)
    }

    pub fn not_found(code: &'static str) -> Fault {
        Fault::one(StatusCode::NOT_FOUND, code, NOT_FOUND)
    }

    /// 400: one answer for an unknown address and a wrong password.
    pub fn invalid_credentials() -> Fault {
        Fault::one(StatusCode::BAD_REQUEST, "invalid_credentials", "Invalid credentials")
    }

    pub fn forbidden(code: &'static str, message: &'static str) -> Fault {
        Fault::one(StatusCode::FORBIDDEN, code, message)
    }

    /// 409: what is asked for does not go with what there is.
    pub fn conflict(code: &'static str, message: &'static str) -> Fault {
        Fault::one(StatusCode::CONFLICT, code, message)
    }

    pub fn unsupported_media_type() -> Fault {
        Fault::one(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "A body must be sent as Content-Type application/json",
        )
    }

    pub fn body_too_large(bytes_max: usize) -> Fault {
        Fault::one(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            format!("The body may be at most {bytes_max} bytes"),
        )
    }

    /// 408: the body did not arrive in time, or broke off.
    pub fn body_incomplete() -> Fault {
        Fault::one(StatusCode::REQUEST_TIMEOUT, "body_incomplete", "The body did not arrive")
    }

    pub fn rate_limited(retry_after_s: u64) -> Fault {
        Fault::one(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "Too many requests").retry_after(retry_after_s)
    }

    /// 503: nothing was done, and it may be asked again at once.
    pub fn busy(code: &'static str, message: &'static str) -> Fault {
        Fault::one(StatusCode::SERVICE_UNAVAILABLE, code, message).retry_after(RETRY_UNAVAILABLE_S)
    }

    /// 402: the provider said no.
    pub fn declined(failure: &str) -> Fault {
        Fault::one(StatusCode::PAYMENT_REQUIRED, "payment_declined", "Your payment was declined")
            .member("declineCode", &failure)
    }

    /// 409: the lock ran out while the bank was asked; nothing was charged.
    pub fn expired_while_paying() -> Fault {
        Fault::one(
            StatusCode::CONFLICT,
            "order_expired",
            "The order ran out before the payment came; nothing was charged",
        )
    }

    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Fault {
        self.0.detail = Some(detail.into());
        self
    }

    pub fn member(mut self, name: &'static str, value: &impl Serialize) -> Fault {
        self.0.members.push((name, to_raw_value(value).expect("plain values have a JSON form")));
        self
    }

    pub fn retry_after(mut self, seconds: u64) -> Fault {
        self.0.retry_after_s = Some(seconds);
        self
    }

    pub fn log_index(mut self, index: u64) -> Fault {
        self.0.log_index = Some(index);
        self
    }

    /// The response also takes the session's cookie away.
    pub fn clear_session(mut self) -> Fault {
        self.0.clear_session = true;
        self
    }

    pub fn clears_session(&self) -> bool {
        self.0.clear_session
    }

    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The first complaint, which names the fault.
    pub fn first(&self) -> &Complaint {
        &self.0.complaints[0]
    }

    /// The response, for the request it answers.
    pub fn render(self, asked: &Asked) -> Response {
        let problem = *self.0;
        let body = body(&problem, asked);
        let mut response = Response::new(body.into());
        *response.status_mut() = problem.status;
        let content_type =
            if asked.wants_problem_json { "application/problem+json" } else { "application/json; charset=utf-8" };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = problem.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(index) = problem.log_index {
            headers.insert(crate::headers::LOG_INDEX, index.into());
        }
        response
    }
}

/// The problem's JSON, members in a fixed order, ours last.
fn body(problem: &Problem, asked: &Asked) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: String,
        title: &'a str,
        status: u16,
        detail: &'a str,
        instance: &'a str,
        errors: &'a [Complaint],
        #[serde(rename = "requestId")]
        request_id: &'a str,
        #[serde(flatten, serialize_with = "members")]
        members: &'a [(&'static str, Box<RawValue>)],
    }
    fn members<S: serde::Serializer>(
        members: &&[(&'static str, Box<RawValue>)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(members.iter().map(|(name, value)| (name, value)))
    }
    let first = &problem.complaints[0];
    let body = Body {
        r#type: format!("urn:holdfast:problem:{}", first.code),
        title: problem.status.canonical_reason().unwrap_or("Error"),
        status: problem.status.as_u16(),
        detail: problem.detail.as_ref().unwrap_or(&first.message),
        instance: asked.path,
        errors: &problem.complaints,
        request_id: asked.request_id,
        members: &problem.members,
    };
    serde_json::to_vec(&body).expect("a problem has a JSON form")
}

impl IntoResponse for Fault {
    /// A bare response that carries the fault to the outermost layer, which renders it.
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Unavailable> for Fault {
    fn from(unavailable: Unavailable) -> Fault {
        match unavailable {
            Unavailable::NoLeader => Fault::busy("no_leader", "No leader can be reached; nothing was done"),
            Unavailable::Unknown => Fault::busy(
                "outcome_unknown",
                "Whether this was done is not known; ask again with the same Idempotency-Key",
            ),
            Unavailable::Overloaded => Fault::busy("overloaded", "Too many requests are waiting; nothing was done"),
            Unavailable::Stopping => Fault::busy("stopping", "This node is stopping; nothing was done"),
            Unavailable::Version { .. } => {
                Fault::busy("version", "The cluster is at a version that does not know this yet; nothing was done")
            }
            Unavailable::TooLarge => {
                Fault::one(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", "The request is too large")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_ledger::id::{Id, TicketId};
    use holdfast_ledger::money::Currency;
    use holdfast_ledger::outcome::Refusal;

    #[test]
    fn a_changed_price_names_old_and_new() {
        let refusal = Refusal::PriceChanged {
            ticket: TicketId(Id::mint(0, 7, 0)),
            seen_minor: Some(1999),
            price_minor: 2500,
            currency: Currency::USD,
            version: 3,
        };
        let fault = refused(&refusal, 0);
        assert_eq!(fault.status(), StatusCode::CONFLICT);
        let asked = Asked { path: "/api/orders", request_id: "r1", wants_problem_json: false };
        let body = String::from_utf8(body(&fault.0, &asked)).unwrap();
        assert_eq!(
            body,
            r#"{"type":"urn:holdfast:problem:price_changed","title":"Conflict","status":409,"detail":"The price has changed","instance":"/api/orders","errors":[{"message":"The price has changed","code":"price_changed"}],"requestId":"r1","ticketId":"000000000000000700000000","seenPrice":19.99,"price":25,"currency":"USD","version":3}"#
        );
    }
}

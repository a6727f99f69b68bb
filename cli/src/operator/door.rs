//! Who may do what at the operator's listener, where certificates say who somebody is.
//!
//! An operator may do everything. A node may look, but not so that it costs much, and ask to be admitted: a node's key that somebody else got hold of
//! removes no member.

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use holdfast_raft::transport::principal::{Principal, Who};

use super::Refused;

/// Lets a request through, or says why not. Without TLS everybody who reaches the listener is trusted.
pub async fn let_in(request: Request, next: Next) -> Response {
    let principal = request.extensions().get::<Principal>();
    let may = match principal.map(|principal| principal.who) {
        None | Some(Who::Operator) => true,
        Some(_) => {
            let path = request.uri().path();
            (request.method() == Method::GET && !path.starts_with("/debug/")) || path == "/cluster/join"
        }
    };
    match may {
        true => next.run(request).await,
        false => {
            let message = "this takes an operator's certificate: holdfast certs issue --operator";
            Refused(StatusCode::FORBIDDEN, message.into()).into_response()
        }
    }
}

//! The first operator: whoever holds the token that the cluster printed when it began.

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::command::Command;
use holdfast_ledger::outcome::Refusal;
use serde::Deserialize;
use utoipa::ToSchema;

use super::account::{AccountView, account_answer, account_of};
use super::{session_of, with_session};
use crate::app::{App, Refused};
use crate::body::JsonBody;
use crate::error::Fault;
use crate::fields::{self, Complaints, Raw};
use crate::limits::Limited;
use crate::session::Caller;
use crate::token::base64url_encode;

/// Random bytes of a token.
const TOKEN_BYTES: usize = 24;

/// A new token, and the hash that the ledger is told ([`Command::SetBootstrapToken`]).
pub fn new_operator_token() -> (String, Vec<u8>) {
    let token = base64url_encode(&rand::random::<[u8; TOKEN_BYTES]>());
    let hash = hash_of(&token);
    (token, hash)
}

fn hash_of(token: &str) -> Vec<u8> {
    digest(&SHA256, token.as_bytes()).as_ref().to_vec()
}

const BAD_TOKEN: &str = "This is not the token that was printed";

#[derive(Deserialize, ToSchema)]
pub(super) struct Claim<'a> {
    /// As the first node has printed it.
    #[serde(borrow)]
    #[schema(value_type = String)]
    token: Raw<'a>,
}

/// `POST /api/users/claim-operator`: makes the caller the first operator. Works once in a cluster's life.
#[utoipa::path(
    post, path = "/api/users/claim-operator", tag = "users", security(("session" = [])), request_body = Claim,
    responses((status = 200, description = "Done", body = AccountView))
)]
pub async fn claim_operator(
    State(app): State<App>,
    caller: Caller,
    limited: Limited,
    body: JsonBody,
) -> Result<Response, Fault> {
    let token = {
        let claim: Claim = body.parse()?;
        let mut complaints = Complaints::default();
        let token = fields::text(claim.token).map(|text| text.trim().to_string()).filter(|text| !text.is_empty());
        let token = complaints.require(token, "token", BAD_TOKEN);
        complaints.settle(token)?
    };
    limited.guess(&app, caller.signed_in.user)?;
    match app.propose(caller.actor(), None, Command::ClaimOperator { token_hash: hash_of(&token) }).await? {
        Ok(done) => {
            let id = caller.signed_in.user;
            let response = account_answer(id, &app.read_own(done.index, |state| account_of(state, id)).await?)?;
            Ok(with_session(&app, response, session_of(&done)))
        }
        Err(Refused { refusal: Refusal::BootstrapRefused, .. }) => {
            Err(Fault::bad_field("token", "bootstrap_refused", BAD_TOKEN))
        }
        Err(refused) => Err(refused.into()),
    }
}

//! Accounts: signing up and in, the account itself, its sessions, what is proved by mail, and the first operator.
//!
//! A password is hashed and checked here, outside of the ledger, which only ever sees hashes. Answers do not tell whether an
//! address has an account, but for the sign-up, whose words are the original's. Guesses are counted per address of the
//! network and per account.

mod account;
mod agent;
mod claim;
mod mailed;
mod public_keys;
mod sessions;
mod sign;

pub use claim::new_operator_token;
pub use mailed::mailed_link;

use axum::response::Response;
use holdfast_ledger::entities::SignedIn;
use holdfast_ledger::limits::EMAIL_BYTES_MAX;
use holdfast_ledger::outcome::Reply;
use holdfast_ledger::query;
use holdfast_raft::node::Consistency;
use http::header;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, Done};
use crate::error::Fault;
use crate::fields::{self, Complaints, Raw};
use crate::limits::Limited;
use crate::session::{self, Caller};

/// The bounds of a password, in characters without the blanks around it.
const PASSWORD_CHARACTERS_MIN: usize = 4;
const PASSWORD_CHARACTERS_MAX: usize = 128;

const BAD_EMAIL: &str = "Email must be valid";
/// The original's words; up to [`PASSWORD_CHARACTERS_MAX`] are accepted all the same.
const BAD_PASSWORD: &str = "Password must be between 4 and 20 characters";
const NO_PASSWORD: &str = "You must supply a password";

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sign::sign_up))
        .routes(routes!(sign::sign_in))
        .routes(routes!(sign::sign_out))
        .routes(routes!(sign::refresh))
        .routes(routes!(sign::current_user))
        .routes(routes!(account::show, account::erase))
        .routes(routes!(account::change_email))
        .routes(routes!(account::change_password))
        .routes(routes!(sessions::list, sessions::revoke_all))
        .routes(routes!(sessions::revoke))
        .routes(routes!(mailed::ask_for_reset))
        .routes(routes!(mailed::reset))
        .routes(routes!(mailed::ask_for_verification))
        .routes(routes!(mailed::verify))
        .routes(routes!(claim::claim_operator))
        .routes(routes!(public_keys::of_sessions))
        .routes(routes!(public_keys::of_tickets))
}

/// The session that a command has answered with.
fn session_of(done: &Done) -> SignedIn {
    let Reply::SignedIn { user, session, epoch } = done.reply else {
        unreachable!("a command that opens a session, or goes on with it, is answered with it")
    };
    SignedIn { user, session, epoch }
}

/// `response` with the session in a cookie.
fn with_session(app: &App, mut response: Response, signed_in: SignedIn) -> Response {
    response.headers_mut().insert(header::SET_COOKIE, session::cookie(app, signed_in));
    response
}

/// 400 on `password` unless `password` is the caller's own: what a found or borrowed browser must not do.
async fn check_password(app: &App, limited: Limited, caller: &Caller, password: String) -> Result<(), Fault> {
    match is_password(app, limited, caller, password).await? {
        true => Ok(()),
        false => Err(wrong_password()),
    }
}

fn wrong_password() -> Fault {
    Fault::bad_field("password", "wrong_password", "This is not your password")
}

/// Whether `password` is the caller's own. It counts as a guess.
async fn is_password(app: &App, limited: Limited, caller: &Caller, password: String) -> Result<bool, Fault> {
    let user = caller.signed_in.user;
    limited.guess(app, user)?;
    let personal = app.read(Consistency::Linearizable, |state| query::personal(state, user)).await?.value;
    app.passwords.matches(password, personal.map(|personal| personal.password_hash)).await
}

/// The caller's present password, of a body that must have it.
fn present_password(raw: Raw<'_>, complaints: &mut Complaints) -> Option<String> {
    complaints.require(password(raw).filter(|password| !password.is_empty()), "password", NO_PASSWORD)
}

/// A password that may be chosen.
fn new_password(raw: Raw<'_>, field: &'static str, complaints: &mut Complaints) -> Option<String> {
    let in_bounds =
        |password: &String| (PASSWORD_CHARACTERS_MIN..=PASSWORD_CHARACTERS_MAX).contains(&password.chars().count());
    complaints.require(password(raw).filter(in_bounds), field, BAD_PASSWORD)
}

/// A password, as the original trims it.
fn password(raw: Raw<'_>) -> Option<String> {
    Some(fields::text(raw)?.trim().to_string())
}

/// An address that mail could reach: one `@`, a local part, a domain of labels with at least one dot.
fn email(raw: Raw<'_>) -> Option<String> {
    let text = fields::text(raw)?;
    let (local, domain) = text.rsplit_once('@')?;
    let clean = |part: &str| !part.chars().any(|c| c.is_whitespace() || c.is_control() || "\"(),:;<>@[\\]".contains(c));
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let good = text.len() <= EMAIL_BYTES_MAX
        && (1..=64).contains(&local.len())
        && clean(local)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && domain.contains('.')
        && domain.split('.').all(label);
    good.then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn read(text: &str) -> Option<String> {
        let raw = RawValue::from_string(serde_json::to_string(text).unwrap()).unwrap();
        email(Some(&raw))
    }

    #[test]
    fn addresses() {
        for good in ["test@test.com", "a.b+c@x-y.co.uk", "o'hara@example.org", "ü@exämple.de"] {
            assert_eq!(read(good).as_deref(), Some(good));
        }
        for bad in ["", "test", "test@", "@test.com", "a@b", "a b@c.de", "a@b@c.de", "a@-b.de", "a@b..de", ".a@b.de"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&format!("a@{}.com", "b.".repeat(130))), None);
    }
}

//! Signing up, in and out, and the links that are mailed. Whoever was sent here comes back to what he was doing.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use http::Uri;
use serde::Deserialize;
use serde_json::json;

use super::api::query;
use super::chrome::{Chrome, ok, page};
use super::form::{Form, Sheet};
use super::problem::Problem;
use super::visit::{Visit, go, safe_next};

/// What links to these pages carry.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Link {
    next: String,
    token: String,
    done: String,
}

impl Link {
    fn of(uri: &Uri) -> Link {
        Query::<Link>::try_from_uri(uri).map(|Query(link)| link).unwrap_or_default()
    }
}

#[derive(Template)]
#[template(path = "sign.html")]
struct SignPage {
    chrome: Chrome,
    sheet: Sheet,
    next: String,
    /// Signing up, not in.
    is_new: bool,
    notice: &'static str,
}

impl SignPage {
    fn new(visit: &Visit, next: &str, is_new: bool) -> SignPage {
        let chrome = Chrome::new(visit, if is_new { "signup" } else { "signin" });
        SignPage { chrome, sheet: Sheet::default(), next: safe_next(next).to_string(), is_new, notice: "" }
    }

    /// The other one of the two pages, leading to the same place.
    fn other(&self) -> String {
        let path = if self.is_new { "/auth/signin" } else { "/auth/signup" };
        format!("{path}{}", query(&[("next", if self.next == "/" { "" } else { &self.next })]))
    }
}

/// `GET /auth/signup`
pub async fn sign_up(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let link = Link::of(&uri);
    if visit.viewer.is_some() {
        return Ok(go(safe_next(&link.next)));
    }
    ok(&SignPage::new(&visit, &link.next, true))
}

/// `POST /auth/signup`
pub async fn signed_up(visit: Visit, form: Form) -> Result<Response, Problem> {
    enter(&visit, &form, "/api/users/signup", true).await
}

/// `GET /auth/signin`
pub async fn sign_in(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let link = Link::of(&uri);
    if visit.viewer.is_some() {
        return Ok(go(safe_next(&link.next)));
    }
    let mut sign = SignPage::new(&visit, &link.next, false);
    sign.notice = match link.done.as_str() {
        "reset" => "Your new password is set. Sign in with it.",
        "erased" => "Your account is erased.",
        "everywhere" => "You are signed out on every device.",
        _ => "",
    };
    ok(&sign)
}

/// `POST /auth/signin`
pub async fn signed_in(visit: Visit, form: Form) -> Result<Response, Problem> {
    enter(&visit, &form, "/api/users/signin", false).await
}

async fn enter(visit: &Visit, form: &Form, path: &str, is_new: bool) -> Result<Response, Problem> {
    let body = json!({ "email": form.get("email"), "password": form.raw("password") });
    match visit.api.post(path, body).send().await {
        Ok(_) => Ok(go(safe_next(form.get("next")))),
        Err(problem) if problem.is_mendable() => {
            let mut sign = SignPage::new(visit, form.get("next"), is_new);
            sign.sheet = form.refused(&with_our_password_words(problem.clone()));
            page(problem.status, &sign)
        }
        Err(problem) => Err(problem),
    }
}

/// The original's words about passwords name a bound that is no longer the true one.
pub fn with_our_password_words(mut problem: Problem) -> Problem {
    for complaint in &mut problem.complaints {
        if complaint.message.starts_with("Password must be between") {
            complaint.message = "Use 4 to 128 characters.".into();
        }
    }
    problem
}

#[derive(Template)]
#[template(path = "sign_out.html")]
struct SignOutPage {
    chrome: Chrome,
}

/// `GET /auth/signout`: asks, as a link alone must not sign anybody out.
pub async fn sign_out(visit: Visit) -> Result<Response, Problem> {
    match visit.viewer {
        Some(_) => ok(&SignOutPage { chrome: Chrome::new(&visit, "") }),
        None => Ok(go("/")),
    }
}

/// `POST /auth/signout`
pub async fn signed_out(visit: Visit, _: Form) -> Result<Response, Problem> {
    visit.api.post("/api/users/signout", json!({})).send().await?;
    Ok(go("/"))
}

#[derive(Template)]
#[template(path = "forgot.html")]
struct ForgotPage {
    chrome: Chrome,
    sheet: Sheet,
    sent: bool,
}

/// `GET /auth/forgot`
pub async fn forgot(visit: Visit) -> Result<Response, Problem> {
    ok(&ForgotPage { chrome: Chrome::new(&visit, "signin"), sheet: Sheet::default(), sent: false })
}

/// `POST /auth/forgot`: the same answer whether there is such an account or not.
pub async fn forgotten(visit: Visit, form: Form) -> Result<Response, Problem> {
    let chrome = Chrome::new(&visit, "signin");
    match visit.api.post("/api/users/reset", json!({ "email": form.get("email") })).send().await {
        Ok(_) => ok(&ForgotPage { chrome, sheet: Sheet::of(&[("email", form.get("email"))]), sent: true }),
        Err(problem) if problem.is_mendable() => {
            page(problem.status, &ForgotPage { chrome, sheet: form.refused(&problem), sent: false })
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Template)]
#[template(path = "reset.html")]
struct ResetPage {
    chrome: Chrome,
    sheet: Sheet,
    token: String,
}

/// `GET /auth/reset?token=`: where the mailed link leads.
pub async fn reset(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let token = Link::of(&uri).token;
    ok(&ResetPage { chrome: Chrome::new(&visit, "signin"), sheet: Sheet::default(), token })
}

/// `POST /auth/reset`
pub async fn reset_done(visit: Visit, form: Form) -> Result<Response, Problem> {
    let body = json!({ "token": form.get("token"), "password": form.raw("password") });
    match visit.api.post("/api/users/reset/confirm", body).send().await {
        Ok(_) => Ok(go("/auth/signin?done=reset")),
        Err(problem) if problem.is_mendable() => {
            let sheet = form.refused(&with_our_password_words(problem.clone()));
            let chrome = Chrome::new(&visit, "signin");
            page(problem.status, &ResetPage { chrome, sheet, token: form.get("token").to_string() })
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Template)]
#[template(path = "confirm_address.html")]
struct ConfirmAddressPage {
    chrome: Chrome,
    sheet: Sheet,
    token: String,
    done: bool,
}

/// `GET /auth/verify?token=`: asks for one click, as mail scanners follow every link.
pub async fn confirm_address(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let token = Link::of(&uri).token;
    let chrome = Chrome::new(&visit, "account");
    ok(&ConfirmAddressPage { chrome, sheet: Sheet::default(), token, done: false })
}

/// `POST /auth/verify`
pub async fn address_confirmed(visit: Visit, form: Form) -> Result<Response, Problem> {
    let chrome = Chrome::new(&visit, "account");
    let token = form.get("token").to_string();
    match visit.api.post("/api/users/verify", json!({ "token": token })).send().await {
        Ok(_) => ok(&ConfirmAddressPage { chrome, sheet: Sheet::default(), token, done: true }),
        Err(problem) if problem.is_mendable() => {
            let sheet = form.refused(&problem);
            page(problem.status, &ConfirmAddressPage { chrome, sheet, token, done: false })
        }
        Err(problem) => Err(problem),
    }
}

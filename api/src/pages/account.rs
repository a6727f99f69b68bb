//! The visitor's own account: address, password, sessions, places in line, and the end of it; and how the first operator comes to be one.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::Uri;
use serde::Deserialize;
use serde_json::json;

use super::api::encoded;
use super::auth::with_our_password_words;
use super::chrome::{Chrome, ok, page};
use super::form::{Form, Sheet, fresh_key};
use super::problem::Problem;
use super::views::Place;
use super::visit::{Visit, go};
use super::when::Moment;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Me {
    email: String,
    verified: bool,
    created_at: Moment,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    id: String,
    created_at: Moment,
    refreshed_at: Moment,
    device: String,
    current: bool,
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    chrome: Chrome,
    me: Me,
    sessions: Vec<Session>,
    places: Vec<Place>,
    notice: &'static str,
    /// Which form was refused, and its sheet.
    refused: &'static str,
    sheet: Sheet,
    empty: Sheet,
    /// A change of the password is made once, however often it is sent.
    key: String,
}

impl AccountPage {
    /// The sheet of one of this page's forms.
    fn sheet_of(&self, form: &str) -> &Sheet {
        if self.refused == form { &self.sheet } else { &self.empty }
    }
}

/// `GET /account`
pub async fn show(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let notice = match uri.query() {
        Some("done=email") => "Your address is changed. We have sent a link to confirm it.",
        Some("done=password") => "Your password is changed. Other devices are signed out.",
        Some("done=verification") => "A link is on its way to your address.",
        Some("done=session") => "That device is signed out.",
        _ => "",
    };
    ok(&found(&visit, notice, "", Sheet::default()).await?)
}

async fn found(
    visit: &Visit,
    notice: &'static str,
    refused: &'static str,
    sheet: Sheet,
) -> Result<AccountPage, Problem> {
    visit.signed_in()?;
    let me = visit.api.get("/api/users/me").json().await?;
    let sessions = visit.api.get("/api/users/me/sessions").json().await?;
    let places = visit.api.get("/api/line").json().await.unwrap_or_default();
    let chrome = Chrome::new(visit, "account");
    Ok(AccountPage { chrome, me, sessions, places, notice, refused, sheet, empty: Sheet::default(), key: fresh_key() })
}

/// Where a form of this page leads: on, or back with what is wrong in it.
async fn settled(
    visit: &Visit,
    form: &Form,
    name: &'static str,
    done: Result<&str, Problem>,
) -> Result<Response, Problem> {
    match done {
        Ok(path) => Ok(go(path)),
        Err(problem) if problem.is_mendable() => {
            let sheet = form.refused(&with_our_password_words(problem.clone()));
            page(problem.status, &found(visit, "", name, sheet).await?)
        }
        Err(problem) => Err(problem),
    }
}

/// `POST /account/email`
pub async fn email(visit: Visit, form: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let body = json!({ "email": form.get("email"), "password": form.raw("password") });
    let done = visit.api.put("/api/users/me/email", body).send().await;
    settled(&visit, &form, "email", done.map(|_| "/account?done=email")).await
}

/// `POST /account/password`
pub async fn password(visit: Visit, form: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let body = json!({ "password": form.raw("password"), "newPassword": form.raw("newPassword") });
    let done = visit.api.put("/api/users/me/password", body).once(form.get("key")).send().await;
    settled(&visit, &form, "password", done.map(|_| "/account?done=password")).await
}

/// `POST /account/verification`: another link to confirm the address.
pub async fn verification(visit: Visit, form: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let done = visit.api.post("/api/users/me/verification", json!({})).send().await;
    settled(&visit, &form, "verification", done.map(|_| "/account?done=verification")).await
}

/// `POST /account/sessions/{id}/revoke`
pub async fn revoke(visit: Visit, Path(id): Path<String>, form: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let done = visit.api.delete(format!("/api/users/me/sessions/{}", encoded(&id))).send().await;
    settled(&visit, &form, "sessions", done.map(|_| "/account?done=session")).await
}

/// `POST /account/sessions/revoke`: everywhere, here as well.
pub async fn revoke_all(visit: Visit, form: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let done = visit.api.delete("/api/users/me/sessions").send().await;
    settled(&visit, &form, "sessions", done.map(|_| "/auth/signin?done=everywhere")).await
}

/// `POST /account/erase`
pub async fn erase(visit: Visit, form: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let body = json!({ "password": form.raw("password") });
    let done = visit.api.delete("/api/users/me").with(body).send().await;
    settled(&visit, &form, "erase", done.map(|_| "/auth/signin?done=erased")).await
}

#[derive(Template)]
#[template(path = "claim.html")]
struct ClaimPage {
    chrome: Chrome,
    email: String,
    sheet: Sheet,
}

/// `GET /operator/claim`: where the token of the first operator is used.
pub async fn claim(visit: Visit) -> Result<Response, Problem> {
    let email = visit.signed_in()?.email.clone();
    ok(&ClaimPage { chrome: Chrome::new(&visit, "operator"), email, sheet: Sheet::default() })
}

/// `POST /operator/claim`
pub async fn claimed(visit: Visit, form: Form) -> Result<Response, Problem> {
    let email = visit.signed_in()?.email.clone();
    match visit.api.post("/api/users/claim-operator", json!({ "token": form.get("token") })).send().await {
        Ok(_) => Ok(go("/operator?done=claimed")),
        Err(problem) if problem.is_mendable() => {
            let (chrome, sheet) = (Chrome::new(&visit, "operator"), form.refused(&problem));
            page(problem.status, &ClaimPage { chrome, email, sheet })
        }
        Err(problem) => Err(problem),
    }
}

//! Accounts: finding them, banning them, and their roles.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::Uri;
use serde::Deserialize;
use serde_json::json;

use super::{Asked, Desk, ROWS, done};
use crate::pages::api::{encoded, query};
use crate::pages::chrome::{Chrome, ok, page};
use crate::pages::form::Form;
use crate::pages::problem::Problem;
use crate::pages::visit::Visit;
use crate::pages::when::Moment;

/// Roles that can be given and taken, and their names.
const ROLES: [(&str, &str); 3] =
    [("seller", "Seller"), ("operator-read", "Operator, reading"), ("operator-admin", "Operator, acting")];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    id: String,
    /// `None` where the account was erased.
    email: Option<String>,
    roles: Vec<String>,
    banned: bool,
    erased: bool,
    verified: bool,
    created_at: Moment,
    locks_live: u64,
    sessions: u64,
}

impl User {
    fn name(&self) -> &str {
        self.email.as_deref().unwrap_or("Erased account")
    }

    fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|has| has == role)
    }

    fn roles(&self) -> String {
        self.roles.join(", ")
    }
}

#[derive(Template)]
#[template(path = "operator_users.html")]
struct UsersPage {
    chrome: Chrome,
    desk: Desk,
    asked: Asked,
    users: Vec<User>,
    next: Option<String>,
}

/// `GET /operator/users`: by the beginning of the address.
pub async fn search(visit: Visit, uri: Uri) -> Result<Response, Problem> {
    let (chrome, desk) = Desk::new(&visit, "users", &uri)?;
    let asked = Asked::of(&uri);
    let q = asked.q.trim();
    let path = format!("/api/operator/users{}", query(&[("q", q), ("limit", ROWS), ("cursor", &asked.cursor)]));
    let answer = visit.api.get(path).send().await?;
    let link = |cursor: String| format!("/operator/users{}", query(&[("q", q), ("cursor", &cursor)]));
    let (users, next) = (answer.json()?, answer.next_cursor().map(link));
    ok(&UsersPage { chrome, desk, asked, users, next })
}

#[derive(Template)]
#[template(path = "operator_user.html")]
struct UserPage {
    chrome: Chrome,
    desk: Desk,
    user: User,
    roles: &'static [(&'static str, &'static str)],
}

async fn found(visit: &Visit, id: &str, uri: &Uri) -> Result<UserPage, Problem> {
    let (chrome, desk) = Desk::new(visit, "users", uri)?;
    let user = visit.api.get(format!("/api/operator/users/{}", encoded(id))).json().await?;
    Ok(UserPage { chrome, desk, user, roles: &ROLES })
}

/// `GET /operator/users/{id}`
pub async fn show(visit: Visit, Path(id): Path<String>, uri: Uri) -> Result<Response, Problem> {
    ok(&found(&visit, &id, &uri).await?)
}

/// `POST /operator/users/{id}/ban`
pub async fn ban(visit: Visit, Path(id): Path<String>, uri: Uri, _: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let answer = visit.api.post(format!("/api/operator/users/{}/ban", encoded(&id)), json!({})).send().await;
    settled(&visit, &id, &uri, answer.map(|_| "banned")).await
}

/// `POST /operator/users/{id}/unban`
pub async fn unban(visit: Visit, Path(id): Path<String>, uri: Uri, _: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let answer = visit.api.post(format!("/api/operator/users/{}/unban", encoded(&id)), json!({})).send().await;
    settled(&visit, &id, &uri, answer.map(|_| "unbanned")).await
}

/// `POST /operator/users/{id}/roles`
pub async fn roles(visit: Visit, Path(id): Path<String>, uri: Uri, form: Form) -> Result<Response, Problem> {
    visit.signed_in()?;
    let chosen: Vec<&str> = ROLES.iter().map(|(role, _)| *role).filter(|role| !form.get(role).is_empty()).collect();
    let path = format!("/api/operator/users/{}/roles", encoded(&id));
    match visit.api.put(path, json!({ "roles": chosen })).send().await {
        Err(problem) if problem.is_mendable() => {
            let mut user = found(&visit, &id, &uri).await?;
            user.desk.alert(&problem);
            user.user.roles = chosen.into_iter().map(str::to_string).collect();
            page(problem.status, &user)
        }
        answer => settled(&visit, &id, &uri, answer.map(|_| "roles")).await,
    }
}

async fn settled(visit: &Visit, id: &str, uri: &Uri, what: Result<&str, Problem>) -> Result<Response, Problem> {
    match what {
        Ok(what) => done(&format!("/operator/users/{}", encoded(id)), what),
        Err(problem) if problem.is_mendable() => {
            let mut user = found(visit, id, uri).await?;
            user.desk.alert(&problem);
            page(problem.status, &user)
        }
        Err(problem) => Err(problem),
    }
}

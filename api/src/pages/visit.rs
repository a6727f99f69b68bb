//! One request for a page: who asks, and the interface on his behalf.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{Extensions, Method, Uri, header};
use serde::Deserialize;

use super::Pages;
use super::api::{Api, encoded};
use super::card::CardForm;
use super::problem::Problem;
use crate::csrf;
use crate::session::Identity;

/// Who is signed in.
#[derive(Debug, Clone, Deserialize)]
pub struct Viewer {
    pub id: String,
    pub email: String,
    #[serde(default)]
    pub roles: Vec<String>,
}

impl Viewer {
    /// May see the pages of operators.
    pub fn is_operator(&self) -> bool {
        self.roles.iter().any(|role| role.starts_with("operator"))
    }

    /// May act on them.
    pub fn is_admin(&self) -> bool {
        self.roles.iter().any(|role| role == "operator-admin")
    }
}

/// One request for a page. Clones are handles to the same.
#[derive(Clone)]
pub struct Visit(Arc<Inner>);

pub struct Inner {
    pub api: Api,
    pub viewer: Option<Viewer>,
    /// Path and query.
    pub path: String,
    pub method: Method,
    /// What a form on this page proves its origin with.
    pub form_token: String,
    /// The provider's card form, where this node has a key for it.
    pub card_form: Option<CardForm>,
}

impl std::ops::Deref for Visit {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

#[derive(Deserialize)]
struct Current {
    #[serde(rename = "currentUser")]
    current_user: Option<Viewer>,
}

/// The layer that opens the visit for handlers, and tells the layer outside of it what was found.
pub async fn open(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let visit = Visit::new(&pages, &parts).await;
    parts.extensions.insert(visit.clone());
    let mut response = next.run(Request::from_parts(parts, body)).await;
    for cookie in visit.api.take_cookies() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response.extensions_mut().insert(visit);
    response
}

impl Visit {
    async fn new(pages: &Pages, parts: &Parts) -> Visit {
        let api = Api::new(pages.api.clone(), parts);
        let identity = parts.extensions.get::<Identity>().cloned().unwrap_or(Identity::Anonymous);
        let viewer = match identity {
            Identity::Anonymous => None,
            _ => api.get("/api/users/currentuser").json::<Current>().await.ok().and_then(|found| found.current_user),
        };
        let form = csrf::issue(&pages.app, &identity, &parts.headers);
        if let Some(cookie) = form.set_cookie {
            api.set_cookie(cookie);
        }
        let (method, path) = (parts.method.clone(), path_of(&parts.uri));
        let card_form = pages.app.settings.card_form.clone();
        Visit(Arc::new(Inner { api, form_token: form.token, viewer, path, method, card_form }))
    }

    /// The visit of a request for a page.
    pub fn of(extensions: &Extensions) -> Visit {
        extensions.get::<Visit>().cloned().expect("the layer before every page opens the visit")
    }

    /// The visit of somebody whose request was not admitted: nothing is known of him.
    pub fn stranger(pages: &Pages, method: Method, uri: &Uri) -> Visit {
        let api = Api::of_nobody(pages.api.clone());
        let (path, form_token) = (path_of(uri), String::new());
        Visit(Arc::new(Inner { api, form_token, viewer: None, path, method, card_form: None }))
    }

    /// Whoever is signed in; everybody else is sent to sign in and comes back to `back`.
    pub fn signed_in(&self) -> Result<&Viewer, Problem> {
        self.viewer.as_ref().ok_or_else(Problem::not_signed_in)
    }

    /// Where signing in leads back to: this page, or the one that a form stood on.
    pub fn way_back(&self) -> String {
        sign_in_to(self.page())
    }

    /// This page, or the one that a form stood on.
    pub fn page(&self) -> &str {
        if self.method.is_safe() { &self.path } else { form_page(&self.path) }
    }
}

fn path_of(uri: &Uri) -> String {
    uri.path_and_query().map_or("/", |path| path.as_str()).to_string()
}

/// The page that a form of this path stands on: `/tickets/7/buy` is on `/tickets/7`.
fn form_page(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or(path);
    let stands_alone = ["/tickets/new", "/sell/import", "/operator/claim"].contains(&path) || path.ends_with("/edit");
    match path.rsplit_once('/') {
        Some((page, _)) if !stands_alone && !page.is_empty() => page,
        _ => path,
    }
}

impl FromRequestParts<Pages> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _pages: &Pages) -> Result<Visit, Infallible> {
        Ok(Visit::of(&parts.extensions))
    }
}

/// Where signing in leads on to `page`.
pub fn sign_in_to(page: &str) -> String {
    format!("/auth/signin?next={}", encoded(page))
}

/// 303 to a path of ours.
pub fn go(path: &str) -> Response {
    Redirect::to(path).into_response()
}

/// `next` if it is a path on this site, else the home page: a link must not lead from our sign-in to another's site.
pub fn safe_next(next: &str) -> &str {
    let is_ours = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && !next.chars().any(|character| character.is_control());
    if is_ours { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_in_leads_nowhere_but_to_this_site() {
        assert_eq!(safe_next("/tickets/7?x=1"), "/tickets/7?x=1");
        for elsewhere in ["https://evil.example", "//evil.example", "/\\evil.example", "", "evil", "/a\nb"] {
            assert_eq!(safe_next(elsewhere), "/", "{elsewhere}");
        }
    }

    #[test]
    fn a_form_leads_back_to_its_page() {
        assert_eq!(form_page("/tickets/7/buy"), "/tickets/7");
        assert_eq!(form_page("/tickets/new"), "/tickets/new");
        assert_eq!(form_page("/account/email"), "/account");
        assert_eq!(form_page("/account"), "/account");
    }
}

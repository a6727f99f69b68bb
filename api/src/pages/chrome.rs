//! What every page has around it: the layout's data, the headers that keep a page to itself, and the pages of failures.

use askama::Template;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Limited};

use super::Pages;
use super::card::Policy;
use super::problem::Problem;
use super::visit::{Viewer, Visit, go};
use super::{assets, when};

/// Nothing but our own files; no script and no style inside a page; no frame around it. The page with the provider's card form has
/// one of its own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// The longest error body that is turned into a page, in bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// The layout's data.
pub struct Chrome {
    visit: Visit,
    /// Which entry of the navigation this page belongs to.
    here: &'static str,
    /// The ledger could not be asked for certain: what is shown may be old, and nothing can be bought.
    pub paused: bool,
}

impl Chrome {
    pub fn new(visit: &Visit, here: &'static str) -> Chrome {
        Chrome { visit: visit.clone(), here, paused: false }
    }

    /// The same, saying that sales pause.
    pub fn paused(self, paused: bool) -> Chrome {
        Chrome { paused, ..self }
    }

    pub fn viewer(&self) -> Option<&Viewer> {
        self.visit.viewer.as_ref()
    }

    pub fn is_operator(&self) -> bool {
        self.viewer().is_some_and(Viewer::is_operator)
    }

    pub fn is_here(&self, section: &str) -> bool {
        self.here == section
    }

    pub fn token(&self) -> &str {
        &self.visit.form_token
    }

    pub fn stylesheet(&self) -> &'static str {
        assets::stylesheet().path
    }

    pub fn script(&self) -> &'static str {
        assets::script().path
    }

    pub fn icon(&self) -> &'static str {
        assets::icon().path
    }

    /// Where to sign in and come back to this page.
    pub fn sign_in(&self) -> String {
        self.visit.way_back()
    }

    /// Where to sign up and come back to this page.
    pub fn sign_up(&self) -> String {
        self.visit.way_back().replacen("signin", "signup", 1)
    }
}

/// A page with this status.
pub fn page(status: StatusCode, template: &impl Template) -> Result<Response, Problem> {
    let html = template.render().map_err(|error| {
        tracing::error!(%error, "a page could not be rendered");
        Problem::ours()
    })?;
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))];
    Ok((status, content_type, html).into_response())
}

/// A page that came to be as asked.
pub fn ok(template: &impl Template) -> Result<Response, Problem> {
    page(StatusCode::OK, template)
}

/// The outermost layer of pages: failures become pages, and every answer gets its headers.
pub async fn finish(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut response = next.run(request).await;
    let visit = response.extensions_mut().remove::<Visit>();
    let visit = visit.unwrap_or_else(|| Visit::stranger(&pages, method, &uri));
    let policy = response.extensions_mut().remove::<Policy>().map(|policy| policy.0);
    let (mut response, problem) = take_problem(response).await;
    if let Some(problem) = problem {
        let mut shown = failure(&visit, &problem);
        for (name, value) in response.headers().iter().filter(|(name, _)| is_kept(name)) {
            shown.headers_mut().append(name.clone(), value.clone());
        }
        response = shown;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.unwrap_or(HeaderValue::from_static(POLICY)));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    // A page shows one visitor's state of this moment.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What of a failed answer's headers its page keeps: cookies, the budget, the request's id, when to come back.
fn is_kept(name: &http::HeaderName) -> bool {
    let name = name.as_str();
    name == "set-cookie" || name == "retry-after" || name == "x-request-id" || name.starts_with("ratelimit")
}

/// The problem that a response carries or, as JSON, is.
async fn take_problem(mut response: Response) -> (Response, Option<Problem>) {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return (response, Some(problem));
    }
    let is_failure = response.status().is_client_error() || response.status().is_server_error();
    if !is_failure || !is_json(response.headers()) {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, ERROR_BYTES_MAX).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let retry_after = parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let problem = Problem::read(parts.status, retry_after, &body);
    (Response::from_parts(parts, Body::empty()), Some(problem))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    content_type.starts_with("application/json") || content_type.starts_with("application/problem+json")
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage<'a> {
    chrome: Chrome,
    problem: &'a Problem,
    title: &'a str,
    lead: String,
    /// Seconds after which the page is asked for again by itself.
    refresh_s: Option<u64>,
    /// The page of the form that failed.
    back: Option<&'a str>,
}

/// The page of a failure, or the way to sign in.
fn failure(visit: &Visit, problem: &Problem) -> Response {
    if problem.wants_sign_in() {
        return go(&visit.way_back());
    }
    let (status, title, lead) = words(problem);
    // Only a page that was asked for can be asked for again; a form would be sent twice.
    let refresh_s = (problem.is_pause() && visit.method.is_safe()).then(|| problem.retry_after_s.unwrap_or(2).max(2));
    let back = (!visit.method.is_safe()).then(|| visit.page());
    let page_ = FailurePage { chrome: Chrome::new(visit, ""), problem, title, lead, refresh_s, back };
    let mut response = page(status, &page_).unwrap_or_else(|_| status.into_response());
    if let Some(seconds) = problem.retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// Status, heading and first sentence of a failure's page.
fn words(problem: &Problem) -> (StatusCode, &'static str, String) {
    let wait = || problem.retry_after_s.map_or("a moment".to_string(), when::duration);
    match (problem.status, problem.code()) {
        (_, "form_out_of_date") => (
            StatusCode::FORBIDDEN,
            "This form is out of date",
            problem.message().to_string(),
        ),
        (_, "cross_site") => (
            StatusCode::FORBIDDEN,
            "That came from another site",
            "Another site asked for this in your name, so we did not do it.".into(),
        ),
        (StatusCode::UNAUTHORIZED, _) => (
            StatusCode::FORBIDDEN,
            "This belongs to somebody else",
            "You are signed in, but with another account than the one this page is for.".into(),
        ),
        (StatusCode::FORBIDDEN, "banned") => {
            (StatusCode::FORBIDDEN, "This account is banned", "It can neither buy nor sell.".into())
        }
        (StatusCode::FORBIDDEN, _) => {
            (StatusCode::FORBIDDEN, "Not for this account", "Your role does not allow this.".into())
        }
        (StatusCode::NOT_FOUND, _) | (_, "malformed_id") => (
            StatusCode::NOT_FOUND,
            "Nothing here",
            "There is no such page. The address may be mistyped, or what it named is gone.".into(),
        ),
        (StatusCode::TOO_MANY_REQUESTS, "cooling_down") => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many of your orders ran out",
            format!("You can lock tickets again in {}.", wait()),
        ),
        (StatusCode::TOO_MANY_REQUESTS, _) => (
            StatusCode::TOO_MANY_REQUESTS,
            "A little too fast",
            format!("More requests came from here than we take. Try again in {}.", wait()),
        ),
        (StatusCode::SERVICE_UNAVAILABLE, "outcome_unknown") => (
            StatusCode::SERVICE_UNAVAILABLE,
            "We lost sight of your request",
            "It may have been done or not. Go back and send it once more: it is never done twice.".into(),
        ),
        (StatusCode::SERVICE_UNAVAILABLE, _) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Sales pause for a moment",
            "Our servers are agreeing on who goes on. Nothing was done and nothing is charged; what you hold stays yours.".into(),
        ),
        (status, _) if status.is_server_error() => {
            (status, "Something of ours broke", "It is not your fault. Nothing was charged by this page.".into())
        }
        (status, _) => (status, "That did not work", problem.message().to_string()),
    }
}

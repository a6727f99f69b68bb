//! The outermost layer: gives a request its id, its caller and its budget, and turns faults into responses.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tokio::time::Instant;

use crate::app::App;
use crate::error::{Asked, Fault};
use crate::headers::{LOG_INDEX, REQUEST_ID};
use crate::limits::{Budget, Peer};
use crate::session::{self, Caller, Identity};
use crate::{cards, cors, csrf};

/// The longest request id of a client's own that is taken over, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Counts a request and its answer, by the route rather than the path, of which there are any number.
pub async fn outermost(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_string();
    let method = known(request.method());
    let is_safe = request.method().is_safe();
    let caller = request.headers().get("traceparent").cloned();
    let response = answered(app, request, next).await;
    metrics::histogram!("holdfast_http_request_seconds", "route" => route.clone())
        .record(begun.elapsed().as_secs_f64());
    // What only read was decided by no entry.
    let index = response
        .headers()
        .get(LOG_INDEX)
        .filter(|_| !is_safe)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    tracing::trace!(
        target: "holdfast::spans",
        span = "http",
        method,
        route,
        index,
        status = u64::from(response.status().as_u16()),
        traceparent = caller.as_ref().and_then(|caller| caller.to_str().ok()).unwrap_or_default(),
        duration_us = begun.elapsed().as_micros() as u64
    );
    let status = response.status().as_u16().to_string();
    metrics::counter!("holdfast_http_requests_total", "method" => method, "route" => route, "status" => status)
        .increment(1);
    response
}

/// A method's name. Clients may make some up, and each would be a series of its own.
fn known(method: &Method) -> &'static str {
    let usual = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    usual.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}

/// Runs a request between admission and the rendering of faults.
async fn answered(app: App, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path().to_string();
    let request_id = request_id(&app, &parts.headers);
    let request_id_value = HeaderValue::try_from(&request_id).expect("a harmless text is a header value");
    parts.headers.insert(REQUEST_ID, request_id_value.clone());
    let wants_problem_json = wants_problem_json(&parts.headers);
    let origin = cors::listed_origin(&app, &parts);

    let admitted = admit(&app, &mut parts).await;
    let (mut response, budget, renewed) = match admitted {
        Ok(admitted) => {
            let preflight = origin.as_ref().and_then(|_| cors::preflight(&parts));
            let response = match preflight {
                Some(response) => response,
                None => next.run(Request::from_parts(parts, body)).await,
            };
            (response, admitted.budget, admitted.renewed)
        }
        Err((fault, budget)) => (fault.into_response(), budget, None),
    };
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        let clears_session = fault.clears_session();
        let asked = Asked { path: &path, request_id: &request_id, wants_problem_json };
        response = fault.render(&asked);
        if clears_session {
            response.headers_mut().insert(header::SET_COOKIE, session::cookie_cleared(&app));
        }
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, request_id_value);
    secure(&app, headers);
    if !app.settings.cors_origins.is_empty() {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        cors::allow(origin, headers);
    }
    if let Some(budget) = budget {
        budget.write(headers);
    }
    if let Some(cookie) = renewed
        && !session::is_set_in(headers)
    {
        headers.append(header::SET_COOKIE, cookie);
    }
    response
}

/// What browsers are to do with an answer. A page has said so itself already.
fn secure(app: &App, headers: &mut HeaderMap) {
    let usual: [(HeaderName, &'static str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in usual {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if app.is_https() {
        let a_year = HeaderValue::from_static("max-age=31536000");
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(a_year);
    }
}

/// A request that may go on.
struct Admitted {
    budget: Option<Budget>,
    /// A cookie with a fresh token, where the one that came is past half of its life.
    renewed: Option<HeaderValue>,
}

/// Counts the request, finds its caller and puts him into its extensions.
async fn admit(app: &App, parts: &mut Parts) -> Result<Admitted, (Fault, Option<Budget>)> {
    let peer = parts.extensions.get::<Peer>().copied();
    let limited = peer.filter(|_| app.limiter.applies_to(peer));
    let mut budget = None;
    let mut count = |taken: Budget| {
        budget = Some(taken);
        if taken.exceeded { Err((Fault::rate_limited(taken.reset_s.into()), budget)) } else { Ok(()) }
    };
    let service = match limited {
        Some(_) => session::service(app, &parts.headers).await,
        None => None,
    };
    if let Some(service) = service {
        count(app.limiter.service(service))?;
    } else if let Some(peer) = limited {
        count(app.limiter.address(peer))?;
        if parts.method == Method::POST && takes_credentials(parts.uri.path()) {
            count(app.limiter.credentials(peer))?;
        }
    }
    csrf::same_site(app, parts).map_err(|fault| (fault, None))?;

    let mut identity = match service {
        Some(service) => Identity::Service(service),
        None => session::identify(app, &parts.headers).await,
    };
    let mut renewed = None;
    if let Identity::Anonymous = identity
        && is_page(parts.uri.path())
    {
        // Nobody should have to sign in again for having read a page for long.
        identity = session::identify_expired(app, &parts.headers).await;
    }
    if let Some(caller) = identity.caller() {
        if !parts.method.is_safe() && limited.is_some() {
            count(app.limiter.account(caller.signed_in.user))?;
        }
        if caller.by_cookie && is_old(app, caller) {
            let cookie = session::cookie(app, caller.signed_in);
            session::replace_cookie(&mut parts.headers, &cookie);
            app.prolong(caller.signed_in);
            renewed = Some(cookie);
        }
    }
    parts.extensions.insert(identity);
    Ok(Admitted { budget, renewed })
}

/// Past half of the token's life.
fn is_old(app: &App, caller: &Caller) -> bool {
    app.now_s().saturating_sub(caller.issued_s) > app.settings.token_ttl_s / 2
}

/// Whether a guess of a password, or a mail to somebody, can be had here.
fn takes_credentials(path: &str) -> bool {
    matches!(path, "/api/users/signup" | "/api/users/signin" | "/api/users/reset" | "/api/users/reset/confirm")
}

/// What a browser shows, rather than what a program reads.
fn is_page(path: &str) -> bool {
    !path.starts_with("/api/") && !path.starts_with("/.well-known/")
}

/// The client's own request id where it is harmless, else a new one.
fn request_id(app: &App, headers: &HeaderMap) -> String {
    let harmless = |text: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
            && !cards::is_number(text)
    };
    let own = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(harmless);
    own.map_or_else(|| app.next_request_id(), str::to_string)
}

fn wants_problem_json(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT);
    accepts.iter().any(|value| value.to_str().is_ok_and(|text| text.contains("application/problem+json")))
}

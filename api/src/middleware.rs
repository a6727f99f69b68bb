//! The outermost layer: gives a request its id, its caller and its budget, and turns faults into responses.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, Uri, header};

use crate::app::App;
use crate::error::{Asked, Fault};
use crate::headers::REQUEST_ID;
use crate::limits::{Budget, Peer};
use crate::session;

/// The longest request id of a client's own that is taken over, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// Runs a request between admission and the rendering of faults.
pub async fn outermost(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let request_id = request_id(&app, request.headers());
    let wants_problem_json = wants_problem_json(request.headers());

    let (mut response, budget, refresh) = match admit(&app, &mut request).await {
        Ok(admitted) => {
            let response = next.run(request).await;
            (response, admitted.budget, admitted.refresh)
        }
        Err((fault, budget)) => (fault.into_response(), budget, None),
    };
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        let clears_session = fault.clears_session();
        let asked = Asked { path: uri.path(), request_id: &request_id, wants_problem_json };
        response = fault.render(&asked);
        if clears_session {
            response.headers_mut().insert(header::SET_COOKIE, session::cookie_cleared(&app));
        }
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(budget) = budget {
        budget.write(headers);
    }
    if let Some(signed_in) = refresh
        && !headers.contains_key(header::SET_COOKIE)
    {
        headers.insert(header::SET_COOKIE, session::cookie(&app, signed_in));
    }
    response
}

/// A request that may go on.
struct Admitted {
    budget: Option<Budget>,
    /// The session whose token is past half of its life and came in a cookie.
    refresh: Option<holdfast_ledger::entities::SignedIn>,
}

/// Counts the request, finds its caller and puts him into its extensions.
async fn admit(app: &App, request: &mut Request) -> Result<Admitted, (Fault, Option<Budget>)> {
    let peer = request.extensions().get::<Peer>().copied();
    let limited = peer.filter(|_| app.limiter.applies_to(peer));
    let mut budget = None;
    let mut count = |taken: Budget| {
        budget = Some(taken);
        if taken.exceeded { Err((Fault::rate_limited(taken.reset_s.into()), budget)) } else { Ok(()) }
    };
    if let Some(peer) = limited {
        count(app.limiter.address(peer))?;
        if request.method() == Method::POST && matches!(request.uri().path(), "/api/users/signup" | "/api/users/signin")
        {
            count(app.limiter.credentials(peer))?;
        }
    }

    let identity = session::identify(app, request.headers()).await;
    let mut refresh = None;
    if let Some(caller) = identity.caller() {
        let is_write = !request.method().is_safe();
        if is_write && caller.by_cookie {
            same_site(app, request.headers(), request.uri()).map_err(|fault| (fault, None))?;
        }
        if is_write && limited.is_some() {
            count(app.limiter.account(caller.signed_in.user))?;
        }
        let half_life_s = app.settings.token_ttl_s / 2;
        let is_old = app.now_s().saturating_sub(caller.issued_s) > half_life_s;
        refresh = (is_old && caller.by_cookie).then_some(caller.signed_in);
    }
    request.extensions_mut().insert(identity);
    Ok(Admitted { budget, refresh })
}

/// Refuses a write with a cookie that a page of another site has sent: 403.
fn same_site(app: &App, headers: &HeaderMap, uri: &Uri) -> Result<(), Fault> {
    let refused = || Err(Fault::forbidden("cross_site", "This request came from another site"));
    if headers.get("sec-fetch-site").is_some_and(|value| value == "cross-site") {
        return refused();
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(uri.host()).unwrap_or_default();
    let is_ours = origin == app.settings.public_url.trim_end_matches('/')
        || origin.split_once("://").is_some_and(|(_, authority)| authority == host);
    if is_ours { Ok(()) } else { refused() }
}

/// The client's own request id where it is harmless, else a new one.
fn request_id(app: &App, headers: &HeaderMap) -> String {
    let harmless = |text: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let own = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(harmless);
    own.map_or_else(|| app.next_request_id(), str::to_string)
}

fn wants_problem_json(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT);
    accepts.iter().any(|value| value.to_str().is_ok_and(|text| text.contains("application/problem+json")))
}

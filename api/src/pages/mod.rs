//! The pages: what buyers, sellers and operators see in a browser.
//!
//! A page is a client of the interface beside it. Its handler sends requests to the same router that programs use, inside the
//! process, with the visitor's cookie, and renders the JSON that comes back: what a page can do, and what it is refused,
//! is what REST can do and is refused. Forms post to routes of pages, which answer with 303 or show the form again with
//! what is wrong beside its field.
//!
//! Every page is whole without JavaScript. The one module of ours only adds what needs a clock or a wire: countdowns, live
//! changes, dialogs.
//!
//! What this deliberately does not do: ask the ledger anything itself.

mod account;
mod api;
mod assets;
mod auth;
mod card;
mod chrome;
mod form;
mod home;
mod import;
mod money;
mod operator;
mod orders;
mod problem;
mod selling;
mod tickets;
mod verify;
mod views;
mod visit;
mod when;

pub use card::{CardForm, STRIPE_SCRIPT};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use http::header;
use tower::ServiceExt;

use self::problem::Problem;
use crate::app::App;
use crate::middleware;

/// What every page's handler shares: the interface that it is a client of.
#[derive(Clone)]
pub struct Pages {
    /// All routes of the interface, as a client outside would meet them.
    api: Router,
    app: App,
}

/// The pages, before `api`, the interface they are clients of. Takes over what no route of `api` answers.
pub fn around(api: Router, app: App) -> Router {
    let pages = Pages { api: api.clone(), app: app.clone() };
    let routes = Router::new()
        .merge(buyer())
        .merge(seller())
        .merge(accounts())
        .merge(operator::routes())
        .method_not_allowed_fallback(no_page)
        .layer(from_fn_with_state(pages.clone(), visit::open))
        .layer(from_fn_with_state(app.clone(), middleware::outermost))
        .layer(from_fn_with_state(pages.clone(), chrome::finish))
        // Bodies are bounded where they are read.
        .layer(DefaultBodyLimit::disable())
        .with_state(pages.clone());
    let nowhere = Router::new()
        .fallback(no_page)
        .layer(from_fn_with_state(pages.clone(), visit::open))
        .layer(from_fn_with_state(app, middleware::outermost))
        .layer(from_fn_with_state(pages.clone(), chrome::finish))
        .with_state(pages);
    let fallback = move |request: Request| {
        let service = if wants_page(&request) { nowhere.clone() } else { api.clone() };
        async move { service.oneshot(request).await.unwrap_or_else(|never| match never {}) }
    };
    routes.merge(assets::routes().layer(from_fn(assets::cached))).fallback(fallback)
}

/// Whether a request for a path that nobody has comes from a browser rather than from a program.
fn wants_page(request: &Request) -> bool {
    let path = request.uri().path();
    let of_programs = path.starts_with("/api/") || path == "/api" || path.starts_with("/.well-known/");
    let accepts = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    !of_programs && accepts.contains("text/html")
}

fn buyer() -> Router<Pages> {
    Router::new()
        .route("/", get(home::show))
        .route("/tickets/{id}", get(tickets::show))
        .route("/tickets/{id}/buy", post(tickets::buy))
        .route("/tickets/{id}/join", post(tickets::join))
        .route("/tickets/{id}/leave", post(tickets::leave))
        .route("/tickets/{id}/watch", post(tickets::watch))
        .route("/tickets/{id}/unwatch", post(tickets::unwatch))
        .route("/orders", get(orders::list))
        .route("/orders/{id}", get(orders::show))
        .route("/orders/{id}/pay", post(orders::pay))
        .route("/orders/{id}/extend", post(orders::extend))
        .route("/orders/{id}/cancel", post(orders::cancel))
        .route("/orders/{id}/tickets/{ticket}", get(orders::pass))
        .route("/verify", get(verify::show).post(verify::check))
}

fn seller() -> Router<Pages> {
    Router::new()
        .route("/sell", get(selling::listings))
        .route("/sell/sales", get(selling::sales))
        .route("/sell/import", get(import::ask).post(import::preview))
        .route("/sell/import/confirm", post(import::confirm))
        .route("/tickets/new", get(selling::new).post(selling::create))
        .route("/tickets/{id}/edit", get(selling::edit).post(selling::save))
        .route("/tickets/{id}/price", post(selling::schedule))
        .route("/tickets/{id}/withdraw", post(selling::withdraw))
}

fn accounts() -> Router<Pages> {
    Router::new()
        .route("/auth/signup", get(auth::sign_up).post(auth::signed_up))
        .route("/auth/signin", get(auth::sign_in).post(auth::signed_in))
        .route("/auth/signout", get(auth::sign_out).post(auth::signed_out))
        .route("/auth/forgot", get(auth::forgot).post(auth::forgotten))
        .route("/account", get(account::show))
        .route("/auth/reset", get(auth::reset).post(auth::reset_done))
        .route("/auth/verify", get(auth::confirm_address).post(auth::address_confirmed))
        .route("/account/email", post(account::email))
        .route("/account/password", post(account::password))
        .route("/account/verification", post(account::verification))
        .route("/account/sessions/revoke", post(account::revoke_all))
        .route("/account/sessions/{id}/revoke", post(account::revoke))
        .route("/account/erase", post(account::erase))
        .route("/operator/claim", get(account::claim).post(account::claimed))
}

/// No such page.
async fn no_page(State(_): State<Pages>) -> Problem {
    Problem::no_page()
}

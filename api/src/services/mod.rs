//! The routes of services: programs that carry out what the ledger asks for, each known by a key of its own.
//!
//! They hand out what such a program needs and nobody else may see (a payment's token, an account's address), and take its
//! results as commands. Who may call which is said by each handler.

mod credential;
mod directory;
mod due;
mod payments;

use axum::extract::FromRequestParts;
use holdfast_ledger::command::Service;
use http::request::Parts;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::error::Fault;
use crate::session::Identity;

pub use credential::{ServiceTokens, is_service_token, verify, verify_here};

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(payments::list))
        .routes(routes!(payments::show))
        .routes(routes!(payments::record))
        .routes(routes!(directory::order))
        .routes(routes!(directory::contact))
        .routes(routes!(directory::link))
        .routes(routes!(directory::watchers))
        .routes(routes!(directory::webhooks))
        .routes(routes!(directory::remove_webhook))
}

/// The service that asks. 401 for everybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceCaller(pub Service);

impl ServiceCaller {
    /// 403 unless it is this service.
    pub fn require(self, service: Service) -> Result<(), Fault> {
        if self.0 == service {
            return Ok(());
        }
        Err(Fault::forbidden("wrong_service", "This is for another service"))
    }
}

impl FromRequestParts<App> for ServiceCaller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<ServiceCaller, Fault> {
        match parts.extensions.get() {
            Some(Identity::Service(service)) => Ok(ServiceCaller(*service)),
            Some(Identity::Unknown(fault)) => Err(fault.clone()),
            _ => Err(Fault::not_signed_in()),
        }
    }
}

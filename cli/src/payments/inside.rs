//! The service beside a node, in one process: what a single `holdfast dev` needs, and a cluster without a broker.
//!
//! Every node runs one and works on what is open while it leads, over the routes of its own, without a socket. The book of its
//! bank is the process's own.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use holdfast_api::App;
use holdfast_ledger::command::Service;
use holdfast_services::client::{InProcess, Signed};
use holdfast_services::key::ServiceKey;
use holdfast_services::payments::sandbox::Sandbox;
use holdfast_services::payments::{Saga, Settings};
use holdfast_services::system_clock;

use crate::folder::SEED_BYTES;
use crate::service::publish;

/// Works until dropped.
pub async fn run(app: App, router: Router, seed: [u8; SEED_BYTES], sandbox: Arc<Sandbox>) {
    let key = ServiceKey::from_seed(Service::Payments, &seed);
    publish(&app.node, &key).await;
    let api = Arc::new(InProcess::<Router, Body>::new(router));
    let api = Signed::new(api, key, &app.settings.issuer, system_clock());
    let saga = Saga::new(api, sandbox, Settings { sweep_interval: None, ..Settings::default() });
    let ring = async {
        let mut seen = 0;
        loop {
            seen = app.payments_due(seen).await;
            saga.ring();
        }
    };
    saga.run(ring).await;
}

//! The service beside a node, in one process: what `holdfast dev` runs, over the node's own routes and its broker in memory.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use holdfast_api::App;
use holdfast_events::broker::SharedBroker;
use holdfast_ledger::command::Service;
use holdfast_services::client::{InProcess, Signed};
use holdfast_services::key::ServiceKey;
use holdfast_services::notifications::{Notifications, Settings};
use holdfast_services::system_clock;
use tokio::sync::watch;

use super::{folder, sent_log};
use crate::failure::Failure;
use crate::folder::SEED_BYTES;
use crate::service;

/// The folder of mails, within a node's folder.
pub const MAIL: &str = "mail";

/// A node's own routes and broker.
pub struct Inside {
    pub app: App,
    pub router: Router,
    pub broker: SharedBroker,
}

impl Inside {
    /// The service with its mails under `data`, working once its key is known to the cluster, until `stopping` is raised.
    pub fn start(
        self,
        data: &Path,
        seed: [u8; SEED_BYTES],
        stopping: watch::Receiver<bool>,
    ) -> Result<impl Future<Output = ()> + use<>, Failure> {
        let Inside { app, router, broker } = self;
        let post = Arc::new(folder(&data.join(MAIL))?);
        let sent = sent_log(Some(&data.join(MAIL)))?;
        let settings = Settings {
            public_url: app.settings.public_url.trim_end_matches('/').to_string(),
            sender: "Tickets <tickets@localhost>".parse().expect("an address"),
            // It is a developer's own machine, and so are the endpoints that he tries.
            allow_private: true,
        };
        let key = ServiceKey::from_seed(Service::Notifications, &seed);
        Ok(async move {
            service::publish(&app.node, &key).await;
            let api = Arc::new(InProcess::<Router, Body>::new(router));
            let api = Signed::new(api, key, &app.settings.issuer, system_clock());
            Notifications::new(api, broker, post, sent, settings).run(stopping).await;
        })
    }
}

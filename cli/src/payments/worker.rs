//! The service as a process: follows events, sweeps, takes webhooks, and finishes the steps in hand when it is stopped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use clap::Args;
use holdfast_events::broker::SharedBroker;
use holdfast_events::consumer::{self, Consumer, MemoryInbox};
use holdfast_events::wire;
use holdfast_ledger::command::Service;
use holdfast_services::health::{self, Readiness};
use holdfast_services::payments::follow::{DURABLE, Follow};
use holdfast_services::payments::webhook::Webhooks;
use holdfast_services::payments::{Saga, Settings, sandbox_server};
use holdfast_services::system_clock;
use tokio::task::JoinHandle;

use super::provider::{Opened, ProviderArgs, secret};
use crate::failure::Failure;
use crate::nats::NatsArgs;
use crate::service::{self, ApiArgs, listen};
use crate::stop;

/// Payments whose versions the inbox remembers.
const INBOX_ENTITIES_MAX: usize = 100_000;
/// With events, the sweeper leaves younger payments to them. Milliseconds.
const SWEEP_AGE_MS: u64 = 3_000;
/// Between two looks whether the cluster answers.
const READY_INTERVAL: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub struct WorkerArgs {
    #[command(flatten)]
    api: ApiArgs,
    /// Whose events are followed; without, the ledger's list of open payments is read once a second
    #[command(flatten)]
    nats: NatsArgs,
    #[command(flatten)]
    provider: ProviderArgs,
    /// File with the secret that webhooks are signed with; or the variable HOLDFAST_WEBHOOK_SECRET. Without, none are taken
    #[arg(long, env = "HOLDFAST_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    webhook_secret_file: Option<PathBuf>,
    /// Address of /livez, /readyz, /metrics and /webhooks/stripe; port 0: any free one
    #[arg(long, env = "HOLDFAST_LISTEN", value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Stop when standard input is closed: a parent's children do not outlive it
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

pub async fn run(args: WorkerArgs) -> Result<(), Failure> {
    let api = args.api.signed(Service::Payments)?;
    let opened = args.provider.open()?;
    let webhook_secret = secret("--webhook-secret-file", args.webhook_secret_file.as_ref(), "HOLDFAST_WEBHOOK_SECRET")?;
    let broker: Option<SharedBroker> = match args.nats.is_told() {
        true => Some(Arc::new(args.nats.servers()?)),
        false => None,
    };
    let sweep_age_ms = if broker.is_some() { SWEEP_AGE_MS } else { 0 };
    let saga = Saga::new(api.clone(), opened.provider.clone(), Settings { sweep_age_ms, ..Settings::default() });
    let stopping = stop::flag(args.stop_with_stdin);
    let needs: &[&'static str] = if broker.is_some() { &["api", service::NATS] } else { &["api"] };
    let readiness = Readiness::new(needs);
    let served = match args.listen {
        Some(address) => {
            let routes = routes(&opened, &saga, webhook_secret, readiness.clone());
            Some(listen(address, routes, stopping.clone()).await?)
        }
        None => {
            say!("ready");
            None
        }
    };
    let mut watching = vec![tokio::spawn(watch_api(saga.clone(), readiness.clone()))];
    watching.extend(broker.clone().map(|broker| tokio::spawn(service::watch_nats(broker, readiness))));
    let following = broker.map(|broker| {
        let inbox = consumer::shared(MemoryInbox::new(INBOX_ENTITIES_MAX));
        let settings = consumer::Settings::new(DURABLE, wire::filter("payment"));
        let follow = Follow { saga: saga.clone(), api, provider: opened.provider };
        let consumer = Consumer::new(broker, settings, inbox, follow);
        let stopping = stopping.clone();
        tokio::spawn(async move { consumer.run(stopping).await })
    });
    saga.run(stop::raised(stopping)).await;
    if let Some(following) = following {
        let _ = following.await;
    }
    if let Some(served) = served {
        let _ = served.await;
    }
    watching.iter().for_each(JoinHandle::abort);
    Ok(())
}

fn routes(opened: &Opened, saga: &Saga, webhook_secret: Option<String>, readiness: Readiness) -> Router {
    let mut routes = health::routes(health::install_metrics(), readiness);
    if let Some(secret) = webhook_secret {
        routes = routes.merge(Webhooks::new(saga.clone(), secret.as_bytes(), system_clock()).routes());
    }
    match &opened.sandbox {
        Some(sandbox) => routes.merge(sandbox_server::book(sandbox.clone())),
        None => routes,
    }
}

async fn watch_api(saga: Saga, readiness: Readiness) {
    loop {
        readiness.set("api", saga.is_answered());
        tokio::time::sleep(READY_INTERVAL).await;
    }
}

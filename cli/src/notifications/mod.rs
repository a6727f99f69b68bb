//! `holdfast notifications`: the service that writes to people and tells programs.

pub mod inside;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use holdfast_events::broker::SharedBroker;
use holdfast_ledger::command::Service;
use holdfast_services::client::Signed;
use holdfast_services::health::{self, Readiness};
use holdfast_services::notifications::post::{Folder, Post, Smtp};
use holdfast_services::notifications::{Notifications, Sender, SentLog, Settings};
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::nats::NatsArgs;
use crate::service::{self, ApiArgs};
use crate::stop;

/// Names of what was sent that are remembered.
const SENT_NAMES_MAX: u64 = 100_000;
/// Between two looks whether the cluster answers.
const READY_INTERVAL: Duration = Duration::from_secs(2);

/// Write mails to buyers and post signed webhooks, from the ledger's events
///
/// Any number of copies may run: they share the events. What is to be sent stands at the broker, so none keeps anything that
/// matters; --data only saves that something is sent twice after a restart.
#[derive(Debug, Args)]
pub struct NotificationsArgs {
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    nats: NatsArgs,
    /// Mail server, such as smtp://localhost:25 or smtps://user:password@mail.example.org; without, mails go to --outbox
    #[arg(long, env = "HOLDFAST_SMTP", hide_env_values = true, conflicts_with = "outbox", value_name = "URL")]
    smtp: Option<String>,
    /// Folder that mails are put into as .eml files; made if it is not there
    #[arg(long, env = "HOLDFAST_OUTBOX", default_value = "holdfast-mail", value_name = "DIR")]
    outbox: PathBuf,
    /// Folder that remembers what was sent; without, only until the process ends
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Who writes
    #[arg(long, env = "HOLDFAST_FROM", default_value = "Tickets <tickets@localhost>", value_name = "ADDRESS")]
    from: Sender,
    /// Where people reach the pages: links in mails begin with it; the first --api if not said
    #[arg(long, env = "HOLDFAST_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Webhooks may go to loopback and private addresses
    #[arg(long, env = "HOLDFAST_ALLOW_PRIVATE")]
    allow_private: bool,
    /// Address of /livez, /readyz and /metrics; port 0: any free one
    #[arg(long, env = "HOLDFAST_LISTEN", value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Stop when standard input is closed: a parent's children do not outlive it
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

pub async fn run(args: NotificationsArgs) -> Result<(), Failure> {
    let broker: SharedBroker = Arc::new(args.nats.servers()?);
    let api = args.api.signed(Service::Notifications)?;
    let post: Arc<dyn Post> = match &args.smtp {
        Some(url) => Arc::new(Smtp::new(url).map_err(|error| Failure::usage(format!("--smtp: {error}")))?),
        None => Arc::new(folder(&args.outbox)?),
    };
    let sent = sent_log(args.data.as_deref())?;
    let public_url = args.public_url.or_else(|| args.api.api.first().cloned()).unwrap_or_default();
    let settings = Settings {
        public_url: public_url.trim_end_matches('/').to_string(),
        sender: args.from,
        allow_private: args.allow_private,
    };

    let stopping = stop::flag(args.stop_with_stdin);
    let readiness = Readiness::new(&["api", service::NATS]);
    let served = match args.listen {
        Some(address) => {
            let routes = health::routes(health::install_metrics(), readiness.clone());
            Some(service::listen(address, routes, stopping.clone()).await?)
        }
        None => {
            say!("ready");
            None
        }
    };
    let watching = [
        tokio::spawn(watch_api(api.clone(), readiness.clone())),
        tokio::spawn(service::watch_nats(broker.clone(), readiness)),
    ];
    Notifications::new(api, broker, post, sent, settings).run(stopping).await;
    watching.iter().for_each(JoinHandle::abort);
    if let Some(served) = served {
        // What it was answering is answered, or cut off by its own time.
        let _ = served.await;
    }
    Ok(())
}

fn folder(path: &Path) -> Result<Folder, Failure> {
    Folder::new(path).map_err(|error| Failure::cannot_start(format!("--outbox {}: {error}", path.display())))
}

/// The log of what was sent, in `data` if that is said.
fn sent_log(data: Option<&Path>) -> Result<SentLog, Failure> {
    let Some(data) = data else { return Ok(SentLog::memory(SENT_NAMES_MAX)) };
    let complain = |error: &dyn std::fmt::Display| Failure::cannot_start(format!("--data {}: {error}", data.display()));
    std::fs::create_dir_all(data).map_err(|error| complain(&error))?;
    SentLog::open(&data.join("sent"), SENT_NAMES_MAX).map_err(|error| complain(&error))
}

async fn watch_api(api: Signed, readiness: Readiness) {
    loop {
        let answered = api.get::<serde_json::Value>("/api/services/webhooks").await;
        readiness.set("api", answered.is_ok());
        tokio::time::sleep(READY_INTERVAL).await;
    }
}

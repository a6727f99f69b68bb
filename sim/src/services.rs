//! The programs beside the cluster, each copy on a machine of its own: payments, notifications, a mirror of the tickets, and a
//! listener who hears everything.
//!
//! Payments and notifications are the real ones. What a copy keeps in memory dies with it; what stays is outside: the bank's
//! book, the letterbox, the mirror's copy, and what the listener has written down.

use std::sync::Arc;
use std::time::Duration;

use holdfast_events::broker::{Broker, BrokerError, PullSettings, StartAt, ledger_stream, lineage_of};
use holdfast_events::consumer::{self, Consumer, MemoryInbox};
use holdfast_events::wire;
use holdfast_ledger::command::{Command, Service as LedgerService};
use holdfast_services::client::Signed;
use holdfast_services::key::ServiceKey;
use holdfast_services::notifications::{Notifications, Patience, SentLog, Settings};
use holdfast_services::payments::follow::{DURABLE as PAYMENTS, Follow};
use holdfast_services::payments::{self, Saga};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::machine::{Ground, key_seed};
use crate::mirror::{Heard, Mirroring};
use crate::remote::Remote;

/// Copies of each program.
pub const COPIES: u32 = 2;
/// What is not acknowledged within this comes again, to another copy perhaps.
const ACK_WAIT: Duration = Duration::from_secs(3);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// What the payments service leaves to the events at first, in milliseconds of ledger time.
const SWEEP_AGE_MS: u64 = 500;
const INBOX_ENTITIES_MAX: usize = 10_000;
/// Names of mails that one copy remembers.
const NAMES_MAX: u64 = 10_000;
/// The durable consumers that must have taken in everything before a run is at rest.
pub const DURABLES: [&str; 4] = [PAYMENTS, "notifications", "mirror", LISTENER];
/// Who hears everything.
pub const LISTENER: &str = "listener";
/// Between two attempts of the listener.
const LISTEN_AGAIN: Duration = Duration::from_millis(200);
const FETCH_WAIT: Duration = Duration::from_secs(2);
const BATCH_MAX: usize = 64;

/// A program that can be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    Payments,
    Notifications,
    Mirror,
}

impl Program {
    pub const ALL: [Program; 3] = [Program::Payments, Program::Notifications, Program::Mirror];

    pub fn name(self) -> &'static str {
        match self {
            Program::Payments => "payments",
            Program::Notifications => "notifications",
            Program::Mirror => "mirror",
        }
    }
}

/// Every copy of every program.
pub fn all() -> impl Iterator<Item = (Program, u32)> {
    Program::ALL.into_iter().flat_map(|program| (1..=COPIES).map(move |copy| (program, copy)))
}

fn key(seed: u64, service: LedgerService) -> ServiceKey {
    ServiceKey::from_seed(service, &key_seed(seed, &format!("{service:?}'s key")))
}

/// The commands that make the services known to the ledger.
pub fn registrations(seed: u64) -> Vec<Command> {
    [LedgerService::Payments, LedgerService::Notifications].map(|service| key(seed, service).register()).to_vec()
}

/// What one copy does from its start until it is killed.
pub async fn run(ground: Arc<Ground>, program: Program, copy: u32) {
    ground.trace.note(format_args!("{} {copy} starts", program.name()));
    match program {
        Program::Payments => carry_payments(ground, copy).await,
        Program::Notifications => notify(ground, copy).await,
        Program::Mirror => mirror(ground, copy).await,
    }
}

async fn signed(ground: &Arc<Ground>, service: LedgerService, copy: u32) -> Signed {
    let remote = Remote::new(ground, copy).await;
    let clock = remote.clock(ground);
    let audience = holdfast_api::Settings::default().issuer;
    Signed::new(Arc::new(remote), key(ground.seed, service), audience, clock)
}

fn settings(durable: &str, filter: Option<String>) -> consumer::Settings {
    let mut settings = consumer::Settings::new(durable, filter);
    settings.ack_wait = ACK_WAIT;
    (settings.retry_min, settings.retry_max) = (RETRY_MIN, RETRY_MAX);
    settings
}

async fn carry_payments(ground: Arc<Ground>, copy: u32) {
    let api = signed(&ground, LedgerService::Payments, copy).await;
    let saga_settings = payments::Settings { sweep_age_ms: SWEEP_AGE_MS, ..payments::Settings::default() };
    let saga = Saga::new(api.clone(), ground.bank.clone(), saga_settings);
    let inbox = consumer::shared(MemoryInbox::new(INBOX_ENTITIES_MAX));
    let follow = Follow { saga: saga.clone(), api, provider: ground.bank.clone() };
    let settings = settings(PAYMENTS, Some(wire::filter("payment")));
    let consumer = Consumer::new(ground.bus.broker(), settings, inbox, follow);
    let (_never, stop) = watch::channel(false);
    futures_util::future::join(consumer.run(stop), saga.run(std::future::pending())).await;
}

async fn notify(ground: Arc<Ground>, copy: u32) {
    let api = signed(&ground, LedgerService::Notifications, copy).await;
    let settings = Settings {
        public_url: "https://tickets.example.org".into(),
        sender: "tickets@example.org".parse().expect("an address"),
        allow_private: false,
    };
    let patience = Patience { ack_wait: ACK_WAIT, retry_min: RETRY_MIN, retry_max: RETRY_MAX };
    let post = ground.letterbox.clone();
    let service = Notifications::new(api, ground.bus.broker(), post, SentLog::memory(NAMES_MAX), settings);
    let (_never, stop) = watch::channel(false);
    service.patience(patience).run(stop).await;
}

async fn mirror(ground: Arc<Ground>, copy: u32) {
    let inbox = consumer::shared(MemoryInbox::new(INBOX_ENTITIES_MAX));
    let settings = settings("mirror", Some(wire::filter("ticket")));
    let mirroring = Mirroring::new(ground.clone(), copy);
    let (_never, stop) = watch::channel(false);
    Consumer::new(ground.bus.broker(), settings, inbox, mirroring).run(stop).await;
}

/// Hears everything that anybody can hear, from the first message on, and writes down what it has not heard before. Nothing
/// happens to its machine.
pub async fn listen(ground: Arc<Ground>) {
    loop {
        if let Err(error) = hear(&ground).await {
            ground.bus.note(format_args!("is not heard: {error}"));
        }
        sleep(LISTEN_AGAIN).await;
    }
}

/// One stream after the other, as those of earlier lineages may not have been heard to their ends.
async fn hear(ground: &Ground) -> Result<(), BrokerError> {
    let broker = ground.bus.broker();
    let connection = Broker::connect(&*broker).await?;
    loop {
        let mut lineages: Vec<u16> =
            connection.streams().await?.iter().filter_map(|stream| lineage_of(stream)).collect();
        lineages.sort_unstable();
        if lineages.is_empty() {
            return Ok(());
        }
        for lineage in lineages {
            let settings = PullSettings {
                durable: Some(LISTENER.into()),
                filter: None,
                start: StartAt::First,
                ack_wait: ACK_WAIT,
                ack_pending_max: BATCH_MAX * 4,
            };
            let pull = connection.pull(&ledger_stream(lineage), settings).await?;
            loop {
                let fetched = pull.fetch(BATCH_MAX, FETCH_WAIT).await?;
                if fetched.is_empty() {
                    break;
                }
                for delivery in fetched {
                    ground.heard.note(Heard::of(&delivery.message));
                    delivery.ack().await?;
                }
            }
        }
    }
}

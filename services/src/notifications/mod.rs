//! Mails to people and signed webhooks to programs, from the ledger's events.
//!
//! Any number of copies share the consumers; each event is taken by one of them. The order of events does not matter here, so
//! nothing waits for a gap. What is sent carries a name that follows from the event alone (a mail's `Message-ID`, a webhook's
//! `webhook-id`): when it is unknown whether something arrived, it is sent again under the same name. [`SentLog`] keeps
//! names, so that what is delivered twice by the broker is sent once.
//!
//! What this deliberately does not do: keep anything that matters. Addresses are asked for when a mail is written, links of
//! resets and verifications are made by a node at that moment, and the broker keeps what is still to be sent.

mod letter;
#[cfg(not(madsim))]
mod mail;
#[cfg(madsim)]
#[path = "mail_simulated.rs"]
mod mail;
mod mailer;
mod occasion;
pub mod post;
mod sent;
mod text;
#[cfg(not(madsim))]
pub mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_events::broker::SharedBroker;
use holdfast_events::consumer::{self, Consumer, Handler, Inbox, InboxError, Key, OnGap, Received, Trouble};
use tokio::sync::watch;

use crate::client::{CallError, Signed};
use mailer::Mailer;
use post::Post;
#[cfg(not(madsim))]
use webhooks::Webhooks;

pub use mail::{Mail, Sender, SenderError};
pub use sent::{SentLog, SentLogError};

/// The name of the consumer that the copies of this service share.
const DURABLE: &str = "notifications";
/// Workers of one copy: a slow mail does not hold up the others.
const WORKERS: usize = 2;
/// For one event, all its mails included.
const HANDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses before a mail is tried again grow from one to the other.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// What this service is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where people reach the pages, without a slash at its end: links in mails begin with it.
    pub public_url: String,
    pub sender: Sender,
    /// Webhooks may go to loopback and private addresses.
    pub allow_private: bool,
}

/// How patient the service is with its broker and with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// What a copy has not acknowledged within this goes to another.
    pub ack_wait: Duration,
    /// Pauses before a mail is tried again grow from here …
    pub retry_min: Duration,
    /// … up to this.
    pub retry_max: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { ack_wait: Duration::from_secs(30), retry_min: RETRY_MIN, retry_max: RETRY_MAX }
    }
}

/// The service: mails and webhooks, until it is told to stop.
pub struct Notifications {
    api: Signed,
    broker: SharedBroker,
    post: Arc<dyn Post>,
    sent: SentLog,
    settings: Settings,
    patience: Patience,
}

impl Notifications {
    pub fn new(
        api: Signed,
        broker: SharedBroker,
        post: Arc<dyn Post>,
        sent: SentLog,
        settings: Settings,
    ) -> Notifications {
        Notifications { api, broker, post, sent, settings, patience: Patience::default() }
    }

    /// The same service, as patient as this.
    pub fn patience(self, patience: Patience) -> Notifications {
        Notifications { patience, ..self }
    }

    /// Runs until `stop` becomes true. What is being sent then is sent.
    pub async fn run(&self, stop: watch::Receiver<bool>) {
        let mailer = Arc::new(Mailer {
            api: self.api.clone(),
            post: self.post.clone(),
            sent: self.sent.clone(),
            public_url: self.settings.public_url.clone(),
            sender: self.settings.sender.clone(),
        });
        let workers = (0..WORKERS).map(|_| {
            let mut settings = consumer::Settings::new(DURABLE, None);
            settings.handle_timeout = HANDLE_TIMEOUT;
            settings.ack_wait = self.patience.ack_wait;
            (settings.retry_min, settings.retry_max) = (self.patience.retry_min, self.patience.retry_max);
            let inbox = consumer::shared(Unordered::default());
            Consumer::new(self.broker.clone(), settings, inbox, Mails(mailer.clone()))
        });
        let workers: Vec<Consumer> = workers.collect();
        let mails = futures_util::future::join_all(workers.iter().map(|worker| worker.run(stop.clone())));
        futures_util::future::join(mails, self.tell_endpoints(stop.clone())).await;
    }

    #[cfg(not(madsim))]
    async fn tell_endpoints(&self, stop: watch::Receiver<bool>) {
        let webhooks =
            Webhooks::new(self.api.clone(), self.broker.clone(), self.sent.clone(), self.settings.allow_private);
        webhooks.run(stop).await;
    }

    /// The simulator has no endpoints.
    #[cfg(madsim)]
    async fn tell_endpoints(&self, _stop: watch::Receiver<bool>) {}
}

/// Mails, as a consumer's handler.
struct Mails(Arc<Mailer>);

impl Handler for Mails {
    fn handle<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Result<(), Trouble>> {
        self.0.handle(&received.message).boxed()
    }

    fn gap<'a>(&'a self, _: &'a Received, _: Option<u64>) -> BoxFuture<'a, Result<OnGap, Trouble>> {
        std::future::ready(Ok(OnGap::Handle)).boxed()
    }
}

/// An inbox that remembers no versions: an older event is told as well as a younger one, and what was sent is known by its
/// name. Only the lineage counts.
#[derive(Debug, Default)]
struct Unordered {
    lineage: u16,
}

impl Inbox for Unordered {
    fn lineage(&self) -> u16 {
        self.lineage
    }

    fn raise(&mut self, lineage: u16) -> Result<(), InboxError> {
        self.lineage = self.lineage.max(lineage);
        Ok(())
    }

    fn seen(&self, _: Key) -> Option<u64> {
        None
    }

    fn record(&mut self, _: Key, _: u64) -> Result<(), InboxError> {
        Ok(())
    }
}

/// What a failed request means for the event that needed it: no answer, or a key that is not registered yet, can pass.
fn trouble(error: CallError) -> Trouble {
    match error {
        CallError::Unreachable(_) | CallError::Refused { status: 401 | 403, .. } => Trouble::Away(error.to_string()),
        CallError::Refused { .. } | CallError::Malformed(_) => Trouble::Failed(error.to_string()),
    }
}

/// `None` for what is not there.
fn found<T>(answer: Result<T, CallError>) -> Result<Option<T>, Trouble> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(CallError::Refused { status: 404, .. }) => Ok(None),
        Err(error) => Err(trouble(error)),
    }
}

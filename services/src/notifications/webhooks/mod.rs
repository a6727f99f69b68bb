//! Webhooks: events, signed, to the endpoints that operators have registered.
//!
//! Each endpoint has a durable consumer of its own at the broker, so that one that is slow or away holds up no other, and what
//! it has not got yet stands in the stream, not here. A message that was not taken comes again after a pause that grows, for
//! [`TELL_FOR`]; then it is let go. An endpoint that answers 410 is removed.
//!
//! What this deliberately does not do: keep an order. The entity's version stands in every body.

mod deliver;
mod sign;
mod target;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_events::broker::{BrokerError, SharedBroker, StartAt, ledger_stream, newest_lineage};
use holdfast_events::consumer::{self, Consumer};
use holdfast_events::wire::Time;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::sent::SentLog;
use super::{Unordered, trouble};
use crate::client::Signed;
use deliver::Deliverer;

pub use sign::{Signature, sign};
pub use target::is_public;

/// How long an event is told to an endpoint that does not take it.
pub const TELL_FOR: Duration = Duration::from_secs(3 * 24 * 3_600);
/// Pauses before an event is told again grow from one to the other.
const RETRY_MIN: Duration = Duration::from_secs(2);
const RETRY_MAX: Duration = Duration::from_secs(3_600);
/// Between two looks at the list of endpoints.
const LIST_PAUSE: Duration = Duration::from_secs(5);
const HANDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Events on their way to one endpoint.
const BATCH_MAX: usize = 8;

/// An endpoint as the API lists it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Endpoint {
    id: String,
    url: String,
    secret: String,
    /// Empty: all.
    event_types: Vec<String>,
    created_at: Time,
}

/// All endpoints.
pub(super) struct Webhooks {
    api: Signed,
    broker: SharedBroker,
    sent: SentLog,
    http: reqwest::Client,
    allow_private: bool,
}

/// The consumer of one endpoint, running.
struct Running {
    endpoint: Endpoint,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Webhooks {
    pub(super) fn new(api: Signed, broker: SharedBroker, sent: SentLog, allow_private: bool) -> Webhooks {
        Webhooks { api, broker, sent, http: target::client(allow_private), allow_private }
    }

    /// Follows the list of endpoints until `stop` becomes true, then ends their consumers.
    pub(super) async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut running: BTreeMap<String, Running> = BTreeMap::new();
        loop {
            match self.api.get::<Vec<Endpoint>>("/api/services/webhooks").await {
                Ok(listed) => self.follow(&mut running, listed).await,
                Err(error) => tracing::debug!("the list of webhooks: {}", trouble(error)),
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|raised| *raised) => break,
                () = tokio::time::sleep(LIST_PAUSE) => {}
            }
        }
        for running in running.into_values() {
            running.end().await;
        }
    }

    /// Starts consumers of new endpoints, and ends those of endpoints that are gone or have changed.
    async fn follow(&self, running: &mut BTreeMap<String, Running>, listed: Vec<Endpoint>) {
        let listed: BTreeMap<String, Endpoint> =
            listed.into_iter().map(|endpoint| (endpoint.id.clone(), endpoint)).collect();
        let over: Vec<String> = running
            .iter()
            .filter(|(id, running)| listed.get(*id) != Some(&running.endpoint))
            .map(|(id, _)| id.clone())
            .collect();
        for id in over {
            let Some(ended) = running.remove(&id) else { continue };
            ended.end().await;
            if !listed.contains_key(&id)
                && let Err(error) = self.forget(&id).await
            {
                tracing::warn!("webhook {id}: its consumer stays at the broker: {error}");
            }
        }
        for (id, endpoint) in listed {
            running.entry(id).or_insert_with(|| self.start(endpoint));
        }
    }

    fn start(&self, endpoint: Endpoint) -> Running {
        let mut settings = consumer::Settings::new(durable(&endpoint.id), None);
        // An endpoint is told what happens after it was registered.
        settings.start = StartAt::Since(Duration::from_millis(now_ms().saturating_sub(endpoint.created_at.ms)));
        settings.batch_max = BATCH_MAX;
        settings.handle_timeout = HANDLE_TIMEOUT;
        (settings.retry_min, settings.retry_max) = (RETRY_MIN, RETRY_MAX);
        let deliverer = Deliverer {
            api: self.api.clone(),
            sent: self.sent.clone(),
            http: self.http.clone(),
            allow_private: self.allow_private,
            endpoint: endpoint.clone(),
        };
        let inbox = consumer::shared(Unordered::default());
        let consumer = Arc::new(Consumer::new(self.broker.clone(), settings, inbox, deliverer));
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move { consumer.run(stopped).await });
        Running { endpoint, stop, task }
    }

    /// What the broker remembers of an endpoint that is gone.
    async fn forget(&self, id: &str) -> Result<(), BrokerError> {
        let connection = self.broker.connect().await?;
        if let Some(lineage) = newest_lineage(&*connection).await? {
            connection.forget(&ledger_stream(lineage), &durable(id)).await?;
        }
        Ok(())
    }
}

impl Running {
    async fn end(self) {
        self.stop.send_replace(true);
        // A consumer that panicked has ended as well.
        let _ = self.task.await;
    }
}

fn durable(id: &str) -> String {
    format!("webhook-{id}")
}

/// Milliseconds since the Unix epoch.
fn now_ms() -> u64 {
    crate::system_clock()()
}

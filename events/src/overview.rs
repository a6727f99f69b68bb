//! What operators see of the events' way out: this node's relay, the stream, who follows it, and what nobody could handle.
//!
//! The broker is asked on a connection of its own, so that a look disturbs nobody. It is looked at once for everybody who asks
//! within a second, and for at most a few: a page that is reloaded over and over is no load on the broker.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::broker::{BrokerError, ConsumerState, SharedBroker, StreamState, ledger_stream, newest_lineage};
use crate::dead;
use crate::relay::{Status, StatusWatch};

/// What was seen is good for so long.
const FRESH: Duration = Duration::from_secs(1);
/// How long the broker may take for all of it.
const LOOK_WAIT: Duration = Duration::from_secs(4);

/// What the broker holds at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Following {
    /// The stream of the newest lineage, and what it holds; `None` until the relay has made one.
    pub stream: Option<(String, StreamState)>,
    /// Its durable consumers, by name.
    pub consumers: Vec<ConsumerState>,
    /// Dead letters, by consumer.
    pub dead_letters: BTreeMap<String, u64>,
}

/// The way from the outbox to those who listen.
pub struct Overview {
    broker: SharedBroker,
    relay: StatusWatch,
    seen: Mutex<Option<(Instant, Result<Following, BrokerError>)>>,
}

impl Overview {
    pub fn new(broker: SharedBroker, relay: StatusWatch) -> Overview {
        Overview { broker, relay, seen: Mutex::new(None) }
    }

    /// This node's relay; it follows where another node leads.
    pub fn relay(&self) -> Status {
        self.relay.status()
    }

    /// What the broker says, at most a second old.
    ///
    /// # Errors
    /// It is away, or does not answer in time.
    pub async fn look(&self) -> Result<Following, BrokerError> {
        let mut seen = self.seen.lock().await;
        if let Some((at, found)) = seen.as_ref()
            && at.elapsed() < FRESH
        {
            return found.clone();
        }
        let late = |_| Err(BrokerError::Away("no answer in time".into()));
        let found = timeout(LOOK_WAIT, self.ask()).await.unwrap_or_else(late);
        *seen = Some((Instant::now(), found.clone()));
        found
    }

    async fn ask(&self) -> Result<Following, BrokerError> {
        let connection = self.broker.connect().await?;
        let dead_letters = dead::counts(&*connection).await?;
        let Some(lineage) = newest_lineage(&*connection).await? else {
            return Ok(Following { dead_letters, ..Following::default() });
        };
        let name = ledger_stream(lineage);
        let consumers = connection.consumers(&name).await?;
        let stream = connection.state(&name).await?.map(|state| (name, state));
        Ok(Following { stream, consumers, dead_letters })
    }
}

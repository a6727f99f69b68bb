//! Where a node's events go: to NATS, to a broker within the process, or nowhere.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_events::broker::SharedBroker;
use holdfast_events::memory::Memory;
use holdfast_events::nats::Nats;
use holdfast_events::outbox::NodeOutbox;
use holdfast_events::overview::Overview;
use holdfast_events::relay::{self, Relay, StatusWatch};
use holdfast_raft::node::Node;

use crate::failure::Failure;

/// Where nothing is relayed, the leader says this often that events were taken: retention is hours, so minutes cost little.
const ACK_INTERVAL: Duration = Duration::from_secs(60);
/// Messages that the broker within the process keeps.
const MEMORY_MESSAGES_MAX: usize = 100_000;

/// Who gets a node's events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Bus {
    /// Nobody follows: the outbox is emptied by its retention alone.
    #[default]
    Nowhere,
    /// A broker that ends with the process: after a restart it is filled again from the outbox.
    Inside,
    Nats {
        urls: Vec<String>,
        credentials: Option<PathBuf>,
        /// Certificates of the authorities that the servers' own may be from; the system's without.
        ca: Option<PathBuf>,
    },
}

impl Bus {
    /// The broker, not connected to yet; none where nobody follows.
    pub fn broker(&self) -> Result<Option<SharedBroker>, Failure> {
        match self {
            Bus::Nowhere => Ok(None),
            Bus::Inside => Ok(Some(Arc::new(Memory::new(0, MEMORY_MESSAGES_MAX)))),
            Bus::Nats { urls, credentials, ca } => match Nats::new(urls, credentials.as_deref()) {
                Ok(nats) => Ok(Some(Arc::new(nats.trusting(ca.as_deref())))),
                Err(error) => Err(Failure::usage(format!("--nats: {error}"))),
            },
        }
    }
}

/// What carries a node's events to the broker while the node leads.
pub struct Carrier {
    outbox: NodeOutbox,
    relay: Option<Relay<NodeOutbox>>,
    overview: Option<Arc<Overview>>,
}

impl Carrier {
    pub fn new(node: Node, broker: Option<SharedBroker>) -> Carrier {
        let outbox = NodeOutbox::new(node);
        let carried = broker.map(|broker| {
            let relay = Relay::new(outbox.clone(), broker.clone(), relay::Settings::default());
            let overview = Arc::new(Overview::new(broker, relay.watch()));
            (relay, overview)
        });
        let (relay, overview) = carried.unzip();
        Carrier { outbox, relay, overview }
    }

    /// How far it has come; `None` where nobody follows.
    pub fn watch(&self) -> Option<StatusWatch> {
        self.relay.as_ref().map(Relay::watch)
    }

    /// What operators see of it and of who follows; `None` where nobody does.
    pub fn overview(&self) -> Option<Arc<Overview>> {
        self.overview.clone()
    }

    /// Never returns.
    pub async fn run(self) {
        match self.relay {
            Some(relay) => relay.run().await,
            None => relay::acknowledge_alone(self.outbox, ACK_INTERVAL).await,
        }
    }
}

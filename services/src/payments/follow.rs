//! Following the ledger's events about payments: each one is a hint that a payment may have a step to take.
//!
//! The order of events does not matter here, since a payment is read from the ledger each time. A slow bank must not hold up
//! other payments' events: what takes long goes on beside, and the sweeper is there if this process dies meanwhile.
//!
//! When the lineage rises, the ledger was restored and may have forgotten charges that the provider remembers: nothing is taken
//! up until both were compared.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_events::consumer::{Handler, OnGap, Received, Trouble};
use holdfast_ledger::id::PaymentId;
use tokio::time::timeout;
use tracing::{error, info};

use super::provider::PaymentProvider;
use super::reconcile::reconcile;
use super::saga::{Saga, Taken};
use crate::client::Signed;

/// The consumer's name: all copies of the service share its messages.
pub const DURABLE: &str = "payments";
/// How long an event waits for its payment before it is acknowledged all the same.
const HAND_OVER: Duration = Duration::from_secs(1);

/// What the saga does with events.
pub struct Follow {
    pub saga: Saga,
    pub api: Signed,
    pub provider: Arc<dyn PaymentProvider>,
}

impl Handler for Follow {
    fn handle<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Result<(), Trouble>> {
        let payment = PaymentId(received.message.envelope.entity);
        let saga = self.saga.clone();
        async move {
            let taken = tokio::spawn(async move { saga.take_up(payment).await });
            match timeout(HAND_OVER, taken).await {
                Ok(Ok(Taken::Away(why))) => Err(Trouble::Away(why)),
                Ok(Err(panicked)) => Err(Trouble::Failed(panicked.to_string())),
                _ => Ok(()),
            }
        }
        .boxed()
    }

    fn gap<'a>(&'a self, _received: &'a Received, _seen: Option<u64>) -> BoxFuture<'a, Result<OnGap, Trouble>> {
        std::future::ready(Ok(OnGap::Handle)).boxed()
    }

    fn lineage_rose(&self, lineage: u16) -> BoxFuture<'_, Result<(), Trouble>> {
        async move {
            self.saga.pause();
            let report =
                reconcile(&self.api, &*self.provider).await.map_err(|error| Trouble::Away(error.to_string()))?;
            for difference in &report.differences {
                error!(lineage, ?difference, "after the ledger was restored, the provider knows something else");
            }
            info!(
                lineage,
                differences = report.differences.len(),
                "the provider was compared with the restored ledger"
            );
            self.saga.resume();
            Ok(())
        }
        .boxed()
    }
}

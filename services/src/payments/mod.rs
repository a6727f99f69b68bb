//! Payments: authorise, let the ledger decide, then capture or let go.
//!
//! What is to do stands in the ledger as open payments, each with its next step. The [`saga`] takes one step after the other: it
//! asks the [`provider`] under the key `{order}:{attempt}:{step}` and records the answer by a command that is idempotent by
//! state. So copies of the service may run at once, and one that dies is taken over from by any other. Money is captured only
//! after the ledger has completed the order.
//!
//! Who tells the saga where to look (events, webhooks, the sweeper) only hints: what counts is what the ledger and the provider
//! say when asked.

pub mod follow;
pub mod provider;
pub mod reconcile;
pub mod row;
pub mod saga;
pub mod sandbox;
#[cfg(not(madsim))]
pub mod sandbox_server;
mod step;
#[cfg(not(madsim))]
pub mod stripe;
mod tokens;
#[cfg(not(madsim))]
pub mod webhook;

pub use saga::{Saga, Settings, Taken};

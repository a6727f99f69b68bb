//! Committed changes, out to everybody who follows the ledger: the relay, the broker, and the library of those who listen.

pub mod banned;
pub mod broker;
pub mod check;
pub mod consumer;
pub mod dead;
pub mod memory;
#[cfg(not(madsim))]
pub mod nats;
pub mod outbox;
pub mod overview;
mod pause;
pub mod relay;
pub mod wire;

//! The ledger of tickets, locks and orders: a pure state machine.
//!
//! Commands go in, outcomes and events come out. Nothing here reads a clock, draws a random number, performs I/O or depends
//! on the order of an unordered collection: time is data in the log, ids are made from the log's index, and every node that
//! applies the same entries has the same state, byte for byte.

pub mod codec;
pub mod command;
pub mod entities;
pub mod event;
pub mod id;
pub mod invariants;
pub mod limits;
pub mod money;
pub mod outcome;
pub mod planted;
pub mod query;
pub mod state;
pub mod store;
pub mod tables;
pub mod version;

mod audit;
mod changes;
mod commands;
mod email;
mod entry;
mod idempotency;
mod keys;
mod leases;
mod line;
mod requests;
mod rows;
mod sessions;
mod sweep;
mod watches;
mod wording;
mod words;

pub use rows::row_hash;
pub use state::State;

#[cfg(test)]
mod market;

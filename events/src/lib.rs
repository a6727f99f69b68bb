//! Committed changes, out to everybody who follows the ledger: the relay, the broker, and the library of those who listen.

pub mod wire;

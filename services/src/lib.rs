//! The programs that live on the ledger: payments and notifications.
//!
//! They are consumers of its events and clients of its HTTP routes, and know nothing else of it: each signs its requests with
//! a key of its own ([`key`]), reaches the routes through [`client::Api`], over HTTP or inside one process, and writes what it
//! did back as commands that are idempotent by state. So any number of copies may run at once, and none keeps anything that
//! matters.
//!
//! What this deliberately does not do: decide about tickets or orders. The ledger decides; a service carries out.

pub mod client;
#[cfg(not(madsim))]
pub mod health;
pub mod key;
pub mod notifications;
pub mod payments;

/// Milliseconds since the Unix epoch. A closure, so that the simulator can give each machine a clock of its own.
pub type WallClock = std::sync::Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's wall clock.
pub fn system_clock() -> WallClock {
    std::sync::Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

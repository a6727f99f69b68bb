//! Replication: the ledger's entries in one agreed order on several nodes, stored so that nothing acknowledged is lost.
//!
//! openraft decides; it lives in this crate and is seen nowhere else. What stands here is what it leaves to us: the log
//! and the state on a storage engine, snapshots, the transport between nodes, and the one handle, [`node::Node`], that
//! everything above works with. It knows nothing of HTTP or of the event bus.

pub mod backup;
pub mod clock;
pub mod damage;
pub mod disk;
pub mod engine;
pub mod failpoint;
pub mod format;
pub mod identity;
pub mod inspect;
pub mod log_store;
mod members;
mod network;
pub mod node;
pub mod plan;
mod proposer;
pub mod raise;
mod reads;
pub mod refound;
pub mod runtime;
pub mod session;
pub mod settings;
pub mod snapshot;
mod stages;
pub mod state;
mod stop;
pub mod storage;
pub mod transport;
pub mod types;
pub mod version;

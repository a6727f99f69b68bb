//! What makes a node stop: faults of its disk, damage to what it stored, and broken invariants.
//!
//! Whoever meets such a fault first latches it in [`Fatal`]; everything that storage is asked afterwards fails with it,
//! so nothing is acknowledged on top of it, and the node's owner, who waits on the latch, ends the process with one line.
//! There is no way back but a restart: a failed sync cannot be repeated, as the kernel may have dropped the pages.

use std::io;
use std::sync::Arc;

use holdfast_ledger::version::{Version, Versions};
use openraft_rt::{WatchReceiver as _, WatchSender as _};

use crate::runtime::{WatchReceiver, WatchSender, watch_channel};

/// Stored data that is not what was written, found at open or when it was read. A node that finds this has lost
/// acknowledged data: it must neither vote nor serve, and joins again with an empty folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("the log ends at entry {last}, but entry {watermark} was acknowledged")]
    LogBelowWatermark { last: u64, watermark: u64 },
    #[error("the last vote is of term {term}, but a vote of term {watermark} was given")]
    VoteBelowWatermark { term: u64, watermark: u64 },
    #[error("the log has entries, but its watermark file is missing")]
    WatermarkMissing,
    #[error("the folder belongs to a cluster, but its log is gone")]
    LogMissing,
    #[error("the state and its snapshot end at entry {held}, and the log begins after entry {purged}")]
    StateBehindLog { held: u64, purged: u64 },
    #[error("the folder has a log, but does not say whose")]
    IdentityMissing,
    #[error("a peer has seen more of this folder than it holds: its {what} went back")]
    WentBack { what: String },
    #[error("entry {index} does not follow from the one before it: its checksum is {found:08x}, not {expected:08x}")]
    BrokenChain { index: u64, expected: u32, found: u32 },
    #[error("entry {index} is missing")]
    EntryMissing { index: u64 },
    #[error("{what} cannot be read: {reason}")]
    Unreadable { what: String, reason: String },
}

/// Why a node stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("storage failed while {doing}: {reason}")]
    Storage { doing: &'static str, reason: String },
    #[error("stored data is damaged: {0}")]
    Damage(#[from] Damage),
    #[error("entry {index} is in the log but cannot be decoded: {reason}")]
    Undecodable { index: u64, reason: String },
    /// Written by a newer build, or not to be read any more.
    #[error(
        "{what} is at version {found}, and this build knows {known}: start a build that knows it; nothing was changed"
    )]
    Version { what: String, found: Version, known: Versions },
    #[error("applying entry {index} broke an invariant: {invariant}")]
    Invariant { index: u64, invariant: String },
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> io::Error {
        io::Error::other(fault)
    }
}

impl From<Damage> for io::Error {
    fn from(damage: Damage) -> io::Error {
        Fault::Damage(damage).into()
    }
}

/// A latch for the first fault. Clones are the same latch.
#[derive(Clone)]
pub struct Fatal {
    sender: Arc<WatchSender<Option<Fault>>>,
    receiver: WatchReceiver<Option<Fault>>,
}

impl Default for Fatal {
    fn default() -> Fatal {
        let (sender, receiver) = watch_channel(None);
        Fatal { sender: Arc::new(sender), receiver }
    }
}

impl Fatal {
    /// Latches `fault` if it is the first, and returns the one that is latched.
    pub fn latch(&self, fault: Fault) -> Fault {
        self.sender.send_if_modified(|latched| {
            let first = latched.is_none();
            if first {
                tracing::error!(%fault, "this node stops");
                *latched = Some(fault);
            }
            first
        });
        self.latched().expect("latched above")
    }

    /// The fault, once there is one.
    pub fn latched(&self) -> Option<Fault> {
        self.receiver.borrow_watched().clone()
    }

    /// An error if a fault is latched: asked before anything is done.
    pub fn check(&self) -> io::Result<()> {
        match self.latched() {
            Some(fault) => Err(fault.into()),
            None => Ok(()),
        }
    }

    /// Resolves when a fault is latched.
    pub async fn wait(&self) -> Fault {
        let mut receiver = self.receiver.clone();
        loop {
            if let Some(fault) = receiver.borrow_and_update().clone() {
                return fault;
            }
            receiver.changed().await.expect("the latch holds its own sender");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_stays() {
        let fatal = Fatal::default();
        assert!(fatal.check().is_ok());
        let first = Fault::Damage(Damage::EntryMissing { index: 3 });
        assert_eq!(fatal.latch(first.clone()), first);
        assert_eq!(fatal.clone().latch(Fault::Damage(Damage::WatermarkMissing)), first);
        assert_eq!(fatal.latched(), Some(first));
        assert!(fatal.check().is_err());
    }
}

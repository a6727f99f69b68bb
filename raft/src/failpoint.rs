//! Points in the life of a node's data at which its process may die, by name.
//!
//! Under the simulator whoever runs it [watches](watch) the points of its thread: it counts them, and kills the machine that
//! reaches the one it has chosen, there and then. What was handed to the disk before the point has happened, nothing after it
//! has, and nobody hears of it. In any other build a point is nothing at all.
//!
//! What this deliberately does not do: make calls fail. Errors of a disk are the simulated disk's.

use serde::{Deserialize, Serialize};

macro_rules! points {
    ($($(#[$doc:meta])+ $name:ident = $text:literal),+ $(,)?) => {
        /// The points, in the order in which data goes through them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Point {
            $($(#[$doc])+ $name),+
        }

        impl Point {
            /// All of them.
            pub const ALL: &'static [Point] = &[$(Point::$name),+];

            /// Its name in schedules.
            pub fn name(self) -> &'static str {
                match self {
                    $(Point::$name => $text),+
                }
            }
        }
    };
}

points! {
    /// Entries or a vote are about to be written to the log.
    BeforeLogWrite = "before_log_write",
    /// A batch that is to be synced is written and not yet synced.
    BeforeSync = "before_sync",
    /// The log's batch is synced; nobody has been told.
    AfterSync = "after_sync",
    /// A vote is about to be stored.
    BeforeVoteSave = "before_vote_save",
    /// A vote is stored and its watermark is not.
    AfterVoteSave = "after_vote_save",
    /// Entries are about to be truncated; the watermark is lowered.
    BeforeTruncate = "before_truncate",
    /// Entries are truncated.
    AfterTruncate = "after_truncate",
    /// Entries are about to be purged.
    BeforePurge = "before_purge",
    /// Entries are purged.
    AfterPurge = "after_purge",
    /// An entry is about to be applied.
    BeforeApply = "before_apply",
    /// An entry is applied; whoever proposed it has no answer.
    AfterApply = "after_apply",
    /// A change of the members is about to be applied.
    BeforeMembershipApply = "before_membership_apply",
    /// A change of the members is applied.
    AfterMembershipApply = "after_membership_apply",
    /// What changed in the state is about to be written to its database.
    BeforeFlush = "before_flush",
    /// It is written.
    AfterFlush = "after_flush",
    /// A checkpoint is made; it has no manifest yet.
    SnapshotWritten = "snapshot_written",
    /// A complete snapshot is about to get its name.
    BeforeSnapshotRename = "before_snapshot_rename",
    /// It has its name; the one before it is still there.
    AfterSnapshotRename = "after_snapshot_rename",
    /// A snapshot that was received is about to be installed.
    BeforeSnapshotInstall = "before_snapshot_install",
    /// Its copy is complete; the folder still names the old state.
    SnapshotCopied = "snapshot_copied",
    /// The folder names the new state; the old one is still there.
    AfterSnapshotInstall = "after_snapshot_install",
    /// A snapshot is found damaged as the folder is opened, and is about to be removed.
    SnapshotGivenUp = "snapshot_given_up",
    /// The state is found damaged as the folder is opened, and is about to be built anew.
    StateGivenUp = "state_given_up",
    /// The relay is about to note how far the broker has come.
    BeforeOutboxAcknowledgement = "before_outbox_acknowledgement",
    /// The note is in the log.
    AfterOutboxAcknowledgement = "after_outbox_acknowledgement",
}

#[cfg(madsim)]
mod watched {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::Point;

    /// Told of every point that is reached on its thread, on the simulated machine that reaches it.
    pub type Watcher = Arc<dyn Fn(Point)>;

    thread_local! {
        static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
    }

    /// From now on `watcher` is told of this thread's points; `None`: nobody is.
    pub fn watch(watcher: Option<Watcher>) {
        WATCHER.set(watcher);
    }

    /// This point is reached.
    pub fn reach(point: Point) {
        let watcher = WATCHER.with_borrow(Clone::clone);
        if let Some(watcher) = watcher {
            watcher(point);
        }
    }
}

#[cfg(not(madsim))]
mod watched {
    use super::Point;

    /// This point is reached: nobody watches, in this build.
    #[inline(always)]
    pub fn reach(_point: Point) {}
}

pub use watched::*;

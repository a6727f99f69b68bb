//! Bugs on purpose: each breaks one promise, so that whoever checks the promises can show that he sees it.
//!
//! They are compiled in by the feature `planted` alone, which only the simulator's build turns on, and none is at work until
//! a run chooses one for its thread. Without the feature [`at_work`] is `false` to the compiler, and nothing is left of them.

use std::fmt;

macro_rules! bugs {
    ($($(#[$doc:meta])+ $name:ident = $text:literal),+ $(,)?) => {
        /// The bugs that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $($(#[$doc])+ $name),+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Bug] = &[$(Bug::$name),+];

            /// Its name on the command line.
            pub fn name(self) -> &'static str {
                match self {
                    $(Bug::$name => $text),+
                }
            }
        }
    };
}

bugs! {
    /// The log's writer answers what it has written and not synced.
    AcknowledgeBeforeSync = "acknowledge-before-sync",
    /// A vote is answered and not stored.
    ForgetVote = "forget-vote",
    /// A leader that has removed a node counts an answer in its place for good: an append that a voter does not answer counts as
    /// acknowledged all the same.
    CountRemovedNode = "count-removed-node",
    /// Who joins gets the node id of who was removed last.
    ReuseNodeId = "reuse-node-id",
    /// A snapshot counts as made before it, and the state that it is a copy of, are synced: the log is purged below it.
    SnapshotUnsynced = "snapshot-unsynced",
    /// A flush writes rows alone, and where they stand is written with snapshots: after a restart entries are applied again to rows
    /// that have them.
    ApplyTwice = "apply-twice",
    /// A snapshot is labelled with the position that was applied when it was asked for, not with what it holds.
    OldSnapshotLabel = "old-snapshot-label",
    /// The records of idempotency keys are not part of an installed snapshot.
    DropKeysAtSnapshot = "drop-keys-at-snapshot",
    /// The leader answers reads without asking a quorum whether it still leads.
    ReadWithoutQuorum = "read-without-quorum",
    /// A follower answers reads from what it happens to have applied.
    ReadFromFollower = "read-from-follower",
    /// A proposal whose outcome is unknown is proposed again.
    RetryBlindly = "retry-blindly",
    /// Each node stamps with its own wall clock, whatever the others' say.
    StampOwnClock = "stamp-own-clock",
    /// Each node ends locks by the time at which it applies an entry, not by the entry's.
    ExpireByLocalClock = "expire-by-local-clock",
    /// Ledger time follows a stamp back.
    TimeGoesBack = "time-goes-back",
    /// A lock is over a second before its deadline for whoever looks.
    ReclaimEarly = "reclaim-early",
    /// A tick ends the lock whose deadline was due as it was first given, whatever has moved it since.
    ReleaseOnStaleTick = "release-on-stale-tick",
    /// What is due is reclaimed in the order of a hash map.
    SweepUnordered = "sweep-unordered",
    /// Whether a ticket is free is looked up before its lock is proposed, and not again.
    CheckApartFromLock = "check-apart-from-lock",
    /// A locked ticket's price can be changed, and the payment asks for the new one.
    PriceNotFrozen = "price-not-frozen",
    /// An authorisation completes its order, whatever has become of it.
    AcceptStaleFence = "accept-stale-fence",
    /// An authorisation that lost is left as it is.
    ForgetVoid = "forget-void",
    /// Idempotency keys are not looked up.
    IgnoreKeys = "ignore-keys",
    /// The payments service captures as soon as the provider has authorised.
    CaptureBeforeComplete = "capture-before-complete",
    /// The payments service asks the provider under a new key every time.
    FreshProviderKeys = "fresh-provider-keys",
    /// The relay publishes whatever the stream ends with.
    RelayWithoutFence = "relay-without-fence",
    /// A relay that begins goes on with the newest event, not where the stream ends.
    SkipOutboxOnLeaderChange = "skip-outbox-on-leader-change",
    /// The leader's relay publishes what an entry would do as soon as it is proposed.
    PublishBeforeCommit = "publish-before-commit",
    /// A consumer acknowledges what it has not handled yet.
    AckBeforeHandled = "ack-before-handled",
    /// Rows are written as the node's build could, not as the cluster's version has them.
    EncodeByBuild = "encode-by-build",
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(feature = "planted")]
mod chosen {
    use std::cell::{Cell, RefCell};
    use std::collections::{BTreeMap, HashMap};
    use std::hash::Hash;

    use super::Bug;
    use crate::event::Event;

    thread_local! {
        static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) };
        /// By node, then by number: events of entries that are proposed.
        static FORESEEN: RefCell<BTreeMap<u64, BTreeMap<u64, Event>>> = const { RefCell::new(BTreeMap::new()) };
        /// By leader: the node that it removed last.
        static REMOVED: RefCell<BTreeMap<u64, u64>> = const { RefCell::new(BTreeMap::new()) };
        static FREED: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// The leader `node` has removed a member, for [`Bug::CountRemovedNode`] and [`Bug::ReuseNodeId`].
    pub fn note_removed(node: u64, removed: u64) {
        REMOVED.with_borrow_mut(|by| by.insert(node, removed));
        FREED.set(Some(removed));
    }

    /// Whether the leader `node` counts a member that it has removed.
    pub fn counts_a_removed_node(node: u64) -> bool {
        at_work(Bug::CountRemovedNode) && REMOVED.with_borrow(|by| by.contains_key(&node))
    }

    /// The id that a new member gets instead of one of its own, once.
    pub fn freed_id() -> Option<u64> {
        if at_work(Bug::ReuseNodeId) { FREED.take() } else { None }
    }

    /// The leader `node` expects these events of an entry that it proposes, for [`Bug::PublishBeforeCommit`].
    pub fn foresee(node: u64, events: Vec<Event>) {
        FORESEEN.with_borrow_mut(|foreseen| {
            let own = foreseen.entry(node).or_default();
            own.extend(events.into_iter().map(|event| (event.seq, event)));
        });
    }

    /// What the leader `node` expects as event `seq`.
    pub fn foreseen(node: u64, seq: u64) -> Option<Event> {
        FORESEEN.with_borrow(|foreseen| foreseen.get(&node)?.get(&seq).cloned())
    }

    /// Lets one bug loose on this thread, or none.
    pub fn plant(bug: Option<Bug>) {
        CHOSEN.set(bug);
    }

    /// Whether this bug is at work on this thread.
    pub fn at_work(bug: Bug) -> bool {
        CHOSEN.get() == Some(bug)
    }

    /// The keys of `rows` as a hash map hands them out: another order for every map.
    pub fn unordered<K: Hash + Eq, V>(rows: Vec<(K, V)>) -> Vec<(K, V)> {
        rows.into_iter().collect::<HashMap<K, V>>().into_iter().collect()
    }
}

#[cfg(not(feature = "planted"))]
mod chosen {
    use super::Bug;

    /// Whether this bug is at work on this thread: never, in this build.
    #[inline(always)]
    pub fn at_work(_bug: Bug) -> bool {
        false
    }

    /// Nothing is expected in this build.
    pub fn foresee(_node: u64, _events: Vec<crate::event::Event>) {}

    /// Nothing is expected in this build.
    pub fn foreseen(_node: u64, _seq: u64) -> Option<crate::event::Event> {
        None
    }

    /// Nothing is remembered in this build.
    pub fn note_removed(_node: u64, _removed: u64) {}

    /// Never, in this build.
    #[inline(always)]
    pub fn counts_a_removed_node(_node: u64) -> bool {
        false
    }

    /// None, in this build.
    pub fn freed_id() -> Option<u64> {
        None
    }

    /// The rows as they are: in this build no order is planted.
    pub fn unordered<K, V>(rows: Vec<(K, V)>) -> Vec<(K, V)> {
        rows
    }
}

pub use chosen::*;

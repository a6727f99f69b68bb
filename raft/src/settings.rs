//! Everything about replication that can be set, with the values to run with. Tests and the simulator lower them.

use std::time::Duration;

use openraft::{Config, ConfigError, SnapshotPolicy};

/// How a node replicates. All nodes of a cluster should have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How often a leader says that it is there, in milliseconds. Openraft's time-outs of heartbeats derive from it.
    pub heartbeat_ms: u64,
    /// A follower that hears nothing for a random time between these two, on top of the leader's lease, asks for votes, in
    /// milliseconds. The lease is the longer of the two, so a leader that dies is followed after one and a half to two of it.
    pub election_min_ms: u64,
    pub election_max_ms: u64,
    /// How long one append may stay unanswered before its stream is given up, in milliseconds. Longer than a heartbeat: a
    /// follower whose disk stalls answers late, and sending everything again would not help it.
    pub append_timeout_ms: u64,
    /// How long connecting and shaking hands may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Entries after which a snapshot is made.
    pub snapshot_entries: u64,
    /// Bytes of entries after which a snapshot is made, if it is not by then for their number.
    pub snapshot_bytes: u64,
    /// Entries that stay in the log although a snapshot has them, for followers that are a little behind.
    pub log_entries_kept: u64,
    /// Entries that are purged at once.
    pub purge_batch_entries: u64,
    /// A follower that is further behind gets a snapshot, in entries.
    pub lag_entries_max: u64,
    /// How long a snapshot may take to be sent and installed, in milliseconds.
    pub snapshot_timeout_ms: u64,
    /// Entries of one append.
    pub append_entries_max: u64,
    /// Bytes of entries in one append; a greater entry travels alone.
    pub append_bytes_max: usize,
    /// Appends to one follower that are under way at once.
    pub appends_in_flight_max: usize,

    /// Proposals that wait for their turn at one node; beyond it they are refused as [`Overloaded`].
    ///
    /// [`Overloaded`]: crate::node::Unavailable::Overloaded
    pub proposals_queued_max: usize,
    /// Batches of proposals under way from one node.
    pub batches_in_flight_max: usize,
    /// Commands and bytes of one entry.
    pub entry_commands_max: usize,
    pub entry_bytes_max: usize,
    /// How long a proposal waits for a leader while it is certain that nothing was proposed, in milliseconds.
    pub leader_wait_ms: u64,
    /// When the outcome of a proposal is given up as unknown, in milliseconds.
    pub proposal_timeout_ms: u64,
    /// An entry whose proposals wait longer for their answers goes to the log of slow operations, in milliseconds.
    pub slow_operation_ms: u64,
    /// Reads that wait for a read index at one node.
    pub reads_queued_max: usize,
    /// When a read is given up, in milliseconds.
    pub read_timeout_ms: u64,

    /// Voters exchange their wall clocks this often, in milliseconds.
    pub clock_interval_ms: u64,
    /// How far apart two clocks may be and still agree, in milliseconds.
    pub clock_tolerance_ms: u64,
    /// How long the first stamp of a leader waits for an agreement of the clocks, in milliseconds.
    pub clock_wait_ms: u64,
    /// The least time between two ticks of the ledger, and the longest without a look, in milliseconds.
    pub tick_interval_ms: u64,
    /// Old rows (idempotency records, acknowledged events) are dropped at least this often, in milliseconds.
    pub cleanup_interval_ms: u64,
    /// How often the leader looks whether a learner can become a voter, in milliseconds.
    pub housekeeping_interval_ms: u64,
    /// Learners become voters while there are fewer voters than this.
    pub voters_target: usize,
    /// A change of the voters that was left half-way is resumed after so long, in milliseconds; until then an operator may
    /// take it back.
    pub unfinished_wait_ms: u64,
    /// A learner has caught up when it is at most this many entries behind.
    pub promotion_lag_entries_max: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            heartbeat_ms: 150,
            election_min_ms: 500,
            election_max_ms: 1_000,
            append_timeout_ms: 2_000,
            connect_timeout_ms: 1_000,
            snapshot_entries: 200_000,
            snapshot_bytes: 1 << 30,
            log_entries_kept: 20_000,
            purge_batch_entries: 4_096,
            lag_entries_max: 220_000,
            snapshot_timeout_ms: 600_000,
            append_entries_max: 512,
            append_bytes_max: 4 << 20,
            appends_in_flight_max: 32,
            proposals_queued_max: 16_384,
            batches_in_flight_max: 16,
            entry_commands_max: 1_024,
            entry_bytes_max: 4 << 20,
            leader_wait_ms: 2_500,
            proposal_timeout_ms: 10_000,
            slow_operation_ms: 500,
            reads_queued_max: 16_384,
            read_timeout_ms: 5_000,
            clock_interval_ms: 1_000,
            clock_tolerance_ms: 1_000,
            clock_wait_ms: 2_000,
            tick_interval_ms: 100,
            cleanup_interval_ms: 60_000,
            housekeeping_interval_ms: 500,
            voters_target: 3,
            unfinished_wait_ms: 30_000,
            promotion_lag_entries_max: 1_000,
        }
    }
}

impl Settings {
    /// openraft's configuration. What is on here and off by default, or the other way round, is explained beside it.
    pub(crate) fn raft_config(&self) -> Result<Config, ConfigError> {
        let lease_and_election_ms = self.election_max_ms * 2;
        Config {
            cluster_name: "holdfast".into(),
            heartbeat_interval: self.heartbeat_ms,
            election_timeout_min: self.election_min_ms,
            election_timeout_max: self.election_max_ms,
            install_snapshot_timeout: self.snapshot_timeout_ms,
            max_payload_entries: self.append_entries_max,
            replication_lag_threshold: self.lag_entries_max,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_entries),
            max_in_snapshot_log_to_keep: self.log_entries_kept,
            purge_batch_size: self.purge_batch_entries,
            // A restarted leader would go on with a state machine that has not applied what it had acknowledged.
            enable_leader_restore: Some(false),
            // A node that was cut off comes back without raising everybody's term.
            enable_pre_vote: Some(true),
            // A leader without a quorum falls silent now and then, so that the others can elect.
            quorum_loss_probe_interval: Some(lease_and_election_ms),
            // A log that went back is refused by the handshake, and never repaired by sending it everything again.
            allow_log_reversion: Some(false),
            ..Config::default()
        }
        .validate()
    }

    pub(crate) fn append_timeout(&self) -> Duration {
        Duration::from_millis(self.append_timeout_ms)
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn election_max(&self) -> Duration {
        Duration::from_millis(self.election_max_ms)
    }

    pub(crate) fn leader_wait(&self) -> Duration {
        Duration::from_millis(self.leader_wait_ms)
    }

    pub(crate) fn proposal_timeout(&self) -> Duration {
        Duration::from_millis(self.proposal_timeout_ms)
    }

    pub(crate) fn read_timeout(&self) -> Duration {
        Duration::from_millis(self.read_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_safe() {
        let config = Settings::default().raft_config().expect("the defaults are valid");
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(config.allow_log_reversion, Some(false));
        assert!(config.quorum_loss_probe_interval.is_some());
    }
}

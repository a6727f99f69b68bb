//! Every metric there is: name, kind, unit, help. `docs/METRICS.md` is made from it, alert rules and the dashboard are held
//! against it, and so are the sources.

use std::fmt::Write as _;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    /// With `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    Node,
    /// `holdfast payments` and `holdfast notifications`; a node too, where they run beside it.
    Service,
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub of: Of,
    /// The names of its labels. A metric with labels is there once something was counted under them.
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, of: Of::Node, labels: &[], help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, of: Of::Node, labels: &[], help }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, of: Of::Node, labels: &[], help }
}

impl Metric {
    const fn by(self, labels: &'static [&'static str]) -> Metric {
        Metric { labels, ..self }
    }

    const fn of_services(self) -> Metric {
        Metric { of: Of::Service, ..self }
    }

    /// What its numbers are of, as its name ends.
    pub fn unit(&self) -> &'static str {
        let name = self.name.trim_end_matches("_total");
        match () {
            () if name.ends_with("_seconds") => "seconds",
            () if name.ends_with("_bytes") => "bytes",
            () if name.ends_with("_entries") => "entries",
            () => "",
        }
    }
}

/// All metrics.
pub const CATALOGUE: &[Metric] = &[
    gauge("holdfast_build_info", "1, labelled with the build").by(&["version"]),
    gauge("holdfast_start_time_seconds", "When the process started, since the Unix epoch"),
    // Replication.
    gauge("holdfast_ready", "1 if this node can be sent requests, else 0"),
    gauge("holdfast_has_leader", "1 if this node has heard of a leader lately, else 0"),
    gauge("holdfast_is_leader", "1 if this node leads, else 0"),
    gauge("holdfast_term", "The term that this node is in"),
    gauge("holdfast_voters", "Voters of the cluster"),
    gauge("holdfast_members", "Members of the cluster, learners among them"),
    gauge("holdfast_last_log_index", "The last entry in this node's log"),
    gauge("holdfast_committed_index", "The last entry that this node knows to be committed"),
    gauge("holdfast_applied_index", "The last entry that this node has applied"),
    gauge("holdfast_snapshot_index", "The last entry that this node's newest snapshot has"),
    gauge("holdfast_purged_index", "The last entry that this node's log has forgotten"),
    gauge("holdfast_peer_lag_entries", "Entries that a member is behind; on the leader alone").by(&["peer"]),
    histogram("holdfast_peer_round_trip_seconds", "A small question to another voter, and its answer").by(&["peer"]),
    counter("holdfast_leader_changes_total", "Times that this node has seen another leader"),
    gauge("holdfast_fault", "1 if this node stops on a fault of its storage or a broken invariant, else 0"),
    // Proposals and what they cost.
    histogram("holdfast_proposal_seconds", "From the queue to the answer, of one entry; on the leader alone"),
    histogram("holdfast_proposal_stage_seconds", "The same by stage: queue, append, sync, commit, apply")
        .by(&["stage"]),
    histogram("holdfast_log_sync_seconds", "One write of the log with its sync"),
    histogram("holdfast_apply_seconds", "One entry applied"),
    counter("holdfast_slow_operations_total", "Entries that took longer than a slow operation may"),
    counter("holdfast_proposals_failed_total", "Proposals without an answer of the ledger").by(&["reason"]),
    // Clocks.
    gauge("holdfast_clock_agreed", "1 if the voters' clocks agree; without, time runs on by one monotonic clock"),
    gauge("holdfast_clock_offset_seconds", "How far a voter's clock is ahead of this node's").by(&["peer"]),
    // The ledger, as this node has applied it.
    gauge("holdfast_tickets", "Tickets"),
    gauge("holdfast_tickets_sold", "Tickets that are sold"),
    gauge("holdfast_locks_live", "Tickets that live locks hold"),
    gauge("holdfast_lock_expiry_lag_seconds", "How long the first lock that is over has waited to be taken back"),
    gauge("holdfast_line_places_live", "Places in lines"),
    gauge("holdfast_orders", "Orders"),
    gauge("holdfast_orders_live", "Orders that hold tickets"),
    gauge("holdfast_orders_complete", "Orders that are paid"),
    gauge("holdfast_payments_by_status", "Payments by status, those at their end among them").by(&["status"]),
    gauge("holdfast_payments_open", "Payments that are not at their end"),
    gauge("holdfast_users", "Accounts"),
    gauge("holdfast_idempotency_records", "Answers that are kept under their keys"),
    counter("holdfast_commands_total", "Commands of clients: done, refused, or unavailable").by(&["outcome"]),
    counter(
        "holdfast_refusals_total",
        "Refusals of the ledger by code; ticket_reserved and price_changed are lost races",
    )
    .by(&["code"]),
    counter("holdfast_invariant_checks_total", "Full checks of the ledger's invariants on this node"),
    gauge("holdfast_invariants_violated", "Invariants that the last check found broken"),
    // Events.
    gauge("holdfast_events_emitted", "The number of the last event"),
    gauge("holdfast_events_acknowledged", "The stream has all events up to this one"),
    gauge("holdfast_events_waiting", "Events that the stream has not got yet; on the leader alone"),
    counter("holdfast_events_published_total", "Events that the broker has taken"),
    gauge("holdfast_consumer_waiting", "Events that a consumer has not handled yet; on the leader alone")
        .by(&["consumer"]),
    counter("holdfast_relay_errors_total", "Sessions of the relay that ended with an error"),
    // HTTP.
    counter("holdfast_http_requests_total", "Requests to the public listener; a page asks the interface once more")
        .by(&["method", "route", "status"]),
    histogram("holdfast_http_request_seconds", "From a request's head to its answer's").by(&["route"]),
    // Backups.
    gauge(
        "holdfast_backup_timestamp_seconds",
        "When this node last made a backup, since the Unix epoch; 0: not since its start",
    ),
    gauge("holdfast_backup_drill_holds", "1 if the last drill restored that backup to the same state, else 0"),
    // Traces.
    counter("holdfast_spans_dropped_total", "Spans that no collector took in time"),
    // TLS.
    gauge(
        "holdfast_tls_certificate_not_after_seconds",
        "Until when the certificate is good, since the Unix epoch; 0: no TLS",
    ),
    counter("holdfast_tls_reloads_total", "Certificates read anew: done, failed").by(&["outcome"]),
    // Services.
    counter("holdfast_payments_steps_total", "Steps with the bank by what came of them")
        .by(&["step", "outcome"])
        .of_services(),
    counter("holdfast_payments_webhooks_total", "Webhooks of the bank").by(&["status"]).of_services(),
    counter("holdfast_mails_total", "Mails by template and what came of them")
        .by(&["template", "outcome"])
        .of_services(),
    counter("holdfast_webhooks_total", "Webhooks to others' programs").by(&["outcome"]).of_services(),
    counter("holdfast_dead_letters_total", "Events that could not be handled and were put aside")
        .by(&["consumer"])
        .of_services(),
];

/// `docs/METRICS.md`.
pub fn document() -> String {
    let mut page = String::from(
        "# Metrics\n\nWhat a node shows at `/metrics` of its operator listener, and a service at `/metrics` of `--listen`, as Prometheus text.\n\
         Made from `cli/src/observe/catalogue.rs`. Alerts on them stand in `deploy/prometheus/rules.yaml`, a dashboard in `deploy/grafana/`.\n",
    );
    for (of, title) in [(Of::Node, "Nodes"), (Of::Service, "Services")] {
        let _ = writeln!(page, "\n## {title}\n\n| metric | kind | labels | unit | what |\n|---|---|---|---|---|");
        for metric in CATALOGUE.iter().filter(|metric| metric.of == of) {
            let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} | {} |",
                metric.name,
                metric.kind.name(),
                labels.join(", "),
                metric.unit(),
                metric.help
            );
        }
    }
    page
}

//! What is read of a node when somebody asks for its metrics.

use std::time::Duration;

use holdfast_api::payment_status_name;
use holdfast_events::overview::Overview;
use holdfast_ledger::entities::PaymentStatus;
use holdfast_raft::node::{Consistency, Figures, Node, Status};

/// How long the broker may hold an answer up: without it, there are no new figures of those who follow.
const BROKER_WAIT: Duration = Duration::from_secs(1);

/// Sets all gauges of the node to what they are now. `serves`: whether its public listener takes requests.
pub async fn sample(node: &Node, serves: bool, overview: Option<&Overview>) {
    let figures = node.figures();
    let status = node.status();
    metrics::gauge!("holdfast_ready").set(f64::from(u8::from(status.ready && serves)));
    replication(&status, &figures);
    if let Some(overview) = overview {
        followers(overview, figures.leads).await;
    }
    if let Ok(meta) = node.read(Consistency::Stale, |state| Ok(state.meta().clone())).await {
        metrics::gauge!("holdfast_tickets").set(meta.tickets as f64);
        metrics::gauge!("holdfast_tickets_sold").set(meta.tickets_sold as f64);
        metrics::gauge!("holdfast_locks_live").set(meta.locks_live as f64);
        metrics::gauge!("holdfast_line_places_live").set(meta.places_live as f64);
        metrics::gauge!("holdfast_orders").set(meta.orders as f64);
        metrics::gauge!("holdfast_orders_live").set(meta.orders_live as f64);
        metrics::gauge!("holdfast_orders_complete").set(meta.orders_complete as f64);
        for (status, count) in PaymentStatus::ALL.into_iter().zip(meta.payments) {
            metrics::gauge!("holdfast_payments_by_status", "status" => payment_status_name(status)).set(count as f64);
        }
        metrics::gauge!("holdfast_payments_open").set(meta.payments_open as f64);
        metrics::gauge!("holdfast_users").set(meta.users as f64);
        metrics::gauge!("holdfast_idempotency_records").set(meta.idempotency_records as f64);
        metrics::gauge!("holdfast_events_emitted").set(meta.event_seq as f64);
        metrics::gauge!("holdfast_events_acknowledged").set(meta.outbox_acked as f64);
    }
}

/// Who follows the events, and how far they are behind. One node asks the broker: the one that leads.
async fn followers(overview: &Overview, leads: bool) {
    if !leads {
        return;
    }
    if let Ok(Ok(following)) = tokio::time::timeout(BROKER_WAIT, overview.look()).await {
        for consumer in following.consumers {
            let waiting = (consumer.pending + consumer.ack_pending) as f64;
            metrics::gauge!("holdfast_consumer_waiting", "consumer" => consumer.name).set(waiting);
        }
    }
}

fn replication(status: &Status, figures: &Figures) {
    let flag = |holds: bool| f64::from(u8::from(holds));
    let voters = status.members.iter().filter(|(_, _, votes)| *votes).count();
    metrics::gauge!("holdfast_has_leader").set(flag(status.leader.is_some()));
    metrics::gauge!("holdfast_is_leader").set(flag(figures.leads));
    metrics::gauge!("holdfast_term").set(status.term as f64);
    metrics::gauge!("holdfast_voters").set(voters as f64);
    metrics::gauge!("holdfast_members").set(status.members.len() as f64);
    metrics::gauge!("holdfast_last_log_index").set(status.last_log_index as f64);
    metrics::gauge!("holdfast_committed_index").set(status.committed_index as f64);
    metrics::gauge!("holdfast_applied_index").set(status.applied_index as f64);
    metrics::gauge!("holdfast_snapshot_index").set(figures.snapshot_index as f64);
    metrics::gauge!("holdfast_purged_index").set(figures.purged_index as f64);
    metrics::gauge!("holdfast_fault").set(flag(figures.fault.is_some()));
    metrics::gauge!("holdfast_clock_agreed").set(flag(figures.clock_agreed));
    metrics::gauge!("holdfast_lock_expiry_lag_seconds").set(figures.expiry_lag_ms as f64 / 1_000.0);
    // Who does not lead knows nothing of the others: what it knew when it led must not stand there for ever.
    for (id, _, _) in status.members.iter().filter(|(id, _, _)| *id != status.node_id) {
        let lag = figures.lag_entries.get(id).map_or(f64::NAN, |lag| *lag as f64);
        metrics::gauge!("holdfast_peer_lag_entries", "peer" => id.to_string()).set(lag);
    }
    for (id, offset_ms) in &figures.clock_offset_ms {
        metrics::gauge!("holdfast_clock_offset_seconds", "peer" => id.to_string()).set(*offset_ms as f64 / 1_000.0);
    }
}

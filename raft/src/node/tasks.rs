//! What a node does without being asked: let peers in, exchange clocks, tick, promote, and make its address known.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use holdfast_ledger::command::{Actor, Command, Submitted};
use openraft_rt::WatchReceiver as _;
use tokio::sync::Semaphore;

use super::{Core, JoinRequest};
use crate::format;
use crate::network::dispatch::Door;
use crate::network::message::{ManageMessage, method};
use crate::proposer::batch::Group;
use crate::session::{self, Lane};
use crate::transport::Listener;
use crate::types::{NodeId, NodeRecord};

/// Connections of peers that stand at once.
const CONNECTIONS_MAX: usize = 256;
/// Between two attempts to reach an agreement of clocks, or to make an address known.
const SOON: Duration = Duration::from_millis(200);
/// After an error of the listener, which is of the machine (too many open files).
const LISTENER_PAUSE: Duration = Duration::from_millis(100);

/// Starts them all; each ends when the node stops.
pub(super) fn start(core: &Arc<Core>, listener: Box<dyn Listener>) {
    tokio::spawn(accept(core.clone(), listener));
    tokio::spawn(exchange_clocks(core.clone()));
    tokio::spawn(tick(core.clone()));
    tokio::spawn(keep_house(core.clone()));
    tokio::spawn(announce(core.clone()));
}

async fn accept(core: Arc<Core>, mut listener: Box<dyn Listener>) {
    let door = Arc::new(Door::new(core.clone()));
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = core.stop.wait() => return,
            accepted = listener.accept() => accepted,
        };
        let connection = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "the peer listener failed");
                if !core.sleep(LISTENER_PAUSE).await {
                    return;
                }
                continue;
            }
        };
        let Ok(place) = room.clone().try_acquire_owned() else {
            tracing::warn!(peer = connection.peer, "more than {CONNECTIONS_MAX} connections of peers; refused");
            continue;
        };
        let (door, stop) = (door.clone(), core.stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = stop.wait() => {}
                _ = session::serve(connection, &*door) => {}
            }
            drop(place);
        });
    }
}

/// Asks the other voters for their wall clocks, and moves the stamp to what they agree on.
async fn exchange_clocks(core: Arc<Core>) {
    let mut agreed_before = true;
    loop {
        let voters = voters(&core);
        ask_clocks(&core, &voters).await;
        let ids: Vec<NodeId> = voters.iter().map(|(id, _)| *id).collect();
        let agreed = !ids.is_empty() && core.guard.settle(core.node_id(), &ids);
        if agreed_before && !agreed && core.leads() {
            tracing::warn!("the voters' clocks do not agree: time runs on by this node's monotonic clock");
        }
        agreed_before = agreed;
        let pause = if agreed { Duration::from_millis(core.settings.clock_interval_ms) } else { SOON };
        if !core.sleep(pause).await {
            return;
        }
    }
}

fn voters(core: &Core) -> Vec<(NodeId, NodeRecord)> {
    let metrics = core.raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let membership = metrics.membership_config.membership();
    membership.voter_ids().filter_map(|id| Some((id, membership.get_node(&id)?.clone()))).collect()
}

async fn ask_clocks(core: &Core, voters: &[(NodeId, NodeRecord)]) {
    let timeout = Duration::from_millis(core.settings.clock_interval_ms);
    let others = voters.iter().filter(|(id, _)| *id != core.node_id());
    let mut asked: FuturesUnordered<_> = others
        .map(|(id, record)| async move {
            // The session may have to be opened first, which must not count as the time that the answer took.
            core.links.session(*id, record, Lane::Control).await.ok()?;
            let asked_ms = core.guard.monotonic_ms();
            let answer = core.links.call(*id, record, Lane::Control, method::CLOCK, &[], timeout).await.ok()?;
            let took_ms = core.guard.monotonic_ms().saturating_sub(asked_ms);
            metrics::histogram!("holdfast_peer_round_trip_seconds", "peer" => id.to_string())
                .record(took_ms as f64 / 1_000.0);
            core.guard.learn(*id, format::decode(&answer).ok()?, asked_ms);
            Some(())
        })
        .collect();
    while asked.next().await.is_some() {}
}

/// While this node leads: moves ledger time on when something is due, and now and then for what only grows old.
async fn tick(core: Arc<Core>) {
    let interval = Duration::from_millis(core.settings.tick_interval_ms);
    let mut ticked_ms = core.guard.monotonic_ms();
    loop {
        if !core.sleep(interval).await {
            return;
        }
        let old = core.guard.monotonic_ms().saturating_sub(ticked_ms) >= core.settings.cleanup_interval_ms;
        if !core.leads() || !(old || is_due(&core)) {
            continue;
        }
        let tick = Submitted { actor: Actor::System, idempotency: None, command: Command::Tick };
        let mut more = true;
        while more {
            more = core.proposer().propose(Group::encode(std::slice::from_ref(&tick)), false).await.is_ok()
                && core.leads()
                && core.state().is_ok_and(|state| state.with_state(|state| state.has_due()));
        }
        ticked_ms = core.guard.monotonic_ms();
    }
}

/// Whether a tick now would do something.
fn is_due(core: &Core) -> bool {
    let Ok(state) = core.state() else { return false };
    let (has_due, deadline_ms) = state.with_state(|state| (state.has_due(), state.next_deadline_ms()));
    has_due
        || deadline_ms.is_some_and(|deadline_ms| core.guard.has_time() && core.guard.stamp(|| 0).time_ms >= deadline_ms)
}

/// While this node leads: makes voters of learners that have caught up. On every node: makes a snapshot when much was logged,
/// however few entries it was, and forgets who has left.
async fn keep_house(core: Arc<Core>) {
    let (mut led_by, mut left) = (None, None);
    while core.sleep(Duration::from_millis(core.settings.housekeeping_interval_ms)).await {
        let leader = core.metrics().current_leader;
        if leader.is_some() && leader != led_by {
            metrics::counter!("holdfast_leader_changes_total").increment(1);
            led_by = leader;
        }
        match core.leads() {
            true => {
                core.settle_members().await;
                left = core.finish_what_was_left(left).await;
            }
            false => left = None,
        }
        if core.logged_bytes.load(Ordering::Relaxed) >= core.settings.snapshot_bytes {
            core.logged_bytes.store(0, Ordering::Relaxed);
            let _ = core.raft.trigger().snapshot().await;
        }
        let members = {
            let metrics = core.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            metrics.membership_config.membership().nodes().map(|(id, _)| *id).collect()
        };
        core.links.keep_only(&members);
    }
}

/// Tells the cluster if this node is to be reached elsewhere than the membership says.
async fn announce(core: Arc<Core>) {
    while core.sleep(SOON).await {
        let Some(known) = core.record_of(core.node_id()) else { continue };
        if (&known.peer_addr, &known.http_addr) == (&core.record.peer_addr, &core.record.http_addr) {
            return;
        }
        let request = JoinRequest {
            instance: core.instance,
            peer_addr: core.record.peer_addr.clone(),
            http_addr: core.record.http_addr.clone(),
            intent: known.intent,
            versions: core.versions,
        };
        if let Err(error) = core.manage(ManageMessage::Admit(request)).await {
            tracing::info!(%error, "this node's new address is not known to the cluster yet");
        }
    }
}

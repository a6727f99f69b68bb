//! The events' way out: the relay of this node, the stream at the broker, and who follows it.

use axum::extract::State;
use axum::response::Response;
use holdfast_events::broker::ConsumerState;
use holdfast_events::overview::Following;
use holdfast_events::relay::{Phase, Status};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Onlooker;
use crate::app::App;
use crate::error::Fault;
use crate::headers::json;

/// The way from the outbox to those who listen, on the wire.
#[derive(Serialize, ToSchema)]
#[schema(as = EventsOverview)]
#[serde(rename_all = "camelCase")]
struct EventsView {
    /// `none`: this cluster relays to no broker. `away`: it does not answer. `here`: what follows is what it says.
    broker: &'static str,
    /// Why the broker is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// Left out where there is no broker.
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<RelayView>,
    /// Left out until there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<StreamView>,
    consumers: Vec<ConsumerView>,
    /// What consumers could neither read nor handle, all of them together.
    dead_letters: u64,
}

/// This node's relay. The node that leads relays; the others follow.
#[derive(Serialize, ToSchema)]
#[schema(as = Relay)]
#[serde(rename_all = "camelCase")]
struct RelayView {
    /// `following`, `opening`, `relaying`, `retrying` or `stopped`.
    phase: &'static str,
    /// The last event that the stream is known to have.
    published: u64,
    /// Emitted, and not published.
    waiting: u64,
    /// Why it is not relaying.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// How often it had to begin anew since this node started.
    errors: u64,
}

impl RelayView {
    fn new(status: Status) -> RelayView {
        let phase = match status.phase {
            Phase::Following => "following",
            Phase::Opening => "opening",
            Phase::Relaying => "relaying",
            Phase::Retrying => "retrying",
            Phase::Stopped => "stopped",
        };
        let Status { published, waiting, trouble, errors, .. } = status;
        RelayView { phase, published, waiting, trouble, errors }
    }
}

/// The stream of the newest lineage.
#[derive(Serialize, ToSchema)]
#[schema(as = EventStream)]
#[serde(rename_all = "camelCase")]
struct StreamView {
    name: String,
    /// The numbers of the first and the last event that it holds.
    first: u64,
    last: u64,
}

/// One durable consumer of the stream.
#[derive(Serialize, ToSchema)]
#[schema(as = Consumer)]
#[serde(rename_all = "camelCase")]
struct ConsumerView {
    name: String,
    /// Events that it wants and has not been sent yet.
    pending: u64,
    /// Sent, and not acknowledged.
    ack_pending: u64,
    /// Of those, sent more than once.
    redelivered: u64,
    /// The number of the last event that it was sent.
    last_delivered: u64,
    dead_letters: u64,
}

impl ConsumerView {
    fn new(state: ConsumerState, following: &Following) -> ConsumerView {
        let dead_letters = following.dead_letters.get(&state.name).copied().unwrap_or_default();
        let ConsumerState { name, pending, ack_pending, redelivered, delivered } = state;
        ConsumerView { name, pending, ack_pending, redelivered, last_delivered: delivered, dead_letters }
    }
}

impl EventsView {
    fn of(mut following: Following) -> EventsView {
        let consumers = std::mem::take(&mut following.consumers);
        EventsView {
            broker: "here",
            trouble: None,
            relay: None,
            consumers: consumers.into_iter().map(|consumer| ConsumerView::new(consumer, &following)).collect(),
            dead_letters: following.dead_letters.values().sum(),
            stream: following.stream.map(|(name, state)| StreamView { name, first: state.first, last: state.last }),
        }
    }

    /// Of a broker that says nothing.
    fn silent(broker: &'static str, trouble: Option<String>) -> EventsView {
        EventsView { broker, trouble, relay: None, stream: None, consumers: Vec::new(), dead_letters: 0 }
    }
}

/// `GET /api/operator/events`: this node's relay, and the durable consumers of the stream that it relays to.
#[utoipa::path(
    get, path = "/api/operator/events", tag = "operators", security(("session" = ["operator-read"])),
    responses((status = 200, description = "What the broker says, at most a second old", body = EventsView))
)]
pub async fn show(State(app): State<App>, _: Onlooker) -> Result<Response, Fault> {
    let view = match &app.settings.events {
        None => EventsView::silent("none", None),
        Some(events) => {
            let found = events.look().await;
            let view = found.map_or_else(|error| EventsView::silent("away", Some(error.to_string())), EventsView::of);
            EventsView { relay: Some(RelayView::new(events.relay())), ..view }
        }
    };
    Ok(json(StatusCode::OK, &view, app.node.status().applied_index))
}

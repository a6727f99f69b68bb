//! The feed of all events, for operators and services: what the stream carries, without a broker.
//!
//! Events are numbered densely, so a reader names the last number that he has and gets what follows: a page of JSON, or
//! server-sent events that go on. What retention has taken is gone (410), and the answer says where what is kept begins; who is told so
//! reads his entities anew.

use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use holdfast_events::wire::{self, Structured};
use holdfast_ledger::event::Event;
use holdfast_ledger::limits::PAGE_ROWS_MAX;
use holdfast_ledger::query::{self, Events};
use holdfast_ledger::store::StoreError;
use holdfast_raft::node::Consistency;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{App, Ledger};
use crate::error::{Complaint, Fault};
use crate::headers::{freshness, json as answer};
use crate::live::{Frame, Reader, Watched, respond};
use crate::openapi::Problem;
use crate::operator::Onlooker;
use crate::paging;
use crate::router::QueryOf;
use crate::services::ServiceCaller;
use crate::session::Identity;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(feed))
}

/// Whoever may see everybody's orders: operators, and services.
struct Follower;

impl FromRequestParts<App> for Follower {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Follower, Fault> {
        match parts.extensions.get() {
            Some(Identity::Service(_)) => ServiceCaller::from_request_parts(parts, app).await.map(|_| Follower),
            _ => Onlooker::from_request_parts(parts, app).await.map(|_| Follower),
        }
    }
}

/// Which events.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FeedQuery {
    /// The number of the last event that the reader has; what follows it is told. Without it, all that is kept.
    after: Option<String>,
    /// Events of a page, 1 to 100.
    limit: Option<String>,
    consistency: Option<String>,
    #[serde(rename = "min-index")]
    min_index: Option<String>,
}

/// Some events, in order. Numbers of 64 bits are strings.
#[derive(Serialize, ToSchema)]
#[schema(as = EventPage)]
#[serde(rename_all = "camelCase")]
struct PageView {
    /// The first event that is still kept.
    first_kept: String,
    /// The last event emitted.
    last: String,
    /// Each as a CloudEvent in one JSON object.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Structured>,
}

/// `GET /api/events`: the events after a number. A page of JSON; or, where `text/event-stream` is accepted, server-sent
/// events that go on, each under its number, from which a reader resumes.
#[utoipa::path(
    get, path = "/api/events", tag = "operators", security(("session" = ["operator-read"]), ("service" = [])),
    params(FeedQuery),
    responses(
        (status = 200, description = "Events in order", body = PageView),
        (status = 410, description = "They are not kept any more; `firstKept` says where what is kept begins", body = Problem),
    )
)]
async fn feed(
    State(app): State<App>,
    _: Follower,
    headers: HeaderMap,
    QueryOf(query): QueryOf<FeedQuery>,
    request: Request,
) -> Result<Response, Fault> {
    let invalid = |_| Fault::bad_field("after", "invalid", "after is the number of an event");
    let after = query.after.as_deref().map(|text| text.parse::<u64>().map_err(invalid)).transpose()?;
    if wants_stream(&headers) {
        let (mut parts, _) = request.into_parts();
        let reader = Reader::from_request_parts(&mut parts, &app).await?;
        // Where the connection broke off is newer than where it began.
        let after = reader.resumes_at().or(after);
        let seen = app.read(Consistency::Linearizable, |state| page(state, after, 1)).await?;
        let told = start(&seen.value, after)?;
        return Ok(respond(app, reader, Feed { told }));
    }
    let limit = paging::limit(query.limit.as_deref())?;
    let freshness = freshness(&headers, query.consistency.as_deref(), query.min_index.as_deref())?;
    let seen = app.read(freshness, |state| page(state, after, limit)).await?;
    start(&seen.value, after).map_err(|fault| fault.log_index(seen.index))?;
    let Events { first_kept, last, events } = seen.value;
    let cluster = cluster(&app);
    let events = events.iter().map(|event| wire::structured(event, &cluster)).collect();
    let view = PageView { first_kept: first_kept.to_string(), last: last.to_string(), events };
    Ok(answer(StatusCode::OK, &view, seen.index).into_response())
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT);
    accepts.iter().any(|value| value.to_str().is_ok_and(|text| text.contains("text/event-stream")))
}

fn cluster(app: &App) -> String {
    format!("{:032x}", app.node.status().cluster_id)
}

fn page(state: &Ledger, after: Option<u64>, limit: usize) -> Result<Events, StoreError> {
    query::events(state, after.unwrap_or(state.meta().outbox_first - 1), limit)
}

/// The number after which a reader is told on: 410 where something between is gone.
fn start(page: &Events, after: Option<u64>) -> Result<u64, Fault> {
    match after {
        None => Ok(page.first_kept - 1),
        Some(after) if after + 1 >= page.first_kept => Ok(after),
        Some(after) => {
            let first = page.first_kept;
            let message = format!("Events after {after} are not all kept any more; what is kept begins with {first}");
            let fault = Fault::new(StatusCode::GONE, vec![Complaint::new("events_trimmed", message)]);
            Err(fault.member("firstKept", &first.to_string()))
        }
    }
}

/// The events as they come.
struct Feed {
    /// The number of the last event that was told.
    told: u64,
}

impl Watched for Feed {
    fn look(&mut self, app: &App, state: &Ledger) -> Result<Vec<Frame>, StoreError> {
        let first_kept = state.meta().outbox_first;
        if self.told + 1 < first_kept {
            // A reader who is slower than the retention.
            self.told = first_kept - 1;
            let data = json!({ "firstKept": first_kept.to_string() });
            return Ok(vec![Frame::new("gone", Some(self.told), &data)]);
        }
        let events = query::events(state, self.told, PAGE_ROWS_MAX)?.events;
        self.told = events.last().map_or(self.told, |event| event.seq);
        let cluster = cluster(app);
        Ok(events.iter().map(|event| frame(event, &cluster)).collect())
    }
}

/// Under the event's number, by which a reader resumes.
fn frame(event: &Event, cluster: &str) -> Frame {
    Frame::new("event", Some(event.seq), &wire::structured(event, cluster))
}

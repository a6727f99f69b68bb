//! The stream of all tickets: what can be bought, as it changes. It follows the outbox, which has every change in order.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::event::{Event, EventBody};
use holdfast_ledger::id::{TicketId, UserId};
use holdfast_ledger::limits::PAGE_ROWS_MAX;
use holdfast_ledger::money::Currency;
use holdfast_ledger::query;
use holdfast_ledger::store::StoreError;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::frame::Frame;
use super::{Reader, ResumeQuery, Watched, respond};
use crate::app::{App, Ledger};
use crate::error::Fault;
use crate::fields::price_json;
use crate::openapi::Problem;
use crate::tickets::status_name;

/// A reader who is further behind than this many events is told to load the list again.
const BACKLOG_EVENTS_MAX: u64 = 2_000;

/// A ticket in the stream.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AvailabilityView<'a> {
    id: TicketId,
    status: &'static str,
    title: &'a str,
    price: Box<RawValue>,
    currency: Currency,
    user_id: UserId,
    version: u64,
}

/// `GET /api/tickets/events`: every change of any ticket, as server-sent events. `availability` events carry the ticket's
/// id, status, title, price and version; `ready` comes first; `reset` says that too much was missed and the list is to be
/// loaded again.
#[utoipa::path(
    get, path = "/api/tickets/events", tag = "tickets", params(ResumeQuery),
    responses(
        (status = 200, description = "Goes on until the reader leaves", body = String, content_type = "text/event-stream"),
        (status = 503, description = "Too many streams, or not now", body = Problem),
    )
)]
pub async fn availability(State(app): State<App>, reader: Reader) -> Result<Response, Fault> {
    let resumes_at = reader.resumes_at;
    let find = |state: &Ledger| resumes_at.map_or(Ok(Some(state.meta().event_seq)), |index| last_until(state, index));
    let seen = app.read(reader.freshness(), find).await?;
    let watched = Availability { told: seen.value, began: false };
    Ok(respond(app, reader, watched))
}

/// The number of the last event of entries up to `index`; `None` where what followed is no longer all kept.
fn last_until(state: &Ledger, index: u64) -> Result<Option<u64>, StoreError> {
    let meta = state.meta();
    // Below `low` every event is of such an entry, from `high` on none is.
    let (mut low, mut high) = (meta.outbox_first, meta.event_seq + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = query::events(state, middle - 1, 1)?.events;
        match found.first() {
            Some(event) if event.index > index => high = middle,
            _ => low = middle + 1,
        }
    }
    let is_all_kept = low > meta.outbox_first || meta.outbox_first <= 1;
    Ok(is_all_kept.then_some(low - 1))
}

struct Availability {
    /// The number of the last event that was told; `None`: too much was missed.
    told: Option<u64>,
    began: bool,
}

impl Watched for Availability {
    fn look(&mut self, _app: &App, state: &Ledger) -> Result<Vec<Frame>, StoreError> {
        let meta = state.meta();
        let is_missed = |told: u64| told + 1 < meta.outbox_first || meta.event_seq > told + BACKLOG_EVENTS_MAX;
        let told = match self.told {
            Some(told) if !is_missed(told) => told,
            _ => {
                self.told = Some(meta.event_seq);
                self.began = true;
                return Ok(vec![Frame::new("reset", Some(meta.index), &json!({"logIndex": meta.index}))]);
            }
        };
        let mut frames = Vec::new();
        if !self.began {
            self.began = true;
            let index = (told == meta.event_seq).then_some(meta.index);
            frames.push(Frame::new("ready", index, &json!({"logIndex": meta.index})));
        }
        let mut told = told;
        // A page without a ticket in it is nothing to tell.
        while frames.is_empty() && told < meta.event_seq {
            told = self.tell(state, told, &mut frames)?;
        }
        Ok(frames)
    }
}

impl Availability {
    /// Tells the events after `told`, one page of them, and answers with the number of the last.
    fn tell(&mut self, state: &Ledger, told: u64, frames: &mut Vec<Frame>) -> Result<u64, StoreError> {
        let events = query::events(state, told, PAGE_ROWS_MAX)?.events;
        for (at, event) in events.iter().enumerate() {
            // A reader who leaves off in the middle of an entry must not miss its rest.
            let ends_entry = match events.get(at + 1) {
                Some(next) => next.index != event.index,
                None => event.seq == state.meta().event_seq,
            };
            frames.extend(view(event).map(|view| Frame::new("availability", ends_entry.then_some(event.index), &view)));
        }
        let told = events.last().map_or(state.meta().event_seq, |event| event.seq);
        self.told = Some(told);
        Ok(told)
    }
}

/// A change of a ticket; `None` for an event of anything else.
fn view(event: &Event) -> Option<AvailabilityView<'_>> {
    let EventBody::Ticket { title, price_minor, currency, user, holding, withdrawn, .. } = &event.body else {
        return None;
    };
    Some(AvailabilityView {
        id: TicketId(event.entity),
        status: status_name(holding, *withdrawn),
        title,
        price: price_json(*price_minor, *currency),
        currency: *currency,
        user_id: *user,
        version: event.version,
    })
}

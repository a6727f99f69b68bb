//! Who waits for which ticket.

use crate::entities::{Place, PlaceStatus};
use crate::id::{PlaceId, TicketId, UserId};
use crate::keys;
use crate::limits::{LINE_PLACES_MAX, USER_INTERESTS_MAX};
use crate::rows::decode;
use crate::state::State;
use crate::store::{Order as Direction, Read, StoreError, prefix_end};
use crate::tables::Table;

/// Where a user stands in the line for a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub place: PlaceId,
    pub version: u64,
    pub joined_ms: u64,
    /// Those who come before him. 0 for who is next, and for who has the ticket offered.
    pub ahead: u32,
    /// The ticket is kept for him until then.
    pub offered_until_ms: Option<u64>,
}

/// A place in a line, also one that has ended.
pub fn place<S: Read>(state: &State<S>, id: PlaceId) -> Result<Option<Place>, StoreError> {
    state.row(Table::Places, id.as_bytes())
}

/// Where a user stands in the line for a ticket; `None` where he does not. The line's length is the ticket's `waiting`.
pub fn line_position<S: Read>(
    state: &State<S>,
    user: UserId,
    ticket: TicketId,
) -> Result<Option<Position>, StoreError> {
    let stands: Option<PlaceId> = state.row(Table::PlacesByUser, &keys::pair(user.0, ticket.0))?;
    let Some(id) = stands else { return Ok(None) };
    let place: Place = state.row_required(Table::Places, id.as_bytes())?;
    let to = keys::pair(ticket.0, id.0);
    let limit = LINE_PLACES_MAX as usize;
    let ahead = state.store().range(Table::LineByTicket, ticket.as_bytes(), Some(&to), Direction::Ascending, limit)?;
    let offered_until_ms = match place.status {
        PlaceStatus::Offered { deadline_ms } => Some(deadline_ms),
        _ => None,
    };
    let Place { version, joined_ms, .. } = place;
    Ok(Some(Position { place: id, version, joined_ms, ahead: ahead.len() as u32, offered_until_ms }))
}

/// The live places of a user, by ticket: at most [`USER_INTERESTS_MAX`].
pub fn places_of_user<S: Read>(state: &State<S>, user: UserId) -> Result<Vec<(PlaceId, Place)>, StoreError> {
    let (from, to) = (user.as_bytes(), prefix_end(user.as_bytes()));
    let limit = USER_INTERESTS_MAX as usize;
    let rows = state.store().range(Table::PlacesByUser, from, to.as_deref(), Direction::Ascending, limit)?;
    let places = rows.iter().map(|(key, row)| {
        let id: PlaceId = decode(Table::PlacesByUser, key, row)?;
        Ok((id, state.row_required(Table::Places, id.as_bytes())?))
    });
    places.collect()
}

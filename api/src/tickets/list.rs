//! What can be bought now, searched, filtered and in pages.

use axum::extract::State;
use axum::response::Response;
use holdfast_ledger::money::{Currency, Decimal};
use holdfast_ledger::query::{self, TicketFilter};
use serde::Deserialize;
use utoipa::IntoParams;

use super::view::TicketView;
use crate::app::App;
use crate::error::Fault;
use crate::fields::path_id;
use crate::paging::Listing;
use crate::router::{PageQuery, QueryOf};
use crate::session::Identity;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub struct ListQuery {
    /// Words that the ticket's words begin with.
    q: Option<String>,
    /// A seller's id, or `me`: the caller's own, whatever their status.
    seller: Option<String>,
    /// The whole name of an event, in any case.
    event: Option<String>,
    min_price: Option<String>,
    max_price: Option<String>,
    currency: Option<String>,
}

impl ListQuery {
    fn filter(&self) -> Result<TicketFilter, Fault> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let seller = given(&self.seller).map(|id| path_id(&id, "seller")).transpose()?;
        let currency: Option<Currency> = given(&self.currency)
            .map(|code| code.parse())
            .transpose()
            .map_err(|_| Fault::bad_field("currency", "invalid", "Currency must be an ISO 4217 code such as USD"))?;
        let (min, max) = (given(&self.min_price), given(&self.max_price));
        // Amounts of different currencies cannot be compared.
        let currency = if min.is_some() || max.is_some() { Some(currency.unwrap_or(Currency::USD)) } else { currency };
        let minor = |text: Option<String>, field: &'static str| {
            let read = |text: String| {
                text.parse::<Decimal>().and_then(|price| price.to_minor(currency.unwrap_or(Currency::USD)))
            };
            text.map(read)
                .transpose()
                .map_err(|_| Fault::bad_field(field, "invalid", "Must be an amount such as 20.00"))
        };
        Ok(TicketFilter {
            seller,
            // An event's words lead to its tickets without a look at all the others.
            search: given(&self.q).or_else(|| given(&self.event)),
            event_name: given(&self.event),
            price_minor_min: minor(min, "minPrice")?,
            price_minor_max: minor(max, "maxPrice")?,
            currency,
        })
    }
}

/// `GET /api/tickets`: what can be bought now, in pages. `seller=me` lists the caller's own, whatever their status.
#[utoipa::path(
    get, path = "/api/tickets", tag = "tickets", params(ListQuery, PageQuery),
    responses((status = 200, description = "Done", body = Vec<TicketView>))
)]
pub async fn list(
    State(app): State<App>,
    identity: Identity,
    QueryOf(query): QueryOf<ListQuery>,
    listing: Listing,
) -> Result<Response, Fault> {
    let seen = if query.seller.as_deref() == Some("me") {
        let seller = identity.caller().ok_or_else(Fault::not_signed_in)?.signed_in.user;
        listing.read(&app, |state, after, limit| query::tickets_of_seller(state, seller, after, limit)).await?
    } else {
        let filter = query.filter()?;
        listing.read(&app, |state, after, limit| query::tickets_available(state, &filter, after, limit)).await?
    };
    Ok(listing.answer(&seen, |(id, ticket)| TicketView::new(*id, ticket)))
}

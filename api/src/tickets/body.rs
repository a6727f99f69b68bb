//! A ticket as clients send it.

use holdfast_ledger::command::NewTicket;
use holdfast_ledger::entities::TicketDetails;
use holdfast_ledger::limits::{EXTERNAL_ID_BYTES_MAX, TEXT_BYTES_MAX, TITLE_BYTES_MAX};
use holdfast_ledger::money::{Currency, Decimal, MoneyError, PRICE_MINOR_MAX};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::fields::{self, Complaints, Raw};
use crate::openapi::{Amount, CurrencyCode, Time};

const BAD_TITLE: &str = "Title is required";
/// The original's words, which differ between creating and editing.
pub const BAD_PRICE: &str = "Price must be greater than 0";
pub const BAD_PRICE_EDIT: &str = "Price must be provided and must be greater than 0";

/// A ticket as it is sent.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = NewTicket, example = json!({"title": "Concert", "price": 19.99}))]
#[serde(rename_all = "camelCase")]
pub struct TicketBody<'a> {
    #[serde(borrow)]
    #[schema(value_type = String)]
    title: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = Amount)]
    pub price: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<CurrencyCode>)]
    currency: Raw<'a>,
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    external_id: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "fields::given")]
    #[schema(value_type = Option<String>)]
    event_name: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "fields::given")]
    #[schema(value_type = Option<String>)]
    venue: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "fields::given")]
    #[schema(value_type = Option<String>)]
    section: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "fields::given")]
    #[schema(value_type = Option<String>)]
    row: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "fields::given")]
    #[schema(value_type = Option<String>)]
    seat: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "fields::given")]
    #[schema(value_type = Option<Time>)]
    starts_at: Raw<'a>,
    #[serde(borrow, default, deserialize_with = "fields::given")]
    #[schema(value_type = Option<Time>)]
    sale_ends_at: Raw<'a>,
}

impl TicketBody<'_> {
    pub fn title(&self, complaints: &mut Complaints) -> Option<String> {
        let title = fields::text(self.title).map(|title| title.trim().to_string()).filter(|title| !title.is_empty());
        let title = complaints.require(title, "title", BAD_TITLE)?;
        if title.len() > TITLE_BYTES_MAX {
            complaints.add("title", "too_long", format!("Title may be at most {TITLE_BYTES_MAX} bytes"));
            return None;
        }
        Some(title)
    }

    /// A price above zero that fits the currency, where that is known here.
    pub fn price(
        &self,
        currency: Option<Currency>,
        words: &'static str,
        complaints: &mut Complaints,
    ) -> Option<Decimal> {
        let price = fields::decimal(self.price).filter(|price| price.digits > 0);
        let price = complaints.require(price, "price", words)?;
        match currency.map_or(Ok(0), |currency| price.to_minor(currency)) {
            Ok(minor) if minor <= PRICE_MINOR_MAX => Some(price),
            Err(MoneyError::TooManyDecimals) => {
                complaints.add("price", "too_many_decimals", "Price has more decimals than its currency");
                None
            }
            _ => {
                complaints.add("price", "too_large", "Price is too large");
                None
            }
        }
    }

    pub fn currency(&self, complaints: &mut Complaints) -> Option<Currency> {
        if self.currency.is_none() {
            return Some(Currency::USD);
        }
        let currency = fields::text(self.currency).and_then(|code| code.parse().ok());
        complaints.require(currency, "currency", "Currency must be an ISO 4217 code such as USD")
    }

    /// The details, if any is given; one that is `null` or left out is none then.
    pub fn details(&self, complaints: &mut Complaints) -> Option<TicketDetails> {
        let members =
            [self.event_name, self.venue, self.section, self.row, self.seat, self.starts_at, self.sale_ends_at];
        members.iter().any(Option::is_some).then(|| {
            let mut text = |raw, field| bounded_text(complaints, filled(raw), field, TEXT_BYTES_MAX);
            let (event_name, venue) = (text(self.event_name, "eventName"), text(self.venue, "venue"));
            let (section, row, seat) = (text(self.section, "section"), text(self.row, "row"), text(self.seat, "seat"));
            let mut time =
                |raw, field| complaints.optional(filled(raw), fields::time_ms, field, "Must be an RFC 3339 time");
            let (starts_ms, sale_ends_ms) = (time(self.starts_at, "startsAt"), time(self.sale_ends_at, "saleEndsAt"));
            TicketDetails { event_name, venue, section, row, seat, starts_ms, sale_ends_ms }
        })
    }

    pub fn new_ticket(&self) -> Result<NewTicket, Complaints> {
        let mut complaints = Complaints::default();
        let title = self.title(&mut complaints);
        let currency = self.currency(&mut complaints);
        let price = self.price(currency, BAD_PRICE, &mut complaints);
        let external_id = bounded_text(&mut complaints, self.external_id, "externalId", EXTERNAL_ID_BYTES_MAX);
        let details = self.details(&mut complaints).unwrap_or_default();
        match (title, price, currency) {
            (Some(title), Some(price), Some(currency)) if complaints.is_empty() => {
                Ok(NewTicket { title, price, currency, external_id, details })
            }
            _ => Err(complaints),
        }
    }
}

/// A member that is not `null`.
fn filled(raw: Raw<'_>) -> Raw<'_> {
    raw.filter(|raw| raw.get() != "null")
}

/// An optional text of 1 to `bytes_max` bytes.
fn bounded_text(complaints: &mut Complaints, raw: Raw, field: &'static str, bytes_max: usize) -> Option<String> {
    let fits = |text: &String| (1..=bytes_max).contains(&text.len());
    let read = |raw| fields::text(raw).map(|text| text.into_owned()).filter(fits);
    complaints.optional(raw, read, field, "Must be a text, neither empty nor too long")
}

//! Checks on what people and providers write: titles, descriptions, prices, codes.

use crate::entities::TicketDetails;
use crate::limits::{PASSWORD_HASH_BYTES_MAX, PROVIDER_TEXT_BYTES_MAX, TEXT_BYTES_MAX, TIME_MS_MAX, TITLE_BYTES_MAX};
use crate::money::{Currency, Decimal, PRICE_MINOR_MAX};
use crate::outcome::{Field, Refusal};

/// A title is there and not too long.
pub(crate) fn check_title(title: &str) -> Result<(), Refusal> {
    let ok = !title.trim().is_empty() && title.len() <= TITLE_BYTES_MAX;
    ok.then_some(()).ok_or(Refusal::Invalid { field: Field::Title })
}

/// A price in minor units: above 0, at most [`PRICE_MINOR_MAX`], with no more decimals than the currency.
pub(crate) fn price_minor(price: Decimal, currency: Currency) -> Result<u64, Refusal> {
    let minor = price.to_minor(currency).ok().filter(|minor| (1..=PRICE_MINOR_MAX).contains(minor));
    minor.ok_or(Refusal::Invalid { field: Field::Price })
}

/// Texts are not too long, times are before the end of the calendar.
pub(crate) fn check_details(details: &TicketDetails) -> Result<(), Refusal> {
    let TicketDetails { event_name, venue, section, row, seat, starts_ms, sale_ends_ms } = details;
    let texts_fit =
        [event_name, venue, section, row, seat].into_iter().flatten().all(|text| text.len() <= TEXT_BYTES_MAX);
    if !texts_fit || starts_ms.is_some_and(|ms| ms > TIME_MS_MAX) {
        return Err(Refusal::Invalid { field: Field::Details });
    }
    if sale_ends_ms.is_some_and(|ms| ms > TIME_MS_MAX) {
        return Err(Refusal::Invalid { field: Field::SaleEnds });
    }
    Ok(())
}

/// A password's hash is there and not too long.
pub(crate) fn check_password_hash(hash: &str) -> Result<(), Refusal> {
    let ok = !hash.is_empty() && hash.len() <= PASSWORD_HASH_BYTES_MAX;
    ok.then_some(()).ok_or(Refusal::Invalid { field: Field::Password })
}

/// A provider's id or code is there and not too long.
pub(crate) fn check_provider_text(text: &str, field: Field) -> Result<(), Refusal> {
    let ok = !text.is_empty() && text.len() <= PROVIDER_TEXT_BYTES_MAX;
    ok.then_some(()).ok_or(Refusal::Invalid { field })
}

//! How times and amounts look in a mail.

use holdfast_events::wire::Price;
use holdfast_events::wire::time::rfc3339;
use holdfast_ledger::money::Currency;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `14 November 2023, 22:28 UTC`.
pub(super) fn when(time_ms: u64) -> String {
    let time = rfc3339(time_ms);
    let text = time.as_str();
    let month = text[5..7].parse::<usize>().expect("RFC 3339 has a month");
    format!("{} {} {}, {} UTC", text[8..10].trim_start_matches('0'), MONTHS[month - 1], &text[..4], &text[11..16])
}

/// `19.99 USD`; as it came where it does not fit the currency.
pub(super) fn money(price: Price, currency: Currency) -> String {
    match price.minor(currency) {
        Some(minor) => format!("{} {currency}", currency.display(minor)),
        None => format!("{price} {currency}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_amounts_are_written_for_people() {
        assert_eq!(when(1_700_000_000_000), "14 November 2023, 22:13 UTC");
        assert_eq!(when(951_696_000_000), "28 February 2000, 00:00 UTC");
        assert_eq!(money(Price::new(2000, Currency::USD), Currency::USD), "20.00 USD");
        let yen = "JPY".parse().expect("a currency");
        assert_eq!(money(Price::new(500, yen), yen), "500 JPY");
    }
}

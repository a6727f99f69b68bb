//! Prices as the API writes them, as exact minor units.

use holdfast_ledger::money::{Currency, Decimal};
use serde_json::Value;

/// A JSON number such as `19.99` in minor units; `None` when it is not an amount of `currency`.
///
/// A JSON number of two decimals below 2^53 prints as it was written, so going through its text is exact.
pub fn minor(price: &Value, currency: Currency) -> Option<u64> {
    let text = match price {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    text.parse::<Decimal>().and_then(|price| price.to_minor(currency)).ok()
}

/// Minor units as a JSON number.
pub fn price(minor: u64, currency: Currency) -> Value {
    let text = currency.display(minor).to_string();
    text.parse().map(Value::Number).expect("a decimal is a JSON number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_survive_both_ways() {
        for cents in [1, 100, 1999, 58_62, 123_456_789, 9_999_999_999] {
            assert_eq!(minor(&price(cents, Currency::USD), Currency::USD), Some(cents));
        }
        assert_eq!(minor(&Value::from("20.00"), Currency::USD), Some(2000));
        assert_eq!(minor(&Value::from(20.0), Currency::USD), Some(2000));
        assert_eq!(minor(&Value::Null, Currency::USD), None);
    }
}

//! Amounts and counts as people read them.

use std::fmt;

use holdfast_ledger::money::{Currency, Decimal};
use serde::Deserialize;
use serde_json::Number;

/// An amount as the interface writes it: a JSON number with no more decimals than it needs.
#[derive(Debug, Clone, Deserialize)]
pub struct Amount(Number);

impl Amount {
    /// In full, with its currency: `$1,250.00`, `5,000 JPY`.
    pub fn shown(&self, currency: &str) -> String {
        let digits = self.plain(currency);
        let (whole, rest) = digits.split_once('.').map_or((digits.as_str(), None), |(whole, rest)| (whole, Some(rest)));
        let mut grouped = in_groups(whole);
        if let Some(rest) = rest {
            grouped.push('.');
            grouped.push_str(rest);
        }
        match currency {
            "USD" => format!("${grouped}"),
            "EUR" => format!("€{grouped}"),
            "GBP" => format!("£{grouped}"),
            _ => format!("{grouped}\u{a0}{currency}"),
        }
    }

    /// In the currency's smallest unit, as providers count; `None` where it is no amount of that currency.
    pub fn minor(&self, currency: &str) -> Option<u64> {
        self.0.to_string().parse::<Decimal>().ok()?.to_minor(currency.parse().ok()?).ok()
    }

    /// With the currency's decimals and nothing else, as a form's field holds it: `1250.00`.
    pub fn plain(&self, currency: &str) -> String {
        let text = self.0.to_string();
        let in_full = || {
            let currency: Currency = currency.parse().ok()?;
            let minor = text.parse::<Decimal>().ok()?.to_minor(currency).ok()?;
            Some(currency.display(minor).to_string())
        };
        in_full().unwrap_or(text)
    }
}

/// Digits in groups of three: `1,250`.
fn in_groups(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() + 8);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number that people read, not one that names something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_groups(&self.0.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_their_currencys_decimals_and_groups() {
        let shown = |json: &str, currency: &str| serde_json::from_str::<Amount>(json).unwrap().shown(currency);
        assert_eq!(shown("20", "USD"), "$20.00");
        assert_eq!(shown("1234567.5", "EUR"), "€1,234,567.50");
        assert_eq!(shown("5000", "JPY"), "5,000\u{a0}JPY");
        assert_eq!(shown("0.05", "GBP"), "£0.05");
        assert_eq!([Count(0), Count(999), Count(5_000_000)].map(|count| count.to_string()), ["0", "999", "5,000,000"]);
    }
}

//! Reading the members of a JSON body one by one, so that every bad one is named, several at once.
//!
//! Members are borrowed as raw JSON text: numbers never pass through a float, and a value of the wrong kind is a complaint
//! about that member rather than about the whole body.

use std::borrow::Cow;
use std::str::FromStr;

use holdfast_ledger::money::{Currency, Decimal};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::{Complaint, Fault};
use crate::time::parse_rfc3339;

/// A member as it stands in the body; `null` counts as missing.
pub type Raw<'a> = Option<&'a RawValue>;

/// Reads a member for which `null` says something else than its absence: it stands in the body as `null` then.
pub fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Raw<'de>, D::Error> {
    <&'de RawValue>::deserialize(deserializer).map(Some)
}

/// What a string member says; `None` where it is missing or no string.
pub fn text(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    let quoted = raw?.get();
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(quoted).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// A decimal number, written as a JSON number or as a string of one, as the original's client sends it.
pub fn decimal(raw: Raw<'_>) -> Option<Decimal> {
    scalar(raw)?.trim().parse().ok()
}

/// A whole number, as a JSON number or a string of one.
pub fn unsigned(raw: Raw<'_>) -> Option<u64> {
    scalar(raw)?.trim().parse().ok()
}

/// The text of a number or string.
fn scalar(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    match raw?.get().as_bytes().first()? {
        b'"' => text(raw),
        b'0'..=b'9' => Some(Cow::Borrowed(raw?.get())),
        _ => None,
    }
}

/// An id in a string member.
pub fn id<T: FromStr>(raw: Raw<'_>) -> Option<T> {
    text(raw)?.parse().ok()
}

/// An id in a path, or the 400 that names it.
pub fn path_id<T: FromStr>(text: &str, field: &'static str) -> Result<T, Fault> {
    text.parse().map_err(|_| Fault::malformed_id(field))
}

/// An RFC 3339 time in a string member, in milliseconds since the Unix epoch.
pub fn time_ms(raw: Raw<'_>) -> Option<u64> {
    parse_rfc3339(&text(raw)?)
}

/// An amount as a JSON number with no more decimals than it needs: `1999` of USD is `19.99`, `2000` is `20`.
pub fn price_json(minor: u64, currency: Currency) -> Box<RawValue> {
    let Decimal { mut digits, mut decimals } = currency.display(minor);
    while decimals > 0 && digits.is_multiple_of(10) {
        (digits, decimals) = (digits / 10, decimals - 1);
    }
    RawValue::from_string(Decimal { digits, decimals }.to_string()).expect("a decimal is a JSON number")
}

/// The complaints about one request, gathered.
#[derive(Default)]
pub struct Complaints(Vec<Complaint>);

impl Complaints {
    /// `value`, or a complaint about `field`.
    pub fn require<T>(&mut self, value: Option<T>, field: &'static str, message: &'static str) -> Option<T> {
        if value.is_none() {
            self.add(field, "invalid", message);
        }
        value
    }

    pub fn add(&mut self, field: &'static str, code: &'static str, message: impl Into<Cow<'static, str>>) {
        self.0.push(Complaint::on(field, code, message));
    }

    /// A member that may be missing but not be malformed.
    pub fn optional<'a, T>(
        &mut self,
        raw: Raw<'a>,
        read: impl FnOnce(Raw<'a>) -> Option<T>,
        field: &'static str,
        message: &'static str,
    ) -> Option<T> {
        raw?;
        self.require(read(raw), field, message)
    }

    pub fn one(complaint: Complaint) -> Complaints {
        Complaints(vec![complaint])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_vec(self) -> Vec<Complaint> {
        self.0
    }

    /// The 400 with all complaints. There must be some.
    pub fn into_fault(self) -> Fault {
        Fault::new(http::StatusCode::BAD_REQUEST, self.0)
    }

    /// `value` where nothing was complained about: then every required member is there.
    pub fn settle<T>(self, value: Option<T>) -> Result<T, Fault> {
        if !self.is_empty() {
            return Err(self.into_fault());
        }
        Ok(value.expect("a missing member is complained about"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_string()).unwrap()
    }

    #[test]
    fn numbers_and_numeric_strings_are_exact() {
        let price = |json: &str| decimal(Some(&raw(json))).and_then(|price| price.to_minor(Currency::USD).ok());
        assert_eq!(price("19.99"), Some(1999));
        assert_eq!(price("\"20.00\""), Some(2000));
        assert_eq!(price("\" 5 \""), Some(500));
        for bad in ["-1", "1e3", "\"abc\"", "\"\"", "true", "[1]", "{}", "19.999", "\"NaN\"", "1e400"] {
            assert_eq!(price(bad), None, "{bad}");
        }
    }

    #[test]
    fn strings_with_lone_surrogates_are_no_text() {
        assert_eq!(text(Some(&raw(r#""a\u00e9b""#))).as_deref(), Some("aéb"));
        assert_eq!(text(Some(&raw(r#""\ud800""#))), None);
        assert_eq!(text(Some(&raw("12"))), None);
    }

    #[test]
    fn prices_need_no_more_decimals_than_they_have() {
        for (minor, code, json) in [(1999, "USD", "19.99"), (2000, "USD", "20"), (1990, "USD", "19.9"), (5, "JPY", "5")]
        {
            assert_eq!(price_json(minor, code.parse().unwrap()).get(), json);
        }
    }
}

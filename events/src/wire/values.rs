//! Values of bodies that JSON has no exact kind for: amounts, times, ids.

use std::borrow::Cow;
use std::fmt;

use holdfast_ledger::money::{Currency, Decimal};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;

use super::time::{parse_rfc3339, rfc3339};

/// An amount of money as the original writes it: a JSON number with no more decimals than it needs. Never a float here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price(Decimal);

impl Price {
    /// `minor` units of `currency`: 1999 of USD is `19.99`, 2000 is `20`.
    pub fn new(minor: u64, currency: Currency) -> Price {
        let Decimal { mut digits, mut decimals } = currency.display(minor);
        while decimals > 0 && digits.is_multiple_of(10) {
            (digits, decimals) = (digits / 10, decimals - 1);
        }
        Price(Decimal { digits, decimals })
    }

    /// In minor units; `None` where it has more decimals than `currency`, or is too large.
    pub fn minor(&self, currency: Currency) -> Option<u64> {
        self.0.to_minor(currency).ok()
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string()).expect("a decimal is a JSON number").serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Price, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        raw.get().parse().map(Price).map_err(de::Error::custom)
    }
}

impl JsonSchema for Price {
    fn schema_name() -> Cow<'static, str> {
        "Price".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0 })
    }
}

/// A moment in milliseconds since the Unix epoch, written in RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    pub ms: u64,
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        rfc3339(self.ms).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let ms = parse_rfc3339(&text).ok_or_else(|| de::Error::custom("not a time in RFC 3339"))?;
        Ok(Time { ms })
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// The schema of ids, which the ledger's types stand for.
pub struct IdText;

impl JsonSchema for IdText {
    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-f]{24}$" })
    }
}

/// The schema of currencies.
pub struct CurrencyCode;

impl JsonSchema for CurrencyCode {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[A-Z]{3}$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_numbers() {
        for (minor, code, json) in [(1999, "USD", "19.99"), (2000, "USD", "20"), (5, "JPY", "5"), (1, "KWD", "0.001")] {
            let currency = code.parse().expect("a currency");
            assert_eq!(serde_json::to_string(&Price::new(minor, currency)).expect("JSON"), json);
            let read: Price = serde_json::from_str(json).expect("a price");
            assert_eq!(read.minor(currency), Some(minor));
        }
        for bad in ["-1", "1e3", "\"20\"", "null", "[]"] {
            assert!(serde_json::from_str::<Price>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        let time = Time { ms: 1_700_000_000_123 };
        let json = serde_json::to_string(&time).expect("JSON");
        assert_eq!(json, "\"2023-11-14T22:13:20.123Z\"");
        assert_eq!(serde_json::from_str::<Time>(&json).expect("a time"), time);
        assert!(serde_json::from_str::<Time>("\"soon\"").is_err());
    }
}

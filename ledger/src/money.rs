//! Money: whole minor units of one ISO 4217 currency. Never a float.
//!
//! What people type is a [`Decimal`]; it becomes an amount only against a currency, which refuses more decimals than it has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The highest price of a ticket, in minor units: ten thousand million.
pub const PRICE_MINOR_MAX: u64 = 10_000_000_000;

/// The most decimals that a [`Decimal`] may have.
const DECIMALS_MAX: u8 = 8;

/// Three-letter codes with two decimals; the two lists below are the exceptions. Source: ISO 4217, table A.1.
const TWO_DECIMALS: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF \
    CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR \
    IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO \
    NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS \
    TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG";
const NO_DECIMALS: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
const THREE_DECIMALS: &str = "BHD IQD JOD KWD LYD OMR TND";

/// An ISO 4217 currency by its three-letter code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    pub const USD: Currency = Currency(*b"USD");

    /// How many decimals an amount of this currency is written with.
    pub fn decimals(&self) -> u8 {
        if is_listed(NO_DECIMALS, &self.0) {
            0
        } else if is_listed(THREE_DECIMALS, &self.0) {
            3
        } else {
            2
        }
    }

    fn from_code(code: [u8; 3]) -> Option<Currency> {
        let known = [TWO_DECIMALS, NO_DECIMALS, THREE_DECIMALS].iter().any(|list| is_listed(list, &code));
        known.then_some(Currency(code))
    }

    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a currency's code is ASCII")
    }

    /// `minor` units as people write them: `1999` of USD is `19.99`.
    pub fn display(&self, minor: u64) -> Decimal {
        Decimal { digits: minor, decimals: self.decimals() }
    }
}

/// Whether a list of codes, each followed by one blank, has this one. Every stored row with a price is decoded through here.
fn is_listed(list: &str, code: &[u8; 3]) -> bool {
    list.as_bytes().chunks(code.len() + 1).any(|entry| entry.starts_with(code))
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Currency, MoneyError> {
        <[u8; 3]>::try_from(text.as_bytes()).ok().and_then(Currency::from_code).ok_or(MoneyError::UnknownCurrency)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Currency, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            let code = <[u8; 3]>::deserialize(deserializer)?;
            Currency::from_code(code).ok_or_else(|| de::Error::custom("no currency"))
        }
    }
}

/// A non-negative decimal number as somebody wrote it: `digits / 10^decimals`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decimal {
    pub digits: u64,
    pub decimals: u8,
}

/// Why a number is not an amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("not a decimal number such as 20 or 20.00")]
    NotANumber,
    #[error("more decimals than the currency has")]
    TooManyDecimals,
    #[error("too large")]
    TooLarge,
    #[error("not an ISO 4217 currency")]
    UnknownCurrency,
}

impl Decimal {
    /// This number in minor units of `currency`. Trailing zeros do not count as decimals.
    pub fn to_minor(&self, currency: Currency) -> Result<u64, MoneyError> {
        let (mut digits, mut decimals) = (self.digits, self.decimals);
        while decimals > currency.decimals() {
            if digits % 10 != 0 {
                return Err(MoneyError::TooManyDecimals);
            }
            (digits, decimals) = (digits / 10, decimals - 1);
        }
        let scale = 10u64.pow(u32::from(currency.decimals() - decimals));
        digits.checked_mul(scale).ok_or(MoneyError::TooLarge)
    }
}

impl FromStr for Decimal {
    type Err = MoneyError;

    /// Digits with at most one point and at most eight decimals; no sign, exponent or grouping.
    fn from_str(text: &str) -> Result<Decimal, MoneyError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || text.ends_with('.') {
            return Err(MoneyError::NotANumber);
        }
        let fraction = fraction.trim_end_matches('0');
        let decimals =
            u8::try_from(fraction.len()).ok().filter(|n| *n <= DECIMALS_MAX).ok_or(MoneyError::TooManyDecimals)?;
        let digits = format!("{whole}{fraction}").parse().map_err(|_| MoneyError::TooLarge)?;
        Ok(Decimal { digits, decimals })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10u64.checked_pow(u32::from(self.decimals)).unwrap_or(u64::MAX);
        match self.decimals {
            0 => write!(f, "{}", self.digits),
            n => write!(f, "{}.{:0width$}", self.digits / scale, self.digits % scale, width = usize::from(n)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_becomes_minor_units() {
        let minor = |text: &str, currency: &str| text.parse::<Decimal>().and_then(|d| d.to_minor(currency.parse()?));
        assert_eq!(minor("19.99", "USD"), Ok(1999));
        assert_eq!(minor("20.00", "USD"), Ok(2000));
        assert_eq!(minor("20", "USD"), Ok(2000));
        assert_eq!(minor("20.500", "USD"), Ok(2050));
        assert_eq!(minor("19.999", "USD"), Err(MoneyError::TooManyDecimals));
        assert_eq!(minor("500", "JPY"), Ok(500));
        assert_eq!(minor("500.5", "JPY"), Err(MoneyError::TooManyDecimals));
        assert_eq!(minor("1.234", "KWD"), Ok(1234));
        assert_eq!(minor("1", "XXX"), Err(MoneyError::UnknownCurrency));
        for bad in ["", "-1", "1e3", ".5", "5.", "1,5", "1.2.3", " 1", "NaN"] {
            assert_eq!(bad.parse::<Decimal>(), Err(MoneyError::NotANumber), "{bad}");
        }
        assert_eq!("99999999999999999999".parse::<Decimal>(), Err(MoneyError::TooLarge));
        assert_eq!(Currency::USD.display(1905).to_string(), "19.05");
    }

    #[test]
    fn a_hostile_decimal_is_refused_not_a_panic() {
        let hostile = Decimal { digits: u64::MAX, decimals: u8::MAX };
        assert_eq!(hostile.to_minor(Currency::USD), Err(MoneyError::TooManyDecimals));
        assert_eq!(Decimal { digits: 0, decimals: u8::MAX }.to_minor(Currency::USD), Ok(0));
        let _ = hostile.to_string();
    }
}

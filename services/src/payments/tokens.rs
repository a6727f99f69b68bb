//! The test tokens that the field knows, and a few of ours.

/// The longest delay that a slow token can ask for, in milliseconds.
const DELAY_MS_MAX: u64 = 120_000;

/// Tokens that pay.
const PAYS: &[&str] = &[
    "visa",
    "visa_debit",
    "visa_cartesBancaires",
    "mastercard",
    "mastercard_debit",
    "mastercard_prepaid",
    "amex",
    "discover",
    "diners",
    "jcb",
    "unionpay",
    "us",
    "gb",
    "de",
    "fr",
    "threeDSecureOptional",
    "bypassPending",
];

/// Tokens that are declined, without their prefix, and the code of the decline.
const DECLINES: &[(&str, &str)] = &[
    ("chargeDeclined", "generic_decline"),
    ("chargeDeclinedInsufficientFunds", "insufficient_funds"),
    ("chargeDeclinedLostCard", "lost_card"),
    ("chargeDeclinedStolenCard", "stolen_card"),
    ("chargeDeclinedExpiredCard", "expired_card"),
    ("chargeDeclinedIncorrectCvc", "incorrect_cvc"),
    ("chargeDeclinedProcessingError", "processing_error"),
    ("chargeDeclinedVelocityLimitExceeded", "card_velocity_exceeded"),
    ("chargeDeclinedFraudulent", "fraudulent"),
];

/// What a token does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Pays,
    Declines(&'static str),
    /// The bank answers after so many milliseconds, and pays.
    PaysAfter(u64),
    /// Is authorised, but the capture fails.
    CaptureFails,
    /// 3-D Secure: the buyer takes so many milliseconds at his bank, and succeeds or not.
    Asks {
        ms: u64,
        pays: bool,
    },
    /// 3-D Secure, and nobody but the buyer himself decides.
    AsksForEver,
}

/// `tok_…` and `pm_card_…` of the field's test tokens, and of ours: `slow` (15 s), `slow_{ms}`, `captureFails`, `3ds_{ms}`,
/// `3dsFails_{ms}`, `3ds` (the buyer answers at the sandbox bank's page), `3dsNever`.
pub fn behaviour(token: &str) -> Option<Behaviour> {
    let name = token.strip_prefix("tok_").or_else(|| token.strip_prefix("pm_card_"))?;
    if PAYS.contains(&name) {
        return Some(Behaviour::Pays);
    }
    let declined = name.strip_prefix("visa_").unwrap_or(name);
    if let Some((_, code)) = DECLINES.iter().find(|(known, _)| *known == declined) {
        return Some(Behaviour::Declines(code));
    }
    let delay = |prefix: &str| name.strip_prefix(prefix)?.parse().ok().filter(|ms| *ms <= DELAY_MS_MAX);
    match name {
        "slow" => Some(Behaviour::PaysAfter(15_000)),
        "captureFails" => Some(Behaviour::CaptureFails),
        "authenticationRequired" | "threeDSecure2Required" => Some(Behaviour::Asks { ms: 2_000, pays: true }),
        "3ds" | "3dsNever" => Some(Behaviour::AsksForEver),
        _ => delay("slow_")
            .map(Behaviour::PaysAfter)
            .or_else(|| delay("3ds_").map(|ms| Behaviour::Asks { ms, pays: true }))
            .or_else(|| delay("3dsFails_").map(|ms| Behaviour::Asks { ms, pays: false })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_test_tokens_do_what_they_are_known_for() {
        for token in ["tok_visa", "pm_card_visa", "tok_mastercard", "pm_card_amex"] {
            assert_eq!(behaviour(token), Some(Behaviour::Pays), "{token}");
        }
        for token in ["tok_chargeDeclined", "pm_card_chargeDeclined", "pm_card_visa_chargeDeclined"] {
            assert_eq!(behaviour(token), Some(Behaviour::Declines("generic_decline")), "{token}");
        }
        let code = behaviour("tok_chargeDeclinedInsufficientFunds");
        assert_eq!(code, Some(Behaviour::Declines("insufficient_funds")));
        assert_eq!(behaviour("tok_slow_250"), Some(Behaviour::PaysAfter(250)));
        assert_eq!(behaviour("pm_card_3dsFails_9"), Some(Behaviour::Asks { ms: 9, pays: false }));
        for unknown in ["", "visa", "tok_", "tok_slow_999999999", "tok_visa2", "tok_3ds_"] {
            assert_eq!(behaviour(unknown), None, "{unknown}");
        }
    }
}

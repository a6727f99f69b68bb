//! The built-in provider: no money, and the test tokens that the field knows.
//!
//! Whether a token pays is decided by the token alone, and an intent's id by its key, so a sandbox that has just started
//! (another leader's, say) answers a repeated step as the first one did. Its book of charges is kept by intent: a step that
//! comes twice is one line. The book is in memory and for tests and demos; oldest lines go first when it is full.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_ledger::money::Currency;
use tokio::time::sleep;

use crate::provider::{Charge, PaymentProvider, ProviderError};

/// Lines of the book.
const CHARGES_MAX: usize = 100_000;
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
enum Behaviour {
    Pays,
    Declines(&'static str),
    /// Pays after so many milliseconds.
    PaysAfter(u64),
    /// Is authorised, but the capture fails.
    CaptureFails,
}

/// `tok_…` and `pm_card_…` of the field's test tokens, and of ours: `slow` (15 s), `slow_{ms}`, `captureFails`.
fn behaviour(token: &str) -> Option<Behaviour> {
    let name = token.strip_prefix("tok_").or_else(|| token.strip_prefix("pm_card_"))?;
    if PAYS.contains(&name) {
        return Some(Behaviour::Pays);
    }
    let declined = name.strip_prefix("visa_").unwrap_or(name);
    if let Some((_, code)) = DECLINES.iter().find(|(known, _)| *known == declined) {
        return Some(Behaviour::Declines(code));
    }
    match name {
        "slow" => Some(Behaviour::PaysAfter(15_000)),
        "captureFails" => Some(Behaviour::CaptureFails),
        _ => name.strip_prefix("slow_")?.parse().ok().filter(|ms| *ms <= DELAY_MS_MAX).map(Behaviour::PaysAfter),
    }
}

/// Where a charge stands in the sandbox's book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChargeStatus {
    Created,
    Authorized,
    Declined,
    Captured,
    Voided,
    Refunded,
}

/// One line of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeLine {
    pub intent_id: String,
    /// Unknown (0) for an intent that an earlier process created.
    pub amount_minor: u64,
    pub currency: Currency,
    pub status: ChargeStatus,
    /// Steps that were asked for, repeats included.
    pub requests: u64,
    capture_fails: bool,
}

/// The sandbox. Share it by `Arc`.
#[derive(Default)]
pub struct Sandbox {
    book: Mutex<BTreeMap<String, ChargeLine>>,
}

impl Sandbox {
    /// All charges, by intent id.
    pub fn charges(&self) -> Vec<ChargeLine> {
        self.book.lock().expect("no panic while the book is open").values().cloned().collect()
    }

    /// Changes the line of an intent, which is opened if this process has not seen it.
    fn line<T>(&self, intent_id: &str, change: impl FnOnce(&mut ChargeLine) -> T) -> T {
        let mut book = self.book.lock().expect("no panic while the book is open");
        if book.len() >= CHARGES_MAX && !book.contains_key(intent_id) {
            book.pop_first();
        }
        let line = book.entry(intent_id.to_string()).or_insert_with(|| ChargeLine {
            intent_id: intent_id.to_string(),
            amount_minor: 0,
            currency: Currency::USD,
            status: ChargeStatus::Created,
            requests: 0,
            capture_fails: false,
        });
        line.requests += 1;
        change(line)
    }
}

/// The order and attempt of a key, without its step: what names the intent.
fn intent_id(key: &str) -> String {
    let attempt = key.rsplit_once(':').map_or(key, |(attempt, _)| attempt);
    format!("pi_sandbox_{}", attempt.replace(':', "_"))
}

fn refused<T>(code: &str) -> Result<T, ProviderError> {
    Err(ProviderError::Refused(code.to_string()))
}

impl PaymentProvider for Sandbox {
    fn knows_token(&self, token: &str) -> bool {
        behaviour(token).is_some()
    }

    fn create_intent<'a>(&'a self, key: &'a str, charge: &'a Charge) -> BoxFuture<'a, Result<String, ProviderError>> {
        let id = intent_id(key);
        self.line(&id, |line| {
            line.amount_minor = charge.amount_minor;
            line.currency = charge.currency;
        });
        async move { Ok(id) }.boxed()
    }

    fn authorize<'a>(
        &'a self,
        _key: &'a str,
        intent_id: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<(), ProviderError>> {
        async move {
            let behaviour = behaviour(token);
            if let Some(Behaviour::PaysAfter(ms)) = behaviour {
                sleep(Duration::from_millis(ms)).await;
            }
            self.line(intent_id, |line| match (behaviour, line.status) {
                (None, _) => refused("resource_missing"),
                (Some(Behaviour::Declines(code)), _) => {
                    line.status = ChargeStatus::Declined;
                    refused(code)
                }
                (Some(_), ChargeStatus::Voided) => refused("payment_intent_unexpected_state"),
                (Some(other), ChargeStatus::Created) => {
                    line.capture_fails = other == Behaviour::CaptureFails;
                    line.status = ChargeStatus::Authorized;
                    Ok(())
                }
                (Some(_), _) => Ok(()),
            })
        }
        .boxed()
    }

    fn capture<'a>(&'a self, _key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        let captured = self.line(intent_id, |line| match line.status {
            ChargeStatus::Voided | ChargeStatus::Declined => refused("payment_intent_unexpected_state"),
            _ if line.capture_fails => refused("capture_failed"),
            ChargeStatus::Created | ChargeStatus::Authorized => {
                line.status = ChargeStatus::Captured;
                Ok(())
            }
            ChargeStatus::Captured | ChargeStatus::Refunded => Ok(()),
        });
        async move { captured }.boxed()
    }

    fn void<'a>(&'a self, _key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        let voided = self.line(intent_id, |line| match line.status {
            ChargeStatus::Captured | ChargeStatus::Refunded => refused("payment_intent_unexpected_state"),
            _ => {
                line.status = ChargeStatus::Voided;
                Ok(())
            }
        });
        async move { voided }.boxed()
    }

    fn refund<'a>(&'a self, _key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        let refunded = self.line(intent_id, |line| match line.status {
            ChargeStatus::Voided | ChargeStatus::Declined => refused("payment_intent_unexpected_state"),
            _ => {
                line.status = ChargeStatus::Refunded;
                Ok(())
            }
        });
        async move { refunded }.boxed()
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
        for unknown in ["", "visa", "tok_", "tok_slow_999999999", "tok_visa2"] {
            assert_eq!(behaviour(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn another_process_gives_the_same_answers_under_the_same_keys() {
        let charge = Charge { amount_minor: 1999, currency: Currency::USD };
        let (first, second) = (Sandbox::default(), Sandbox::default());
        let id = |sandbox: &Sandbox| sandbox.create_intent("o1:1:intent", &charge).now_or_never().unwrap().unwrap();
        assert_eq!(id(&first), id(&second));
        assert_ne!(id(&first), second.create_intent("o1:2:intent", &charge).now_or_never().unwrap().unwrap());
        // What one process authorised, another may capture.
        let id = id(&first);
        first.authorize("o1:1:authorize", &id, "tok_visa").now_or_never().unwrap().unwrap();
        second.capture("o1:1:capture", &id).now_or_never().unwrap().unwrap();
        assert_eq!(second.charges()[0].status, ChargeStatus::Captured);
    }

    #[test]
    fn a_repeated_step_is_one_charge() {
        let sandbox = Sandbox::default();
        let charge = Charge { amount_minor: 1999, currency: Currency::USD };
        let now = |future: BoxFuture<'_, _>| future.now_or_never().expect("no delay");
        for _ in 0..2 {
            let id = sandbox.create_intent("o1:1:intent", &charge).now_or_never().unwrap().unwrap();
            now(sandbox.authorize("o1:1:authorize", &id, "tok_visa")).unwrap();
            now(sandbox.capture("o1:1:capture", &id)).unwrap();
        }
        let charges = sandbox.charges();
        assert_eq!(charges.len(), 1);
        assert_eq!((charges[0].status, charges[0].amount_minor), (ChargeStatus::Captured, 1999));
    }
}

//! One step of one payment: what the provider is asked, and what its answer is recorded as.
//!
//! A refusal is checked before it is believed: when an answer was lost and the key forgotten, the provider refuses the repeat
//! of a step that it took. So after a refusal the charge is looked at, and where it stands decides.

use holdfast_ledger::entities::PaymentStep;
use holdfast_ledger::limits::PROVIDER_TEXT_BYTES_MAX;
use holdfast_ledger::planted::{Bug, at_work};
use serde::Serialize;
use serde_json::{Value, json};

use super::provider::{Authorization, Charge, Intent, PaymentProvider, ProviderError, Standing};
use super::row::PaymentRow;
use crate::client::{CallError, Signed};

/// Why a payment went no further for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// The buyer or his bank has to decide.
    Waits,
    /// Nobody answered, or the step cannot be taken at the moment: ask again.
    Away(String),
    /// The ledger stands elsewhere: read the payment again.
    Overtaken(String),
}

impl From<CallError> for Halt {
    fn from(error: CallError) -> Halt {
        match error {
            CallError::Refused { status: 404 | 409, code, .. } => Halt::Overtaken(code),
            // Anything else is a fault of configuration (a key that is not registered, say) until somebody mends it.
            other => Halt::Away(other.to_string()),
        }
    }
}

/// Takes the payment's next step, and answers with the payment as it is then.
pub async fn advance(
    api: &Signed,
    provider: &dyn PaymentProvider,
    row: &PaymentRow,
    step: PaymentStep,
) -> Result<PaymentRow, Halt> {
    let work = Work { api, provider, row };
    let Some(intent_id) = &row.intent_id else { return work.begin(step).await };
    match step {
        PaymentStep::Authorize => work.authorize(intent_id).await,
        PaymentStep::Capture => work.capture(intent_id).await,
        PaymentStep::Void => work.void(intent_id).await,
        PaymentStep::Refund => work.refund(intent_id).await,
    }
}

struct Work<'a> {
    api: &'a Signed,
    provider: &'a dyn PaymentProvider,
    row: &'a PaymentRow,
}

impl Work<'_> {
    fn key(&self, step: &str) -> String {
        if at_work(Bug::FreshProviderKeys) {
            return format!("{}:{}:{}:{step}", self.row.order_id, self.row.attempt, rand::random::<u32>());
        }
        format!("{}:{}:{step}", self.row.order_id, self.row.attempt)
    }

    async fn record(&self, what: &str, body: impl Serialize) -> Result<PaymentRow, Halt> {
        let path = format!("/api/services/payments/{}/{what}", self.row.id);
        Ok(self.api.post(&path, &body).await?)
    }

    async fn record_failure(&self, what: &str, code: &str) -> Result<PaymentRow, Halt> {
        self.record(what, json!({ "failure": cut(code) })).await
    }

    async fn record_done(&self, what: &str) -> Result<PaymentRow, Halt> {
        self.record(what, Value::Object(Default::default())).await
    }

    /// The first step: an intent, recorded before anything is confirmed. What is to be voided before it had one is void.
    async fn begin(&self, step: PaymentStep) -> Result<PaymentRow, Halt> {
        if step == PaymentStep::Void {
            return self.record_done("voided").await;
        }
        let charge = Charge {
            payment: self.row.id,
            order: self.row.order_id,
            amount_minor: self.row.amount_minor,
            currency: self.row.currency.parse().map_err(|_| Halt::Away("a currency that is none".into()))?,
            token: self.row.token.clone().unwrap_or_default(),
        };
        match answered(self.provider.create_intent(&self.key("intent"), &charge).await)? {
            Ok(intent_id) => self.record("intent", json!({ "intentId": intent_id })).await,
            Err(code) => self.record_failure("declined", &code).await,
        }
    }

    async fn authorize(&self, intent_id: &str) -> Result<PaymentRow, Halt> {
        let token = self.row.token.as_deref().unwrap_or_default();
        match answered(self.provider.authorize(&self.key("authorize"), intent_id, token).await)? {
            Ok(Authorization::Held) => {
                if at_work(Bug::CaptureBeforeComplete) {
                    let _ = self.provider.capture(&self.key("capture"), intent_id).await;
                }
                self.held().await
            }
            // A repeated key repeats its first answer: only a look tells what has come of it since.
            Ok(Authorization::Waits { .. }) => self.look(intent_id, None).await,
            Err(code) => self.look(intent_id, Some(code)).await,
        }
    }

    async fn held(&self) -> Result<PaymentRow, Halt> {
        self.record("authorized", json!({ "fence": self.row.fence })).await
    }

    /// Settles an authorisation by where the charge stands. `refusal`: the provider's code, if it said no.
    async fn look(&self, intent_id: &str, refusal: Option<String>) -> Result<PaymentRow, Halt> {
        let intent = self.inspect(intent_id).await?;
        let code = || refusal.clone().or(intent.failure.clone()).unwrap_or_else(|| "declined".into());
        match intent.standing {
            Standing::Held | Standing::Captured => self.held().await,
            Standing::Declined => self.record_failure("declined", &code()).await,
            Standing::Voided if !self.row.is_awaited() => self.record_done("voided").await,
            Standing::Voided => self.record_failure("declined", "canceled").await,
            Standing::Created if refusal.is_some() => self.record_failure("declined", &code()).await,
            Standing::Created => Err(Halt::Away("the provider has not begun".into())),
            Standing::Refunded => Err(Halt::Away("the provider gave the money back before it was asked for".into())),
            Standing::Waits if !self.row.is_awaited() => self.give_up(intent_id).await,
            Standing::Waits => match intent.action_url {
                Some(url) if self.row.action_url.as_ref() != Some(&url) => {
                    self.record("action", json!({ "url": url })).await
                }
                _ => Err(Halt::Waits),
            },
        }
    }

    /// Nobody waits for the buyer's decision any more: the charge is taken back, unless he has just decided.
    async fn give_up(&self, intent_id: &str) -> Result<PaymentRow, Halt> {
        match answered(self.provider.void(&self.key("void"), intent_id).await)? {
            Ok(()) => self.record_done("voided").await,
            Err(code) => Err(Halt::Away(format!("a charge that nobody waits for is not taken back: {code}"))),
        }
    }

    async fn capture(&self, intent_id: &str) -> Result<PaymentRow, Halt> {
        match answered(self.provider.capture(&self.key("capture"), intent_id).await)? {
            Ok(()) => self.record_done("captured").await,
            Err(code) => match self.inspect(intent_id).await?.standing {
                Standing::Captured | Standing::Refunded => self.record_done("captured").await,
                _ => self.record_failure("capture-failed", &code).await,
            },
        }
    }

    async fn void(&self, intent_id: &str) -> Result<PaymentRow, Halt> {
        match answered(self.provider.void(&self.key("void"), intent_id).await)? {
            Ok(()) => self.record_done("voided").await,
            Err(code) => match self.inspect(intent_id).await?.standing {
                Standing::Voided | Standing::Declined | Standing::Refunded => self.record_done("voided").await,
                Standing::Captured => self.give_back(intent_id).await,
                standing => Err(Halt::Away(format!("a void is refused ({code}) of a charge that is {standing:?}"))),
            },
        }
    }

    /// The money was taken for an order that a restored ledger did not complete: it goes back, as nobody has bought anything.
    async fn give_back(&self, intent_id: &str) -> Result<PaymentRow, Halt> {
        match answered(self.provider.refund(&self.key("refund"), intent_id).await)? {
            Ok(()) => self.record_done("voided").await,
            Err(code) => Err(Halt::Away(format!("a charge without an order is not given back: {code}"))),
        }
    }

    async fn refund(&self, intent_id: &str) -> Result<PaymentRow, Halt> {
        match answered(self.provider.refund(&self.key("refund"), intent_id).await)? {
            Ok(()) => self.record_done("refunded").await,
            Err(code) => match self.inspect(intent_id).await?.standing {
                Standing::Refunded => self.record_done("refunded").await,
                standing => Err(Halt::Away(format!("a refund is refused ({code}) of a charge that is {standing:?}"))),
            },
        }
    }

    async fn inspect(&self, intent_id: &str) -> Result<Intent, Halt> {
        self.provider.inspect(intent_id).await.map_err(|error| Halt::Away(error.to_string()))
    }
}

/// The provider's decision; no answer is no decision.
fn answered<T>(result: Result<T, ProviderError>) -> Result<Result<T, String>, Halt> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(ProviderError::Refused(code)) => Ok(Err(code)),
        Err(ProviderError::Unreachable(why)) => Err(Halt::Away(why)),
    }
}

/// As much of a provider's code as the ledger keeps.
fn cut(code: &str) -> &str {
    let end = (0..=PROVIDER_TEXT_BYTES_MAX).rev().find(|end| code.is_char_boundary(*end)).unwrap_or_default();
    if code.is_empty() { "declined" } else { &code[..end.min(code.len())] }
}

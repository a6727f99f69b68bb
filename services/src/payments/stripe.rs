//! Stripe's HTTP API, as far as payments need it: payment intents with manual capture, and refunds.
//!
//! Every post carries its idempotency key, so that a repeat has the first answer and no further effect. What an answer means
//! is decided by its status first: 402 and other refusals that carry Stripe's error body are a no; 409 (the key is in use),
//! 429, 5xx, a refused key and anything that does not look like Stripe are no answer, and the step is asked again.
//!
//! What this deliberately does not do: retry by itself (the saga does, and knows when nobody waits any more), follow
//! redirects, or log anything that was sent.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde::Deserialize;

use super::provider::{Authorization, Charge, Intent, PaymentProvider, ProviderError, Standing};
use crate::client::innermost;

/// Where Stripe is.
pub const STRIPE_URL: &str = "https://api.stripe.com";
/// How long one answer may take: a slow bank answers a confirmation late.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Charges of one page of a list.
const PAGE: usize = 100;

/// A client of Stripe's API.
pub struct Stripe {
    http: reqwest::Client,
    url: String,
    secret_key: String,
    return_url: Option<String>,
}

/// Settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StripeError(String);

/// A payment intent, as Stripe writes it.
#[derive(Deserialize)]
struct IntentBody {
    id: String,
    amount: u64,
    currency: String,
    status: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    last_payment_error: Option<ErrorBody>,
    #[serde(default)]
    next_action: Option<NextAction>,
    #[serde(default)]
    latest_charge: Option<serde_json::Value>,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    payment: Option<String>,
    #[serde(default)]
    order: Option<String>,
}

#[derive(Deserialize)]
struct NextAction {
    #[serde(default)]
    redirect_to_url: Option<RedirectToUrl>,
}

#[derive(Deserialize)]
struct RedirectToUrl {
    url: Option<String>,
}

#[derive(Deserialize)]
struct ListBody {
    data: Vec<IntentBody>,
}

#[derive(Deserialize)]
struct Refused {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    decline_code: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

impl ErrorBody {
    fn into_code(self) -> String {
        self.decline_code.or(self.code).or(self.kind).unwrap_or_else(|| "refused".into())
    }
}

impl IntentBody {
    fn standing(&self) -> Standing {
        let refunded = |charge: &serde_json::Value| charge["refunded"].as_bool() == Some(true);
        match self.status.as_str() {
            "requires_payment_method" if self.last_payment_error.is_some() => Standing::Declined,
            "requires_payment_method" | "requires_confirmation" => Standing::Created,
            "requires_capture" => Standing::Held,
            "succeeded" if self.latest_charge.as_ref().is_some_and(refunded) => Standing::Refunded,
            "succeeded" => Standing::Captured,
            "canceled" => Standing::Voided,
            // `requires_action`, `processing`, and whatever else is not an end.
            _ => Standing::Waits,
        }
    }

    fn intent(self) -> Intent {
        let standing = self.standing();
        let action_url = self.next_action.and_then(|action| action.redirect_to_url).and_then(|to| to.url);
        Intent {
            payment: self.metadata.payment.and_then(|id| id.parse().ok()),
            order: self.metadata.order.and_then(|id| id.parse().ok()),
            amount_minor: self.amount,
            currency: self.currency.to_ascii_uppercase(),
            standing,
            failure: self.last_payment_error.map(ErrorBody::into_code),
            action_url,
            id: self.id,
        }
    }
}

impl Stripe {
    /// A client of the API at `url` ([`STRIPE_URL`], or a stand-in's).
    ///
    /// # Errors
    /// A URL or a key that cannot be used. A secret key goes over plain HTTP to loopback only.
    pub fn new(url: &str, secret_key: &str) -> Result<Stripe, StripeError> {
        let parsed = reqwest::Url::parse(url).map_err(|error| StripeError(format!("{url}: {error}")))?;
        let is_loopback = match parsed.host_str() {
            Some("localhost" | "127.0.0.1" | "[::1]") => true,
            Some(_) => false,
            None => return Err(StripeError(format!("{url}: no host"))),
        };
        match parsed.scheme() {
            "https" => {}
            "http" if is_loopback => {}
            _ => return Err(StripeError(format!("{url}: https:// is needed beyond this machine"))),
        }
        if secret_key.is_empty() || !secret_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(StripeError("the secret key is empty or not one line of text".into()));
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_WAIT)
            .timeout(ANSWER_WAIT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if parsed.scheme() == "http" {
            // A machine without a certificate store can still talk to a stand-in.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| StripeError(format!("HTTP client: {error}")))?;
        let url = url.trim_end_matches('/').to_string();
        Ok(Stripe { http, url, secret_key: secret_key.to_string(), return_url: None })
    }

    /// Sends buyers whose bank wants to ask them back to `{public_url}/orders/{order}`. Without, a bank that insists on
    /// asking has nowhere to do so.
    pub fn returning_to(self, public_url: &str) -> Stripe {
        Stripe { return_url: Some(public_url.trim_end_matches('/').to_string()), ..self }
    }

    async fn post(&self, path: &str, key: &str, form: &[(&str, &str)]) -> Result<IntentBody, ProviderError> {
        self.ask(self.request(Method::POST, path).header("idempotency-key", key).form(form)).await
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, ProviderError> {
        self.ask(self.request(Method::GET, path)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.secret_key)
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, ProviderError> {
        let no_answer = |error: reqwest::Error| ProviderError::Unreachable(innermost(&error));
        let response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        let body = response.bytes().await.map_err(no_answer)?;
        if status.is_success() {
            let malformed = |error| ProviderError::Unreachable(format!("an answer that is not Stripe's: {error}"));
            return serde_json::from_slice(&body).map_err(malformed);
        }
        Err(refusal(status.as_u16(), &body))
    }
}

/// What a status other than success means.
fn refusal(status: u16, body: &[u8]) -> ProviderError {
    match (status, serde_json::from_slice::<Refused>(body)) {
        (401 | 403, _) => ProviderError::Unreachable("the provider does not accept our secret key".into()),
        (400..=499, Ok(refused)) if !matches!(status, 408 | 409 | 429) => {
            match refused.error.kind.as_deref() {
                // The same key with other parameters: a fault of ours, and no decision about the charge.
                Some("idempotency_error") => ProviderError::Unreachable("the key was used for another request".into()),
                _ => ProviderError::Refused(refused.error.into_code()),
            }
        }
        _ => ProviderError::Unreachable(format!("status {status}")),
    }
}

impl PaymentProvider for Stripe {
    fn create_intent<'a>(&'a self, key: &'a str, charge: &'a Charge) -> BoxFuture<'a, Result<String, ProviderError>> {
        async move {
            let amount = charge.amount_minor.to_string();
            let currency = charge.currency.code().to_ascii_lowercase();
            let (payment, order) = (charge.payment.to_string(), charge.order.to_string());
            let mut form = vec![
                ("amount", amount.as_str()),
                ("currency", &currency),
                ("capture_method", "manual"),
                ("payment_method_types[]", "card"),
                ("metadata[payment]", &payment),
                ("metadata[order]", &order),
            ];
            // Tokens of the older API are wrapped into a payment method.
            if charge.token.starts_with("tok_") {
                form.push(("payment_method_data[type]", "card"));
                form.push(("payment_method_data[card][token]", &charge.token));
            } else {
                form.push(("payment_method", &charge.token));
            }
            Ok(self.post("/v1/payment_intents", key, &form).await?.id)
        }
        .boxed()
    }

    fn authorize<'a>(
        &'a self,
        key: &'a str,
        intent_id: &'a str,
        _token: &'a str,
    ) -> BoxFuture<'a, Result<Authorization, ProviderError>> {
        async move {
            let path = format!("/v1/payment_intents/{}/confirm", path_part(intent_id)?);
            // Keys begin with the order.
            let order = key.split(':').next().unwrap_or_default();
            let back = self.return_url.as_ref().map(|url| format!("{url}/orders/{order}"));
            let form: Vec<_> = back.iter().map(|back| ("return_url", back.as_str())).collect();
            let intent = self.post(&path, key, &form).await?.intent();
            match intent.standing {
                Standing::Held | Standing::Captured => Ok(Authorization::Held),
                Standing::Waits => Ok(Authorization::Waits { action_url: intent.action_url }),
                _ => Err(ProviderError::Refused(intent.failure.unwrap_or_else(|| "declined".into()))),
            }
        }
        .boxed()
    }

    fn capture<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        async move {
            let path = format!("/v1/payment_intents/{}/capture", path_part(intent_id)?);
            match self.post(&path, key, &[]).await?.standing() {
                Standing::Captured | Standing::Refunded => Ok(()),
                other => Err(ProviderError::Unreachable(format!("a captured charge is {other:?}"))),
            }
        }
        .boxed()
    }

    fn void<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        async move {
            let path = format!("/v1/payment_intents/{}/cancel", path_part(intent_id)?);
            match self.post(&path, key, &[]).await?.standing() {
                Standing::Voided => Ok(()),
                other => Err(ProviderError::Unreachable(format!("a cancelled charge is {other:?}"))),
            }
        }
        .boxed()
    }

    fn refund<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        async move {
            let request = self.request(Method::POST, "/v1/refunds").header("idempotency-key", key);
            let refund: serde_json::Value = self.ask(request.form(&[("payment_intent", intent_id)])).await?;
            match refund["status"].as_str() {
                Some("failed" | "canceled") => Err(ProviderError::Refused("refund_failed".into())),
                _ => Ok(()),
            }
        }
        .boxed()
    }

    fn inspect<'a>(&'a self, intent_id: &'a str) -> BoxFuture<'a, Result<Intent, ProviderError>> {
        async move {
            let path = format!("/v1/payment_intents/{}?expand[]=latest_charge", path_part(intent_id)?);
            Ok(self.get::<IntentBody>(&path).await?.intent())
        }
        .boxed()
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Intent>, ProviderError>> {
        async move {
            let mut path = format!("/v1/payment_intents?limit={PAGE}&expand[]=data.latest_charge");
            if let Some(after) = after {
                path.push_str("&starting_after=");
                path.push_str(path_part(after)?);
            }
            Ok(self.get::<ListBody>(&path).await?.data.into_iter().map(IntentBody::intent).collect())
        }
        .boxed()
    }
}

/// A provider's id, where it can stand in a path.
fn path_part(id: &str) -> Result<&str, ProviderError> {
    let harmless = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if harmless { Ok(id) } else { Err(ProviderError::Refused("resource_missing".into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_is_told_apart_from_a_refusal() {
        let declined = br#"{"error":{"type":"card_error","code":"card_declined","decline_code":"lost_card"}}"#;
        assert_eq!(refusal(402, declined), ProviderError::Refused("lost_card".into()));
        let state = br#"{"error":{"type":"invalid_request_error","code":"payment_intent_unexpected_state"}}"#;
        assert_eq!(refusal(400, state), ProviderError::Refused("payment_intent_unexpected_state".into()));
        for (status, body) in [
            (409, &declined[..]),
            (429, declined),
            (500, declined),
            (401, declined),
            (404, b"<html>not Stripe</html>"),
            (400, br#"{"error":{"type":"idempotency_error"}}"#),
        ] {
            assert!(matches!(refusal(status, body), ProviderError::Unreachable(_)), "{status}");
        }
    }

    #[test]
    fn where_a_charge_stands_is_read_from_the_intent() {
        let standing = |json: &str| serde_json::from_str::<IntentBody>(json).unwrap().standing();
        let intent = |rest: &str| format!(r#"{{"id":"pi_1","amount":5,"currency":"usd",{rest}}}"#);
        for (rest, wanted) in [
            (r#""status":"requires_confirmation""#, Standing::Created),
            (r#""status":"requires_payment_method""#, Standing::Created),
            (r#""status":"requires_payment_method","last_payment_error":{"code":"card_declined"}"#, Standing::Declined),
            (r#""status":"requires_action""#, Standing::Waits),
            (r#""status":"processing""#, Standing::Waits),
            (r#""status":"requires_capture","latest_charge":"ch_1""#, Standing::Held),
            (r#""status":"succeeded","latest_charge":{"refunded":false}"#, Standing::Captured),
            (r#""status":"succeeded","latest_charge":{"refunded":true}"#, Standing::Refunded),
            (r#""status":"canceled","latest_charge":{"refunded":true}"#, Standing::Voided),
        ] {
            assert_eq!(standing(&intent(rest)), wanted, "{rest}");
        }
    }

    #[test]
    fn a_secret_key_goes_over_plain_http_to_this_machine_only() {
        assert!(Stripe::new("http://127.0.0.1:8420", "sk_test_1").is_ok());
        assert!(Stripe::new("http://stripe.example", "sk_test_1").is_err());
        assert!(Stripe::new("http://127.0.0.1:8420", "").is_err());
        assert!(Stripe::new("http://127.0.0.1:8420", "sk\n").is_err());
    }
}

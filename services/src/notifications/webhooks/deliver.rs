//! One event to one endpoint.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_events::consumer::{Handler, OnGap, Received, Trouble};
use holdfast_events::wire::{Body, Message, Time};
use holdfast_ledger::id::Id;
use serde::Serialize;

use super::{Endpoint, TELL_FOR, now_ms, sign, target};
use crate::client::{CallError, Signed, innermost};
use crate::notifications::sent::{Known, SentLog};
use crate::notifications::trouble;

/// Tells one endpoint.
pub(super) struct Deliverer {
    pub(super) api: Signed,
    pub(super) sent: SentLog,
    pub(super) http: reqwest::Client,
    pub(super) allow_private: bool,
    pub(super) endpoint: Endpoint,
}

/// What an endpoint gets: type, timestamp and data as Standard Webhooks has them, and the event's place in the ledger.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    event_type: &'static str,
    timestamp: Time,
    id: &'a str,
    subject: Id,
    version: u64,
    /// A 64-bit number, hence a string.
    seq: String,
    data: &'a Body,
}

impl Deliverer {
    async fn tell(&self, message: &Message) -> Result<(), Trouble> {
        let (endpoint, envelope) = (&self.endpoint, &message.envelope);
        let event_type = envelope.event_type.name();
        if !endpoint.event_types.is_empty() && !endpoint.event_types.iter().any(|wanted| wanted == event_type) {
            return Ok(());
        }
        if now_ms().saturating_sub(envelope.time_ms) > TELL_FOR.as_millis() as u64 {
            count("let_go");
            return Ok(());
        }
        let sending = match self.sent.begin(&format!("webhook-{}:{}", endpoint.id, envelope.id)) {
            Known::Sent => return Ok(()),
            Known::Busy => return Err(Trouble::Away("it is being sent".into())),
            Known::New(sending) => sending,
        };
        if let Some(why) = target::refusal(&endpoint.url, self.allow_private) {
            count("refused");
            return Err(Trouble::Away(format!("webhook {}: {why}", endpoint.id)));
        }
        match self.post(message).await {
            Ok(200..=299) => count("sent"),
            Ok(410) => {
                count("gone");
                return self.remove().await;
            }
            Ok(status) => return Err(self.later(format!("status {status}"))),
            Err(error) => return Err(self.later(innermost(&error))),
        }
        sending.done().map_err(|error| Trouble::Away(error.to_string()))
    }

    /// Posts the event, signed for this moment, and answers with the status. What else the endpoint says is not read.
    async fn post(&self, message: &Message) -> Result<u16, reqwest::Error> {
        let envelope = &message.envelope;
        let told = Told {
            event_type: envelope.event_type.name(),
            timestamp: Time { ms: envelope.time_ms },
            id: &envelope.id,
            subject: envelope.entity,
            version: envelope.version,
            seq: envelope.seq.to_string(),
            data: &message.body,
        };
        let body = serde_json::to_vec(&told).expect("our own types are JSON");
        let now_s = now_ms() / 1_000;
        let signature = sign(&self.endpoint.secret, &envelope.id, now_s, &body);
        let request = self
            .http
            .post(&self.endpoint.url)
            .header("content-type", "application/json")
            .header("webhook-id", &envelope.id)
            .header("webhook-timestamp", now_s.to_string())
            .header("webhook-signature", signature.0)
            .body(body);
        Ok(request.send().await?.status().as_u16())
    }

    /// The endpoint does not want to be told any more.
    async fn remove(&self) -> Result<(), Trouble> {
        match self.api.delete(&format!("/api/services/webhooks/{}", self.endpoint.id)).await {
            Ok(()) | Err(CallError::Refused { status: 404, .. }) => Ok(()),
            Err(error) => Err(trouble(error)),
        }
    }

    fn later(&self, why: String) -> Trouble {
        count("later");
        Trouble::Away(format!("webhook {}: {why}", self.endpoint.id))
    }
}

impl Handler for Deliverer {
    fn handle<'a>(&'a self, received: &'a Received) -> BoxFuture<'a, Result<(), Trouble>> {
        self.tell(&received.message).boxed()
    }

    fn gap<'a>(&'a self, _: &'a Received, _: Option<u64>) -> BoxFuture<'a, Result<OnGap, Trouble>> {
        std::future::ready(Ok(OnGap::Handle)).boxed()
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("holdfast_webhooks_total", "outcome" => outcome).increment(1);
}

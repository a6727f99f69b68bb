//! Carries payments through: intent, authorisation, the ledger's decision, capture or void.
//!
//! Runs on every node and works on the one that leads. What is to do stands in the ledger as open payments, each with its
//! next step, so a new leader goes on where the last one stopped. Every step is asked of the provider under the key
//! `{order}:{attempt}:{step}` and recorded by a command that is idempotent by state: two workers at once (an old leader that
//! has not noticed) do nothing twice. Money is captured only after the ledger has completed the order.
//!
//! What this deliberately does not do: remember anything. The set of payments in hand only keeps one worker from taking
//! the same payment up twice at the same time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_ledger::command::{Actor, Command, Service};
use holdfast_ledger::entities::{Payment, PaymentStep};
use holdfast_ledger::id::PaymentId;
use holdfast_ledger::limits::PROVIDER_TEXT_BYTES_MAX;
use holdfast_ledger::query::{self, Cursor};
use holdfast_raft::node::Consistency;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::app::App;
use crate::error::Fault;
use crate::provider::{Charge, ProviderError};

/// Payments in hand at the same time.
const IN_HAND_MAX: usize = 256;
/// Payments read at a time.
const PAGE: usize = 100;
/// The shortest time between two looks for open payments: entries are applied far more often than payments are begun.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long a payment rests after a step that the provider or the cluster did not answer.
const REST: Duration = Duration::from_millis(500);
/// Steps of one payment, repeats included, before it is put back for the next look.
const STEPS_MAX: u32 = 8;

/// Payments that this worker is busy with.
#[derive(Default)]
struct InHand(Mutex<BTreeSet<PaymentId>>);

impl InHand {
    /// Takes a payment up, unless it is in hand already or there are too many.
    fn take(self: &Arc<Self>, payment: PaymentId) -> Option<Held> {
        let mut in_hand = self.0.lock().expect("no panic while payments are counted");
        let free = in_hand.len() < IN_HAND_MAX && in_hand.insert(payment);
        free.then(|| Held { payment, in_hand: self.clone() })
    }
}

/// A payment in hand, until dropped.
struct Held {
    payment: PaymentId,
    in_hand: Arc<InHand>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.in_hand.0.lock().expect("no panic while payments are counted").remove(&self.payment);
    }
}

/// Works until dropped. Spawn it once on every node.
pub async fn run(app: App) {
    let in_hand = Arc::new(InHand::default());
    loop {
        let applied = app.node.status().applied_index;
        let open = if leads(&app) { look(&app, &in_hand).await } else { 0 };
        // Open payments that rest are taken up again even if nothing else happens.
        if open > 0 {
            let _ = tokio::time::timeout(REST, app.node.applied_beyond(applied)).await;
        } else {
            app.node.applied_beyond(applied).await;
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn leads(app: &App) -> bool {
    let status = app.node.status();
    status.leader == Some(status.node_id)
}

/// Takes up every open payment that is not in hand, and says how many are open.
async fn look(app: &App, in_hand: &Arc<InHand>) -> u64 {
    let mut after: Option<Cursor> = None;
    loop {
        let page = app
            .read(Consistency::Stale, |state| {
                let open = state.meta().payments_open;
                let page = if open > 0 { Some(query::payments_open(state, after.as_ref(), PAGE)?) } else { None };
                Ok((open, page))
            })
            .await;
        let Ok(seen) = page else { return 1 };
        let (open, Some(page)) = seen.value else { return 0 };
        for (id, _) in page.rows {
            if let Some(held) = in_hand.take(id) {
                tokio::spawn(carry(app.clone(), held));
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return open,
        }
    }
}

/// Carries one payment as far as it goes.
async fn carry(app: App, held: Held) {
    let id = held.payment;
    let mut index = 0;
    for _ in 0..STEPS_MAX {
        let payment = match app.read_own(index, |state| query::payment(state, id)).await {
            Ok(seen) => seen.value,
            Err(_) => None,
        };
        let Some((payment, step)) = payment.and_then(|payment| payment.next.map(|step| (payment, step))) else {
            return;
        };
        match advance(&app, id, &payment, step).await {
            Ok(decided_at) => index = decided_at,
            Err(Stuck::Provider(error)) => {
                warn!(payment = %id, ?step, %error, "the provider did not answer; the step is asked again");
                return sleep(REST).await;
            }
            Err(Stuck::Ledger(fault)) => {
                debug!(payment = %id, ?step, code = fault.first().code, "a payment's step was not recorded");
                return sleep(REST).await;
            }
        }
    }
}

/// Why a step could not be taken to its end.
enum Stuck {
    Provider(String),
    Ledger(Fault),
}

impl From<Fault> for Stuck {
    fn from(fault: Fault) -> Stuck {
        Stuck::Ledger(fault)
    }
}

/// Takes one step: asks the provider, and records what it said. Answers with the log index of the record.
async fn advance(app: &App, id: PaymentId, payment: &Payment, step: PaymentStep) -> Result<u64, Stuck> {
    let key = |step: &str| format!("{}:{}:{step}", payment.order, payment.attempt);
    let Some(intent_id) = &payment.intent_id else { return begin(app, id, payment, step, &key("intent")).await };
    let provider = &app.provider;
    let command = match step {
        PaymentStep::Authorize => {
            let token = payment.token.as_deref().unwrap_or_default();
            match answered(provider.authorize(&key("authorize"), intent_id, token).await)? {
                Ok(()) => Command::RecordAuthorized { payment: id, fence: payment.fence },
                Err(code) => Command::RecordDeclined { payment: id, failure: code },
            }
        }
        PaymentStep::Capture => match answered(provider.capture(&key("capture"), intent_id).await)? {
            Ok(()) => Command::RecordCaptured { payment: id },
            Err(code) => Command::RecordCaptureFailed { payment: id, failure: code },
        },
        PaymentStep::Void => {
            done_or_stuck(provider.void(&key("void"), intent_id).await)?;
            Command::RecordVoided { payment: id }
        }
        PaymentStep::Refund => {
            done_or_stuck(provider.refund(&key("refund"), intent_id).await)?;
            Command::RecordRefunded { payment: id }
        }
    };
    record(app, command).await
}

/// The first step: an intent, recorded before anything is confirmed. What is to be voided before it ever had one is void.
async fn begin(app: &App, id: PaymentId, payment: &Payment, step: PaymentStep, key: &str) -> Result<u64, Stuck> {
    if step == PaymentStep::Void {
        return record(app, Command::RecordVoided { payment: id }).await;
    }
    let charge = Charge { amount_minor: payment.amount_minor, currency: payment.currency };
    let command = match answered(app.provider.create_intent(key, &charge).await)? {
        Ok(intent_id) => Command::RecordIntent { payment: id, intent_id },
        Err(code) => Command::RecordDeclined { payment: id, failure: code },
    };
    record(app, command).await
}

/// The provider's decision; no answer is no decision.
fn answered<T>(result: Result<T, ProviderError>) -> Result<Result<T, String>, Stuck> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(ProviderError::Refused(mut code)) => {
            let end = (0..=PROVIDER_TEXT_BYTES_MAX).rev().find(|end| code.is_char_boundary(*end));
            code.truncate(end.unwrap_or_default());
            Ok(Err(code))
        }
        Err(ProviderError::Unreachable(why)) => Err(Stuck::Provider(why)),
    }
}

/// For steps that the provider must not refuse: if it does, an operator has to look, and until then it is asked again.
fn done_or_stuck(result: Result<(), ProviderError>) -> Result<(), Stuck> {
    result.map_err(|error| Stuck::Provider(error.to_string()))
}

/// Records a step in the ledger. A refusal is no error: another worker was first, and the next look says where it stands.
async fn record(app: &App, command: Command) -> Result<u64, Stuck> {
    match app.propose(Actor::Service(Service::Payments), None, command).await? {
        Ok(done) => Ok(done.index),
        Err(refused) => Err(Stuck::Ledger(refused.into())),
    }
}

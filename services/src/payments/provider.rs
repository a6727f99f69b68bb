//! A payment provider, as the ledger's path needs one: authorise, then capture or void, each step repeatable by its key.

use futures_util::future::BoxFuture;
use holdfast_ledger::id::{OrderId, PaymentId};
use holdfast_ledger::money::Currency;

/// The provider's answer to a step that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The provider said no, with its code. Asking again would say the same.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer: it may or may not have been done. Ask again with the same key.
    #[error("unreachable: {0}")]
    Unreachable(String),
}

/// What is to be paid, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub payment: PaymentId,
    pub order: OrderId,
    pub amount_minor: u64,
    pub currency: Currency,
    /// The provider's token for the buyer's means of payment.
    pub token: String,
}

/// What became of asking for the money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// The money is reserved.
    Held,
    /// The bank, or the buyer at the bank (3-D Secure), has not decided: look again.
    Waits {
        /// Where the buyer has to go, if anywhere.
        action_url: Option<String>,
    },
}

/// Where a charge stands with the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Announced, not confirmed.
    Created,
    /// The buyer or the bank has to decide.
    Waits,
    /// The money is reserved.
    Held,
    Declined,
    Captured,
    Voided,
    Refunded,
}

/// A charge, as the provider knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub id: String,
    /// What the charge was announced for; `None` for one that is not ours.
    pub payment: Option<PaymentId>,
    pub order: Option<OrderId>,
    pub amount_minor: u64,
    /// Three letters, upper case.
    pub currency: String,
    pub standing: Standing,
    pub failure: Option<String>,
    pub action_url: Option<String>,
}

/// A payment provider with manual capture.
///
/// Every step carries a key, `{order}:{attempt}:{step}`. A step that comes again with its key has the answer of the first
/// time and no further effect: the saga repeats steps after a fail-over.
pub trait PaymentProvider: Send + Sync + 'static {
    /// Announces a charge, unconfirmed, and answers with its id at the provider.
    fn create_intent<'a>(&'a self, key: &'a str, charge: &'a Charge) -> BoxFuture<'a, Result<String, ProviderError>>;

    /// Confirms: reserves the money. `Refused` is a decline.
    fn authorize<'a>(
        &'a self,
        key: &'a str,
        intent_id: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Authorization, ProviderError>>;

    /// Takes the reserved money.
    fn capture<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Lets the reserved money go; also what was never reserved.
    fn void<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Gives taken money back, all of it.
    fn refund<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Where a charge stands now.
    fn inspect<'a>(&'a self, intent_id: &'a str) -> BoxFuture<'a, Result<Intent, ProviderError>>;

    /// A page of all charges after the one named, in the provider's own order. An empty page is the end.
    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Intent>, ProviderError>>;
}

//! A payment provider, as the ledger's path needs one: authorise, then capture or void, each step repeatable by its key.

use futures_util::future::BoxFuture;
use holdfast_ledger::money::Currency;

/// The provider's answer to a step that it understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The provider said no, with its code. Asking again would say the same.
    #[error("refused: {0}")]
    Refused(String),
    /// No answer: it may or may not have been done. Ask again with the same key.
    #[error("unreachable: {0}")]
    Unreachable(String),
}

/// What is to be paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub amount_minor: u64,
    pub currency: Currency,
}

/// A payment provider with manual capture.
///
/// Every step carries a key, `{order}:{attempt}:{step}`. A step that comes again with its key has the answer of the first
/// time and no further effect: the worker repeats steps after a fail-over.
pub trait PaymentProvider: Send + Sync + 'static {
    /// Whether `token` has the shape of this provider's tokens: told to the buyer before anything is begun.
    fn knows_token(&self, token: &str) -> bool;

    /// Announces a charge, unconfirmed, and answers with its id at the provider.
    fn create_intent<'a>(&'a self, key: &'a str, charge: &'a Charge) -> BoxFuture<'a, Result<String, ProviderError>>;

    /// Reserves the money. `Refused` is a decline.
    fn authorize<'a>(
        &'a self,
        key: &'a str,
        intent_id: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Takes the reserved money.
    fn capture<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Lets the reserved money go; also what was never reserved.
    fn void<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Gives taken money back.
    fn refund<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>>;
}

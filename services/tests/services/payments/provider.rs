//! A provider that keeps its promises badly.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_services::payments::provider::{Authorization, Charge, Intent, PaymentProvider, ProviderError};
use holdfast_services::payments::sandbox::Sandbox;

/// Takes each step, drops the answer the first time, and has forgotten the key when it comes again.
pub struct Forgetful {
    pub bank: Arc<Sandbox>,
    asked: Mutex<BTreeSet<String>>,
}

impl Forgetful {
    pub fn new(bank: Arc<Sandbox>) -> Forgetful {
        Forgetful { bank, asked: Mutex::default() }
    }

    /// The first time under a key the step is taken and its answer lost; then it is refused as out of place.
    async fn once<T>(
        &self,
        key: &str,
        step: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        if !self.asked.lock().unwrap().insert(key.to_string()) {
            return Err(ProviderError::Refused("payment_intent_unexpected_state".into()));
        }
        let _ = step.await;
        Err(ProviderError::Unreachable("the answer was lost".into()))
    }
}

impl PaymentProvider for Forgetful {
    fn create_intent<'a>(&'a self, key: &'a str, charge: &'a Charge) -> BoxFuture<'a, Result<String, ProviderError>> {
        // An intent that is made twice is only announced twice: the sandbox names it by its key.
        self.bank.create_intent(key, charge)
    }

    fn authorize<'a>(
        &'a self,
        key: &'a str,
        intent_id: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Authorization, ProviderError>> {
        self.once(key, self.bank.authorize(key, intent_id, token)).boxed()
    }

    fn capture<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        self.once(key, self.bank.capture(key, intent_id)).boxed()
    }

    fn void<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        self.once(key, self.bank.void(key, intent_id)).boxed()
    }

    fn refund<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        self.once(key, self.bank.refund(key, intent_id)).boxed()
    }

    fn inspect<'a>(&'a self, intent_id: &'a str) -> BoxFuture<'a, Result<Intent, ProviderError>> {
        self.bank.inspect(intent_id)
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Intent>, ProviderError>> {
        self.bank.list(after)
    }
}

//! The built-in provider: no money, and the test tokens that the field knows.
//!
//! Whether a token pays is decided by the token alone, and an intent's id by its key, so a sandbox that has just started
//! (another leader's, say) answers a repeated step as the first one did. Its book of charges is kept by intent: a step that
//! comes twice is one line. The book is in memory and for tests and demos; oldest lines go first when it is full. Several
//! processes share one by [`sandbox_server`](super::sandbox_server).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_ledger::id::{OrderId, PaymentId};
use tokio::time::{Instant, sleep};

use super::provider::{Authorization, Charge, Intent, PaymentProvider, ProviderError, Standing};
use super::tokens::{Behaviour, behaviour};

/// Lines of the book.
const CHARGES_MAX: usize = 100_000;
/// Charges of one page of the list.
const PAGE: usize = 100;
/// The provider's code for a step that does not fit where the charge stands.
const UNEXPECTED: &str = "payment_intent_unexpected_state";
const MISSING: &str = "resource_missing";
/// What the ids of intents begin with; order and attempt follow.
const INTENT_PREFIX: &str = "pi_sandbox_";

/// One line of the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeLine {
    pub intent_id: String,
    pub payment: Option<PaymentId>,
    pub order: Option<OrderId>,
    /// Unknown (0) for an intent that an earlier process created.
    pub amount_minor: u64,
    pub currency: String,
    pub standing: Standing,
    /// How often money was taken. More than once is a fault.
    pub captures: u32,
    /// Steps that were asked for, repeats included.
    pub requests: u64,
    pub failure: Option<String>,
    token: Option<String>,
    capture_fails: bool,
    /// When the buyer comes back from his bank, and whether he succeeded; `None` with `Waits`: never.
    decision: Option<(Instant, bool)>,
}

impl ChargeLine {
    fn new(intent_id: &str) -> ChargeLine {
        ChargeLine {
            intent_id: intent_id.to_string(),
            payment: None,
            order: None,
            amount_minor: 0,
            currency: "USD".into(),
            standing: Standing::Created,
            captures: 0,
            requests: 0,
            failure: None,
            token: None,
            capture_fails: false,
            decision: None,
        }
    }

    /// The order that the charge is for. Where another process made the intent, its id still says so.
    pub fn order_id(&self) -> Option<String> {
        let from_id = || Some(self.intent_id.strip_prefix(INTENT_PREFIX)?.rsplit_once('_')?.0.to_string());
        self.order.map(|order| order.to_string()).or_else(from_id)
    }

    /// Lets the buyer's decision come true once its time has come.
    fn settle(&mut self) {
        let due = self.decision.filter(|(at, _)| self.standing == Standing::Waits && *at <= Instant::now());
        if let Some((_, pays)) = due {
            self.standing = if pays { Standing::Held } else { Standing::Declined };
            self.failure = (!pays).then(|| "payment_intent_authentication_failure".into());
        }
    }

    fn intent(&self, action_url: Option<String>) -> Intent {
        Intent {
            id: self.intent_id.clone(),
            payment: self.payment,
            order: self.order,
            amount_minor: self.amount_minor,
            currency: self.currency.clone(),
            standing: self.standing,
            failure: self.failure.clone(),
            action_url: action_url.filter(|_| self.standing == Standing::Waits),
        }
    }
}

/// The sandbox. Share it by `Arc`.
#[derive(Default)]
pub struct Sandbox {
    book: Mutex<BTreeMap<String, ChargeLine>>,
    /// Where buyers reach the shop, and the bank's own page beside it.
    site: Option<String>,
}

impl Sandbox {
    /// One whose page for buyers is reached at `site`, as the shop is: a URL without a path.
    pub fn at(site: &str) -> Sandbox {
        Sandbox { site: Some(site.trim_end_matches('/').to_string()), ..Sandbox::default() }
    }

    /// Where a buyer is asked whether it is him.
    fn action_url(&self, intent_id: &str) -> Option<String> {
        self.site.as_ref().map(|site| format!("{site}/sandbox/bank/{intent_id}"))
    }

    /// Where a buyer goes back to once he has answered, where that is known.
    pub fn order_page(&self, intent_id: &str) -> Option<String> {
        let order = self.book().get(intent_id)?.order_id()?;
        self.site.as_ref().map(|site| format!("{site}/orders/{order}"))
    }

    /// All charges, by intent id.
    pub fn charges(&self) -> Vec<ChargeLine> {
        self.book().values().cloned().collect()
    }

    /// The means of payment that a charge was announced with.
    pub fn token(&self, intent_id: &str) -> Option<String> {
        self.book().get(intent_id)?.token.clone()
    }

    /// The buyer has decided at his bank.
    pub fn decide(&self, intent_id: &str, pays: bool) {
        if let Some(line) = self.book().get_mut(intent_id) {
            line.decision = Some((Instant::now(), pays));
            line.settle();
        }
    }

    fn book(&self) -> MutexGuard<'_, BTreeMap<String, ChargeLine>> {
        self.book.lock().expect("no panic while the book is open")
    }

    /// Counts a request, and changes the line of its intent.
    fn line<T>(&self, intent_id: &str, change: impl FnOnce(&mut ChargeLine) -> T) -> T {
        self.open(intent_id, |line| {
            line.requests += 1;
            change(line)
        })
    }

    /// Changes the line of an intent, which is opened if this process has not seen it.
    fn open<T>(&self, intent_id: &str, change: impl FnOnce(&mut ChargeLine) -> T) -> T {
        let mut book = self.book();
        if book.len() >= CHARGES_MAX && !book.contains_key(intent_id) {
            book.pop_first();
        }
        let line = book.entry(intent_id.to_string()).or_insert_with(|| ChargeLine::new(intent_id));
        line.settle();
        change(line)
    }
}

/// The order and attempt of a key, without its step: what names the intent.
fn intent_id(key: &str) -> String {
    let attempt = key.rsplit_once(':').map_or(key, |(attempt, _)| attempt);
    format!("{INTENT_PREFIX}{}", attempt.replace(':', "_"))
}

fn refused<T>(code: &str) -> Result<T, ProviderError> {
    Err(ProviderError::Refused(code.to_string()))
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    std::future::ready(value).boxed()
}

/// Confirms a charge with a means of payment that behaves so.
fn confirm(line: &mut ChargeLine, behaviour: Behaviour) -> Result<Authorization, ProviderError> {
    match (line.standing, behaviour) {
        (Standing::Voided, _) => refused(UNEXPECTED),
        (Standing::Created, Behaviour::Declines(code)) => {
            line.standing = Standing::Declined;
            line.failure = Some(code.to_string());
            refused(code)
        }
        (Standing::Declined, _) => refused(line.failure.as_deref().unwrap_or(UNEXPECTED)),
        (Standing::Created, Behaviour::Asks { ms, pays }) => {
            line.standing = Standing::Waits;
            line.decision = Some((Instant::now() + Duration::from_millis(ms), pays));
            Ok(Authorization::Waits { action_url: None })
        }
        (Standing::Created, Behaviour::AsksForEver) => {
            line.standing = Standing::Waits;
            Ok(Authorization::Waits { action_url: None })
        }
        (Standing::Waits, _) => Ok(Authorization::Waits { action_url: None }),
        (Standing::Created, other) => {
            line.capture_fails = other == Behaviour::CaptureFails;
            line.standing = Standing::Held;
            Ok(Authorization::Held)
        }
        (Standing::Held | Standing::Captured | Standing::Refunded, _) => Ok(Authorization::Held),
    }
}

impl PaymentProvider for Sandbox {
    fn create_intent<'a>(&'a self, key: &'a str, charge: &'a Charge) -> BoxFuture<'a, Result<String, ProviderError>> {
        if behaviour(&charge.token).is_none() {
            return ready(refused(MISSING));
        }
        let id = intent_id(key);
        self.line(&id, |line| {
            line.payment = Some(charge.payment);
            line.order = Some(charge.order);
            line.amount_minor = charge.amount_minor;
            line.currency = charge.currency.to_string();
            line.token = Some(charge.token.clone());
        });
        ready(Ok(id))
    }

    fn authorize<'a>(
        &'a self,
        _key: &'a str,
        intent_id: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Authorization, ProviderError>> {
        async move {
            let Some(behaviour) = behaviour(token) else { return refused(MISSING) };
            self.line(intent_id, |_| ());
            if let Behaviour::PaysAfter(ms) = behaviour {
                sleep(Duration::from_millis(ms)).await;
            }
            self.open(intent_id, |line| confirm(line, behaviour))
        }
        .boxed()
    }

    fn capture<'a>(&'a self, _key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        ready(self.line(intent_id, |line| match line.standing {
            Standing::Voided | Standing::Declined | Standing::Waits => refused(UNEXPECTED),
            _ if line.capture_fails => refused("capture_failed"),
            Standing::Created | Standing::Held => {
                line.standing = Standing::Captured;
                line.captures += 1;
                Ok(())
            }
            Standing::Captured | Standing::Refunded => Ok(()),
        }))
    }

    fn void<'a>(&'a self, _key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        ready(self.line(intent_id, |line| match line.standing {
            Standing::Captured | Standing::Refunded => refused(UNEXPECTED),
            _ => {
                line.standing = Standing::Voided;
                Ok(())
            }
        }))
    }

    fn refund<'a>(&'a self, _key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        ready(self.line(intent_id, |line| match line.standing {
            Standing::Voided | Standing::Declined | Standing::Waits => refused(UNEXPECTED),
            _ => {
                line.standing = Standing::Refunded;
                Ok(())
            }
        }))
    }

    fn inspect<'a>(&'a self, intent_id: &'a str) -> BoxFuture<'a, Result<Intent, ProviderError>> {
        ready(match self.book().get_mut(intent_id) {
            Some(line) => {
                line.settle();
                Ok(line.intent(self.action_url(intent_id)))
            }
            None => refused(MISSING),
        })
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Intent>, ProviderError>> {
        let book = self.book();
        let after = after.unwrap_or_default();
        let lines = book.iter().filter(|(id, _)| id.as_str() > after).take(PAGE);
        ready(Ok(lines.map(|(id, line)| line.intent(self.action_url(id))).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_ledger::id::Id;
    use holdfast_ledger::money::Currency;

    fn charge(token: &str) -> Charge {
        Charge {
            payment: PaymentId(Id::mint(0, 2, 0)),
            order: OrderId(Id::mint(0, 1, 0)),
            amount_minor: 1999,
            currency: Currency::USD,
            token: token.into(),
        }
    }

    fn now<T>(future: BoxFuture<'_, T>) -> T {
        future.now_or_never().expect("no delay")
    }

    #[test]
    fn another_process_gives_the_same_answers_under_the_same_keys() {
        let (first, second) = (Sandbox::default(), Sandbox::default());
        let id = |sandbox: &Sandbox| now(sandbox.create_intent("o1:1:intent", &charge("tok_visa"))).unwrap();
        assert_eq!(id(&first), id(&second));
        assert_ne!(id(&first), now(second.create_intent("o1:2:intent", &charge("tok_visa"))).unwrap());
        // What one process authorised, another may capture.
        let id = id(&first);
        now(first.authorize("o1:1:authorize", &id, "tok_visa")).unwrap();
        now(second.capture("o1:1:capture", &id)).unwrap();
        assert_eq!(second.charges()[0].standing, Standing::Captured);
    }

    #[test]
    fn a_repeated_step_is_one_charge() {
        let sandbox = Sandbox::default();
        for _ in 0..2 {
            let id = now(sandbox.create_intent("o1:1:intent", &charge("tok_visa"))).unwrap();
            now(sandbox.authorize("o1:1:authorize", &id, "tok_visa")).unwrap();
            now(sandbox.capture("o1:1:capture", &id)).unwrap();
        }
        let charges = sandbox.charges();
        assert_eq!(charges.len(), 1);
        assert_eq!((charges[0].standing, charges[0].amount_minor, charges[0].captures), (Standing::Captured, 1999, 1));
    }

    #[test]
    fn an_unknown_token_is_refused_before_anything_is_begun() {
        let sandbox = Sandbox::default();
        let refusal = now(sandbox.create_intent("o1:1:intent", &charge("tok_nonsense")));
        assert_eq!(refusal, Err(ProviderError::Refused("resource_missing".into())));
        assert!(sandbox.charges().is_empty());
    }
}

//! The bank of a run: it keeps its promises, late, and now and then without saying so.
//!
//! Steps take time; an answer may be lost after the step was taken; during an outage nothing is answered. A key that comes
//! again is answered as before. The bank is outside the cluster: it survives every crash, and its book is what the checks
//! hold the ledger against.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use holdfast_ledger::id::{OrderId, PaymentId};
use holdfast_services::payments::provider::{self, Authorization, Charge, Intent, PaymentProvider, ProviderError};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::time::sleep;

use crate::clocks::elapsed;
use crate::streams::stream;
use crate::trace::Trace;

/// A token that pays, and one that is declined.
pub const GOOD_TOKEN: &str = "tok_visa";
pub const BAD_TOKEN: &str = "tok_chargeDeclined";

/// Of 100 steps, so many are taken but not answered: the bank of one run is like this, that of another like that.
const LOST_ANSWERS_PERCENT: [u32; 3] = [2, 6, 25];
/// One step in so many takes long.
const SLOW_ONE_IN: [u32; 3] = [40, 20, 6];
/// A step takes up to this long, and a slow one much longer: longer than a lock and its grace.
const STEP_MS_MAX: u64 = 60;
const SLOW_STEP_MS_MAX: u64 = 9_000;
/// Charges of one page of a list.
const PAGE: usize = 100;

/// Where a charge stands with the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Created,
    Authorized,
    Declined,
    Captured,
    Voided,
    Refunded,
}

/// One charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The order, as the key names it.
    pub order: String,
    pub payment: PaymentId,
    pub amount_minor: u64,
    pub currency: String,
    pub standing: Standing,
    /// How often money was taken; more than once is the bank's customer's fault.
    pub captures: u32,
    /// When the last step that was taken was asked for, since the run began.
    pub asked_ns: u64,
    /// When its capture was asked for.
    pub taken_ns: Option<u64>,
}

impl Line {
    fn new(key: &str, charge: &Charge, asked_ns: u64) -> Line {
        Line {
            order: order_of(key),
            payment: charge.payment,
            amount_minor: charge.amount_minor,
            currency: charge.currency.to_string(),
            standing: Standing::Created,
            captures: 0,
            asked_ns,
            taken_ns: None,
        }
    }

    fn intent(&self, id: &str) -> Intent {
        let standing = match self.standing {
            Standing::Created => provider::Standing::Created,
            Standing::Authorized => provider::Standing::Held,
            Standing::Declined => provider::Standing::Declined,
            Standing::Captured => provider::Standing::Captured,
            Standing::Voided => provider::Standing::Voided,
            Standing::Refunded => provider::Standing::Refunded,
        };
        Intent {
            id: id.to_string(),
            payment: Some(self.payment),
            order: self.order.parse::<OrderId>().ok(),
            amount_minor: self.amount_minor,
            currency: self.currency.clone(),
            standing,
            failure: None,
            action_url: None,
        }
    }
}

/// The bank.
pub struct Bank {
    trace: Arc<Trace>,
    lost_answers_percent: u32,
    slow_one_in: u32,
    book: Mutex<Book>,
}

struct Book {
    rng: SmallRng,
    outages: u32,
    lines: BTreeMap<String, Line>,
    /// By key: what was answered.
    answered: BTreeMap<String, Result<String, String>>,
}

impl Bank {
    pub fn new(seed: u64, trace: Arc<Trace>) -> Bank {
        let book = Book { rng: stream(seed, "bank"), outages: 0, lines: BTreeMap::new(), answered: BTreeMap::new() };
        let mut mood = stream(seed, "bank's mood");
        Bank {
            trace,
            lost_answers_percent: LOST_ANSWERS_PERCENT[mood.random_range(0..LOST_ANSWERS_PERCENT.len())],
            slow_one_in: SLOW_ONE_IN[mood.random_range(0..SLOW_ONE_IN.len())],
            book: Mutex::new(book),
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nothing panics while the book is open")
    }

    /// Begins or ends an outage.
    pub fn outage(&self, begins: bool) {
        let mut book = self.book();
        book.outages = if begins { book.outages + 1 } else { book.outages - 1 };
    }

    /// The book, by intent.
    pub fn lines(&self) -> BTreeMap<String, Line> {
        self.book().lines.clone()
    }

    /// Takes the time that a request takes; nothing is answered during an outage.
    async fn take_time(&self) -> Result<(), ProviderError> {
        let delay_ms = {
            let slow_one_in = self.slow_one_in;
            let rng = &mut self.book().rng;
            let max_ms = if rng.random_range(0..slow_one_in) == 0 { SLOW_STEP_MS_MAX } else { STEP_MS_MAX };
            rng.random_range(0..max_ms)
        };
        sleep(Duration::from_millis(delay_ms)).await;
        if self.book().outages > 0 {
            return Err(ProviderError::Unreachable("the bank does not answer".into()));
        }
        Ok(())
    }

    /// Takes a step under its key: late, once, and perhaps without an answer.
    fn step<'a>(
        &'a self,
        key: &'a str,
        take: impl FnOnce(&mut BTreeMap<String, Line>, u64) -> Result<String, String> + Send + 'a,
    ) -> BoxFuture<'a, Result<String, ProviderError>> {
        async move {
            let asked_ns = elapsed().as_nanos() as u64;
            self.take_time().await?;
            let mut book = self.book();
            let answer = match book.answered.get(key) {
                Some(answer) => answer.clone(),
                None => {
                    let answer = take(&mut book.lines, asked_ns);
                    book.answered.insert(key.to_string(), answer.clone());
                    answer
                }
            };
            self.trace.note(format_args!("bank {key} {answer:?}"));
            if book.rng.random_range(0..100) < self.lost_answers_percent {
                return Err(ProviderError::Unreachable("the answer was lost".into()));
            }
            answer.map_err(ProviderError::Refused)
        }
        .boxed()
    }
}

fn order_of(key: &str) -> String {
    key.split(':').next().unwrap_or_default().to_string()
}

fn unexpected<T>() -> Result<T, String> {
    Err("payment_intent_unexpected_state".into())
}

/// Moves a charge on, if it stands where the step expects it.
fn advance(
    lines: &mut BTreeMap<String, Line>,
    (intent_id, asked_ns): (&str, u64),
    allowed: &[Standing],
    to: Standing,
) -> Result<String, String> {
    match lines.get_mut(intent_id) {
        Some(line) if allowed.contains(&line.standing) => {
            line.standing = to;
            line.captures += u32::from(to == Standing::Captured);
            line.asked_ns = asked_ns;
            line.taken_ns = line.taken_ns.or((to == Standing::Captured).then_some(asked_ns));
            Ok(String::new())
        }
        Some(_) => unexpected(),
        None => Err("resource_missing".into()),
    }
}

fn done(answer: BoxFuture<'_, Result<String, ProviderError>>) -> BoxFuture<'_, Result<(), ProviderError>> {
    answer.map(|result| result.map(|_| ())).boxed()
}

impl PaymentProvider for Bank {
    fn create_intent<'a>(&'a self, key: &'a str, charge: &'a Charge) -> BoxFuture<'a, Result<String, ProviderError>> {
        self.step(key, move |lines, asked_ns| {
            let id = format!("pi_{}", lines.len() + 1);
            let line = Line::new(key, charge, asked_ns);
            lines.insert(id.clone(), line);
            Ok(id)
        })
    }

    fn authorize<'a>(
        &'a self,
        key: &'a str,
        intent_id: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Authorization, ProviderError>> {
        let held = |result: Result<(), ProviderError>| result.map(|()| Authorization::Held);
        let step = done(self.step(key, move |lines, asked_ns| {
            if token != GOOD_TOKEN {
                advance(lines, (intent_id, asked_ns), &[Standing::Created], Standing::Declined)?;
                return Err("generic_decline".into());
            }
            advance(lines, (intent_id, asked_ns), &[Standing::Created], Standing::Authorized)
        }));
        step.map(held).boxed()
    }

    fn capture<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        done(self.step(key, move |lines, asked_ns| {
            advance(lines, (intent_id, asked_ns), &[Standing::Authorized], Standing::Captured)
        }))
    }

    fn void<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        let open = &[Standing::Created, Standing::Authorized, Standing::Declined];
        done(self.step(key, move |lines, asked_ns| advance(lines, (intent_id, asked_ns), open, Standing::Voided)))
    }

    fn refund<'a>(&'a self, key: &'a str, intent_id: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        done(self.step(key, move |lines, asked_ns| {
            advance(lines, (intent_id, asked_ns), &[Standing::Captured], Standing::Refunded)
        }))
    }

    fn inspect<'a>(&'a self, intent_id: &'a str) -> BoxFuture<'a, Result<Intent, ProviderError>> {
        async move {
            self.take_time().await?;
            let book = self.book();
            let line = book.lines.get(intent_id).ok_or_else(|| ProviderError::Refused("resource_missing".into()))?;
            Ok(line.intent(intent_id))
        }
        .boxed()
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Result<Vec<Intent>, ProviderError>> {
        async move {
            self.take_time().await?;
            let book = self.book();
            let after = after.unwrap_or_default();
            let lines = book.lines.iter().filter(|(id, _)| id.as_str() > after).take(PAGE);
            Ok(lines.map(|(id, line)| line.intent(id)).collect())
        }
        .boxed()
    }
}

//! Carries payments through, many at once, each one step after the other.
//!
//! Three callers bring payments: events ([`Saga::take_up`]), webhooks (the same), and the sweeper in [`Saga::run`], which reads
//! the ledger's list of open payments, so that nothing depends on a message that came.
//!
//! What this deliberately does not do: remember anything. The set of payments in hand only keeps one copy from taking the same
//! payment up twice at the same time; two copies that do are as safe as one.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_ledger::id::PaymentId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::provider::PaymentProvider;
use super::row::PaymentRow;
use super::step::{Halt, advance};
use crate::client::{CallError, Signed};

/// Steps of one payment, repeats included, before it is put back for the next look.
const STEPS_MAX: u32 = 8;
/// Between two looks whether the last payment in hand is done, at the end.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// How a saga works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Payments in hand at the same time.
    pub in_hand_max: usize,
    /// Between two looks at the ledger's open payments; `None`: only when rung for.
    pub sweep_interval: Option<Duration>,
    /// Younger payments are left to whoever was told of them. Milliseconds of ledger time.
    pub sweep_age_ms: u64,
    /// The shortest time between two looks that are rung for.
    pub look_again: Duration,
    /// How long a payment rests after a step that the provider or the cluster did not answer.
    pub rest: Duration,
    /// How long steps in hand may take to finish when the service stops.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            in_hand_max: 256,
            sweep_interval: Some(Duration::from_secs(1)),
            sweep_age_ms: 0,
            look_again: Duration::from_millis(5),
            rest: Duration::from_millis(500),
            drain: Duration::from_secs(20),
        }
    }
}

/// What came of taking a payment up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Nothing is left to do.
    Done,
    /// The buyer or his bank has to decide; the sweeper looks again.
    Waits,
    /// Somebody in this process is at it, or too many are in hand, or the service stops.
    Busy,
    /// No such payment.
    Unknown,
    /// The provider or the cluster did not answer. Ask again.
    Away(String),
}

/// The saga. Clones are handles to the same one.
#[derive(Clone)]
pub struct Saga(Arc<Work>);

struct Work {
    api: Signed,
    provider: Arc<dyn PaymentProvider>,
    settings: Settings,
    in_hand: Mutex<BTreeSet<PaymentId>>,
    bell: Notify,
    stopping: AtomicBool,
    /// Nothing is taken up for now.
    paused: AtomicBool,
    /// The last look at the ledger was answered.
    answered: AtomicBool,
}

/// A payment in hand, until dropped.
struct Held {
    payment: PaymentId,
    work: Arc<Work>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.work.in_hand.lock().expect("no panic while payments are counted").remove(&self.payment);
    }
}

impl Saga {
    pub fn new(api: Signed, provider: Arc<dyn PaymentProvider>, settings: Settings) -> Saga {
        Saga(Arc::new(Work {
            api,
            provider,
            settings,
            in_hand: Mutex::default(),
            bell: Notify::new(),
            stopping: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            answered: AtomicBool::new(false),
        }))
    }

    /// There may be something to do: the open payments are looked at, whatever their age.
    pub fn ring(&self) {
        self.0.bell.notify_one();
    }

    /// Takes nothing up until [`resume`](Saga::resume); what is in hand goes on.
    pub fn pause(&self) {
        self.0.paused.store(true, Ordering::Relaxed);
    }

    pub fn resume(&self) {
        self.0.paused.store(false, Ordering::Relaxed);
        self.ring();
    }

    /// Whether the cluster answered the last look.
    pub fn is_answered(&self) -> bool {
        self.0.answered.load(Ordering::Relaxed)
    }

    /// Carries one payment as far as it goes now.
    pub async fn take_up(&self, payment: PaymentId) -> Taken {
        let Some(_held) = self.take(payment) else { return Taken::Busy };
        match self.read(payment).await {
            Ok(row) => self.carry(row).await,
            Err(CallError::Refused { status: 404, .. }) => Taken::Unknown,
            Err(error) => Taken::Away(error.to_string()),
        }
    }

    /// Sweeps until `stop` resolves, then until the steps in hand are done. Nothing is begun after `stop`.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let settings = self.0.settings;
        let mut min_age_ms = 0;
        loop {
            self.look(min_age_ms).await;
            let next = async {
                match settings.sweep_interval {
                    Some(interval) => timeout(interval, self.0.bell.notified()).await.is_ok(),
                    None => {
                        self.0.bell.notified().await;
                        true
                    }
                }
            };
            let rung = tokio::select! {
                biased;
                () = &mut stop => break,
                rung = next => rung,
            };
            min_age_ms = if rung { 0 } else { settings.sweep_age_ms };
            sleep(settings.look_again).await;
        }
        self.drain().await;
    }

    /// Lets the steps in hand finish, and takes nothing up any more.
    pub async fn drain(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + self.0.settings.drain;
        while self.in_hand() > 0 && Instant::now() < deadline {
            sleep(DRAIN_LOOK).await;
        }
        match self.in_hand() {
            0 => info!("all steps in hand are done"),
            left => warn!(left, "stopped with steps in hand; another copy, or the next start, goes on with them"),
        }
    }

    fn in_hand(&self) -> usize {
        self.0.in_hand.lock().expect("no panic while payments are counted").len()
    }

    fn take(&self, payment: PaymentId) -> Option<Held> {
        if self.0.stopping.load(Ordering::Relaxed) || self.0.paused.load(Ordering::Relaxed) {
            return None;
        }
        let mut in_hand = self.0.in_hand.lock().expect("no panic while payments are counted");
        let free = in_hand.len() < self.0.settings.in_hand_max && in_hand.insert(payment);
        free.then(|| Held { payment, work: self.0.clone() })
    }

    /// Takes up every open payment that is old enough and not in hand.
    async fn look(&self, min_age_ms: u64) {
        let mut cursor: Option<String> = None;
        loop {
            let page = self.0.api.page::<PaymentRow>("/api/services/payments?state=open", cursor.as_deref()).await;
            let (rows, next) = match page {
                Ok(page) => page,
                Err(error) => {
                    if self.0.answered.swap(false, Ordering::Relaxed) {
                        warn!(%error, "the open payments cannot be read; asked again");
                    }
                    return;
                }
            };
            self.0.answered.store(true, Ordering::Relaxed);
            for row in rows.into_iter().filter(|row| row.age_ms >= min_age_ms) {
                if let Some(held) = self.take(row.id) {
                    let saga = self.clone();
                    tokio::spawn(async move {
                        saga.carry(row).await;
                        drop(held);
                    });
                }
            }
            match next {
                Some(next) => cursor = Some(next),
                None => return,
            }
        }
    }

    async fn read(&self, payment: PaymentId) -> Result<PaymentRow, CallError> {
        self.0.api.get(&format!("/api/services/payments/{payment}")).await
    }

    async fn carry(&self, mut row: PaymentRow) -> Taken {
        let id = row.id;
        for _ in 0..STEPS_MAX {
            if self.0.stopping.load(Ordering::Relaxed) {
                return Taken::Busy;
            }
            let Some(step) = row.next else { return Taken::Done };
            let advanced = advance(&self.0.api, &*self.0.provider, &row, step).await;
            metrics::counter!("holdfast_payments_steps_total", "step" => format!("{step:?}").to_lowercase(),
                "outcome" => outcome_name(&advanced))
            .increment(1);
            row = match advanced {
                Ok(row) => row,
                Err(Halt::Waits) => return Taken::Waits,
                Err(Halt::Overtaken(code)) => {
                    debug!(payment = %id, ?step, %code, "the ledger stands elsewhere; the payment is read again");
                    match self.read(id).await {
                        Ok(row) => row,
                        Err(error) => return Taken::Away(error.to_string()),
                    }
                }
                Err(Halt::Away(why)) => {
                    warn!(payment = %id, ?step, %why, "a step was not answered; it is asked again");
                    sleep(self.0.settings.rest).await;
                    return Taken::Away(why);
                }
            };
        }
        Taken::Away(format!("still open after {STEPS_MAX} steps"))
    }
}

fn outcome_name(advanced: &Result<PaymentRow, Halt>) -> &'static str {
    match advanced {
        Ok(_) => "recorded",
        Err(Halt::Waits) => "waits",
        Err(Halt::Overtaken(_)) => "overtaken",
        Err(Halt::Away(_)) => "away",
    }
}

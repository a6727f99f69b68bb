//! Passwords: argon2id, off the threads that serve requests, and never more at once than the machine bears.

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use std::sync::Arc;
use tokio::sync::Semaphore;

use crate::error::Fault;

/// Hashes that run at the same time. Each takes a core and its memory for as long as it runs.
const RUNNING_MAX: usize = 2;
/// Hashes that run or wait; beyond that sign-ups and sign-ins are told to come back.
const WAITING_MAX: usize = 512;

/// What one hash costs. The default is OWASP's first choice for argon2id with 19 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    pub memory_kib: u32,
    pub passes: u32,
}

impl Default for PasswordCost {
    fn default() -> PasswordCost {
        PasswordCost { memory_kib: 19_456, passes: 2 }
    }
}

impl PasswordCost {
    /// The cheapest that argon2 allows: for tests and simulation.
    pub const LOWEST: PasswordCost = PasswordCost { memory_kib: 8, passes: 1 };

    /// Costs outside of argon2's bounds are brought to the nearest bound.
    fn argon2(&self) -> Argon2<'static> {
        let memory_kib = self.memory_kib.clamp(Params::MIN_M_COST, 4 << 20);
        let passes = self.passes.clamp(Params::MIN_T_COST, 1_000);
        let params = Params::new(memory_kib, passes, 1, None).expect("costs are within bounds");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
    }
}

/// Hashes and checks passwords.
pub struct Passwords {
    cost: PasswordCost,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Of no password: what an unknown account's password is checked against, so that it takes as long.
    nobody: String,
}

impl Passwords {
    pub fn new(cost: PasswordCost) -> Passwords {
        Passwords {
            cost,
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            nobody: hash(cost, &rand::random::<[u8; 16]>()),
        }
    }

    /// The PHC string of a password.
    pub async fn hash(&self, password: String) -> Result<String, Fault> {
        let cost = self.cost;
        self.bounded(move || hash(cost, password.as_bytes())).await
    }

    /// Whether `password` is the one of `phc`. Without one the answer is no, after the same work.
    pub async fn matches(&self, password: String, phc: Option<String>) -> Result<bool, Fault> {
        let (known, phc) = (phc.is_some(), phc.unwrap_or_else(|| self.nobody.clone()));
        let cost = self.cost;
        let matches =
            self.bounded(move || cost.argon2().verify_password(password.as_bytes(), phc.as_str()).is_ok()).await?;
        Ok(known && matches)
    }

    async fn bounded<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let busy = |_| Fault::busy("overloaded", "Too many sign-ins are waiting");
        let waiting = self.waiting.clone().try_acquire_owned().map_err(busy)?;
        let running = self.running.clone().acquire_owned().await.expect("the semaphore is never closed");
        // The permits go along: work whose caller has left still counts until it ends.
        let (done, permits) = off_thread(move || (work(), (waiting, running))).await;
        drop(permits);
        Ok(done)
    }
}

fn hash(cost: PasswordCost, password: &[u8]) -> String {
    let salt: [u8; 16] = rand::random();
    cost.argon2().hash_password_with_salt(password, &salt).expect("a salt of 16 bytes is allowed").to_string()
}

#[cfg(not(madsim))]
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("hashing does not panic")
}

/// The simulator has no other threads, and hashes at the lowest cost.
#[cfg(madsim)]
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    work()
}

//! Rate limits: how often one address or one account may ask.
//!
//! Requests are counted per fixed window in a table of fixed size, indexed by a keyed hash: no memory grows with the number
//! of addresses and nobody can aim at another's slot. Two that fall into one slot share its budget, which is the price.
//! Services have budgets of their own, so that neither a crowd behind the same address nor one service starves another.
//! Loopback is not limited unless asked: demos, imports and benchmarks come from there.

use std::convert::Infallible;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::FromRequestParts;
use holdfast_ledger::command::Service;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use crate::app::App;
use crate::error::Fault;
use crate::headers::{RATE_LIMIT, RATE_LIMIT_POLICY};

/// Slots of each table: 512 KiB.
const SLOTS: usize = 1 << 16;

/// The address that a connection came from. Put into requests by the server; a request without one is not limited by
/// address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// The part of the address that one customer of a provider has to himself.
    pub fn network(&self) -> [u8; 8] {
        network(self.0)
    }
}

/// So many requests in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub requests: u32,
    pub window_s: u32,
}

/// What is limited, and how far.
#[derive(Debug, Clone)]
pub struct RateLimits {
    /// All requests of one address; an IPv6 address counts with its /64.
    pub per_address: Quota,
    /// Writes of one account.
    pub per_account: Quota,
    /// Sign-ups, sign-ins and mails asked for of one address.
    pub credentials: Quota,
    /// Tries of one account's password, and mails asked for it, from wherever they come.
    pub guesses: Quota,
    /// All requests of one service, from wherever its copies ask. What it signs is not counted against an address.
    pub per_service: Quota,
    /// Limit loopback as well.
    pub limit_loopback: bool,
}

impl Default for RateLimits {
    fn default() -> RateLimits {
        RateLimits {
            per_address: Quota { requests: 6_000, window_s: 60 },
            per_account: Quota { requests: 1_200, window_s: 60 },
            credentials: Quota { requests: 60, window_s: 60 },
            guesses: Quota { requests: 30, window_s: 300 },
            per_service: Quota { requests: 60_000, window_s: 60 },
            limit_loopback: false,
        }
    }
}

/// What is left of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    name: &'static str,
    quota: Quota,
    pub left: u32,
    /// Seconds until the budget is full again.
    pub reset_s: u32,
    pub exceeded: bool,
}

impl Budget {
    /// The headers of draft-ietf-httpapi-ratelimit-headers.
    pub fn write(&self, headers: &mut HeaderMap) {
        let policy = format!("\"{}\";q={};w={}", self.name, self.quota.requests, self.quota.window_s);
        let limit = format!("\"{}\";r={};t={}", self.name, self.left, self.reset_s);
        headers.insert(RATE_LIMIT_POLICY, HeaderValue::try_from(policy).expect("names and digits are a header value"));
        headers.insert(RATE_LIMIT, HeaderValue::try_from(limit).expect("names and digits are a header value"));
    }
}

/// One kind of budget: a window number and a count in each slot.
struct Table {
    name: &'static str,
    quota: Quota,
    slots: Box<[AtomicU64]>,
}

impl Table {
    fn new(name: &'static str, quota: Quota) -> Table {
        let quota = Quota { requests: quota.requests, window_s: quota.window_s.max(1) };
        Table { name, quota, slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Takes one request from the budget of `hash` at `now_s`, seconds since any fixed start.
    fn take(&self, hash: u64, now_s: u64) -> Budget {
        let window = now_s / u64::from(self.quota.window_s) + 1;
        let slot = &self.slots[hash as usize % SLOTS];
        let count_in = |value: u64| if value >> 32 == window { value & u64::from(u32::MAX) } else { 0 };
        let next = |value| Some(window << 32 | (count_in(value) + 1).min(u64::from(u32::MAX)));
        let before = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_or(0, count_in);
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        Budget {
            name: self.name,
            quota: self.quota,
            left: self.quota.requests.saturating_sub(before.saturating_add(1)),
            reset_s: self.quota.window_s - (now_s % u64::from(self.quota.window_s)) as u32,
            exceeded: before >= self.quota.requests,
        }
    }
}

/// Counts requests.
pub struct Limiter {
    started: Instant,
    keys: RandomState,
    limit_loopback: bool,
    per_address: Table,
    per_account: Table,
    credentials: Table,
    guesses: Table,
    per_service: Table,
}

impl Limiter {
    pub fn new(limits: RateLimits) -> Limiter {
        Limiter {
            started: Instant::now(),
            keys: RandomState::new(),
            limit_loopback: limits.limit_loopback,
            per_address: Table::new("address", limits.per_address),
            per_account: Table::new("account", limits.per_account),
            credentials: Table::new("credentials", limits.credentials),
            guesses: Table::new("guesses", limits.guesses),
            per_service: Table::new("service", limits.per_service),
        }
    }

    /// Whether requests from here are limited at all.
    pub fn applies_to(&self, peer: Option<Peer>) -> bool {
        peer.is_some_and(|peer| self.limit_loopback || !peer.0.to_canonical().is_loopback())
    }

    /// Counts a request of an address.
    pub fn address(&self, peer: Peer) -> Budget {
        self.per_address.take(self.keys.hash_one(network(peer.0)), self.now_s())
    }

    /// Counts a sign-up or sign-in of an address.
    pub fn credentials(&self, peer: Peer) -> Budget {
        self.credentials.take(self.keys.hash_one(network(peer.0)), self.now_s())
    }

    /// Counts a write of an account.
    pub fn account(&self, user: holdfast_ledger::id::UserId) -> Budget {
        self.per_account.take(self.keys.hash_one(user), self.now_s())
    }

    /// Counts a request of a service.
    pub fn service(&self, service: Service) -> Budget {
        self.per_service.take(self.keys.hash_one(service as u8), self.now_s())
    }

    /// Counts a try of an account's password.
    fn guess(&self, account: impl Hash) -> Budget {
        self.guesses.take(self.keys.hash_one(account), self.now_s())
    }

    fn now_s(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}

/// Whether the requests of where this one comes from are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited(bool);

impl Limited {
    /// Counts a try of an account's password; 429 where there were too many.
    pub fn guess(self, app: &App, account: impl Hash) -> Result<(), Fault> {
        if !self.0 {
            return Ok(());
        }
        let budget = app.limiter.guess(account);
        if budget.exceeded { Err(Fault::rate_limited(budget.reset_s.into())) } else { Ok(()) }
    }
}

impl FromRequestParts<App> for Limited {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Limited, Infallible> {
        Ok(Limited(app.limiter.applies_to(parts.extensions.get().copied())))
    }
}

/// The part of an address that one customer of a provider has to himself.
fn network(address: IpAddr) -> [u8; 8] {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()).to_be_bytes(),
        IpAddr::V6(v6) => ((v6.to_bits() >> 64) as u64).to_be_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_runs_out_and_comes_back() {
        let table = Table::new("t", Quota { requests: 2, window_s: 10 });
        assert_eq!((table.take(5, 3).left, table.take(5, 4).exceeded), (1, false));
        let over = table.take(5, 9);
        assert!(over.exceeded && over.left == 0 && over.reset_s == 1);
        assert!(!table.take(6, 9).exceeded, "another slot has its own budget");
        assert!(!table.take(5, 10).exceeded, "the next window starts anew");
    }

    #[test]
    fn loopback_is_limited_only_when_asked() {
        let peer = |text: &str| Some(Peer(text.parse().unwrap()));
        let limiter = Limiter::new(RateLimits::default());
        assert!(!limiter.applies_to(peer("127.0.0.1")) && !limiter.applies_to(peer("::ffff:127.0.0.1")));
        assert!(limiter.applies_to(peer("10.0.0.1")) && !limiter.applies_to(None));
        assert_eq!(network("2001:db8::1".parse().unwrap()), network("2001:db8::2".parse().unwrap()));
    }
}

//! What the clients did and what they were told: the evidence for the checks.
//!
//! A call is one intention of a client, with all its retries under one idempotency key. It has an answer, or none: then it
//! may or may not have happened, and its end is open.

use std::sync::{Mutex, MutexGuard};

use serde::Serialize;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    SignUp {
        email: String,
    },
    SignIn {
        email: String,
    },
    /// Every ticket that is asked for has a seat of its own.
    CreateTicket {
        price_minor: u64,
        seat: u64,
    },
    ListTickets,
    ReadTicket {
        ticket: String,
    },
    ChangePrice {
        ticket: String,
        price_minor: u64,
    },
    /// With the price that the buyer saw.
    PlaceOrder {
        ticket: String,
        price_minor: u64,
    },
    /// One order for several tickets, each with the price that the buyer saw.
    PlaceTogether {
        lines: Vec<(String, u64)>,
    },
    ReadOrder {
        order: String,
    },
    CancelOrder {
        order: String,
    },
    ExtendLock {
        order: String,
    },
    Pay {
        order: String,
        declined: bool,
    },
    /// Many at once, each with its own result, on seats in a row.
    CreateTickets {
        prices_minor: Vec<u64>,
        first_seat: u64,
    },
    /// To stand in the line for a ticket that somebody else has.
    JoinLine {
        ticket: String,
    },
    ReadPlace {
        ticket: String,
    },
    LeaveLine {
        ticket: String,
    },
    /// What operators ask.
    ListLocks,
    ListSold,
    ReleaseLock {
        order: String,
    },
    Refund {
        order: String,
    },
    Ban {
        user: String,
    },
    Unban {
        user: String,
    },
}

impl Asked {
    /// The tickets that it is to lock, each with the price that the buyer saw; none for everything else.
    pub fn wants(&self) -> Vec<(&str, u64)> {
        match self {
            Asked::PlaceOrder { ticket, price_minor } => vec![(ticket, *price_minor)],
            Asked::PlaceTogether { lines } => lines.iter().map(|(ticket, price)| (ticket.as_str(), *price)).collect(),
            _ => Vec::new(),
        }
    }

    /// The ids that it names.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Asked::ReadTicket { ticket: id }
            | Asked::ChangePrice { ticket: id, .. }
            | Asked::JoinLine { ticket: id }
            | Asked::ReadPlace { ticket: id }
            | Asked::LeaveLine { ticket: id }
            | Asked::ReadOrder { order: id }
            | Asked::CancelOrder { order: id }
            | Asked::ExtendLock { order: id }
            | Asked::Pay { order: id, .. }
            | Asked::ReleaseLock { order: id }
            | Asked::Refund { order: id }
            | Asked::Ban { user: id }
            | Asked::Unban { user: id } => vec![id],
            _ => self.wants().into_iter().map(|(ticket, _)| ticket).collect(),
        }
    }
}

/// What it was told in the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    pub status: u16,
    /// The log index that the answer reflects.
    pub log_index: Option<u64>,
    /// It is the remembered answer to an earlier attempt.
    pub replayed: bool,
    /// The code of a refusal.
    pub code: Option<String>,
    /// The entity that was made or read, where the answer names one.
    pub id: Option<String>,
    /// The entities that were made, where there are several: in the order in which they were asked for.
    pub ids: Vec<Option<String>>,
    /// Its price or total, in minor units, where the answer names one.
    pub price_minor: Option<u64>,
    /// When it was made, and when its lock ends, by ledger time, where the answer says so.
    pub created_ms: Option<u64>,
    pub expires_ms: Option<u64>,
    /// Until when the ticket is kept for who asks, where it is.
    pub offered_until_ms: Option<u64>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    pub client: u32,
    pub asked: Asked,
    pub invoked_ns: u64,
    pub attempts: u32,
    /// `None`: open to the end of the run.
    pub returned_ns: Option<u64>,
    pub told: Option<Told>,
}

impl Call {
    /// It has no answer; or one that speaks of the last attempt alone: who was banned meanwhile is not told what became of those
    /// before.
    pub fn may_have_happened(&self) -> bool {
        self.told.as_ref().is_none_or(|told| told.status == UNAUTHORIZED && self.attempts > 1)
    }
}

const UNAUTHORIZED: u16 = 401;

/// All calls of a run, in the order of their beginning.
#[derive(Default)]
pub struct History(Mutex<Vec<Call>>);

impl History {
    /// The calls so far.
    pub fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.0.lock().expect("nothing panics while it writes the history")
    }

    /// A call begins; the number is for [`end`](History::end).
    pub fn begin(&self, client: u32, asked: Asked, invoked_ns: u64) -> usize {
        let mut calls = self.calls();
        calls.push(Call { client, asked, invoked_ns, attempts: 0, returned_ns: None, told: None });
        calls.len() - 1
    }

    /// One more attempt of a call is sent.
    pub fn attempt(&self, number: usize) {
        self.calls()[number].attempts += 1;
    }

    pub fn end(&self, number: usize, told: Told, returned_ns: u64) {
        let call = &mut self.calls()[number];
        call.told = Some(told);
        call.returned_ns = Some(returned_ns);
    }

    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls())
    }
}

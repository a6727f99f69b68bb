//! What the relay shows of itself: to operators, to metrics, and, once for every change, to the log.

use std::sync::{Arc, Mutex};

use serde::Serialize;

use super::Ended;
use crate::outbox::Figures;

/// What the relay is at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Another node leads, and relays.
    #[default]
    Following,
    /// Looking at the stream's end.
    Opening,
    Relaying,
    /// Something failed; it tries again by itself.
    Retrying,
    /// The stream is not what it must be, and an operator has to look.
    Stopped,
}

/// The relay at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    pub phase: Phase,
    /// The stream that is published to.
    pub stream: Option<String>,
    /// The last event that the stream is known to have.
    pub published: u64,
    /// The last event emitted.
    pub emitted: u64,
    /// Emitted, and not published.
    pub waiting: u64,
    /// More are waiting than the policy's soft limit.
    pub waiting_too_many: bool,
    /// Why it is not relaying, one line.
    pub trouble: Option<String>,
    /// Sessions that ended with an error, since this node started.
    pub errors: u64,
}

/// Where the status is written.
#[derive(Clone, Default)]
pub(super) struct Board(Arc<Mutex<Status>>);

impl Board {
    pub fn status(&self) -> Status {
        self.0.lock().expect("no holder of the status panics").clone()
    }

    fn change(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.lock().expect("no holder of the status panics"));
    }

    pub fn follows(&self) {
        self.change(|status| {
            status.phase = Phase::Following;
            status.trouble = None;
        });
    }

    pub fn opens(&self) {
        self.change(|status| {
            // A trouble stays visible until it is over.
            if status.trouble.is_none() {
                status.phase = Phase::Opening;
            }
        });
    }

    pub fn relays(&self, stream: &str, published: u64) {
        self.change(|status| {
            if status.phase != Phase::Relaying {
                tracing::info!(stream, published, "events are relayed");
            }
            status.phase = Phase::Relaying;
            status.stream = Some(stream.into());
            status.trouble = None;
        });
        self.confirmed(published);
    }

    pub fn confirmed(&self, published: u64) {
        self.change(|status| {
            status.published = published;
            status.waiting = status.emitted.saturating_sub(published);
        });
    }

    pub fn read(&self, figures: &Figures) {
        self.change(|status| {
            status.emitted = figures.last;
            status.waiting = figures.last.saturating_sub(status.published);
            let too_many = status.waiting > figures.waiting_soft_max;
            if too_many && !status.waiting_too_many {
                tracing::error!(waiting = status.waiting, "more events are waiting for the broker than they should");
            }
            status.waiting_too_many = too_many;
            metrics::gauge!("holdfast_events_waiting").set(status.waiting as f64);
        });
    }

    pub fn ended(&self, ended: &Ended) {
        metrics::counter!("holdfast_relay_errors_total").increment(1);
        self.change(|status| {
            status.phase = if matches!(ended, Ended::Stopped(_)) { Phase::Stopped } else { Phase::Retrying };
            status.errors += 1;
            let trouble = one_line(ended);
            if status.trouble.as_ref() == Some(&trouble) {
                return;
            }
            match status.phase {
                Phase::Stopped => tracing::error!("events are not relayed until an operator has looked: {trouble}"),
                _ => tracing::warn!("events are not relayed at the moment: {trouble}"),
            }
            status.trouble = Some(trouble);
        });
    }
}

/// Errors of libraries may span lines; a log line wants one.
fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

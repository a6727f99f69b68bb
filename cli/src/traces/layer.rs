//! What happened, taken from `tracing` events.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The target of events that become spans. They say what ended now: `span` names it, the fields ending in `_us` how long it
/// took, `index` its log entry or `traceparent` its trace.
pub const TARGET: &str = "holdfast::spans";

/// Something that has just ended.
#[derive(Debug, Clone)]
pub struct Happened {
    pub at: SystemTime,
    pub numbers: BTreeMap<&'static str, u64>,
    pub texts: BTreeMap<&'static str, String>,
}

impl Happened {
    pub fn number(&self, name: &str) -> u64 {
        self.numbers.get(name).copied().unwrap_or_default()
    }

    pub fn text(&self, name: &str) -> &str {
        self.texts.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// Notes events for the exporter.
pub struct SpanLayer {
    queue: mpsc::Sender<Happened>,
}

impl SpanLayer {
    pub(super) fn new(queue: mpsc::Sender<Happened>) -> SpanLayer {
        SpanLayer { queue }
    }
}

impl<S: Subscriber> Layer<S> for SpanLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut happened = Happened { at: SystemTime::now(), numbers: BTreeMap::new(), texts: BTreeMap::new() };
        event.record(&mut happened);
        if self.queue.try_send(happened).is_err() {
            super::dropped(1);
        }
    }
}

impl Visit for Happened {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.numbers.insert(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.numbers.insert(field.name(), value.max(0) as u64);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.texts.insert(field.name(), value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.texts.insert(field.name(), format!("{value:?}"));
    }
}

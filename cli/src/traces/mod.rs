//! `--otlp`: traces, for whoever collects them, by OpenTelemetry's protocol over HTTP with JSON.
//!
//! The layers below say what took how long by `tracing` events of the target [`TARGET`]; they know nothing of traces. Here
//! such an event becomes a span of the trace of its log entry ([`Context`]), and goes to the collector. So one trace shows the
//! requests that an entry carried, the entry's stages on the leader, and what services did with its events.
//!
//! Tracing holds nothing up: spans wait in a bounded queue, and are dropped and counted where that is full or nobody collects.
//!
//! What this deliberately does not do: sampling, which collectors do better, and metrics, which have a way of their own.

mod layer;
mod otlp;

pub use layer::{SpanLayer, TARGET};

use std::sync::OnceLock;
use std::time::Duration;

use holdfast_events::wire::trace::Context;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::failure::Failure;
use layer::Happened;

/// What may wait for the collector.
const QUEUED_MAX: usize = 8_192;
/// What goes to the collector at once.
const BATCH_MAX: usize = 512;
/// How long what happened waits for company.
const GATHER: Duration = Duration::from_millis(500);
/// How long the collector may take.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// The cluster's name and the ledger's lineage, once this process is a node.
static ENTRIES_OF: OnceLock<(String, u16)> = OnceLock::new();

/// Says whose entries this process speaks of; from then on they have traces.
pub fn entries_of(cluster: &str, lineage: u16) {
    let _ = ENTRIES_OF.set((cluster.to_string(), lineage));
}

/// The root of an entry's trace, if this process is a node.
fn entry(index: u64) -> Option<Context> {
    ENTRIES_OF.get().map(|(cluster, lineage)| Context::of_entry(cluster, *lineage, index))
}

/// Where spans go to.
pub struct Exporter {
    url: String,
    http: reqwest::Client,
    queue: mpsc::Receiver<Happened>,
}

/// The layer that notes what happened, and what sends it to the collector at `url`.
pub fn open(url: &str) -> Result<(SpanLayer, Exporter), Failure> {
    let parsed = reqwest::Url::parse(url).map_err(|error| Failure::usage(format!("--otlp {url}: {error}")))?;
    let mut builder = reqwest::Client::builder().timeout(ANSWER_WAIT).no_proxy();
    builder = match parsed.scheme() {
        // A machine without a certificate store can still talk to a collector beside it.
        "http" => builder.tls_certs_only([]),
        "https" => builder,
        _ => return Err(Failure::usage(format!("--otlp {url}: not an http:// or https:// URL"))),
    };
    let http = builder.build().map_err(|error| Failure::cannot_start(format!("HTTP client: {error}")))?;
    let (sender, queue) = mpsc::channel(QUEUED_MAX);
    let url = format!("{}/v1/traces", url.trim_end_matches('/'));
    Ok((SpanLayer::new(sender), Exporter { url, http, queue }))
}

impl Exporter {
    /// Sends until nobody notes anything any more.
    pub async fn run(mut self) {
        let mut gathered = Vec::with_capacity(BATCH_MAX);
        let mut away = false;
        while self.queue.recv_many(&mut gathered, BATCH_MAX).await > 0 {
            if gathered.len() < BATCH_MAX {
                tokio::time::sleep(GATHER).await;
                while gathered.len() < BATCH_MAX
                    && let Ok(happened) = self.queue.try_recv()
                {
                    gathered.push(happened);
                }
            }
            let spans: Vec<Value> = gathered.drain(..).flat_map(|happened| otlp::spans(&happened, entry)).collect();
            let count = spans.len() as u64;
            let sent = self.http.post(&self.url).json(&otlp::request(spans)).send().await;
            match sent.and_then(reqwest::Response::error_for_status) {
                Ok(_) => away = false,
                Err(error) => {
                    dropped(count);
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(%error, "traces are not collected");
                    }
                }
            }
        }
    }
}

fn dropped(count: u64) {
    metrics::counter!("holdfast_spans_dropped_total").increment(count);
}

//! `--otlp`: traces, for whoever collects them, by OpenTelemetry's protocol over HTTP.
//!
//! The layers below say what took how long by `tracing` events of the target [`TARGET`]; they know nothing of traces. Here
//! such an event becomes a span of the trace of its log entry ([`Context`]), in the shape of OpenTelemetry's SDK, whose exporter
//! sends it. So one trace shows the requests that an entry carried, the entry's stages on the leader, and what services did
//! with its events.
//!
//! Tracing holds nothing up: spans wait in a bounded queue, and are dropped and counted where that is full or nobody collects.
//!
//! The SDK's tracer and its queue are not used: a span of ours is known only once it has ended, in a trace whose id is computed,
//! and what the SDK's queue drops is told to nobody but a log.
//!
//! What this deliberately does not do: sampling, which collectors do better, and metrics, which have a way of their own.

mod layer;
mod spans;

pub use layer::{SpanLayer, TARGET};

use std::sync::OnceLock;
use std::time::Duration;

use holdfast_events::wire::trace::Context;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
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
    collector: SpanExporter,
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
    let collector = collector(&format!("{}/v1/traces", url.trim_end_matches('/')), http);
    let collector = collector.map_err(|error| Failure::usage(format!("--otlp {url}: {error}")))?;
    let (sender, queue) = mpsc::channel(QUEUED_MAX);
    Ok((SpanLayer::new(sender), Exporter { collector, queue }))
}

/// The way to the collector, with the few retries that the protocol recommends.
fn collector(url: &str, http: reqwest::Client) -> Result<SpanExporter, ExporterBuildError> {
    let builder = SpanExporter::builder().with_http().with_endpoint(url).with_protocol(Protocol::HttpBinary);
    let mut exporter = builder.with_timeout(ANSWER_WAIT).with_http_client(http).build()?;
    exporter.set_resource(&spans::resource());
    Ok(exporter)
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
            let batch: Vec<SpanData> = gathered.drain(..).flat_map(|happened| spans::spans(&happened, entry)).collect();
            let count = batch.len() as u64;
            match self.collector.export(batch).await {
                Ok(()) => away = false,
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

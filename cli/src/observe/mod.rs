//! What this process shows of itself to machines: metrics, and whether it is alive and ready.
//!
//! Whoever has something to count does so where it happens, through the `metrics` macros. What can be read at any time is
//! read when somebody asks for `/metrics`. All names stand in the [`catalogue`].

pub mod catalogue;
mod routes;
mod sample;
mod serving;

pub use routes::routes;
pub use serving::Serving;

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_services::health;
use metrics::Unit;
use metrics_exporter_prometheus::PrometheusHandle;

use catalogue::{CATALOGUE, Kind, Metric, Of};

/// The recorder of this process: there is one, also where several nodes run in it.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Collects the metrics of this process from now on.
pub fn install() -> PrometheusHandle {
    let handle = RECORDER.get_or_init(|| {
        let handle = health::install_metrics();
        CATALOGUE.iter().for_each(describe);
        metrics::gauge!("holdfast_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        metrics::gauge!("holdfast_start_time_seconds").set(since_epoch.as_secs_f64());
        handle
    });
    handle.clone()
}

/// Gives a metric its help, and what has no labels its first value: zero is an answer too.
fn describe(metric: &Metric) {
    let Metric { name, kind, help, .. } = *metric;
    let unit = if metric.unit() == "seconds" { Unit::Seconds } else { Unit::Count };
    let starts = metric.labels.is_empty() && metric.of == Of::Node;
    match kind {
        Kind::Counter => {
            metrics::describe_counter!(name, unit, help);
            if starts {
                metrics::counter!(name).increment(0);
            }
        }
        Kind::Gauge => {
            metrics::describe_gauge!(name, unit, help);
            if starts {
                metrics::gauge!(name).set(0.0);
            }
        }
        Kind::Histogram => {
            metrics::describe_histogram!(name, unit, help);
            if starts {
                drop(metrics::histogram!(name));
            }
        }
    }
}

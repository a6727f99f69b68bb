//! Spans, as OpenTelemetry's SDK has them, of what happened.

use std::time::{Duration, SystemTime};

use holdfast_events::wire::trace::Context;
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::layer::Happened;

/// The stages of an entry, in their order.
const STAGES: [(&str, &str); 5] = [
    ("queue", "queue_us"),
    ("append", "append_us"),
    ("sync", "sync_us"),
    ("commit", "commit_us"),
    ("apply", "apply_us"),
];

/// What this process is to a collector.
pub fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let process = KeyValue::new("process.pid", i64::from(std::process::id()));
    Resource::builder_empty().with_service_name("holdfast").with_attributes([version, process]).build()
}

/// The spans of what happened; none where its trace is not known. `entry`: the root of an entry's trace.
pub fn spans(happened: &Happened, entry: impl Fn(u64) -> Option<Context>) -> Vec<SpanData> {
    match happened.text("span") {
        "entry" => entry(happened.number("index")).map(|root| of_entry(happened, root)).unwrap_or_default(),
        "http" => vec![of_request(happened, entry)],
        "consume" => of_event(happened).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn of_entry(happened: &Happened, root: Context) -> Vec<SpanData> {
    let total = micros(happened, "total_us");
    let begun = happened.at - total;
    let entry = Span { context: root, parent: None, kind: SpanKind::Internal, begun, took: total };
    let attributes = vec![
        number("holdfast.log_index", happened.number("index")),
        number("holdfast.commands", happened.number("commands")),
    ];
    let mut spans = vec![entry.named("log entry", attributes)];
    let mut at = begun;
    for (name, field) in STAGES {
        let took = micros(happened, field);
        let stage = Span { context: new_in(root), parent: Some(root), kind: SpanKind::Internal, begun: at, took };
        spans.push(stage.named(name, Vec::new()));
        at += took;
    }
    spans
}

/// A request is in the trace of the entry that decided it, else in its caller's, else in one of its own.
fn of_request(happened: &Happened, entry: impl Fn(u64) -> Option<Context>) -> SpanData {
    let caller = Context::parse(happened.text("traceparent"));
    let root = happened.numbers.get("index").and_then(|index| entry(*index));
    let parent = root.or(caller);
    let context = match parent {
        Some(parent) => new_in(parent),
        None => Context { trace_id: rand::random::<u128>().max(1), span_id: rand::random::<u64>().max(1) },
    };
    let took = micros(happened, "duration_us");
    let (method, route) = (happened.text("method"), happened.text("route"));
    let attributes = vec![
        KeyValue::new("http.request.method", method.to_string()),
        KeyValue::new("http.route", route.to_string()),
        number("http.response.status_code", happened.number("status")),
    ];
    let request = Span { context, parent, kind: SpanKind::Server, begun: happened.at - took, took };
    let mut span = request.named(&format!("{method} {route}"), attributes);
    let others = caller.filter(|caller| Some(*caller) != parent);
    span.links.links.extend(others.map(|caller| Link::with_context(context_of(caller))));
    if happened.number("status") >= 500 {
        span.status = Status::error("");
    }
    span
}

fn of_event(happened: &Happened) -> Option<SpanData> {
    let parent = Context::parse(happened.text("traceparent"))?;
    let took = micros(happened, "duration_us");
    let (consumer, event) = (happened.text("consumer"), happened.text("event"));
    let attributes = vec![
        KeyValue::new("messaging.system", "nats"),
        KeyValue::new("messaging.consumer.group.name", consumer.to_string()),
        KeyValue::new("messaging.destination.name", event.to_string()),
    ];
    let (context, begun) = (new_in(parent), happened.at - took);
    let span = Span { context, parent: Some(parent), kind: SpanKind::Consumer, begun, took };
    Some(span.named(&format!("{consumer} {event}"), attributes))
}

fn micros(happened: &Happened, name: &str) -> Duration {
    Duration::from_micros(happened.number(name))
}

fn number(name: &'static str, value: u64) -> KeyValue {
    KeyValue::new(name, i64::try_from(value).unwrap_or(i64::MAX))
}

/// A new span in the trace of another.
fn new_in(other: Context) -> Context {
    Context { span_id: rand::random::<u64>().max(1), ..other }
}

fn context_of(context: Context) -> SpanContext {
    let (trace, span) = (TraceId::from(context.trace_id), SpanId::from(context.span_id));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
}

struct Span {
    context: Context,
    parent: Option<Context>,
    kind: SpanKind,
    begun: SystemTime,
    took: Duration,
}

impl Span {
    fn named(self, name: &str, attributes: Vec<KeyValue>) -> SpanData {
        SpanData {
            span_context: context_of(self.context),
            parent_span_id: self.parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.span_id)),
            // A stage's entry is here; what caused a request or an event was somewhere else.
            parent_span_is_remote: self.parent.is_some() && self.kind != SpanKind::Internal,
            span_kind: self.kind,
            name: name.to_string().into(),
            start_time: self.begun,
            end_time: self.begun + self.took,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("holdfast").build(),
        }
    }
}

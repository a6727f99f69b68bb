//! Spans as OpenTelemetry's protocol has them, in JSON.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_events::wire::trace::Context;
use serde_json::{Value, json};

use super::layer::Happened;

/// The kinds of spans, by their numbers in the protocol.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CONSUMER: u8 = 5;

/// The stages of an entry, in their order.
const STAGES: [(&str, &str); 5] = [
    ("queue", "queue_us"),
    ("append", "append_us"),
    ("sync", "sync_us"),
    ("commit", "commit_us"),
    ("apply", "apply_us"),
];

/// The body of one request to the collector.
pub fn request(spans: Vec<Value>) -> Value {
    json!({ "resourceSpans": [{
        "resource": { "attributes": [
            text("service.name", "holdfast"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("process.pid", &std::process::id().to_string()),
        ] },
        "scopeSpans": [{ "scope": { "name": "holdfast" }, "spans": spans }],
    }] })
}

/// The spans of what happened; none where its trace is not known. `entry`: the root of an entry's trace.
pub fn spans(happened: &Happened, entry: impl Fn(u64) -> Option<Context>) -> Vec<Value> {
    match happened.text("span") {
        "entry" => entry(happened.number("index")).map(|root| of_entry(happened, root)).unwrap_or_default(),
        "http" => vec![of_request(happened, entry)],
        "consume" => of_event(happened).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn of_entry(happened: &Happened, root: Context) -> Vec<Value> {
    let total = micros(happened, "total_us");
    let begun = happened.at - total;
    let attributes = vec![
        number("holdfast.log_index", happened.number("index")),
        number("holdfast.commands", happened.number("commands")),
    ];
    let mut spans =
        vec![Span { context: root, parent: None, kind: INTERNAL, begun, took: total }.json("log entry", attributes)];
    let mut at = begun;
    for (name, field) in STAGES {
        let took = micros(happened, field);
        let stage = Span { context: new_in(root), parent: Some(root), kind: INTERNAL, begun: at, took };
        spans.push(stage.json(name, Vec::new()));
        at += took;
    }
    spans
}

/// A request is in the trace of the entry that decided it, else in its caller's, else in one of its own.
fn of_request(happened: &Happened, entry: impl Fn(u64) -> Option<Context>) -> Value {
    let caller = Context::parse(happened.text("traceparent"));
    let root = happened.numbers.get("index").and_then(|index| entry(*index));
    let parent = root.or(caller);
    let context = match parent {
        Some(parent) => new_in(parent),
        None => Context { trace_id: rand::random::<u128>().max(1), span_id: rand::random::<u64>().max(1) },
    };
    let took = micros(happened, "duration_us");
    let attributes = vec![
        text("http.request.method", happened.text("method")),
        text("http.route", happened.text("route")),
        number("http.response.status_code", happened.number("status")),
    ];
    let name = format!("{} {}", happened.text("method"), happened.text("route"));
    let mut span = Span { context, parent, kind: SERVER, begun: happened.at - took, took }.json(&name, attributes);
    if let Some(caller) = caller.filter(|caller| Some(*caller) != parent) {
        span["links"] = json!([{ "traceId": trace_id(caller), "spanId": span_id(caller) }]);
    }
    if happened.number("status") >= 500 {
        span["status"] = json!({ "code": 2 });
    }
    span
}

fn of_event(happened: &Happened) -> Option<Value> {
    let parent = Context::parse(happened.text("traceparent"))?;
    let took = micros(happened, "duration_us");
    let (consumer, event) = (happened.text("consumer"), happened.text("event"));
    let attributes = vec![
        text("messaging.system", "nats"),
        text("messaging.consumer.group.name", consumer),
        text("messaging.destination.name", event),
    ];
    let span = Span { context: new_in(parent), parent: Some(parent), kind: CONSUMER, begun: happened.at - took, took };
    Some(span.json(&format!("{consumer} {event}"), attributes))
}

fn micros(happened: &Happened, name: &str) -> Duration {
    Duration::from_micros(happened.number(name))
}

/// A new span in the trace of another.
fn new_in(other: Context) -> Context {
    Context { span_id: rand::random::<u64>().max(1), ..other }
}

struct Span {
    context: Context,
    parent: Option<Context>,
    kind: u8,
    begun: SystemTime,
    took: Duration,
}

impl Span {
    fn json(&self, name: &str, attributes: Vec<Value>) -> Value {
        let nanos = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
        json!({
            "traceId": trace_id(self.context),
            "spanId": span_id(self.context),
            "parentSpanId": self.parent.map(span_id).unwrap_or_default(),
            "name": name,
            "kind": self.kind,
            "startTimeUnixNano": nanos(self.begun),
            "endTimeUnixNano": nanos(self.begun + self.took),
            "attributes": attributes,
        })
    }
}

fn trace_id(context: Context) -> String {
    format!("{:032x}", context.trace_id)
}

fn span_id(context: Context) -> String {
    format!("{:016x}", context.span_id)
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

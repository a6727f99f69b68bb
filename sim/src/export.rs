//! A run's history for checkers of other authors: one operation a line, as JSON or as Jepsen's EDN.
//!
//! Every call is two operations, its invocation and its completion, in the order of virtual time. `ok` is an answer that did
//! something or read something, `fail` one that says it did nothing. A call without an answer may or may not have happened:
//! it completes with `info`, and its client goes on under a new process number, as Jepsen's checkers expect.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::history::{Asked, Call, Told};

/// Between the process numbers that one client has one after the other.
const PROCESSES_APART: u32 = 10_000;

/// How the history is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// One EDN map a line, as Jepsen writes `history.edn`.
    Edn,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Op {
    pub index: usize,
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub f: &'static str,
    pub process: u32,
    /// Virtual nanoseconds since the run began.
    pub time: u64,
    pub value: Value,
}

/// The operations of a history, in the order of time.
pub fn ops(calls: &[Call]) -> Vec<Op> {
    let mut moments: Vec<(u64, bool, usize)> = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        moments.push((call.invoked_ns, false, number));
        moments.push((call.returned_ns.unwrap_or(u64::MAX), true, number));
    }
    moments.sort_by_key(|(at_ns, is_end, number)| (*at_ns, !*is_end, *number));
    let end_ns = calls.iter().filter_map(|call| call.returned_ns.max(Some(call.invoked_ns))).max().unwrap_or(0);
    let mut processes: BTreeMap<u32, u32> = BTreeMap::new();
    let mut under: BTreeMap<usize, u32> = BTreeMap::new();
    let mut ops = Vec::with_capacity(moments.len());
    for (at_ns, is_end, number) in moments {
        let call = &calls[number];
        let (f, asked) = name(&call.asked);
        let (kind, process, value) = if is_end {
            let process = under[&number];
            match &call.told {
                Some(told) => (if told.status < 300 { "ok" } else { "fail" }, process, answer(asked, told)),
                None => ("info", process, asked),
            }
        } else {
            let current = processes.entry(call.client).or_insert(call.client);
            under.insert(number, *current);
            let process = *current;
            if call.told.is_none() {
                *current += PROCESSES_APART;
            }
            ("invoke", process, asked)
        };
        ops.push(Op { index: ops.len(), kind, f, process, time: at_ns.min(end_ns), value });
    }
    ops
}

/// The history as text.
pub fn export(calls: &[Call], format: Format) -> String {
    let mut text = String::new();
    for op in ops(calls) {
        match format {
            Format::JsonLines => text += &serde_json::to_string(&op).expect("an operation has a JSON form"),
            Format::Edn => {
                let Op { index, kind, f, process, time, value } = &op;
                let value = edn(value);
                let written = write!(
                    text,
                    "{{:index {index}, :type :{kind}, :f :{f}, :process {process}, :time {time}, :value {value}}}"
                );
                written.expect("text takes all there is");
            }
        }
        text.push('\n');
    }
    text
}

fn name(asked: &Asked) -> (&'static str, Value) {
    match asked {
        Asked::SignUp { email } => ("sign-up", json!({"email": email})),
        Asked::SignIn { email } => ("sign-in", json!({"email": email})),
        Asked::CreateTicket { price_minor, seat } => ("create-ticket", json!({"price": price_minor, "seat": seat})),
        Asked::ListTickets => ("list-tickets", json!({})),
        Asked::ReadTicket { ticket } => ("read-ticket", json!({"ticket": ticket})),
        Asked::ChangePrice { ticket, price_minor } => ("change-price", json!({"ticket": ticket, "price": price_minor})),
        Asked::PlaceOrder { ticket, price_minor } => ("place-order", json!({"ticket": ticket, "price": price_minor})),
        Asked::PlaceTogether { lines } => ("place-together", json!({"lines": lines})),
        Asked::ReadOrder { order } => ("read-order", json!({"order": order})),
        Asked::CancelOrder { order } => ("cancel-order", json!({"order": order})),
        Asked::ExtendLock { order } => ("extend-lock", json!({"order": order})),
        Asked::Pay { order, declined } => ("pay", json!({"order": order, "declined": declined})),
        Asked::CreateTickets { prices_minor, first_seat } => {
            ("create-tickets", json!({"prices": prices_minor, "first-seat": first_seat}))
        }
        Asked::JoinLine { ticket } => ("join-line", json!({"ticket": ticket})),
        Asked::ReadPlace { ticket } => ("read-place", json!({"ticket": ticket})),
        Asked::LeaveLine { ticket } => ("leave-line", json!({"ticket": ticket})),
        Asked::ListLocks => ("list-locks", json!({})),
        Asked::ListSold => ("list-sold", json!({})),
        Asked::ReleaseLock { order } => ("release-lock", json!({"order": order})),
        Asked::Refund { order } => ("refund", json!({"order": order})),
        Asked::Ban { user } => ("ban", json!({"user": user})),
        Asked::Unban { user } => ("unban", json!({"user": user})),
    }
}

fn answer(asked: Value, told: &Told) -> Value {
    let mut value = asked;
    let told = serde_json::to_value(told).expect("an answer has a JSON form");
    value["told"] = told;
    value
}

/// A JSON value as EDN: keywords for keys, strings as they are.
fn edn(value: &Value) -> String {
    match value {
        Value::Null => "nil".into(),
        Value::Array(items) => format!("[{}]", items.iter().map(edn).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| format!(":{} {}", key.replace('_', "-"), edn(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        // JSON's strings, numbers and booleans are EDN's.
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(client: u32, span_ns: (u64, Option<u64>)) -> Call {
        let told = span_ns.1.map(|_| Told {
            status: 200,
            log_index: Some(7),
            replayed: false,
            code: None,
            id: Some("t1".into()),
            ids: Vec::new(),
            price_minor: None,
            created_ms: None,
            expires_ms: None,
            offered_until_ms: None,
        });
        let asked = Asked::ReadTicket { ticket: "t1".into() };
        Call { client, asked, invoked_ns: span_ns.0, attempts: 1, returned_ns: span_ns.1, told }
    }

    #[test]
    fn a_client_without_an_answer_goes_on_as_another_process() {
        let ops = ops(&[call(1, (0, None)), call(1, (10, Some(20))), call(2, (5, Some(12)))]);
        let seen: Vec<(&str, u32, u64)> = ops.iter().map(|op| (op.kind, op.process, op.time)).collect();
        assert_eq!(
            seen,
            [
                ("invoke", 1, 0),
                ("invoke", 2, 5),
                ("invoke", 10_001, 10),
                ("ok", 2, 12),
                ("ok", 10_001, 20),
                ("info", 1, 20)
            ]
        );
    }

    #[test]
    fn both_formats_hold_every_operation() {
        let calls = [call(1, (0, Some(4))), call(2, (5, None))];
        let json = export(&calls, Format::JsonLines);
        let first: Value = serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
        assert_eq!((&first["type"], &first["f"]), (&json!("invoke"), &json!("read-ticket")));
        let edn = export(&calls, Format::Edn);
        assert_eq!((json.lines().count(), edn.lines().count()), (4, 4));
        assert!(
            edn.starts_with(
                "{:index 0, :type :invoke, :f :read-ticket, :process 1, :time 0, :value {:ticket \"t1\"}}\n"
            )
        );
        assert!(edn.contains(":log-index 7"), "{edn}");
    }
}

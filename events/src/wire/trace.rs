//! The trace of a log entry: the same on every node, from what the entry is.
//!
//! A trace context is not carried through the log: a request, its entry on the leader, the entry's events and what services do
//! with them all know cluster, lineage and log index, and so the same trace. The entry is the trace's root, as one entry
//! carries many requests. The context is W3C's `traceparent`.

use xxhash_rust::xxh3::xxh3_128;

/// A span in a trace; neither id is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    pub trace_id: u128,
    pub span_id: u64,
}

impl Context {
    /// The root of the trace of an entry, in the cluster of that name.
    pub fn of_entry(cluster: &str, lineage: u16, index: u64) -> Context {
        let trace_id = xxh3_128(format!("{cluster}:{lineage}:{index}").as_bytes()).max(1);
        Context { trace_id, span_id: ((trace_id >> 64) as u64 ^ trace_id as u64).max(1) }
    }

    /// Reads a `traceparent`.
    pub fn parse(text: &str) -> Option<Context> {
        let mut parts = text.split('-');
        let (version, trace_id, span_id) = (parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !is_hex(version, 2) || version == "ff" || !is_hex(trace_id, 32) || !is_hex(span_id, 16) {
            return None;
        }
        let trace_id = u128::from_str_radix(trace_id, 16).ok().filter(|id| *id != 0)?;
        let span_id = u64::from_str_radix(span_id, 16).ok().filter(|id| *id != 0)?;
        Some(Context { trace_id, span_id })
    }

    /// The `traceparent` that says this.
    pub fn traceparent(&self) -> String {
        format!("00-{:032x}-{:016x}-01", self.trace_id, self.span_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_one_trace_and_another_entry_another() {
        let context = Context::of_entry("c1", 0, 99);
        assert_eq!(context, Context::of_entry("c1", 0, 99));
        assert_eq!(Context::parse(&context.traceparent()), Some(context));
        for other in [("c2", 0, 99), ("c1", 1, 99), ("c1", 0, 98)] {
            assert_ne!(Context::of_entry(other.0, other.1, other.2).trace_id, context.trace_id);
        }
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        let zero = format!("00-{:032}-{:016x}-01", 0, 1);
        let upper = Context { trace_id: 0xab, span_id: 1 }.traceparent().to_uppercase();
        for bad in ["", "00", "00-1-1-01", "ff-00000000000000000000000000000001-0000000000000001-01", &zero, &upper] {
            assert_eq!(Context::parse(bad), None, "{bad}");
        }
    }
}

//! One server-sent event as bytes (WHATWG HTML, "Server-sent events").

use std::fmt::Write;

use bytes::Bytes;
use serde::Serialize;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    name: &'static str,
    /// The log index up to which the reader then knows everything; `None` in the middle of an entry.
    index: Option<u64>,
    /// JSON in one line.
    data: String,
}

impl Frame {
    pub fn new(name: &'static str, index: Option<u64>, data: &impl Serialize) -> Frame {
        Frame { name, index, data: serde_json::to_string(data).expect("our views have a JSON form") }
    }
}

pub fn encode(frames: &[Frame]) -> Bytes {
    let mut text = String::with_capacity(frames.iter().map(|frame| frame.data.len() + 64).sum());
    for Frame { name, index, data } in frames {
        if let Some(index) = index {
            writeln!(text, "id: {index}").expect("a string takes everything");
        }
        write!(text, "event: {name}\ndata: {data}\n\n").expect("a string takes everything");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_block_whatever_its_text() {
        let frames = [Frame::new("ticket", Some(7), &"a\nb"), Frame::new("end", None, &1)];
        assert_eq!(encode(&frames), "id: 7\nevent: ticket\ndata: \"a\\nb\"\n\nevent: end\ndata: 1\n\n");
    }
}

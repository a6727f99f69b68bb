//! A profile in the shape that profilers' tools read: `profile.proto` of google/pprof, the part of it that a CPU profile needs.

use std::collections::HashMap;
use std::time::UNIX_EPOCH;

use pprof::{Report, Symbol};
use prost::Message;

/// All strings stand in one table, and are named by their place in it; the first is empty.
#[derive(Clone, PartialEq, Message)]
pub struct Profile {
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    pub period: i64,
}

/// What a value is, and its unit.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ValueType {
    #[prost(int64, tag = "1")]
    pub kind: i64,
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// A stack, the innermost call first, and what it was seen to cost.
#[derive(Clone, PartialEq, Message)]
pub struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Label {
    #[prost(int64, tag = "1")]
    pub key: i64,
    #[prost(int64, tag = "2")]
    pub text: i64,
}

/// A place in a stack; several lines where calls were inlined.
#[derive(Clone, PartialEq, Message)]
pub struct Location {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "3")]
    pub address: u64,
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Line {
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    #[prost(int64, tag = "2")]
    pub line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Function {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "2")]
    pub name: i64,
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    #[prost(int64, tag = "4")]
    pub filename: i64,
}

impl Profile {
    /// The shape of what was sampled.
    pub fn of(report: &Report) -> Profile {
        let mut shaping = Shaping::default();
        shaping.text("");
        let timing = &report.timing;
        let period = 1_000_000_000 / i64::from(timing.frequency.max(1));
        let samples = ValueType { kind: shaping.text("samples"), unit: shaping.text("count") };
        let cpu = ValueType { kind: shaping.text("cpu"), unit: shaping.text("nanoseconds") };
        let thread = shaping.text("thread");
        for (stack, count) in &report.data {
            let count = *count as i64;
            // Below what was interrupted stands what looked at it.
            let frames = stack.frames.iter().skip_while(|symbols| symbols.iter().all(is_samplers));
            let location_id = frames.map(|symbols| shaping.location(symbols)).collect();
            let label = Label { key: thread, text: shaping.text(&stack.thread_name_or_id()) };
            let value = vec![count, count.saturating_mul(period)];
            shaping.profile.sample.push(Sample { location_id, value, label: vec![label] });
        }
        let nanos = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Profile {
            sample_type: vec![samples, cpu],
            time_nanos: nanos(timing.start_time.duration_since(UNIX_EPOCH).unwrap_or_default()),
            duration_nanos: nanos(timing.duration),
            period_type: Some(cpu),
            period,
            ..shaping.profile
        }
    }

    fn string(&self, place: i64) -> &str {
        usize::try_from(place).ok().and_then(|place| self.string_table.get(place)).map_or("?", String::as_str)
    }

    /// How often each function was seen: running itself, and anywhere in a stack. Often running comes first.
    pub fn functions(&self) -> Vec<(String, u64, u64)> {
        let names: HashMap<u64, i64> = self.function.iter().map(|function| (function.id, function.name)).collect();
        let places: HashMap<u64, &Location> = self.location.iter().map(|location| (location.id, location)).collect();
        let mut seen: HashMap<i64, (u64, u64)> = HashMap::new();
        for sample in &self.sample {
            let count = sample.value.first().map_or(0, |count| u64::try_from(*count).unwrap_or_default());
            let lines = sample.location_id.iter().filter_map(|id| places.get(id)).flat_map(|location| &location.line);
            let stack: Vec<i64> = lines.filter_map(|line| names.get(&line.function_id).copied()).collect();
            if let Some(innermost) = stack.first() {
                seen.entry(*innermost).or_default().0 += count;
            }
            // A function that calls itself stands in a stack more than once, and counts once.
            let mut each = stack;
            each.sort_unstable();
            each.dedup();
            each.into_iter().for_each(|name| seen.entry(name).or_default().1 += count);
        }
        let mut functions: Vec<_> =
            seen.into_iter().map(|(name, (own, all))| (self.string(name).to_string(), own, all)).collect();
        functions.sort_by(|a, b| (b.1, b.2, &a.0).cmp(&(a.1, a.2, &b.0)));
        functions
    }
}

/// Whether a frame is of the sampler itself.
fn is_samplers(symbol: &Symbol) -> bool {
    let name = symbol.name();
    name.contains("pprof::") || name.starts_with("backtrace::")
}

/// A profile under way, and where what it has already stands in it.
#[derive(Default)]
struct Shaping {
    profile: Profile,
    texts: HashMap<String, i64>,
    functions: HashMap<String, u64>,
    locations: HashMap<Vec<(u64, i64)>, u64>,
}

impl Shaping {
    fn text(&mut self, text: &str) -> i64 {
        if let Some(place) = self.texts.get(text) {
            return *place;
        }
        let place = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_string());
        self.texts.insert(text.to_string(), place);
        place
    }

    fn function(&mut self, symbol: &Symbol) -> u64 {
        let system_name = symbol.sys_name().into_owned();
        if let Some(id) = self.functions.get(&system_name) {
            return *id;
        }
        let id = self.profile.function.len() as u64 + 1;
        let name = self.text(&symbol.name());
        let filename = self.text(&symbol.filename());
        let function = Function { id, name, system_name: self.text(&system_name), filename };
        self.profile.function.push(function);
        self.functions.insert(system_name, id);
        id
    }

    fn location(&mut self, symbols: &[Symbol]) -> u64 {
        let line = |symbol: &Symbol| i64::from(symbol.lineno.unwrap_or_default());
        let lines: Vec<(u64, i64)> = symbols.iter().map(|symbol| (self.function(symbol), line(symbol))).collect();
        if let Some(id) = self.locations.get(&lines) {
            return *id;
        }
        let id = self.profile.location.len() as u64 + 1;
        let address = symbols.first().and_then(|symbol| symbol.addr).map_or(0, |address| address as u64);
        let line = lines.iter().map(|(function_id, line)| Line { function_id: *function_id, line: *line }).collect();
        self.profile.location.push(Location { id, address, line });
        self.locations.insert(lines, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_counted_once_a_stack_and_the_busiest_comes_first() {
        let stack = |functions: &[u64], count: i64| Sample {
            location_id: functions.to_vec(),
            value: vec![count, count * 10],
            label: Vec::new(),
        };
        let ids = 1..=3u64;
        let profile = Profile {
            sample: vec![stack(&[1, 2, 2, 3], 5), stack(&[2, 3], 7), stack(&[99], 1)],
            location: ids
                .clone()
                .map(|id| Location { id, address: 0, line: vec![Line { function_id: id, line: 0 }] })
                .collect(),
            function: ids.map(|id| Function { id, name: id as i64, system_name: 0, filename: 0 }).collect(),
            string_table: ["", "one", "two", "three"].map(String::from).to_vec(),
            ..Profile::default()
        };
        let read = Profile::decode(&profile.encode_to_vec()[..]).expect("as it was written");
        let functions = [("two", 7, 12), ("one", 5, 5), ("three", 0, 12)];
        assert_eq!(read.functions(), functions.map(|(name, own, all)| (name.to_string(), own, all)));
    }
}

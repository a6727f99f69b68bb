//! What the picture shows, read from a run's trace.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::history::{Asked, Call};
use crate::run::Report;
use crate::schedule::Schedule;

/// Messages that a page holds at most. Those that were tampered with come first.
const MESSAGES_MAX: usize = 30_000;
/// Positions of one node's log that a page holds at most.
const POSITIONS_MAX: usize = 4_000;
/// Causes that a page lists at most, the earliest.
const CAUSES_MAX: usize = 24;

/// A span of time on something; times are virtual milliseconds since the run began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Span {
    pub from_ms: f64,
    pub to_ms: f64,
    pub what: String,
}

/// One node over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NodeTrack {
    pub name: String,
    /// When it was up.
    pub up: Vec<(f64, f64)>,
    /// When it led.
    pub led: Vec<(f64, f64)>,
    /// When it had applied how far.
    pub applied: Vec<(f64, u64)>,
    /// Why it stopped by itself, and when.
    pub stops: Vec<(f64, String)>,
}

/// One call of a client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallBar {
    pub client: u32,
    pub from_ms: f64,
    /// `None`: never answered.
    pub to_ms: Option<f64>,
    pub asked: String,
    pub told: String,
    pub attempts: u32,
    /// It is about something that a finding names.
    pub suspect: bool,
}

/// A moment that a finding is about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cause {
    pub at_ms: f64,
    pub what: String,
}

/// A message between nodes: when, from, to, bytes, and what became of it.
pub type Message = (f64, u32, u32, usize, char);

/// Everything on the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Scene {
    pub title: String,
    pub seed: u64,
    pub schedule_hash: String,
    pub trace_hash: String,
    pub verdict: String,
    pub findings: Vec<String>,
    /// Where the findings come from, by time.
    pub causes: Vec<Cause>,
    /// When the clients began, and when everything was healed; `None` where a run did not come so far.
    pub began_ms: Option<f64>,
    pub healed_ms: Option<f64>,
    pub end_ms: f64,
    pub nodes: Vec<NodeTrack>,
    pub faults: Vec<Span>,
    pub messages: Vec<Message>,
    /// Messages that are not on the page.
    pub messages_left_out: usize,
    pub calls: Vec<CallBar>,
}

/// Reads the scene from a run.
pub fn scene(schedule: &Schedule, report: &Report) -> Scene {
    let mut reading = Reading::default();
    report.trace.lines.iter().for_each(|line| reading.line(line));
    let end_ms = reading.now_ms;
    let (messages, messages_left_out) = thinned(reading.messages);
    let suspects = suspects(&report.findings);
    let mut nodes: Vec<NodeTrack> = (1..=schedule.nodes)
        .map(|number| {
            let mut node = reading.nodes.remove(&number).unwrap_or_default();
            node.name = format!("n{number}");
            node.up.extend(reading.up_since.get(&number).map(|since| (*since, end_ms)));
            if reading.leader.is_some_and(|(leader, _)| leader == number) {
                node.led.extend(reading.leader.map(|(_, since)| (since, end_ms)));
            }
            node
        })
        .collect();
    nodes.iter_mut().for_each(|node| node.applied = every(std::mem::take(&mut node.applied), POSITIONS_MAX));
    let open = reading.faults.into_values().map(|(from_ms, what)| Span { from_ms, to_ms: end_ms, what });
    let mut faults: Vec<Span> = reading.ended.into_iter().chain(open).collect();
    faults.sort_by(|one, other| one.from_ms.total_cmp(&other.from_ms));
    let calls: Vec<CallBar> = report.calls.iter().map(|call| bar(call, &suspects)).collect();
    let causes = causes(&report.findings, &nodes, &calls);
    Scene {
        title: if schedule.story.is_empty() { format!("seed {}", schedule.seed) } else { schedule.story.clone() },
        seed: schedule.seed,
        schedule_hash: format!("{:016x}", schedule.hash()),
        trace_hash: format!("{:016x}", report.trace.hash),
        verdict: report.class.name().to_string(),
        findings: report.findings.clone(),
        causes,
        began_ms: reading.began_ms,
        healed_ms: reading.healed_ms,
        end_ms,
        nodes,
        faults,
        messages,
        messages_left_out,
        calls,
    }
}

/// What happened where findings point: machines that stopped, entries at which states differ, calls about what is named.
fn causes(findings: &[String], nodes: &[NodeTrack], calls: &[CallBar]) -> Vec<Cause> {
    let indexes: BTreeSet<u64> = findings.iter().filter_map(|finding| index_of(finding)).collect();
    let mut causes = Vec::new();
    for NodeTrack { name, stops, applied, .. } in nodes {
        let first = stops.first().filter(|(_, why)| findings.iter().any(|finding| finding.contains(why.as_str())));
        causes.extend(first.map(|(at_ms, why)| Cause { at_ms: *at_ms, what: format!("{name} stops: {why}") }));
        for index in &indexes {
            let reached = applied.iter().find(|(_, at)| at >= index);
            causes
                .extend(reached.map(|(at_ms, _)| Cause { at_ms: *at_ms, what: format!("{name} has applied {index}") }));
        }
    }
    for call in calls.iter().filter(|call| call.suspect) {
        let who = if call.client == 0 { "seller".into() } else { format!("client {}", call.client) };
        causes.push(Cause { at_ms: call.from_ms, what: format!("{who}: {} → {}", call.asked, call.told) });
    }
    causes.sort_by(|one, other| one.at_ms.total_cmp(&other.at_ms));
    causes.truncate(CAUSES_MAX);
    causes
}

/// The log index that a finding names.
fn index_of(finding: &str) -> Option<u64> {
    let (_, rest) = finding.split_once("index ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The ids that findings name.
fn suspects(findings: &[String]) -> BTreeSet<String> {
    let is_id = |word: &&str| word.len() == 24 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = findings.iter().flat_map(|finding| finding.split(|c: char| !c.is_ascii_alphanumeric()));
    words.filter(is_id).map(str::to_string).collect()
}

fn bar(call: &Call, suspects: &BTreeSet<String>) -> CallBar {
    let ms = |ns: u64| ns as f64 / 1e6;
    let about = match &call.asked {
        Asked::ReadTicket { ticket } | Asked::ChangePrice { ticket, .. } | Asked::PlaceOrder { ticket, .. } => {
            Some(ticket)
        }
        Asked::ReadOrder { order } | Asked::CancelOrder { order } | Asked::Pay { order, .. } => Some(order),
        _ => None,
    };
    let answered = call.told.as_ref().and_then(|told| told.id.as_ref());
    CallBar {
        client: call.client,
        from_ms: ms(call.invoked_ns),
        to_ms: call.returned_ns.map(ms),
        asked: format!("{:?}", call.asked),
        told: call.told.as_ref().map_or("no answer".into(), |told| format!("{told:?}")),
        attempts: call.attempts,
        suspect: about.into_iter().chain(answered).any(|id| suspects.contains(id)),
    }
}

/// At most `max` of them, the last among them.
fn every<T: Clone>(all: Vec<T>, max: usize) -> Vec<T> {
    let step = all.len().div_ceil(max).max(1);
    let last = all.len().saturating_sub(1);
    all.iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last).map(|(_, one)| one.clone()).collect()
}

/// What was tampered with, and as many of the others as there is room for.
fn thinned(all: Vec<Message>) -> (Vec<Message>, usize) {
    let count = all.len();
    let (plain, mut kept): (Vec<Message>, Vec<Message>) = all.into_iter().partition(|message| message.4 == 's');
    kept.truncate(MESSAGES_MAX / 2);
    kept.extend(every(plain, MESSAGES_MAX - kept.len()));
    kept.sort_by(|one, other| one.0.total_cmp(&other.0));
    let left_out = count - kept.len();
    (kept, left_out)
}

/// The trace so far, as one line after the other is read.
#[derive(Default)]
struct Reading {
    now_ms: f64,
    nodes: BTreeMap<u32, NodeTrack>,
    up_since: BTreeMap<u32, f64>,
    leader: Option<(u32, f64)>,
    began_ms: Option<f64>,
    healed_ms: Option<f64>,
    /// Under way: since when, and what.
    faults: BTreeMap<u32, (f64, String)>,
    ended: Vec<Span>,
    messages: Vec<Message>,
}

impl Reading {
    /// Takes in a line of the trace. What is not for the picture is passed over.
    fn line(&mut self, line: &str) {
        let Some((ns, rest)) = line.trim_start().split_once(' ') else { return };
        let Ok(ns) = ns.parse::<u64>() else { return };
        self.now_ms = ns as f64 / 1e6;
        let words: Vec<&str> = rest.split(' ').collect();
        match words.as_slice() {
            ["frame", from, to, bytes, _, verb] => self.message(from, to, bytes, verb),
            ["leader", who] => self.leads(who),
            ["fault", id, "begins", ..] => {
                let what = rest.split_once("begins at ").map_or("", |(_, what)| what);
                if let Ok(id) = id.parse() {
                    self.faults.insert(id, (self.now_ms, format!("{id} {}", struck(what))));
                }
            }
            ["fault", id, "ends"] => {
                if let Some((from_ms, what)) = id.parse().ok().and_then(|id: u32| self.faults.remove(&id)) {
                    self.ended.push(Span { from_ms, to_ms: self.now_ms, what });
                }
            }
            ["clients", "begin"] => self.began_ms = Some(self.now_ms),
            ["everything", "is", "healed"] => self.healed_ms = Some(self.now_ms),
            [node, "starts"] => self.down(node),
            [node, "is", "up"] => {
                if let Some(number) = number(node) {
                    self.up_since.insert(number, self.now_ms);
                }
            }
            [node, "stops:", ..] => {
                self.down(node);
                if let Some(number) = number(node) {
                    let why = rest.split_once(": ").map_or("", |(_, why)| why).to_string();
                    self.nodes.entry(number).or_default().stops.push((self.now_ms, why));
                }
            }
            [node, "has", "applied", index, _] => {
                if let (Some(number), Ok(index)) = (number(node), index.parse()) {
                    self.nodes.entry(number).or_default().applied.push((self.now_ms, index));
                }
            }
            _ => {}
        }
    }

    fn down(&mut self, node: &str) {
        let Some(number) = number(node) else { return };
        if let Some(since) = self.up_since.remove(&number) {
            // A killed node says nothing: the last that it applied is the last that is known of it.
            let node = self.nodes.entry(number).or_default();
            let heard_ms = node.applied.last().map_or(since, |(at, _)| at.max(since));
            node.up.push((since, heard_ms.min(self.now_ms)));
        }
    }

    fn leads(&mut self, who: &str) {
        if let Some((leader, since)) = self.leader.take() {
            self.nodes.entry(leader).or_default().led.push((since, self.now_ms));
        }
        let number = who.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')).and_then(|n| n.parse().ok());
        self.leader = number.map(|number| (number, self.now_ms));
    }

    fn message(&mut self, from: &str, to: &str, bytes: &str, verb: &str) {
        let machine = |addr: &str| addr.split(':').next()?.rsplit('.').next()?.parse::<u32>().ok();
        let (Some(from), Some(to), Ok(bytes)) = (machine(from), machine(to), bytes.parse()) else { return };
        let fate = match verb {
            "lost" => 'x',
            "cut" => 'c',
            "late" => 'l',
            "twice" => 't',
            _ => 's',
        };
        self.messages.push((self.now_ms, from, to, bytes, fate));
    }
}

/// `Some(2): Crash { … }` as people say it: `n2 Crash { … }`.
fn struck(what: &str) -> String {
    match what.split_once(": ") {
        Some(("None", fault)) => fault.to_string(),
        Some((target, fault)) => {
            format!("n{} {fault}", target.trim_start_matches("Some(").trim_end_matches(')'))
        }
        None => what.to_string(),
    }
}

fn number(node: &str) -> Option<u32> {
    node.strip_prefix('n')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Reading {
        let mut reading = Reading::default();
        lines.iter().for_each(|line| reading.line(line));
        reading
    }

    #[test]
    fn a_node_is_up_from_its_start_until_it_was_last_heard_of() {
        let reading = read(&["1000000 n1 is up", "3000000 n1 has applied 7 00ff", "9000000 n1 starts"]);
        assert_eq!(reading.nodes[&1].up, [(1.0, 3.0)]);
        assert_eq!(reading.nodes[&1].applied, [(3.0, 7)]);
    }

    #[test]
    fn leadership_ends_where_another_begins() {
        let reading = read(&["1000000 leader Some(1)", "4000000 leader None", "5000000 leader Some(2)"]);
        assert_eq!(reading.nodes[&1].led, [(1.0, 4.0)]);
        assert_eq!(reading.leader, Some((2, 5.0)));
    }

    #[test]
    fn faults_and_messages_are_read() {
        let reading = read(&[
            "1000000 fault 3 begins at Some(2): Crash { node: Leader, power: true }",
            "2000000 frame 10.0.0.1:40001 10.0.0.2:7000 120 00ff lost",
            "4000000 fault 3 ends",
        ]);
        let what = "3 n2 Crash { node: Leader, power: true }".to_string();
        assert_eq!(reading.ended, [Span { from_ms: 1.0, to_ms: 4.0, what }]);
        assert_eq!(struck("None: CrashAll { power: true }"), "CrashAll { power: true }");
        assert_eq!(reading.messages, [(2.0, 1, 2, 120, 'x')]);
    }

    #[test]
    fn ids_in_findings_make_suspects() {
        let found = suspects(&["safety: sold once: ticket 000100000000000a00000001 is sold twice".to_string()]);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["000100000000000a00000001"]);
    }

    #[test]
    fn stops_and_entries_that_findings_name_are_causes() {
        let findings =
            ["crash: n1 stopped by itself: the disk fails", "safety: at index 7, n1 and n2 have different states"];
        let reading =
            read(&["2000000 n1 stops: the disk fails", "3000000 n1 stops: of age", "5000000 n1 has applied 7 0f"]);
        let nodes = [NodeTrack { name: "n1".into(), ..reading.nodes[&1].clone() }];
        let found = causes(&findings.map(str::to_string), &nodes, &[]);
        let told: Vec<(f64, &str)> = found.iter().map(|cause| (cause.at_ms, cause.what.as_str())).collect();
        assert_eq!(told, [(2.0, "n1 stops: the disk fails"), (5.0, "n1 has applied 7")]);
    }

    #[test]
    fn tampered_messages_stay_when_there_are_too_many() {
        let mut all: Vec<Message> = (0..MESSAGES_MAX).map(|at| (at as f64, 1, 2, 10, 's')).collect();
        all.push((5.5, 1, 2, 10, 'x'));
        let (kept, left_out) = thinned(all);
        assert!(kept.len() <= MESSAGES_MAX + 1 && left_out > 0);
        assert!(kept.iter().any(|message| message.4 == 'x'));
    }
}

//! A run told in lines: what a person needs of it to see why it failed, and what a golden file holds.
//!
//! Faults, starts, stops and leaders, and the calls about what the findings name, in the order in which they happened. The trace's
//! hash is left out: it changes with every change of the code, the story should not.

use super::Scene;

/// The run as lines, each with its virtual time in milliseconds; the findings come last.
pub fn transcript(scene: &Scene) -> String {
    let mut lines: Vec<(f64, String)> = Vec::new();
    for fault in &scene.faults {
        lines.push((fault.from_ms, format!("fault {} begins", fault.what)));
        lines.push((fault.to_ms, format!("fault {} ends", fault.what)));
    }
    lines.extend(scene.began_ms.map(|at| (at, "the clients begin".into())));
    lines.extend(scene.healed_ms.map(|at| (at, "everything is healed".into())));
    for node in &scene.nodes {
        let name = &node.name;
        lines.extend(node.up.iter().map(|(from, _)| (*from, format!("{name} is up"))));
        lines.extend(node.led.iter().map(|(from, _)| (*from, format!("{name} leads"))));
        for same in node.stops.chunk_by(|(_, one), (_, other)| one == other) {
            let ((at, why), again) = (&same[0], same.len() - 1);
            lines.push((*at, format!("{name} stops: {why}")));
            if let Some((last, _)) = same[1..].last() {
                lines.push((*last, format!("{name} stops for the same reason, {again} times since")));
            }
        }
    }
    for call in scene.calls.iter().filter(|call| call.suspect) {
        let client = call.client;
        lines.push((call.from_ms, format!("client {client} asks {}", call.asked)));
        lines.extend(call.to_ms.map(|at| (at, format!("client {client} is told {} ({})", call.told, call.asked))));
    }
    // By time; of one moment, in the order in which they were written down above.
    lines.sort_by(|one, other| one.0.total_cmp(&other.0));
    let told = lines.iter().map(|(at_ms, what)| format!("{at_ms:>12.3} {what}\n"));
    let head = format!("seed {}, schedule {}: {}\n", scene.seed, scene.schedule_hash, scene.verdict);
    let findings = scene.findings.iter().map(|finding| format!("{finding}\n"));
    std::iter::once(head).chain(told).chain(findings).collect()
}

#[cfg(test)]
mod tests {
    use super::super::scene::{CallBar, NodeTrack, Span};
    use super::*;

    #[test]
    fn what_happened_is_told_in_its_order_and_calls_about_nothing_are_left_out() {
        let call = |asked: &str, suspect| CallBar {
            client: 4,
            from_ms: 3.0,
            to_ms: Some(9.0),
            asked: asked.into(),
            told: "sold".into(),
            attempts: 1,
            suspect,
        };
        let scene = Scene {
            title: String::new(),
            seed: 7,
            schedule_hash: "00ff".into(),
            trace_hash: String::new(),
            verdict: "safety".into(),
            findings: vec!["safety: sold once".into()],
            causes: Vec::new(),
            began_ms: Some(0.5),
            healed_ms: None,
            end_ms: 10.0,
            nodes: vec![NodeTrack {
                name: "n1".into(),
                led: vec![(2.0, 10.0)],
                stops: [6.0, 7.0, 8.0].map(|at| (at, "no disk".into())).to_vec(),
                ..NodeTrack::default()
            }],
            faults: vec![Span { from_ms: 1.0, to_ms: 5.0, what: "1 power".into() }],
            messages: Vec::new(),
            messages_left_out: 0,
            calls: vec![call("the ticket", true), call("another", false)],
        };
        let told = transcript(&scene);
        let words: Vec<&str> = told.lines().map(str::trim_start).collect();
        assert_eq!(
            words,
            [
                "seed 7, schedule 00ff: safety",
                "0.500 the clients begin",
                "1.000 fault 1 power begins",
                "2.000 n1 leads",
                "3.000 client 4 asks the ticket",
                "5.000 fault 1 power ends",
                "6.000 n1 stops: no disk",
                "8.000 n1 stops for the same reason, 2 times since",
                "9.000 client 4 is told sold (the ticket)",
                "safety: sold once",
            ]
        );
    }
}

//! Every named scenario keeps all promises.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use holdfast_sim::run::{Class, run};
use holdfast_sim::schedule::Schedule;

/// What scenarios are about must have happened: words of their traces.
const TELL: [(&str, &[&str]); 29] = [
    ("wiped-node-comes-back-with-its-old-id", &["its log is gone", "operator replaces", "operator removes node"]),
    ("wiped-leader-joins-as-somebody-new", &["operator removes node"]),
    ("old-copy-of-a-folder-put-back", &["a peer has seen more of this folder than it holds", "operator replaces"]),
    ("flipped-bit-in-the-log", &["of log/journal is flipped", "stops: stored data is damaged", "operator replaces"]),
    ("vote-cut-off", &["log/journal is cut", "stops: stored data is damaged", "operator replaces"]),
    ("state-built-anew", &["state-0/journal is gone", "/journal is flipped", "of state-directory is flipped"]),
    ("image-lost-below-its-journal", &["n3: state-1/rows is gone"]),
    ("one-grows-to-three-to-five-and-shrinks", &["n2 arrives", "n5 arrives", "n1, node 1, for good", "taken out n4"]),
    (
        "newcomers-get-a-snapshot-while-locks-run-out",
        &["n2 arrives", "n3 arrives", "n2 has installed a snapshot", "n3 has installed a snapshot"],
    ),
    ("two-restores-while-everything-fails", &["strikes n1 at after_vote_save", "lineage 1", "lineage 2"]),
    ("snapshot-install-meets-expiry", &["n3 has installed a snapshot"]),
    ("snapshot-comes-while-another-is-built", &["n1 has installed a snapshot"]),
    ("snapshot-catches-up-the-lost", &["n3 has installed a snapshot"]),
    ("clocks-run-fast-and-slow", &["ClockDrift { node: Node(1), ppm: 100000 }", "leader Some(2)", "leader Some(1)"]),
    (
        "backup-restored-while-tickets-sell",
        &["operator has a backup of", "operator restores a backup on n1", "n1 is restored from entry", "lineage 1"],
    ),
    ("damage-everywhere", &["log/journal is flipped", "state-0/journal is flipped", "snapshots/"]),
    ("deaths-around-a-vote", &["at before_vote_save", "at after_vote_save"]),
    ("deaths-around-the-log", &["at before_sync", "at after_sync", "at after_apply", "at after_flush"]),
    ("deaths-around-a-snapshot", &["at snapshot_copied", "at after_snapshot_install", "at before_snapshot_rename"]),
    ("leader-is-taken-out", &["operator hands over", "operator has taken out"]),
    ("removed-node-comes-back-on-its-old-folder", &["operator has taken out"]),
    ("power-fails-right-after-a-snapshot-was-installed", &["n2 has installed a snapshot", "CrashAll"]),
    ("broker-loses-what-is-past-its-day", &["operator removes LEDGER"]),
    (
        "newcomer-of-an-older-build",
        &["operator raises the version: Ok(Ok(2))", "operator of n3 hears that its build is too old"],
    ),
    (
        "newcomer-goes-back-to-an-older-build",
        &["n3 stops: the cluster is at version 2, and this build knows version 1", "puts the newer build back on n3"],
    ),
    ("bits-flip-on-the-wire", &[" damaged"]),
    ("half-open-connections", &[" lost"]),
    ("upgrade-one-by-one-while-tickets-sell", &["TooOld { node_id: 1", "operator raises the version: Ok(Ok(2))"]),
    (
        "downgrade-after-the-raise",
        &[
            "operator raises the version: Ok(Ok(2))",
            "is at version 2, and this build knows version 1",
            "puts the newer build back",
        ],
    ),
];

fn read_step(line: &str) -> Option<(&str, u64, &str, bool)> {
    let (told, is_written) = match line.split_once("mirror has ") {
        Some((_, told)) => (told, true),
        None => (line.split_once("mirror cannot take ")?.1, false),
    };
    let mut words = told.split(' ');
    Some((words.next()?, words.next()?.parse().ok()?, words.next()?, is_written))
}

/// What the mirror did, one thing after the other: a ticket, its version and status, and whether they could be written.
fn mirrored(lines: &[String]) -> Vec<(&str, u64, &str, bool)> {
    lines.iter().filter_map(|line| read_step(line)).collect()
}

fn run_named(name: &str) -> Vec<String> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.toml"));
    let schedule = Schedule::parse(&fs::read_to_string(file).expect("a readable file")).expect("a good schedule");
    run(&schedule, true).trace.lines
}

#[test]
fn a_first_version_fails_and_the_second_and_the_third_are_written_before_it_comes_again() {
    let lines = run_named("first-version-fails-and-comes-after-the-third");
    let steps = mirrored(&lines);
    let is_late = |(at, (ticket, first, _, is_written)): (usize, &(&str, u64, &str, bool))| {
        let has = |version| steps[at..].contains(&(*ticket, version, "available", true));
        let locked = |version| steps[at..].contains(&(*ticket, version, "locked", true));
        let either = |version| has(version) || locked(version);
        !is_written && either(first + 1) && either(first + 2)
    };
    assert!(steps.iter().enumerate().any(is_late), "{steps:?}");
}

#[test]
fn a_sale_is_written_before_the_lock_that_it_came_of() {
    let lines = run_named("what-was-taken-is-heard-before-what-was-given");
    let steps = mirrored(&lines);
    let is_early = |(at, (ticket, version, status, is_written)): (usize, &(&str, u64, &str, bool))| {
        !is_written && *status == "locked" && steps[at..].contains(&(*ticket, version + 1, "sold", true))
    };
    assert!(steps.iter().enumerate().any(is_early), "{steps:?}");
}

#[test]
fn every_named_scenario_passes() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("the folder of scenarios").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let mut told = BTreeSet::new();
    for file in files {
        let name = file.display();
        let text = fs::read_to_string(&file).expect("a readable file");
        let schedule = Schedule::parse(&text).unwrap_or_else(|invalid| panic!("{name}: {invalid}"));
        assert!(!schedule.story.is_empty(), "{name} tells no story");
        let report = run(&schedule, true);
        assert_eq!(report.class, Class::Passed, "{name}: {:#?}", report.findings);
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let words = TELL.iter().filter(|(scenario, _)| *scenario == stem).flat_map(|(_, words)| *words);
        for word in words {
            assert!(report.trace.lines.iter().any(|line| line.contains(word)), "{name}: nothing of {word:?}");
        }
        told.insert(stem.into_owned());
    }
    for (scenario, _) in TELL {
        assert!(told.contains(scenario), "there is no scenario {scenario}");
    }
}

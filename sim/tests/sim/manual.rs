//! The manual's tables name only what there is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_ledger::planted::Bug;
use holdfast_sim::check::CHECKS;
use holdfast_sim::expand::{FAMILIES, Size, from_seed};

/// The rows of faults that are made here.
const ROWS: [u32; 34] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 29, 30, 31, 32,
    33, 34, 35,
];

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The lines of one section of the manual.
fn section(title: &str) -> Vec<String> {
    let manual = fs::read_to_string(repository().join("docs/SIMULATION.md")).expect("the manual");
    let lines = manual.lines().skip_while(|line| *line != format!("## {title}")).skip(1);
    let lines: Vec<String> = lines.take_while(|line| !line.starts_with("## ")).map(str::to_string).collect();
    assert!(!lines.is_empty(), "the manual has a section {title}");
    lines
}

/// What stands in backticks.
fn names(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// The names of all functions in the sources below `folder`.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("a file").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source");
            let after = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
            found.extend(after.map(str::to_string));
        }
    }
}

/// Everything that the tables may name.
fn known() -> BTreeSet<String> {
    let mut known: BTreeSet<String> = ["stale", "depart", "arrive", "restore", "raft/tests"].map(String::from).into();
    known.extend(FAMILIES.iter().flat_map(|family| family.kinds).map(|kind| kind.to_string()));
    known.extend(CHECKS.iter().map(|check| check.name.to_string()));
    known.extend(Bug::ALL.iter().map(|bug| bug.name().to_string()));
    let scenarios = fs::read_dir(repository().join("sim/scenarios")).expect("the folder of scenarios");
    let stem = |entry: fs::DirEntry| Some(entry.path().file_stem()?.to_str()?.to_string());
    known.extend(scenarios.filter_map(|entry| stem(entry.expect("a file"))));
    ["sim/src", "sim/tests", "raft/src", "raft/tests", "ledger/src"]
        .iter()
        .for_each(|folder| functions(&repository().join(folder), &mut known));
    known
}

#[test]
fn every_name_in_the_manuals_tables_stands_for_something() {
    let known = known();
    for title in ["Row by row", "Invariant by invariant", "What the swarms found"] {
        for line in section(title).iter().filter(|line| line.starts_with('|')) {
            let unknown: Vec<&str> = names(line).into_iter().filter(|name| !known.contains(*name)).collect();
            assert!(unknown.is_empty(), "{title}: there is no {unknown:?}");
        }
    }
}

#[test]
fn every_row_of_faults_and_every_check_is_in_the_manual() {
    let rows: Vec<String> = section("Row by row");
    for row in ROWS {
        assert!(rows.iter().any(|line| line.starts_with(&format!("| {row} |"))), "row {row} is missing");
    }
    let invariants = section("Invariant by invariant").join("\n");
    for check in CHECKS {
        assert!(names(&invariants).contains(&check.name), "no invariant names the check {}", check.name);
    }
}

#[test]
fn every_kind_of_fault_that_seeds_draw_is_in_the_manual() {
    let rows = section("Row by row").join("\n");
    let size = |nodes| Size { nodes, ..Size::default() };
    let drawn = (0..100).flat_map(|seed| from_seed(seed, size(3 + 2 * (seed as u32 % 2))).faults);
    let missing: BTreeSet<&str> =
        drawn.map(|fault| fault.what.name()).filter(|kind| !names(&rows).contains(kind)).collect();
    assert!(missing.is_empty(), "the manual does not name {missing:?}");
}

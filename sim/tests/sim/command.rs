//! The command itself: what it prints of a run, and its exit code for each class.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use holdfast_ledger::planted::Bug;
use holdfast_sim::expand::{Size, from_seed};
use holdfast_sim::run::{Class, run};
use holdfast_sim::schedule::{Planted, Schedule};

const SEEDS: u64 = 8;

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().expect("the command starts")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder of this test's, empty.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// Runs a schedule through the command.
fn replay(name: &str, schedule: &Schedule) -> Output {
    let file = folder(name).join("schedule.toml");
    fs::write(&file, schedule.to_text()).expect("room");
    sim(&["replay", file.to_str().expect("a path of letters")])
}

#[test]
fn a_run_that_passes_says_what_it_was_and_ends_with_0() {
    let output = sim(&["run", "--seed", "7", "--seconds", "5", "--twice"]);
    let said = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let words = ["seed: 7\n", "commit: ", "schedule: ", "trace-hash: ", " virtual seconds a second", "verdict: passed"];
    for word in words {
        assert!(said.contains(word), "nothing of {word:?} in {said}");
    }
}

#[test]
fn a_cluster_that_cannot_form_is_a_matter_of_liveness() {
    let mut schedule = from_seed(1, Size { nodes: 3, duration_ms: 4_000 });
    schedule.faults.clear();
    // Every message takes half a minute.
    schedule.cluster.latency_us = (30_000_000, 31_000_000);
    let output = replay("liveness", &schedule);
    assert_eq!(output.status.code(), Some(11), "{}", printed(&output));
}

#[test]
fn broken_promises_and_crashes_have_codes_of_their_own() {
    for (bug, code) in [(Bug::PriceNotFrozen, 12), (Bug::ForgetVote, 10)] {
        let mut codes = (0..SEEDS).map(|seed| {
            let schedule = Schedule { planted: Some(Planted(bug)), ..from_seed(seed, Size::default()) };
            replay(bug.name(), &schedule).status.code()
        });
        assert!(codes.any(|one| one == Some(code)), "{bug} never ended with {code}");
    }
}

#[test]
fn two_runs_that_differ_are_a_class_of_their_own_with_the_first_event_that_differs() {
    let output = sim(&["run", "--seed", "7", "--seconds", "10", "--twice", "--unlike"]);
    let said = printed(&output);
    assert_eq!(output.status.code(), Some(13), "{said}");
    let lines: Vec<&str> = said.lines().skip_while(|line| !line.starts_with("divergence at event ")).take(3).collect();
    assert!(matches!(lines[..], [_, one, other] if one != other), "{said}");
}

#[test]
fn what_cannot_be_run_is_said_and_not_a_verdict() {
    assert_eq!(sim(&["replay", "/nowhere.toml"]).status.code(), Some(1));
    assert_eq!(sim(&["walk"]).status.code(), Some(2));
    assert_eq!(sim(&["list"]).status.code(), Some(0));
}

#[test]
fn swarms_add_up_in_their_book_and_keep_what_failed() {
    let folder = folder("swarms");
    let (book, failures) = (folder.join("book.txt"), folder.join("failures"));
    let swarm = |from: &str| {
        let paths = [book.to_str().expect("letters"), failures.to_str().expect("letters")];
        let output = sim(&[
            "swarm",
            "--seeds",
            "2",
            "--from",
            from,
            "--seconds",
            "4",
            "--book",
            paths[0],
            "--failures",
            paths[1],
        ]);
        (output.status.code(), printed(&output))
    };
    assert_eq!(swarm("0").0, Some(0));
    let (code, said) = swarm("1");
    assert_eq!(code, Some(0));
    assert!(said.contains(": 3 seeds of this size, 0 failed"), "{said}");
    assert_eq!(fs::read_to_string(&book).expect("the book").lines().count(), 3, "its head and a line a swarm");
    assert_eq!(fs::read_dir(failures).expect("the folder").count(), 0);
}

/// Only a machine that dies shows this one, so a fault is needed, and few are.
#[test]
fn a_failing_schedule_shrinks_to_at_most_five_faults_that_fail_alike() {
    let bug = Some(Planted(Bug::AcknowledgeBeforeSync));
    let failing = (0..SEEDS).find_map(|seed| {
        let schedule = Schedule { planted: bug, ..from_seed(seed, Size { nodes: 3, duration_ms: 15_000 }) };
        let class = run(&schedule, false).class;
        (class != Class::Passed && schedule.faults.len() > 5).then_some((schedule, class))
    });
    let (schedule, class) = failing.expect("the bug shows in some seed");
    let folder = folder("shrink");
    let (file, small) = (folder.join("all.toml"), folder.join("small.toml"));
    fs::write(&file, schedule.to_text()).expect("room");
    let paths = [&file, &small].map(|path| path.to_str().expect("letters"));
    let output = sim(&["shrink", paths[0], "--out", paths[1], "--runs-max", "120"]);
    assert_eq!(output.status.code(), Some(i32::from(class.exit_code())), "{}", printed(&output));
    let shrunk = Schedule::parse(&fs::read_to_string(&small).expect("the smaller schedule")).expect("a schedule");
    assert!((1..=5).contains(&shrunk.faults.len()), "{} faults: {}", shrunk.faults.len(), printed(&output));
    let story = fs::read_to_string(folder.join("small.transcript.txt")).expect("its story");
    assert!(story.lines().any(|line| line.starts_with(&format!("{}: ", class.name()))), "{story}");
    assert!(printed(&sim(&["replay", paths[1]])).contains("transcript: as in "), "the story is told again");
}

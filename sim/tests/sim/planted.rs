//! A planted bug: if disks lie about their syncs and the power fails, runs must not pass.

use holdfast_ledger::planted::{Bug, at_work, plant};
use holdfast_sim::expand::{Size, from_seed};
use holdfast_sim::run::{Class, run};
use holdfast_sim::schedule::{Fault, Planted, Schedule, Target, What};

const SEEDS: u64 = 5;

/// All machines lose their power; with `lies`, their disks had only said that they synced.
fn power_loss(seed: u64, lies: bool) -> Schedule {
    let size = Size { nodes: 3, duration_ms: 8_000 };
    let mut faults = vec![Fault { id: 1, at_ms: 4_000, for_ms: 500, what: What::CrashAll { power: true } }];
    if lies {
        let lying = |node| What::LyingDisk { node: Target::Node(node) };
        faults.extend((1..=3).map(|node| Fault { id: 1 + node, at_ms: 1_000, for_ms: 6_000, what: lying(node) }));
    }
    Schedule { faults, founders: 0, ..from_seed(seed, size) }
}

#[test]
fn acknowledging_before_the_sync_is_caught() {
    let caught = (0..SEEDS).filter(|seed| run(&power_loss(*seed, true), false).class > Class::Liveness);
    assert_eq!(caught.count() as u64, SEEDS, "a lying disk must show in every seed");
}

#[test]
fn the_same_power_loss_is_survived_by_honest_disks() {
    for seed in 0..SEEDS {
        let report = run(&power_loss(seed, false), false);
        assert_eq!(report.class, Class::Passed, "seed {seed}: {:#?}", report.findings);
    }
}

/// Bugs that a few seeds are enough for, each with how bad the first run that fails has to look at least. An order of an old grant
/// may meet an assertion of the ledger before it meets a check.
const QUICK: [(Bug, Class); 14] = [
    (Bug::AcknowledgeBeforeSync, Class::Crash),
    (Bug::ExpireByLocalClock, Class::Safety),
    (Bug::ReclaimEarly, Class::Safety),
    (Bug::ReleaseOnStaleTick, Class::Safety),
    (Bug::IgnoreKeys, Class::Safety),
    (Bug::PriceNotFrozen, Class::Safety),
    (Bug::AcceptStaleFence, Class::Crash),
    (Bug::ForgetVoid, Class::Safety),
    (Bug::CaptureBeforeComplete, Class::Safety),
    (Bug::FreshProviderKeys, Class::Safety),
    (Bug::RelayWithoutFence, Class::Safety),
    (Bug::SkipOutboxOnLeaderChange, Class::Safety),
    (Bug::PublishBeforeCommit, Class::Safety),
    (Bug::AckBeforeHandled, Class::Safety),
];
const QUICK_SEEDS: u64 = 8;

#[test]
fn planted_bugs_are_noticed_within_a_few_seeds() {
    for (bug, class) in QUICK {
        let failed = (0..QUICK_SEEDS).find_map(|seed| {
            let schedule = Schedule { planted: Some(Planted(bug)), ..from_seed(seed, Size::default()) };
            let report = run(&schedule, false);
            (report.class != Class::Passed).then_some(report)
        });
        let report = failed.unwrap_or_else(|| panic!("{bug} was not noticed in {QUICK_SEEDS} seeds"));
        assert!(report.class >= class, "{bug}: {:#?}", report.findings);
    }
}

#[test]
fn rows_that_are_written_as_the_build_could_are_noticed() {
    let upgrade = What::Upgrade { node: Target::Node(2) };
    let faults = vec![Fault { id: 1, at_ms: 1_500, for_ms: 200, what: upgrade }];
    let quiet = Schedule { faults, ..from_seed(3, Size { nodes: 3, duration_ms: 6_000 }) };
    let report = run(&quiet, false);
    assert_eq!(report.class, Class::Passed, "{:#?}", report.findings);
    let report = run(&Schedule { planted: Some(Planted(Bug::EncodeByBuild)), ..quiet }, false);
    assert!(report.findings.iter().any(|found| found.contains("have different states")), "{:#?}", report.findings);
}

#[test]
fn one_bug_is_at_work_at_a_time_and_only_where_it_was_planted() {
    plant(Some(Bug::ForgetVote));
    let at_work = || Bug::ALL.iter().copied().filter(|bug| at_work(*bug)).collect::<Vec<_>>();
    assert_eq!(at_work(), [Bug::ForgetVote]);
    let elsewhere = std::thread::spawn(at_work);
    assert_eq!(elsewhere.join().expect("no panic"), []);
    plant(None);
    assert_eq!(at_work(), []);
}

//! Twenty seeds of the whole cluster under faults, each run twice: all promises hold, and both runs are the same run.

use holdfast_sim::expand::{Size, from_seed};
use holdfast_sim::run::{Class, Report, run};
use holdfast_sim::schedule::{Fault, Schedule, Target, What};

const SEEDS: u64 = 20;

/// The seed's own workload, with one partition and one crash that takes the power.
fn partition_and_crash(seed: u64) -> Schedule {
    let size = Size { nodes: 3, duration_ms: 12_000 };
    let faults = vec![
        Fault { id: 1, at_ms: 2_000, for_ms: 2_500, what: What::Isolate { node: Target::Leader } },
        Fault { id: 2, at_ms: 6_000, for_ms: 1_500, what: What::Crash { node: Target::Leader, power: true } },
    ];
    Schedule { faults, founders: 0, ..from_seed(seed, size) }
}

fn passed(schedule: &Schedule) -> Report {
    let report = run(schedule, false);
    assert_eq!(report.class, Class::Passed, "seed {}: {:#?}", schedule.seed, report.findings);
    report
}

#[test]
fn a_partition_and_a_power_loss_break_no_promise_and_every_run_repeats() {
    for seed in 0..SEEDS {
        let schedule = partition_and_crash(seed);
        let one = passed(&schedule);
        let other = passed(&schedule);
        assert_eq!(one.trace.hash, other.trace.hash, "seed {seed}: the same schedule gave two different runs");
        assert_eq!(one.calls, other.calls);
        assert!(one.purchases > 0, "seed {seed}: nobody bought anything");
        assert!(one.leaders > 1, "seed {seed}: the faults never moved leadership");
    }
}

#[test]
fn another_seed_is_another_run() {
    let hash = |seed| run(&partition_and_crash(seed), false).trace.hash;
    assert_ne!(hash(1), hash(2));
}

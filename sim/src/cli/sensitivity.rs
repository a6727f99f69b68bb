//! Which faults the checks need: every planted bug is looked for again with one family of faults left out.

use std::collections::BTreeMap;

use holdfast_ledger::planted::Bug;
use holdfast_sim::expand::{FAMILIES, Size, from_seed};
use holdfast_sim::run::{Class, run};
use holdfast_sim::schedule::{Planted, Schedule};

use super::pool;

/// What to compare.
pub struct Comparison {
    pub bugs: Vec<Bug>,
    /// Seeds that each bug is run with, once with all faults and once without each family.
    pub seeds: u64,
    pub jobs: u32,
    pub size: Size,
}

/// Runs all of it, and prints of how many seeds each bug was caught: with all faults, and without each family that it needs.
pub fn compare(comparison: &Comparison) {
    let without: Vec<Option<usize>> = std::iter::once(None).chain((0..FAMILIES.len()).map(Some)).collect();
    let work: Vec<(Bug, Option<usize>)> =
        comparison.bugs.iter().flat_map(|bug| without.iter().map(move |family| (*bug, *family))).collect();
    let mut caught: BTreeMap<(Bug, Option<usize>), usize> = BTreeMap::new();
    let count = |(bug, family): &(Bug, Option<usize>)| {
        (0..comparison.seeds).filter(|seed| is_caught(comparison, *bug, *family, *seed)).count()
    };
    pool::each(comparison.jobs, &work, count, |which, count| {
        caught.insert(*which, count);
    });
    println!("| planted bug | caught, of {} seeds | fewer without |", comparison.seeds);
    println!("|---|---|---|");
    for bug in &comparison.bugs {
        let all = caught[&(*bug, None)];
        let fewer: Vec<String> = (0..FAMILIES.len())
            .filter(|family| caught[&(*bug, Some(*family))] < all)
            .map(|family| format!("{} ({})", FAMILIES[family].name, caught[&(*bug, Some(family))]))
            .collect();
        println!("| {bug} | {all} | {} |", fewer.join(", "));
    }
}

fn is_caught(comparison: &Comparison, bug: Bug, family: Option<usize>, seed: u64) -> bool {
    let mut schedule = Schedule { planted: Some(Planted(bug)), ..from_seed(seed, comparison.size) };
    if let Some(family) = family {
        schedule.faults.retain(|fault| !FAMILIES[family].kinds.contains(&fault.what.name()));
    }
    run(&schedule, false).class != Class::Passed
}

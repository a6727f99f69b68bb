//! Which faults the checks need: every planted bug that a seed's faults bring to light is looked for again with one family of
//! faults left out.
//!
//! A seed that does not have a family is the same run without it, and is not run again.

use std::collections::BTreeMap;

use holdfast_ledger::planted::Bug;
use holdfast_sim::expand::{FAMILIES, Size, from_seed};
use holdfast_sim::run::{Class, run};
use holdfast_sim::schedule::{Planted, Schedule};

use super::book::{CODE, cpu_s};
use super::pool;

/// What to compare.
pub struct Comparison {
    pub bugs: Vec<Bug>,
    /// Seeds that each bug is run with.
    pub seeds: u64,
    pub jobs: u32,
    pub size: Size,
}

/// One seed of one bug.
struct Compared {
    caught: bool,
    /// The families without which it was not caught.
    needed: Vec<&'static str>,
    runs: u64,
}

/// Of how many seeds a bug was caught, and of how many of these not without a family.
#[derive(Default)]
struct Count {
    caught: u64,
    lost: BTreeMap<&'static str, u64>,
}

/// Runs all of it, and prints of how many seeds each bug was caught: with all faults, and without each family that it needs.
pub fn compare(comparison: &Comparison) {
    let seeds = || 0..comparison.seeds;
    let work: Vec<(Bug, u64)> = comparison.bugs.iter().flat_map(|bug| seeds().map(move |seed| (*bug, seed))).collect();
    let mut counts: BTreeMap<Bug, Count> = BTreeMap::new();
    let (mut runs, cpu_before_s) = (0, cpu_s());
    let look = |(bug, seed): &(Bug, u64)| one(comparison.size, *bug, *seed);
    pool::each(comparison.jobs, work, look, |(bug, seed), compared| {
        eprintln!("{bug}, seed {seed}: caught {}, not without {:?}", compared.caught, compared.needed);
        let count = counts.entry(bug).or_default();
        count.caught += u64::from(compared.caught);
        compared.needed.iter().for_each(|family| *count.lost.entry(family).or_default() += 1);
        runs += compared.runs;
    });
    println!("| planted bug | caught, of {} seeds | of these without one family of faults |", comparison.seeds);
    println!("|---|---|---|");
    for bug in &comparison.bugs {
        let Count { caught, lost } = &counts[bug];
        let mut fewer: Vec<(u64, &str)> = lost.iter().map(|(family, lost)| (caught - lost, *family)).collect();
        fewer.sort_unstable();
        let fewer: Vec<String> = fewer.iter().map(|(left, family)| format!("{family} {left}")).collect();
        let fewer = if fewer.is_empty() && *caught > 0 { "as many".into() } else { fewer.join(", ") };
        println!("| {bug} | {caught} | {fewer} |");
    }
    let a_minute = runs as f64 * 60.0 / (cpu_s() - cpu_before_s).max(1e-9);
    println!("\n{runs} runs, {a_minute:.0} a minute and core, of code {CODE}.");
}

fn one(size: Size, bug: Bug, seed: u64) -> Compared {
    let schedule = Schedule { planted: Some(Planted(bug)), ..from_seed(seed, size) };
    let caught = |schedule: &Schedule| run(schedule, false).class != Class::Passed;
    let mut compared = Compared { caught: caught(&schedule), needed: Vec::new(), runs: 1 };
    if compared.caught {
        for family in FAMILIES {
            let mut without = schedule.clone();
            without.faults.retain(|fault| !family.kinds.contains(&fault.what.name()));
            if without != schedule {
                compared.runs += 1;
                compared.needed.extend((!caught(&without)).then_some(family.name));
            }
        }
    }
    compared
}

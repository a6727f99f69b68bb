//! Which faults the checks need: every planted bug is looked for again with one family of faults left out.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_ledger::planted::Bug;
use holdfast_sim::expand::{FAMILIES, Size, from_seed};
use holdfast_sim::run::{Class, run};
use holdfast_sim::schedule::{Planted, Schedule};

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
    let next = AtomicUsize::new(0);
    let caught: Mutex<BTreeMap<(Bug, Option<usize>), u64>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..comparison.jobs {
            scope.spawn(|| {
                while let Some((bug, family)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let count =
                        (0..comparison.seeds).filter(|seed| is_caught(comparison, *bug, *family, *seed)).count();
                    caught.lock().expect("nobody panics while counting").insert((*bug, *family), count as u64);
                }
            });
        }
    });
    let caught = caught.into_inner().expect("nobody panics while counting");
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

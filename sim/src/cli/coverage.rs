//! What the seeds reach: which fault met which node in which state of the cluster, and how fast that stops being new.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_sim::expand::{Size, from_seed};
use holdfast_sim::run::{Class, run};
use holdfast_sim::world::Reached;

use super::pool;

/// Runs `seeds` seeds, and prints what they reached and the curve. Answers with the worst class.
pub fn coverage(seeds: u64, jobs: u32, size: Size) -> Class {
    let mut found: BTreeMap<u64, (Class, BTreeSet<Reached>)> = BTreeMap::new();
    pool::each(
        jobs,
        &(0..seeds).collect::<Vec<_>>(),
        |seed| run(&from_seed(*seed, size), false),
        |seed, report| {
            found.insert(*seed, (report.class, report.reached));
        },
    );
    let mut times: BTreeMap<Reached, u64> = BTreeMap::new();
    println!("| seeds | different (fault, role, phase) reached |");
    println!("|---|---|");
    let mut show = 1;
    for (seed, (_, reached)) in &found {
        reached.iter().for_each(|one| *times.entry(*one).or_default() += 1);
        if seed + 1 == show || seed + 1 == seeds {
            println!("| {} | {} |", seed + 1, times.len());
            show *= 2;
        }
    }
    println!("\n| fault | role | phase | seeds |");
    println!("|---|---|---|---|");
    for (Reached { fault, role, phase }, seeds) in &times {
        println!("| {fault} | {role} | {phase} | {seeds} |");
    }
    found.values().map(|(class, _)| *class).max().unwrap_or(Class::Passed)
}

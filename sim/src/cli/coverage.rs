//! What the seeds reach: which fault met which node in which state of the cluster, where machines died, and how fast that stops
//! being new.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_sim::expand::{Size, from_seed};
use holdfast_sim::run::{Class, run};
use holdfast_sim::world::Reached;

use super::pool;

/// What was reached, in how many seeds.
#[derive(Default)]
pub struct Coverage {
    seeds: u64,
    times: BTreeMap<Reached, u64>,
    /// After 1, 2, 4, … seeds: how much of it was different.
    curve: Vec<(u64, usize)>,
}

impl Coverage {
    /// One more seed has reached this.
    pub fn add(&mut self, reached: &BTreeSet<Reached>) {
        self.seeds += 1;
        reached.iter().for_each(|one| *self.times.entry(*one).or_default() += 1);
        if self.seeds.is_power_of_two() {
            self.curve.push((self.seeds, self.times.len()));
        }
    }

    /// Prints the curve and the table. How likely the next seed reaches something new is Good and Turing's estimate: how much
    /// was reached by one seed alone, of all seeds.
    pub fn print(&self) {
        println!("| seeds | different (fault, crash point, role, phase) reached |");
        println!("|---|---|");
        let end = (!self.seeds.is_power_of_two()).then_some((self.seeds, self.times.len()));
        self.curve.iter().copied().chain(end).for_each(|(seeds, different)| println!("| {seeds} | {different} |"));
        let once = self.times.values().filter(|seeds| **seeds == 1).count();
        let expected = once as f64 / self.seeds.max(1) as f64;
        println!("\nReached by one seed alone: {once}. So the next seed is expected to reach {expected:.2} new ones.");
        println!("\n| fault | crash point | role | phase | seeds |");
        println!("|---|---|---|---|---|");
        for (Reached { fault, point, role, phase }, seeds) in &self.times {
            println!("| {fault} | {point} | {role} | {phase} | {seeds} |");
        }
    }
}

/// Runs `seeds` seeds, and prints what they reached. Answers with the worst class.
pub fn coverage(seeds: u64, jobs: u32, size: Size) -> Class {
    let mut found: BTreeMap<u64, (Class, BTreeSet<Reached>)> = BTreeMap::new();
    pool::each(
        jobs,
        0..seeds,
        |seed| run(&from_seed(*seed, size), false),
        |seed, report| {
            found.insert(seed, (report.class, report.reached));
        },
    );
    let mut coverage = Coverage::default();
    found.values().for_each(|(_, reached)| coverage.add(reached));
    coverage.print();
    found.values().map(|(class, _)| *class).max().unwrap_or(Class::Passed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_counts_what_is_different() {
        let reached = |role| Reached { fault: "crash", point: "", role, phase: "steady" };
        let mut coverage = Coverage::default();
        for role in ["leader", "follower", "leader", "leader"] {
            coverage.add(&BTreeSet::from([reached(role)]));
        }
        assert_eq!(coverage.curve, [(1, 1), (2, 2), (4, 2)]);
        assert_eq!(coverage.times[&reached("leader")], 3);
    }
}

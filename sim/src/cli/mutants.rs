//! What the checks see: every planted bug is let loose on seed after seed until a check notices.
//!
//! Each bug is looked for in several series of seeds that have nothing in common. What is counted is the number of seeds until
//! the first run that fails: the median over the series and its interval, and who noticed.

use std::collections::BTreeMap;

use holdfast_ledger::planted::Bug;
use holdfast_sim::expand::{Size, from_seed};
use holdfast_sim::run::{Class, run};
use holdfast_sim::schedule::{Planted, Schedule};

use super::book::{CODE, cpu_s};
use super::median::{Median, bounds};
use super::pool;

/// Between the first seeds of two series.
const SERIES_APART: u64 = 1_000_000;

/// What to look for, and how long.
pub struct Hunt {
    pub bugs: Vec<Bug>,
    pub series: u32,
    /// Seeds of one series before the bug counts as missed in it.
    pub seeds_max: u64,
    pub jobs: u32,
    pub size: Size,
}

/// One series of one bug: after how many seeds it was caught and by whom; `None` if it was not.
type Found = Option<(u64, String)>;

/// Looks for all bugs, and prints the table. Answers with the bugs that were missed in every series.
pub fn hunt(hunt: &Hunt) -> Vec<Bug> {
    let work: Vec<(Bug, u32)> =
        hunt.bugs.iter().flat_map(|bug| (0..hunt.series).map(move |series| (*bug, series))).collect();
    let mut found: BTreeMap<Bug, Vec<Found>> = BTreeMap::new();
    let (mut runs, cpu_before_s) = (0, cpu_s());
    let look = |(bug, series): &(Bug, u32)| one_series(hunt, *bug, *series);
    pool::each(hunt.jobs, work, look, |(bug, series), caught| {
        let said = caught.as_ref().map_or("missed".to_string(), |(seeds, by)| format!("{by}, seed {seeds}"));
        eprintln!("{bug}, series {series}: {said}");
        runs += caught.as_ref().map_or(hunt.seeds_max, |(seeds, _)| *seeds);
        found.entry(bug).or_default().push(caught);
    });
    print_table(hunt, &found);
    let (at, confidence) = bounds(hunt.series as usize);
    let (which, percent) = (at + 1, confidence * 100.0);
    println!(
        "\nInterval: number {which} from either end of {} series, {percent:.0} % sure to hold the median.",
        hunt.series
    );
    let a_minute = runs as f64 * 60.0 / (cpu_s() - cpu_before_s).max(1e-9);
    println!("{runs} runs, {a_minute:.0} a minute and core, of code {CODE}.");
    let missed = |(bug, found): (&Bug, &Vec<Found>)| found.iter().all(Option::is_none).then_some(*bug);
    found.iter().filter_map(missed).collect()
}

fn one_series(hunt: &Hunt, bug: Bug, series: u32) -> Found {
    let first = u64::from(series) * SERIES_APART;
    (0..hunt.seeds_max).find_map(|at| {
        let schedule = Schedule { planted: Some(Planted(bug)), ..from_seed(first + at, hunt.size) };
        let report = run(&schedule, false);
        (report.class != Class::Passed).then(|| (at + 1, noticed_by(&report.findings)))
    })
}

/// Who noticed: the worst finding's class and, for a broken promise, the check's name.
pub fn noticed_by(findings: &[String]) -> String {
    let Some(finding) = findings.first() else { return "nobody".into() };
    let mut parts = finding.split(": ");
    match (parts.next(), parts.next()) {
        (Some("safety"), Some(check)) if holdfast_sim::check::CHECKS.iter().any(|known| known.name == check) => {
            check.to_string()
        }
        (Some("safety"), _) => "observer".into(),
        (Some(class), _) => class.to_string(),
        _ => "nobody".into(),
    }
}

fn print_table(hunt: &Hunt, found: &BTreeMap<Bug, Vec<Found>>) {
    println!("| planted bug | caught | seeds: median (interval) | noticed by |");
    println!("|---|---|---|---|");
    for bug in &hunt.bugs {
        let series = found.get(bug).map(Vec::as_slice).unwrap_or_default();
        let seeds: Vec<Option<u64>> = series.iter().map(|found| found.as_ref().map(|(seeds, _)| *seeds)).collect();
        let caught = format!("{} of {}", seeds.iter().flatten().count(), series.len());
        let mut by: BTreeMap<&str, u32> = BTreeMap::new();
        series.iter().flatten().for_each(|(_, name)| *by.entry(name.as_str()).or_default() += 1);
        let by: Vec<String> = by.iter().map(|(name, times)| format!("{name} {times}")).collect();
        println!("| {bug} | {caught} | {} | {} |", Median::of(seeds).in_words(hunt.seeds_max), by.join(", "));
    }
}

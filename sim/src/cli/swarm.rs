//! Many runs at a time, each in a thread of its own.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::time::{Duration, Instant};

use holdfast_sim::expand::{Size, from_seed};
use holdfast_sim::run::{Class, Report, run};

use super::pool;
use super::tally::Book;

/// Seeds named for each kind of finding.
const EXAMPLES_MAX: usize = 5;

/// What to run.
pub struct Plan {
    pub seeds: Range<u64>,
    pub jobs: u32,
    /// Of so many runs, one is run twice.
    pub again_every: u64,
    pub size: Size,
}

/// What came of all runs so far.
#[derive(Default)]
struct Tally {
    runs: u64,
    again: u64,
    virtual_time: Duration,
    purchases: u64,
    recoveries: Vec<Duration>,
    /// By class and the first words of the finding: the seeds.
    failures: BTreeMap<(Class, String), Vec<u64>>,
}

/// Runs all seeds, and says what failed. Answers with the worst class.
pub fn swarm(plan: &Plan, mut book: Book) -> Class {
    let began = Instant::now();
    let mut tally = Tally::default();
    pool::each(
        plan.jobs,
        &plan.seeds.clone().collect::<Vec<_>>(),
        |seed| one(plan, *seed),
        |seed, ran| {
            let class = if ran.1 == Some(false) { Class::Divergence } else { ran.0.class };
            tally.count(*seed, ran);
            if let Err(error) = book.add(*seed, class) {
                eprintln!("\nthe book of seeds: {error}");
            }
            progress(plan, &tally, began);
        },
    );
    summary(&tally, began);
    let (seeds, failed) = book.sum();
    println!("all swarms of code {}: {seeds} seeds of this size, {failed} failed", book.code());
    tally.failures.keys().map(|(class, _)| *class).max().unwrap_or(Class::Passed)
}

/// A run, and whether a second one of the same schedule went as it did; `None` where there was no second one.
type Ran = (Report, Option<bool>);

fn one(plan: &Plan, seed: u64) -> Ran {
    let schedule = from_seed(seed, plan.size);
    let report = run(&schedule, false);
    let repeats = seed.is_multiple_of(plan.again_every).then(|| run(&schedule, false).trace.hash == report.trace.hash);
    (report, repeats)
}

impl Tally {
    fn count(&mut self, seed: u64, (report, repeats): Ran) {
        self.runs += 1;
        self.again += u64::from(repeats.is_some());
        self.virtual_time += report.virtual_time;
        self.purchases += report.purchases as u64;
        self.recoveries.extend(report.recovery);
        if repeats == Some(false) {
            eprintln!("\nseed {seed}: two runs differ");
            self.failures.entry((Class::Divergence, "two runs differ".into())).or_default().push(seed);
        }
        if let Some(finding) = report.findings.first() {
            eprintln!("\nseed {seed}: {finding}");
            self.failures.entry((report.class, kind(finding))).or_default().push(seed);
        }
    }
}

/// A finding without the numbers in it, so that like ones fall together.
fn kind(finding: &str) -> String {
    let mut words: Vec<&str> =
        finding.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit())).collect();
    words.truncate(16);
    words.join(" ")
}

fn progress(plan: &Plan, tally: &Tally, began: Instant) {
    let total = plan.seeds.end - plan.seeds.start;
    let failed: usize = tally.failures.values().map(Vec::len).sum();
    let rate = tally.runs as f64 * 60.0 / began.elapsed().as_secs_f64();
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let done = (tally.runs * 30 / total.max(1)) as usize;
        let bar = format!("[{}{}]", "#".repeat(done), " ".repeat(30 - done.min(30)));
        let _ = write!(out, "\r{bar} {}/{total} seeds, {failed} failed, {rate:.0} a minute ", tally.runs);
        if tally.runs == total {
            let _ = writeln!(out);
        }
    }
}

fn summary(tally: &Tally, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} seeds in {seconds:.0} s ({:.0} a minute), {} run twice, {:.0} virtual seconds, {} purchases",
        tally.runs,
        tally.runs as f64 * 60.0 / seconds,
        tally.again,
        tally.virtual_time.as_secs_f64(),
        tally.purchases
    );
    let mut recoveries = tally.recoveries.clone();
    recoveries.sort_unstable();
    if let Some(most) = recoveries.last() {
        let at = |percent: usize| recoveries[(recoveries.len() - 1) * percent / 100].as_secs_f64();
        println!("recovery: median {:.3} s, p99 {:.3} s, most {:.3} s", at(50), at(99), most.as_secs_f64());
    }
    if tally.failures.is_empty() {
        println!("verdict: passed");
    }
    for ((class, kind), seeds) in tally.failures.iter().rev() {
        let mut seeds = seeds.clone();
        seeds.sort_unstable();
        let examples: Vec<String> = seeds.iter().take(EXAMPLES_MAX).map(u64::to_string).collect();
        println!("{}: {} of {}: {kind}\n    seeds {}", class.name(), seeds.len(), tally.runs, examples.join(", "));
    }
}

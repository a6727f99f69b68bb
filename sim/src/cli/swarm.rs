//! Many runs at a time, each in a thread of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_sim::expand::{Size, from_seed};
use holdfast_sim::run::{Class, Report, run};
use holdfast_sim::schedule::Schedule;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::book::{Book, CODE, cpu_s, memory_mib};
use super::{explain_divergence, pool, write};

/// Seeds named for each kind of finding.
const EXAMPLES_MAX: usize = 5;
/// Between two lines of progress where nobody watches a terminal.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// What a shell says of a process that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

/// What to run.
pub struct Plan {
    pub seeds: Range<u64>,
    pub jobs: u32,
    /// Of so many runs, one is run twice.
    pub again_every: u64,
    pub size: Size,
    /// Where the schedules of runs that fail are written.
    pub failures: Option<PathBuf>,
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

/// Runs all seeds, and says what failed. Answers with the worst class. Ctrl-C or SIGTERM ends it after the seeds that are under
/// way, a second one at once.
pub fn swarm(plan: &Plan, mut book: Book) -> Result<Class, String> {
    let stop = stop_on_signals().map_err(|error| format!("signals: {error}"))?;
    if let Some(folder) = &plan.failures {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let (began, cpu_before_s) = (Instant::now(), cpu_s());
    let mut tally = Tally::default();
    let mut progress = Progress { began, reported: began, is_shown: io::stderr().is_terminal() };
    let mut troubles = Vec::new();
    let seeds = plan.seeds.clone().take_while(|_| !stop.load(Ordering::Relaxed));
    pool::each(
        plan.jobs,
        seeds,
        |seed| one(plan, *seed),
        |seed, ran| {
            let class = ran.class();
            tally.count(seed, &ran);
            let noted = book.add(seed, class).map_err(|error| format!("the book of swarms: {error}"));
            let kept = match &plan.failures {
                Some(folder) if class != Class::Passed => keep(folder, &ran.schedule, &ran.report),
                _ => Ok(()),
            };
            troubles.extend(noted.and(kept).err());
            progress.show(plan, &tally);
        },
    );
    book.write().map_err(|error| format!("the book of swarms: {error}"))?;
    if let Some(trouble) = troubles.first() {
        return Err(format!("{trouble} (and {} more like it)", troubles.len() - 1));
    }
    summary(&tally, began, cpu_s() - cpu_before_s);
    let (seeds, failed) = book.sum();
    println!("all swarms of code {CODE}: {seeds} seeds of this size, {failed} failed");
    Ok(tally.failures.keys().map(|(class, _)| *class).max().unwrap_or(Class::Passed))
}

/// Is set by the first Ctrl-C or SIGTERM; the second ends the process.
fn stop_on_signals() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, INTERRUPTED, stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}

/// One seed's run.
struct Ran {
    schedule: Schedule,
    report: Report,
    /// Whether a second run of the same schedule went as it did; `None` where there was none.
    repeats: Option<bool>,
}

impl Ran {
    fn class(&self) -> Class {
        if self.repeats == Some(false) { Class::Divergence } else { self.report.class }
    }
}

fn one(plan: &Plan, seed: u64) -> Ran {
    let schedule = from_seed(seed, plan.size);
    let report = run(&schedule, false);
    let repeats = seed.is_multiple_of(plan.again_every).then(|| run(&schedule, false).trace.hash == report.trace.hash);
    Ran { schedule, report, repeats }
}

/// Writes the schedule of a run that failed, which tells what was found.
fn keep(folder: &Path, schedule: &Schedule, report: &Report) -> Result<(), String> {
    let story = report.findings.first().map_or("two runs differ".into(), |finding| kind(finding));
    let name = format!("seed-{}-{}-nodes-{}-s.toml", schedule.seed, schedule.nodes, schedule.duration_ms / 1_000);
    write(&folder.join(name), &Schedule { story, ..schedule.clone() }.to_text())
}

impl Tally {
    fn count(&mut self, seed: u64, ran: &Ran) {
        let report = &ran.report;
        self.runs += 1;
        self.again += u64::from(ran.repeats.is_some());
        self.virtual_time += report.virtual_time;
        self.purchases += report.purchases as u64;
        self.recoveries.extend(report.recovery);
        if ran.repeats == Some(false) {
            eprintln!("\nseed {seed}: two runs differ");
            explain_divergence(&ran.schedule);
            self.failures.entry((Class::Divergence, "two runs differ".into())).or_default().push(seed);
        }
        if let Some(finding) = report.findings.first() {
            eprintln!("\nseed {seed}: {finding}");
            self.failures.entry((report.class, kind(finding))).or_default().push(seed);
        }
    }

    fn failed(&self) -> usize {
        self.failures.values().map(Vec::len).sum()
    }
}

/// A finding without the numbers in it, so that like ones fall together.
fn kind(finding: &str) -> String {
    let mut words: Vec<&str> =
        finding.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit())).collect();
    words.truncate(16);
    words.join(" ")
}

/// How far it is: a bar on a terminal, elsewhere a line a minute.
struct Progress {
    began: Instant,
    reported: Instant,
    is_shown: bool,
}

impl Progress {
    fn show(&mut self, plan: &Plan, tally: &Tally) {
        let total = plan.seeds.end - plan.seeds.start;
        let rate = tally.runs as f64 * 60.0 / self.began.elapsed().as_secs_f64();
        let so_far = format!("{}/{total} seeds, {} failed, {rate:.0} a minute", tally.runs, tally.failed());
        if self.is_shown {
            let done = (tally.runs * 30 / total.max(1)) as usize;
            let end = if tally.runs == total { "\n" } else { "" };
            let _ = write!(io::stderr(), "\r[{}{}] {so_far} {end}", "#".repeat(done), " ".repeat(30 - done.min(30)));
        } else if self.reported.elapsed() >= REPORT_EVERY {
            self.reported = Instant::now();
            eprintln!("{so_far}");
        }
    }
}

fn summary(tally: &Tally, began: Instant, cpu_s: f64) {
    let seconds = began.elapsed().as_secs_f64();
    let a_minute = |seconds: f64| tally.runs as f64 * 60.0 / seconds.max(1e-9);
    println!(
        "{} seeds in {seconds:.0} s ({:.0} a minute, {:.0} a minute and core) and {} MiB, {} run twice, {:.0} virtual seconds, {} purchases",
        tally.runs,
        a_minute(seconds),
        a_minute(cpu_s),
        memory_mib(),
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

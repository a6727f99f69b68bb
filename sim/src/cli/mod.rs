//! The command line of the simulator.
//!
//! Exit codes: 0 all passed, 1 the command itself failed, 2 it was not understood, 10 a crash, 11 liveness, 12 safety, 13 two
//! runs of one schedule differed. Of several, the worst.

mod book;
mod coverage;
mod median;
mod mutants;
mod pool;
mod sensitivity;
mod shrink;
mod swarm;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use book::{Book, CODE};
use clap::{Args, Parser, Subcommand};
use holdfast_ledger::planted::Bug;
use holdfast_sim::expand::{Size, from_seed};
use holdfast_sim::export::{Format, export};
use holdfast_sim::quiet;
use holdfast_sim::run::{Class, Report, plant_divergence, run};
use holdfast_sim::schedule::{NODES_MAX, Planted, Schedule};
use holdfast_sim::trace::first_difference;
use holdfast_sim::view;

/// Runs of the simulated cluster.
#[derive(Parser)]
#[command(name = "sim", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One run, from a seed.
    Run {
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        size: SizeArgs,
        #[command(flatten)]
        output: Output,
    },
    /// One run, from a schedule file.
    Replay {
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Many seeds, several at a time; failures are grouped by class.
    Swarm {
        /// How many.
        #[arg(long, default_value_t = 100)]
        seeds: u64,
        /// The first one.
        #[arg(long, default_value_t = 0)]
        from: u64,
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
        jobs: u32,
        /// Of so many runs, one is run twice and compared.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
        again_every: u64,
        /// The book of all swarms so far.
        #[arg(long, value_name = "FILE", default_value = book::PLACE)]
        book: PathBuf,
        /// Where to write the schedules of runs that fail.
        #[arg(long, value_name = "DIR")]
        failures: Option<PathBuf>,
        #[command(flatten)]
        size: SizeArgs,
    },
    /// Lets planted bugs loose on many seeds: which are caught, after how many seeds, by which check.
    Mutants {
        /// Only these, by name; default: all.
        #[arg(long = "only", alias = "bug", value_name = "BUG")]
        bugs: Vec<String>,
        /// Name the bugs, and run nothing.
        #[arg(long)]
        list: bool,
        /// Independent series of seeds for each bug.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        series: u32,
        /// Seeds of a series before the bug counts as missed in it.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        seeds_max: u64,
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
        jobs: u32,
        #[command(flatten)]
        size: SizeArgs,
    },
    /// Looks for planted bugs once more without each family of faults: which families the checks need.
    Sensitivity {
        /// Only these, by name; default: all.
        #[arg(long = "only", alias = "bug", value_name = "BUG")]
        bugs: Vec<String>,
        /// Seeds for each bug and family.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=100_000))]
        seeds: u64,
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
        jobs: u32,
        #[command(flatten)]
        size: SizeArgs,
    },
    /// Which fault met which node in which phase, and how many seeds it took to see that.
    Coverage {
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        seeds: u64,
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
        jobs: u32,
        #[command(flatten)]
        size: SizeArgs,
    },
    /// Leaves out faults and shortens the rest, as long as the run still fails in the same way.
    Shrink {
        file: PathBuf,
        /// Where to write the smaller schedule; default: beside the file, with `.shrunk.toml`.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Smaller schedules that are tried at most.
        #[arg(long, default_value_t = 400)]
        runs_max: u32,
    },
    /// One run, drawn: a page with nodes, messages, faults, leaders, log positions and client calls.
    View {
        file: PathBuf,
        /// Where to write the page; default: beside the file, with `.html`.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// One run's history of calls, for checkers of other authors.
    Export {
        file: PathBuf,
        #[arg(long, value_enum, default_value = "jsonl")]
        format: ExportFormat,
        /// Where to write it; default: beside the file, with the format's ending.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// The schedule that a seed stands for, as a file.
    Expand {
        #[arg(long)]
        seed: u64,
        #[command(flatten)]
        size: SizeArgs,
    },
    /// The named scenarios: schedule files, one a story.
    List {
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))]
        folder: PathBuf,
    },
}

/// How a history is written.
#[derive(Clone, Copy, clap::ValueEnum)]
enum ExportFormat {
    /// One JSON object a line.
    Jsonl,
    /// As Jepsen writes histories.
    Edn,
}

#[derive(Args, Clone, Copy)]
struct SizeArgs {
    /// Virtual seconds under faults.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(3..=86_400))]
    seconds: u64,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=i64::from(NODES_MAX)))]
    nodes: u32,
}

impl SizeArgs {
    fn size(self) -> Size {
        Size { nodes: self.nodes, duration_ms: self.seconds * 1_000 }
    }
}

#[derive(Args, Clone)]
struct Output {
    /// Write every event, with its virtual time in nanoseconds, to this file.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Write every client call to this file, as JSON lines.
    #[arg(long)]
    history: Option<PathBuf>,
    /// Run it twice, and compare.
    #[arg(long)]
    twice: bool,
    /// Every run is another one on purpose: shows that a comparison notices.
    #[arg(long, hide = true)]
    unlike: bool,
}

/// The process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    quiet::panics();
    let done = match cli.command {
        Command::Run { seed, size, output } => once(&from_seed(seed, size.size()), &output),
        Command::Replay { file, output } => read(&file).and_then(|schedule| {
            let class = once(&schedule, &output)?;
            compare_transcript(&schedule, &transcript_of(&file))?;
            Ok(class)
        }),
        Command::Swarm { seeds, from, jobs, again_every, book, failures, size } => {
            let size = size.size();
            let opened = Book::open(&book, size).map_err(|error| format!("the book {}: {error}", book.display()));
            let seeds = from..from.saturating_add(seeds);
            opened.and_then(|book| swarm::swarm(&swarm::Plan { seeds, jobs, again_every, size, failures }, book))
        }
        Command::Mutants { list: true, .. } => {
            Bug::ALL.iter().for_each(|bug| println!("{bug}"));
            Ok(Class::Passed)
        }
        Command::Mutants { bugs, list: false, series, seeds_max, jobs, size } => named(&bugs).and_then(|bugs| {
            let missed = mutants::hunt(&mutants::Hunt { bugs, series, seeds_max, jobs, size: size.size() });
            let names: Vec<&str> = missed.iter().map(|bug| bug.name()).collect();
            if names.is_empty() { Ok(Class::Passed) } else { Err(format!("not caught: {}", names.join(", "))) }
        }),
        Command::Sensitivity { bugs, seeds, jobs, size } => named(&bugs).map(|bugs| {
            sensitivity::compare(&sensitivity::Comparison { bugs, seeds, jobs, size: size.size() });
            Class::Passed
        }),
        Command::Coverage { seeds, jobs, size } => Ok(coverage::coverage(seeds, jobs, size.size())),
        Command::Shrink { file, out, runs_max } => read(&file).and_then(|schedule| {
            let out = out.unwrap_or_else(|| file.with_extension("shrunk.toml"));
            shrink::shrink(&schedule, &out, runs_max)
        }),
        Command::View { file, out } => read(&file).and_then(|schedule| {
            let out = out.unwrap_or_else(|| file.with_extension("html"));
            let report = run(&schedule, true);
            write(&out, &view::page(&schedule, &report))?;
            describe(&schedule, &report);
            println!("written: {}", out.display());
            Ok(report.class)
        }),
        Command::Export { file, format, out } => read(&file).and_then(|schedule| {
            let (format, ending) = match format {
                ExportFormat::Jsonl => (Format::JsonLines, "jsonl"),
                ExportFormat::Edn => (Format::Edn, "edn"),
            };
            let out = out.unwrap_or_else(|| file.with_extension(ending));
            let report = run(&schedule, false);
            write(&out, &export(&report.calls, format))?;
            describe(&schedule, &report);
            println!("written: {} ({} calls)", out.display(), report.calls.len());
            Ok(report.class)
        }),
        Command::Expand { seed, size } => {
            print!("{}", from_seed(seed, size.size()).to_text());
            Ok(Class::Passed)
        }
        Command::List { folder } => list(&folder),
    };
    match done {
        Ok(class) => ExitCode::from(class.exit_code()),
        Err(message) => {
            eprintln!("sim: {message}");
            ExitCode::from(1)
        }
    }
}

/// The bugs of these names; all, where none is named.
fn named(names: &[String]) -> Result<Vec<Bug>, String> {
    if names.is_empty() {
        return Ok(Bug::ALL.to_vec());
    }
    names.iter().map(|name| Planted::try_from(name.clone()).map(|planted| planted.0)).collect()
}

fn read(file: &Path) -> Result<Schedule, String> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("{name}: {error}"))?;
    Schedule::parse(&text).map_err(|invalid| format!("{name}: {invalid}"))
}

fn write(file: &Path, content: &str) -> Result<(), String> {
    fs::write(file, content).map_err(|error| format!("{}: {error}", file.display()))
}

/// One run, or two that are compared, with everything there is to say about it.
fn once(schedule: &Schedule, output: &Output) -> Result<Class, String> {
    if output.unlike {
        plant_divergence();
    }
    let report = run(schedule, output.trace.is_some());
    describe(schedule, &report);
    if let Some(file) = &output.trace {
        write(file, &(report.trace.lines.join("\n") + "\n"))?;
    }
    if let Some(file) = &output.history {
        let line = |call| serde_json::to_string(call).expect("a call has a JSON form") + "\n";
        write(file, &report.calls.iter().map(line).collect::<String>())?;
    }
    if output.twice && run(schedule, false).trace.hash != report.trace.hash {
        explain_divergence(schedule);
        return Ok(Class::Divergence);
    }
    Ok(report.class)
}

/// Where the transcript of a schedule's run stands: beside it.
fn transcript_of(schedule: &Path) -> PathBuf {
    schedule.with_extension("transcript.txt")
}

/// Says whether a run still goes as the transcript beside its schedule tells, where there is one.
fn compare_transcript(schedule: &Schedule, file: &Path) -> Result<(), String> {
    let Ok(known) = fs::read_to_string(file) else { return Ok(()) };
    let now = view::transcript(&view::scene(schedule, &run(schedule, true)));
    let differs = known.lines().zip(now.lines()).position(|(known, now)| known != now);
    let (lines, lines_now) = (known.lines().count(), now.lines().count());
    match differs.or((lines != lines_now).then_some(lines.min(lines_now))) {
        None => println!("transcript: as in {}", file.display()),
        Some(at) => println!(
            "transcript: line {} of {} was\n  {}\n  {}",
            at + 1,
            file.display(),
            known.lines().nth(at).unwrap_or("(the end)"),
            now.lines().nth(at).unwrap_or("(the end)")
        ),
    }
    Ok(())
}

/// What identifies a run, and what came of it.
pub fn describe(schedule: &Schedule, report: &Report) {
    println!("seed: {}", schedule.seed);
    println!("commit: {} (code {CODE})", commit());
    println!(
        "schedule: {:016x} ({} nodes, {} ms, {} faults)",
        schedule.hash(),
        schedule.nodes,
        schedule.duration_ms,
        schedule.faults.len()
    );
    println!("trace-hash: {:016x} ({} events)", report.trace.hash, report.trace.events);
    let speed = report.virtual_time.as_secs_f64() / report.wall_time.as_secs_f64().max(1e-9);
    println!("speed: {speed:.1} virtual seconds a second ({:.1} s)", report.wall_time.as_secs_f64());
    let recovery = report.recovery.map_or("none".into(), |recovery| format!("{:.3} s", recovery.as_secs_f64()));
    println!(
        "calls: {}, purchases: {}, entries: {}, leaders: {}, recovery: {recovery}",
        report.calls.len(),
        report.purchases,
        report.index,
        report.leaders
    );
    let (tickets, undecided) = report.searched;
    println!("second checker: {tickets} tickets, {undecided} undecided");
    println!("verdict: {}", report.class.name());
    report.findings.iter().for_each(|finding| println!("  {finding}"));
}

/// Runs it twice more, with all lines, and prints where they part.
pub fn explain_divergence(schedule: &Schedule) {
    let (one, other) = (run(schedule, true).trace, run(schedule, true).trace);
    match first_difference(&one, &other) {
        Some((at, one, other)) => {
            println!("divergence at event {at}:\n  {}\n  {}", one.unwrap_or("(the end)"), other.unwrap_or("(the end)"));
        }
        None => println!("divergence: not in two further runs"),
    }
}

/// The commit that is checked out where this was built, if git says so.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let here = ["-C", env!("CARGO_MANIFEST_DIR")];
        let output = std::process::Command::new("git").args(here).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    if changed { format!("{commit} with changes") } else { commit }
}

fn list(folder: &Path) -> Result<Class, String> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(|error| format!("{}: {error}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    for file in &files {
        let schedule = read(file)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        println!("{name:<40} {}", schedule.story);
    }
    Ok(Class::Passed)
}

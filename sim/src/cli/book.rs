//! The book of all swarms, so that several add up: a file of the repository, with a line for each thousand seeds at most.
//!
//! What counts is the code that was run: each line names its [hash](holdfast_sim::code), and seeds of other code, another size
//! or another number of seconds do not add to these. A seed counts once, however often it was run; one that has ever failed
//! counts as failed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use holdfast_events::wire::time::rfc3339;
use holdfast_sim::expand::Size;
use holdfast_sim::run::Class;

/// Where it is kept without another choice.
pub const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/swarms.txt");
/// The hash of the code that this program simulates, in hex.
pub const CODE: &str = env!("SIMULATED_CODE");
const HEAD: &str = "# date code nodes seconds seeds failed cpu_s\n";
/// Seeds that are written down together. A swarm that is killed loses as many at most.
const LINE_SEEDS_MAX: usize = 1_000;

/// The book, open for more.
pub struct Book {
    path: PathBuf,
    key: Key,
    /// The seeds so far, and whether each passed.
    passed: BTreeMap<u64, bool>,
    /// What is not written down yet.
    open: Stretch,
    /// The process's time when the last line was written.
    cpu_s: f64,
}

/// Seeds of one key add up.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    code: String,
    nodes: u32,
    seconds: u64,
}

/// What one line holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Stretch {
    seeds: BTreeSet<u64>,
    failed: BTreeMap<&'static str, BTreeSet<u64>>,
}

impl Book {
    /// Opens the book at `path`, which begins where there is none.
    pub fn open(path: &Path, size: Size) -> io::Result<Book> {
        let known = fs::read_to_string(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => fs::write(path, HEAD).map(|()| String::new()),
            _ => Err(error),
        })?;
        let key = Key { code: CODE.into(), nodes: size.nodes, seconds: size.duration_ms / 1_000 };
        Ok(Book { path: path.into(), passed: read(&known, &key), key, open: Stretch::default(), cpu_s: cpu_s() })
    }

    /// One more seed has run.
    pub fn add(&mut self, seed: u64, class: Class) -> io::Result<()> {
        note(&mut self.passed, seed, class == Class::Passed);
        self.open.seeds.insert(seed);
        if class != Class::Passed {
            self.open.failed.entry(class.name()).or_default().insert(seed);
        }
        if self.open.seeds.len() < LINE_SEEDS_MAX { Ok(()) } else { self.write() }
    }

    /// Writes down what is not written yet.
    pub fn write(&mut self) -> io::Result<()> {
        if self.open.seeds.is_empty() {
            return Ok(());
        }
        let now_ms = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64);
        let used_s = cpu_s() - self.cpu_s;
        let line = line(rfc3339(now_ms).as_str().split_at(10).0, &self.key, &self.open, used_s);
        // One write, so that swarms side by side can share the book.
        OpenOptions::new().append(true).open(&self.path)?.write_all(line.as_bytes())?;
        (self.open, self.cpu_s) = (Stretch::default(), self.cpu_s + used_s);
        Ok(())
    }

    /// How many different seeds there are, and how many of them did not pass.
    pub fn sum(&self) -> (usize, usize) {
        (self.passed.len(), self.passed.values().filter(|passed| !**passed).count())
    }
}

/// The time of a processor that this process has used so far, in seconds; 0 where the system does not say.
pub fn cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in brackets, may hold blanks. Times are the 14th and 15th field, in hundredths of a second.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// The most memory that this process has held so far, in MiB; 0 where the system does not say.
pub fn memory_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let most = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    most.unwrap_or_default() / 1024
}

fn line(date: &str, key: &Key, stretch: &Stretch, cpu_s: f64) -> String {
    let failed: Vec<String> =
        stretch.failed.iter().map(|(class, seeds)| format!("{class}:{}", ranges(seeds))).collect();
    let failed = if failed.is_empty() { "none".into() } else { failed.join(";") };
    let Key { code, nodes, seconds } = key;
    format!("{date} {code} {nodes} {seconds} {} {failed} {cpu_s:.0}\n", ranges(&stretch.seeds))
}

/// `3,7-12,20`.
fn ranges(seeds: &BTreeSet<u64>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for seed in seeds {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *seed => *last = *seed,
            _ => ranges.push((*seed, *seed)),
        }
    }
    let written = ranges.iter().map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") });
    written.collect::<Vec<_>>().join(",")
}

/// The inverse of [`ranges`].
fn seeds(ranges: &str) -> Option<Vec<u64>> {
    let range = |range: &str| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        Some(from.parse::<u64>().ok()?..=to.parse::<u64>().ok()?)
    };
    let all: Option<Vec<_>> = ranges.split(',').map(range).collect();
    Some(all?.into_iter().flatten().collect())
}

fn note(seeds: &mut BTreeMap<u64, bool>, seed: u64, passed: bool) {
    let so_far = seeds.entry(seed).or_insert(true);
    *so_far &= passed;
}

/// The seeds of the lines of this key. What cannot be read (a line that a full disk cut) is passed over.
fn read(text: &str, key: &Key) -> BTreeMap<u64, bool> {
    let mut known = BTreeMap::new();
    for line in text.lines() {
        let columns: Vec<&str> = line.split(' ').collect();
        let [_, code, nodes, seconds, ran, failed, _] = columns[..] else { continue };
        if (code, nodes.parse(), seconds.parse()) != (key.code.as_str(), Ok(key.nodes), Ok(key.seconds)) {
            continue;
        }
        seeds(ran).into_iter().flatten().for_each(|seed| note(&mut known, seed, true));
        let failed = failed.split(';').filter_map(|class| seeds(class.split_once(':')?.1)).flatten();
        failed.for_each(|seed| note(&mut known, seed, false));
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: &str, nodes: u32, seconds: u64) -> Key {
        Key { code: code.into(), nodes, seconds }
    }

    fn stretch(seeds: &[u64], failed: &[(&'static str, u64)]) -> Stretch {
        let mut stretch = Stretch { seeds: seeds.iter().copied().collect(), ..Stretch::default() };
        failed.iter().for_each(|(class, seed)| {
            stretch.failed.entry(class).or_default().insert(*seed);
        });
        stretch
    }

    #[test]
    fn seeds_of_the_same_code_and_size_add_up_once_each() {
        let own = key("07", 3, 60);
        let lines = [
            line("2026-11-23", &own, &stretch(&[1, 2, 3, 9], &[("safety", 2)]), 12.4),
            line("2026-11-23", &own, &stretch(&[2, 3, 4], &[]), 1.0),
            line("2026-11-23", &key("08", 3, 60), &stretch(&[70], &[]), 1.0),
            line("2026-11-23", &key("07", 5, 60), &stretch(&[71], &[]), 1.0),
            line("2026-11-23", &key("07", 3, 6), &stretch(&[72], &[]), 1.0),
        ];
        assert_eq!(lines[0], "2026-11-23 07 3 60 1-3,9 safety:2 12\n");
        let text = HEAD.to_string() + &lines.concat() + "2026-11-23 07 3 60 80-9";
        let expected = [(1, true), (2, false), (3, true), (4, true), (9, true)];
        assert_eq!(read(&text, &own), BTreeMap::from(expected));
    }

    #[test]
    fn what_one_swarm_wrote_the_next_one_finds() {
        let path = std::env::temp_dir().join(format!("swarms-{}.txt", std::process::id()));
        let size = Size { nodes: 3, duration_ms: 60_000 };
        let mut book = Book::open(&path, size).expect("a new book");
        for (seed, class) in [(5, Class::Passed), (6, Class::Liveness), (5, Class::Passed)] {
            book.add(seed, class).expect("room");
        }
        book.write().expect("room");
        let again = Book::open(&path, size).expect("the book");
        let elsewhere = Book::open(&path, Size { nodes: 5, ..size }).expect("the book");
        fs::remove_file(&path).expect("the book is ours");
        assert_eq!(again.sum(), (2, 1));
        assert_eq!(elsewhere.sum(), (0, 0));
    }
}

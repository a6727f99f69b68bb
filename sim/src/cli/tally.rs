//! A book of all seeds that were run, so that several swarms add up: a line a seed, in a file beside the program.
//!
//! What counts is the code that was run, so each line names the hash of the program itself: seeds of another build, size
//! or number of seconds do not add to these.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use holdfast_sim::expand::Size;
use holdfast_sim::run::Class;
use xxhash_rust::xxh3::xxh3_64;

/// The book's name, in the folder of the program.
const NAME: &str = "sim-seeds.txt";

/// The book, open for more.
pub struct Book {
    file: File,
    /// What each line of this code and size begins with.
    head: String,
    /// The seeds so far, and whether each passed.
    passed: BTreeMap<u64, bool>,
}

impl Book {
    /// Opens the book at `path`, or the one beside the program.
    pub fn open(path: Option<&Path>, size: Size) -> io::Result<Book> {
        let program = std::env::current_exe()?;
        let path = path.map_or_else(|| program.with_file_name(NAME), PathBuf::from);
        let head = head(xxh3_64(&fs::read(program)?), size);
        let known = fs::read_to_string(&path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(String::new()),
            _ => Err(error),
        })?;
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Book { file, passed: read(&known, &head), head })
    }

    /// One more seed has run.
    pub fn add(&mut self, seed: u64, class: Class) -> io::Result<()> {
        note(&mut self.passed, seed, class == Class::Passed);
        // One write, so that swarms side by side can share the book.
        self.file.write_all(format!("{} {seed} {}\n", self.head, class.name()).as_bytes())
    }

    /// How many different seeds there are, and how many of them did not pass.
    pub fn sum(&self) -> (usize, usize) {
        (self.passed.len(), self.passed.values().filter(|passed| !**passed).count())
    }

    /// The hash of the code, in hex.
    pub fn code(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }
}

fn head(code: u64, size: Size) -> String {
    format!("{code:016x} {} {}", size.nodes, size.duration_ms)
}

/// A seed that has ever failed counts as failed.
fn note(seeds: &mut BTreeMap<u64, bool>, seed: u64, passed: bool) {
    let so_far = seeds.entry(seed).or_insert(true);
    *so_far &= passed;
}

/// The seeds of the lines that begin with `head`. What cannot be read (a line that a full disk cut) is passed over.
fn read(text: &str, head: &str) -> BTreeMap<u64, bool> {
    let mut seeds = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix(head)?.strip_prefix(' ')) {
        if let Some((seed, class)) = line.split_once(' ')
            && let Ok(seed) = seed.parse()
        {
            note(&mut seeds, seed, class == Class::Passed.name());
        }
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_of_the_same_code_and_size_add_up_once_each() {
        let size = Size { nodes: 3, duration_ms: 60_000 };
        let own = head(7, size);
        let other = [head(8, size), head(7, Size { nodes: 5, ..size }), head(7, Size { duration_ms: 6_000, ..size })];
        let others: String = other.iter().map(|head| format!("{head} 9 passed\n")).collect();
        let text = format!("{own} 1 passed\n{own} 2 passed\n{others}{own} 2 safety\n{own} 1 passed\n{own} 3");
        assert_eq!(read(&text, &own), BTreeMap::from([(1, true), (2, false)]));
    }
}

//! A smaller schedule that fails in the same way.
//!
//! Every candidate is run: first without halves, quarters and so on of the faults, then without single ones, then with fewer
//! clients and a shorter end. What still fails in the same class is kept.

use std::path::Path;

use holdfast_sim::run::{Class, run};
use holdfast_sim::schedule::Schedule;
use holdfast_sim::view;

use super::{describe, transcript_of, write};

/// Candidates that are run at most.
const CANDIDATES_MAX: u32 = 400;

struct Shrinker {
    class: Class,
    best: Schedule,
    runs: u32,
}

impl Shrinker {
    /// Keeps the candidate if it fails in the same class.
    fn try_out(&mut self, candidate: Schedule) -> bool {
        if self.runs >= CANDIDATES_MAX || candidate.check().is_err() || candidate == self.best {
            return false;
        }
        self.runs += 1;
        let keeps = run(&candidate, false).class == self.class;
        if keeps {
            eprintln!(
                "{:>4} runs: {} faults, {} ms, {} buyers",
                self.runs,
                candidate.faults.len(),
                candidate.duration_ms,
                candidate.workload.buyers
            );
            self.best = candidate;
        }
        keeps
    }

    /// Leaves out runs of `length` faults, wherever that works.
    fn leave_out(&mut self, length: usize) {
        let mut at = 0;
        while at < self.best.faults.len() {
            let mut candidate = self.best.clone();
            let end = (at + length).min(candidate.faults.len());
            candidate.faults.drain(at..end);
            if !self.try_out(candidate) {
                at += length;
            }
        }
    }

    fn shorten(&mut self) {
        for part in [4, 2] {
            let faults_end_ms = self.best.faults.iter().map(|fault| fault.at_ms + fault.for_ms).max().unwrap_or(0);
            let duration_ms = (faults_end_ms + 1_000).max(self.best.duration_ms / part).max(1_000);
            self.try_out(Schedule { duration_ms, ..self.best.clone() });
        }
    }

    fn fewer_clients(&mut self) {
        for buyers in [1, 2, self.best.workload.buyers / 2] {
            let mut candidate = self.best.clone();
            candidate.workload.buyers = buyers;
            if buyers < self.best.workload.buyers && self.try_out(candidate) {
                break;
            }
        }
    }

    /// Faults that last half as long.
    fn shorter_faults(&mut self) {
        for at in 0..self.best.faults.len() {
            let mut candidate = self.best.clone();
            candidate.faults[at].for_ms = (candidate.faults[at].for_ms / 2).max(1);
            self.try_out(candidate);
        }
    }
}

/// Shrinks a schedule that fails, and writes the smaller one to `out`, with the transcript of its run beside it.
pub fn shrink(schedule: &Schedule, out: &Path) -> Result<Class, String> {
    let class = run(schedule, false).class;
    if class == Class::Passed {
        return Err("this schedule passes: there is nothing to shrink".into());
    }
    let mut shrinker = Shrinker { class, best: schedule.clone(), runs: 0 };
    let mut length = schedule.faults.len();
    while length > 0 {
        shrinker.leave_out(length);
        length /= 2;
    }
    shrinker.shorten();
    shrinker.fewer_clients();
    shrinker.shorter_faults();
    shrinker.leave_out(1);
    write(out, &shrinker.best.to_text())?;
    let report = run(&shrinker.best, true);
    let story = transcript_of(out);
    write(&story, &view::transcript(&view::scene(&shrinker.best, &report)))?;
    describe(&shrinker.best, &report);
    println!("written: {} ({} faults of {})", out.display(), shrinker.best.faults.len(), schedule.faults.len());
    println!("written: {}", story.display());
    Ok(class)
}

//! A smaller schedule that fails in the same way.
//!
//! Every candidate is run: first without halves, quarters and so on of the faults, then without single ones, then with fewer
//! clients that do less, a shorter end and shorter faults. What still fails in the same class is kept. All of it is tried again
//! as long as it helps.

use std::path::Path;

use holdfast_sim::run::{Class, run};
use holdfast_sim::schedule::{Schedule, Workload};
use holdfast_sim::view;

use super::{describe, transcript_of, write};

/// Seeds under which a schedule with fewer faults is tried.
const SEEDS: u64 = 3;

struct Shrinker {
    class: Class,
    best: Schedule,
    runs: u32,
    /// Candidates that are run at most.
    runs_max: u32,
}

impl Shrinker {
    /// Keeps the candidate if it fails in the same class.
    fn try_out(&mut self, candidate: Schedule) -> bool {
        if self.runs >= self.runs_max || candidate.check().is_err() || candidate == self.best {
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

    /// Tries a candidate under its own seed and a few others: a rare failure may need other luck once something is gone.
    fn try_seeds(&mut self, candidate: Schedule) -> bool {
        let seed = candidate.seed;
        (0..SEEDS).any(|by| self.try_out(Schedule { seed: seed.wrapping_add(by), ..candidate.clone() }))
    }

    /// Leaves out runs of `length` faults, wherever that works.
    fn leave_out(&mut self, length: usize) {
        let mut at = 0;
        while at < self.best.faults.len() {
            let mut candidate = self.best.clone();
            let end = (at + length).min(candidate.faults.len());
            candidate.faults.drain(at..end);
            if !self.try_seeds(candidate) {
                at += length;
            }
        }
    }

    fn shorten(&mut self) {
        for part in [4, 2] {
            let faults_end_ms = self.best.faults.iter().map(|fault| fault.at_ms + fault.for_ms).max().unwrap_or(0);
            let least_ms = (faults_end_ms + 1_000).max(1_000);
            let duration_ms = least_ms.max(self.best.duration_ms / part).min(self.best.duration_ms);
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

    /// Clients who leave out what the failure does not need.
    fn simpler_work(&mut self) {
        let simpler: [fn(&mut Workload); 6] = [
            |work| work.operator_ms = 0,
            |work| work.reading_ms = 0,
            |work| (work.bulk, work.waiting_percent) = (0, 0),
            |work| work.declined_percent = 0,
            |work| (work.cancelled_percent, work.abandoned_percent) = (0, 0),
            |work| (work.bulk, work.tickets) = (0, 1.max(work.tickets / 4)),
        ];
        for simplify in simpler {
            let mut candidate = self.best.clone();
            simplify(&mut candidate.workload);
            self.try_out(candidate);
        }
    }

    /// Faults that last half as long, as often as that works.
    fn shorter_faults(&mut self) {
        for at in 0..self.best.faults.len() {
            loop {
                let mut candidate = self.best.clone();
                candidate.faults[at].for_ms = (candidate.faults[at].for_ms / 2).max(1);
                if !self.try_out(candidate) {
                    break;
                }
            }
        }
    }

    /// One round of everything.
    fn round(&mut self) {
        let mut length = self.best.faults.len();
        while length > 0 {
            self.leave_out(length);
            length /= 2;
        }
        self.shorten();
        self.fewer_clients();
        self.simpler_work();
    }
}

/// Shrinks a schedule that fails, and writes the smaller one to `out`, with the transcript of its run beside it.
/// At most `runs_max` candidates are run.
pub fn shrink(schedule: &Schedule, out: &Path, runs_max: u32) -> Result<Class, String> {
    let class = run(schedule, false).class;
    if class == Class::Passed {
        return Err("this schedule passes: there is nothing to shrink".into());
    }
    let mut shrinker = Shrinker { class, best: schedule.clone(), runs: 0, runs_max };
    loop {
        let before = shrinker.best.clone();
        shrinker.round();
        if shrinker.best == before || shrinker.runs >= runs_max {
            break;
        }
    }
    shrinker.shorter_faults();
    write(out, &shrinker.best.to_text())?;
    let report = run(&shrinker.best, true);
    let story = transcript_of(out);
    write(&story, &view::transcript(&view::scene(&shrinker.best, &report)))?;
    describe(&shrinker.best, &report);
    let (left, all) = (shrinker.best.faults.len(), schedule.faults.len());
    println!("written: {} ({left} faults of {all}, {} runs)", out.display(), shrinker.runs);
    println!("written: {}", story.display());
    Ok(class)
}

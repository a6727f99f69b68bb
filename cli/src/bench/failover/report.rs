//! The distribution of what was measured, for people and for programs.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use super::{Kind, Round};

/// Rows of a histogram at most.
const ROWS_MAX: u64 = 16;
/// Length of its longest bar.
const BAR: u64 = 40;

/// All rounds of one kind.
pub struct Report {
    pub kind: Kind,
    /// After which all is healed, and the round counts as one over the limit.
    pub limit: Duration,
    pub rounds: Vec<Round>,
    /// Why rounds came to no end; they have no figures.
    pub failed: Vec<String>,
}

/// Sorted times, in milliseconds.
struct Times(Vec<u64>);

impl Times {
    fn of(rounds: &[Round], time: impl Fn(&Round) -> Duration) -> Times {
        let mut times: Vec<u64> = rounds.iter().map(|round| time(round).as_millis() as u64).collect();
        times.sort_unstable();
        Times(times)
    }

    /// The smallest time that so many of a hundred do not exceed.
    fn percentile(&self, percent: usize) -> u64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or(0)
    }

    fn json(&self) -> Value {
        json!({
            "min": self.percentile(0), "median": self.percentile(50), "p90": self.percentile(90),
            "p99": self.percentile(99), "max": self.percentile(100), "all": self.0,
        })
    }

    /// `from–to  ████ count`, one line for each step.
    fn histogram(&self) -> Vec<String> {
        let (min, max) = (self.percentile(0), self.percentile(100));
        let steps = (0..).map(|power| 10_u64.pow(power)).flat_map(|power| [power, 2 * power, 5 * power]);
        let mut steps = steps.skip_while(|step| max / step - min / step >= ROWS_MAX);
        let step = steps.next().expect("one of them is long enough");
        let counts: Vec<(u64, u64)> = (min / step..=max / step)
            .map(|row| (row * step, self.0.iter().filter(|time| **time / step == row).count() as u64))
            .collect();
        let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(1);
        let line = |(from, count): (u64, u64)| {
            let bar = "█".repeat((count * BAR).div_ceil(most) as usize);
            format!("{from:>6}–{:<6} {bar} {count}", from + step)
        };
        counts.into_iter().map(line).collect()
    }
}

impl Report {
    fn over_limit(&self) -> usize {
        self.rounds.iter().filter(|round| round.over_limit).count()
    }

    fn times(&self) -> [(&'static str, &'static str, Times); 3] {
        let rounds = &self.rounds;
        [
            ("without a write", "without_writes_ms", Times::of(rounds, |round| round.writes)),
            ("without a read", "without_reads_ms", Times::of(rounds, |round| round.reads)),
            ("slowest request", "slowest_request_ms", Times::of(rounds, |round| round.slowest)),
        ]
    }
}

pub fn json(reports: &[Report]) -> Value {
    let one = |report: &Report| {
        let mut object = json!({
            "kind": report.kind, "times": report.rounds.len(), "limit_ms": report.limit.as_millis() as u64,
            "over_limit": report.over_limit(), "failed": report.failed,
        });
        for (_, name, times) in report.times().into_iter().filter(|_| !report.rounds.is_empty()) {
            object[name] = times.json();
        }
        object["terms"] = report.rounds.iter().map(|round| round.terms).collect();
        object
    };
    json!({ "failover": reports.iter().map(one).collect::<Vec<_>>() })
}

pub fn print(reports: &[Report]) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["what", "times", "milliseconds", "min", "median", "p90", "p99", "max"]);
    for report in reports.iter().filter(|report| !report.rounds.is_empty()) {
        for (name, _, times) in report.times() {
            let what = format!("{:?}", report.kind).to_lowercase();
            let figures = [0, 50, 90, 99, 100].map(|percent| times.percentile(percent).to_string());
            table.add_row([what, report.rounds.len().to_string(), name.to_string()].into_iter().chain(figures));
        }
    }
    for column in 3..8 {
        if let Some(values) = table.column_mut(column) {
            values.set_cell_alignment(CellAlignment::Right);
        }
    }
    say!("{table}");
    for report in reports {
        let (kind, late, limit) = (report.kind, report.over_limit(), report.limit);
        if late > 0 {
            say!("{kind:?}: {late} of them were healed after {limit:?}, as nothing was acknowledged by then");
        }
        report.failed.iter().for_each(|why| say!("{kind:?}: one more came to no end: {why}"));
    }
    for report in reports.iter().filter(|report| !report.rounds.is_empty()) {
        say!("\n{:?}: milliseconds without a write", report.kind);
        let [(_, _, writes), ..] = report.times();
        writes.histogram().iter().for_each(|line| say!("{line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_late_or_came_to_no_end_is_said() {
        let ms = Duration::from_millis;
        let round = |over_limit| Round { over_limit, writes: ms(7), reads: ms(8), slowest: ms(9), terms: 1 };
        let rounds = vec![round(false), round(true), round(true)];
        let report = Report { kind: Kind::Stop, limit: ms(1_000), rounds, failed: vec!["no end".into()] };
        let object = &json(&[report])["failover"][0];
        assert_eq!(
            (&object["times"], &object["over_limit"], &object["limit_ms"]),
            (&json!(3), &json!(2), &json!(1_000))
        );
        assert_eq!(object["failed"], json!(["no end"]));
        assert_eq!(object["without_writes_ms"]["all"], json!([7, 7, 7]), "a late one is not left out");
        let none = Report { kind: Kind::Stop, limit: ms(1_000), rounds: Vec::new(), failed: Vec::new() };
        assert_eq!(json(&[none])["failover"][0]["without_writes_ms"], Value::Null, "nothing measured is not nought");
    }

    #[test]
    fn percentiles_and_histogram_of_known_times() {
        let times = Times((1..=100).map(|n| n * 10).collect());
        let figures = [0, 50, 90, 99, 100].map(|percent| times.percentile(percent));
        assert_eq!(figures, [10, 500, 900, 990, 1_000]);
        let lines = times.histogram();
        assert_eq!(lines.len(), 11);
        assert!(lines[0].contains("0–100 ") && lines[0].ends_with(" 9"), "{}", lines[0]);
        assert!(lines[10].ends_with(" 1"), "{}", lines[10]);
        assert_eq!(Times(vec![7]).histogram().len(), 1);
        assert_eq!(Times(vec![0, 7]).percentile(50), 0);
    }
}

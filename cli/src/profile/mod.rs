//! `holdfast profile`: what a running node spends its time on.
//!
//! The node samples its own stacks for a while, at its operator's listener; what comes back is written as it is, for any tool that
//! reads pprof's profiles, and its busiest functions are shown. A node that has nothing to do has hardly any samples: they are
//! taken by the processor's time, not by the clock.
//!
//! What this deliberately does not do: profile memory, which takes an allocator of its own, or draw: `go tool pprof` and speedscope do.

mod pprof;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use prost::Message;

pub use pprof::Profile;

use crate::failure::Failure;
use crate::membership::{Addresses, Operators, Reach};

/// The longest profile, in seconds.
pub const SECONDS_MAX: u64 = 60;
/// Functions that are shown.
const SHOWN: usize = 20;
/// How much longer than the profile itself the answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Sample what a running node does, the one at the first address, and show its busiest functions
#[derive(Debug, Args)]
pub struct ProfileArgs {
    #[command(flatten)]
    at: Addresses,
    /// How long
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    seconds: u64,
    /// Where the whole profile goes, for `go tool pprof` and others
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub async fn run(args: ProfileArgs) -> Result<(), Failure> {
    let reach = Reach { at: args.at, json: false };
    let wait = Duration::from_secs(args.seconds) + ANSWER_WAIT;
    let operators = Operators::patient(&reach, wait).map_err(|problem| problem.failure)?;
    let path = format!("/debug/profile?seconds={}", args.seconds);
    let answer = operators.bytes_at(&operators.addresses[0], &path).await.map_err(|problem| problem.failure)?;
    let profile = Profile::decode(answer.clone())
        .map_err(|error| Failure::failed(format!("--operator: not a profile: {error}")))?;
    say!("{}", table(&profile));
    if let Some(out) = &args.out {
        let complain = |error: std::io::Error| Failure::cannot_start(format!("--out {}: {error}", out.display()));
        std::fs::write(out, &answer).map_err(complain)?;
        say!("The whole profile is in {}.", out.display());
    }
    Ok(())
}

fn table(profile: &Profile) -> Table {
    let all: i64 = profile.sample.iter().filter_map(|sample| sample.value.first()).sum();
    let share = |count: u64| format!("{:.1} %", count as f64 * 100.0 / all.max(1) as f64);
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["itself", "with calls", "function"]);
    for (name, own, with_calls) in profile.functions().into_iter().take(SHOWN) {
        table.add_row([share(own), share(with_calls), name]);
    }
    for column in 0..2 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

//! `holdfast verify`: is what a stopped node has stored sound?
//!
//! Opening checks the log: every entry's checksum, the chain over them, the watermark. Then the state is scanned as a whole:
//! its hash is computed anew from all rows, and every invariant of the ledger is checked.

use std::path::PathBuf;

use clap::Args;
use comfy_table::{Table, presets};
use holdfast_ledger::invariants::check_invariants;
use holdfast_raft::inspect::Inspection;

use crate::failure::Failure;
use crate::stored;

/// Check a stopped node's data: log, state hash and invariants; exit code 1 if an invariant does not hold
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Folder of the node's data
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR")]
    pub data: PathBuf,
}

/// Findings that are printed; there may be one for every row.
const FINDINGS_MAX: usize = 50;

pub async fn run(args: VerifyArgs) -> Result<(), Failure> {
    let (_folder, inspection) = stored::open(&args.data).await?;
    // A scan of everything, on a thread that may block.
    let (inspection, checked) = tokio::task::spawn_blocking(move || {
        let checked = check_invariants(inspection.state());
        (inspection, checked)
    })
    .await
    .map_err(|error| Failure::failed(format!("the scan: {error}")))?;
    say!("{}", table(&inspection, checked.is_ok()));
    let findings = match checked {
        Ok(()) => return Ok(()),
        Err(findings) => findings,
    };
    for finding in findings.iter().take(FINDINGS_MAX) {
        say_aside!("{finding}");
    }
    Err(Failure::failed(format!("--data {}: {} findings, see above", args.data.display(), findings.len())))
}

fn table(inspection: &Inspection, holds: bool) -> Table {
    let (bounds, meta) = (inspection.bounds(), inspection.state().meta());
    let number = |value: Option<u64>| value.map_or("–".to_string(), |value| value.to_string());
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    for (name, value) in [
        ("log: first entry", number(bounds.first)),
        ("log: last entry", number(bounds.last)),
        ("log: known to be committed", number(bounds.committed)),
        ("log: checksums and watermark", "hold".to_string()),
        ("snapshot: up to entry", number(inspection.snapshot())),
        ("state: up to entry", inspection.applied().to_string()),
        ("state: hash", format!("{:032x}", inspection.state().state_hash())),
        ("state: ledger time, ms", meta.now_ms.to_string()),
        ("state: tickets (sold)", format!("{} ({})", meta.tickets, meta.tickets_sold)),
        ("state: orders (complete, live)", format!("{} ({}, {})", meta.orders, meta.orders_complete, meta.orders_live)),
        ("state: users", meta.users.to_string()),
        ("state: events", meta.event_seq.to_string()),
        ("state: hash of all rows and invariants", if holds { "hold" } else { "DO NOT HOLD" }.to_string()),
    ] {
        table.add_row([name.to_string(), value]);
    }
    table
}

//! `holdfast verify`: is what a node has sound?
//!
//! Opening checks the log: every entry's checksum, the chain over them, the watermark. Then the state is scanned as a whole:
//! its hash is computed anew from all rows, and every invariant of the ledger is checked. A node that runs scans its state itself,
//! up to a size, as apply waits meanwhile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::{Table, presets};
use holdfast_ledger::invariants::check_invariants;
use holdfast_raft::inspect::Inspection;
use serde_json::Value;

use crate::failure::Failure;
use crate::membership::{Addresses, Operators, Reach};
use crate::operator::ScanView;
use crate::stored;

/// Check a stopped node's data, or the state of running ones: state hash and invariants; exit code 1 if one does not hold
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Folder of the node's data
    #[arg(long, env = "HOLDFAST_DATA", value_name = "DIR", required_unless_present = "operator")]
    pub data: Option<PathBuf>,
    /// Operator addresses of running nodes, separated by commas: each scans its own state
    #[arg(long, value_delimiter = ',', conflicts_with = "data", value_name = "ADDR")]
    pub operator: Vec<String>,
}

/// Findings that are printed; there may be one for every row.
const FINDINGS_MAX: usize = 50;

pub async fn run(args: VerifyArgs) -> Result<(), Failure> {
    match args.data {
        Some(data) => verify_stopped(&data).await,
        None => verify_running(args.operator).await,
    }
}

/// Has every node scan its state; nodes at the same entry must have the same hash.
async fn verify_running(operators: Vec<String>) -> Result<(), Failure> {
    let operators = Operators::new(&Reach { at: Addresses { operator: operators }, json: false })
        .map_err(|problem| problem.failure)?;
    let mut hashes = BTreeMap::new();
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header([
        "node",
        "up to entry",
        "state hash",
        "rows and invariants",
    ]);
    let mut bad = Vec::new();
    for address in &operators.addresses {
        let scanned = operators.ask_at::<ScanView>(address, "/verify", Some(&Value::Null)).await;
        let scan = scanned.map_err(|problem| problem.failure)?;
        let holds = if scan.holds { "hold" } else { "DO NOT HOLD" };
        table.add_row([scan.node_id.to_string(), scan.index.to_string(), scan.state_hash.clone(), holds.to_string()]);
        bad.extend(scan.findings.iter().map(|finding| format!("node {}: {finding}", scan.node_id)));
        let first = hashes.entry(scan.index).or_insert_with(|| scan.state_hash.clone());
        if *first != scan.state_hash {
            bad.push(format!("node {} has another state at entry {}", scan.node_id, scan.index));
        }
    }
    say!("{table}");
    bad.iter().for_each(|finding| say_aside!("{finding}"));
    if bad.is_empty() { Ok(()) } else { Err(Failure::failed(format!("{} findings, see above", bad.len()))) }
}

async fn verify_stopped(data: &Path) -> Result<(), Failure> {
    let (_folder, inspection) = stored::open(data).await?;
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
    Err(Failure::failed(format!("--data {}: {} findings, see above", data.display(), findings.len())))
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

//! Which versions this program knows as it runs.
//!
//! A build that tests have made can play the next version: then it is started with `HOLDFAST_NEXT_VERSION`. A shipped build has
//! nothing to play, and does not look.

use clap::Args;
use holdfast_ledger::version::{NEXT, Versions};
use holdfast_raft::state::StateSettings;
use holdfast_raft::storage::StorageSettings;
use holdfast_raft::version::Build;
use serde_json::json;

/// What this program is, and which versions of a cluster it knows
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// `holdfast version`. Whoever ships a build looks at it: one that can play what it does not know yet is for tests alone.
pub fn show(args: &VersionArgs) {
    let Build { name, versions } = Build::of(known());
    let plays = NEXT.map(|next| next.versions.max);
    if args.json {
        return say!("{}", json!({ "build": name, "versions": versions, "plays": plays }));
    }
    say!("holdfast {name} knows {versions} of a cluster");
    if let Some(next) = plays {
        say!("It is a build for tests: told to by HOLDFAST_NEXT_VERSION, it plays version {next}.");
    }
}

/// What this program knows.
pub fn known() -> Versions {
    match NEXT {
        Some(next) if std::env::var_os("HOLDFAST_NEXT_VERSION").is_some() => next.versions,
        _ => Versions::SHIPPED,
    }
}

/// The storage of a node that knows this.
pub fn storage() -> StorageSettings {
    StorageSettings {
        state: StateSettings { versions: known(), ..StateSettings::default() },
        ..StorageSettings::default()
    }
}

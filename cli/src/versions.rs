//! Which versions this program knows as it runs.
//!
//! A build that tests have made can play the next version: then it is started with `HOLDFAST_NEXT_VERSION`. A shipped build has
//! nothing to play, and does not look.

use holdfast_ledger::version::{NEXT, Versions};
use holdfast_raft::state::StateSettings;
use holdfast_raft::storage::StorageSettings;

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

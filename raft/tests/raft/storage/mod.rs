//! Tests of the storage half: the log, the state and snapshots on a disk, real or simulated.

mod crashes;
mod damage;
mod drive;
mod ledger;
#[cfg(not(madsim))]
mod rocksdb;
mod script;
mod snapshots;
mod suite;
#[allow(dead_code, reason = "shared with the ledger's own tests, which use all of it")]
#[path = "../../../../ledger/tests/ledger/walk.rs"]
mod walk;
mod writing;

//! `Tick`: time passes, and what is due is reclaimed by the sweep that ends every entry. By the cluster.
//!
//! It carries no decision of the leader's: what is due follows from the entry's time, so a stale tick ends nothing early.
//!
//! Stories: "stale tick ends nothing early", "clock goes back".

use crate::entry::{Caller, Decided, Entry};
use crate::outcome::Reply;
use crate::planted::{Bug, at_work};
use crate::store::Write;

pub(super) fn run<S: Write>(entry: &mut Entry<S>, caller: &Caller) -> Decided {
    caller.system()?;
    if at_work(Bug::ReleaseOnStaleTick) {
        entry.release_moved_locks()?;
    }
    Ok(Reply::Done)
}

//! `Tick`: time passes, and what is due is reclaimed by the sweep that ends every entry. By the cluster.
//!
//! It carries no decision of the leader's: what is due follows from the entry's time, so a stale tick ends nothing early.
//!
//! Stories: "stale tick ends nothing early", "clock goes back".

use crate::entry::{Caller, Decided};
use crate::outcome::Reply;

pub(super) fn run(caller: &Caller) -> Decided {
    caller.system()?;
    Ok(Reply::Done)
}

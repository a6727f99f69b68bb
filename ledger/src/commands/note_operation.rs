//! `NoteOperation`: something is done to the cluster itself, such as a change of its members. By the cluster.
//!
//! The ledger knows nothing of members. All that comes of this is the row in the audit.
//!
//! Story: "what operators do is written down".

use crate::entry::{Caller, Decided};
use crate::outcome::Reply;

pub(super) fn run(caller: &Caller) -> Decided {
    caller.system()?;
    Ok(Reply::Done)
}

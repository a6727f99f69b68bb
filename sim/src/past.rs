//! What a restore takes back, exactly: which ids, calls and events are of a past that the ledger has no memory of.
//!
//! A restored ledger goes on from an entry of its backup, under the next lineage. What was decided after that entry is lost, for
//! whoever had been told of it too, and everything up to it stands. An id says by itself on which side it is: it carries its lineage
//! and its log index. An answer carries the index that it reflects, and which lineage gave it follows from its time, since nobody
//! answers between the end of one and the beginning of the next.
//!
//! So the history of calls is [split](split): what is left is one history, whose log indexes rise over all restores, and it is judged
//! as if there had been none. What was lost must not come up again. Between both stand calls that may outlast a restore though their
//! answer came too late for the backup: those that were decided earlier than they were answered, and payments, as the bank forgets
//! nothing. They count as calls without an answer.

use std::sync::Mutex;

use crate::history::{Asked, Call};

/// A lineage that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Past {
    pub lineage: u16,
    /// The last entry, and the last event, of the backup that it went on from.
    pub index: u64,
    pub event_seq: u64,
    /// When the next lineage began to answer, since the run began; none before.
    pub until_ns: u64,
}

/// All lineages that have ended, in order.
#[derive(Debug, Default)]
pub struct Pasts(Mutex<Vec<Past>>);

impl Pasts {
    pub fn all(&self) -> Vec<Past> {
        self.0.lock().expect("nothing panics while it looks back").clone()
    }

    /// The machines of a lineage are gone, and it goes on from this entry and event.
    pub fn begin(&self, lineage: u16, index: u64, event_seq: u64) {
        let mut pasts = self.0.lock().expect("nothing panics while it looks back");
        pasts.retain(|past| past.lineage != lineage);
        pasts.push(Past { lineage, index, event_seq, until_ns: u64::MAX });
    }

    /// The next lineage begins to answer.
    pub fn end(&self, lineage: u16, until_ns: u64) {
        let mut pasts = self.0.lock().expect("nothing panics while it looks back");
        pasts.iter_mut().filter(|past| past.lineage == lineage).for_each(|past| past.until_ns = until_ns);
    }
}

/// The lineage and the log index that an id carries: four digits and twelve.
fn place_of(id: &str) -> Option<(u16, u64)> {
    Some((u16::from_str_radix(id.get(..4)?, 16).ok()?, u64::from_str_radix(id.get(4..16)?, 16).ok()?))
}

/// What has this id was made after the backup that its lineage went on from.
pub fn is_lost(pasts: &[Past], id: &str) -> bool {
    let is_after =
        |(lineage, index): (u16, u64)| pasts.iter().any(|past| past.lineage == lineage && index > past.index);
    place_of(id).is_some_and(is_after)
}

/// The lineage of an event, from its id: `{cluster}:{lineage}:{number}`.
pub fn lineage_of_event(id: &str) -> Option<u16> {
    id.rsplit(':').nth(1)?.parse().ok()
}

/// It was asked before the last restore: who had been told of it may be gone.
pub fn is_before(pasts: &[Past], at_ns: u64) -> bool {
    pasts.last().is_some_and(|past| at_ns < past.until_ns)
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stands,
    /// It may or may not have happened, now or later.
    Open,
    Lost,
}

fn fate(call: &Call, pasts: &[Past]) -> Fate {
    let (Some(told), Some(returned_ns)) = (&call.told, call.returned_ns) else { return Fate::Stands };
    // Who is told of no entry is told of nothing that could be lost.
    let Some(index) = told.log_index else { return Fate::Stands };
    let Some(past) = pasts.iter().find(|past| returned_ns < past.until_ns) else { return Fate::Stands };
    if index <= past.index {
        return Fate::Stands;
    }
    let is_unkeyed = matches!(call.asked, Asked::SignUp { .. } | Asked::CancelOrder { .. });
    let decided_earlier = told.replayed || is_unkeyed && call.attempts > 1;
    let may_outlast = decided_earlier || matches!(call.asked, Asked::Pay { .. });
    if may_outlast { Fate::Open } else { Fate::Lost }
}

/// The calls as the ledger that is there now knows them, and those that it knows nothing of.
pub fn split(calls: Vec<Call>, pasts: &[Past]) -> (Vec<Call>, Vec<Call>) {
    let (mut left, mut lost) = (Vec::new(), Vec::new());
    for call in calls {
        match fate(&call, pasts) {
            Fate::Stands => left.push(call),
            Fate::Open => left.push(Call { returned_ns: None, told: None, ..call }),
            Fate::Lost => lost.push(call),
        }
    }
    (left, lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Told;

    const PAST: Past = Past { lineage: 0, index: 0x20, event_seq: 7, until_ns: 1_000 };

    fn call(asked: Asked, returned_ns: u64, index: u64) -> Call {
        let told = Told {
            status: 201,
            log_index: Some(index),
            replayed: false,
            code: None,
            id: None,
            ids: Vec::new(),
            price_minor: None,
            created_ms: None,
            expires_ms: None,
            offered_until_ms: None,
        };
        Call { client: 1, asked, invoked_ns: 0, attempts: 1, returned_ns: Some(returned_ns), told: Some(told) }
    }

    #[test]
    fn an_id_says_whether_it_is_lost() {
        let id = |lineage: u16, index: u64| format!("{lineage:04x}{index:012x}00000001");
        assert!(is_lost(&[PAST], &id(0, 0x21)));
        assert!(!is_lost(&[PAST], &id(0, 0x20)) && !is_lost(&[PAST], &id(1, 0x21)) && !is_lost(&[], &id(0, 0x21)));
        assert!(!is_lost(&[PAST], "no id"));
    }

    #[test]
    fn what_was_decided_after_the_backup_is_lost_and_nothing_else() {
        let extend = || Asked::ExtendLock { order: "o1".into() };
        assert_eq!(fate(&call(extend(), 999, 0x20), &[PAST]), Fate::Stands);
        assert_eq!(fate(&call(extend(), 999, 0x21), &[PAST]), Fate::Lost);
        assert_eq!(fate(&call(extend(), 1_000, 0x21), &[PAST]), Fate::Stands, "it is of the next lineage");
        assert_eq!(fate(&call(extend(), 999, 0x21), &[]), Fate::Stands);
        let unanswered = Call { told: None, returned_ns: None, ..call(extend(), 0, 0) };
        assert_eq!(fate(&unanswered, &[PAST]), Fate::Stands);
    }

    #[test]
    fn what_may_have_been_decided_before_the_backup_is_open() {
        let mut again = call(Asked::ExtendLock { order: "o1".into() }, 999, 0x21);
        again.told.as_mut().expect("an answer").replayed = true;
        assert_eq!(fate(&again, &[PAST]), Fate::Open);
        let cancel = call(Asked::CancelOrder { order: "o1".into() }, 999, 0x21);
        assert_eq!(fate(&cancel, &[PAST]), Fate::Lost);
        assert_eq!(fate(&Call { attempts: 2, ..cancel }, &[PAST]), Fate::Open);
        let pay = call(Asked::Pay { order: "o1".into(), declined: false }, 999, 0x21);
        assert_eq!(fate(&pay, &[PAST]), Fate::Open, "the bank knows");
        let (left, lost) = split(vec![pay], &[PAST]);
        assert!(left[0].told.is_none() && left[0].returned_ns.is_none() && lost.is_empty());
    }
}

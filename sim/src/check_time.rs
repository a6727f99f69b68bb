//! The judges of time: ledger time never goes back, and never runs ahead of the clocks that a majority has right.
//!
//! What clients and events are told of times is held against the log indexes that ids and events carry, and against true time,
//! which nobody in the cluster knows.

use crate::check::Evidence;
use crate::clocks::EPOCH_MS;

/// Ledger time may be ahead of true time by so much, in milliseconds, and by so much more for all time that passed, while clocks
/// drift.
const AHEAD_MS_MAX: u64 = 3_000;
const AHEAD_PERCENT_MAX: u64 = 25;

/// The log index at which an entity was made, from its id: four digits of lineage, twelve of the index.
fn index_of(id: &str) -> Option<u64> {
    u64::from_str_radix(id.get(4..16)?, 16).ok()
}

/// What comes later in the log is no earlier by ledger time: in the times of events, and in those that clients were told.
pub fn ledger_time(evidence: &Evidence) -> Vec<String> {
    let told = |(_, told): (_, &crate::history::Told)| Some((index_of(told.id.as_deref()?)?, told.created_ms?));
    let mut moments: Vec<(u64, u64)> = evidence.answered().filter_map(told).collect();
    moments.extend(evidence.told.rows.iter().map(|row| (row.index, row.time_ms)));
    moments.sort_unstable();
    moments.dedup();
    let goes_back = |pair: &&[(u64, u64)]| pair[1].1 < pair[0].1;
    let says = |pair: &[(u64, u64)]| {
        let [(index, time_ms), (next, next_ms)] = [pair[0], pair[1]];
        format!("entry {next} is of {next_ms}, and entry {index} before it of {time_ms}")
    };
    moments.windows(2).filter(goes_back).map(says).collect()
}

/// The most that ledger time can be so long into the run, while most clocks are right.
pub fn latest_ms(elapsed_ns: u64) -> u64 {
    let passed_ms = elapsed_ns / 1_000_000;
    EPOCH_MS + passed_ms + AHEAD_MS_MAX + passed_ms * AHEAD_PERCENT_MAX / 100
}

/// Whatever was made was not made in the future: as long as most clocks are right, ledger time follows those.
pub fn pace(evidence: &Evidence) -> Vec<String> {
    if evidence.clocks_misled {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for (call, told) in evidence.answered() {
        let (Some(created_ms), Some(returned_ns)) = (told.created_ms, call.returned_ns) else { continue };
        if created_ms > latest_ms(returned_ns) {
            let ahead_ms = created_ms - EPOCH_MS - returned_ns / 1_000_000;
            wrong.push(format!("{:?} was told of a time {ahead_ms} ms ahead", call.asked));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_events::Row;
    use crate::history::{Asked, Call, Told};

    const AT_MS: u64 = 10_000;

    /// An order made by the entry at `index`, told of at [`AT_MS`] of the run.
    fn made(index: u64, created_ms: u64) -> Call {
        let asked = Asked::PlaceOrder { ticket: "t1".into(), price_minor: 500 };
        let told = Told {
            status: 201,
            log_index: Some(index),
            replayed: false,
            code: None,
            id: Some(format!("0000{index:012x}00000000")),
            ids: Vec::new(),
            price_minor: None,
            created_ms: Some(created_ms),
            expires_ms: None,
            offered_until_ms: None,
        };
        let returned_ns = Some(AT_MS * 1_000_000);
        Call { client: 1, asked, invoked_ns: 0, attempts: 1, returned_ns, told: Some(told) }
    }

    fn of(calls: Vec<Call>) -> Evidence {
        Evidence { calls, ..Evidence::default() }
    }

    #[test]
    fn time_that_goes_back_is_seen_in_answers_and_events() {
        assert_eq!(ledger_time(&of(vec![made(9, 1_000), made(5, 1_000), made(7, 1_000)])), Vec::<String>::new());
        assert_eq!(ledger_time(&of(vec![made(9, 999), made(5, 1_000)])).len(), 1);
        let mut evidence = of(vec![made(9, 1_000)]);
        let (id, kind, entity) = (String::new(), String::new(), String::new());
        let (user, detail) = (String::new(), String::new());
        evidence.told.rows.push(Row { seq: 1, index: 10, time_ms: 999, id, kind, entity, version: 0, user, detail });
        assert_eq!(ledger_time(&evidence).len(), 1, "an event of a later entry");
        evidence.told.rows[0].index = 8;
        assert_eq!(ledger_time(&evidence), Vec::<String>::new());
    }

    #[test]
    fn time_that_runs_ahead_is_seen_while_most_clocks_are_right() {
        let made_at = |ahead_ms| of(vec![made(5, EPOCH_MS + AT_MS + ahead_ms)]);
        assert_eq!(pace(&made_at(5_500)), Vec::<String>::new());
        assert_eq!(pace(&made_at(5_501)).len(), 1);
        let misled = Evidence { clocks_misled: true, ..made_at(3_600_000) };
        assert_eq!(pace(&misled), Vec::<String>::new());
    }
}

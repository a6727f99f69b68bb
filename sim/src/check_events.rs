//! The judges of events: the ledger's own list of what happened is held against its entities, and what the stream, the listeners,
//! the mails and the mirror have against that list.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::Evidence;
use crate::history::Asked;
use crate::mirror::{Copied, Heard, Posted};
use crate::past::lineage_of_event;

/// An event as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub seq: u64,
    /// The entry that it came of, and its time, in milliseconds of ledger time.
    pub index: u64,
    pub time_ms: u64,
    pub id: String,
    pub kind: String,
    pub entity: String,
    pub version: u64,
    /// Whom it concerns.
    pub user: String,
    /// Why an order was cancelled, where a payment stands, `price` where a ticket's price has changed, or `banned` where an
    /// account is.
    pub detail: String,
}

/// All that was told of what happened, and what others have made of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// Whether everything had come to rest: else what is missing may be on its way.
    pub at_rest: bool,
    /// In order: what the outbox has, and before that what was archived of it.
    pub rows: Vec<Row>,
    /// As they were written down when they happened.
    pub archived: Vec<Row>,
    /// What happened after the backups that lineages ended with, as far as anybody looked in time.
    pub lost: Vec<Row>,
    /// The present lineage.
    pub lineage: u16,
    /// The ids of what the streams of earlier lineages hold.
    pub earlier: BTreeSet<String>,
    /// Up to here a broker that failed may have lost events before they were heard, and nobody keeps them any more.
    pub gone: u64,
    /// The stream's messages, each with its number there.
    pub stream: Vec<(u64, Heard)>,
    /// All that anybody could hear at any time.
    pub heard: Vec<Heard>,
    pub mails: Vec<Posted>,
    /// Addresses by account.
    pub addresses: BTreeMap<String, String>,
    /// The mirror's tickets, and the ledger's.
    pub copy: BTreeMap<String, Copied>,
    pub tickets: BTreeMap<String, Copied>,
    /// The lineage that the mirror's are of.
    pub copy_lineage: u16,
}

impl Told {
    /// Whoever follows events must have heard it: no lineage has ended since, and no broker has lost it for good. Those of earlier
    /// lineages may not have been published in time.
    fn is_due(&self, row: &Row) -> bool {
        lineage_of_event(&row.id) == Some(self.lineage) && row.seq > self.gone
    }

    /// Of a lineage that has ended, and later than anybody looked: nobody can say what it was.
    fn is_unknown(&self, heard: &Heard) -> bool {
        let lineage = lineage_of_event(&heard.id);
        let of = |row: &&Row| lineage_of_event(&row.id) == lineage;
        let known = self.rows.iter().chain(&self.lost).filter(of).map(|row| row.seq).max();
        lineage.is_some_and(|lineage| lineage < self.lineage) && known.is_some_and(|known| heard.seq > known)
    }
}

/// Repeats the version of the cancellation beside it: no change of its own.
const BESIDE: &str = "expiration:complete";

/// One event a change, numbered without gaps, each entity's in order and up to what it is now.
pub fn events(evidence: &Evidence) -> Vec<String> {
    let told = &evidence.told;
    let mut wrong = Vec::new();
    let mut versions: BTreeMap<&str, u64> = BTreeMap::new();
    for (at, row) in (1..).zip(&told.rows) {
        if row.seq != at {
            wrong.push(format!("event {at} is numbered {}", row.seq));
        }
        if row.kind == BESIDE {
            if versions.get(row.entity.as_str()) != Some(&row.version) {
                wrong.push(format!("event {at}: {BESIDE} of {} without its cancellation", row.entity));
            }
            continue;
        }
        let wanted = versions.get(row.entity.as_str()).map_or(0, |last| last + 1);
        if row.version != wanted {
            wrong.push(format!("event {at}: version {} of {} where {wanted} is next", row.version, row.entity));
        }
        versions.insert(&row.entity, row.version);
    }
    for row in &told.archived {
        if row.seq.checked_sub(1).and_then(|at| told.rows.get(at as usize)) != Some(row) {
            wrong.push(format!("event {} was {} {}, and is not any more", row.seq, row.kind, row.id));
        }
    }
    for (id, ticket) in &told.tickets {
        if versions.get(id.as_str()) != Some(&ticket.version) {
            let last = versions.get(id.as_str());
            wrong.push(format!("ticket {id} is at version {}, and its last event at {last:?}", ticket.version));
        }
    }
    wrong
}

fn is_of(heard: &Heard, row: &Row) -> bool {
    heard.id == row.id
        && heard.seq == row.seq
        && heard.kind == row.kind
        && heard.entity == row.entity
        && heard.version == row.version
}

/// The stream is the list, row by row under the same numbers, as far as it goes. That it goes to the end is a matter of time.
pub fn stream(evidence: &Evidence) -> Vec<String> {
    let told = &evidence.told;
    let mut wrong = Vec::new();
    let mut next = told.stream.first().map_or(1, |(seq, _)| *seq);
    for (seq, heard) in &told.stream {
        if *seq != next {
            wrong.push(format!("the stream has {seq} where {next} is next"));
        }
        next = seq + 1;
        match seq.checked_sub(1).and_then(|at| told.rows.get(at as usize)) {
            Some(row) if is_of(heard, row) => {}
            Some(row) => wrong.push(format!("message {seq} is {} {}, not {}", heard.kind, heard.id, row.id)),
            None => wrong.push(format!("message {seq} is {}, which the ledger has not emitted", heard.id)),
        }
    }
    if told.at_rest && next != told.rows.len() as u64 + 1 {
        wrong.push(format!("the stream ends before {next}, the ledger has emitted {}", told.rows.len()));
    }
    wrong
}

/// Whoever drops ids that he has seen hears every event once: never one that did not happen, never one in two wordings or under
/// two ids, and in the end all. Of lineages that have ended, all that their streams still hold; what was lost with them has happened.
pub fn listeners(evidence: &Evidence) -> Vec<String> {
    let told = &evidence.told;
    let happened = told.lost.iter().chain(&told.rows);
    let rows: BTreeMap<&str, &Row> = happened.map(|row| (row.id.as_str(), row)).collect();
    let mut wrong = Vec::new();
    let mut ids: BTreeSet<&str> = BTreeSet::new();
    let mut changes: BTreeMap<(Option<u16>, &str, &str, u64), &str> = BTreeMap::new();
    for heard in &told.heard {
        if !ids.insert(&heard.id) {
            wrong.push(format!("{} was told in two wordings", heard.id));
        }
        if rows.get(heard.id.as_str()).map_or(!told.is_unknown(heard), |row| !is_of(heard, row)) {
            wrong.push(format!("{} {} was told and did not happen", heard.kind, heard.id));
        }
        let change = (lineage_of_event(&heard.id), heard.kind.as_str(), heard.entity.as_str(), heard.version);
        if let Some(other) = changes.insert(change, &heard.id).filter(|other| *other != heard.id) {
            wrong.push(format!("one change was told as {other} and as {}", heard.id));
        }
    }
    if told.at_rest {
        let due = told.rows.iter().filter(|row| told.is_due(row) || told.earlier.contains(&row.id));
        let missed = due.filter(|row| !ids.contains(row.id.as_str()));
        wrong.extend(missed.map(|row| format!("{} {} was never told", row.kind, row.id)));
    }
    wrong
}

/// The letter that an event is a reason for, if it concerns one reader alone and is the same whenever it is written.
fn letter(row: &Row) -> Option<&'static str> {
    match (row.kind.as_str(), row.detail.as_str()) {
        ("order:created", _) => Some("locked"),
        ("order:completed" | "order:reinstated", _) => Some("confirmed"),
        ("order:cancelled", "expired") => Some("expired"),
        ("payment:updated", "refunded") => Some("refunded"),
        _ => None,
    }
}

/// The mail that may follow from an event; whether it does depends on when it is handled.
fn possible_letter(row: &Row) -> Option<&'static str> {
    match (row.kind.as_str(), row.detail.as_str()) {
        ("line:offered", _) => Some("offer"),
        ("ticket:updated", "price") => Some("price-changed"),
        ("user:reset_requested", _) => Some("reset"),
        ("user:verification_requested", _) => Some("verification"),
        _ => None,
    }
}

/// Every mail that the list asks for was posted to who is concerned, and no other; what was posted twice is the same mail.
pub fn mails(evidence: &Evidence) -> Vec<String> {
    let told = &evidence.told;
    let name = |letter: &str, row: &Row| format!("{letter}.{}.{}", row.entity, row.version);
    let banned: BTreeSet<&str> =
        told.rows.iter().filter(|row| row.kind == "user:banned").map(|row| row.user.as_str()).collect();
    let mut due: BTreeMap<String, &Row> = BTreeMap::new();
    let mut possible: BTreeSet<String> = BTreeSet::new();
    for row in &told.rows {
        // One of a lineage that has ended, or that a broker has lost for good, asks for nothing if nobody heard it in time.
        due.extend(letter(row).filter(|_| told.is_due(row)).map(|letter| (name(letter, row), row)));
        possible.extend(possible_letter(row).map(|letter| name(letter, row)));
        possible.extend(letter(row).filter(|_| !told.is_due(row)).map(|letter| name(letter, row)));
    }
    for row in &told.lost {
        // What was lost has happened, and may happen again in other words.
        possible.extend(letter(row).or(possible_letter(row)).map(|letter| name(letter, row)));
    }
    let mut wrong = Vec::new();
    let mut posted: BTreeMap<&str, &Posted> = BTreeMap::new();
    for mail in &told.mails {
        let first = *posted.entry(&mail.name).or_insert(mail);
        match due.get(&mail.name) {
            Some(row) => {
                if *mail != *first && !possible.contains(&mail.name) {
                    wrong.push(format!("mail {} was posted in two wordings", mail.name));
                }
                if told.addresses.get(&row.user).is_some_and(|address| *address != mail.reader) {
                    wrong.push(format!("mail {} went to {}", mail.name, mail.reader));
                }
            }
            // The mails to those who watch a ticket have the reader in their name, as the last part.
            None if possible.contains(&mail.name) => {}
            None if mail.name.rsplit_once('.').is_some_and(|(event, _)| possible.contains(event)) => {}
            None => wrong.push(format!("mail {} was posted, and nothing asks for it", mail.name)),
        }
    }
    if told.at_rest {
        let missing =
            due.iter().filter(|(name, row)| !posted.contains_key(name.as_str()) && !banned.contains(row.user.as_str()));
        wrong.extend(missing.map(|(name, _)| format!("mail {name} was never posted")));
    }
    wrong
}

/// A ban that was acknowledged is told of; and from it until it is lifted its account begins nothing and buys nothing.
pub fn bans(evidence: &Evidence) -> Vec<String> {
    let mut banned: BTreeSet<&str> = BTreeSet::new();
    let mut ever: BTreeSet<&str> = BTreeSet::new();
    let mut wrong = Vec::new();
    for row in &evidence.told.rows {
        match row.kind.as_str() {
            "user:banned" => {
                banned.insert(&row.entity);
                ever.insert(&row.entity);
            }
            "user:updated" if row.detail != "banned" => _ = banned.remove(row.entity.as_str()),
            "order:created" | "order:completed" | "order:reinstated" | "line:joined"
                if banned.contains(row.user.as_str()) =>
            {
                wrong.push(format!("event {}: {} of {}, who is banned", row.seq, row.kind, row.user));
            }
            _ => {}
        }
    }
    for (call, told) in evidence.answered() {
        if let (Asked::Ban { user }, 200) = (&call.asked, told.status)
            && !ever.contains(user.as_str())
        {
            wrong.push(format!("{user} was banned, and no event says so"));
        }
    }
    wrong
}

/// In the end the mirror's copy is the ledger's tickets, those that the present lineage has told of; before, it is never ahead of
/// them.
pub fn mirror(evidence: &Evidence) -> Vec<String> {
    let told = &evidence.told;
    let mut wrong = Vec::new();
    let news = told.rows.iter().filter(|row| told.is_due(row) && row.kind.starts_with("ticket:"));
    let news: BTreeSet<&str> = news.map(|row| row.entity.as_str()).collect();
    if told.copy_lineage < told.lineage {
        // It is of before, until it hears of what came after.
        if told.at_rest && !news.is_empty() {
            wrong.push(format!("the copy is of lineage {}, and the ledger of {}", told.copy_lineage, told.lineage));
        }
        return wrong;
    }
    for (id, copied) in &told.copy {
        match told.tickets.get(id) {
            Some(ticket) if copied.version == ticket.version && copied != ticket => {
                wrong.push(format!("ticket {id} at version {} is {ticket:?}, its copy {copied:?}", ticket.version));
            }
            Some(ticket) if copied.version > ticket.version => {
                wrong.push(format!("ticket {id} is at version {}, its copy at {}", ticket.version, copied.version));
            }
            Some(ticket) if told.at_rest && copied.version < ticket.version => {
                wrong.push(format!(
                    "ticket {id} is at version {}, its copy stays at {}",
                    ticket.version, copied.version
                ));
            }
            Some(_) => {}
            None => wrong.push(format!("ticket {id} is in the copy alone")),
        }
    }
    if told.at_rest {
        let missing = told.tickets.keys().filter(|id| news.contains(id.as_str()) && !told.copy.contains_key(*id));
        wrong.extend(missing.map(|id| format!("ticket {id} is not in the copy")));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::judge;

    fn row(seq: u64, kind: &str, entity: &str, version: u64, detail: &str) -> Row {
        let (kind, entity, detail) = (kind.into(), entity.into(), detail.into());
        let (id, user) = (format!("c:1:{seq}"), "ua".into());
        Row { seq, index: seq, time_ms: 1_000 + seq, id, kind, entity, version, user, detail }
    }

    fn heard(row: &Row) -> Heard {
        let Row { seq, id, kind, entity, version, .. } = row.clone();
        Heard { id, seq, kind, entity, version, body: format!("body {seq}") }
    }

    fn mail(name: &str) -> Posted {
        Posted { name: name.into(), reader: "a@example.com".into(), text: format!("text of {name}") }
    }

    /// A ticket that was locked until the lock ran out.
    fn good() -> Evidence {
        let rows = vec![
            row(1, "user:created", "ua", 0, ""),
            row(2, "ticket:created", "t1", 0, ""),
            row(3, "ticket:updated", "t1", 1, "price"),
            row(4, "order:created", "o1", 0, ""),
            row(5, "ticket:updated", "t1", 2, ""),
            row(6, "order:cancelled", "o1", 1, "expired"),
            row(7, BESIDE, "o1", 1, ""),
            row(8, "ticket:updated", "t1", 3, ""),
        ];
        let ticket = Copied { version: 3, price_minor: 500, status: "available".into() };
        let told = Told {
            at_rest: true,
            archived: Vec::new(),
            lost: Vec::new(),
            lineage: 1,
            earlier: BTreeSet::new(),
            gone: 0,
            copy_lineage: 1,
            stream: rows.iter().map(|row| (row.seq, heard(row))).collect(),
            heard: rows.iter().map(heard).collect(),
            mails: vec![mail("locked.o1.0"), mail("expired.o1.1"), mail("locked.o1.0"), mail("price-changed.t1.1.ub")],
            addresses: BTreeMap::from([("ua".into(), "a@example.com".into())]),
            copy: BTreeMap::from([("t1".into(), ticket.clone())]),
            tickets: BTreeMap::from([("t1".into(), ticket)]),
            rows,
        };
        Evidence { told, ..Evidence::default() }
    }

    /// The names of the checks that object once the evidence is changed.
    fn objections(change: impl FnOnce(&mut Told)) -> Vec<String> {
        let mut evidence = good();
        change(&mut evidence.told);
        let mut names: Vec<String> =
            judge(&evidence).iter().map(|line| line.split(':').next().expect("a name").to_string()).collect();
        names.dedup();
        names
    }

    #[test]
    fn a_run_that_told_everything_passes() {
        assert_eq!(judge(&good()), Vec::<String>::new());
    }

    #[test]
    fn what_is_on_its_way_is_not_missing_yet() {
        let halted = |told: &mut Told| {
            told.at_rest = false;
            told.stream.truncate(5);
            told.heard.truncate(4);
            told.mails.truncate(1);
            told.copy.clear();
        };
        assert_eq!(objections(halted), Vec::<String>::new());
    }

    #[test]
    fn a_list_with_a_gap_is_seen() {
        assert!(objections(|told| _ = told.rows.remove(4)).contains(&"events".into()));
        assert!(objections(|told| told.rows[4].version = 1).contains(&"events".into()));
        assert!(objections(|told| told.rows.swap(5, 6)).contains(&"events".into()));
    }

    #[test]
    fn an_event_that_was_another_when_it_happened_is_seen() {
        assert_eq!(objections(|told| told.archived = told.rows.clone()), Vec::<String>::new());
        let another = |told: &mut Told| {
            told.archived = told.rows.clone();
            told.archived[3].entity = "o2".into();
        };
        assert_eq!(objections(another), ["events"]);
    }

    #[test]
    fn a_change_without_an_event_is_seen() {
        let silent = |told: &mut Told| {
            told.tickets.get_mut("t1").unwrap().version = 4;
            told.copy.get_mut("t1").unwrap().version = 4;
        };
        assert_eq!(objections(silent), ["events"]);
    }

    #[test]
    fn a_stream_with_a_gap_a_double_or_another_order_is_seen() {
        assert_eq!(objections(|told| _ = told.stream.remove(3)), ["stream"]);
        assert_eq!(objections(|told| _ = told.stream.pop()), ["stream"]);
        assert_eq!(objections(|told| told.stream[4].1 = told.stream[3].1.clone()), ["stream"]);
        let swapped = |told: &mut Told| {
            let first = told.stream[3].1.clone();
            told.stream[3].1 = std::mem::replace(&mut told.stream[4].1, first);
        };
        assert_eq!(objections(swapped), ["stream"]);
    }

    #[test]
    fn a_message_that_the_ledger_never_emitted_is_seen() {
        let ahead = |told: &mut Told| {
            let made_up = row(9, "ticket:updated", "t1", 4, "");
            told.stream.push((9, heard(&made_up)));
        };
        assert_eq!(objections(ahead), ["stream"]);
    }

    #[test]
    fn an_event_that_did_not_happen_is_seen_even_when_the_stream_has_forgotten_it() {
        let ghost = |told: &mut Told| told.heard.push(heard(&row(9, "order:created", "o2", 0, "")));
        assert_eq!(objections(ghost), ["listeners"]);
    }

    #[test]
    fn one_event_in_two_wordings_or_under_two_ids_is_seen() {
        let reworded = |told: &mut Told| {
            let other = Heard { body: "another".into(), ..told.heard[3].clone() };
            told.heard.push(other);
        };
        assert_eq!(objections(reworded), ["listeners"]);
        let renamed = |told: &mut Told| {
            let other = Heard { id: "c:1:90".into(), ..told.heard[3].clone() };
            told.heard.push(other);
        };
        assert_eq!(objections(renamed), ["listeners"]);
    }

    #[test]
    fn an_event_that_nobody_heard_is_seen() {
        assert_eq!(objections(|told| _ = told.heard.remove(2)), ["listeners"]);
    }

    #[test]
    fn what_a_broker_has_lost_for_good_need_not_be_heard() {
        let lost = |gone: u64| {
            move |told: &mut Told| {
                told.gone = gone;
                told.stream.drain(..4);
                told.heard.drain(..4);
                told.mails.remove(0);
            }
        };
        assert_eq!(objections(lost(4)), Vec::<String>::new());
        assert_eq!(objections(lost(3)), ["listeners"]);
    }

    #[test]
    fn a_mail_that_is_missing_made_up_misdirected_or_reworded_is_seen() {
        assert_eq!(objections(|told| _ = told.mails.remove(1)), ["mails"]);
        assert_eq!(objections(|told| told.mails.push(mail("confirmed.o1.1"))), ["mails"]);
        assert_eq!(objections(|told| told.mails[1].reader = "b@example.com".into()), ["mails"]);
        assert_eq!(objections(|told| told.mails[2].text = "other words".into()), ["mails"]);
        assert_eq!(objections(|told| told.mails.push(mail("locked.o1.0"))), Vec::<String>::new());
    }

    #[test]
    fn who_is_banned_need_not_be_written_to() {
        let banned = |told: &mut Told| {
            told.mails.remove(1);
            let row = row(9, "user:banned", "ua", 1, "");
            told.stream.push((9, heard(&row)));
            told.heard.push(heard(&row));
            told.rows.push(row);
        };
        assert_eq!(objections(banned), Vec::<String>::new());
    }

    #[test]
    fn who_buys_while_he_is_banned_is_seen() {
        let tell = |told: &mut Told, rows: &[Row]| {
            for row in rows {
                let seq = told.rows.len() as u64 + 1;
                let row = Row { seq, id: format!("c:1:{seq}"), ..row.clone() };
                told.stream.push((seq, heard(&row)));
                told.heard.push(heard(&row));
                told.mails.extend(letter(&row).map(|letter| mail(&format!("{letter}.{}.{}", row.entity, row.version))));
                told.rows.push(row);
            }
        };
        let (ban, lift) = (row(9, "user:banned", "ua", 1, "banned"), row(10, "user:updated", "ua", 2, ""));
        let order = row(11, "order:created", "o2", 0, "");
        assert_eq!(objections(|told| tell(told, &[ban.clone(), lift.clone(), order.clone()])), Vec::<String>::new());
        assert_eq!(objections(|told| tell(told, &[ban.clone(), order.clone()])), ["bans"]);
        let renamed = Row { detail: "banned".into(), ..lift };
        assert_eq!(objections(|told| tell(told, &[ban, renamed, order])), ["bans"]);
    }

    #[test]
    fn a_copy_that_is_not_the_ledgers_tickets_is_seen() {
        assert_eq!(objections(|told| told.copy.clear()), ["mirror"]);
        assert_eq!(objections(|told| told.copy.get_mut("t1").unwrap().version = 2), ["mirror"]);
        assert_eq!(objections(|told| told.copy.get_mut("t1").unwrap().price_minor = 501), ["mirror"]);
        assert_eq!(objections(|told| told.copy.get_mut("t1").unwrap().version = 4), ["mirror"]);
    }
}

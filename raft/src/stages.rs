//! Where the time of an entry goes on this node: into its log, to the disk, to a majority, into the state.
//!
//! The log's writer and apply note when they came to an entry; whoever proposed it reads the notes once it is answered, for the
//! metrics and for the log of slow operations. Only the newest [`SLOTS`] entries have notes: an entry that takes longer than
//! that many others is told as slow without its stages.

use std::sync::Mutex;
use std::time::Duration;

use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::InstantOf;

use crate::types::TypeConfig;

/// Entries whose notes are kept.
const SLOTS: usize = 1_024;

type At = InstantOf<TypeConfig>;

/// The notes of the newest entries.
#[derive(Debug)]
pub struct Stages(Mutex<Vec<Note>>);

/// When an entry came how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    index: u64,
    /// The writer took it from its queue.
    pub taken: At,
    /// It is durable here.
    pub synced: Option<At>,
    /// It was committed, and its turn to be applied had come.
    pub applying: Option<At>,
    pub applied: Option<At>,
}

impl Default for Stages {
    fn default() -> Stages {
        let empty = Note { index: 0, taken: TypeConfig::now(), synced: None, applying: None, applied: None };
        Stages(Mutex::new(vec![empty; SLOTS]))
    }
}

impl Stages {
    pub fn taken(&self, index: u64) {
        let note = Note { index, taken: TypeConfig::now(), synced: None, applying: None, applied: None };
        self.change(|notes| notes[index as usize % SLOTS] = note);
    }

    /// All entries from `first` up to and without `end` are durable.
    pub fn synced(&self, first: u64, end: u64) {
        let now = TypeConfig::now();
        self.change(|notes| {
            for index in first.max(end.saturating_sub(SLOTS as u64))..end {
                let note = &mut notes[index as usize % SLOTS];
                if note.index == index {
                    note.synced = Some(now);
                }
            }
        });
    }

    pub fn applying(&self, index: u64) {
        self.note(index, |note, now| note.applying = Some(now));
    }

    pub fn applied(&self, index: u64) {
        self.note(index, |note, now| note.applied = Some(now));
    }

    /// What is known of an entry, if it is still among the newest.
    pub fn of(&self, index: u64) -> Option<Note> {
        let notes = self.0.lock().expect("nothing panics while it holds the notes");
        Some(notes[index as usize % SLOTS]).filter(|note| note.index == index)
    }

    fn note(&self, index: u64, change: impl FnOnce(&mut Note, At)) {
        let now = TypeConfig::now();
        self.change(|notes| {
            let note = &mut notes[index as usize % SLOTS];
            if note.index == index {
                change(note, now);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Note>)) {
        change(&mut self.0.lock().expect("nothing panics while it holds the notes"));
    }
}

/// How long an entry spent in each stage, from the first proposal in it to its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Waiting for a batch that may go.
    pub queue: Duration,
    /// Stamping, encoding, and the way to the log's writer.
    pub append: Duration,
    pub sync: Duration,
    /// Waiting for a majority, and for the turn to be applied.
    pub commit: Duration,
    pub apply: Duration,
}

impl Spent {
    /// `proposed`: when the first proposal was queued; `begun`: when its batch went.
    pub fn new(proposed: At, begun: At, note: Option<Note>) -> Spent {
        let begun_after = begun - proposed;
        let none = Spent {
            queue: begun_after,
            append: Duration::ZERO,
            sync: Duration::ZERO,
            commit: Duration::ZERO,
            apply: Duration::ZERO,
        };
        let Some(Note { taken, synced: Some(synced), applying: Some(applying), applied: Some(applied), .. }) = note
        else {
            return none;
        };
        // A majority of others may have it before this node's own disk does.
        let since = |later: At, earlier: At| if later > earlier { later - earlier } else { Duration::ZERO };
        Spent {
            append: since(taken, begun),
            sync: since(synced, taken),
            commit: since(applying, synced),
            apply: since(applied, applying),
            ..none
        }
    }

    /// The stages by their names, in order.
    pub fn named(&self) -> [(&'static str, Duration); 5] {
        [
            ("queue", self.queue),
            ("append", self.append),
            ("sync", self.sync),
            ("commit", self.commit),
            ("apply", self.apply),
        ]
    }
}

#[cfg(all(test, not(madsim)))]
mod tests {
    use super::*;

    #[test]
    fn the_newest_entries_have_notes_and_an_index_that_was_written_again_has_new_ones() {
        let stages = Stages::default();
        stages.taken(7);
        stages.synced(7, 8);
        stages.applying(7);
        stages.applied(7);
        let note = stages.of(7).unwrap();
        let spent = Spent::new(note.taken, note.taken, Some(note));
        assert_eq!(spent.sync, note.synced.unwrap() - note.taken);
        assert_eq!(spent.append, Duration::ZERO);
        stages.taken(7);
        assert_eq!(stages.of(7).unwrap().synced, None);
        stages.taken(7 + SLOTS as u64);
        assert_eq!(stages.of(7), None);
        stages.applied(7);
        assert_eq!(stages.of(7 + SLOTS as u64).unwrap().applied, None);
    }
}

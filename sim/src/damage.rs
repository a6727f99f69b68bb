//! What bad hardware and careless hands do to the data folder of a machine that stands still.
//!
//! Parts of a folder differ in what their loss means. Without its log, vote, watermark or identity a node does not know any
//! more what it has promised: it must find that out and stop. State and snapshot can be had again, from each other, the log
//! or the other machines.
//!
//! A log that loses its last second is not told from one that never had it (the watermark lags), so what is flipped or cut off
//! here lies in what a watermark [covers](Covered).

use std::collections::BTreeSet;

use holdfast_raft::disk::{Disk, SimDisk};
use rand::RngExt;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};

/// The log's journal, as the simulated engine keeps it.
const JOURNAL: &str = "log/journal";
const WATERMARK: &str = "watermark";
pub const IDENTITY: &str = "identity";
const POINTER: &str = "state-directory";
const MANIFEST: &str = "/holdfast-manifest";
/// How a stored vote is found in the journal: by its key. What follows it belongs to the vote.
const VOTE_KEY: &[u8] = b"vote";
const VOTE_BYTES: usize = 24;

/// A part of a data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Log,
    /// The last vote.
    Vote,
    State,
    /// A file of the snapshot.
    Snapshot,
    /// The list of the snapshot's files.
    Manifest,
    Watermark,
    Identity,
    /// The file that names the state's directory.
    Pointer,
}

impl Part {
    pub const ALL: [Part; 8] = [
        Part::Log,
        Part::Vote,
        Part::State,
        Part::Snapshot,
        Part::Manifest,
        Part::Watermark,
        Part::Identity,
        Part::Pointer,
    ];

    /// Without it the node cannot know what it has promised.
    pub fn holds_promises(self) -> bool {
        matches!(self, Part::Log | Part::Vote | Part::Watermark | Part::Identity)
    }
}

/// A machine with this damage may have to be replaced: it does not know what it has promised, or has its state nowhere any more.
pub fn is_loss(harmed: &BTreeSet<Part>) -> bool {
    let has = |one, other| harmed.contains(&one) || harmed.contains(&other);
    harmed.iter().any(|part| part.holds_promises())
        || has(Part::State, Part::Pointer) && has(Part::Snapshot, Part::Manifest)
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Harm {
    /// One bit is flipped.
    Flip,
    /// Its end is cut off.
    Truncate,
    /// It is gone.
    Lose,
}

impl Harm {
    pub const ALL: [Harm; 3] = [Harm::Flip, Harm::Truncate, Harm::Lose];
}

/// How much of a log's journal the watermark on the same disk is sure to cover.
#[derive(Debug, Clone, Copy, Default)]
pub struct Covered {
    watermark: Option<u64>,
    journal: Option<(u64, usize)>,
    covered: Option<(u64, usize)>,
}

impl Covered {
    /// Looks at the disk again. What was in the journal at the look before a new watermark is covered by it.
    pub fn look(&mut self, disk: &SimDisk) {
        let watermark = disk.extent(WATERMARK).map(|(file, _)| file);
        if watermark != self.watermark {
            self.covered = self.journal;
        }
        self.watermark = watermark;
        self.journal = disk.extent(JOURNAL);
    }

    /// So many bytes of the journal there is.
    fn bytes(&self, disk: &SimDisk) -> Option<usize> {
        let (file, bytes) = disk.extent(JOURNAL)?;
        self.covered.filter(|(of, _)| *of == file).map(|(_, covered)| covered.min(bytes)).filter(|bytes| *bytes > 0)
    }
}

/// Does it. Answers what was done, in words; `None` if there is nothing that it could be done to.
pub fn inflict(disk: &SimDisk, part: Part, harm: Harm, covered: &Covered, rng: &mut SmallRng) -> Option<String> {
    if harm == Harm::Lose && matches!(part, Part::Log | Part::Vote) {
        disk.lose("log");
        return Some("the log is gone".into());
    }
    let (path, range) = target(disk, part, covered, rng)?;
    match harm {
        Harm::Flip => {
            let (byte, bit) = (rng.random_range(range), rng.random_range(0..8));
            disk.flip_bit(&path, byte, bit).ok()?;
            Some(format!("bit {bit} of byte {byte} of {path} is flipped"))
        }
        Harm::Truncate => {
            let bytes = rng.random_range(range);
            disk.shorten(&path, bytes).ok()?;
            Some(format!("{path} is cut to {bytes} bytes"))
        }
        Harm::Lose => {
            disk.lose(&path);
            Some(format!("{path} is gone"))
        }
    }
}

/// The file that is struck, and which of its bytes.
fn target(
    disk: &SimDisk,
    part: Part,
    covered: &Covered,
    rng: &mut SmallRng,
) -> Option<(String, std::ops::Range<usize>)> {
    let whole = |path: String| {
        let (_, bytes) = disk.extent(&path)?;
        (bytes > 0).then_some((path, 0..bytes))
    };
    let mut any = |holds: fn(&str) -> bool| {
        let paths: Vec<String> = disk.paths().into_iter().filter(|path| holds(path)).collect();
        let sound = paths.into_iter().filter(|path| disk.extent(path).is_some_and(|(_, bytes)| bytes > 0));
        let mut sound: Vec<String> = sound.collect();
        if sound.is_empty() { None } else { Some(sound.swap_remove(rng.random_range(0..sound.len()))) }
    };
    match part {
        Part::Log => Some((JOURNAL.into(), 0..covered.bytes(disk)?)),
        Part::Vote => {
            let bytes = covered.bytes(disk)?;
            let journal = disk.read_at(JOURNAL, 0, bytes).ok()?;
            let at = journal.windows(VOTE_KEY.len()).rposition(|window| window == VOTE_KEY)?;
            Some((JOURNAL.into(), at..(at + VOTE_BYTES).min(bytes)))
        }
        Part::State => any(|path| path.starts_with("state-") && path.contains('/')).and_then(whole),
        Part::Snapshot => any(|path| path.starts_with("snapshots/") && !path.ends_with(MANIFEST)).and_then(whole),
        Part::Manifest => any(|path| path.starts_with("snapshots/") && path.ends_with(MANIFEST)).and_then(whole),
        Part::Watermark => whole(WATERMARK.into()),
        Part::Identity => whole(IDENTITY.into()),
        Part::Pointer => whole(POINTER.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::stream;

    #[test]
    fn only_what_a_later_watermark_covers_is_struck() {
        let disk = SimDisk::new(1);
        let mut covered = Covered::default();
        let mut rng = stream(1, "test");
        let mut strike = |covered: &Covered| inflict(&disk, Part::Log, Harm::Flip, covered, &mut rng);
        disk.append(JOURNAL, &[0; 10]).expect("written");
        covered.look(&disk);
        assert_eq!(strike(&covered), None, "no watermark has been written since");
        disk.append(JOURNAL, &[0; 10]).expect("written");
        disk.replace(WATERMARK, b"1").expect("written");
        covered.look(&disk);
        disk.append(JOURNAL, &[0; 10]).expect("written");
        for _ in 0..100 {
            strike(&covered).expect("there is something to strike");
        }
        let journal = disk.read(JOURNAL).expect("reads").expect("is there");
        assert!(journal[..10].iter().any(|byte| *byte != 0) && journal[10..].iter().all(|byte| *byte == 0));
        disk.lose(JOURNAL);
        assert_eq!(strike(&covered), None);
    }

    #[test]
    fn a_vote_is_struck_where_it_stands() {
        let disk = SimDisk::new(1);
        let mut covered = Covered::default();
        disk.append(JOURNAL, b"before vote the vote's bytes, and much that comes after it").expect("written");
        covered.look(&disk);
        disk.replace(WATERMARK, b"1").expect("written");
        covered.look(&disk);
        inflict(&disk, Part::Vote, Harm::Flip, &covered, &mut stream(1, "test")).expect("it is there");
        let journal = disk.read(JOURNAL).expect("reads").expect("is there");
        assert_eq!(&journal[..7], b"before ");
        assert_eq!(&journal[40..], &b"before vote the vote's bytes, and much that comes after it"[40..]);
    }
}

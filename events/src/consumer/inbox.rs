//! What a consumer remembers: the last version of each entity that it has taken in.
//!
//! Bounded: beyond so many entities those longest untouched are forgotten. An entity that was forgotten looks like a gap, which the
//! handler settles by the ledger. The same goes for records that a power failure took: at worst an event is handled again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use holdfast_ledger::id::Id;

use crate::wire::Envelope;

/// The inbox cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the inbox cannot be written: {0}")]
pub struct InboxError(#[from] std::io::Error);

/// Where an event stands after what has been taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It, or a younger one of the entity, has been taken in.
    Seen,
    Next,
    /// Something before it is missing; the last version that was taken in, if any is known.
    Gap(Option<u64>),
    /// It is of a lineage that is over.
    Over,
}

/// What remembers versions. All that is in it is of one lineage.
pub trait Inbox: Send {
    fn lineage(&self) -> u16;

    /// Begins a higher lineage: all versions are forgotten.
    fn raise(&mut self, lineage: u16) -> Result<(), InboxError>;

    fn seen(&self, key: Key) -> Option<u64>;

    /// Remembers the version as taken in, unless a younger one is.
    fn record(&mut self, key: Key, version: u64) -> Result<(), InboxError>;
}

/// What has versions: an entity, or the running out of an order's lock, which repeats the version of the cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    entity: Id,
    is_change: bool,
}

impl Key {
    pub fn of(envelope: &Envelope) -> Key {
        Key { entity: envelope.entity, is_change: envelope.is_change() }
    }
}

/// An inbox that the workers of one process share. Of one entity, only one of them handles an event at a time. Clones are the
/// same inbox.
#[derive(Clone)]
pub struct SharedInbox(Arc<Mutex<Desk>>);

struct Desk {
    inbox: Box<dyn Inbox>,
    /// What a worker is at.
    taken: BTreeSet<Key>,
}

/// Makes an inbox one that workers share.
pub fn shared(inbox: impl Inbox + 'static) -> SharedInbox {
    SharedInbox(Arc::new(Mutex::new(Desk { inbox: Box::new(inbox), taken: BTreeSet::new() })))
}

/// The right to handle an entity's events, until it is dropped.
pub(super) struct Claim {
    inbox: SharedInbox,
    key: Key,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.inbox.lock().taken.remove(&self.key);
    }
}

impl SharedInbox {
    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().expect("no holder of the inbox panics")
    }

    /// `None` while another worker is at the same entity.
    pub(super) fn claim(&self, key: Key) -> Option<Claim> {
        self.lock().taken.insert(key).then(|| Claim { inbox: self.clone(), key })
    }

    pub(super) fn place(&self, envelope: &Envelope) -> Place {
        place(&*self.lock().inbox, envelope)
    }

    pub(super) fn record(&self, envelope: &Envelope, version: u64) -> Result<(), InboxError> {
        self.lock().inbox.record(Key::of(envelope), version)
    }

    pub(super) fn lineage(&self) -> u16 {
        self.lock().inbox.lineage()
    }

    pub(super) fn raise(&self, lineage: u16) -> Result<(), InboxError> {
        self.lock().inbox.raise(lineage)
    }
}

/// Where `envelope` stands.
fn place(inbox: &dyn Inbox, envelope: &Envelope) -> Place {
    if envelope.lineage < inbox.lineage() {
        return Place::Over;
    }
    let key = Key::of(envelope);
    match inbox.seen(key) {
        Some(seen) if envelope.version <= seen => Place::Seen,
        Some(seen) if envelope.version == seen + 1 => Place::Next,
        None if envelope.version == 0 => Place::Next,
        // What is no change of its own stands in no row of versions.
        _ if !key.is_change => Place::Next,
        seen => Place::Gap(seen),
    }
}

/// An inbox that is forgotten with the process.
#[derive(Debug, Clone)]
pub struct MemoryInbox {
    entities_max: usize,
    lineage: u16,
    /// Version, and when it was touched last.
    versions: BTreeMap<Key, (u64, u64)>,
    by_age: BTreeMap<u64, Key>,
    touches: u64,
}

impl MemoryInbox {
    /// Remembers at most `entities_max` entities.
    pub fn new(entities_max: usize) -> MemoryInbox {
        assert!(entities_max > 0, "an inbox remembers something");
        MemoryInbox { entities_max, lineage: 0, versions: BTreeMap::new(), by_age: BTreeMap::new(), touches: 0 }
    }

    pub fn entities(&self) -> usize {
        self.versions.len()
    }
}

impl Inbox for MemoryInbox {
    fn lineage(&self) -> u16 {
        self.lineage
    }

    fn raise(&mut self, lineage: u16) -> Result<(), InboxError> {
        if lineage > self.lineage {
            *self = MemoryInbox { lineage, ..MemoryInbox::new(self.entities_max) };
        }
        Ok(())
    }

    fn seen(&self, key: Key) -> Option<u64> {
        self.versions.get(&key).map(|(version, _)| *version)
    }

    fn record(&mut self, key: Key, version: u64) -> Result<(), InboxError> {
        let before = self.versions.get(&key).copied();
        if let Some((_, touched)) = before {
            self.by_age.remove(&touched);
        }
        self.touches += 1;
        let version = before.map_or(version, |(seen, _)| seen.max(version));
        self.versions.insert(key, (version, self.touches));
        self.by_age.insert(self.touches, key);
        if self.versions.len() > self.entities_max
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.versions.remove(&oldest);
        }
        Ok(())
    }
}

#[cfg(not(madsim))]
pub use file::FileInbox;

/// An inbox in one file: records of a fixed length, appended, each with a checksum, and rewritten when most are outdated.
#[cfg(not(madsim))]
mod file {
    use std::fs::{self, File, OpenOptions};
    use std::io::{self, Read, Write};
    use std::path::{Path, PathBuf};

    use holdfast_ledger::id::{ID_BYTES, Id};
    use xxhash_rust::xxh3::xxh3_64;

    use super::{Inbox, InboxError, Key, MemoryInbox};

    /// Kind (1), entity (12), version or lineage (8), checksum of these (8), 3 spare.
    const RECORD_BYTES: usize = 32;
    const CHECKED_BYTES: usize = 24;
    const CHANGE: u8 = 1;
    const EXPIRATION: u8 = 2;
    const LINEAGE: u8 = 3;
    /// A file is not rewritten below this many records.
    const RECORDS_MIN: usize = 4_096;

    /// An inbox that outlives the process. Appends are not synced: what a power failure takes is taken in again.
    #[derive(Debug)]
    pub struct FileInbox {
        memory: MemoryInbox,
        path: PathBuf,
        file: File,
        records: usize,
    }

    impl FileInbox {
        /// Opens the file at `path`, or makes it. A torn or damaged end is cut off.
        pub fn open(path: impl Into<PathBuf>, entities_max: usize) -> Result<FileInbox, InboxError> {
            let path = path.into();
            let mut memory = MemoryInbox::new(entities_max);
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
            let (mut records, mut record) = (0, [0; RECORD_BYTES]);
            while read_record(&mut file, &mut record)? && take_in(&record, &mut memory)? {
                records += 1;
            }
            file.set_len((records * RECORD_BYTES) as u64)?;
            Ok(FileInbox { memory, path, file, records })
        }

        fn append(&mut self, kind: u8, entity: Id, value: u64) -> Result<(), InboxError> {
            self.file.write_all(&encoded(kind, entity, value))?;
            self.records += 1;
            if self.records > RECORDS_MIN.max(2 * self.memory.entities()) {
                self.rewrite()?;
            }
            Ok(())
        }

        /// Writes what is remembered now into a new file and puts it in the place of the old one.
        fn rewrite(&mut self) -> Result<(), InboxError> {
            let new = self.path.with_extension("new");
            let mut bytes = encoded(LINEAGE, Id::default(), self.memory.lineage.into()).to_vec();
            // Oldest first, so that a reader forgets the same ones.
            for key in self.memory.by_age.values() {
                let kind = if key.is_change { CHANGE } else { EXPIRATION };
                bytes.extend(encoded(kind, key.entity, self.memory.versions[key].0));
            }
            let mut file = File::create(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            sync_folder(&self.path)?;
            self.file = OpenOptions::new().append(true).open(&self.path)?;
            self.records = bytes.len() / RECORD_BYTES;
            Ok(())
        }
    }

    impl Inbox for FileInbox {
        fn lineage(&self) -> u16 {
            self.memory.lineage()
        }

        fn raise(&mut self, lineage: u16) -> Result<(), InboxError> {
            if lineage > self.memory.lineage() {
                self.memory.raise(lineage)?;
                self.append(LINEAGE, Id::default(), lineage.into())?;
            }
            Ok(())
        }

        fn seen(&self, key: Key) -> Option<u64> {
            self.memory.seen(key)
        }

        fn record(&mut self, key: Key, version: u64) -> Result<(), InboxError> {
            self.memory.record(key, version)?;
            self.append(if key.is_change { CHANGE } else { EXPIRATION }, key.entity, version)
        }
    }

    /// Whether a whole record was there.
    fn read_record(file: &mut File, record: &mut [u8; RECORD_BYTES]) -> io::Result<bool> {
        match file.read_exact(record) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the record was good.
    fn take_in(record: &[u8; RECORD_BYTES], memory: &mut MemoryInbox) -> Result<bool, InboxError> {
        let (checked, sum) = record.split_at(CHECKED_BYTES);
        if xxh3_64(checked).to_le_bytes() != sum {
            return Ok(false);
        }
        let entity: [u8; ID_BYTES] = checked[1..13].try_into().expect("twelve bytes");
        let value = u64::from_le_bytes(checked[13..21].try_into().expect("eight bytes"));
        match checked[0] {
            LINEAGE => memory.raise(value as u16)?,
            kind @ (CHANGE | EXPIRATION) => {
                let key = Key { entity: Id::from_bytes(entity), is_change: kind == CHANGE };
                memory.record(key, value)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn encoded(kind: u8, entity: Id, value: u64) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        record[0] = kind;
        record[1..13].copy_from_slice(entity.as_bytes());
        record[13..21].copy_from_slice(&value.to_le_bytes());
        let sum = xxh3_64(&record[..CHECKED_BYTES]);
        record[CHECKED_BYTES..].copy_from_slice(&sum.to_le_bytes());
        record
    }

    fn sync_folder(path: &Path) -> io::Result<()> {
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => File::open(".")?.sync_all(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ordinal: u32) -> Key {
        Key { entity: Id::mint(0, 1, ordinal), is_change: true }
    }

    #[test]
    fn the_longest_untouched_entities_are_forgotten_first() {
        let mut inbox = MemoryInbox::new(2);
        for (ordinal, version) in [(1, 0), (2, 0), (1, 1), (3, 0)] {
            inbox.record(key(ordinal), version).expect("memory");
        }
        assert_eq!([1, 2, 3].map(|ordinal| inbox.seen(key(ordinal))), [Some(1), None, Some(0)]);
        inbox.raise(1).expect("memory");
        assert_eq!((inbox.lineage(), inbox.entities()), (1, 0));
    }

    #[cfg(not(madsim))]
    #[test]
    fn a_file_remembers_and_a_torn_end_is_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("inbox");
        let mut inbox = FileInbox::open(&path, 100).expect("a new file");
        inbox.raise(3).expect("written");
        inbox.record(key(1), 4).expect("written");
        inbox.record(key(2), 7).expect("written");
        drop(inbox);
        let length = std::fs::metadata(&path).expect("there").len();
        std::fs::OpenOptions::new().write(true).open(&path).expect("there").set_len(length - 5).expect("cut");
        let mut inbox = FileInbox::open(&path, 100).expect("a torn file");
        assert_eq!((inbox.lineage(), inbox.seen(key(1)), inbox.seen(key(2))), (3, Some(4), None));
        inbox.record(key(2), 7).expect("written");
        drop(inbox);
        assert_eq!(FileInbox::open(&path, 100).expect("mended").seen(key(2)), Some(7));
    }

    #[cfg(not(madsim))]
    #[test]
    fn a_file_stays_as_long_as_what_it_remembers() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("inbox");
        let mut inbox = FileInbox::open(&path, 10).expect("a new file");
        for version in 0..20_000 {
            inbox.record(key(version as u32 % 20), version / 20).expect("written");
        }
        assert!(std::fs::metadata(&path).expect("there").len() <= 32 * 4_097, "it grew without bound");
        let seen: Vec<_> = (0..20).map(|ordinal| inbox.seen(key(ordinal))).collect();
        drop(inbox);
        let inbox = FileInbox::open(&path, 10).expect("rewritten");
        assert_eq!((0..20).map(|ordinal| inbox.seen(key(ordinal))).collect::<Vec<_>>(), seen);
    }
}

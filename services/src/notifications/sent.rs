//! Names of what has been sent, so that an event that comes twice is told once.
//!
//! A ring of fixed-size records in one file: the oldest name is overwritten by the newest. A record that a crash tore fails
//! its checksum and counts as never written, so at worst something is sent again, under the same name. Writes are not synced
//! for the same reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Number of the record (8), hash of the name (16), checksum of both (8).
const RECORD_BYTES: usize = 32;
const CHECKED_BYTES: usize = 24;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the log of what was sent: {0}")]
pub struct SentLogError(#[from] io::Error);

/// The names of what was sent. Clones are handles to the same log.
#[derive(Clone)]
pub struct SentLog(Arc<Mutex<Log>>);

struct Log {
    names_max: u64,
    file: Option<File>,
    /// The number of the next record, from 0.
    next: u64,
    by_number: BTreeMap<u64, u128>,
    sent: BTreeSet<u128>,
    /// Being sent now.
    busy: BTreeSet<u128>,
}

/// What is known of a name.
pub(super) enum Known {
    Sent,
    /// Somebody in this process is sending it.
    Busy,
    /// Nobody has sent it: it is yours now.
    New(Sending),
}

/// The right to send something. Given up when it is dropped.
pub(super) struct Sending {
    log: SentLog,
    name: u128,
}

impl SentLog {
    /// Forgotten with the process; remembers at most `names_max`.
    pub fn memory(names_max: u64) -> SentLog {
        assert!(names_max > 0, "a log remembers something");
        SentLog(Arc::new(Mutex::new(Log {
            names_max,
            file: None,
            next: 0,
            by_number: BTreeMap::new(),
            sent: BTreeSet::new(),
            busy: BTreeSet::new(),
        })))
    }

    /// Opens the file at `path`, or makes it. It never grows beyond `names_max` records of 32 bytes.
    pub fn open(path: &Path, names_max: u64) -> Result<SentLog, SentLogError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let log = SentLog::memory(names_max);
        {
            let mut inner = log.lock();
            let kept = file.metadata()?.len() / RECORD_BYTES as u64;
            let mut record = [0; RECORD_BYTES];
            for slot in 0..kept {
                file.read_exact_at(&mut record, slot * RECORD_BYTES as u64)?;
                if let Some((number, name)) = read(&record) {
                    inner.by_number.insert(number, name);
                    inner.sent.insert(name);
                    inner.next = inner.next.max(number + 1);
                }
            }
            inner.forget_old();
            inner.file = Some(file);
        }
        Ok(log)
    }

    pub(super) fn begin(&self, name: &str) -> Known {
        let name = xxh3_128(name.as_bytes());
        let mut log = self.lock();
        if log.sent.contains(&name) {
            Known::Sent
        } else if !log.busy.insert(name) {
            Known::Busy
        } else {
            Known::New(Sending { log: self.clone(), name })
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().expect("nothing panics while it holds the log")
    }
}

impl Log {
    fn forget_old(&mut self) {
        while self.by_number.len() as u64 > self.names_max
            && let Some((_, name)) = self.by_number.pop_first()
        {
            self.sent.remove(&name);
        }
    }
}

impl Sending {
    /// It has been sent.
    pub(super) fn done(self) -> Result<(), SentLogError> {
        let mut log = self.log.lock();
        let number = log.next;
        log.next += 1;
        log.by_number.insert(number, self.name);
        log.sent.insert(self.name);
        log.forget_old();
        if let Some(file) = &log.file {
            file.write_all_at(&written(number, self.name), number % log.names_max * RECORD_BYTES as u64)?;
        }
        Ok(())
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.log.lock().busy.remove(&self.name);
    }
}

fn written(number: u64, name: u128) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&number.to_le_bytes());
    record[8..CHECKED_BYTES].copy_from_slice(&name.to_le_bytes());
    let sum = xxh3_64(&record[..CHECKED_BYTES]);
    record[CHECKED_BYTES..].copy_from_slice(&sum.to_le_bytes());
    record
}

fn read(record: &[u8; RECORD_BYTES]) -> Option<(u64, u128)> {
    let (checked, sum) = record.split_at(CHECKED_BYTES);
    let (number, name) = checked.split_at(8);
    // The last number has no successor, so no record of ours carries it.
    let number = u64::from_le_bytes(number.try_into().ok()?);
    (xxh3_64(checked).to_le_bytes() == sum && number < u64::MAX)
        .then_some((number, u128::from_le_bytes(name.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(log: &SentLog, name: &str) -> bool {
        match log.begin(name) {
            Known::New(sending) => sending.done().map(|()| true).expect("written"),
            Known::Sent => false,
            Known::Busy => panic!("nobody else is sending {name}"),
        }
    }

    #[test]
    fn what_was_sent_is_known_after_a_restart_and_the_oldest_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sent");
        let log = SentLog::open(&path, 3).expect("a new file");
        assert!(["a", "b", "c", "d"].iter().all(|name| send(&log, name)));
        drop(log);
        let log = SentLog::open(&path, 3).expect("the same file");
        assert!(!send(&log, "b") && !send(&log, "d"));
        assert!(send(&log, "a"), "three names are kept");
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 3 * RECORD_BYTES as u64);
    }

    #[test]
    fn a_torn_record_is_one_that_was_never_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sent");
        let log = SentLog::open(&path, 10).expect("a new file");
        assert!(send(&log, "a") && send(&log, "b"));
        drop(log);
        let file = OpenOptions::new().write(true).open(&path).expect("there");
        file.write_all_at(&[0xff; 4], RECORD_BYTES as u64 + 10).expect("damaged");
        let log = SentLog::open(&path, 10).expect("a damaged file");
        assert!(!send(&log, "a") && send(&log, "b"));
    }

    #[test]
    fn nobody_sends_what_another_is_sending_and_a_failure_gives_it_back() {
        let log = SentLog::memory(10);
        let first = log.begin("a");
        assert!(matches!(first, Known::New(_)) && matches!(log.begin("a"), Known::Busy));
        drop(first);
        assert!(send(&log, "a") && matches!(log.begin("a"), Known::Sent));
    }
}

//! The engine on a simulated disk: rows in memory, a journal of batches and now and then an image of all rows on the disk.
//!
//! It recovers as RocksDB does: the image first, then the journal's batches in order up to the first that is not whole.
//! So a torn tail is dropped, and damage in the middle silently loses everything after it, which is what the log's
//! watermark is there to notice. An image that does not match its checksum is an error, and so is one that is gone while the
//! journal says that it stands on one: RocksDB's manifest knows its files too.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use holdfast_ledger::planted::{Bug, at_work};

use super::{Batch, Change, Durability, Engine, EngineError, Order, TableNumber};
use crate::disk::{Disk, SimDisk};
use crate::failpoint::{Point, reach};

/// The journal is folded into the image when it is longer than this and than the image, in bytes.
const JOURNAL_BYTES_MAX: usize = 1 << 20;

const FRAME_HEADER_BYTES: usize = 8;
/// The body of a journal's first frame, where there is an image below it.
const STANDS_ON_IMAGE: &[u8] = &[3];

type Rows = BTreeMap<(TableNumber, Bytes), Bytes>;

#[derive(Debug)]
struct Held {
    rows: Rows,
    journal_bytes: usize,
    image_bytes: usize,
}

/// An engine in one directory of a [`SimDisk`].
#[derive(Debug)]
pub struct SimEngine {
    disk: SimDisk,
    journal: String,
    image: String,
    held: RwLock<Held>,
}

fn io(doing: &'static str) -> impl Fn(std::io::Error) -> EngineError {
    move |error| EngineError::Io { doing, reason: error.to_string() }
}

impl SimEngine {
    pub fn open(disk: SimDisk, path: &str) -> Result<SimEngine, EngineError> {
        let (journal, image) = (format!("{path}/journal"), format!("{path}/rows"));
        let mut rows = Rows::new();
        let read = |path: &str| Ok(disk.read(path).map_err(io("opening a database"))?.unwrap_or_default());
        let image_content: Bytes = read(&image)?;
        let image_bytes = image_content.len();
        if !image_content.is_empty() {
            let batch = unframe(&mut image_content.clone())
                .ok_or_else(|| EngineError::Damaged(format!("{image} does not match its checksum")))?;
            apply(&mut rows, batch);
        }
        let mut rest: Bytes = read(&journal)?;
        let written = rest.len();
        let mut first = rest.clone();
        if unframe_body(&mut first).is_some_and(|body| body == STANDS_ON_IMAGE) {
            if image_content.is_empty() {
                return Err(EngineError::Damaged(format!("{image} is gone, and the journal stands on it")));
            }
            rest = first;
        }
        while let Some(batch) = unframe(&mut rest) {
            apply(&mut rows, batch);
        }
        let journal_bytes = written - rest.len();
        if !rest.is_empty() {
            disk.truncate(&journal, journal_bytes).map_err(io("opening a database"))?;
        }
        Ok(SimEngine { disk, journal, image, held: RwLock::new(Held { rows, journal_bytes, image_bytes }) })
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().expect("nothing panics while it holds the rows")
    }

    /// Writes the image anew and empties the journal. The journal is synced first: after a crash in between it is replayed
    /// over the image, which must not find itself newer than the journal's end.
    fn fold(&self, held: &mut Held) -> std::io::Result<()> {
        self.disk.sync_file(&self.journal)?;
        let image = frame(&as_batch(&held.rows));
        self.disk.replace(&self.image, &image)?;
        let journal = frame_body(STANDS_ON_IMAGE);
        self.disk.replace(&self.journal, &journal)?;
        held.journal_bytes = journal.len();
        held.image_bytes = image.len();
        Ok(())
    }
}

impl Engine for SimEngine {
    fn write(&self, batch: Batch, durability: Durability) -> Result<(), EngineError> {
        let mut held = self.held.write().expect("nothing panics while it holds the rows");
        let mut framed = Vec::new();
        if held.journal_bytes == 0 && held.image_bytes > 0 {
            framed.extend(frame_body(STANDS_ON_IMAGE));
        }
        framed.extend(frame(&batch));
        self.disk.append(&self.journal, &framed).map_err(io("writing"))?;
        held.journal_bytes += framed.len();
        apply(&mut held.rows, batch);
        if durability == Durability::Synced {
            reach(Point::BeforeSync);
            self.disk.sync_file(&self.journal).map_err(io("syncing"))?;
        }
        if held.journal_bytes > JOURNAL_BYTES_MAX.max(held.image_bytes) {
            self.fold(&mut held).map_err(io("folding the journal"))?;
        }
        Ok(())
    }

    fn get(&self, table: TableNumber, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.held().rows.get(&(table, Bytes::copy_from_slice(key))).cloned())
    }

    fn range(
        &self,
        table: TableNumber,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        let held = self.held();
        let from = (table, Bytes::copy_from_slice(from));
        let to = match to {
            Some(to) => Bound::Excluded((table, Bytes::copy_from_slice(to))),
            None => match table.checked_add(1) {
                Some(next) => Bound::Excluded((next, Bytes::new())),
                None => Bound::Unbounded,
            },
        };
        if matches!(&to, Bound::Excluded(to) if *to <= from) {
            return Ok(Vec::new());
        }
        let rows = held.rows.range((Bound::Included(from), to));
        let pair = |((_, key), row): (&(TableNumber, Bytes), &Bytes)| (key.clone(), row.clone());
        Ok(match order {
            Order::Ascending => rows.take(limit).map(pair).collect(),
            Order::Descending => rows.rev().take(limit).map(pair).collect(),
        })
    }

    fn sync(&self) -> Result<(), EngineError> {
        let held = self.held();
        if held.journal_bytes == 0 {
            return Ok(());
        }
        self.disk.sync_file(&self.journal).map_err(io("syncing"))
    }

    fn checkpoint(&self, path: &str) -> Result<(), EngineError> {
        let image = frame(&as_batch(&self.held().rows));
        self.disk.append(&format!("{path}/rows"), &image).map_err(io("making a checkpoint"))?;
        if at_work(Bug::SnapshotUnsynced) {
            return Ok(());
        }
        self.disk.sync_dir(path).map_err(io("syncing a checkpoint"))
    }

    fn delay(&self, durability: Durability) -> Duration {
        self.disk.draw_latency(durability == Durability::Synced)
    }
}

fn as_batch(rows: &Rows) -> Batch {
    rows.iter().map(|((table, key), row)| Change::Put { table: *table, key: key.clone(), row: row.clone() }).collect()
}

fn apply(rows: &mut Rows, batch: Batch) {
    for change in batch {
        match change {
            Change::Put { table, key, row } => {
                rows.insert((table, key), row);
            }
            Change::Delete { table, key } => {
                rows.remove(&(table, key));
            }
            Change::DeleteRange { table, from, to } => {
                if from < to {
                    let doomed: Vec<_> = rows.range((table, from)..(table, to)).map(|(key, _)| key.clone()).collect();
                    doomed.iter().for_each(|key| drop(rows.remove(key)));
                }
            }
        }
    }
}

/// A batch as it stands in a file: length, CRC32C, then each change as tag, table and two lengths with their bytes.
fn frame(batch: &Batch) -> Vec<u8> {
    let mut body = Vec::new();
    let mut put = |tag: u8, table: TableNumber, first: &[u8], second: &[u8]| {
        body.put_slice(&[tag, table]);
        body.put_u32_le(u32::try_from(first.len()).expect("a key is shorter than 4 GiB"));
        body.put_u32_le(u32::try_from(second.len()).expect("a row is shorter than 4 GiB"));
        body.put_slice(first);
        body.put_slice(second);
    };
    for change in batch {
        match change {
            Change::Put { table, key, row } => put(0, *table, key, row),
            Change::Delete { table, key } => put(1, *table, key, &[]),
            Change::DeleteRange { table, from, to } => put(2, *table, from, to),
        }
    }
    frame_body(&body)
}

fn frame_body(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_HEADER_BYTES + body.len());
    out.put_u32_le(u32::try_from(body.len()).expect("a batch is shorter than 4 GiB"));
    out.put_u32_le(crc32c::crc32c(body));
    out.put_slice(body);
    out
}

/// The bytes of a file's next frame, if it is there as a whole; else `rest` stays as it is.
fn unframe_body(rest: &mut Bytes) -> Option<Bytes> {
    let mut ahead = rest.clone();
    if ahead.len() < FRAME_HEADER_BYTES {
        return None;
    }
    let bytes = ahead.get_u32_le() as usize;
    let crc = ahead.get_u32_le();
    if ahead.len() < bytes {
        return None;
    }
    let body = ahead.split_to(bytes);
    if crc32c::crc32c(&body) != crc {
        return None;
    }
    *rest = ahead;
    Some(body)
}

/// The next batch of a file, if it is there as a whole; else `rest` stays as it is.
fn unframe(rest: &mut Bytes) -> Option<Batch> {
    let mut ahead = rest.clone();
    let mut body = unframe_body(&mut ahead)?;
    let mut batch = Batch::new();
    while body.has_remaining() {
        if body.len() < 10 {
            return None;
        }
        let (tag, table) = (body.get_u8(), body.get_u8());
        let (first, second) = (body.get_u32_le() as usize, body.get_u32_le() as usize);
        if body.len() < first.checked_add(second)? {
            return None;
        }
        let (first, second) = (body.split_to(first), body.split_to(second));
        batch.push(match tag {
            0 => Change::Put { table, key: first, row: second },
            1 => Change::Delete { table, key: first },
            2 => Change::DeleteRange { table, from: first, to: second },
            _ => return None,
        });
    }
    *rest = ahead;
    Some(batch)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn put(table: TableNumber, key: &'static str, row: &'static str) -> Change {
        Change::Put { table, key: Bytes::from_static(key.as_bytes()), row: Bytes::from_static(row.as_bytes()) }
    }

    fn keys(rows: Vec<(Bytes, Bytes)>) -> Vec<String> {
        rows.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).expect("text")).collect()
    }

    /// What every engine must do. Leaves it with tables 1, 2 and 255.
    pub fn exercise(engine: &dyn Engine) {
        let batch = vec![put(1, "a", "1"), put(1, "b", "2"), put(1, "c", "3"), put(2, "a", "x"), put(255, "z", "end")];
        engine.write(batch, Durability::Synced).expect("written");
        let range = |from: &str, to: Option<&str>, order, limit| {
            keys(engine.range(1, from.as_bytes(), to.map(str::as_bytes), order, limit).expect("read"))
        };
        assert_eq!(range("", None, Order::Ascending, 9), ["a", "b", "c"]);
        assert_eq!(range("b", Some("c"), Order::Ascending, 9), ["b"]);
        assert_eq!(range("", None, Order::Descending, 2), ["c", "b"]);
        assert_eq!(range("", Some("c"), Order::Descending, 9), ["b", "a"]);
        assert_eq!(range("c", Some("a"), Order::Ascending, 9), [""; 0]);
        assert_eq!(range("aa", None, Order::Ascending, 0), [""; 0]);
        assert_eq!(keys(engine.range(255, b"", None, Order::Descending, 9).expect("read")), ["z"]);

        let (key, from, to) = (Bytes::from_static(b"c"), Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        let batch =
            vec![Change::DeleteRange { table: 1, from, to }, Change::Delete { table: 1, key }, put(1, "d", "4")];
        engine.write(batch, Durability::Unsynced).expect("written");
        engine.sync().expect("synced");
        assert_eq!(range("", None, Order::Ascending, 9), ["b", "d"]);
        assert_eq!(engine.get(1, b"a").expect("read"), None);
        assert_eq!(engine.get(2, b"a").expect("read"), Some(Bytes::from_static(b"x")));
    }

    #[test]
    fn tables_and_ranges() {
        exercise(&SimEngine::open(SimDisk::new(1), "db").expect("opens"));
    }

    #[test]
    fn power_loss_keeps_a_prefix_that_holds_all_that_was_synced() {
        for seed in 0..200 {
            let disk = SimDisk::new(seed);
            let engine = SimEngine::open(disk.clone(), "db").expect("opens");
            for number in 0..20u8 {
                let key = Bytes::copy_from_slice(&[number]);
                let durability = if number == 9 { Durability::Synced } else { Durability::Unsynced };
                engine.write(vec![Change::Put { table: 1, key: key.clone(), row: key }], durability).expect("written");
            }
            let engine = SimEngine::open(disk.power_lost(), "db").expect("opens");
            let kept = engine.range(1, b"", None, Order::Ascending, 100).expect("read");
            assert!(kept.len() >= 10, "seed {seed}: only {} of 10 synced rows", kept.len());
            assert!(kept.iter().enumerate().all(|(number, (key, _))| usize::from(key[0]) == number), "a prefix");
        }
    }

    #[test]
    fn folding_the_journal_survives_power_loss_at_every_change() {
        let row = Bytes::from(vec![7; JOURNAL_BYTES_MAX / 4]);
        let mut folded = false;
        for fails_at in 0..20 {
            let disk = SimDisk::new(fails_at);
            let engine = SimEngine::open(disk.clone(), "db").expect("opens");
            disk.fail_power_at(fails_at);
            let acknowledged = (0..6u8)
                .take_while(|number| {
                    let key = Bytes::copy_from_slice(&[*number]);
                    engine.write(vec![Change::Put { table: 1, key, row: row.clone() }], Durability::Synced).is_ok()
                })
                .count();
            let disk = disk.power_lost();
            folded |= disk.file_bytes("db/rows").is_ok();
            let engine = SimEngine::open(disk, "db").expect("opens");
            let kept = engine.range(1, b"", None, Order::Ascending, 100).expect("read").len();
            assert!(kept == acknowledged || kept == acknowledged + 1, "{kept} kept of {acknowledged} acknowledged");
        }
        assert!(folded, "the journal was folded in some run");
    }

    #[test]
    fn a_journal_without_the_image_that_it_stands_on_is_damage() {
        let row = Bytes::from(vec![7; JOURNAL_BYTES_MAX / 2]);
        let big = |key: &'static [u8]| Change::Put { table: 1, key: Bytes::from_static(key), row: row.clone() };
        let folded = SimDisk::new(1);
        let engine = SimEngine::open(folded.clone(), "db").expect("opens");
        for key in [&b"a"[..], b"b", b"c", b"d"] {
            engine.write(vec![big(key)], Durability::Synced).expect("written");
        }
        let installed = SimDisk::new(2);
        let engine = SimEngine::open(installed.clone(), "made").expect("opens");
        engine.write(vec![put(1, "a", "1")], Durability::Synced).expect("written");
        engine.checkpoint("db").expect("made");
        let engine = SimEngine::open(installed.clone(), "db").expect("opens");
        engine.write(vec![put(1, "b", "2")], Durability::Synced).expect("written");
        for disk in [folded, installed] {
            let kept = SimEngine::open(disk.clone(), "db").expect("opens").range(1, b"b", None, Order::Ascending, 1);
            assert_eq!(keys(kept.expect("read")), ["b"]);
            disk.lose("db/rows");
            assert!(matches!(SimEngine::open(disk, "db"), Err(EngineError::Damaged(_))));
        }
    }

    #[test]
    fn a_checkpoint_is_a_database_of_its_own() {
        let disk = SimDisk::new(1);
        let engine = SimEngine::open(disk.clone(), "db").expect("opens");
        exercise(&engine);
        engine.checkpoint("copy").expect("made");
        engine.write(vec![put(1, "later", "")], Durability::Synced).expect("written");
        let disk = disk.power_lost();
        let copy = SimEngine::open(disk.clone(), "copy").expect("opens");
        assert_eq!(keys(copy.range(1, b"", None, Order::Ascending, 9).expect("read")), ["b", "d"]);
        disk.flip_bit("copy/rows", 20, 3).expect("is there");
        assert!(matches!(SimEngine::open(disk, "copy"), Err(EngineError::Damaged(_))));
    }
}

//! A disk that can lose its power, in memory.
//!
//! Every file has what was written and how much of it is synced, every name whether it is. A power loss keeps what is
//! synced and a random part of the rest, the last bytes of which may be garbage; the end of a process keeps everything.
//! Either makes a new handle, and what still holds the old one gets errors: nothing that ran before the crash can write
//! after it. Errors, a full disk, flipped bits and missing files are injected by the test or the simulator. The same seed
//! and calls give the same disk; it needs no runtime, so tests use it with real threads too.
//!
//! What this deliberately does not do: reorder unsynced writes within a file. A file loses its tail, never its middle.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;

use self::image::{Fate, File, FileId, Image, check_room, not_found, power_lost, prefix};
use super::{Disk, Purpose};
use crate::engine::simulated::SimEngine;
use crate::engine::{EngineError, SharedEngine};

mod image;

/// What writes cost in simulated time. Each is drawn evenly from its range.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Latency {
    pub synced_us: Range<u64>,
    pub unsynced_us: Range<u64>,
}

/// What a disk held at some time.
#[derive(Debug, Clone)]
pub struct FolderCopy(BTreeMap<String, Vec<u8>>);

/// A handle to a simulated disk, for one life of the machine that uses it. Clones are of the same life.
#[derive(Clone)]
pub struct SimDisk {
    image: Arc<Mutex<Image>>,
    life: u64,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDisk(life {})", self.life)
    }
}

impl SimDisk {
    /// An empty disk; everything random about it follows from `seed`.
    pub fn new(seed: u64) -> SimDisk {
        let image = Image::new(seed);
        SimDisk { image: Arc::new(Mutex::new(image)), life: 0 }
    }

    /// The image, whoever's life it is.
    fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().expect("nothing panics while it holds the disk")
    }

    /// The image, if this handle is of the present life.
    fn alive(&self) -> io::Result<MutexGuard<'_, Image>> {
        let image = self.image();
        if image.life != self.life {
            return Err(power_lost());
        }
        Ok(image)
    }

    fn change<T>(&self, doing: impl FnOnce(&mut Image) -> io::Result<T>) -> io::Result<T> {
        let mut image = self.alive()?;
        let fate = image.change()?;
        let done = doing(&mut image)?;
        match fate {
            Fate::Happens => Ok(done),
            Fate::HappensUnseen => Err(power_lost()),
        }
    }

    fn next_life(&self, crash: impl FnOnce(&mut Image)) -> SimDisk {
        let mut image = self.image();
        crash(&mut image);
        image.life += 1;
        image.power_fails_at = None;
        SimDisk { image: self.image.clone(), life: image.life }
    }

    /// The machine loses its power and starts again: a handle for its next life.
    pub fn power_lost(&self) -> SimDisk {
        self.next_life(Image::lose_power)
    }

    /// The process ends without a word and another starts: what was written is there, synced or not.
    pub fn process_killed(&self) -> SimDisk {
        self.next_life(|_| ())
    }

    /// Power fails at the change number `change` from now, counted from 0: it happens or not, and nothing after it does.
    /// The machine stays dark until [`power_lost`](SimDisk::power_lost) starts it again.
    pub fn fail_power_at(&self, change: u64) {
        let mut image = self.image();
        image.power_fails_at = Some(image.changes + change);
    }

    /// How many changes were made since the disk was made.
    pub fn changes(&self) -> u64 {
        self.image().changes
    }

    /// From now on every sync fails, or no longer does.
    pub fn fail_syncs(&self, fails: bool) {
        self.image().sync_error = fails;
    }

    /// From now on files are said to be synced that are not, or no longer: a disk that breaks its promise, to see who notices.
    pub fn ignore_syncs(&self, ignores: bool) {
        self.image().ignores_syncs = ignores;
    }

    /// From now on every append fails, or no longer does.
    pub fn fail_writes(&self, fails: bool) {
        self.image().write_error = fails;
    }

    /// From now on the disk has room for this many bytes; `None`: for any number.
    pub fn limit(&self, capacity_bytes: Option<u64>) {
        self.image().capacity_bytes = capacity_bytes;
    }

    pub fn set_latency(&self, latency: Latency) {
        self.image().latency = latency;
    }

    /// What the next write costs.
    pub fn draw_latency(&self, synced: bool) -> Duration {
        let mut image = self.image();
        let range = if synced { image.latency.synced_us.clone() } else { image.latency.unsynced_us.clone() };
        if range.is_empty() {
            return Duration::ZERO;
        }
        Duration::from_micros(image.rng.random_range(range))
    }

    /// Flips one bit of a stored file, as bad hardware does.
    pub fn flip_bit(&self, path: &str, byte: usize, bit: u8) -> io::Result<()> {
        let mut image = self.image();
        let id = *image.names.get(path).ok_or_else(|| not_found(path))?;
        let file = image.files.get_mut(&id).expect("every name has a file");
        let byte = file.content.get_mut(byte).ok_or_else(|| not_found("so long"))?;
        *byte ^= 1 << (bit % 8);
        Ok(())
    }

    /// Takes a file, or a directory with all its files, from the disk for good.
    pub fn lose(&self, path: &str) {
        let mut image = self.image();
        let below = prefix(path);
        let stays = |name: &String, _: &mut FileId| *name != path && !name.starts_with(&below);
        image.names.retain(stays);
        image.durable_names.retain(stays);
        image.forget_unnamed();
    }

    /// Cuts a stored file to its first `bytes` bytes, for good.
    pub fn shorten(&self, path: &str, bytes: usize) -> io::Result<()> {
        let mut image = self.image();
        let id = *image.names.get(path).ok_or_else(|| not_found(path))?;
        let file = image.files.get_mut(&id).expect("every name has a file");
        file.content.truncate(bytes);
        file.synced = file.synced.min(bytes);
        Ok(())
    }

    /// Everything is gone but these files.
    pub fn wipe(&self, kept: &[&str]) {
        let mut image = self.image();
        let stays = |name: &String, _: &mut FileId| kept.contains(&name.as_str());
        image.names.retain(stays);
        image.durable_names.retain(stays);
        image.forget_unnamed();
    }

    /// All files, as somebody copies them who sees what was written, synced or not.
    pub fn copy(&self) -> FolderCopy {
        let image = self.image();
        FolderCopy(image.names.iter().map(|(name, id)| (name.clone(), image.files[id].content.clone())).collect())
    }

    /// These files, and no others, durable.
    pub fn restore(&self, copy: &FolderCopy) {
        self.wipe(&[]);
        let mut image = self.image();
        for (name, content) in &copy.0 {
            image.next_file += 1;
            let id = image.next_file;
            image.files.insert(id, File { content: content.clone(), synced: content.len() });
            image.names.insert(name.clone(), id);
            image.durable_names.insert(name.clone(), id);
        }
    }

    /// Which file a path names, by a number that no other file ever has, and its size in bytes.
    pub fn extent(&self, path: &str) -> Option<(u64, usize)> {
        let image = self.image();
        let id = *image.names.get(path)?;
        Some((id, image.files[&id].content.len()))
    }

    /// The paths of all files, for tests that choose among them.
    pub fn paths(&self) -> Vec<String> {
        self.image().names.keys().cloned().collect()
    }

    /// Makes a file's content so far durable, with its name.
    pub(crate) fn sync_file(&self, path: &str) -> io::Result<()> {
        self.change(|image| {
            if image.sync_error {
                return Err(io::Error::other("injected: sync failed"));
            }
            if image.ignores_syncs {
                return Ok(());
            }
            let id = *image.names.get(path).ok_or_else(|| not_found(path))?;
            let file = image.files.get_mut(&id).expect("every name has a file");
            file.synced = file.content.len();
            image.durable_names.insert(path.to_string(), id);
            Ok(())
        })
    }

    /// Cuts a file to its first `bytes` bytes.
    pub(crate) fn truncate(&self, path: &str, bytes: usize) -> io::Result<()> {
        self.change(|image| {
            let file = image.file_mut(path);
            file.content.truncate(bytes);
            file.synced = file.synced.min(bytes);
            Ok(())
        })
    }
}

impl Disk for SimDisk {
    fn open_engine(&self, path: &str, _purpose: Purpose) -> Result<SharedEngine, EngineError> {
        Ok(Arc::new(SimEngine::open(self.clone(), path)?))
    }

    fn read(&self, path: &str) -> io::Result<Option<Bytes>> {
        match self.alive()?.file(path) {
            Ok(file) => Ok(Some(Bytes::copy_from_slice(&file.content))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_at(&self, path: &str, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let image = self.alive()?;
        let content = &image.file(path)?.content;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let to = from.saturating_add(bytes).min(content.len());
        Ok(Bytes::copy_from_slice(&content[from..to]))
    }

    fn replace(&self, path: &str, content: &[u8]) -> io::Result<()> {
        self.change(|image| {
            if image.sync_error {
                return Err(io::Error::other("injected: sync failed"));
            }
            check_room(image, content.len())?;
            image.next_file += 1;
            let id = image.next_file;
            image.files.insert(id, File { content: content.to_vec(), synced: content.len() });
            image.names.insert(path.to_string(), id);
            image.durable_names.insert(path.to_string(), id);
            image.forget_unnamed();
            Ok(())
        })
    }

    fn append(&self, path: &str, content: &[u8]) -> io::Result<()> {
        self.change(|image| {
            if image.write_error {
                return Err(io::Error::other("injected: write failed"));
            }
            check_room(image, content.len())?;
            image.file_mut(path).content.extend_from_slice(content);
            Ok(())
        })
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let image = self.alive()?;
        let below = prefix(dir);
        let mut names: Vec<String> = Image::under(&image.names, dir)
            .into_iter()
            .map(|(name, _)| name[below.len()..].split('/').next().unwrap_or_default().to_string())
            .collect();
        names.dedup();
        Ok(names)
    }

    fn file_bytes(&self, path: &str) -> io::Result<u64> {
        Ok(self.alive()?.file(path)?.content.len() as u64)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.change(|image| {
            if image.sync_error {
                return Err(io::Error::other("injected: sync failed"));
            }
            image.sync_under(dir);
            Ok(())
        })
    }

    fn rename_dir(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|image| {
            let renamed = |names: &mut BTreeMap<String, FileId>| {
                for (name, id) in Image::under(names, from) {
                    names.remove(&name);
                    names.insert(format!("{to}{}", &name[from.len()..]), id);
                }
            };
            renamed(&mut image.names);
            renamed(&mut image.durable_names);
            Ok(())
        })
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        self.change(|image| {
            let below = prefix(dir);
            image.names.retain(|name, _| !name.starts_with(&below));
            image.durable_names.retain(|name, _| !name.starts_with(&below));
            image.forget_unnamed();
            Ok(())
        })
    }

    fn copy_dir(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|image| {
            for (name, id) in Image::under(&image.names, from) {
                let content = image.files[&id].content.clone();
                check_room(image, content.len())?;
                image.file_mut(&format!("{to}{}", &name[from.len()..])).content = content;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What every disk must do.
    pub fn exercise(disk: &dyn Disk) {
        assert_eq!(disk.read("small").expect("reads"), None);
        disk.replace("small", b"one").expect("written");
        disk.replace("small", b"two").expect("replaced");
        assert_eq!(disk.read("small").expect("reads"), Some(Bytes::from_static(b"two")));

        assert_eq!(disk.list("tmp/dir").expect("lists"), Vec::<String>::new());
        disk.append("tmp/dir/b.sst", b"bb").expect("written");
        disk.append("tmp/dir/a", b"a").expect("written");
        disk.append("tmp/dir/a", b"bc").expect("written");
        disk.sync_dir("tmp/dir").expect("synced");
        assert_eq!(disk.list("tmp/dir").expect("lists"), ["a", "b.sst"]);
        assert_eq!(disk.file_bytes("tmp/dir/a").expect("is there"), 3);
        assert_eq!(disk.read_at("tmp/dir/a", 1, 9).expect("reads"), "bc");

        disk.rename_dir("tmp/dir", "kept/dir").expect("renamed");
        disk.copy_dir("kept/dir", "kept/copy").expect("copied");
        disk.sync_dir("kept/copy").expect("synced");
        disk.remove_dir("kept/dir").expect("removed");
        disk.remove_dir("kept/dir").expect("nothing to remove is fine");
        assert_eq!(disk.list("kept").expect("lists"), ["copy"]);
        assert_eq!(disk.list("tmp/dir").expect("lists"), Vec::<String>::new());
        assert_eq!(disk.read("kept/copy/b.sst").expect("reads"), Some(Bytes::from_static(b"bb")));
    }

    #[test]
    fn files_and_directories() {
        exercise(&SimDisk::new(1));
    }

    #[test]
    fn power_loss_keeps_what_is_synced_and_a_tail_at_most() {
        let mut lost = 0;
        for seed in 0..100 {
            let disk = SimDisk::new(seed);
            disk.append("d/file", b"synced").expect("written");
            disk.sync_dir("d").expect("synced");
            disk.append("d/file", b", not synced").expect("written");
            disk.append("d/unnamed", b"gone").expect("written");
            let after = disk.power_lost();
            assert!(disk.read("d/file").is_err(), "the old life cannot read");
            let content = after.read("d/file").expect("reads").expect("is there");
            assert!(content.starts_with(b"synced"));
            assert_eq!(after.read("d/unnamed").expect("reads"), None);
            lost += usize::from(content.len() < 18);
        }
        assert!(lost > 50, "most tails lose something, not only {lost} of 100");
    }

    #[test]
    fn a_killed_process_loses_nothing() {
        let disk = SimDisk::new(1);
        disk.append("d/file", b"not synced").expect("written");
        let after = disk.process_killed();
        assert!(disk.append("d/file", b"late").is_err(), "the old life cannot write");
        assert_eq!(after.read("d/file").expect("reads"), Some(Bytes::from_static(b"not synced")));
    }

    #[test]
    fn injected_faults_are_errors() {
        let disk = SimDisk::new(1);
        disk.append("d/file", b"1234").expect("written");
        disk.fail_syncs(true);
        assert!(disk.sync_dir("d").is_err());
        disk.fail_syncs(false);
        disk.limit(Some(6));
        assert_eq!(disk.append("d/file", b"567").expect_err("full").kind(), io::ErrorKind::StorageFull);
        disk.limit(None);
        disk.flip_bit("d/file", 0, 0).expect("is there");
        assert_eq!(disk.read("d/file").expect("reads"), Some(Bytes::from_static(b"0234")));
        disk.shorten("d/file", 2).expect("is there");
        assert_eq!(disk.read("d/file").expect("reads"), Some(Bytes::from_static(b"02")));
        disk.lose("d");
        assert_eq!(disk.read("d/file").expect("reads"), None);
    }

    #[test]
    fn a_copy_brings_back_what_was_there_and_nothing_else() {
        let disk = SimDisk::new(1);
        disk.append("old", b"1").expect("written");
        let (copy, extent) = (disk.copy(), disk.extent("old"));
        disk.append("old", b"2").expect("written");
        disk.append("new", b"3").expect("written");
        disk.restore(&copy);
        assert_eq!(disk.paths(), ["old"]);
        let disk = disk.power_lost();
        assert_eq!(disk.read("old").expect("reads"), Some(Bytes::from_static(b"1")));
        assert_ne!(disk.extent("old"), extent, "it is another file of the same name");
        disk.append("new", b"3").expect("written");
        disk.wipe(&["new"]);
        assert_eq!(disk.paths(), ["new"]);
    }
}

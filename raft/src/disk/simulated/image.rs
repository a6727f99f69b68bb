//! What a simulated disk holds, and what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::Latency;

/// A file's bytes, and how many of them are safe.
#[derive(Debug, Clone, Default)]
pub struct File {
    pub content: Vec<u8>,
    /// This many bytes survive the loss of power.
    pub synced: usize,
}

pub type FileId = u64;

/// What the disk holds, and what is wrong with it.
#[derive(Debug)]
pub struct Image {
    pub files: BTreeMap<FileId, File>,
    pub next_file: FileId,
    pub names: BTreeMap<String, FileId>,
    pub durable_names: BTreeMap<String, FileId>,
    pub rng: SmallRng,
    /// Raised by every crash: handles of an earlier life fail.
    pub life: u64,
    /// Changes made so far: the points at which power can fail.
    pub changes: u64,
    pub power_fails_at: Option<u64>,
    pub capacity_bytes: Option<u64>,
    pub sync_error: bool,
    pub ignores_syncs: bool,
    pub write_error: bool,
    pub latency: Latency,
}

pub fn power_lost() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the machine lost its power")
}

pub fn not_found(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {path}"))
}

/// How all paths in a directory begin; the data folder itself is the empty path.
pub fn prefix(dir: &str) -> String {
    if dir.is_empty() { String::new() } else { format!("{dir}/") }
}

/// What becomes of a change that does not fail.
pub enum Fate {
    Happens,
    /// Power fails when it is done, before anybody hears of it.
    HappensUnseen,
}

impl Image {
    /// An empty disk.
    pub fn new(seed: u64) -> Image {
        Image {
            files: BTreeMap::new(),
            next_file: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            rng: SmallRng::seed_from_u64(seed),
            life: 0,
            changes: 0,
            power_fails_at: None,
            capacity_bytes: None,
            sync_error: false,
            ignores_syncs: false,
            write_error: false,
            latency: Latency::default(),
        }
    }

    /// Bytes of all files that have a name.
    pub fn bytes(&self) -> u64 {
        self.names.values().map(|id| self.files[id].content.len() as u64).sum()
    }

    /// Called before every change.
    pub fn change(&mut self) -> io::Result<Fate> {
        let at = self.changes;
        self.changes += 1;
        match self.power_fails_at {
            Some(fails_at) if at > fails_at => Err(power_lost()),
            Some(fails_at) if at == fails_at => {
                if self.rng.random() {
                    Ok(Fate::HappensUnseen)
                } else {
                    Err(power_lost())
                }
            }
            _ => Ok(Fate::Happens),
        }
    }

    /// The file, made where there is none.
    pub fn file_mut(&mut self, path: &str) -> &mut File {
        let id = match self.names.get(path) {
            Some(id) => *id,
            None => {
                self.next_file += 1;
                self.names.insert(path.to_string(), self.next_file);
                self.next_file
            }
        };
        self.files.entry(id).or_default()
    }

    pub fn file(&self, path: &str) -> io::Result<&File> {
        self.names.get(path).map(|id| &self.files[id]).ok_or_else(|| not_found(path))
    }

    /// The files whose paths begin with the directory `dir`.
    pub fn under(names: &BTreeMap<String, FileId>, dir: &str) -> Vec<(String, FileId)> {
        let prefix = prefix(dir);
        names
            .range(prefix.clone()..)
            .take_while(|(name, _)| name.starts_with(&prefix))
            .map(|(name, id)| (name.clone(), *id))
            .collect()
    }

    /// Makes a directory's files and names durable.
    pub fn sync_under(&mut self, dir: &str) {
        for (name, _) in Image::under(&self.durable_names, dir) {
            if !self.names.contains_key(&name) {
                self.durable_names.remove(&name);
            }
        }
        for (name, id) in Image::under(&self.names, dir) {
            let file = self.files.get_mut(&id).expect("every name has a file");
            file.synced = file.content.len();
            self.durable_names.insert(name, id);
        }
    }

    /// Frees the files that no name leads to, now or after a crash.
    pub fn forget_unnamed(&mut self) {
        let named: BTreeSet<FileId> = self.names.values().chain(self.durable_names.values()).copied().collect();
        self.files.retain(|id, _| named.contains(id));
    }

    /// Keeps what is synced, and of the rest what the disk happened to have written.
    pub fn lose_power(&mut self) {
        self.names = self.durable_names.clone();
        self.forget_unnamed();
        for file in self.files.values_mut() {
            let kept = self.rng.random_range(file.synced..=file.content.len());
            file.content.truncate(kept);
            if kept > file.synced && self.rng.random_range(0..4) == 0 {
                let garbled = self.rng.random_range(file.synced..kept);
                self.rng.fill(&mut file.content[garbled..]);
            }
            file.synced = kept;
        }
    }
}

/// An error if the disk has no room for so many more bytes.
pub fn check_room(image: &Image, more_bytes: usize) -> io::Result<()> {
    match image.capacity_bytes {
        Some(capacity) if image.bytes() + more_bytes as u64 > capacity => {
            Err(io::Error::new(io::ErrorKind::StorageFull, "injected: the disk is full"))
        }
        _ => Ok(()),
    }
}

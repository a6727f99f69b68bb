//! The directories of snapshots: the current one, those on their way, and what is left over of either.
//!
//! Complete snapshots stand in `snapshots/`, everything unfinished in `tmp/`, and a rename takes one to the other. Nothing is
//! removed that somebody holds; it is looked through again whenever something is added.

use std::fmt::Display;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use holdfast_ledger::planted::{Bug, at_work};

use super::{CHUNK_BYTES_MAX, Manifest, SnapshotFiles, SnapshotReceiver};
use crate::damage::Fault;
use crate::disk::SharedDisk;
use crate::failpoint::{Point, reach};
use crate::format::SnapshotMetaRecord;

const COMPLETE: &str = "snapshots";
const UNFINISHED: &str = "tmp";

/// Snapshots that may be on their way at once.
const INCOMING_MAX: usize = 4;

#[derive(Debug, Default)]
struct Directories {
    current: Option<SnapshotFiles>,
    /// Replaced, but perhaps still read.
    replaced: Vec<SnapshotFiles>,
    incoming: Vec<SnapshotFiles>,
    next_number: u64,
}

/// A snapshot that nobody can use goes: the state is a copy of its own, and another snapshot is made of it.
fn abandon(disk: &SharedDisk, path: &str, reason: impl Display) -> io::Result<()> {
    tracing::error!(path, %reason, "a damaged snapshot is removed");
    reach(Point::SnapshotGivenUp);
    disk.remove_dir(path)
}

fn is_damage(error: &io::Error) -> bool {
    let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
    matches!(fault, Some(Fault::Damage(_))) || error.kind() == io::ErrorKind::InvalidData
}

/// All snapshots of a data folder.
#[derive(Debug)]
pub struct Shelf {
    disk: SharedDisk,
    directories: Mutex<Directories>,
}

impl Shelf {
    /// Finds the newest snapshot and removes everything else. Blocks.
    pub fn open(disk: SharedDisk) -> io::Result<Shelf> {
        for name in disk.list(UNFINISHED)? {
            disk.remove_dir(&format!("{UNFINISHED}/{name}"))?;
        }
        let mut found: Vec<SnapshotFiles> = Vec::new();
        let mut next_number = 0;
        for name in disk.list(COMPLETE)? {
            let number = name.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
            next_number = next_number.max(number.map_or(0, |number| number + 1));
            let path = format!("{COMPLETE}/{name}");
            match Manifest::read(&*disk, &path) {
                Ok(Some(manifest)) => found.push(SnapshotFiles::new(disk.clone(), path, manifest)),
                Ok(None) => abandon(&disk, &path, "it has no manifest")?,
                Err(error) if is_damage(&error) => abandon(&disk, &path, error)?,
                Err(error) => return Err(error),
            }
        }
        found.sort_by_key(|files| (files.manifest().meta.last_log_id, files.path().to_string()));
        let current = found.pop();
        for files in found {
            disk.remove_dir(files.path())?;
        }
        Ok(Shelf { disk, directories: Mutex::new(Directories { current, next_number, ..Directories::default() }) })
    }

    fn directories(&self) -> MutexGuard<'_, Directories> {
        self.directories.lock().expect("nothing panics while it holds the directories")
    }

    /// The newest complete snapshot.
    pub fn current(&self) -> Option<SnapshotFiles> {
        self.directories().current.clone()
    }

    /// A path below `tmp/` that nothing has used since the folder was opened.
    pub fn unfinished_path(&self) -> String {
        let mut directories = self.directories();
        directories.next_number += 1;
        format!("{UNFINISHED}/{}", directories.next_number)
    }

    /// Makes the checkpoint at `path` (in `tmp/`) the current snapshot, unless a newer one came meanwhile; answers with the
    /// checkpoint either way, as what came may not be in the state yet. Blocks.
    pub fn add_checkpoint(&self, path: &str, meta: SnapshotMetaRecord) -> io::Result<SnapshotFiles> {
        let manifest = Manifest::of_directory(&*self.disk, path, meta)?;
        manifest.check()?;
        manifest.write(&*self.disk, path)?;
        if !at_work(Bug::SnapshotUnsynced) {
            self.disk.sync_dir(path)?;
        }
        let made = SnapshotFiles::new(self.disk.clone(), path.to_string(), manifest);
        let current = self.place(made.clone())?;
        Ok(if current.manifest().meta == made.manifest().meta { current } else { made })
    }

    /// Makes a snapshot that was received the current one, unless it is or a newer one is; answers with the current one.
    /// One that stands in another data folder is copied. Blocks.
    pub fn place(&self, files: SnapshotFiles) -> io::Result<SnapshotFiles> {
        let here = std::ptr::addr_eq(Arc::as_ptr(&self.disk), Arc::as_ptr(&files.held.disk));
        let files = if here { files } else { self.copy_here(&files)? };
        let mut directories = self.directories();
        if let Some(current) = &directories.current
            && current.manifest().meta.last_log_id >= files.manifest().meta.last_log_id
            && !current.is_condemned()
        {
            let current = current.clone();
            if current.path() != files.path() {
                directories.replaced.push(files);
            }
            self.remove_unused(&mut directories)?;
            return Ok(current);
        }
        directories.next_number += 1;
        let (term, index) = files.manifest().meta.last_log_id.map_or((0, 0), |id| (id.term, id.index));
        let path = format!("{COMPLETE}/{term}-{index}-{}", directories.next_number);
        reach(Point::BeforeSnapshotRename);
        self.disk.rename_dir(files.path(), &path)?;
        reach(Point::AfterSnapshotRename);
        directories.incoming.retain(|incoming| incoming.path() != files.path());
        let placed = SnapshotFiles::new(self.disk.clone(), path, files.manifest().clone());
        let replaced = directories.current.replace(placed.clone());
        directories.replaced.extend(replaced);
        self.remove_unused(&mut directories)?;
        Ok(placed)
    }

    fn copy_here(&self, files: &SnapshotFiles) -> io::Result<SnapshotFiles> {
        let path = self.unfinished_path();
        for file in &files.manifest().files {
            let (from, to) = (format!("{}/{}", files.path(), file.name), format!("{path}/{}", file.name));
            self.disk.append(&to, &[])?;
            let mut copied = 0;
            while copied < file.bytes {
                let piece = files.held.disk.read_at(&from, copied, CHUNK_BYTES_MAX)?;
                if piece.is_empty() {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{from} is too short")));
                }
                self.disk.append(&to, &piece)?;
                copied += piece.len() as u64;
            }
        }
        let copy = SnapshotFiles::new(self.disk.clone(), path, files.manifest().clone());
        self.complete(&copy)?;
        Ok(copy)
    }

    /// Begins to receive a snapshot. Refuses a manifest that no node of ours made, and more than a few at once. Blocks.
    pub fn receive(self: &Arc<Shelf>, manifest: Manifest) -> io::Result<SnapshotReceiver> {
        manifest.check()?;
        let path = self.unfinished_path();
        let mut directories = self.directories();
        self.remove_unused(&mut directories)?;
        if directories.incoming.len() >= INCOMING_MAX {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many snapshots are on their way"));
        }
        let files = SnapshotFiles::new(self.disk.clone(), path, manifest);
        directories.incoming.push(files.clone());
        Ok(SnapshotReceiver::new(self.clone(), files))
    }

    /// Makes a received snapshot, with its manifest, durable where it is. Blocks.
    pub(super) fn complete(&self, files: &SnapshotFiles) -> io::Result<()> {
        files.manifest().write(&*self.disk, files.path())?;
        self.disk.sync_dir(files.path())
    }

    /// Removes what was replaced or abandoned and is not held by anybody.
    fn remove_unused(&self, directories: &mut Directories) -> io::Result<()> {
        let Directories { replaced, incoming, .. } = directories;
        for list in [replaced, incoming] {
            let unheld = |files: &SnapshotFiles| Arc::strong_count(&files.held) == 1;
            let (unused, used): (Vec<_>, Vec<_>) = std::mem::take(list).into_iter().partition(unheld);
            *list = used;
            for files in unused {
                self.disk.remove_dir(files.path())?;
            }
        }
        Ok(())
    }
}

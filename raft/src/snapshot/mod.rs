//! Snapshots: consistent copies of the state's database, as files.
//!
//! One is made by the state's flusher as a checkpoint, gets a manifest with a checksum for every file, and takes its place
//! by a rename once all of it is durable. It is sent file by file, received into a directory of its own, checked, and
//! installed by pointing the state at a copy of it. A crash at any step leaves either the snapshot before or this one;
//! what was begun and not finished is removed when the folder is next opened.
//!
//! What this deliberately does not do: keep history. There is one snapshot, the newest; an older one stays only as long as
//! somebody still reads it. Backups are made from it elsewhere.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::disk::SharedDisk;
use crate::runtime;
use crate::types::SnapshotMeta;

mod manifest;
mod receive;
mod shelf;

pub use manifest::{FILES_MAX, FileRecord, Manifest};
pub use receive::SnapshotReceiver;
pub use shelf::Shelf;

/// The most that is read of a snapshot's file, or received for one, at a time, in bytes.
pub const CHUNK_BYTES_MAX: usize = 4 << 20;

/// A complete snapshot in a directory, which stays as long as this is held. Clones are of the same.
#[derive(Debug, Clone)]
pub struct SnapshotFiles {
    held: Arc<HeldDirectory>,
}

/// A directory that the [`Shelf`] does not remove while somebody holds it.
#[derive(Debug)]
struct HeldDirectory {
    disk: SharedDisk,
    path: String,
    manifest: Manifest,
    /// Found to be damaged: the next one takes its place, however old it is.
    condemned: AtomicBool,
}

impl SnapshotFiles {
    fn new(disk: SharedDisk, path: String, manifest: Manifest) -> SnapshotFiles {
        SnapshotFiles { held: Arc::new(HeldDirectory { disk, path, manifest, condemned: AtomicBool::new(false) }) }
    }

    pub fn manifest(&self) -> &Manifest {
        &self.held.manifest
    }

    pub fn meta(&self) -> io::Result<SnapshotMeta> {
        self.held.manifest.meta()
    }

    /// Where it is, relative to the data folder.
    pub fn path(&self) -> &str {
        &self.held.path
    }

    /// The data folder that it is in.
    pub(crate) fn disk(&self) -> &SharedDisk {
        &self.held.disk
    }

    /// Reads at most `bytes` bytes (and never more than [`CHUNK_BYTES_MAX`]) of the manifest's file number `file` from
    /// `offset`; empty at its end.
    pub async fn read(&self, file: usize, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let record = self.held.manifest.files.get(file);
        let record = record.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "a snapshot has no such file"))?;
        let path = format!("{}/{}", self.held.path, record.name);
        let held = self.held.clone();
        runtime::blocking(move || held.disk.read_at(&path, offset, bytes.min(CHUNK_BYTES_MAX))).await
    }

    /// Its files are not what its manifest says.
    pub(crate) fn condemn(&self) {
        self.held.condemned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_condemned(&self) -> bool {
        self.held.condemned.load(Ordering::Relaxed)
    }

    /// Reads all of it and compares it with its manifest. Blocks.
    pub(crate) fn verify(&self) -> io::Result<()> {
        self.held.manifest.verify(&*self.held.disk, &self.held.path)
    }
}

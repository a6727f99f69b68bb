//! Receiving a snapshot: files in order, each in order, into a directory of its own.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::shelf::Shelf;
use super::{CHUNK_BYTES_MAX, Manifest, SnapshotFiles};
use crate::runtime;

/// A snapshot on its way in. Dropped before it is finished, it is removed when the next one begins.
#[derive(Debug)]
pub struct SnapshotReceiver {
    shelf: Arc<Shelf>,
    files: SnapshotFiles,
    /// The file being received, and what came of it so far.
    file: usize,
    bytes: u64,
    crc: u32,
}

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

impl SnapshotReceiver {
    pub(super) fn new(shelf: Arc<Shelf>, files: SnapshotFiles) -> SnapshotReceiver {
        SnapshotReceiver { shelf, files, file: 0, bytes: 0, crc: 0 }
    }

    pub fn manifest(&self) -> &Manifest {
        self.files.manifest()
    }

    /// Appends a chunk of at most [`CHUNK_BYTES_MAX`] to the manifest's file number `file`. Files come in order; a file is
    /// complete, and its checksum compared, before the next one begins.
    pub async fn write(&mut self, file: usize, chunk: Bytes) -> io::Result<()> {
        if chunk.is_empty() || chunk.len() > CHUNK_BYTES_MAX {
            return Err(refused(format!("a snapshot chunk of {} bytes", chunk.len())));
        }
        while self.file < file {
            self.complete_file().await?;
        }
        let record = self.manifest().files.get(file);
        let record =
            record.ok_or_else(|| refused(format!("a chunk of file {file}, which the snapshot does not have")))?;
        if self.file != file || self.bytes + chunk.len() as u64 > record.bytes {
            return Err(refused(format!("a chunk of {:?} that is out of order or too long", record.name)));
        }
        self.crc = crc32c::crc32c_append(self.crc, &chunk);
        self.bytes += chunk.len() as u64;
        self.append(file, chunk).await
    }

    async fn append(&self, file: usize, chunk: Bytes) -> io::Result<()> {
        let path = format!("{}/{}", self.files.path(), self.manifest().files[file].name);
        let disk = self.files.held.disk.clone();
        runtime::blocking(move || disk.append(&path, &chunk)).await
    }

    /// Checks the file at hand and goes to the next.
    async fn complete_file(&mut self) -> io::Result<()> {
        let record = self.manifest().files.get(self.file);
        let record = record.ok_or_else(|| refused("more files than the snapshot has".to_string()))?.clone();
        if (self.bytes, self.crc) != (record.bytes, record.crc32c) {
            return Err(refused(format!(
                "{:?} came with {} of {} bytes or damaged",
                record.name, self.bytes, record.bytes
            )));
        }
        if record.bytes == 0 {
            self.append(self.file, Bytes::new()).await?;
        }
        (self.file, self.bytes, self.crc) = (self.file + 1, 0, 0);
        Ok(())
    }

    /// Checks that everything has come and makes it durable.
    pub async fn finish(mut self) -> io::Result<SnapshotFiles> {
        while self.file < self.manifest().files.len() {
            self.complete_file().await?;
        }
        let (shelf, files) = (self.shelf.clone(), self.files.clone());
        runtime::blocking(move || shelf.complete(&files)).await?;
        Ok(self.files)
    }
}

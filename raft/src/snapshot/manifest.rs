//! What a snapshot is made of: its meta and each file with its size and checksum.

use std::io;

use serde::{Deserialize, Serialize};

use crate::damage::Damage;
use crate::disk::Disk;
use crate::format::{self, SnapshotMetaRecord};
use crate::types::SnapshotMeta;

/// The manifest's own name in a snapshot's directory.
pub const MANIFEST_FILE: &str = "holdfast-manifest";

/// Files of one snapshot; RocksDB makes them of 64 MiB each, so this is far above what a node holds.
pub const FILES_MAX: usize = 65_536;

const NAME_BYTES_MAX: usize = 255;
const CHECKSUM_BYTES: usize = 4;

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    pub name: String,
    pub bytes: u64,
    pub crc32c: u32,
}

/// A snapshot's meta and files, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub meta: SnapshotMetaRecord,
    pub files: Vec<FileRecord>,
}

impl Manifest {
    /// The meta as openraft knows it; an error if it is not a valid one.
    pub fn meta(&self) -> io::Result<SnapshotMeta> {
        Ok(self.meta.clone().try_into()?)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// Refuses what a peer could send to write outside the snapshot's directory or without bound.
    pub fn check(&self) -> io::Result<()> {
        let refused = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        if self.files.len() > FILES_MAX {
            return refused(format!("a snapshot of {} files, {FILES_MAX} are allowed", self.files.len()));
        }
        for (number, file) in self.files.iter().enumerate() {
            let name = &file.name;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('.') || !name.bytes().all(plain) {
                return refused(format!("a snapshot with a file named {name:?}"));
            }
            if name == MANIFEST_FILE || (number > 0 && self.files[number - 1].name >= *name) {
                return refused(format!("a snapshot whose file {name:?} is out of order"));
            }
        }
        self.meta().map(|_| ())
    }

    /// Reads the files of a directory and records them.
    pub fn of_directory(disk: &dyn Disk, path: &str, meta: SnapshotMetaRecord) -> io::Result<Manifest> {
        let mut files = Vec::new();
        for name in disk.list(path)? {
            let (bytes, crc32c) = checksum(disk, &format!("{path}/{name}"))?;
            files.push(FileRecord { name, bytes, crc32c });
        }
        Ok(Manifest { meta, files })
    }

    /// Writes the manifest into the directory that it describes, not yet durable.
    pub fn write(&self, disk: &dyn Disk, path: &str) -> io::Result<()> {
        let record = format::encode(self);
        let mut content = crc32c::crc32c(&record).to_le_bytes().to_vec();
        content.extend_from_slice(&record);
        disk.append(&format!("{path}/{MANIFEST_FILE}"), &content)
    }

    /// The manifest of a directory; `None` where there is none, an error where it is damaged.
    pub fn read(disk: &dyn Disk, path: &str) -> io::Result<Option<Manifest>> {
        let Some(content) = disk.read(&format!("{path}/{MANIFEST_FILE}"))? else { return Ok(None) };
        let damaged = |reason: String| Damage::Unreadable { what: format!("the manifest of {path}"), reason };
        if content.len() < CHECKSUM_BYTES {
            return Err(damaged("it is too short".to_string()).into());
        }
        let (checksum, record) = content.split_at(CHECKSUM_BYTES);
        if checksum != crc32c::crc32c(record).to_le_bytes() {
            return Err(damaged("its checksum is wrong".to_string()).into());
        }
        let manifest: Manifest = format::decode(record)?;
        manifest.check()?;
        Ok(Some(manifest))
    }

    /// Reads every file of the directory and compares it with what is recorded.
    pub fn verify(&self, disk: &dyn Disk, path: &str) -> io::Result<()> {
        for file in &self.files {
            let found = checksum(disk, &format!("{path}/{}", file.name))?;
            if found != (file.bytes, file.crc32c) {
                let (what, reason) = (format!("{path}/{}", file.name), "its checksum is wrong".to_string());
                return Err(Damage::Unreadable { what, reason }.into());
            }
        }
        Ok(())
    }
}

/// The size and CRC32C of a file, read in pieces.
fn checksum(disk: &dyn Disk, path: &str) -> io::Result<(u64, u32)> {
    const PIECE_BYTES: usize = 1 << 20;
    let (mut bytes, mut crc) = (0, 0);
    loop {
        let piece = disk.read_at(path, bytes, PIECE_BYTES)?;
        if piece.is_empty() {
            return Ok((bytes, crc));
        }
        crc = crc32c::crc32c_append(crc, &piece);
        bytes += piece.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    fn manifest(names: &[&str]) -> Manifest {
        let files = names.iter().map(|name| FileRecord { name: (*name).to_string(), bytes: 1, crc32c: 0 }).collect();
        Manifest { meta: (&SnapshotMeta::default()).into(), files }
    }

    #[test]
    fn refuses_names_that_lead_elsewhere() {
        assert!(manifest(&["000012.sst", "CURRENT", "MANIFEST-000005"]).check().is_ok());
        for names in [&["../x"][..], &["a/b"], &[""], &["."], &[".."], &["b", "a"], &["a", "a"], &[MANIFEST_FILE]] {
            assert!(manifest(names).check().is_err(), "{names:?}");
        }
    }

    #[test]
    fn sees_every_changed_file() {
        let disk = SimDisk::new(1);
        disk.append("snap/a", b"first").expect("written");
        disk.append("snap/b", b"second").expect("written");
        let manifest = Manifest::of_directory(&disk, "snap", (&SnapshotMeta::default()).into()).expect("read");
        manifest.write(&disk, "snap").expect("written");
        assert_eq!(Manifest::read(&disk, "snap").expect("reads"), Some(manifest.clone()));
        manifest.verify(&disk, "snap").expect("as it was");
        disk.flip_bit("snap/b", 3, 1).expect("is there");
        assert!(manifest.verify(&disk, "snap").is_err());
        disk.flip_bit("snap/b", 3, 1).expect("is there");
        disk.append("snap/a", b"!").expect("written");
        assert!(manifest.verify(&disk, "snap").is_err());
    }
}

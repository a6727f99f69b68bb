//! A data folder on a real file system, with RocksDB as its engine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::{Disk, Purpose};
use crate::engine::rocks::RocksEngine;
use crate::engine::{EngineError, SharedEngine};

/// Ends the name under which [`Disk::replace`] writes a file before it takes its place.
const NEW_SUFFIX: &str = ".new";

/// A directory of the file system.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Opens the folder `root`, made where there is none.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Folder> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(Folder { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// Makes the names in a directory durable.
fn sync_names(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path without a parent"))
}

/// `None` where there is nothing at the path.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Disk for Folder {
    fn open_engine(&self, path: &str, purpose: Purpose) -> Result<SharedEngine, EngineError> {
        Ok(Arc::new(RocksEngine::open(&self.root, path, purpose)?))
    }

    fn read(&self, path: &str) -> io::Result<Option<Bytes>> {
        Ok(found(fs::read(self.path(path)))?.map(Bytes::from))
    }

    fn read_at(&self, path: &str, offset: u64, bytes: usize) -> io::Result<Bytes> {
        let mut file = File::open(self.path(path))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut content = Vec::with_capacity(bytes);
        file.take(bytes as u64).read_to_end(&mut content)?;
        Ok(content.into())
    }

    fn replace(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let to = self.path(path);
        let from = self.path(&format!("{path}{NEW_SUFFIX}"));
        let mut file = File::create(&from)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(from, &to)?;
        sync_names(parent(&to)?)
    }

    fn append(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path(path);
        fs::create_dir_all(parent(&path)?)?;
        OpenOptions::new().create(true).append(true).open(path)?.write_all(content)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let Some(entries) = found(fs::read_dir(self.path(dir)))? else { return Ok(Vec::new()) };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn file_bytes(&self, path: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(path))?.len())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        for name in self.list(dir)? {
            File::open(self.path(dir).join(name))?.sync_all()?;
        }
        let dir = self.path(dir);
        sync_names(&dir)?;
        sync_names(parent(&dir)?)
    }

    fn rename_dir(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        fs::create_dir_all(parent(&to)?)?;
        fs::rename(&from, &to)?;
        sync_names(parent(&to)?)?;
        sync_names(parent(&from)?)
    }

    fn remove_dir(&self, dir: &str) -> io::Result<()> {
        found(fs::remove_dir_all(self.path(dir))).map(|_| ())
    }

    /// RocksDB never changes a table file once it is written, so those are linked; the rest is small and copied.
    fn copy_dir(&self, from: &str, to: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(to))?;
        for name in self.list(from)? {
            let (from, to) = (self.path(from).join(&name), self.path(to).join(&name));
            if name.ends_with(".sst") && fs::hard_link(&from, &to).is_ok() {
                continue;
            }
            fs::copy(from, to)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_directories() {
        let root = tempfile::tempdir().expect("a folder");
        let disk = Folder::open(root.path().join("node")).expect("opens");
        super::super::simulated::tests::exercise(&disk);
    }
}

//! The node's folder: held by one process at a time, and the home of its signing key.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::failure::{Exit, Failure};

/// The length of an ed25519 seed, in bytes.
pub const SEED_BYTES: usize = 32;

/// A data folder that this process holds. The hold ends with the process, however it ends.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is not there, and takes it for this process.
    pub fn take(path: &Path) -> Result<Folder, Failure> {
        let complain = |error: std::io::Error| Failure::cannot_start(format!("--data {}: {error}", path.display()));
        fs::create_dir_all(path).map_err(complain)?;
        Folder::hold(path, complain)
    }

    /// Takes a folder that a node has left.
    pub fn take_existing(path: &Path) -> Result<Folder, Failure> {
        if !path.is_dir() {
            return Err(Failure::cannot_start(format!("--data {}: no such folder", path.display())));
        }
        Folder::hold(path, |error| Failure::cannot_start(format!("--data {}: {error}", path.display())))
    }

    fn hold(path: &Path, complain: impl Fn(std::io::Error) -> Failure) -> Result<Folder, Failure> {
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("in-use"))
            .map_err(&complain)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Folder { path: path.to_path_buf(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                Err(Failure::cannot_start(format!("--data {}: another process is using this folder", path.display())))
            }
            Err(error) => Err(complain(error.into())),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The seed of the node's signing key; made on first use, readable by the owner alone. It never leaves the folder: the
    /// log gets the public half.
    pub fn signing_seed(&self) -> Result<[u8; SEED_BYTES], Failure> {
        let path = self.path.join("signing-key");
        let complain = |error: &dyn std::fmt::Display| Failure::cannot_start(format!("{}: {error}", path.display()));
        match File::open(&path) {
            Ok(file) => {
                let mut seed = Vec::new();
                file.take(SEED_BYTES as u64 + 1).read_to_end(&mut seed).map_err(|error| complain(&error))?;
                seed.try_into().map_err(|_| Failure::new(Exit::Damaged, format!("{}: not a key", path.display())))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let seed: [u8; SEED_BYTES] = rand::random();
                self.write_once("signing-key", &seed).map_err(|error| complain(&error))?;
                Ok(seed)
            }
            Err(error) => Err(complain(&error)),
        }
    }

    /// Writes a small file so that a crash leaves all of it or none.
    fn write_once(&self, name: &str, content: &[u8]) -> std::io::Result<()> {
        let fresh = self.path.join(format!("{name}.new"));
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&fresh, self.path.join(name))?;
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_held_once_and_keeps_its_key() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("node");
        let folder = Folder::take(&path).unwrap();
        assert!(Folder::take(&path).unwrap_err().message.contains("another process"));
        let seed = folder.signing_seed().unwrap();
        let mode = fs::metadata(path.join("signing-key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the key is for the owner alone");
        drop(folder);
        assert_eq!(Folder::take_existing(&path).unwrap().signing_seed().unwrap(), seed);
    }

    #[test]
    fn a_key_of_another_length_is_damage() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::take(root.path()).unwrap();
        for content in [&b"short"[..], &[7; SEED_BYTES + 1]] {
            fs::write(root.path().join("signing-key"), content).unwrap();
            assert_eq!(folder.signing_seed().unwrap_err().exit, Exit::Damaged);
        }
    }
}

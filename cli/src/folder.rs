//! The node's folder: held by one process at a time, and the home of its signing key.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::failure::{Exit, Failure};

/// The length of an ed25519 seed, in bytes.
pub const SEED_BYTES: usize = 32;
/// The seed that signs, the one that will, and the ids of those that did.
const KEY: &str = "signing-key";
const KEY_NEXT: &str = "signing-key.next";
const KEYS_OLD: &str = "signing-key.old";
/// What of a data folder is the machine's own and not the cluster's: it outlives a node's id. By the beginning of the name.
pub const KEPT: [&str; 5] = [KEY, "payments-key", "notifications-key", "mail", LOCK];
/// Whoever has this file locked has the folder.
const LOCK: &str = "in-use";
/// The longest list of old keys that is read, in bytes.
const KEYS_OLD_BYTES_MAX: u64 = 64 << 10;

/// A key that has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    pub key_id: String,
    /// Since when another signs, in milliseconds since the Unix epoch.
    pub replaced_ms: u64,
}

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
            .open(path.join(LOCK))
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
        self.seed_or_new(KEY)
    }

    /// The seed of the key of the payments service that runs beside the node.
    pub fn payments_seed(&self) -> Result<[u8; SEED_BYTES], Failure> {
        seed_in(&self.path.join("payments-key"))
    }

    /// The seed of the key of the notifications service that runs beside the node.
    pub fn notifications_seed(&self) -> Result<[u8; SEED_BYTES], Failure> {
        seed_in(&self.path.join("notifications-key"))
    }

    /// The seed that is to sign next, if a change of the key is under way.
    pub fn next_seed(&self) -> Result<Option<[u8; SEED_BYTES]>, Failure> {
        self.seed(KEY_NEXT)
    }

    /// The seed that is to sign next; made if there is none.
    pub fn next_seed_or_new(&self) -> Result<[u8; SEED_BYTES], Failure> {
        self.seed_or_new(KEY_NEXT)
    }

    /// Puts the next seed in the place of the one that signs, which is gone then.
    pub fn take_next_seed(&self) -> Result<(), Failure> {
        let moved = fs::rename(self.path.join(KEY_NEXT), self.path.join(KEY));
        moved.and_then(|()| File::open(&self.path)?.sync_all()).map_err(|error| self.complain(KEY_NEXT, &error))
    }

    /// The keys that have signed and are not retired yet, oldest first.
    pub fn replaced(&self) -> Result<Vec<Replaced>, Failure> {
        let mut text = String::new();
        match File::open(self.path.join(KEYS_OLD)) {
            Ok(file) => file.take(KEYS_OLD_BYTES_MAX).read_to_string(&mut text),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => Err(error),
        }
        .map_err(|error| self.complain(KEYS_OLD, &error))?;
        let line = |line: &str| {
            let (key_id, replaced_ms) = line.split_once(' ')?;
            Some(Replaced { key_id: key_id.into(), replaced_ms: replaced_ms.parse().ok()? })
        };
        let lines: Option<Vec<_>> = text.lines().map(line).collect();
        lines.ok_or_else(|| self.damaged(KEYS_OLD, "not a list of keys"))
    }

    pub fn put_replaced(&self, replaced: &[Replaced]) -> Result<(), Failure> {
        let text: String = replaced.iter().map(|old| format!("{} {}\n", old.key_id, old.replaced_ms)).collect();
        write_once(&self.path.join(KEYS_OLD), text.as_bytes()).map_err(|error| self.complain(KEYS_OLD, &error))
    }

    fn seed(&self, name: &str) -> Result<Option<[u8; SEED_BYTES]>, Failure> {
        existing_seed(&self.path.join(name))
    }

    fn seed_or_new(&self, name: &str) -> Result<[u8; SEED_BYTES], Failure> {
        seed_in(&self.path.join(name))
    }

    fn complain(&self, name: &str, error: &std::io::Error) -> Failure {
        Failure::cannot_start(format!("{}: {error}", self.path.join(name).display()))
    }

    fn damaged(&self, name: &str, what: &str) -> Failure {
        Failure::new(Exit::Damaged, format!("{}: {what}", self.path.join(name).display()))
    }
}

/// The seed of a key, in a file of its own: made on first use, readable by the owner alone.
pub fn seed_in(path: &Path) -> Result<[u8; SEED_BYTES], Failure> {
    if let Some(seed) = existing_seed(path)? {
        return Ok(seed);
    }
    let seed: [u8; SEED_BYTES] = rand::random();
    write_once(path, &seed).map_err(|error| Failure::cannot_start(format!("{}: {error}", path.display())))?;
    Ok(seed)
}

/// The seed in a file, if there is one.
pub fn existing_seed(path: &Path) -> Result<Option<[u8; SEED_BYTES]>, Failure> {
    let complain = |error: std::io::Error| Failure::cannot_start(format!("{}: {error}", path.display()));
    match File::open(path) {
        Ok(file) => {
            let mut seed = Vec::new();
            file.take(SEED_BYTES as u64 + 1).read_to_end(&mut seed).map_err(complain)?;
            let damaged = |_| Failure::new(Exit::Damaged, format!("{}: not a key", path.display()));
            seed.try_into().map(Some).map_err(damaged)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(complain(error)),
    }
}

/// Writes a small file so that a crash leaves all of it or none.
pub fn write_once(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
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
    fn the_next_key_takes_the_place_of_the_one_that_signs() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::take(root.path()).unwrap();
        let first = folder.signing_seed().unwrap();
        assert_eq!(folder.next_seed().unwrap(), None);
        let next = folder.next_seed_or_new().unwrap();
        assert_eq!((folder.next_seed_or_new().unwrap(), folder.signing_seed().unwrap()), (next, first));
        let mode = fs::metadata(root.path().join("signing-key.next")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the key is for the owner alone");
        folder.take_next_seed().unwrap();
        assert_eq!((folder.signing_seed().unwrap(), folder.next_seed().unwrap()), (next, None));

        let replaced = vec![Replaced { key_id: "k1".into(), replaced_ms: 7 }];
        folder.put_replaced(&replaced).unwrap();
        assert_eq!(folder.replaced().unwrap(), replaced);
        fs::write(root.path().join("signing-key.old"), "k1\n").unwrap();
        assert_eq!(folder.replaced().unwrap_err().exit, Exit::Damaged);
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

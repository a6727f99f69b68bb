//! Versions in a node: what its build knows, what its data folder has come to, and what is said to whoever does not fit.
//!
//! The cluster's version is a row of the state and is read there. Beside it a small file in the data folder names the highest
//! version that anything in the folder may be of. It is written before the first thing of that version is, and read before
//! anything else is opened: a build that does not know it stops there, with nothing changed.

use std::io;

use holdfast_ledger::version::{FIRST, NEXT, Version, Versions};
use serde::{Deserialize, Serialize};

use crate::damage::{Damage, Fault};
use crate::disk::Disk;

const FILE: &str = "cluster-version";

/// What a build is called, and which versions it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    pub name: String,
    pub versions: Versions,
}

impl Build {
    /// This build, as it runs: in tests it may play the next one.
    pub fn of(versions: Versions) -> Build {
        let plays = if versions.max > Versions::SHIPPED.max { "+next" } else { "" };
        Build { name: format!("{}{plays}", env!("CARGO_PKG_VERSION")), versions }
    }
}

/// All that the code of this build can read, whatever it plays.
pub fn readable() -> Versions {
    NEXT.map_or(Versions::SHIPPED, |next| next.versions)
}

/// Whether the greeting between nodes of a cluster at `version` says how far the caller has applied.
pub(crate) fn greets_with_applied(version: Version) -> bool {
    NEXT.is_some_and(|next| version >= next.versions.max)
}

/// A fault if `what` is at a version that is not known.
pub fn check(what: &str, found: Version, known: Versions) -> Result<(), Fault> {
    if known.contains(found) { Ok(()) } else { Err(Fault::Version { what: what.to_string(), found, known }) }
}

/// A fault if the folder may hold what is not known. Reads one file. Blocks on the disk.
pub fn check_folder(disk: &dyn Disk, known: Versions) -> io::Result<()> {
    Ok(check("the data folder", marked(disk)?, known)?)
}

/// The version that the folder has come to. Blocks on the disk.
pub fn marked(disk: &dyn Disk) -> io::Result<Version> {
    let Some(content) = disk.read(FILE)? else { return Ok(FIRST) };
    let number = String::from_utf8_lossy(&content).trim().parse();
    let damage = |_| Damage::Unreadable { what: FILE.to_string(), reason: "it holds no number".to_string() };
    Ok(number.map_err(damage)?)
}

/// Says that the folder has come to a version. Durable when this returns. Blocks on the disk.
pub fn mark(disk: &dyn Disk, version: Version) -> io::Result<()> {
    if marked(disk)? >= version {
        return Ok(());
    }
    disk.replace(FILE, format!("{version}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn a_folder_keeps_the_highest_version_that_it_came_to() {
        let disk = SimDisk::new(1);
        assert_eq!(marked(&disk).expect("reads"), FIRST, "a folder without the file is of the first version");
        for (version, then) in [(1, 1), (3, 3), (2, 3)] {
            mark(&disk, version).expect("written");
            assert_eq!(marked(&disk).expect("reads"), then);
        }
        let known = Versions { min: 1, max: 2 };
        let refused = check_folder(&disk, known).expect_err("3 is not known");
        assert!(refused.to_string().contains("version 3"), "{refused}");
        assert!(check_folder(&disk, Versions { min: 1, max: 3 }).is_ok());
        disk.replace(FILE, b"many").expect("written");
        assert!(check_folder(&disk, known).is_err());
    }
}

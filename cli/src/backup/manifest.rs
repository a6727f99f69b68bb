//! What a backup says of itself: a JSON file with a checksum for every file and one for itself.

use holdfast_ledger::version::{FIRST, Version, Versions};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::failure::{Exit, Failure};

/// The form of the manifest that this build writes and reads.
pub const FORMAT: u32 = 1;
/// Files that a manifest may name; the engine makes them of 64 MiB each.
const FILES_MAX: usize = 65_536;

/// One file of a backup. It is kept under its checksum, so that backups share what they have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    pub name: String,
    pub bytes: u64,
    /// 64 hex digits.
    pub sha256: String,
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Of the program that made it.
    pub version: String,
    /// 32 hex digits.
    pub cluster_id: String,
    pub lineage: u16,
    /// What the cluster was at: rows of no newer form are in it. `None` where the backup is older than this field: the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_version: Option<Version>,
    pub term: u64,
    /// The last log entry that the state has.
    pub index: u64,
    /// 32 hex digits.
    pub state_hash: String,
    /// The last event.
    pub event_seq: u64,
    /// Ledger time, in milliseconds since the Unix epoch.
    pub ledger_ms: u64,
    pub files: Vec<FileView>,
    /// Over all of the above, 64 hex digits.
    pub digest: String,
}

/// What manifests of all forms say.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl Manifest {
    /// The same, with its own checksum.
    pub fn sealed(self) -> Manifest {
        Manifest { digest: self.computed(), ..self }
    }

    fn computed(&self) -> String {
        let unsealed = Manifest { digest: String::new(), ..self.clone() };
        sha256(&serde_json::to_vec(&unsealed).expect("a manifest is plain JSON"))
    }

    /// Its name in the store; names are in the order of lineages and log entries.
    pub fn name(&self) -> String {
        format!("{:04x}-{:012x}", self.lineage, self.index)
    }

    /// Refuses a backup of a cluster that was at a version which is not `known`: its rows cannot be read.
    pub fn check_version(&self, known: Versions) -> Result<(), Failure> {
        let version = self.cluster_version.unwrap_or(FIRST);
        match known.contains(version) {
            true => Ok(()),
            false => Err(Failure::new(
                Exit::Newer,
                format!(
                    "backup {}: its cluster was at version {version}, and this build knows {known}: \
                     take a build that knows it; nothing was changed",
                    self.name()
                ),
            )),
        }
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// Reads one, and refuses what is not as it was written.
    pub fn read(name: &str, json: &[u8]) -> Result<Manifest, Failure> {
        let damaged = |reason: String| Failure::new(Exit::Damaged, format!("backup {name}: {reason}"));
        let unreadable = |error: serde_json::Error| damaged(format!("its manifest cannot be read: {error}"));
        let Head { format } = serde_json::from_slice(json).map_err(unreadable)?;
        if format > FORMAT {
            let message = format!("backup {name}: its manifest has format {format}, and this build knows {FORMAT}");
            return Err(Failure::new(Exit::Newer, format!("{message}: take a build that knows it")));
        }
        let manifest: Manifest = serde_json::from_slice(json).map_err(unreadable)?;
        if manifest.format != FORMAT {
            return Err(damaged(format!("it has format {}, this build reads {FORMAT}", manifest.format)));
        }
        if manifest.digest != manifest.computed() {
            return Err(damaged("the checksum of its manifest is wrong".into()));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = |name: &str| !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain);
        if manifest.files.len() > FILES_MAX || !manifest.files.iter().all(|file| is_name(&file.name)) {
            return Err(damaged("it names files that no node makes".into()));
        }
        Ok(manifest)
    }
}

/// SHA-256, 64 hex digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let file = FileView { name: "000012.sst".into(), bytes: 3, sha256: sha256(b"abc") };
        Manifest {
            format: FORMAT,
            version: "0".into(),
            cluster_id: "0".repeat(32),
            lineage: 1,
            cluster_version: Some(1),
            term: 2,
            index: 10,
            state_hash: "0".repeat(32),
            event_seq: 4,
            ledger_ms: 5,
            files: vec![file],
            digest: String::new(),
        }
        .sealed()
    }

    #[test]
    fn a_manifest_that_was_changed_is_damage() {
        let json = serde_json::to_string(&manifest()).unwrap();
        assert_eq!(Manifest::read("x", json.as_bytes()), Ok(manifest()));
        assert_eq!(manifest().name(), "0001-00000000000a");
        let version = ("\"cluster_version\":1", "\"cluster_version\":2");
        for (from, to) in [("\"term\":2", "\"term\":3"), version, ("\"format\":1", "\"format\":0"), ("{", "")] {
            let changed = json.replacen(from, to, 1);
            assert_eq!(Manifest::read("x", changed.as_bytes()).unwrap_err().exit, Exit::Damaged, "{from}");
        }
        let outside =
            Manifest { files: vec![FileView { name: "../key".into(), bytes: 0, sha256: String::new() }], ..manifest() };
        let json = serde_json::to_vec(&outside.sealed()).unwrap();
        assert!(Manifest::read("x", &json).unwrap_err().message.contains("no node makes"));
    }
    #[test]
    fn a_backup_of_a_newer_version_or_form_is_told_from_a_damaged_one() {
        let of = |cluster_version| Manifest { cluster_version, ..manifest() }.sealed();
        for (version, refused) in [(None, None), (Some(1), None), (Some(2), Some(Exit::Newer))] {
            let json = serde_json::to_vec(&of(version)).unwrap();
            let read = Manifest::read("x", &json).expect("it is as it was written");
            let checked = read.check_version(Versions { min: 1, max: 1 });
            assert_eq!(checked.err().map(|failure| failure.exit), refused, "{version:?}");
        }
        assert!(of(Some(2)).check_version(Versions { min: 1, max: 2 }).is_ok());
        // Nothing else of a form that is not known can be.
        let newer = Manifest::read("x", b"{\"format\":2,\"files\":7}").unwrap_err();
        assert_eq!(newer.exit, Exit::Newer, "{newer}");
    }
}

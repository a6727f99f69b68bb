//! What was acknowledged, kept outside the log: a file that says how far the log and the vote have been.
//!
//! A database that loses its end recovers to a shorter one and calls it consistent. A node that then votes or counts for
//! a quorum breaks the promise that its acknowledged entries are held by it. The watermark lags behind (it is written at
//! most once a second, and with every vote), so it catches what was lost long after it was written, which is what bad
//! disks and deleted files do; it is lowered, and that synced, before entries are truncated for good reason.

use serde::{Deserialize, Serialize};

use crate::damage::{Damage, Fault};
use crate::disk::{Disk, SharedDisk};
use crate::format;

pub const FILE: &str = "watermark";
const CHECKSUM_BYTES: usize = 4;

/// Acknowledged at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Watermark {
    /// All entries with a lower index were synced.
    pub synced_end: u64,
    /// A vote of this term was synced.
    pub vote_term: u64,
}

impl Watermark {
    /// What the folder says; `None` in a new one.
    pub fn read(disk: &SharedDisk) -> Result<Option<Watermark>, Fault> {
        let content = disk
            .read(FILE)
            .map_err(|error| Fault::Storage { doing: "reading the watermark", reason: error.to_string() })?;
        let Some(content) = content else { return Ok(None) };
        let damaged = |reason: String| Damage::Unreadable { what: "the watermark".to_string(), reason };
        if content.len() < CHECKSUM_BYTES {
            return Err(damaged("it is too short".to_string()).into());
        }
        let (checksum, record) = content.split_at(CHECKSUM_BYTES);
        if checksum != crc32c::crc32c(record).to_le_bytes() {
            return Err(damaged("its checksum is wrong".to_string()).into());
        }
        Ok(Some(format::decode(record).map_err(|error| damaged(error.to_string()))?))
    }

    /// Durable when this returns.
    pub fn write(self, disk: &dyn Disk) -> Result<(), Fault> {
        let record = format::encode(&self);
        let mut content = crc32c::crc32c(&record).to_le_bytes().to_vec();
        content.extend_from_slice(&record);
        disk.replace(FILE, &content)
            .map_err(|error| Fault::Storage { doing: "writing the watermark", reason: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn comes_back_and_damage_is_seen() {
        let simulated = SimDisk::new(1);
        let disk: SharedDisk = Arc::new(simulated.clone());
        assert_eq!(Watermark::read(&disk), Ok(None));
        let mark = Watermark { synced_end: 7, vote_term: 3 };
        mark.write(&*disk).expect("written");
        assert_eq!(Watermark::read(&disk), Ok(Some(mark)));
        simulated.flip_bit(FILE, 6, 0).expect("is there");
        assert!(matches!(Watermark::read(&disk), Err(Fault::Damage(Damage::Unreadable { .. }))));
    }
}

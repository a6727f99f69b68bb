//! Who a data folder is: the random id of the folder itself, and, once it belongs to a cluster, its place there.
//!
//! The instance id is made the first time a folder is opened, before anything else, so that a node which asks to join and
//! dies before it hears the answer asks again as the same one, and gets the same node id.

use std::io;

use serde::{Deserialize, Serialize};

use crate::damage::Damage;
use crate::disk::Disk;
use crate::format;
use crate::log_store::LogStore;
use crate::types::NodeId;

const FILE: &str = "identity";
const CHECKSUM_BYTES: usize = 4;

/// A node's place in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub cluster_id: u128,
    pub node_id: NodeId,
}

/// What a data folder says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The folder's random id.
    pub instance: u128,
    /// `None` until it has bootstrapped or joined a cluster.
    pub place: Option<Place>,
}

impl Identity {
    /// Reads the folder's identity; makes an instance id in a folder that has none. Blocks on the disk.
    pub fn open(disk: &dyn Disk) -> io::Result<Identity> {
        if let Some(identity) = Identity::read(disk)? {
            return Ok(identity);
        }
        if LogStore::was_opened(disk)? {
            return Err(Damage::IdentityMissing.into());
        }
        let identity = Identity { instance: rand::random(), place: None };
        identity.write(disk)?;
        Ok(identity)
    }

    /// Reads the folder's identity, if it has one. Blocks on the disk.
    pub fn read(disk: &dyn Disk) -> io::Result<Option<Identity>> {
        disk.read(FILE)?.map(|content| Identity::decode(&content)).transpose()
    }

    /// Gives a folder that has no place yet the one that a member gave it. Blocks on the disk.
    pub fn join(self, disk: &dyn Disk, place: Place) -> io::Result<()> {
        self.settle(disk, place).map(|_| ())
    }

    /// Gives the folder its place, for good. Blocks on the disk.
    pub(crate) fn settle(self, disk: &dyn Disk, place: Place) -> io::Result<Identity> {
        assert!(self.place.is_none_or(|old| old == place), "a folder never changes its place");
        let identity = Identity { place: Some(place), ..self };
        if identity == self {
            return Ok(self);
        }
        identity.write(disk)?;
        Ok(identity)
    }

    /// The record comes first, so that one of a newer format is told by its version.
    fn decode(content: &[u8]) -> io::Result<Identity> {
        let damaged = |reason: &str| Damage::Unreadable { what: "the identity".into(), reason: reason.into() };
        let (record, checksum) =
            content.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| damaged("it is too short"))?;
        let identity = format::decode(record)?;
        if *checksum != crc32c::crc32c(record).to_le_bytes() {
            return Err(damaged("its checksum is wrong").into());
        }
        Ok(identity)
    }

    /// Writes it down, whatever was there. Blocks on the disk.
    pub(crate) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        if self.place.is_some() {
            // In this order: a folder that has its place and no log has lost it.
            LogStore::begin(disk)?;
        }
        let mut content = format::encode(self).to_vec();
        content.extend_from_slice(&crc32c::crc32c(&content).to_le_bytes());
        disk.replace(FILE, &content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn a_folder_stays_who_it_is_and_damage_is_seen() {
        let disk = SimDisk::new(1);
        let identity = Identity::open(&disk).expect("made");
        let place = Place { cluster_id: 7, node_id: 3 };
        let settled = identity.settle(&disk, place).expect("settled");
        assert_eq!(Identity::open(&disk).expect("read"), settled);
        assert!(LogStore::was_opened(&disk).expect("reads"), "the log is begun before the place is written");
        for byte in 0..disk.file_bytes(FILE).expect("is there") as usize {
            disk.flip_bit(FILE, byte, 0).expect("is there");
            assert!(Identity::open(&disk).is_err(), "byte {byte}");
            disk.flip_bit(FILE, byte, 0).expect("is there");
        }
    }
}

//! Who a data folder is: the random id of the folder itself, and, once it belongs to a cluster, its place there.
//!
//! The instance id is made the first time a folder is opened, before anything else, so that a node which asks to join and
//! dies before it hears the answer asks again as the same one, and gets the same node id.

use std::io;

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::format;
use crate::types::NodeId;

const FILE: &str = "identity";

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
        let identity = Identity { instance: rand::random(), place: None };
        identity.write(disk)?;
        Ok(identity)
    }

    /// Reads the folder's identity, if it has one. Blocks on the disk.
    pub fn read(disk: &dyn Disk) -> io::Result<Option<Identity>> {
        disk.read(FILE)?.map(|bytes| Ok(format::decode(&bytes)?)).transpose()
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

    /// Writes it down, whatever was there. Blocks on the disk.
    pub(crate) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        disk.replace(FILE, &format::encode(self))
    }
}

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
        if let Some(bytes) = disk.read(FILE)? {
            return Ok(format::decode(&bytes)?);
        }
        let identity = Identity { instance: rand::random(), place: None };
        disk.replace(FILE, &format::encode(&identity))?;
        Ok(identity)
    }

    /// Gives the folder its place, for good. Blocks on the disk.
    pub(crate) fn settle(self, disk: &dyn Disk, place: Place) -> io::Result<Identity> {
        assert!(self.place.is_none_or(|old| old == place), "a folder never changes its place");
        let identity = Identity { place: Some(place), ..self };
        if identity == self {
            return Ok(self);
        }
        disk.replace(FILE, &format::encode(&identity))?;
        Ok(identity)
    }
}

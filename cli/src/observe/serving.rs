//! Whether a node's public listener takes requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// It does once the cluster knows the node's key, and until the node is asked to stop. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Serving(Arc<AtomicBool>);

impl Serving {
    pub fn set(&self, serves: bool) {
        self.0.store(serves, Ordering::Relaxed);
    }

    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

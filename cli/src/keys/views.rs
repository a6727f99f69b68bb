//! What the operator's listener says of keys.

use serde::{Deserialize, Serialize};

/// The keys of all nodes, and where this node's own change stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysView {
    /// The key that signs on this node.
    pub signing: String,
    /// The key that will sign on this node.
    pub next: Option<NextView>,
    /// Keys that have signed on this node and are not retired yet.
    pub replaced: Vec<ReplacedView>,
    pub keys: Vec<KeyView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextView {
    pub key_id: String,
    pub signs_in_s: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedView {
    pub key_id: String,
    pub retires_in_s: u64,
}

/// A key as the ledger has it. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    pub key_id: String,
    pub registered_ms: u64,
    pub retired_ms: Option<u64>,
}

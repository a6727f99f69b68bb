//! Who speaks for the cluster, and to whom it speaks: public keys of nodes and services, webhooks.

use serde::{Deserialize, Serialize};

use crate::command::Service;
use crate::event::EventType;

/// A node's public signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeKey {
    /// Ed25519, 32 bytes.
    pub public_key: Vec<u8>,
    pub registered_ms: u64,
    /// From here on no session is trusted for its signature; tickets that it has signed stay good.
    pub retired_ms: Option<u64>,
}

/// A service's public signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceKey {
    pub service: Service,
    /// Ed25519, 32 bytes.
    pub public_key: Vec<u8>,
    pub registered_ms: u64,
}

/// An address to which events are posted, signed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    pub url: String,
    /// Of the signature (HMAC), shared with the receiver.
    pub secret: String,
    /// Empty: all.
    pub event_types: Vec<EventType>,
    pub created_ms: u64,
    pub updated_ms: u64,
}

impl std::fmt::Debug for Webhook {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("url", &self.url)
            .field("event_types", &self.event_types)
            .finish_non_exhaustive()
    }
}
